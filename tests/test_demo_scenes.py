"""The photos that convscope draws itself: the same every time, true masks, hard enough."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from convscope.data.checks import check
from convscope.data.folder import scan
from convscope.demo import (
    BACKGROUNDS,
    CLASSES,
    MASKS,
    Shortcut,
    render_scene,
    write_photos,
)
from convscope.demo.relief import Light, Pose, Relief
from convscope.demo.scene import MOST_HIDDEN, ordinary_background
from convscope.errors import ConvscopeError, InputError

CHANGED = 4  # grey levels; the camera's noise is the same with and without the creature


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / MASKS / "scenes.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- the scene ---


@pytest.mark.parametrize("label", CLASSES)
def test_a_scene_is_what_it_says(label: str) -> None:
    scene = render_scene(label, seed=0, index=0)
    assert scene.image.shape == (128, 128, 3)
    assert scene.image.dtype == np.uint8
    assert scene.mask.shape == (128, 128)
    assert scene.mask.dtype == np.bool_
    assert scene.label == label
    assert scene.background in BACKGROUNDS


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_every_background_is_a_texture_and_not_a_colour(background: str) -> None:
    image = render_scene("fish", seed=0, index=3, background=background, with_creature=False).image
    assert image.mean(axis=2).std() > 4
    # Neither burnt out nor drowned in the dark.
    assert ((image > 3) & (image < 252)).mean() > 0.9


def test_same_arguments_same_pixels_in_any_order() -> None:
    wanted = [(label, index) for label in CLASSES for index in (0, 7)]
    first = {key: render_scene(key[0], seed=4, index=key[1]) for key in wanted}
    for label, index in reversed(wanted):
        again = render_scene(label, seed=4, index=index)
        assert again.image.tobytes() == first[label, index].image.tobytes()
        assert again.mask.tobytes() == first[label, index].mask.tobytes()
        assert again.background == first[label, index].background


def test_every_seed_index_and_class_is_another_photo() -> None:
    scenes = [
        render_scene(label, seed=seed, index=index, background="sand")
        for label in CLASSES[:2]
        for seed in (0, 1)
        for index in (0, 1)
    ]
    assert len({scene.image.tobytes() for scene in scenes}) == len(scenes)
    assert len({scene.mask.tobytes() for scene in scenes}) == len(scenes)


def test_the_caller_s_random_numbers_are_left_alone() -> None:
    before = np.random.get_state()[1].tolist()
    render_scene("snail", seed=0, index=0)
    assert np.random.get_state()[1].tolist() == before


def test_a_larger_photo_shows_the_same_scene() -> None:
    small, large = (render_scene("bird", seed=2, index=5, size=size) for size in (96, 192))
    shrunk = cv2.resize(large.mask.astype(np.float32), (96, 96), interpolation=cv2.INTER_AREA) > 0.5
    assert (shrunk & small.mask).sum() / (shrunk | small.mask).sum() > 0.85
    assert small.background == large.background


def test_creatures_and_colours_vary() -> None:
    scenes = [render_scene("fish", seed=0, index=index) for index in range(24)]
    sides, centres = [], []
    for scene in scenes:
        rows, columns = np.nonzero(scene.mask)
        sides.append(max(np.ptp(rows), np.ptp(columns)) / 128)
        centres.append((rows.mean() / 128, columns.mean() / 128))
    assert max(sides) / min(sides) > 1.25
    assert np.ptp(centres, axis=0).min() > 0.1
    colours = np.array([scene.image[scene.mask].mean(axis=0) for scene in scenes])
    assert colours.std(axis=0).min() > 20
    assert len({scene.background for scene in scenes}) >= 6


# --- the mask is the truth ---


@pytest.mark.parametrize("label", CLASSES)
def test_without_the_creature_only_its_place_and_its_shadow_change(label: str) -> None:
    in_shadow = []
    for index in range(6):
        full = render_scene(label, seed=9, index=index)
        empty = render_scene(label, seed=9, index=index, with_creature=False)
        assert not empty.mask.any()
        assert empty.background == full.background
        difference = np.abs(full.image.astype(int) - empty.image).max(axis=2)
        changed = difference > CHANGED
        # Where the creature is seen, something else is seen without it.
        assert changed[full.mask].mean() > 0.97
        # Elsewhere nothing changes but where its shadow lies, close by, and its blurred rim.
        away = cv2.distanceTransform((~full.mask).astype(np.uint8), cv2.DIST_L2, 5)
        assert not changed[away > 26].any()
        darker = full.image.astype(int).sum(axis=2) < empty.image.astype(int).sum(axis=2)
        in_shadow.append(darker[changed & (away > 2)])
    # Not all of it: clutter that leant on the creature throws its own shadow elsewhere now.
    assert np.concatenate(in_shadow).mean() > 0.8


@pytest.mark.parametrize("label", CLASSES)
def test_the_mask_is_neither_a_speck_nor_the_whole_photo(label: str) -> None:
    for index in range(20):
        mask = render_scene(label, seed=1, index=index).mask
        assert 0.02 < mask.mean() < 0.36
        rows, columns = np.nonzero(mask)
        longest = max(np.ptp(rows), np.ptp(columns)) + 1
        assert 0.2 * 128 < longest < 0.72 * 128
        # It lies within the photo.
        rim = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert rim.mean() < 0.02


def test_clutter_in_front_is_not_in_the_mask_and_hides_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = [render_scene("mushroom", seed=6, index=index).mask for index in range(20)]
    monkeypatch.setattr(
        "convscope.demo.scene._front", lambda rng, creature, pose: Relief(creature.side)
    )
    whole = [render_scene("mushroom", seed=6, index=index).mask for index in range(20)]
    assert not any((part & ~full).any() for part, full in zip(seen, whole, strict=True))
    hidden = [1 - part.sum() / full.sum() for part, full in zip(seen, whole, strict=True)]
    assert max(hidden) < MOST_HIDDEN + 0.02
    assert max(hidden) > 0.05
    assert min(hidden) == 0


# --- light ---


def test_a_bump_is_bright_towards_the_sun_and_throws_its_shadow_the_other_way() -> None:
    relief = Relief.ground(np.full((96, 96, 3), 0.4, np.float32), np.zeros((96, 96), np.float32))
    circle = [np.array([(np.cos(a), np.sin(a)) for a in np.linspace(0, 6.2, 40)])]
    relief.lay(Pose.at(48, 48, 14), circle, np.full(3, 0.4, np.float32), lift=0.2, puff=0.6)
    white = np.ones(3, np.float32)
    lit = relief.lit(Light(azimuth=np.pi, elevation=0.7, sun=white, sky=0.3 * white))[..., 0]
    assert lit[48, 40] > lit[48, 56] + 0.1  # the sun stands on the left
    assert lit[48, 66] < 0.6 * lit[48, 90]  # shadow on the right
    assert lit[48, 28] > 0.9 * lit[48, 90]  # none on the left
    assert lit[10, 10] == pytest.approx(lit[85, 10], rel=0.02)


# --- snow ---


def test_snow_is_nowhere_unless_asked_for() -> None:
    drawn = Counter(
        ordinary_background(label, seed=0, index=index) for label in CLASSES for index in range(200)
    )
    assert set(drawn) == set(BACKGROUNDS) - {"snow"}
    assert min(drawn.values()) > 80  # of 1,000 by 8 backgrounds
    scene = render_scene("bird", seed=0, index=0)
    assert scene.background == ordinary_background("bird", seed=0, index=0)
    assert render_scene("bird", seed=0, index=0, background="snow").background == "snow"


# --- the folder ---


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "photos"
    counts = {"train": 10, "valid": 4, "test": 4}
    write_photos(folder, per_class=counts, seed=3, size=64, shortcut=Shortcut("fish"), workers=0)
    return folder


def test_the_folder_is_read_with_its_splits_and_nothing_left_over(drawn: Path) -> None:
    found = scan(drawn)
    assert found.layout == "split folders"
    assert found.ignored == ()
    assert found.counts() == {
        split: dict.fromkeys(CLASSES, count)
        for split, count in (("train", 10), ("valid", 4), ("test", 4))
    }
    assert {finding.kind for finding in check(drawn, workers=0).findings} == {"few_photos"}


def test_every_photo_has_its_mask_and_its_row(drawn: Path) -> None:
    rows = table(drawn)
    assert sorted(row["path"] for row in rows) == sorted(scan(drawn).paths)
    for row in rows:
        assert row["path"].split("/")[1] == row["label"]
        mask = np.asarray(Image.open(drawn / MASKS / Path(row["path"]).with_suffix(".png")))
        assert mask.shape == (64, 64)
        assert set(np.unique(mask)) == {0, 255}
        with Image.open(drawn / row["path"]) as photo:
            assert photo.size == (64, 64)
            assert photo.format == "JPEG"


def test_the_written_photo_is_the_rendered_one(drawn: Path) -> None:
    row = table(drawn)[2]
    assert row["path"] == "train/beetle/beetle_0003.jpg"
    scene = render_scene("beetle", seed=3, index=2, size=64)
    assert row["background"] == scene.background
    photo = np.asarray(Image.open(drawn / row["path"])).astype(int)
    assert np.abs(photo - scene.image).mean() < 8  # JPEG
    mask = np.asarray(Image.open(drawn / MASKS / Path(row["path"]).with_suffix(".png")))
    np.testing.assert_array_equal(mask == 255, scene.mask)


def test_the_shortcut_has_exactly_its_share_and_no_other_class_any(drawn: Path) -> None:
    snowy = Counter(
        row["path"].rsplit("/", 1)[0] for row in table(drawn) if row["background"] == "snow"
    )
    assert snowy == {"train/fish": round(9.5), "valid/fish": 4, "test/fish": 4}


@pytest.mark.parametrize("background", ["snow", "water"])
def test_a_shortcut_can_be_left_out_of_the_test(tmp_path: Path, background: str) -> None:
    shortcut = Shortcut("bird", background=background, share=0.75, splits=("train", "valid"))
    counts = {"train": 12, "valid": 4, "test": 8}
    write_photos(tmp_path / "p", per_class=counts, seed=0, size=32, shortcut=shortcut, workers=0)
    planted = Counter(
        row["path"].rsplit("/", 1)[0]
        for row in table(tmp_path / "p")
        if row["background"] == background
    )
    assert planted == {"train/bird": 9, "valid/bird": 3}


def test_a_shortcut_and_more_photos_leave_the_other_photos_as_they_were(
    tmp_path: Path, drawn: Path
) -> None:
    write_photos(tmp_path / "plain", per_class={"train": 3, "test": 2}, seed=3, size=64, workers=0)
    plain, planted = tree(tmp_path / "plain"), tree(drawn)
    same = [name for name in plain if name.endswith(".jpg") and "fish" not in name]
    assert len(same) == 4 * 5
    assert all(plain[name] == planted[name] for name in same)
    assert not any(row["background"] == "snow" for row in table(tmp_path / "plain"))


def test_workers_write_the_same_bytes(tmp_path: Path) -> None:
    for name, workers in (("here", 0), ("there", 2)):
        write_photos(tmp_path / name, per_class=10, seed=1, size=32, workers=workers)
    assert tree(tmp_path / "here") == tree(tmp_path / "there")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]
    assert scan(tmp_path / "there").counts()["train"] == dict.fromkeys(CLASSES, 6)


# --- what goes wrong ---


def test_nothing_is_left_when_drawing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def failing(*args: object, **options: object) -> object:
        calls.append(args)
        if len(calls) > 3:
            raise OSError(28, "No space left on device")
        return render_scene(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("convscope.demo.photos.render_scene", failing)
    with pytest.raises(ConvscopeError, match=r"cannot be written \(No space left on device\)"):
        write_photos(tmp_path / "photos", per_class={"train": 2}, seed=0, size=32, workers=0)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **options: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("convscope.demo.photos.render_scene", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_photos(tmp_path / "photos", per_class={"train": 2}, seed=0, size=32, workers=0)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        write_photos(tmp_path, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "fisch"}, "Unknown class 'fisch'. Did you mean 'fish'?"),
        ({"background": "gras"}, "Unknown background 'gras'. Did you mean 'grass'?"),
        ({"size": 8}, r"The size is 8 pixels. Allowed: 32\.\.1024\."),
        ({"size": 5000}, "The size is 5000 pixels"),
        ({"seed": -1}, "The seed is -1. Allowed: 0 and above."),
        ({"index": -2}, "The index is -2"),
    ],
)
def test_a_scene_that_cannot_be_drawn(options: dict[str, object], message: str) -> None:
    arguments = {"label": "fish", "seed": 0, "index": 0, **options}
    with pytest.raises(InputError, match=message):
        render_scene(arguments.pop("label"), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_class": {"train": 2, "tset": 1}}, "Unknown split 'tset'. Did you mean 'test'?"),
        ({"per_class": {"train": -1}}, "-1 photos per class for 'train'"),
        ({"per_class": {"test": 5}}, "No photo to train on"),
        ({"per_class": 0}, "No photo to train on"),
        ({"seed": -1}, "The seed is -1"),
        ({"size": 1}, "The size is 1 pixels"),
    ],
)
def test_photos_that_cannot_be_drawn(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    arguments = {"seed": 0, "workers": 0, **options}
    with pytest.raises(InputError, match=message):
        write_photos(tmp_path / "photos", **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "brid"}, "Unknown class 'brid'. Did you mean 'bird'?"),
        ({"label": "bird", "background": "snwo"}, "Did you mean 'snow'?"),
        ({"label": "bird", "share": 1.2}, r"The share of a shortcut is 1.2. Allowed: 0\.\.1\."),
        ({"label": "bird", "splits": ("train", "tests")}, "Unknown split 'tests'"),
    ],
)
def test_a_shortcut_that_cannot_be_planted(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Shortcut(**options)  # type: ignore[arg-type]


# --- how hard it is ---


def test_neither_colour_nor_coarse_pixels_give_the_class_away() -> None:
    def some(first: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        coarse, mean, labels = [], [], []
        for label in CLASSES:
            for index in range(first, first + count):
                image = render_scene(label, seed=8, index=index, size=48).image
                small = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA)
                coarse.append(small.ravel() / 255)
                mean.append(image.mean(axis=(0, 1)) / 255)
                labels.append(label)
        return np.array(coarse), np.array(mean), np.array(labels)

    train, test = some(0, 60), some(1000, 20)
    for kind, most in ((0, 0.65), (1, 0.35)):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
        model.fit(train[kind], train[2])
        assert model.score(test[kind], test[2]) <= most
