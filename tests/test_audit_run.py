"""``audit``: from a Run folder and photos to findings, lists, a page, and a second run."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.audit.changing import Nothing
from convscope.audit.judging import Judge, open_whole, seen
from convscope.audit.running import RESULT, audit, examine
from convscope.data.survey import DecodeSpec, decode_chunk
from convscope.errors import InputError
from convscope.fitting import fit
from convscope.options import FitOptions
from convscope.predicting import classifier, predict
from convscope.run import Run
from fits import Command, assert_refused, fitted, folder, names, photos, small

LABELS = ("left", "right")


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with small():
        yield


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "200")
    return Command(capsys)


def draw(label: str, tagged: bool, drawn: np.random.Generator) -> np.ndarray:
    """Upright or lying stripes somewhere on soft colours; perhaps with a tag in a corner."""
    few = drawn.integers(60, 150, (5, 6, 3), np.uint8)
    photo = np.array(Image.fromarray(few).resize((90, 70), Image.Resampling.BICUBIC))
    top, left, phase = (int(drawn.integers(0, most)) for most in (45, 65, 6))
    stripes = (np.arange(24) + phase) // 3 % 2 * 50
    patch = np.broadcast_to(stripes if label == "left" else stripes[:, None], (24, 24))
    photo[top : top + 24, left : left + 24] += patch[..., None].astype(np.uint8)
    if tagged:
        photo[50:62, 64:76] = (240, 30, 150)
    return photo


@pytest.fixture(scope="module")
def planted() -> Path:
    """In training, all of one class are tagged; in the test, as many of both."""
    root = folder() / "tagged"
    if root.exists():
        return root
    drawn = np.random.default_rng(0)
    for split, count in (("train", 40), ("valid", 16), ("test", 30)):
        for label in LABELS:
            (root / split / label).mkdir(parents=True)
            for number in range(count):
                tagged = label == "left" if split != "test" else number % 2 == 0
                photo = Image.fromarray(draw(label, tagged, drawn))
                photo.save(root / split / label / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def tagged_run(planted: Path) -> Run:
    out = folder() / "tagged-run"
    if not out.exists():
        fit(planted, out, FitOptions(strategy="cnn", epochs=40, augment="none"))
    return Run(out)


def test_a_planted_tag_is_found_and_proved(planted: Path, tagged_run: Run, tmp_path: Path) -> None:
    found, remedy = audit(tagged_run, planted, tmp_path / "seen")
    assert remedy is None
    strong = [one for one in found.findings if one.strength == "strong"]
    assert [one.label for one in strong] == ["left"]
    (tag,) = strong
    assert tag.share == pytest.approx(1, abs=0.05)
    assert tag.elsewhere < 0.05
    truth = np.zeros((70, 90), bool)
    truth[50:62, 64:76] = True
    assert tag.region is not None
    mask = tag.region.on(90, 70)
    assert truth[mask].mean() > 0.6
    assert mask[truth].mean() > 0.4
    assert tag.box is not None
    np.testing.assert_allclose(tag.box, [64 / 90, 50 / 70, 76 / 90, 62 / 70], atol=0.06)
    # It was trained on nothing else: others turn when they are given it.
    assert tag.used is True
    assert tag.given is not None
    assert tag.given.share > 0.5
    assert tag.control is not None
    assert tag.control.share < 0.2
    assert {Path(path).parts[1] for path in tag.carriers} == {"left"}
    pictures = [f"finding-{number + 1}.png" for number in range(len(found.findings))]
    pictures += [f"pattern-{number + 1}.png" for number in range(len(found.patterns))]
    files = sorted(["audit.html", RESULT, "page.json", "photos.csv", *pictures])
    assert names(tmp_path / "seen") == files
    read = json.loads((tmp_path / "seen" / RESULT).read_text(encoding="utf-8"))
    assert read["findings"] == json.loads(json.dumps(found.to_dict()["findings"]))
    first = read["findings"][0]
    assert {"kind", "class", "strength", "photos", "p_value", "flip_rate", "region", "text"} <= set(
        first
    )
    assert first["region"] == pytest.approx(tag.box, abs=1e-4)
    assert first["flip_rate"] == pytest.approx(tag.given.share, abs=1e-4)
    with (tmp_path / "seen" / "photos.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    own = {row["path"] for row in rows if row["finding"] == "1" and row["of_the_class"] == "True"}
    assert own == set(tag.carriers)
    page = (tmp_path / "seen" / "audit.html").read_text(encoding="utf-8")
    assert "1 shortcut found" in page
    assert "<script" not in page
    assert not re.search(r"https?://", page)


def test_trained_again_without(planted: Path, tagged_run: Run, tmp_path: Path) -> None:
    """The class whose photos have no tag any more is named right again."""
    found, remedy = audit(tagged_run, planted, tmp_path / "seen", mask_out=tmp_path / "again")
    assert remedy is not None
    assert any(one.strength == "strong" for one in found.findings)
    before, after = remedy.worst
    assert after >= before + 0.10
    said = {row.path: row.label for row in predict(remedy.run, planted / "test")}
    assert len(said) == 60
    read = json.loads((tmp_path / "seen" / RESULT).read_text(encoding="utf-8"))
    assert read["remedy"]["worst_group_accuracy"] == [round(before, 4), round(after, 4)]
    assert names(tmp_path) == ["again", "seen"]
    assert json.loads((tmp_path / "again" / "run.json").read_text())["strategy"] == "cnn"


def test_same_seed_same_audit(planted: Path, tagged_run: Run) -> None:
    one, _ = examine(tagged_run, planted, seed=3)
    other, _ = examine(tagged_run, planted, seed=3, workers=0)
    assert one.to_dict() == other.to_dict()


def test_the_judge_says_what_predict_says(planted: Path, tagged_run: Run) -> None:
    files = sorted((planted / "test").rglob("*.png"))[:11]
    info = tagged_run.info()
    judge = Judge(classifier(tagged_run, info), info, 0)
    said = judge.says(files, Nothing(), lambda more: None)
    expected = [info.classes.index(str(row.label)) for row in predict(tagged_run, files)]
    assert said.tolist() == expected
    assert judge.says([planted / "nowhere.png"], Nothing(), lambda more: None).tolist() == [-1]
    spec = DecodeSpec(info.input.resize, info.input.size, fast=info.precision.mode == "fast")
    _, pixels = decode_chunk([str(files[0])], spec)
    np.testing.assert_array_equal(seen(open_whole(files[0], 512), info), pixels[0])


def test_nothing_found_says_what_would_have_been(tmp_path: Path, command: Command) -> None:
    """Photos of two classes that differ in nothing, by a classifier that knows nothing."""
    root = tmp_path / "noise"
    drawn = np.random.default_rng(1)
    for split, count in (("train", 30), ("valid", 10), ("test", 10)):
        for label in LABELS:
            (root / split / label).mkdir(parents=True)
            for number in range(count):
                photo = Image.fromarray(draw(LABELS[int(drawn.integers(2))], False, drawn))
                photo.save(root / split / label / f"{number}.png")
    run = fit(root, tmp_path / "run", FitOptions(strategy="cnn", epochs=1, augment="none"))
    ended = command("audit", run.path, root, "--out", tmp_path / "seen")
    assert ended.code == 0
    assert re.search(r"no shortcut found; one in \d+% of the photos of a class would", ended.out)
    page = (tmp_path / "seen" / "audit.html").read_text(encoding="utf-8")
    assert "No shortcut found" in page
    assert "What would have been found" in page
    ended = command("audit", run.path, root, "--out", tmp_path / "other", "--json",
                    "--mask-out", tmp_path / "again")  # fmt: skip
    read = json.loads(ended.out)
    assert [one for one in read["findings"] if one["strength"] == "strong"] == []
    assert read["remedy"] is None
    assert not any(one["alarm"] for one in read["properties"])
    assert not (tmp_path / "again").exists()


def test_what_cannot_be_used_is_named(tmp_path: Path, command: Command, planted: Path) -> None:
    run = fitted("cnn").path
    ended = command("audit", run, planted, "--out", tmp_path / "seen")
    assert_refused(ended, 2, "does not know", "left")
    ended = command("audit", run, tmp_path / "nowhere", "--out", tmp_path / "seen")
    assert_refused(ended, 2, "does not exist")
    ended = command("audit", tmp_path, photos(), "--out", tmp_path / "seen")
    assert_refused(ended, 2, "run.json")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    ended = command("audit", run, photos(), "--out", tmp_path / "mine", "--overwrite")
    assert_refused(ended, 2, "is no audit")
    with pytest.raises(InputError, match="mask-out"):
        audit(run, photos(), tmp_path / "seen", mask_out=tmp_path / "mine")
    assert names(tmp_path) == ["mine"]
