"""What a unit sees: one 7 × 7 against 3 × 3 upon 3 × 3, then any layer of eight networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from convscope.demo.scene import render_scene
from convscope.describing import Description, Layer, describe
from convscope.geometry import NetGraph, Span, trace
from convscope.lessons.lesson import Lesson, Step, grid, number
from convscope.pictures.svg import data_uri

# Of each, how deep its rows go: single layers of the plain ones, blocks of the others.
NETWORKS: dict[str, int] = {
    "lenet5": 2,
    "alexnet": 2,
    "vgg16": 2,
    "googlenet_2014": 1,
    "resnet18": 2,
    "resnet50": 2,
    "mobilenet_v2": 2,
    "squeezenet1_1": 2,
}
# Kernel size and layers; the first is what the others are compared with.
STACKS: tuple[tuple[int, int], ...] = ((7, 1), (3, 2), (3, 3))
CHANNELS = 64
# The photo that convscope draws for its pictures of receptive fields.
_LABEL, _SEED, _INDEX, _SIDE = "bird", 3, 0, 224


def stack(kernel_size: int, layers: int, channels: int) -> nn.Sequential:
    """Convolutions of one size one upon the other, ``channels`` in and out, without biases."""
    return nn.Sequential(
        *(
            nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, bias=False)
            for _ in range(layers)
        )
    )


def stack_fields(kernel_size: int, layers: int) -> list[int]:
    """Side of the receptive field after each layer of a :func:`stack`."""
    graph = trace(stack(kernel_size, layers, 1), (1, 64, 64))
    return [fields[0].size for node in graph.nodes[1:] if (fields := graph.field(node))]


def stack_weights(kernel_size: int, layers: int, channels: int) -> int:
    """How many weights a :func:`stack` has."""
    with torch.device("meta"):
        return sum(one.numel() for one in stack(kernel_size, layers, channels).parameters())


def unit_spans(graph: NetGraph, axis: int = 0) -> list[list[Span | None] | None]:
    """What every unit of every node sees along one axis, clipped to the input, exactly.

    Walks forward: the first input that a unit sees is the first that any unit it reads sees. At
    the borders the closed formula can say more than is seen, because units that lie in the
    padding of a later layer see nothing.

    Parameters
    ----------
    graph : NetGraph
    axis : int

    Returns
    -------
    list of (list of (Span or None) or None)
        One list per node, one span per unit; None for a unit that sees padding only, and for a
        node whose connections are not known.
    """
    size = (graph.nodes[0].grid or ())[axis]
    # First and last input per unit; infinite where nothing is seen.
    bounds: list[tuple[np.ndarray, np.ndarray] | None] = [
        (np.arange(size, dtype=float), np.arange(size, dtype=float))
    ]
    for node in graph.nodes[1:]:
        if node.grid is None:
            bounds.append(None)
            continue
        first, last = np.full(node.grid[axis], np.inf), np.full(node.grid[axis], -np.inf)
        for source in node.sources:
            before = bounds[source.node]
            if before is None:
                continue
            reads = source.maps[axis].reads
            if reads is None:
                first, last = np.minimum(first, before[0].min()), np.maximum(last, before[1].max())
            else:  # one more, of a unit that sees nothing, for the places that hold no index (-1)
                first = np.minimum(first, np.append(before[0], np.inf)[reads].min(axis=1))
                last = np.maximum(last, np.append(before[1], -np.inf)[reads].max(axis=1))
        bounds.append((first, last))
    return [None if both is None else _spans(*both) for both in bounds]


def network(name: str, depth: int) -> dict[str, Any]:
    """A network of the catalogue as the page shows it; its inputs and fields are square.

    Parameters
    ----------
    name : str
    depth : int
        See :meth:`~convscope.describing.Description.folded`.

    Returns
    -------
    dict
        JSON values. Left out are layers that neither multiply nor change what units see.
    """
    described = describe(name)
    spans = unit_spans(described.graph)
    places = {node.name: place for place, node in enumerate(described.graph.nodes)}
    layers = []
    for layer in _telling(described.folded(depth)):
        node = described.graph.layer(layer.name)
        seen = spans[places[node.name]] or []
        layers.append(
            {
                "name": layer.name,
                "kind": layer.kind,
                "channels": (layer.output or (0,))[0],
                "field": (layer.receptive_field or (0,))[0],
                "jump": _jump(layer),
                "weights": layer.parameters,
                "macs": layer.macs,
                "spans": [None if span is None else list(span) for span in seen],
            }
        )
    return {
        "input": list(described.input),
        # Without auxiliary heads, which only training uses.
        "weights": sum(layer.parameters for layer in described.layers),
        "macs": described.macs,
        "layers": layers,
    }


def lesson() -> Lesson:
    """The comparison of the course, then the networks."""
    stacks = [
        {
            "kernel": kernel,
            "layers": layers,
            "fields": stack_fields(kernel, layers),
            "weights": stack_weights(kernel, layers, 1),
        }
        for kernel, layers in STACKS
    ]
    networks = {name: network(name, depth) for name, depth in NETWORKS.items()}
    photo = render_scene(_LABEL, seed=_SEED, index=_INDEX, size=_SIDE).image
    return Lesson(
        "receptive-fields",
        "What a unit sees",
        "Small filters one upon the other see as much as one large filter, with fewer weights; "
        "strides make what is seen grow faster.",
        (*_comparison(), _growth(networks["vgg16"]["layers"]), *_tables(networks)),
        {
            "stacks": stacks,
            "channels": CHANNELS,
            "networks": networks,
            "photo": data_uri(photo),
        },
    )


def _spans(first: np.ndarray, last: np.ndarray) -> list[Span | None]:
    return [
        Span(int(a), int(b) + 1) if math.isfinite(a) else None
        for a, b in zip(first, last, strict=True)
    ]


def _telling(described: Description) -> list[Layer]:
    """The rows that multiply, or change what units see."""
    kept: list[Layer] = []
    before: tuple[object, ...] | None = None
    for layer in described.layers:
        now = (layer.receptive_field, layer.start, described.graph.layer(layer.name).grid)
        if layer.macs or now != before:
            kept.append(layer)
        before = now
    return kept


def _jump(layer: Layer) -> int | None:
    jump = layer.jump[0] if layer.jump else None
    return None if jump is None else int(jump)


def _comparison() -> list[Step]:
    fields = stack_fields(3, 3)
    sums, before = [], 1
    for field in fields:
        sums.append(f"{before} + {field - before} = {field}")
        before = field
    names = ("one 7 × 7", "two 3 × 3", "three 3 × 3")
    written = []
    for name, (kernel, layers) in zip(names, STACKS, strict=True):
        each = f"{kernel}·{kernel}·C·C" if layers == 1 else f"{layers}·{kernel}·{kernel}·C·C"
        written.append(
            f"{name:<12} sees {stack_fields(kernel, layers)[-1]}   weights {each} = "
            f"{stack_weights(kernel, layers, 1)}·C²   C = {CHANNELS}: "
            f"{stack_weights(kernel, layers, CHANNELS):,}"
        )
    return [
        Step(
            "3 × 3, three times",
            "A unit sees itself (1). Each 3 × 3 adds one pixel on either side:\n"
            + "\n".join(sums)
            + "\nThree of them see what one 7 × 7 sees.",
            tuple(
                grid(f"after layer {depth}", *_square(field, fields[-1]))
                for depth, field in enumerate(fields, 1)
            ),
        ),
        Step(
            "What that costs",
            "With C channels in and C out, without biases:\n" + "\n".join(written),
        ),
    ]


def _square(side: int, of: int) -> tuple[list[list[float]], list[tuple[int, int]]]:
    edge = (of - side) // 2
    cells = [(r, c) for r in range(edge, edge + side) for c in range(edge, edge + side)]
    return [[float((r, c) in cells) for c in range(of)] for r in range(of)], cells


def _growth(layers: Sequence[dict[str, Any]]) -> Step:
    """The sums of VGG16, where every row is one layer."""
    lines, field, jump = [], 1, 1
    for layer in layers:
        if layer["jump"] is None:
            break
        taps = (layer["field"] - field) // jump
        lines.append(
            f"{layer['name']:<12} {layer['kind']:<10} {field} + {taps}·{jump} = {layer['field']}"
            f"   jump {layer['jump']}"
        )
        field, jump = layer["field"], layer["jump"]
    return Step(
        "How it grows in VGG16",
        "Each layer adds (kernel size - 1) · jump of the layer before. The jump is how many pixels "
        "lie from one unit to the next; a stride of 2 doubles it.\n" + "\n".join(lines),
    )


def _tables(networks: dict[str, dict[str, Any]]) -> list[Step]:
    steps = []
    for name, net in networks.items():
        lines = [f"{'layer':<16} units sees jump {'weights':>12} {'multiply-adds':>14}"]
        lines += [
            f"{layer['name']:<16} {len(layer['spans']):>5} {layer['field']:>4} "
            f"{'' if layer['jump'] is None else number(layer['jump']):>4} "
            f"{layer['weights']:>12,} {layer['macs']:>14,}"
            for layer in net["layers"]
        ]
        total = f"{net['weights']:,} weights, {net['macs']:,} multiply-adds"
        size = " × ".join(map(str, net["input"][1:]))
        text = f"{size} pixels; {total}.\n" + "\n".join(lines)
        steps.append(Step(name, text))
    return steps
