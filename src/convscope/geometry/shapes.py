"""What happens to the axes where tensors are re-shaped, cut, joined or reduced."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from convscope.geometry.axes import AxisMap, Table, Whole, Window
from convscope.geometry.calls import (
    Call,
    Layout,
    Read,
    UnknownOperation,
    Value,
    dimension,
    reattached,
)


def elementwise(call: Call) -> list[Read]:
    """Every unit for itself, with broadcasting; also what mixes channels only."""
    return [Read(value, from_end=True) for value in call.values()]


def like(call: Call) -> list[Read]:
    """The first tensor, in the type or the size of another: of that one no value is read."""
    return [Read(call.input, from_end=True)]


def channels_only(call: Call) -> list[Read]:
    """Mixes channels, dimension 1, and nothing else."""
    if call.input.layout is not None and 1 in call.input.layout.dims:
        raise UnknownOperation("an axis lies where it expects channels")
    return elementwise(call)


def response_norm(call: Call) -> list[Read]:
    """Local response normalisation: a window over dimension 1."""
    size, count = call.argument("size"), call.input.shape[1]
    return [Read(call.input, {1: Window(count, count, kernel_size=size, padding=size // 2)})]


def batch_norm(call: Call) -> list[Read]:
    """With running statistics every value for itself."""
    training = call.module is None and call.argument("training", False)
    if training or call.argument("running_mean") is None:
        raise UnknownOperation("it mixes the photos of a batch")
    return [Read(call.input)]


def fully_connected(call: Call) -> list[Read]:
    """``nn.Linear``: the last dimension is mixed whole."""
    last = len(call.input.shape) - 1
    size = call.input.shape[last]
    return [Read(call.input, {last: Whole(size, 1)}, {last: None})]


def reduction(call: Call) -> list[Read]:
    """Mean, sum, maximum, norm... over some dimensions or all."""
    rank = len(call.input.shape)
    asked = call.argument("dim")
    if asked is None:
        dims = list(range(rank))
    else:
        dims = [dimension(dim, rank) for dim in ([asked] if isinstance(asked, int) else asked)]
    if 0 in dims:
        raise UnknownOperation("it mixes the photos of a batch")
    keep = bool(call.argument("keepdim", False))
    maps: dict[int, AxisMap] = {dim: Whole(call.input.shape[dim], 1) for dim in dims}
    moved: dict[int, int | None] = {}
    if not keep:
        left = [dim for dim in range(rank) if dim not in dims]
        moved = {dim: left.index(dim) if dim in left else None for dim in range(rank)}
    return [Read(call.input, maps, moved)]


def extreme(call: Call) -> list[Read]:
    """``torch.max`` and ``min``: of two tensors, or over dimensions."""
    other = call.argument("other", call.args[1] if len(call.args) > 1 else None)
    return elementwise(call) if isinstance(other, Tensor | Value) else reduction(call)


def softmax(call: Call) -> list[Read]:
    """One dimension is mixed whole and keeps its length."""
    rank = len(call.input.shape)
    dim = call.argument("dim")
    if dim is None:
        raise UnknownOperation("it does not say along which dimension")
    dim = dimension(dim, rank)
    size = call.input.shape[dim]
    return [Read(call.input, {dim: Whole(size, size)})]


def group_norm(call: Call) -> list[Read]:
    """Statistics over all positions: every unit reads every other."""
    several = call.argument("num_groups", None) not in (1, None)
    if several and call.input.layout is not None and 1 in call.input.layout.dims:
        raise UnknownOperation("an axis lies where it expects channels")
    first = 1 if call.argument("num_groups", None) == 1 else 2
    sizes = call.input.shape
    return [Read(call.input, {d: Whole(sizes[d], sizes[d]) for d in range(first, len(sizes))})]


def instance_norm(call: Call) -> list[Read]:
    """As :func:`group_norm`, unless running statistics are used."""
    tracked = getattr(call.module, "track_running_stats", False)
    return elementwise(call) if tracked else group_norm(call)


def layer_norm(call: Call) -> list[Read]:
    """The last dimensions are mixed whole."""
    rank = len(call.input.shape)
    first = rank - len(call.argument("normalized_shape"))
    sizes = call.input.shape
    return [Read(call.input, {d: Whole(sizes[d], sizes[d]) for d in range(first, rank)})]


def reshaped(call: Call) -> Layout:
    """The layout after a view, reshape, flatten, squeeze...: the same numbers in the same order."""
    layout = call.input.layout
    if layout is None:
        raise UnknownOperation("its input is not known")
    before, after = call.input.shape, tuple(int(size) for size in call.output.shape)
    if before[:1] != after[:1]:
        raise UnknownOperation("it mixes the photos of a batch")
    if layout.merged is not None:
        return _from_merged(layout, before, after)
    homes = [None if dim is None else _kept(before, after, dim) for dim in layout.dims]
    if any(home is None and dim is not None for home, dim in zip(homes, layout.dims, strict=True)):
        return _merged(layout, before, layout.dims, after)
    kept = [None if home == _GONE else home for home in homes]
    return Layout(layout.grid, reattached(kept, after))


_GONE = -1


def _kept(before: Sequence[int], after: Sequence[int], dim: int) -> int | None:
    """The dimension that is this one after a reshape, ``_GONE`` or None if it is merged."""
    place = (before[dim], math.prod(before[dim + 1 :]))
    same = [u for u in range(1, len(after)) if (after[u], _behind(after, u)) == place]
    if before[dim] == 1:
        # One unit only: which of the dimensions of length 1 it was does not matter.
        return same[-1] if same else _GONE
    return same[0] if same else None


def _behind(shape: Sequence[int], dim: int) -> int:
    return math.prod(shape[dim + 1 :])


def _from_merged(layout: Layout, before: tuple[int, ...], after: tuple[int, ...]) -> Layout:
    """A merged dimension that stays, is taken apart into its axes, or is merged further."""
    original = layout.merged or before
    home = next(dim for dim in layout.dims if dim is not None)
    place = (before[home], _behind(before, home))
    kept = [u for u in range(1, len(after)) if (after[u], _behind(after, u)) == place]
    if kept and before[home] > 1:
        dims = tuple(None if dim is None else kept[0] for dim in layout.dims)
        return replace(layout, dims=dims, moved=True)
    axes = sorted((dim, axis) for axis, dim in enumerate(layout.merged_dims) if dim is not None)
    sizes = tuple(layout.grid[axis] for _, axis in axes)
    adjacent = [dim for dim, _ in axes] == list(range(axes[0][0], axes[0][0] + len(axes)))
    if adjacent and math.prod(sizes) == before[home]:
        # Nothing but the axes is in it: wherever it lies now, it can be taken apart.
        for start in range(1, len(after) - len(axes) + 1):
            behind = math.prod(after[start + len(axes) :])
            if after[start : start + len(axes)] == sizes and behind == place[1]:
                homes = {axis: start + step for step, (_, axis) in enumerate(axes)}
                return Layout(layout.grid, tuple(map(homes.get, range(len(layout.dims)))))
    if layout.moved:
        raise UnknownOperation("it re-shapes a flattened map whose order was changed")
    return _merged(layout, original, layout.merged_dims, after)


def _merged(
    layout: Layout, shape: tuple[int, ...], dims: tuple[int | None, ...], after: tuple[int, ...]
) -> Layout:
    """Axes merged into one dimension, or taken apart again as they were."""
    if after == shape:
        return Layout(layout.grid, dims)
    if math.prod(shape) != math.prod(after):
        raise UnknownOperation("it re-shapes part of a flattened map")
    carried = [dim for dim in dims if dim is not None]
    low = min(_behind(shape, dim) for dim in carried)
    high = max(_behind(shape, dim) * shape[dim] for dim in carried)
    for home in range(1, len(after)):
        if _behind(after, home) <= low and high <= _behind(after, home) * after[home]:
            homes = tuple(None if dim is None else home for dim in dims)
            return Layout(layout.grid, homes, shape, dims)
    raise UnknownOperation("it re-shapes rows and columns into one another")


def permute(call: Call) -> list[Read]:
    """Any new order of dimensions."""
    rank = len(call.input.shape)
    order = call.argument("dims")
    if isinstance(order, int) or order is None:
        order = [arg for arg in call.args[1:] if isinstance(arg, int)]
    order = [dimension(dim, rank) for dim in order]
    return [Read(call.input, {}, {dim: place for place, dim in enumerate(order)})]


def transpose(call: Call) -> list[Read]:
    """Two dimensions change places."""
    rank = len(call.input.shape)
    a, b = (dimension(call.argument(name), rank) for name in ("dim0", "dim1"))
    return [Read(call.input, {}, {a: b, b: a})]


def concatenation(call: Call) -> list[Read]:
    """``torch.cat``: along channels nothing moves, along an axis each part is shifted."""
    parts = call.argument("tensors")
    rank = len(parts[0].shape)
    dim = dimension(call.argument("dim", 0), rank)
    total = int(call.output.shape[dim])
    reads, offset = [], 0
    for part in parts:
        size = int(part.shape[dim])
        if isinstance(part, Value):
            reads.append(Read(part, {dim: Window(size, total, padding=offset)}))
        offset += size
    return reads


def stack(call: Call) -> list[Read]:
    """``torch.stack``: a new dimension."""
    dim = dimension(call.argument("dim", 0), len(call.output.shape))
    if dim == 0:
        raise UnknownOperation("it mixes the photos of a batch")
    moved: dict[int, int | None] = {d: d + 1 for d in range(dim, len(call.output.shape) - 1)}
    return [Read(value, {}, moved) for value in call.values()]


def flip(call: Call) -> list[Read]:
    """Back to front."""
    rank = len(call.input.shape)
    dims = call.argument("dims")
    if isinstance(dims, int):
        dims = [arg for arg in call.args[1:] if isinstance(arg, int)] or [dims]
    maps: dict[int, AxisMap] = {}
    for dim in (dimension(d, rank) for d in dims):
        size = call.input.shape[dim]
        maps[dim] = Table(size, np.arange(size)[::-1, None].copy())
    return [Read(call.input, maps)]


def roll(call: Call) -> list[Read]:
    """Shifted, what falls out comes in at the other end."""
    rank = len(call.input.shape)
    shifts, dims = call.argument("shifts"), call.argument("dims")
    if dims is None or dims == ():
        raise UnknownOperation("it rolls the flattened tensor")
    shifts, dims = ([one] if isinstance(one, int) else list(one) for one in (shifts, dims))
    maps: dict[int, AxisMap] = {}
    for shift, dim in zip(shifts, dims, strict=True):
        size = call.input.shape[dimension(dim, rank)]
        rows = (np.arange(size) - shift) % size
        maps[dimension(dim, rank)] = Table(size, rows[:, None])
    return [Read(call.input, maps)]


def narrow(call: Call) -> list[Read]:
    """``tensor.narrow``."""
    dim = dimension(call.argument("dim"), len(call.input.shape))
    start, length = call.argument("start"), call.argument("length")
    window = Window(call.input.shape[dim], length, padding=-dimension(start, call.input.shape[dim]))
    return [Read(call.input, {dim: window})]


def select(call: Call) -> list[Read]:
    """``tensor.select``: one index, the dimension is gone."""
    rank = len(call.input.shape)
    dim = dimension(call.argument("dim"), rank)
    index: list[Any] = [slice(None)] * rank
    index[dim] = call.argument("index")
    return indexing(call.input, tuple(index))


def getitem(call: Call) -> list[Read]:
    """``x[...]`` with integers, slices, None and lists of integers."""
    index = call.args[1]
    return indexing(call.input, index if isinstance(index, tuple) else (index,))


def indexing(value: Value, index: tuple[Any, ...]) -> list[Read]:
    """The reads of an index expression."""
    shape = value.shape
    named = sum(1 for one in index if one is not None and one is not Ellipsis)
    if Ellipsis not in [one for one in index if not isinstance(one, Tensor | Value | list)]:
        index = (*index, Ellipsis)
    maps: dict[int, AxisMap] = {}
    moved: dict[int, int | None] = {}
    lists = 0
    dim = home = 0
    for one in index:
        if one is None:
            home += 1
            continue
        if one is Ellipsis:
            for _ in range(len(shape) - named):
                moved[dim] = home
                dim, home = dim + 1, home + 1
            continue
        through, gone, several = _indexed(one, shape[dim])
        lists += several
        if dim == 0 and one != slice(None):
            raise UnknownOperation("it picks photos of a batch")
        maps[dim] = through
        moved[dim] = None if gone else home
        dim, home = dim + 1, home + (not gone)
    if lists > 1 or (lists and any(isinstance(one, int) for one in index)):
        raise UnknownOperation("it picks by several lists of indices at once")
    return [Read(value, maps, moved)]


def _indexed(one: Any, size: int) -> tuple[AxisMap, bool, bool]:
    """Map of the dimension; whether it is gone; whether a list picks."""
    if isinstance(one, bool | Value):
        raise UnknownOperation("it picks by computed indices")
    if isinstance(one, int):
        return Window(size, 1, padding=-dimension(one, size)), True, False
    if isinstance(one, slice):
        if any(isinstance(part, Value) for part in (one.start, one.stop, one.step)):
            raise UnknownOperation("it picks by computed indices")
        start, stop, step = one.indices(size)
        return (
            Window(size, len(range(start, stop, step)), stride=step, padding=-start),
            False,
            False,
        )
    if isinstance(one, list) and all(isinstance(i, int) for i in one):
        rows = np.array([dimension(i, size) for i in one], np.int64)
        return Table(size, rows[:, None]), False, True
    raise UnknownOperation("it picks by computed indices")


def parts(call: Call) -> list[tuple[int, int, int]]:
    """Of chunk, split and unbind: dimension, first index and length of each part."""
    pieces = call.output
    dim = dimension(call.argument("dim", 0), len(call.input.shape))
    found, offset = [], 0
    for piece in pieces:
        same_rank = piece.dim() == len(call.input.shape)
        length = int(piece.shape[dim]) if same_rank else 1
        found.append((dim, offset, length))
        offset += length
    return found


def part(split: Call, place: int) -> list[Read]:
    """One part of what was split."""
    dim, offset, length = parts(split)[operator.index(place)]
    window = Window(split.input.shape[dim], length, padding=-offset)
    piece = split.output[place]
    if piece.dim() == len(split.input.shape):
        return [Read(split.input, {dim: window})]
    moved: dict[int, int | None] = {d: d - 1 for d in range(dim + 1, len(split.input.shape))}
    return [Read(split.input, {dim: window}, {**moved, dim: None})]
