"""Which part of every map changed boxes of one size can reach, as patches of one size per map.

Axis by axis: the starts of boxes along an axis are few, however many boxes there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import fx

from convscope.geometry.axes import Window
from convscope.incremental.lowering import Program, Step

# Patches that are this share of the map are not worth cutting out.
_NEARLY_WHOLE = 0.9
_NOTHING = np.iinfo(np.int64).max // 4


@dataclass(frozen=True)
class Reach:
    """What changes along one axis of a map, for every start of a box.

    Attributes
    ----------
    start, stop : numpy.ndarray
        int64 ``(starts,)``; where nothing changes, ``stop`` is below ``start``.
    """

    start: np.ndarray
    stop: np.ndarray

    @property
    def size(self) -> int:
        """The most that changes."""
        return max(1, int((self.stop - self.start).max()))

    @property
    def sizes(self) -> np.ndarray:
        """How much changes, for every start."""
        return np.asarray(np.maximum(self.stop - self.start, 0))

    @property
    def mean(self) -> float:
        """How much changes in the mean."""
        return float(self.sizes.mean())


@dataclass(frozen=True)
class Region:
    """The patches of one map.

    Attributes
    ----------
    size : tuple of int
        Per axis.
    starts : tuple of numpy.ndarray
        Per axis, int64 ``(starts,)``: where the patch begins, for every start of a box; it lies
        inside the map.
    whole : bool
        Whether it is all of the map.
    """

    size: tuple[int, ...]
    starts: tuple[np.ndarray, ...]
    whole: bool


@dataclass(frozen=True)
class Plan:
    """How boxes of one size are answered for.

    Attributes
    ----------
    starts : tuple of numpy.ndarray
        Per axis, sorted: where boxes begin.
    regions : mapping of fx.Node to Region
        Of every map that is computed in part or whole; what is missing is no map.
    local : frozenset of fx.Node
        What is computed in part.
    share : float
        Multiply-adds of one position over those of a whole pass.
    ceiling : float
        Multiply-adds of a whole pass over those of what changes, in the mean.
    """

    starts: tuple[np.ndarray, ...]
    regions: Mapping[fx.Node, Region]
    local: frozenset[fx.Node]
    share: float
    ceiling: float


def through(window: Window, given: Reach) -> Reach:
    """What changes behind an operation."""
    start = np.full_like(given.start, _NOTHING)
    stop = np.full_like(given.stop, -_NOTHING)
    some = given.stop > given.start
    for tap in range(window.kernel_size):
        offset = tap * window.dilation - window.padding
        first = np.maximum(0, -((offset - given.start) // window.stride))
        last = np.minimum(window.size_out - 1, (given.stop - 1 - offset) // window.stride)
        found = some & (first <= last)
        start = np.where(found, np.minimum(start, first), start)
        stop = np.where(found, np.maximum(stop, last + 1), stop)
    return Reach(start, stop)


def joined(reaches: Sequence[Reach]) -> Reach:
    """What changes of several read together."""
    return Reach(
        np.minimum.reduce([one.start for one in reaches]),
        np.maximum.reduce([one.stop for one in reaches]),
    )


def plan(
    program: Program,
    starts: Sequence[np.ndarray],
    size: Sequence[int],
    *,
    all_whole: bool = False,
) -> Plan:
    """Lay out how boxes are answered for.

    Parameters
    ----------
    program : Program
    starts : sequence of numpy.ndarray
        Per axis, sorted and without repetition: where boxes begin.
    size : sequence of int
        Of the boxes.
    all_whole : bool
        Compute every map whole.
    """
    space = program.shape[1:]
    reached = reaches(program, starts, size)
    fits = all(length == span for length, span in zip(space, size, strict=True))
    regions = {program.input: Region(tuple(size), tuple(np.asarray(one) for one in starts), fits)}
    local: set[fx.Node] = set()
    total = executed = changed = 0.0
    for step in program.steps:
        found = reached.get(step.node)
        total += step.macs
        cells = math.prod(step.shape[1:]) if found is not None else 1
        exact = 1.0 if found is None else math.prod(r.mean for r in found) / cells
        changed += step.macs * exact
        done = 1.0
        if step.node in program.shapes:
            full = found is None or any(
                source in regions and regions[source].whole for source in step.sources
            )
            whole = full or all_whole
            region = _region(found or (), step.shape[1:], whole)
            regions[step.node] = region
            if not region.whole:
                local.add(step.node)
                done = math.prod(region.size) / math.prod(step.shape[1:])
        executed += step.macs * done
    return Plan(
        tuple(starts), regions, frozenset(local),
        share=executed / total if total else 1.0,
        ceiling=total / changed if changed else 1.0,
    )  # fmt: skip


def reaches(
    program: Program, starts: Sequence[np.ndarray], size: Sequence[int]
) -> dict[fx.Node, tuple[Reach, ...]]:
    """What boxes can change of every map, per axis; what needs whole maps is missing."""
    reached: dict[fx.Node, tuple[Reach, ...]] = {
        program.input: tuple(Reach(s, s + n) for s, n in zip(starts, size, strict=True))
    }
    for step in program.steps:
        found = _reaches(step, reached)
        if found is not None:
            reached[step.node] = found
    return reached


def _reaches(step: Step, reached: Mapping[fx.Node, tuple[Reach, ...]]) -> tuple[Reach, ...] | None:
    """What changes of a step's map; None where it needs whole maps."""
    if step.operation is None or any(source not in reached for source in step.sources):
        return None
    reads = list(zip(step.sources, step.windows, strict=True))
    axes = len(step.windows[0])
    return tuple(
        joined([through(windows[axis], reached[source][axis]) for source, windows in reads])
        for axis in range(axes)
    )


def _region(reaches: Sequence[Reach], space: Sequence[int], whole: bool) -> Region:
    """Patches of one size that hold all that changes, and lie inside the map."""
    sizes = tuple(
        min(r.size, length) for r, length in zip(reaches, space, strict=True)
    ) if not whole else tuple(space)  # fmt: skip
    whole = whole or math.prod(sizes) >= _NEARLY_WHOLE * math.prod(space)
    if whole:
        return Region(tuple(space), (), True)
    starts = tuple(
        np.where(r.stop > r.start, np.minimum(r.start, length - size), 0)
        for r, size, length in zip(reaches, sizes, space, strict=True)
    )
    return Region(sizes, starts, False)
