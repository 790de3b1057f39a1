"""The logistic regression on standardised features, folded into one linear layer."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from convscope.transfer.heads.parts import Part, Settings, State, Trained

# Inverse strengths of the penalty, strongest penalty first; three a decade.
STRENGTHS = tuple(float(f"{10 ** (power / 3):.2g}") for power in range(-12, 4))
# Tried without validation photos to choose by.
DEFAULT_STRENGTH = 0.01
# Past the best, validation loss rises: this many rises end the search.
_WORSE = 3
_ITERATIONS = 2000
GRID: tuple[Settings, ...] = tuple({"C": strength} for strength in STRENGTHS)
DEFAULT: Settings = {"C": DEFAULT_STRENGTH}


@dataclass(frozen=True)
class Candidate:
    """One strength that was tried."""

    C: float
    valid_log_loss: float
    valid_accuracy: float


@dataclass(frozen=True)
class LinearHead:
    """Features to logits; the standardisation is folded into the weights.

    Attributes
    ----------
    weight : numpy.ndarray
        float32 ``(classes, features)``.
    bias : numpy.ndarray
        float32 ``(classes,)``.
    C : float
        Inverse strength of the L2 penalty, as in scikit-learn.
    candidates : tuple of Candidate
        All strengths that were tried.
    """

    weight: np.ndarray
    bias: np.ndarray
    C: float
    candidates: tuple[Candidate, ...]

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Features ``(n, features)`` to float32 ``(n, classes)``."""
        return np.asarray(features @ self.weight.T + self.bias, np.float32)


def fit_linear_head(
    train: np.ndarray,
    train_labels: np.ndarray,
    valid: np.ndarray,
    valid_labels: np.ndarray,
    num_classes: int,
) -> LinearHead:
    """Logistic regression on standardised features; strength by log loss on validation.

    Parameters
    ----------
    train, valid : numpy.ndarray
        float32 ``(n, features)``; ``valid`` may be empty.
    train_labels, valid_labels : numpy.ndarray
        int ``(n,)``, 0..num_classes - 1; every class is among the training labels.
    num_classes : int
    """
    scaler = StandardScaler().fit(train)
    x = scaler.transform(train)
    # From weak to strong, each start where the last ended: much faster than afresh.
    model = LogisticRegression(max_iter=_ITERATIONS, warm_start=True)
    if not len(valid):
        _fit(model, DEFAULT_STRENGTH, x, train_labels)
        return _folded(model, scaler, DEFAULT_STRENGTH, ())
    x_valid = scaler.transform(valid)
    candidates: list[Candidate] = []
    heads: list[LinearHead] = []
    for strength in STRENGTHS:
        _fit(model, strength, x, train_labels)
        probabilities = model.predict_proba(x_valid)
        loss = float(log_loss(valid_labels, probabilities, labels=range(num_classes)))
        accuracy = float((probabilities.argmax(axis=1) == valid_labels).mean())
        candidates.append(Candidate(strength, loss, accuracy))
        heads.append(_folded(model, scaler, strength, tuple(candidates)))
        best = _best(candidates)
        if len(candidates) - 1 - best >= _WORSE:
            break
    return replace(heads[best], candidates=tuple(candidates))


def _best(candidates: Sequence[Candidate]) -> int:
    """The first, so the most penalised, of least loss."""
    return min(range(len(candidates)), key=lambda i: candidates[i].valid_log_loss)


def _folded(
    model: LogisticRegression,
    scaler: StandardScaler,
    strength: float,
    candidates: tuple[Candidate, ...],
) -> LinearHead:
    weight, bias = _fold(scaler, *_both_ways(model.coef_, model.intercept_))
    return LinearHead(weight, bias, C=strength, candidates=candidates)


def _both_ways(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn keeps a single row for two classes; half of it each way is the same."""
    if len(weight) > 1:
        return weight, bias
    return np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2


def _fold(
    scaler: StandardScaler, weight: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights for standardised features to float32 weights for the features as they are."""
    folded = weight / scaler.scale_
    return folded.astype(np.float32), (bias - folded @ scaler.mean_).astype(np.float32)


def folded_state(scaler: StandardScaler, weight: np.ndarray, bias: np.ndarray) -> State:
    """A linear layer that takes the features as they are.

    Parameters
    ----------
    scaler : StandardScaler
        That has given the features for which the weights are.
    weight : numpy.ndarray
        float ``(classes, features)``.
    bias : numpy.ndarray
        float ``(classes,)``.
    """
    folded, shifted = _fold(scaler, weight, bias)
    classes, features = folded.shape
    return State({"features": features, "classes": classes}, {"weight": folded, "bias": shifted})


def logistic_path(part: Part, grid: Sequence[Settings], seed: int) -> Iterator[Trained]:
    """Logistic regressions, each starting where the last has ended.

    Parameters
    ----------
    part : Part
    grid : sequence of mapping
        Each with ``C``, the strongest penalty first.
    seed : int
        Not used: nothing here is random.
    """
    x, back = part.compact
    model = LogisticRegression(max_iter=_ITERATIONS, warm_start=True)
    for settings in grid:
        _fit(model, settings["C"], x, part.labels)
        weight, bias = _both_ways(model.coef_, model.intercept_)
        weight = weight if back is None else weight @ back.T
        logits = part.x_held @ weight.T + bias
        yield Trained(logits, partial(folded_state, part.scaler, weight, bias))


def _fit(model: LogisticRegression, strength: float, x: np.ndarray, labels: np.ndarray) -> None:
    model.set_params(C=strength)
    with warnings.catch_warnings():
        # A weak penalty on separable data has no optimum near by; validation judges the result.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, labels)
