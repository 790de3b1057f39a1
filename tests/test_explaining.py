"""``explain``: from a Run folder and photos to maps, pictures, a page and lines that say if."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.data.images import crop_box
from convscope.errors import InputError
from convscope.explaining.asked import METHODS, Calibrated, ExplainOptions
from convscope.explaining.page import render
from convscope.explaining.reading import read_photo
from convscope.explaining.running import RESULT, explain
from convscope.fitting import fit
from convscope.options import FitOptions
from convscope.predicting import load_classifier, predict
from convscope.run import Run
from fits import (
    Command,
    assert_refused,
    fitted,
    folder,
    names,
    photos,
    small,
    weights_file,
)


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with small():
        yield


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "200")
    return Command(capsys)


def some(count: int = 1) -> list[Path]:
    return sorted((photos() / "test").rglob("*.*"))[:count]


LESS = ExplainOptions(methods=("saliency", "occlusion"), window=12, stride=12)


def test_everything_lies_in_the_folder(tmp_path: Path) -> None:
    run, lines = fitted("cnn"), []
    found = explain(run, some(2), tmp_path / "seen", LESS, each=lines.append)
    assert names(tmp_path) == ["seen"]
    files = names(tmp_path / "seen")
    assert {"explain.html", "maps.npz", "page.json", "sheet.png", RESULT} <= set(files)
    assert (
        len([name for name in files if re.fullmatch(r"00[12]-.*-(saliency|occlusion)\.png", name)])
        == 4
    )
    assert [line.split("  ")[0] for line in lines[4:]] == ["saliency", "occlusion"]
    assert all(re.search(r"mean of 2.*, p [01]\.\d\d together$", line) for line in lines[4:])
    lines = lines[:4]
    pattern = r".*  (saliency|occlusion)  \w+ [01]\.\d\d  deletion -?\d\.\d\d \(random \d\.\d\d\)"
    assert all(re.match(pattern, line) for line in lines)
    said = {row.path: row for row in predict(run, some(2))}
    read = json.loads((tmp_path / "seen" / RESULT).read_text(encoding="utf-8"))
    assert read == json.loads(json.dumps(found.to_dict()))
    for photo in read["photos"]:
        # What is explained is what predict says.
        assert photo["label"] == said[photo["path"]].label
        for label, share in photo["probabilities"].items():
            assert share == pytest.approx(said[photo["path"]].probabilities[label], abs=1e-4)
        assert [each["method"] for each in photo["maps"]] == ["saliency", "occlusion"]
        assert len(photo["agreement"]) == 1
    with np.load(tmp_path / "seen" / "maps.npz", allow_pickle=False) as maps:
        assert sorted(maps) == sorted(name[:-4] for name in files if name[0] == "0")
        assert all(maps[name].shape == (48, 48) for name in maps)
    for name in (name for name in files if name.endswith(".png")):
        with Image.open(tmp_path / "seen" / name) as picture:
            assert min(picture.size) > 50


def test_the_box_is_what_the_network_saw(tmp_path: Path) -> None:
    """A wide photo: the map lies on the middle, in the drawn photo's own pixels."""
    wide = tmp_path / "wide.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 2400, 3), np.uint8)).save(wide)
    found = explain(
        fitted("cnn"), wide, tmp_path / "seen", ExplainOptions(methods=("saliency",), trust=False)
    )
    photo = found.photos[0]
    assert photo.pixels.shape[1] == 900
    info = fitted("cnn").info().input
    left, top, right, bottom = crop_box(2400, 300, info.resize, info.size)
    share = photo.pixels.shape[1] / 2400
    np.testing.assert_allclose(
        photo.box, [left * share, top * share, right * share, bottom * share], rtol=0.02
    )


