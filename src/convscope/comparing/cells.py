"""One cell of a comparison: one rung, so many training photos, one seed."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convscope.calibration import fit_temperature, probabilities
from convscope.comparing.ladder import Rung
from convscope.data.dataset import class_numbers
from convscope.data.folder import PhotoTable
from convscope.errors import ConvscopeError, InputError
from convscope.files import write_bytes, write_json
from convscope.fitting import fit
from convscope.options import FitOptions
from convscope.progress import Progress
from convscope.run import Run

_TAG = 0xC0FA12
# Of what a training chose.
_TOLD: tuple[str, ...] = ("epochs", "best_epoch", "trained_stages")


@dataclass(frozen=True)
class Cell:
    """What is trained; ``size`` is the most training photos per class, None for all."""

    rung: Rung
    size: int | None
    seed: int

    @property
    def name(self) -> str:
        """A name for its files."""
        return f"{self.rung.name}-{size_name(self.size)}-{self.seed}"


@dataclass(frozen=True)
class CellResult:
    """What came of it.

    Attributes
    ----------
    probabilities : numpy.ndarray
        float32 ``(n, classes)`` of the test photos.
    seconds : float
        Time of the training.
    photos : int
        Training photos.
    held_out_log_loss : float or None
        Of a classifier on features.
    settings : dict
        What training chose, JSON values.
    """

    probabilities: np.ndarray
    seconds: float
    photos: int
    held_out_log_loss: float | None
    settings: dict[str, Any]


@dataclass(frozen=True)
class Material:
    """What all cells share.

    Attributes
    ----------
    table : PhotoTable
        Usable photos, each with a split.
    vectors : numpy.ndarray or None
        float32 ``(n, f)``: features of each photo.
    extraction_seconds : float
        What computing all of them took.
    net : str
    weights_file : Path or None
    epochs : int or None
        Of networks from scratch.
    """

    table: PhotoTable
    vectors: np.ndarray | None
    extraction_seconds: float
    net: str
    weights_file: Path | None
    epochs: int | None

    @property
    def labels(self) -> np.ndarray:
        """Each photo's class, int ``(n,)``."""
        return class_numbers(self.table)

    def places(self, split: str) -> np.ndarray:
        """Which photos are in a split, int."""
        return np.flatnonzero(np.asarray(self.table.splits) == split)

    def training_rows(self, size: int | None, seed: int) -> np.ndarray:
        """The photos to train on, at most ``size`` of each class; a larger size has all of them."""
        rows = self.places("train")
        return rows if size is None else nested_sample(self.labels, rows, size, seed)


def size_name(size: int | None) -> str:
    """A size as it is written everywhere: a number, or ``all``."""
    return "all" if size is None else str(size)


def nested_sample(labels: np.ndarray, rows: np.ndarray, size: int, seed: int) -> np.ndarray:
    """At most ``size`` rows of each class, by chance; those of a larger size hold all of these.

    Parameters
    ----------
    labels : numpy.ndarray
        int ``(n,)``, of all photos.
    rows : numpy.ndarray
        int: to choose from.
    size, seed : int
    """
    rng = np.random.default_rng([seed, _TAG])
    shuffled = rng.permutation(rows)
    kept = [shuffled[labels[shuffled] == number][:size] for number in np.unique(labels[rows])]
    return np.sort(np.concatenate(kept))


def run_cell(
    cell: Cell, material: Material, folder: Path, *, workers: int | None, progress: Progress
) -> CellResult:
    """Train one cell and let it name the test photos.

    Parameters
    ----------
    cell : Cell
    material : Material
    folder : Path
        For working files; what an interrupted training has left there is gone on with.
    workers : int or None
        Decoding processes.
    progress : Progress

    Raises
    ------
    ConvscopeError
        If the training fails.
    """
    if cell.rung.kind == "features":
        return _head(cell, material)
    rows = material.training_rows(cell.size, cell.seed)
    held_out = np.concatenate([material.places("valid"), material.places("test")])
    photos = folder / f"{cell.name}.csv"
    write_split(photos, material.table.take(np.sort(np.concatenate([rows, held_out])).tolist()))
    out = folder / cell.name
    try:
        # A fit that ended just before it was read is there already.
        done = out.exists()
        run = Run(out) if done else fit(
            photos, out, _options(cell, material), resume=True, workers=workers, progress=progress
        )  # fmt: skip
        result = _from_run(run, cell, material, len(rows))
    except InputError as error:
        raise ConvscopeError(f"{cell.rung.title}: {error}") from error
    shutil.rmtree(out)
    photos.unlink()
    return result


