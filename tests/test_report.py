"""The report page says what the run holds, shows the right photos, and is safe to open."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.data import checks
from convscope.report import problems
from report_pages import Node, build, data_of
from report_runs import (
    CLASSES,
    FINDINGS,
    HOSTILE_NAMES,
    Made,
    make_rows,
    make_run,
    write_json,
)

SPLITS = ("test", "valid", "train")
NBSP = "\u00a0"


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("report")
    return make_run(folder, make_rows(CLASSES, 40), epochs=30)


@pytest.fixture(scope="module")
def page(made: Made) -> Node:
    return build(made)


@pytest.fixture
def small(tmp_path: Path) -> Made:
    return make_run(tmp_path, make_rows(("cat", "dog"), 8), ("cat", "dog"))


# What it says.


def test_headline_is_the_test_accuracy(made: Made, page: Node) -> None:
    scores = made.metrics["splits"]["test"]
    low, high = (100 * end for end in scores["accuracy_95"])
    assert page.one("h1").text.replace(NBSP, " ") == (
        f"{percent(scores['accuracy'])} of 50 test photos named correctly "
        f"(95 % interval {low:.1f}–{high:.1f} %)"
    )
    assert "21.4 %" in page.one("p", class_="baseline").text.replace(NBSP, " ")


def test_overall_figures_are_those_of_the_metrics(made: Made, page: Node) -> None:
    shown = page.section("calibration").rows()
    splits = [made.metrics["splits"][name] for name in SPLITS]
    expected = [
        ["Photos", *(str(s["n"]) for s in splits)],
        ["Accuracy", *(percent(s["accuracy"]) for s in splits)],
        ["95 % interval", *(
            "{:.1f}–{:.1f} %".format(*(100 * end for end in s["accuracy_95"])) for s in splits
        )],
        ["Balanced accuracy", *(percent(s["balanced_accuracy"]) for s in splits)],
        ["Macro F1", *(percent(s["macro_f1"]) for s in splits)],
        ["Log loss", *(f"{s['log_loss']:.3f}" for s in splits)],
        ["ECE", *(percent(s["ece"]) for s in splits)],
    ]  # fmt: skip
    assert shown == expected


def test_figures_per_class_are_those_of_the_metrics(made: Made, page: Node) -> None:
    for row, name in zip(page.section("classes").rows(), CLASSES, strict=True):
        scores = made.metrics["splits"]["test"]["per_class"][name]
        low, high = (100 * end for end in scores["recall_95"])
        assert row == [
            name, str(scores["n"]), percent(scores["precision"], 0), percent(scores["recall"], 0),
            f"{low:.0f}–{high:.0f} %", percent(scores["f1"], 0),
        ]  # fmt: skip


def test_counts_per_split_add_up(page: Node) -> None:
    rows = page.section("made").rows()
    assert rows[0] == ["daisy", "20", "10", "10", "40"]
    assert rows[-1] == ["all classes", "100", "50", "50", "200"]


@pytest.mark.parametrize("split", ["test", "valid"])
def test_confusion_cells_are_the_counts_and_open_their_photos(
    made: Made, page: Node, split: str
) -> None:
    data = data_of(page)
    table = page.one("div", class_=f"matrix-{split}").one("table")
    numbers = [[int(cell) for cell in row[1:]] for row in table.rows()]
    assert numbers == made.metrics["splits"][split]["confusion"]
    assert [row[0] for row in table.rows()] == list(CLASSES)

    behind: dict[str, dict[str, float]] = defaultdict(dict)
    for row in made.rows:
        if row.split == split:
            key = f"{split} {CLASSES.index(row.label)} {CLASSES.index(row.predicted)}"
            behind[key][row.path] = max(row.probabilities)
    buttons = {b.attributes["data-cell"]: int(b.text) for b in table.all("button")}
    assert buttons == {key: len(paths) for key, paths in behind.items()}
    for key, paths in behind.items():
        _, i, j = key.split()
        # Right ones: the least sure first; wrong ones: the surest.
        order = sorted(paths, key=lambda path: paths[path], reverse=i != j)
        photos = [data["photos"][str(row)] for row in data["cells"][key]]
        assert [photo["path"] for photo in photos] == order
        assert all((p["label"], p["predicted"]) == (int(i), int(j)) for p in photos)


def test_every_picture_is_of_its_photo(made: Made, page: Node) -> None:
    data = data_of(page)
    in_page = {img.attributes["id"]: img.attributes["src"] for img in page.all("img")}
    assert len(data["photos"]) == 100
    for row, photo in data["photos"].items():
        source = photo["src"] or in_page[f"photo-{row}"]
        small = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
        with Image.open(made.photos / photo["path"]) as original:
            assert max(small.size) <= 160
            same = original.convert("RGB").resize(small.size)
        assert np.abs(np.asarray(small, float) - np.asarray(same, float)).mean() < 8
        assert photo["path"] == made.rows[int(row)].path


def test_mistakes_are_the_wrong_test_photos_the_surest_first(made: Made, page: Node) -> None:
    wrong = [r for r in made.rows if r.split == "test" and r.label != r.predicted]
    wrong.sort(key=lambda row: -max(row.probabilities))
    captions = page.section("mistakes").all("figcaption")
    assert [c.one("span").attributes["title"] for c in captions] == [r.path for r in wrong]
    for caption, row in zip(captions, wrong, strict=True):
        said, is_ = max(row.probabilities), row.probabilities[CLASSES.index(row.label)]
        assert caption.text.endswith(f"says {row.predicted} {said:.2f}, is {row.label} {is_:.2f}")


def test_learning_curves_and_the_kept_epoch(page: Node) -> None:
    section = page.section("training")
    rows = section.rows()
    assert len(rows) == 30 and rows[0][:2] == ["1", f"{1.6 * np.exp(-2.5 / 30):.3f}"]
    assert section.one("tr", class_="chosen").text.startswith("26 ")
    for line in section.one("div", class_="charts").all("g", class_="train")[:1]:
        points = line.one("polyline").attributes["points"].split()
        heights = [float(point.split(",")[1]) for point in points]
        # Loss falls: further and further down the page.
        assert len(heights) == 30 and heights == sorted(heights)


def test_without_best_epoch_the_least_validation_loss_is_marked(tmp_path: Path) -> None:
    made = make_run(tmp_path, make_rows(("a", "b"), 8), ("a", "b"), epochs=3, training={})
    made.run.epochs_path.write_text(
        # A second phase counts from 1 again; the last value is missing.
        "epoch,train_loss,valid_loss\n1,0.9,0.8\n2,0.7,0.3\n1,0.6,\n",
        encoding="utf-8",
    )
    section = build(made).section("training")
    assert [row[:3] for row in section.rows()] == [
        ["1", "0.900", "0.800"], ["2", "0.700", "0.300"], ["3", "0.600", "–"],
    ]  # fmt: skip
    assert section.one("tr", class_="chosen").text.startswith("2 0.700")
    assert len(section.all("figure")) == 1  # accuracy was not measured


def test_values_of_c_that_were_tried(small: Made) -> None:
    section = build(small).section("training")
    assert [row[0] for row in section.rows()] == ["0.0001", "0.001", "0.01", "0.1", "1", "10"]
    assert section.one("tr", class_="chosen").text.replace(NBSP, " ") == "0.1 0.400 79.0 %"
    assert "logistic regression" in section.text


def test_nothing_about_training_is_no_error(tmp_path: Path) -> None:
    made = make_run(tmp_path, make_rows(("a", "b"), 8), ("a", "b"), training={"C_tried": ["x", {}]})
    assert "no learning curve" in build(made).section("training").text


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [(0.1, ": clearly better than"), (0.78, ": not surely better"), (0.99, ": worse than always")],
)
def test_verdict_compares_the_interval_with_the_baseline(
    made: Made, tmp_path: Path, baseline: float, expected: str
) -> None:
    other = make_run(tmp_path, made.rows, draw=False)
    other.metrics["majority_baseline"]["accuracy"] = baseline
    write_json(other.run.path / "metrics.json", other.metrics)
    verdict = build(other).one("p", class_="verdict").text
    low, high = other.metrics["splits"]["test"]["accuracy_95"]
    assert expected in verdict
    assert f"between {100 * low:.0f} and {100 * high:.0f} in 100" in verdict
    assert re.search(r"about \d+ would bring it to 10 points", verdict)


def test_without_test_photos_it_does_not_promise(tmp_path: Path) -> None:
    made = make_run(tmp_path, make_rows(CLASSES, 8, ("train", "valid")), findings=())
    page = build(made)
    assert "of 20 validation photos" in page.one("h1").text
    assert "not known" in page.one("p", class_="verdict").text
    assert "Judge by the test figures" not in page.text
    assert [t.attributes["class"] for t in page.section("confusion").all("table")] == [
        "matrix roomy"
    ]
    assert page.section("problems").text.startswith("Problems found in the photos None found.")


def test_many_classes(tmp_path: Path) -> None:
    classes = tuple(f"kind {i}" for i in range(60))
    made = make_run(tmp_path, make_rows(classes, 8), classes, draw=False)
    page = build(made)
    box = page.one("div", class_="matrix-test")
    numbers = [[int(cell) for cell in row[1:]] for row in box.one("table").rows()]
    confusion = made.metrics["splits"]["test"]["confusion"]
    assert numbers == confusion
    most = max(n for i, row in enumerate(confusion) for j, n in enumerate(row) if i != j)
    mixed = box.one("ol", class_="mixups").all("li")
    assert mixed and mixed[0].one("button").text.startswith(f"{most} of ")
    i, j = (int(part) for part in mixed[0].one("button").attributes["data-cell"].split()[1:])
    assert mixed[0].one("span").text == f"kind {i} named kind {j}" and confusion[i][j] == most


# Problems of the photos.


def test_every_kind_of_finding_has_its_heading(small: Made) -> None:
    assert set(problems.KINDS) == set(checks.KINDS)
    findings = [
        {**FINDINGS[0], "kind": kind, "severity": severity, "detail": f"detail of {kind}"}
        for kind, (severity, _) in checks.KINDS.items()
    ]
    write_json(small.run.path / "log" / "check.json", {"findings": findings})
    groups = build(small).section("problems").all("details")[:-1]
    assert len(groups) == len(checks.KINDS)
    for group in groups:
        kind = group.one("li").text.rpartition("detail of ")[2]
        summary = group.one("summary").text
        assert summary == f"{checks.KINDS[kind][0]} {problems.KINDS[kind][0]} 1"
    order = ["error", "warning", "note"]
    shown = [group.one("span", class_="badge").text for group in groups]
    assert shown == sorted(shown, key=order.index)


def test_long_lists_of_problems_are_cut_and_say_so(small: Made) -> None:
    finding = {**FINDINGS[1], "detail": "", "other": [f"{k}.jpg" for k in range(9)]}
    write_json(small.run.path / "log" / "check.json", {"findings": [finding] * 1234})
    group = build(small).section("problems").all("details")[0]
    assert len(group.all("li")) == 50 and "first 50 of 1,234" in group.text
    assert "4.jpg and 4 more)" in group.all("li")[0].text


def test_left_out_files_are_listed(page: Node) -> None:
    group = page.section("problems").all("details")[-1]
    assert group.one("li").text == "rose/broken.jpg: not a picture: it looks like HTML"


# Safe to open.


def test_names_are_text_never_markup(tmp_path: Path) -> None:
    classes = ("x\"<i>&'</script>", "<img src=x onerror=alert(3)>", "ok")
    made = make_run(tmp_path, make_rows(classes, 20, wrong=0.6), classes)
    page = build(made)
    shown = {photo["path"] for photo in data_of(page)["photos"].values()}
    assert all(any(path.endswith(name) for path in shown) for name in HOSTILE_NAMES)
    assert data_of(page)["classes"] == list(classes)
    assert [th.text for th in page.section("classes").one("tbody").all("th")] == list(classes)
    assert len(page.all("script")) == 2
    assert all(i.attributes["class"].startswith("swatch ") for i in page.all("i"))
    for node in page.walk():
        assert not [name for name in node.attributes if name.startswith("on")]
        if node.tag == "img":
            assert node.attributes["src"].startswith("data:image/jpeg;base64,")
    assert "daisy/<b>copy</b>.jpg" in page.section("problems").text


def test_nothing_is_loaded_from_anywhere(page: Node) -> None:
    for node in page.walk():
        assert node.tag not in {"link", "iframe", "object", "embed", "base", "form"}
        for name in ("src", "href", "srcset", "xlink:href", "poster", "action"):
            assert node.attributes.get(name, "#").startswith(("#", "data:"))
    style = page.one("style").raw
    assert "url(" not in style and "@import" not in style
    script = page.all("script")[-1].raw
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|innerHTML|eval\(|https?:", script)


def test_policy_allows_this_script_and_nothing_else(page: Node) -> None:
    policy = page.one("meta", http_equiv="Content-Security-Policy").attributes["content"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    digest = hashlib.sha256(page.all("script")[-1].raw.encode()).digest()
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    assert rules["script-src"] == f"'sha256-{base64.b64encode(digest).decode()}'"


def test_ids_are_unique_and_links_lead_somewhere(page: Node) -> None:
    ids = [node.attributes["id"] for node in page.walk() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    for link in page.one("nav").all("a"):
        assert link.attributes["href"].removeprefix("#") in ids


def test_a_name_that_is_no_valid_text_does_not_stop_the_page(small: Made) -> None:
    finding = {**FINDINGS[0], "path": "caf\udce9.jpg"}
    path = small.run.path / "log" / "check.json"
    path.write_text(json.dumps({"findings": [finding]}), encoding="utf-8")
    assert "caf?.jpg" in build(small).section("problems").text
