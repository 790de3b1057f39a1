"""Which inputs an output sees, found by autograd alone: what geometry is tested against.

The network's own code runs, with PyTorch's own kernels for windows, padding, slices and joins. Only
what could hide a dependence is taken out while it runs: every convolution sums its channels with
positive weights, the maximum of a window becomes its sum, and activations and normalisations with
fixed statistics become the identity. What then has a gradient of exactly zero is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_IDENTITY = {
    torch.relu, torch.relu_, functional.relu, functional.relu6, functional.hardtanh,
    functional.leaky_relu, functional.batch_norm, functional.local_response_norm,
    functional.dropout, torch.dropout, torch.batch_norm, functional.silu, functional.hardswish,
    torch.tanh, torch.sigmoid, functional.tanh, functional.sigmoid, Tensor.tanh, Tensor.sigmoid,
}  # fmt: skip
_CONVOLUTIONS = {torch.conv1d: 1, torch.conv2d: 2}
_TRANSPOSED = {torch.conv_transpose1d: 1, torch.conv_transpose2d: 2}
_POOLS = {
    torch.max_pool1d: 1, torch.max_pool2d: 2, functional.max_pool1d: 1, functional.max_pool2d: 2,
}  # fmt: skip


_PRODUCTS = {torch.mul, Tensor.mul, Tensor.__mul__, Tensor.mul_, Tensor.__imul__}


class _Thin(TorchFunctionMode):
    """Sums of positive terms, one channel computed and the others copies of it."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _IDENTITY:
            return args[0]
        if func in _CONVOLUTIONS:
            return _convolution(func, *args, **kwargs)
        if func in _TRANSPOSED:
            return _transposed(func, *args, **kwargs)
        if func in _POOLS:
            return _sum_pool(_POOLS[func], func, args, kwargs)
        if func in _PRODUCTS and all(isinstance(factor, Tensor) for factor in args[:2]):
            return args[0] + args[1]  # a factor that happens to be 0 would hide the other
        if func is functional.layer_norm:  # equal channels would be normalised to nothing
            return args[0] + args[0].mean(tuple(range(-len(args[1]), 0)), keepdim=True)
        if func is functional.linear:
            total = args[0].sum(-1, keepdim=True)
            return total.expand(*total.shape[:-1], args[1].shape[0])
        return func(*args, **kwargs)


def _positive(shape: Sequence[int]) -> Tensor:
    return torch.ones(tuple(shape), dtype=torch.float64) / np.prod(shape)


def _convolution(
    func: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1,
    padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    kernel = _positive((1, 1, *weight.shape[2:]))
    one = func(x.mean(1, keepdim=True), kernel, None, stride, padding, dilation, 1)
    return one.expand(-1, weight.shape[0], *one.shape[2:])


def _transposed(
    func: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1,
    padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    kernel = _positive((1, 1, *weight.shape[2:]))
    mean = x.mean(1, keepdim=True)
    one = func(mean, kernel, None, stride, padding, output_padding, 1, dilation)
    return one.expand(-1, weight.shape[1] * groups, *one.shape[2:])


def _sum_pool(
    axes: int, func: Callable[..., Tensor], args: Sequence[Any], kwargs: dict[str, Any]
) -> Tensor:
    """The sum over each window that the maximum would be taken of."""
    names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode")
    said = {**dict(zip(names, args, strict=False)), **kwargs}
    x = said["input"]
    kernel, padding, dilation = (
        _each(said.get(name, default), axes)
        for name, default in (("kernel_size", 1), ("padding", 0), ("dilation", 1))
    )
    stride = _each(said.get("stride") or kernel, axes)
    with torch.no_grad():
        sizes = func(*args, **kwargs).shape[2:]
    channels = x.shape[1]
    window = torch.ones((channels, 1, *kernel), dtype=x.dtype) / np.prod(kernel)
    # Enough zeros behind the end for ceil mode, and what is then too much is cut off.
    per_axis = list(zip(padding, stride, kernel, dilation, strict=True))
    ends = [one for p, s, k, d in reversed(per_axis) for one in (p, p + s + k * d)]
    convolve = functional.conv1d if axes == 1 else functional.conv2d
    found = convolve(functional.pad(x, ends), window, None, stride, 0, dilation, channels)
    return found[(..., *(slice(size) for size in sizes))]


def _each(setting: Any, axes: int) -> list[int]:
    return [setting] * axes if isinstance(setting, int) else list(setting)


def seen_inputs(
    model: nn.Module, shape: Sequence[int], layer: str, units: Sequence[Sequence[int]]
) -> list[np.ndarray]:
    """The inputs on which units of a layer depend.

    Parameters
    ----------
    model : nn.Module
    shape : sequence of int
        Of one input, channels first.
    layer : str
        Path of a module; "" for the output of the network.
    units : sequence of sequence of int
        Places on the layer's spatial axes; empty where it has none.

    Returns
    -------
    list of numpy.ndarray
        Boolean, of the input's spatial shape, one per unit.
    """
    model = model.eval()
    found: list[Tensor] = []
    hook = model.get_submodule(layer).register_forward_hook(
        lambda _module, _given, output: found.append(output)
    )
    x = torch.ones((1, *shape), dtype=torch.float64, requires_grad=True)
    try:
        with _Thin():
            model.double()(x)
    finally:
        hook.remove()
    output = found[0]
    masks = []
    for unit in units:
        place = tuple(unit) if output.dim() > 2 else ()
        value = output[(0, slice(None), *place)].sum()
        (gradient,) = torch.autograd.grad(value, x, retain_graph=True)
        masks.append((gradient[0] != 0).any(0).numpy())
    return masks


def relation(model: nn.Module, shape: Sequence[int]) -> np.ndarray:
    """Every output unit against every input: boolean ``(*output grid, *input grid)``."""
    x = torch.ones((1, *shape), dtype=torch.float64)

    def answer(given: Tensor) -> Tensor:
        with _Thin():
            return model.double().eval()(given)[0].sum(0)

    jacobian = torch.autograd.functional.jacobian(answer, x)
    grid = jacobian.shape[: -len(x.shape)]
    return (jacobian.reshape(*grid, *shape) != 0).any(len(grid)).numpy()
