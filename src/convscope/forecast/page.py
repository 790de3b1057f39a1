"""The page of a forecast or a backtest: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convscope.data.series import Series as Measured
from convscope.forecast.explaining import OverTime, mean_over_steps
from convscope.forecast.judging import NAMES, Judged
from convscope.forecast.rolling import Forecast, time_texts
from convscope.report.chart import Band, Chart, Series, line_chart
from convscope.report.pages import json_values

# Steps of the past that a chart shows, in horizons and at most; series that the page shows.
_HORIZONS, _MOST_STEPS, _MOST_SERIES = 4, 300, 6


@dataclass(frozen=True)
class Shown:
    """What a page tells.

    Attributes
    ----------
    heading : str
    facts : sequence of tuple of str
        Name and value.
    """

    heading: str
    facts: Sequence[tuple[str, str]]


def page_content(
    shown: Shown,
    judged: Judged,
    *,
    forecasts: Sequence[tuple[Measured, Forecast]] = (),
    folds: Sequence[tuple[str, Judged]] = (),
    explained: tuple[np.ndarray, OverTime] | None = None,
    drawn: str = "",
    epochs: Path | None = None,
) -> dict[str, Any]:
    """Give what the page shows, JSON values.

    Parameters
    ----------
    shown : Shown
    judged : Judged
    forecasts : sequence of tuple of Series and Forecast
        The past, and what comes next.
    folds : sequence of tuple of str and Judged
        Of a backtest, where each origin lies.
    explained : tuple of numpy.ndarray and OverTime, optional
        The window's target, ``(length,)``, and what the forecast rests on.
    drawn : str
        The network, an SVG.
    epochs : Path, optional
        The learning curves, CSV.
    """
    told: dict[str, Any] = json_values({
        "heading": shown.heading,
        "facts": shown.facts,
        "verdict": judged.verdict.words(),
        "scores": score_rows(judged),
        "windows": judged.windows,
        "coverage": [(level, float(np.nanmean(v))) for level, v in judged.coverage.items()],
        "by_step": [c for c in (_errors_by_step(judged), _coverage_by_step(judged)) if c],
        "forecasts": [_future(past, said) for past, said in forecasts[:_MOST_SERIES]],
        "left": max(0, len(forecasts) - _MOST_SERIES),
        "names": [said.name for _, said in forecasts[:_MOST_SERIES]],
        "folds": [(where, score_rows(one), one.windows) for where, one in folds],
        "explained": [] if explained is None else _explained(*explained),
        "drawn": _uri(drawn),
        "curves": None if epochs is None else _curves(epochs),
    })  # fmt: skip
    return told


def score_rows(judged: Judged) -> list[dict[str, Any]]:
    """A row for each method, the best first."""
    rows = []
    for name, errors in judged.errors.items():
        overall = errors.overall()
        rows.append({
            "name": NAMES[name], "model": name == "model", "mae": overall["mae"],
            "rmse": overall["rmse"], "mase": overall["mase"], "smape": overall["smape"],
            "mae_scaled": judged.scaled[name]["mae_scaled"],
        })  # fmt: skip
    return sorted(rows, key=lambda row: (row["mae_scaled"] is None, row["mae_scaled"]))


def _uri(drawn: str) -> str:
    """An SVG as an image of its own, so that its style is not the page's."""
    if not drawn:
        return ""
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode('ascii')}"


def _errors_by_step(judged: Judged) -> Chart | None:
    best = judged.verdict.best
    styles = {"model": "valid", best: "train"}
    horizon = len(judged.errors["model"].counts)
    lines = [
        Series(NAMES[name], styles.get(name, "other"), _values(errors.mae))
        for name, errors in judged.errors.items()
        if name in styles or name == "seasonal_naive"
    ]
    return line_chart(
        "Mean absolute error by step ahead", "steps ahead", range(1, horizon + 1), lines,
        x_word="step",
    )  # fmt: skip


def _coverage_by_step(judged: Judged) -> Chart | None:
    styles = ("valid", "train")
    horizon = len(judged.errors["model"].counts)
    lines = [
        Series(f"of the {100 * level:g} % interval", kind, _values(values))
        for kind, (level, values) in zip(styles, judged.coverage.items(), strict=False)
    ]
    return line_chart(
        "Share of what came that lay in the interval", "steps ahead", range(1, horizon + 1), lines,
        x_word="step", as_percent=True,
    )  # fmt: skip


def _future(past: Measured, said: Forecast) -> Chart | None:
    steps = len(said.values)
    back = min(len(past), _MOST_STEPS, max(24, _HORIZONS * steps))
    x = range(-back + 1, steps + 1)
    none = (None,) * back
    ahead = (None,) * steps
    history = Series("measured", "other", (*_values(past.target[-back:]), *ahead))
    line = Series("forecast", "valid", (*none, *_values(said.values)))
    bands = [
        Band(f"{100 * level:g} %", (*none, *_values(low)), (*none, *_values(high)))
        for level, (low, high) in sorted(said.bounds.items(), reverse=True)
    ]
    since = time_texts(past.stamps[-back:])[-1]
    return line_chart(
        said.name or "forecast", f"steps from {since}", x, [history, line], x_word="step",
        bands=bands, mark=back - 1, mark_label="now",
    )  # fmt: skip


def _explained(target: np.ndarray, over: OverTime) -> list[Chart]:
    length = len(target)
    x = range(-length + 1, 1)
    charts = [
        line_chart("The window, as the network sees it", "steps back", x,
                   [Series("target", "other", _values(target))], x_word="step"),
        line_chart("How far the forecast moves where a stretch is taken for not measured",
                   "steps back", x,
                   [Series("change", "valid", _values(mean_over_steps(over.occlusion)))],
                   x_word="step"),
        line_chart("How strongly it answers to each step (gradient)", "steps back", x,
                   [Series("gradient", "train", _values(mean_over_steps(over.saliency)))],
                   x_word="step"),
    ]  # fmt: skip
    return [chart for chart in charts if chart is not None]


def _curves(epochs: Path) -> Chart | None:
    with epochs.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = {
        name: tuple(float(row[name]) if row.get(name) else None for row in rows)
        for name in ("train_loss", "valid_loss")
    }
    return line_chart(
        "Loss (lower is better)", "epoch", range(1, len(rows) + 1),
        [
            Series("training", "train", found["train_loss"]),
            Series("validation", "valid", found["valid_loss"]),
        ],
        x_word="epoch",
    )  # fmt: skip


def _values(values: np.ndarray) -> tuple[float | None, ...]:
    return tuple(float(value) if np.isfinite(value) else None for value in values)
