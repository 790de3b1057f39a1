"""Where the object is, where somebody has drawn it: a folder of masks beside the photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from convscope.data.survey import DecodeSpec, decode_chunk
from convscope.errors import InputError

_WHITE = 127


def mask_of(
    folder: Path, path: Path, given: Path | str | Sequence[Path | str], resize: int, size: int
) -> np.ndarray | None:
    """Where the object is, cut as the network's input is.

    Parameters
    ----------
    folder : Path
        Holds, under the name of each photo but ending in ``.png``, where the object is (white).
    path : Path
        The photo.
    given : path or sequence of path
        What the user named: names are looked up relative to it, then by the last parts of the path.
    resize, size : int
        Of the network's input.

    Returns
    -------
    numpy.ndarray or None
        bool ``(size, size)``; None where there is no mask, or nothing of it is left.

    Raises
    ------
    InputError
        The mask cannot be read.
    """
    roots = [given] if isinstance(given, (str, Path)) else given
    names = [path.relative_to(root) for root in map(Path, roots) if path.is_relative_to(root)]
    tries = [name for name in names if name.parts] + [
        Path(*path.parts[-depth:]) for depth in range(1, min(4, len(path.parts)) + 1)
    ]
    for name in tries:
        file = folder / name.with_suffix(".png")
        if file.is_file():
            facts, pixels = decode_chunk([str(file)], DecodeSpec(resize, size, fast=False))
            if not facts[0].usable:
                raise InputError(f"{file}: {facts[0].error}. Leave out --masks or mend it.")
            mask: np.ndarray = pixels[0, :, :, 0] > _WHITE
            return mask if mask.any() else None
    return None
