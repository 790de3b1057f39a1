"""Train again without the shortcuts that were found, and see who gains."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from convscope.audit.changing import Change, Cover
from convscope.audit.finding import Finding
from convscope.audit.judging import Rate, open_whole
from convscope.audit.material import Material
from convscope.data.survey import DecodeSpec
from convscope.errors import ConvscopeError, InputError, PhotoError
from convscope.fitting import fit
from convscope.lanes import in_lanes
from convscope.options import FitOptions
from convscope.predicting import classifier
from convscope.progress import Progress
from convscope.run import Run
from convscope.transfer.push import push

# Longer photos are shrunk to a shorter side of this before they are changed.
_SHORTER = 512
_QUALITY = 95


@dataclass(frozen=True)
class Remedy:
    """What training without the shortcuts brought.

    Attributes
    ----------
    run : Run
        The new one.
    covered : tuple of str
        What was done, in words.
    accuracy : tuple of (Rate, Rate)
        Of all photos that were not trained on, as they are: before and after.
    groups : dict of str to (Rate, Rate)
        Of the photos with and without each marker: before and after.
    """

    run: Run
    covered: tuple[str, ...]
    accuracy: tuple[Rate, Rate]
    groups: dict[str, tuple[Rate, Rate]]

    @property
    def worst(self) -> tuple[float, float]:
        """Worst-group accuracy before and after, of groups with ten photos or more."""
        large = [pair for pair in self.groups.values() if pair[0].n >= 10]
        if not large:
            return self.accuracy[0].share, self.accuracy[1].share
        return min(one.share for one, _ in large), min(other.share for _, other in large)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        before, after = self.worst
        return {
            "run": str(self.run.path),
            "covered": list(self.covered),
            "accuracy": [round(rate.share, 4) for rate in self.accuracy],
            "worst_group_accuracy": [round(before, 4), round(after, 4)],
            "groups": {
                name: {"n": pair[0].n, "accuracy": [round(rate.share, 4) for rate in pair]}
                for name, pair in self.groups.items()
            },
        }


def train_without(
    run: Run,
    material: Material,
    findings: Sequence[Finding],
    out: Path,
    *,
    seed: int,
    workers: int | None,
    progress: Progress,
) -> Remedy | None:
    """Fit once more, with what the strong findings point at taken out of the photos.

    A part of the photo is covered in all training and validation photos of all classes, so that
    the cover itself tells nothing. A look of the whole photo is given to as large a share of the
    other classes' photos, and taken from half of those that have it where that can be done.

    Parameters
    ----------
    run : Run
        Asked for again with the same options.
    material : Material
    findings : sequence of Finding
    out : Path
        The new Run folder.
    seed, workers, progress
        As everywhere.

    Returns
    -------
    Remedy or None
        None if no finding is strong.

    Raises
    ------
    InputError
        The photos that it was trained on are not known, or ``out`` exists.
    ConvscopeError
        The fit failed.
    """
    strong = [one for one in findings if one.strength == "strong"]
    if not strong:
        return None
    if not {"train", "valid", "test"} <= set(material.splits.tolist()):
        raise InputError(
            "To train again, it must be known which photos the run was trained on: audit the "
            "photos that it was fitted on, all of them."
        )
    info = run.info()
    options = FitOptions.model_validate(
        {name: info.asked[name] for name in FitOptions.model_fields if name in info.asked}
    )
    with tempfile.TemporaryDirectory(prefix="convscope-") as work:
        table = _write(material, strong, Path(work), seed, progress)
        fit(table, out, options, workers=workers, progress=progress)
    fitted = Run(out)
    after = _named(fitted, material, workers, progress)
    right = [material.predicted == material.labels, after == material.labels]
    judged = material.judged

    def both(rows: np.ndarray) -> tuple[Rate, Rate]:
        n = int((rows & judged).sum())
        before, later = (int((each & rows & judged).sum()) for each in right)
        return Rate(before, n), Rate(later, n)

    groups: dict[str, tuple[Rate, Rate]] = {}
    place = {name: row for row, name in enumerate(material.names)}
    for one in strong:
        mine = material.labels == material.classes.index(one.label)
        has = np.zeros(len(material), bool)
        has[[place[path] for path in (*one.carriers, *one.stray)]] = True
        groups[f"{one.label} with it ({one.kind})"] = both(mine & has)
        groups[f"{one.label} without it ({one.kind})"] = both(mine & ~has)
        groups[f"others with it ({one.kind})"] = both(~mine & has)
        groups[f"others without it ({one.kind})"] = both(~mine & ~has)
    words = tuple(_words(one) for one in strong)
    return Remedy(fitted, words, both(np.ones(len(material), bool)), groups)


def _words(one: Finding) -> str:
    if isinstance(one.take, Cover):
        return f"{one.kind} of {one.label}: covered in all photos that are trained on"
    return f"{one.kind} of {one.label}: given to {one.share:.0%} of the other classes' photos"


def _write(
    material: Material, findings: Sequence[Finding], folder: Path, seed: int, progress: Progress
) -> Path:
    """The photos, changed; test photos as they are; and a table of them."""
    drawn = np.random.default_rng(seed)
    changes = [_changes_of(one, material, drawn) for one in findings]

    def write(row: int) -> None:
        photo = open_whole(material.files[row], _SHORTER)
        own = np.random.default_rng([seed, row])
        for change in (each[row] for each in changes):
            photo = photo if change is None else change(photo, own)
        Image.fromarray(photo).save(_file(folder, row), quality=_QUALITY, subsampling=0)

    rows = [row for row in range(len(material)) if material.splits[row] != "test"]
    try:
        with (
            progress.task("changing photos", len(rows), "photos") as advance,
            closing(in_lanes(write, rows)) as done,
        ):
            for _ in done:
                advance(1)
    except PhotoError as error:
        raise ConvscopeError(f"A photo cannot be read any more: {error.reason}") from error
    except OSError as error:
        raise ConvscopeError(f"{folder} cannot be written: {error.strerror or error}") from error
    paths = [
        str(material.files[row].resolve()) if material.splits[row] == "test" else
        str(_file(folder, row))
        for row in range(len(material))
    ]  # fmt: skip
    labels = [material.classes[number] for number in material.labels]
    table = folder / "photos.parquet"
    columns = {"path": paths, "label": labels, "split": material.splits.tolist()}
    pq.write_table(pa.table(columns), table)
    return table


def _file(folder: Path, row: int) -> Path:
    return folder / f"{row:06d}.jpg"


def _changes_of(
    one: Finding, material: Material, drawn: np.random.Generator
) -> list[Change | None]:
    """What is done to each photo because of one finding."""
    if isinstance(one.take, Cover):
        return [one.take] * len(material)
    place = {name: row for row, name in enumerate(material.names)}
    has = np.zeros(len(material), bool)
    has[[place[path] for path in (*one.carriers, *one.stray)]] = True
    mine = material.labels == material.classes.index(one.label)
    chance = drawn.random(len(material))
    give = ~mine & ~has & (chance < one.share)
    take = mine & has & (chance < 0.5)
    return [
        one.give if give[row] else one.take if take[row] else None for row in range(len(material))
    ]


def _named(run: Run, material: Material, workers: int | None, progress: Progress) -> np.ndarray:
    info = run.info()
    forward: Callable[[np.ndarray], np.ndarray] = classifier(run, info)
    spec = DecodeSpec(info.input.resize, info.input.size, fast=info.precision.mode == "fast")
    found: list[np.ndarray] = []
    order = np.array([material.classes.index(name) for name in info.classes])
    with (
        progress.task("predicting", len(material), "photos") as advance,
        closing(push(material.files, spec, forward, workers=workers)) as results,
    ):
        for chunk, logits in results:
            found.append(logits)
            advance(len(chunk.facts))
    return np.asarray(order[np.concatenate(found).argmax(1)])