def test_the_occluded_scores_are_those_of_covered_photos(tmp_path: Path) -> None:
    run = fitted("cnn")
    found = explain(run, some(1), tmp_path / "seen", LESS)
    followed = found.photos[0].maps[1].followed
    assert followed is not None
    net = Calibrated(load_classifier(run, run.info()), run.info().temperature)
    _, x = read_photo(some(1)[0], run.info())
    row, column = followed.details["starts"][5]
    covered = x.clone()
    mean = x[0].mean((1, 2), keepdim=True)
    covered[0, :, row : row + 12, column : column + 12] = mean
    with torch.no_grad():
        before, after = (net(each).softmax(1)[0] for each in (x, covered))
    for place, target in enumerate(followed.target):
        drop = float(before[target] - after[target])
        assert followed.details["drops"][place, 5] == pytest.approx(drop, abs=1e-5)


def test_a_class_a_bad_file_and_masks(tmp_path: Path, command: Command) -> None:
    run = fitted("cnn")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photo")
    masks = tmp_path / "masks"
    photo = some(1)[0]
    with Image.open(photo) as image:
        mask = np.zeros((image.height, image.width), np.uint8)
    mask[: mask.shape[0] // 2] = 255
    masks.mkdir()
    Image.fromarray(mask).save(masks / f"{photo.stem}.png")
    label = run.info().classes[1]
    ended = command(
        "explain", run.path, photo, broken, "--class", label, "--masks", masks, "--json",
        "--out", tmp_path / "seen", "--method", "saliency", "--insertion",
    )  # fmt: skip
    assert ended.code == 0
    read = json.loads(ended.out)
    first, second = read["photos"]
    assert first["target"] == label
    assert 0 <= first["maps"][0]["mass_in_mask"] <= 1
    assert first["maps"][0]["mask_area"] == pytest.approx(0.5, abs=0.05)
    assert {"deletion", "insertion"} <= set(first["maps"][0])
    assert second["path"] == str(broken)
    assert "text" in second["error"]
    assert "left out" in ended.err


def test_every_method_by_name(tmp_path: Path, command: Command) -> None:
    ended = command(
        "explain", fitted("cnn").path, some(1)[0], "--method", "all", "--samples", "60",
        "--no-trust", "--window", "16", "--out", tmp_path / "seen",
    )  # fmt: skip
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert [line.split("  ")[1] for line in lines] == list(METHODS)
    assert "deletion" not in ended.out


def test_random_weights(tmp_path: Path) -> None:
    lines: list[str] = []
    options = ExplainOptions(methods=("saliency",), trust=False, sanity=True)
    found = explain(fitted("cnn"), some(2), tmp_path / "seen", options, each=lines.append)
    assert lines[-1].startswith("saliency: with random weights the map resembles itself by")
    assert "saliency" in found.to_dict()["sanity"]


@pytest.mark.parametrize("strategy", ["fcnn", "features"])
def test_other_networks(strategy: str, tmp_path: Path) -> None:
    options = ExplainOptions(methods=("saliency", "occlusion"), trust=False, window=24)
    found = explain(fitted(strategy), some(1), tmp_path / "seen", options)
    assert np.abs(found.photos[0].maps[0].explanation.map).max() > 0
    assert np.abs(found.photos[0].maps[1].explanation.map).max() > 0


def test_a_forest_has_no_gradient_but_can_be_occluded(tmp_path: Path, command: Command) -> None:
    run = folder() / "forest-run"
    if not run.exists():
        asked = FitOptions(strategy="features", head="forest", weights=str(weights_file()))
        fit(photos(), run, asked, workers=0)
    out = tmp_path / "seen"
    ended = command("explain", run, some(1)[0], "--out", out)
    assert_refused(ended, 2, "gives no gradient", "occlusion or lime")
    assert names(tmp_path) == []
    ended = command(
        "explain", run, some(1)[0], "--method", "occlusion", "--window", "32", "--no-trust",
        "--out", out,
    )  # fmt: skip
    assert ended.code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--method", "salience"), "Did you mean 'saliency'"),
        (("--class", "nobody"), "Unknown class of this run 'nobody'"),
        (("--of", "odds"), "Unknown score 'odds'"),
        (("--surrogate", "rigde"), "Did you mean 'ridge'"),
        (("--segments", "slick"), "Did you mean 'slic'"),
        (("--method", "occlusion", "--window", "500"), "larger than the image"),
        (("--method", "occlusion", "--occluder", "nois"), "Did you mean 'noise'"),
        (("--method", "gradcam", "--layer", "nowhere"), "Unknown layer"),
        (("--method", "saliency", "--method", "saliency"), "each only once"),
    ],
)
def test_wrong_words_leave_nothing_behind(
    arguments: tuple[str, ...], said: str, tmp_path: Path, command: Command
) -> None:
    ended = command(
        "explain", fitted("cnn").path, some(1)[0], "--out", tmp_path / "seen", *arguments
    )
    assert_refused(ended, 2, said)
    assert names(tmp_path) == []


