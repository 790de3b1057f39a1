"""Rolling origin: which rows are known when, what the baselines say, who wins."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convscope.data.series import ROWS, Series, SeriesTable
from convscope.errors import InputError
from convscope.forecast.backtest import backtest, origins
from convscope.forecast.judging import Answers, answers_of, judge
from convscope.forecast.learning import learn
from convscope.forecast.preparing import purposes_of, shape_of
from waves import COLUMNS, hourly, options, wave


def table(*values: np.ndarray) -> SeriesTable:
    none = [np.zeros((len(one), 0)) for one in values]
    return SeriesTable(
        tuple(
            Series(f"s{k}", np.arange(len(one)), one.copy(), none[k], none[k])
            for k, one in enumerate(values)
        ),
        ROWS, (), (), 0,
    )  # fmt: skip


def test_origins_by_hand() -> None:
    rounds = origins(table(wave(100)).series, options(test=0.4, valid=0.1), 4)
    assert [[part[0] for part in one] for one in rounds] == [
        [slice(0, 50), slice(50, 60), slice(60, 70)],
        [slice(0, 60), slice(60, 70), slice(70, 80)],
        [slice(0, 70), slice(70, 80), slice(80, 90)],
        [slice(0, 80), slice(80, 90), slice(90, 100)],
    ]
    with pytest.raises(InputError, match="Ask for --folds 10 at most"):
        origins(table(wave(100)).series, options(test=0.4), 11)


def test_the_future_changes_nothing(tmp_path: Path) -> None:
    """Whatever comes after an origin, what was learned before it is the same, to the last bit."""
    now = table(wave(160), wave(150, 1))
    asked = options(dropout=0.2)
    purposes = purposes_of(now.series, asked.horizon, asked.valid, asked.test)
    shape = shape_of(asked, now.step, now.series, purposes.train)
    drawn = np.random.default_rng(0)
    other = []
    for one, rows in zip(now.series, purposes.test, strict=True):
        target = one.target.copy()
        target[rows] = 1e3 * drawn.permutation(target[rows])
        other.append(replace(one, target=target))
    said = []
    for name, series in (("a", now.series), ("b", other)):
        model, _ = learn(
            series, purposes.train, purposes.valid, shape, asked, work=tmp_path / name,
            epochs_file=tmp_path / f"{name}.csv",
        )  # fmt: skip
        answers = answers_of(model, series, purposes.test, purposes.train, shape.season)
        # Of each series the windows whose context ends before the origin: the first.
        first = np.searchsorted(answers.series, [0, 1])
        said.append((
            {name: forecast[first] for name, forecast in answers.forecasts.items()},
            model.conformal.errors, answers.scale,
        ))  # fmt: skip
    for name in said[0][0]:
        np.testing.assert_array_equal(said[0][0][name], said[1][0][name])
    np.testing.assert_array_equal(said[0][1], said[1][1])
    np.testing.assert_array_equal(said[0][2], said[1][2])


def test_baselines_see_what_was_measured(tmp_path: Path) -> None:
    values = np.arange(120.0) ** 1.5
    now = table(values)
    asked = options(season=7)
    purposes = purposes_of(now.series, 4, 0.1, 0.2)
    shape = shape_of(asked, now.step, now.series, purposes.train)
    model, _ = learn(
        now.series, purposes.train, purposes.valid, shape, asked, work=tmp_path / "w",
        epochs_file=tmp_path / "e.csv",
    )  # fmt: skip
    answers = answers_of(model, now.series, purposes.test, purposes.train, shape.season)
    np.testing.assert_allclose(answers.truths[0], values[96:100], rtol=1e-5)
    np.testing.assert_allclose(answers.forecasts["naive"][3], np.full(4, values[98]))
    np.testing.assert_allclose(answers.forecasts["seasonal_naive"][0], values[89:93])
    slope = (values[95] - values[95 - shape.look_back]) / shape.look_back
    np.testing.assert_allclose(
        answers.forecasts["drift"][0], values[95] + slope * np.arange(1, 5), rtol=1e-6
    )
    assert answers.firsts.tolist() == list(range(96, 117))
    train = values[: purposes.train[0].stop]
    assert answers.scale[0] == pytest.approx(np.abs(train[7:] - train[:-7]).mean())


@pytest.mark.parametrize("refit", [True, False])
def test_from_a_file(tmp_path: Path, refit: bool) -> None:
    path = hourly(tmp_path / "t.csv", 240)
    found = backtest(path, COLUMNS, options(), folds=2, refit=refit)
    content = found.to_dict()
    assert content["horizon"] == 4
    assert {"mse", "mae", "mase", "rmse", "smape"} <= set(content["model"])
    assert set(content["baselines"]) == {"naive", "seasonal_naive", "drift", "linear"}
    assert 0 <= content["coverage_80"] <= content["coverage_95"] <= 1
    assert len(content["folds"]) == 2
    assert content["windows"] == sum(fold.judged.windows for fold in found.folds) == 2 * (24 - 3)
    # A wave with a season: the last season is hard to beat, the last value is not.
    baselines = content["baselines"]
    assert baselines["seasonal_naive"]["mae"] < 0.3 < baselines["naive"]["mae"]
    assert content["model"]["mae"] < baselines["naive"]["mae"]


def answers(model: np.ndarray, naive: np.ndarray, truths: np.ndarray) -> Answers:
    n = len(truths)
    return Answers(
        truths, {"model": model, "naive": naive}, {}, {}, np.ones(n), np.ones(n),
        np.zeros(n, int), np.arange(n),
    )  # fmt: skip


def test_the_verdict_knows_chance() -> None:
    drawn = np.random.default_rng(0)
    truths = np.zeros((600, 3))
    good, bad = drawn.normal(size=(2, 600, 3)) * np.array([0.5, 1.0])[:, None, None]
    better = judge(answers(good, bad, truths)).verdict
    assert better.beats
    assert better.gain == pytest.approx(0.5, abs=0.05)
    assert better.interval[0] < better.gain < better.interval[1]
    assert "beats the last value: its error is" in better.words()
    assert "% less" in better.words()
    worse = judge(answers(bad, good, truths)).verdict
    assert not worse.beats
    assert worse.words().endswith("Use the last value.")
    assert re.search(
        r"its error is 103\.5 % larger \(95 % interval 94\.7 to 113\.4 %\)", worse.words()
    )
    few = judge(answers(good[:9], bad[:9], truths[:9])).verdict
    assert few.stretches == 3
    assert "3 stretches of a horizon's length: few" in few.words()
    alike = judge(answers(good, good[::-1], truths)).verdict
    assert not alike.beats
    assert "beyond chance" in alike.words()


def test_what_was_not_measured_does_not_count() -> None:
    truths = np.zeros((50, 2))
    truths[::2] = np.nan
    model = np.where(np.isnan(truths), 100.0, 1.0)
    found = judge(answers(model, model * 2, truths))
    assert found.errors["model"].overall()["mae"] == 1
    assert found.errors["model"].counts.tolist() == [25, 25]
    with pytest.raises(InputError, match="Nothing was measured"):
        judge(answers(model, model, np.full((50, 2), np.nan)))


def test_folds_are_one_or_more(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folds=0"):
        backtest(hourly(tmp_path / "t.csv"), COLUMNS, options(), folds=0)
