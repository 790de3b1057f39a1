"""How good forecasts are: a modulated sine, ETTh1, M4 hourly, Beijing's air; beside simple ones.

The tables lie in ``shared/series`` beside the checkout, or where ``--series`` says. Published
figures are named with each row. Scores of ETTh1 are on values scaled by the training rows, as in
the literature.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from common import parser, row, say
from convscope.data.series import ROWS, Series, SeriesTable, read_series
from convscope.data.series_rows import read_series_rows
from convscope.forecast.baselines import LinearForecaster, seasonal_naive
from convscope.forecast.judging import answers_of, judge
from convscope.forecast.learning import learn
from convscope.forecast.measures import errors_of, naive_scale
from convscope.forecast.model import Model
from convscope.forecast.options import ForecastOptions
from convscope.forecast.preparing import Shape, purposes_of, shape_of
from convscope.forecast.rolling import next_steps
from convscope.forecast.windows import Windows, fit_scaling

SERIES = Path(__file__).resolve().parents[2] / "shared" / "series"
COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
TRAIN, VALID, TEST = slice(0, 8640), slice(8640, 11520), slice(11520, 14400)
# The network of all ETTh1 rows; chosen on the validation months.
ETTH1 = ForecastOptions(
    horizon=96, look_back=336, filters=16, dropout=0.2, epochs=10, batch_size=256,
    learning_rate=2e-4, patience=3, calendar=False,
)  # fmt: skip
CARRIER, MODULATION = 16, 64


def founding(n: int, length: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An amplitude-modulated sine from random starts: clean, and with noise 0.1."""
    drawn = np.random.default_rng(seed)
    t = drawn.uniform(0, 1000, size=(n, 1)) + np.arange(length)
    clean = np.sin(2 * np.pi * t / CARRIER) * (1 + 0.5 * np.sin(2 * np.pi * t / MODULATION)) / 1.5
    return clean, clean + 0.1 * drawn.normal(size=clean.shape)


def series_of(values: np.ndarray) -> list[Series]:
    """Rows to series without time."""
    none = np.zeros((values.shape[1], 0))
    return [
        Series(f"n{k}", np.arange(values.shape[1]), one.astype(float), none, none)
        for k, one in enumerate(values)
    ]


def trained(
    series: Sequence[Series], train: Sequence[slice], valid: Sequence[slice], shape: Shape,
    options: ForecastOptions,
) -> tuple[Model, float]:  # fmt: skip
    """A model, and seconds."""
    with tempfile.TemporaryDirectory() as work:
        began = time.perf_counter()
        model, _ = learn(
            series, train, valid, shape, options, work=Path(work) / "work",
            epochs_file=Path(work) / "epochs.csv",
        )  # fmt: skip
        return model, time.perf_counter() - began


def founding_row(quick: bool) -> None:
    """1,000 series of 128 steps, 10 ahead; the error is against what comes without noise."""
    options = ForecastOptions(
        horizon=10, body="plain", kernel_size=5, filters=32, dropout=0.0, normalise="none",
        shortcut=False, epochs=2 if quick else 30, patience=30, batch_size=256,
        learning_rate=3e-3, weight_decay=0.1, calendar=False,
    )  # fmt: skip
    _, noisy = founding(1000, 138, 0)
    series = series_of(noisy)
    shape = Shape(60, (1, 2, 4, 8), 1)
    valid = [slice(128, 138)] * len(series)
    model, took = trained(series, [slice(0, 128)] * len(series), valid, shape, options)
    clean, given = founding(500, 138, 1)
    mean = model.scaling.target.mean(0)
    # New series, on the scale that those that were learned from have in the mean.
    model = replace(model, scaling=replace(model.scaling, target=np.tile(mean, (500, 1))))
    found = next_steps(model, series_of(given[:, :128])[:500], ROWS, 10, coverages=())
    said = np.stack([one.values for one in found])
    mse = float(((said - clean[:, 128:]) ** 2).mean())
    row(
        "modulated sine, 10 steps, noise-free MSE, dilated stack", "2e-4", 2e-4 / mse, 1.0, mse,
        2e-4, "MSE", seconds=round(took, 1),
        parameters=sum(p.numel() for p in model.net.parameters()),
    )  # fmt: skip


