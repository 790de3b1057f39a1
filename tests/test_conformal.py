"""Intervals: hold what they promise on exchangeable rows; by hand where rows are few."""

from __future__ import annotations

import numpy as np
import pytest

from convscope.errors import InputError
from convscope.forecast.conformal import calibrate, pairs_of
from convscope.forecast.losses import Outputs


def drawn(n: int, seed: int) -> np.ndarray:
    """Errors that grow with the step: ``(n, 3)``."""
    return np.random.default_rng(seed).normal(size=(n, 3)) * np.array([1.0, 2.0, 4.0])


def raw(outputs: Outputs, n: int) -> np.ndarray:
    """A network that always says the same, wrong about its own spread: ``(n, count, 3)``."""
    found = np.zeros((n, outputs.count, 3), np.float32)
    if outputs.kind == "quantiles":
        found += np.array(outputs.levels, np.float32)[:, None] - 0.5
    return found


@pytest.mark.parametrize("kind", ["point", "quantiles", "gaussian"])
@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
def test_the_promise_is_kept(kind: str, coverage: float) -> None:
    outputs = Outputs(kind)  # type: ignore[arg-type]
    held = calibrate(outputs, raw(outputs, 800), drawn(800, 0))
    low, high = held.bounds(raw(outputs, 4000), coverage)
    truths = drawn(4000, 1)
    shares = ((low <= truths) & (truths <= high)).mean(0)
    np.testing.assert_allclose(shares, coverage, atol=0.05)
    assert (high - low)[0].argsort().tolist() == [0, 1, 2]


def test_by_hand() -> None:
    """Nine errors 1 to 9 in absolute value: of 80 %, the eighth."""
    outputs = Outputs()
    errors = np.arange(1.0, 10)[:, None] * np.where(np.arange(9) % 2, 1, -1)[:, None]
    held = calibrate(outputs, np.zeros((9, 1, 1), np.float32), errors)
    low, high = held.bounds(np.full((1, 1, 1), 100, np.float32), 0.8)
    assert (low.item(), high.item()) == (92, 108)


def test_few_windows_ask_all_steps_together() -> None:
    held = calibrate(
        Outputs(), np.zeros((4, 1, 50), np.float32), 1.0 + np.arange(200).reshape(4, 50) % 7
    )
    low, high = held.bounds(np.zeros((1, 1, 50), np.float32), 0.95)
    narrow = held.bounds(np.zeros((1, 1, 50), np.float32), 0.6)
    assert (high > narrow[1]).all()
    assert (low == -high).all()


def test_steps_that_were_never_measured_take_the_widest() -> None:
    truths = drawn(100, 0)
    truths[:, 0] = np.nan
    held = calibrate(Outputs(), np.zeros((100, 1, 3), np.float32), truths)
    _, high = held.bounds(np.zeros((1, 1, 3), np.float32), 0.8)
    assert high[0, 0] == high[0, 2] > high[0, 1]
    with pytest.raises(InputError, match="Nothing was measured"):
        calibrate(Outputs(), np.zeros((9, 1, 3), np.float32), np.full((9, 3), np.nan)).bounds(
            np.zeros((1, 1, 3), np.float32), 0.8
        )


def test_pairs_of_quantiles() -> None:
    assert pairs_of(Outputs("quantiles", (0.025, 0.1, 0.5, 0.9, 0.975))) == [
        (0.025, 0.975),
        (0.1, 0.9),
    ]
    assert pairs_of(Outputs("quantiles", (0.2, 0.5, 0.9))) == []
    assert pairs_of(Outputs()) == []


@pytest.mark.parametrize("coverage", [0, 1, -0.5, 80])
def test_a_coverage_is_a_share(coverage: float) -> None:
    held = calibrate(Outputs(), np.zeros((9, 1, 1), np.float32), np.ones((9, 1)))
    with pytest.raises(InputError, match="a share between 0 and 1"):
        held.bounds(np.zeros((1, 1, 1), np.float32), coverage)
