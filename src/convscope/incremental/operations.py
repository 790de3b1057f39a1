"""What a layer computes, on a whole map or on a part of it that holds all it reads.

Maps are ``(b, channels, *space)`` with channels last in memory; padding of a part is in it already.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from convscope.geometry.axes import Window
from convscope.nets.inference import fused_kernels_work

Clamp = tuple[float, float]


class Operation(Protocol):
    """One layer.

    ``fill`` is what it reads beyond the ends of its input.
    """

    fill: float

    def whole(self, given: Sequence[Tensor]) -> Tensor:
        """On whole maps."""
        ...

    def part(self, given: Sequence[Tensor], starts: Sequence[Tensor]) -> Tensor:
        """On parts, which begin where outputs ``starts`` (one ``(b,)`` per axis) read."""
        ...


def _as_2d(x: Tensor) -> Tensor:
    """A series ``(b, channels, length)`` as a map of height 1."""
    return x if x.ndim == 4 else x.unsqueeze(2)


def _as_given(y: Tensor, given: Tensor) -> Tensor:
    return y if given.ndim == 4 else y.squeeze(2)


def _pair(per_axis: Sequence[int], behind: int) -> list[int]:
    return [*per_axis] if len(per_axis) == 2 else [behind, *per_axis]


class Convolution:
    """Convolution, batch norm and ReLU in one call; zeros beyond the ends.

    Parameters
    ----------
    weight : Tensor
        ``(out, in / groups, *kernel)``; batch norm is folded in.
    bias : Tensor or None
    windows : sequence of Window
        Per axis.
    groups : int
    clamp : tuple of float or None
        Bounds of the activation behind: ``(0, inf)`` is ReLU.
    """

    fill = 0.0

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        windows: Sequence[Window],
        groups: int,
        clamp: Clamp | None,
    ) -> None:
        weight = weight.detach()
        weight = weight if weight.ndim == 4 else weight.unsqueeze(2)
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.bias = weight.new_zeros(len(weight)) if bias is None else bias.detach()
        self.stride = _pair([w.stride for w in windows], 1)
        self.dilation = _pair([w.dilation for w in windows], 1)
        before = [w.padding for w in windows]
        behind = [
            (w.size_out - 1) * w.stride
            + w.dilation * (w.kernel_size - 1)
            + 1
            - w.padding
            - w.size_in
            for w in windows
        ]
        # Outputs that no stride reaches need no padding; what is missing in front stays in front.
        self.padding = _pair(before, 0)
        self.uneven: list[int] | None = None
        if any(more > p for more, p in zip(behind, before, strict=True)):
            ends = [(p, max(0, more)) for p, more in zip(before, behind, strict=True)]
            self.uneven = [end for pair in reversed(ends) for end in pair]
        self.groups, self.clamp = groups, clamp
        self._packed: Tensor | None = None
        self._fused = (
            self.weight.device.type == "cpu"
            and self.weight.dtype in (torch.float32, torch.bfloat16)
            and fused_kernels_work(self.weight.dtype)
        )

    def whole(self, given: Sequence[Tensor]) -> Tensor:
        """See :class:`Operation`."""
        if self.uneven is not None:
            return self._run(functional.pad(given[0], self.uneven), [0, 0])
        return self._run(given[0], self.padding)

    def part(self, given: Sequence[Tensor], starts: Sequence[Tensor]) -> Tensor:
        """See :class:`Operation`."""
        return self._run(given[0], [0, 0])

    def _run(self, given: Tensor, padding: list[int]) -> Tensor:
        x = _as_2d(given)
        if x.dtype != self.weight.dtype:
            x = x.to(self.weight.dtype)
        if self._fused:
            return _as_given(self._one_call(x, padding), given)
        y = functional.conv2d(
            x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )
        return _as_given(y if self.clamp is None else y.clamp_(*self.clamp), given)

    def _one_call(self, x: Tensor, padding: list[int]) -> Tensor:
        if self._packed is None:
            self._packed = torch._C._nn.mkldnn_reorder_conv2d_weight(  # type: ignore[call-arg]
                self.weight.to_mkldnn(), padding, self.stride, self.dilation, self.groups,
                list(x.shape),
            )  # fmt: skip
        act = "none" if self.clamp is None else "hardtanh"
        bounds = [] if self.clamp is None else list(self.clamp)
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._packed, self.bias, padding, self.stride, self.dilation, self.groups,
            act, bounds, "",
        )  # fmt: skip
        return found


class MaxPool:
    """Maximum over windows; nothing beyond the ends."""

    fill = -math.inf

    def __init__(self, windows: Sequence[Window], original: Callable[[Tensor], Tensor]) -> None:
        self.windows, self.original = windows, original
        self.kernel = _pair([w.kernel_size for w in windows], 1)
        self.stride = _pair([w.stride for w in windows], 1)
        self.dilation = _pair([w.dilation for w in windows], 1)

    def whole(self, given: Sequence[Tensor]) -> Tensor:
        """See :class:`Operation`."""
        return self.original(given[0])

    def part(self, given: Sequence[Tensor], starts: Sequence[Tensor]) -> Tensor:
        """See :class:`Operation`."""
        y = functional.max_pool2d(_as_2d(given[0]), self.kernel, self.stride, 0, self.dilation)
        return _as_given(y, given[0])


class AveragePool:
    """Mean over windows, divided as the layer does at the ends.

    Parameters
    ----------
    windows : sequence of Window
    original : callable
        The layer.
    counts_padding : bool
    padding : sequence of int
        Behind the input, per axis, that is counted.
    divisor : int or None
    """

    fill = 0.0

    def __init__(
        self,
        windows: Sequence[Window],
        original: Callable[[Tensor], Tensor],
        counts_padding: bool,
        divisor: int | None,
    ) -> None:
        self.windows, self.original = windows, original
        self.kernel = _pair([w.kernel_size for w in windows], 1)
        self.stride = _pair([w.stride for w in windows], 1)
        whole = math.prod(self.kernel)
        self.counts: list[Tensor] | None = None
        self.divisor = divisor or whole
        if divisor is None:
            counts = [_counts(w, counts_padding) for w in windows]
            if any(int(c.min()) < w.kernel_size for c, w in zip(counts, windows, strict=True)):
                self.counts, self.divisor = counts, 1

    def whole(self, given: Sequence[Tensor]) -> Tensor:
        """See :class:`Operation`."""
        return self.original(given[0])

    def part(self, given: Sequence[Tensor], starts: Sequence[Tensor]) -> Tensor:
        """See :class:`Operation`."""
        x = given[0].float() if given[0].dtype == torch.bfloat16 else given[0]
        y = functional.avg_pool2d(
            _as_2d(x), self.kernel, self.stride, divisor_override=self.divisor
        )
        y = _as_given(y, x)
        for axis, counts in enumerate(self.counts or ()):
            steps = torch.arange(y.shape[2 + axis], device=y.device)
            here = counts.to(y.device)[starts[axis][:, None] + steps]
            shape = [len(here), 1] + [1] * (y.ndim - 2)
            shape[2 + axis] = -1
            y = y / here.view(shape).to(y.dtype)
        return y


def _counts(window: Window, padding_too: bool) -> Tensor:
    """By how many each output divides along one axis."""
    first = torch.arange(window.size_out) * window.stride - window.padding
    last = (first + window.kernel_size).clamp(max=window.size_in + window.padding)
    if padding_too:
        return last - first
    return last.clamp(max=window.size_in) - first.clamp(min=0)


class ResponseNorm:
    """Local response normalisation: each value by those of the channels beside it."""

    fill = 0.0

    def __init__(self, channels: int, layer: nn.LocalResponseNorm, like: Tensor) -> None:
        place = torch.arange(channels)
        apart = place[None] - place[:, None]  # of an output, a column, from an input, a row
        # As PyTorch has it: size // 2 channels before, (size - 1) // 2 behind.
        inside = (apart <= layer.size // 2) & (-apart <= (layer.size - 1) // 2)
        self.band = inside.to(like) * (layer.alpha / layer.size)
        self.k, self.beta = layer.k, layer.beta

    def whole(self, given: Sequence[Tensor]) -> Tensor:
        """See :class:`Operation`."""
        # In float32 also where the rest is not: next to k, squares are small.
        last = given[0].movedim(1, -1).to(self.band.dtype)
        scale = torch.matmul(last * last, self.band).add_(self.k)
        if self.beta == 0.75:
            scale.rsqrt_()
            scale.mul_(scale.sqrt())
        else:
            scale.pow_(-self.beta)
        return (last * scale).movedim(-1, 1).to(given[0].dtype)

    def part(self, given: Sequence[Tensor], starts: Sequence[Tensor]) -> Tensor:
        """See :class:`Operation`."""
        return self.whole(given)


class Shift:
    """Padding with one number, cropping, every so manieth unit: nothing is left to compute.

    Parameters
    ----------
    windows : sequence of Window
        Of one tap each.
    original : callable
        The layer, on a whole map.
    rest : callable or None
        What it does besides, to channels.
    fill : float
    """

    def __init__(
        self,
        windows: Sequence[Window],
        original: Callable[[Tensor], Tensor],
        rest: Callable[[Tensor], Tensor] | None = None,
        fill: float = 0.0,
    ) -> None:
        self.original, self.rest, self.fill = original, rest, fill
        self.steps = tuple(slice(None, None, w.stride) for w in windows)

    def whole(self, given: Sequence[Tensor]) -> Tensor:
        """See :class:`Operation`."""
        return self.original(given[0])

    def part(self, given: Sequence[Tensor], starts: Sequence[Tensor]) -> Tensor:
        """See :class:`Operation`."""
        x = given[0][(slice(None), slice(None), *self.steps)]
        return x if self.rest is None else self.rest(x)


class Pointwise:
    """Every unit for itself: the call as it is, on any part."""

    fill = 0.0

    def __init__(self, call: Callable[[Sequence[Tensor]], Tensor]) -> None:
        self.call = call

    def whole(self, given: Sequence[Tensor]) -> Tensor:
        """See :class:`Operation`."""
        return self.call(given)

    def part(self, given: Sequence[Tensor], starts: Sequence[Tensor]) -> Tensor:
        """See :class:`Operation`."""
        return self.call(given)
