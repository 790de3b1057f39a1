"""Which photos a head is trained on while settings are chosen, and which judge it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from sklearn.preprocessing import StandardScaler

FOLDS = 5
# Fewer validation photos than this, or than this many for each class, say too little to choose by.
ENOUGH_PHOTOS = 100
ENOUGH_PER_CLASS = 5
# Directions in which the photos differ by less than this share of the largest one are none.
_FLAT = 1e-10


# The exponent of :meth:`Part.rooted`.
ROOT = 0.5


def signed_power(features: np.ndarray, power: float) -> np.ndarray:
    """``sign(x) |x| ** power`` of float32 features."""
    raised: np.ndarray = np.sign(features) * np.abs(features) ** np.float32(power)
    return raised


@dataclass(frozen=True)
class Part:
    """Photos to train on and photos held out; what several kinds of heads need, computed once.

    Attributes
    ----------
    features, held : numpy.ndarray
        float32 ``(n, f)`` and ``(m, f)``; m may be 0.
    labels, held_labels : numpy.ndarray
        int ``(n,)`` and ``(m,)``; every class is among ``labels``.
    classes : int
    """

    features: np.ndarray
    labels: np.ndarray
    held: np.ndarray
    held_labels: np.ndarray
    classes: int

    @cached_property
    def scaler(self) -> StandardScaler:
        """Mean and standard deviation of the training features."""
        return StandardScaler().fit(self.features)

    @cached_property
    def x(self) -> np.ndarray:
        """Training features, standardised, float32 ``(n, f)``."""
        return self._standardised(self.features)

    @cached_property
    def x_held(self) -> np.ndarray:
        """Held-out features, standardised, float32 ``(m, f)``."""
        return self._standardised(self.held)

    def _standardised(self, features: np.ndarray) -> np.ndarray:
        scaled = (features - self.scaler.mean_) / self.scaler.scale_
        return np.asarray(scaled, np.float32)

    def rooted(self) -> Part:
        """The same photos with the square root of each feature, its sign kept.

        A few large features no longer rule the distances (Perronnin et al. 2010, "Improving the
        Fisher kernel for large-scale image classification").
        """
        features, held = (signed_power(these, ROOT) for these in (self.features, self.held))
        return Part(features, self.labels, held, self.held_labels, self.classes)

    @cached_property
    def products(self) -> np.ndarray:
        """Inner products of the training photos, float64 ``(n, n)``."""
        return np.asarray(self.x @ self.x.T, np.float64)

    @cached_property
    def products_held(self) -> np.ndarray:
        """Of held-out and training photos, float64 ``(m, n)``."""
        return np.asarray(self.x_held @ self.x.T, np.float64)

    @cached_property
    def squared(self) -> tuple[np.ndarray, np.ndarray]:
        """Squared distances to the training photos, float64 ``(n, n)`` and ``(m, n)``."""
        lengths = self.products.diagonal()
        of_held = np.square(self.x_held, dtype=np.float64).sum(axis=1)
        among = lengths[:, None] + lengths - 2 * self.products
        to_held = of_held[:, None] + lengths - 2 * self.products_held
        return np.maximum(among, 0), np.maximum(to_held, 0)

    @cached_property
    def compact(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The training photos in as few coordinates as they need.

        With fewer photos than features, a penalised linear model is the same, and found faster, in
        the space that the photos span.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, r)``.
        numpy.ndarray or None
            float64 ``(f, r)``, orthonormal: takes weights back to the features. None: as they are.
        """
        if len(self.x) >= self.x.shape[1]:
            return self.x, None
        exact = self.x.astype(np.float64)
        values, vectors = np.linalg.eigh(exact @ exact.T)
        kept = values > max(values[-1] * _FLAT, np.finfo(np.float64).tiny)
        if not kept.any():
            return self.x, None
        lengths, vectors = np.sqrt(values[kept]), vectors[:, kept]
        return (vectors * lengths).astype(np.float32), exact.T @ (vectors / lengths)

    def sample(self, most: int, seed: int) -> Part:
        """At most so many training photos, of each class its share and at least one."""
        n = len(self.labels)
        if n <= most:
            return self
        order = np.random.default_rng(seed).permutation(n)
        place = np.empty(n)
        for number in range(self.classes):
            rows = order[self.labels[order] == number]
            place[rows] = np.arange(len(rows)) / max(1, len(rows))
        rows = np.sort(np.argsort(place, kind="stable")[:most])
        return Part(
            self.features[rows], self.labels[rows], self.held, self.held_labels, self.classes
        )


Settings = Mapping[str, Any]


@dataclass(frozen=True)
class State:
    """A whole head: what ``build_head`` takes, and what its ``load_state_dict`` takes."""

    config: dict[str, Any]
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True)
class Trained:
    """A head with one setting, trained on one part.

    Attributes
    ----------
    held_logits : numpy.ndarray
        float ``(m, classes)`` of the part's held-out photos.
    state : callable
        Gives the whole head; called for the chosen one alone.
    found : mapping
        What training decided on the way, such as when to stop.
    """

    held_logits: np.ndarray
    state: Callable[[], State]
    found: Mapping[str, int] = field(default_factory=dict)


