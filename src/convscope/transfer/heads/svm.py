"""Support vector machines, one per class against all others, on shared inner products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from sklearn.svm import SVC

from convscope.transfer.heads.linear import folded_state
from convscope.transfer.heads.parts import ROOT, Part, Settings, State, Trained

LINEAR_GRID: tuple[Settings, ...] = tuple({"C": c} for c in (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1))
LINEAR_DEFAULT: Settings = {"C": 3e-3}
# gamma is gamma_of_one / features: 1 / features is what scikit-learn calls "scale".
RBF_GRID: tuple[Settings, ...] = tuple(
    {"C": c, "gamma_times_features": gamma} for gamma in (0.1, 0.3, 1.0) for c in (1.0, 3.0, 10.0)
)
RBF_DEFAULT: Settings = {"C": 3.0, "gamma_times_features": 0.3}
# Time and memory grow with the square of the photos: beyond this a sample of them is enough.
MOST_PHOTOS = 6000
_CACHE_MIB = 500


def linear_path(part: Part, grid: Sequence[Settings], seed: int) -> Iterator[Trained]:
    """Linear support vector machines with hinge loss, on standardised features.

    Parameters
    ----------
    part : Part
    grid : sequence of mapping
        Each with ``C``.
    seed : int
        For the sample, where there are more than ``MOST_PHOTOS``.
    """
    part = part.sample(MOST_PHOTOS, seed)
    for settings in grid:
        dual, bias = _machines(part.products, part, settings["C"])
        weight = dual @ part.x.astype(np.float64)
        logits = part.x_held @ weight.T + bias
        yield Trained(logits, partial(folded_state, part.scaler, weight, bias))


def rbf_path(part: Part, grid: Sequence[Settings], seed: int) -> Iterator[Trained]:
    """Support vector machines with the kernel exp(-gamma distance²), on rooted features.

    The square root of each feature, with its sign, standardised.

    Parameters
    ----------
    part : Part
    grid : sequence of mapping
        Each with ``C`` and ``gamma_times_features``.
    seed : int
        For the sample, where there are more than ``MOST_PHOTOS``.
    """
    part = part.sample(MOST_PHOTOS, seed).rooted()
    among, to_held = part.squared
    last = None
    for settings in grid:
        gamma = settings["gamma_times_features"] / part.x.shape[1]
        if gamma != last:
            kernel, kernel_held, last = np.exp(-gamma * among), np.exp(-gamma * to_held), gamma
        dual, bias = _machines(kernel, part, settings["C"])
        logits = kernel_held @ dual.T + bias
        yield Trained(logits, partial(_rbf_state, part, gamma, dual, bias))


def _machines(kernel: np.ndarray, part: Part, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Dual coefficients, float64 ``(classes, n)``, and intercepts ``(classes,)``."""
    dual = np.zeros((part.classes, len(part.labels)))
    bias = np.zeros(part.classes)
    two = part.classes == 2
    for number in range(1 if two else 0, part.classes):
        machine = SVC(C=strength, kernel="precomputed", cache_size=_CACHE_MIB)
        machine.fit(kernel, part.labels == number)
        dual[number, machine.support_] = machine.dual_coef_[0]
        bias[number] = machine.intercept_[0]
    if two:
        # One machine tells two classes apart; half of it each way is the same.
        dual, bias = np.stack([-dual[1], dual[1]]) / 2, np.array([-bias[1], bias[1]]) / 2
    return dual, bias


def _rbf_state(part: Part, gamma: float, dual: np.ndarray, bias: np.ndarray) -> State:
    used = np.flatnonzero(dual.any(axis=0))
    return State(
        config={
            "features": part.x.shape[1],
            "classes": part.classes,
            "vectors": len(used),
            "power": ROOT,
        },
        arrays={
            "mean": np.asarray(part.scaler.mean_, np.float32),
            "scale": np.asarray(part.scaler.scale_, np.float32),
            "vectors": part.x[used],
            "coefficients": dual[:, used].astype(np.float32),
            "intercepts": bias.astype(np.float32),
            "gamma": np.array(gamma, np.float32),
        },
    )
