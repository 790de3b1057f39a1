"""Give a photo what carriers of a marker have, or take it from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

from convscope.audit.looks import WHOLE
from convscope.audit.regions import Region

# Pasted, and covered, with so much around it, pixels of the canvas: a rest of it that shows would
# be painted in.
_AROUND, _COVERED_AROUND = 2, 6
# Larger areas are not painted in from their edges but filled with the mean colour.
_INPAINTED = 0.12
_LAB_SCALE = np.array([2.55, 1, 1], np.float32)


class Change(Protocol):
    """A photo, uint8 ``(height, width, 3)``, to another of the same size."""

    def __call__(self, photo: np.ndarray, drawn: np.random.Generator) -> np.ndarray:
        """The changed photo; the given one is left alone."""


@dataclass(frozen=True, eq=False)
class Paste:
    """Put a part of another photo over the same place.

    Attributes
    ----------
    region : Region
    donors : sequence of numpy.ndarray
        uint8 photos of any size; one is drawn for each photo.
    """

    region: Region
    donors: Sequence[np.ndarray]

    def __call__(self, photo: np.ndarray, drawn: np.random.Generator) -> np.ndarray:
        """See :class:`Change`."""
        height, width = photo.shape[:2]
        donor = self.donors[int(drawn.integers(len(self.donors)))]
        part = grown(self.region)
        mask = part.on(width, height)
        return np.where(mask[..., None], _fitted(donor, width, height, part.frame), photo)


@dataclass(frozen=True, eq=False)
class Cover:
    """Paint a part over, from what lies around it.

    Attributes
    ----------
    region : Region
    """

    region: Region

    def __call__(self, photo: np.ndarray, drawn: np.random.Generator) -> np.ndarray:
        """See :class:`Change`."""
        height, width = photo.shape[:2]
        mask = grown(self.region, _COVERED_AROUND).on(width, height)
        if self.region.area <= _INPAINTED:
            radius = max(3, round(0.01 * min(height, width)))
            found: np.ndarray = cv2.inpaint(
                np.ascontiguousarray(photo), mask.astype(np.uint8), radius, cv2.INPAINT_TELEA
            )
            return found
        out = photo.copy()
        rest = photo[~mask]
        out[mask] = rest.mean(0) if len(rest) else 128
        return out


@dataclass(frozen=True)
class Shift:
    """Move all colours.

    Attributes
    ----------
    by : tuple of float
        In L (0 to 100), a and b.
    stretch : float
        Contrast: L around its mean.
    """

    by: tuple[float, float, float]
    stretch: float = 1.0

    def __call__(self, photo: np.ndarray, drawn: np.random.Generator) -> np.ndarray:
        """See :class:`Change`."""
        lab = cv2.cvtColor(photo, cv2.COLOR_RGB2LAB).astype(np.float32)
        middle = lab[..., 0].mean()
        lab[..., 0] = middle + self.stretch * (lab[..., 0] - middle)
        lab += np.array(self.by, np.float32) * _LAB_SCALE
        moved = np.clip(np.rint(lab), 0, 255).astype(np.uint8)
        found: np.ndarray = cv2.cvtColor(moved, cv2.COLOR_LAB2RGB)
        return found

    @property
    def back(self) -> Shift:
        """The way back."""
        return Shift((-self.by[0], -self.by[1], -self.by[2]), 1 / self.stretch)


@dataclass(frozen=True)
class Blur:
    """Out of focus.

    Attributes
    ----------
    share : float
        Sigma, as a share of the shorter side.
    """

    share: float

    def __call__(self, photo: np.ndarray, drawn: np.random.Generator) -> np.ndarray:
        """See :class:`Change`."""
        sigma = self.share * min(photo.shape[:2])
        found: np.ndarray = cv2.GaussianBlur(photo, (0, 0), sigma) if sigma > 0.1 else photo.copy()
        return found


@dataclass(frozen=True)
class Nothing:
    """Leave it as it is."""

    label: str = field(default="nothing")

    def __call__(self, photo: np.ndarray, drawn: np.random.Generator) -> np.ndarray:
        """See :class:`Change`."""
        return photo


def _fitted(donor: np.ndarray, width: int, height: int, frame: str) -> np.ndarray:
    """A photo at another's size, so that places in the frame lie on one another."""
    if frame == WHOLE:
        whole: np.ndarray = cv2.resize(donor, (width, height), interpolation=cv2.INTER_AREA)
        return whole
    side, own = min(width, height), min(donor.shape[:2])
    top, left = (donor.shape[0] - own) // 2, (donor.shape[1] - own) // 2
    found = np.zeros((height, width, 3), np.uint8)
    down, across = (height - side) // 2, (width - side) // 2
    found[down : down + side, across : across + side] = cv2.resize(
        donor[top : top + own, left : left + own], (side, side), interpolation=cv2.INTER_AREA
    )
    return found


def grown(region: Region, by: int = _AROUND) -> Region:
    """Larger on all sides, by so many pixels of the canvas."""
    side = 2 * by + 1
    mask = cv2.dilate(region.mask.astype(np.uint8), np.ones((side, side), np.uint8))
    return Region(mask > 0, region.frame)
