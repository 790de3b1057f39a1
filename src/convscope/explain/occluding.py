"""Occlusion: cover a part, and see how far the score drops.

Zeiler & Fergus 2014 (arXiv 1311.2901). Exact, and several times faster than a pass for each
position: only what the covered part can change is computed again
(:mod:`convscope.incremental`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from convscope.errors import InputError
from convscope.explain.asking import Question, Target, ask, left_as_found, scores_of
from convscope.explain.gradients import require_count
from convscope.explain.occluders import covers
from convscope.explain.positions import Grid, grid, near, spread
from convscope.explain.result import Explanation, Of
from convscope.explain.segments import given_segments
from convscope.incremental import Changes, remember
from convscope.progress import Progress

# Of the coarser positions, by the size of their drop, those that are looked at more closely.
_DRILLED = 0.25
# Boxes around super-pixels are enlarged to a multiple of this, so that many have the same size.
_BOX = 16
Engine = Any


def occlusion(
    model: nn.Module,
    images: Tensor | np.ndarray,
    target: Target = None,
    *,
    of: Of = "logit",
    window: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    occluder: str | float | Tensor | np.ndarray = "mean",
    segments: np.ndarray | None = None,
    precision: Literal["exact", "fast"] = "exact",
    refine: bool = False,
    each: Callable[[Explanation], None] | None = None,
    max_memory: int = 3 * 2**28,
    seed: int = 0,
    progress: Progress | None = None,
) -> Explanation:
    """How far the score drops where a part of the image is covered.

    Parameters
    ----------
    model, images, target, of
        See :func:`~convscope.explain.asking.ask`.
    window, stride : int or sequence of int, optional
        Pixels, per axis: see :func:`~convscope.explain.positions.grid`.
    occluder : str, float or Tensor
        What is put over it: see :func:`~convscope.explain.occluders.covers`.
    segments : numpy.ndarray, optional
        int ``space`` or ``(n, *space)``: super-pixels that are covered one after the other instead
        of a window.
    precision : str
        ``exact``: as plain passes would give it. ``fast``: in bfloat16 where the machine computes
        that faster.
    refine : bool
        A coarse look first, then a finer one only where the coarse one found most: the quarter of
        the positions with the largest drops and what lies around them.
    each : callable, optional
        Called with the explanation so far after each look, so that it can be shown early.
    max_memory : int
        Bytes for the remembered pass and the positions that are computed at a time.
    seed : int
        Of the occluder ``noise``.
    progress : Progress, optional

    Returns
    -------
    Explanation
        Signed: for each pixel, the mean drop over the windows that cover it; above 0 where
        covering it lowers the score. ``details``: ``drops`` ``(..., positions)`` (NaN where a
        refined map has not looked), ``starts``, a tuple of the first pixel of each, and
        ``window``; or, of super-pixels, ``drops`` ``(..., segments)`` and ``segments``
        ``(..., *space)``; ``computed``, the share of positions; ``ceiling``, how many times fewer
        multiply-adds the changed part has than a whole pass; ``why`` nothing could be read from
        memory, or None;
        ``precision``, in which it was answered: ``exact`` too where ``fast`` would not have kept
        the order of the positions, or not been faster.

    Raises
    ------
    InputError
        As :func:`~convscope.explain.asking.ask`; window, stride, occluder or segments do not fit.
    """
    require_count(max_memory, "max_memory", 1)
    started = time.perf_counter()
    with left_as_found(model, seed):
        question = ask(model, images, target, of)
        if segments is None:
            where = grid(question.space, window, stride)
        elif window is not None or stride is not None or refine:
            raise InputError(
                "Super-pixels are covered as they are: leave out window, stride and refine."
            )
        cover = covers(question.images, occluder, seed)
        engine = remember(model, question.images, precision, max_memory)
        parameters: dict[str, Any] = {
            "occluder": occluder if isinstance(occluder, str | int | float) else "given",
            "precision": precision, "seed": seed,
        }  # fmt: skip
        if segments is not None:
            return _of_segments(
                question, engine, cover, segments, parameters, started, progress or Progress()
            )
        parameters |= {
            "window": list(where.window), "stride": list(where.stride), "refine": refine
        }  # fmt: skip
        looks = _looks(
            question, engine, cover, where, refine=refine, progress=progress or Progress()
        )
        for drops in looks:
            found = _of_windows(question, engine, where, drops, parameters, started)
            if each is not None:
                each(found)
    return found


def _looks(
    question: Question,
    engine: Engine,
    cover: Tensor,
    where: Grid,
    *,
    refine: bool,
    progress: Progress,
) -> Iterator[np.ndarray]:
    """Drops ``(n, t, positions)``, more of them known at each look."""
    n, t = question.targets.shape
    starts = where.starts
    drops = np.full((n, t, len(starts)), np.nan)
    step = where.coarsest if refine else 1
    wanted = np.broadcast_to(where.every(step), (n, len(starts))).copy()
    while True:
        with progress.task("occlusion", int(wanted.sum()), "positions") as advance:
            image, place = np.nonzero(wanted)
            _fill_in(question, engine, cover, where, starts, image, place, drops, advance)
        yield drops
        if step == 1:
            return
        known = ~np.isnan(drops[:, 0])
        step //= 2
        for number in range(n):
            chosen = _largest(drops[number], known[number])
            wanted[number] = near(chosen, where, step) & ~known[number]
            if step > 1:  # the last look takes all that is near, those between only every other
                wanted[number] &= where.every(step)


def _largest(drops: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The quarter of the known positions where covering changes most, for any target."""
    sizes = np.abs(drops[:, known])
    sizes = (sizes / np.maximum(sizes.max(1, keepdims=True), 1e-12)).max(0)
    most = max(1, round(_DRILLED * sizes.size))
    chosen = np.zeros(len(known), bool)
    chosen[np.flatnonzero(known)[np.argsort(-sizes, kind="stable")[:most]]] = True
    return chosen


