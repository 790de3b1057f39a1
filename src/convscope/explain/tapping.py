"""What some layers of a network give, and which inputs each of their units saw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from convscope.errors import InputError
from convscope.geometry.axes import Span
from convscope.geometry.fields import Field
from convscope.geometry.graph import NetGraph, Node
from convscope.geometry.tracing import trace_calls

# They keep each number's place.
_ACTIVATIONS = frozenset({"relu", "relu6", "relu_"})


@dataclass(frozen=True)
class Layer:
    """One layer whose units are looked at.

    Attributes
    ----------
    name : str
        As it was asked for.
    node : Node
        What gives its maps.
    channels : int
    grid : tuple of int
        Units of a channel along each axis of the input.
    field : tuple of Field
        What a unit sees, per axis.
    """

    name: str
    node: Node
    channels: int
    grid: tuple[int, ...]
    field: tuple[Field, ...]


class Tapped:
    """A network as far as some of its layers.

    To be called within :func:`~convscope.explain.asking.left_as_found`.

    Parameters
    ----------
    model : nn.Module
    shape : sequence of int
        Of one input: channels, space.
    layers : sequence of str
        Names as ``convscope describe`` lists them; the path of a block is its last layer.

    Attributes
    ----------
    layers : tuple of Layer

    Raises
    ------
    InputError
        The network cannot be traced, has no such layer, or it is not known what its units see.
    """

    def __init__(self, model: nn.Module, shape: Sequence[int], layers: Sequence[str]) -> None:
        if not layers:
            raise InputError("Name at least one layer.")
        traced = trace_calls(model, shape)
        if traced.module is None:
            raise InputError(
                f"What the units of {type(model).__name__} see is not known: it could not be "
                f"traced ({traced.graph.untraced})."
            )
        self.graph = traced.graph
        self.layers = tuple(_layer(self.graph, name) for name in dict.fromkeys(layers))
        by_place = {place: node for node, place in traced.places.items()}
        places = {node.name: place for place, node in enumerate(self.graph.nodes)}
        wanted = [by_place[places[layer.node.name]] for layer in self.layers]
        self._module = _as_far_as(traced.module, wanted)
        self._wanted = [one.name for one in wanted]
        self._before = [
            one.all_input_nodes[0].name if layer.node.kind.lower() in _ACTIVATIONS else one.name
            for layer, one in zip(self.layers, wanted, strict=True)
        ]
        self._boxes: dict[tuple[str, tuple[int, ...]], tuple[Span, ...] | None] = {}

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps ``(n, channels, *grid)`` of every layer; a gradient can be taken through them.

        Images ``(n, channels, *space)`` may have another space than the network was traced with.
        """
        return self._read(images, self._wanted)

    def before_activation(self, images: Tensor) -> tuple[Tensor, ...]:
        """The same maps, of ReLU and ReLU6 what goes into them."""
        return self._read(images, self._before)

    def _read(self, images: Tensor, names: Sequence[str]) -> tuple[Tensor, ...]:
        reader = _Reader(self._module, names)  # one for each thread that asks
        reader.run(images.clone())
        return tuple(
            found.reshape(*found.shape[:2], *[1] * len(layer.grid)) if found.ndim == 2 else found
            for layer, found in zip(
                self.layers, (reader.found[name] for name in names), strict=True
            )
        )

    def box(self, layer: Layer, unit: Sequence[int]) -> tuple[Span, ...] | None:
        """Which inputs a unit saw, as far as there are any; None if it saw nothing but padding."""
        key = layer.node.name, tuple(unit)
        if key not in self._boxes:
            self._boxes[key] = self.graph.receptive_box(layer.node, key[1])
        return self._boxes[key]

    def beyond(self, layer: Layer, unit: Sequence[int]) -> float:
        """The share of what a unit looks at that lies beyond the borders of the input."""
        box = self.box(layer, unit)
        if box is None:
            return 1.0
        inside = 1.0
        for field, span in zip(layer.field, box, strict=True):
            # Behind a global operation there is no border to look over.
            inside *= 1.0 if field.jump is None else min(1.0, span.size / field.size)
        return 1.0 - inside

    def alone(self, layer: Layer, image: Tensor, unit: Sequence[int]) -> Tensor | None:
        """What the network gives for the unit's patch and nothing around it.

        The same as it gave, up to rounding: no unit between reads beyond the patch, but where the
        input itself ends, and there the layers pad as they did. A patch that begins between two
        strides of the network is enlarged to the one before.

        Parameters
        ----------
        layer : Layer
        image : Tensor
            ``(channels, *space)``.
        unit : sequence of int

        Returns
        -------
        Tensor or None
            ``(channels,)``; None where the patch is too small for the network.
        """
        box = self.box(layer, unit)
        if box is None:
            return None
        place: list[int] = []
        inside: list[slice] = []
        for field, span, at, size in zip(layer.field, box, unit, image.shape[1:], strict=True):
            if field.jump is None:
                if span.size != size:
                    return None
                strides, start = 0, 0
            else:
                strides, start = _whole_strides(span.start, field.jump)
            place.append(at - strides)
            inside.append(slice(start, span.stop))
        patch = image[(slice(None), *inside)]
        try:
            maps = self(patch[None].contiguous())[self.layers.index(layer)]
        except RuntimeError:  # a kernel that is larger than the patch
            return None
        if any(not 0 <= at < size for at, size in zip(place, maps.shape[2:], strict=True)):
            return None
        index: tuple[Any, ...] = (0, slice(None), *place)
        return maps[index]