def etth1(columns: Sequence[str], folder: Path) -> tuple[SeriesTable, list[slice]]:
    """The table, and the training rows of each column."""
    table = read_series(folder / "ETTh1.csv", columns, time="date")
    return table, [TRAIN] * len(table)


def scaled_errors(said: np.ndarray, windows: Windows) -> tuple[float, float]:
    """MSE and MAE on scaled values, of all windows."""
    truths = np.concatenate([
        windows.batch(np.arange(k, min(k + 4096, len(windows)))).truth.numpy()
        for k in range(0, len(windows), 4096)
    ])  # fmt: skip
    overall = errors_of(said, truths).overall()
    return known(overall["mse"]), known(overall["mae"])


def known(value: float | None) -> float:
    """A score that must be there."""
    if value is None:
        raise SystemExit("nothing was measured")
    return value


def etth1_rows(folder: Path, quick: bool) -> None:
    """Horizon 96, the usual split, stride 1."""
    for columns, goal, published in (
        (COLUMNS, (0.375, 0.398), "DLinear 0.375/0.399 (Zeng et al. 2023)"),
        (("OT",), (0.055, 0.180), "NLinear 0.053/0.177, DLinear 0.056/0.180 (Zeng et al. 2023)"),
    ):
        name = "7 columns" if len(columns) > 1 else "OT alone"
        table, train = etth1(columns, folder)
        scaling = fit_scaling(table.series, TRAIN)
        test = Windows(table.series, scaling, 335, 96, TEST)
        linear = LinearForecaster(336, 96).fit([
            ((one.target - mean) / spread)[TRAIN]
            for one, (mean, spread) in zip(table.series, scaling.target, strict=True)
        ])  # fmt: skip
        said = np.concatenate([
            linear.predict(test.batch(np.arange(k, min(k + 4096, len(test)))).context[:, 0].numpy())
            for k in range(0, len(test), 4096)
        ])  # fmt: skip
        mse, mae = scaled_errors(said, test)
        goals = (0.385, 0.409) if len(columns) > 1 else goal
        _two_rows(f"ETTh1, {name}, linear by least squares", published, goals, mse, mae, {})
        found = []
        for seed in range(1 if quick else 3):
            options = ETTH1.model_copy(update={"seed": seed, "epochs": 1 if quick else 10})
            shape = shape_of(options, table.step, table.series, train)
            model, took = trained(table.series, train, [VALID] * len(table), shape, options)
            windows = Windows(table.series, model.scaling, model.look_back, 96, TEST)
            raw = np.concatenate([
                _middle(model, windows, np.arange(k, min(k + 1024, len(windows))))
                for k in range(0, len(windows), 1024)
            ])  # fmt: skip
            found.append((*scaled_errors(raw, windows), took))
            say(
                f"ETTh1, {name}, seed {seed}: {found[-1][0]:.4f} / {found[-1][1]:.4f}, {took:.0f} s"
            )
        mse, mae, took = np.mean(found, 0)
        _two_rows(
            f"ETTh1, {name}, convolutions beside the linear map", published, goal, mse, mae,
            {"seeds": len(found), "seconds": round(took), "windows": len(windows),
             "each": [[round(a, 4), round(b, 4)] for a, b, _ in found]},
        )  # fmt: skip


def _middle(model: Model, windows: Windows, chosen: np.ndarray) -> np.ndarray:
    batch = windows.batch(chosen)
    raw = torch.from_numpy(model.raw(batch.context, batch.ahead))
    return model.net.outputs.middle(raw).numpy()


