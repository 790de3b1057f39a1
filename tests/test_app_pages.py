"""The app in a real browser, as people use it."""

from __future__ import annotations

import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

import browser as real
import fits
from convscope.run import Run
from learnable import TINTS, tinted, tinted_folder
from serving import Served, served

EVIL = "<img src=x onerror=alert(1)>"
# Jobs start Python and PyTorch beside other tests.
LONG = 240_000


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with real.browser() as found:
        yield found


@pytest.fixture(scope="module")
def run() -> Run:
    return fits.fitted("cnn")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("app") / "home", given=run.path) as found:
        yield found


def come_in(app: Served, page: Page) -> None:
    page.goto(app.address)
    expect(page.get_by_role("heading", name="Train on your photos")).to_be_visible()


def no_dialogs(page: Page) -> None:
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog: {dialog.message}"))


def evil_folder(root: Path) -> Path:
    """Names that would be HTML if anybody let them."""
    folder = tinted_folder(root / "tints", 11)
    for label in TINTS:
        tinted(label, 900).save(folder / label / f"{EVIL}.png")
    (folder / "sky").rename(folder / "<b>sky<b>")
    (folder / "leaf" / "broken.png").write_bytes(b"no photo")
    return folder


def test_upload_train_reload_predict_explain(
    app: Served, opened: Browser, tmp_path: Path
) -> None:  # fmt: skip
    folder = evil_folder(tmp_path)
    with real.page(opened, home=app.home) as page:
        no_dialogs(page)
        come_in(app, page)
        page.locator("input[webkitdirectory]").set_input_files(folder)
        expect(page.get_by_role("heading", name="What the check found")).to_be_visible(timeout=LONG)
        assert page.locator("h1").inner_text() == "tints"
        # What is broken is named, what is odd stays text.
        expect(page.get_by_text("unreadable")).to_be_visible()
        expect(page.get_by_role("rowheader", name="<b>sky<b>")).to_be_visible()
        assert page.locator(".strip img").count() == 18

        page.get_by_label("How").select_option("cnn")
        page.get_by_label("Epochs, at most").fill("12")
        page.get_by_role("button", name="Train a classifier").click()
        expect(page.locator(".badge", has_text="running")).to_be_visible(timeout=LONG)
        expect(page.locator(".plot svg").first).to_be_visible(timeout=LONG)
        where = page.url
        page.reload()
        expect(page.get_by_text("named correctly")).to_be_visible(timeout=LONG)
        assert page.url == where

        page.get_by_label("Photos of").select_option("")
        expect(page.get_by_text(f"{EVIL}.png").first).to_be_visible()
        page.locator(".photos a", has_text=EVIL).first.click()
        expect(page.locator("h1")).to_have_text(f"{EVIL}.png")
        expect(page.locator(".bars tr")).to_have_count(3)
        for name in ("Saliency", "Occlusion", "LIME"):
            page.get_by_role("button", name=name).click()
            expect(page.locator("canvas[data-status=done]")).to_be_visible(timeout=LONG)
            expect(page.locator("main").get_by_text(re.compile(r"deletion \d"))).to_be_visible()
            assert painted(page)

        page.get_by_role("link", name="← All photos").click()
        own = tinted("brick", 77)
        own.save(tmp_path / "new.png")
        page.locator("input[accept='image/*']").set_input_files(tmp_path / "new.png")
        expect(page.locator("h1")).to_have_text("new.png")
        expect(page.locator(".bars tr")).to_have_count(3)

        page.goto(f"{where}/report")
        report = page.frame_locator("iframe")
        expect(report.get_by_role("heading").first).to_be_visible()
        page.get_by_role("link", name="Start").click()
        expect(page.get_by_role("link", name="tints, cnn")).to_be_visible()


def painted(page: Page) -> bool:
    """Whether the canvas holds a picture of more than one colour."""
    return bool(
        page.evaluate(
            """() => { const c = document.querySelector('canvas');
            const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
            return new Set(Array.from({ length: 400 }, (_, i) =>
                d[4 * Math.floor(i * d.length / 1600)])).size > 8; }"""
        )
    )


