"""``metrics.json`` as typed values, checked against the run's classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convscope.errors import InputError
from convscope.report.words import finite

SPLITS = ("test", "valid", "train")


@dataclass(frozen=True)
class ClassScores:
    """How good one class is in one split; None where a figure is not defined."""

    name: str
    n: int
    precision: float | None
    recall: float | None
    recall_95: tuple[float, float] | None
    f1: float | None


@dataclass(frozen=True)
class SplitScores:
    """How good one split is; ``confusion`` has a row per true class, a column per predicted."""

    split: str
    n: int
    accuracy: float | None
    accuracy_95: tuple[float, float] | None
    balanced_accuracy: float | None
    macro_f1: float | None
    log_loss: float | None
    ece: float | None
    confusion: tuple[tuple[int, ...], ...]
    per_class: tuple[ClassScores, ...]


@dataclass(frozen=True)
class Scores:
    """Everything measured in one run that the page shows."""

    seconds: float | None
    splits: Mapping[str, SplitScores]
    baseline_class: str | None
    baseline_accuracy: float | None
    left_out: tuple[tuple[str, str], ...]


def read_scores(metrics: Mapping[str, Any], classes: Sequence[str]) -> Scores:
    """Read the metrics of a run.

    Raises
    ------
    InputError
        A confusion matrix does not fit the number of classes.
    """
    splits = metrics.get("splits") or {}
    baseline = metrics.get("majority_baseline") or {}
    named = baseline.get("class")
    return Scores(
        seconds=finite(metrics.get("seconds")),
        splits={
            name: _split(name, splits[name], classes)
            for name in SPLITS
            if splits.get(name) and splits[name].get("n")
        },
        baseline_class=None if named is None else str(named),
        baseline_accuracy=finite(baseline.get("accuracy")),
        left_out=tuple(
            (str(row.get("path", "")), str(row.get("reason", "")))
            for row in metrics.get("left_out") or ()
        ),
    )


def _split(name: str, values: Mapping[str, Any], classes: Sequence[str]) -> SplitScores:
    confusion = tuple(tuple(int(cell) for cell in row) for row in values.get("confusion") or ())
    if len(confusion) != len(classes) or any(len(row) != len(classes) for row in confusion):
        raise InputError(
            f"metrics.json does not fit run.json: the confusion matrix of '{name}' has "
            f"{len(confusion)} rows, but the run has {len(classes)} classes. Fit again."
        )
    per_class = values.get("per_class") or {}
    return SplitScores(
        split=name,
        n=int(values["n"]),
        accuracy=finite(values.get("accuracy")),
        accuracy_95=_interval(values.get("accuracy_95")),
        balanced_accuracy=finite(values.get("balanced_accuracy")),
        macro_f1=finite(values.get("macro_f1")),
        log_loss=finite(values.get("log_loss")),
        ece=finite(values.get("ece")),
        confusion=confusion,
        per_class=tuple(_class(label, per_class.get(label) or {}) for label in classes),
    )


def _class(label: str, values: Mapping[str, Any]) -> ClassScores:
    return ClassScores(
        name=label,
        n=int(values.get("n") or 0),
        precision=finite(values.get("precision")),
        recall=finite(values.get("recall")),
        recall_95=_interval(values.get("recall_95")),
        f1=finite(values.get("f1")),
    )


def _interval(values: Sequence[Any] | None) -> tuple[float, float] | None:
    if values is None or len(values) != 2:
        return None
    low, high = finite(values[0]), finite(values[1])
    return None if low is None or high is None else (low, high)
