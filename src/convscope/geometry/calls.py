"""One call in a traced network, and how its tensors lie over the network's input.

Each spatial axis of the input (height and width of an image, time of a series) is followed through
the network: the units of a feature map lie on a *grid*, and a :class:`Layout` says which dimension
of the tensor carries which axis of that grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx, nn

from convscope.geometry.axes import AxisMap, Whole, compose, identity, table


@dataclass(frozen=True)
class Layout:
    """How the units of a tensor lie over the input.

    Attributes
    ----------
    grid : tuple of int
        Units along each spatial axis of the network's input; 1 where the axis is gone.
    dims : tuple of (int or None)
        The tensor's dimension that carries each axis; None where it is gone.
    merged : tuple of int or None
        Where a reshape has merged several axes into one dimension (which ``dims`` then names for
        each of them): the tensor's shape before. Order in memory is kept.
    merged_dims : tuple of (int or None)
        ``dims`` before.
    moved : bool
        Whether dimensions have changed places, or their lengths, since.
    """

    grid: tuple[int, ...]
    dims: tuple[int | None, ...]
    merged: tuple[int, ...] | None = None
    merged_dims: tuple[int | None, ...] = ()
    moved: bool = False


@dataclass(frozen=True)
class Value:
    """What a node of the graph gives.

    Attributes
    ----------
    node : fx.Node
    content : object
        A tensor without data (or several, or a number).
    layout : Layout or None
        None for what does not depend on the network's input, or is not known.
    unknown : str or None
        The operation from which on nothing is known.
    """

    node: fx.Node
    content: Any
    layout: Layout | None = None
    unknown: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor."""
        return tuple(int(size) for size in self.content.shape)


class UnknownOperation(Exception):
    """There is no rule for an operation, or not for how it is used."""


@dataclass(frozen=True)
class Read:
    """How a call reads one of its inputs.

    Attributes
    ----------
    value : Value
    maps : mapping of int to AxisMap
        By dimension of the input; a dimension that is not named is the identity (or broadcast).
    moved : mapping of int to (int or None)
        Where a dimension is found in the output, None where it is gone; a dimension that is not
        named stays where it is, counted from the end if ``from_end``.
    from_end : bool
        Dimensions are matched from the last one, as broadcasting does.
    """

    value: Value
    maps: Mapping[int, AxisMap] = field(default_factory=dict)
    moved: Mapping[int, int | None] = field(default_factory=dict)
    from_end: bool = False


@dataclass(frozen=True)
class Call:
    """A call with its arguments by name.

    Attributes
    ----------
    module : nn.Module or None
        The module that is called, or None for a function or method.
    names : tuple of str
        Of the positional arguments.
    args : tuple
        Values for what depends on the network's input, plain content for the rest.
    kwargs : mapping
    output : object
        A tensor without data, or several.
    """

    module: nn.Module | None
    names: tuple[str, ...]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any

    def argument(self, name: str, default: Any = None) -> Any:
        """An argument of the call, or the attribute of that name of the module."""
        if name in self.kwargs:
            return self.kwargs[name]
        if name == "dim" and "axis" in self.kwargs:
            return self.kwargs["axis"]
        if name in self.names:
            place = self.names.index(name)
            if place < len(self.args):
                return self.args[place]
        return getattr(self.module, name, default) if self.module is not None else default

    @property
    def input(self) -> Value:
        """The first argument."""
        found = self.args[0] if self.args else next(iter(self.kwargs.values()), None)
        if not isinstance(found, Value):
            raise UnknownOperation("the first argument is not the tensor")
        return found

    def values(self) -> list[Value]:
        """All arguments that depend on the network's input, also those in lists."""
        return _values((self.args, tuple(self.kwargs.values())))

    def per_axis(self, setting: Any, axes: int) -> tuple[int, ...]:
        """A setting given once for all axes, or once for each."""
        if isinstance(setting, int):
            return (setting,) * axes
        found = tuple(int(one) for one in setting)
        return found * axes if len(found) == 1 else found


Rule = Callable[[Call], list[Read]]


def _values(found: Any) -> list[Value]:
    if isinstance(found, Value):
        return [found]
    if isinstance(found, list | tuple):
        return [value for one in found for value in _values(one)]
    return []


