"""What a network has to beat: the last value, the last season, the drift, and a linear model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convscope.data.timeline import Step
from convscope.errors import InputError

# Seconds -> steps of the season that people live by; a calendar month is a step of its own kind.
_HOUR, _DAY, _WEEK = 3600, 86_400, 604_800
# Windows that are multiplied at a time.
_CHUNK = 4096


def season_of(step: Step) -> int:
    """The season that steps of this kind usually have, 1 for none.

    A day of hours or less, a week of days, a year of weeks, months or quarters.
    """
    if step.unit == "month":
        return 12 // step.count if step.count < 12 and 12 % step.count == 0 else 1
    if step.unit == "row":
        return 1
    if step.count == _WEEK:
        return 52
    for span in (_DAY, _WEEK):
        if step.count < span and span % step.count == 0:
            return span // step.count
    return 1


def naive(context: np.ndarray, horizon: int) -> np.ndarray:
    """The last measured value, again and again.

    Parameters
    ----------
    context : numpy.ndarray
        ``(n, length)``, NaN where nothing was measured.
    horizon : int

    Returns
    -------
    numpy.ndarray
        float64 ``(n, horizon)``; NaN of a context without a value.
    """
    return np.repeat(_last(context)[:, None], horizon, 1)


def seasonal_naive(context: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """The last measured value of the same place in the season; see :func:`naive`.

    Where a place was never measured, or the context is shorter than a season, the last value.
    """
    length = context.shape[1]
    found = naive(context, horizon)
    for ahead in range(horizon):
        # The steps of the context that lie whole seasons before the one that is forecast.
        first = (length + ahead) % season
        places = context[:, first::season] if season <= length else context[:, :0]
        if places.shape[1]:
            same = _last(places)
            found[:, ahead] = np.where(np.isfinite(same), same, found[:, ahead])
    return found


def drift(context: np.ndarray, horizon: int) -> np.ndarray:
    """The line from the first to the last measured value, continued; see :func:`naive`."""
    known = np.isfinite(context)
    length = context.shape[1]
    last_at = length - 1 - known[:, ::-1].argmax(1)
    first_at = known.argmax(1)
    rows = np.arange(len(context))
    first, last = context[rows, first_at], context[rows, last_at]
    apart = np.maximum(last_at - first_at, 1)
    slope = np.where(last_at > first_at, (last - first) / apart, 0.0)
    steps = (length - 1 - last_at)[:, None] + np.arange(1, horizon + 1)
    return np.asarray(last[:, None] + slope[:, None] * steps)


class LinearForecaster:
    """One linear map from a window to all steps ahead, by least squares.

    The window's last value is taken off before and put back after (NLinear, Zeng et al. 2023,
    arXiv 2205.13504). DLinear's moving average is linear too, so that both are this map; here it is
    solved for instead of being trained.

    Parameters
    ----------
    look_back : int
        Steps of the window.
    horizon : int
    ridge : float
        Penalty, as a share of the windows' mean square.
    """

    def __init__(self, look_back: int, horizon: int, *, ridge: float = 1e-3) -> None:
        if look_back < 1 or horizon < 1:
            raise InputError(f"look_back={look_back}, horizon={horizon}: 1 or more of both.")
        self.look_back, self.horizon, self.ridge = look_back, horizon, ridge
        self.weight: np.ndarray = np.zeros((look_back, horizon))
        self.bias: np.ndarray = np.zeros(horizon)

    def fit(self, series: Sequence[np.ndarray]) -> LinearForecaster:
        """Learn from all windows of some series that are measured throughout.

        Parameters
        ----------
        series : sequence of numpy.ndarray
            Each ``(n,)``, NaN where nothing was measured.

        Raises
        ------
        InputError
            No window is measured throughout.
        """
        width = self.look_back + self.horizon
        inner = np.zeros((self.look_back + 1, self.look_back + 1))
        outer = np.zeros((self.look_back + 1, self.horizon))
        count = 0
        for values in series:
            if len(values) < width:
                continue
            windows = np.lib.stride_tricks.sliding_window_view(values, width)
            for first in range(0, len(windows), _CHUNK):
                some = windows[first : first + _CHUNK]
                some = some[np.isfinite(some).all(1)]
                last = some[:, self.look_back - 1 : self.look_back]
                x = np.concatenate([some[:, : self.look_back] - last, np.ones_like(last)], 1)
                inner += x.T @ x
                outer += x.T @ (some[:, self.look_back :] - last)
                count += len(some)
        if not count:
            raise InputError(
                f"No {width} steps in a row are measured: nothing to fit a linear model to."
            )
        penalty = self.ridge * np.trace(inner[:-1, :-1]) / self.look_back
        inner[np.arange(self.look_back), np.arange(self.look_back)] += max(penalty, 1e-12)
        solved = np.linalg.solve(inner, outer)
        self.weight, self.bias = np.asarray(solved[:-1]), np.asarray(solved[-1])
        return self

    def predict(self, context: np.ndarray) -> np.ndarray:
        """Contexts ``(n, look_back or more)`` to ``(n, horizon)``.

        A value that was not measured counts as the last one before it.
        """
        window = _filled(context[:, -self.look_back :])
        last = window[:, -1:]
        return np.asarray((window - last) @ self.weight + self.bias + last)


def _last(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    at = values.shape[1] - 1 - known[:, ::-1].argmax(1)
    return np.where(known.any(1), values[np.arange(len(values)), at], np.nan)


def _filled(values: np.ndarray) -> np.ndarray:
    """Each value that is missing by the last before it, or the first after."""
    known = np.isfinite(values)
    if known.all():
        return values
    places = np.arange(values.shape[1])
    before = np.maximum.accumulate(np.where(known, places, -1), axis=1)
    after = np.minimum.accumulate(np.where(known, places, len(places))[:, ::-1], axis=1)[:, ::-1]
    at = np.where(before >= 0, before, np.minimum(after, len(places) - 1))
    return np.take_along_axis(values, at, 1)
