"""A real browser for the tests of pages: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

# Browsers take their time when other tests run beside them.
PATIENCE = 60_000
expect.set_options(timeout=PATIENCE)


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
            executable_path=chromium(),
            # No host but this machine has an address.
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
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
    # For tests of what goes wrong, which the console tells as well.
    shown.faults = faults  # type: ignore[attr-defined]

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


# Contrast of text with what is behind it, as WCAG 2.2 computes it; text on pictures is left out.
_CONTRAST = """() => {
  const numbers = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const style = getComputedStyle(at), rgb = numbers(style.backgroundColor);
      if (style.backgroundImage !== 'none') return null;
      if (rgb.length === 3 || rgb[3] === 1) return rgb;
      if (rgb.length === 4 && rgb[3] > 0) return null;
    }
    return numbers(getComputedStyle(document.documentElement).colorScheme === 'dark'
      ? '0 0 0' : '255 255 255');
  };
  const found = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].filter((n) => n.nodeType === 3 && n.textContent.trim());
    const box = node.getBoundingClientRect();
    if (!own.length || box.width < 2 || box.height < 2) continue;
    const style = getComputedStyle(node);
    if (style.visibility !== 'visible' || node.closest('svg, :disabled, script, option')) continue;
    const ground = behind(node);
    if (!ground) continue;
    const [a, b] = [light(numbers(style.color)), light(ground)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize), heavy = Number(style.fontWeight) >= 700;
    const least = size >= 24 || (heavy && size >= 18.66) ? 3 : 4.5;
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least) found.push(`${ratio.toFixed(2)} ${own[0].textContent.trim().slice(0, 40)}`);
  }
  return found;
}"""


def pale(shown: Page) -> list[str]:
    """Text that is too pale for WCAG AA, with its contrast."""
    found: list[str] = shown.evaluate(_CONTRAST)
    return found


def small_targets(shown: Page) -> list[str]:
    """Buttons and fields below 24 x 24 pixels (WCAG 2.2, 2.5.8); links in text are left out."""
    found: list[str] = shown.evaluate(
        """() => [...document.querySelectorAll('button, select, input, summary, [role=button]')]
        .map((node) => [node, (node.closest('label') || node).getBoundingClientRect(),
                        node.getBoundingClientRect()])
        .filter(([node, box, own]) => own.width > 1 && own.height > 1
            && (box.width < 24 || box.height < 24))
        .map(([node]) => node.outerHTML.slice(0, 80))"""
    )
    return found
