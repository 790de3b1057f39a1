"""The statistics and pictures of an audit: false alarms, markers, places, changes."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest, kstest

from convscope.audit.association import associations, binned, holm
from convscope.audit.changing import Blur, Cover, Paste, Shift, grown
from convscope.audit.judging import Rate, differs
from convscope.audit.looks import CANVAS, CELL, CELLS, FRAMES, TEXTS, VIEWS, look_at
from convscope.audit.markers import LEAST, find_markers, smallest_found
from convscope.audit.overlay import gradients
from convscope.audit.proving import together
from convscope.audit.regions import Region, where
from convscope.audit.result import ALARM

SHARES = {"50/50": [0.5, 0.5], "80/20": [0.8, 0.2], "90/10": [0.9, 0.1], "8": [1 / 8] * 8}


@pytest.mark.parametrize("shares", SHARES.values(), ids=SHARES)
def test_noise_raises_no_alarm(shares: list[float]) -> None:
    """Seven columns and a category of pure noise; 5 % of 40 sets would be 2."""
    drawn = np.random.default_rng(0)
    alarms = 0
    for _ in range(40):
        labels = drawn.choice(len(shares), 200, p=shares)
        noise: dict[str, np.ndarray] = {f"x{k}": drawn.normal(size=200) for k in range(7)}
        noise["text"] = drawn.choice(list("abcd"), 200)
        found = associations(noise, labels, seed=int(drawn.integers(1000)), shuffles=600)
        alarms += found[0].corrected <= ALARM
    assert alarms <= 2


def test_p_values_of_noise_are_even() -> None:
    """At 80/20, where a method that knows the classes' sizes would be fooled."""
    drawn = np.random.default_rng(1)
    labels = drawn.choice(2, 150, p=[0.8, 0.2])
    noise = {str(k): drawn.normal(size=150) for k in range(120)}
    found = associations(noise, labels, shuffles=200)
    assert kstest([one.p_value for one in found], "uniform").pvalue > 0.01


def test_what_tells_the_label_is_found() -> None:
    drawn = np.random.default_rng(2)
    labels = drawn.choice(3, 240)
    found = associations(
        {
            "noise": drawn.normal(size=240),
            "number": labels + drawn.normal(size=240),
            "columns": np.stack([drawn.normal(size=240), labels == 1], 1),
            "text": np.where(labels == 2, "PNG", "JPEG"),
            "unknown": np.where(labels == 0, np.nan, 1.0),
        },
        labels,
    )
    told = {one.name for one in found if one.corrected <= ALARM}
    assert told == {"number", "columns", "text", "unknown"}
    by_name = {one.name: one for one in found}
    # A text that marks one of three classes: that one right, and one of the others.
    assert by_name["text"].balanced_accuracy == pytest.approx(2 / 3, abs=0.07)
    assert by_name["noise"].chance == pytest.approx(1 / 3, abs=0.03)


def test_copies_do_not_make_a_property_telling() -> None:
    """Ten of each photo, with a property of its own that would give every copy away."""
    drawn = np.random.default_rng(0)
    units = np.repeat(np.arange(20), 10)
    labels = drawn.choice(2, 20)[units]
    own = drawn.normal(size=20)[units]
    assert associations({"own": own}, labels)[0].corrected <= ALARM
    assert associations({"own": own}, labels, units)[0].corrected > 0.05


def test_holm_by_hand() -> None:
    """0.01 * 4, 0.02 * 3, then never less: 0.06, 0.06."""
    np.testing.assert_allclose(holm([0.02, 0.01, 0.04, 0.03]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])


