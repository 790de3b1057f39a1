"""What the page is made of, read from the Run folder: a file that is not right is named."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from convscope.errors import InputError
from convscope.report.curves import Epoch, read_epochs
from convscope.report.scores import Scores, read_scores
from convscope.run import Predictions, Run, RunInfo


@dataclass(frozen=True)
class Contents:
    """The files of one run, read and checked against each other."""

    info: RunInfo
    scores: Scores
    predictions: Predictions
    findings: tuple[Mapping[str, Any], ...]
    epochs: tuple[Epoch, ...]


def read_contents(run: Run) -> Contents:
    """Read every file of a run that the page needs.

    Raises
    ------
    InputError
        A file is missing, broken, or does not fit ``run.json``; the message names it.
    """
    with _naming(run.path / "run.json"):
        info = run.info()
    with _naming(run.path / "metrics.json"):
        scores = read_scores(run.metrics(), info.classes)
    path = run.path / "predictions.parquet"
    with _naming(path):
        predictions = run.predictions()
    if set(predictions.classes) != set(info.classes):
        raise InputError(
            f"{path} does not fit run.json: it has probabilities of "
            f"{', '.join(predictions.classes)}, but the run has {', '.join(info.classes)}. "
            "Fit again."
        )
    if not np.isfinite(predictions.probabilities).all():
        raise InputError(f"{path} has probabilities that are not numbers. Fit again.")
    with _naming(run.path / "log" / "check.json"):
        findings = tuple(dict(row) for row in run.findings())
    with _naming(run.epochs_path):
        epochs = read_epochs(run.epochs_path)
    return Contents(info, scores, predictions, findings, epochs)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except (
        # A file that something else wrote, or that was cut short: whatever reading it raises.
        *(OSError, ValueError, TypeError, AttributeError, LookupError),
        *(csv.Error, pa.ArrowException),
    ) as error:
        raise InputError(
            f"{path} is damaged, or not from this version of convscope "
            f"({type(error).__name__}: {error}). Fit again."
        ) from None
