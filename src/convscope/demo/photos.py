"""The drawn photo set on disk: splits, classes, masks, and a shortcut if one is asked for."""

from __future__ import annotations

import csv
import os
import shutil
import signal
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, as_completed
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from loky import ProcessPoolExecutor
from loky.process_executor import TerminatedWorkerError
from PIL import Image

from convscope.data.folder import SPLITS
from convscope.data.survey import available_cores
from convscope.demo.scene import (
    BACKGROUNDS,
    CLASSES,
    RESERVED,
    draws_for,
    ordinary_background,
    render_scene,
    require_drawable,
)
from convscope.errors import ConvscopeError, InputError, unknown_name
from convscope.progress import Progress

COUNTS: Mapping[str, int] = {"train": 60, "valid": 20, "test": 20}
# Hidden, so that no scan takes the masks for photos.
MASKS = ".masks"

_QUALITY = 92
_CHUNK = 8
# Below this, starting workers takes longer than the drawing.
_FEW = 6 * _CHUNK
# Photo 1 of the test stays the same however many photos are trained on.
_FIRST_INDEX = {split: 1_000_000 * k for k, split in enumerate(SPLITS)}


@dataclass(frozen=True)
class Shortcut:
    """A background that gives a class away: a classifier may learn it and not the creature.

    Attributes
    ----------
    label : str
        The class that has it.
    background : str, default "snow"
        Behind no photo of any other class.
    share : float, default 0.95
        Of the class's photos that have it, 0..1, in each split; rounded to whole photos.
    splits : tuple of str, default train, valid and test
        Where it is planted; in the other splits the class has none of it. Without ``"test"``,
        the test shows what the classifier is worth when the shortcut is gone.

    Raises
    ------
    InputError
        If there is no such class, background or split, or the share is none.
    """

    label: str
    background: str = RESERVED
    share: float = 0.95
    splits: tuple[str, ...] = SPLITS

    def __post_init__(self) -> None:
        if self.label not in CLASSES:
            raise unknown_name("class", self.label, CLASSES)
        if self.background not in BACKGROUNDS:
            raise unknown_name("background", self.background, BACKGROUNDS)
        if not 0 <= self.share <= 1:
            raise InputError(f"The share of a shortcut is {self.share}. Allowed: 0..1.")
        for split in self.splits:
            if split not in SPLITS:
                raise unknown_name("split", split, SPLITS)


@dataclass(frozen=True)
class _Task:
    """One photo to draw: ``path`` below the folder, without its suffix."""

    path: str
    label: str
    index: int
    background: str