def _two_rows(
    name: str, against: str, goals: tuple[float, float], mse: float, mae: float,
    detail: dict[str, object],
) -> None:  # fmt: skip
    for what, value, goal in (("MSE", mse, goals[0]), ("MAE", mae, goals[1])):
        row(f"{name}, {what}", against, goal / value, 1.0, value, goal, what, **detail)


def m4_row(folder: Path, quick: bool) -> None:
    """414 series, 48 steps ahead, one global model; the competition's own measures."""
    table = read_series_rows(folder / "m4_hourly" / "Hourly-train.csv")
    truth_table = read_series_rows(folder / "m4_hourly" / "Hourly-test.csv")
    truths = np.stack([one.target for one in truth_table.series])
    options = ForecastOptions(
        horizon=48, look_back=168, filters=32, dropout=0.1, output="quantiles",
        epochs=1 if quick else 8, batch_size=256, learning_rate=1e-3, patience=8, valid=0.05,
        calendar=False, season=24,
    )  # fmt: skip
    purposes = purposes_of(table.series, 48, options.valid, 0.0)
    shape = shape_of(options, table.step, table.series, purposes.train)
    model, took = trained(table.series, purposes.train, purposes.valid, shape, options)
    found = next_steps(model, table.series, ROWS, 48, coverages=())
    said = np.stack([one.values for one in found])
    scale = np.array([naive_scale(one.target, 24) for one in table.series])
    naive = np.concatenate([seasonal_naive(one.target[None], 48, 24) for one in table.series])
    ours, theirs = (errors_of(x, truths, scale).overall() for x in (said, naive))
    # Makridakis, Spiliotis & Assimakopoulos 2020 (The M4 competition), hourly series.
    published = {
        "smape": {"Naive2": 18.383, "seasonal naive": 13.912, "the winner, ES-RNN": 9.328},
        "mase": {"Naive2": 2.395, "seasonal naive": 1.193, "the winner, ES-RNN": 0.893},
    }
    for name in ("smape", "mase"):
        here, there = known(ours[name]), known(theirs[name])
        row(
            f"M4 hourly, one global model, {name}", "seasonal naive", there / here, 1.0, here,
            there, name, published=published[name], seconds=round(took),
        )  # fmt: skip


def pollution_row(folder: Path, quick: bool) -> None:
    """The next 24 hours of PM2.5, the weather known up to now, 2,067 values not measured."""
    table = read_series(
        folder / "pollution.csv", "pm2.5", time=["year", "month", "day", "hour"],
        past=["DEWP", "TEMP", "PRES", "Iws", "Is", "Ir"], gaps="mask",
    )  # fmt: skip
    options = ForecastOptions(
        horizon=24, look_back=168, filters=32, epochs=1 if quick else 8, batch_size=128, patience=3,
        calendar=False,
    )  # fmt: skip
    purposes = purposes_of(table.series, 24, options.valid, options.test)
    shape = shape_of(options, table.step, table.series, purposes.train)
    model, took = trained(table.series, purposes.train, purposes.valid, shape, options)
    judged = judge(answers_of(model, table.series, purposes.test, purposes.train, 24))
    errors = {name: one.overall() for name, one in judged.errors.items()}
    for name in ("seasonal_naive", "naive", "linear"):
        here, there = known(errors["model"]["mae"]), known(errors[name]["mae"])
        row(
            f"PM2.5, next 24 hours, MAE beside {name}", name, there / here, 1.0, here, there,
            "µg/m³", seconds=round(took), filled=table.filled,
            coverage_80=round(float(np.nanmean(judged.coverage[0.8])), 3),
        )  # fmt: skip


def main() -> None:
    """All rows."""
    made = parser(__doc__)
    made.add_argument("--series", type=Path, default=SERIES, help="folder of the tables")
    options = made.parse_args()
    founding_row(options.quick)
    if not (options.series / "ETTh1.csv").is_file():
        say(f"no tables in {options.series}: only the modulated sine")
        return
    etth1_rows(options.series, options.quick)
    m4_row(options.series, options.quick)
    pollution_row(options.series, options.quick)


if __name__ == "__main__":
    main()
