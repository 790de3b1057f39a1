"""Does a property of the photos alone predict their label? With a false-alarm rate that holds.

A property is cut into bins (quantiles, or categories), a class is named by how often its photos
fall into each bin, and the balanced accuracy over cross-validation is held against that of the same
photos with their labels shuffled. Whoever tests many properties corrects for that (Holm 1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from convscope.progress import Progress

# Eight bins of equally many photos.
QUANTILES = tuple(k / 8 for k in range(1, 8))
_FOLDS = 5
_SHUFFLES = 2000
# A property that is no better than so many shufflings is not looked at any longer.
_ENOUGH = 20
# Shufflings that are scored at a time.
_AT_ONCE = 50


@dataclass(frozen=True)
class Association:
    """Whether one property predicts the label.

    Attributes
    ----------
    name : str
    balanced_accuracy : float
        Mean recall of the classes, cross-validated.
    chance : float
        The same with shuffled labels, in the mean.
    p_value : float
        Share of shufflings that do as well, counting this one (Phipson & Smyth 2010).
    corrected : float
        After Holm, over all properties that were looked at together.
    """

    name: str
    balanced_accuracy: float
    chance: float
    p_value: float
    corrected: float


def associations(
    properties: Mapping[str, np.ndarray],
    labels: np.ndarray,
    units: np.ndarray | None = None,
    *,
    seed: int = 0,
    shuffles: int = _SHUFFLES,
    progress: Progress | None = None,
) -> tuple[Association, ...]:
    """Ask of each property whether it predicts the label on photos that were not looked at.

    Parameters
    ----------
    properties : mapping of str to numpy.ndarray
        Name -> float ``(n,)`` or ``(n, columns)`` (NaN: not known), or texts ``(n,)``.
    labels : numpy.ndarray
        int ``(n,)``.
    units : numpy.ndarray, optional
        int ``(n,)``: photos with the same number (copies of one another) stay in one fold, and
        their labels are shuffled together.
    seed : int
        Of folds and shufflings.
    shuffles : int
        At most.
    progress : Progress, optional

    Returns
    -------
    tuple of Association
        The most telling first.
    """
    units = np.arange(len(labels)) if units is None else np.unique(units, return_inverse=True)[1]
    drawn = np.random.default_rng(seed)
    classes, numbers = np.unique(labels, return_inverse=True)
    found = []
    with (progress or Progress()).task("properties", len(properties), "properties") as advance:
        for name, values in properties.items():
            found.append(_ask(name, binned(values), numbers, len(classes), units, drawn, shuffles))
            advance(1)
    corrected = holm([one.p_value for one in found])
    whole = [
        Association(one.name, one.balanced_accuracy, one.chance, one.p_value, float(p))
        for one, p in zip(found, corrected, strict=True)
    ]
    return tuple(sorted(whole, key=lambda one: (one.corrected, -one.balanced_accuracy)))


def binned(values: np.ndarray, quantiles: Sequence[float] = QUANTILES) -> np.ndarray:
    """Columns in bins that end at these quantiles: int ``(n, columns)``.

    Texts become categories, rare ones (below 1 % and ten photos) together; NaN has a bin of its
    own.
    """
    if values.dtype.kind in "UO":
        names, codes, counts = np.unique(
            values.astype(str), return_inverse=True, return_counts=True
        )
        rare = counts < max(10, 0.01 * len(values))
        codes = np.where(rare[codes], len(names), codes)
        return np.unique(codes, return_inverse=True)[1].reshape(-1, 1)
    columns = values.reshape(len(values), -1).astype(np.float64)
    found = np.zeros(columns.shape, np.int64)
    for place, column in enumerate(columns.T):
        known = np.isfinite(column)
        if known.any():
            edges = np.quantile(column[known], quantiles)
            found[:, place] = np.searchsorted(np.unique(edges), column, side="right")
        found[~known, place] = len(quantiles) + 1
    return found


def holm(p_values: list[float]) -> np.ndarray:
    """Holm's correction: p-values that may all be held against one level, float64."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(steps, 1.0)
    return corrected


def _ask(
    name: str, bins: np.ndarray, labels: np.ndarray, classes: int, units: np.ndarray,
    drawn: np.random.Generator, shuffles: int,
) -> Association:  # fmt: skip
    # Of each unit the first photo's label: copies are shuffled as one.
    first = np.unique(units, return_index=True)[1]
    of_unit = labels[first]
    columns = _one_hot(bins)
    # The same for all: given the folds, every order of the labels is as likely as this one.
    folds = _folds(units, drawn)
    own = _scores(columns, labels[None], classes, folds)[0]
    above, done, total = 0, 0, 0.0
    while done < shuffles and above < _ENOUGH:
        count = min(_AT_ONCE, shuffles - done)
        shuffled = np.stack([drawn.permutation(of_unit)[units] for _ in range(count)])
        found = _scores(columns, shuffled, classes, folds)
        above += int((found >= own - 1e-12).sum())
        total += float(found.sum())
        done += count
    return Association(name, float(own), total / done, (above + 1) / (done + 1), 1.0)


def _folds(units: np.ndarray, drawn: np.random.Generator) -> np.ndarray:
    """Int ``(n,)``: which fold each photo is tested in; whole units, drawn without their labels.

    Folds that knew the labels would treat them otherwise than shuffled ones.
    """
    count = int(units.max()) + 1
    folds = np.arange(count) % _FOLDS
    return np.asarray(drawn.permutation(folds)[units])


def _one_hot(bins: np.ndarray) -> np.ndarray:
    """float32 ``(n, bins of all columns)``."""
    width = bins.max(0) + 1
    starts = np.concatenate([[0], np.cumsum(width)[:-1]])
    found = np.zeros((len(bins), int(width.sum())), np.float32)
    found[np.arange(len(bins))[:, None], bins + starts] = 1
    return found


def _scores(columns: np.ndarray, labels: np.ndarray, classes: int, folds: np.ndarray) -> np.ndarray:
    """Balanced accuracy of several labellings ``(s, n)``, float64 ``(s,)``."""
    s, n = labels.shape
    hot = np.zeros((s, n, classes), np.float32)
    np.put_along_axis(hot, labels[..., None], 1, axis=2)
    hits = np.zeros((s, classes))
    for fold in np.unique(folds):
        test = folds == fold
        train = hot[:, ~test]
        counts = np.einsum("snc,nd->scd", train, columns[~test], optimize=True)
        size = train.sum(1)[..., None]
        # One photo more in each bin: none is impossible.
        logs = np.log(counts + 1) - np.log(size + 2)
        said = np.einsum("scd,nd->snc", logs, columns[test], optimize=True).argmax(2)
        right = (said == labels[:, test])[..., None] * hot[:, test]
        hits += right.sum(1)
    return np.asarray((hits / np.maximum(hot.sum(1), 1)).mean(1))
