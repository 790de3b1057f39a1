"""The parts of the report, its files and its photos: full, missing, damaged, too many."""

from __future__ import annotations

import base64
import doctest
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from convscope.errors import ConvscopeError, InputError
from convscope.metrics import wilson
from convscope.report import build_report, chart, words
from convscope.report.calibration import reliability_bins
from convscope.report.gallery import choose_photos
from convscope.report.headline import _verdict
from convscope.report.photos import embed, thumbnail
from convscope.report.scores import SplitScores
from convscope.run import Predictions
from report_pages import build, data_of, parse
from report_runs import (
    CLASSES,
    Made,
    Row,
    count,
    make_rows,
    make_run,
    write_json,
    write_predictions,
)


@pytest.fixture
def small(tmp_path: Path) -> Made:
    return make_run(tmp_path, make_rows(("cat", "dog"), 8), ("cat", "dog"))


# Photos.


def test_missing_and_unreadable_photos_become_grey_fields(tmp_path: Path) -> None:
    rows = make_rows(("cat", "dog"), 20, ("test",), wrong=0.5)
    made = make_run(tmp_path, rows, ("cat", "dog"))
    wrong = [row for row in rows if row.label != row.predicted]
    right = [row for row in rows if row.label == row.predicted]
    (made.photos / wrong[0].path).unlink()
    (made.photos / wrong[1].path).write_bytes(b"<html>")
    (made.photos / right[0].path).unlink()
    page = build(made)
    fields = page.section("mistakes").all("span", class_="no-photo")
    named = {field.attributes["aria-label"].split(" is no longer")[0] for field in fields}
    assert named == {row.path.rpartition("/")[2] for row in wrong[:2]}
    photos = {photo["path"]: photo for photo in data_of(page)["photos"].values()}
    assert photos[right[0].path]["src"] is None and photos[right[1].path]["src"]


def test_without_any_photo_the_page_is_made(small: Made, tmp_path: Path) -> None:
    page = build(replace(small, photos=tmp_path / "gone"))
    assert page.one("h1") and not page.all("img")


def test_every_cell_keeps_photos_when_there_are_too_many() -> None:
    rows = make_rows(CLASSES, 400, ("test", "valid"), wrong=0.5)
    predictions = Predictions(
        tuple(r.path for r in rows), tuple(r.split for r in rows), tuple(r.label for r in rows),
        CLASSES, np.array([r.probabilities for r in rows], np.float32),
    )  # fmt: skip
    gallery = choose_photos(predictions, CLASSES, max_photos=300)
    assert len(gallery.shots) == 300
    cells = {(r.split, CLASSES.index(r.label), CLASSES.index(r.predicted)) for r in rows}
    assert set(gallery.cells) == cells
    assert all(len(members) >= 3 for members in gallery.cells.values())
    # The rest of the room goes to errors.
    assert max(len(gallery.cells["test", i, i]) for i in range(5)) == 3


def test_page_of_5000_photos_stays_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 120, 3), np.uint8)
    rows = [replace(row, path="all.jpg") for row in make_rows(CLASSES, 1000, wrong=0.5)]
    made = make_run(tmp_path, rows, draw=False)
    Image.fromarray(noise).save(made.photos / "all.jpg")
    # Noise packs badly: larger than any real photo's copy.
    path = build_report(made.run, made.photos)
    photos = data_of(parse(path.read_text(encoding="utf-8")))["photos"]
    assert 400 <= len(photos) <= 1000
    assert path.stat().st_size < 15_000_000


def test_copies_stop_where_the_page_is_full(tmp_path: Path) -> None:
    Image.new("RGB", (200, 100), "red").save(tmp_path / "a.jpg")
    one = thumbnail(tmp_path / "a.jpg", 112)
    assert one is not None
    wanted = [(key, "gone.jpg" if key == 1 else "a.jpg") for key in range(50)]
    copies = embed(tmp_path, wanted, frozenset(), max_characters=3 * len(one))
    assert copies == {0: one, 1: None, 2: one, 3: one}


def test_large_jpegs_are_decoded_at_a_fraction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.new("RGB", (1600, 1200), "green")
    image.save(tmp_path / "a.jpg", exif=b"Exif\x00\x00", comment=b"private")
    sizes = []
    load = JpegImagePlugin.JpegImageFile.load

    def spy(self: Any) -> Any:
        sizes.append(self.size)
        return load(self)

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", spy)
    copy = thumbnail(tmp_path / "a.jpg", 112)
    assert copy and sizes[0] == (200, 150)
    assert b"private" not in base64.b64decode(copy.partition(",")[2])


