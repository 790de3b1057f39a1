"""From a network to its graph: traced symbolically, run once on tensors without data.

Nothing is computed and nothing is changed: mode, gradients, hooks and random numbers stay as they
are. What cannot be traced (Python that decides by the values of a tensor) is run instead, with
hooks: shapes and counts are then known, receptive fields are not.
"""

from __future__ import annotations

import logging
import traceback
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.parameter import UninitializedParameter

from convscope.errors import InputError
from convscope.geometry.axes import AxisMap, identity
from convscope.geometry.calls import Call, Layout, UnknownOperation, Value, outcome
from convscope.geometry.costs import function_macs, module_macs
from convscope.geometry.graph import NetGraph, Node, Source
from convscope.geometry.rules import (
    RESHAPING,
    RESHAPING_MODULES,
    SPLITTING,
    Entry,
    function_entry,
    function_name,
    module_rule,
    named_entry,
    plain_name,
)
from convscope.geometry.shapes import part, reshaped

# Two inputs at once: what stays 2 is the batch.
_BATCH = 2


def trace(model: nn.Module, input_shape: Sequence[int]) -> NetGraph:
    """The graph of a network for inputs of one shape, in evaluation mode.

    Parameters
    ----------
    model : nn.Module
        Takes one tensor ``(n, channels, length)`` or ``(n, channels, height, width)``; left as
        it is.
    input_shape : sequence of int
        Without the batch: channels, then length, or height and width.

    Returns
    -------
    NetGraph

    Raises
    ------
    InputError
        If the network cannot take such inputs.
    """
    shape = tuple(int(size) for size in input_shape)
    if not 1 <= len(shape) <= 4 or min(shape) < 1:
        raise InputError(
            "The input's shape is channels, then up to 3 sizes, for example 3x224x224. "
            f"Received: {'x'.join(map(str, shape)) or 'nothing'}."
        )
    if any(isinstance(one, UninitializedParameter) for one in model.parameters()):
        raise InputError(
            f"{type(model).__name__} has lazy layers that have not seen an input yet. "
            "Run it once on an input first."
        )
    with _left_alone(model), torch.no_grad():
        try:
            tracer = _Tracer()
            graph = tracer.trace(model)
            traced = fx.GraphModule(tracer.root, graph)
        except InputError:
            raise
        except Exception as error:  # tracing runs the network's own Python
            return _by_hooks(model, shape, _why(error))
        return _interpret(model, traced, shape)


@contextmanager
def _left_alone(model: nn.Module) -> Iterator[None]:
    """In evaluation mode and without the caller's hooks, for as long as the context is open."""
    modules = list(model.modules())
    modes = [module.training for module in modules]
    hooks = [(module._forward_hooks, module._forward_pre_hooks) for module in modules]
    try:
        model.eval()
        for module in modules:
            module._forward_hooks, module._forward_pre_hooks = OrderedDict(), OrderedDict()
        yield
    finally:
        for module, training, (after, before) in zip(modules, modes, hooks, strict=True):
            module.training = training
            module._forward_hooks, module._forward_pre_hooks = after, before


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """What has a rule is not looked into."""
        leaf = super().is_leaf_module(m, module_qualified_name)
        return leaf or module_rule(m) is not None


def _why(error: Exception) -> str:
    """Which line of the network stopped the tracing, and what it says."""
    torch_home = Path(torch.__file__).parent
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if torch_home not in Path(frame.filename).parents
        and Path(frame.filename) != Path(__file__)
        and not frame.filename.startswith("<")
    ]
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if not frames:
        return reason
    line = frames[-1]
    return f"{Path(line.filename).name}, line {line.lineno}: {line.line} ({reason})"


def _empty(model: nn.Module, shape: tuple[int, ...]) -> Tensor:
    parameter = next(iter(model.parameters()), None)
    if parameter is None:
        return torch.zeros((_BATCH, *shape))
    dtype = parameter.dtype if parameter.dtype.is_floating_point else torch.float32
    return torch.zeros((_BATCH, *shape), dtype=dtype, device=parameter.device)


def _interpret(model: nn.Module, traced: fx.GraphModule, shape: tuple[int, ...]) -> NetGraph:
    with _quiet(), FakeTensorMode(allow_non_fake_inputs=True):
        interpreter = _Interpreter(traced, shape)
        try:
            interpreter.run(_empty(model, shape))
        except Exception as error:  # whatever a layer says of the shape
            with suppress(RuntimeError, ValueError, TypeError, IndexError):
                model(_empty(model, shape))  # the network itself may say it more clearly
            raise _unfit(model, shape, error) from error
    return NetGraph(tuple(interpreter.nodes), *_counted(model))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without PyTorch's own report of a layer that refuses a shape: there will be one line."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def _unfit(model: nn.Module, shape: tuple[int, ...], error: Exception) -> InputError:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return InputError(
        f"{type(model).__name__} cannot take inputs of shape {'x'.join(map(str, shape))}: {first}"
    )


def _counted(model: nn.Module) -> tuple[int, int]:
    parameters = list(model.parameters())
    return (
        sum(parameter.numel() for parameter in parameters),
        sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    )


