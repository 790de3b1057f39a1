"""The network that forecasts, and its losses: against autograd, torch and arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import mean_pinball_loss
from torch import nn

from convscope.errors import InputError
from convscope.forecast.depth import dilations_for
from convscope.forecast.losses import KINDS, Outputs
from convscope.forecast.network import BODIES, NORMALISE, ForecastNet

NAN = float("nan")


def context(n: int = 4, channels: int = 3, length: int = 40) -> torch.Tensor:
    x = torch.randn((n, channels, length), generator=torch.Generator().manual_seed(0))
    x[:, 1] = 1
    return x


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("normalise", NORMALISE)
@pytest.mark.parametrize("shortcut", [False, True])
def test_shapes_and_look_back(body: str, normalise: str, shortcut: bool) -> None:
    convs = 2 if body == "residual" else 1
    net = ForecastNet(
        3, 5, dilations_for(20, 3, convs=convs), known=2, outputs=Outputs("gaussian"), body=body,  # type: ignore[arg-type]
        normalise=normalise, shortcut=shortcut, filters=6,  # type: ignore[arg-type]
    ).eval()  # fmt: skip
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    assert 20 <= net.look_back <= 24
    x = context().requires_grad_()
    found = net(x, torch.ones(4, 2, 5))
    assert found.shape == (4, 2, 5)
    found.sum().backward()
    assert x.grad is not None
    assert x.grad[:, :, : 40 - net.look_back - 1].abs().sum() == 0
    if not shortcut:
        assert x.grad[:, 0, -net.look_back - 1 :].abs().sum() > 0


@pytest.mark.parametrize("normalise", ["last", "window", "revin"])
def test_a_forecast_moves_with_its_window(normalise: str) -> None:
    net = ForecastNet(2, 3, (1, 2), normalise=normalise, filters=4).eval()  # type: ignore[arg-type]
    nn.init.normal_(net.body.linear.weight)
    if net.log_factor is not None and net.offset is not None:
        nn.init.constant_(net.log_factor, 0.4)
        nn.init.constant_(net.offset, -0.7)
    x = context(channels=2)
    moved = x.clone()
    moved[:, 0] += 100
    torch.testing.assert_close(net(moved), net(x) + 100, atol=1e-3, rtol=0)


def test_it_begins_with_the_last_measured_value() -> None:
    net = ForecastNet(2, 2, (1, 2), filters=4, normalise="last").eval()
    x = context(channels=2)
    x[0, 1, -3:] = 0
    want = torch.stack([x[0, 0, -4], *x[1:, 0, -1]])
    torch.testing.assert_close(net(x)[:, 0, 0], want)


def test_what_was_not_measured_is_not_read() -> None:
    net = ForecastNet(2, 2, (1, 2, 4), filters=4, shortcut=True).eval()
    assert net.direct is not None
    for layer in (net.direct, net.body.linear):
        nn.init.normal_(layer.weight)
    x = context(channels=2)
    x[:, 1, 20:25] = 0
    other = x.clone()
    other[:, 0, 20:25] = 1e6
    torch.testing.assert_close(net(x), net(other))


def test_the_future_that_is_known_matters() -> None:
    net = ForecastNet(3, 4, (1, 2), known=1, filters=4).eval()
    assert net.ahead is not None
    nn.init.ones_(net.ahead.weight)
    x = context()
    one, other = net(x, torch.zeros(4, 1, 4)), net(x, torch.ones(4, 1, 4))
    torch.testing.assert_close(other, one + 4)
    with pytest.raises(InputError, match="known ahead"):
        net(x)


def test_a_gaussian_of_a_scaled_window() -> None:
    """Mean and standard deviation move and grow with the window."""
    net = ForecastNet(2, 3, (1, 2), normalise="window", filters=4, outputs=Outputs("gaussian"))
    nn.init.normal_(net.eval().body.linear.weight)
    x = context(channels=2)
    other = x.clone()
    other[:, 0] = 10 * other[:, 0] + 7
    one, two = net(x), net(other)
    torch.testing.assert_close(two[:, 0], 10 * one[:, 0] + 7, atol=1e-2, rtol=1e-4)
    torch.testing.assert_close(two[:, 1].exp(), 10 * one[:, 1].exp(), atol=0, rtol=1e-3)


def test_losses() -> None:
    drawn = np.random.default_rng(0)
    truth = drawn.normal(size=(6, 3))
    truth[0, 1], truth[4] = np.nan, np.nan
    known = np.isfinite(truth)
    raw = drawn.normal(size=(6, 3, 3))
    y, both = torch.from_numpy(truth), torch.from_numpy(raw)
    point = Outputs("point").loss(both[:, :1], y)
    assert float(point) == pytest.approx(((raw[:, 0] - truth)[known] ** 2).mean())
    levels = (0.1, 0.5, 0.9)
    want = np.mean([
        mean_pinball_loss(truth[known], raw[:, k][known], alpha=level)
        for k, level in enumerate(levels)
    ])  # fmt: skip
    assert float(Outputs("quantiles", levels).loss(both, y)) == pytest.approx(want)
    want = -norm(raw[:, 0], np.exp(raw[:, 1])).logpdf(np.nan_to_num(truth))[known].mean()
    assert float(Outputs("gaussian").loss(both[:, :2], y)) == pytest.approx(want)
    for kind in KINDS:
        outputs = Outputs(kind)
        raw_of = both[:, : outputs.count].clone().requires_grad_()
        loss = outputs.loss(raw_of, torch.full((6, 3), NAN, dtype=torch.float64))
        loss.backward()
        assert float(loss.detach()) == 0
        assert raw_of.grad is not None
        assert torch.isfinite(raw_of.grad).all()


def test_quantiles() -> None:
    raw = torch.tensor([[[3.0], [1.0], [2.0]]])
    outputs = Outputs("quantiles")
    assert [float(outputs.quantile(raw, level)) for level in outputs.levels] == [1, 2, 3]
    assert float(outputs.middle(raw)) == 2
    gaussian = Outputs("gaussian")
    for level in (0.05, 0.5, 0.9):
        found = float(gaussian.quantile(raw[:, :2], level))
        assert found == pytest.approx(norm(3, np.e).ppf(level), abs=1e-4)
    with pytest.raises(InputError, match=r"not the quantile 0\.25"):
        outputs.quantile(raw, 0.25)
    with pytest.raises(InputError, match="says one value"):
        Outputs("point").quantile(raw[:, :1], 0.5)
    for levels in ((0.1, 0.9), (0.5, 0.1), (0.0, 0.5), (0.5, 0.5)):
        with pytest.raises(InputError, match="quantiles rise"):
            Outputs("quantiles", levels)
    with pytest.raises(InputError, match="kind of output"):
        Outputs("median")  # type: ignore[arg-type]


def test_bad_input() -> None:
    with pytest.raises(InputError, match="horizon=0"):
        ForecastNet(2, 0, (1,))
    with pytest.raises(InputError, match="body"):
        ForecastNet(2, 1, (1,), body="lstm")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="normalisation"):
        ForecastNet(2, 1, (1,), normalise="log")  # type: ignore[arg-type]
