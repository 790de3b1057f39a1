"""Which layers of a network are worth a place in its picture, and how what is seen grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from convscope.geometry import NetGraph, Node, Span

MOST = 8
_FEW = 4


@dataclass(frozen=True)
class Seen:
    """What the unit in the middle of a layer sees.

    Attributes
    ----------
    name : str
        Of the layer, or of the outermost module that ends with it.
    grid, unit : tuple of int
        Units along each axis, and the place of the middle one.
    size : tuple of int
        The receptive field, per axis, padding included.
    jump : tuple of (Fraction or None)
        Inputs from one unit to the next; None where all units see the same.
    box : tuple of Span
        The smallest box around the inputs that it sees.
    window : tuple of Span
        The box with the padding that it sees.
    depth : int
        Layers up to here that widen what is seen, on the longest way.
    whole : bool
        Whether the box is the whole input.
    """

    name: str
    grid: tuple[int, ...]
    unit: tuple[int, ...]
    size: tuple[int, ...]
    jump: tuple[Fraction | None, ...]
    box: tuple[Span, ...]
    window: tuple[Span, ...]
    depth: int
    whole: bool

    @property
    def padded(self) -> bool:
        """Whether it sees padding."""
        return self.box != self.window


@dataclass(frozen=True)
class _Place:
    """A node with its field; ``raised`` is how often it was upsampled on the way."""

    at: int
    node: Node
    size: tuple[int, ...]
    jump: tuple[Fraction | None, ...]
    raised: int = 0


def choose(graph: NetGraph) -> tuple[Seen, ...]:
    """The layers to show, at most :data:`MOST`.

    For each size of the feature map the layer at which its units have come to see most, and again
    after upsampling; at last the first layer all of whose units see the same, if there is one.
    """
    depths, _ = _depths(graph)
    widest: dict[object, _Place] = {}
    for place in _even(graph):
        key = (place.node.grid, place.raised)
        known = widest.get(key)
        if max(place.size) > 1 and (known is None or sum(place.size) > sum(known.size)):
            widest[key] = place
    chosen = _different(sorted(widest.values(), key=lambda place: place.at))
    ending = _global(graph)
    room = MOST - (ending is not None)
    if len(chosen) > room:  # without padding, say, every convolution has a size of its own
        by_jump = list({place.jump: place for place in chosen}.values())
        chosen = by_jump if len(by_jump) >= _FEW else chosen
    if len(chosen) > room:
        steps = np.linspace(0, len(chosen) - 1, room).round().astype(int)
        chosen = [chosen[step] for step in steps]
    nodes = [place.node for place in chosen]
    found = [_seen(graph, place, depths, nodes) for place in chosen]
    if ending is not None:
        found.append(_seen(graph, ending, depths, None))
    return tuple(seen for seen in found if seen is not None)


def growth(graph: NetGraph) -> tuple[int, ...]:
    """The receptive field against depth, up to the first global layer.

    Returns
    -------
    tuple of int
        The longer side of the largest field of the layers at depth 0, 1, 2, ...; inputs.
    """
    depths, widened = _depths(graph)
    largest = [1] * (max(depths, default=0) + 1)
    reached = 0
    for place in _even(graph):
        if place.at in widened:
            depth = depths[place.at]
            largest[depth] = max(largest[depth], *place.size)
            reached = max(reached, depth)
    return tuple(np.maximum.accumulate(largest[: reached + 1]).tolist())


def name_of(graph: NetGraph, node: Node, others: Sequence[Node]) -> str:
    """The outermost module that ends with what this node sees and has none of the others in it.

    The second convolution of the last block of ``layer1`` is better known as ``layer1``.
    """
    parts = node.name.split(".")
    for length in range(1, len(parts)):
        inside = ".".join(parts[:length]) + "."
        if any(other.name.startswith(inside) for other in others if other is not node):
            continue
        last = next(n for n in reversed(graph.nodes) if n.name.startswith(inside))
        if last.grid == node.grid and graph.field(last) == graph.field(node):
            return inside[:-1]
    return node.name


def _even(graph: NetGraph) -> list[_Place]:
    """Nodes whose units see evenly spaced fields of one size."""
    places: dict[int, _Place] = {}
    for at, node in enumerate(graph.nodes):
        fields = graph.field(node)
        if fields is None or any(field.jump is None for field in fields):
            continue
        before = [places[source.node] for source in node.sources if source.node in places]
        if not before and at > 0:  # a parameter
            continue
        jump = tuple(field.jump for field in fields)
        raised = max(
            (each.raised + (_dense(jump) < _dense(each.jump)) for each in before), default=0
        )
        places[at] = _Place(at, node, tuple(field.size for field in fields), jump, raised)
    return list(places.values())


def _dense(jump: Sequence[Fraction | None]) -> Fraction:
    return sum((each for each in jump if each is not None), Fraction(0))


def _different(places: Sequence[_Place]) -> list[_Place]:
    """Without those that see what one before them sees: padding makes another size, no more."""
    kept: dict[tuple[object, object], _Place] = {}
    for place in places:
        kept.setdefault((place.size, place.jump), place)
    return list(kept.values())


def _global(graph: NetGraph) -> _Place | None:
    """The first layer all of whose units see the same."""
    for at, node in enumerate(graph.nodes):
        fields = graph.field(node)
        if not fields or any(field.jump is not None for field in fields):
            continue
        grid = node.grid or ()
        first, last = tuple(0 for _ in grid), tuple(size - 1 for size in grid)
        if first == last or graph.receptive_box(node, first) == graph.receptive_box(node, last):
            sizes = tuple(field.size for field in fields)
            return _Place(at, node, sizes, tuple(None for _ in fields))
    return None


def _seen(
    graph: NetGraph, place: _Place, depths: Sequence[int], others: Sequence[Node] | None
) -> Seen | None:
    node = place.node
    unit = _middle(node)
    box = graph.receptive_box(node, unit)
    if box is None:
        return None
    window: list[Span] = []
    for field, at, span in zip(graph.field(node) or (), unit, box, strict=True):
        start = span.start if field.jump is None else int(field.start + at * field.jump)
        stop = span.stop if field.jump is None else start + field.size
        # Only what lies beyond the ends is padding; inside, the box is what is exact.
        size = graph.input[1 + len(window)]
        window.append(Span(min(start, 0) or span.start, stop if stop > size else span.stop))
    return Seen(
        name=node.name if others is None else name_of(graph, node, others),
        grid=node.grid or (),
        unit=unit,
        size=place.size,
        jump=place.jump,
        box=box,
        window=tuple(window),
        depth=depths[place.at],
        whole=box == _all(graph),
    )


def _middle(node: Node) -> tuple[int, ...]:
    return tuple(size // 2 for size in node.grid or ())


def _all(graph: NetGraph) -> tuple[Span, ...]:
    return tuple(Span(0, size) for size in graph.nodes[0].grid or ())


def _depths(graph: NetGraph) -> tuple[list[int], set[int]]:
    """Of every node how many on the longest way to it widen the field; and which these are."""
    depths: list[int] = []
    widened: set[int] = set()
    fields = [graph.field(node) or () for node in graph.nodes]
    ends = [any(field.jump is None for field in each) for each in fields]
    for at, node in enumerate(graph.nodes):
        before = [source.node for source in node.sources]
        depth = max((depths[source] for source in before), default=0)
        wider = any(
            all(not fields[source] or field.size > fields[source][axis].size for source in before)
            for axis, field in enumerate(fields[at])
        )
        # A global layer is the last step: behind it there is nothing more to see.
        if before and not any(ends[source] for source in before) and (wider or ends[at]):
            depth += 1
            widened.add(at)
        depths.append(depth)
    return depths, widened