def test_places_that_cannot_be_used(tmp_path: Path, command: Command) -> None:
    run, out = fitted("cnn").path, tmp_path / "seen"
    assert_refused(command("explain", tmp_path / "no-run", some(1)[0], "--out", out), 2, "no-run")
    nothing = tmp_path / "nothing.jpg"
    assert_refused(command("explain", run, nothing, "--out", out), 2, "nothing.jpg")
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    ended = command("explain", run, some(1)[0], "--out", out, "--overwrite", "--no-trust")
    assert_refused(ended, 2, "it is not overwritten")
    (out / "mine.txt").unlink()
    assert command("explain", run, some(1)[0], "--out", out, "--overwrite", "--no-trust").code == 0
    ended = command("explain", run, some(1)[0], "--out", out, "--no-trust")
    assert_refused(ended, 2, "exists already", "--overwrite")
    again = command("explain", run, some(1)[0], "--out", out, "--no-trust", "--overwrite")
    assert again.code == 0
    assert names(tmp_path) == ["seen"]


def test_the_seed_decides(tmp_path: Path) -> None:
    maps = []
    for number, seed in enumerate((0, 0, 1)):
        options = ExplainOptions(methods=("lime",), samples=40, trust=False, seed=seed)
        found = explain(fitted("cnn"), some(1), tmp_path / str(number), options)
        maps.append(found.photos[0].maps[0].explanation.map)
    np.testing.assert_array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])


# The page


def test_the_page_needs_nothing_else_and_holds_the_numbers(tmp_path: Path) -> None:
    run: Run = fitted("cnn")
    nasty = tmp_path / "<b>&.jpg"
    nasty.write_bytes(some(1)[0].read_bytes())
    found = explain(run, nasty, tmp_path / "seen", LESS)
    page = (tmp_path / "seen" / "explain.html").read_text(encoding="utf-8")
    assert page == render(found)
    assert not re.findall(r"""(?:src|href)=["']?(?!data:)[a-z]+:""", page)
    assert "<b>&.jpg" not in page
    assert "&lt;b&gt;&amp;.jpg" in page
    raw = re.search(r'<script type="application/json" id="explain-data">(.*?)</script>', page, re.S)
    assert raw is not None
    (card,) = json.loads(raw[1])
    first, second = card["maps"]
    values = np.frombuffer(base64.b64decode(first["values"]), np.int8).reshape(first["shape"])
    wanted = found.photos[0].maps[0].explanation.map
    np.testing.assert_allclose(
        values / 127 * first["scale"], np.clip(wanted, None, first["scale"]),
        atol=first["scale"] / 127,
    )  # fmt: skip
    followed = found.photos[0].maps[1].followed
    assert followed is not None
    np.testing.assert_allclose(second["occlusion"]["drops"], followed.details["drops"], atol=1e-4)
    assert second["occlusion"]["space"] == [48, 48]
    # What the policy allows to run is what is there.
    allowed = re.search(r"script-src '(sha256-[^']+)'", page)
    assert allowed is not None


def test_options_are_checked_at_once() -> None:
    with pytest.raises(InputError, match="at least one method"):
        ExplainOptions(methods=())