def write_photos(
    folder: Path,
    *,
    per_class: Mapping[str, int] | int = COUNTS,
    seed: int,
    size: int = 128,
    shortcut: Shortcut | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Draw a photo set of all classes.

    Writes ``folder/SPLIT/CLASS/CLASS_0001.jpg`` and so on; for each photo a mask of where the
    creature is seen, ``folder/.masks/SPLIT/CLASS/CLASS_0001.png`` (white: seen); and
    ``folder/.masks/scenes.csv`` with the columns path, label and background. All of it or
    nothing: until the last photo is drawn, it lies in a hidden folder beside.

    Parameters
    ----------
    folder : Path
        Must not exist yet.
    per_class : mapping or int
        Split to photos of each class, default 60, 20 and 20; or how many in all, of which a fifth
        each are for validation and test. A photo stays the same whatever the counts are.
    seed : int
        From 0.
    size : int, default 128
        Side of each photo, 32..1024 pixels.
    shortcut : Shortcut, optional
        Plant one; the photos that it does not concern stay the same where it is one of snow.
    workers : int, optional
        Processes; default one per core. 0 draws in this process.
    progress : Progress, optional

    Raises
    ------
    InputError
        If an argument is none of those.
    ConvscopeError
        If the photos cannot be written, or a worker process was killed.
    """
    require_drawable(seed=seed, size=size)
    tasks = _plan(_counts(per_class), seed, shortcut)
    if folder.exists():
        raise InputError(f"{folder} exists already. Name a new folder, or remove that one.")
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        for place in sorted({Path(task.path).parent for task in tasks}):
            (unfinished / place).mkdir(parents=True)
            (unfinished / MASKS / place).mkdir(parents=True)
        with (
            (progress or Progress()).task("drawing photos", len(tasks), "photos") as advance,
            # Closed at once if anything goes wrong: no worker writes on while we tidy up.
            closing(_draw_all(unfinished, tasks, seed, size, workers)) as drawing,
        ):
            for done in drawing:
                advance(done)
        _write_table(unfinished / MASKS / "scenes.csv", tasks)
        unfinished.rename(folder)
    except OSError as error:
        raise ConvscopeError(
            f"{folder} cannot be written ({error.strerror or error}). "
            "Make room, allow writing there, or name another folder."
        ) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _counts(per_class: Mapping[str, int] | int) -> dict[str, int]:
    """Photos per class by split, in the order of the splits."""
    if isinstance(per_class, int):
        held_out = per_class // 5
        per_class = {"train": per_class - 2 * held_out, "valid": held_out, "test": held_out}
    for split, count in per_class.items():
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        if count < 0:
            raise InputError(f"{count} photos per class for '{split}'. Allowed: 0 and above.")
    counts = {split: per_class.get(split, 0) for split in SPLITS}
    if not counts["train"]:
        raise InputError("No photo to train on: ask for at least 1 per class in 'train'.")
    return counts


def _plan(counts: Mapping[str, int], seed: int, shortcut: Shortcut | None) -> list[_Task]:
    without = shortcut.background if shortcut else RESERVED
    tasks = []
    for split, count in counts.items():
        for label in CLASSES:
            planted = _planted(split, label, count, seed, shortcut)
            for number in range(count):
                index = _FIRST_INDEX[split] + number
                background = ordinary_background(label, seed=seed, index=index, without=without)
                if shortcut is not None and number in planted:
                    background = shortcut.background
                path = f"{split}/{label}/{label}_{number + 1:04d}"
                tasks.append(_Task(path, label, index, background))
    return tasks


def _planted(
    split: str, label: str, count: int, seed: int, shortcut: Shortcut | None
) -> frozenset[int]:
    """Which photos of a class have the shortcut."""
    if shortcut is None or label != shortcut.label or split not in shortcut.splits:
        return frozenset()
    rng = draws_for(label, seed, _FIRST_INDEX[split], "shortcut")
    return frozenset(rng.permutation(count)[: round(shortcut.share * count)].tolist())


def _draw_all(
    root: Path, tasks: Sequence[_Task], seed: int, size: int, workers: int | None
) -> Generator[int, None, None]:
    """Draw every photo, in worker processes where that pays; yields how many more are done."""
    chunks = [tasks[i : i + _CHUNK] for i in range(0, len(tasks), _CHUNK)]
    workers = min(available_cores() if workers is None else workers, len(chunks))
    if workers < 2 or len(tasks) < _FEW:
        for chunk in chunks:
            yield _draw(root, chunk, seed, size)
        return
    executor = ProcessPoolExecutor(max_workers=workers, initializer=_start_worker)
    try:
        futures: list[Future[int]] = [
            executor.submit(_draw, root, chunk, seed, size) for chunk in chunks
        ]
        for future in as_completed(futures):
            yield future.result()
    except TerminatedWorkerError:
        raise ConvscopeError(
            "A drawing process was killed by the system, most likely for want of memory. "
            "Close other programs, or use fewer --workers."
        ) from None
    finally:
        executor.shutdown(wait=True, kill_workers=True)


def _draw(root: Path, tasks: Sequence[_Task], seed: int, size: int) -> int:
    """Draw and write a few photos and their masks; runs in a worker."""
    for task in tasks:
        scene = render_scene(
            task.label, seed=seed, index=task.index, size=size, background=task.background
        )
        Image.fromarray(scene.image).save(root / f"{task.path}.jpg", quality=_QUALITY)
        mask = Image.fromarray(scene.mask.astype(np.uint8) * 255)
        mask.save(root / MASKS / f"{task.path}.png")
    return len(tasks)


def _write_table(file: Path, tasks: Sequence[_Task]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "background"])
        writer.writerows([f"{task.path}.jpg", task.label, task.background] for task in tasks)


def _start_worker() -> None:
    # Ctrl-C reaches the whole group of processes; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # As many processes as cores: OpenCV's own threads would only get in each other's way.
    cv2.setNumThreads(1)
