"""A plan made ready to run: what each step reads of which map, and what that takes of memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from convscope.incremental.lowering import Program, Step
from convscope.incremental.regions import Plan, Region


@dataclass(frozen=True)
class Reading:
    """How a step reads one of its sources.

    Attributes
    ----------
    source : fx.Node
    size : tuple of int
        Of the window, per axis.
    starts : tuple of Tensor
        Per axis, int64 ``(starts,)``: where the window begins, for every start of a box.
    fill : float
        What lies beyond the ends of the map.
    direct : bool
        Whether the window is the patch itself, in every case.
    """

    source: fx.Node
    size: tuple[int, ...]
    starts: tuple[Tensor, ...]
    fill: float
    direct: bool


@dataclass(frozen=True)
class Layout:
    """All that a batch needs to know.

    Attributes
    ----------
    plan : Plan
    starts : mapping of fx.Node to tuple of Tensor
        Where patches begin, see :class:`Region`.
    readings : mapping of fx.Node to tuple of Reading
        Of the steps that work on parts.
    kept : mapping of fx.Node to tuple of float
        Maps that are read from memory, and what is read beyond their ends.
    kept_numbers : int
        Of these, for one image.
    batch_numbers : int
        Most numbers that are held at a time for one position.
    """

    plan: Plan
    starts: Mapping[fx.Node, tuple[Tensor, ...]]
    readings: Mapping[fx.Node, tuple[Reading, ...]]
    kept: Mapping[fx.Node, tuple[float, ...]]
    kept_numbers: int
    batch_numbers: int


def lay_out(program: Program, plan: Plan, device: torch.device) -> Layout:
    """Make a plan ready to run on a device."""
    starts = {
        node: tuple(torch.from_numpy(one).to(device) for one in region.starts)
        for node, region in plan.regions.items()
    }
    readings: dict[fx.Node, tuple[Reading, ...]] = {}
    kept: dict[fx.Node, set[float]] = {}
    for step in program.steps:
        if step.node in plan.local:
            readings[step.node] = _readings(step, plan, starts)
            for one in readings[step.node]:
                if not one.direct:
                    kept.setdefault(one.source, set()).add(one.fill)
            continue
        for source in () if step.shapes_only else step.sources:
            if source in plan.regions and not plan.regions[source].whole:
                kept.setdefault(source, set()).add(0.0)
    if not plan.regions[program.output].whole if program.output in plan.regions else False:
        kept.setdefault(program.output, set()).add(0.0)
    # The input's patch is pasted into it where the first step needs all of it.
    shapes = {**program.shapes, program.input: program.shape}
    return Layout(
        plan, starts, readings,
        {node: tuple(sorted(fills)) for node, fills in kept.items()},
        sum(math.prod(shapes[node]) for node in kept),
        _most_at_a_time(program, plan, readings),
    )  # fmt: skip


def _readings(
    step: Step, plan: Plan, starts: Mapping[fx.Node, tuple[Tensor, ...]]
) -> tuple[Reading, ...]:
    region = plan.regions[step.node]
    found = []
    for source, windows in zip(step.sources, step.windows, strict=True):
        first = tuple(
            begin * w.stride - w.padding
            for begin, w in zip(starts[step.node], windows, strict=True)
        )
        size = tuple(
            (length - 1) * w.stride + w.dilation * (w.kernel_size - 1) + 1
            for length, w in zip(region.size, windows, strict=True)
        )
        before = plan.regions[source]
        direct = size == before.size and all(
            bool((a == b).all()) for a, b in zip(first, starts[source], strict=True)
        )
        fill = 0.0 if step.operation is None else step.operation.fill
        found.append(Reading(source, size, first, fill, direct))
    return tuple(found)


def _most_at_a_time(
    program: Program, plan: Plan, readings: Mapping[fx.Node, tuple[Reading, ...]]
) -> int:
    """Numbers held for one position while it goes through, at most."""
    held: dict[fx.Node, int] = {program.input: _numbers(program.shape, plan.regions[program.input])}
    most = 0
    for step in program.steps:
        region = plan.regions.get(step.node)
        held[step.node] = _numbers(step.shape, region) if step.shape else 0
        windows = 0
        for place, source in enumerate(step.sources):
            before = plan.regions.get(source)
            if step.node in readings:
                one = readings[step.node][place]
                windows += 0 if one.direct else _channels(program, source) * math.prod(one.size)
            elif before is not None and not before.whole:
                windows += math.prod(program.shapes.get(source, program.shape))
        most = max(most, sum(held.values()) + windows)
        for source in step.last:
            held.pop(source, None)
    return most


def _channels(program: Program, node: fx.Node) -> int:
    return program.shapes.get(node, program.shape)[0]


def _numbers(shape: tuple[int, ...], region: Region | None) -> int:
    if region is None:
        return math.prod(shape)
    return shape[0] * math.prod(region.size)
