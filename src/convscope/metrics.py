"""How good a classifier is, said honestly: every share with its n and its 95 % interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import (
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
)

CALIBRATION_BINS = 15


def wilson(hits: int, n: int) -> list[float] | None:
    """95 % interval of a share (Wilson 1927); None for n = 0."""
    if n == 0:
        return None
    interval = binomtest(hits, n).proportion_ci(confidence_level=0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def split_metrics(
    labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
    """All figures of one split, as they stand in ``metrics.json``.

    Parameters
    ----------
    labels : numpy.ndarray
        int ``(n,)``, n at least 1.
    probabilities : numpy.ndarray
        float ``(n, classes)``.
    classes : sequence of str
    """
    numbers = list(range(len(classes)))
    predicted = probabilities.argmax(axis=1)
    present = sorted(set(labels.tolist()))
    hits = int((predicted == labels).sum())
    exact = probabilities.astype(np.float64)
    return {
        "n": len(labels),
        "accuracy": hits / len(labels),
        "accuracy_95": wilson(hits, len(labels)),
        # Of the classes that occur: one without photos has no recall.
        "balanced_accuracy": _balanced(labels, predicted),
        "macro_f1": float(f1_score(labels, predicted, labels=present, average="macro",
                                   zero_division=0)),
        "log_loss": float(log_loss(labels, exact / exact.sum(axis=1, keepdims=True),
                                   labels=numbers)),
        "ece": calibration_error(labels, probabilities),
        "confusion": confusion_matrix(labels, predicted, labels=numbers).tolist(),
        "per_class": _per_class(labels, predicted, classes),
    }  # fmt: skip


def _balanced(labels: np.ndarray, predicted: np.ndarray) -> float:
    recalls = [float((predicted[labels == c] == c).mean()) for c in np.unique(labels)]
    return float(np.mean(recalls))


def _per_class(
    labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    precision, recall, f1, n = precision_recall_fscore_support(
        labels, predicted, labels=list(range(len(classes))), zero_division=np.nan
    )
    found = np.bincount(labels[predicted == labels], minlength=len(classes))
    return {
        name: {
            "n": int(n[i]),
            "precision": _number(precision[i]),
            "recall": _number(recall[i]),
            "recall_95": wilson(int(found[i]), int(n[i])),
            "f1": _number(f1[i]),
        }
        for i, name in enumerate(classes)
    }


def _number(value: float) -> float | None:
    """JSON has no NaN: a share of nothing is null."""
    return None if np.isnan(value) else float(value)


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error: mean distance of sureness and accuracy, 15 equal bins.

    As in Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """
    sure = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    # A probability on an edge belongs to the bin below it.
    bins = np.clip(np.ceil(sure * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=right - sure, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def majority_baseline(train_labels: Sequence[str], test_labels: Sequence[str]) -> dict[str, Any]:
    """What always naming the commonest training class reaches on the test photos."""
    commonest = min(Counter(train_labels).items(), key=lambda item: (-item[1], item[0]))[0]
    hits = sum(label == commonest for label in test_labels)
    return {
        "class": commonest,
        "accuracy": hits / len(test_labels) if test_labels else None,
    }
