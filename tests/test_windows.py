"""Windows of series: places, scaling from training rows, masks, no copies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convscope.data.series import Series
from convscope.errors import InputError
from convscope.forecast.windows import Windows, fit_scaling


def series(n: int, seed: int, *, name: str = "a", past: int = 1, known: int = 2) -> Series:
    drawn = np.random.default_rng(seed)
    return Series(
        name, np.arange(n), drawn.normal(size=n), drawn.normal(5, 2, (n, past)),
        drawn.normal(-3, 4, (n, known)),
    )  # fmt: skip


def test_a_window_by_hand() -> None:
    both = [series(30, 0), series(24, 1, name="b")]
    both[1].target[7] = np.nan
    scaling = fit_scaling(both, slice(0, 15))
    np.testing.assert_allclose(
        scaling.target[0], [both[0].target[:15].mean(), both[0].target[:15].std()]
    )
    np.testing.assert_allclose(
        scaling.past[0, 0], np.concatenate([one.past[:15] for one in both]).mean()
    )
    windows = Windows(both, scaling, look_back=4, horizon=3)
    assert len(windows) == (30 - 8 + 1) + (24 - 8 + 1)
    assert windows.channels == 5
    number = (30 - 8 + 1) + 2  # the third of series b: steps 2 to 6, then 7, 8 and 9
    batch = windows.batch(np.array([0, number]))
    mean, spread = scaling.target[1]
    np.testing.assert_allclose(
        batch.context[1, 0].numpy(), (both[1].target[2:7] - mean) / spread, rtol=1e-5
    )
    truth = batch.truth[1].numpy()
    assert np.isnan(truth[0])
    np.testing.assert_allclose(truth[1:], (both[1].target[8:10] - mean) / spread, rtol=1e-5)
    ahead = (both[1].known[7:10] - scaling.known[:, 0]) / scaling.known[:, 1]
    np.testing.assert_allclose(batch.ahead[1].numpy(), ahead.T, rtol=1e-5)
    past = (both[0].past[:5, 0] - scaling.past[0, 0]) / scaling.past[0, 1]
    np.testing.assert_allclose(batch.context[0, 2].numpy(), past, rtol=1e-5)
    unmeasured = windows.batch([number + 1]).context[0]
    assert unmeasured[0, -1] == 0
    assert unmeasured[1].tolist() == [1, 1, 1, 1, 0]


def test_truths_lie_in_the_rows_and_contexts_may_reach_before() -> None:
    one = series(50, 2)
    one.target[:] = np.arange(50)
    scaling = fit_scaling([one], slice(0, 20))
    windows = Windows([one], scaling, 9, 5, slice(20, 40), stride=3)
    mean, spread = scaling.target[0]
    truths = windows.batch(np.arange(len(windows))).truth.numpy() * spread + mean
    np.testing.assert_allclose(truths[0], np.arange(20, 25), atol=1e-4)
    assert truths.max() < 40
    np.testing.assert_allclose(np.diff(truths[:, 0]), 3, atol=1e-4)
    # The future of the scaling: other rows do not move it.
    one.target[20:] = 1e9
    assert fit_scaling([one], slice(0, 20)).target.tolist() == scaling.target.tolist()


def test_windows_are_views() -> None:
    one = series(200_000, 3, past=0, known=0)
    windows = Windows([one], fit_scaling([one], slice(None)), 1000, 24)
    assert len(windows) == 200_000 - 1024
    assert windows._views.untyped_storage().data_ptr() == windows.table.untyped_storage().data_ptr()
    assert windows.table.numel() == 400_000


def test_what_does_not_vary_is_not_blown_up() -> None:
    one = series(40, 4)
    one.target[:] = 0.1
    one.known[:, 0] = np.nan
    scaling = fit_scaling([one], slice(None))
    assert scaling.target[0].tolist() == [pytest.approx(0.1), 1]
    batch = Windows([one], scaling, 5, 2).batch([0])
    assert torch.isfinite(batch.context).all()
    assert batch.context[0, 0].abs().max() < 1e-6


def test_too_short() -> None:
    one = series(20, 5)
    scaling = fit_scaling([one], slice(None))
    with pytest.raises(InputError, match="the longest possible is 14"):
        Windows([one], scaling, 15, 5)
    assert len(Windows([one], scaling, 14, 5)) == 1
    with pytest.raises(InputError, match="hold no window"):
        Windows([one], scaling, 4, 5, slice(17, 20))
    one.target[:10] = np.nan
    with pytest.raises(InputError, match="Series a has no number in the rows to learn from"):
        fit_scaling([one], slice(0, 10))
