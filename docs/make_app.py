"""Write the pictures of docs/app.md: the app as it is, on the demo's photos.

Needs chromium and the extra ``test``. Run from the repository's root: ``python docs/make_app.py``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, "tests")

from playwright.sync_api import Page, expect

import browser as real
from serving import served

OUT = Path("docs/images/app")
LONG = 900_000


def main() -> None:
    """Walk through the app once, and look."""
    OUT.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as home,
        served(Path(home)) as app,
        real.browser() as opened,
        real.page(opened, home=app.home, height=860) as page,
    ):
        page.goto(app.address)
        page.get_by_role("button", name="Use the demo's photos").click()
        expect(page.get_by_role("heading", name="What the check found")).to_be_visible(timeout=LONG)
        shoot(page, "photos")
        page.get_by_label("How").select_option("cnn")
        page.get_by_role("button", name="Train a classifier").click()
        for _ in range(600):
            time.sleep(1)
            if page.locator(".plot").count() and "accuracy" in page.locator(".job").inner_text():
                break
        time.sleep(4)
        shoot(page, "training")
        expect(page.get_by_text("named correctly")).to_be_visible(timeout=LONG)
        expect(page.locator(".photos img").first).to_be_visible()
        where = page.url
        page.goto(where)
        shoot(page, "run")
        page.get_by_label("Photos of").select_option("test")
        page.locator(".photos a").nth(59).click()
        page.get_by_role("button", name="Occlusion").click()
        expect(page.locator("canvas[data-status=done]")).to_be_visible(timeout=LONG)
        time.sleep(1)
        shoot(page, "look")
        page.goto(f"{where}/report")
        time.sleep(3)
        shoot(page, "report")
        for tab, button in (("neurons", "Find their patches"), ("audit", "Look for shortcuts")):
            page.goto(f"{where}/{tab}")
            page.get_by_role("button", name=button).click()
            expect(page.locator("iframe")).to_be_visible(timeout=LONG)
            time.sleep(3)
            shoot(page, tab)
        csv = Path(home) / "power.csv"
        csv.write_text("\n".join(series()))
        page.goto(f"{app.home}/#/")
        page.locator("input[accept^='.csv']").set_input_files(csv)
        expect(page.locator("h1")).to_have_text("power.csv")
        shoot(page, "table")
        page.get_by_role("button", name="Forecast").click()
        expect(page.locator(".plot .narrow")).to_be_visible(timeout=LONG)
        shoot(page, "forecast")
        page.goto(f"{app.home}/#/")
        time.sleep(1)
        shoot(page, "start")


def series() -> list[str]:
    """Hourly load with a day and a week in it, and noise."""
    hours = np.arange(24 * 60)
    rng = np.random.default_rng(0)
    day = np.sin(2 * np.pi * (hours - 7) / 24)
    load = 60 + 18 * day + 8 * np.sin(2 * np.pi * hours / 168) + rng.normal(0, 2, len(hours))
    start = np.datetime64("2024-01-01T00", "h")
    return ["date,load"] + [f"{start + h}:00,{value:.2f}".replace("T", " ")
                            for h, value in zip(hours, load, strict=True)]  # fmt: skip


def shoot(page: Page, name: str) -> None:
    """The window as it is, as a JPEG."""
    png = np.frombuffer(page.screenshot(), np.uint8)
    picture = cv2.imdecode(png, cv2.IMREAD_COLOR)
    cv2.imwrite(str(OUT / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
