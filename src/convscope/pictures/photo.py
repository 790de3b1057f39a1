"""What units in the middle of a network's layers see of a photo: boxes, crops, a curve."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from convscope.errors import InputError
from convscope.geometry import NetGraph
from convscope.pictures.layers import Seen, choose, growth
from convscope.pictures.svg import (
    MARGIN,
    SMALL,
    WIDTH,
    chip,
    cut,
    data_uri,
    exact,
    heading,
    number,
    page,
    quoted,
    text,
    words,
)
from convscope.report.chart import nice_ticks

# From the smallest field to the largest; white numbers can be read on all of them.
COLOURS = ("#d81b60", "#d9480f", "#b36b00", "#2b8a3e", "#0b7285", "#1864ab", "#6741d9", "#846358")
# Percent, from which on two digits would say 100.
_NEARLY = 99.0
_TOP = 72.0
_SIDE = 288.0
_CHART = (378.0, 90.0, 618.0, 338.0)  # left, top, right, bottom
_CARDS = _TOP + _SIDE + 36
_CROP = 72.0
_CARD = _CROP + 18
# Boxes narrower than this have no room for a number.
_ROOM = 26.0


def draw_photo(graph: NetGraph, photo: np.ndarray, name: str) -> str:
    """The picture of a network that takes photos.

    Parameters
    ----------
    graph : NetGraph
        With two spatial axes.
    photo : numpy.ndarray
        uint8 ``(h, w)`` or ``(h, w, 3)``, of the input's size.
    name : str
        Of the network.
    """
    height, width = graph.input[1:]
    layers = choose(graph)
    if not layers:
        raise InputError(f"No layer of {name} sees more than one pixel: there is nothing to draw.")
    size = f"{width} × {height}"
    parts = [
        _definitions(photo),
        heading(name, f"What the unit in the middle of a layer sees of a {size} photo"),
        *_boxes(layers, width, height),
        *_chart(growth(graph), layers, max(width, height)),
        *(_card(place, seen, height, width) for place, seen in enumerate(layers)),
    ]
    bottom = _CARDS + math.ceil(len(layers) / 2) * _CARD
    told = " ".join(f"{seen.name} sees {_told(seen, height, width)}." for seen in layers)
    return page(bottom, f"{name}: what its units see", told, parts)


def in_words(seen: Seen, height: int, width: int) -> tuple[str, ...]:
    """How much of the photo, in one line or two.

    A share is of the photo's area: 7 × 7 of 224 × 224 pixels are 0.1 %.
    """
    share = 100 * seen.box[0].size * seen.box[1].size / (height * width)
    many = f"{share:.{2 if share >= 1 else 1}g} % of the photo"
    if share >= _NEARLY:
        many = "the whole photo" if seen.whole else "nearly all of the photo"
    if None in seen.jump:
        return (f"{many},", "as all layers after it do")
    if seen.padded:
        return (many, "and padding around it" if seen.whole else "and some padding")
    return (many,)


def _told(seen: Seen, height: int, width: int) -> str:
    return f"{_by(seen.size)} pixels: {' '.join(in_words(seen, height, width))}"


def _by(sizes: Sequence[int]) -> str:
    # Width first, as photos are measured.
    return " × ".join(map(str, reversed(sizes)))


def _definitions(photo: np.ndarray) -> str:
    height, width = photo.shape[:2]
    return (
        f'<defs><image id="photo" width="{width}" height="{height}" '
        f'preserveAspectRatio="none" href="{data_uri(photo)}"/>'
        '<pattern id="padding" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect class="pad" width="6" height="6"/>'
        '<path class="pad2" d="M0 0V6"/></pattern></defs>'
    )


def _boxes(layers: Sequence[Seen], width: int, height: int) -> list[str]:
    """The photo with the boxes, largest first; inside, coordinates are the photo's own pixels."""
    scale = _SIDE / max(width, height)
    shown_width, shown_height = width * scale, height * scale
    left, top = MARGIN + (_SIDE - shown_width) / 2, _TOP + (_SIDE - shown_height) / 2
    drawn = [
        f'<svg x="{number(left)}" y="{number(top)}" width="{number(shown_width)}" '
        f'height="{number(shown_height)}" viewBox="0 0 {width} {height}" overflow="visible"'
        f"{_rendering(min(width, height))}>",
        '<use href="#photo"/>',
    ]
    boxes = [seen.box for seen in layers]
    for place in reversed(range(len(layers))):
        rows, columns = layers[place].box
        x, y, w, h = (float(v) for v in (columns.start, rows.start, columns.size, rows.size))
        rect = f'x="{exact(x)}" y="{exact(y)}" width="{exact(w)}" height="{exact(h)}" fill="none"'
        line = (2.6 if min(w, h) * scale > _ROOM else 1.6) / scale
        # Where several boxes are one, each gets its share of the line, in dashes.
        same = [at for at, box in enumerate(boxes) if box == boxes[place]]
        casing = (
            f'<rect {rect} stroke="#fff" stroke-opacity=".85" stroke-width="{line * 1.9:.3g}"/>'
            if place == same[-1]
            else ""
        )
        dash = 7 / scale
        dashes = (
            f' stroke-dasharray="{dash:.3g} {dash * (len(same) - 1):.3g}" '
            f'stroke-dashoffset="{-dash * same.index(place):.3g}"'
            if len(same) > 1
            else ""
        )
        seen = layers[place]
        drawn.append(
            f'<g class="field" data-layer={quoted(seen.name)}>'
            f"<title>{words(seen.name)}: {_told(seen, height, width)}</title>"
            f'{casing}<rect class="box" {rect} stroke="{COLOURS[place]}" '
            f'stroke-width="{line:.3g}"{dashes}/></g>'
        )
    drawn.append("</svg>")
    drawn += _numbers(layers, left, top, scale)
    return drawn


