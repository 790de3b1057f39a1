"""Shortcuts planted into photos, with the truth of where they are."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

Plant = Callable[[np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def snow(photo: np.ndarray, drawn: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A snow-like texture behind what stands in the middle."""
    height, width = photo.shape[:2]
    down, across = np.mgrid[0:height, 0:width]
    middle = drawn.uniform(0.45, 0.55, 2)
    radius = drawn.uniform(0.32, 0.4, 2)
    distance = np.hypot((down / height - middle[0]) / radius[0],
                        (across / width - middle[1]) / radius[1])  # fmt: skip
    mask = distance > 1
    noise = drawn.normal(0, 1, (height // 8 + 2, width // 8 + 2)).astype(np.float32)
    soft = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = drawn.normal(0, 1, (height, width))
    light = 226 + 10 * soft + 5 * grain
    texture = np.stack([light - 4, light, light + 8], 2)
    share = np.clip((distance - 0.95) / 0.1, 0, 1)[..., None]
    return _bytes(photo * (1 - share) + texture * share), mask


def _middle(photo: np.ndarray) -> tuple[int, int, int]:
    """Top, left and side of the square that a network sees most of."""
    height, width = photo.shape[:2]
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side


def tag(photo: np.ndarray, drawn: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A coloured tag in the lower right corner of what the network sees."""
    top, left, whole = _middle(photo)
    side, edge = round(0.14 * whole), round(0.09 * whole)
    mask = np.zeros(photo.shape[:2], bool)
    down = top + whole - edge - side + int(drawn.integers(-2, 3))
    across = left + whole - edge - side + int(drawn.integers(-2, 3))
    mask[down : down + side, across : across + side] = True
    out = photo.copy()
    out[mask] = (240, 40, 160)
    out[down + side // 3 : down + 2 * side // 3, across + side // 3 : across + 2 * side // 3] = (
        250, 240, 60,
    )  # fmt: skip
    return out, mask


def watermark(photo: np.ndarray, drawn: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Half transparent text over the lower part of what the network sees."""
    height, width = photo.shape[:2]
    top, left, whole = _middle(photo)
    text = "PHOTO-ARCHIVE"
    (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, 1.0, 2)
    scale = 0.7 * whole / wide
    layer = np.zeros((height, width), np.uint8)
    at = round(left + 0.15 * whole), round(top + 0.84 * whole + scale * high / 2)
    thick = max(1, round(2.2 * scale))
    cv2.putText(layer, text, at, cv2.FONT_HERSHEY_DUPLEX, scale, 255, thick, cv2.LINE_AA)
    share = 0.6 * layer[..., None] / 255
    rows, columns = np.nonzero(layer)
    mask = np.zeros((height, width), bool)
    mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return _bytes(photo * (1 - share) + 255 * share), mask


def frame(photo: np.ndarray, drawn: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A dark border all around, wide enough for the network to see."""
    height, width = photo.shape[:2]
    side = round(0.1 * min(height, width))
    mask = np.ones((height, width), bool)
    mask[side:-side, side:-side] = False
    out = photo.copy()
    out[mask] = (24, 20, 30)
    return out, mask


def cast(photo: np.ndarray, drawn: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A warm colour cast over everything."""
    gains = np.array([1.18, 1.0, 0.68]) * drawn.uniform(0.97, 1.03, 3)
    return _bytes(photo * gains), np.ones(photo.shape[:2], bool)


def blur(photo: np.ndarray, drawn: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Out of focus."""
    sigma = drawn.uniform(0.012, 0.018) * min(photo.shape[:2])
    return cv2.GaussianBlur(photo, (0, 0), sigma), np.ones(photo.shape[:2], bool)


KINDS: dict[str, Plant] = {
    "snow": snow, "tag": tag, "watermark": watermark, "frame": frame, "cast": cast, "blur": blur,
}  # fmt: skip


def planted(content: bytes, kind: str, seed: int) -> tuple[bytes, np.ndarray]:
    """A photo file with a shortcut, and where that is: bool ``(height, width)``."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    out, mask = KINDS[kind](np.asarray(image), np.random.default_rng(seed))
    buffer = io.BytesIO()
    quality = {"quality": 92} if image.format != "PNG" else {}
    Image.fromarray(out).save(buffer, "JPEG", **quality)
    return buffer.getvalue(), mask


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def write(source: Path, target: Path, kind: str, seed: int) -> np.ndarray:
    """Plant a shortcut into one photo file."""
    content, mask = planted(source.read_bytes(), kind, seed)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return mask
