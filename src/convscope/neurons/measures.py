"""What a channel answers to, in numbers: how rarely, and to which class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

# Bytes of activations that are held at a time.
_HELD = 2**28


@dataclass(frozen=True)
class Measures:
    """Of every channel of a layer, over the photos' strongest activations.

    Attributes
    ----------
    mean, most : numpy.ndarray
        float32 ``(channels,)``.
    sparsity : numpy.ndarray
        float32 ``(channels,)``, 0 to 1: 0 if all photos excite it alike, 1 if a single one does
        (lifetime sparseness; Vinje & Gallant 2000, Science 287). Activations below 0 count as 0.
    auroc : numpy.ndarray
        float32 ``(channels, classes)``: the chance that a photo of the class excites it more than
        one of another; NaN of a class without photos or with all. No columns without labels.
    """

    mean: np.ndarray
    most: np.ndarray
    sparsity: np.ndarray
    auroc: np.ndarray

    def best(self) -> np.ndarray:
        """int64 ``(channels,)``: the class that each answers to most; -1 where none is known."""
        if not self.auroc.shape[1] or np.isnan(self.auroc).all():
            return np.full(len(self.auroc), -1)
        return np.asarray(np.argmax(np.nan_to_num(self.auroc, nan=-1.0), axis=1))


def sparseness(values: np.ndarray) -> np.ndarray:
    """Lifetime sparseness of columns, float64 ``(channels,)``.

    Parameters
    ----------
    values : numpy.ndarray
        ``(n, channels)``.
    """
    positive = np.maximum(values.astype(np.float64), 0)
    n = len(positive)
    square = (positive**2).mean(0)
    if n < 2:
        return np.zeros(positive.shape[1])
    share = np.divide(positive.mean(0) ** 2, square, out=np.ones_like(square), where=square > 0)
    found: np.ndarray = np.clip((1 - share) / (1 - 1 / n), 0, 1)
    return found


def auroc(values: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Of each column and class, the area under the ROC curve, float64 ``(channels, classes)``.

    Parameters
    ----------
    values : numpy.ndarray
        ``(n, channels)``; ties count half.
    labels : numpy.ndarray
        int ``(n,)``.
    classes : int
    """
    ranks = rankdata(values, axis=0)
    found = np.full((values.shape[1], classes), np.nan)
    for label in range(classes):
        mine = labels == label
        n, others = int(mine.sum()), int((~mine).sum())
        if n and others:
            found[:, label] = (ranks[mine].sum(0) - n * (n + 1) / 2) / (n * others)
    return found


def measure(
    columns: Iterable[tuple[slice, np.ndarray]], channels: int, labels: np.ndarray, classes: int
) -> Measures:
    """Measure a layer, some channels at a time.

    Parameters
    ----------
    columns : iterable of (slice, numpy.ndarray)
        Channels, and of these the strongest activation of each photo, float32 ``(n, some)``.
    channels : int
    labels : numpy.ndarray
        int ``(n,)``.
    classes : int
        0 without labels.
    """
    mean, most, sparse = (np.zeros(channels, np.float32) for _ in range(3))
    area = np.full((channels, classes), np.nan, np.float32)
    for some, values in columns:
        mean[some], most[some] = values.mean(0), values.max(0)
        sparse[some] = sparseness(values)
        if classes:
            area[some] = auroc(values, labels, classes)
    return Measures(mean, most, sparse, area)


def in_blocks(photos: int, channels: int) -> Iterator[slice]:
    """Channels, as many at a time as their activations fit."""
    # Ranks and their sums take several times as much.
    at_once = max(1, _HELD // (32 * max(1, photos)))
    for first in range(0, channels, at_once):
        yield slice(first, min(channels, first + at_once))


def order_of(measures: Measures, alive: Sequence[bool]) -> list[int]:
    """Channels, those first that answer most to one class; without classes, the sparsest.

    Parameters
    ----------
    measures : Measures
    alive : sequence of bool
        Those that some photo excites; the others come last.
    """
    key = measures.sparsity
    if measures.best().max(initial=-1) >= 0:
        key = np.nan_to_num(measures.auroc, nan=-1.0).max(1)
    return [int(one) for one in np.lexsort((np.arange(len(key)), -key, ~np.array(alive, bool)))]