# Files.


def break_json(path: Path) -> None:
    path.write_text('{"splits": ', encoding="utf-8")


def not_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00\x01\x00" * 9)


def other_shape(path: Path) -> None:
    path.write_text('["a", 1]', encoding="utf-8")


@pytest.mark.parametrize("harm", [Path.unlink, break_json, not_text, other_shape])
@pytest.mark.parametrize(
    "name", ["run.json", "metrics.json", "predictions.parquet", "log/check.json"]
)
def test_a_missing_or_damaged_file_is_named(
    small: Made, name: str, harm: Callable[[Path], None]
) -> None:
    harm(small.run.path / name)
    with pytest.raises(InputError, match=re.escape(Path(name).name)) as caught:
        build_report(small.run, small.photos)
    assert "\n" not in str(caught.value)
    assert not small.run.report_path.exists()


def test_damaged_epochs_are_named(small: Made) -> None:
    not_text(small.run.epochs_path)
    with pytest.raises(InputError, match=r"epochs\.csv"):
        build_report(small.run, small.photos)


def test_files_that_do_not_fit_each_other_are_named(small: Made) -> None:
    rows = [replace(r, probabilities=(float("nan"), 0.5)) for r in small.rows]
    path = small.run.path / "predictions.parquet"
    write_predictions(path, rows, small.classes)
    with pytest.raises(InputError, match=r"predictions\.parquet has .* not numbers"):
        build_report(small.run, small.photos)
    write_predictions(path, small.rows, ("cat", "cow"))
    with pytest.raises(InputError, match=r"predictions\.parquet does not fit.*cat, cow"):
        build_report(small.run, small.photos)
    write_predictions(path, small.rows, small.classes)
    small.metrics["splits"]["test"]["confusion"] = [[1]]
    write_json(small.run.path / "metrics.json", small.metrics)
    with pytest.raises(InputError, match=r"metrics\.json does not fit run\.json"):
        build_report(small.run, small.photos)


def test_figures_that_are_not_defined_become_dashes(small: Made) -> None:
    scores = small.metrics["splits"]["test"]
    scores["log_loss"], scores["ece"], scores["accuracy_95"] = None, float("nan"), None
    scores["per_class"]["cat"].update(precision=None, recall=None, recall_95=None, f1=None)
    write_json(small.run.path / "metrics.json", small.metrics)
    page = build(small)
    assert page.section("classes").rows()[0] == ["cat", "2", "–", "–", "–", "–"]
    shown = {row[0]: row[1] for row in page.section("calibration").rows()}
    assert [shown[name] for name in ("95 % interval", "Log loss", "ECE")] == ["–", "–", "–"]


