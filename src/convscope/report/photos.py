"""Small copies of photos, as text that a page can hold."""

from __future__ import annotations

import base64
import io
import os
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from convscope.data.images import open_photo
from convscope.errors import PhotoError
from convscope.run import Run, RunInfo

SMALL, LARGE = 112, 160
QUALITY = 75
# The page stays under 15 MB: this for photos, the rest for a matrix of 100 classes.
MAX_CHARACTERS = 12_000_000
_THREADS = 4


def thumbnail(path: Path, side: int) -> str | None:
    """Give a photo as a ``data:`` URI of a JPEG whose longest side is at most ``side``.

    None where there is no such file any more, or it cannot be read: a page without one photo is
    better than no page.
    """
    content = small_jpeg(path, side)
    if content is None:
        return None
    return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")


def small_jpeg(path: Path, side: int) -> bytes | None:
    """As :func:`thumbnail`, the file's bytes."""
    try:
        image = open_photo(path, at_least=side)
    except (PhotoError, OSError):
        return None
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    # The photo's own profile, EXIF and comments stay out of the page.
    image.info.clear()
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()


def embed(
    root: Path,
    paths: Iterable[tuple[int, str]],
    large: frozenset[int],
    max_characters: int = MAX_CHARACTERS,
) -> Mapping[int, str | None]:
    """Make the small copies, most telling first, until the page is full.

    Parameters
    ----------
    root : Path
        The folder that the paths are relative to.
    paths : iterable of (int, str)
        Key and path, in order of importance.
    large : frozenset of int
        Keys of photos that are shown larger.
    max_characters : int
        Together, the copies take no more than this.

    Returns
    -------
    mapping of int to (str or None)
        The copy, None for a photo that cannot be read; a key that is not in it found no room.
    """
    wanted = list(paths)
    copies: dict[int, str | None] = {}
    used = 0
    # Decoding changes the filters of warnings for a moment, which two threads must not do at
    # once; under a filter that ignores all of them already, nothing is left to change.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Pillow decodes outside Python's lock.
        with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
            made = pool.map(
                lambda item: thumbnail(root / item[1], LARGE if item[0] in large else SMALL), wanted
            )
            for (key, _), copy in zip(wanted, made, strict=True):
                used += len(copy or "")
                if used > max_characters:
                    pool.shutdown(wait=True, cancel_futures=True)
                    break
                copies[key] = copy
    return copies


def sheet_uri(run: Run) -> str | None:
    """The picture of what augmentation did, as a ``data:`` URI; None where there is none."""
    try:
        content = run.sheet_path.read_bytes()
    except OSError:
        return None
    return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")


def mixing(info: RunInfo) -> str | None:
    """What the picture does not show: photos that were joined with others."""
    words = {
        "mixup": "MixUp then faded pairs of photos into each other.",
        "cutmix": "CutMix then put a rectangle of one photo into another.",
    }
    said = [text for name, text in words.items() if (info.augment or {}).get(name)]
    return said[0] if said else None
