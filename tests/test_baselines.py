"""Look-back to depth, baselines and measures: by hand, by geometry, by other libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, mean_squared_error

from convscope.data.series import read_series
from convscope.data.timeline import Step
from convscope.errors import InputError
from convscope.forecast.baselines import (
    LinearForecaster,
    drift,
    naive,
    season_of,
    seasonal_naive,
)
from convscope.forecast.depth import check_look_back, dilations_for
from convscope.forecast.measures import coverage, errors_of, naive_scale, pinball
from convscope.nets.tcn import PlainTCN


@given(st.integers(1, 3000), st.integers(2, 9), st.integers(1, 2))
def test_deep_enough_and_no_deeper(look_back: int, kernel_size: int, convs: int) -> None:
    found = dilations_for(look_back, kernel_size, convs=convs)
    each = convs * (kernel_size - 1)
    # The last is a multiple of a quarter of the one before.
    unit = max(1, 2 ** (len(found) - 1) // 8)
    assert look_back <= each * sum(found) < look_back + each * unit
    assert each * sum(2**level for level in range(len(found) - 1)) < look_back
    # No hole: each level steps no further than what those before it cover.
    for level, dilation in enumerate(found):
        assert dilation <= each * sum(found[:level]) + 1


def test_the_founding_dilations() -> None:
    assert dilations_for(60, 5) == (1, 2, 4, 8)
    assert dilations_for(61, 5) == (1, 2, 4, 8, 2)
    assert dilations_for(1, 2) == (1,)


def test_every_step_of_the_look_back_is_read() -> None:
    """By gradient: the newest output of a stack for 37 steps, kernel 3."""
    net = PlainTCN(filters=4, kernel_size=3, dilations=dilations_for(37, 3))
    assert net.look_back == 38
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()
    x = torch.ones(1, 1, 60, requires_grad=True)
    net(x).sum().backward()
    assert x.grad is not None
    read = torch.nonzero(x.grad[0, 0])[:, 0]
    assert read.tolist() == list(range(60 - 39, 60))


def test_look_backs_that_cannot_be() -> None:
    with pytest.raises(InputError, match="kernel_size=1 reads the present only"):
        dilations_for(10, 1)
    with pytest.raises(InputError, match="look_back=0"):
        dilations_for(0, 3)
    with pytest.raises(InputError, match="the longest possible is 89"):
        check_look_back(90, 100, 10)
    check_look_back(89, 100, 10)
    with pytest.raises(InputError, match="too few for a horizon of 10: at least 12"):
        check_look_back(1, 11, 10)
    with pytest.raises(InputError, match="horizon=0"):
        check_look_back(1, 11, 0)


def test_baselines_by_hand() -> None:
    context = np.array([[1.0, 5, 2, 6, 3, 7], [4, np.nan, 4, np.nan, 6, np.nan]])
    assert naive(context, 2).tolist() == [[7, 7], [6, 6]]
    assert seasonal_naive(context, 3, 2).tolist() == [[3, 7, 3], [6, 6, 6]]
    assert seasonal_naive(context[:, :3], 2, 4)[0].tolist() == [2, 2]  # shorter than a season
    np.testing.assert_allclose(drift(context, 2), [[8.2, 9.4], [7, 7.5]])
    nothing = np.full((1, 3), np.nan)
    assert np.isnan(naive(nothing, 1)).all()
    assert np.isnan(drift(nothing, 1)).all()


def test_seasons() -> None:
    steps = {Step(3600, "second"): 24, Step(900, "second"): 96, Step(86_400, "second"): 7,
             Step(604_800, "second"): 52, Step(1, "month"): 12, Step(3, "month"): 4,
             Step(12, "month"): 1, Step(1, "row"): 1, Step(5000, "second"): 1}  # fmt: skip
    assert {step: season_of(step) for step in steps} == steps


def test_linear_as_scikit_learn_fits_it() -> None:
    drawn = np.random.default_rng(0)
    series = [np.cumsum(drawn.normal(size=120)), np.cumsum(drawn.normal(size=80))]
    ours = LinearForecaster(10, 4, ridge=0).fit(series)
    windows = np.concatenate([np.lib.stride_tricks.sliding_window_view(one, 14) for one in series])
    last = windows[:, 9:10]
    # The last value is 0 once it is taken off itself: its weight does nothing.
    theirs = LinearRegression().fit(windows[:, :9] - last, windows[:, 10:] - last)
    context = drawn.normal(size=(5, 12))
    want = theirs.predict(context[:, 2:11] - context[:, 11:]) + context[:, 11:]
    np.testing.assert_allclose(ours.predict(context), want, atol=1e-8)


def test_linear_continues_a_line_and_a_wave() -> None:
    times = np.arange(300)
    for values in (0.5 * times - 3, np.sin(times / 5)):
        fitted = LinearForecaster(24, 12, ridge=1e-9).fit([values[:200]])
        found = fitted.predict(values[None, 200:250])
        np.testing.assert_allclose(found[0], values[250:262], atol=1e-3)
    gappy = values.copy()
    gappy[50:60] = np.nan
    fitted = LinearForecaster(24, 12, ridge=1e-9).fit([gappy[:200]])
    np.testing.assert_allclose(fitted.predict(values[None, 200:250])[0], values[250:262], atol=1e-3)
    with pytest.raises(InputError, match="No 36 steps in a row"):
        LinearForecaster(24, 12).fit([gappy[40:80]])


def test_measures_as_scikit_learn_has_them() -> None:
    drawn = np.random.default_rng(1)
    truths, forecasts = drawn.normal(size=(2, 30, 4))
    truths[drawn.random(truths.shape) < 0.2] = np.nan
    found = errors_of(forecasts, truths, scale=np.full(30, 0.5))
    known = np.isfinite(truths)
    for step in range(4):
        some = known[:, step]
        both = truths[some, step], forecasts[some, step]
        assert found.mae[step] == pytest.approx(mean_absolute_error(*both))
        assert found.mse[step] == pytest.approx(mean_squared_error(*both))
    overall = found.overall()
    assert overall["mse"] == pytest.approx(mean_squared_error(truths[known], forecasts[known]))
    assert overall["rmse"] == pytest.approx(np.sqrt(overall["mse"] or 0))
    assert overall["mase"] == pytest.approx(2 * (overall["mae"] or 0))
    levels = {level: forecasts + level for level in (0.1, 0.5, 0.9)}
    for level, loss in pinball(levels, truths).items():
        want = mean_pinball_loss(truths[known], levels[level][known], alpha=level)
        assert loss == pytest.approx(want)


def test_measures_by_hand() -> None:
    found = errors_of(np.array([[10.0, 0.0]]), np.array([[30.0, 0.0]]))
    assert found.smape.tolist() == [100, 0]  # 2 * 20 / 40; and 0 of 0
    assert found.mase is None
    unknown = errors_of(np.zeros((2, 2)), np.array([[1.0, np.nan], [3, np.nan]]))
    assert unknown.overall()["mae"] == 2
    assert np.isnan(unknown.mae[1])
    assert unknown.to_dict()["by_step"]["mae"] == [2, None]
    assert naive_scale(np.array([1.0, 2, 4, 8, np.nan]), 1) == pytest.approx(7 / 3)
    assert naive_scale(np.array([1.0, 2, 4, 8]), 2) == pytest.approx(4.5)
    assert np.isnan(naive_scale(np.ones(3), 3))
    low, high = np.zeros((4, 1)), np.ones((4, 1))
    assert coverage(low, high, np.array([[0.5], [2], [1], [np.nan]])).tolist() == [
        pytest.approx(2 / 3)
    ]
    with pytest.raises(InputError, match="differ"):
        errors_of(np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(InputError, match="NaN or infinite"):
        errors_of(np.full((1, 1), np.nan), np.zeros((1, 1)))


SHARED = Path(__file__).resolve().parents[2] / "shared" / "series"


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/series")
def test_the_linear_model_on_etth1() -> None:
    """Published for DLinear: MSE 0.375, MAE 0.399 (seven columns, 336 to 96, scaled)."""
    columns = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]
    table = read_series(SHARED / "ETTh1.csv", columns, time="date")
    assert season_of(table.step) == 24
    scaled = []
    for one in table.series:
        training = one.target[:8640]
        scaled.append((one.target - training.mean()) / training.std())
    fitted = LinearForecaster(336, 96).fit([one[:8640] for one in scaled])
    context, truths = [], []
    for one in scaled:
        windows = np.lib.stride_tricks.sliding_window_view(one[11_520 - 336 : 14_400], 336 + 96)
        context.append(windows[:, :336])
        truths.append(windows[:, 336:])
    found = errors_of(fitted.predict(np.concatenate(context)), np.concatenate(truths)).overall()
    assert found["mse"] == pytest.approx(0.375, abs=0.01)
    assert found["mae"] == pytest.approx(0.399, abs=0.01)
