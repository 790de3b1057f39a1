"""The newest output of a causal stack, computed from what it reads and from nothing else.

A forecast needs one output of the stack, the newest. With dilations 1, 2, 4, ... that one reads
every second output of the layer below, every fourth of the next, and so on: a convolution with a
stride. So a window costs some three lengths in all, not two lengths for each block. The numbers are
the same: what is left out is read by nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional

from convscope.nets.tcn import TCN, CausalConv1d, PlainTCN, TemporalBlock


@dataclass(frozen=True)
class _Grid:
    """Places that are needed, counted back from the newest: 0, step, 2 * step, ..."""

    step: int
    count: int

    @property
    def reach(self) -> int:
        return (self.count - 1) * self.step


def _below(wanted: _Grid, kernel_size: int, dilation: int) -> _Grid:
    """What a convolution reads to give the wanted places."""
    step = gcd(wanted.step, dilation)
    return _Grid(step, (wanted.reach + (kernel_size - 1) * dilation) // step + 1)


@dataclass(frozen=True)
class _Level:
    """The grids of one layer or block, the deepest last."""

    module: CausalConv1d | TemporalBlock
    outputs: _Grid
    middle: _Grid
    inputs: _Grid


class Newest:
    """The newest output of a stack for windows.

    Parameters
    ----------
    net : PlainTCN or TCN
        Is used as it is then, and in its mode: dropout included.
    """

    def __init__(self, net: PlainTCN | TCN) -> None:
        wanted = _Grid(0, 1)
        levels = []
        for module in reversed(net.layers if isinstance(net, PlainTCN) else net.blocks):
            if isinstance(module, CausalConv1d):
                below = _conv_below(wanted, module)
                levels.append(_Level(module, wanted, wanted, below))
            elif isinstance(module, TemporalBlock):
                middle = _conv_below(wanted, module.conv2)
                below = _conv_below(middle, module.conv1)
                levels.append(_Level(module, wanted, middle, below))
            else:
                continue
            wanted = below
        self.levels = levels[::-1]
        self.look_back = wanted.reach

    def __call__(self, x: Tensor) -> Tensor:
        """Windows to what stands before the linear layer.

        Parameters
        ----------
        x : Tensor
            ``(n, channels, length)``; with zeros before, where it is shorter than the look-back.

        Returns
        -------
        Tensor
            ``(n, filters)``.
        """
        length = self.look_back + 1
        x = functional.pad(x, (length - x.shape[2], 0)) if x.shape[2] < length else x
        # As a picture of one row, channels last: PyTorch's convolutions of those are twice as fast.
        h = x[:, :, None, x.shape[2] - length :].contiguous(memory_format=torch.channels_last)
        have = _Grid(1, length)
        for level in self.levels:
            h = _thinned(h, have, level.inputs)
            module = level.module
            if isinstance(module, CausalConv1d):
                h = functional.relu(_convolved(h, module, level.inputs, level.outputs))
            else:
                h = _block(h, module, level)
            have = level.outputs
        return h[:, :, 0, 0]


def _conv_below(wanted: _Grid, conv: CausalConv1d) -> _Grid:
    return _below(wanted, int(conv.conv.kernel_size[0]), int(conv.conv.dilation[0]))


def _block(h: Tensor, block: TemporalBlock, level: _Level) -> Tensor:
    out = _convolved(h, block.conv1, level.inputs, level.middle)
    out = functional.dropout2d(block.relu1(out), block.dropout1.p, block.training)
    out = _convolved(out, block.conv2, level.middle, level.outputs)
    out = functional.dropout2d(block.relu2(out), block.dropout2.p, block.training)
    beside = _thinned(h, level.inputs, level.outputs)
    if isinstance(block.shortcut, nn.Conv1d):
        weight, bias = block.shortcut.weight, block.shortcut.bias
        beside = functional.conv2d(beside, weight[:, :, None], bias)
    total: Tensor = block.relu(out + beside)
    return total


def _thinned(h: Tensor, have: _Grid, wanted: _Grid) -> Tensor:
    """Of the places that are there those that are wanted: ``(n, channels, 1, count)``."""
    every = wanted.step // have.step if wanted.count > 1 else 1
    first = h.shape[3] - 1 - (wanted.count - 1) * every
    return h[:, :, :, first::every] if every > 1 or first else h


def _convolved(h: Tensor, conv: CausalConv1d, inputs: _Grid, outputs: _Grid) -> Tensor:
    """From the places of one grid to those of another; nothing is padded, all is there."""
    own: nn.Conv1d = conv.conv
    stride = outputs.step // inputs.step if outputs.count > 1 else 1
    dilation = int(own.dilation[0]) // inputs.step
    weight = own.weight[:, :, None].contiguous(memory_format=torch.channels_last)
    return functional.conv2d(h, weight, own.bias, (1, stride), 0, (1, dilation))
