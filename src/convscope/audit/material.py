"""All that an audit looks at: photos, their looks, and what the classifier says of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convscope.audit.looks import FRAMES, TEXTS, VIEWS, WHOLE, Look, look_at
from convscope.audit.overlay import gradients
from convscope.data.duplicates import same_photo_groups
from convscope.data.folder import PhotoTable
from convscope.data.split import inseparable
from convscope.data.survey import DecodeSpec, Facts, in_workers
from convscope.errors import InputError
from convscope.progress import Progress
from convscope.run import Run, RunInfo
from convscope.transfer.push import push

# More photos than this show no more; a sample is drawn.
MOST = 4000
# Views of the parts of a photo, in each frame.
PLACE, OVERLAY = "place", "overlay"


@dataclass(frozen=True, eq=False)
class Material:
    """Usable photos; arrays have one entry for each.

    Attributes
    ----------
    names : tuple of str
        As the folder or table has them.
    files : tuple of Path
    classes : tuple of str
        Of the run.
    labels, predicted : numpy.ndarray
        int64 ``(n,)``.
    splits : numpy.ndarray
        Texts ``(n,)``: ``train``, ``valid``, ``test`` or empty where that is not known.
    units : numpy.ndarray
        int ``(n,)``: copies of one photo have one number.
    views : dict of str to numpy.ndarray
        Numbers ``(n, columns)`` or ``(n, places, columns)``, and texts.
    sizes : numpy.ndarray
        int ``(n, 2)``: width and height.
    canvases : dict of str to numpy.ndarray
        Of each frame, uint8 ``(n, side, side, 3)``.
    left_out : tuple of (str, str)
        Files that cannot be used, and why.
    total : int
        Photos that there are; more than n where a sample was drawn.
    """

    names: tuple[str, ...]
    files: tuple[Path, ...]
    classes: tuple[str, ...]
    labels: np.ndarray
    predicted: np.ndarray
    splits: np.ndarray
    units: np.ndarray
    views: dict[str, np.ndarray]
    sizes: np.ndarray
    canvases: dict[str, np.ndarray]
    left_out: tuple[tuple[str, str], ...]
    total: int

    def __len__(self) -> int:
        return len(self.names)

    @property
    def learn(self) -> np.ndarray:
        """Bool ``(n,)``: the photos that the classifier learned from, or all if nobody knows."""
        trained = self.splits == "train"
        return trained if trained.any() else np.ones(len(self), bool)

    @property
    def judged(self) -> np.ndarray:
        """Bool ``(n,)``: the photos that say how accurate it is."""
        held_out = np.isin(self.splits, ("valid", "test"))
        return held_out if held_out.sum() >= 30 else np.ones(len(self), bool)

    def overlays(self) -> dict[str, np.ndarray]:
        """Of each frame, int8 ``(n, 2, side, side)``."""
        return {
            in_frame(OVERLAY, frame): np.stack([gradients(canvas) for canvas in canvases])
            for frame, canvases in self.canvases.items()
        }


def gather(
    run: Run,
    info: RunInfo,
    table: PhotoTable,
    forward: Callable[[np.ndarray], np.ndarray],
    *,
    workers: int | None,
    seed: int,
    progress: Progress,
) -> Material:
    """Look at every photo, and let the classifier name it.

    Raises
    ------
    InputError
        Photos of classes that the run does not know, or too few.
    """
    unknown = sorted(set(table.labels) - set(info.classes))
    if unknown:
        raise InputError(
            f"The photos have a class that this run does not know: {', '.join(unknown[:5])}. Its "
            f"classes are {', '.join(info.classes)}."
        )
    total = len(table)
    table = _sample(table, seed)
    facts, logits = _named(table, info, forward, workers, progress)
    looks = _looked(table, workers, progress)
    good = [
        row for row, (fact, look) in enumerate(zip(facts, looks, strict=True))
        if fact.usable and not look.error
    ]  # fmt: skip
    left_out = [(path, reason) for path, _, reason in table.ignored]
    left_out += [
        (table.paths[row], fact.error or look.error)
        for row, (fact, look) in enumerate(zip(facts, looks, strict=True))
        if not fact.usable or look.error
    ]
    for path, reason in left_out:
        progress.say(f"left out: {path}: {reason}")
    kept = table.take(good)
    numbers = {name: number for number, name in enumerate(info.classes)}
    labels = np.array([numbers[label] for label in kept.labels], np.int64)
    if len(good) < 2 or len(np.unique(labels)) < 2:
        raise InputError("An audit needs usable photos of two classes or more.")
    _, near = same_photo_groups([facts[row] for row in good])
    some = [looks[row] for row in good]
    return Material(
        names=kept.paths,
        files=tuple(kept.full_paths()),
        classes=info.classes,
        labels=labels,
        predicted=logits[good].argmax(1),
        splits=_splits(run, kept),
        units=inseparable(kept, near),
        views=_views(some),
        sizes=np.array([look.size for look in some]),
        canvases={frame: np.stack([look.canvases[frame] for look in some]) for frame in FRAMES},
        left_out=tuple(left_out),
        total=total,
    )


def _sample(table: PhotoTable, seed: int) -> PhotoTable:
    if len(table) <= MOST:
        return table
    rows = np.random.default_rng(seed).permutation(len(table))[:MOST]
    return table.take(sorted(rows.tolist()))


def _named(
    table: PhotoTable,
    info: RunInfo,
    forward: Callable[[np.ndarray], np.ndarray],
    workers: int | None,
    progress: Progress,
) -> tuple[list[Facts], np.ndarray]:
    spec = DecodeSpec(info.input.resize, info.input.size, fast=info.precision.mode == "fast")
    facts: list[Facts] = []
    found: list[np.ndarray] = []
    with (
        progress.task("predicting", len(table), "photos") as advance,
        closing(push(table.full_paths(), spec, forward, workers=workers)) as results,
    ):
        for chunk, logits in results:
            facts.extend(chunk.facts)
            found.append(logits)
            advance(len(chunk.facts))
    return facts, np.concatenate(found)


def _looked(table: PhotoTable, workers: int | None, progress: Progress) -> list[Look]:
    found: list[Look] = []
    with (
        progress.task("looking", len(table), "photos") as advance,
        closing(in_workers(look_at, table.full_paths(), workers=workers)) as looks,
    ):
        for _, some in looks:
            found.extend(some)
            advance(len(some))
    return found


def _views(looks: list[Look]) -> dict[str, np.ndarray]:
    views = {name: np.stack([look.numbers[name] for look in looks]) for name in VIEWS}
    views |= {name: np.array([look.texts[name] for look in looks]) for name in TEXTS}
    for frame in FRAMES:
        cells = np.stack([look.cells[frame] for look in looks])
        views[in_frame(PLACE, frame)] = cells.astype(np.float32)
    return views


def in_frame(view: str, frame: str) -> str:
    """The name of a view in a frame."""
    return view if frame == WHOLE else f"{view} in the {frame}"


def _splits(run: Run, table: PhotoTable) -> np.ndarray:
    if table.splits is not None:
        return np.array(table.splits)
    try:
        known = run.predictions()
    except InputError:
        return np.full(len(table), "")
    by_path = dict(zip(known.paths, known.splits, strict=True))
    return np.array([by_path.get(path, "") for path in table.paths])
