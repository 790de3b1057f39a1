"""What the frozen part of a network makes of every photo, computed once and kept in files.

Values are float16, as precise as the features of a network need: 25 KB a photo for the 64 maps of
14 × 14 that come out of MobileNetV2's ``bottleneck4``. The files are mapped into memory, so the
system may drop what is not in use.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.lanes import in_lanes
from convscope.nets.inference import fuse, prepare

# What suits one core: large batches fall out of its cache.
_CHUNK = 8
_LARGEST = float(np.finfo(np.float16).max)

Photos = Callable[[np.ndarray], np.ndarray]


class FrozenPart:
    """The frozen part of a network as a function of photos, on every core at once.

    Parameters
    ----------
    frozen : nn.Module
        See :class:`~convscope.finetune.cutting.Cut`.
    mean, std : sequence of float
        See :func:`~convscope.nets.inference.prepare`.
    """

    def __init__(
        self,
        frozen: nn.Module,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.body = fused(frozen).to(self.device)
        self.mean, self.std = mean, std

    def __call__(self, photos: np.ndarray) -> np.ndarray:
        """Photos, uint8 ``(n, h, w, 3)``, to float16 maps ``(n, h', w', channels)`` or vectors."""
        with torch.inference_mode():
            maps = self.body(prepare(torch.from_numpy(photos).to(self.device), self.mean, self.std))
            maps = maps.clamp(-_LARGEST, _LARGEST).half()
            laid = maps.permute(0, 2, 3, 1) if maps.dim() == 4 else maps
            found: np.ndarray = laid.contiguous().cpu().numpy()
            return found


def fused(part: nn.Module) -> nn.Module:
    """A part of a network, re-written for evaluation where that can be done."""
    if isinstance(part, nn.Identity):
        return part
    try:
        return fuse(part)
    except NotImplementedError:
        return part


def keep_maps(
    part: FrozenPart,
    photos: Photos,
    rows: np.ndarray,
    file: Path,
    *,
    advance: Callable[[int], None] = lambda more: None,
) -> np.ndarray:
    """Compute the maps of photos into a file; a file that is there already is taken as it is.

    Parameters
    ----------
    part : FrozenPart
    photos : callable
        Rows -> uint8 photos ``(n, h, w, 3)``; called from several threads.
    rows : numpy.ndarray
        int ``(n,)``.
    file : Path
        Its name must tell whose maps these are.
    advance : callable, optional
        Told how many more photos are done.

    Returns
    -------
    numpy.ndarray
        float16 ``(n, h', w', channels)`` or ``(n, features)``, mapped from the file.

    Raises
    ------
    ConvscopeError
        If there is no room for them.
    """
    shape = (len(rows), *part(photos(rows[:1])).shape[1:])
    size = 2 * int(np.prod(shape))
    if file.exists() and file.stat().st_size == size:
        advance(len(rows))
        return np.memmap(file, np.float16, "r", shape=shape)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        _reserve(unfinished, size)
        maps = np.memmap(unfinished, np.float16, "r+", shape=shape)
        done = 0
        for found in over_rows(lambda chunk: part(photos(chunk)), rows):
            maps[done : done + len(found)] = found
            done += len(found)
            advance(len(found))
        maps.flush()
        del maps
        unfinished.replace(file)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return np.memmap(file, np.float16, "r", shape=shape)


def _reserve(file: Path, size: int) -> None:
    """Now: a disk that fills up later would kill the process at a write to memory."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("wb") as stream:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, size)
            else:
                stream.truncate(size)
    except OSError as error:
        raise ConvscopeError(
            f"No room for what the frozen stages make of the photos: {size / 1e9:.1f} GB in "
            f"{file.parent} ({error.strerror}). Free some disk space, write to another disk, or "
            "train fewer stages."
        ) from None


def as_input(maps: np.ndarray) -> Tensor:
    """Kept maps to float32 ``(n, channels, h, w)``, channels last in memory; vectors stay so."""
    # A copy of what is mapped from a file: tensors must be writable.
    x = torch.from_numpy(np.require(maps, requirements=["C", "W"])).float()
    return x.permute(0, 3, 1, 2) if x.dim() == 4 else x


def over_rows(
    function: Callable[[np.ndarray], np.ndarray], rows: np.ndarray
) -> Iterator[np.ndarray]:
    """Apply a function to rows, a few at a time and one core each; results come in order."""
    chunks = np.array_split(rows, max(1, -(-len(rows) // _CHUNK)))
    with closing(in_lanes(function, chunks)) as done:
        for _, found in done:
            yield found
