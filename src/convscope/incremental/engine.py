"""Answers to changed inputs: parts from what changes, the rest from a remembered pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, fx

from convscope.data.survey import available_cores
from convscope.incremental.changes import Changes, check
from convscope.incremental.grouping import grouped
from convscope.incremental.layout import Layout, Reading, lay_out
from convscope.incremental.lowering import Program, Step
from convscope.incremental.regions import Plan, plan
from convscope.incremental.rows import Kept, Patch, keep, window
from convscope.lanes import in_lanes

# Below this, reading from memory costs more than it saves.
WORTH_IT = 1.3
# Positions at a time; more does not fit near the cores.
_MOST_AT_ONCE = 32
# Starts along an axis that are looked at where nobody says which.
_MOST_STARTS = 64


class IncrementalEngine:
    """A network's answers to changed inputs.

    Parameters
    ----------
    program : Program
    images : Tensor
        ``(n, channels, *space)``.
    max_memory : int
        Bytes for remembered maps and for batches.

    Attributes
    ----------
    outputs : Tensor
        ``(n, classes)`` of the unchanged images.
    why : str or None
        Why nothing was read from memory the last time; None if it was.
    precision : str
        ``fast`` where the program computes in a shorter type, else ``exact``.
    """

    def __init__(
        self, program: Program, images: Tensor, max_memory: int,
        precision: Literal["exact", "fast"] = "exact",
    ) -> None:  # fmt: skip
        self.precision = precision
        self.program, self.images, self.max_memory = program, images, max_memory
        self.why: str | None = None
        self._shares: dict[tuple[int, ...], float] = {}
        self._kept: tuple[Any, dict[fx.Node, Kept]] | None = None
        with torch.inference_mode():
            parts = [self._pass(one[None])[0] for one in images]
            self.outputs = torch.cat(parts)

    def ceiling(self, size: Sequence[int]) -> float:
        """How many times fewer multiply-adds the changed part needs, in the mean over positions."""
        return self._usual(size).ceiling

    def share(self, size: Sequence[int]) -> float:
        """The share of a whole pass that one position costs."""
        if tuple(size) in self._shares:
            return self._shares[tuple(size)]
        usual = self._usual(size)
        return usual.share if usual.ceiling >= WORTH_IT else 1.0

    def answers(self, changes: Changes) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows, int64 ``(b,)``, and outputs ``(b, classes)``, each row once."""
        check(changes, len(self.images), self.program.shape[1:])
        if not len(changes):
            return
        work = self._work(changes)
        kept_maps = _union(work)
        item = self.images.element_size()
        shapes = {**self.program.shapes, self.program.input: self.program.shape}
        of_image = item * max(1, sum(math.prod(shapes[node]) for node in kept_maps))
        group = max(1, self.max_memory // 2 // of_image)
        left = self.max_memory - min(group, len(self.images)) * of_image
        for first in range(0, len(self.images), group):
            last = min(first + group, len(self.images))
            inside = (changes.image >= first) & (changes.image < last)
            if not inside.any():
                continue
            kept = self._remembered(kept_maps, first, last)
            jobs = self._jobs(changes, work, inside, max(left, self.max_memory // 4), item)
            yield from self._in_batches(changes, jobs, kept, first)

    def _jobs(
        self, changes: Changes, work: Sequence[Work], inside: Tensor, memory: int, item: int
    ) -> list[Job]:
        """Batches of boxes that lie near one another."""
        found: list[Job] = []
        for one in work:
            at_once = memory // (2 * _lanes(self.images) * item * one.layout.batch_numbers)
            at_once = max(1, min(_MOST_AT_ONCE, at_once))
            here = inside[one.rows]
            rows, places = one.rows[here], one.places[here]
            order = _order(changes, rows)
            # Batches of one length: a last one that is short costs as much as a long one.
            parts = max(1, -(-len(rows) // at_once))
            batches = [some for some in order.tensor_split(parts) if len(some)]
            found.extend(Job(one.layout, rows[some], places[some]) for some in batches)
        return found

    def _work(self, changes: Changes) -> list[Work]:
        """Boxes in groups, with how each is answered for."""
        starts, places = _starts_of(changes)
        whole = plan(self.program, starts, changes.size)
        if whole.ceiling < WORTH_IT:
            self.why = (
                f"what changes is {1 / whole.ceiling:.0%} of the multiply-adds: whole passes are "
                "as fast"
            )
            found = plan(self.program, starts, changes.size, all_whole=True)
            layout = lay_out(self.program, found, self.images.device)
            return [Work(layout, torch.arange(len(changes)), places)]
        self.why = None
        counts = [
            np.bincount(places[:, axis].numpy(), minlength=len(one))
            for axis, one in enumerate(starts)
        ]
        labels = grouped(self.program, starts, counts, changes.size)
        mixed = torch.zeros(len(changes), dtype=torch.int64)
        for axis, label in enumerate(labels):
            mixed = mixed * (int(label.max()) + 1) + torch.from_numpy(label)[places[:, axis]]
        work = []
        for number in np.unique(mixed.numpy()).tolist():
            rows = (mixed == number).nonzero()[:, 0]
            some, inside = _starts_of_boxes(changes.start[rows])
            found = plan(self.program, some, changes.size)
            work.append(Work(lay_out(self.program, found, self.images.device), rows, inside))
        executed = sum(len(one.rows) * one.layout.plan.share for one in work) / len(changes)
        self._shares[tuple(changes.size)] = executed
        return work

    def _in_batches(
        self, changes: Changes, jobs: Sequence[Job], kept: Mapping[fx.Node, Kept], first: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        device = self.images.device

        def with_content() -> Iterator[tuple[Job, Tensor, Tensor]]:
            for job in jobs:
                content = changes.content(job.rows).to(device, self.images.dtype)
                yield job, changes.image[job.rows].to(device) - first, content

        def answer(item: tuple[Job, Tensor, Tensor]) -> Tensor:
            job, image, content = item
            with torch.inference_mode():
                batch = _Batch(self.program, job.layout, kept, image, job.places.to(device))
                return batch.run(content).to(self.images.dtype)

        if _lanes(self.images) == 1 or len(jobs) == 1:
            for item in with_content():
                yield item[0].rows, answer(item).clone()
            return
        for item, found in in_lanes(answer, with_content()):
            yield item[0].rows, found.clone()

    def _usual(self, size: Sequence[int]) -> Plan:
        starts = [
            np.unique(np.linspace(0, length - min(s, length), _MOST_STARTS).astype(np.int64))
            for s, length in zip(size, self.program.shape[1:], strict=True)
        ]
        return plan(self.program, starts, size)

    def _remembered(
        self, wanted: Mapping[fx.Node, tuple[float, ...]], first: int, last: int
    ) -> dict[fx.Node, Kept]:
        key = (first, last, tuple(wanted.items()))
        if self._kept is None or self._kept[0] != key:
            self._kept = None
            with torch.inference_mode():
                maps = [self._pass(one[None], wanted)[1] for one in self.images[first:last]]
                kept = {
                    node: keep([one.pop(node) for one in maps], fills)
                    for node, fills in wanted.items()
                }
            self._kept = (key, kept)
        return self._kept[1]

    def _pass(
        self, images: Tensor, wanted: Mapping[fx.Node, tuple[float, ...]] | None = None
    ) -> tuple[Tensor, dict[fx.Node, Tensor]]:
        """Whole maps: the output, and those that are to be kept."""
        wanted = wanted or {}
        x = last_in_memory(images)
        env: dict[fx.Node, Any] = {self.program.input: x}
        found = {self.program.input: x} if self.program.input in wanted else {}
        for step in self.program.steps:
            env[step.node] = run_whole(step, env)
            if step.node in wanted:
                found[step.node] = env[step.node]
            for source in step.last:
                env.pop(source, None)
        return env[self.program.output].to(self.images.dtype), found


@dataclass(frozen=True)
class Work:
    """Boxes that are answered for in the same way: their layout, numbers and starts."""

    layout: Layout
    rows: Tensor
    places: Tensor


@dataclass(frozen=True)
class Job:
    """One batch of a :class:`Work`."""

    layout: Layout
    rows: Tensor
    places: Tensor


class _Batch:
    """Some positions on their way through the network."""

    def __init__(
        self, program: Program, layout: Layout, kept: Mapping[fx.Node, Kept],
        image: Tensor, place: Tensor,
    ) -> None:  # fmt: skip
        self.program, self.layout, self.kept = program, layout, kept
        self.image, self.place = image, place
        self.patches: dict[fx.Node, Patch] = {}
        self.wholes: dict[fx.Node, Any] = {}

    def run(self, content: Tensor) -> Tensor:
        source = self.program.input
        self._found(source, last_in_memory(content), part=True)
        for step in self.program.steps:
            if step.node in self.layout.plan.local:
                reads = self.layout.readings[step.node]
                starts = self._starts(self.layout.starts[step.node])
                if step.operation is None:
                    raise RuntimeError(f"{step.node.name} has no operation on parts")
                given = [self._window(one) for one in reads]
                self._found(step.node, step.operation.part(given, starts), part=True)
            elif step.shapes_only:
                self._found(step.node, step.run(self._shapes(step, len(content))), part=False)
            else:
                for one in step.sources:
                    self._make_whole(one)
                self._found(step.node, run_whole(step, self.wholes), part=False)
            for one in step.last:
                self.patches.pop(one, None)
                self.wholes.pop(one, None)
        self._make_whole(self.program.output)
        output: Tensor = self.wholes[self.program.output]
        return output

    def _shapes(self, step: Step, count: int) -> dict[fx.Node, Any]:
        """Tensors without data in place of maps."""
        shapes = {**self.program.shapes, self.program.input: self.program.shape}
        return {
            one: torch.empty((count, *shapes[one]), device="meta")
            if one in self.patches
            else self.wholes[one]
            for one in step.sources
        }

    def _starts(self, along: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(one[self.place[:, axis]] for axis, one in enumerate(along))

    def _found(self, node: fx.Node, content: Any, *, part: bool) -> None:
        if part:
            self.patches[node] = Patch(content, self._starts(self.layout.starts[node]))
        else:
            self.wholes[node] = content

    def _window(self, reading: Reading) -> Tensor:
        patch = self.patches[reading.source]
        if reading.direct:
            return patch.content
        kept = self.kept[reading.source]
        starts = self._starts(reading.starts)
        return window(kept, self.image, patch, starts, reading.size, reading.fill)

    def _make_whole(self, node: fx.Node) -> None:
        if node in self.wholes or node not in self.patches:
            return
        patch = self.patches[node]
        region = self.layout.plan.regions[node]
        if region.whole:
            self.wholes[node] = patch.content
            return
        kept = self.kept[node]
        nowhere = tuple(torch.zeros_like(one) for one in patch.starts)
        self.wholes[node] = window(kept, self.image, patch, nowhere, kept.space, 0.0)


def run_whole(step: Step, env: Mapping[fx.Node, Any]) -> Any:
    """A step on whole maps; of what gives no tensor, only shapes are read."""
    return step.run(env)


def last_in_memory(maps: Tensor) -> Tensor:
    """The same maps with channels last in memory."""
    return maps.movedim(1, -1).contiguous().movedim(-1, 1)


def _starts_of(changes: Changes) -> tuple[list[np.ndarray], Tensor]:
    return _starts_of_boxes(changes.start)


def _starts_of_boxes(start: Tensor) -> tuple[list[np.ndarray], Tensor]:
    """Where boxes begin, per axis, sorted; and which of these each box has: ``(p, axes)``."""
    found, places = [], []
    for along in start.cpu().numpy().T:
        starts, place = np.unique(along.astype(np.int64), return_inverse=True)
        found.append(starts)
        places.append(torch.from_numpy(place.reshape(-1)))
    return found, torch.stack(places, 1)


def _union(work: Sequence[Work]) -> dict[fx.Node, tuple[float, ...]]:
    """Maps that any of it reads from memory, with what is read beyond their ends."""
    found: dict[fx.Node, set[float]] = {}
    for one in work:
        for node, fills in one.layout.kept.items():
            found.setdefault(node, set()).update(fills)
    return {node: tuple(sorted(fills)) for node, fills in found.items()}


def _lanes(images: Tensor) -> int:
    """Batches that are computed side by side."""
    if images.device.type != "cpu" or torch.get_num_threads() == 1:
        return 1
    return available_cores()


def _order(changes: Changes, rows: Tensor) -> Tensor:
    """Boxes near one another, one after the other: they read the same part of memory."""
    key = changes.image[rows]
    for axis in range(len(changes.size)):
        key = key * (int(changes.start[:, axis].max()) + 1) + changes.start[rows, axis]
    return key.argsort(stable=True)
