"""What is shown of augmentation is what training sees."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope import ConvscopeError, InputError
from convscope.augmenting import augment_page
from convscope.data.augment import POLICIES, Augmentation, augment
from convscope.data.samples import DRAWS, carry_masks, choose_rows, draw_samples, jpeg, sheet
from convscope.data.survey import DecodeSpec, decode_chunk
from fits import Command, fitted, folder
from fits import photos as split_photos
from learnable import TINTS, tinted_folder


@pytest.fixture(scope="module")
def photos() -> Path:
    return tinted_folder(folder() / "to-augment", 5)


def pictures(page: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in found]


@pytest.mark.parametrize("policy", ["standard", "strong", "none"])
def test_the_page_shows_each_class_and_the_draws_of_the_first_epochs(
    photos: Path, tmp_path: Path, policy: str
) -> None:
    page = augment_page(photos, tmp_path / "page.html", policy=policy, size=48, seed=4)
    text = page.read_text(encoding="utf-8")
    shown = pictures(text)
    assert len(shown) == len(TINTS) * 2 * (1 + DRAWS)
    assert all(f"<h2>{label}</h2>" in text for label in TINTS)
    assert "default-src 'none'" in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    # The first photo of the first class is row 0 of the data set.
    first = sorted((photos / min(TINTS)).iterdir())[0]
    _, (original,) = decode_chunk([str(first)], DecodeSpec(48, 48))
    assert np.abs(shown[0].astype(int) - original).mean() < 4  # JPEG
    chosen = POLICIES[policy]
    for epoch in range(DRAWS):
        wanted = original
        if chosen is not None:
            (wanted,) = augment(original[None], chosen, rows=np.array([0]), epoch=epoch, seed=4)
        assert np.abs(shown[1 + epoch].astype(int) - wanted).mean() < 4


def test_training_photos_only_where_a_split_is_given(tmp_path: Path) -> None:
    page = augment_page(split_photos(), tmp_path / "page.html", per_class=20, size=32)
    text = page.read_text(encoding="utf-8")
    assert "test/" not in text
    assert "valid/" not in text
    assert len(pictures(text)) == len(TINTS) * 6 * (1 + DRAWS)


def test_the_command(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = Command(capsys)
    ended = command("augment", photos, "--policy", "cutmix", "--out", tmp_path / "p.html", "--json")
    assert ended.code == 0
    assert json.loads(ended.out) == {
        "page": str(tmp_path / "p.html"), "policy": "cutmix", "seed": 0,
    }  # fmt: skip
    assert "joined in pairs" in (tmp_path / "p.html").read_text(encoding="utf-8")
    ended = command("augment", photos, "--policy", "strnog", "--out", tmp_path / "q.html")
    assert (ended.code, ended.out) == (2, "")
    assert "Did you mean 'strong'?" in ended.err
    assert not (tmp_path / "q.html").exists()


def test_photos_that_cannot_be_read_are_passed_over(photos: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "photos"
    for label in TINTS:
        (mixed / label).mkdir(parents=True)
        (mixed / label / "0.jpg").write_bytes(b"no photo")
        sample = sorted((photos / label).iterdir())[0]
        (mixed / label / f"1{sample.suffix}").write_bytes(sample.read_bytes())
    page = augment_page(mixed, tmp_path / "page.html", size=16)
    assert len(pictures(page.read_text(encoding="utf-8"))) == len(TINTS) * (1 + DRAWS)
    for label in TINTS:
        for file in (mixed / label).iterdir():
            file.write_bytes(b"no photo")
    with pytest.raises(InputError, match="no photo that can be read"):
        augment_page(mixed, tmp_path / "other.html", size=16)
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ConvscopeError, match="cannot be written"):
        augment_page(photos, tmp_path / "taken" / "page.html", size=16)


def test_rows_are_chosen_by_class() -> None:
    labels = ["b", "a", "b", "a", "b", "c"]
    assert choose_rows(labels, range(6), 2, 10) == [1, 3, 0, 2, 5]
    assert choose_rows(labels, [2, 4, 5], 1, 10) == [2, 5]
    assert choose_rows(labels, range(6), 2, 3) == [1, 3, 0]


def test_a_sheet_holds_the_photos_in_rows() -> None:
    some = np.random.default_rng(0).integers(0, 256, (2, 12, 12, 3), np.uint8)
    samples = draw_samples(some, [7, 9], ["x", "y"], ["a", "b"], POLICIES["standard"], seed=1)
    page = sheet(samples, gap=4)
    assert page.shape == (2 * 12 + 4, 9 * 12 + 8 * 4 + 8, 3)
    assert (page[:12, :12] == some[0]).all()
    assert (page[16:, :12] == some[1]).all()
    wanted = augment(some, POLICIES["standard"], rows=np.array([7, 9]), epoch=2, seed=1)
    left = 3 * 16 + 8
    assert (page[16:, left : left + 12] == wanted[1]).all()
    assert (page[:, 12:16] == 255).all()
    assert sheet(samples, side=6).shape == (2 * 6 + 4, 9 * 6 + 8 * 4 + 8, 3)
    again = np.asarray(Image.open(io.BytesIO(jpeg(page))))
    assert again.shape == page.shape


@pytest.mark.parametrize("strategy", ["cnn", "fcnn"])
def test_the_report_shows_what_this_training_saw(strategy: str) -> None:
    run = fitted(strategy)
    shown = run.sheet_path.read_bytes()
    text = run.report_path.read_text(encoding="utf-8")
    assert f'src="data:image/jpeg;base64,{base64.b64encode(shown).decode()}"' in text
    picture = np.asarray(Image.open(io.BytesIO(shown))).astype(int)
    # The first training photo of the first class, by the same seed.
    files = sorted((split_photos() / "train" / min(TINTS)).iterdir())
    size = run.info().input.size
    _, (original,) = decode_chunk([str(files[0])], DecodeSpec(run.info().input.resize, size))
    assert np.abs(picture[:size, :size] - original).mean() < 6
    assert not fitted("features").sheet_path.exists()
    assert "What training sees" not in fitted("features").report_path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def with_masks() -> tuple[Path, Path]:
    """Photos of a white square on black, each with the mask of that square."""
    root = folder() / "squares"
    photos, masks = root / "photos", root / "masks"
    for label, (left, top) in {"one": (10, 14), "two": (30, 20)}.items():
        for number in range(3):
            picture = np.zeros((60, 60, 3), np.uint8)
            picture[top : top + 20, left : left + 16] = 255
            for place, suffix in ((photos, "jpg"), (masks, "png")):
                file = place / label / f"{number}.{suffix}"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(file, quality=95)
    return photos, masks


def test_masks_are_carried_with_their_photos(with_masks: tuple[Path, Path]) -> None:
    """Where the moved photo is white is where the moved mask is."""
    photos, masks = with_masks
    _, pixels = decode_chunk([str(photos / "one" / "0.jpg")] * 4, DecodeSpec(60, 60))
    _, of_mask = decode_chunk([str(masks / "one" / "0.png")], DecodeSpec(60, 60))
    rows = np.arange(4)
    # Without what the mask cannot show: reflections, colours.
    policy = Augmentation(rotation=30, shift=0.1, crop=(0.7, 1.0), fill="constant")
    mask = np.repeat(of_mask[..., 0] > 127, 4, axis=0)
    for epoch in range(3):
        moved = augment(pixels, policy, rows=rows, epoch=epoch, seed=1)[..., 0] > 127
        carried = carry_masks(mask, rows.tolist(), policy, seed=1, epoch=epoch)
        assert carried.any(axis=(1, 2)).all()
        assert (carried == moved).mean() > 0.98
        assert (carried != mask).any()
    assert (carry_masks(mask, rows.tolist(), None, seed=1, epoch=0) == mask).all()
    with pytest.raises(ValueError, match="TrivialAugment"):
        carry_masks(mask, rows.tolist(), POLICIES["trivial"], seed=1, epoch=0)


def test_outlines_on_the_page(with_masks: tuple[Path, Path], tmp_path: Path) -> None:
    photos, masks = with_masks
    pages = [
        pictures(
            augment_page(photos, tmp_path / f"{number}.html", size=60, masks=given).read_text()
        )
        for number, given in enumerate((None, masks))
    ]
    for plain, outlined in zip(*pages, strict=True):
        changed = np.abs(plain.astype(int) - outlined).max(axis=2) > 100
        # The rim of a square of 16 x 20, three pixels wide.
        assert 60 < changed.sum() < 300


def test_masks_that_do_not_fit(
    with_masks: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, masks = with_masks
    out = tmp_path / "page.html"
    command = Command(capsys)
    ended = command("augment", photos, "--masks", tmp_path / "none", "--out", out)
    assert (ended.code, ended.out) == (2, "")
    assert "0.png" in ended.err
    ended = command("augment", photos, "--masks", masks, "--policy", "trivial", "--out", out)
    assert ended.code == 2
    assert "does not go with --policy trivial" in ended.err
    smaller = tmp_path / "smaller"
    for file in masks.rglob("*.png"):
        target = smaller / file.relative_to(masks)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (50, 60)).save(target)
    ended = command("augment", photos, "--masks", smaller, "--out", out)
    assert ended.code == 2
    assert "is 50 x 60 pixels, its photo 60 x 60" in ended.err
    assert not out.exists()
