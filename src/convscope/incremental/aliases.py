"""Operations that write into their input, re-written so that each value is written once.

What is computed again for a part of the map must find its input as it was when it was first read.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx

from convscope.geometry import rules, shapes, windows
from convscope.geometry.reading import flat, function_of, writes_in_place
from convscope.incremental.localising import rule_of

# Elementwise by their rule, but they may give back what they got.
_PASSING = frozenset(
    {
        "alpha_dropout", "bfloat16", "contiguous", "cpu", "cuda", "detach", "double", "dropout",
        "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout", "float", "half", "round",
        "ceil", "floor",
    }
)  # fmt: skip
# Rules of what always gives new memory.
_FRESH = frozenset(
    {
        shapes.elementwise, shapes.batch_norm, shapes.response_norm, shapes.fully_connected,
        shapes.softmax, shapes.group_norm, shapes.layer_norm, shapes.concatenation, shapes.stack,
        windows.convolution, windows.transposed_convolution, windows.pooling,
    }
)  # fmt: skip


def without_writing(module: fx.GraphModule, contents: Mapping[fx.Node, Any]) -> str | None:
    """Let everything that is read after it was written to be read from the writer.

    Parameters
    ----------
    module : fx.GraphModule
        Its graph is changed; afterwards it computes the same if every writer works on a copy.
    contents : mapping of fx.Node to object
        What the calls that depend on the input give, without data.

    Returns
    -------
    str or None
        Why that cannot be done.
    """
    order = {node: place for place, node in enumerate(module.graph.nodes)}
    # Nodes that may look at the same memory, and which of them are all of it as it is.
    shared: dict[fx.Node, set[fx.Node]] = {}
    same: dict[fx.Node, set[fx.Node]] = {}
    for node in list(module.graph.nodes):
        if "out" in node.kwargs:
            return f"{node.name} writes into another tensor"
        inputs = [one for one in node.all_input_nodes if _has_tensor(contents.get(one))]
        if node.op == "output" or not inputs or not _has_tensor(contents.get(node)):
            continue
        if writes(node, module):
            first = node.args[0] if node.args else None
            if not isinstance(first, fx.Node) or first not in inputs:
                return f"{node.name} writes into something that is not its first argument"
            reason = _redirect(node, first, shared, same, order)
            if reason is not None:
                return reason
            shared.setdefault(first, {first}).add(node)
            shared[node] = shared[first]
            same.setdefault(first, {first}).add(node)
            same[node] = same[first]
        elif not _is_fresh(node, module):
            group = set().union(*(shared.setdefault(one, {one}) for one in inputs), {node})
            for member in group:
                shared[member] = group
            if passes_on(node, module):
                same.setdefault(inputs[0], {inputs[0]}).add(node)
                same[node] = same[inputs[0]]
    return None


def writes(node: fx.Node, module: fx.GraphModule) -> bool:
    """Whether a call writes into its first argument."""
    if node.op == "call_module":
        return bool(getattr(module.get_submodule(str(node.target)), "inplace", False))
    if writes_in_place(node) or node.kwargs.get("inplace"):
        return True
    if node.op != "call_function" or not callable(node.target):
        return False
    try:
        bound = inspect.signature(node.target).bind(*node.args, **node.kwargs)
    except (TypeError, ValueError):
        return False
    return bound.arguments.get("inplace") is True


def _redirect(
    node: fx.Node,
    first: fx.Node,
    shared: Mapping[fx.Node, set[fx.Node]],
    same: Mapping[fx.Node, set[fx.Node]],
    order: Mapping[fx.Node, int],
) -> str | None:
    for other in shared.get(first, {first}):
        later = [user for user in other.users if order[user] > order[node]]
        if not later:
            continue
        if other is not first and other not in same.get(first, ()):
            return f"{node.name} writes into a part of what {later[0].name} reads"
        other.replace_all_uses_with(node, lambda user: order[user] > order[node])
    return None


def _is_fresh(node: fx.Node, module: fx.GraphModule) -> bool:
    if node.op == "call_module":
        called = module.get_submodule(str(node.target))
        return not passes_on(node, module) and rules.module_rule(called) in _FRESH
    return function_of(node) not in _PASSING and rule_of(node, None) in _FRESH


def passes_on(node: fx.Node, module: fx.GraphModule) -> bool:
    """Whether a call gives back what it got."""
    return node.op == "call_module" and isinstance(
        module.get_submodule(str(node.target)), rules.PASSING_MODULES
    )


def _has_tensor(content: Any) -> bool:
    return any(isinstance(one, Tensor) for one in flat(content))
