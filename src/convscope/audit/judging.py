"""Ask the classifier about changed photos, and count how many change their class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import binomtest

from convscope.audit.changing import Change
from convscope.data.images import Photo, decode_photo, read_bytes, square
from convscope.errors import PhotoError
from convscope.lanes import in_lanes
from convscope.metrics import wilson
from convscope.run import RunInfo

# Photos that go through the network at a time.
_BATCH = 8
# How many more photos have to turn than with the control, and how sure that must be.
_GAIN, _SURE = 0.10, 0.01
# Of a carrier's class that is lost without it.
_LOST = 0.3


@dataclass(frozen=True)
class Rate:
    """A share, with its interval.

    Attributes
    ----------
    hits, n : int
    """

    hits: int
    n: int

    @property
    def share(self) -> float:
        """0 to 1; 0 of nothing."""
        return self.hits / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 % (Wilson 1927)."""
        low, high = wilson(self.hits, self.n) or (0.0, 1.0)
        return low, high

    def words(self) -> str:
        """For example ``0.42 (0.33-0.51)``."""
        low, high = self.interval
        return f"{self.share:.2f} ({low:.2f}-{high:.2f})"


def goes_by(gain: float, sure: float, taken: Rate | None) -> bool:
    """Whether the classifier goes by something that was given to photos and taken from others.

    Parameters
    ----------
    gain : float
        How many more photos turn than with the control, 0 to 1.
    sure : float
        The chance that it turns no more than the control; see :func:`differs`.
    taken : Rate or None
        Photos that are lost when it is taken.
    """
    turns = gain >= _GAIN and sure <= _SURE
    return turns or (taken is not None and taken.interval[0] >= _LOST)


def groups_of(
    label: str, mine: np.ndarray, has: np.ndarray, right: np.ndarray, some: np.ndarray
) -> dict[str, Rate]:
    """How accurate the classifier is on photos with and without something.

    Parameters
    ----------
    label : str
        The class.
    mine, has, right, some : numpy.ndarray
        bool ``(n,)``: of the class, with it, named right, and the photos that count.
    """
    parts = {
        f"{label} with it": mine & has,
        f"{label} without it": mine & ~has,
        "others with it": ~mine & has,
        "others without it": ~mine & ~has,
    }
    return {
        name: Rate(int((right & rows & some).sum()), int((rows & some).sum()))
        for name, rows in parts.items()
    }


def groups_to_dict(groups: dict[str, Rate]) -> dict[str, Any]:
    """JSON values."""
    return {
        name: {"accuracy": round(rate.share, 4), "n": rate.n, "interval": rate.interval}
        for name, rate in groups.items()
    }


class Judge:
    """The classifier of a run, asked about photos that were changed first.

    Parameters
    ----------
    forward : callable
        uint8 ``(n, size, size, 3)`` -> logits ``(n, classes)``.
    info : RunInfo
    seed : int
        Of what is drawn for each photo.
    """

    def __init__(
        self, forward: Callable[[np.ndarray], np.ndarray], info: RunInfo, seed: int
    ) -> None:
        self.forward, self.info, self.seed = forward, info, seed

    def says(
        self, paths: Sequence[Path], change: Change, advance: Callable[[int], None]
    ) -> np.ndarray:
        """The class of each changed photo, int64 ``(n,)``; -1 of those that cannot be read now."""
        batches = [
            list(range(first, min(first + _BATCH, len(paths))))
            for first in range(0, len(paths), _BATCH)
        ]
        found = np.full(len(paths), -1, np.int64)
        with closing(in_lanes(lambda rows: self._batch(paths, rows, change), batches)) as done:
            for rows, labels in done:
                found[rows] = labels
                advance(len(rows))
        return found

    def _batch(self, paths: Sequence[Path], rows: Sequence[int], change: Change) -> np.ndarray:
        size = self.info.input.size
        pixels = np.zeros((len(rows), size, size, 3), np.uint8)
        good = np.zeros(len(rows), bool)
        for place, row in enumerate(rows):
            try:
                photo = open_whole(paths[row], self.info.input.resize)
            except PhotoError:
                continue
            drawn = np.random.default_rng([self.seed, row])
            pixels[place] = seen(change(photo, drawn), self.info)
            good[place] = True
        return np.where(good, self.forward(pixels).argmax(1), -1)


def open_whole(path: Path, at_least: int) -> np.ndarray:
    """A photo, uint8 ``(height, width, 3)``, not much larger than the network needs it."""
    image = decode_photo(read_bytes(path), at_least=at_least).image
    if min(image.size) > 2 * at_least:
        scale = at_least / min(image.size)
        image = image.resize([max(1, round(side * scale)) for side in image.size])
    return np.asarray(image)


def seen(photo: np.ndarray, info: RunInfo) -> np.ndarray:
    """What the network sees of it: uint8 ``(size, size, 3)``."""
    height, width = photo.shape[:2]
    whole = Photo(Image.fromarray(np.ascontiguousarray(photo)), "", width, height)
    return square(whole, info.input.resize, info.input.size, fast=info.precision.mode == "fast")


def differs(one: np.ndarray, other: np.ndarray) -> float:
    """The chance that so many more of the same photos are in the first (McNemar's exact test).

    Parameters
    ----------
    one, other : numpy.ndarray
        bool ``(n,)``.
    """
    more, fewer = int((one & ~other).sum()), int((other & ~one).sum())
    if not more + fewer:
        return 1.0
    return float(binomtest(more, more + fewer, 0.5, alternative="greater").pvalue)
