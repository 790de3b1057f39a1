"""Which photos are the same, to the byte or to the eye.

Near-duplicates are found in two steps: a 64-bit perceptual hash (signs of the lowest frequencies
of a 32 × 32 thumbnail, as in Zauner 2010, "Implementation and benchmarking of perceptual image
hash functions") proposes pairs, and the thumbnails themselves confirm them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from convscope.data.survey import Facts

# Of 64 bits. Re-compressed, re-sized and slightly cropped copies differ in up to about 10.
MAX_BITS = 10
# Pearson correlation of the thumbnails and mean absolute difference after matching brightness
# and contrast, on the 0..255 scale.
MIN_CORRELATION = 0.985
MAX_DIFFERENCE = 6.0
# A thumbnail flatter than this (standard deviation) has no structure to compare.
_MIN_CONTRAST = 4.0
_BLOCK = 512


def perceptual_hashes(thumbs: np.ndarray) -> np.ndarray:
    """64-bit hashes of thumbnails.

    Parameters
    ----------
    thumbs : numpy.ndarray
        uint8 ``(n, 32, 32)``.

    Returns
    -------
    numpy.ndarray
        uint64 ``(n,)``. Photos that look alike differ in few bits.
    """
    hashes = np.zeros(len(thumbs), np.uint64)
    for start in range(0, len(thumbs), _BLOCK):
        block = thumbs[start : start + _BLOCK].astype(np.float32)
        low = dctn(block, axes=(1, 2), type=2)[:, :8, :8].reshape(len(block), 64)
        # The mean brightness is not structure.
        median = np.median(low[:, 1:], axis=1, keepdims=True)
        bits = (low > median).astype(np.uint64)
        hashes[start : start + _BLOCK] = (bits << np.arange(64, dtype=np.uint64)).sum(axis=1)
    return hashes


def near_pairs(thumbs: np.ndarray) -> np.ndarray:
    """Pairs of thumbnails that show the same photo.

    Parameters
    ----------
    thumbs : numpy.ndarray
        uint8 ``(n, 32, 32)``.

    Returns
    -------
    numpy.ndarray
        int64 ``(pairs, 2)``, first index smaller.
    """
    # Without structure there is nothing to compare, and all hashes would be the same.
    deviation = [thumbs[i : i + _BLOCK].std(axis=(1, 2)) for i in range(0, len(thumbs), _BLOCK)]
    numbers = np.flatnonzero(np.concatenate([*deviation, np.empty(0)]) >= _MIN_CONTRAST)
    thumbs = thumbs[numbers]
    hashes = perceptual_hashes(thumbs)
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(hashes), _BLOCK):
        block = hashes[start : start + _BLOCK, None]
        distance = np.bitwise_count(block ^ hashes[None, start:])
        first, second = np.nonzero(distance <= MAX_BITS)
        later = second > first
        pairs = np.stack([first[later], second[later]], axis=1) + start
        for part in range(0, len(pairs), 4096):
            some = pairs[part : part + 4096]
            alike = _same_picture(thumbs[some[:, 0]], thumbs[some[:, 1]])
            found.append(numbers[some[alike]])
    return np.concatenate(found)


def _same_picture(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    flat_a = a.reshape(len(a), -1).astype(np.float32)
    flat_b = b.reshape(len(b), -1).astype(np.float32)
    flat_a -= flat_a.mean(axis=1, keepdims=True)
    flat_b -= flat_b.mean(axis=1, keepdims=True)
    std_a, std_b = flat_a.std(axis=1), flat_b.std(axis=1)
    correlation = (flat_a * flat_b).mean(axis=1) / (std_a * std_b)
    # Matched contrast: a darker copy is still a copy.
    difference = np.abs(flat_a - flat_b * (std_a / std_b)[:, None]).mean(axis=1)
    return np.asarray((correlation >= MIN_CORRELATION) & (difference <= MAX_DIFFERENCE))


def same_photo_groups(facts: Sequence[Facts]) -> tuple[np.ndarray, np.ndarray]:
    """Number the photos so that copies share a number.

    Parameters
    ----------
    facts : sequence of Facts

    Returns
    -------
    exact : numpy.ndarray
        int64 ``(n,)``: equal for files of equal bytes.
    near : numpy.ndarray
        int64 ``(n,)``: equal for photos that look the same, exact copies included. Unusable files
        are alone in theirs.
    """
    keys = [f.sha256 if f.usable else f"unusable {i}" for i, f in enumerate(facts)]
    _, first_rows, exact = np.unique(
        np.asarray(keys, dtype=str), return_index=True, return_inverse=True
    )
    usable = np.array([facts[row].usable for row in first_rows], dtype=bool)
    candidates = np.flatnonzero(usable)
    near = np.arange(len(first_rows))
    if len(candidates) > 1:
        pairs = near_pairs(np.stack([facts[first_rows[c]].thumb for c in candidates]))
        near = join(len(first_rows), candidates[pairs])
    return exact, near[exact]


def join(count: int, pairs: np.ndarray) -> np.ndarray:
    """Number ``count`` things so that the two of each pair, and theirs, share a number."""
    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), (count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
