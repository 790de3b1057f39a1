"""Overlays: strokes at the same place of many photos of a class, such as a watermark or a date.

What a photo shows has its edges elsewhere in every photo; what was put over it has them at one
place. So the mean of signed gradients, nothing elsewhere, stands out there: a matched filter.
"""

from __future__ import annotations

import cv2
import numpy as np

# Gradients below this are noise, of 255.
_SOFT = 6.0
# Standard errors by which a gradient must differ to be part of the filter, and how many there are.
_STANDS_OUT, _PARTS = 4.5, 400
_ELSEWHERE = 0.01
_SCALE = 127
# Of fewer photos no filter is made.
_FEW = 8


def gradients(canvas: np.ndarray) -> np.ndarray:
    """Which way the light changes, hardly how much: int8 ``(2, side, side)`` of a canvas."""
    light = cv2.cvtColor(canvas, cv2.COLOR_RGB2GRAY).astype(np.float32)
    both = np.stack([cv2.Sobel(light, cv2.CV_32F, *step) / 4 for step in ((1, 0), (0, 1))])
    length = np.hypot(*both) + _SOFT
    found: np.ndarray = np.rint(both / length * _SCALE).astype(np.int8)
    return found


def stamped(
    maps: np.ndarray, labels: np.ndarray, label: int, look: np.ndarray
) -> np.ndarray | None:
    """Which photos carry an overlay that some of a class have in common.

    Parameters
    ----------
    maps : numpy.ndarray
        int8 ``(n, 2, side, side)``: see :func:`gradients`.
    labels : numpy.ndarray
        int ``(n,)``.
    label : int
    look : numpy.ndarray
        bool ``(n,)``: the photos from which the filter is made.

    Returns
    -------
    numpy.ndarray or None
        bool ``(n,)``; None if nothing stands out.
    """
    mine, others = look & (labels == label), look & (labels != label)
    if min(mine.sum(), others.sum()) < _FEW:
        return None
    weights = _filter(maps[mine], maps[others])
    if weights is None:
        return None
    scores = _answers(maps, weights)
    limit = np.quantile(scores[others], 1 - _ELSEWHERE, method="higher")
    return np.asarray(scores > limit)


def _filter(mine: np.ndarray, others: np.ndarray) -> np.ndarray | None:
    ours, _ = _moments(mine)
    theirs, spread = _moments(others)
    spread += 100
    apart = (ours - theirs) / np.sqrt(spread / len(mine) + spread / len(others))
    size = np.abs(apart)
    least = max(_STANDS_OUT, float(np.partition(size.ravel(), -_PARTS)[-_PARTS]))
    weights = np.where(size >= least, (ours - theirs) / spread, 0).astype(np.float32)
    return weights if weights.any() else None


def _moments(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each pixel, a few photos at a time."""
    total, square = (np.zeros(maps.shape[1:], np.float64) for _ in range(2))
    for first in range(0, len(maps), 64):
        some = maps[first : first + 64].astype(np.float32)
        total += some.sum(0)
        square += (some**2).sum(0)
    mean = total / len(maps)
    return mean, square / len(maps) - mean**2


def _answers(maps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of the filter to each photo, float32 ``(n,)``."""
    used = np.flatnonzero(weights)
    flat = maps.reshape(len(maps), -1)[:, used].astype(np.float32)
    return np.asarray(flat @ weights.ravel()[used])
