"""Uses that are easily taken for others: what geometry says is right, or that it does not know."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from convscope.errors import InputError
from convscope.geometry import trace


def conv1(kernel_size: int) -> nn.Conv1d:
    return nn.Conv1d(2, 2, kernel_size, padding=kernel_size // 2)


class InPlace(nn.Module):
    """``add_`` as a statement: later readers see what was added."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.near, self.far, self.last, self.how = conv1(1), conv1(5), conv1(1), how
        self.passes = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.near(x)
        if self.how == "method":
            h.add_(self.far(x))
        elif self.how == "gate":
            h.mul_(x.mean(2, keepdim=True))
        elif self.how == "operator":
            other = h
            other += self.far(x)
        elif self.how == "view":
            h[:, :1].add_(self.far(x)[:, :1])
        elif self.how == "of a view":
            later = h.flatten(1)
            h.add_(self.far(x))
            h = later.view(x.size(0), 2, -1)
        elif self.how == "another name":
            same = self.passes(h)
            same.add_(self.far(x))
        found: Tensor = self.last(h)
        return found


class Causal(nn.Conv1d):
    """A layer with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, (2, 0)))


class ChannelNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Uses(nn.Module):
    def __init__(self, use: str) -> None:
        super().__init__()
        self.use = use
        self.conv, self.linear = nn.Conv2d(2, 2, 3, padding=1), nn.Linear(6, 3)
        self.one, self.norm = conv1(3), nn.GroupNorm(1, 6)

    def forward(self, x: Tensor) -> Tensor:
        if self.use == "tokens back":
            tokens = self.conv(x).flatten(2).transpose(1, 2)
            found = self.conv(tokens.reshape(x.size(0), 2, 3, -1).permute(0, 3, 1, 2))
        elif self.use == "tokens back the other way":
            tokens = self.conv(x).permute(0, 2, 3, 1).flatten(1, 2)
            found = self.conv(tokens.transpose(1, 2).view(x.size(0), -1, 2, 3))
        elif self.use == "flip":
            found = self.conv(x.flip(2, 3))
        elif self.use == "two ways of flattening":
            found = x.flatten(2) + x.transpose(2, 3).flatten(2)
        elif self.use == "axis in the channels":
            found = self.norm(x.transpose(1, 2)).transpose(1, 2)
        elif self.use == "joined":
            found = torch.cat([self.linear(x), x], 2)
        elif self.use == "axis keyword":
            found = x + x.mean(axis=2, keepdim=True)  # type: ignore[call-overload]
        elif self.use == "expand":
            found = self.one(x) * x.mean(2, keepdim=True).expand_as(x)
        else:
            found = x.type_as(self.one(x))
        assert isinstance(found, Tensor | torch.fx.Proxy)
        return found  # type: ignore[return-value]


NETS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    **{
        f"in place, {how}": (InPlace(how), (2, 9))
        for how in ("method", "gate", "operator", "view", "of a view", "another name")
    },
    "own forward": (Causal(2, 2, 3), (2, 7)),
    "own norm": (nn.Sequential(conv1(3), ChannelNorm(2)), (2, 7)),
    "batch statistics": (nn.BatchNorm1d(2, track_running_stats=False), (2, 7)),
    **{
        use: (Uses(use), shape)
        for use, shape in (
            ("tokens back", (2, 2, 3)),
            ("tokens back the other way", (2, 2, 3)),
            ("flip", (2, 3, 4)),
            ("two ways of flattening", (2, 3, 3)),
            ("axis in the channels", (2, 6)),
            ("joined", (2, 6)),
            ("axis keyword", (2, 6)),
            ("expand", (2, 6)),
            ("type of another", (2, 6)),
        )
    },
}
NOT_KNOWN = {
    "in place, view",
    "in place, of a view",
    "batch statistics",
    "two ways of flattening",
}


@pytest.mark.parametrize("name", NETS)
def test_what_is_easily_mistaken(name: str) -> None:
    """Against the gradients of random weights."""
    net, shape = NETS[name]
    net = net.double().eval()
    graph = trace(net, shape)
    last = graph.nodes[-1]
    assert (last.unknown is not None) == (name in NOT_KNOWN), last.unknown
    if last.unknown is not None:
        return
    torch.manual_seed(0)
    x = torch.rand(1, *shape, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda given: net(given)[0], x)[..., 0, :, :]
    if len(shape) == 3:
        jacobian = torch.autograd.functional.jacobian(lambda given: net(given)[0], x).squeeze(3)
    axes = len(shape) - 1
    # (channels, *grid, channels, *input) -> (*grid, *input)
    seen = (jacobian.abs() > 1e-12).any(1 + axes).any(0).numpy()
    assert last.grid is not None
    for unit in product(*map(range, last.grid)):
        np.testing.assert_array_equal(graph.receptive_mask(last, unit), seen[unit], str(unit))


def test_units_far_from_the_first_are_looked_at() -> None:
    """Resized by 299 / 300: the widest fields are those of units far from both ends."""
    layers = [nn.Conv1d(1, 1, 21, padding=10) for _ in range(4)]
    graph = trace(nn.Sequential(*layers, nn.Upsample(size=299)), (1, 300))
    (field,) = graph.field(graph.nodes[-1]) or ()
    (box,) = graph.receptive_box("4", (150,)) or ()
    assert field.size == box.size == 81


class Keeps(nn.Module):
    """What a network may keep for later: a buffer, a count, a list."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3)
        self.features: list[Tensor] = []
        self.register_buffer("last", torch.zeros(1))
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: Tensor, mask: Tensor | None = None, twice: bool = False) -> Tensor:
        y: Tensor = self.conv(x)
        self.last = y
        self.count += 1
        self.features.append(y)
        if mask is not None:
            y = y * mask
        if twice:
            y = self.conv(y)
        return y


def test_what_a_network_keeps_is_as_it_was_and_defaults_are_taken() -> None:
    net = Keeps()
    graph = trace(net, (1, 9))
    assert [field.size for field in graph.field(graph.nodes[-1]) or ()] == [3]
    assert net.features == []
    assert {key: value.tolist() for key, value in net.named_buffers()} == {
        "last": [0.0],
        "count": [0.0],
    }
    assert all(isinstance(value, Tensor) for value in net.state_dict().values())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wrapped_networks_are_unwrapped() -> None:
    net = nn.Sequential(nn.Conv1d(1, 2, 3))
    assert trace(nn.DataParallel(net), (1, 9)).nodes[-1].output == (2, 7)
    assert trace(torch.compile(net), (1, 9)).nodes[-1].output == (2, 7)  # type: ignore[arg-type]
    (conv,) = trace(nn.ConvTranspose2d(1, 2, 3), (1, 4, 4)).nodes[1:]
    assert (conv.kind, conv.output, conv.macs) == ("ConvTranspose2d", (2, 6, 6), 16 * 18)


@pytest.mark.parametrize("shape", [(3, 1.5, 7), "3x3", 3, None])
def test_shapes_that_are_none(shape: object) -> None:
    with pytest.raises(InputError, match="Received"):
        trace(nn.Conv1d(3, 1, 1), shape)  # type: ignore[arg-type]