def _whole_strides(start: int, jump: Fraction) -> tuple[int, int]:
    """How many strides end before a place, at a whole input; and where the last of them does."""
    strides = int(start // jump)
    strides -= strides % jump.denominator
    return strides, int(strides * jump)


def _layer(graph: NetGraph, name: str) -> Layer:
    node = graph.layer(name)
    field = graph.field(node)
    if node.grid is None or field is None:
        raise InputError(f"What layer {name} sees is not known: {node.unknown}.")
    shape = node.output
    # A vector is a map of one unit.
    if not shape or (shape[1:] != node.grid and (len(shape), math.prod(node.grid)) != (1, 1)):
        raise InputError(f"Layer {name} gives no maps of channels. Name another.")
    return Layer(name, node, shape[0], node.grid, field)


def _as_far_as(module: fx.GraphModule, wanted: Sequence[fx.Node]) -> fx.GraphModule:
    """The calls that some of them need."""
    graph = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    last = max(list(module.graph.nodes).index(one) for one in wanted)
    for node in list(module.graph.nodes)[: last + 1]:
        copied[node] = graph.node_copy(node, lambda one: copied[one])
        copied[node].name = node.name
    graph.output(tuple(copied[one] for one in wanted))
    return fx.GraphModule(module, graph)


class _Reader(fx.Interpreter):
    """Keeps what some calls give, as it is before a later call writes into it."""

    def __init__(self, module: fx.GraphModule, wanted: Sequence[str]) -> None:
        super().__init__(module)
        self._wanted = wanted
        self.found: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        """See ``torch.fx.Interpreter``."""
        given = super().run_node(n)
        if n.name in self._wanted:
            self.found[n.name] = given.clone()
        return given


def reach_of(layer: Layer) -> tuple[int, ...]:
    """Units between which two patches of a layer overlap by half or less, per axis.

    A layer whose units all see the whole input has one patch.
    """
    return tuple(
        size if field.jump is None else max(1, math.ceil(field.size / 2 / field.jump))
        for field, size in zip(layer.field, layer.grid, strict=True)
    )


def peaks(maps: Tensor, most: int, reach: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The strongest units of each channel that are not near a stronger one.

    Parameters
    ----------
    maps : Tensor
        ``(n, channels, *grid)``.
    most : int
        How many.
    reach : sequence of int
        Two of them lie at least so many units apart along some axis.

    Returns
    -------
    numpy.ndarray
        float32 ``(n, channels, most)``, falling; -inf where there are no more.
    numpy.ndarray
        int64 ``(n, channels, most)``: number of the unit on the flattened grid.
    """
    n, channels, *grid = maps.shape
    left = maps.detach().float().clone()
    values, units = [], []
    axes = [torch.arange(size, device=maps.device) for size in grid]
    for _ in range(most):
        value, unit = left.flatten(2).max(2)
        values.append(value)
        units.append(unit)
        if len(values) < most:
            near = torch.ones((n, channels, *grid), dtype=torch.bool, device=maps.device)
            rest = unit
            for axis in reversed(range(len(grid))):
                at, rest = rest % grid[axis], rest // grid[axis]
                apart = (axes[axis] - at[..., None]).abs() < reach[axis]
                shape = [size if k == axis else 1 for k, size in enumerate(grid)]
                near &= apart.reshape(n, channels, *shape)
            left.masked_fill_(near, -math.inf)
    return (
        torch.stack(values, 2).cpu().numpy(),
        torch.stack(units, 2).cpu().numpy(),
    )