def _options(cell: Cell, material: Material) -> FitOptions:
    if cell.rung.kind == "finetune":
        return FitOptions(
            strategy="finetune",
            net=material.net,
            weights=str(material.weights_file),
            # What it is compared with inside fit; the network that comes out is the same.
            head="logistic",
            seed=cell.seed,
        )
    return FitOptions(
        strategy="fcnn" if cell.rung.name == "fcnn" else "cnn",
        augment=cell.rung.detail,
        epochs=material.epochs,
        seed=cell.seed,
    )


def _from_run(run: Run, cell: Cell, material: Material, photos: int) -> CellResult:
    metrics, predictions = run.metrics(), run.predictions()
    rows = {path: row for row, path in enumerate(predictions.paths)}
    table = material.table
    paths = [_absolute(table, table.paths[place]) for place in material.places("test")]
    lost = [path for path in paths if path not in rows]
    if lost:
        raise ConvscopeError(f"{lost[0]} could be read when the comparison began, and no longer.")
    info = run.info()
    chosen = {**info.training, **(info.plan or {})}
    kept = {key: chosen[key] for key in _TOLD if key in chosen}
    return CellResult(
        probabilities=predictions.probabilities[[rows[path] for path in paths]],
        seconds=float(metrics["seconds"]),
        photos=photos,
        held_out_log_loss=None,
        settings=kept,
    )


def _head(cell: Cell, material: Material) -> CellResult:
    from convscope.transfer.heads import fit_head
    from convscope.transfer.heads.parts import ENOUGH_PER_CLASS, ENOUGH_PHOTOS

    assert material.vectors is not None and cell.rung.detail is not None  # noqa: S101
    vectors, labels, classes = material.vectors, material.labels, len(material.table.classes)
    train, valid = material.training_rows(cell.size, cell.seed), material.places("valid")
    if len(valid) < max(ENOUGH_PHOTOS, ENOUGH_PER_CLASS * classes):
        # Too few to choose by, and fit_head would train on them as well: all rungs are to learn
        # from the same photos, so settings are chosen by cross-validation of the training photos.
        valid = valid[:0]
    head = fit_head(
        cell.rung.detail, vectors[train], labels[train], vectors[valid], labels[valid], classes,
        seed=cell.seed,
    )  # fmt: skip
    held_labels = np.asarray(head.held_out_labels)
    temperature = fit_temperature(head.held_out_logits, held_labels)
    loss = None
    if len(held_labels):
        held = probabilities(head.held_out_logits, temperature).astype(np.float64)
        of_label = held[np.arange(len(held_labels)), held_labels]
        loss = float(-np.log(np.maximum(of_label, 1e-12)).mean())
    share = len(train) / len(material.table)
    return CellResult(
        probabilities=probabilities(head.logits(vectors[material.places("test")]), temperature),
        seconds=head.seconds + share * material.extraction_seconds,
        photos=len(train),
        held_out_log_loss=loss,
        settings={**head.settings, "chosen_on": head.chosen_on},
    )


def write_split(file: Path, table: PhotoTable) -> None:
    """Write photos with their split as a CSV that every command takes; paths are absolute."""
    assert table.splits is not None  # noqa: S101
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "split"])
    for path, label, split in zip(table.paths, table.labels, table.splits, strict=True):
        writer.writerow([_absolute(table, path), label, split])
    try:
        content = text.getvalue().encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(
            f"{os.fsencode(table.root).decode('utf-8', 'backslashreplace')}: a name in it is not "
            "UTF-8 text. Rename it."
        ) from None
    write_bytes(file, content)


def _absolute(table: PhotoTable, path: str) -> str:
    return str(Path.cwd() / table.root / path)


def keep_result(folder: Path, cell: Cell, result: CellResult) -> None:
    """Keep a finished cell for ``--resume``."""
    buffer = io.BytesIO()
    np.savez(buffer, probabilities=result.probabilities)
    write_bytes(folder / f"{cell.name}.npz", buffer.getvalue())
    # Last: where this one is, both are.
    write_json(
        folder / f"{cell.name}.json",
        {
            "seconds": result.seconds,
            "photos": result.photos,
            "held_out_log_loss": result.held_out_log_loss,
            "settings": result.settings,
        },
    )


def kept_result(folder: Path, cell: Cell) -> CellResult | None:
    """Read a finished cell; None where there is none."""
    try:
        facts = json.loads((folder / f"{cell.name}.json").read_text(encoding="utf-8"))
        with np.load(folder / f"{cell.name}.npz", allow_pickle=False) as arrays:
            return CellResult(probabilities=arrays["probabilities"], **facts)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        return None
