"""The confusion matrix of a split as a table: counts, shades, headings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convscope.report.headline import SPLIT_WORDS
from convscope.report.scores import SplitScores
from convscope.report.words import amount, percent

# Upper ends of the shades, by share of the row; the last takes the rest.
SHADES = (0.05, 0.15, 0.35, 0.65, 1.0)
_FEW_CLASSES, _MANY_CLASSES = 8, 25
_MOST_MIXUPS = 10
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
class Mixup:
    """Photos of one class that were named as one other; ``n`` photos are of ``true``."""

    true: str
    named: str
    n: int
    cell: MatrixCell


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix.

    Attributes
    ----------
    split, title : str
    numbered : bool
        Columns carry the number of their row, not its name.
    density : str
        ``roomy``, ``medium`` or ``dense``: how large its cells are.
    names : tuple of str
    rows : tuple of MatrixRow
    n : int
        Photos.
    mixups : tuple of Mixup
        The fullest wrong cells of more than one photo, where the matrix is too large to see them
        at a glance.
    """

    split: str
    title: str
    numbered: bool
    density: str
    names: tuple[str, ...]
    rows: tuple[MatrixRow, ...]
    n: int
    mixups: tuple[Mixup, ...]


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
        density="roomy"
        if len(classes) <= _FEW_CLASSES
        else "dense"
        if len(classes) > _MANY_CLASSES
        else "medium",
        names=tuple(classes),
        rows=tuple(rows),
        n=scores.n,
        mixups=_mixups(rows, classes) if len(classes) > _FEW_CLASSES else (),
    )


def _mixups(rows: Sequence[MatrixRow], classes: Sequence[str]) -> tuple[Mixup, ...]:
    wrong = [
        Mixup(row.name, classes[j], row.n, cell)
        for row in rows
        for j, cell in enumerate(row.cells)
        if cell.count > 1 and not cell.right
    ]
    # Sorting keeps the order of the matrix among equals.
    wrong.sort(key=lambda mixup: (-mixup.cell.count, -mixup.cell.count / mixup.n))
    return tuple(wrong[:_MOST_MIXUPS])


def _cell(split: str, classes: Sequence[str], i: int, j: int, count: int, n: int) -> MatrixCell:
    share = count / n if n else 0.0
    shade = 0 if count == 0 else 1 + next(k for k, end in enumerate(SHADES) if share <= end)
    photos = amount(count, "photo")
    if i == j:
        words = f"{photos} of {classes[i]} named correctly ({percent(share, 0)} of {n})"
    else:
        words = f"{photos} of {classes[i]} named {classes[j]} ({percent(share, 0)} of {n})"
    return MatrixCell(count, shade, i == j, f"{split} {i} {j}", words)
