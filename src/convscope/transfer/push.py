"""Push photos from files through a network: decoding and computing side by side.

Worker processes decode; threads compute, see :mod:`convscope.lanes`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from convscope.data.survey import CHUNK, Chunk, DecodeSpec, available_cores, survey
from convscope.lanes import in_lanes


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
    with closing(survey(paths, decode, workers=workers)) as chunks:
        if len(paths) <= available_cores() * CHUNK or torch.cuda.is_available():
            for chunk in chunks:
                yield chunk, function(chunk.pixels)
        else:
            with closing(in_lanes(lambda chunk: function(chunk.pixels), chunks)) as done:
                yield from done