def outcome(
    reads: Sequence[Read], output: Any
) -> tuple[list[tuple[Value, tuple[AxisMap, ...]]], Layout]:
    """From the maps of tensor dimensions to maps of the axes of the grid, and the new layout.

    Raises
    ------
    UnknownOperation
        If the inputs do not lie over one another.
    """
    if not isinstance(output, Tensor):
        raise UnknownOperation("it gives no single tensor")
    axes = len(_layout(reads[0]).grid)
    placed = [[_place(read, axis, output) for axis in range(axes)] for read in reads]
    dims: list[int | None] = []
    grid: list[int] = []
    for axis in range(axes):
        homes = {place[axis][1] for place in placed} - {None}
        if len(homes) > 1:
            raise UnknownOperation("its inputs lie in different dimensions")
        home = homes.pop() if homes else None
        dims.append(home)
        sizes = {place[axis][0].size_out for place in placed if place[axis][1] is not None}
        if len(sizes) > 1:
            raise UnknownOperation("its inputs have different sizes")
        grid.append(sizes.pop() if sizes else 1)
    maps = [
        (
            read.value,
            tuple(_fitted(read, place[axis], dims[axis], grid[axis]) for axis in range(axes)),
        )
        for read, place in zip(reads, placed, strict=True)
    ]
    merged = [_layout(read) for read in reads if _layout(read).merged is not None]
    if len({(one.merged, one.merged_dims) for one in merged}) > 1:
        raise UnknownOperation("its inputs were flattened in different ways")
    if merged and all(dim is not None for dim in dims):
        moved = len(merged) < len(reads) or any(
            one.moved or read.moved or read.maps or read.value.shape != tuple(output.shape)
            for one, read in zip(merged, reads, strict=False)
        )
        layout = Layout(
            tuple(grid), tuple(dims), merged[0].merged, merged[0].merged_dims, bool(moved)
        )
        return maps, layout
    return maps, Layout(tuple(grid), reattached(dims, tuple(output.shape)))


def reattached(dims: Sequence[int | None], shape: tuple[int, ...]) -> tuple[int | None, ...]:
    """Axes that were gone, where the tensor has a dimension of length 1 in their place again.

    As after ``x.mean((2, 3))[:, :, None, None]``: what is joined or padded along that dimension
    from here on concerns the axis.
    """
    if len(shape) != 2 + len(dims):
        return tuple(dims)
    free = [2 + axis not in dims and shape[2 + axis] == 1 for axis in range(len(dims))]
    return tuple(2 + axis if dim is None and free[axis] else dim for axis, dim in enumerate(dims))


def _layout(read: Read) -> Layout:
    if read.value.layout is None:
        raise UnknownOperation("an input is not known")
    return read.value.layout


def _place(read: Read, axis: int, output: Tensor) -> tuple[AxisMap, int | None]:
    """What happens along one axis of the grid, and the output's dimension that carries it."""
    layout = _layout(read)
    size, dim = layout.grid[axis], layout.dims[axis]
    if dim is None:
        return identity(size), None
    rank = len(read.value.shape)
    home = dim + (output.dim() - rank if read.from_end else 0)
    if dim in read.moved:
        moved = read.moved[dim]
        home = -1 if moved is None else moved
    if layout.merged is not None:
        return _place_merged(read, size, dim, home)
    through = read.maps.get(dim)
    if through is None:
        stays = home < 0 or output.shape[home] == size
        through = identity(size) if stays else Whole(size, int(output.shape[home]))
        if not stays and size != 1:
            raise UnknownOperation("a size changes in a way that is not known")
    return through, (None if home < 0 else home)


def _place_merged(read: Read, size: int, dim: int, home: int) -> tuple[AxisMap, int | None]:
    through = read.maps.get(dim)
    if through is None:
        return identity(size), (None if home < 0 else home)
    if not isinstance(through, Whole):
        raise UnknownOperation("it works on part of a flattened map")
    if through.size_out == through.size_in and home >= 0:
        return Whole(size, size), home
    return Whole(size, 1), None


def _fitted(read: Read, place: tuple[AxisMap, int | None], home: int | None, size: int) -> AxisMap:
    """One unit without an axis, seen by all units along the axis that others have."""
    through, own = place
    if own is not None or home is None:
        return through
    along = read.maps.get(home)
    if along is not None and along.reads is not None:
        # Joined along that dimension: seen where its part of it lies.
        rows = [[0] if (inputs >= 0).any() else [] for inputs in along.reads]
        return (
            compose(Whole(through.size_in, 1), table(1, rows))
            if through.size_in > 1
            else table(1, rows)
        )
    return Whole(through.size_in, size) if size != through.size_out else through


def dimension(dim: int, rank: int) -> int:
    """A dimension counted from the front."""
    return dim + rank if dim < 0 else dim
