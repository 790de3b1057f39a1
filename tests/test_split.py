"""The split: shares by class, copies and groups together, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.data.split import SHARES, assign, inseparable, split_photos
from photos import table


def crossing(units: object, splits: object) -> list[object]:
    """Units that lie on more than one side."""
    sides: dict[object, set[object]] = {}
    for unit, split in zip(units, splits, strict=True):  # type: ignore[call-overload]
        sides.setdefault(unit, set()).add(split)
    return [unit for unit, found in sides.items() if len(found) > 1]


# Photos of three classes in units of any shape: (label, unit) each.
mixed = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 25)), min_size=1, max_size=120)
# Photos of one class, as the sizes of its units.
unit_sizes = st.lists(st.integers(1, 6), min_size=1, max_size=80)
seeds = st.integers(0, 2**32)


@given(mixed, seeds)
def test_units_never_part_and_every_class_is_trained(
    photos: list[tuple[str, int]], seed: int
) -> None:
    labels, units = [label for label, _ in photos], np.array([unit for _, unit in photos])
    splits = assign(labels, units, SHARES, seed)
    assert len(splits) == len(photos)
    assert set(splits) <= {"train", "valid", "test"}
    assert crossing(units.tolist(), splits) == []
    trained = {label for label, split in zip(labels, splits, strict=True) if split == "train"}
    assert trained == set(labels)


@given(st.lists(unit_sizes, min_size=1, max_size=4), seeds)
def test_shares_are_near_and_no_split_is_empty_by_class(
    classes: list[list[int]], seed: int
) -> None:
    labels, units, number = [], [], 0
    for name, sizes in zip("abcd", classes, strict=False):
        for size in sizes:
            labels += [name] * size
            units += [number] * size
            number += 1
    splits = assign(labels, np.array(units), SHARES, seed)
    for name, sizes in zip("abcd", classes, strict=False):
        got = Counter(s for s, label in zip(splits, labels, strict=True) if label == name)
        assert got["train"] >= 1
        assert (got["test"] >= 1) == (len(sizes) >= 2)
        assert (got["valid"] >= 1) == (len(sizes) >= 3)
        for split, share in SHARES.items():
            if len(sizes) >= 3:
                assert abs(got[split] - share * sum(sizes)) <= max(sizes) + 1


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(7, 200), min_size=1), seeds)
def test_single_photos_are_split_to_the_photo(sizes: dict[str, int], seed: int) -> None:
    labels = [label for label, size in sizes.items() for _ in range(size)]
    splits = assign(labels, np.arange(len(labels)), SHARES, seed)
    got = Counter(zip(labels, splits, strict=True))
    for label, size in sizes.items():
        assert abs(got[label, "test"] - 0.15 * size) <= 0.5
        assert abs(got[label, "valid"] - 0.15 * size) <= 0.5
        assert abs(got[label, "train"] - 0.70 * size) <= 1


@given(mixed, seeds)
def test_the_same_seed_gives_the_same_split(photos: list[tuple[str, int]], seed: int) -> None:
    labels, units = [label for label, _ in photos], np.array([unit for _, unit in photos])
    splits = assign(labels, units, SHARES, seed)
    assert assign(labels, units, SHARES, seed) == splits
    # The numbers that units have mean nothing.
    assert assign(labels, 1000 - units, SHARES, seed) == splits


def test_another_seed_gives_another_split() -> None:
    labels, units = ["a", "b"] * 50, np.arange(100)
    assert len({tuple(assign(labels, units, SHARES, seed)) for seed in range(20)}) == 20


def test_every_photo_is_tested_about_as_often_as_any_other() -> None:
    # 400 seeds: each of 20 photos is a test photo in 60 on average, standard deviation 7.
    tested = np.zeros(20, int)
    for seed in range(400):
        splits = assign(["a"] * 20, np.arange(20), SHARES, seed)
        tested += [split == "test" for split in splits]
    assert tested.sum() == 400 * 3
    assert tested.min() >= 30
    assert tested.max() <= 90


@settings(max_examples=60)
@given(st.integers(0, 10_000))
def test_copies_and_groups_never_part(number: int) -> None:
    rng = np.random.default_rng(number)
    count = int(rng.integers(6, 120))
    labels = rng.choice(["a", "b", "c"], count).tolist()
    # Three in ten share a group, three in ten a look: enough for chains, not for one large unit.
    groups = [f"site {i}" for i in range(count)]
    near = 1000 + np.arange(count)
    for row in np.flatnonzero(rng.random(count) < 0.3):
        groups[row] = f"site {rng.integers(20)}"
    copies = rng.random(count) < 0.3
    near[copies] = rng.integers(0, 20, copies.sum())
    given_groups = table(labels, groups=groups)
    done, words = split_photos(given_groups, inseparable(given_groups, near), 0)
    assert crossing(groups, done.splits) == []
    assert crossing(near.tolist(), done.splits) == []
    assert count < 60 or len(set(done.splits or ())) == 3
    assert "70/15/15" in words
    assert replace(done, splits=None) == given_groups


def test_a_chain_of_group_and_copy_stays_together() -> None:
    # 0 and 1 look the same, 1 and 2 are one group, 2 and 3 look the same.
    labels = ["a"] * 40
    groups = [f"g{i}" for i in range(40)]
    groups[2] = groups[1]
    near = np.arange(40)
    near[1], near[3] = near[0], near[2]
    for seed in range(20):
        given = table(labels, groups=groups)
        done, _ = split_photos(given, inseparable(given, near), seed)
        assert done.splits is not None
        assert len(set(done.splits[:4])) == 1
    assert done.counts() == {"train": {"a": 28}, "valid": {"a": 6}, "test": {"a": 6}}


def test_a_class_that_lives_in_other_classes_units_is_trained_all_the_same() -> None:
    # Ten units of three photos of a; the last is one of two and one of b, which has no other.
    labels, units = ["a"] * 29 + ["b"], np.arange(30) // 3
    for seed in range(20):
        splits = assign(labels, units, SHARES, seed)
        assert splits[27:] == ["train"] * 3
        # And nobody else pays for it.
        assert set(splits[:27]) == {"train", "valid", "test"}
    # Three such classes, in units so large that the training side is more than full.
    labels = ["a"] * 4 + ["b"] + ["a"] * 4 + ["c"] + ["a"] * 4 + ["d"] + ["a"] * 2
    splits = assign(labels, np.array([0] * 5 + [1] * 5 + [2] * 5 + [3, 4]), SHARES, 0)
    assert splits[:15] == ["train"] * 15
    assert set(splits[15:]) == {"test", "valid"}
    # One such class in the smallest of three units: the two others are held out.
    splits = assign(["a"] * 10 + ["b"], np.array([0] * 4 + [1] * 4 + [2] * 3), SHARES, 0)
    assert splits[8:] == ["train"] * 3
    assert {splits[0], splits[4]} == {"test", "valid"}


def test_a_split_that_was_given_is_kept() -> None:
    given_splits = ["train", "valid", "test", "train", "test", "train"]
    before = table(list("ababab"), splits=given_splits)
    # Copies across the given sides too: that is for `check` to say.
    after, words = split_photos(before, np.zeros(6, int), 0)
    assert after == before
    assert words == "as given"


@pytest.mark.parametrize("missing", [["valid"], ["test"], ["valid", "test"]])
def test_what_is_missing_is_taken_from_the_training_photos(missing: list[str]) -> None:
    labels = ["a", "b"] * 100
    there = [name for name in ("valid", "test") if name not in missing]
    splits = ["train"] * 160 + (there * 40 if there else ["train"] * 40)
    # Training photos 0..19 look alike by twos.
    near = np.arange(200)
    near[1:20:2] = near[0:20:2]
    after, words = split_photos(table(labels, splits=splits), near, 3)
    assert after.splits is not None
    train = splits.count("train")
    got = Counter(after.splits)
    for name in missing:
        assert abs(got[name] - 0.15 * train) <= 1
        assert name in words
    assert got["train"] == train - sum(got[name] for name in missing)
    for i, before in enumerate(splits):
        assert before == "train" or after.splits[i] == before
    assert crossing(near.tolist(), after.splits) == []


def test_the_smallest_classes() -> None:
    for count, truth in [
        (1, {"train": 1}),
        (2, {"train": 1, "test": 1}),
        (3, {"train": 1, "test": 1, "valid": 1}),
        (4, {"train": 2, "test": 1, "valid": 1}),
        (7, {"train": 5, "test": 1, "valid": 1}),
        (20, {"train": 14, "test": 3, "valid": 3}),
    ]:
        for seed in range(5):
            assert Counter(assign(["a"] * count, np.arange(count), SHARES, seed)) == truth
    # One unit, however many photos: nothing can be held out.
    assert assign(["a"] * 9, np.zeros(9, int), SHARES, 0) == ["train"] * 9
