"""One filter looks for one pattern: the 7 × 7 detector of a curve, on two patches and a drawing.

The founding slides draw a 30 in row 7 of the filter but print the answer without it: 6600, and 0 on
the other patch. With it the answers are 8100 and 1500. Both are shown.
"""

from __future__ import annotations

from convscope.lessons.convolution import Rows, convolve
from convscope.lessons.lesson import Cell, Lesson, Step, grid, number

SIDE = 7
WEIGHT = 30.0
# Of row 7, column 4: what the slides draw, and leave out of their sum.
ROW_7: Cell = (6, 3)

CURVE: Rows = (
    (0, 0, 0, 0, 0, 0, 30),
    (0, 0, 0, 0, 50, 50, 50),
    (0, 0, 0, 20, 50, 0, 0),
    (0, 0, 0, 50, 50, 0, 0),
    (0, 0, 0, 50, 50, 0, 0),
    (0, 0, 0, 50, 50, 0, 0),
    (0, 0, 0, 50, 50, 0, 0),
)
OTHER: Rows = (
    (0, 0, 0, 0, 0, 0, 0),
    (0, 40, 0, 0, 0, 0, 0),
    (40, 0, 40, 0, 0, 0, 0),
    (40, 20, 0, 0, 0, 0, 0),
    (0, 50, 0, 0, 0, 0, 0),
    (0, 0, 50, 0, 0, 0, 0),
    (25, 25, 0, 50, 0, 0, 0),
)

# A mouse in pencil; both patches are in it, the curve at its back and the other at its ear.
_DRAWN = """
..................................
..................................
..................................
......................4...........
............555555...4.4..........
...........3......55542...........
.........555..........5...........
........25.............5..........
........55...........qq.5.........
........55...............5........
........55................5.......
..5.....55.................5......
.5......55..................55....
.5......55.................55.....
..5...5555..............555.......
...555...55............5..........
..........55..........5...........
............5555555555............
............5..5...5..5...........
............5555...5555...........
..................................
..................................
"""
_INK = {".": 0.0, "2": 20.0, "q": 25.0, "3": 30.0, "4": 40.0, "5": 50.0}
PICTURE: Rows = tuple(tuple(_INK[mark] for mark in row) for row in _DRAWN.split())
# Upper left pixel of the two patches in it.
CURVE_AT: Cell = (5, 5)
OTHER_AT: Cell = (2, 21)

_NOTE = (
    "The founding slides draw 30 in row 7, column 4 of the filter, but their sum, 6600, is that "
    "without it. With it the curve answers 8100, and the other patch 1500 instead of 0."
)


def detector(*, row_7: bool) -> Rows:
    """The filter: 30 along a curve from the upper right, which then runs straight down.

    Parameters
    ----------
    row_7 : bool
        With the last 30, as the slides draw it; without, as they compute.
    """
    rows = [[0.0] * SIDE for _ in range(SIDE)]
    for row, column in enumerate((5, 4, 3, 3, 3, 3)):
        rows[row][column] = WEIGHT
    if row_7:
        rows[ROW_7[0]][ROW_7[1]] = WEIGHT
    return rows


def answer(patch: Rows, kernel: Rows) -> float:
    """What the filter answers to a patch of its own size: each number times the one below it."""
    return float(convolve(patch, kernel)[0, 0])


def hottest(answers: Rows) -> Cell:
    """Row and column of the largest answer; the first in reading order of several."""
    values = [value for row in answers for value in row]
    return divmod(values.index(max(values)), len(answers[0]))


def lesson() -> Lesson:
    """The example of the course, then the same detector on a whole drawing."""
    without, drawn = detector(row_7=False), detector(row_7=True)
    answers = {
        key: {"curve": answer(CURVE, kernel), "other": answer(OTHER, kernel)}
        for key, kernel in (("without", without), ("with", drawn))
    }
    over = convolve(PICTURE, without).tolist()
    at = hottest(over)
    looked_for = [(r, c) for r, row in enumerate(without) for c, w in enumerate(row) if w]
    steps = (
        Step(
            "The filter is a small picture of what it looks for",
            "30 where the line is to be, 0 where it does not matter: a curve from the upper right "
            "that then runs straight down.",
            (grid("filter", without, looked_for),),
        ),
        Step(
            "On the curve",
            _written(CURVE, without),
            (grid("patch", CURVE, looked_for), grid("filter", without, looked_for)),
        ),
        Step(
            "On another patch",
            f"{_written(OTHER, without)}\nNothing of this patch lies under the filter's line.",
            (grid("patch", OTHER, looked_for), grid("filter", without, looked_for)),
        ),
        Step(
            "With row 7 of the filter",
            f"On the curve:\n{_written(CURVE, drawn)}\nOn the other patch:\n"
            f"{_written(OTHER, drawn)}\n{_NOTE}",
            (grid("filter", drawn, [*looked_for, ROW_7]),),
        ),
        Step(
            "Over a whole drawing",
            f"The detector at all {len(over)} × {len(over[0])} places of a drawn mouse. It answers "
            f"most, {number(over[at[0]][at[1]])}, in row {at[0] + 1}, column {at[1] + 1}: "
            f"the curve of the back, framed below. The patch above is one row higher: "
            f"{number(over[CURVE_AT[0]][CURVE_AT[1]])}.\n{_framed(at)}",
        ),
    )
    return Lesson(
        "pattern",
        "One filter looks for one pattern",
        "A filter answers strongly where the image looks like the filter, and hardly elsewhere.",
        steps,
        {
            "curve": [list(row) for row in CURVE],
            "other": [list(row) for row in OTHER],
            "filter": [list(row) for row in without],
            "weight": WEIGHT,
            "row7": list(ROW_7),
            "answers": answers,
            "picture": [list(row) for row in PICTURE],
            "places": {"curve": list(CURVE_AT), "other": list(OTHER_AT)},
            "over": over,
            "hottest": list(at),
            "note": _NOTE,
        },
    )


def _written(patch: Rows, kernel: Rows) -> str:
    """The sum, one line for each row in which the filter looks for something."""
    lines = [
        " + ".join(
            f"{number(pixel)}·{number(weight)}"
            for pixel, weight in zip(pixels, weights, strict=True)
            if weight
        )
        for pixels, weights in zip(patch, kernel, strict=True)
        if any(weights)
    ]
    return " + ".join(lines) + f" = {number(answer(patch, kernel))}"


def _framed(at: Cell) -> str:
    """The drawing in characters, the window of the filter marked."""
    lines = []
    for r, row in enumerate(PICTURE):
        marks = []
        for c, value in enumerate(row):
            inside = at[0] <= r < at[0] + SIDE and at[1] <= c < at[1] + SIDE
            marks.append(("#" if value else "+") if inside else ("o" if value else "·"))
        lines.append(" ".join(marks))
    return "\n".join(lines)
