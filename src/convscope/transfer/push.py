"""Push photos from files through a network: decoding and computing side by side.

Worker processes decode; as many threads as there are cores each compute one chunk on one core.
For batches this small that beats one network spread over all cores, which waits for itself at
every layer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import torch

from convscope.data.survey import CHUNK, Chunk, DecodeSpec, available_cores, survey


def push(
    paths: Sequence[Path],
    decode: DecodeSpec,
    function: Callable[[np.ndarray], np.ndarray],
    *,
    workers: int | None = None,
) -> Generator[tuple[Chunk, np.ndarray], None, None]:
    """Decode photos and compute something for each, in order.

    Parameters
    ----------
    paths : sequence of Path
    decode : DecodeSpec
    function : callable
        uint8 ``(n, size, size, 3)`` -> float32 ``(n, k)``; called from several threads. Rows of
        photos that could not be decoded are black, and what it gives for them means nothing.
    workers : int, optional
        Decoding processes, default one per core.

    Yields
    ------
    Chunk
    numpy.ndarray
        What ``function`` gave for the chunk.
    """
    lanes = available_cores()
    with closing(survey(paths, decode, workers=workers)) as chunks:
        if len(paths) <= lanes * CHUNK or torch.cuda.is_available():
            for chunk in chunks:
                yield chunk, function(chunk.pixels)
        else:
            with _one_core_per_call():
                yield from _in_lanes(chunks, function, lanes)


def _in_lanes(
    chunks: Iterable[Chunk], function: Callable[[np.ndarray], np.ndarray], lanes: int
) -> Generator[tuple[Chunk, np.ndarray], None, None]:
    waiting: deque[tuple[Chunk, Future[np.ndarray]]] = deque()
    pool = ThreadPoolExecutor(lanes, thread_name_prefix="lane")
    try:
        for chunk in chunks:
            waiting.append((chunk, pool.submit(function, chunk.pixels)))
            if len(waiting) > 2 * lanes:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_core_per_call() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
