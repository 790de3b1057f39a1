"""Random numbers that depend on what they are for, and on nothing else.

A photo's draw in an epoch is a function of seed, epoch and the photo's number: the same in any
batch, in any process, in any order, and for many photos at once. The function is SplitMix64's
finaliser (Steele, Lea & Flood 2014), applied after each part is mixed in.
"""

from __future__ import annotations

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def uniforms(seed: int, epoch: int, rows: np.ndarray, count: int) -> np.ndarray:
    """Numbers from 0 up to, not including, 1.

    Parameters
    ----------
    seed, epoch : int
        0 or more.
    rows : numpy.ndarray
        int ``(n,)``, 0 or more: what the numbers are for.
    count : int
        How many for each. More of them do not change the first.

    Returns
    -------
    numpy.ndarray
        float64 ``(n, count)``.

    >>> uniforms(1, 0, np.array([5, 6]), 2).shape
    (2, 2)
    """
    state = _mixed(np.uint64(seed % 2**64) * np.ones(1, np.uint64), np.uint64(epoch))
    state = _mixed(np.broadcast_to(state, rows.shape), rows.astype(np.uint64))
    numbers = _mixed(state[:, None], np.arange(count, dtype=np.uint64)[None])
    # The upper 53 bits, as many as a float64 holds.
    return np.asarray((numbers >> np.uint64(11)) * 2.0**-53)


def _mixed(state: np.ndarray, part: np.ndarray | np.uint64) -> np.ndarray:
    with np.errstate(over="ignore"):  # modulo 2**64 is what is meant
        x = state + (part + np.uint64(1)) * _GOLDEN
        x = (x ^ (x >> np.uint64(30))) * _FIRST
        x = (x ^ (x >> np.uint64(27))) * _SECOND
        return np.asarray(x ^ (x >> np.uint64(31)))
