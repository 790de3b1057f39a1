"""Which layers can work on a part of a map, besides convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, fx, nn
from torch.nn import functional

from convscope.geometry import rules, shapes, windows
from convscope.geometry.axes import Window
from convscope.geometry.calls import Call, Rule, Value
from convscope.geometry.reading import function_of
from convscope.incremental.operations import (
    AveragePool,
    MaxPool,
    Operation,
    Pointwise,
    ResponseNorm,
    Shift,
)

# Elementwise by their rule, but they also change where or as what numbers are kept.
_NOT_POINTWISE = frozenset(
    {"bfloat16", "cpu", "cuda", "double", "float", "half", "to", "type_as", "expand", "expand_as"}
)
_POINTWISE_RULES = (shapes.elementwise, shapes.batch_norm, shapes.channels_only)
_AVERAGES = (nn.AvgPool1d, nn.AvgPool2d)
_MAXIMA = (nn.MaxPool1d, nn.MaxPool2d)

Among = Callable[[Sequence[Tensor]], Tensor]


def local_operation(
    node: fx.Node,
    call: Call,
    module: fx.GraphModule,
    reads: Sequence[Sequence[Window]],
    among: Among,
) -> Operation | None:
    """How a call works on a part of its maps; None where it needs whole ones.

    Parameters
    ----------
    node : fx.Node
    call : Call
    module : fx.GraphModule
    reads : sequence of sequence of Window
        How each input is read, per axis.
    among : callable
        The call itself, on its inputs.
    """
    layer = call.module
    rule = rule_of(node, layer)
    if len(reads) == 1:
        if rule is windows.pooling:
            return _pool(node, call, reads[0], lambda x: among([x]))
        if rule in (windows.padding_module, windows.padding_function):
            return _padding(call, reads[0], lambda x: among([x]))
        if rule in (shapes.getitem, shapes.narrow):
            return _cut(node, call, reads[0], lambda x: among([x]))
    if any(not _is_identity(window) for read in reads for window in read):
        return None
    if isinstance(layer, nn.LocalResponseNorm):
        weights = next((p for p in module.parameters() if p.dtype.is_floating_point), None)
        if weights is None:
            return Pointwise(among)
        return ResponseNorm(call.input.shape[1], layer, weights)
    if rule is shapes.concatenation:
        return Pointwise(among) if call.argument("dim", 0) == 1 else None
    if rule is shapes.softmax or rule is shapes.response_norm:
        return Pointwise(among) if rule is shapes.response_norm or _over_channels(call) else None
    if rule in _POINTWISE_RULES and function_of(node) not in _NOT_POINTWISE:
        return Pointwise(among)
    return None


def is_map(value: Value) -> bool:
    """Whether it is a map over the input: batch, channels, then every axis of the input."""
    layout = value.layout
    if layout is None or value.unknown is not None or not isinstance(value.content, Tensor):
        return False
    axes = len(layout.grid)
    return (
        layout.merged is None
        and layout.dims == tuple(range(2, 2 + axes))
        and value.content.ndim == 2 + axes
        and value.shape[2:] == layout.grid
        and value.content.dtype.is_floating_point
    )


def rule_of(node: fx.Node, layer: nn.Module | None) -> Rule | None:
    """The rule of geometry that a call falls under."""
    if layer is not None:
        return rules.module_rule(layer)
    if node.op == "call_method":
        entry = rules.named_entry(str(node.target))
    else:
        entry = rules.function_entry(node.target) if callable(node.target) else None
    return None if entry is None else entry[0]


def _is_identity(window: Window) -> bool:
    return window == Window(window.size_in, window.size_in)


def _over_channels(call: Call) -> bool:
    return bool(call.argument("dim") == 1)


def _pool(
    node: fx.Node, call: Call, reads: Sequence[Window], original: Callable[[Tensor], Tensor]
) -> Operation | None:
    name = function_of(node)
    if isinstance(call.module, _MAXIMA) or name in ("max_pool1d", "max_pool2d"):
        return MaxPool(reads, original)
    if not isinstance(call.module, _AVERAGES) and name not in ("avg_pool1d", "avg_pool2d"):
        return None
    # They come sixth and seventh of functional.avg_pool2d's arguments.
    extra: list[Any] = [None, None]
    for place, key in enumerate(("count_include_pad", "divisor_override")):
        given: Any = call.argument(key)
        if given is None and call.module is None and len(call.args) > 5 + place:
            given = call.args[5 + place]
        extra[place] = given
    counts = True if extra[0] is None else bool(extra[0])
    return AveragePool(reads, original, counts, extra[1])


def _padding(
    call: Call, reads: Sequence[Window], original: Callable[[Tensor], Tensor]
) -> Operation | None:
    if call.module is not None:
        fill = float(getattr(call.module, "value", 0.0) or 0.0)
        return Shift(reads, original, None, fill)
    if call.argument("mode", "constant") != "constant":
        return None
    fill = float(call.argument("value") or 0.0)
    pad = list(call.argument("pad"))
    axes = len(reads)
    beside = pad[2 * axes :]
    if not any(beside):
        return Shift(reads, original, None, fill)
    ends = [0] * (2 * axes) + beside

    def rest(x: Tensor) -> Tensor:
        return functional.pad(x, ends, value=fill)

    return Shift(reads, original, rest, fill)


def _cut(
    node: fx.Node, call: Call, reads: Sequence[Window], original: Callable[[Tensor], Tensor]
) -> Operation | None:
    """A cut along the axes of the input, and of channels where it is one slice."""
    if function_of(node) != "getitem":
        return Shift(reads, original) if call.argument("dim") not in (0, 1) else None
    index = call.args[1]
    index = index if isinstance(index, tuple) else (index,)
    rank = len(call.input.shape)
    if any(not isinstance(one, slice) and one is not Ellipsis for one in index):
        return None
    if Ellipsis in index:
        place = index.index(Ellipsis)
        filler = (slice(None),) * (rank - len(index) + 1)
        index = index[:place] + filler + index[place + 1 :]
    channels = index[1] if len(index) > 1 else slice(None)
    if channels == slice(None):
        return Shift(reads, original)
    return Shift(reads, original, lambda x: x[:, channels])
