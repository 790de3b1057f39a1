"""Where the photos that carry a marker have something in common that the others do not have."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from convscope.audit.looks import WHOLE
from convscope.audit.overlay import gradients

# Looking at more photos shows no more.
_MOST = 200
# Pixels of a blur before photos are compared: an artefact is not at exactly the same place.
_SOFT = 1.2
# A pixel is part of the region above this share of the largest difference, and above chance.
_SHARE, _CHANCE = 0.25, 1.5
# Above this share of the photo the marker is everywhere.
EVERYWHERE = 0.66
_SMALLEST = 0.001


@dataclass(frozen=True, eq=False)
class Region:
    """A part of the photos, at the same place of each.

    Attributes
    ----------
    mask : numpy.ndarray
        bool ``(side, side)``.
    frame : str
        Of what: of the whole photo, squeezed into a square, or of the square in its middle.
    """

    mask: np.ndarray
    frame: str = WHOLE

    @property
    def area(self) -> float:
        """Its share of the frame."""
        return float(self.mask.mean())

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in the frame, 0 to 1."""
        if not self.mask.any():
            return 0.0, 0.0, 1.0, 1.0
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        high, wide = self.mask.shape
        return (
            float(columns[0] / wide), float(rows[0] / high),
            float((columns[-1] + 1) / wide), float((rows[-1] + 1) / high),
        )  # fmt: skip

    def box_on(self, width: int, height: int) -> tuple[float, float, float, float]:
        """As :attr:`box`, in fractions of the whole photo of this size."""
        left, top, right, bottom = self.box
        if self.frame == WHOLE:
            return self.box
        side = min(width, height)
        across, down = (width - side) / 2, (height - side) / 2
        return (
            (across + left * side) / width, (down + top * side) / height,
            (across + right * side) / width, (down + bottom * side) / height,
        )  # fmt: skip

    @property
    def everywhere(self) -> bool:
        """Whether it is all of the photo."""
        return self.area >= EVERYWHERE

    def on(self, width: int, height: int) -> np.ndarray:
        """On a photo of this size: bool ``(height, width)``."""
        mask = self.mask.astype(np.uint8)
        if self.frame == WHOLE:
            return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST) > 0
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        found = np.zeros((height, width), bool)
        found[top : top + side, left : left + side] = (
            cv2.resize(mask, (side, side), interpolation=cv2.INTER_NEAREST) > 0
        )
        return found


def where(
    canvases: np.ndarray,
    carriers: np.ndarray,
    others: np.ndarray,
    *,
    frame: str = WHOLE,
    seed: int = 0,
) -> Region:
    """What carriers have in common: pixel by pixel, colours and signed gradients.

    A pixel belongs to it where the carriers' values lie elsewhere, or closer together, than the
    others': the divergence of two normal distributions, above what two random halves of the others
    give.

    Parameters
    ----------
    canvases : numpy.ndarray
        uint8 ``(n, side, side, 3)``.
    carriers, others : numpy.ndarray
        bool ``(n,)``.
    frame : str
        Of the canvases.
    seed : int
    """
    drawn = np.random.default_rng(seed)
    with_it = _some(carriers, drawn, _MOST)
    without = _some(others, drawn, 2 * _MOST)
    own, rest = _channels(canvases[with_it]), _channels(canvases[without])
    split = drawn.permutation(len(rest))
    part = split[: min(len(own), len(rest) // 2)]
    chance = _apart(rest[part], rest[np.setdiff1d(split, part)])
    found = _apart(own, rest)
    largest, by_chance = (float(np.quantile(one, 0.999)) for one in (found, chance))
    mask = _cleaned(found > max(_SHARE * largest, _CHANCE * by_chance))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    for number in range(1, count):
        if stats[number, cv2.CC_STAT_AREA] < _SMALLEST * mask.size:
            mask[parts == number] = False
    return Region(mask, frame)


def _cleaned(mask: np.ndarray) -> np.ndarray:
    """Holes closed, specks gone."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    # The blur has widened it; what ends at the photo's edge has not grown there.
    return np.asarray(cv2.erode(opened, np.ones((3, 3), np.uint8), borderValue=1)) > 0


def _some(rows: np.ndarray, drawn: np.random.Generator, most: int) -> np.ndarray:
    found = np.flatnonzero(rows)
    return np.sort(drawn.permutation(found)[:most])


def _channels(canvases: np.ndarray) -> np.ndarray:
    """float32 ``(n, side, side, 5)``: Lab and signed gradients, a little blurred."""
    found = []
    for canvas in canvases:
        lab = cv2.cvtColor(canvas, cv2.COLOR_RGB2LAB).astype(np.float32)
        both = gradients(canvas).astype(np.float32).transpose(1, 2, 0)
        found.append(cv2.GaussianBlur(np.dstack([lab, both]), (0, 0), _SOFT))
    return np.stack(found)


def _apart(own: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """How unlike they are at each pixel, float32 ``(side, side)``."""
    # A floor, so that what hardly varies anywhere is no difference.
    floor = np.array([16, 6, 6, 200, 200], np.float32)
    mine, theirs = own.var(0) + floor, rest.var(0) + floor
    apart = (own.mean(0) - rest.mean(0)) ** 2
    divergence = 0.5 * ((mine + apart) / theirs - 1 + np.log(theirs / mine))
    return np.asarray(divergence.sum(-1))
