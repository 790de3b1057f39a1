"""Augmentation against changes done by hand on known patterns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from pydantic import ValidationError
from scipy.ndimage import map_coordinates

import photos
from convscope.data import affine, colour, trivial
from convscope.data import augment as augmenting
from convscope.data.augment import POLICIES, Augmentation, augment, matrices
from convscope.data.draws import uniforms

STILL = Augmentation(rotation=0, shift=0, horizontal_flip=False)


PLACES = augmenting._PLACES


def changed(
    picture: np.ndarray,
    policy: Augmentation,
    monkeypatch: pytest.MonkeyPatch,
    *,
    size: int | None = None,
    **drawn: float,
) -> np.ndarray:
    """One photo, where some of the numbers drawn are known; the others are in the middle."""

    def known(seed: int, epoch: int, rows: np.ndarray, count: int) -> np.ndarray:
        numbers = np.full((len(rows), count), 0.5)
        for name, number in drawn.items():
            numbers[:, PLACES.index(name)] = number
        return numbers

    monkeypatch.setattr(augmenting, "uniforms", known)
    return augment(picture[None], policy, rows=np.array([0]), epoch=0, seed=0, size=size)[0]


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
        Augmentation(zoomed=2)  # type: ignore[call-arg]
    for asked in ({"crop": (0.5, 1.2)}, {"crop": (0.9, 0.3)}, {"mixup": 1, "cutmix": 1}):
        with pytest.raises(ValidationError):
            Augmentation(**asked)
    with pytest.raises(ValidationError):
        Augmentation(shift=1)


@pytest.mark.parametrize("side", [24, 25])
@pytest.mark.parametrize(("angle", "turns"), [(0.75, 1), (0.25, -1), (1, 2)])
def test_turns_by_right_angles(
    side: int, angle: float, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = noise(1, side, side)[0]
    policy = Augmentation(rotation=180, shift=0, horizontal_flip=False)
    got = changed(picture, policy, monkeypatch, angle=angle)
    assert (got == np.rot90(picture, turns)).all()


@pytest.mark.parametrize("flips", ["x", "y", "xy"])
def test_flips_by_hand(flips: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = noise(1, 16, 23)[0]
    policy = Augmentation(rotation=0, shift=0, horizontal_flip=True, vertical_flip=True)
    truth = picture[:: -1 if "y" in flips else 1, :: -1 if "x" in flips else 1]
    drawn = {f"flip_{side}": 0.1 for side in flips}
    assert (changed(picture, policy, monkeypatch, **drawn) == truth).all()


def test_a_shift_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # 0.5 of 20 % of 30 columns is 3 to the left; -1 of 20 % of 20 rows is 4 down.
    picture = noise(1, 20, 30)[0]
    policy = Augmentation(rotation=0, shift=0.2, horizontal_flip=False)
    got = changed(picture, policy, monkeypatch, right=0.75, down=0)
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


# Draws


def test_draws_are_uniform_independent_and_for_each_photo_its_own() -> None:
    numbers = uniforms(3, 7, np.arange(100_000), 3)
    assert 0 <= numbers.min() < 1e-4
    assert 1 - 1e-4 < numbers.max() < 1
    # Six standard deviations of the mean of as many.
    assert np.abs(numbers.mean(0) - 0.5).max() < 6 * 12**-0.5 / 100_000**0.5
    assert np.abs(numbers.std(0) - 12**-0.5).max() < 0.002
    correlations = np.corrcoef(np.concatenate([numbers, np.roll(numbers, 1, 0)], 1).T)
    assert np.abs(correlations - np.eye(6)).max() < 0.02
    for axis in ("seed", "epoch"):
        along = [uniforms(*(i, 0) if axis == "seed" else (0, i), np.array([4]), 1)[0, 0]
                 for i in range(4000)]  # fmt: skip
        assert len(set(along)) == 4000
        assert abs(np.corrcoef(along[:-1], along[1:])[0, 1]) < 0.1
    few, many = uniforms(1, 2, np.array([9, 4]), 2), uniforms(1, 2, np.arange(10), 5)
    assert (few == many[[9, 4], :2]).all()


# Places


def smooth(height: int, width: int) -> np.ndarray:
    """A picture without fine detail: interpolating it twice costs next to nothing."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [
        np.sin(2 * np.pi * (a * x + b * y) + c) for a, b, c in ((1, 2, 0), (2, 1, 1), (2, 2, 2))
    ]
    return np.stack([127.5 + 100 * wave for wave in waves], -1).round().astype(np.uint8)


