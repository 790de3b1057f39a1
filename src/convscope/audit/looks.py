"""What a photo looks like from afar: numbers that have nothing to do with what it shows."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from convscope.data.images import decode_photo, read_bytes
from convscope.errors import PhotoError

# Photos are looked at in a square of so many pixels. Places are alike in photos of unlike shape in
# one of two ways: as fractions of the whole photo, or within the square in its middle.
CANVAS = 144
WHOLE, SQUARE = "whole", "square"
FRAMES = (WHOLE, SQUARE)
CELLS = 12
# Sharpness is that of a photo with this shorter side, pixels.
_SHORTER = 256
# The outermost share of each side that is a border; and that is mostly background.
_BORDER, _RING = 0.03, 0.14
_HUES = 12
# Light strokes that are thinner than this, on the canvas, and differ by more than that.
_STROKE, _STANDS_OUT = 5, 35

# View -> columns. All but the last three are numbers of the photo as a whole.
VIEWS: dict[str, int] = {
    "brightness": 3,
    "contrast": 2,
    "sharpness": 3,
    "colour": 7,
    "hues": _HUES + 1,
    "size": 1,
    "aspect ratio": 1,
    "compression": 2,
    "border": 8,
    "background": 12,
    "overlaid text or other strokes": 12,
}
TEXTS = ("file format", "camera")
# Numbers of each cell.
CELL = 8


@dataclass(frozen=True)
class Look:
    """One photo.

    Attributes
    ----------
    error : str
        Why it cannot be used; empty if it can.
    numbers : dict of str to numpy.ndarray
        Of each of :data:`VIEWS`, float32.
    texts : dict of str to str
        Of each of :data:`TEXTS`.
    cells : dict of str to numpy.ndarray
        Of each frame, float16 ``(CELLS * CELLS, CELL)``.
    canvases : dict of str to numpy.ndarray
        Of each frame, see :func:`canvas_of`.
    size : (int, int)
        Width and height, pixels.
    """

    error: str
    numbers: dict[str, np.ndarray]
    texts: dict[str, str]
    cells: dict[str, np.ndarray]
    canvases: dict[str, np.ndarray]
    size: tuple[int, int]


def look_at(paths: Sequence[str]) -> list[Look]:
    """Look at some photos; runs in a worker process."""
    cv2.setNumThreads(1)
    return [_look(Path(path)) for path in paths]


def canvas_of(image: Image.Image, frame: str = WHOLE) -> np.ndarray:
    """A photo in a square: uint8 ``(CANVAS, CANVAS, 3)``; the whole is squeezed into it."""
    pixels = np.asarray(image)
    if frame == SQUARE:
        height, width = pixels.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    found: np.ndarray = cv2.resize(pixels, (CANVAS, CANVAS), interpolation=cv2.INTER_AREA)
    return found


def _look(path: Path) -> Look:
    try:
        content = read_bytes(path)
        photo = decode_photo(content, at_least=_SHORTER)
    except (PhotoError, MemoryError) as error:
        reason = error.reason if isinstance(error, PhotoError) else "not enough memory"
        blank = {name: np.full(width, np.nan, np.float32) for name, width in VIEWS.items()}
        nothing = np.zeros((CELLS * CELLS, CELL), np.float16)
        black = np.zeros((CANVAS, CANVAS, 3), np.uint8)
        return Look(
            reason, blank, dict.fromkeys(TEXTS, ""), dict.fromkeys(FRAMES, nothing),
            dict.fromkeys(FRAMES, black), (0, 0),
        )  # fmt: skip
    canvases = {frame: canvas_of(photo.image, frame) for frame in FRAMES}
    canvas = canvases[WHOLE]
    lab = cv2.cvtColor(canvas, cv2.COLOR_RGB2LAB).astype(np.float32)
    light = lab[..., 0]
    strokes = _strokes(canvas)
    camera, quality = _of_file(content)
    pixels = photo.width * photo.height
    numbers = {
        "brightness": [light.mean(), *np.percentile(light, (10, 90))],
        "contrast": [light.std(), _by_cell(light).std(1).mean()],
        "sharpness": _sharpness(photo.image),
        "colour": _colour(lab),
        "hues": _hues(canvas),
        "size": [np.log(pixels)],
        "aspect ratio": [photo.width / photo.height],
        "compression": [np.log(8 * len(content) / pixels), quality],
        "border": _border(lab),
        "background": _background(lab),
        "overlaid text or other strokes": _places_of_text(strokes),
    }
    return Look(
        "",
        {name: np.asarray(values, np.float32) for name, values in numbers.items()},
        {"file format": photo.format, "camera": camera},
        {frame: _cells(one) for frame, one in canvases.items()},
        canvases,
        (photo.width, photo.height),
    )


def _of_file(content: bytes) -> tuple[str, float]:
    """The camera as EXIF has it, and the mean of JPEG's quantisation table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(content)) as image:
                exif = image.getexif()
                camera = " ".join(str(exif.get(tag, "")).strip("\0 ") for tag in (271, 272)).strip()
                tables = getattr(image, "quantization", None)
        except Exception:  # broken EXIF raises almost anything
            return "", np.nan
    if not tables:
        return camera, np.nan
    return camera, float(np.mean(next(iter(tables.values()))))


