"""Training the network that forecasts: it learns, resumes, is reproducible, and leaks nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from convscope.data.series import Series
from convscope.forecast.baselines import naive
from convscope.forecast.depth import dilations_for
from convscope.forecast.losses import KINDS, Outputs
from convscope.forecast.network import ForecastNet
from convscope.forecast.training import forecasts_of, train_forecast
from convscope.forecast.windows import Windows, fit_scaling
from convscope.train.step import TrainPlan

LENGTH, HORIZON, LOOK_BACK = 600, 6, 30


def wave(seed: int = 0, noise: float = 0.1) -> Series:
    """A sine of 20 steps whose height changes slowly, and noise."""
    times = np.arange(LENGTH)
    values = (1 + 0.5 * np.sin(times / 40)) * np.sin(2 * np.pi * times / 20)
    values += noise * np.random.default_rng(seed).normal(size=LENGTH)
    nothing = np.zeros((LENGTH, 0))
    return Series("wave", times, 50 + 10 * values, nothing, nothing)


def parts(one: Series) -> tuple[Windows, Windows, Windows]:
    scaling = fit_scaling([one], slice(0, 400))
    return (
        Windows([one], scaling, LOOK_BACK, HORIZON, slice(0, 400)),
        Windows([one], scaling, LOOK_BACK, HORIZON, slice(400, 500)),
        Windows([one], scaling, LOOK_BACK, HORIZON, slice(500, 600)),
    )


def made(outputs: Outputs, seed: int = 0, dropout: float = 0.1) -> ForecastNet:
    torch.manual_seed(seed)
    dilations = dilations_for(LOOK_BACK, 3, convs=2)
    return ForecastNet(2, HORIZON, dilations, outputs=outputs, filters=8, dropout=dropout)


@pytest.mark.parametrize("kind", KINDS)
def test_it_beats_the_last_value(kind: str, tmp_path: Path) -> None:
    outputs = Outputs(kind)  # type: ignore[arg-type]
    train, valid, test = parts(wave())
    net = made(outputs, dropout=0.0)
    plan = TrainPlan(epochs=12, learning_rate=5e-3, batch_size=16)
    trained = train_forecast(
        net, train, valid, plan, seed=0,
        work=tmp_path / "work", epochs_file=tmp_path / "epochs.csv",
    )  # fmt: skip
    assert not net.training
    assert 1 <= trained.best_epoch <= trained.epochs == 12
    assert len((tmp_path / "epochs.csv").read_text().splitlines()) == 13
    raw = torch.from_numpy(forecasts_of(net, test))
    batch = test.batch(np.arange(len(test)))
    truth = batch.truth.numpy()
    off = np.abs(outputs.middle(raw).numpy() - truth).mean()
    last = np.abs(naive(batch.context[:, 0].numpy(), HORIZON) - truth).mean()
    assert off < 0.5 * last
    if kind != "point":
        low, high = (outputs.quantile(raw, level).numpy() for level in (0.1, 0.9))
        assert 0.5 < ((low <= truth) & (truth <= high)).mean() <= 1


def test_resumed_equals_unbroken(tmp_path: Path) -> None:
    outputs = Outputs()
    train, valid, _ = parts(wave())
    found = []
    for name, tries in (("unbroken", (4,)), ("broken", (2, 4))):
        net = made(outputs)
        for number, epochs in enumerate(tries):
            plan = TrainPlan(epochs=4, batch_size=64)
            if epochs < 4:
                plan = Stopping(epochs=4, batch_size=64, stop=epochs)
            with pytest.raises(KeyboardInterrupt) if epochs < 4 else Nothing():
                train_forecast(
                    net, train, valid, plan, seed=3, work=tmp_path / name,
                    epochs_file=tmp_path / f"{name}.csv", resume=number > 0,
                )  # fmt: skip
            net = made(outputs, seed=9) if epochs < 4 else net
        found.append({key: value.clone() for key, value in net.state_dict().items()})
    for key, value in found[0].items():
        assert torch.equal(value, found[1][key]), key


class Nothing:
    """A context in which nothing is expected."""

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


class Stopping(TrainPlan):
    """Stops as Ctrl-C would, after some epochs."""

    def __init__(self, *, epochs: int, batch_size: int, stop: int) -> None:
        super().__init__(epochs=epochs, batch_size=batch_size)
        object.__setattr__(self, "stop", stop)

    def learning_rate_at(self, epoch: int) -> float:
        if epoch >= self.stop:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return super().learning_rate_at(epoch)


def test_the_future_changes_nothing(tmp_path: Path) -> None:
    """Other test rows: the same network, and the same forecasts up to them."""
    outputs = Outputs()
    found = []
    for number in range(2):
        one = wave()
        if number:
            one.target[500:] = np.random.default_rng(1).permutation(one.target[500:]) * 7
        train, valid, test = parts(one)
        net = made(outputs)
        train_forecast(
            net, train, valid, TrainPlan(epochs=2), seed=0,
            work=tmp_path / str(number), epochs_file=tmp_path / f"{number}.csv",
        )  # fmt: skip
        # The first window's context ends before row 500.
        found.append(forecasts_of(net, test)[0])
    np.testing.assert_array_equal(found[0], found[1])


def test_gaps_are_left_out(tmp_path: Path) -> None:
    """What stands where nothing was measured does not matter."""
    outputs = Outputs()
    found = []
    for filler in (0.0, 1e6):
        one = wave()
        hidden = np.arange(100, 130)
        one.target[hidden] = np.nan
        train, valid, test = parts(one)
        train.table[hidden, 0] = filler
        net = made(outputs)
        train_forecast(
            net, train, valid, TrainPlan(epochs=1), seed=0,
            work=tmp_path / str(filler), epochs_file=tmp_path / f"{filler}.csv",
        )  # fmt: skip
        found.append(forecasts_of(net, test))
    assert np.isfinite(found[0]).all()
    np.testing.assert_array_equal(found[0], found[1])
