"""TrivialAugment, wide (Müller & Hutter 2021, arXiv 2103.10158): one change, at any strength.

Each photo gets one of 14 changes, all equally likely, at a strength of 0 to 30, all equally likely.
The ranges are those of the paper's wide search space; its 32 pixels of translation are meant for
photos of 224 and go with the size here.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from convscope.data import affine, colour
from convscope.data.affine import Fill

_LEVELS = 31
_SHIFT = 32 / 224
_FACTOR = 0.99
_DEGREES = 135.0
_LEVELS_OF_GREY = np.arange(256)


def _moved(linear: np.ndarray, photo: np.ndarray, fill: Fill) -> np.ndarray:
    height, width = photo.shape[:2]
    matrix = affine.about_centre(linear, height, width)[0]
    return affine.warp(photo, matrix, height, width, fill=fill)


def _pushed(photo: np.ndarray, x: float, y: float, fill: Fill) -> np.ndarray:
    linear = np.array([[[1.0, x], [y, 1.0]]])
    return _moved(linear, photo, fill)


def _shifted(photo: np.ndarray, x: float, y: float, fill: Fill) -> np.ndarray:
    height, width = photo.shape[:2]
    matrix = affine.translation(np.array([x * width]), np.array([y * height]))[0]
    return affine.warp(photo, matrix, height, width, fill=fill)


def _recoloured(photo: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return colour.recolour(photo, matrix[0])


def _sharpened(photo: np.ndarray, factor: float) -> np.ndarray:
    """Away from a smoothed photo (factor above 1) or towards it, as Pillow does."""
    smooth = cv2.filter2D(photo, -1, np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13)
    found: np.ndarray = cv2.addWeighted(photo, factor, smooth, 1 - factor, 0)
    return found


def _looked_up(photo: np.ndarray, table: np.ndarray) -> np.ndarray:
    found: np.ndarray = cv2.LUT(photo, np.asarray(table, np.uint8))
    return found


def _stretched(photo: np.ndarray) -> np.ndarray:
    """Each channel from 0 to 255."""
    low, high = photo.min((0, 1)).astype(float), photo.max((0, 1)).astype(float)
    scale = 255 / np.maximum(high - low, 1)
    table = (_LEVELS_OF_GREY[:, None] - low) * scale
    same = high <= low
    table[:, same] = _LEVELS_OF_GREY[:, None]
    return _looked_up(photo, table.round().clip(0, 255)[None])


def _equalised(photo: np.ndarray) -> np.ndarray:
    """Each channel with all its values about equally often."""
    channels = [cv2.equalizeHist(np.ascontiguousarray(photo[..., c])) for c in range(3)]
    return np.stack(channels, axis=-1)


def change(
    photo: np.ndarray, which: float, strength: float, sign: float, *, fill: Fill
) -> np.ndarray:
    """Change one photo.

    Parameters
    ----------
    photo : numpy.ndarray
        uint8 ``(h, w, 3)``.
    which, strength, sign : float
        0 up to 1, drawn: which change, how much of it, in which direction where it has two.
    fill : str
        See :func:`~convscope.data.affine.warp`.

    Returns
    -------
    numpy.ndarray
        uint8, same shape.
    """
    level = int(strength * _LEVELS) / (_LEVELS - 1)
    signed = level if sign < 0.5 else -level
    factor = np.array([1 + _FACTOR * signed])
    changes: tuple[Callable[[], np.ndarray], ...] = (
        lambda: photo,
        lambda: _pushed(photo, _FACTOR * signed, 0, fill),
        lambda: _pushed(photo, 0, _FACTOR * signed, fill),
        lambda: _shifted(photo, _SHIFT * signed, 0, fill),
        lambda: _shifted(photo, 0, _SHIFT * signed, fill),
        lambda: _moved(affine.rotation(np.array([_DEGREES * signed])), photo, fill),
        lambda: _recoloured(photo, colour.brightness(factor)),
        lambda: _recoloured(photo, colour.saturation(factor)),
        lambda: _recoloured(photo, colour.contrast(factor, colour.mean_greys(photo[None]))),
        lambda: _sharpened(photo, float(factor[0])),
        lambda: _looked_up(photo, _LEVELS_OF_GREY & -(1 << round(6 * level))),
        lambda: _looked_up(
            photo,
            np.where(255 * (1 - level) <= _LEVELS_OF_GREY, 255 - _LEVELS_OF_GREY, _LEVELS_OF_GREY),
        ),
        lambda: _stretched(photo),
        lambda: _equalised(photo),
    )
    return changes[int(which * len(changes))]()