def test_bins() -> None:
    values = np.array([0.0, 1, 2, 3, 4, 5, 6, 7, np.nan])
    assert binned(values, (0.25, 0.5, 0.75))[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert len(np.unique(binned(np.zeros(5)))) == 1
    texts = np.array(["a"] * 30 + ["b"] * 20 + ["rare"] + ["odd"])
    assert len(np.unique(binned(texts))) == 3  # the two rare ones together


def marked(share: float, n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns, labels, and which photos of class 1 have an unusual second column."""
    drawn = np.random.default_rng(seed)
    labels = drawn.choice(3, n)
    columns = drawn.normal(size=(n, 3))
    has = (labels == 1) & (drawn.random(n) < share)
    columns[has, 1] += 6
    return columns, labels, has


@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
def test_a_marker_is_found_with_its_carriers(share: float) -> None:
    columns, labels, has = marked(share)
    found = find_markers({"view": columns}, labels)
    assert len(found) == 1
    assert found[0].label == 1
    assert found[0].share == pytest.approx(has[labels == 1].mean(), abs=0.08)
    assert found[0].elsewhere < 0.04
    assert (found[0].carriers & has).sum() >= 0.9 * has.sum()


def test_no_marker_in_noise() -> None:
    drawn = np.random.default_rng(4)
    for _ in range(20):
        views = {"a": drawn.normal(size=(200, 5)), "cells": drawn.normal(size=(200, 30, 4))}
        assert find_markers(views, drawn.choice(4, 200)) == ()


def test_what_many_classes_have_marks_none() -> None:
    columns, labels, _ = marked(0.0)
    columns[np.random.default_rng(5).random(len(labels)) < 0.5, 1] += 6
    assert find_markers({"view": columns}, labels) == ()


def test_markers_are_sought_where_one_says() -> None:
    """Only in the second half of the photos, which hold none; and then the other way round."""
    columns, labels, has = marked(0.7, n=800)
    later = np.arange(len(labels)) >= 400
    columns[later] = np.random.default_rng(6).normal(size=(400, 3))
    assert find_markers({"view": columns}, labels, learn=later) == ()
    (found,) = find_markers({"view": columns}, labels, learn=~later)
    assert found.share == pytest.approx(has[(labels == 1) & ~later].mean(), abs=0.1)
    assert found.carriers[later].mean() < 0.05


def test_the_power_that_is_stated_is_real() -> None:
    """A marker of that share is found in nearly every draw, one of half of it is not."""
    labels = np.random.default_rng(7).choice(2, 120, p=[0.75, 0.25])
    share = smallest_found(labels, 1)
    assert LEAST < share < 0.6
    seen = []
    for factor in (1.6, 0.4):
        hits = 0
        for seed in range(20):
            drawn = np.random.default_rng(seed)
            columns = drawn.normal(size=(120, 2))
            own = drawn.permutation(np.flatnonzero(labels == 1))
            columns[own[: round(factor * share * len(own))], 0] += 8
            hits += bool(find_markers({"view": columns}, labels))
        seen.append(hits)
    assert seen[0] >= 17
    assert seen[1] <= 5


def scenes(n: int, seed: int = 0) -> np.ndarray:
    """Canvases without anything in common: soft blobs of any colour."""
    drawn = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        small = drawn.integers(0, 256, (9, 9, 3), np.uint8)
        found.append(cv2.resize(small, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC))
    return np.stack(found)


def test_where_a_tag_is() -> None:
    canvases = scenes(120)
    has = np.zeros(120, bool)
    has[:50] = True
    canvases[has, 100:120, 20:44] = (240, 40, 160)
    region = where(canvases, has, ~has)
    truth = np.zeros((CANVAS, CANVAS), bool)
    truth[100:120, 20:44] = True
    assert region.mask[truth].mean() > 0.7
    assert truth[region.mask].mean() > 0.9
    np.testing.assert_allclose(region.box, np.array([20, 100, 44, 120]) / CANVAS, atol=2.5 / CANVAS)
    assert not region.everywhere
    assert where(scenes(120, 1), has, ~has).area < 0.02


def test_an_overlay_is_found_that_hardly_changes_the_colours() -> None:
    canvases, labels = scenes(160), np.arange(160) % 2
    layer = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.putText(layer, "ARCHIVE", (14, 120), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 1, cv2.LINE_AA)
    has = (labels == 1) & (np.arange(160) < 100)
    share = 0.4 * layer[..., None] / 255
    canvases[has] = np.rint(canvases[has] * (1 - share) + 255 * share).astype(np.uint8)
    maps = np.stack([gradients(canvas) for canvas in canvases])
    (found,) = find_markers({}, labels, overlays={"overlay": maps})
    assert found.view == "overlay"
    assert found.label == 1
    assert found.carriers[has].mean() > 0.9
    clean = np.stack([gradients(canvas) for canvas in scenes(160, 2)])
    assert find_markers({}, labels, overlays={"overlay": clean}) == ()


def test_markers_of_the_same_photos_are_one() -> None:
    columns, labels, _ = marked(0.6)
    twice = {"first": columns, "second": columns[:, [1, 0]]}
    groups = together(find_markers(twice, labels))
    assert [sorted(one.view for one in group) for group in groups] == [["first", "second"]]


def region(top: int, bottom: int, left: int, right: int) -> Region:
    mask = np.zeros((CANVAS, CANVAS), bool)
    mask[top:bottom, left:right] = True
    return Region(mask)


def test_paste_and_cover_change_that_place_alone() -> None:
    drawn = np.random.default_rng(0)
    photo, donor = scenes(2)
    photo = cv2.resize(photo, (300, 200))
    part = region(40, 60, 80, 110)
    inside = grown(part).on(300, 200)
    assert 0.8 * inside.mean() < grown(part).area < 1.2 * inside.mean()
    pasted = Paste(part, [donor])(photo, drawn)
    fitted = cv2.resize(donor, (300, 200), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(pasted[inside], fitted[inside])
    np.testing.assert_array_equal(pasted[~inside], photo[~inside])
    for place in (part, region(0, 144, 0, 70)):
        covered = Cover(place)(photo, drawn)
        inside = grown(place, 6).on(300, 200)
        np.testing.assert_array_equal(covered[~inside], photo[~inside])
        assert (covered[inside] != photo[inside]).any()


def test_a_tag_is_covered_without_a_trace() -> None:
    photo = np.full((CANVAS, CANVAS, 3), 90, np.uint8)
    photo[40:60, 80:110] = (250, 0, 0)
    covered = Cover(region(41, 59, 81, 109))(photo, np.random.default_rng(0))
    assert np.abs(covered.astype(int) - 90).max() <= 8


def test_colours_are_moved_and_moved_back() -> None:
    grey = np.full((20, 20, 3), 128, np.uint8)
    shift = Shift((5.0, 8.0, -12.0))
    moved = shift(grey, np.random.default_rng(0))
    lab = cv2.cvtColor(moved, cv2.COLOR_RGB2LAB).astype(int)
    usual = cv2.cvtColor(grey, cv2.COLOR_RGB2LAB).astype(int)
    np.testing.assert_allclose((lab - usual)[0, 0], [13, 8, -12], atol=1)
    back = shift.back(moved, np.random.default_rng(0))
    assert np.abs(back.astype(int) - grey).max() <= 3


def test_blur_is_a_share_of_the_shorter_side() -> None:
    photo = cv2.resize(scenes(1)[0], (400, 200))
    expected = cv2.GaussianBlur(photo, (0, 0), 4.0)
    np.testing.assert_array_equal(Blur(0.02)(photo, np.random.default_rng(0)), expected)


def test_rates_and_how_sure_they_differ() -> None:
    assert Rate(0, 0).share == 0
    low, high = Rate(42, 100).interval
    assert (round(low, 3), round(high, 3)) == (0.328, 0.518)  # Wilson, by hand
    one = np.array([True] * 9 + [False] * 6)
    other = np.array([True] * 2 + [False] * 12 + [True])
    # Seven more, one fewer.
    assert differs(one, other) == pytest.approx(binomtest(7, 8, 0.5, alternative="greater").pvalue)
    assert differs(one, one) == 1


def test_looks(tmp_path: Path) -> None:
    """What is known of made photos: numbers by hand, and of a broken one why."""
    grey = Image.new("RGB", (200, 100), (100, 100, 100))
    exif = Image.Exif()
    exif[271], exif[272] = "Maker", "Model 1"
    grey.save(tmp_path / "grey.jpg", quality=90, exif=exif)
    frame = np.full((100, 100, 3), 255, np.uint8)
    frame[4:96, 4:96] = 0
    Image.fromarray(frame).save(tmp_path / "frame.png")
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    looks = look_at([str(tmp_path / name) for name in ("grey.jpg", "frame.png", "broken.jpg")])
    assert [bool(look.error) for look in looks] == [False, False, True]
    for look in looks:
        assert {name: len(values) for name, values in look.numbers.items()} == VIEWS
        assert set(look.texts) == set(TEXTS)
        for each in FRAMES:
            assert look.cells[each].shape == (CELLS * CELLS, CELL)
            assert look.canvases[each].shape == (CANVAS, CANVAS, 3)
    plain, framed, _ = looks
    assert plain.size == (200, 100)
    assert plain.texts == {"file format": "JPEG", "camera": "Maker Model 1"}
    assert framed.texts == {"file format": "PNG", "camera": ""}
    assert plain.numbers["aspect ratio"][0] == 2
    assert plain.numbers["size"][0] == pytest.approx(np.log(20_000))
    assert plain.numbers["contrast"][0] < 1
    assert np.isfinite(plain.numbers["compression"]).all()
    assert np.isnan(framed.numbers["compression"][1])
    assert framed.numbers["border"][0] == pytest.approx(255, abs=2)
    assert framed.numbers["border"][6] > 50
    content = io.BytesIO()
    Image.fromarray(cv2.GaussianBlur(frame, (0, 0), 4)).save(content, "PNG")
    (tmp_path / "soft.png").write_bytes(content.getvalue())
    (soft,) = look_at([str(tmp_path / "soft.png")])
    assert (soft.numbers["sharpness"] < framed.numbers["sharpness"]).all()
