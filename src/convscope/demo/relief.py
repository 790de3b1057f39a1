"""A picture before light falls on it: colour, height and gloss, laid on in pieces, then lit.

Everything in a drawn photo lies on one height map, so that one light gives every stone, leaf and
creature its bright side, its dark side and its shadow, each in the right direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from convscope.demo.paint import shade

_SUBPIXEL_BITS = 4
_SUBPIXELS = 1 << _SUBPIXEL_BITS
# Where shadows are looked for, as shares of the longest: close together where they are sharp.
_SHADOW_STEPS = (0.02, 0.045, 0.08, 0.12, 0.17, 0.23, 0.3, 0.38, 0.48, 0.6, 0.78, 1.0)

# From x, y of one's own coordinates to colours or heights there.
Painter = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Pose:
    """Where a thing lies: own coordinates (about -1..1) to pixels, 0 being the picture's edge.

    Attributes
    ----------
    matrix : numpy.ndarray
        float64 ``(2, 3)``.
    unit : float
        Pixels of a length of 1.
    """

    matrix: np.ndarray
    unit: float

    @classmethod
    def at(cls, x: float, y: float, unit: float, *, turn: float = 0.0, flip: bool = False) -> Pose:
        """Centre at ``(x, y)`` pixels, turned by ``turn`` radians, left and right swapped."""
        c, s = np.cos(turn) * unit, np.sin(turn) * unit
        m = -1.0 if flip else 1.0
        return cls(np.array([[m * c, -s, x], [m * s, c, y]]), unit)

    def inside(self, x: float, y: float, scale: float, *, turn: float = 0.0) -> Pose:
        """A smaller pose within this one."""
        c, s = np.cos(turn) * scale, np.sin(turn) * scale
        inner = np.array([[c, -s, x], [s, c, y], [0, 0, 1]])
        return Pose(self.matrix @ inner, self.unit * scale)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Own points ``(n, 2)`` to pixels."""
        moved: np.ndarray = cv2.transform(points[None], self.matrix)[0]
        return moved

    def own(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Own x and y of the pixels of a rectangle."""
        (a, b), (c, d) = self._back
        dx = np.arange(columns.start, columns.stop)[None] + 0.5 - self.matrix[0, 2]
        dy = np.arange(rows.start, rows.stop)[:, None] + 0.5 - self.matrix[1, 2]
        x = (a * dx).astype(np.float32) + (b * dy).astype(np.float32)
        y = (c * dx).astype(np.float32) + (d * dy).astype(np.float32)
        return x, y

    @cached_property
    def _back(self) -> np.ndarray:
        return np.linalg.inv(self.matrix[:, :2])


@dataclass(frozen=True)
class Light:
    """One sun and a sky.

    Attributes
    ----------
    azimuth : float
        Radians; where in the picture the sun stands: 0 right, -π/2 above.
    elevation : float
        Radians above the ground.
    sun, sky : numpy.ndarray
        Linear colours ``(3,)``.
    """

    azimuth: float
    elevation: float
    sun: np.ndarray
    sky: np.ndarray

    @property
    def towards(self) -> tuple[float, float, float]:
        """Unit vector to the sun: right, down, out of the picture."""
        flat = math.cos(self.elevation)
        x, y = flat * math.cos(self.azimuth), flat * math.sin(self.azimuth)
        return x, y, math.sin(self.elevation)


class Relief:
    """Colour, height and gloss of a square picture, not yet lit.

    Parameters
    ----------
    side : int
        Pixels.

    Attributes
    ----------
    cover : numpy.ndarray
        float32 ``(side, side)``, 0..1: how much of a pixel anything is laid on. The other maps
        are already multiplied by it.
    colour : numpy.ndarray
        float32 ``(side, side, 3)``, linear, 0..1.
    height : numpy.ndarray
        float32 ``(side, side)``, pixels above the ground.
    gloss : numpy.ndarray
        float32 ``(side, side)``, 0..1.
    """

    def __init__(self, side: int) -> None:
        self.side = side
        self.colour = np.zeros((side, side, 3), np.float32)
        self.height = np.zeros((side, side), np.float32)
        self.gloss = np.zeros((side, side), np.float32)
        self.cover = np.zeros((side, side), np.float32)

    @classmethod
    def ground(cls, colour: np.ndarray, height: np.ndarray, gloss: float = 0.0) -> Relief:
        """Something that fills the picture; ``height`` in pixels."""
        relief = cls(colour.shape[0])
        relief.colour[...] = colour
        relief.height[...] = height
        relief.gloss[...] = gloss
        relief.cover[...] = 1
        return relief

    def lay(
        self,
        pose: Pose,
        outlines: Sequence[np.ndarray],
        paint: np.ndarray | Painter,
        *,
        lift: float = 0.0,
        puff: float = 0.1,
        edge: float | None = None,
        gloss: float = 0.0,
        carve: Painter | None = None,
    ) -> None:
        """Lay one piece on top of what is there.

        Parameters
        ----------
        pose : Pose
            Of the outlines; all lengths below are in its own unit too.
        outlines : sequence of numpy.ndarray
            ``(n, 2)`` each; the piece is all of them together.
        paint : numpy.ndarray or callable
            A colour, or own x and y to colours.
        lift : float
            Height of its rim above the ground.
        puff : float
            How much higher its middle is.
        edge : float, optional
            How far in from the rim it is rounded; default: up to the middle.
        gloss : float
        carve : callable, optional
            Own x and y to heights that are added, less towards the rim.
        """
        points = pose.pixels(np.concatenate(outlines))
        frame = self._frame(points)
        if frame is None:
            return
        rows, columns = frame
        mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        corner = columns.start + 0.5, rows.start + 0.5  # OpenCV counts from a pixel's middle
        corners = np.rint((points - corner) * _SUBPIXELS).astype(np.int32)
        first = 0
        for outline in outlines:
            last = first + len(outline)
            cv2.fillPoly(mask, [corners[first:last]], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
            first = last
        dome = _dome(mask, None if edge is None else edge * pose.unit)
        height = (lift + puff * dome) * pose.unit
        colour: np.ndarray = paint if isinstance(paint, np.ndarray) else np.empty(0)
        if callable(paint) or carve is not None:
            x, y = pose.own(rows, columns)
            if callable(paint):
                colour = paint(x, y)
            if carve is not None:
                height += carve(x, y) * dome * pose.unit
        cover = mask * np.float32(1 / 255)
        keep = 1 - cover
        for plane, value in (
            (self.height, height),
            (self.gloss, gloss),
            (self.cover, 1.0),
        ):
            plane[rows, columns] *= keep
            plane[rows, columns] += cover * value
        patch = self.colour[rows, columns]
        patch *= cv2.merge((keep, keep, keep))
        patch += shade(colour, cover)

    def put(self, other: Relief) -> None:
        """Put all of another relief of the same side on top."""
        frame = other.frame()
        if frame is None:
            return
        keep = 1 - other.cover[frame]
        self.height[frame] = self.height[frame] * keep + other.height[frame]
        self.gloss[frame] = self.gloss[frame] * keep + other.gloss[frame]
        self.cover[frame] = self.cover[frame] * keep + other.cover[frame]
        self.colour[frame] = shade(self.colour[frame], keep) + other.colour[frame]

    def frame(self) -> tuple[slice, slice] | None:
        """The rows and columns where anything is laid; None where nothing is."""
        rows, columns = self.cover.max(axis=1) > 0, self.cover.max(axis=0) > 0
        if not rows.any():
            return None
        return _span(rows), _span(columns)

    def _frame(self, points: np.ndarray) -> tuple[slice, slice] | None:
        """Rows and columns around these pixels, within the picture."""
        left, top = (max(math.floor(v) - 2, 0) for v in points.min(axis=0).tolist())
        right, bottom = (min(math.ceil(v) + 3, self.side) for v in points.max(axis=0).tolist())
        if right <= left or bottom <= top:
            return None
        return slice(top, bottom), slice(left, right)

    def lit(self, light: Light) -> np.ndarray:
        """The picture under this light: linear colours, float32 ``(side, side, 3)``, from 0 up."""
        slope_x = np.clip(cv2.Sobel(self.height, -1, 1, 0, scale=1 / 8), -2.5, 2.5)
        slope_y = np.clip(cv2.Sobel(self.height, -1, 0, 1, scale=1 / 8), -2.5, 2.5)
        up = 1 / np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
        # Python's own numbers keep float32 maps float32.
        x, y, z = light.towards
        facing = np.maximum(up * (z - x * slope_x - y * slope_y), 0)
        sunny = 1 - self._shadow(light)
        # Crannies get less of the sky.
        wide = max(1.0, self.side / 40)
        sunk = cv2.blur(self.height, (int(2 * wide) + 1,) * 2) - self.height
        open_sky = (0.45 + 0.55 * up) * np.clip(1 - sunk / (1.6 * wide), 0.35, 1.15)
        # The direction half-way between the sun and the eye, which looks straight down.
        half = math.sqrt(2 + 2 * z)
        shine = np.maximum(up * ((z + 1 - x * slope_x - y * slope_y) / half), 0)
        for _ in range(4):  # to the 16th
            shine *= shine
        shine *= 0.8 * self.gloss * sunny
        facing *= sunny / z
        light_in = [
            facing * sun + open_sky * sky for sun, sky in zip(light.sun, light.sky, strict=True)
        ]
        lit: np.ndarray = self.colour * cv2.merge(light_in)
        lit += shade(light.sun, shine)
        return lit

    def _shadow(self, light: Light) -> np.ndarray:
        """Where something higher stands between a pixel and the sun: 0..1."""
        slope = np.tan(light.elevation)
        # Nothing stands higher than this; the same whatever there is, so that a thing more or
        # less changes the light around itself only.
        reach = 0.2 * self.side / slope
        margin = int(np.ceil(reach)) + 1
        padded = cv2.copyMakeBorder(
            self.height, margin, margin, margin, margin, cv2.BORDER_REPLICATE
        )
        highest = np.full_like(self.height, -1e6)
        for share in _SHADOW_STEPS:
            distance = share * reach
            left = margin + round(distance * np.cos(light.azimuth))
            top = margin + round(distance * np.sin(light.azimuth))
            towards = padded[top : top + self.side, left : left + self.side]
            np.maximum(highest, towards - np.float32(distance * slope), out=highest)
        soft = self.side / 90
        shadow = np.clip((highest - self.height) / soft, 0, 1)
        soft_edged: np.ndarray = cv2.GaussianBlur(shadow, (0, 0), self.side / 256)
        return soft_edged


def _dome(mask: np.ndarray, edge: float | None) -> np.ndarray:
    """A rounded profile, 0 at the rim of the mask and 1 from ``edge`` pixels inwards."""
    inside = (mask > 127).astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_5)
    reach = float(max(distance.max(), 1.0)) if edge is None else max(edge, 1.0)
    t = np.minimum(distance / reach, 1)
    dome: np.ndarray = np.sqrt(t * (2 - t))
    width = int(0.22 * reach) * 2 + 1
    if width > 1:
        dome = cv2.blur(dome, (width, width))
    return dome


def _span(present: np.ndarray) -> slice:
    found = np.flatnonzero(present)
    return slice(int(found[0]), int(found[-1]) + 1)