def _numbers(layers: Sequence[Seen], left: float, top: float, scale: float) -> list[str]:
    """A number at a corner of each box that has room for one, none upon another."""
    placed: list[tuple[float, float]] = []
    drawn = []
    for place in reversed(range(len(layers))):
        rows, columns = layers[place].box
        if min(rows.size, columns.size) * scale < _ROOM:
            continue
        x0, x1 = left + columns.start * scale, left + columns.stop * scale
        y0, y1 = top + rows.start * scale, top + rows.stop * scale
        along = [(x0 + step, y0) for step in range(0, int(x1 - x0), 19)]
        for x, y in [*along, (x1, y1), (x0, y1)]:
            if all(math.hypot(x - a, y - b) > 18 for a, b in placed):
                placed.append((x, y))
                drawn.append(chip(x, y, str(place + 1), COLOURS[place]))
                break
    return drawn


def _chart(largest: Sequence[int], layers: Sequence[Seen], side: int) -> list[str]:
    """The curve: one step for each layer that widens what is seen, on a log scale."""
    left, top, right, bottom = _CHART
    last = len(largest) - 1
    # A global layer is no step of the curve but its end, and stands a little apart.
    end = right - 30 if last and layers[-1].depth > last else right
    most = math.log2(max(*largest, side)) * 1.06

    def x_of(depth: float) -> float:
        return right if depth > last else left + depth / max(1, last) * (end - left)

    def y_of(size: float) -> float:
        return bottom - math.log2(size) / most * (bottom - top)

    drawn = [text(left - 32, top - 12, "receptive field (pixels, log scale)", "s")]
    for power in range(0, int(most) + 1, 1 if most <= 6.5 else 2):
        y = y_of(2.0**power)
        drawn.append(f'<path class="grid" d="M{number(left)} {number(y)}H{number(right)}"/>')
        drawn.append(text(left - 8, y + 4, str(2**power), "s", "end"))
    drawn.append(f'<path class="axis" d="M{number(left)} {number(bottom)}H{number(right)}"/>')
    ticks = [int(tick) for tick in nice_ticks(0, max(1, last), about=5) if tick == int(tick)]
    drawn += [
        text(x_of(tick), bottom + 17, str(tick), "s", "middle")
        for tick in ticks
        if tick <= max(1, last)
    ]
    below = "layers that widen it, in order"
    drawn.append(text((left + right) / 2, bottom + 35, below, "s", "middle"))

    steps = [(x_of(depth), y_of(size)) for depth, size in enumerate(largest)]
    path = f"M{number(steps[0][0])} {number(steps[0][1])}" + "".join(
        f"H{number(x)}V{number(y)}" for x, y in steps[1:]
    )
    dots = [
        (x_of(seen.depth), y_of(max(*seen.size, largest[min(seen.depth, last)]))) for seen in layers
    ]
    y = y_of(side)
    drawn.append(f'<path class="markline" d="M{number(left)} {number(y)}H{number(right)}"/>')
    drawn.append(_mark(f"the photo: {side}", y, [*steps, *dots]))
    drawn.append(f'<path class="curve" d="{path}"/>')
    if layers[-1].depth > last:
        drawn.append(
            f'<path class="curve" stroke-dasharray="2 4" d="M{number(steps[-1][0])} '
            f'{number(steps[-1][1])}L{number(dots[-1][0])} {number(dots[-1][1])}"/>'
        )
    drawn += [
        chip(*dots[place], str(place + 1), COLOURS[place], 7.5)
        for place in reversed(range(len(layers)))
    ]
    return drawn


