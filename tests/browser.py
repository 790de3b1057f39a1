"""A real browser for the tests of pages: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

# Browsers take their time when other tests run beside them.
PATIENCE = 60_000


def chromium() -> str:
    """Its place; skips where there is none, except on CI."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (found := shutil.which(name)) is not None:
            return found
    if "CI" in os.environ:
        pytest.fail("no chromium on CI: .ci/run installs it")
    pytest.skip("no chromium: apt-get install chromium")


@contextmanager
def browser() -> Iterator[Browser]:
    """Open for as long as the context is."""
    with sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def page(
    opened: Browser, *, width: int = 1280, height: int = 900, dark: bool = False,
    touch: bool = False, home: str = "file:",
) -> Iterator[Page]:  # fmt: skip
    """A page that may load nothing but what starts with ``home``, and must raise no error.

    Whatever it asks of other hosts is refused and fails the test when the context ends, and so does
    every uncaught error and every message of level error in its console.
    """
    context = opened.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        has_touch=touch,
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE)
    shown = context.new_page()
    faults: list[str] = []

    def guard(route: Route) -> None:
        url = route.request.url
        if url.startswith((home, "data:", "blob:")):
            route.continue_()
        else:
            faults.append(f"asked for {url}")
            route.abort()

    context.route("**/*", guard)
    shown.on("pageerror", lambda error: faults.append(str(error)))
    shown.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    try:
        yield shown
        assert not faults, faults
    finally:
        context.close()


def too_wide(shown: Page) -> list[str]:
    """Elements that stick out of the window to the right, unless something around them scrolls."""
    found: list[str] = shown.evaluate(
        """() => [...document.querySelectorAll('body *')].filter(e => {
            const r = e.getBoundingClientRect();
            if (!r.width || !r.height || r.right <= innerWidth + 1) return false;
            for (let p = e.parentElement; p; p = p.parentElement) {
                const o = getComputedStyle(p).overflowX;
                if (o !== 'visible' && p !== document.body && p !== document.documentElement)
                    return false;
            }
            return true;
        }).map(e => e.tagName + '.' + e.className + ' ' + (e.textContent || '').slice(0, 40))"""
    )
    return found