def test_a_zip_cancel_and_go_on(app: Served, opened: Browser, tmp_path: Path) -> None:
    folder = tinted_folder(tmp_path / "zipped", 12)
    archive = tmp_path / "my photos.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for file in folder.rglob("*.png"):
            made.write(file, f"outer/{file.relative_to(folder)}")
    with real.page(opened, home=app.home) as page:
        come_in(app, page)
        page.locator("input[accept^='.zip']").set_input_files(archive)
        expect(page.get_by_role("heading", name="What the check found")).to_be_visible(timeout=LONG)
        assert page.locator("h1").inner_text() == "my photos"
        page.get_by_label("How").select_option("cnn")
        page.get_by_label("Epochs, at most").fill("5000")
        page.get_by_role("button", name="Train a classifier").click()
        expect(page.locator(".plot svg").first).to_be_visible(timeout=LONG)
        # Somebody closes the tab: the job goes on without it.
        where = page.url
        page.goto("about:blank")
        time.sleep(1)
        page.goto(where)
        expect(page.locator(".badge", has_text="running")).to_be_visible(timeout=LONG)
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".badge", has_text="cancelled")).to_be_visible(timeout=LONG)
        page.get_by_role("button", name="Go on").click()
        expect(page.locator(".badge", has_text="running")).to_be_visible(timeout=LONG)
        page.get_by_role("link", name=re.compile("Jobs")).click()
        expect(page.locator(".job")).to_have_count(2)
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".badge", has_text="cancelled")).to_be_visible(timeout=LONG)
        page.get_by_role("link", name="Start").click()
        page.get_by_role("button", name="Remove my photos, cnn").click()
        page.get_by_role("button", name="Keep it").click()
        expect(page.get_by_role("link", name="my photos, cnn")).to_be_visible()
        page.get_by_role("button", name="Remove my photos, cnn").click()
        page.get_by_role("button", name="Remove", exact=True).click()
        expect(page.get_by_role("link", name="my photos, cnn")).to_have_count(0)


def test_a_table_and_what_comes_next(app: Served, opened: Browser, tmp_path: Path) -> None:
    rows = ["date,load"] + [
        f"2024-01-{1 + i // 24:02} {i % 24:02}:00,{np.sin(i / 24 * 6.283):.4f}" for i in range(600)
    ]
    (tmp_path / "power.csv").write_text("\n".join(rows))
    with real.page(opened, home=app.home) as page:
        come_in(app, page)
        page.locator("input[accept^='.csv']").set_input_files(tmp_path / "power.csv")
        expect(page.locator("h1")).to_have_text("power.csv")
        for control, column in (("Column to forecast", "load"), ("Time stamps", "date")):
            chosen = page.get_by_label(control).locator("option:checked")
            assert chosen.inner_text() == column
        page.get_by_label("Steps ahead").fill("12")
        page.get_by_label("Epochs, at most").fill("2")
        page.get_by_role("button", name="Forecast").click()
        expect(page.locator(".plot .narrow")).to_be_visible(timeout=LONG)
        expect(page.get_by_role("rowheader", name="this network")).to_be_visible()
        expect(page.get_by_text(re.compile("^The network (beats|does not beat)"))).to_be_visible()
        fits_and_reads(page)
        page.get_by_label("Steps ahead").fill("30")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_text("the next 30 steps")).to_be_visible()
        page.get_by_role("link", name="Report").click()
        expect(page.frame_locator("iframe").get_by_role("heading").first).to_be_visible()


def test_a_bad_file_is_said_and_forgotten(app: Served, opened: Browser, tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"no zip")
    (tmp_path / "no.csv").write_bytes(b"")
    with real.page(opened, home=app.home) as page:
        page.on("console", lambda line: None)
        come_in(app, page)
        shown = page.get_by_role("alert")
        try:
            page.locator("input[accept^='.zip']").set_input_files(tmp_path / "no.zip")
            expect(shown).to_contain_text("no zip that can be unpacked")
            page.locator("input[accept^='.csv']").set_input_files(tmp_path / "no.csv")
            expect(shown).to_contain_text("no.csv")
            expect(page.get_by_role("heading", name="Photos", exact=True)).to_have_count(1)
        finally:
            page.faults.clear()  # type: ignore[attr-defined]


def test_what_is_typed_while_the_check_runs_stays(
    app: Served, opened: Browser, tmp_path: Path
) -> None:
    folder = tinted_folder(tmp_path / "tints", 12)
    with real.page(opened, home=app.home) as page:
        come_in(app, page)
        page.locator("input[webkitdirectory]").set_input_files(folder)
        page.get_by_label("How").select_option("cnn")
        page.get_by_label("Epochs, at most").fill("7")
        page.get_by_label("Epochs, at most").focus()
        expect(page.get_by_role("heading", name="What the check found")).to_be_visible(timeout=LONG)
        assert page.get_by_label("How").input_value() == "cnn"
        assert page.get_by_label("Epochs, at most").input_value() == "7"
        assert page.evaluate("() => document.activeElement.tagName") == "INPUT"


