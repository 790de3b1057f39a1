"""Augmentation on the fly: the founding recipe, one warp per photo.

Photo ``i`` of epoch ``e`` is changed in the same way for the same seed, whatever the batch size.
"""

from __future__ import annotations

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field


class Augmentation(BaseModel):
    """What may happen to a training photo; stored in ``run.json``.

    All changes of one photo compose into one affine map and one bilinear warp of its pixels;
    what moves in from outside is a reflection of the photo.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rotation: float = Field(10.0, ge=0, le=180, description="± degrees")
    shift: float = Field(0.1, ge=0, lt=1, description="± share of width and of height")
    horizontal_flip: bool = Field(True, description="left and right swapped, every other photo")
    vertical_flip: bool = Field(
        False, description="off: few things that people photograph stand on their heads"
    )


POLICIES: dict[str, Augmentation | None] = {"none": None, "standard": Augmentation()}


def augment(
    photos: np.ndarray, policy: Augmentation, *, rows: np.ndarray, epoch: int, seed: int
) -> np.ndarray:
    """Change photos at random.

    Parameters
    ----------
    photos : numpy.ndarray
        uint8 ``(n, height, width, 3)``.
    policy : Augmentation
    rows : numpy.ndarray
        int ``(n,)``: each photo's number in the data set, which with ``epoch`` and ``seed``
        decides what happens to it.
    epoch, seed : int

    Returns
    -------
    numpy.ndarray
        uint8, same shape; the input is left as it was.
    """
    height, width = photos.shape[1:3]
    out = np.empty_like(photos)
    for place, row in enumerate(rows.tolist()):
        matrix = _draw(policy, np.random.default_rng([seed, epoch, row]), height, width)
        cv2.warpAffine(
            photos[place],
            matrix,
            (width, height),
            dst=out[place],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
    return out


def _draw(policy: Augmentation, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Affine map from output to input pixels, float64 ``(2, 3)``."""
    angle, dx, dy = rng.uniform(-1, 1, 3)
    flips = rng.random(2) < 0.5
    theta = np.deg2rad(angle * policy.rotation)
    x_sign = -1.0 if policy.horizontal_flip and flips[0] else 1.0
    y_sign = -1.0 if policy.vertical_flip and flips[1] else 1.0
    linear = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    linear = linear @ np.diag([x_sign, y_sign])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = np.array([dx * policy.shift * width, dy * policy.shift * height])
    offset = centre + shift - linear @ centre
    return np.concatenate([linear, offset[:, None]], axis=1)
