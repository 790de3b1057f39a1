"""The built site in a browser: nothing from elsewhere, nothing too wide, search from a file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from browser import browser, page, too_wide

ROOT = Path(__file__).resolve().parents[1]
SHOWN = (
    "index.html", "quickstart.html", "commands/index.html", "commands/fit.html",
    "commands/explain.html", "concepts/geometry.html", "concepts/honest-figures.html",
    "forecast.html", "nets/index.html", "nets/tcn.html", "api/explain.html", "errors.html",
    "gallery.html", "benchmarks.html", "changes.html",
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as ``make docs`` does it."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    assert not built.stderr.strip()
    return folder


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (375, True)])
def test_pages_load_nothing_from_elsewhere_and_fit(
    site: Path, opened: Browser, width: int, dark: bool
) -> None:
    with page(opened, width=width, dark=dark) as shown:
        for name in SHOWN:
            shown.goto((site / name).as_uri())
            assert too_wide(shown) == [], name
            assert shown.evaluate("document.documentElement.scrollWidth") <= width, name
            broken = "[...document.images].filter(i => !i.naturalWidth).map(i => i.src)"
            assert shown.evaluate(broken) == [], name
            ground = shown.evaluate("getComputedStyle(document.body).backgroundColor")
            red = int(ground.removeprefix("rgb(").split(",")[0])
            assert (red < 80) == dark, f"{name}: {ground}"


def test_search_works_from_a_file(site: Path, opened: Browser) -> None:
    with page(opened) as shown:
        shown.goto((site / "commands" / "fit.html").as_uri())
        shown.locator("input.md-search__input").fill("receptive field")
        first = shown.locator(".md-search-result__item a").first
        first.wait_for()
        assert "receptive" in shown.inner_text(".md-search-result").lower()
        first.click()
        shown.wait_for_url(lambda url: not url.endswith("commands/fit.html"))
