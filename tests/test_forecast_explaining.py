"""Which past steps made a forecast: on networks whose answer is known; calendar; streams."""

from __future__ import annotations

import re
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from convscope import Forecaster
from convscope.data.series import Series
from convscope.data.timeline import Step
from convscope.errors import InputError
from convscope.forecast.calendar import calendar_columns, calendar_of, with_calendar
from convscope.forecast.conformal import calibrate
from convscope.forecast.explaining import explain_forecast, mean_over_steps
from convscope.forecast.live import Live
from convscope.forecast.model import Model
from convscope.forecast.network import ForecastNet
from convscope.forecast.windows import Scaling
from waves import QUICK, wave

NONE = np.zeros((0, 2))


def model(net: ForecastNet, past: int = 0) -> Model:
    scaling = Scaling(np.array([[0.0, 1.0]]), np.tile([0.0, 1.0], (past, 1)), NONE)
    held = calibrate(
        net.outputs, np.zeros((20, net.outputs.count, net.horizon), np.float32),
        np.ones((20, net.horizon)),
    )  # fmt: skip
    return Model(net.eval(), scaling, ("a",), held)


def linear(weight: torch.Tensor) -> Model:
    """Convolutions that say nothing, and a linear map with these weights, ``(horizon, length)``."""
    net = ForecastNet(
        2, len(weight), (1, 2, 4), body="plain", kernel_size=3, filters=2, normalise="none",
        shortcut=True,
    )  # fmt: skip
    assert net.direct is not None
    with torch.no_grad():
        net.direct.weight[:] = weight
    return model(net)


def test_a_linear_forecast_is_explained_by_its_weights() -> None:
    weight = torch.zeros(3, 15)
    weight[0, 14], weight[1, 4], weight[2, 9] = 2.0, -3.0, 0.5
    made = linear(weight)
    assert made.look_back == 14
    x = torch.arange(1.0, 16)
    context = torch.stack([x, torch.ones(15)])
    found = explain_forecast(made, context, torch.zeros(0, 3), steps=(1, 2, 3), window=1)
    np.testing.assert_allclose(found.saliency.map, weight.abs(), atol=1e-6)
    np.testing.assert_allclose(found.saliency.score, (weight @ x), rtol=1e-6)
    # What is not measured is 0: the score falls by weight times value.
    np.testing.assert_allclose(found.occlusion.map, weight * x, atol=1e-5)
    np.testing.assert_allclose(
        mean_over_steps(found.occlusion), (weight * x).abs().mean(0), atol=1e-5
    )
    with pytest.raises(InputError, match="says steps 1 to 3"):
        explain_forecast(made, context, torch.zeros(0, 3), steps=(4,))


def test_what_lies_before_the_look_back_is_never_blamed() -> None:
    fitted = Forecaster(**{**QUICK, "epochs": 2, "shortcut": False}).fit(wave(200), fh=2)
    made = fitted.model_
    context = made.context(fitted._given.series)[0]
    assert context.shape[1] == made.look_back + 1
    found = explain_forecast(made, context, torch.zeros(0, 2))
    assert found.saliency.map.shape == (2, made.look_back + 1)
    assert found.occlusion.map.shape == (2, made.look_back + 1)
    assert found.saliency.map.max() > 0


# The calendar


