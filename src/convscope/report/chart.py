"""Geometry of the line charts: from values to places on the page, nothing drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from convscope.report.words import MISSING, short

# Units of the drawing; the page scales it, so letters stay readable at phone width.
WIDTH, HEIGHT = 400.0, 270.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 26.0, 44.0
_MOST_DOTS = 32
# Values on a logarithmic axis that cannot all be labelled, and powers of ten that make an axis.
_MANY, _ENOUGH_POWERS = 20, 3


@dataclass(frozen=True)
class Series:
    """Values to draw; ``style`` is the CSS class of the line: ``train``, ``valid`` or ``other``."""

    name: str
    style: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Band:
    """Between two lines; None in either is a gap."""

    name: str
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


@dataclass(frozen=True)
class Area:
    """A drawn band: an SVG point list around it."""

    name: str
    points: str


@dataclass(frozen=True)
class Tick:
    """A place on an axis, in drawing units, and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """One drawn series: unbroken stretches as SVG point lists, and the points with a dot."""

    name: str
    style: str
    stretches: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Hit:
    """A column of the plot that answers the pointer with the values at one x."""

    left: float
    width: float
    middle: float
    tip: str


@dataclass(frozen=True)
class Chart:
    """A line chart, ready to be written as SVG."""

    title: str
    description: str
    x_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    hits: tuple[Hit, ...]
    mark: Tick | None
    areas: tuple[Area, ...] = ()
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM


def nice_ticks(low: float, high: float, about: int = 5) -> tuple[float, ...]:
    """Give round numbers that cover ``[low, high]``, at most ``about`` + 2 of them.

    >>> nice_ticks(0.13, 0.92)
    (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """
    # Next to nothing between them is nothing: steps that small cannot be told apart.
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        pad = abs(low) * 0.1 or 0.5
        low, high = low - pad, high + pad
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, 2 - math.floor(math.log10(step)))
    return tuple(round(i * step, digits) for i in range(first, last + 1))


def line_chart(
    title: str,
    x_label: str,
    x: Sequence[float],
    series: Sequence[Series],
    *,
    x_word: str,
    log_x: bool = False,
    as_percent: bool = False,
    mark: int | None = None,
    mark_label: str = "",
    bands: Sequence[Band] = (),
) -> Chart | None:
    """Lay out a chart of one or more series over the same x.

    Parameters
    ----------
    title, x_label : str
    x : sequence of float
        Increasing; positive if ``log_x``.
    series : sequence of Series
        Each as long as ``x``; None is a gap.
    x_word : str
        How the tooltip names an x: ``epoch`` gives ``epoch 3``.
    log_x : bool
        Lay x out by its logarithm; ticks are then the values themselves.
    as_percent : bool
        The values are shares, shown as percent.
    mark : int or None
        Index into ``x`` of the chosen point.
    mark_label : str
    bands : sequence of Band
        Areas behind the lines, the widest first.

    Returns
    -------
    Chart or None
        None where no series has a value.
    """
    present = [s for s in series if any(value is not None for value in s.values)]
    values = [value for s in present for value in s.values if value is not None]
    values += [v for band in bands for v in (*band.low, *band.high) if v is not None]
    if not values:
        return None
    along = [math.log10(value) for value in x] if log_x else list(x)
    start, end = along[0], along[-1]
    if end <= start:
        start, end = start - 0.5, end + 0.5
    y_values = nice_ticks(min(values), max(values))
    if as_percent:
        # Room above 100 % or below 0 % would say that there is something.
        y_values = tuple(v for v in y_values if 0 <= v <= 1) or y_values
    low, high = y_values[0], y_values[-1]
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place_x(value: float) -> float:
        return round(LEFT + 8 + (value - start) / (end - start) * (right - LEFT - 16), 2)

    def place_y(value: float) -> float:
        return round(bottom - (value - low) / (high - low) * (bottom - TOP), 2)

    places = [place_x(value) for value in along]
    # Of many values on a logarithmic axis the powers of ten are enough.
    powers = range(math.ceil(start), math.floor(end) + 1) if log_x and len(x) > _MANY else ()
    lines = tuple(
        _line(s, places, [None if v is None else place_y(v) for v in s.values]) for s in present
    )
    return Chart(
        title=title,
        description=_describe(title, x, present, x_word, as_percent, mark),
        x_label=x_label,
        x_ticks=tuple(Tick(place_x(power), short(10.0**power)) for power in powers)
        if len(powers) >= _ENOUGH_POWERS
        else _x_ticks(x, places, whole=not log_x),
        y_ticks=tuple(Tick(place_y(v), _value(v, as_percent, tick=True)) for v in y_values),
        lines=lines,
        hits=_hits(x, places, present, x_word, as_percent),
        mark=None if mark is None else Tick(places[mark], mark_label),
        areas=tuple(_area(band, places, place_y) for band in bands),
    )


