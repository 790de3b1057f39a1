"""The pages of some lessons in a real browser: their arithmetic against the library's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page

import browser as real
from convscope.data import affine
from convscope.explain import lime, occlusion, saliency, superpixels
from convscope.lessons import dense, photo, photo_model, residual, shuffle
from convscope.lessons.catalog import load
from convscope.lessons.lesson import number as lesson_number
from convscope.lessons.page import render
from photos import save_texture


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with real.browser() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lessons")
    for name in ("dense", "residual", "photo", "shuffle"):
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


# photo


@pytest.fixture(scope="module")
def inputs() -> torch.Tensor:
    """A drawn photo that is not on the page, and noise."""
    pixels = photo_model.shrink(photo_model.draw_photo("snail", photo_model.FIRST_SHOWN + 5))
    noise = np.random.default_rng(0).uniform(0, 255, pixels.shape)
    return photo_model.as_input(np.stack([pixels, noise]))


def test_the_page_computes_the_network_forwards_and_backwards(
    inputs: torch.Tensor, opened: Browser, pages: Path
) -> None:
    net, _ = photo_model.load_net()
    with real.page(opened) as page:
        page.goto((pages / "photo.html").as_uri())
        for image in inputs:
            given = image.flatten().tolist()
            found = page.evaluate("x => window.photo.forward(x)", given)
            with torch.inference_mode():
                assert found == pytest.approx(net(image[None])[0].tolist(), abs=1e-4)
            for target in (0, 4):
                mine = page.evaluate("([x, c]) => window.photo.saliency(x, c)", [given, target])
                theirs = saliency(net, image, target).map
                assert np.abs(np.array(mine).reshape(48, 48) - theirs).max() < 1e-4
        quickest = page.evaluate(
            """x => Math.min(...Array.from({ length: 10 }, () => {
                const start = performance.now(); window.photo.forward(x);
                return performance.now() - start; }))""",
            inputs[0].flatten().tolist(),
        )
        assert quickest < 100


@pytest.mark.parametrize(("window", "stride"), [(12, 6), (16, 5), (7, 7)])
def test_occlusion_is_the_librarys(
    window: int, stride: int, inputs: torch.Tensor, opened: Browser, pages: Path
) -> None:
    net, _ = photo_model.load_net()
    expected = occlusion(net, inputs[0], 2, window=window, stride=stride).map
    with real.page(opened) as page:
        page.goto((pages / "photo.html").as_uri())
        found = page.evaluate(
            "given => window.photo.occlusion(...given)",
            [inputs[0].flatten().tolist(), 2, window, stride],
        )
    assert np.abs(np.array(found).reshape(48, 48) - expected).max() < 1e-4


def test_lime_is_the_librarys_for_the_same_masks(
    inputs: torch.Tensor, opened: Browser, pages: Path
) -> None:
    net, _ = photo_model.load_net()
    pieces = superpixels(inputs[:1].numpy(), count=20)[0]
    count = int(pieces.max()) + 1
    expected = lime(net, inputs[0], 4, segments=pieces, samples=120, stop_early=False, seed=3)
    masks = np.random.default_rng(3).integers(0, 2, (120, count), np.uint8)
    masks[0] = 1
    with real.page(opened) as page:
        page.goto((pages / "photo.html").as_uri())
        found = page.evaluate(
            "given => window.photo.lime(...given)",
            [inputs[0].flatten().tolist(), pieces.flatten().tolist(), masks.tolist(), 4],
        )
    assert found["weights"] == pytest.approx(expected.details["weights"].tolist(), abs=1e-4)
    assert found["intercept"] == pytest.approx(float(expected.details["intercept"]), abs=1e-4)
    assert found["r2"] == pytest.approx(float(expected.details["r2"]), abs=1e-4)


CHANGES = (
    {"degrees": 30, "right": 0.1, "down": -0.2, "zoom": 1.3, "flip": True, "crop": 0.6},
    {"degrees": -75, "right": 0.3, "down": 0.4, "zoom": 0.6, "flip": False, "crop": 1},
)


@pytest.mark.parametrize("how", CHANGES)
def test_the_page_moves_pixels_as_the_library_does(
    how: dict[str, float], opened: Browser, pages: Path
) -> None:
    expected = photo.change(**how)  # type: ignore[arg-type]
    moved = affine.warp(photo.photos()[0][2], expected, 192, 192).astype(float)
    with real.page(opened) as page:
        page.goto((pages / "photo.html").as_uri())
        page.wait_for_function("document.getElementById('answer').textContent !== ''")
        rows = page.evaluate("how => window.photo.matrix(how)", how)
        assert np.array(rows) == pytest.approx(expected[:2], abs=1e-9)
        rgba = page.evaluate("how => window.photo.changed(how)", how)
        found = np.array(rgba, float).reshape(192, 192, 4)[..., :3]
        # A canvas may interpolate otherwise, and mirrors the outermost pixels too.
        assert np.abs(found - moved).mean() < 4
        still = np.array(page.evaluate("how => window.photo.changed(how)", STILL), float)
        assert np.abs(still.reshape(192, 192, 4)[..., :3] - photo.photos()[0][2]).max() <= 4


STILL = {"degrees": 0, "right": 0, "down": 0, "zoom": 1, "flip": False, "crop": 1}


def test_the_first_answers_are_the_librarys(opened: Browser, pages: Path) -> None:
    data = load("photo").data
    with real.page(opened) as page:
        page.goto((pages / "photo.html").as_uri())
        for one in data["photos"]:
            page.get_by_role("button", name=one["label"], exact=True).click()
            page.wait_for_function("document.querySelector('.thumb[aria-pressed=true]') !== null")
            page.get_by_text(f"{one['label']}, ").first.wait_for()
            given = page.evaluate("() => window.photo.input()")
            found = page.evaluate("x => window.photo.forward(x)", given)
            assert found == pytest.approx(one["logits"], abs=0.05)


def test_a_reader_works_with_a_photo(opened: Browser, pages: Path, tmp_path: Path) -> None:
    with real.page(opened, width=375, touch=True) as page:
        page.goto((pages / "photo.html").as_uri())
        answer = page.locator("#answer")
        page.wait_for_function("document.getElementById('answer').textContent !== ''")
        before = answer.inner_text()
        slide(page, "#degrees", 140)
        page.get_by_text("140°").wait_for()
        assert answer.inner_text() != before
        page.get_by_text("As at first").tap()
        assert answer.inner_text() == before
        page.get_by_role("button", name="Cover").tap()
        page.get_by_text("49 of 49 places").wait_for()
        page.locator("#sample").tap()
        page.get_by_text("300 samples").wait_for()
        page.locator("#heaviest button").first.tap()
        assert ", 1 hidden" in page.locator("#lime-said").inner_text()
        page.locator("#hidden").tap(position={"x": 3, "y": 3})
        assert ", 2 hidden" in page.locator("#lime-said").inner_text()
        page.locator("#stride").evaluate("e => { e.value = 1; }")
        page.get_by_role("button", name="Cover").tap()
        page.locator("#stop-cover").tap()
        assert not page.locator("#own-said").is_visible()
        page.locator("#drop input").set_input_files(save_texture(tmp_path / "a.png", seed=1))
        page.locator("#own-said").wait_for()
        assert "36 pieces" in page.locator("#lime-said").inner_text()
        page.locator("#drop input").set_input_files(
            {"name": "<b>.txt", "mimeType": "text/plain", "buffer": b"no picture"}
        )
        page.get_by_text("<b>.txt is no picture").wait_for()
        assert real.too_wide(page) == []
        assert small(page) == []
