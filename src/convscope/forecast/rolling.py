"""The next steps: at once as far as the network says them, then on top of what it has said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope.data.series import Series
from convscope.data.timeline import Step, stamps_after
from convscope.errors import InputError
from convscope.forecast.model import Model

COVERAGES = (0.8, 0.95)
# Ways that things may go, drawn for each series beyond the horizon.
_PATHS = 200
# Windows that are carried along at a time.
_MOST_WINDOWS = 2048


@dataclass(frozen=True, eq=False)
class Forecast:
    """What comes next of one series.

    Attributes
    ----------
    name : str
    stamps : numpy.ndarray
        datetime64[s] ``(steps,)``, or int64 where the table has no time.
    values : numpy.ndarray
        float64 ``(steps,)``.
    bounds : dict of float to tuple of numpy.ndarray
        Coverage -> lower and upper bound, float64 ``(steps,)`` each.
    """

    name: str
    stamps: np.ndarray
    values: np.ndarray
    bounds: dict[float, tuple[np.ndarray, np.ndarray]]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each step: series, time, forecast, and both bounds of each coverage."""
        found = []
        for place, stamp in enumerate(time_texts(self.stamps)):
            row: dict[str, Any] = {
                "series": self.name, "time": stamp, "step": place + 1,
                "forecast": float(self.values[place]),
            }  # fmt: skip
            for coverage, (low, high) in self.bounds.items():
                row[f"low_{100 * coverage:g}"] = float(low[place])
                row[f"high_{100 * coverage:g}"] = float(high[place])
            found.append(row)
        return found


def time_texts(stamps: np.ndarray) -> list[str] | list[int]:
    """Time stamps as tables have them, dates alone where all are midnight; or numbers of steps."""
    if stamps.dtype.kind != "M":
        return [int(stamp) for stamp in stamps]
    days = stamps.astype("datetime64[D]")
    if (days == stamps).all():
        return [str(day) for day in days]
    return [str(stamp).replace("T", " ") for stamp in stamps]


