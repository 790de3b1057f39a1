"""Colours changed by one matrix ``(3, 4)`` for each photo: mixing of channels, and an offset.

Values are 0 to 255, channels red, green, blue. Matrices compose, so that any sequence of these
changes is one pass over the pixels, and what leaves 0 to 255 on the way may come back.
"""

from __future__ import annotations

import cv2
import numpy as np

# The weights of ITU-R BT.601, as Pillow and torchvision take them for grey.
GREY = np.array([0.299, 0.587, 0.114])
# YIQ: hue is the angle in the plane of I and Q.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_RGB = np.linalg.inv(_YIQ)


def identity(count: int) -> np.ndarray:
    """No change, ``(n, 3, 4)``."""
    return np.array(np.broadcast_to(np.eye(3, 4), (count, 3, 4)))


def then(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One change after another as one, ``(n, 3, 4)`` each."""
    found: np.ndarray = second[:, :, :3] @ first
    found[:, :, 3] += second[:, :, 3]
    return found


def brightness(factors: np.ndarray) -> np.ndarray:
    """Every value times a factor, ``(n,)`` -> ``(n, 3, 4)``."""
    return np.asarray(identity(len(factors)) * factors[:, None, None])


def contrast(factors: np.ndarray, greys: np.ndarray) -> np.ndarray:
    """The distance from each photo's mean grey times a factor, ``(n,)`` each -> ``(n, 3, 4)``."""
    found = brightness(factors)
    found[:, :, 3] = ((1 - factors) * greys)[:, None]
    return found


def saturation(factors: np.ndarray) -> np.ndarray:
    """The distance from each pixel's grey times a factor: 0 is grey, ``(n,)`` -> ``(n, 3, 4)``."""
    found = brightness(factors)
    found[:, :, :3] += (1 - factors)[:, None, None] * GREY
    return found


def hue(degrees: np.ndarray) -> np.ndarray:
    """Colours turned on the colour circle, grey stays as it is, ``(n,)`` -> ``(n, 3, 4)``."""
    theta = np.deg2rad(degrees)
    turn = np.zeros((len(theta), 3, 3))
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = np.cos(theta)
    turn[:, 1, 2], turn[:, 2, 1] = -np.sin(theta), np.sin(theta)
    found = identity(len(theta))
    found[:, :, :3] = _RGB @ turn @ _YIQ
    return found


def mean_colours(photos: np.ndarray) -> np.ndarray:
    """The mean colour of each photo, uint8 ``(n, h, w, 3)`` -> float ``(n, 3)``."""
    return np.array([cv2.mean(photo)[:3] for photo in photos]).reshape(-1, 3)


def mean_greys(photos: np.ndarray) -> np.ndarray:
    """The mean grey of each photo, uint8 ``(n, h, w, 3)`` -> float ``(n,)``."""
    found: np.ndarray = mean_colours(photos) @ GREY
    return found


def greys_after(matrices: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Mean greys behind a change, from the mean colours ``(n, 3)`` before it."""
    found: np.ndarray = (matrices[:, :, :3] @ means[:, :, None])[:, :, 0] + matrices[:, :, 3]
    return np.asarray(found @ GREY)


def recolour(photo: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Change the colours of one photo, uint8 ``(h, w, 3)``; rounded, and cut off at 0 and 255."""
    found: np.ndarray = cv2.transform(photo, matrix)
    return found
