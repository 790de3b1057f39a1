"""A network cut in two behind one of its stages: the part that is frozen, the part that trains."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from convscope.errors import InputError
from convscope.finetune.plan import check_stages
from convscope.nets.stages import Stage

HEAD = "head"


@dataclass(frozen=True)
class Cut:
    """A network in two parts, whose parameters are the network's own.

    Attributes
    ----------
    frozen : nn.Module
        ``(n, channels, h, w)`` to the output of the last frozen stage.
    trained : nn.Module
        From there to logits ``(n, classes)``.
    behind : str or None
        The last frozen stage; None where nothing is frozen.
    groups : dict of str to tuple of str
        Trained stage, or ``head`` for all that comes behind the last stage -> names of its
        parameters in ``trained``; in the order of the data.
    head : str
        Path in ``trained`` of the layer that gives the classes.
    """

    frozen: nn.Module
    trained: nn.Module
    behind: str | None
    groups: dict[str, tuple[str, ...]]
    head: str


def split_net(net: nn.Module, first_trained_stage: str | None) -> tuple[nn.Module, nn.Module]:
    """Cut a network in front of a stage; ``trained(frozen(x))`` is ``net(x)``.

    Parameters
    ----------
    net : nn.Module
        Of the catalogue.
    first_trained_stage : str or None
        None cuts behind the last stage.

    Returns
    -------
    tuple of nn.Module
        Frozen part and trained part. Their parameters are the network's own: what trains one of
        them trains the network.

    Raises
    ------
    InputError
        For an unknown stage; and where more than one tensor passes from part to part.
    """
    names = [stage.name for stage in getattr(net, "stages", ())]
    if first_trained_stage is None:
        trained: list[str] = []
    elif first_trained_stage in names:
        trained = names[names.index(first_trained_stage) :]
    else:
        trained = [first_trained_stage]  # refused with the nearest name
    cut = cut_net(net, trained)
    return cut.frozen, cut.trained


def cut_net(net: nn.Module, trained_stages: Collection[str]) -> Cut:
    """Cut a network in front of its last stages.

    Parameters
    ----------
    net : nn.Module
        Of the catalogue. It is set to evaluation mode.
    trained_stages : collection of str
        The last ones, in their order.

    Raises
    ------
    InputError
        If they are not the last ones, or more than one tensor passes from part to part.
    """
    check_stages(net, list(trained_stages))
    net.eval()
    stages: tuple[Stage, ...] = net.stages  # type: ignore[assignment]
    frozen_count = len(stages) - len(trained_stages)
    # The modules at the ends of stages stay whole, so that each has a node of its own.
    ends = stages[max(0, frozen_count - 1) :]
    graph = _Tracer({stage.module for stage in ends}).trace(net)
    nodes = {stage.name: _node_of(graph, stage, type(net).__name__) for stage in ends}
    entry = next(node for node in graph.nodes if node.op == "placeholder")
    behind = stages[frozen_count - 1].name if frozen_count else None
    cut = entry if behind is None else nodes[behind]
    frozen: nn.Module = nn.Identity()
    if behind is not None:
        frozen = fx.GraphModule(net, _up_to(graph, cut), "Frozen").eval()
    trained = fx.GraphModule(net, _from(graph, cut, type(net).__name__), "Trained").eval()
    heads = [path for path in getattr(net, "head", ()) if _has(trained, path)]
    if len(heads) != 1:
        raise InputError(f"{type(net).__name__} has no single layer that gives the classes.")
    return Cut(frozen, trained, behind, _groups(net, graph, cut, nodes, trained_stages), heads[0])


class _Tracer(fx.Tracer):
    """Leaves some modules whole."""

    def __init__(self, whole: Collection[str]) -> None:
        super().__init__()
        self.whole = whole

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name in self.whole or super().is_leaf_module(
            m, module_qualified_name
        )


def _node_of(graph: fx.Graph, stage: Stage, net: str) -> fx.Node:
    found: list[fx.Node] = [
        n for n in graph.nodes if n.op == "call_module" and n.target == stage.module
    ]
    if len(found) != 1:
        raise InputError(
            f"{net} cannot be cut behind stage {stage.name}: its module is called {len(found)} "
            "times. Choose other stages to train."
        )
    return found[0]


def _needs(end: fx.Node, without: Collection[fx.Node] = ()) -> set[fx.Node]:
    """The nodes that a node is computed from, itself included."""
    found: set[fx.Node] = set()
    waiting = [end]
    while waiting:
        node = waiting.pop()
        if node not in found and node not in without:
            found.add(node)
            waiting.extend(node.all_input_nodes)
    return found


def _up_to(graph: fx.Graph, cut: fx.Node) -> fx.Graph:
    needed = _needs(cut)
    part = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node in needed:
            copies[node] = part.node_copy(node, lambda n: copies[n])
    part.output(copies[cut])
    part.lint()
    return part


def _from(graph: fx.Graph, cut: fx.Node, net: str) -> fx.Graph:
    output = next(node for node in graph.nodes if node.op == "output")
    needed = _needs(output, without={cut})
    if any(node.op == "placeholder" for node in needed):
        raise InputError(
            f"{net} cannot be cut there: more than one tensor passes on to the trained stages. "
            "Choose other stages to train."
        )
    part = fx.Graph()
    copies = {cut: part.placeholder("maps")}
    for node in graph.nodes:
        if node in needed:
            copies[node] = part.node_copy(node, lambda n: copies[n])
    part.lint()
    return part


def _groups(
    net: nn.Module,
    graph: fx.Graph,
    cut: fx.Node,
    nodes: dict[str, fx.Node],
    trained_stages: Iterable[str],
) -> dict[str, tuple[str, ...]]:
    """Each parameter behind the cut, under the first stage that needs it."""
    output = next(node for node in graph.nodes if node.op == "output")
    ends = [*((name, nodes[name]) for name in trained_stages), (HEAD, output)]
    groups: dict[str, tuple[str, ...]] = {}
    seen: set[str] = set()
    for name, end in ends:
        needed = _needs(end, without={cut})
        found = [
            parameter
            for node in graph.nodes
            if node in needed
            for parameter in _parameters(net, node)
        ]
        groups[name] = tuple(p for p in dict.fromkeys(found) if p not in seen)
        seen.update(found)
    return groups


def _parameters(net: nn.Module, node: fx.Node) -> list[str]:
    if node.op == "get_attr":
        found: Any = net
        for part in str(node.target).split("."):
            found = getattr(found, part)
        return [str(node.target)] if isinstance(found, nn.Parameter) else []
    if node.op != "call_module":
        return []
    module = net.get_submodule(str(node.target))
    return [f"{node.target}.{name}" for name, _ in module.named_parameters()]


def _has(net: nn.Module, path: str) -> bool:
    return any(name == path for name, _ in net.named_modules())
