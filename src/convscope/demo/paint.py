"""Colours, noise and outlines: what everything in a drawn photo is made of.

Colours are linear light, 0..1, as float32 ``(3,)`` or ``(height, width, 3)``; outlines are float64
``(n, 2)`` of x (right) and y (down).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

# Modelling clay: what a maker of toy animals has at hand. 8-bit sRGB.
CLAYS: dict[str, tuple[int, int, int]] = {
    "red": (201, 54, 44),
    "orange": (231, 126, 40),
    "amber": (238, 186, 62),
    "olive": (134, 140, 54),
    "green": (60, 136, 72),
    "teal": (36, 146, 142),
    "sky": (76, 152, 214),
    "blue": (50, 82, 172),
    "violet": (122, 76, 160),
    "pink": (228, 124, 152),
    "brown": (132, 82, 48),
    "cream": (240, 222, 184),
    "charcoal": (58, 56, 64),
    "white": (242, 240, 234),
}


def linear(colour: Sequence[float]) -> np.ndarray:
    """An 8-bit screen colour as linear light; a gamma of 2 is near enough to sRGB."""
    return (np.asarray(colour, np.float32) / 255.0) ** 2


def mix(first: np.ndarray, second: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """``first`` where ``share`` is 0, ``second`` where it is 1.

    Both are colours ``(3,)`` or maps of colours; ``share`` is a number or a map of numbers.
    """
    if not isinstance(share, np.ndarray):
        mixed: np.ndarray = first + (second - first) * np.float32(share)
        return mixed
    # A plane at a time: several times faster than (height, width, 3) by (height, width, 1).
    planes = []
    for channel in range(3):
        here = first[..., channel]
        planes.append(here + (second[..., channel] - here) * share)
    merged: np.ndarray = cv2.merge(planes)
    return merged


def shade(colour: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """A colour ``(3,)``, or a map of colours, times a map of factors ``(height, width)``."""
    shaded: np.ndarray
    if colour.ndim == 1:
        shaded = cv2.merge([value * factor for value in colour])
    else:
        shaded = colour * cv2.merge((factor, factor, factor))
    return shaded


def step(values: np.ndarray, edge: float, softness: float) -> np.ndarray:
    """From 0 to 1 as ``values`` pass ``edge``, over ± ``softness``."""
    t = (values - (edge - softness)) * (0.5 / softness)
    t = np.minimum(np.maximum(t, 0), 1)
    smooth: np.ndarray = t * t * (3 - 2 * t)
    return smooth


def noise(
    rng: np.random.Generator, side: int, cells: float, *, octaves: int = 1, stretch: float = 1.0
) -> np.ndarray:
    """Smooth random hills.

    Parameters
    ----------
    rng : numpy.random.Generator
    side : int
        Of the square result, pixels.
    cells : float
        Hills across the picture in the first octave; each further octave has twice as many, half
        as high.
    octaves : int
    stretch : float
        Above 1, hills are that much longer across (x) than they are high (y).

    Returns
    -------
    numpy.ndarray
        float32 ``(side, side)``, mean 0, about -1..1.
    """
    total = np.zeros((side, side), np.float32)
    amplitude, norm = 1.0, 0.0
    for octave in range(octaves):
        rows = min(side, max(2, round(cells * 2**octave) + 1))
        columns = min(side, max(2, round(cells * 2**octave / stretch) + 1))
        grid = rng.random((rows, columns), dtype=np.float32) * 2 - 1
        size = (side, side)
        total += amplitude * cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC)
        norm += amplitude**2
        amplitude *= 0.5
    total -= total.mean()
    total *= 1.5 / np.sqrt(norm)
    return total


def spline(points: Sequence[tuple[float, float]], *, closed: bool = True) -> np.ndarray:
    """A smooth line through points (Catmull-Rom), eight steps from one to the next."""
    knots = np.asarray(points, np.float64)
    if closed:
        padded = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        padded = np.concatenate([knots[:1], knots, knots[-1:], knots[-1:]])
    before, after, last = padded[:-3], padded[2:-1], padded[3:]
    flat = np.concatenate([before, knots, after, last]).reshape(4, -1)
    curve: np.ndarray = (_BASIS @ flat).reshape(_STEPS, -1, 2).transpose(1, 0, 2).reshape(-1, 2)
    return curve if closed else curve[: 1 - _STEPS]


def ellipse(
    x: float, y: float, across: float, high: float, *, turn: float = 0.0, steps: int = 40
) -> np.ndarray:
    """An ellipse by its centre and half axes, turned by ``turn`` radians."""
    c, s = np.cos(turn), np.sin(turn)
    axes = np.array([[across * c, across * s], [-high * s, high * c]])
    outline: np.ndarray = _circle(steps) @ axes + (x, y)
    return outline


def stroke(points: Sequence[tuple[float, float]], start: float, end: float) -> list[np.ndarray]:
    """A limb along a smooth line, ``start`` wide at first and ``end`` at last, with round ends.

    Returns outlines to lay together: the limb and its two ends.
    """
    line = spline(points, closed=False)
    along = np.empty_like(line)
    along[1:-1] = line[2:] - line[:-2]
    along[0], along[-1] = line[1] - line[0], line[-1] - line[-2]
    half = start + (end - start) * np.arange(len(line)) / (len(line) - 1)
    half /= 2 * np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
    side = np.stack([-along[:, 1] * half, along[:, 0] * half], axis=1)
    limb = np.concatenate([line + side, (line - side)[::-1]])
    return [limb, _circle(12) * (start / 2) + line[0], _circle(12) * (end / 2) + line[-1]]


@cache
def _circle(steps: int) -> np.ndarray:
    angle = np.arange(steps) * (2 * np.pi / steps)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _catmull_rom(t: np.ndarray) -> np.ndarray:
    """Weights of the point before, the two that the line is between, and the one after."""
    weights = [
        -t + 2 * t**2 - t**3,
        2 - 5 * t**2 + 3 * t**3,
        t + 4 * t**2 - 3 * t**3,
        t**3 - t**2,
    ]
    return 0.5 * np.stack(weights, axis=1)


_STEPS = 8
_BASIS = _catmull_rom(np.arange(_STEPS) / _STEPS)
