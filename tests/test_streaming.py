"""A causal network one step at a time says what it says of the whole history."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from convscope.errors import InputError
from convscope.forecast.streaming import Stream
from convscope.nets.tcn import TCN, PlainTCN


def nets() -> dict[str, PlainTCN | TCN]:
    torch.manual_seed(0)
    return {
        "founding": PlainTCN(),
        "undilated": PlainTCN(2, 3, filters=5, kernel_size=3, dilations=(1, 1, 1)),
        "kernel 1": PlainTCN(1, 2, filters=4, kernel_size=1, dilations=(1, 2)),
        "kernel 2": PlainTCN(1, 1, filters=7, kernel_size=2, dilations=(1, 2, 4, 8, 16)),
        "odd dilations": PlainTCN(2, 2, filters=6, kernel_size=4, dilations=(3, 5, 1)),
        "residual": TCN(3, 2),
        "wide": TCN(1, 1, channels=(8, 8, 12), kernel_size=3, dilations=(1, 2, 4)),
    }


@pytest.fixture(params=list(nets()))
def net(request: pytest.FixtureRequest) -> PlainTCN | TCN:
    return nets()[request.param].eval()


def whole(net: nn.Module, series: np.ndarray) -> np.ndarray:
    """What the network says at every step of a series, each time of all the history."""
    with torch.no_grad():
        x = torch.from_numpy(series)
        return np.stack([net(x[:, :, : k + 1]).numpy() for k in range(x.shape[2])], 2)


def drawn(net: PlainTCN | TCN, n: int, length: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, net.in_channels, length)).astype(np.float32)


@pytest.mark.parametrize("n", [1, 64])
def test_equal_to_the_whole_history(net: PlainTCN | TCN, n: int) -> None:
    series = drawn(net, n, 90)
    stream = Stream(net)
    found, state = stream.run(series, stream.start(batch=n))
    np.testing.assert_allclose(found, whole(net, series), atol=1e-5)
    assert state.time == 90


@pytest.mark.parametrize("known", [0, 1, 2, 7, 60, 61, 75])
def test_started_from_a_history(net: PlainTCN | TCN, known: int) -> None:
    series = drawn(net, 2, 90)
    stream = Stream(net)
    net.train()
    state = stream.start(series[:, :, :known])
    assert net.training  # left as it was
    net.eval()
    found, _ = stream.run(series[:, :, known:], state)
    np.testing.assert_allclose(found, whole(net, series)[:, :, known:], atol=1e-5)


def test_only_the_look_back_of_a_long_history_is_read() -> None:
    net = nets()["residual"].eval()
    stream = Stream(net)
    assert stream.look_back == net.look_back == 60
    series = drawn(net, 1, 5000)
    other = series.copy()
    other[:, :, : 5000 - 61] = 1e6
    x = np.ones((1, 2), np.float32)
    one, _ = stream.step(x, stream.start(series))
    two, _ = stream.step(x, stream.start(other))
    np.testing.assert_array_equal(one, two)


def test_a_sum_by_hand() -> None:
    """Kernel (1, 2) on 10, 20, 30: 2*10, 10 + 2*20, 20 + 2*30."""
    net = PlainTCN(1, 1, filters=1, kernel_size=2, dilations=(1,))
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv1d):
                module.weight.copy_(torch.tensor([[[1.0, 2.0]]]))
        net.linear.weight.fill_(1)
        net.linear.bias.zero_()
    stream = Stream(net)
    found, _ = stream.run(np.array([[[10, 20, 30]]]), stream.start())
    assert found.tolist() == [[[20, 50, 80]]]


def test_a_state_is_a_value(tmp_path: Path) -> None:
    net = nets()["wide"].eval()
    stream, series = Stream(net), drawn(net, 3, 40)
    state = stream.start(series[:, :, :20])
    branch = state.copy()
    state.save(tmp_path / "state.safetensors")
    one, _ = stream.run(series[:, :, 20:], state)
    two, _ = stream.run(series[:, :, 20:], branch)
    three, _ = Stream(net).run(series[:, :, 20:], stream.load_state(tmp_path / "state.safetensors"))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, three)
    with pytest.raises(InputError, match="state of another network"):
        Stream(nets()["founding"]).load_state(tmp_path / "state.safetensors")
    (tmp_path / "broken").write_bytes(b"no")
    with pytest.raises(InputError, match="no state of a stream"):
        stream.load_state(tmp_path / "broken")
    with pytest.raises(InputError, match="cannot be read"):
        stream.load_state(tmp_path / "nowhere")


def test_a_long_stream_does_not_grow() -> None:
    net = PlainTCN(1, 1, filters=2, kernel_size=2, dilations=(1, 2)).eval()
    stream = Stream(net)
    state, x = stream.start(), np.ones((1, 1), np.float32)
    for _ in range(1000):
        _, state = stream.step(x, state)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(100_000):
        _, state = stream.step(x, state)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4096  # KiB
    assert state.time == 101_000


def test_bad_input() -> None:
    stream = Stream(nets()["residual"])
    state = stream.start()
    for x in (np.zeros(2), np.zeros((1, 3)), np.zeros((2, 2))):
        with pytest.raises(InputError, match=r"this state takes \(1, 2\)"):
            stream.step(x, state)
    with pytest.raises(InputError, match=r"takes \(n, 2, length\)"):
        stream.start(np.zeros((1, 3, 5)))
    with pytest.raises(InputError, match="batch=0"):
        stream.start(batch=0)
    with pytest.raises(InputError, match="Linear cannot be streamed"):
        Stream(nn.Linear(2, 2))  # type: ignore[arg-type]
