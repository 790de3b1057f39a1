"""From a traced network to steps: which layers can work on a part of their map, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx

from convscope.geometry.axes import Window
from convscope.geometry.reading import flat
from convscope.geometry.tracing import Traced
from convscope.incremental.aliases import passes_on, without_writing, writes
from convscope.incremental.folding import Folded, folded
from convscope.incremental.localising import is_map, local_operation
from convscope.incremental.operations import Operation
from convscope.incremental.reduced import in_reduced


@dataclass(frozen=True)
class Step:
    """One call, or several in one.

    Attributes
    ----------
    node : fx.Node
        Whose value it gives.
    sources : tuple of fx.Node
        What it reads of the values that depend on the input.
    shape : tuple of int
        Of what it gives for one input: channels, space; empty where that is no tensor.
    macs : int
    operation : Operation or None
        How a part is computed; None: whole maps only.
    windows : tuple of tuple of Window
        Of each source, per axis; empty without an operation.
    run : callable
        The call on whole maps, from what each source gives.
    last : tuple of fx.Node
        Sources that nobody reads afterwards.
    shapes_only : bool
        Whether it looks at nothing but the shapes of what it reads.
    """

    node: fx.Node
    sources: tuple[fx.Node, ...]
    shape: tuple[int, ...]
    macs: int
    run: Callable[[Mapping[fx.Node, Any]], Any]
    operation: Operation | None = None
    windows: tuple[tuple[Window, ...], ...] = ()
    last: tuple[fx.Node, ...] = field(default=())
    shapes_only: bool = False


@dataclass(frozen=True)
class Program:
    """A network as steps.

    Attributes
    ----------
    input, output : fx.Node
    shape : tuple of int
        Of one input.
    steps : tuple of Step
    shapes : mapping of fx.Node to tuple of int
        Of what is a map over the input, channels and space; others are missing.
    """

    input: fx.Node
    output: fx.Node
    shape: tuple[int, ...]
    steps: tuple[Step, ...]
    shapes: Mapping[fx.Node, tuple[int, ...]]


def lower(traced: Traced, dtype: torch.dtype | None = None) -> Program | str:
    """The steps of a traced network, or why there are none.

    Parameters
    ----------
    traced : Traced
        Its graph is changed: calls that write give new tensors, and those that only pass on are
        passed by. It can be lowered again.
    dtype : torch.dtype, optional
        What convolutions and large fully connected layers compute in, where that is not the type
        of their weights.
    """
    module = traced.module
    if module is None:
        return f"the network could not be traced: {traced.graph.untraced}"
    contents = {node: value.content for node, value in traced.values.items()}
    reason = without_writing(module, contents)
    if reason is not None:
        return reason
    output = next(node for node in module.graph.nodes if node.op == "output").args[0]
    if not isinstance(output, fx.Node) or output not in traced.values:
        return "it gives no single tensor that depends on its input"
    for node in list(module.graph.nodes):
        if passes_on(node, module) and node in traced.values and node is not output:
            node.replace_all_uses_with(node.args[0])
    return _Lowering(traced, module, dtype).program(output)


class _Lowering:
    def __init__(self, traced: Traced, module: fx.GraphModule, dtype: torch.dtype | None) -> None:
        self.traced, self.module, self.dtype = traced, module, dtype
        self.constants: dict[fx.Node, Any] = {}
        self.numbers: dict[fx.Node, Any] = {}
        self.dependent: set[fx.Node] = set()
        self.by_place = {place: node for node, place in traced.places.items()}
        self.shapes = {
            node: value.shape[1:] for node, value in traced.values.items() if is_map(value)
        }

    def program(self, output: fx.Node) -> Program:
        """All steps up to the output."""
        self.output = output
        needed = self._needed(output)
        skipped: set[fx.Node] = set()
        steps: list[Step] = []
        source = next(node for node in self.module.graph.nodes if node.op == "placeholder")
        self.dependent.add(source)
        for node in self.module.graph.nodes:
            if node not in needed or node in skipped or node is source:
                continue
            if not any(one in self.dependent for one in node.all_input_nodes):
                self.constants[node] = self._constant(node)
                continue
            if self._is_number(node):
                self.constants[node] = self.numbers[node]
                continue
            self.dependent.add(node)
            found = folded(node, self.module, self.traced.calls, self.constants, self.dtype)
            if found is not None:
                skipped.update(found.nodes)
                self.dependent.update(found.nodes)
                steps.append(self._folded_step(node, found))
            else:
                steps.append(self._step(node))
        return Program(
            source, output, self.traced.graph.input, tuple(_with_last(steps, output)), self.shapes
        )

    def _is_number(self, node: fx.Node) -> bool:
        """Whether it is computed from shapes alone, and not from how many inputs there are."""
        if node in self.traced.values or node.op not in ("call_function", "call_method"):
            return False

        def of_batch(size: int) -> Any:
            def read(one: fx.Node) -> Any:
                if one in self.constants:
                    return self.constants[one]
                shape = self.traced.values[one].shape[1:]
                return torch.empty((size, *shape), device="meta")

            return call(node, self.module, read)

        try:
            found, other = of_batch(2), of_batch(3)
            if isinstance(found, Tensor) or found != other:
                return False
        except Exception:  # it looks at more than shapes, or at how many inputs there are
            return False
        self.numbers[node] = found
        return True

    def _needed(self, output: fx.Node) -> set[fx.Node]:
        found, waiting = set(), [output]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                waiting.extend(node.all_input_nodes)
        return found

    def _constant(self, node: fx.Node) -> Any:
        if node.op == "get_attr":
            found: Any = self.module
            for name in str(node.target).split("."):
                found = getattr(found, name)
            return found.detach() if isinstance(found, Tensor) else found
        if node.op == "placeholder":
            return node.args[0] if node.args else None
        return call(node, self.module, self.constants.__getitem__)

    def _folded_step(self, node: fx.Node, found: Folded) -> Step:
        source = node.all_input_nodes[0]
        operation = found.operation
        last = found.nodes[-1] if found.nodes else node
        return Step(
            node=last, sources=(source,), shape=self.shapes[last],
            macs=self._macs(node), operation=operation, windows=(found.windows,),
            run=lambda env: operation.whole([env[source]]),
        )  # fmt: skip

    def _step(self, node: fx.Node) -> Step:
        sources = tuple(one for one in node.all_input_nodes if one in self.dependent)
        run = _runner(node, self.module, self.constants, sources)
        if self.dtype is not None:
            run = in_reduced(node, self.module, run, self.dtype, last=node is self.output)
        value = self.traced.values.get(node)
        shape = () if value is None or not isinstance(value.content, Tensor) else value.shape[1:]
        plain = Step(
            node,
            sources,
            shape,
            self._macs(node),
            run,
            shapes_only=self._reads_shapes(node, sources),
        )
        windows = self._windows(node, sources)
        if windows is None:
            return plain
        call_of = self.traced.calls[node]
        operation = local_operation(node, call_of, self.module, windows, self._among(sources, run))
        if operation is None:
            return plain
        return Step(
            node, sources, shape, plain.macs, operation=operation, windows=windows,
            run=lambda env: operation.whole([env[one] for one in sources]),
        )  # fmt: skip

    def _reads_shapes(self, node: fx.Node, sources: Sequence[fx.Node]) -> bool:
        """Whether it gives no tensor, and reads whole tensors or numbers."""
        return node not in self.traced.values and all(
            one not in self.traced.values or isinstance(self.traced.values[one].content, Tensor)
            for one in sources
        )

    def _among(
        self, sources: Sequence[fx.Node], run: Callable[[Mapping[fx.Node, Any]], Any]
    ) -> Callable[[Sequence[Tensor]], Tensor]:
        def among(given: Sequence[Tensor]) -> Tensor:
            found: Tensor = run(dict(zip(sources, given, strict=True)))
            return found

        return among

    def _macs(self, node: fx.Node) -> int:
        place = self.traced.places.get(node)
        return 0 if place is None else self.traced.graph.nodes[place].macs

    def _windows(
        self, node: fx.Node, sources: Sequence[fx.Node]
    ) -> tuple[tuple[Window, ...], ...] | None:
        """How each source is read, where all are maps over the input and are read by windows."""
        if node not in self.shapes or not all(one in self.shapes for one in sources):
            return None
        maps: dict[fx.Node, tuple[Window, ...]] = {}
        for source in self.traced.graph.nodes[self.traced.places[node]].sources:
            of = tuple(one for one in source.maps if isinstance(one, Window))
            read = self._origin(self.by_place[source.node])
            if len(of) != len(source.maps) or maps.get(read, of) != of:
                return None
            maps[read] = of
        if set(maps) != set(sources):
            return None
        if not self._constants_fit(node):
            return None
        return tuple(maps[one] for one in sources)

    def _origin(self, node: fx.Node) -> fx.Node:
        """Of what gives back what it got: what that is."""
        while node in self.traced.values and passes_on(node, self.module) and not node.users:
            given = node.args[0]
            if not isinstance(given, fx.Node):
                break
            node = given
        return node

    def _constants_fit(self, node: fx.Node) -> bool:
        """Whether tensors that do not depend on the input are the same at all places."""
        axes = len(self.traced.graph.input) - 1
        for one in node.all_input_nodes:
            content = self.constants.get(one)
            for tensor in flat(content):
                if isinstance(tensor, Tensor) and any(size > 1 for size in tensor.shape[-axes:]):
                    return False
        return True


def call(node: fx.Node, module: fx.GraphModule, read: Callable[[fx.Node], Any]) -> Any:
    """What a node gives, with what it reads."""
    args = fx.node.map_arg(node.args, read)
    kwargs = fx.node.map_arg(node.kwargs, read)
    if node.op == "call_module":
        return module.get_submodule(str(node.target))(*args, **kwargs)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    if not callable(node.target):
        raise TypeError(f"{node.name} calls {node.target!r}")
    return node.target(*args, **kwargs)


def _runner(
    node: fx.Node,
    module: fx.GraphModule,
    constants: Mapping[fx.Node, Any],
    sources: Sequence[fx.Node],
) -> Callable[[Mapping[fx.Node, Any]], Any]:
    """A call on the values of its sources, which it leaves as they are."""
    copied = node.args[0] if writes(node, module) and isinstance(node.args[0], fx.Node) else None

    def run(env: Mapping[fx.Node, Any]) -> Any:
        def read(one: fx.Node) -> Any:
            found = env[one] if one in sources else constants[one]
            return found.clone() if one is copied and isinstance(found, Tensor) else found

        return call(node, module, read)

    return run


def _with_last(steps: Sequence[Step], output: fx.Node) -> list[Step]:
    """With what each step is the last to read."""
    seen = {output}
    found: list[Step] = []
    for step in reversed(steps):
        last = tuple(one for one in dict.fromkeys(step.sources) if one not in seen)
        seen.update(step.sources)
        found.append(replace(step, last=last))
    return found[::-1]
