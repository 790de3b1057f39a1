"""A convolution with the batch norm and the ReLU behind it, as one operation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from convscope.geometry import shapes, windows
from convscope.geometry.axes import Window
from convscope.geometry.calls import Call, UnknownOperation, Value
from convscope.geometry.reading import function_of
from convscope.geometry.rules import module_rule
from convscope.incremental.localising import is_map, rule_of
from convscope.incremental.operations import Clamp, Convolution

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True)
class Folded:
    """A convolution and what runs inside it.

    Attributes
    ----------
    operation : Convolution
    windows : tuple of Window
        Per axis.
    nodes : tuple of fx.Node
        Calls behind the convolution that are part of it, in order.
    """

    operation: Convolution
    windows: tuple[Window, ...]
    nodes: tuple[fx.Node, ...]


def folded(
    node: fx.Node,
    module: fx.GraphModule,
    calls: Mapping[fx.Node, Call],
    constants: Mapping[fx.Node, Any],
    dtype: torch.dtype | None = None,
) -> Folded | None:
    """The convolution that a node is, with what can be folded into it; None for anything else.

    Parameters
    ----------
    node : fx.Node
    module : fx.GraphModule
    calls : mapping of fx.Node to Call
    constants : mapping of fx.Node to object
        What does not depend on the input.
    dtype : torch.dtype, optional
        To compute in.
    """
    conv = _convolution(node, module, calls, constants)
    if conv is None:
        return None
    weight, bias, reads, groups = conv
    behind: list[fx.Node] = []
    user = _only_user(node)
    norm = None if user is None else _called(user, module)
    if user is not None and isinstance(norm, _NORMS) and _has_statistics(norm):
        weight, bias = _with_norm(weight, bias, norm)
        behind.append(user)
        user = _only_user(user)
    clamp = None if user is None else _clamp(user, module)
    if user is not None and clamp is not None:
        behind.append(user)
    if dtype is not None:
        weight, bias = weight.to(dtype), None if bias is None else bias.to(dtype)
    return Folded(Convolution(weight, bias, reads, groups, clamp), reads, tuple(behind))


def _convolution(
    node: fx.Node,
    module: fx.GraphModule,
    calls: Mapping[fx.Node, Call],
    constants: Mapping[fx.Node, Any],
) -> tuple[Tensor, Tensor | None, tuple[Window, ...], int] | None:
    """Weight, bias, windows and groups of a convolution over the axes of the input."""
    call = calls.get(node)
    layer = _called(node, module)
    if call is None or rule_of(node, layer) is not windows.convolution:
        return None
    if not call.args or not isinstance(call.args[0], Value) or not is_map(call.args[0]):
        return None
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        return None
    weight: Any = getattr(layer, "weight", None)
    bias: Any = getattr(layer, "bias", None)
    if layer is None:
        weight, bias = (
            constants.get(one) if isinstance(one, fx.Node) else one
            for one in (_given(node, 1, "weight"), _given(node, 2, "bias"))
        )
    wants_bias = _given(node, 2, "bias") is not None
    if not isinstance(weight, Tensor) or (layer is None and wants_bias and bias is None):
        return None  # they depend on the input
    try:
        maps = windows.convolution(call)[0].maps
    except UnknownOperation:
        return None
    reads = tuple(maps[2 + axis] for axis in range(len(call.input.shape) - 2))
    found = tuple(one for one in reads if isinstance(one, Window))
    groups = call.argument("groups", 1)
    if len(found) != len(reads) or not isinstance(groups, int):
        return None
    bias = bias.detach() if isinstance(bias, Tensor) else None
    return weight.detach(), bias, found, groups


def _given(node: fx.Node, place: int, name: str) -> Any:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name)


def _called(node: fx.Node, module: fx.GraphModule) -> nn.Module | None:
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


def _only_user(node: fx.Node) -> fx.Node | None:
    """The call that alone reads a node, as its first and only input."""
    if len(node.users) != 1:
        return None
    user = next(iter(node.users))
    return user if user.op != "output" and user.all_input_nodes == [node] else None


def _has_statistics(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> bool:
    known = module_rule(norm) is shapes.batch_norm
    return known and norm.running_mean is not None and norm.running_var is not None


def _with_norm(
    weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm1d | nn.BatchNorm2d
) -> tuple[Tensor, Tensor]:
    """Weight and bias that do the batch norm, too; in float64, so that little is lost."""
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        raise ValueError("a batch norm without statistics cannot be folded")
    scale = (var.double() + norm.eps).rsqrt()
    shift = -mean.double() * scale
    if norm.weight is not None:
        scale, shift = scale * norm.weight.double(), shift * norm.weight.double()
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    if bias is not None:
        shift = shift + bias.double() * scale
    folded_in = weight.double() * scale.view(-1, *[1] * (weight.ndim - 1))
    return folded_in.detach().to(weight.dtype), shift.detach().to(weight.dtype)


def _clamp(node: fx.Node, module: fx.GraphModule) -> Clamp | None:
    """The bounds of an activation that is nothing but bounds."""
    layer = _called(node, module)
    if layer is not None:
        if type(layer) is nn.ReLU:
            return (0.0, math.inf)
        if isinstance(layer, nn.Hardtanh) and module_rule(layer) is not None:
            return (float(layer.min_val), float(layer.max_val))
        return None
    if rule_of(node, None) is not shapes.elementwise:
        return None
    return {"relu": (0.0, math.inf), "relu6": (0.0, 6.0)}.get(function_of(node))
