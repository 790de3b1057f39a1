"""Decode photos in worker processes: each file once, a few ahead of whoever uses them.

The workers import NumPy and Pillow and nothing heavier, so that they start fast and stay small.
"""

from __future__ import annotations

import hashlib
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from loky import ProcessPoolExecutor
from loky.process_executor import TerminatedWorkerError

from convscope.data.images import THUMB, decode_photo, read_bytes, square, thumbnail
from convscope.errors import ConvscopeError, PhotoError

Found = TypeVar("Found")

# Eight photos suit the network's batch (see transfer.features) and keep the queue short.
CHUNK = 8
# Shorter side from which a thumbnail is as good as from the whole photo.
_LEAST = 2 * THUMB
# Below this, starting workers takes longer than the decoding.
_FEW = 4 * CHUNK


@dataclass(frozen=True)
class DecodeSpec:
    """What to make of each photo.

    Attributes
    ----------
    resize : int
        Length of the shorter side before the crop, pixels.
    size : int
        Side of the square that is kept, pixels.
    fast : bool
        Decode JPEGs at a fraction of their size where that is enough.
    """

    resize: int
    size: int
    fast: bool = True


@dataclass(frozen=True)
class Facts:
    """What one decoding found out about a file; ``error_kind`` is empty for a usable photo.

    Attributes
    ----------
    error_kind, error : str
        See :class:`~convscope.errors.PhotoError`.
    format : str
        By content.
    width, height : int
        Pixels, upright; 0 where unreadable.
    sha256 : str
        Of the file's bytes; empty where they could not be read.
    thumb : numpy.ndarray
        uint8 ``(32, 32)``, grey.
    """

    error_kind: str
    error: str
    format: str
    width: int
    height: int
    sha256: str
    thumb: np.ndarray

    @property
    def usable(self) -> bool:
        """Whether the photo could be decoded."""
        return not self.error_kind


@dataclass(frozen=True)
class Chunk:
    """Consecutive photos: ``rows`` of the caller's list, facts, and pixels of the usable ones.

    ``pixels`` is uint8 ``(len(rows), size, size, 3)``; rows of unusable photos are zero.
    """

    rows: range
    facts: tuple[Facts, ...]
    pixels: np.ndarray


def survey(
    paths: Sequence[Path], spec: DecodeSpec, *, workers: int | None = None
) -> Generator[Chunk, None, None]:
    """Decode every photo once, in order, in worker processes.

    At most a few chunks per worker wait for the caller, so memory stays bounded however slow the
    caller is.

    Parameters
    ----------
    paths : sequence of Path
    spec : DecodeSpec
    workers : int, optional
        Processes; default one per core. 0 decodes in this process.

    Yields
    ------
    Chunk

    Raises
    ------
    ConvscopeError
        If a worker process was killed.
    """
    chunks = in_workers(partial(decode_chunk, spec=spec), paths, workers=workers)
    with closing(chunks):
        for rows, (facts, pixels) in chunks:
            yield Chunk(rows, facts, pixels)


def in_workers(
    function: Callable[[Sequence[str]], Found],
    paths: Sequence[Path],
    *,
    workers: int | None = None,
) -> Generator[tuple[range, Found], None, None]:
    """Do something with every photo, a few at a time, in worker processes, in order.

    Parameters
    ----------
    function : callable
        Of a module that worker processes can import.
    paths : sequence of Path
    workers : int, optional
        Processes; default one per core. 0 works in this process.

    Yields
    ------
    range
        Which of the photos.
    object
        What the function gave for them.

    Raises
    ------
    ConvscopeError
        If a worker process was killed.
    """
    ranges = [range(i, min(i + CHUNK, len(paths))) for i in range(0, len(paths), CHUNK)]
    workers = min(available_cores() if workers is None else workers, len(ranges))
    if workers < 1 or len(paths) < _FEW:
        for rows in ranges:
            yield rows, function([str(paths[i]) for i in rows])
        return
    executor = ProcessPoolExecutor(max_workers=workers, initializer=_ignore_interrupts)
    try:
        yield from _ordered(executor, function, paths, ranges, 3 * workers)
    except TerminatedWorkerError:
        raise ConvscopeError(
            "A decoding process was killed by the system, most likely for want of memory. "
            "Close other programs, or use fewer --workers."
        ) from None
    finally:
        executor.shutdown(wait=True, kill_workers=True)


def _ordered(
    executor: ProcessPoolExecutor,
    function: Callable[[Sequence[str]], Found],
    paths: Sequence[Path],
    ranges: Sequence[range],
    ahead: int,
) -> Generator[tuple[range, Found], None, None]:
    waiting: deque[tuple[range, Future[Found]]] = deque()
    for rows in ranges:
        waiting.append((rows, executor.submit(function, [str(paths[i]) for i in rows])))
        if len(waiting) >= ahead:
            done, future = waiting.popleft()
            yield done, future.result()
    while waiting:
        done, future = waiting.popleft()
        yield done, future.result()


def decode_chunk(paths: Sequence[str], spec: DecodeSpec) -> tuple[tuple[Facts, ...], np.ndarray]:
    """Facts and pixels of a few photos; runs in a worker."""
    pixels = np.zeros((len(paths), spec.size, spec.size, 3), np.uint8)
    facts = []
    for row, path in enumerate(paths):
        content = b""
        try:
            content = read_bytes(Path(path))
            at_least = max(spec.resize, _LEAST) if spec.fast else None
            photo = decode_photo(content, at_least=at_least)
            pixels[row] = square(photo, spec.resize, spec.size, fast=spec.fast)
            facts.append(
                Facts("", "", photo.format, photo.width, photo.height, _hash(content),
                      thumbnail(photo.image))
            )  # fmt: skip
        except (PhotoError, MemoryError) as error:
            if isinstance(error, MemoryError):
                error = PhotoError("too_large", "not enough memory to scale it")
            pixels[row] = 0
            facts.append(
                Facts(error.kind, error.reason, "", 0, 0, _hash(content),
                      np.zeros((THUMB, THUMB), np.uint8))
            )  # fmt: skip
    return tuple(facts), pixels


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if content else ""


def _ignore_interrupts() -> None:
    # Ctrl-C reaches the whole group of processes; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
