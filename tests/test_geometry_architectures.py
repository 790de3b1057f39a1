"""The architectures that people bring along: what geometry says is what autograd finds."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from convscope.errors import InputError
from convscope.geometry import trace
from numeric_fields import relation


def conv(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True))


class UNet(nn.Module):
    """Skip connections; up once by a transposed convolution, once by interpolation."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = conv(1, 2), conv(2, 2), conv(2, 2)
        self.up2, self.join2 = nn.ConvTranspose2d(2, 2, 2, 2), conv(4, 2)
        self.up1 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.join1 = conv(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x)
        second = self.down2(functional.max_pool2d(first, 2))
        third = self.bottom(functional.max_pool2d(second, kernel_size=2))
        joined = self.join2(torch.cat([second, self.up2(third)], dim=1))
        found: Tensor = self.join1(torch.cat((first, self.up1(joined)), 1))
        return found


class Excited(nn.Module):
    """EfficientNet's block: depth-wise, squeeze and excitation, SiLU, residual."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(2, 2, 3, padding=1, groups=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.less, self.more = nn.Conv2d(2, 1, 1), nn.Conv2d(1, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.silu(self.depthwise(x))
        return x + y * torch.sigmoid(self.more(functional.silu(self.less(self.pool(y)))))


class ConvNeXt(nn.Module):
    """Layer norm and linear layers over channels, which come last meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(2, 2, 5, padding=2, groups=2)
        self.norm, self.wide, self.back = nn.LayerNorm(2), nn.Linear(2, 4), nn.Linear(4, 2)
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x).permute(0, 2, 3, 1)
        y = self.scale * self.back(functional.gelu(self.wide(self.norm(y))))
        return x + y.permute(0, 3, 1, 2)


class Shuffle(nn.Module):
    """ShuffleNet: half of the channels pass by, then all are mixed by view and transpose."""

    def __init__(self) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(2, 2, 3, padding=1, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        passed, changed = x.chunk(2, dim=1)
        y = torch.cat((passed, self.spatial(changed)), dim=1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)


class Pyramid(nn.Module):
    """DeepLab's ASPP: dilated branches, and a global one resized back."""

    def __init__(self, pooled: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(1, 1, 3, padding=rate, dilation=rate) for rate in (1, 2, 3)
        )
        self.pool = nn.AdaptiveAvgPool2d(1) if pooled else None

    def forward(self, x: Tensor) -> Tensor:
        found = [branch(x) for branch in self.branches]
        if self.pool is not None:
            found.append(functional.interpolate(self.pool(x), size=x.shape[-2:], mode="bilinear"))
        return torch.cat(found, 1)


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(1 + i, 1, 3, padding=1) for i in range(3))

    def forward(self, x: Tensor) -> Tensor:
        found = [x]
        for layer in self.layers:
            found.append(layer(torch.cat(found, 1)))
        return torch.cat(found, 1)


class WaveNet(nn.Module):
    """Gated, dilated, causal; the answer is the sum of skips."""

    def __init__(self) -> None:
        super().__init__()
        self.dilations = (1, 2, 4)
        self.filters = nn.ModuleList(nn.Conv1d(1, 1, 2, dilation=d) for d in self.dilations)
        self.gates = nn.ModuleList(nn.Conv1d(1, 1, 2, dilation=d) for d in self.dilations)

    def forward(self, x: Tensor) -> Tensor:
        skips = 0
        for filter_, gate, dilation in zip(self.filters, self.gates, self.dilations, strict=True):
            padded = functional.pad(x, (dilation, 0))
            gated = torch.tanh(filter_(padded)) * torch.sigmoid(gate(padded))
            skips = skips + gated
            x = x + gated
        return functional.relu(skips)