def _fill_in(
    question: Question,
    engine: Engine,
    cover: Tensor,
    where: Grid,
    starts: np.ndarray,
    image: np.ndarray,
    place: np.ndarray,
    drops: np.ndarray,
    advance: Callable[[int], None],
) -> None:
    if not len(image):
        return
    device = question.images.device
    of_image = torch.from_numpy(image).to(device)
    first = torch.from_numpy(starts[place]).to(device)
    changes = Changes(
        of_image, first, where.window, lambda rows: boxes(cover, of_image[rows], first[rows],
                                                          where.window)
    )  # fmt: skip
    for rows, outputs in engine.answers(changes):
        numbers = rows.cpu().numpy()
        drops[image[numbers], :, place[numbers]] = _drops(question, of_image[rows], outputs)
        advance(len(numbers))


def _drops(question: Question, image: Tensor, outputs: Tensor) -> np.ndarray:
    """Score before minus score after, float64 ``(b, t)``."""
    after = scores_of(outputs.double(), question.targets[image], question.of)
    before = scores_of(question.outputs.double(), question.targets, question.of)[image]
    lost: np.ndarray = (before - after).cpu().numpy()
    if not np.isfinite(lost).all():
        raise InputError(
            "The network gives NaN or infinity where a part of an image is covered, so there is "
            "no drop to draw. Give another occluder."
        )
    return lost


def boxes(images: Tensor, image: Tensor, start: Tensor, size: Sequence[int]) -> Tensor:
    """Cut boxes of one size out of images.

    Parameters
    ----------
    images : Tensor
        ``(n, channels, *space)``.
    image : Tensor
        int64 ``(b,)``: from which.
    start : Tensor
        int64 ``(b, axes)``.
    size : sequence of int

    Returns
    -------
    Tensor
        ``(b, channels, *size)``.
    """
    axes = len(size)
    last = images.movedim(1, -1)
    index = [image.reshape(-1, *[1] * axes)]
    for axis, length in enumerate(size):
        along = start[:, axis, None] + torch.arange(length, device=start.device)
        index.append(along.reshape(-1, *[length if a == axis else 1 for a in range(axes)]))
    return last[tuple(index)].movedim(-1, 1)


