"""``forecast fit``, ``predict`` and ``backtest`` on files, as a user types them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from convscope.data.series_rows import read_series_rows
from convscope.errors import InputError
from convscope.forecast.fitting import fit_forecast
from convscope.forecast.options import TableOptions, forecast_options, table_options
from convscope.forecast.predicting import predict_forecast
from convscope.forecast.run import ForecastRun
from learnable import convscope
from waves import COLUMNS, hourly, hours, options, wave, write_table

SMALL = (
    "--horizon", "4", "--look-back", "12", "--filters", "4", "--epochs", "1", "--dropout", "0",
)  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hourly(tmp_path_factory.mktemp("table") / "power.csv")


@pytest.fixture(scope="module")
def run(table: Path) -> ForecastRun:
    return fit_forecast(table, table.parent / "run", COLUMNS, options())


def test_what_lies_in_a_run(run: ForecastRun) -> None:
    names = sorted(path.relative_to(run.path).as_posix() for path in run.path.rglob("*.*"))
    assert names == [
        "history.parquet", "log/epochs.csv", "look-back.svg", "metrics.json", "model.safetensors",
        "page.json",
        "report.html", "run.json",
    ]  # fmt: skip
    info = run.info()
    assert (info.series, info.season, info.step.count) == (("load",), 24, 3600)
    # Kernel 3, two convolutions a block: 12 steps are 4 and 8.
    assert (info.look_back, info.dilations) == (12, (1, 2))
    assert info.known == ("sine of day", "cosine of day", "sine of week", "cosine of week",
                          "sine of year", "cosine of year")  # fmt: skip
    assert info.rows == {"train": 168, "valid": 24, "test": 48}
    metrics = run.metrics()
    assert metrics["windows"] == 48 - 4 + 1
    assert metrics["model"]["mae"] < metrics["baselines"]["naive"]["mae"]
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert metrics["verdict"]["text"].replace("'", "&#39;") in page
    assert "the last season" in page
    assert 'data-layer="' in (run.path / "look-back.svg").read_text(encoding="utf-8")
    assert "data:image/svg+xml;base64," in page
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")


def test_the_page_of_a_model_that_is_loaded_says_the_same(run: ForecastRun) -> None:
    """What is read back gives what was written: the same forecast twice, and after a copy."""
    first, again = predict_forecast(run), predict_forecast(ForecastRun(run.path))
    assert first[0].rows() == again[0].rows()
    assert first[0].rows()[0]["time"] == "2024-01-11 00:00:00"


def test_a_table_that_went_on(run: ForecastRun, tmp_path: Path) -> None:
    longer = hourly(tmp_path / "longer.csv", 250)
    found = predict_forecast(run, longer, steps=6)
    assert [row["time"] for row in found[0].rows()][::5] == [
        "2024-01-11 10:00:00", "2024-01-11 15:00:00",
    ]  # fmt: skip
    # The same rows in another place of the file's history give the same forecast.
    same = predict_forecast(run, hourly(tmp_path / "same.csv"))
    np.testing.assert_allclose(same[0].values, predict_forecast(run)[0].values, rtol=1e-6)


def said(*arguments: str, code: int = 0) -> Any:
    ended = convscope(*arguments)
    assert ended.returncode == code, ended.stderr
    return ended


def test_as_a_user_types_it(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "typed"
    columns = ("--target", "load", "--time", "date")
    fitted = said("forecast", "fit", str(table), *columns, *SMALL, "--out", str(out), "--json")
    content = json.loads(fitted.stdout)
    assert content["run"] == str(out)
    assert content["model"]["mae"] > 0
    lines = list(csv.DictReader(io.StringIO(said("forecast", "predict", str(out)).stdout)))
    assert list(lines[0]) == [
        "series", "time", "step", "forecast", "low_80", "high_80", "low_95", "high_95",
    ]  # fmt: skip
    assert [line["step"] for line in lines] == ["1", "2", "3", "4"]
    for line in lines:
        low, high = float(line["low_95"]), float(line["high_95"])
        assert low <= float(line["low_80"]) <= float(line["forecast"]) <= float(line["high_80"])
        assert float(line["high_80"]) <= high
    file = tmp_path / "next.parquet"
    again = said("forecast", "predict", str(out), "--out", str(file), "--json")
    rows = json.loads(again.stdout)
    assert pq.read_table(file).to_pylist() == rows
    assert [f"{row['forecast']:.6f}" for row in rows] == [
        f"{float(line['forecast']):.6f}" for line in lines
    ]


def test_backtest_as_a_user_types_it(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "back"
    ended = said(
        "forecast", "backtest", str(table), "--target", "load", "--time", "date", *SMALL,
        "--folds", "2", "--no-refit", "--out", str(out), "--json",
    )  # fmt: skip
    content = json.loads(ended.stdout)
    assert set(content["model"]) >= {"mse", "mae", "mase"}
    assert set(content["baselines"]) >= {"naive", "seasonal_naive", "linear"}
    assert content["refit"] is False
    assert json.loads((out / "backtest.json").read_text(encoding="utf-8")) == content
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "from 2024-01-09" in page
    table_said = said("forecast", "backtest", str(table), "--target", "load", "--time", "date",
                      *SMALL, "--folds", "1").stdout  # fmt: skip
    assert "seasonal naive" in table_said
    assert "80 % interval" in table_said


def test_long_tables_with_columns_of_all_kinds(tmp_path: Path) -> None:
    n = 120
    drawn = np.random.default_rng(0)
    names = ["north"] * n + ["south"] * n
    columns = {
        "site": names,
        "date": hours(n) * 2,
        "load": [*wave(n), *(50 + 10 * wave(n, 1))],
        "wind": list(drawn.normal(size=2 * n)),
        "holiday": [k % 7 == 0 for k in range(2 * n)],
        "area": [1.5] * n + [7.0] * n,
    }
    columns["holiday"] = [int(value) for value in columns["holiday"]]
    path = write_table(tmp_path / "long.csv", columns)
    asked = TableOptions(
        target=("load",), time=("date",), series="site", past=("wind",), known=("holiday",),
        static=("area",),
    )  # fmt: skip
    run = fit_forecast(path, tmp_path / "run", asked, options(calendar=False))
    info = run.info()
    assert (info.series, info.past, info.known) == (
        ("north", "south"),
        ("wind", "area"),
        ("holiday",),
    )
    with pytest.raises(InputError, match="holiday: known ahead, and needed"):
        predict_forecast(run)
    more = {name: [*values] for name, values in columns.items()}
    for site, area, at in (("north", 1.5, n), ("south", 7.0, 2 * n + 5)):
        stamps = hours(n + 5)[n:]
        for name, values in {
            "site": [site] * 5, "date": stamps, "load": [""] * 5, "wind": [""] * 5,
            "holiday": [1, 0, 0, 0, 1], "area": [area] * 5,
        }.items():  # fmt: skip
            more[name][at:at] = values
    later = write_table(tmp_path / "later.csv", more)
    found = predict_forecast(run, later)
    assert [one.name for one in found] == ["north", "south"]
    assert found[0].stamps[0] == np.datetime64("2024-01-06T00:00:00")
    assert found[0].values.mean() < 20 < 100 < found[1].values.mean()
    with pytest.raises(InputError, match="5 rows follow the last measured one, 6 are needed"):
        predict_forecast(run, later, steps=6)
    # Another holiday, another forecast.
    more["holiday"][n] = 0
    other = predict_forecast(run, write_table(tmp_path / "other.csv", more))
    assert not np.array_equal(other[0].values, found[0].values)


def test_a_row_for_each_series(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with path.open("w", encoding="utf-8") as stream:
        stream.write('"V1",' + ",".join(f'"V{k}"' for k in range(2, 102)) + "\n")
        for name, length in (("H1", 100), ("H2", 80)):
            values = [f"{value:.4f}" for value in wave(length, length)]
            stream.write(f'"{name}",' + ",".join([*values, *[""] * (100 - length)]) + "\n")
    read = read_series_rows(path)
    assert [len(one) for one in read.series] == [100, 80]
    run = fit_forecast(path, tmp_path / "run", TableOptions(rows=True), options())
    found = predict_forecast(run)
    assert [one.stamps[0] for one in found] == [100, 80]
    text = path.read_text(encoding="utf-8")
    for wrong, what in (
        (text.replace('"H2"', '"H1"'), "series H1 comes 2 times"),
        (text.replace('"H2",', '"H2",,'), "row 3, series H2: value 1 is missing"),
        (text.replace('"H2",', '"H2",x'), "is no number"),
    ):
        broken = tmp_path / "broken.csv"
        # The second case has a column more in its last row: cut the last, which is empty.
        broken.write_text("\n".join(
            line.removesuffix(",") if line.startswith('"H2",,') else line
            for line in wrong.splitlines()
        ), encoding="utf-8")  # fmt: skip
        with pytest.raises(InputError, match=what):
            read_series_rows(broken)


def test_interrupted_and_resumed(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit_forecast(table, tmp_path / "whole", COLUMNS, options(epochs=3, dropout=0.2))
    from convscope.forecast import training

    made = training.Forecasting.on_train_epoch_start

    def stop(self: training.Forecasting) -> None:
        made(self)
        if self.current_epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training.Forecasting, "on_train_epoch_start", stop)
    with pytest.raises(Exception, match="--resume"):
        fit_forecast(table, tmp_path / "cut", COLUMNS, options(epochs=3, dropout=0.2))
    monkeypatch.setattr(training.Forecasting, "on_train_epoch_start", made)
    assert not (tmp_path / "cut").exists()
    with pytest.raises(InputError, match="was asked for something else: epochs was 3"):
        fit_forecast(table, tmp_path / "cut", COLUMNS, options(epochs=4, dropout=0.2), resume=True)
    run = fit_forecast(
        table, tmp_path / "cut", COLUMNS, options(epochs=3, dropout=0.2), resume=True
    )
    assert run.info().model_sha256 == whole.info().model_sha256


def test_series_with_gaps(tmp_path: Path) -> None:
    values: list[Any] = list(wave(240))
    for k in (50, 51, 52, 200):
        values[k] = ""
    path = write_table(tmp_path / "gaps.csv", {"date": hours(240), "load": values})
    with pytest.raises(InputError, match="row 52, column load: no number; 4 of 240 steps"):
        fit_forecast(path, tmp_path / "run", COLUMNS, options())
    run = fit_forecast(
        path, tmp_path / "run", COLUMNS.model_copy(update={"gaps": "mask"}), options()
    )
    assert run.info().filled == 4
    assert run.metrics()["windows"] == 45
    assert run.metrics()["model"]["mae"] > 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--kernel-size", "1"), "kernel_size=1 reads the present only"),
        (("--look-back", "500"), "look_back=500 is longer than the series: of 168 steps to learn "
                                 "from, 4 ahead, the longest possible is 163"),
        (("--look-back", "2 moons"), "'2 moons' cannot be counted|'2 moons' is no time span"),
        (("--horizon", "0"), "horizon: input should be greater than or equal to 1"),
        (("--target", "nobody"), "nobody"),
        (("--target", "date"), "is no number"),
        (("--normalise", "best"), "normalise"),
        (("--gaps", "fill"), "gaps"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    table: Path, tmp_path: Path, more: tuple[str, ...], message: str
) -> None:
    import re

    given = ["--target", "load", "--time", "date", *SMALL]
    if more[0] == "--target":
        given = ["--time", "date", *SMALL]
    ended = convscope("forecast", "fit", str(table), *given, *more, "--out", str(tmp_path / "no"))
    assert ended.returncode == 2
    assert re.search(message, ended.stderr), ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_tables_that_cannot_be_used(tmp_path: Path) -> None:
    n = 60
    stamps = hours(n)
    for name, columns, message in (
        ("constant", {"date": stamps, "load": [3] * n}, "is the same in all rows to learn from"),
        ("unsorted", {"date": [*stamps[1::-1], *stamps[2:]], "load": wave(n)}, "Sort the table"),
        ("twice", {"date": [stamps[0], *stamps[:-1]], "load": wave(n)}, "have the same time"),
        ("text", {"date": stamps, "load": ["x", *wave(n)[1:]]}, "row 2, column load: 'x'"),
        ("end", {"date": stamps, "load": [*wave(n)[:-1], "nan"]}, "no number; 1 of 60 steps"),
        ("short", {"date": stamps[:5], "load": wave(5)}, "too few for a horizon"),
    ):  # fmt: skip
        path = write_table(tmp_path / f"{name}.csv", columns)
        with pytest.raises(InputError, match=message):
            fit_forecast(path, tmp_path / "run", COLUMNS, options(look_back=None))
    unlike = {
        "site": ["a"] * 30 + ["b"] * 30,
        "date": [*hours(30), *[f"2024-01-{d + 1:02}" for d in range(30)]],
        "load": wave(60),
    }
    with pytest.raises(InputError, match="steps of 1 hour, series b of 1 day"):
        fit_forecast(
            write_table(tmp_path / "unlike.csv", unlike), tmp_path / "run",
            COLUMNS.model_copy(update={"series": "site"}), options(),
        )  # fmt: skip
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "run.partial").exists()


def test_runs_that_are_none(run: ForecastRun, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a finished run"):
        predict_forecast(tmp_path)
    (tmp_path / "run.json").write_text('{"strategy": "cnn"}', encoding="utf-8")
    with pytest.raises(InputError, match="a classifier of photos"):
        predict_forecast(tmp_path)
    (tmp_path / "run.json").write_text('{"format": 2}', encoding="utf-8")
    with pytest.raises(InputError, match="is not a forecast of this version"):
        predict_forecast(tmp_path)
    text = (run.path / "run.json").read_text(encoding="utf-8")
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="is not what convscope writes"):
        predict_forecast(tmp_path)
    with pytest.raises(InputError, match="steps=0"):
        predict_forecast(run, steps=0)
    daily = write_table(
        tmp_path / "daily.csv",
        {"date": [f"2024-01-{d + 1:02}" for d in range(30)], "load": wave(30)},
    )
    with pytest.raises(InputError, match="steps of 1 day, the run"):
        predict_forecast(run, daily)


def test_options_are_checked_together() -> None:
    with pytest.raises(InputError, match="name the column to forecast"):
        table_options({})
    with pytest.raises(InputError, match="there are no other columns"):
        table_options({"rows": True, "target": ("a",)})
    with pytest.raises(InputError, match="test: input should be less than"):
        forecast_options({"horizon": 1, "test": 0.9})
