"""A network as a graph of operations with known geometry, and what its units see.

>>> import torch
>>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 8, 3))
>>> from convscope.geometry import trace
>>> graph = trace(net, (3, 32, 32))
>>> [field.size for field in graph.field(graph.layer("1"))]
[5, 5]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from convscope.errors import InputError, unknown_name
from convscope.geometry.axes import AxisMap, Span, hull, mask_backward, mask_forward
from convscope.geometry.fields import Field, Link, axis_fields


@dataclass(frozen=True)
class Source:
    """One input of a node.

    Attributes
    ----------
    node : int
        Place in the graph.
    maps : tuple of AxisMap
        One per spatial axis of the network's input.
    """

    node: int
    maps: tuple[AxisMap, ...]


@dataclass(frozen=True)
class Node:
    """One call in the network.

    Attributes
    ----------
    name : str
        Unique: the module's path, or the function's name with a number.
    kind : str
        Class of the module, name of the function; ``input`` for the network's input.
    output : tuple of int or None
        Shape without the batch; None where it gives no single tensor.
    grid : tuple of int or None
        Units along each spatial axis of the input; 1 where the axis is gone, None if not known.
    sources : tuple of Source
    parameters, trainable : int
        Of the module itself, counted at its first call only.
    macs : int
        Multiply-adds for one input.
    bytes : int
        Of its output, for one input.
    unknown : str or None
        Why its receptive field is not known.
    module : bool
        Whether it is a call of a module.
    """

    name: str
    kind: str
    output: tuple[int, ...] | None
    grid: tuple[int, ...] | None
    sources: tuple[Source, ...] = ()
    parameters: int = 0
    trainable: int = 0
    macs: int = 0
    bytes: int = 0
    unknown: str | None = None
    module: bool = False


@dataclass(frozen=True)
class NetGraph:
    """A traced network.

    Attributes
    ----------
    nodes : tuple of Node
        In the order of computation; the input first.
    parameters, trainable : int
        Of the whole network, shared ones once.
    untraced : str or None
        Why the network could not be traced; receptive fields are unknown then.
    """

    nodes: tuple[Node, ...]
    parameters: int
    trainable: int
    untraced: str | None = None

    @property
    def input(self) -> tuple[int, ...]:
        """Shape of one input: channels and spatial axes."""
        return self.nodes[0].output or ()

    @property
    def macs(self) -> int:
        """Multiply-adds for one input."""
        return sum(node.macs for node in self.nodes)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {node.name: place for place, node in enumerate(self.nodes)}

    def layer(self, name: str) -> Node:
        """A node by its name; by the path of a module with others in it, its last node.

        Raises
        ------
        InputError
            With the nearest name.
        """
        if name in self._places:
            return self.nodes[self._places[name]]
        inside = [node for node in self.nodes if node.name.startswith(f"{name}.")]
        if not inside:
            raise unknown_name("layer", name, self._places)
        return inside[-1]

    def field(self, node: Node) -> tuple[Field, ...] | None:
        """The receptive field of a node's units on the input, one per axis; None if not known."""
        if node.grid is None:
            return None
        place = self._places[node.name]
        return tuple(fields[place] for fields in self._fields)

    @cached_property
    def _fields(self) -> list[list[Field]]:
        axes = len(self.nodes[0].grid or ())
        return [axis_fields(self._chain(axis)) for axis in range(axes)]

    def _chain(self, axis: int) -> list[Link]:
        return [
            Link(
                size=1 if node.grid is None else node.grid[axis],
                sources=tuple((source.node, source.maps[axis]) for source in node.sources),
            )
            for node in self.nodes
        ]

    def receptive_mask(self, node: Node | str, unit: Sequence[int]) -> np.ndarray:
        """Exactly which inputs one unit sees.

        Parameters
        ----------
        node : Node or str
            Or its name, see :meth:`layer`.
        unit : sequence of int
            Its place on the node's grid, one index per axis of the input.

        Returns
        -------
        numpy.ndarray
            Boolean, of the input's spatial shape.

        Raises
        ------
        InputError
            If the node's receptive field is not known or there is no such unit.
        """
        node = self.layer(node) if isinstance(node, str) else node
        grid = self._grid(node)
        if len(unit) != len(grid) or any(
            not 0 <= at < size for at, size in zip(unit, grid, strict=True)
        ):
            raise InputError(f"Layer {node.name} has no unit {tuple(unit)}: its grid is {grid}.")
        mask = np.zeros(grid, bool)
        mask[tuple(unit)] = True
        last = self._places[node.name]
        masks: dict[int, np.ndarray] = {last: mask}
        for place in range(last, 0, -1):
            mask = masks.pop(place, np.zeros(0, bool))
            for source in self.nodes[place].sources if mask.any() else ():
                found = mask
                for axis, through in enumerate(source.maps):
                    found = mask_backward(found, axis, through)
                before = masks.get(source.node)
                masks[source.node] = found if before is None else before | found
        return masks.get(0, np.zeros(self._grid(self.nodes[0]), bool))

    def receptive_box(self, node: Node | str, unit: Sequence[int]) -> tuple[Span, ...] | None:
        """The smallest box of inputs that holds all that one unit sees; None if it sees padding.

        See :meth:`receptive_mask`. What lies in the padding is no part of it.
        """
        return box_of(self.receptive_mask(node, unit))

    def influence_masks(self, changed: np.ndarray) -> list[np.ndarray | None]:
        """Exactly which units of every node can change with some inputs.

        Parameters
        ----------
        changed : numpy.ndarray
            Boolean, of the input's spatial shape.

        Returns
        -------
        list of numpy.ndarray or None
            One per node in the order of ``nodes`` (the input first), boolean, of its grid; None
            where that is not known.
        """
        if changed.shape != self._grid(self.nodes[0]):
            raise InputError(
                f"The changed inputs have shape {changed.shape}, the input has "
                f"{self._grid(self.nodes[0])}."
            )
        masks: list[np.ndarray | None] = [changed.astype(bool)]
        for node in self.nodes[1:]:
            if node.grid is None:
                masks.append(None)
                continue
            mask = np.zeros(node.grid, bool)
            for source in node.sources:
                found = masks[source.node]
                for axis, through in enumerate(source.maps):
                    found = None if found is None else mask_forward(found, axis, through)
                if found is not None:
                    mask |= found
            masks.append(mask)
        return masks

    def influence_boxes(self, changed: Sequence[Span]) -> list[tuple[Span, ...] | None]:
        """As :meth:`influence_masks`, in intervals: the units of every node that can change.

        Much faster, for many regions; where an operation leaves holes the boxes cover them.
        None where nothing changes, or where that is not known (the node then has no grid).
        """
        boxes: list[tuple[Span, ...] | None] = [tuple(changed)]
        for node in self.nodes[1:]:
            reached: list[tuple[Span, ...]] = []
            for source in node.sources:
                box = boxes[source.node]
                if box is None:
                    continue
                spans = [m.forward(span) for m, span in zip(source.maps, box, strict=True)]
                whole = tuple(span for span in spans if span is not None)
                if len(whole) == len(spans):
                    reached.append(whole)
            boxes.append(_box_around(reached))
        return boxes

    def _grid(self, node: Node) -> tuple[int, ...]:
        if node.grid is None:
            raise InputError(
                f"The receptive field of layer {node.name} is not known: {node.unknown}."
            )
        return node.grid


def box_of(mask: np.ndarray) -> tuple[Span, ...] | None:
    """The smallest box around what is True in a mask; None if nothing is."""
    if not mask.any():
        return None
    spans = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        spans.append(Span(int(hit[0]), int(hit[-1]) + 1))
    return tuple(spans)


def _box_around(boxes: Sequence[tuple[Span, ...]]) -> tuple[Span, ...] | None:
    spans = [hull(along) for along in zip(*boxes, strict=True)]
    return tuple(span for span in spans if span is not None) if spans else None
