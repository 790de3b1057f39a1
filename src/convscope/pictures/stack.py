"""A network on a series as lecture slides draw it: time in columns, layers in rows, all lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convscope.errors import InputError
from convscope.geometry import NetGraph
from convscope.pictures.layers import name_of
from convscope.pictures.rows import Row, leading, rows_of
from convscope.pictures.svg import MARGIN, WIDTH, cut, heading, number, page, quoted, text

_LEFT, _RIGHT = 168.0, WIDTH - 26.0
_TOP = 84.0
_MOST_STEPS = 72
_MOST_LINES = 1000  # in one row
_STYLE = """<style>
.thread { stroke: #818b98; stroke-width: .6; stroke-opacity: .3; fill: none }
.unit { fill: #b1bac4 }
.lead { stroke: #1864ab; stroke-width: 1.4; fill: none }
.skip { stroke: #d9480f; stroke-width: 1.3; stroke-dasharray: 4 3; fill: none }
.on { fill: #1864ab }
.out { fill: #d81b60 }
@media (prefers-color-scheme: dark) {
.unit { fill: #57606a }
.lead { stroke: #58a6ff }
.skip { stroke: #ffa657 }
.on { fill: #58a6ff }
.out { fill: #ff6f9f }
}
</style>"""


def draw_stack(graph: NetGraph, name: str) -> str:
    """The picture of a network that takes a series.

    Parameters
    ----------
    graph : NetGraph
        With one spatial axis.
    name : str
        Of the network.

    Raises
    ------
    InputError
        If what its last layer sees is not known.
    """
    said = look_back_in_words(graph)
    rows = rows_of(graph)
    masks = leading(rows)
    steps = rows[0].size
    pitch = 80.0 if len(rows) <= 7 else 58.0
    bottom = _TOP + (len(rows) - 1) * pitch
    xs = _columns(rows)
    ys = [bottom - place * pitch for place in range(len(rows))]
    shortcuts = any(place - below > 1 for place, row in enumerate(rows) for below, _ in row.links)
    below = f"The last output {said}" + ("; dashed: shortcuts" if shortcuts else "")
    parts = [
        _STYLE,
        heading(name, below),
        *_threads(rows, xs, ys),
        *_leads(rows, masks, xs, ys),
        *_units(rows, masks, xs, ys),
        *_labels(graph, rows, ys),
        *_time(masks[0], xs[0], bottom),
    ]
    if steps > _MOST_STEPS:
        last = f"drawn: the last {_MOST_STEPS} of {steps:,} steps"
        parts.append(text(_RIGHT, 32, last, "s", "end"))
    layers = ", ".join(label for label, _ in _names(graph, rows))
    told = f"The last output {said}. From the input up: {layers}."
    return page(bottom + 76, f"{name}: what its last output sees", told, parts)


def look_back_in_words(graph: NetGraph) -> str:
    """How far back the last output sees, for example ``sees 31 steps: now and 30 back``."""
    end = graph.nodes[-1]
    fields = graph.field(end)
    if not fields or not end.grid:
        raise InputError(f"What {end.name}, the last layer, sees is not known: {end.unknown}.")
    steps = graph.input[1]
    mask = graph.receptive_mask(end, (end.grid[0] - 1,))
    if mask.all() and fields[0].jump is None:
        return f"sees all {steps:,} steps"
    if not mask.any():
        return "sees none of the steps"
    size, start = fields[0].size, fields[0].start
    if fields[0].jump is not None:
        start += int((end.grid[0] - 1) * fields[0].jump)
    if start + size != steps:
        return f"sees {int(mask.sum()):,} of {steps:,} steps"
    if size == 1:
        return "sees 1 step: now"
    held = int(mask.sum()) == min(size, steps)
    seen = f"{size:,} steps: now and {size - 1:,} back" if held else _holes(mask, size)
    return f"sees {seen}" + (f"; the input has only {steps:,}" if size > steps else "")


def _holes(mask: np.ndarray, size: int) -> str:
    return f"{int(mask.sum()):,} of the last {size:,} steps"


def _columns(rows: Sequence[Row]) -> list[np.ndarray]:
    """Where the units of each row stand; those out of sight are left of the first column."""
    steps = rows[0].size
    shown = min(steps, _MOST_STEPS)
    pitch = min(26.0, (_RIGHT - _LEFT) / max(1, shown - 1))
    xs = [_RIGHT - (steps - 1 - np.arange(steps)) * pitch]
    for row in rows[1:]:
        xs.append(xs[0] if row.size == steps else _above(row, xs))
    return xs


def _above(row: Row, xs: Sequence[np.ndarray]) -> np.ndarray:
    """Units in the middle of what they read; at the ends, where padding is read, as elsewhere."""
    reads = [np.array([xs[below][tap] for below, tap in row.reads(u)]) for u in range(row.size)]
    if row.size == 1:
        # Above the part that is in sight, so that it is in sight, too.
        reads = [reads[0][reads[0] >= _LEFT - 0.5]]
    middles = np.array([(x.min() + x.max()) / 2 if x.size else _LEFT for x in reads])
    full = np.flatnonzero([x.size == max(each.size for each in reads) for x in reads])
    if len(full) < 2:
        return middles
    slope = (middles[full[-1]] - middles[full[0]]) / (full[-1] - full[0])
    even: np.ndarray = middles[full[0]] + slope * (np.arange(row.size) - full[0])
    return even


def _threads(rows: Sequence[Row], xs: Sequence[np.ndarray], ys: Sequence[float]) -> list[str]:
    """All connections from one row to the next, faint; none where they would be a grey area."""
    drawn = []
    for place, row in enumerate(rows):
        lines = [
            f"M{number(xs[below][tap])} {number(ys[below])}"
            f"L{number(xs[place][unit])} {number(ys[place])}"
            for unit in range(row.size)
            if _in_sight(xs[place][unit])
            for below, tap in row.reads(unit)
            if place - below == 1 and _in_sight(xs[below][tap])
        ]
        if lines and len(lines) <= _MOST_LINES:
            drawn.append(f'<path class="thread" d="{"".join(lines)}"/>')
    return drawn


def _leads(
    rows: Sequence[Row],
    masks: Sequence[np.ndarray],
    xs: Sequence[np.ndarray],
    ys: Sequence[float],
) -> list[str]:
    """The connections that lead to the last output; shortcuts as bows."""
    drawn = []
    for place, row in enumerate(rows):
        straight, bows = [], []
        for unit in np.flatnonzero(masks[place]):
            for below, tap in row.reads(int(unit)):
                x0, x1 = xs[below][tap], xs[place][unit]
                if not _in_sight(x0, x1):
                    continue
                start = f"M{number(x0)} {number(ys[below])}"
                if place - below == 1:
                    straight.append(f"{start}L{number(x1)} {number(ys[place])}")
                else:
                    side = 9.0 * (place - below)
                    middle = f"{number((x0 + x1) / 2 + side)} {number((ys[below] + ys[place]) / 2)}"
                    bows.append(f"{start}Q{middle} {number(x1)} {number(ys[place])}")
        if straight:
            drawn.append(f'<path class="lead" d="{"".join(straight)}"/>')
        if bows:
            drawn.append(f'<path class="skip" d="{"".join(bows)}"/>')
    return drawn


def _units(
    rows: Sequence[Row],
    masks: Sequence[np.ndarray],
    xs: Sequence[np.ndarray],
    ys: Sequence[float],
) -> list[str]:
    drawn = []
    for place, row in enumerate(rows):
        drawn.append(f'<g class="row" data-layer={quoted(row.node.name)}>')
        for unit in range(row.size):
            x = xs[place][unit]
            if not _in_sight(x):
                continue
            on = bool(masks[place][unit])
            style, radius = ("on", 3.4) if on else ("unit", 2.2)
            if on and place == len(rows) - 1:
                style, radius = "out", 6.5
            drawn.append(
                f'<circle class="{style}" data-unit="{unit}" cx="{number(x)}" '
                f'cy="{number(ys[place])}" r="{radius}"/>'
            )
        drawn.append("</g>")
    return drawn


def _names(graph: NetGraph, rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Of every row its name, without what most of them begin with, and how it reads."""
    nodes = [row.node for row in rows]
    names = [name_of(graph, node, nodes) for node in nodes]
    inner = [name.split(".") for name in names[1:-1]]
    shared = 0
    while inner and all(len(parts) > shared + 1 for parts in inner) and (
        len({tuple(parts[: shared + 1]) for parts in inner}) == 1
    ):  # fmt: skip
        shared += 1
    named = []
    for place, (row, name) in enumerate(zip(rows, names, strict=True)):
        own = 0 < place < len(rows) - 1
        label = ".".join(name.split(".")[shared:]) if own else name
        named.append((label, _how(row)))
    return named


def _how(row: Row) -> str:
    """Kernel and dilation, as the layer's own connections have them, before padding is cut off."""
    if not row.node.sources:
        return ""
    reads = row.node.sources[0].maps[0].reads
    if reads is None:
        return "reads all"
    taps = max((np.unique(line[line >= 0]) for line in reads), key=len)
    if len(taps) < 2:
        return ""
    gaps = set(np.diff(taps).tolist())
    return f"reads {len(taps)}" + (f", {gaps.pop()} apart" if len(gaps) == 1 else "")


def _labels(graph: NetGraph, rows: Sequence[Row], ys: Sequence[float]) -> list[str]:
    drawn = []
    for place, (label, how) in enumerate(_names(graph, rows)):
        fields = graph.field(rows[place].node)
        sees = f"sees {fields[0].size:,}" if fields and place else ""
        below = [line for line in (how, sees) if line]
        y = ys[place] + 5 - 8.5 * len(below)
        drawn.append(text(MARGIN, y, cut(label, 17), "b"))
        drawn += [text(MARGIN, y + 17 * (n + 1), line, "s") for n, line in enumerate(below)]
    return drawn


def _time(seen: np.ndarray, xs: np.ndarray, bottom: float) -> list[str]:
    """A bracket below what is seen, and the time steps, counted back from the newest."""
    drawn = []
    y = bottom + 14
    inside = [float(x) for x, on in zip(xs, seen, strict=True) if on and _in_sight(float(x))]
    if inside:
        drawn.append(
            f'<path class="lead" d="M{number(inside[0])} {number(y - 5)}V{number(y)}'
            f'H{number(inside[-1])}V{number(y - 5)}"/>'
        )
    pitch = float(xs[-1] - xs[-2]) if len(xs) > 1 else _RIGHT
    every = next(step for step in (1, 2, 5, 10, 20) if pitch * step >= 30)
    for back in range(0, len(xs), every):
        x = float(xs[-1 - back])
        if _in_sight(x):
            drawn.append(text(x, y + 18, f"−{back}" if back else "now", "s", "middle"))
    drawn.append(text((_LEFT + _RIGHT) / 2, y + 40, "time steps back from now", "s", "middle"))
    return drawn


def _in_sight(*xs: float) -> bool:
    return all(x >= _LEFT - 0.5 for x in xs)
