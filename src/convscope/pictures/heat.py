"""Maps of numbers over a photo: colours, what was not seen, a legend.

Signed maps are blue (against) and orange (for), unsigned ones run from dark blue over green to
yellow; both can be told apart with any colour vision.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

# RGB. Low to high of unsigned maps; against and for of signed ones.
_LOW_TO_HIGH = np.array(
    [[56, 18, 92], [58, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], np.float64
)
AGAINST, FOR = (20, 92, 190), (222, 92, 0)
# Values beyond this share of all are drawn like it: a single pixel must not make the rest pale.
_CLIPPED = 0.995
# How much of the map covers the photo where it is strongest.
_OPACITY = 0.72
_UNSEEN, _STRIPE = 0.35, 14
_MARGIN, _LETTER, _BAR = 12, 17, 12
_PAPER, _INK, _MUTED = (255, 255, 255), (27, 36, 48), (85, 96, 109)

Box = tuple[float, float, float, float]


def scale_of(values: np.ndarray) -> float:
    """The size that is drawn in full colour; above 0."""
    size = float(np.quantile(np.abs(values), _CLIPPED))
    largest = float(np.abs(values).max())
    return size if size > 0 else largest if largest > 0 else 1.0


def colours(values: np.ndarray, signed: bool) -> np.ndarray:
    """RGB of values from -1 to 1 (signed) or 0 to 1, uint8 ``(..., 3)``.

    Parameters
    ----------
    values : numpy.ndarray
        Beyond the ends, drawn like them.
    signed : bool
    """
    if signed:
        ends = np.where(values[..., None] < 0, np.array(AGAINST), np.array(FOR))
        return np.asarray(ends, np.uint8)
    places = np.clip(values, 0, 1) * (len(_LOW_TO_HIGH) - 1)
    low = np.minimum(places.astype(int), len(_LOW_TO_HIGH) - 2)
    part = (places - low)[..., None]
    mixed = _LOW_TO_HIGH[low] * (1 - part) + _LOW_TO_HIGH[low + 1] * part
    return np.asarray(np.rint(mixed), np.uint8)


def overlay(photo: np.ndarray, values: np.ndarray, box: Box, signed: bool) -> np.ndarray:
    """Lay a map over the part of a photo that it is of.

    Parameters
    ----------
    photo : numpy.ndarray
        uint8 ``(height, width, 3)``.
    values : numpy.ndarray
        float ``(h, w)``, of any size.
    box : tuple of float
        Left, top, right, bottom of what the map is of, in the photo's pixels.
    signed : bool

    Returns
    -------
    numpy.ndarray
        uint8 ``(height, width, 3)``: grey under the map; what was not seen is dark and striped.
    """
    height, width = photo.shape[:2]
    left, top, right, bottom = whole_pixels(box, width, height)
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float64)[..., None]
    found = np.repeat(grey * _UNSEEN, 3, 2)
    down, across = np.mgrid[:height, :width]
    found[(down + across) % _STRIPE < 2] += 30
    size = (right - left, bottom - top)
    large = cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    shares = np.clip(large / scale_of(values), -1, 1)
    strength = np.abs(shares) if signed else 0.35 + 0.65 * shares
    alpha = (_OPACITY * strength)[..., None]
    part = grey[top:bottom, left:right]
    found[top:bottom, left:right] = part * (1 - alpha) + colours(shares, signed) * alpha
    return np.asarray(np.clip(np.rint(found), 0, 255), np.uint8)


def whole_pixels(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """A box in whole pixels, inside the photo and not empty."""
    left, top = (min(max(0, round(v)), most - 1) for v, most in zip(box[:2], (width, height),
                                                                   strict=True))  # fmt: skip
    right = min(width, max(left + 1, round(box[2])))
    bottom = min(height, max(top + 1, round(box[3])))
    return left, top, right, bottom


def figure(
    photo: np.ndarray,
    values: np.ndarray,
    box: Box,
    *,
    signed: bool,
    unit: str,
    lines: Sequence[str],
) -> np.ndarray:
    """The photo, the map over it, a legend with its range, and words above, on one picture.

    Parameters
    ----------
    photo, values, box, signed
        See :func:`overlay`.
    unit : str
        What the numbers are, for the legend.
    lines : sequence of str
        Words above the pictures.
    """
    height, width = photo.shape[:2]
    total = 2 * width + 3 * _MARGIN
    font, small = _font(_LETTER), _font(_LETTER - 4)
    wrapped = [part for line in lines for part in _wrapped(line, font, total - 2 * _MARGIN)]
    head = _MARGIN + len(wrapped) * (_LETTER + 6)
    canvas = Image.new("RGB", (total, head + height + 4 * _MARGIN + _LETTER), _PAPER)
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(wrapped):
        draw.text((_MARGIN, _MARGIN / 2 + number * (_LETTER + 6)), line, _INK, font)
    canvas.paste(Image.fromarray(photo), (_MARGIN, head))
    over = Image.fromarray(overlay(photo, values, box, signed))
    canvas.paste(over, (2 * _MARGIN + width, head))
    _legend(canvas, draw, values, signed, unit, (2 * _MARGIN + width, head + height + _MARGIN),
            width, small)  # fmt: skip
    return np.asarray(canvas)


def _legend(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    values: np.ndarray,
    signed: bool,
    unit: str,
    at: tuple[int, int],
    width: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    size = scale_of(values)
    places = np.linspace(-1 if signed else 0, 1, width)
    if signed:
        alpha = np.abs(places)[:, None]
        row = colours(places, True) * alpha + 235 * (1 - alpha)
    else:
        row = colours(places, False).astype(np.float64)
    bar = np.repeat(np.rint(row).astype(np.uint8)[None], _BAR, 0)
    canvas.paste(Image.fromarray(bar), at)
    below = at[1] + _BAR + 3
    low, high = (f"{-size:.2g}" if signed else "0"), f"{size:.2g}"
    draw.text((at[0], below), low, _MUTED, font)
    draw.text((at[0] + width, below), high, _MUTED, font, anchor="ra")
    room = width - draw.textlength(low, font) - draw.textlength(high, font) - 12
    if draw.textlength(unit, font) <= room:
        draw.text((at[0] + width / 2, below), unit, _MUTED, font, anchor="ma")


def sheet(tiles: Sequence[tuple[np.ndarray, str]], *, side: int = 240, columns: int = 4
          ) -> np.ndarray:  # fmt: skip
    """Many pictures on one, each with words below it.

    Parameters
    ----------
    tiles : sequence of (numpy.ndarray, str)
        uint8 ``(height, width, 3)`` each, shrunk to ``side``.
    side : int
        Pixels.
    columns : int
        At most.
    """
    columns = max(1, min(columns, len(tiles)))
    rows = -(-len(tiles) // columns)
    font = _font(_LETTER - 4)
    step = side + _MARGIN, side + _LETTER + 2 * _MARGIN
    canvas = Image.new("RGB", (columns * step[0] + _MARGIN, rows * step[1] + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(canvas)
    for number, (picture, words) in enumerate(tiles):
        image = Image.fromarray(picture)
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        left = _MARGIN + (number % columns) * step[0]
        top = _MARGIN + (number // columns) * step[1]
        canvas.paste(image, (left + (side - image.width) // 2, top + (side - image.height) // 2))
        draw.text((left, top + side + 4), _shortened(words, font, side), _INK, font)
    return np.asarray(canvas)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _wrapped(
    line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float
) -> list[str]:
    found, now = [], ""
    for word in line.split(" "):
        longer = f"{now} {word}".strip()
        if now and font.getlength(longer) > width:
            found.append(now)
            now = word
        else:
            now = longer
    return [*found, now]


def _shortened(words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    if font.getlength(words) <= width:
        return words
    while words and font.getlength(f"{words}…") > width:
        words = words[:-1]
    return f"{words}…"
