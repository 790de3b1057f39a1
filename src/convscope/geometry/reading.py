"""Runs a traced network on tensors without data and notes, call by call, what it does."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from torch import Tensor, fx, nn

from convscope.geometry.axes import AxisMap, identity
from convscope.geometry.calls import Call, Layout, UnknownOperation, Value, outcome
from convscope.geometry.costs import function_macs, module_macs
from convscope.geometry.graph import Node, Source
from convscope.geometry.rules import (
    EXTREMES,
    IN_PLACE,
    PASSING_MODULES,
    RESHAPING,
    RESHAPING_MODULES,
    SPLITTING,
    UNCOUNTED,
    VIEWS,
    Entry,
    function_entry,
    function_name,
    module_rule,
    named_entry,
    plain_name,
)
from convscope.geometry.shapes import part, reduction, reshaped

# Inputs at once: what stays 2 is the batch.
BATCH = 2


class NodeReader(fx.Interpreter):
    """Runs a graph on tensors without data and notes every call.

    Parameters
    ----------
    traced : fx.GraphModule
    shape : tuple of int
        Of one input.

    Attributes
    ----------
    nodes : list of Node
        After ``run``: all calls that depend on the input, and loose parameters.
    own : dict of fx.Node to Value
        What each of these calls gives, before anybody writes into it.
    calls : dict of fx.Node to Call
    places : dict of fx.Node to int
        Where ``nodes`` has them.
    """

    def __init__(self, traced: fx.GraphModule, shape: tuple[int, ...]) -> None:
        super().__init__(traced)
        self.extra_traceback = False
        grid = shape[1:]
        self.layout = Layout(grid, tuple(range(2, 2 + len(grid))))
        self.nodes: list[Node] = []
        self.own: dict[fx.Node, Value] = {}
        self.calls: dict[fx.Node, Call] = {}
        self.values: dict[fx.Node, Value] = {}
        self.places: dict[fx.Node, int] = {}
        self.splits: dict[fx.Node, Call] = {}
        # Nodes that look at the same memory, and those of them that are all of it as it is.
        self.shared: dict[fx.Node, list[fx.Node]] = {}
        self.whole: set[fx.Node] = set()
        self.counted: set[int] = set()
        self.names: Counter[str] = Counter()

    def run_node(self, n: fx.Node) -> Any:
        """Compute the shapes of one node, and what it does along the axes."""
        content = super().run_node(n)
        if n.op == "placeholder" and not self.nodes:
            self._add(n, Node("input", "input", shape_of(content), self.layout.grid), content)
            self.values[n] = self.own[n] = Value(n, content, self.layout)
        elif n.op == "get_attr" and isinstance(content, nn.Parameter):
            self._add(
                n,
                Node(str(n.target).partition(".")[2], "parameter", tuple(content.shape), None),
                content,
            )
        elif n.op.startswith("call_") and any(isinstance(one, Tensor) for one in flat(content)):
            self._call(n, content)
        return content

    def _call(self, n: fx.Node, content: Any) -> None:
        module = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        name = function_of(n)
        inputs = [self.values[node] for node in n.all_input_nodes if node in self.values]
        if not inputs:
            return  # a constant
        call = self.calls[n] = self._named(n, name, module, content)
        if name in SPLITTING and not isinstance(content, Tensor) and inputs[0].unknown is None:
            self.splits[n] = call
            self.values[n] = self.own[n] = Value(n, content)
            self._follow(n, name, module, 1)
            return
        unknown = next((value.unknown for value in inputs if value.unknown), None)
        kind = name or type(module).__name__
        macs = self._macs(n, name, module, content) // BATCH
        reads: list[tuple[Value, tuple[AxisMap, ...]]] = []
        layout = None
        if unknown is None:
            try:
                reads, layout = self._geometry(n, name, call)
            except UnknownOperation as reason:
                unknown = f"{kind}: {reason}"
            except Exception as error:  # a rule that does not know this use
                unknown = f"{kind}: it is used in a way that is not known ({error})"
            uncounted = name in UNCOUNTED or (
                module is not None and any(True for _ in module.parameters())
            )
            if unknown is not None and macs == 0 and uncounted:
                unknown += ", and its multiply-adds are not counted"
        node = Node(
            name=self._unique(_scoped(n, name) if module is None else _path(n, module)),
            kind=kind,
            output=shape_of(content),
            grid=None if layout is None else layout.grid,
            sources=tuple(Source(self.places[value.node], maps) for value, maps in reads),
            macs=macs,
            unknown=unknown,
            module=module is not None,
        )
        self._add(n, node, content, module)
        self.values[n] = self.own[n] = Value(n, content, layout, unknown)
        self._follow(n, name, module, len(inputs))

    def _follow(self, n: fx.Node, name: str, module: nn.Module | None, inputs: int) -> None:
        """Who shares memory with whom, and what is read from it after it was written to."""
        first = next((arg for arg in n.args if isinstance(arg, fx.Node)), None)
        if first is None or first not in self.values:
            return
        writes = bool(
            writes_in_place(n) or getattr(module, "inplace", False) or n.kwargs.get("inplace")
        )
        passes = isinstance(module, PASSING_MODULES)
        views = name in VIEWS or isinstance(module, RESHAPING_MODULES) or first in self.splits
        if not (writes or passes or views):
            return
        shared = self.shared.setdefault(first, [first])
        whole = first is shared[0] or first in self.whole
        if writes and inputs == 1:
            self.values[first] = replace(self.values[n], content=self.values[first].content)
        elif writes:
            for other in shared:
                self._overwrite(
                    other, n, name, whole and (other is shared[0] or other in self.whole)
                )
        if whole and (writes or passes):
            self.whole.add(n)
        shared.append(n)
        self.shared[n] = shared

    def _overwrite(self, other: fx.Node, n: fx.Node, name: str, whole: bool) -> None:
        """What a node is from now on, when another has written into its memory."""
        value = self.values[other]
        if whole or other is n.args[0]:
            self.values[other] = replace(self.values[n], content=value.content)
        elif value.unknown is None:
            reason = f"{name}: it writes into a part of this in place"
            self.values[other] = Value(other, value.content, None, reason)
            self.splits.pop(other, None)

    def _named(self, n: fx.Node, name: str, module: nn.Module | None, content: Any) -> Call:
        entry = self._entry(n, name, module)
        names = SPLITTING.get(name, ("input",)) if entry is None else entry[1]
        args = tuple(self._argument(arg) for arg in n.args)
        kwargs = {key: self._argument(arg) for key, arg in n.kwargs.items()}
        return Call(module, names, args, kwargs, content)

    def _entry(self, n: fx.Node, name: str, module: nn.Module | None) -> Entry | None:
        if module is not None:
            rule = module_rule(module)
            return None if rule is None else (rule, ("input",))
        if n.op == "call_method":
            return named_entry(name)
        return function_entry(n.target) if callable(n.target) else None

    def _geometry(
        self, n: fx.Node, name: str, call: Call
    ) -> tuple[list[tuple[Value, tuple[AxisMap, ...]]], Layout]:
        if n.args and isinstance(n.args[0], fx.Node) and n.args[0] in self.splits:
            split = self.splits[n.args[0]]
            if name not in ("getitem", "getattr"):
                raise UnknownOperation("it takes several tensors")
            extreme = function_of(n.args[0]) in EXTREMES
            return outcome(reduction(split) if extreme else part(split, call.args[1]), call.output)
        if isinstance(call.module, RESHAPING_MODULES) or name in RESHAPING:
            layout = reshaped(call)
            return [(call.input, tuple(map(identity, layout.grid)))], layout
        entry = self._entry(n, name, call.module)
        if entry is None:
            raise UnknownOperation("there is no rule for it")
        return outcome(entry[0](call), call.output)

    def _argument(self, argument: Any) -> Any:
        """Arguments with values in place of what depends on the network's input."""

        def found(node: fx.Node) -> Any:
            return self.values.get(node, self.env.get(node))

        return fx.node.map_arg(argument, found)

    def _macs(self, n: fx.Node, name: str, module: nn.Module | None, content: Any) -> int:
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        if module is not None:
            given = next(
                (one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)), None
            )
            return 0 if given is None else module_macs(module, given, content)
        return function_macs(name, args, kwargs, content)

    def _add(self, n: fx.Node, node: Node, content: Any, module: nn.Module | None = None) -> None:
        found = list(module.parameters()) if module is not None else []
        if node.kind == "parameter":
            found = [content]
        new = [parameter for parameter in found if id(parameter) not in self.counted]
        self.counted.update(map(id, new))
        if node.kind == "parameter" and not new:
            return
        tensors = [one for one in flat(content) if isinstance(one, Tensor)]
        self.places[n] = len(self.nodes)
        self.nodes.append(
            replace(
                node,
                parameters=sum(parameter.numel() for parameter in new),
                trainable=sum(parameter.numel() for parameter in new if parameter.requires_grad),
                bytes=sum(one.numel() * one.element_size() for one in tensors)
                // (1 if node.kind == "parameter" else BATCH),
            )
        )

    def _unique(self, name: str) -> str:
        self.names[name] += 1
        return name if self.names[name] == 1 else f"{name}#{self.names[name]}"


