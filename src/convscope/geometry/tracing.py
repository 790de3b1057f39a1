"""From a network to its graph: traced symbolically, run once on tensors without data.

Nothing is computed and nothing is changed: mode, gradients, hooks and random numbers stay as they
are. What cannot be traced (Python that decides by the values of a tensor) is run instead, with
hooks: shapes and counts are then known, receptive fields are not.
"""

from __future__ import annotations

import copy
import inspect
import logging
import operator
import traceback
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.parameter import UninitializedParameter

from convscope.errors import InputError
from convscope.geometry.calls import Call, Value
from convscope.geometry.costs import module_macs
from convscope.geometry.graph import NetGraph, Node
from convscope.geometry.reading import BATCH, NodeReader, flat, shape_of
from convscope.geometry.rules import module_rule

# Channels, and three axes.
_MOST_SIZES = 4


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
    return trace_calls(model, input_shape).graph


@dataclass(frozen=True)
class Traced:
    """A traced network whose calls can be run one by one.

    Attributes
    ----------
    graph : NetGraph
    module : fx.GraphModule or None
        The calls, with the network's own modules; None where it could not be traced.
    values : mapping of fx.Node to Value
        What each call that depends on the input gives, as it is when nobody writes into it.
    calls : mapping of fx.Node to Call
        Their arguments by name.
    places : mapping of fx.Node to int
        Where ``graph`` has them.
    """

    graph: NetGraph
    module: fx.GraphModule | None = None
    values: Mapping[fx.Node, Value] = field(default_factory=dict)
    calls: Mapping[fx.Node, Call] = field(default_factory=dict)
    places: Mapping[fx.Node, int] = field(default_factory=dict)


def trace_calls(model: nn.Module, input_shape: Sequence[int]) -> Traced:
    """As :func:`trace`, with the calls themselves."""
    shape = _checked(input_shape)
    model = _unwrapped(model)
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise InputError(
            f"{type(model).__name__} was compiled by torch.jit, which shows its layers to nobody. "
            "Give the network that it was made from."
        )
    if any(isinstance(one, UninitializedParameter) for one in model.parameters()):
        raise InputError(
            f"{type(model).__name__} has lazy layers that have not seen an input yet. "
            "Run it once on an input first."
        )
    with _left_alone(model), torch.no_grad():
        try:
            _check_signature(model)
            tracer = _Tracer()
            graph = tracer.trace(_OneInput(model))
            traced = fx.GraphModule(tracer.root, graph)
        except InputError:
            raise
        except Exception as error:  # tracing runs the network's own Python
            return Traced(_by_hooks(model, shape, _why(error)))
        return _read(model, traced, shape)


def _checked(input_shape: Sequence[int]) -> tuple[int, ...]:
    try:
        shape = tuple(operator.index(size) for size in input_shape)
    except TypeError:
        shape = ()
    if not 1 <= len(shape) <= _MOST_SIZES or min(shape) < 1:
        raise InputError(
            "The input's shape is channels, then up to 3 sizes, whole numbers above 0, for example "
            f"3x224x224. Received: {_in_words(input_shape)}."
        )
    return shape


def _in_words(input_shape: object) -> str:
    if isinstance(input_shape, Sequence) and not isinstance(input_shape, str):
        return "x".join(map(str, input_shape)) or "nothing"
    return repr(input_shape)


def _unwrapped(model: nn.Module) -> nn.Module:
    """The network itself, of what ``torch.compile`` or data-parallel training made of it."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


class _OneInput(nn.Module):
    """The network, called with its input alone: arguments with a default have their default."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        return self.net(x)