def test_a_page_that_is_loaded_again_shows_the_same(app: Served, opened: Browser) -> None:
    with real.page(opened, home=app.home) as page:
        come_in(app, page)
        page.get_by_role("link", name="cnn", exact=True).click()
        page.get_by_label("Photos of").select_option("train")
        expect(page.get_by_text("18 photos;")).to_be_visible()
        page.reload()
        expect(page.get_by_text("18 photos;")).to_be_visible()
        assert page.get_by_label("Photos of").input_value() == "train"
        page.locator(".photos a").first.click()
        page.get_by_role("button", name="Saliency").click()
        expect(page.locator("canvas[data-status=done]")).to_be_visible(timeout=LONG)
        page.get_by_label("For the class").select_option("sky")
        expect(page.get_by_text("change per pixel, for sky")).to_be_visible(timeout=LONG)
        page.reload()
        expect(page.get_by_text("change per pixel, for sky")).to_be_visible(timeout=LONG)
        before = page.locator("h1").inner_text()
        page.get_by_role("link", name="Next photo").click()
        expect(page.locator("h1")).not_to_have_text(before)
        page.go_back()
        expect(page.locator("h1")).to_have_text(before)
        assert page.title() == f"{before} – convscope"


def test_a_server_that_is_gone_is_said_and_so_is_what_is_left_behind(
    app: Served, opened: Browser
) -> None:
    with real.page(opened, width=375, home=app.home) as page:
        come_in(app, page)
        # A set that was never finished, as a closed tab leaves it.
        page.evaluate(
            "() => fetch('/api/photos', { method: 'POST', body: JSON.stringify({ name: 'cut' }),"
            " headers: { 'content-type': 'application/json' } })"
        )
        page.reload()
        expect(page.get_by_text("cut off while it was sent")).to_be_visible()
        fits_and_reads(page)
        try:
            page.route("**/api/state", lambda route: route.abort())
            expect(page.get_by_role("alert")).to_contain_text("does not answer")
            page.unroute("**/api/state")
            expect(page.get_by_role("alert")).to_be_hidden()
            page.goto(f"{app.home}/#/run/{'0' * 24}")
            expect(page.get_by_role("alert")).to_contain_text("no such thing")
            expect(page.get_by_text("It cannot be shown.")).to_be_visible()
        finally:
            page.faults.clear()  # type: ignore[attr-defined]


def test_with_the_keyboard_alone(app: Served, opened: Browser) -> None:
    with real.page(opened, home=app.home) as page:
        come_in(app, page)

        def tab_to(text: str) -> None:
            for _ in range(80):
                page.keyboard.press("Tab")
                here = page.evaluate(
                    "() => (document.activeElement.innerText || "
                    "document.activeElement.getAttribute('aria-label') || '').trim()"
                )
                if here.startswith(text):
                    return
            raise AssertionError(f"Tab never comes to {text}")

        tab_to("cnn")  # the run that was given
        page.keyboard.press("Enter")
        expect(page.get_by_text("named correctly")).to_be_visible()
        expect(page.locator(".photos a").first).to_be_visible()
        first = page.locator(".photos a").first.inner_text()
        tab_to(first[:4])
        page.keyboard.press("Enter")
        expect(page.locator(".bars tr")).to_have_count(3)
        tab_to("Occlusion")
        page.keyboard.press("Enter")
        expect(page.locator("canvas[data-status=done]")).to_be_visible(timeout=LONG)
        page.locator("canvas").focus()
        before = page.get_by_role("button", name="LIME").bounding_box()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_text(re.compile("^Covered here: "))).to_be_visible()
        # Nothing moves away under the pointer.
        assert page.get_by_role("button", name="LIME").bounding_box() == before
        ring = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
        assert ring != "none"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_every_page_fits_and_can_be_read(
    width: int, dark: bool, app: Served, opened: Browser
) -> None:
    with real.page(opened, width=width, dark=dark, touch=width < 500, home=app.home) as page:
        come_in(app, page)
        fits_and_reads(page)
        page.get_by_role("link", name="cnn", exact=True).click()
        expect(page.locator(".photos img").first).to_be_visible()
        fits_and_reads(page)
        where = page.url
        page.locator(".photos a").first.click()
        page.get_by_role("button", name="Saliency").click()
        expect(page.locator("canvas[data-status=done]")).to_be_visible(timeout=LONG)
        fits_and_reads(page)
        for tab in ("report", "neurons", "audit"):
            page.goto(f"{where}/{tab}")
            expect(page.get_by_role("link", name="Shortcuts")).to_be_visible()
            fits_and_reads(page)
        page.goto(f"{app.home}/#/jobs")
        fits_and_reads(page)
        page.goto(f"{app.home}/#/nonsense")
        expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()


def fits_and_reads(page: Page) -> None:
    said = page.locator("body").inner_text()
    assert not re.search(r"NaN|undefined|null|\[object", said), said
    assert real.too_wide(page) == []
    assert real.pale(page) == []
    assert real.small_targets(page) == []
