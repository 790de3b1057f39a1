"""The report with all that a run can hold: every section, its figures, and what a browser does."""

from __future__ import annotations

import json
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from browser import browser, page, too_wide
from convscope.errors import InputError
from convscope.forecast.fitting import fit_forecast
from convscope.report import build_report
from convscope.report.gallery import Shot
from convscope.report.pages import AUDIT, COMPARE, EXPLAIN, FORECAST, NEURONS, Kind, write_page
from convscope.report.sections import SECTIONS, fit_in
from convscope.reporting import ReportOptions, choose, report
from convscope.run import Run
from fits import Command, assert_refused, fitted, names, photos, small
from report_pages import Node, parse
from report_runs import make_rows, make_run
from waves import COLUMNS, hourly, options

NASTY = "<img src=x onerror=alert(1)>.jpg"
ANCHORS = {section.kind.name: section.anchor for section in SECTIONS}


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "200")
    return Command(capsys)


def ladder(folder: Path, classes: tuple[str, ...]) -> Path:
    """What ``compare`` leaves, of three rungs by hand."""
    from convscope.comparing.page import page_content
    from convscope.comparing.result import Comparison, Score, Step

    def score(rung: str, size: str, accuracy: float) -> Score:
        return Score(rung, size, 18, (accuracy,), accuracy, (accuracy - 0.1, accuracy + 0.1), 3.0,
                     None, ({"epochs": 4},))  # fmt: skip

    top = (score("fcnn", "all", 0.41), score("cnn", "all", 0.63))
    found = Comparison(
        created="2025-05-03T14:05:09+00:00", photos="photos", classes=classes,
        counts={s: dict.fromkeys(classes, 2) for s in ("train", "valid", "test")},
        split="as given", seeds=(0,), net=None, weights=None,
        majority={"class": classes[0], "accuracy": 0.33}, ladder=top,
        steps=(Step("fcnn", "cnn", 0.22, (0.1, 0.34), 0.012, 0.012),),
        curve=(score("fcnn", "2", 0.35), score("cnn", "2", 0.44), *top), best_heads={},
        left_out=(), seconds=9.0,
    )  # fmt: skip
    folder.mkdir()
    write_page(folder / "compare.html", COMPARE, page_content(found))
    (folder / "compare.json").write_text(json.dumps(found.to_dict()), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything, and its photos, one of them with a hostile name."""
    root = tmp_path_factory.mktemp("whole")
    shutil.copytree(fitted("cnn").path, root / "run")
    shutil.copytree(photos(), root / "photos")
    predictions = fitted("cnn").predictions()
    told = next(k for k, split in enumerate(predictions.splits) if split == "test")
    named = root / "photos" / Path(predictions.paths[told]).with_name(NASTY)
    (root / "photos" / predictions.paths[told]).rename(named)
    import pyarrow.parquet as pq

    file = root / "run" / "predictions.parquet"
    table = pq.read_table(file)
    paths = table.column("path").to_pylist()
    paths[told] = named.relative_to(root / "photos").as_posix()
    pq.write_table(table.set_column(table.column_names.index("path"), "path", [paths]), file)
    fit_forecast(hourly(root / "power.csv"), root / "forecast", COLUMNS, options())
    ladder(root / "ladder", predictions.classes)
    with small():
        states = report(
            root / "run", root / "photos", ReportOptions(explain=6), compare=root / "ladder",
            forecast=root / "forecast", workers=0,
        )  # fmt: skip
    assert states == dict.fromkeys(ANCHORS, "made")
    return root


@pytest.fixture(scope="module")
def whole(place: Path) -> Node:
    return parse((place / "run" / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with browser() as one:
        yield one


def read(place: Path, name: str) -> Any:
    return json.loads((place / "run" / name).read_text(encoding="utf-8"))


def show(shown: Page, place: Path) -> None:
    shown.goto((place / "run" / "report.html").as_uri())
    shown.wait_for_function("document.querySelector('[data-small]').width > 10")


# What it says


def test_every_section_is_there_and_in_the_list(whole: Node) -> None:
    links = {a.attributes["href"] for a in whole.one("nav").all("a")}
    for anchor in ("problems", "training", "confusion", "mistakes", "classes", "calibration",
                   "use", *ANCHORS.values()):  # fmt: skip
        assert whole.section(anchor)
        assert f"#{anchor}" in links
    ids = [node.attributes["id"] for node in whole.walk() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    assert not whole.all("section", aria_labelledby="missing")


def test_explanations_are_those_of_their_file(place: Path, whole: Node) -> None:
    found = read(place, "explain/explanations.json")
    cards = whole.section("explanations").all("article", class_="card")
    assert len(cards) == len(found["photos"]) == 6
    labels = dict(zip(*(getattr(Run(place / "run").predictions(), n) for n in ("paths", "labels")),
                      strict=True))  # fmt: skip
    for card, photo in zip(cards, found["photos"], strict=True):
        label = labels[Path(photo["path"]).relative_to(place / "photos").as_posix()]
        right = label == photo["label"]
        title = f"{label}, named rightly" if right else f"{label}, named {photo['label']}"
        assert card.one("h3").text.startswith(title)
        said = [node.text for node in card.one("div", class_="strip").all("figcaption")]
        assert f"{100 * max(photo['probabilities'].values()):.0f}" in said[0]
        for text, one in zip(said[1:], photo["maps"], strict=True):
            assert f"deletion {one['deletion']['area']:.2f} " in text
            assert f"(random {np.mean(one['deletion']['random']):.2f})" in text


def test_neurons_are_those_of_their_file(place: Path, whole: Node) -> None:
    (found,) = read(place, "neurons/neurons.json")["layers"]
    data = json.loads(whole.one("script", id="neurons-data").raw)
    (shown,) = data["layers"]
    assert shown["name"] == found["layer"]
    for channel in shown["channels"]:
        of = found["channels"][channel["channel"]]
        assert channel["most"] == pytest.approx(of["most"], rel=1e-3)
        assert channel["sparsity"] == pytest.approx(of["sparsity"], abs=1e-3)


def test_the_audit_is_that_of_its_file(place: Path, whole: Node) -> None:
    found = read(place, "audit/audit.json")
    section = whole.section("audit")
    strong = [x for x in found["findings"] + found["patterns"] if x["strength"] == "strong"]
    assert section.one("h2").text == f"Shortcuts: {len(strong) or 'no'} shortcut" + (
        "s found" if len(strong) > 1 else " found"
    )
    for one in found["properties"]:
        rows = [row.text for row in section.all("tr") if row.text.startswith(one["name"] + " ")]
        assert f"{one['balanced_accuracy']:.2f}" in rows[-1]
        assert f"{one['chance']:.2f}" in rows[-1]


def test_the_ladder_is_that_of_its_file(place: Path, whole: Node) -> None:
    found = read(place, "compare/compare.json")
    rows = whole.section("ladder").one("table", class_="ladder").rows()
    assert [row[1] for row in rows] == [f"{100 * x['accuracy']:.1f} %" for x in found["ladder"]]


def test_the_forecast_is_that_of_its_file(place: Path, whole: Node) -> None:
    found = read(place, "forecast/metrics.json")
    section = whole.section("forecast")
    assert found["verdict"]["text"] in section.text
    (row,) = section.all("tr", class_="chosen")
    assert f"{found['model']['mae']:.4g}" in row.text


def test_what_is_missing_is_named_with_its_command(tmp_path: Path) -> None:
    made = make_run(tmp_path, make_rows(("cat", "dog"), 8), ("cat", "dog"))
    made_page = parse(build_report(made.run, made.photos).read_text(encoding="utf-8"))
    lines = [item.text for item in made_page.section("missing").all("li")]
    assert len(lines) == len(SECTIONS)
    for line, section in zip(lines, SECTIONS, strict=True):
        assert section.title in line
        assert f"convscope report 'my run'{section.option}" in line
        assert not made_page.all("section", aria_labelledby=section.anchor)


# The command


def test_what_is_there_is_kept(place: Path, command: Command) -> None:
    before = (place / "run" / "explain" / "page.json").stat().st_mtime_ns
    ended = command("report", place / "run", "--photos", place / "photos", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["sections"] == dict.fromkeys(ANCHORS, "kept")
    assert (place / "run" / "explain" / "page.json").stat().st_mtime_ns == before


def test_what_cannot_be_used_is_said_before_anything_is_done(
    place: Path, tmp_path: Path, command: Command
) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted("cnn").path, run)
    ended = command("report", run, "--compare", place / "forecast")
    assert_refused(ended, 2, "page.json", "convscope compare")
    ended = command("report", run, "--forecast", tmp_path / "nowhere")
    assert_refused(ended, 2, "nowhere", "Make it again")
    other = ladder(tmp_path / "other", ("cat", "dog"))
    assert_refused(command("report", run, "--compare", other), 2, "other classes", "cat, dog")
    assert_refused(command("report", run, "--explain", "-1"), 2, "--explain")
    assert_refused(command("report", place / "forecast"), 2, "forecast")
    ended = command("report", run, "--photos", tmp_path / "gone")
    assert_refused(ended, 2, "gone")
    assert {"explain", "neurons", "audit", "compare"}.isdisjoint(names(run))
    (run / "audit").mkdir()
    (run / "audit" / "page.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"page\.json is damaged"):
        build_report(Run(run), photos())


def test_photos_to_explain_are_the_surest_class_by_class() -> None:
    def shot(row: int, label: int, named: int, p: float, split: str = "test") -> Shot:
        return Shot(row, f"{row}.jpg", split, label, named, p, 0.1)

    shots = [
        shot(0, 0, 1, 0.6), shot(1, 0, 1, 0.9), shot(2, 1, 0, 0.7), shot(3, 0, 0, 0.8),
        shot(4, 0, 0, 0.99), shot(5, 1, 1, 0.5), shot(6, 1, 0, 0.99, "valid"),
    ]  # fmt: skip
    assert [s.row for s in choose(shots, 4)] == [1, 2, 4, 5]
    assert [s.row for s in choose(shots, 6)] == [1, 2, 0, 4, 5, 3]
    assert [s.row for s in choose(shots[3:], 4)] == [4, 5, 3]
    assert [s.row for s in choose(shots[6:], 4)] == [6]
    assert choose(shots, 0) == []


# In a browser


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (375, False), (1280, True)])
def test_it_opens_without_errors_and_nothing_sticks_out(
    place: Path, opened: Browser, width: int, dark: bool
) -> None:
    with page(opened, width=width, dark=dark) as shown:
        show(shown, place)
        assert too_wide(shown) == []
        paper = shown.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(20, 24, 30)" if dark else "rgb(255, 255, 255)")


def test_a_hostile_name_stays_text(place: Path, opened: Browser) -> None:
    asked: list[str] = []
    with page(opened) as shown:
        shown.on("dialog", lambda one: (asked.append(one.message), one.dismiss()))
        show(shown, place)
        heads = shown.locator("#explanations ~ article h3").all_inner_texts()
        assert any(NASTY in head for head in heads)
        assert shown.locator("img[src=x]").count() == 0
        for cell in shown.locator(".matrix-test button[data-cell]").all():
            cell.click()
            shown.locator("#cell-close").click()
    assert asked == []


def test_pointer_and_keys_tell_values(place: Path, opened: Browser) -> None:
    with page(opened) as shown:
        show(shown, place)
        chart = shown.locator("#training ~ .charts .chart > svg").first
        chart.focus()
        shown.keyboard.press("ArrowRight")
        first = shown.locator("#tip").inner_text()
        shown.keyboard.press("ArrowRight")
        assert first and shown.locator("#tip").inner_text() != first
        shown.keyboard.press("Escape")
        assert shown.locator("#tip").is_hidden()
        curve = shown.locator(".chart.curve .hit").first
        curve.scroll_into_view_if_needed()
        curve.hover()
        assert (
            "41" in shown.locator("#tip").inner_text() or "%" in shown.locator("#tip").inner_text()
        )
        card = shown.locator("article.card").first
        card.get_by_role("button", name="Occlusion").click()
        assert card.locator("[data-closer]").get_attribute("open") is not None
        card.locator("[data-map]").click()
        assert "Covered" in card.locator("[data-covered]").inner_text()
        shown.locator(".tiles button").first.click()
        assert shown.locator("dialog.patch").is_visible()


def test_all_of_it_is_printed_and_no_page_is_blank(place: Path, opened: Browser) -> None:
    with page(opened) as shown:
        show(shown, place)
        heads = shown.locator("section h2").all_inner_texts()
        content = shown.pdf(format="A4", outline=True, tagged=True)
    titles = [
        text(raw) for raw in re.findall(rb"/Title (\((?:\\.|[^\\)])*\)|<[0-9A-F]+>)", content)
    ]
    for head in heads:
        assert head in titles
    streams = pages_of(content)
    assert 3 <= len(streams) < 30
    for number, stream in enumerate(streams, start=1):
        assert re.search(rb"T[jJ]|/\w+ Do", stream), f"page {number} is blank"


def text(raw: bytes) -> str:
    """A string of a PDF."""
    if raw.startswith(b"<"):
        return bytes.fromhex(raw[1:-1].decode()).decode("utf-16")
    return re.sub(rb"\\(.)", rb"\1", raw[1:-1]).decode("latin-1")


def pages_of(content: bytes) -> list[bytes]:
    """What is drawn on each page of a PDF."""
    objects = dict(re.findall(rb"(\d+) 0 obj\n(.*?)\nendobj", content, re.S))
    found = []
    for body in objects.values():
        if re.search(rb"/Type /Page\b", body):
            number = re.search(rb"/Contents (\d+) 0 R", body)
            assert number is not None
            packed = objects[number[1]].split(b"stream\n", 1)[1].rsplit(b"\nendstream", 1)[0]
            found.append(zlib.decompress(packed))
    return found


# How large it gets


def noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.integers(0, 255, (height, width, 3), np.uint8)


def test_3000_photos_and_large_sections_stay_under_15_mb(tmp_path: Path) -> None:
    """Worst case: every picture is noise, which packs badly, and each section has far too much.

    The sections are written as their commands write them, from content made here; nothing is
    trained or explained.
    """
    import base64

    from convscope.data.samples import jpeg

    rng = np.random.default_rng(0)
    classes = ("daisy", "dandelion", "rose", "sunflower", "tulip")
    made = make_run(tmp_path, make_rows(classes, 600, wrong=0.5), classes, epochs=30, draw=False)
    assert len(made.rows) == 3000
    # A hundred different photos under three thousand names.
    Image.fromarray(noise(rng, 300, 300)).save(tmp_path / "one.jpg", quality=90)
    for row in made.rows:
        file = made.photos / row.path
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.hardlink_to(tmp_path / "one.jpg")

    def uri(height: int, width: int) -> str:
        coded = base64.b64encode(jpeg(noise(rng, height, width))).decode("ascii")
        return f"data:image/jpeg;base64,{coded}"

    large, strip, small_one, sheet = uri(560, 560), uri(72, 648), uri(320, 320), uri(320, 425)
    values = base64.b64encode(noise(rng, 112, 112)[..., 0].tobytes()).decode("ascii")
    one_map = {"name": "lime", "unit": "u", "signed": True, "scale": 1.0, "shape": [112, 112],
               "values": values}  # fmt: skip
    card = {"name": "a.jpg", "path": "a.jpg", "target": "rose", "predicted": "rose", "label": None,
            "classes": [["rose", 0.9]], "width": 560, "height": 560, "pairs": [],
            "methods": [{"name": "lime", "title": "LIME", "words": "said"}] * 6}  # fmt: skip
    explained = {
        "cards": [card] * 12,
        "failed": [],
        "sanity": [],
        "data": [{"photo": large, "box": [0, 0, 560, 560], "maps": [one_map] * 6}] * 12,
    }
    shown = 48
    channels = [
        {"channel": k, "most": 1.0, "sparsity": 0.5, "label": 0, "auroc": [0.5] * 5,
         "plain": strip, "dimmed": strip,
         "hits": [{"photo": (9 * k + h) % 300, "value": 1.0, "box": [0, 0, 1, 1], "beyond": 0.0}
                  for h in range(9)]}
        for k in range(shown)
    ]  # fmt: skip
    layers = [
        {"name": f"layer{n}", "channels": channels, "hidden": 4, "silent": 0, "field": [9, 9],
         "words": "channels", "shares": base64.b64encode(bytes(300 * shown)).decode("ascii")}
        for n in range(2)
    ]  # fmt: skip
    excited = {
        "data": {"layers": layers, "classes": list(classes), "tile": 72,
                 "photos": [{"name": f"{k}.jpg", "label": "rose", "uri": small_one}
                            for k in range(300)]},
        "layers": [[one["name"], "channels", 4, 0] for one in layers], "photos": 3000,
        "classes": list(classes), "failed": [], "per_photo": 1, "filters": None,
    }  # fmt: skip
    rate = {"share": 0.5, "interval": [0.4, 0.6], "n": 100}
    finding = {
        "number": 1, "title": "rose: blur", "strength": "strong", "text": "t", "advice": "a",
        "given": rate, "control": rate, "taken": rate, "p_value": 0.01, "groups": [["with", rate]],
        "worst": ["with", rate], "also": [], "sheet": sheet, "shown": 12,
        "carriers": [f"rose/{k:05d}.jpg" for k in range(600)], "stray": [],
    }  # fmt: skip
    audited = {
        "strong": [finding] * 5,
        "weak": [finding] * 5,
        "patterns": [],
        "sampled": 800,
        "properties": [],
        "alarm": 0.02,
        "power": [["rose", 0.1]],
        "photos": 3000,
        "total": 3000,
        "searched": "training photos",
        "left_out": [],
        "remedy": None,
    }
    kinds: list[tuple[Kind, dict[str, Any]]] = [
        (EXPLAIN, explained), (NEURONS, excited), (AUDIT, audited)
    ]  # fmt: skip
    whole_size = 0
    for kind, content in kinds:
        (made.run.path / kind.name).mkdir()
        write_page(made.run.path / kind.name / f"{kind.name}.html", kind, content)
        whole_size += (made.run.path / kind.name / f"{kind.name}.html").stat().st_size
    assert whole_size > 15_000_000  # they would not fit as they are
    path = build_report(made.run, made.photos)
    assert path.stat().st_size < 15_000_000
    page_made = parse(path.read_text(encoding="utf-8"))
    cards = page_made.section("explanations").all("article", class_="card")
    assert 2 <= len(cards) < 12
    assert (
        f"{12 - len(cards)} more photos are left out here" in page_made.section("explanations").text
    )
    data = json.loads(page_made.one("script", id="neurons-data").raw)
    for one, (_, _, hidden, _) in zip(data["layers"], excited["layers"], strict=True):
        count = len(one["channels"])
        assert count >= 1
        assert one["hidden"] == hidden + shown - count
        shares = base64.b64decode(one["shares"])
        assert len(shares) == count * len(data["photos"])
        assert all(hit["photo"] < len(data["photos"]) for c in one["channels"] for hit in c["hits"])
    assert page_made.section("audit").all("img")
    photos_in = json.loads(page_made.one("script", id="data").raw)["photos"]
    assert len(photos_in) > 200


def test_what_fits_is_left_as_it_is() -> None:
    content = {"heading": "x"}
    assert fit_in(FORECAST.name, content, 5) == (content, 0)
    assert fit_in(EXPLAIN.name, {"cards": [1], "data": [1]}, 1) == ({"cards": [1], "data": [1]}, 0)
