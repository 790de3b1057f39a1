"""The lessons' pages in a real browser: their arithmetic against the library's."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

import browser as real
from convscope.lessons.catalog import LESSONS
from convscope.lessons.convolution import FILTER, IMAGE, example
from convscope.lessons.page import write_all
from photos import save_texture


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with real.browser() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("lessons")).parent


def numbers(page: Page, place: str) -> list[float]:
    return [float(x) for x in page.locator(f"{place} > *").all_text_contents()]


def flat(rows: list[list[float]]) -> list[float]:
    return [value for row in rows for value in row]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("name", ["index", *LESSONS])
def test_pages_open_from_disk_fit_and_ask_nobody(
    name: str, width: int, dark: bool, opened: Browser, pages: Path
) -> None:
    with real.page(opened, width=width, dark=dark) as page:
        page.goto((pages / f"{name}.html").as_uri())
        assert page.locator("h1").inner_text()
        assert real.too_wide(page) == []
        assert real.pale(page) == []
        assert real.small_targets(page) == []


def test_the_first_example_step_by_step(opened: Browser, pages: Path) -> None:
    with real.page(opened) as page:
        page.goto((pages / "convolution.html").as_uri())
        expected = example(IMAGE, FILTER).data
        for place, key in (("#result", "result"), ("#relu", "relu"), ("#pooled", "pooled")):
            assert numbers(page, place) == pytest.approx(flat(expected[key]))
        assert page.locator("#sum").inner_text().endswith("= 32.5")
        page.keyboard.press("ArrowRight")
        assert page.locator("#sum").inner_text().endswith("= -105.5")
        assert page.locator("#image .seen").count() == 9
        page.locator("#result > *").nth(15).click()
        assert page.locator("#sum").inner_text().endswith("= 37.5")
        page.get_by_text("Next →").first.press("Enter")
        assert page.locator("#sum").inner_text().endswith("= 32.5")


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(2, 1, 1), (1, 2, 2), (3, 0, 2)])
def test_what_the_reader_changes_is_computed_as_the_library_does(
    stride: int, padding: int, dilation: int, opened: Browser, pages: Path
) -> None:
    image = [list(row) for row in IMAGE]
    image[2][3] = -17.25
    kernel = [list(row) for row in FILTER]
    kernel[1][1] = 2.5
    with real.page(opened) as page:
        page.goto((pages / "convolution.html").as_uri())
        page.get_by_label("image, row 3, column 4").fill("-17.25")
        page.get_by_label("filter, row 2, column 2").fill("2,5")
        for name, value in (("Stride", stride), ("Padding", padding), ("Dilation", dilation)):
            page.get_by_label(name).fill(str(value))
            page.get_by_label(name).press("Tab")
        expected = example(image, kernel, stride, padding, dilation).data
        assert numbers(page, "#result") == pytest.approx(flat(expected["result"]))
        if expected["pooled"] is not None:
            assert numbers(page, "#pooled") == pytest.approx(flat(expected["pooled"]))
        page.get_by_text("As at first").click()
        assert numbers(page, "#result")[0] == pytest.approx(32.5)


def test_a_photo_can_be_dropped_and_a_bad_file_is_said(
    opened: Browser, pages: Path, tmp_path: Path
) -> None:
    with real.page(opened) as page:
        page.goto((pages / "convolution.html").as_uri())
        assert not page.locator("#photo").is_visible()
        page.locator("#drop input").set_input_files(save_texture(tmp_path / "a.png", seed=1))
        page.locator("#photo canvas").first.wait_for(state="visible")
        assert "pixels, then" in page.locator("#photo-said").inner_text()
        page.locator("#drop input").set_input_files(
            {"name": "<b>.txt", "mimeType": "text/plain", "buffer": base64.b64decode("AAAA")}
        )
        page.get_by_text("<b>.txt is no picture").wait_for()