class Path(Protocol):
    """Train one head after the other on a part, with each of the settings."""

    def __call__(self, part: Part, grid: Sequence[Settings], seed: int) -> Iterator[Trained]:
        """As many as there are settings, in their order."""


@dataclass(frozen=True)
class Plan:
    """How settings are chosen.

    Attributes
    ----------
    parts : tuple of Part
        One with the validation photos held out, or one per fold; none where no photo can be.
    rows : tuple of numpy.ndarray
        int, per part: which photos are held out, counted over training and then validation.
    whole : Part or None
        What the chosen head is trained on in the end; None: it is the one that was judged.
    chosen_on : str
        In words.
    """

    parts: tuple[Part, ...]
    rows: tuple[np.ndarray, ...]
    whole: Part | None
    chosen_on: str


def plan_parts(
    train: np.ndarray,
    train_labels: np.ndarray,
    valid: np.ndarray,
    valid_labels: np.ndarray,
    classes: int,
    groups: np.ndarray | None,
    seed: int,
) -> Plan:
    """Hold out the validation photos if they are enough, else take turns (cross-validation).

    Parameters
    ----------
    train, valid : numpy.ndarray
        float32 ``(n, f)`` and ``(m, f)``.
    train_labels, valid_labels : numpy.ndarray
        int.
    classes : int
    groups : numpy.ndarray or None
        ``(n + m,)``: photos of one group are never on both sides.
    seed : int
    """
    n, m = len(train), len(valid)
    if m >= max(ENOUGH_PHOTOS, ENOUGH_PER_CLASS * classes):
        part = Part(train, train_labels, valid, valid_labels, classes)
        return Plan((part,), (np.arange(n, n + m),), None, f"{m:,} validation photos")
    features = np.concatenate([train, valid])
    labels = np.concatenate([train_labels, valid_labels])
    whole = Part(features, labels, features[:0], labels[:0], classes)
    fold = fold_numbers(labels, groups, seed)
    rows = tuple(np.flatnonzero(fold == k) for k in range(FOLDS) if (fold == k).any())
    if not rows:
        return Plan((), (), whole, "nothing: too few photos to hold any out")
    parts = tuple(
        Part(
            np.delete(features, out, axis=0),
            np.delete(labels, out),
            features[out],
            labels[out],
            classes,
        )
        for out in rows
    )
    whose = "training and validation" if m else "training"
    return Plan(
        parts, rows, whole,
        f"{len(rows)}-fold cross-validation of {sum(map(len, rows)):,} {whose} photos",
    )  # fmt: skip


def fold_numbers(
    labels: np.ndarray, groups: np.ndarray | None, seed: int, folds: int = FOLDS
) -> np.ndarray:
    """Deal photos to folds: every class evenly, groups whole, and no fold has all of a class.

    A class whose photos would all be held out at once (a single photo; a single group) stays in
    training throughout: it cannot be validated.

    Parameters
    ----------
    labels : numpy.ndarray
        int ``(n,)``.
    groups : numpy.ndarray or None
        ``(n,)``; None: every photo for itself.
    seed : int
    folds : int

    Returns
    -------
    numpy.ndarray
        int ``(n,)``: the fold that a photo is held out in, -1 for none.
    """
    n = len(labels)
    unit = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1].ravel()
    counts = np.zeros((int(unit.max()) + 1, int(labels.max()) + 1), np.int64)
    np.add.at(counts, (unit, labels), 1)
    own, totals, sizes = counts.argmax(axis=1), counts.sum(axis=0), counts.sum(axis=1)
    order = np.random.default_rng(seed).permutation(len(counts)).tolist()
    # Rare classes and large groups first, while there is room to even out.
    order.sort(key=lambda u: (totals[own[u]], -sizes[u]))
    filled = np.zeros((folds, counts.shape[1]), np.int64)
    fold = np.empty(len(counts), np.int64)
    for u in order:
        fold[u] = min(range(folds), key=lambda k: (filled[k, own[u]], filled[k].sum()))
        filled[fold[u]] += counts[u]
    for number in range(counts.shape[1]):
        with_it = np.flatnonzero(counts[:, number])
        if len(np.unique(fold[with_it])) == 1:
            fold[with_it] = -1
    return fold[unit]
