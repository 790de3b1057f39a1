"""Temporal convolutional networks (Bai, Kolter & Koltun 2018, arXiv 1803.01271).

Convolutions over time that are padded on the left only: an output knows its own time step and
those before it, never a later one. :class:`PlainTCN` is the smallest such network, a stack of
dilated causal convolutions; :class:`TCN` has the paper's residual blocks.

Series are ``(n, channels, length)``, the newest time step last.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from convscope.errors import InputError
from convscope.nets.stages import Stage, check_input


class CausalConv1d(nn.Module):
    """Convolution that sees the present and the past; zeros stand before the first time step.

    ``(n, in_channels, length)`` to ``(n, out_channels, length)``. Weights start as in He et al.
    2015 (normal, variance 2 / fan-in), biases from 0.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int
        Time steps that one output reads.
    dilation : int
        Time steps from one of them to the next.

    Attributes
    ----------
    look_back : int
        How many steps before its own an output reads: ``(kernel_size - 1) * dilation``.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, dilation: int = 1
    ) -> None:
        super().__init__()
        self.look_back = (kernel_size - 1) * dilation
        self.pad = nn.ZeroPad1d((self.look_back, 0))
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size, dilation=dilation)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in_channels, length)`` to ``(n, out_channels, length)``."""
        out: Tensor = self.conv(self.pad(x))
        return out


class LastStep(nn.Module):
    """The newest time step: ``(n, channels, length)`` to ``(n, channels)``."""

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, length)`` to ``(n, channels)``."""
        return x[:, :, -1]


def look_back(net: nn.Module) -> int:
    """Steps before its newest that the output of a causal stack reads.

    The sum of ``(kernel_size - 1) * dilation`` over its causal convolutions, which follow one
    another in the networks of this module: four of kernel 2 look back 4 steps, and 15 with
    dilations of 1, 2, 4 and 8. The receptive field is one step more, the present.
    """
    return sum(module.look_back for module in net.modules() if isinstance(module, CausalConv1d))


class PlainTCN(nn.Module):
    """Dilated causal convolutions with ReLU, and a linear layer on the newest time step.

    With the default arguments 15,681 parameters and a look-back of 60 steps.

    Parameters
    ----------
    num_outputs : int
        Values to predict, or classes.
    in_channels : int
    filters : int
        Channels of every convolution.
    kernel_size : int
    dilations : sequence of int
        One for each convolution.

    Attributes
    ----------
    stages : tuple of Stage
        ``conv1``, ``conv2``, ..., each after its ReLU, and ``last``.
    """

    head: ClassVar[tuple[str, ...]] = ("linear",)

    def __init__(
        self,
        num_outputs: int = 1,
        in_channels: int = 1,
        *,
        filters: int = 32,
        kernel_size: int = 5,
        dilations: Sequence[int] = (1, 2, 4, 8),
    ) -> None:
        super().__init__()
        _check_kernel("PlainTCN", kernel_size, dilations)
        self.in_channels = in_channels
        self.layers = nn.Sequential()
        stages = []
        channels = in_channels
        for number, dilation in enumerate(dilations, 1):
            conv = CausalConv1d(channels, filters, kernel_size, dilation)
            self.layers.add_module(f"conv{number}", conv)
            self.layers.add_module(f"relu{number}", nn.ReLU())
            stages.append(Stage(f"conv{number}", f"layers.relu{number}", filters, 1))
            channels = filters
        self.last = LastStep()
        self.linear = nn.Linear(filters, num_outputs)
        self.stages = (*stages, Stage("last", "last", filters, None))

    @property
    def look_back(self) -> int:
        """Steps before the newest that the output reads; see :func:`look_back`."""
        return look_back(self)

    def forward(self, x: Tensor) -> Tensor:
        """Series ``(n, in_channels, length)``, any length, to ``(n, num_outputs)``."""
        check_input(x, "PlainTCN", channels=self.in_channels, at_least=1, axes=1)
        out: Tensor = self.linear(self.last(self.layers(x)))
        return out


