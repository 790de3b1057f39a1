"""Probabilities that mean what they say: temperature scaling (Guo et al. 2017)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

_LOWEST, _HIGHEST = 0.05, 20.0


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The number that logits are divided by for the smallest log loss.

    A weak prior (log temperature normal around 0, standard deviation 1, which weighs like part of
    one photo) keeps it finite where every photo is named rightly.

    Parameters
    ----------
    logits : numpy.ndarray
        float ``(n, classes)`` of photos that were not trained on; none gives 1.
    labels : numpy.ndarray
        int ``(n,)``.
    """
    if not len(logits):
        return 1.0
    rows = np.arange(len(logits))
    exact = logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        of_label = log_softmax(exact / np.exp(log_temperature), axis=1)[rows, labels]
        return float(-of_label.sum() + 0.5 * log_temperature**2)

    bounds = (np.log(_LOWEST), np.log(_HIGHEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def log_losses(logits: np.ndarray, labels: np.ndarray, temperature: float) -> np.ndarray:
    """Log loss of each photo, float64 ``(n,)``, of logits ``(n, classes)`` divided by a number."""
    exact = np.asarray(logits, np.float64) / temperature
    losses: np.ndarray = -log_softmax(exact, axis=1)[np.arange(len(labels)), labels]
    return losses


def calibrated_log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean log loss after division by the best temperature, as every run's probabilities are made.

    How sure the logits sound, which training overdoes, is so no reason against them. Infinite where
    a logit is no number.

    Parameters
    ----------
    logits : numpy.ndarray
        float ``(n, classes)``, n at least 1.
    labels : numpy.ndarray
        int ``(n,)``.
    """
    if not np.isfinite(logits).all():
        return float("inf")
    return float(log_losses(logits, labels, fit_temperature(logits, labels)).mean())


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Logits ``(n, classes)`` to float32 probabilities; rows sum to 1."""
    return softmax(logits.astype(np.float64) / temperature, axis=1).astype(np.float32)
