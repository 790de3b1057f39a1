"""Photos that the tests make for themselves: small, drawn from a seed, of known content."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from convscope.data.folder import PhotoTable

RED, GREEN, BLUE, YELLOW = (220, 30, 40), (20, 160, 60), (30, 50, 200), (230, 210, 40)


def texture(seed: int, width: int = 96, height: int = 72, cells: int = 8) -> Image.Image:
    """Soft random colours: no two seeds look the same."""
    rng = np.random.default_rng([seed, 7])
    coarse = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def scene(seed: int, width: int = 400, height: int = 300) -> Image.Image:
    """Rectangles with sharp edges, few large and many small, as things in photos are."""
    rng = np.random.default_rng([seed, 11])
    picture = np.empty((height, width, 3), np.uint8)
    picture[...] = rng.integers(0, 256, 3)
    for share in np.geomspace(0.7, 0.02, 150):
        tall, wide = (share * height * rng.uniform(0.5, 1)), (share * width * rng.uniform(0.5, 1))
        y, x = rng.uniform(-tall / 2, height), rng.uniform(-wide / 2, width)
        picture[max(0, int(y)) : int(y + tall), max(0, int(x)) : int(x + wide)] = rng.integers(
            0, 256, 3
        )
    return Image.fromarray(picture)


def quadrants(width: int = 48, height: int = 32) -> np.ndarray:
    """Red, green over blue, yellow: no turn and no mirroring leaves it as it was."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = RED
    picture[: height // 2, width // 2 :] = GREEN
    picture[height // 2 :, : width // 2] = BLUE
    picture[height // 2 :, width // 2 :] = YELLOW
    return picture


def save_texture(path: Path, seed: int, **size: int) -> Path:
    """A texture as a file, in the format of its suffix; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = texture(seed, **size)
    if path.suffix in {".jpg", ".jpeg"}:
        picture.save(path, quality=92)
    else:
        picture.save(path)
    return path


def photo_folder(
    root: Path, classes: Mapping[str, int], *, seed: int = 0, suffix: str = ".jpg"
) -> Path:
    """One sub-folder per class with this many photos, all different."""
    number = seed * 100_000
    for label, count in classes.items():
        for i in range(count):
            number += 1
            save_texture(root / label / f"{label}_{i:03}{suffix}", number)
    return root


def bomb_png(side: int = 30_000) -> bytes:
    """A valid PNG of ``side`` x ``side`` black pixels of 1 bit: small on disk, huge in memory."""
    row = b"\0" + bytes((side + 7) // 8)
    squeeze = zlib.compressobj(1)
    packed = b"".join(squeeze.compress(row * 100) for _ in range(side // 100)) + squeeze.flush()
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
        + png_chunk(b"IDAT", packed)
        + png_chunk(b"IEND", b"")
    )


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Length, kind, content, check sum."""
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def table(
    labels: list[str], splits: list[str] | None = None, groups: list[str] | None = None
) -> PhotoTable:
    """A list of photos that lie nowhere."""
    return PhotoTable(
        root=Path("photos"),
        layout="table",
        paths=tuple(f"{i}.jpg" for i in range(len(labels))),
        labels=tuple(labels),
        splits=None if splits is None else tuple(splits),
        groups=None if groups is None else tuple(groups),
        ignored=(),
    )