def _sharpness(image: Image.Image) -> list[float]:
    scale = _SHORTER / min(image.size)
    size = tuple(max(1, round(side * scale)) for side in image.size)
    grey = np.asarray(image.convert("L"))
    if scale < 1:
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    fine = cv2.Laplacian(grey, cv2.CV_32F)
    coarse = cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), 2), cv2.CV_32F)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *step) for step in ((1, 0), (0, 1)))
    energy = np.log(fine.var() + 1)
    return [energy, energy - np.log(coarse.var() + 1), np.log(np.hypot(across, down).mean() + 1)]


def _colour(lab: np.ndarray) -> list[float]:
    light, a, b = (lab[..., k] - (0, 128, 128)[k] for k in range(3))
    chroma = np.hypot(a, b)
    # Greys and highlights show the colour of the light.
    grey = chroma <= np.percentile(chroma, 25)
    bright = light >= np.percentile(light, 95)
    return [
        a.mean(), b.mean(), chroma.mean(), a[grey].mean(), b[grey].mean(), a[bright].mean(),
        b[bright].mean(),
    ]  # fmt: skip


def _hues(canvas: np.ndarray) -> np.ndarray:
    hsv = cv2.cvtColor(canvas, cv2.COLOR_RGB2HSV)
    weight = hsv[..., 1].astype(np.float32).ravel() * hsv[..., 2].ravel() / 255**2
    hue = (hsv[..., 0].ravel().astype(int) * _HUES) // 180
    shares = np.bincount(hue, weight, _HUES) / hue.size
    return np.append(shares, 1 - shares.sum())


def _ring(share: float, inner: float = 0.0) -> np.ndarray:
    """Pixels of the canvas between two distances from its edge."""
    at = np.arange(CANVAS)
    edge = np.minimum(at, CANVAS - 1 - at)
    distance = np.minimum(edge[:, None], edge[None])
    low, high = round(inner * CANVAS), max(2, round(share * CANVAS))
    return np.asarray((distance >= low) & (distance < high))


def _border(lab: np.ndarray) -> list[float]:
    outer, inner = lab[_ring(_BORDER)], lab[_ring(3 * _BORDER, 1.5 * _BORDER)]
    return [*outer.mean(0), *outer.std(0), outer[:, 0].mean() - inner[:, 0].mean(),
            float(np.hypot(*(outer.mean(0) - inner.mean(0))[1:]))]  # fmt: skip


def _background(lab: np.ndarray) -> list[float]:
    ring = _ring(_RING)
    light = lab[..., 0]
    across, down = (cv2.Sobel(light, cv2.CV_32F, *step) for step in ((1, 0), (0, 1)))
    edges = np.hypot(across, down)[ring]
    pixels = lab[ring]
    return [
        *pixels.mean(0), *pixels.std(0), *np.percentile(pixels[:, 0], (10, 50, 90)),
        np.log(edges.mean() + 1), np.log(edges.std() + 1), float((edges > 40).mean()),
    ]  # fmt: skip


def _strokes(canvas: np.ndarray) -> np.ndarray:
    """bool: pixels of thin strokes that are lighter or darker than what lies around them."""
    grey = cv2.cvtColor(canvas, cv2.COLOR_RGB2GRAY)
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (_STROKE, _STROKE))
    light = cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, kernel)
    dark = cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, kernel)
    return np.asarray(np.maximum(light, dark) > _STANDS_OUT)


def _places_of_text(strokes: np.ndarray) -> list[float]:
    """Share of strokes in corners, strips along the edges, and the middle, and how they compare."""
    third, strip = CANVAS // 3, CANVAS // 6
    corners = [
        strokes[rows, columns]
        for rows in (slice(0, strip), slice(-strip, None))
        for columns in (slice(0, third), slice(-third, None))
    ]
    strips = [strokes[:strip], strokes[-strip:], strokes[:, :strip], strokes[:, -strip:]]
    shares = [float(part.mean()) for part in corners + strips]
    middle = float(strokes[third:-third, third:-third].mean())
    lines = strokes.reshape(CANVAS // 8, 8, CANVAS).mean((1, 2))
    return [*shares, middle, float(strokes.mean()), float(lines.max()), max(shares[:4]) - middle]


def _by_cell(values: np.ndarray) -> np.ndarray:
    """``(CANVAS, CANVAS)`` to ``(cells, pixels)``."""
    side = CANVAS // CELLS
    found: np.ndarray = values.reshape(CELLS, side, CELLS, side).transpose(0, 2, 1, 3)
    return found.reshape(CELLS * CELLS, side * side)


def _cells(canvas: np.ndarray) -> np.ndarray:
    lab = cv2.cvtColor(canvas, cv2.COLOR_RGB2LAB).astype(np.float32)
    strokes = _strokes(canvas)
    light = lab[..., 0]
    across, down = (cv2.Sobel(light, cv2.CV_32F, *step) for step in ((1, 0), (0, 1)))
    means = [_by_cell(lab[..., k]).mean(1) for k in range(3)]
    spread = [
        _by_cell(lab[..., 0]).std(1),
        _by_cell(np.hypot(*(lab[..., k] - 128 for k in (1, 2)))).std(1),
    ]
    edges = [_by_cell(np.abs(one)).mean(1) for one in (across, down)]
    return np.stack([*means, *spread, *edges, _by_cell(strokes).mean(1)], 1).astype(np.float16)
