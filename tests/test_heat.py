"""Maps over photos: colours, what was not seen, words that hide nothing."""

from __future__ import annotations

import numpy as np
import pytest

from convscope.pictures import heat


def grey(height: int = 40, width: int = 60, level: int = 120) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def test_scale_is_not_made_by_one_pixel() -> None:
    values = np.full((100, 100), 0.5)
    values[0, 0] = 1000
    assert heat.scale_of(values) == 0.5
    assert heat.scale_of(np.zeros((4, 4))) == 1.0
    lonely = np.zeros((100, 100))
    lonely[3, 3] = -2.0
    assert heat.scale_of(lonely) == 2.0


def test_colours_rise_in_brightness_and_signs_differ() -> None:
    ramp = heat.colours(np.linspace(0, 1, 50), signed=False).astype(float)
    brightness = ramp @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness) > 0).all()
    against, for_ = heat.colours(np.array([-1.0, 1.0]), signed=True)
    assert tuple(against) == heat.AGAINST
    assert tuple(for_) == heat.FOR
    # They differ in blue and in red, so also for those who do not tell red from green.
    assert abs(int(against[2]) - int(for_[2])) > 150


@pytest.mark.parametrize("signed", [True, False])
def test_the_map_lies_on_its_part_of_the_photo(signed: bool) -> None:
    values = np.zeros((10, 10))
    values[:, 5:] = 1.0
    over = heat.overlay(grey(), values, (10.0, 5.0, 40.0, 35.0), signed)
    assert over.shape == (40, 60, 3)
    # Outside: dark, and grey but for its stripes.
    outside = over.copy()
    outside[5:35, 10:40] = 0
    assert (outside[:5].max(2) == outside[:5].min(2)).all()
    assert over[:5].max() <= round(120 * 0.35) + 30
    right = over[20, 37].astype(int)
    wanted = heat.colours(np.array(1.0), signed).astype(int)
    np.testing.assert_allclose(right, 120 * 0.28 + wanted * 0.72, atol=1.5)
    left = over[20, 12].astype(int)
    if signed:  # nothing is said there: the photo, grey
        np.testing.assert_allclose(left, 120, atol=1)
    against = heat.overlay(grey(), -values, (10.0, 5.0, 40.0, 35.0), True)
    assert against[20, 37, 2] > against[20, 37, 0]


def test_boxes_stay_inside() -> None:
    assert heat.whole_pixels((-3.0, 2.4, 99.0, 2.5), 60, 40) == (0, 2, 60, 3)
    assert heat.whole_pixels((59.9, 39.9, 60.0, 40.0), 60, 40) == (59, 39, 60, 40)


def test_words_stand_outside_of_the_photo() -> None:
    photo = grey(100, 150, 33)
    values = np.linspace(-1, 1, 150)[None].repeat(100, 0)
    made = heat.figure(
        photo, values, (0.0, 0.0, 150.0, 100.0), signed=True, unit="drop",
        lines=["a name that is so long that it must be broken into more than one line " * 2],
    )  # fmt: skip
    # The photo is there whole and unchanged.
    rows, columns = np.nonzero((made == 33).all(2))
    top, left = rows.min(), columns.min()
    assert (made[top : top + 100, left : left + 150] == 33).all()
    assert top > 60  # words above
    assert (made[:top] < 100).any()
    again = heat.figure(
        photo, values, (0.0, 0.0, 150.0, 100.0), signed=True, unit="drop", lines=["short"]
    )
    assert again.shape[0] < made.shape[0]


def test_a_sheet_holds_all() -> None:
    tiles = [(grey(30 + 10 * k, 50), f"tile {k}") for k in range(5)]
    made = heat.sheet(tiles, side=100, columns=3)
    assert made.shape[1] < 3 * 120 + 20
    assert made.shape[0] > 2 * 100
    assert heat.sheet(tiles[:1], side=100).shape[1] < 130
