"""``describe``: every layer of a network, with what its units see and what it costs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convscope.errors import InputError, unknown_name
from convscope.geometry import Field, NetGraph, Node, trace
from convscope.nets.catalog import NETS, RGB, photo_net_spec
from convscope.run import Run

# Of a network that does not say what it takes.
_USUAL_INPUT = (3, 224, 224)


@dataclass(frozen=True)
class Layer:
    """One row of the layer table.

    Attributes
    ----------
    name : str
        Path of the module, or of the module that calls the function and the function's name.
    kind : str
        Class of the module, or name of the function.
    output : tuple of int or None
        Shape for one input; None where it gives no single tensor.
    receptive_field : tuple of int or None
        Inputs that one unit sees, per axis: those in the padding count, those behind a global
        operation are cut to the input. None where that is not known.
    jump : tuple of (Fraction or None) or None
        Inputs from one unit to the next, per axis; None for an axis along which there are none.
    start : tuple of int or None
        The first input that the first unit sees, per axis; negative in the padding.
    parameters, macs, bytes : int
        Parameters of this layer alone; multiply-adds, and bytes of its output, for one input.
    note : str or None
        Why the receptive field is not known.
    """

    name: str
    kind: str
    output: tuple[int, ...] | None
    receptive_field: tuple[int, ...] | None
    jump: tuple[Fraction | None, ...] | None
    start: tuple[int, ...] | None
    parameters: int
    macs: int
    bytes: int
    note: str | None

    @property
    def maps(self) -> bool:
        """Whether it gives maps of more than one unit, of which it is known what they see."""
        return (
            self.output is not None
            and len(self.output) == 3
            and min(self.output[1:]) > 1
            and self.receptive_field is not None
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON values; a jump that is no whole number (upsampling) becomes a float."""
        return {
            "name": self.name,
            "kind": self.kind,
            "output": None if self.output is None else list(self.output),
            "receptive_field": None if self.receptive_field is None else list(self.receptive_field),
            "jump": None if self.jump is None else [_number(jump) for jump in self.jump],
            "start": None if self.start is None else list(self.start),
            "parameters": self.parameters,
            "macs": self.macs,
            "bytes": self.bytes,
            "note": self.note,
        }