def test_the_calendar_by_hand() -> None:
    stamps = np.array(["2024-01-01T00:00", "2024-01-01T06:00", "2024-07-01T12:00"], "datetime64[s]")
    names = calendar_columns(Step(3600, "second"))
    found = dict(zip(names, calendar_of(stamps, Step(3600, "second")).T, strict=True))
    np.testing.assert_allclose(found["sine of day"], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(found["cosine of day"], [1, 0, -1], atol=1e-12)
    # Both were Mondays.
    np.testing.assert_allclose(
        found["sine of week"], np.sin(2 * np.pi * np.array([0, 6, 12]) / 168)
    )
    np.testing.assert_allclose(found["cosine of year"][0], 1)
    assert found["cosine of year"][2] == pytest.approx(-1, abs=1e-3)


def test_cycles_that_a_step_does_not_resolve() -> None:
    day = calendar_columns(Step(86_400, "second"))
    assert day == ("sine of week", "cosine of week", "sine of year", "cosine of year")
    assert calendar_columns(Step(1, "month")) == ("sine of year", "cosine of year")
    assert calendar_columns(Step(12, "month")) == ()
    assert calendar_columns(Step(1, "row")) == ()
    none = np.zeros((3, 0))
    one = Series("a", np.arange(3), np.arange(3.0), none, none)
    assert with_calendar(one, Step(1, "row")).known.shape == (3, 0)
    months = replace(one, stamps=np.array(["2024-01", "2024-04", "2024-07"], "datetime64[s]"))
    assert with_calendar(months, Step(3, "month")).known.shape == (3, 2)


# One step after the other


@pytest.mark.parametrize("output", ["point", "quantiles", "gaussian"])
def test_live_says_what_the_window_says(output: str) -> None:
    net = ForecastNet(
        3, 4, (1, 2, 4), outputs=_outputs(output), filters=5, normalise="none", shortcut=False
    )
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    made = model(net, past=1)
    made = replace(made, scaling=Scaling(np.array([[5.0, 2.0], [1.0, 3.0]]), *_past()),
                   names=("a", "b"))  # fmt: skip
    drawn = np.random.default_rng(0)
    table = drawn.normal(size=(2, 90, 2))
    table[0, 40, 0] = np.nan
    live = Live(made)
    state = live.start(table[:, :60])
    none = np.zeros((90, 0))
    for now in range(60, 90):
        said, state = live.step(table[:, now], state)
        series = [
            Series(name, np.arange(now + 1), rows[:, 0], rows[:, 1:], none[: now + 1])
            for name, rows in zip("ab", table[:, : now + 1], strict=True)
        ]  # fmt: skip
        raw = made.raw(made.context(series), torch.zeros(2, 0, 4))
        want = net.outputs.middle(torch.from_numpy(raw)).numpy()
        moments = made.scaling.target
        np.testing.assert_allclose(said, want * moments[:, 1:] + moments[:, :1], atol=1e-4)


def _past() -> tuple[np.ndarray, np.ndarray]:
    return np.array([[0.5, 2.0]]), NONE


def _outputs(kind: str) -> Any:
    from convscope.forecast.losses import Outputs

    return Outputs(kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"normalise": "last"}, "normalise=last takes something else off each window"),
        ({"shortcut": True}, "the linear map beside the convolutions reads the whole window"),
        ({"known": 1}, "columns that are known ahead"),
        ({"look_back": 5}, "less of the past than its convolutions read"),
    ],
)
def test_what_cannot_be_streamed_says_why(more: dict[str, Any], said: str) -> None:
    channels = 2 + more.get("known", 0)
    net = ForecastNet(channels, 2, (1, 2, 4), **{"normalise": "none", "filters": 3, **more})
    with pytest.raises(InputError, match=said):
        Live(model(net))


def test_live_from_a_forecaster() -> None:
    fitted = Forecaster(**{**QUICK, "normalise": "none", "shortcut": False}).fit(wave(200), fh=3)
    live = fitted.live()
    state = live.start(wave(200)[None, :199])
    said, state = live.step(wave(200)[199:], state)
    np.testing.assert_allclose(said[0], fitted.predict(fh=[1, 2, 3]), atol=1e-4)
    with pytest.raises(InputError, match="2 past columns were given"):
        live.step(np.zeros((1, 3)), state)


# Examples


def test_examples_run(capsys: pytest.CaptureFixture[str], tmp_path: Path,
                      monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    example("copy_memory", "--quick", monkeypatch=monkeypatch)
    said = capsys.readouterr().out
    losses = [float(found) for found in re.findall(r"loss (\S+),", said)]
    assert len(losses) == 10
    assert losses[-1] < losses[0]
    pytest.importorskip("matplotlib", reason="the example draws with Matplotlib")
    out = tmp_path / "drawn.png"
    example("forecast_modulation", "--quick", "--out", str(out), monkeypatch=monkeypatch)
    assert "dilations 1, 2, 4, 8" in capsys.readouterr().out
    assert out.stat().st_size > 10_000


def example(name: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(__file__).resolve().parents[1] / "examples" / f"{name}.py"
    monkeypatch.setattr("sys.argv", [name, *arguments])
    runpy.run_path(str(path), run_name="__main__")
