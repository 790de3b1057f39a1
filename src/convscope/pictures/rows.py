"""A network on a series as rows of units: which of them reads which, and which lead to the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from convscope.geometry import NetGraph, Node
from convscope.geometry.axes import AxisMap, Window, compose, identity


@dataclass
class Row:
    """One row of units.

    Attributes
    ----------
    node : Node
        The layer that gives them.
    size : int
        How many.
    links : list of (int, AxisMap)
        Rows below that are read, and how. A shortcut is one link more.
    """

    node: Node
    size: int
    links: list[tuple[int, AxisMap]]

    def reads(self, unit: int) -> Iterator[tuple[int, int]]:
        """Row and unit of everything that a unit reads; nothing of it is padding."""
        for below, through in self.links:
            taps = np.arange(through.size_in) if through.reads is None else through.reads[unit]
            yield from ((below, int(tap)) for tap in taps if tap >= 0)


# How a node follows from the rows so far: one of these for each row that it reads.
_Ways = list[tuple[int, AxisMap]]


def rows_of(graph: NetGraph) -> list[Row]:
    """The input, every layer that mixes time steps, and the output, from the bottom to the top.

    Layers that take the steps one by one (ReLU, dropout, padding, a cut) are part of the lines. The
    sum at the end of a residual block belongs to the row of the block's last convolution, which
    the shortcut then leads to.
    """
    first = graph.nodes[0]
    rows = [Row(first, _size(first), [])]
    ways: list[_Ways] = [[(0, identity(_size(first)))]]
    last = len(graph.nodes) - 1
    for at, node in enumerate(graph.nodes[1:], 1):
        if node.grid is None or not node.sources:
            ways.append([])
            continue
        found = [
            (row, _then(before, source.maps[0]))
            for source in node.sources
            for row, before in ways[source.node]
        ]
        if not found:  # behind something whose connections are not known
            ways.append([])
            continue
        if len(node.sources) == 1 and at != last and not _mixes(node.sources[0].maps[0]):
            ways.append(found)
            continue
        joined = _joined(graph, ways, at, found) if len(node.sources) > 1 else None
        if joined is not None:
            rows[joined].links += [way for way in _once(found) if way[0] != joined]
            ways.append([(joined, identity(rows[joined].size))])
            continue
        rows.append(Row(node, _size(node), _once(found)))
        ways.append([(len(rows) - 1, identity(_size(node)))])
    return rows


def leading(rows: Sequence[Row]) -> list[np.ndarray]:
    """Of every row a mask of the units that lead to the last unit of the last row."""
    masks = [np.zeros(row.size, bool) for row in rows]
    masks[-1][-1] = True
    for place in range(len(rows) - 1, 0, -1):
        for unit in np.flatnonzero(masks[place]):
            for below, tap in rows[place].reads(int(unit)):
                masks[below][tap] = True
    return masks


def _size(node: Node) -> int:
    return node.grid[0] if node.grid else 0


def _mixes(through: AxisMap) -> bool:
    """Whether some output reads more than one input."""
    return through.reads is None or bool(((through.reads >= 0).sum(axis=1) > 1).any())


def _is_identity(through: AxisMap) -> bool:
    if through.size_in != through.size_out or through.reads is None:
        return False
    own = np.arange(through.size_in)[:, None]
    return bool(((through.reads == own) | (through.reads < 0)).all() and (through.reads >= 0).any())


def _then(first: AxisMap, then: AxisMap) -> AxisMap:
    if isinstance(then, Window) and _is_identity(then):
        return first
    return compose(first, then)


def _once(ways: _Ways) -> _Ways:
    """Without a way that is there already: both halves of a split layer read the same."""
    kept: _Ways = []
    for row, through in ways:
        if not any(row == other and _same(through, known) for other, known in kept):
            kept.append((row, through))
    return kept


def _same(one: AxisMap, other: AxisMap) -> bool:
    if one.reads is None or other.reads is None:
        return one.reads is other.reads
    return np.array_equal(one.reads, other.reads)


def _joined(graph: NetGraph, ways: Sequence[_Ways], at: int, found: _Ways) -> int | None:
    """The row that a sum can be drawn into: the latest, if nobody reads it but through the sum."""
    row = max(place for place, _ in found)
    if row == 0 or not all(_is_identity(through) for place, through in found if place == row):
        return None
    its = {
        place
        for place, way in enumerate(ways)
        if len(way) == 1 and way[0][0] == row and _is_identity(way[0][1])
    }
    readers = {
        place
        for place, node in enumerate(graph.nodes)
        if any(source.node in its for source in node.sources)
    }
    return row if readers <= its | {at} else None
