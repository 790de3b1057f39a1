"""How good forecasts are on rows that were not learned from, beside what they have to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from convscope.data.series import Series
from convscope.errors import InputError
from convscope.forecast.baselines import LinearForecaster, drift, naive, seasonal_naive
from convscope.forecast.conformal import pairs_of
from convscope.forecast.measures import Errors, coverage, errors_of, naive_scale, pinball
from convscope.forecast.model import Model
from convscope.forecast.rolling import COVERAGES
from convscope.forecast.windows import Windows, rows_of

# Forecast values that are compared at most; of longer series every second, third, ... window.
_MOST = 2_000_000
_AT_ONCE = 1024
_DRAWS = 1000
# Stretches below which an interval says little.
_ENOUGH = 10
# A linear model reads no more than this.
_MOST_LINEAR = 1024


@dataclass(frozen=True, eq=False)
class Answers:
    """Forecasts of some windows, and what came.

    Attributes
    ----------
    truths : numpy.ndarray
        ``(n, horizon)``, NaN where nothing was measured.
    forecasts : dict of str to numpy.ndarray
        ``model`` and the baselines -> ``(n, horizon)``.
    bounds : dict of float to tuple of numpy.ndarray
        Of the model.
    quantiles : dict of float to numpy.ndarray
        That the network says itself.
    scale : numpy.ndarray
        ``(n,)``: the seasonal naive's error on the training rows, of the window's series.
    spread : numpy.ndarray
        ``(n,)``: of the window's series.
    series, firsts : numpy.ndarray
        int ``(n,)``: the window's series, and the row of its first truth.
    """

    truths: np.ndarray
    forecasts: dict[str, np.ndarray]
    bounds: dict[float, tuple[np.ndarray, np.ndarray]]
    quantiles: dict[float, np.ndarray]
    scale: np.ndarray
    spread: np.ndarray
    series: np.ndarray
    firsts: np.ndarray

    def __len__(self) -> int:
        return len(self.truths)


@dataclass(frozen=True)
class Verdict:
    """Whether a network beats the best of the baselines.

    Attributes
    ----------
    best : str
        The baseline with the least absolute error, in spreads of each series.
    gain : float
        By how much the network's error is less, as a share of it.
    interval : tuple of float
        95 %, from drawing whole stretches of a horizon's length again.
    stretches : int
        Of a series each, that were drawn.
    """

    best: str
    gain: float
    interval: tuple[float, float]
    stretches: int

    @property
    def beats(self) -> bool:
        """Beyond chance."""
        return self.interval[0] > 0

    def words(self) -> str:
        """One sentence."""
        name = NAMES[self.best]
        less = self.gain >= 0
        # The interval in the same direction as the figure before it.
        low, high = self.interval if less else (-self.interval[1], -self.interval[0])
        differs = (
            f"{100 * abs(self.gain):.1f} % {'less' if less else 'larger'} "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
        )
        few = ""
        if self.stretches < _ENOUGH:
            few = f" These are {self.stretches} stretches of a horizon's length: few to say it by."
        if self.beats:
            return f"The network beats {name}: its error is {differs}.{few}"
        if self.interval[1] < 0:
            return f"The network does not beat {name}: its error is {differs}. Use {name}.{few}"
        return (
            f"The network does not beat {name} beyond chance: its error is {differs}. "
            f"{name[0].upper()}{name[1:]} is simpler.{few}"
        )


NAMES: Mapping[str, str] = {
    "model": "the network", "naive": "the last value", "seasonal_naive": "the last season",
    "drift": "the drift", "linear": "the linear model",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Judged:
    """How good a network and the baselines are.

    Attributes
    ----------
    errors : dict of str to Errors
        In the series' own unit.
    scaled : dict of str to dict
        MSE and MAE with each series divided by its spread.
    coverage : dict of float to numpy.ndarray
        Of the intervals, by step.
    pinball : dict of float to float
    windows : int
    verdict : Verdict
    """

    errors: dict[str, Errors]
    scaled: dict[str, dict[str, float | None]]
    coverage: dict[float, np.ndarray]
    pinball: dict[float, float]
    windows: int
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        methods = {
            name: {**errors.to_dict(), **self.scaled[name]} for name, errors in self.errors.items()
        }
        covered = {
            f"coverage_{100 * level:g}": _rounded(np.nanmean(values))
            for level, values in self.coverage.items()
        }
        return {
            "windows": self.windows,
            "model": methods.pop("model"),
            "baselines": methods,
            **covered,
            "coverage_by_step": {
                f"{100 * level:g}": [_rounded(value) for value in values]
                for level, values in self.coverage.items()
            },
            "pinball": {str(level): _rounded(value) for level, value in self.pinball.items()},
            "verdict": {
                "beats_baselines": self.verdict.beats, "best_baseline": self.verdict.best,
                "gain": _rounded(self.verdict.gain),
                "gain_95": [_rounded(value) for value in self.verdict.interval],
                "text": self.verdict.words(),
            },
        }  # fmt: skip


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def fit_linear(
    model: Model, series: Sequence[Series], rows: Sequence[slice]
) -> LinearForecaster | None:
    """The linear baseline, of training rows; None where no window is measured throughout."""
    longest = max(rows[number].stop - rows[number].start for number in range(len(rows)))
    reads = min(model.look_back + 1, _MOST_LINEAR, max(1, longest - model.horizon))
    learned = []
    for one, part in zip(series, rows, strict=True):
        mean, spread = model.moments(one)
        learned.append((one.target[part] - mean) / spread)
    try:
        return LinearForecaster(reads, model.horizon).fit(learned)
    except InputError:
        return None


def answers_of(
    model: Model,
    series: Sequence[Series],
    rows: Sequence[slice],
    train: Sequence[slice],
    season: int,
) -> Answers:
    """Forecast all windows whose truths lie in some rows.

    Parameters
    ----------
    model : Model
    series : sequence of Series
    rows : sequence of slice
        Of each series, that are forecast.
    train : sequence of slice
        That were learned from.
    season : int
    """
    count = sum(
        max(0, part.indices(len(one))[1] - part.indices(len(one))[0] - model.horizon + 1)
        for one, part in zip(series, rows, strict=True)
    )
    windows = Windows(
        series,
        model.scaling,
        model.look_back,
        model.horizon,
        rows,
        stride=max(1, -(-count * model.horizon // _MOST)),
    )
    linear = fit_linear(model, series, train)
    reach = max(model.look_back + 1, season)
    histories = [np.concatenate([np.full(reach, np.nan), one.target]) for one in series]
    parts: list[Answers] = []
    scales = np.array([
        naive_scale(one.target[part], season)
        for one, part in zip(series, rows_of(series, train), strict=True)
    ])  # fmt: skip
    for first in range(0, len(windows), _AT_ONCE):
        chosen = np.arange(first, min(first + _AT_ONCE, len(windows)))
        batch = windows.batch(chosen)
        number, start = windows.series[chosen], windows.firsts[chosen]
        mean, spread = model.scaling.target[number].T[:, :, None]
        raw = model.raw(batch.context, batch.ahead)
        outputs = model.net.outputs
        tensor = torch.from_numpy(raw)
        # The rows before a window's first truth, as they were measured.
        context = np.stack([
            histories[n][at : at + reach] for n, at in zip(number, start, strict=True)
        ])  # fmt: skip
        said = {
            "model": outputs.middle(tensor).numpy() * spread + mean,
            "naive": naive(context, model.horizon),
            "seasonal_naive": seasonal_naive(context, model.horizon, season),
            "drift": drift(context[:, -(model.look_back + 1) :], model.horizon),
        }
        if linear is not None:
            said["linear"] = linear.predict((context - mean) / spread) * spread + mean
        parts.append(
            Answers(
                batch.truth.numpy() * spread + mean,
                said,
                {
                    level: (low * spread + mean, high * spread + mean)
                    for level in COVERAGES
                    for low, high in [model.conformal.bounds(raw, level)]
                },
                {
                    level: outputs.quantile(tensor, level).numpy() * spread + mean
                    for pair in pairs_of(outputs)
                    for level in (*pair, 0.5)
                },
                scales[number],
                spread[:, 0],
                number,
                start,
            )
        )
    return joined(parts)


def joined(parts: Sequence[Answers]) -> Answers:
    """The answers of several rounds as one."""
    first = parts[0]
    names = [name for name in first.forecasts if all(name in one.forecasts for one in parts)]
    return Answers(
        np.concatenate([one.truths for one in parts]),
        {name: np.concatenate([one.forecasts[name] for one in parts]) for name in names},
        {
            level: (
                np.concatenate([one.bounds[level][0] for one in parts]),
                np.concatenate([one.bounds[level][1] for one in parts]),
            )
            for level in first.bounds
        },
        {level: np.concatenate([p.quantiles[level] for p in parts]) for level in first.quantiles},
        *(
            np.concatenate([getattr(one, name) for one in parts])
            for name in ("scale", "spread", "series", "firsts")
        ),
    )


def judge(answers: Answers, seed: int = 0) -> Judged:
    """Compare forecasts with what came.

    Raises
    ------
    InputError
        Nothing was measured in these rows.
    """
    if not np.isfinite(answers.truths).any():
        raise InputError("Nothing was measured in the rows to test on.")
    # A window whose context holds no value leaves the naive without an answer: nobody is compared.
    said = np.all([np.isfinite(one).all(1) for one in answers.forecasts.values()], axis=0)
    if not said.all():
        answers = _some(answers, said)
    spread = answers.spread[:, None]
    errors = {
        name: errors_of(one, answers.truths, answers.scale)
        for name, one in answers.forecasts.items()
    }
    scaled = {}
    for name, one in answers.forecasts.items():
        overall = errors_of(one / spread, answers.truths / spread).overall()
        scaled[name] = {"mse_scaled": overall["mse"], "mae_scaled": overall["mae"]}
    return Judged(
        errors,
        scaled,
        {level: coverage(*pair, answers.truths) for level, pair in answers.bounds.items()},
        pinball(answers.quantiles, answers.truths),
        len(answers),
        _verdict(answers, seed),
    )


def _some(answers: Answers, keep: np.ndarray) -> Answers:
    return replace(
        answers,
        truths=answers.truths[keep],
        forecasts={name: one[keep] for name, one in answers.forecasts.items()},
        bounds={level: (low[keep], high[keep]) for level, (low, high) in answers.bounds.items()},
        quantiles={level: one[keep] for level, one in answers.quantiles.items()},
        scale=answers.scale[keep],
        spread=answers.spread[keep],
        series=answers.series[keep],
        firsts=answers.firsts[keep],
    )


def _verdict(answers: Answers, seed: int) -> Verdict:
    off = {
        name: np.nansum(np.abs(one - answers.truths), 1) / answers.spread
        for name, one in answers.forecasts.items()
    }
    best = min((name for name in off if name != "model"), key=lambda name: off[name].sum())
    # Neighbouring windows share most of their truths: whole stretches are drawn.
    stretch = answers.firsts // answers.truths.shape[1]
    _, group = np.unique(np.stack([answers.series, stretch], 1), axis=0, return_inverse=True)
    group = group.ravel()
    sums = np.stack([np.bincount(group, off[name]) for name in ("model", best)], 1)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(_DRAWS, len(sums)))
    totals = sums[drawn].sum(1)
    known = totals[:, 1] > 0
    gains = 1 - totals[known, 0] / totals[known, 1]
    ours, theirs = sums.sum(0)
    if theirs == 0 or not known.any():
        return Verdict(best, 0.0 if ours == 0 else -1.0, (-1.0, 0.0), len(sums))
    low, high = np.quantile(gains, [0.025, 0.975])
    return Verdict(best, float(1 - ours / theirs), (float(low), float(high)), len(sums))
