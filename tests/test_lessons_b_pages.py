"""The pages of some lessons in a real browser: their arithmetic against the library's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page

import browser as real
from convscope.lessons import dense, residual, shuffle
from convscope.lessons.catalog import load
from convscope.lessons.lesson import number as lesson_number
from convscope.lessons.page import render


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with real.browser() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lessons")
    for name in ("dense", "residual", "shuffle"):
        (folder / f"{name}.html").write_text(render(load(name)), encoding="utf-8")
    return folder


def numbers(page: Page, place: str) -> list[float]:
    return [float(x) for x in page.locator(f"{place} > *").all_text_contents()]


def double(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def slide(page: Page, place: str, value: float) -> None:
    """Move a slider, as a finger does."""
    page.locator(place).first.evaluate(
        "(e, to) => { e.value = to; e.dispatchEvent(new Event('input', { bubbles: true })); }",
        value,
    )


def small(page: Page) -> list[str]:
    """Buttons, fields and the like that are hard to hit: less than 24 pixels high or wide."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, label.drop')].filter(e => {
            const box = e.getBoundingClientRect();
            const label = e.closest('label')?.getBoundingClientRect();
            const tall = Math.max(box.height, label?.height || 0);
            const wide = Math.max(box.width, label?.width || 0);
            return box.width > 1 && (tall < 24 || wide < 24);
        }).map(e => e.outerHTML.slice(0, 80))"""
    )
    return found


# dense


def test_a_changed_layer_learns_as_torch_does(opened: Browser, pages: Path) -> None:
    x, weights, bias = [1.5, -2.0, 0.5], [[0.5, -0.25, 1.0], [-0.5, 0.3, 0.25]], [0.1, 0.9]
    with real.page(opened) as page:
        page.goto((pages / "dense.html").as_uri())
        page.get_by_label("input, row 1, column 1").fill("1,5")
        page.get_by_label("weight, row 2, column 2").fill("0.3")
        page.get_by_label("bias, row 1, column 2").fill("0.9")
        page.keyboard.press("Tab")
        page.get_by_label("Right class").select_option("0")
        logits, shares = dense.forward(x, weights, bias)
        loss, by_weights, by_bias = dense.gradients(x, weights, bias, 0)
        for place, expected in (
            ("#logits", logits), ("#shares", shares), ("#by-bias", by_bias),
            ("#by-weights", by_weights.flatten()),
        ):  # fmt: skip
            assert numbers(page, place) == pytest.approx(expected.tolist(), abs=6e-5)
        assert numbers(page, "#loss") == pytest.approx([loss], abs=6e-5)
        page.get_by_text("Take one step").click()
        after = dense.gradients(
            x,
            (double(weights) - 0.5 * by_weights).tolist(),
            (double(bias) - 0.5 * by_bias).tolist(),
            0,
        )[0]
        assert numbers(page, "#loss") == pytest.approx([after], abs=6e-5)
        assert small(page) == []


@pytest.mark.parametrize("place", [(-2.0, 2.5), (3.3, -0.7)])
def test_the_landscape_is_the_librarys(
    place: tuple[float, float], opened: Browser, pages: Path
) -> None:
    with real.page(opened) as page:
        page.goto((pages / "dense.html").as_uri())
        found = page.evaluate("place => window.dense.landscape(place)", list(place))
        assert found["loss"] == pytest.approx(float(dense.mean_loss(double(place))), abs=1e-12)
        assert found["slope"] == pytest.approx(dense.slope(place).tolist(), abs=1e-12)
        path = page.evaluate("place => window.dense.descend(place, 1.7, 15)", list(place))
        expected, _ = dense.descend(place, 1.7, 15)
        assert path[-1] == pytest.approx(expected[-1].tolist(), abs=1e-10)


def test_the_step_length_is_in_the_readers_hand(opened: Browser, pages: Path) -> None:
    with real.page(opened, width=375, touch=True) as page:
        page.goto((pages / "dense.html").as_uri())
        said = page.locator("#descent-said")
        page.get_by_text("20 steps", exact=True).tap()
        _, losses = dense.descend(dense.START, 1, 20)
        assert f"loss {float(losses[-1]):.4f}" in said.inner_text()
        page.get_by_text("Start again").tap()
        slide(page, "#rate", 2)
        page.get_by_text("20 steps", exact=True).tap()
        assert "higher than at the start" in said.inner_text()
        page.locator("#plot").tap(position={"x": 200, "y": 60})
        assert "After 0 steps" in said.inner_text()
        assert page.locator("#start-b").input_value() != "2.5"
        page.keyboard.press("ArrowRight")
        assert "After 1 steps" in said.inner_text()
        page.keyboard.press("ArrowLeft")
        assert "After 0 steps" in said.inner_text()


# residual


@pytest.mark.parametrize("gate", [0.0, 0.35, 1.0])
def test_a_changed_block_is_the_librarys(gate: float, opened: Browser, pages: Path) -> None:
    x, weights, bias = [1.0, 0.75], [[0.6, -1.5], [1.2, 0.4]], [0.1, -0.3]
    h, y = residual.block(double(x), gate, double(weights), double(bias))
    jacobian = residual.through(double(x), gate, double(weights), double(bias))
    with real.page(opened) as page:
        page.goto((pages / "residual.html").as_uri())
        found = page.evaluate(
            "given => window.residual(...given)", [x, weights, bias, [gate, 1 - gate]]
        )
        assert found["h"] == pytest.approx(h.tolist(), abs=1e-12)
        assert found["y"] == pytest.approx(y.tolist(), abs=1e-12)
        for mine, theirs in zip(found["jacobian"], jacobian.tolist(), strict=True):
            assert mine == pytest.approx(theirs, abs=1e-12)
        page.get_by_label("input, row 1, column 2").fill("0.75")
        page.get_by_label("weight, row 1, column 2").fill("-1.5")
        page.get_by_label("bias, row 1, column 2").fill("-0.3")
        page.keyboard.press("Tab")
        slide(page, ".gate", gate)
        assert f"= {lesson_number(float(y[1]))}" in page.locator("#sum").inner_text()
        page.get_by_label("residual: y = x + H(x)").check()
        plus = float(h[1]) + x[1]
        assert f"= {lesson_number(plus)}" in page.locator("#sum").inner_text()


def test_the_chart_shows_the_librarys_values_for_the_gate(opened: Browser, pages: Path) -> None:
    with real.page(opened, width=375) as page:
        page.goto((pages / "residual.html").as_uri())
        slide(page, ".gate >> nth=1", 0.4)
        place = residual.GATES.index(0.4)
        first = residual.measured()["small"]["fixed"][place]["gradient"][0]
        said = page.locator("#depth-said").inner_text()
        assert said.startswith("T = 0.4 in every layer")
        assert float(said.split("gradient is ")[1].split()[0]) == pytest.approx(first, rel=0.06)
        assert page.locator("#chart polyline").count() == 4
        page.get_by_label("residual", exact=True).check()
        assert page.locator("#chart polyline").count() == 5
        page.get_by_label("Show").select_option("likeness")
        page.locator("#start").select_option("larger")
        assert "0." in page.locator("#depth-said").inner_text()
        assert real.too_wide(page) == []
        assert small(page) == []


# shuffle


def test_digits_are_shuffled_as_the_library_does(opened: Browser, pages: Path) -> None:
    data = load("shuffle").data
    with real.page(opened, width=375, touch=True) as page:
        page.goto((pages / "shuffle.html").as_uri())
        page.locator("#arrangement").select_option("blocks")
        page.locator("#seed").select_option("2")
        page.locator("#digit").select_option("7")
        image = [value for row in data["examples"][7:8] for value in row]
        labels = page.locator("#after button").evaluate_all(
            "all => all.map(e => Number(e.ariaLabel.split(': ')[1].split(' ')[0]))"
        )
        assert labels == [image[place] for place in shuffle.order("blocks", 2)]
        page.locator("#before button").nth(0).tap()
        assert "Row 1, column 1 goes to" in page.locator("#said").inner_text()
        assert page.locator("#after .near").count() == 3
        assert page.locator("#all canvas").count() == 10
        page.locator("#toggle").tap()
        assert page.locator("#toggle").get_attribute("aria-pressed") == "false"
        assert real.too_wide(page) == []
        assert small(page) == []


def test_the_results_and_the_sums_are_the_librarys(opened: Browser, pages: Path) -> None:
    data = load("shuffle").data
    with real.page(opened) as page:
        page.goto((pages / "shuffle.html").as_uri())
        said = page.locator("#result").inner_text()
        for by in data["summary"].values():
            for mean, *_ in by.values():
                assert f"{lesson_number(100 * mean, 1)} %" in said
        assert page.locator("#chart circle").count() == 6 * 6
        assert page.locator("#sums").inner_text().endswith("= -3")
        for _ in range(3):
            page.get_by_text("Shuffle these nine").click()
            assert page.locator("#sums").inner_text().splitlines()[0].endswith("= 0")
