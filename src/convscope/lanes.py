"""Compute on every core at once: a chunk each, on one core each.

For batches this small that beats one network spread over all cores, which waits for itself at
every layer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from convscope.data.survey import available_cores

Item = TypeVar("Item")
Found = TypeVar("Found")


def in_lanes(
    function: Callable[[Item], Found], items: Iterable[Item]
) -> Generator[tuple[Item, Found], None, None]:
    """Apply a function to items that come in by and by.

    Parameters
    ----------
    function : callable
        Called from as many threads as there are cores; from one where a GPU computes.
    items : iterable

    Yields
    ------
    tuple
        Each item and what the function gave for it, in order.
    """
    lanes = 1 if torch.cuda.is_available() else available_cores()
    waiting: deque[tuple[Item, Future[Found]]] = deque()
    pool = ThreadPoolExecutor(lanes, thread_name_prefix="lane")
    with one_core_per_call():
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                if len(waiting) > 2 * lanes:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def one_core_per_call() -> Iterator[None]:
    """PyTorch computes on one core inside, and its sums keep their order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
