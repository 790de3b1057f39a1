"""Pieces that look alike in many photos of one class: found in one half, confirmed in another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import linkage

from convscope.audit.markers import chance_of, halves_of
from convscope.audit.pieces import Pieces

# Pieces of a cluster, at least, and at most as a share of all; clusters of a class to confirm.
_SMALLEST, _LARGEST, _CONFIRMED = 4, 0.35, 5
# Others belong to a cluster within this many times the radius in which so many of its own lie: the
# middle is nearer to those that it was made of.
_WIDER, _WITHIN = 1.2, 0.9
# A pattern is in so many photos of its class, and so many times as often as in the others.
_LEAST, _TIMES, _LEVEL = 0.2, 3, 0.01
# Clusters of one class are one if they are in mostly the same photos.
_SAME = 0.5


@dataclass(frozen=True, eq=False)
class Cluster:
    """Pieces that look alike, most of them in photos of one class.

    Attributes
    ----------
    label : int
    members : numpy.ndarray
        int: of the pieces.
    share, elsewhere, p_value : float
        As confirmed.
    """

    label: int
    members: np.ndarray
    share: float
    elsewhere: float
    p_value: float


def clusters(
    pieces: Pieces, labels: np.ndarray, units: np.ndarray, seed: int
) -> tuple[Cluster, ...]:
    """Clusters that mark one class.

    Parameters
    ----------
    pieces : Pieces
    labels, units : numpy.ndarray
        int ``(n,)``: of the photos of the sample.
    seed : int

    Returns
    -------
    tuple of Cluster
        The most telling first; of those in mostly the same photos of a class, the best.
    """
    every = np.ones(len(labels), bool)
    first, second = halves_of(labels, units, every, np.random.default_rng(seed))
    own = np.flatnonzero(first[pieces.photo])
    if len(own) < 2 * _SMALLEST:
        return ()
    best: dict[int, list[tuple[float, np.ndarray]]] = {}
    for group in _groups(pieces.features[own]):
        members = _like(own[group], pieces)
        has = having(members, pieces, len(labels))
        label = int(np.bincount(labels[has & first]).argmax())
        share, elsewhere = _shares(has, labels == label, first)
        if share >= max(_LEAST, _TIMES * elsewhere):
            best.setdefault(label, []).append((share - elsewhere, members))
    candidates = [
        (label, members)
        for label, some in best.items()
        for _, members in sorted(some, key=lambda one: -one[0])[:_CONFIRMED]
    ]
    found = []
    for label, members in candidates:
        has, mine = having(members, pieces, len(labels)), labels == label
        share, elsewhere = _shares(has, mine, second)
        p_value = min(1.0, len(candidates) * chance_of(has[second], mine[second]))
        if share >= max(_LEAST, _TIMES * elsewhere) and p_value <= _LEVEL:
            found.append(Cluster(label, members, share, elsewhere, p_value))
    found.sort(key=lambda one: one.elsewhere - one.share)
    return tuple(_apart(found, pieces))


def _groups(features: np.ndarray) -> list[np.ndarray]:
    """Pieces that are joined step by step (Ward 1963): the groups of every step, int arrays."""
    joined = linkage(features, "ward")
    count = len(features)
    groups: list[np.ndarray] = [np.array([number]) for number in range(count)]
    for one, other, _, _ in joined:
        groups.append(np.concatenate([groups[int(one)], groups[int(other)]]))
    return [group for group in groups if _SMALLEST <= len(group) <= _LARGEST * count]


def _like(some: np.ndarray, pieces: Pieces) -> np.ndarray:
    """All pieces as near to the middle of some as nearly all of these are."""
    middle = pieces.features[some].mean(0)
    distance = np.linalg.norm(pieces.features - middle, axis=1)
    return np.flatnonzero(distance <= _WIDER * np.quantile(distance[some], _WITHIN))


def having(members: np.ndarray, pieces: Pieces, count: int) -> np.ndarray:
    """Which of so many photos have one of these pieces: bool ``(count,)``."""
    has = np.zeros(count, bool)
    has[pieces.photo[members]] = True
    return has


def _shares(has: np.ndarray, mine: np.ndarray, half: np.ndarray) -> tuple[float, float]:
    own, rest = mine & half, ~mine & half
    return (
        float(has[own].mean()) if own.any() else 0.0,
        float(has[rest].mean()) if rest.any() else 0.0,
    )


def _apart(found: Sequence[Cluster], pieces: Pieces) -> list[Cluster]:
    kept: list[tuple[Cluster, set[int]]] = []
    for one in found:
        photos = set(pieces.photo[one.members].tolist())
        if not any(
            one.label == other.label and len(photos & rest) >= _SAME * min(len(photos), len(rest))
            for other, rest in kept
        ):
            kept.append((one, photos))
    return [one for one, _ in kept]
