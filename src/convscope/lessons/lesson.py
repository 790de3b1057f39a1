"""What a lesson is: steps to read in a terminal, and data that its page shows and works with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Cell = tuple[int, int]


@dataclass(frozen=True)
class Grid:
    """A table of numbers with some of its cells marked.

    Attributes
    ----------
    caption : str
    rows : tuple of tuple of float
    marked : frozenset of (int, int)
        Row and column, from 0, of the cells that this step is about.
    """

    caption: str
    rows: tuple[tuple[float, ...], ...]
    marked: frozenset[Cell] = frozenset()


@dataclass(frozen=True)
class Step:
    """One thing to look at.

    Attributes
    ----------
    title : str
    text : str
        What happens here; the arithmetic written out. Lines are kept.
    grids : tuple of Grid
        Shown side by side.
    """

    title: str
    text: str
    grids: tuple[Grid, ...] = ()


@dataclass(frozen=True)
class Lesson:
    """A worked example.

    Attributes
    ----------
    name : str
        As ``convscope lesson NAME`` takes it; also of its page.
    title : str
    summary : str
        What one knows afterwards, in a sentence.
    steps : tuple of Step
    data : dict
        JSON values: all numbers that the page shows before its reader changes anything, and what
        its script checks itself against.
    """

    name: str
    title: str
    summary: str
    steps: tuple[Step, ...]
    data: dict[str, Any] = field(default_factory=dict)


def grid(
    caption: str, rows: Sequence[Sequence[float]], marked: Sequence[Cell] | frozenset[Cell] = ()
) -> Grid:
    """A :class:`Grid` of any rows of numbers, tensors' ``tolist()`` for example."""
    return Grid(caption, tuple(tuple(row) for row in rows), frozenset(marked))


def number(value: float, decimals: int = 4) -> str:
    """A number as one would write it: ``-105.5``, ``32``, ``0.3333``.

    >>> number(-105.5), number(32.0), number(1 / 3), number(-0.00001)
    ('-105.5', '32', '0.3333', '0')
    """
    text = f"{value:.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def signed(value: float) -> str:
    """A number as a factor in a sum: in brackets where it is below 0.

    >>> signed(-0.5), signed(2.0)
    ('(-0.5)', '2')
    """
    return f"({number(value)})" if value < 0 else number(value)
