"""Augmentation against changes done by hand on known patterns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

import photos
from convscope.data.augment import POLICIES, Augmentation, augment

STILL = Augmentation(rotation=0, shift=0, horizontal_flip=False)


class Drawn:
    """A generator whose draws are known: angle, shift across, shift down; the two flips."""

    def __init__(self, angle: float = 0, dx: float = 0, dy: float = 0, flips: str = "") -> None:
        self.moves = np.array([angle, dx, dy], float)
        self.flips = np.array([0.0 if side in flips else 0.9 for side in "xy"])

    def uniform(self, low: float, high: float, size: int) -> np.ndarray:
        assert (low, high, size) == (-1, 1, 3)
        return self.moves

    def random(self, size: int) -> np.ndarray:
        assert size == 2
        return self.flips


def changed(
    picture: np.ndarray, policy: Augmentation, drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> np.ndarray:
    monkeypatch.setattr(np.random, "default_rng", lambda seed: drawn)
    return augment(picture[None], policy, rows=np.array([0]), epoch=0, seed=0)[0]


def noise(count: int, height: int = 24, width: int = 24) -> np.ndarray:
    shape = (count, height, width, 3)
    return np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)


def test_a_policy_that_allows_nothing_changes_nothing() -> None:
    pictures = noise(20, 17, 30)
    before = pictures.copy()
    assert (augment(pictures, STILL, rows=np.arange(20), epoch=3, seed=1) == before).all()
    assert (pictures == before).all()


def test_the_standard_policy_is_the_founding_recipe() -> None:
    policy = POLICIES["standard"]
    assert policy is not None
    assert (policy.rotation, policy.shift) == (10, 0.1)
    assert (policy.horizontal_flip, policy.vertical_flip) == (True, False)
    assert POLICIES["none"] is None
    with pytest.raises(ValidationError):
        Augmentation(zoom=2)  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        Augmentation(shift=1)


@pytest.mark.parametrize("side", [24, 25])
@pytest.mark.parametrize(("angle", "turns"), [(0.5, 1), (-0.5, -1), (1, 2)])
def test_turns_by_right_angles(
    side: int, angle: float, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = noise(1, side, side)[0]
    policy = Augmentation(rotation=180, shift=0, horizontal_flip=False)
    got = changed(picture, policy, Drawn(angle), monkeypatch)
    assert (got == np.rot90(picture, turns)).all()


@pytest.mark.parametrize("flips", ["x", "y", "xy"])
def test_flips_by_hand(flips: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = noise(1, 16, 23)[0]
    policy = Augmentation(rotation=0, shift=0, horizontal_flip=True, vertical_flip=True)
    truth = picture[:: -1 if "y" in flips else 1, :: -1 if "x" in flips else 1]
    assert (changed(picture, policy, Drawn(flips=flips), monkeypatch) == truth).all()


def test_a_shift_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # 0.5 of 20 % of 30 columns is 3 to the left; -1 of 20 % of 20 rows is 4 down.
    picture = noise(1, 20, 30)[0]
    policy = Augmentation(rotation=0, shift=0.2, horizontal_flip=False)
    got = changed(picture, policy, Drawn(dx=0.5, dy=-1), monkeypatch)
    assert (got[4:, :27] == picture[:16, 3:]).all()
    # What moves in is the reflection about the edge pixel.
    assert (got[4:, 27:] == picture[:16, 28:25:-1]).all()
    assert (got[:4, :27] == picture[4:0:-1, 3:]).all()


def test_about_half_are_mirrored_and_none_stands_on_its_head() -> None:
    picture = photos.quadrants(24, 24)
    many = np.repeat(picture[None], 1000, axis=0)
    policy = Augmentation(rotation=0, shift=0)
    got = augment(many, policy, rows=np.arange(1000), epoch=0, seed=0)
    mirrored = (got == picture[:, ::-1]).all(axis=(1, 2, 3))
    assert (mirrored | (got == picture).all(axis=(1, 2, 3))).all()
    # Four standard deviations of a fair coin are 63 of 1,000.
    assert 437 <= mirrored.sum() <= 563


def test_shifts_fill_their_range_and_no_more() -> None:
    # A ramp across and one down: the middle pixel says where it came from.
    height, width = 101, 201
    ramp = np.zeros((height, width, 3), np.uint8)
    ramp[..., 0] = np.arange(width)
    ramp[..., 1] = np.arange(height)[:, None]
    policy = Augmentation(rotation=0, shift=0.1, horizontal_flip=False)
    many = np.repeat(ramp[None], 1000, axis=0)
    middle = augment(many, policy, rows=np.arange(1000), epoch=0, seed=0)[:, 50, 100].astype(int)
    across, down = middle[:, 0] - 100, middle[:, 1] - 50
    assert 18 <= np.abs(across).max() <= 20
    assert 9 <= np.abs(down).max() <= 10
    # Uniform on ±20.1: the mean of 1,000 has a standard deviation of 0.37.
    assert abs(across.mean()) < 1.5
    assert abs(np.abs(across).mean() - 10.05) < 1
    assert abs(np.corrcoef(across, down)[0, 1]) < 0.13


def test_rotations_fill_their_range_and_no_more() -> None:
    # A bright bar to the right of the middle: the angle of its centre of mass.
    picture = np.zeros((201, 201, 3), np.uint8)
    picture[98:103, 160:180] = 255
    policy = Augmentation(rotation=10, shift=0, horizontal_flip=False)
    many = np.repeat(picture[None], 300, axis=0)
    got = augment(many, policy, rows=np.arange(300), epoch=0, seed=0)[..., 0].astype(float)
    y, x = np.indices((201, 201)) - 100
    mass = got.sum(axis=(1, 2))
    angles = np.degrees(np.arctan2((got * y).sum((1, 2)) / mass, (got * x).sum((1, 2)) / mass))
    assert 9.5 <= np.abs(angles).max() <= 10.1
    assert abs(angles.mean()) < 1.4
    assert angles.min() < -9
    assert angles.max() > 9


def test_a_photo_is_changed_by_seed_epoch_and_row_and_not_by_its_batch() -> None:
    policy = Augmentation()
    pictures = noise(40)
    together = augment(pictures, policy, rows=np.arange(40), epoch=2, seed=9)
    shuffled = np.random.default_rng(0).permutation(40)
    pieces = [
        augment(pictures[part], policy, rows=part, epoch=2, seed=9)
        for part in np.array_split(shuffled, 7)
    ]
    assert (np.concatenate(pieces) == together[shuffled]).all()
    for other in (
        augment(pictures, policy, rows=np.arange(40), epoch=3, seed=9),
        augment(pictures, policy, rows=np.arange(40), epoch=2, seed=8),
        augment(pictures, policy, rows=np.arange(40) + 1, epoch=2, seed=9),
    ):
        assert (other != together).any(axis=(1, 2, 3)).all()


def test_the_callers_generator_is_left_alone() -> None:
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    augment(noise(3), Augmentation(), rows=np.arange(3), epoch=0, seed=0)
    assert (np.random.get_state()[1] == before).all()


def test_photos_may_lie_in_a_file_and_be_a_slice(tmp_path: Path) -> None:
    pictures = noise(6)
    kept = np.memmap(tmp_path / "kept", np.uint8, "w+", shape=pictures.shape)
    kept[:] = pictures
    got = augment(kept[::-2], Augmentation(), rows=np.array([5, 3, 1]), epoch=0, seed=0)
    truth = augment(pictures, Augmentation(), rows=np.arange(6), epoch=0, seed=0)
    assert (got == truth[::-2]).all()
    assert (kept == pictures).all()
