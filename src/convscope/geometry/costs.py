"""What a call costs: multiply-adds, as the field counts them.

One multiply-add is one multiplication with its addition; convolutions, fully connected layers and
matrix products count, biases, normalisation, activations and pooling do not. That is what fvcore
calls flops of convolutions and linear layers.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from convscope.geometry.rules import plain_name

_CONV = {"conv1d", "conv2d", "conv3d"}
_TRANSPOSED = {"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}
_PRODUCTS = {"matmul", "mm", "bmm"}


def module_macs(module: nn.Module, given: Tensor, output: Tensor) -> int:
    """Multiply-adds of one call of a module, for the whole batch.

    Parameters
    ----------
    module : nn.Module
    given, output : Tensor
        First input and output; only shapes are looked at.
    """
    weight = getattr(module, "weight", None)
    if isinstance(module, nn.modules.conv._ConvTransposeNd) and isinstance(weight, Tensor):
        return given.numel() * math.prod(weight.shape[1:])
    if isinstance(module, nn.modules.conv._ConvNd | nn.Linear) and isinstance(weight, Tensor):
        return output.numel() * math.prod(weight.shape[1:])
    return 0


def function_macs(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    """Multiply-adds of one call of a function or method, for the whole batch.

    Parameters
    ----------
    name : str
    args, kwargs
        As called, tensors with shapes only.
    output : object
    """
    name = plain_name(name)
    given = args[0] if args else kwargs.get("input")
    if not isinstance(output, Tensor) or not isinstance(given, Tensor):
        return 0
    weight = args[1] if len(args) > 1 else kwargs.get("weight")
    if name in _TRANSPOSED and isinstance(weight, Tensor):
        return given.numel() * math.prod(weight.shape[1:])
    if name in _CONV | {"linear"} and isinstance(weight, Tensor):
        return output.numel() * math.prod(weight.shape[1:])
    if name in _PRODUCTS:
        return output.numel() * int(given.shape[-1])
    return 0
