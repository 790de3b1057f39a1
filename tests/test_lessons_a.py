"""Lessons 2, 4, 5 and 7: their numbers against ones worked out by hand, and against torch."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from convscope.lessons import pattern
from convscope.lessons.catalog import load
from convscope.lessons.terminal import tell


def printed(name: str) -> str:
    text = io.StringIO()
    tell(load(name), Console(file=text, width=160))
    return text.getvalue()


# One filter looks for one pattern


def test_the_curve_detectors_answers_are_those_of_the_slides() -> None:
    """By hand: 0·30 + 50·30 + 20·30 + 3 · 50·30 = 6600; row 7 adds 50·30 to both patches."""
    without, drawn = pattern.detector(row_7=False), pattern.detector(row_7=True)
    assert pattern.answer(pattern.CURVE, without) == 6600
    assert pattern.answer(pattern.OTHER, without) == 0
    assert pattern.answer(pattern.CURVE, drawn) == 8100
    assert pattern.answer(pattern.OTHER, drawn) == 1500
    # counted from 1, as the slides have it
    columns = [[c + 1 for c, weight in enumerate(row) if weight == 30] for row in drawn]
    assert columns == [[6], [5], [4], [4], [4], [4], [4]]
    assert sum(weight != 0 for row in drawn for weight in row) == 7
    data = load("pattern").data
    assert data["answers"] == {
        "without": {"curve": 6600, "other": 0},
        "with": {"curve": 8100, "other": 1500},
    }


def test_both_patches_are_parts_of_the_drawing() -> None:
    data = load("pattern").data
    for name in ("curve", "other"):
        r, c = data["places"][name]
        assert [row[c : c + 7] for row in data["picture"][r : r + 7]] == data[name]
    (r, c), (r_other, c_other) = data["places"]["curve"], data["places"]["other"]
    assert data["over"][r][c] == 6600
    assert data["over"][r_other][c_other] == 0


def test_the_hottest_place_is_at_the_mouses_back() -> None:
    """By hand: all six 30s lie on 50s, 6 · 1500."""
    data = load("pattern").data
    r, c = data["hottest"]
    assert [r, c] == [6, 5]
    assert data["over"][r][c] == 9000 == max(value for row in data["over"] for value in row)
    assert len(data["over"]) == len(data["picture"]) - 6
    assert pattern.hottest([[1, 3], [3, 2]]) == (0, 1)


@pytest.mark.parametrize("said", ["= 6600", "= 8100", "= 1500", "row 7, column 6"])
def test_the_pattern_in_the_terminal(said: str) -> None:
    assert said in printed("pattern")
