"""1 × 1 convolutions, the bottleneck, the Inception module, and DepthConcat of unlike sizes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, get_args

import torch
from torch import nn
from torch.nn import functional

from convscope.geometry import trace
from convscope.lessons.convolution import Rows
from convscope.lessons.lesson import Lesson, Step, grid, number, signed
from convscope.nets.googlenet import GoogLeNet2014
from convscope.nets.inception import Inception, Placement, depth_concat

# Three channels of 3 × 3 pixels, and two filters with one weight for each channel.
CHANNELS: Sequence[Rows] = (
    ((1, 2, 0), (3, 1, 2), (0, 1, 4)),
    ((0, 1, 1), (2, 5, 0), (1, 0, 2)),
    ((2, 0, 3), (1, 4, 1), (0, 2, 1)),
)
FILTERS: Rows = ((1, -1, 2), (0, 3, 1))
# The middle: what the first step is about.
_AT = (1, 1)

# A 5 × 5 of the module 3a, at its place in the network.
BOTTLENECK: dict[str, int] = {"side": 28, "inputs": 192, "outputs": 32, "reduce": 16, "kernel": 5}
# GoogLeNet's modules, and the side of their maps for a photo of 224 × 224.
MODULES: dict[str, int] = {
    "3a": 28, "3b": 28, "4a": 14, "4b": 14, "4c": 14, "4d": 14, "4e": 14, "5a": 7, "5b": 7,
}  # fmt: skip
SIZES = (5, 3, 2)


def mix(channels: Sequence[Rows], filters: Rows) -> list[list[list[float]]]:
    """What a 1 × 1 convolution without biases gives: one plane for each filter."""
    planes = torch.tensor(channels, dtype=torch.float64)
    weights = torch.tensor(filters, dtype=torch.float64)
    mixed: list[list[list[float]]] = functional.conv2d(planes, weights[..., None, None]).tolist()
    return mixed


def bottleneck(
    *, side: int, inputs: int, outputs: int, reduce: int, kernel: int
) -> dict[str, list[list[int]]]:
    """What a convolution costs, alone and behind a 1 × 1 convolution; without biases.

    Parameters
    ----------
    side : int
        Of the map, in units; it keeps its size.
    inputs, outputs : int
        Channels.
    reduce : int
        Channels between the two convolutions.
    kernel : int
        Odd.

    Returns
    -------
    dict
        ``direct`` and ``reduced``: weights and multiply-adds of each convolution in turn.
    """
    costs = {}
    for key, between in (("direct", [inputs, outputs]), ("reduced", [inputs, reduce, outputs])):
        with torch.device("meta"):
            convs = nn.Sequential()
            for before, after in pairwise(between):
                size = kernel if after == outputs and len(convs) == len(between) - 2 else 1
                convs.append(nn.Conv2d(before, after, size, padding=size // 2, bias=False))
        nodes = trace(convs, (inputs, side, side)).nodes[1:]
        costs[key] = [[node.parameters, node.macs] for node in nodes]
    return costs


def module_rows(module: Inception, inputs: int, side: int) -> list[dict[str, Any]]:
    """The layers of a module, branch by branch.

    Parameters
    ----------
    module : Inception
    inputs : int
        Channels that it takes.
    side : int
        Of the map, in units.

    Returns
    -------
    list of dict
        ``branch`` from 1, ``kind`` (``convolution`` or ``max pool``), ``kernel``, ``outputs``
        (channels), ``weights``, ``biases``, ``macs``.
    """
    graph = trace(module, (inputs, side, side))
    rows: list[dict[str, Any]] = []
    for name, part in module.named_modules():
        branch = {"branch": int(name.removeprefix("branch")[0])} if name else {}
        if isinstance(part, nn.Conv2d):
            rows.append(
                {
                    **branch,
                    "kind": "convolution",
                    "kernel": part.kernel_size[0],
                    "outputs": part.out_channels,
                    "weights": part.weight.numel(),
                    "biases": 0 if part.bias is None else part.bias.numel(),
                    "macs": graph.layer(name).macs,
                }
            )
        elif isinstance(part, nn.MaxPool2d):
            costs = {"outputs": inputs, "weights": 0, "biases": 0, "macs": 0}
            rows.append({**branch, "kind": "max pool", "kernel": part.kernel_size, **costs})
    return rows


def modules() -> dict[str, dict[str, Any]]:
    """GoogLeNet's nine modules: what they take, their widths, their layers."""
    with torch.device("meta"):
        net = GoogLeNet2014(aux_heads=False)
    found = {}
    for name, side in MODULES.items():
        module: Any = getattr(net, f"inception{name}")
        inputs = module.branch1.conv.in_channels
        rows = module_rows(module, inputs, side)
        widths = [row["outputs"] for row in rows if row["kind"] == "convolution"]
        found[name] = {"side": side, "inputs": inputs, "widths": widths, "rows": rows}
    return found


def joined(sizes: Sequence[int], placement: Placement = "centre") -> list[list[list[float]]]:
    """Square maps of these sizes, one channel each, full of 1, of 2, ..., through DepthConcat."""
    maps = [torch.full((1, 1, side, side), float(at)) for at, side in enumerate(sizes, 1)]
    planes: list[list[list[float]]] = depth_concat(maps, placement)[0].tolist()
    return planes