class _Interpreter(fx.Interpreter):
    """Runs a graph on tensors without data and notes every call."""

    def __init__(self, traced: fx.GraphModule, shape: tuple[int, ...]) -> None:
        super().__init__(traced)
        self.extra_traceback = False
        grid = shape[1:]
        self.layout = Layout(grid, tuple(range(2, 2 + len(grid))))
        self.nodes: list[Node] = []
        self.values: dict[fx.Node, Value] = {}
        self.places: dict[fx.Node, int] = {}
        self.splits: dict[fx.Node, Call] = {}
        self.counted: set[int] = set()
        self.names: Counter[str] = Counter()

    def run_node(self, n: fx.Node) -> Any:
        """Compute the shapes of one node, and what it does along the axes."""
        content = super().run_node(n)
        if n.op == "placeholder" and not self.nodes:
            self._add(n, Node("input", "input", _shape(content), self.layout.grid), content)
            self.values[n] = Value(n, content, self.layout)
        elif n.op == "get_attr" and isinstance(content, nn.Parameter):
            self._add(n, Node(str(n.target), "parameter", tuple(content.shape), None), content)
        elif n.op.startswith("call_") and any(isinstance(one, Tensor) for one in _flat(content)):
            self._call(n, content)
        return content

    def _call(self, n: fx.Node, content: Any) -> None:
        module = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        name = _function(n)
        inputs = [self.values[node] for node in n.all_input_nodes if node in self.values]
        if not inputs:
            return  # a constant
        call = self._named(n, name, module, content)
        if name in SPLITTING and call.input.unknown is None:
            self.splits[n] = call
            self.values[n] = Value(n, content)
            return
        unknown = next((value.unknown for value in inputs if value.unknown), None)
        kind = name or type(module).__name__
        reads: list[tuple[Value, tuple[AxisMap, ...]]] = []
        layout = None
        if unknown is None:
            try:
                reads, layout = self._geometry(n, name, call)
            except UnknownOperation as reason:
                unknown = f"{kind}: {reason}"
        node = Node(
            name=self._unique(str(n.target) if module is not None else _scoped(n, name)),
            kind=kind,
            output=_shape(content),
            grid=None if layout is None else layout.grid,
            sources=tuple(Source(self.places[value.node], maps) for value, maps in reads),
            macs=self._macs(n, name, module, content) // _BATCH,
            unknown=unknown,
            module=module is not None,
        )
        self._add(n, node, content, module)
        self.values[n] = Value(n, content, layout, unknown)

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
        split = self.splits.get(n.args[0]) if n.args and isinstance(n.args[0], fx.Node) else None
        if split is not None:
            if name != "getitem":
                raise UnknownOperation("it takes several tensors")
            return outcome(part(split, call.args[1]), call.output)
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
            return module_macs(module, args[0], content) if args else 0
        return function_macs(name, args, kwargs, content)

    def _add(self, n: fx.Node, node: Node, content: Any, module: nn.Module | None = None) -> None:
        found = list(module.parameters()) if module is not None else []
        if node.kind == "parameter":
            found = [content]
        new = [parameter for parameter in found if id(parameter) not in self.counted]
        self.counted.update(map(id, new))
        if node.kind == "parameter" and not new:
            return
        tensors = [one for one in _flat(content) if isinstance(one, Tensor)]
        self.places[n] = len(self.nodes)
        self.nodes.append(
            replace(
                node,
                parameters=sum(parameter.numel() for parameter in new),
                trainable=sum(parameter.numel() for parameter in new if parameter.requires_grad),
                bytes=sum(one.numel() * one.element_size() for one in tensors)
                // (1 if node.kind == "parameter" else _BATCH),
            )
        )

    def _unique(self, name: str) -> str:
        self.names[name] += 1
        return name if self.names[name] == 1 else f"{name}#{self.names[name]}"


def _function(n: fx.Node) -> str:
    """The name of the function or method that a node calls; empty for a module."""
    if n.op == "call_method":
        return plain_name(str(n.target))
    return function_name(n.target) if n.op == "call_function" and callable(n.target) else ""


def _scoped(n: fx.Node, name: str) -> str:
    """A function's name behind the path of the module that calls it."""
    stack = n.meta.get("nn_module_stack") or {}
    path = next(reversed(stack), "")
    return f"{path}.{name}" if path else name


def _flat(content: Any) -> list[Any]:
    if isinstance(content, list | tuple):
        return [one for part in content for one in _flat(part)]
    return [content]


def _shape(content: Any) -> tuple[int, ...] | None:
    return tuple(int(size) for size in content.shape[1:]) if isinstance(content, Tensor) else None


def _by_hooks(model: nn.Module, shape: tuple[int, ...], why: str) -> NetGraph:
    """Shapes and counts from running the network once; receptive fields stay unknown."""
    nodes = [Node("input", "input", shape, shape[1:])]
    counted: set[int] = set()
    names: Counter[str] = Counter()

    def note(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
            new = [p for p in module.parameters() if id(p) not in counted]
            counted.update(map(id, new))
            names[name] += 1
            tensors = [one for one in _flat(output) if isinstance(one, Tensor)]
            nodes.append(
                Node(
                    name=name if names[name] == 1 else f"{name}#{names[name]}",
                    kind=type(module).__name__,
                    output=_shape(output),
                    grid=None,
                    parameters=sum(p.numel() for p in new),
                    trainable=sum(p.numel() for p in new if p.requires_grad),
                    macs=module_macs(module, given[0], output) // _BATCH if given else 0,
                    bytes=sum(one.numel() * one.element_size() for one in tensors) // _BATCH,
                    unknown=f"the network could not be traced: {why}",
                    module=True,
                )
            )

        return hook

    leaves = [(n, m) for n, m in model.named_modules() if n and not any(m.children())]
    handles = [module.register_forward_hook(note(name)) for name, module in leaves]
    try:
        with torch.random.fork_rng(devices=()):
            model(_empty(model, shape))
    except InputError:
        raise
    except Exception as error:
        raise _unfit(model, shape, error) from error
    finally:
        for handle in handles:
            handle.remove()
    return NetGraph(tuple(nodes), *_counted(model), untraced=why)
