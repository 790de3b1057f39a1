"""The confusion matrix of a split as a table: counts, shades, headings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convscope.report.headline import SPLIT_WORDS
from convscope.report.scores import SplitScores
from convscope.report.words import amount, percent

# Upper ends of the shades, by share of the row; the last takes the rest.
SHADES = (0.05, 0.15, 0.35, 0.65, 1.0)
_MANY_CLASSES = 25
_LONG_NAME = 22


@dataclass(frozen=True)
class MatrixCell:
    """One cell: ``shade`` is 0 (empty) to 5, ``key`` finds its photos."""

    count: int
    shade: int
    right: bool
    key: str
    words: str


@dataclass(frozen=True)
class MatrixRow:
    """All photos of one true class."""

    number: int
    name: str
    n: int
    cells: tuple[MatrixCell, ...]


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix; ``numbered`` columns carry the number of their row, not its name."""

    split: str
    title: str
    numbered: bool
    names: tuple[str, ...]
    rows: tuple[MatrixRow, ...]
    n: int


def matrix(scores: SplitScores, classes: Sequence[str]) -> Matrix:
    """Lay out the confusion matrix of one split."""
    rows = []
    for i, counts in enumerate(scores.confusion):
        n = sum(counts)
        cells = tuple(
            _cell(scores.split, classes, i, j, count, n) for j, count in enumerate(counts)
        )
        rows.append(MatrixRow(i + 1, classes[i], n, cells))
    return Matrix(
        split=scores.split,
        title=SPLIT_WORDS[scores.split],
        numbered=len(classes) > _MANY_CLASSES or max(map(len, classes)) > _LONG_NAME,
        names=tuple(classes),
        rows=tuple(rows),
        n=scores.n,
    )


def _cell(split: str, classes: Sequence[str], i: int, j: int, count: int, n: int) -> MatrixCell:
    share = count / n if n else 0.0
    shade = 0 if count == 0 else 1 + next(k for k, end in enumerate(SHADES) if share <= end)
    photos = amount(count, "photo")
    if i == j:
        words = f"{photos} of {classes[i]} named rightly ({percent(share, 0)} of {n})"
    else:
        words = f"{photos} of {classes[i]} named {classes[j]} ({percent(share, 0)} of {n})"
    return MatrixCell(count, shade, i == j, f"{split} {i} {j}", words)
