"""Simple models that imitate a network near one image: from on and off to the score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import f, rankdata
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge, lars_path

Surrogate = Literal["ridge", "lasso", "forest"]
SURROGATES: tuple[Surrogate, ...] = ("ridge", "lasso", "forest")
_PENALTY = 1.0
_TREES = 100


@dataclass(frozen=True)
class Fit:
    """A simple model of one score.

    Attributes
    ----------
    weights : numpy.ndarray
        float64 ``(segments,)``: how much the score rises where the piece is shown.
    intercept : float
        The score that it gives where nothing is shown.
    r2 : float
        Share of the weighted variance of the scores that it explains.
    whole : float
        The score that it gives for the unchanged image.
    """

    weights: np.ndarray
    intercept: float
    r2: float
    whole: float


def closeness(masks: np.ndarray, width: float) -> np.ndarray:
    """How near each sample is to the whole image, float64 ``(n,)``.

    ``sqrt(exp(-d² / width²))`` with the cosine distance d to all ones, as in the authors' code.

    Parameters
    ----------
    masks : numpy.ndarray
        0 and 1, ``(n, segments)``.
    width : float
        Above 0.
    """
    shown = masks.sum(1)
    # Of zeros and ones: the cosine to all ones is the root of the share that is shown.
    distance = np.where(shown > 0, 1 - np.sqrt(shown / masks.shape[1]), 1.0)
    near: np.ndarray = np.sqrt(np.exp(-(distance**2) / width**2))
    return near


def fit_surrogate(
    kind: str, masks: np.ndarray, scores: np.ndarray, near: np.ndarray, features: int, seed: int
) -> Fit:
    """Fit one.

    Parameters
    ----------
    kind : str
        ``ridge``: weighted ridge regression with penalty 1 on all pieces; ``lasso``: the same on
        the pieces that the weighted lasso path takes in first; ``forest``: a random forest, whose
        weights are mean differences of its prediction with the piece and without.
    masks : numpy.ndarray
        0 and 1, ``(n, segments)``.
    scores : numpy.ndarray
        float64 ``(n,)``.
    near : numpy.ndarray
        float64 ``(n,)``, see :func:`closeness`.
    features : int
        Pieces that ``lasso`` may use.
    seed : int
        Of ``forest``.
    """
    return _FITS[kind](masks, scores, near, features, seed)


def _ridge_on(used: np.ndarray, masks: np.ndarray, scores: np.ndarray, near: np.ndarray) -> Fit:
    model = Ridge(alpha=_PENALTY).fit(masks[:, used], scores, sample_weight=near)
    weights = np.zeros(masks.shape[1])
    weights[used] = model.coef_
    r2 = float(model.score(masks[:, used], scores, sample_weight=near))
    intercept = float(model.intercept_)
    return Fit(weights, intercept, r2, intercept + float(weights.sum()))


def _ridge(
    masks: np.ndarray, scores: np.ndarray, near: np.ndarray, features: int, seed: int
) -> Fit:
    return _ridge_on(np.arange(masks.shape[1]), masks, scores, near)


def _lasso(
    masks: np.ndarray, scores: np.ndarray, near: np.ndarray, features: int, seed: int
) -> Fit:
    root = np.sqrt(near)
    x = (masks - np.average(masks, axis=0, weights=near)) * root[:, None]
    y = (scores - np.average(scores, weights=near)) * root
    _, _, path = lars_path(x, y, method="lasso")
    used = np.zeros(0, int)
    for column in path.T[::-1]:
        used = np.flatnonzero(column)
        if len(used) <= features:
            break
    if not len(used):  # no piece makes any difference
        mean = float(np.average(scores, weights=near))
        return Fit(np.zeros(masks.shape[1]), mean, 0.0, mean)
    return _ridge_on(used, masks, scores, near)


def _forest(
    masks: np.ndarray, scores: np.ndarray, near: np.ndarray, features: int, seed: int
) -> Fit:
    model = RandomForestRegressor(_TREES, max_features=1 / 3, min_samples_leaf=3, random_state=seed)
    model.fit(masks, scores, sample_weight=near)
    weights = np.empty(masks.shape[1])
    for place in range(masks.shape[1]):
        with_it, without = masks.copy(), masks.copy()
        with_it[:, place], without[:, place] = 1, 0
        more = model.predict(with_it) - model.predict(without)
        weights[place] = np.average(more, weights=near)
    nothing, whole = model.predict(np.stack([np.zeros_like(masks[0]), np.ones_like(masks[0])]))
    r2 = float(model.score(masks, scores, sample_weight=near))
    return Fit(weights, float(nothing), r2, float(whole))


_FITS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, int, int], Fit]] = {
    "ridge": _ridge,
    "lasso": _lasso,
    "forest": _forest,
}


def chance(r2: float, near: np.ndarray, pieces: int) -> float:
    """How likely pieces without any influence would explain as much: the p-value of an F test.

    Parameters
    ----------
    r2 : float
        Of a regression on all pieces.
    near : numpy.ndarray
        float64 ``(n,)``, see :func:`closeness`: samples that count little are few.
    pieces : int

    Returns
    -------
    float
        1 where there are not more samples than pieces.
    """
    left = near.sum() ** 2 / (near**2).sum() - pieces - 1
    if left <= 0 or r2 <= 0:
        return 1.0
    return float(f.sf(r2 / pieces / (max(1 - r2, 1e-12) / left), pieces, left))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, of two lists of numbers; 0 where one of them is all the same."""
    x, y = rankdata(a), rankdata(b)
    if x.std() == 0 or y.std() == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])
