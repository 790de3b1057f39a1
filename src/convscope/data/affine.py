"""Where a pixel comes from: affine maps that compose, and the one warp that they end in.

A map is a float64 matrix ``(3, 3)``, or a stack ``(n, 3, 3)`` with one for each photo. It takes a
place in the *changed* photo to the place in the photo before, in pixels ``(x, y, 1)``; the centres
of pixels are at whole numbers. ``a @ b`` is the change ``a`` followed by the change ``b``.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

Fill = Literal["reflect", "nearest", "constant"]
_BORDERS = {
    "reflect": cv2.BORDER_REFLECT_101,
    "nearest": cv2.BORDER_REPLICATE,
    "constant": cv2.BORDER_CONSTANT,
}

# Buffers of this size stay in a core's cache, and their memory is not asked for anew each time.
_CACHED_BYTES = 96 * 1024


def about_centre(linear: np.ndarray, height: int, width: int) -> np.ndarray:
    """A linear map ``(n, 2, 2)`` that leaves the middle of a photo where it is."""
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    found = np.zeros((len(linear), 3, 3))
    found[:, :2, :2] = linear
    found[:, :2, 2] = centre - linear @ centre
    found[:, 2, 2] = 1
    return found


def rotation(degrees: np.ndarray) -> np.ndarray:
    """Counter-clockwise as one looks at the photo, ``(n,)`` -> linear ``(n, 2, 2)``.

    A quarter turn is exact: its sine and cosine are 0 and ±1.
    """
    turns = np.asarray(degrees, float) / 90
    theta = np.deg2rad(degrees)
    cosine, sine = np.cos(theta), np.sin(theta)
    quarter = turns == np.round(turns)
    cosine, sine = (np.where(quarter, np.round(each), each) for each in (cosine, sine))
    return _linear(cosine, -sine, sine, cosine)


def shear(x_degrees: np.ndarray, y_degrees: np.ndarray) -> np.ndarray:
    """Rows pushed along x, columns along y, ``(n,)`` each -> linear ``(n, 2, 2)``."""
    one = np.ones(len(x_degrees))
    along_x = _linear(one, np.tan(np.deg2rad(x_degrees)), 0 * one, one)
    along_y = _linear(one, 0 * one, np.tan(np.deg2rad(y_degrees)), one)
    return np.asarray(along_x @ along_y)


def scaling(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What is at 1 comes from x, y: above 1 the photo shrinks, -1 flips; linear ``(n, 2, 2)``."""
    zero = np.zeros(len(x))
    return _linear(np.asarray(x, float), zero, zero, np.asarray(y, float))


def translation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The photo moves left by x and up by y pixels, ``(n,)`` each -> ``(n, 3, 3)``."""
    found = np.broadcast_to(np.eye(3), (len(x), 3, 3)).copy()
    found[:, 0, 2], found[:, 1, 2] = x, y
    return found


def crop_and_resize(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """A box of a photo becomes a whole photo of ``height`` × ``width``.

    Parameters
    ----------
    boxes : numpy.ndarray
        float ``(n, 4)``: left, top, width, height, where pixel 0 reaches from 0 to 1.
    height, width : int
        Of the result.

    Returns
    -------
    numpy.ndarray
        ``(n, 3, 3)``.
    """
    left, top, across, down = np.asarray(boxes, float).T
    found = np.zeros((len(boxes), 3, 3))
    found[:, 0, 0], found[:, 1, 1], found[:, 2, 2] = across / width, down / height, 1
    # Edges meet edges, so centres are half a pixel further in.
    found[:, 0, 2] = left + found[:, 0, 0] / 2 - 0.5
    found[:, 1, 2] = top + found[:, 1, 1] / 2 - 0.5
    return found


def warp(
    photo: np.ndarray,
    matrix: np.ndarray,
    height: int,
    width: int,
    *,
    fill: Fill = "reflect",
    nearest: bool = False,
) -> np.ndarray:
    """Move the pixels of one photo, bilinear.

    Parameters
    ----------
    photo : numpy.ndarray
        uint8 ``(h, w)`` or ``(h, w, channels)``.
    matrix : numpy.ndarray
        ``(3, 3)`` or its first two rows.
    height, width : int
        Of the result.
    fill : str
        What comes in from outside: the reflection about the outermost pixels, the nearest of
        them, or black.
    nearest : bool
        Take the nearest pixel instead of mixing four: for masks and labels.
    """
    flags = cv2.WARP_INVERSE_MAP | (cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR)
    found: np.ndarray = cv2.warpAffine(
        photo, matrix[:2], (width, height), flags=flags, borderMode=_BORDERS[fill]
    )
    return found


def warp_all(
    photos: np.ndarray, matrices: np.ndarray, height: int, width: int, *, fill: Fill = "reflect"
) -> np.ndarray:
    """:func:`warp` of many photos, each by its own map; bit for bit the same, and faster.

    OpenCV 5 moves pixels of four channels, which lie at whole words, almost twice as fast as those
    of three. So a fourth channel is added on the way, for as many photos at a time as stay in the
    processor's cache.

    Parameters
    ----------
    photos : numpy.ndarray
        uint8 ``(n, h, w, 3)``.
    matrices : numpy.ndarray
        ``(n, 3, 3)``, or their first two rows.
    height, width : int
        Of the result.
    fill : str
        See :func:`warp`.

    Returns
    -------
    numpy.ndarray
        uint8 ``(n, height, width, 3)``.
    """
    count, before, across = photos.shape[:3]
    out = np.empty((count, height, width, 3), np.uint8)
    block = max(1, _CACHED_BYTES // (4 * max(before * across, height * width)))
    flags, border = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR, _BORDERS[fill]
    wide = np.empty((block, before, across, 4), np.uint8)
    moved = np.empty((block, height, width, 4), np.uint8)
    for start in range(0, count, block):
        # One call for the whole block: photos below each other are one tall photo.
        some = np.ascontiguousarray(photos[start : start + block])
        tall = wide[: len(some)].reshape(-1, across, 4)
        cv2.cvtColor(some.reshape(-1, across, 3), cv2.COLOR_RGB2RGBA, dst=tall)
        for photo, matrix, target in zip(wide, matrices[start:, :2], moved, strict=False):
            cv2.warpAffine(
                photo, matrix, (width, height), dst=target, flags=flags, borderMode=border
            )
        tall_after = moved[: len(some)].reshape(-1, width, 4)
        target = out[start : start + block].reshape(-1, width, 3)
        cv2.cvtColor(tall_after, cv2.COLOR_RGBA2RGB, dst=target)
    return out


def move_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Where points of a photo are in the changed one.

    Parameters
    ----------
    points : numpy.ndarray
        float ``(k, 2)``: x, y.
    matrix : numpy.ndarray
        ``(3, 3)``.

    Returns
    -------
    numpy.ndarray
        float ``(k, 2)``.
    """
    whole = np.eye(3)
    whole[:2] = matrix[:2]
    inverse = np.linalg.inv(whole)
    found: np.ndarray = points @ inverse[:2, :2].T + inverse[:2, 2]
    return found


def _linear(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    return np.stack([np.stack([a, b], -1), np.stack([c, d], -1)], -2)