@dataclass(frozen=True)
class Description:
    """A network, layer by layer.

    Attributes
    ----------
    net : str
    input : tuple of int
        Channels, then the spatial sizes.
    parameters, trainable : int
        Of the whole network; shared ones count once.
    macs : int
        Multiply-adds for one input: convolutions, fully connected layers and matrix products.
    layers : tuple of Layer
        In the order of computation.
    kinds : dict
        Path -> class of every module that has rows for what happens in it.
    unused : tuple of str
        Parts of the network with parameters that evaluation does not use, such as auxiliary heads.
    untraced : str or None
        Why receptive fields are unknown, where the network cannot be traced.
    graph : NetGraph
        What all of this was read from: it answers for any unit of any layer.
    """

    net: str
    input: tuple[int, ...]
    parameters: int
    trainable: int
    macs: int
    layers: tuple[Layer, ...]
    kinds: dict[str, str]
    unused: tuple[str, ...]
    untraced: str | None
    graph: NetGraph = field(repr=False)

    @property
    def bytes(self) -> int:
        """Of all layers' outputs for one input, as training keeps them."""
        return sum(layer.bytes for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """As ``convscope describe --json`` prints it."""
        return {
            "net": self.net,
            "input": list(self.input),
            "parameters": self.parameters,
            "trainable": self.trainable,
            "macs": self.macs,
            "bytes": self.bytes,
            "unused": list(self.unused),
            "untraced": self.untraced,
            "layers": [layer.to_dict() for layer in self.layers],
        }

    def folded(self, depth: int) -> Description:
        """The same with one row for all that lies within a module at this depth.

        A row then has the sum of what its layers cost, and the shape and the receptive field of
        the last of them.

        Parameters
        ----------
        depth : int
            1 for the modules of the network itself.
        """
        rows: list[Layer] = []
        for layer in self.layers:
            name = ".".join(layer.name.split(".")[:depth])
            if rows and rows[-1].name == name and name in self.kinds:
                before = rows.pop()
                layer = replace(
                    layer,
                    parameters=before.parameters + layer.parameters,
                    macs=before.macs + layer.macs,
                    bytes=before.bytes + layer.bytes,
                )
            rows.append(replace(layer, name=name, kind=self.kinds.get(name, layer.kind)))
        return replace(self, layers=tuple(rows))


def describe(
    net: str | Path | Run | nn.Module, input_shape: Sequence[int] | None = None
) -> Description:
    """Every layer of a network: shape, receptive field, jump, parameters, multiply-adds, memory.

    Parameters
    ----------
    net : str, path, Run or nn.Module
        A name of the catalogue, a Run folder, ``module:attribute`` (a network, or something that
        gives one when called without arguments; the module is imported), or a network.
    input_shape : sequence of int, optional
        Channels, then the spatial sizes; default what the network was made for, 3 × 224 × 224
        where it does not say.

    Returns
    -------
    Description

    Raises
    ------
    InputError
        If there is no such network, or it cannot take such inputs.

    Examples
    --------
    >>> vgg16 = describe("vgg16")
    >>> vgg16.parameters
    138357544
    >>> [layer.receptive_field for layer in vgg16.layers if layer.name == "features.30"]
    [(212, 212)]
    """
    shape = None if input_shape is None else tuple(input_shape)
    if isinstance(net, nn.Module):
        return _describe_own(type(net).__name__, net, shape)
    if isinstance(net, Run):
        return _describe_run(net, shape)
    name = str(net)
    if name in NETS:
        spec = NETS[name]
        with torch.device("meta"):  # neither memory nor time for weights
            model = spec.build(spec.classes, (shape or spec.input)[0])
        return _description(name, model, shape or spec.input)
    if ":" in name and not Path(name).exists():
        return _describe_own(name, _imported(name), shape)
    if Path(name).is_dir():
        return _describe_run(Run(Path(name)), shape)
    unknown = unknown_name("net", name, NETS)
    raise InputError(f"{unknown} Or name a Run folder, or module:attribute.")


def _describe_run(run: Run, shape: tuple[int, ...] | None) -> Description:
    info = run.info()
    spec = photo_net_spec(info.net)
    own = (RGB, info.input.size, info.input.size)
    with torch.device("meta"):
        model = spec.build(len(info.classes), RGB)
    return _description(f"{info.net} of {run.path}", model, shape or own)


def _describe_own(name: str, model: nn.Module, shape: tuple[int, ...] | None) -> Description:
    if shape is not None:
        return _description(name, model, shape)
    try:
        return _description(name, model, _USUAL_INPUT)
    except InputError as error:
        usual = "x".join(map(str, _USUAL_INPUT))
        raise InputError(
            f"{error} Tried was {usual}: say what it takes with --input (input_shape in Python)."
        ) from error


def _imported(name: str) -> nn.Module:
    """The network that ``module:attribute`` names; modules beside the user are found, too."""
    module_name, _, attribute = name.partition(":")
    path = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
        if not isinstance(found, nn.Module) and callable(found):
            found = found()
    except (Exception, SystemExit) as error:  # the user's own code runs here
        raise InputError(
            f"{name} cannot be had: {type(error).__name__}: {error}. Expected module:attribute, "
            "where the attribute is a torch.nn.Module or gives one when called without arguments."
        ) from error
    finally:
        sys.path[:] = path
    if not isinstance(found, nn.Module):
        raise InputError(f"{name} is no torch.nn.Module but {type(found).__name__}.")
    return found


def _description(name: str, model: nn.Module, shape: tuple[int, ...]) -> Description:
    graph = trace(model, shape)
    called = {node.name for node in graph.nodes}
    kinds = {
        path: type(module).__name__
        for path, module in model.named_modules()
        if path and path not in called
    }
    return Description(
        net=name,
        input=shape,
        parameters=graph.parameters,
        trainable=graph.trainable,
        macs=graph.macs,
        layers=tuple(_layers(graph)),
        kinds=kinds,
        unused=tuple(
            name
            for name, child in model.named_children()
            if any(True for _ in child.parameters())
            and not any(node.name.split(".")[0].split("#")[0] == name for node in graph.nodes)
        ),
        untraced=graph.untraced,
        graph=graph,
    )


def _layers(graph: NetGraph) -> Iterator[Layer]:
    for node in graph.nodes[1:]:
        yield _layer(node, graph.field(node))


def _layer(node: Node, fields: tuple[Field, ...] | None) -> Layer:
    return Layer(
        name=node.name,
        kind=node.kind,
        output=node.output,
        receptive_field=None if fields is None else tuple(field.size for field in fields),
        jump=None if fields is None else _jumps(node, fields),
        start=None if fields is None else tuple(field.start for field in fields),
        parameters=node.parameters,
        macs=node.macs,
        bytes=node.bytes,
        note=node.unknown,
    )


def _jumps(node: Node, fields: tuple[Field, ...]) -> tuple[Fraction | None, ...]:
    """None also where an axis is gone and there is no next unit to jump to."""
    vector = node.output is not None and len(node.output) <= len(fields)
    sizes = node.grid or ()
    return tuple(
        None if vector and size == 1 else field.jump
        for field, size in zip(fields, sizes, strict=True)
    )


def _number(jump: Fraction | None) -> int | float | None:
    if jump is None:
        return None
    return int(jump) if jump.denominator == 1 else float(jump)
