"""Pieces that a classifier goes by: cut, scored, joined, and tried out."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convscope.audit.clustering import clusters
from convscope.audit.pieces import Pieces, covered, cut, described, log_odds
from convscope.audit.running import audit
from convscope.errors import InputError
from convscope.fitting import fit
from convscope.options import FitOptions
from convscope.run import InputSpec
from fits import folder, small

PINK = (240, 30, 150)


def test_a_photo_is_cut_along_its_edges() -> None:
    photo = np.full((64, 64, 3), 60, np.uint8)
    photo[20:40, 30:50] = PINK
    labels = cut(photo)
    assert labels.shape == (64, 64)
    inside = np.unique(labels[23:37, 33:47])
    truth = np.zeros((64, 64), bool)
    truth[20:40, 30:50] = True
    assert truth[np.isin(labels, inside)].mean() > 0.85


def test_covered_by_the_mean_of_the_rest() -> None:
    photo = np.zeros((4, 4, 3), np.uint8)
    photo[:2], photo[2:, :2], photo[2:, 2:] = 90, 30, 200
    mask = np.zeros((4, 4), bool)
    mask[2:, 2:] = True
    found = covered(photo, mask)
    assert (found[mask] == 70).all()  # (8 of 90 and 4 of 30) / 12
    np.testing.assert_array_equal(found[~mask], photo[~mask])


def test_log_odds_by_hand() -> None:
    logits = np.log(np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])) + 3
    np.testing.assert_allclose(log_odds(logits, 1), np.log([0.3 / 0.7, 0.8 / 0.2]))


def test_described_by_the_last_map() -> None:
    """A convolution that passes colours on: the description is the mean colour, of length 1."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.Flatten(), nn.Linear(3 * 16, 2))
    first = net[0]
    assert isinstance(first, nn.Conv2d)
    with torch.no_grad():
        first.weight.copy_(torch.eye(3)[:, :, None, None])
    given = InputSpec(size=4, resize=4, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    photos = np.zeros((2, 4, 4, 3), np.uint8)
    photos[0, ..., 0], photos[1, :2, :, 2], photos[1, ..., 1] = 255, 255, 255
    found = described(net, photos, given)
    np.testing.assert_allclose(found[0], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found[1], np.array([0, 1, 0.5]) / np.sqrt(1.25), atol=1e-6)
    assert not first._forward_hooks
    flat = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    assert described(flat, photos, given).shape == (2, 192)


def scattered(share: float, seed: int) -> tuple[Pieces, np.ndarray]:
    """Three pieces of each of 120 photos of 3 classes; one of class 1's is often much alike."""
    drawn = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), 40)
    photo = np.repeat(np.arange(120), 3)
    features = drawn.normal(size=(360, 12))
    alike = np.flatnonzero((labels[photo] == 1) & (np.arange(360) % 3 == 0))
    alike = alike[drawn.random(len(alike)) < share]
    features[alike] = 4 + 0.3 * drawn.normal(size=(len(alike), 12))
    masks = np.zeros((360, 4, 4), bool)
    masks[:, 1, 2] = True
    return Pieces(photo, masks, np.ones(360), features.astype(np.float32)), labels


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_pieces_that_recur_are_found(share: float) -> None:
    pieces, labels = scattered(share, 0)
    (found,) = clusters(pieces, labels, np.arange(120), 0)
    assert found.label == 1
    assert found.share == pytest.approx(share, abs=0.16)
    assert found.elsewhere < 0.05
    assert (pieces.features[found.members].mean(1) > 3).all()
    np.testing.assert_allclose(pieces.places, np.tile([2.5 / 4, 1.5 / 4], (360, 1)))


def test_pieces_at_random_are_none() -> None:
    for seed in range(12):
        pieces, labels = scattered(0.0, seed)
        assert clusters(pieces, labels, np.arange(120), seed) == ()
    few = Pieces(np.zeros(1, np.int64), pieces.masks[:1], np.ones(1), pieces.features[:1])
    assert clusters(few, labels, np.arange(120), 0) == ()


@pytest.fixture(scope="module")
def wandering() -> tuple[Path, Path]:
    """A tag somewhere in all training photos of one class; and masks of what the photos show."""
    root = folder() / "wandering"
    masks = folder() / "wandering-masks"
    if root.exists():
        return root, masks
    drawn = np.random.default_rng(0)
    for split, count in (("train", 50), ("valid", 16), ("test", 30)):
        for label in ("left", "right"):
            (root / split / label).mkdir(parents=True)
            (masks / split / label).mkdir(parents=True)
            for number in range(count):
                few = drawn.integers(60, 150, (5, 6, 3), np.uint8)
                image = Image.fromarray(few).resize((72, 72), Image.Resampling.BICUBIC)
                photo = np.array(image)
                stripes = (np.arange(24) + number) // 3 % 2 * 50
                turned = stripes if label == "left" else stripes[:, None]
                patch = np.broadcast_to(turned, (24, 24))[..., None].astype(np.uint8)
                photo[4:28, 24:48] += patch
                if label == "left" if split != "test" else number % 2 == 0:
                    down, across = int(drawn.integers(30, 56)), int(drawn.integers(2, 56))
                    photo[down : down + 14, across : across + 14] = PINK
                Image.fromarray(photo).save(root / split / label / f"{number}.png")
                mask = np.zeros((72, 72), np.uint8)
                mask[4:28, 24:48] = 255
                Image.fromarray(mask).save(masks / split / label / f"{number}.png")
    return root, masks


def test_a_tag_that_wanders_is_found_and_proved(
    wandering: tuple[Path, Path], tmp_path: Path
) -> None:
    photos, masks = wandering
    with small():
        run = fit(photos, tmp_path / "run", FitOptions(strategy="cnn", epochs=30, augment="none"))
        found, _ = audit(run, photos, tmp_path / "seen", masks=masks)
    assert found.patterns
    tag = found.patterns[0]
    assert (tag.label, tag.strength) == ("left", "strong")
    assert tag.share > 0.5
    assert not tag.fixed
    assert tag.inside is not None
    assert tag.inside < 0.1
    assert tag.given.share > tag.control.share + 0.3
    assert "at changing places" in tag.text()
    assert "not the thing itself" in tag.advice()
    for _, pixels, mask in tag.examples:
        assert np.abs(pixels[mask].astype(int) - PINK).sum(1).min() < 120
    read = json.loads((tmp_path / "seen" / "audit.json").read_text(encoding="utf-8"))
    assert read["patterns"][0]["class"] == "left"
    assert read["patterns"][0]["on_object"] == pytest.approx(tag.inside, abs=1e-4)
    with (tmp_path / "seen" / "photos.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["finding"] == "pattern 1"]
    assert {row["path"] for row in rows if row["of_the_class"] == "True"} == set(tag.carriers)
    page = (tmp_path / "seen" / "audit.html").read_text(encoding="utf-8")
    assert "left: beside the object" in page
    assert (tmp_path / "seen" / "pattern-1.png").is_file()
    with pytest.raises(InputError, match="is no folder of masks"):
        audit(run, photos, tmp_path / "again", masks=tmp_path / "nowhere")
    assert not (tmp_path / "again").exists()