@contextmanager
def _left_alone(model: nn.Module) -> Iterator[None]:
    """In evaluation mode and without the caller's hooks, for as long as the context is open.

    Afterwards every module has the attributes that it had, lists and tables among them with what
    they held: mode, hooks, buffers, and what its own ``forward`` keeps for later, which while
    tracing would be no tensor.
    """
    modules = list(model.modules())
    before = [(module, dict(module.__dict__)) for module in modules]
    held = [
        (container, copy.copy(container))
        for module in modules
        for container in module.__dict__.values()
        if isinstance(container, list | dict | set)
    ]
    buffers = [(buffer, buffer._version, buffer.clone()) for buffer in model.buffers()]
    try:
        model.eval()
        for module in modules:
            module._forward_hooks, module._forward_pre_hooks = OrderedDict(), OrderedDict()
        yield
    finally:
        for module, attributes in before:
            module.__dict__.clear()
            module.__dict__.update(attributes)
        for container, content in held:
            container.clear()
            if isinstance(container, list):
                container.extend(content)
            else:
                container.update(content)
        for buffer, version, values in buffers:
            if buffer._version != version:
                buffer.copy_(values)


def _check_signature(model: nn.Module) -> None:
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return
    needed = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD,
                               parameter.KEYWORD_ONLY)
    ]  # fmt: skip
    if len(needed) > 1:
        raise InputError(
            f"{type(model).__name__} takes {len(needed)} inputs ({', '.join(needed)}). "
            "Give a network that takes one tensor; others can be fixed in a module around it."
        )


class _Proxy(fx.Proxy):
    """Notes ``x += y`` as what it is: other names of ``x`` see the sum, too."""

    def _in_place(self, function: Callable[..., Any], other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.iadd, other)

    def __isub__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.isub, other)

    def __imul__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.imul, other)

    def __itruediv__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.itruediv, other)


class _Tracer(fx.Tracer):
    def proxy(self, node: fx.Node) -> fx.Proxy:
        """See :class:`_Proxy`."""
        return _Proxy(node, self)

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


def _ones(model: nn.Module, shape: tuple[int, ...]) -> Tensor:
    parameter = next(iter(model.parameters()), None)
    if parameter is None:
        return torch.ones((BATCH, *shape))
    dtype = parameter.dtype if parameter.dtype.is_floating_point else torch.float32
    return torch.ones((BATCH, *shape), dtype=dtype, device=parameter.device)


def _read(model: nn.Module, traced: fx.GraphModule, shape: tuple[int, ...]) -> Traced:
    with _quiet(), FakeTensorMode(allow_non_fake_inputs=True):
        reader = NodeReader(traced, shape)
        try:
            reader.run(_ones(model, shape))
        except Exception as error:  # whatever a layer says of the shape
            with suppress(RuntimeError, ValueError, TypeError, IndexError):
                model(_ones(model, shape))  # the network itself may say it more clearly
            raise _unfit(model, shape, error) from error
    graph = NetGraph(tuple(reader.nodes), *_counted(model))
    return Traced(graph, traced, reader.own, reader.calls, reader.places)


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
            tensors = [one for one in flat(output) if isinstance(one, Tensor)]
            nodes.append(
                Node(
                    name=name if names[name] == 1 else f"{name}#{names[name]}",
                    kind=type(module).__name__,
                    output=shape_of(output),
                    grid=None,
                    parameters=sum(p.numel() for p in new),
                    trainable=sum(p.numel() for p in new if p.requires_grad),
                    macs=module_macs(module, given[0], output) // BATCH if given else 0,
                    bytes=sum(one.numel() * one.element_size() for one in tensors) // BATCH,
                    unknown=f"the network could not be traced: {why}",
                    module=True,
                )
            )

        return hook

    leaves = [(n, m) for n, m in model.named_modules() if n and not any(m.children())]
    handles = [module.register_forward_hook(note(name)) for name, module in leaves]
    try:
        with torch.random.fork_rng(devices=()):
            model(_ones(model, shape))
    except InputError:
        raise
    except Exception as error:
        raise _unfit(model, shape, error) from error
    finally:
        for handle in handles:
            handle.remove()
    return NetGraph(tuple(nodes), *_counted(model), untraced=why)