def _of_windows(
    question: Question,
    engine: Engine,
    where: Grid,
    drops: np.ndarray,
    parameters: dict[str, Any],
    started: float,
) -> Explanation:
    known = ~np.isnan(drops[:, 0])
    details = {
        "drops": question.shaped(drops.copy()),
        "starts": tuple(map(tuple, where.starts.tolist())),
        "window": where.window,
        "computed": float(known.mean()),
    }
    share = engine.share(where.window)
    values = spread(drops, where, question.space)
    return _explanation(
        question, engine, values, parameters, details, started, known.sum() * share, where.window
    )


def _of_segments(
    question: Question,
    engine: Engine,
    cover: Tensor,
    segments: np.ndarray,
    parameters: dict[str, Any],
    started: float,
    progress: Progress,
) -> Explanation:
    """Cover one super-pixel after the other."""
    n, t = question.targets.shape
    labels = given_segments(segments, (n, *question.space))
    count = int(labels.max()) + 1
    drops = np.full((n, t, count), np.nan)
    on = torch.from_numpy(labels).to(question.images.device)
    forwards, largest = 0.0, tuple(question.space)
    groups = _boxes_of(labels)
    total = sum(len(rows) for rows in groups.values())
    with progress.task("occlusion", total, "super-pixels") as advance:
        for size, rows in groups.items():
            image, number = (torch.tensor([row[k] for row in rows]).to(on.device) for k in (0, 1))
            first = torch.tensor([row[2] for row in rows]).to(on.device)

            def content(
                some: Tensor,
                image: Tensor = image,
                number: Tensor = number,
                first: Tensor = first,
                size: tuple[int, ...] = size,
            ) -> Tensor:
                own, put = (
                    boxes(each, image[some], first[some], size) for each in (question.images, cover)
                )
                covered = boxes(on[:, None], image[some], first[some], size)
                mine = number[some].reshape(-1, *[1] * (own.ndim - 1))
                return torch.where(covered == mine, put, own)

            for some, outputs in engine.answers(Changes(image, first, size, content)):
                places = image[some].cpu().numpy(), number[some].cpu().numpy()
                drops[places[0], :, places[1]] = _drops(question, image[some], outputs)
                advance(len(some))
            forwards += len(rows) * engine.share(size)
            largest = size
    values = np.stack([drops[place][:, labels[place]] for place in range(n)])
    details = {
        "drops": question.shaped(drops),
        "segments": question.shaped(np.repeat(labels[:, None], t, 1)),
        "computed": 1.0,
    }
    parameters |= {"segments": "given"}
    return _explanation(question, engine, values, parameters, details, started, forwards, largest)


def _boxes_of(
    labels: np.ndarray,
) -> dict[tuple[int, ...], list[tuple[int, int, tuple[int, ...]]]]:
    """Box size -> image, super-pixel and first pixel of each that fits into such a box."""
    space = labels.shape[1:]
    found: dict[tuple[int, ...], list[tuple[int, int, tuple[int, ...]]]] = {}
    for image, each in enumerate(labels):
        for number in range(int(each.max()) + 1):
            inside = np.nonzero(each == number)
            size, first = [], []
            for axis, length in enumerate(space):
                low, high = int(inside[axis].min()), int(inside[axis].max()) + 1
                side = min(length, -(-(high - low) // _BOX) * _BOX)
                size.append(side)
                first.append(min(low, length - side))
            found.setdefault(tuple(size), []).append((image, number, tuple(first)))
    return found


def _explanation(
    question: Question,
    engine: Engine,
    values: np.ndarray,
    parameters: dict[str, Any],
    details: dict[str, Any],
    started: float,
    forwards: float,
    size: tuple[int, ...],
) -> Explanation:
    return Explanation(
        map=question.shaped(values.astype(np.float32)),
        signed=True,
        target=question.shaped(question.targets),
        score=question.shaped(question.scores.double()),
        of=question.of,
        method="occlusion",
        parameters=parameters,
        seconds=time.perf_counter() - started,
        forwards=2.0 * len(question.images) + float(forwards),
        details={
            **details,
            "ceiling": engine.ceiling(size),
            "why": engine.why,
            "precision": engine.precision,
        },
    )