def test_one_warp_is_the_chain_of_single_warps() -> None:
    picture = smooth(120, 160)
    one = np.ones(1)
    centred = [
        affine.about_centre(affine.rotation(12 * one), 120, 160)[0],
        affine.translation(7.5 * one, -4 * one)[0],
        affine.about_centre(affine.scaling(-0.9 * one, 0.9 * one), 120, 160)[0],
        affine.about_centre(affine.shear(8 * one, -5 * one), 120, 160)[0],
    ]
    chained = picture
    for matrix in centred:
        chained = affine.warp(chained, matrix, 120, 160)
    together = affine.warp(picture, np.linalg.multi_dot(centred), 120, 160)
    inner = (slice(40, 80), slice(50, 110))
    difference = np.abs(chained[inner].astype(int) - together[inner].astype(int))
    assert difference.max() <= 4
    assert difference.mean() < 1
    assert np.abs(picture[inner].astype(int) - together[inner]).mean() > 20  # something happened


@pytest.mark.parametrize("degrees", [90.0, 180.0, 270.0, -90.0, 360.0])
def test_quarter_turns_are_exact(degrees: float) -> None:
    picture = noise(1, 25, 25)[0]
    matrix = affine.about_centre(affine.rotation(np.array([degrees])), 25, 25)[0]
    assert (affine.warp(picture, matrix, 25, 25) == np.rot90(picture, int(degrees // 90))).all()


@pytest.mark.parametrize("fill", ["reflect", "nearest", "constant"])
@pytest.mark.parametrize(("before", "after"), [((48, 48), (48, 48)), ((30, 41), (25, 60))])
def test_warping_many_is_warping_each(
    fill: affine.Fill, before: tuple[int, int], after: tuple[int, int]
) -> None:
    """Bit for bit, over several blocks, from photos that do not lie together in memory."""
    photos = noise(50, *before)[::-2]
    turned = affine.about_centre(affine.rotation(np.linspace(-40, 200, 25)), *before)
    for count in (25, 1, 0):
        got = affine.warp_all(photos[:count], turned[:count], *after, fill=fill)
        assert got.shape == (count, *after, 3)
        for photo, matrix, found in zip(photos, turned, got, strict=False):
            assert (found == affine.warp(photo, matrix, *after, fill=fill)).all()


def test_a_crop_is_enlarged_as_a_whole() -> None:
    picture = noise(1, 20, 30)[0]
    # Half of the width and height, edge to edge: every pixel becomes 2 x 2.
    matrix = affine.crop_and_resize(np.array([[10, 5, 15, 10]]), 20, 30)[0]
    got = affine.warp(picture, matrix, 20, 30, nearest=True)
    assert (got == picture[5:15, 10:25].repeat(2, 0).repeat(2, 1)).all()
    same = affine.crop_and_resize(np.array([[0, 0, 30, 20]]), 20, 30)[0]
    np.testing.assert_allclose(same, np.eye(3), atol=1e-12)


def test_random_crops_keep_their_share_and_their_ratio() -> None:
    boxes = augmenting._boxes(
        dict(zip(PLACES, uniforms(0, 0, np.arange(2000), len(PLACES)).T, strict=True)),
        "", (0.6, 1.0), 4 / 3, 100, 100,
    )  # fmt: skip
    left, top, across, down = boxes.T
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert (left + across <= 100 + 1e-9).all()
    assert (top + down <= 100 + 1e-9).all()
    share, ratio = across * down / 10_000, across / down
    assert share.max() > 0.95
    assert 0.5 < share.min() < 0.65  # a side that would be too long is cut
    assert 1.2 < ratio.max() <= 4 / 3 + 1e-9
    assert 3 / 4 - 1e-9 <= ratio.min() < 0.83


@pytest.mark.parametrize("fill", ["reflect", "nearest", "constant"])
def test_what_comes_in_from_outside(fill: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = noise(1, 10, 10)[0]
    policy = Augmentation(rotation=0, shift=0.3, horizontal_flip=False, fill=fill)  # type: ignore[arg-type]
    got = changed(picture, policy, monkeypatch, right=1)
    assert (got[:, :7] == picture[:, 3:]).all()
    truth = {"reflect": picture[:, 8:5:-1], "nearest": picture[:, [9, 9, 9]], "constant": 0}[fill]
    assert (got[:, 7:] == truth).all()


def test_zoom_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = smooth(64, 64)
    policy = Augmentation(rotation=0, shift=0, horizontal_flip=False, zoom=0.5)
    half = changed(picture, policy, monkeypatch, zoom=0)  # half of it fills the frame
    # Middle pixels: 31.5 is the middle; a place d from it shows what was d / 2 from it.
    y, x = np.meshgrid(*[31.5 + (np.arange(64) - 31.5) / 2] * 2, indexing="ij")
    truth = np.stack([map_coordinates(picture[..., c], [y, x], int, order=1) for c in range(3)], -1)
    assert np.abs(half.astype(int) - truth).max() <= 3


def test_masks_and_points_go_with_their_photo() -> None:
    """A bright disc in every photo: its mask and its centre end where the disc ends."""
    policy = Augmentation(
        rotation=40, shift=0.1, zoom=0.2, shear=10, crop=(0.7, 1.0), fill="constant"
    )
    y, x = np.mgrid[:80, :100]
    mask = ((x - 60) ** 2 + (y - 35) ** 2 < 8**2).astype(np.uint8)
    picture = np.repeat(255 * mask[..., None], 3, axis=-1)
    rows = np.arange(25)
    got = augment(np.repeat(picture[None], 25, 0), policy, rows=rows, epoch=1, seed=2, size=64)
    moves = matrices(policy, rows=rows, epoch=1, seed=2, height=80, width=100, size=64)
    for photo, move in zip(got, moves, strict=True):
        with_it = affine.warp(mask, move, 64, 64, fill="constant", nearest=True)
        assert ((photo[..., 0] > 127) == with_it.astype(bool)).mean() > 0.985
        (point,) = affine.move_points(np.array([[60.0, 35.0]]), move)
        at_y, at_x = np.nonzero(with_it)
        inside = at_y.min() > 0 and at_x.min() > 0 and at_y.max() < 63 and at_x.max() < 63
        if inside:
            assert abs(at_x.mean() - point[0]) < 1
            assert abs(at_y.mean() - point[1]) < 1


# Colours, against Pillow


def enhanced(picture: np.ndarray, kind: str, factor: float) -> np.ndarray:
    image = Image.fromarray(picture)
    return np.asarray(getattr(ImageEnhance, kind)(image).enhance(factor)).astype(int)


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.4])
def test_brightness_contrast_and_saturation_are_pillows(factor: float) -> None:
    picture = (noise(1)[0] // 3 + 60).astype(np.uint8)  # nothing is cut off
    factors, grey = np.array([factor]), colour.mean_greys(picture[None])
    for kind, matrix in (
        ("Brightness", colour.brightness(factors)),
        ("Contrast", colour.contrast(factors, grey)),
        ("Color", colour.saturation(factors)),
    ):
        got = colour.recolour(picture, matrix[0]).astype(int)
        assert np.abs(got - enhanced(picture, kind, factor)).max() <= 2, kind
        if factor == 1:
            assert (got == picture).all()


def test_hue_goes_around_and_keeps_grey() -> None:
    picture = (noise(1)[0] // 3 + 60).astype(np.uint8)
    third = colour.hue(np.array([120.0]))
    around = colour.then(colour.then(third, third), third)
    np.testing.assert_allclose(around[0], np.eye(3, 4), atol=1e-9)
    grey = np.full((4, 4, 3), 99, np.uint8)
    assert (colour.recolour(grey, colour.hue(np.array([77.0]))[0]) == 99).all()
    red = np.array([[[200.0, 60, 60]]]).astype(np.uint8)
    turned = colour.recolour(red, third[0])[0, 0]
    assert turned.argmax() != 0  # no longer red
    same = colour.recolour(picture, colour.hue(np.zeros(1))[0])
    assert (same == picture).all()


def test_colours_compose() -> None:
    picture = (noise(1)[0] // 3 + 60).astype(np.uint8)
    first, second = colour.brightness(np.array([0.9])), colour.saturation(np.array([0.5]))
    together = colour.recolour(picture, colour.then(first, second)[0]).astype(int)
    one_by_one = colour.recolour(colour.recolour(picture, first[0]), second[0]).astype(int)
    assert np.abs(together - one_by_one).max() <= 1


def test_grey_photos_and_wiped_out_rectangles(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = noise(1, 40, 40)[0]
    policy = Augmentation(rotation=0, shift=0, horizontal_flip=False, grey=0.5, erase=0.5)
    got = changed(picture, policy, monkeypatch, grey=0.1)
    assert (np.ptp(got, axis=-1) <= 1).all()
    got = changed(picture, policy, monkeypatch, erase=0.1)
    wiped = (got == 128).all(-1)
    # 17.5 % of 1,600 pixels, square, in the middle: 17 x 17.
    assert wiped.sum() == pytest.approx(17 * 17, abs=2)
    assert wiped[12:28, 12:28].all()
    assert (got[~wiped] == picture[~wiped]).all()


# TrivialAugment, against Pillow


def trivially(picture: np.ndarray, number: int, level: int, sign: float = 0.0) -> np.ndarray:
    """Change ``number`` of 14 at ``level`` of 0 to 30."""
    return trivial.change(
        picture, (number + 0.5) / 14, (level + 0.5) / 31, sign, fill="constant"
    ).astype(int)


@pytest.mark.parametrize("level", [0, 7, 15, 30])
def test_trivial_changes_of_colour_are_pillows(level: int) -> None:
    picture = noise(1, 32, 32)[0]
    image = Image.fromarray(picture)
    factor = 1 + 0.99 * level / 30
    for number, kind in ((6, "Brightness"), (7, "Color"), (8, "Contrast"), (9, "Sharpness")):
        got, truth = trivially(picture, number, level), enhanced(picture, kind, factor)
        inner = (slice(1, -1), slice(1, -1))  # Pillow leaves the outermost pixels unsmoothed
        assert np.abs(got[inner] - truth[inner]).max() <= 3, kind
    bits = 8 - round(6 * level / 30)
    assert (trivially(picture, 10, level) == np.asarray(ImageOps.posterize(image, bits))).all()
    bright = np.asarray(ImageOps.solarize(image, 255 * (1 - level / 30)))
    assert (trivially(picture, 11, level) == bright).mean() > 0.99
    dull = (picture // 2 + 40).astype(np.uint8)
    stretched = np.asarray(ImageOps.autocontrast(Image.fromarray(dull))).astype(int)
    assert np.abs(trivially(dull, 12, level) - stretched).max() <= 1
    large = smooth(160, 160)  # OpenCV's steps are finer than Pillow's, so only nearly the same
    equal, truth = (
        trivially(large, 13, level),
        np.asarray(ImageOps.equalize(Image.fromarray(large))),
    )
    assert np.corrcoef(equal.ravel(), truth.ravel())[0, 1] > 0.998
    for channel in range(3):
        shares = np.bincount(equal[..., channel].ravel(), minlength=256).cumsum() / 160**2
        assert np.abs(shares - np.arange(1, 257) / 256).max() < 0.05


def test_trivial_changes_of_place() -> None:
    picture = noise(1, 56, 56)[0]
    assert (trivially(picture, 0, 30) == picture).all()
    # 32 pixels of 224 are 8 of 56.
    assert (trivially(picture, 3, 30)[:, :-8] == picture[:, 8:]).all()
    assert (trivially(picture, 4, 30, sign=0.9)[8:] == picture[:-8]).all()
    assert (trivially(picture, 5, 20) == np.rot90(picture)).all()  # 135 * 20 / 30 = 90 degrees
    for number in (1, 2, 3, 4, 5):
        assert (trivially(picture, number, 0) == picture).all()


def test_every_trivial_change_happens() -> None:
    policy = POLICIES["trivial"]
    assert policy is not None
    many = np.repeat(noise(1, 16, 16), 400, axis=0)
    got = augment(many, policy, rows=np.arange(400), epoch=0, seed=0)
    assert len({photo.tobytes() for photo in got}) > 250


@pytest.mark.parametrize("name", [name for name, policy in POLICIES.items() if policy])
def test_every_policy_changes_most_photos_and_survives_a_round_trip(name: str) -> None:
    policy = POLICIES[name]
    assert policy is not None
    assert Augmentation.model_validate_json(policy.model_dump_json()) == policy
    assert not policy.vertical_flip
    many = np.repeat(noise(1), 50, axis=0)
    got = augment(many, policy, rows=np.arange(50), epoch=0, seed=0)
    assert got.dtype == np.uint8
    assert (got != many).any((1, 2, 3)).mean() > 0.7
