"""``Forecaster``: sktime's vocabulary, arrays and pandas alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from convscope import Forecaster, InputError
from waves import QUICK, wave


def forecaster(**more: Any) -> Forecaster:
    return Forecaster(**{**QUICK, **more})


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return forecaster().fit(wave(200), fh=[1, 2, 4])


def test_arrays_in_arrays_out(fitted: Forecaster) -> None:
    assert fitted.predict().shape == (3,)
    assert fitted.predict(fh=2).shape == (1,)
    np.testing.assert_array_equal(
        fitted.predict(fh=[2, 4]), fitted.predict(fh=[1, 2, 3, 4])[[1, 3]]
    )
    interval = fitted.predict_interval(coverage=0.8)
    assert interval.shape == (3, 2)
    both = fitted.predict_interval(coverage=[0.8, 0.95])
    assert both.shape == (3, 2, 2)
    np.testing.assert_array_equal(both[:, 0], interval)
    middle = fitted.predict()
    assert (both[:, 1, 0] <= both[:, 0, 0]).all()
    assert (interval[:, 0] <= middle).all()
    assert (middle <= interval[:, 1]).all()
    # Better than guessing: the wave swings by 3 either way.
    truth = wave(204, noise=0)[[200, 201, 203]]
    assert np.abs(middle - truth).max() < 1.5


def test_several_series() -> None:
    y = np.stack([wave(150), 100 * wave(150, 1)], 1)
    found = forecaster().fit(y, fh=3)
    assert found.predict(fh=[1, 2, 3]).shape == (3, 2)
    assert found.predict_interval(fh=[1, 2]).shape == (2, 2, 2)
    assert (found.predict()[:, 1] > 100).all()


def test_pandas_in_pandas_out() -> None:
    index = pd.date_range("2024-01-01", periods=200, freq="h")
    y = pd.Series(wave(200), index=index, name="load")
    found = forecaster().fit(y, fh=[1, 3])
    said = found.predict()
    assert isinstance(said, pd.Series)
    assert said.name == "load"
    assert list(said.index) == [index[-1] + pd.Timedelta(hours=h) for h in (1, 3)]
    interval = found.predict_interval(coverage=[0.5, 0.9])
    assert list(interval.columns) == [
        ("load", 0.5, "lower"), ("load", 0.5, "upper"), ("load", 0.9, "lower"),
        ("load", 0.9, "upper"),
    ]  # fmt: skip
    assert (interval["load", 0.9, "upper"] >= interval["load", 0.5, "upper"]).all()
    both = forecaster().fit(pd.DataFrame({"a": y, "b": 2 * y}), fh=2)
    assert list(both.predict().columns) == ["a", "b"]
    assert found.cutoff_ == np.datetime64(index[-1])


def test_time_zones_come_back() -> None:
    """Over the hour that local time has twice."""
    index = pd.date_range("2024-10-24", periods=150, freq="h", tz="Europe/Berlin")
    found = forecaster().fit(pd.Series(wave(150), index=index), fh=[1, 2])
    assert list(found.predict().index) == [index[-1] + pd.Timedelta(hours=h) for h in (1, 2)]
    assert str(found.predict_interval().index.tz) == "Europe/Berlin"


def test_months_end_on_their_days() -> None:
    index = pd.period_range("2010-01", periods=90, freq="M")
    found = forecaster().fit(pd.Series(wave(90), index=index), fh=[1, 2])
    assert [str(stamp.date()) for stamp in found.predict().index] == ["2017-07-01", "2017-08-01"]


def test_the_same_seed_the_same_forecast() -> None:
    y = wave(160)
    first, again = (forecaster(dropout=0.3, random_state=3).fit(y, fh=2) for _ in range(2))
    np.testing.assert_array_equal(first.predict(), again.predict())
    other = forecaster(dropout=0.3, random_state=4).fit(y, fh=2)
    assert not np.array_equal(first.predict(), other.predict())


def test_beyond_the_horizon(fitted: Forecaster) -> None:
    """Forecasts on forecasts: the same as appending what was said, by hand."""
    far = fitted.predict(fh=[1, 4, 5, 8])
    said = fitted.predict(fh=[1, 2, 3, 4])
    np.testing.assert_array_equal(far[:2], said[[0, 3]])
    later = clone(fitted)
    later.__dict__.update(fitted.__dict__)
    later.update(said)
    np.testing.assert_allclose(later.predict(fh=[1, 4]), far[2:], rtol=1e-5)
    wide = fitted.predict_interval(fh=[4, 8, 16], coverage=0.8)
    assert (wide[:, 0] <= wide[:, 1]).all()


def test_update_moves_on(fitted: Forecaster) -> None:
    moved = clone(fitted)
    moved.__dict__.update(fitted.__dict__)
    moved.update(np.array([50.0]))
    assert moved.cutoff_ == 200
    assert fitted.cutoff_ == 199
    assert moved.predict(fh=1)[0] > fitted.predict(fh=1)[0] + 5


def test_update_puts_stamped_rows_in_their_place() -> None:
    index = pd.date_range("2024-01-01", periods=150, freq="h")
    y = pd.Series(wave(150), index=index, name="load")
    one = forecaster().fit(y[:140], fh=1)
    before = one.predict()
    # What is known already changes nothing, whatever its name.
    again = one.update(y[138:140].rename(None)).predict()
    pd.testing.assert_series_equal(again, before)
    pd.testing.assert_series_equal(one.update(y[:2]).predict(), before)
    # One row is enough; rows that nobody gave are gaps.
    one.update(y[145:146])
    assert one.cutoff_ == np.datetime64(index[145])
    target = one._given.series[0].target
    assert np.isnan(target[140:145]).all()
    assert one.predict().index[0] == index[146]
    one.update(y[140:])
    np.testing.assert_array_equal(one._given.series[0].target, y.to_numpy())
    one.update(np.array([11.0, 12.0]))  # without stamps: they follow
    assert one.predict().index[0] == index[-1] + pd.Timedelta(hours=3)
    with pytest.raises(InputError, match="lies between the steps of 1 hour"):
        one.update(pd.Series([1.0], index=[index[-1] + pd.Timedelta(minutes=90)]))
    with pytest.raises(InputError, match="lies before the first row"):
        one.update(pd.Series([1.0], index=[index[0] - pd.Timedelta(hours=1)]))
    with pytest.raises(InputError, match="2 series were given"):
        one.update(pd.DataFrame({"a": y, "b": y}))
    months = pd.Series(wave(90), index=pd.date_range("2010-01-31", periods=90, freq="ME"))
    monthly = forecaster().fit(months[:80], fh=1).update(months[80:81])
    assert str(monthly.predict().index[0].date()) == "2016-10-31"


def test_intervals_do_not_narrow_beyond_the_horizon(fitted: Forecaster) -> None:
    steps = list(range(1, 41))
    middle = fitted.predict(fh=steps)
    low, high = fitted.predict_interval(fh=steps, coverage=0.8).T
    assert (low < middle).all()
    assert (middle < high).all()
    last = 3  # the horizon is 4
    assert (high - middle)[4:].min() >= (high - middle)[last] - 1e-9
    assert (middle - low)[4:].min() >= (middle - low)[last] - 1e-9


def test_what_is_known_ahead_is_used() -> None:
    """Y follows x of the same step: only x tells what comes."""
    drawn = np.random.default_rng(0)
    x = drawn.normal(size=(600, 1))
    y = 5 * x[:, 0] + 20
    found = forecaster(epochs=30, batch_size=32, learning_rate=0.01).fit(y, X=x, fh=[1, 2])
    ahead = np.array([[2.0], [-2.0]])
    np.testing.assert_allclose(found.predict(X=ahead), [30, 10], atol=2.5)
    with pytest.raises(InputError, match="X has 1 rows; 2 steps"):
        found.predict(X=ahead[:1])
    with pytest.raises(InputError, match="X: this forecaster was given 1 column"):
        found.predict()
    with pytest.raises(InputError, match="X has 2 columns; fit was given 1"):
        found.predict(X=np.zeros((2, 2)))


def test_past_columns_are_used() -> None:
    drawn = np.random.default_rng(0)
    x = drawn.normal(size=600)
    y = np.concatenate([[0.0], 5 * x[:-1]])
    found = forecaster(epochs=30, batch_size=32, learning_rate=0.01).fit(y, past=x[:, None], fh=1)
    found.update(np.array([0.0]), past=np.array([[2.0]]))
    assert found.predict()[0] == pytest.approx(10, abs=2.5)


def test_gaps_are_masked() -> None:
    y = wave(200)
    y[50:60] = np.nan
    y[-1] = np.nan
    said = forecaster().fit(y, fh=[1, 2]).predict()
    assert np.isfinite(said).all()


@pytest.mark.parametrize("output", ["point", "quantiles", "gaussian"])
@pytest.mark.parametrize("normalise", ["none", "revin"])
def test_every_output_gives_intervals(output: str, normalise: str) -> None:
    found = forecaster(output=output, normalise=normalise).fit(wave(200), fh=2)
    low, high = found.predict_interval(fh=[1, 2], coverage=0.8).T
    assert (low < found.predict(fh=[1, 2])).all()
    assert (found.predict(fh=[1, 2]) < high).all()


def test_explain_says_which_steps(fitted: Forecaster) -> None:
    found = fitted.explain()
    assert found.occlusion.map.shape == found.saliency.map.shape == (3, fitted.look_back_ + 1)
    # The score is the forecast itself, in spreads of the series.
    mean, spread = fitted.model_.scaling.target[0]
    np.testing.assert_allclose(found.occlusion.score * spread + mean, fitted.predict(), rtol=1e-5)
    with pytest.raises(InputError, match="says steps 1 to 4"):
        fitted.explain(fh=5)
    with pytest.raises(InputError, match="series=1"):
        fitted.explain(series=1)


def test_scikit_learn_can_clone_it() -> None:
    one = forecaster(filters=7)
    assert clone(one).get_params() == one.get_params()
    with pytest.raises(NotFittedError, match="fit"):
        one.predict()


@pytest.mark.parametrize(
    ("y", "more", "fh", "said"),
    [
        (wave(60), {"kernel_size": 1}, 1, "kernel_size=1 reads the present only"),
        (wave(60), {"look_back": 100}, 1, "look_back=100 is longer than the series"),
        (np.full(60, 3.0), {}, 1, r"is the same in all rows to learn from \(3\)"),
        (wave(60), {}, 0, "whole numbers from 1"),
        (wave(60), {}, [1.5], "whole numbers from 1"),
        (np.array(["a", "b"]), {}, 1, "y holds something that is no number"),
        (np.array([1.0, np.inf]), {}, 1, "y: row 1 is infinite"),
        (np.zeros((2, 2, 2)), {}, 1, "expected"),
        (wave(3), {"look_back": None}, 4, "too few for a horizon of 4"),
    ],
)  # fmt: skip
def test_bad_input(y: np.ndarray, more: dict[str, Any], fh: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        forecaster(**more).fit(y, fh=fh)


def test_lengths_that_differ() -> None:
    with pytest.raises(InputError, match="X has 5 rows, y has 60"):
        forecaster().fit(wave(60), X=np.zeros((5, 1)), fh=1)
    index = pd.date_range("2024-01-01", periods=60, freq="h").delete(7)
    with pytest.raises(InputError, match="a gap after 2024-01-01T06"):
        forecaster().fit(pd.Series(wave(59), index=index), fh=1)


def test_a_negative_series_stays_negative() -> None:
    said = forecaster().fit(wave(200) - 1000, fh=[1, 2]).predict()
    assert (said < -980).all()
