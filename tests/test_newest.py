"""The newest output alone: the same numbers as the whole stack gives, for less work."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convscope.forecast.depth import dilations_for
from convscope.forecast.newest import Newest
from convscope.nets.tcn import TCN, PlainTCN


def both(
    residual: bool, kernel_size: int, dilations: tuple[int, ...], channels: int = 3
) -> PlainTCN | TCN:
    torch.manual_seed(0)
    if residual:
        widths = [4 + number % 2 for number in range(len(dilations))]
        return TCN(
            2, channels, channels=widths, kernel_size=kernel_size, dilations=dilations, dropout=0.3
        )
    return PlainTCN(2, channels, filters=4, kernel_size=kernel_size, dilations=dilations)


@given(
    residual=st.booleans(),
    kernel_size=st.integers(1, 4),
    dilations=st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple),
    length=st.integers(1, 90),
)
def test_the_same_as_the_whole_stack(
    residual: bool, kernel_size: int, dilations: tuple[int, ...], length: int
) -> None:
    net = both(residual, kernel_size, dilations).eval()
    # No offsets: what lies before a short series is 0 in every layer, as zeros before it give.
    for module in net.modules():
        if isinstance(module, nn.Conv1d) and module.bias is not None:
            nn.init.zeros_(module.bias)
    x = torch.randn(2, 3, length)
    newest = Newest(net)
    assert newest.look_back == net.look_back
    torch.testing.assert_close(net.linear(newest(x)), net(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("dilations", [(1, 2, 4, 8), (1, 2, 4, 8, 3), (5, 1, 3)])
def test_offsets_and_gradients_too(residual: bool, dilations: tuple[int, ...]) -> None:
    net = both(residual, 3, dilations).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.4)
    x = torch.randn(2, 3, net.look_back + 1, requires_grad=True)
    whole = torch.autograd.grad(net(x).pow(2).sum(), [x, *net.parameters()])
    part = torch.autograd.grad(net.linear(Newest(net)(x)).pow(2).sum(), [x, *net.parameters()])
    for one, other in zip(part, whole, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_dropout_is_that_of_the_stack() -> None:
    net = both(residual=True, kernel_size=3, dilations=(1, 2, 4)).train()
    x = torch.randn(64, 3, net.look_back + 1)
    torch.manual_seed(7)
    whole = net(x)
    torch.manual_seed(7)
    torch.testing.assert_close(net.linear(Newest(net)(x)), whole, atol=1e-4, rtol=1e-4)


def test_it_costs_three_lengths_and_not_two_for_each_block() -> None:
    dilations = dilations_for(1020, 3, convs=2)
    net = TCN(1, 8, channels=[8] * len(dilations), dilations=dilations, dropout=0).eval()
    x = torch.randn(1, 8, net.look_back + 1)
    counts = []
    for run in (net, Newest(net)):
        with FlopCounterMode(display=False) as counter:
            run(x)
        counts.append(counter.get_total_flops())
    assert counts[0] > 5 * counts[1]
    assert counts[1] < 3.1 * 2 * (net.look_back + 1) * 3 * 8 * 8
