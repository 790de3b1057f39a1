"""Which calls compute in a shorter type, and which do not bear its rounding.

Products of many terms lose little. Sums of branches, means and the last layer are kept in the
network's own type: what one position changes there is small next to what stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from convscope.geometry import windows
from convscope.geometry.reading import function_of

# Weights of a fully connected layer above which reading them takes the time.
_LARGE = 1_000_000
# They give numbers that they were given: nothing is rounded.
_EXACT_MODULES = (nn.ReLU, nn.MaxPool1d, nn.MaxPool2d, nn.Flatten, nn.Identity)
_EXACT = frozenset(
    {
        "relu", "cat", "concat", "concatenate", "max_pool1d", "max_pool2d", "flatten", "view",
        "reshape", "getitem", "narrow", "chunk", "split", "pad", "contiguous", "size",
    }
)  # fmt: skip

Run = Callable[[Mapping[fx.Node, Any]], Any]


def in_reduced(
    node: fx.Node, module: fx.GraphModule, run: Run, dtype: torch.dtype, *, last: bool
) -> Run:
    """A call that is given maps of a shorter type among others.

    Parameters
    ----------
    node : fx.Node
    module : fx.GraphModule
    run : callable
        The call, in the network's own type.
    dtype : torch.dtype
        The shorter one.
    last : bool
        Whether it gives the network's output.
    """
    layer: nn.Module | None = None
    if node.op == "call_module":
        layer = module.get_submodule(str(node.target))
    if isinstance(layer, nn.Linear) and layer.weight.numel() >= _LARGE and not last:
        source = node.all_input_nodes[0]
        weight = layer.weight.detach().to(dtype)
        given: Tensor | None = layer.bias
        bias = None if given is None else given.detach().to(dtype)
        return lambda env: functional.linear(env[source].to(dtype), weight, bias)
    if isinstance(layer, _EXACT_MODULES + windows.PADS) or function_of(node) in _EXACT:
        return run
    sources = node.all_input_nodes
    return lambda env: run({one: _long(env[one]) for one in sources if one in env})


def _long(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype == torch.bfloat16:
        return value.float()
    return value