def lesson() -> Lesson:
    """The examples of the course on Inception."""
    mixed = mix(CHANNELS, FILTERS)
    costs = bottleneck(**BOTTLENECK)
    all_modules = modules()
    placements: tuple[Placement, ...] = get_args(Placement)
    return Lesson(
        "inception",
        "1 × 1 convolutions and the Inception module",
        "A 1 × 1 convolution mixes channels pixel by pixel, and makes large filters cheap; an "
        "Inception module looks with several filter sizes at once.",
        (
            *_mixing(mixed),
            _saving(costs),
            *(_module(name, module) for name, module in all_modules.items()),
            _concat(),
        ),
        {
            "channels": [[list(row) for row in plane] for plane in CHANNELS],
            "filters": [list(row) for row in FILTERS],
            "mixed": mixed,
            "bottleneck": {**BOTTLENECK, **costs},
            "modules": all_modules,
            "sizes": list(SIZES),
            "joined": {placement: joined(SIZES, placement) for placement in placements},
        },
    )


def _mixing(mixed: Sequence[Rows]) -> list[Step]:
    r, c = _AT
    pixel = [plane[r][c] for plane in CHANNELS]
    lines = []
    for at, weights in enumerate(FILTERS):
        terms = " + ".join(f"{number(x)}·{signed(w)}" for x, w in zip(pixel, weights, strict=True))
        lines.append(f"filter {at + 1}: {terms} = {number(mixed[at][r][c])}")
    planes = [grid(f"channel {at}", plane, [_AT]) for at, plane in enumerate(CHANNELS, 1)]
    return [
        Step(
            "A 1 × 1 convolution at one pixel",
            f"Pixel in row {r + 1}, column {c + 1}: its channels are "
            f"{', '.join(map(number, pixel))}. Each filter has one weight for each channel, and "
            "gives their dot product:\n" + "\n".join(lines),
            (*planes, grid("filters, one a row", FILTERS)),
        ),
        Step(
            "At every pixel",
            f"{len(CHANNELS)} channels in, {len(FILTERS)} out; the map keeps its size.",
            tuple(grid(f"result {at}", plane, [_AT]) for at, plane in enumerate(mixed, 1)),
        ),
    ]


def _saving(costs: dict[str, list[list[int]]]) -> Step:
    side, inputs, outputs, reduce, kernel = BOTTLENECK.values()
    (direct,), (first, then) = costs["direct"], costs["reduced"]
    area = f"{side}·{side}"
    size = f"{kernel} × {kernel}"
    weights, macs = first[0] + then[0], first[1] + then[1]
    return Step(
        "A bottleneck makes it cheap",
        f"{size} on {inputs} channels to {outputs}, on a map of {side} × {side}, "
        "without biases.\n"
        f"Alone:\n  weights {kernel}·{kernel}·{inputs}·{outputs} = {direct[0]:,}\n"
        f"  multiply-adds {direct[0]:,}·{area} = {direct[1]:,}\n"
        f"With a 1 × 1 convolution to {reduce} channels before it:\n"
        f"  weights {inputs}·{reduce} + {kernel}·{kernel}·{reduce}·{outputs} = "
        f"{first[0]:,} + {then[0]:,} = {weights:,}\n"
        f"  multiply-adds {weights:,}·{area} = {macs:,}\n"
        f"That is {direct[1] / macs:.1f} times less.",
    )


def _module(name: str, module: dict[str, Any]) -> Step:
    lines = [f"{'branch':<7} {'layer':<20} {'gives':>14} {'weights':>9} {'multiply-adds':>14}"]
    side = module["side"]
    for row in module["rows"]:
        layer = f"{row['kernel']} × {row['kernel']} {row['kind']}"
        shape = f"{row['outputs']} × {side} × {side}"
        lines.append(
            f"{row['branch']:<7} {layer:<20} {shape:>14} {row['weights']:>9,} {row['macs']:>14,}"
        )
    ends = {row["branch"]: row["outputs"] for row in module["rows"]}
    weights, biases, macs = (
        sum(row[key] for row in module["rows"]) for key in ("weights", "biases", "macs")
    )
    dearest = max(module["rows"], key=lambda row: row["macs"])
    share, branch, kernel = dearest["macs"] / macs, dearest["branch"], dearest["kernel"]
    said = (
        f"The {kernel} × {kernel} convolution of branch {branch} does {share:.0%} of the work; "
        "without the 1 × 1 before it, it would do more still."
        if kernel > 1
        else f"The 1 × 1 convolution of branch {branch} does {share:.0%} of the work."
    )
    return Step(
        f"Inception {name}",
        f"Takes {module['inputs']} × {side} × {side}. {said}\n"
        + "\n".join(lines)
        + f"\nDepthConcat: {' + '.join(map(str, ends.values()))} = {sum(ends.values())} channels. "
        f"{weights:,} weights and {biases} biases, {macs:,} multiply-adds.",
    )


def _concat() -> Step:
    largest = max(SIZES)
    said = [
        f"{side} × {side}: {largest} - {side} = {largest - side} rows are missing, "
        f"{(largest - side) // 2} of them above, {largest - side - (largest - side) // 2} below"
        for side in SIZES
    ]
    return Step(
        "DepthConcat of unlike sizes",
        "Smaller maps get zeros around them, half of them before (rounded down); columns "
        "likewise.\n" + "\n".join(said),
        tuple(
            grid(
                f"channel {at}, from {side} × {side}",
                plane,
                [(r, c) for r, row in enumerate(plane) for c, value in enumerate(row) if value],
            )
            for at, (side, plane) in enumerate(zip(SIZES, joined(SIZES), strict=True), 1)
        ),
    )
