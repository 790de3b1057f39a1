"""Markers: what many photos of one class have and hardly any photo of another.

Found on one half of the photos and confirmed on the other, and the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import hypergeom

from convscope.audit.association import binned
from convscope.audit.overlay import stamped

# Of the photos of other classes, so many may have a marker by chance, where it is looked for.
_ELSEWHERE = 0.01
# Of the photos of the class, so many have it at least.
LEAST = 0.12
# Who has it less than so many times as often as the others is not marked by it.
_TIMES = 3
# Places of a view that are confirmed, for each class.
_PLACES = 3
# Bins end here: finer towards the ends, where a marker of few photos lies ...
_LOWER = (0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.4, 0.5)
_QUANTILES = (*_LOWER, *(1 - q for q in reversed(_LOWER[:-1])))
# ... and so many photos at least are to lie beyond.
_BEYOND = 20


@dataclass(frozen=True, eq=False)
class Marker:
    """One of them.

    Attributes
    ----------
    view : str
    place : int
        Which cell; 0 of a view of the whole photo.
    label : int
        The class.
    share, elsewhere : float
        Of the class's photos and of the others', those that have it, as confirmed.
    p_value : float
        The chance of so many among the class's if it had nothing to do with the class; corrected
        for all that were to be confirmed.
    carriers : numpy.ndarray
        bool ``(n,)``: which photos have it, each by what was found on the other half.
    """

    view: str
    place: int
    label: int
    share: float
    elsewhere: float
    p_value: float
    carriers: np.ndarray

    @property
    def lead(self) -> float:
        """How much more often the class has it."""
        return self.share - self.elsewhere


def find_markers(
    views: Mapping[str, np.ndarray],
    labels: np.ndarray,
    units: np.ndarray | None = None,
    *,
    learn: np.ndarray | None = None,
    overlays: Mapping[str, np.ndarray] | None = None,
    level: float = 0.01,
    seed: int = 0,
) -> tuple[Marker, ...]:
    """Look for markers of every class in every view.

    Parameters
    ----------
    views : mapping of str to numpy.ndarray
        Name -> float ``(n, columns)`` or ``(n, places, columns)``, or texts ``(n,)``.
    labels : numpy.ndarray
        int ``(n,)``, 0 and up.
    units : numpy.ndarray, optional
        int ``(n,)``: copies of one photo have one number.
    learn : numpy.ndarray, optional
        bool ``(n,)``: the photos that are searched, the training photos for example; in the others
        it is only said which of them have it. Default all.
    overlays : mapping of str to numpy.ndarray, optional
        Name -> int8 ``(n, 2, side, side)``: see :mod:`~convscope.audit.overlay`.
    level : float
        Corrected p-values above it are left out.
    seed : int
        Of the halves.

    Returns
    -------
    tuple of Marker
        Those that set the class apart most first.
    """
    learn = np.ones(len(labels), bool) if learn is None else learn
    halves = halves_of(labels, units, learn, np.random.default_rng(seed))
    classes = int(labels.max()) + 1
    candidates: list[tuple[str, int, int, np.ndarray]] = []
    for name, values in views.items():
        bins = _binned(values)
        both = [_Half(bins, labels, classes, half) for half in halves]
        for label in range(classes):
            for place in sorted({p for half in both for p in half.best(label)}):
                flags = [half.confirm(place, label) for half in both]
                candidates.append((name, place, label, crossed(flags, halves)))
    for name, maps in (overlays or {}).items():
        for label in range(classes):
            stamps = [stamped(maps, labels, label, half) for half in halves]
            whole = [stamp for stamp in stamps if stamp is not None]
            if len(whole) == len(stamps):
                candidates.append((name, 0, label, crossed(whole, halves)))
    found = []
    for name, place, label, carriers in candidates:
        mine = labels == label
        share = float(carriers[mine & learn].mean())
        elsewhere = float(carriers[~mine & learn].mean())
        chances = [chance_of(carriers[half], mine[half]) for half in halves]
        # Two halves, and as many candidates.
        p_value = min(1.0, 2 * len(candidates) * min(chances))
        if p_value <= level and share >= max(LEAST, _TIMES * elsewhere):
            found.append(Marker(name, place, label, share, elsewhere, p_value, carriers))
    return tuple(sorted(found, key=lambda marker: -marker.lead))


def smallest_found(
    labels: np.ndarray, label: int, level: float = 0.01, candidates: int = 30
) -> float:
    """The share of a class's photos that a marker must have to be found, 0 to 1.

    Of a marker that no other class has, confirmed on half of the photos; 1 if none would be.
    """
    n = len(labels) // 2
    mine = int((labels == label).sum()) // 2
    least = max(1, int(np.ceil(LEAST * mine)))
    stray = int(np.ceil(_ELSEWHERE * (n - mine)))
    for count in range(least, mine + 1):
        if 2 * candidates * float(hypergeom.sf(count - 1, n, mine, count + stray)) <= level:
            return count / mine
    return 1.0


def crossed(flags: Sequence[np.ndarray], halves: Sequence[np.ndarray]) -> np.ndarray:
    """Who has it, each photo by what was found on the other half; outside of both, by both."""
    found: np.ndarray = flags[0] & flags[1]
    found[halves[0]] = flags[1][halves[0]]
    found[halves[1]] = flags[0][halves[1]]
    return found


def halves_of(
    labels: np.ndarray, units: np.ndarray | None, learn: np.ndarray, drawn: np.random.Generator
) -> list[np.ndarray]:
    """Two halves of the photos that are searched, bool ``(n,)``; each class is halved."""
    units = np.arange(len(labels)) if units is None else np.unique(units, return_inverse=True)[1]
    first = np.unique(units, return_index=True)[1]
    side = np.zeros(len(first), bool)
    for label in np.unique(labels):
        own = drawn.permutation(np.flatnonzero(labels[first] == label))
        side[own[: len(own) // 2]] = True
    return [side[units] & learn, ~side[units] & learn]


def _binned(values: np.ndarray) -> np.ndarray:
    """Int ``(n, places, columns)``."""
    quantiles = [q for q in _QUANTILES if min(q, 1 - q) * len(values) >= _BEYOND]
    if values.dtype.kind in "UO" or values.ndim < 3:
        bins = binned(values, quantiles)
        return bins[:, None]
    n, places, columns = values.shape
    return binned(values.reshape(n, places * columns), quantiles).reshape(n, places, columns)


class _Half:
    """What is found on some photos, to be confirmed on the others."""

    def __init__(
        self, bins: np.ndarray, labels: np.ndarray, classes: int, look: np.ndarray
    ) -> None:
        self.bins, self.labels, self.look = bins, labels, look
        _, places, columns = bins.shape
        width = int(bins.max()) + 1
        # How many photos of each class fall into each bin.
        counts = np.zeros((classes, places, columns, width), np.float32)
        own = bins[look]
        for label in range(classes):
            some = own[labels[look] == label]
            for k in range(width):
                counts[label, :, :, k] = (some == k).sum(0)
        self.counts = counts
        self.every = counts.sum(0)
        self.size = np.array([(labels[look] == label).sum() for label in range(classes)], float)
        self._thresholds: dict[int, np.ndarray] = {}

    def best(self, label: int) -> list[int]:
        """Places where the class seems to be marked, best first."""
        if not 0 < self.size[label] < self.size.sum():
            return []
        scores = self._scores(label, self.look, itself=True)
        mine = self.labels[self.look] == label
        limit = _limit(scores[~mine])
        self._thresholds[label] = limit
        share = (scores[mine] > limit).mean(0)
        order = np.argsort(-share, kind="stable")[:_PLACES]
        return [int(place) for place in order if share[place] >= LEAST]

    def confirm(self, place: int, label: int) -> np.ndarray:
        """Which photos have it, bool ``(n,)``, as this half sees it."""
        if label not in self._thresholds:
            return np.zeros(len(self.labels), bool)
        every = np.ones(len(self.labels), bool)
        scores = self._scores(label, every, places=[place])[:, 0]
        return np.asarray(scores > self._thresholds[label][place])

    def _scores(
        self, label: int, rows: np.ndarray, *, itself: bool = False,
        places: Sequence[int] | None = None,
    ) -> np.ndarray:  # fmt: skip
        """How much more likely each photo is if it is of the class: ``(n, places)``.

        With ``itself``, each photo is judged by the others.
        """
        some = slice(None) if places is None else list(places)
        own, rest = self.counts[label][some], (self.every - self.counts[label])[some]
        bins = self.bins[rows][:, some]
        n, high, wide = bins.shape
        at = (np.arange(high)[None, :, None], np.arange(wide)[None, None], bins)
        mine = (self.labels[rows] == label)[:, None, None] if itself else np.zeros((n, 1, 1), bool)
        other = ~mine if itself else mine
        size, total = self.size[label], self.size.sum()
        width = own.shape[-1]
        likely = np.log((own[at] - mine + 0.5) / (size - mine + 0.5 * width))
        unlikely = np.log((rest[at] - other + 0.5) / (total - size - other + 0.5 * width))
        return np.asarray((likely - unlikely).sum(2))


def _limit(scores: np.ndarray) -> np.ndarray:
    """What all but a few of the others stay below, for each place."""
    return np.asarray(np.quantile(scores, 1 - _ELSEWHERE, axis=0, method="higher"))


def chance_of(flags: np.ndarray, mine: np.ndarray) -> float:
    """Of so many flags in a class, if they had nothing to do with it (Fisher's exact test)."""
    return float(
        hypergeom.sf(int((flags & mine).sum()) - 1, len(mine), int(mine.sum()), int(flags.sum()))
    )