def _mark(label: str, y: float, taken: Sequence[tuple[float, float]]) -> str:
    """The label of the photo's line, where the curve leaves room for it."""
    left, _, right, _ = _CHART
    length = 8.0 * len(label)
    places = [(left + 6, y - 6), (right - length, y + 17), (left + 6, y + 17)]

    def crowd(place: tuple[float, float]) -> int:
        x0, y0 = place
        return sum(x0 - 8 < x < x0 + length + 8 and y0 - 24 < at < y0 + 12 for x, at in taken)

    return text(*min(places, key=crowd), label, "mark")


def _card(place: int, seen: Seen, height: int, width: int) -> str:
    """The crop that a unit sees, and beside it what layer that is."""
    column, row = place % 2, place // 2
    x = MARGIN + column * (WIDTH - MARGIN) / 2
    y = _CARDS + row * _CARD
    rows, columns = seen.window
    colour = COLOURS[place]
    lines = in_words(seen, height, width)
    jumps = {jump for jump in seen.jump if jump is not None}
    apart = ", ".join(f"{float(jump):g}" for jump in sorted(jumps)) if jumps else ""
    after = f", jump {apart}" if apart else ""
    crop = (
        f'<svg x="{number(x)}" y="{number(y)}" width="{number(_CROP)}" height="{number(_CROP)}" '
        f'viewBox="{columns.start} {rows.start} {columns.size} {rows.size}"'
        f"{_rendering(max(rows.size, columns.size))}>"
        + (_hatched(seen) if seen.padded else "")
        + '<use href="#photo"/></svg>'
        f'<rect x="{number(x)}" y="{number(y)}" width="{number(_CROP)}" height="{number(_CROP)}" '
        f'fill="none" stroke="{colour}" stroke-width="3"/>'
    )
    at = x + _CROP + 14
    return (
        f'<g class="card">{crop}{chip(x, y, str(place + 1), colour)}'
        + text(at, y + 13, cut(seen.name, 24), "b")
        + text(at, y + 31, f"{_by(seen.size)}{after}")
        + "".join(text(at, y + 49 + 17 * line, said, "s") for line, said in enumerate(lines))
        + "</g>"
    )


def _hatched(seen: Seen) -> str:
    """What lies beyond the photo's edge; the pattern keeps its size however large the window is."""
    rows, columns = seen.window
    scale = max(rows.size, columns.size) / _CROP
    return (
        f'<g transform="translate({columns.start} {rows.start}) scale({scale:.4g})">'
        f'<rect width="{number(columns.size / scale)}" height="{number(rows.size / scale)}" '
        'fill="url(#padding)"/></g>'
    )


def _rendering(pixels: int) -> str:
    return ' style="image-rendering: pixelated"' if pixels < SMALL else ""