def next_steps(
    model: Model,
    series: Sequence[Series],
    step: Step,
    steps: int,
    *,
    known: Sequence[np.ndarray] | None = None,
    coverages: Sequence[float] = COVERAGES,
    seed: int = 0,
) -> list[Forecast]:
    """Forecast the steps that follow the end of each series.

    Beyond the horizon, forecasts stand on forecasts: what was said is taken as measured, the past
    columns as unknown. Intervals there are as wide as the asked share of paths that were drawn with
    the errors of the validation windows added at each turn, and no narrower than at the horizon.

    Parameters
    ----------
    model : Model
    series : sequence of Series
        The newest value last.
    step : Step
    steps : int
        1 or more.
    known : sequence of numpy.ndarray, optional
        Of each series what is known ahead, ``(steps, columns)``; default nothing.
    coverages : sequence of float
        Of the intervals; none for none.
    seed : int
        Of the paths.

    Raises
    ------
    InputError
        A series has no value in its newest window.
    """
    if steps < 1:
        raise InputError(f"steps={steps}: a forecast is 1 step ahead or more.")
    for one in series:
        newest = one.target[-(model.look_back + 1) :]
        if not np.isfinite(newest).any():
            raise InputError(
                f"Series {one.name} has no number in its newest {len(newest)} steps: there is "
                "nothing to forecast from."
            )
    turns = -(-steps // model.horizon)
    ahead = _ahead(model, series, known, turns * model.horizon)
    context = model.context(series)
    raw, rolled = _roll(model, context, ahead, turns)
    moments = np.array([model.moments(one) for one in series])[:, :, None]
    bounds: dict[float, tuple[np.ndarray, np.ndarray]] = {}
    if coverages:
        sampled = _paths(model, context, ahead, turns, seed) if turns > 1 else None
        for coverage in coverages:
            low, high = model.conformal.bounds(raw, coverage)
            if sampled is not None:
                levels = [(1 - coverage) / 2, (1 + coverage) / 2]
                around = sampled - np.median(sampled, axis=1, keepdims=True)
                off = np.quantile(around[:, :, model.horizon :], levels, axis=1)
                # No narrower than at the horizon.
                last = rolled[:, model.horizon - 1 : model.horizon]
                ends = (
                    np.minimum(off[0], low[:, -1:] - last),
                    np.maximum(off[1], high[:, -1:] - last),
                )
                low, high = (
                    np.concatenate([own, rolled[:, model.horizon :] + end], 1)
                    for own, end in zip((low, high), ends, strict=True)
                )
            bounds[coverage] = (low, high)
    mean, spread = moments[:, 0], moments[:, 1]
    return [
        Forecast(
            one.name,
            _stamps(one, step, steps),
            (rolled[number] * spread[number] + mean[number])[:steps],
            {
                coverage: (
                    (low[number] * spread[number] + mean[number])[:steps],
                    (high[number] * spread[number] + mean[number])[:steps],
                )
                for coverage, (low, high) in bounds.items()
            },
        )
        for number, one in enumerate(series)
    ]


def _stamps(one: Series, step: Step, steps: int) -> np.ndarray:
    if step.unit == "row":
        return np.arange(steps) + int(one.stamps[-1]) + 1
    return stamps_after(one.stamps[-1], step, steps, _first_day(one))


def _first_day(one: Series) -> int:
    """The day of the month that monthly stamps fall on: the latest of the newest."""
    days = one.stamps[-12:].astype("datetime64[D]")
    return int(((days - days.astype("datetime64[M]")).astype(int) + 1).max())


def _ahead(
    model: Model, series: Sequence[Series], known: Sequence[np.ndarray] | None, steps: int
) -> Tensor:
    """float32 ``(series, columns, steps)``; what is not known is the column's mean."""
    columns = len(model.scaling.known)
    table = np.full((len(series), steps, columns), np.nan)
    for number, values in enumerate(known or ()):
        table[number, : min(steps, len(values))] = values[:steps]
    return model.ahead(table)


def _roll(
    model: Model, context: Tensor, ahead: Tensor, turns: int
) -> tuple[np.ndarray, np.ndarray]:
    """The network's outputs of the first turn, and the forecasts of all, scaled."""
    horizon = model.horizon
    first = raw = model.raw(context, ahead[:, :, :horizon])
    found = []
    for turn in range(turns):
        now = ahead[:, :, turn * horizon : (turn + 1) * horizon]
        if turn:
            raw = model.raw(context, now)
        said = model.net.outputs.middle(torch.from_numpy(raw))
        found.append(said.numpy())
        context = _moved_on(context, said, now)
    return first, np.concatenate(found, 1)


def _paths(model: Model, context: Tensor, ahead: Tensor, turns: int, seed: int) -> np.ndarray:
    """Ways that things may go: ``(series, paths, steps)``, scaled."""
    drawn = np.random.default_rng(seed)
    errors = np.nan_to_num(model.conformal.errors)
    at_once = max(1, _MOST_WINDOWS // _PATHS)
    found = []
    for first in range(0, len(context), at_once):
        some = context[first : first + at_once].repeat_interleave(_PATHS, 0)
        known = ahead[first : first + at_once].repeat_interleave(_PATHS, 0)
        steps = []
        for turn in range(turns):
            now = known[:, :, turn * model.horizon : (turn + 1) * model.horizon]
            said = model.net.outputs.middle(torch.from_numpy(model.raw(some, now)))
            said = said + torch.from_numpy(errors[drawn.integers(len(errors), size=len(some))])
            steps.append(said.numpy())
            some = _moved_on(some, said, now)
        found.append(np.concatenate(steps, 1).reshape(-1, _PATHS, turns * model.horizon))
    return np.concatenate(found)


def _moved_on(context: Tensor, said: Tensor, known: Tensor) -> Tensor:
    """The context a horizon later, what was said taken as measured."""
    n, channels, length = context.shape
    new = context.new_zeros((n, channels, said.shape[1]))
    new[:, 0], new[:, 1] = said, 1
    new[:, channels - known.shape[1] :] = known
    return torch.cat([context, new], 2)[:, :, -length:]