def function_of(n: fx.Node) -> str:
    """The name of the function or method that a node calls; empty for a module."""
    if n.op == "call_method":
        return plain_name(str(n.target))
    return function_name(n.target) if n.op == "call_function" and callable(n.target) else ""


def writes_in_place(n: fx.Node) -> bool:
    """Whether a function or method writes into its first argument."""
    if n.op == "call_function" and n.target in IN_PLACE:
        return True
    target = n.target if isinstance(n.target, str) else getattr(n.target, "__name__", "")
    return n.op != "call_module" and target.endswith("_") and not target.endswith("__")


def _path(n: fx.Node, module: nn.Module) -> str:
    """The path of a module in the network; its class, where it is the network."""
    return str(n.target).partition(".")[2] or type(module).__name__


def _scoped(n: fx.Node, name: str) -> str:
    """A function's name behind the path of the module that calls it."""
    stack = n.meta.get("nn_module_stack") or {}
    path = next(reversed(stack), "").partition(".")[2]
    return f"{path}.{name}" if path else name


def flat(content: Any) -> list[Any]:
    """What lies in nested lists and tuples."""
    if isinstance(content, list | tuple):
        return [one for part in content for one in flat(part)]
    return [content]


def shape_of(content: Any) -> tuple[int, ...] | None:
    """Of a tensor, without the batch; None for anything else."""
    return tuple(int(size) for size in content.shape[1:]) if isinstance(content, Tensor) else None
