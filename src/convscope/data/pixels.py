"""Decoded photos, kept: each is decoded once, and later epochs read the array.

Decoding goes on in the background, in the order in which the photos will be asked for, so that the
first epoch trains on the photos that are there while the others are still being decoded.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from convscope.data.survey import DecodeSpec, Facts, survey
from convscope.errors import ConvscopeError

# Above this the pixels go into a memory-mapped file, which the system may drop from memory.
MAX_MEMORY = 1 << 30


class Pixels:
    """The pixels of every photo of a table, filled in the background.

    Parameters
    ----------
    paths : sequence of Path
    spec : DecodeSpec
    order : sequence of int
        A permutation of the photos: who is decoded first.
    cache_file : Path
        Where to keep the pixels if they take more than ``max_memory`` bytes.
    workers : int, optional
        Decoding processes.
    on_chunk : callable, optional
        Called (from the background thread) with the indices and facts of decoded photos.
    on_complete : callable, optional
        Called with all facts when the last photo is decoded; may raise, which :meth:`wait` then
        raises to whoever asks for photos.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        spec: DecodeSpec,
        order: Sequence[int],
        *,
        cache_file: Path,
        workers: int | None = None,
        on_chunk: Callable[[Sequence[int], Sequence[Facts]], None] | None = None,
        on_complete: Callable[[Sequence[Facts]], None] | None = None,
        max_memory: int = MAX_MEMORY,
    ) -> None:
        shape = (len(paths), spec.size, spec.size, 3)
        self.cache_file = cache_file
        self.array = _allocate(shape, cache_file, max_memory)
        self.usable = np.zeros(len(paths), bool)
        self._facts: list[Facts | None] = [None] * len(paths)
        self._ready = np.zeros(len(paths), bool)
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._stop = False
        self._done = False
        self._thread = threading.Thread(
            target=self._fill,
            args=(paths, spec, list(order), workers, on_chunk, on_complete),
            name="decode",
            daemon=True,
        )
        self._thread.start()

    def wait(self, rows: np.ndarray | None = None) -> None:
        """Return when these photos (all of them by default) are decoded.

        Raises whatever stopped the decoding.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._done or self._is_ready(rows))
            if self._error is not None:
                raise self._error
            if not self._is_ready(rows):
                raise ConvscopeError("The photos were closed before all of them were decoded.")

    def facts(self) -> list[Facts]:
        """What was found out about every photo; waits for the last."""
        self.wait()
        return [fact for fact in self._facts if fact is not None]

    def close(self) -> None:
        """Stop decoding and remove the cache file."""
        self._stop = True
        self._thread.join()
        self.array = np.empty(0, np.uint8)
        self.cache_file.unlink(missing_ok=True)

    def _is_ready(self, rows: np.ndarray | None) -> bool:
        if rows is None:
            return self._done and bool(self._ready.all())
        return bool(self._ready[rows].all())

    def _fill(
        self,
        paths: Sequence[Path],
        spec: DecodeSpec,
        order: list[int],
        workers: int | None,
        on_chunk: Callable[[Sequence[int], Sequence[Facts]], None] | None,
        on_complete: Callable[[Sequence[Facts]], None] | None,
    ) -> None:
        try:
            with closing(survey([paths[i] for i in order], spec, workers=workers)) as chunks:
                for chunk in chunks:
                    if self._stop:
                        return
                    rows = order[chunk.rows.start : chunk.rows.stop]
                    self.array[rows] = chunk.pixels
                    for row, fact in zip(rows, chunk.facts, strict=True):
                        self._facts[row] = fact
                        self.usable[row] = fact.usable
                    if on_chunk is not None:
                        on_chunk(rows, chunk.facts)
                    with self._changed:
                        self._ready[rows] = True
                        self._changed.notify_all()
            if on_complete is not None:
                on_complete([fact for fact in self._facts if fact is not None])
        except BaseException as error:  # handed to whoever waits
            self._error = error
        finally:
            with self._changed:
                self._done = True
                self._changed.notify_all()


def _allocate(shape: tuple[int, ...], cache_file: Path, max_memory: int) -> np.ndarray:
    size = int(np.prod(shape))
    if size <= max_memory:
        return np.zeros(shape, np.uint8)
    try:
        with cache_file.open("wb") as stream:
            # Reserved now: a disk that fills up later would kill the process at a write to memory.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, size)
            else:
                stream.truncate(size)
        return np.memmap(cache_file, np.uint8, "r+", shape=shape)
    except OSError as error:
        cache_file.unlink(missing_ok=True)
        raise ConvscopeError(
            f"No room for the decoded photos: {size / 1e9:.1f} GB in {cache_file} "
            f"({error.strerror}). Free some disk space, or write to another disk."
        ) from None