def _area(band: Band, xs: Sequence[float], place_y: Callable[[float], float]) -> Area:
    """Along the upper line, and back along the lower."""
    known = [
        (x, place_y(low), place_y(high))
        for x, low, high in zip(xs, band.low, band.high, strict=True)
        if low is not None and high is not None
    ]
    there = [f"{x:g},{high:g}" for x, _, high in known]
    back = [f"{x:g},{low:g}" for x, low, _ in reversed(known)]
    return Area(band.name, " ".join([*there, *back]))


def _line(series: Series, xs: Sequence[float], ys: Sequence[float | None]) -> Line:
    stretches: list[list[tuple[float, float]]] = [[]]
    for at, y in zip(xs, ys, strict=True):
        if y is None:
            stretches.append([])
        else:
            stretches[-1].append((at, y))
    # Dots that touch make a band; a point without neighbours is nothing but its dot.
    every = math.ceil(len(xs) / _MOST_DOTS)
    return Line(
        name=series.name,
        style=series.style,
        stretches=tuple(
            " ".join(f"{at:g},{y:g}" for at, y in points) for points in stretches if len(points) > 1
        ),
        dots=tuple(
            point
            for points in stretches
            for i, point in enumerate(points)
            if i % every == 0 or len(points) == 1
        ),
    )


def _x_ticks(x: Sequence[float], places: Sequence[float], *, whole: bool) -> tuple[Tick, ...]:
    if not whole:
        candidates = list(range(len(x)))
    else:
        every = {value for value in nice_ticks(x[0], x[-1]) if value == int(value)}
        candidates = [i for i, value in enumerate(x) if value in every or i == 0]
    ticks: list[Tick] = []
    for i in candidates:
        # Labels closer than this overlap at the drawing's letter size.
        if ticks and places[i] - ticks[-1].at < 34:
            continue
        ticks.append(Tick(places[i], short(x[i])))
    return tuple(ticks)


def _hits(
    x: Sequence[float],
    places: Sequence[float],
    series: Sequence[Series],
    x_word: str,
    as_percent: bool,
) -> tuple[Hit, ...]:
    edges = [(a + b) / 2 for a, b in pairwise(places)]
    lefts, rights = [LEFT, *edges], [*edges, WIDTH - RIGHT]
    return tuple(
        Hit(
            left=round(left, 2),
            width=round(right - left, 2),
            middle=places[i],
            tip=f"{x_word} {short(x[i])}: "
            + ", ".join(f"{s.name} {_value(s.values[i], as_percent)}" for s in series),
        )
        for i, (left, right) in enumerate(zip(lefts, rights, strict=True))
    )


def _value(value: float | None, as_percent: bool, *, tick: bool = False) -> str:
    if value is None:
        return MISSING
    if as_percent:
        return f"{short(100 * value)} %" if tick else f"{100 * value:.1f} %"
    return short(value)


def _describe(
    title: str,
    x: Sequence[float],
    series: Sequence[Series],
    x_word: str,
    as_percent: bool,
    mark: int | None,
) -> str:
    ends = "; ".join(
        f"{s.name} from {_value(s.values[0], as_percent)} to {_value(s.values[-1], as_percent)}"
        for s in series
    )
    chosen = f"; chosen: {x_word} {short(x[mark])}" if mark is not None else ""
    return f"{title}: {ends}{chosen}."