class Extremes(nn.Module):
    """``max`` over channels and of two maps; unbind and split; in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        strongest, _ = torch.max(y, dim=1, keepdim=True)
        weakest = y.min(dim=1, keepdim=True).values
        first, second, third = y.unbind(1)
        both = torch.maximum(first, torch.min(second, third)).unsqueeze(1)
        both += strongest
        left, right = torch.split(both - weakest, [3, 4], dim=-1)
        return torch.cat([right, left], -1)


class Parametrised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = spectral_norm(nn.Conv2d(1, 2, 3, padding="same", dilation=2))
        self.second = weight_norm(nn.Conv2d(2, 1, (1, 5), padding=(0, 2), padding_mode="circular"))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.second(self.first(x))
        return found


class Pooled(nn.Module):
    """Six ways to say global average pooling."""

    def __init__(self, way: int) -> None:
        super().__init__()
        self.conv, self.linear, self.way = nn.Conv2d(1, 3, 3), nn.Linear(3, 2), way

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        if self.way == 0:
            y = y.mean([2, 3])
        elif self.way == 1:
            y = y.mean(-1).mean(-1)
        elif self.way == 2:
            y = functional.adaptive_avg_pool2d(y, 1).squeeze(-1).squeeze(-1)
        elif self.way == 3:
            y = functional.avg_pool2d(y, y.shape[2:]).view(x.size(0), -1)
        elif self.way == 4:
            y = y.flatten(2).mean(2)
        else:
            y = y.reshape(y.shape[0], y.shape[1], -1).transpose(1, 2).sum(dim=1)
        found: Tensor = self.linear(y)
        return found


class Beside(nn.Module):
    """A mean that gets its dimensions back is joined along one of them, and padded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.spread = nn.Conv2d(1, 2, 2), nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        mean = y.mean((2, 3))[:, :, None, None]
        again = y.amax((2, 3)).reshape(x.size(0), 2, 1, 1)
        corner = y[:, :, :1, :1]
        return self.spread(torch.cat([corner, mean, again], -1))


NETS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "unet": (UNet(), (1, 8, 12)),
    "squeeze and excitation": (Excited(), (2, 6, 6)),
    "beside": (Beside(), (1, 4, 5)),
    "convnext": (ConvNeXt(), (2, 8, 7)),
    "shufflenet": (Shuffle(), (4, 6, 5)),
    "aspp": (Pyramid(pooled=False), (1, 9, 9)),
    "aspp, pooled": (Pyramid(pooled=True), (1, 7, 7)),
    "densenet": (Dense(), (1, 8, 8)),
    "wavenet": (WaveNet(), (1, 20)),
    "extremes and parts": (Extremes(), (1, 9, 9)),
    "parametrised": (Parametrised(), (1, 7, 9)),
    "super-resolution": (
        nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(1, 1, 3)),
        (1, 5, 6),
    ),
    "ceil mode": (
        nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(2, ceil_mode=True)),
        (1, 10, 11),
    ),
    "normed": (nn.Sequential(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2)), (1, 5, 6)),
    **{f"global pooling {way}": (Pooled(way), (1, 6, 7)) for way in range(6)},
}


@pytest.mark.parametrize("name", NETS)
def test_every_unit_sees_what_autograd_says_and_reaches_what_it_must(name: str) -> None:
    net, shape = NETS[name]
    graph = trace(net, shape)
    assert [node.unknown for node in graph.nodes if node.unknown] == []
    last = graph.nodes[-1]
    assert last.grid is not None
    wanted = relation(net, shape).reshape(*last.grid, *shape[1:])
    for unit in product(*map(range, last.grid)):
        np.testing.assert_array_equal(graph.receptive_mask(last, unit), wanted[unit], str(unit))
    for place in ((0,) * len(shape[1:]), tuple(size // 2 for size in shape[1:])):
        changed = np.zeros(shape[1:], bool)
        changed[place] = True
        reached = graph.influence_masks(changed)[-1]
        assert reached is not None
        np.testing.assert_array_equal(reached, wanted[(..., *place)])


class Tokens(nn.Module):
    """Vision transformer: patches become a sequence, and the sequence is attended to."""

    def __init__(self, attend: bool) -> None:
        super().__init__()
        self.patches, self.linear = nn.Conv2d(1, 8, 4, 4), nn.Linear(8, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True) if attend else None

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        if self.attention is not None:
            tokens = tokens + self.attention(tokens, tokens, tokens)[0]
        found: Tensor = self.linear(tokens)
        return found


def test_patches_keep_their_place_and_attention_is_not_guessed_at() -> None:
    graph = trace(Tokens(attend=False), (1, 16, 12))
    last = graph.nodes[-1]
    assert (last.output, last.grid) == ((12, 8), (4, 3))
    assert graph.receptive_box(last, (1, 2)) == ((4, 8), (8, 12))
    attended = trace(Tokens(attend=True), (1, 16, 12)).nodes[-1]
    assert attended.unknown is not None
    assert "MultiheadAttention" in attended.unknown
    assert "multiply-adds are not counted" in attended.unknown


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class OneAndAnOption(nn.Module):
    def forward(self, x: Tensor, scale: float = 2.0) -> Tensor:
        return x * scale


def test_how_many_inputs() -> None:
    with pytest.raises(InputError, match=r"TwoInputs takes 2 inputs \(x, y\)"):
        trace(TwoInputs(), (1, 4, 4))
    assert trace(OneAndAnOption(), (1, 4, 4)).nodes[-1].output == (1, 4, 4)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_what_torch_jit_made_is_refused() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()))
    with pytest.raises(InputError, match=r"compiled by torch\.jit"):
        trace(scripted, (3, 8, 8))
