"""Pointing game, mass in the mask, agreement: where the truth is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from by_hand import explained
from convscope.errors import InputError
from convscope.explain.agreeing import agreement
from convscope.explain.localisation import locate

# Pointing game and mass


def test_pointing_game_and_mass_by_hand() -> None:
    values = np.array([[[0.0, 3.0], [1.0, -5.0]], [[2.0, 1.0], [1.0, 0.0]]])
    masks = np.array([[[0, 1], [0, 1]], [[0, 1], [0, 0]]], bool)
    found = locate(explained(values, [0, 0]), masks)
    np.testing.assert_array_equal(found.hit, [True, False])
    np.testing.assert_allclose(found.mass, [3 / 4, 1 / 4])
    np.testing.assert_allclose(found.area, [0.5, 0.25])
    np.testing.assert_allclose(found.hit_by_chance, [0.5, 0.25])
    near = locate(explained(values, [0, 0]), masks, tolerance=1)
    np.testing.assert_array_equal(near.hit, [True, True])
    np.testing.assert_allclose(near.hit_by_chance, [1, 3 / 4])  # the far corner is 1.41 away
    assert found.line(0) == "points at the object, 75% of the map on it (area 50%)"
    one = locate(explained(values[0]), masks[0])
    assert bool(one.hit) is True
    assert json.loads(json.dumps(one.to_dict()))["mass_in_mask"] == 0.75
    none = locate(explained(-np.ones((2, 2))), masks[0])
    assert none.to_dict()["mass_in_mask"] is None
    assert none.line() == "points nowhere: no value is above 0"
    several = locate(explained(np.stack([values, values], 1), [[0, 1], [0, 1]]), masks)
    np.testing.assert_array_equal(several.hit, [[True, True], [False, False]])
    assert several.to_dict()["mass_in_mask"] == [[0.75, 0.75], [0.25, 0.25]]


def test_of_a_super_pixel_the_larger_part_counts() -> None:
    values = np.zeros((6, 8))
    values[2:5, 2:6] = 1  # twelve pixels share the maximum; the first of them lies at (2, 2)
    right, left = np.zeros((2, 6, 8), bool)
    right[:, 3:], left[:, :3] = True, True
    assert locate(explained(values), right).hit
    assert not locate(explained(values), left).hit


@pytest.mark.parametrize("tolerance", [1, 2, 5])
def test_tolerance_is_a_distance(tolerance: int) -> None:
    rng = np.random.default_rng(tolerance)
    mask = rng.random((9, 11)) < 0.05
    mask[4, 5] = True
    objects = np.argwhere(mask)
    near = [
        any(np.hypot(*(place - each)) <= tolerance for each in objects)
        for place in np.argwhere(np.ones_like(mask))
    ]
    values = rng.permutation(mask.size).reshape(mask.shape)
    found = locate(explained(values), mask, tolerance=tolerance)
    assert found.hit == near[values.argmax()]
    assert found.hit_by_chance == pytest.approx(np.mean(near))


def test_series() -> None:
    values = np.array([[0.0, 1.0, 3.0, 0.0], [4.0, 0.0, -1.0, 1.0]])
    found = locate(explained(values, [0, 1]), np.array([0, 0, 1, 1], bool))
    np.testing.assert_array_equal(found.hit, [True, False])
    np.testing.assert_allclose(found.mass, [0.75, 0.2])
    np.testing.assert_allclose(found.area, 0.5)


def test_masks_that_do_not_fit() -> None:
    values = explained(np.ones((2, 3)))
    with pytest.raises(InputError, match="Masks of shape"):
        locate(values, np.ones((4, 4), bool))
    with pytest.raises(InputError, match="A mask has no object"):
        locate(values, np.zeros((2, 3), bool))
    with pytest.raises(InputError, match="tolerance=-1"):
        locate(values, np.ones((2, 3), bool), tolerance=-1)
    with pytest.raises(InputError, match="NaN or infinity"):
        locate(explained(np.full((2, 3), np.nan)), np.ones((2, 3), bool))


# Agreement


def test_agreement() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(2, 20, 20))
    same, opposite = explained(a**3, [0, 1], "b"), explained(-a, [0, 1], "c")
    found = agreement([explained(a, [0, 1], "a"), same, opposite])
    assert [pair.methods for pair in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    np.testing.assert_allclose(found[0].rank_correlation, 1)
    np.testing.assert_allclose(found[0].overlap, 1)
    np.testing.assert_allclose(found[1].rank_correlation, -1)
    np.testing.assert_allclose(found[1].overlap, 0)
    noise = agreement([explained(a, [0, 1]), explained(rng.normal(size=a.shape), [0, 1])])
    assert (np.abs(noise[0].rank_correlation) < 0.2).all()
    assert (noise[0].overlap < 0.15).all()
    with pytest.raises(InputError, match="two explanations or more"):
        agreement([same])
    with pytest.raises(InputError, match="other images or targets"):
        agreement([same, explained(a, [1, 1])])


def test_ranks_are_those_of_scipy_and_the_top_is_the_top() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(30, size=(2, 3, 10, 20))  # many ties
    (found,) = agreement([explained(a, [0] * 3, "a"), explained(a + b, [0] * 3, "b")])
    for place in range(3):
        expected = spearmanr(a[place].ravel(), (a + b)[place].ravel()).statistic
        assert found.rank_correlation[place] == pytest.approx(expected)
    one, other = rng.permutation(200), rng.permutation(200)
    (found,) = agreement([explained(each.reshape(10, 20)) for each in (one, other)])
    tops = [set(np.argsort(-each)[:20]) for each in (one, other)]
    assert found.overlap == pytest.approx(len(tops[0] & tops[1]) / len(tops[0] | tops[1]))


def test_what_is_the_same_everywhere_agrees_by_chance_only() -> None:
    a, b = np.zeros((2, 20, 20))
    a[18:, :10] = 1  # a twentieth each, at opposite sides; zero everywhere else
    b[18:, 10:] = 1
    (found,) = agreement([explained(a), explained(b)])
    share = 20 / 380  # of the other half of the tenth, for each pixel at zero
    both = 360 * share + 40 * share
    assert found.overlap == pytest.approx(both / (40 + 40 - both))
    assert found.overlap < 0.4
    (found,) = agreement([explained(np.ones((20, 20))), explained(np.arange(400).reshape(20, 20))])
    assert found.overlap == pytest.approx(0.01 / 0.19)
    assert found.rank_correlation == 0


def test_agreement_in_words() -> None:
    values = np.arange(400.0).reshape(20, 20)
    (found,) = agreement([explained(values, method="a"), explained(values, method="b")])
    assert found.line() == "a and b: ranks 1.00, top tenth 1.00 in common"
    assert json.loads(json.dumps(found.to_dict())) == {
        "methods": ["a", "b"], "rank_correlation": pytest.approx(1), "overlap": 1.0,
    }  # fmt: skip
