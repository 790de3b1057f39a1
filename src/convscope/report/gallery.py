"""Which photos the page shows, and where; nothing is read from disk here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from convscope.run import Predictions

MAX_PHOTOS = 600
PER_CELL = 24
# A limit leaves every cell this many before any cell gets more.
_FIRST = 3
N_MISTAKES = 48

Cell = tuple[str, int, int]
"""Split, index of the true class, index of the predicted class."""


@dataclass(frozen=True)
class Shot:
    """One photo with its prediction; ``row`` is its line in the predictions."""

    row: int
    path: str
    split: str
    label: int
    predicted: int
    p_predicted: float
    p_label: float

    @property
    def name(self) -> str:
        """The file's name without its folders."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def right(self) -> bool:
        """Whether the prediction is the label."""
        return self.label == self.predicted


@dataclass(frozen=True)
class Gallery:
    """The photos of the page.

    Attributes
    ----------
    shots : tuple of Shot
        Every photo to embed, the most telling first.
    cells : mapping of Cell to tuple of int
        Rows of the photos behind each cell of the confusion matrices, in the order shown.
    mistakes : tuple of Shot
        Wrong test photos, the surest first.
    n_mistakes : int
        Wrong test photos altogether.
    """

    shots: tuple[Shot, ...]
    cells: Mapping[Cell, tuple[int, ...]]
    mistakes: tuple[Shot, ...]
    n_mistakes: int


def choose_photos(
    predictions: Predictions,
    classes: Sequence[str],
    *,
    max_photos: int = MAX_PHOTOS,
    per_cell: int = PER_CELL,
    n_mistakes: int = N_MISTAKES,
) -> Gallery:
    """Choose the photos to embed: errors before right ones, test before validation.

    Within a cell, errors begin with the surest and right photos with the least sure. Cells take
    turns, and the first few of every cell come before the rest of any, so that a limit thins all
    of them out instead of emptying the last ones.
    """
    shots = shots_of(predictions, classes)
    wrong = sorted(
        (shot for shot in shots if shot.split == "test" and not shot.right),
        key=lambda shot: (-shot.p_predicted, shot.path),
    )
    mistakes = tuple(wrong[: min(n_mistakes, max_photos)])
    cells: dict[Cell, list[Shot]] = {}
    for shot in sorted(shots, key=_telling):
        cells.setdefault((shot.split, shot.label, shot.predicted), []).append(shot)
    cells = {cell: members[:per_cell] for cell, members in cells.items()}

    kept: dict[int, Shot] = {shot.row: shot for shot in mistakes}
    for shot in _by_importance(cells):
        if len(kept) >= max_photos:
            break
        kept.setdefault(shot.row, shot)
    return Gallery(
        shots=tuple(kept.values()),
        cells={
            cell: tuple(shot.row for shot in members if shot.row in kept)
            for cell, members in cells.items()
        },
        mistakes=mistakes,
        n_mistakes=len(wrong),
    )


def shots_of(predictions: Predictions, classes: Sequence[str]) -> list[Shot]:
    """Every validation and test photo with its prediction.

    Parameters
    ----------
    predictions : Predictions
    classes : sequence of str
        Those of the run; their places are the numbers.
    """
    index = {name: i for i, name in enumerate(classes)}
    column = {name: i for i, name in enumerate(predictions.classes)}
    shots = []
    rows = zip(predictions.paths, predictions.splits, predictions.labels, strict=True)
    for row, ((path, split, label), said) in enumerate(
        zip(rows, predictions.predicted, strict=True)
    ):
        if split == "train" or label not in index or label not in column or said not in index:
            continue
        probabilities = predictions.probabilities[row]
        shots.append(
            Shot(
                row=row,
                path=path,
                split=split,
                label=index[label],
                predicted=index[said],
                p_predicted=float(probabilities[column[said]]),
                p_label=float(probabilities[column[label]]),
            )
        )
    return shots


def _telling(shot: Shot) -> tuple[float, str]:
    return (shot.p_predicted if shot.right else -shot.p_predicted, shot.path)


def _by_importance(cells: Mapping[Cell, Sequence[Shot]]) -> Iterator[Shot]:
    for part in (slice(0, _FIRST), slice(_FIRST, None)):
        for right in (False, True):
            for split in ("test", "valid"):
                yield from _in_turn(
                    members[part]
                    for cell, members in cells.items()
                    if cell[0] == split and (cell[1] == cell[2]) == right
                )


def _in_turn(groups: Iterable[Sequence[Shot]]) -> Iterator[Shot]:
    for round_ in zip_longest(*groups):
        yield from (shot for shot in round_ if shot is not None)
