"""How far forecasts are off, step by step ahead; steps that were not measured do not count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from convscope.errors import InputError


@dataclass(frozen=True, eq=False)
class Errors:
    """Errors at each step ahead, and over all of them.

    Attributes
    ----------
    counts : numpy.ndarray
        int ``(horizon,)``: values that were compared.
    mae, mse, smape : numpy.ndarray
        float64 ``(horizon,)``; sMAPE in percent, 0 to 200 (Makridakis et al. 2020). NaN where
        nothing was compared.
    mase : numpy.ndarray or None
        Absolute errors in units of the seasonal naive's on the training rows (Hyndman & Koehler
        2006); None where that is 0 or not known.
    """

    counts: np.ndarray
    mae: np.ndarray
    mse: np.ndarray
    smape: np.ndarray
    mase: np.ndarray | None

    def overall(self) -> dict[str, float | None]:
        """Each over all steps, every compared value counting once."""
        found: dict[str, float | None] = {
            "mae": self._mean(self.mae), "mse": self._mean(self.mse),
            "smape": self._mean(self.smape),
            "mase": None if self.mase is None else self._mean(self.mase),
        }  # fmt: skip
        mse = found["mse"]
        return {**found, "rmse": None if mse is None else float(np.sqrt(mse))}

    def _mean(self, values: np.ndarray) -> float | None:
        some = self.counts > 0
        if not some.any():
            return None
        return float(np.average(values[some], weights=self.counts[some]))

    def to_dict(self) -> dict[str, Any]:
        """JSON values: all steps together, and each."""
        by_step = {
            name: [None if np.isnan(value) else round(float(value), 6) for value in values]
            for name, values in (
                ("mae", self.mae), ("mse", self.mse), ("smape", self.smape), ("mase", self.mase),
            )
            if values is not None
        }  # fmt: skip
        return {**self.overall(), "by_step": by_step}


def errors_of(forecasts: np.ndarray, truths: np.ndarray, scale: np.ndarray | None = None) -> Errors:
    """Compare forecasts with what came.

    Parameters
    ----------
    forecasts, truths : numpy.ndarray
        ``(n, horizon)``; a truth that is NaN does not count.
    scale : numpy.ndarray, optional
        ``(n,)``, or one number: what an absolute error is divided by for MASE; see
        :func:`naive_scale`. Rows where it is 0 or NaN leave no MASE.

    Raises
    ------
    InputError
        Shapes differ, or a forecast is NaN where a truth is known.
    """
    if forecasts.shape != truths.shape or forecasts.ndim != 2:
        raise InputError(f"Forecasts of {forecasts.shape} and truths of {truths.shape} differ.")
    known = np.isfinite(truths)
    if not np.isfinite(forecasts[known]).all():
        raise InputError("A forecast is NaN or infinite where the truth is known.")
    off = np.where(known, np.abs(np.where(known, forecasts - np.nan_to_num(truths), 0)), np.nan)
    size = np.abs(forecasts) + np.abs(truths)
    relative = np.where(size > 0, 200 * off / np.where(size > 0, size, 1), 0 * off)
    mase = None
    if scale is not None:
        unit = np.broadcast_to(np.asarray(scale, float), len(truths))[:, None]
        if (np.isfinite(unit) & (unit > 0)).all():
            mase = _by_step(off / unit)
    return Errors(known.sum(0), _by_step(off), _by_step(off**2), _by_step(relative), mase)


def naive_scale(training: np.ndarray, season: int) -> float:
    """The mean absolute error of the seasonal naive on training rows; NaN where there is none.

    Parameters
    ----------
    training : numpy.ndarray
        ``(n,)``, NaN where nothing was measured.
    season : int
        Steps; 1 is the naive itself.
    """
    if len(training) <= season:
        return float("nan")
    off = np.abs(training[season:] - training[:-season])
    return float(np.nanmean(off)) if np.isfinite(off).any() else float("nan")


def pinball(forecasts: Mapping[float, np.ndarray], truths: np.ndarray) -> dict[float, float]:
    """The quantile loss of each level (Koenker & Bassett 1978), mean over what is known.

    Parameters
    ----------
    forecasts : mapping of float to numpy.ndarray
        Level, 0 to 1 -> ``(n, horizon)``.
    truths : numpy.ndarray
        ``(n, horizon)``.
    """
    known = np.isfinite(truths)
    return {
        level: float(np.maximum(level * off, (level - 1) * off).mean())
        for level, off in (
            (level, truths[known] - values[known]) for level, values in forecasts.items()
        )
    }


def coverage(low: np.ndarray, high: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """The share of what came that lies between two bounds, at each step: float64 ``(horizon,)``.

    All arguments ``(n, horizon)``; NaN where nothing is known.
    """
    within = (low <= truths) & (truths <= high)
    return _by_step(np.where(np.isfinite(truths), within.astype(float), np.nan))


def _by_step(values: np.ndarray) -> np.ndarray:
    counts = np.isfinite(values).sum(0)
    sums = np.nansum(values, axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