class TemporalBlock(nn.Module):
    """Residual block of two weight-normed causal convolutions; figure 1b of the paper.

    Each convolution is followed by ReLU and by dropout of whole channels; ReLU again after the
    sum. A 1 × 1 convolution stands on the shortcut where the widths differ.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, dilation : int
    dropout : float
        Share of channels dropped in training, 0..1.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, dilation: int, dropout: float
    ) -> None:
        super().__init__()
        self.conv1 = CausalConv1d(in_channels, out_channels, kernel_size, dilation)
        self.relu1 = nn.ReLU()
        self.dropout1 = nn.Dropout1d(dropout)
        self.conv2 = CausalConv1d(out_channels, out_channels, kernel_size, dilation)
        self.relu2 = nn.ReLU()
        self.dropout2 = nn.Dropout1d(dropout)
        # The parametrised convolution is still an nn.Conv1d of torch's own: traced as one call.
        for conv in (self.conv1, self.conv2):
            weight_norm(conv.conv)
        self.shortcut = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Conv1d(in_channels, out_channels, 1)
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in_channels, length)`` to ``(n, out_channels, length)``."""
        out = self.dropout1(self.relu1(self.conv1(x)))
        out = self.dropout2(self.relu2(self.conv2(out)))
        total: Tensor = self.relu(out + self.shortcut(x))
        return total


class TCN(nn.Module):
    """The paper's network: residual blocks of growing dilation, a linear layer on the newest step.

    With the default arguments a look-back of 60 steps. The paper fits kernel size, widths and
    number of blocks to each task, and doubles the dilation from block to block. It does not say how
    the weights start: here as in He et al. 2015, each kernel's length included.

    Weight norm keeps each kernel as a length and a direction, ``...conv.parametrizations.weight.
    original0`` and ``original1`` in the state. The network is saved by its ``state_dict``;
    PyTorch refuses to pickle a network that holds parametrised modules as a whole.

    Parameters
    ----------
    num_outputs : int
        Values to predict, or classes.
    in_channels : int
    channels : sequence of int
        Of each block.
    kernel_size : int
    dilations : sequence of int
        Of each block.
    dropout : float
        Share of channels dropped in training, 0..1.

    Attributes
    ----------
    stages : tuple of Stage
        ``block1``, ``block2``, ... and ``last``.
    """

    head: ClassVar[tuple[str, ...]] = ("linear",)

    def __init__(
        self,
        num_outputs: int = 1,
        in_channels: int = 1,
        *,
        channels: Sequence[int] = (32, 32, 32, 32),
        kernel_size: int = 3,
        dilations: Sequence[int] = (1, 2, 4, 8),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        _check_kernel("TCN", kernel_size, dilations)
        if len(channels) != len(dilations):
            raise InputError(
                f"TCN needs one dilation for each block; received {len(channels)} channels "
                f"and {len(dilations)} dilations."
            )
        self.in_channels = in_channels
        widths = pairwise([in_channels, *channels])
        blocks = [
            TemporalBlock(before, after, kernel_size, dilation, dropout)
            for (before, after), dilation in zip(widths, dilations, strict=True)
        ]
        names = [f"block{number + 1}" for number in range(len(blocks))]
        self.blocks = nn.Sequential(OrderedDict(zip(names, blocks, strict=True)))
        self.last = LastStep()
        self.linear = nn.Linear(channels[-1], num_outputs)
        self.stages = (
            *(
                Stage(name, f"blocks.{name}", width, 1)
                for name, width in zip(names, channels, strict=True)
            ),
            Stage("last", "last", channels[-1], None),
        )

    @property
    def look_back(self) -> int:
        """Steps before the newest that the output reads; see :func:`look_back`."""
        return look_back(self)

    def forward(self, x: Tensor) -> Tensor:
        """Series ``(n, in_channels, length)``, any length, to ``(n, num_outputs)``."""
        check_input(x, "TCN", channels=self.in_channels, at_least=1, axes=1)
        out: Tensor = self.linear(self.last(self.blocks(x)))
        return out


def _check_kernel(net: str, kernel_size: int, dilations: Sequence[int]) -> None:
    if not dilations or min(dilations) < 1 or kernel_size < 1:
        raise InputError(
            f"{net} needs a kernel_size and dilations of 1 or more; received "
            f"kernel_size={kernel_size}, dilations={tuple(dilations)}."
        )