def test_the_same_run_gives_the_same_page(small: Made, tmp_path: Path) -> None:
    first = build_report(small.run, small.photos).read_bytes()
    assert build_report(small.run, small.photos).read_bytes() == first
    # While a fit goes on, the folder has another name.
    moved = tmp_path / "my run.partial"
    small.run.path.rename(moved)
    again = build_report(replace(small.run, path=moved), small.photos).read_bytes()
    assert again == first and b"&#39;my run&#39; PHOTO" in again


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_page_and_nothing_else(
    small: Made, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    small.run.report_path.write_text("old", encoding="utf-8")
    before = sorted(small.run.path.rglob("*"))
    write = Path.write_bytes

    def half(self: Path, content: bytes) -> int:
        write(self, content[: len(content) // 2])
        raise error

    monkeypatch.setattr(Path, "write_bytes", half)
    expected = ConvscopeError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        build_report(small.run, small.photos)
    if expected is ConvscopeError:
        assert "report.html cannot be written (No space left" in str(caught.value)
    assert small.run.report_path.read_text(encoding="utf-8") == "old"
    assert sorted(small.run.path.rglob("*")) == before


# The parts by themselves.


def test_reliability_bins_against_counting() -> None:
    rng = np.random.default_rng(3)
    stated = np.concatenate([rng.uniform(0.5, 1, 200), [0.6, 0.7, 1.0, 0.5]]).round(3)
    labels = tuple(rng.choice(["a", "b"], len(stated)).tolist())
    predictions = Predictions(
        ("x.jpg",) * len(stated), ("test",) * 200 + ("test",) * 4, labels, ("a", "b"),
        np.stack([stated, 1 - stated], axis=1).astype(np.float32),
    )  # fmt: skip
    bins = reliability_bins(predictions, "test")
    assert sum(b.n for b in bins) == len(stated)
    for k, b in enumerate(bins):
        # Thousandths, so that the edges are exact.
        inside = [i for i, p in enumerate(stated) if 100 * k < round(1000 * p) <= 100 * (k + 1)]
        assert b.n == len(inside)
        if inside:
            assert b.confidence == pytest.approx(np.mean([stated[i] for i in inside]), abs=1e-6)
            assert b.accuracy == pytest.approx(np.mean([labels[i] == "a" for i in inside]))
    assert reliability_bins(predictions, "valid") == ()


@pytest.mark.parametrize("values", [(1.0, 1.0), (0.0, 0.0), (0.97, 1.0), (1.0, 1.0 - 1e-15)])
def test_shares_have_no_axis_beyond_what_is_possible(values: tuple[float, float]) -> None:
    line = chart.Series("training", "train", values)
    drawn = chart.line_chart("t", "x", (1.0, 2.0), (line,), x_word="epoch", as_percent=True)
    assert drawn is not None
    ticks = [float(tick.label.removesuffix(" %")) for tick in drawn.y_ticks]
    assert len(ticks) > 1 and min(ticks) >= 0 and max(ticks) <= 100
    assert all(drawn.top <= y <= drawn.bottom for _, y in drawn.lines[0].dots)


@pytest.mark.parametrize("values", [(0.0, 1e-14), (1e-14, 1e-14), (-3.0, 4e6), (5.0, 5.0)])
def test_charts_of_any_range(values: tuple[float, float]) -> None:
    line = chart.Series("training", "train", (*values, None, values[0]))
    drawn = chart.line_chart("t", "x", (1.0, 2.0, 3.0, 4.0), (line,), x_word="epoch")
    assert drawn is not None
    assert len(drawn.lines[0].stretches) == 1 and len(drawn.lines[0].dots) == 3
    assert all(drawn.top <= y <= drawn.bottom for _, y in drawn.lines[0].dots)


def test_long_curves_have_few_dots_but_every_value_answers() -> None:
    x = tuple(float(k) for k in range(1, 501))
    line = chart.Series("training", "train", tuple(1 / k for k in x))
    drawn = chart.line_chart("t", "x", x, (line,), x_word="epoch")
    assert drawn is not None
    assert len(drawn.lines[0].stretches[0].split()) == 500 == len(drawn.hits)
    assert 10 < len(drawn.lines[0].dots) <= 32
    assert drawn.hits[3].tip == "epoch 4: training 0.25"


@pytest.mark.parametrize("module", [words, chart])
def test_examples_in_docstrings(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


def test_the_truth_of_these_tests_counts_rightly() -> None:
    rows = [
        Row("1", "test", "a", "a", (0.8, 0.2)), Row("2", "test", "a", "b", (0.4, 0.6)),
        Row("3", "test", "b", "b", (0.1, 0.9)), Row("4", "test", "a", "a", (0.8, 0.2)),
    ]  # fmt: skip
    got = count(rows, ("a", "b"))
    assert got["confusion"] == [[2, 1], [0, 1]] and got["accuracy"] == 0.75
    assert got["accuracy_95"] == pytest.approx([0.3006, 0.9544], abs=1e-4)
    assert got["per_class"]["b"]["precision"] == 0.5 and got["per_class"]["b"]["recall"] == 1


def test_a_baseline_without_a_hit_is_not_clearly_beaten_by_one_hit() -> None:
    """1 of 284 against 0 of 284: luck, and the page says so."""
    low, high = wilson(1, 284) or (0.0, 0.0)
    lucky = SplitScores(
        split="test", n=284, accuracy=1 / 284, accuracy_95=(low, high), balanced_accuracy=None,
        macro_f1=None, log_loss=None, ece=None, confusion=(), per_class=(),
    )  # fmt: skip
    assert "not surely better" in _verdict(lucky, 0.0)
    good = replace(lucky, accuracy=0.8, accuracy_95=(0.75, 0.84))
    assert "clearly better" in _verdict(good, 0.2)
