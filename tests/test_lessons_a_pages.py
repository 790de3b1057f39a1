"""The pages of lessons 2, 4, 5 and 7 in a real browser, after changes, against the library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

import browser as real
from convscope.describing import describe
from convscope.forecast.depth import dilations_for
from convscope.lessons import causal, inception, pattern, receptive_fields
from convscope.lessons.catalog import load
from convscope.lessons.convolution import convolve
from convscope.lessons.page import write_page
from convscope.nets.inception import Inception, Placement


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with real.browser() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lessons")


@contextmanager
def shown(
    opened: Browser, folder: Path, name: str, *, width: int = 1280, touch: bool = False
) -> Iterator[Page]:
    page_file = folder / f"{name}.html"
    if not page_file.exists():
        write_page(load(name), page_file)
    with real.page(opened, width=width, touch=touch) as page:
        page.goto(page_file.as_uri())
        yield page


@pytest.mark.parametrize(
    ("name", "place", "said", "expected"),
    [
        ("pattern", "#answers", "#said", "Filter in row 16, column 28"),
        ("receptive-fields", "#map", "#said", "unit in row 28, column 28"),
        ("inception", "#mixed1 > :last-child", "#sum", "Row 3, column 3"),
        ("causal", "#dilated", "#dilated-said", "A step of the series"),
    ],
)
def test_a_finger_does_what_a_mouse_does(
    name: str, place: str, said: str, expected: str, opened: Browser, folder: Path
) -> None:
    with shown(opened, folder, name, width=375, touch=True) as page:
        there = page.locator(place)
        there.scroll_into_view_if_needed()
        box = there.bounding_box()
        assert box is not None
        # a stack has a margin around its units
        aside, below = (12, 38) if name == "causal" else (4, 4)
        there.tap(position={"x": box["width"] - aside, "y": box["height"] - below})
        assert expected in page.locator(said).inner_text()


def slide(page: Page, name: str, value: int) -> None:
    """Set a slider as somebody who drags it does."""
    page.locator(f"#{name}").evaluate(
        "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }", value
    )


def sum_of(page: Page) -> float:
    return float(page.locator("#sum").inner_text().rsplit("= ", 1)[1])


# One filter looks for one pattern


def test_the_detector_with_and_without_row_7(opened: Browser, folder: Path) -> None:
    with shown(opened, folder, "pattern") as page:
        assert sum_of(page) == 6600
        page.get_by_label("30 in row 7").check()
        assert sum_of(page) == 8100
        page.locator("#patches").select_option("other")
        assert sum_of(page) == 1500
        page.get_by_label("30 in row 7").uncheck()
        assert sum_of(page) == 0


def test_a_patch_and_a_filter_of_the_readers_own(opened: Browser, folder: Path) -> None:
    patch = [list(row) for row in pattern.CURVE]
    kernel = [list(row) for row in pattern.detector(row_7=False)]
    patch[0][5], kernel[2][4], patch[3][3] = 12.5, -3, 0
    with shown(opened, folder, "pattern") as page:
        page.get_by_label("patch, row 1, column 6").fill("12,5")
        page.get_by_label("filter, row 3, column 5").fill("-3")
        page.get_by_text("Draw by pressing").click()
        page.get_by_label("patch, row 4, column 4").click()
        assert sum_of(page) == pattern.answer(patch, kernel)
        answers = convolve(pattern.PICTURE, kernel).tolist()
        found = page.evaluate("([p, f]) => pattern.slide(p, f)", [pattern.PICTURE, kernel])
        assert found == answers
        r, c = pattern.hottest(answers)
        page.get_by_text("To the hottest place").click()
        assert f"row {r + 1}, column {c + 1}: " in page.locator("#said").inner_text()


def test_the_detector_moves_over_the_drawing_which_can_be_changed(
    opened: Browser, folder: Path
) -> None:
    with shown(opened, folder, "pattern") as page:
        assert page.locator("#said").inner_text().startswith("Filter in row 7, column 6: 9000.")
        slide(page, "row", 6)
        assert "row 6, column 6: 6600. The hottest" in page.locator("#said").inner_text()
        page.get_by_text("Use this patch above").click()
        assert sum_of(page) == 6600
        page.locator("#answers").click(position={"x": 2, "y": 2})
        assert "row 1, column 1: 0." in page.locator("#said").inner_text()
        page.locator("#mode").select_option("draw")
        box = page.locator("#picture").bounding_box()
        assert box is not None
        cell = box["width"] / 34
        page.locator("#picture").click(position={"x": 5.5 * cell, "y": 0.5 * cell})
        # row 1, column 6 of the drawing lies under the filter's first 30
        assert "row 1, column 1: 1500." in page.locator("#said").inner_text()


# What a unit sees


@pytest.mark.parametrize(("kernel", "layers", "channels"), [(3, 6, 7), (9, 1, 512), (7, 4, 33)])
def test_a_stack_of_the_readers_own(
    kernel: int, layers: int, channels: int, opened: Browser, folder: Path
) -> None:
    with shown(opened, folder, "receptive-fields") as page:
        page.locator("#kernel").select_option(str(kernel))
        page.locator("#layers").fill(str(layers))
        slide(page, "channels", channels)
        rows = page.locator("#costs tr").all()
        own = rows[3].locator("td").all_inner_texts()
        assert int(own[0]) == receptive_fields.stack_fields(kernel, layers)[-1]
        weights = receptive_fields.stack_weights(kernel, layers, channels)
        assert own[2] == f"{weights:,}"
        found = page.evaluate("([k, n]) => fields.fieldsOf(k, n)", [kernel, layers])
        assert found == receptive_fields.stack_fields(kernel, layers)
        three = receptive_fields.stack_weights(3, 3, channels)
        assert rows[2].locator("td").all_inner_texts()[2] == f"{three:,}"


def framed(page: Page) -> list[list[int]]:
    """Rows and columns, from .. to before, of the frame on the photo."""
    x, y, w, h = (
        int(page.locator("#photo .frame").get_attribute(name) or -1)
        for name in ("x", "y", "width", "height")
    )
    return [[y, y + h], [x, x + w]]


@pytest.mark.parametrize(
    ("net", "layer", "unit"),
    [
        ("vgg16", "features.30", (0, 6)),
        ("lenet5", "features.c3", (9, 4)),
        ("googlenet_2014", "inception3a", (27, 13)),
        ("squeezenet1_1", "features.3", (54, 54)),
        ("resnet50", "layer2.0", (0, 27)),
    ],
)
def test_a_unit_sees_on_the_page_what_the_library_says(
    net: str, layer: str, unit: tuple[int, int], opened: Browser, folder: Path
) -> None:
    box = describe(net).graph.receptive_box(layer, unit)
    assert box is not None
    with shown(opened, folder, "receptive-fields") as page:
        page.locator("#nets").select_option(net)
        page.get_by_role("button", name=layer, exact=True).click()
        slide(page, "row", unit[0] + 1)
        slide(page, "column", unit[1] + 1)
        assert framed(page) == [list(span) for span in box]


def test_units_are_chosen_by_pressing_map_or_photo(opened: Browser, folder: Path) -> None:
    graph = describe("vgg16").graph
    with shown(opened, folder, "receptive-fields") as page:
        page.get_by_role("button", name="features.30", exact=True).click()
        assert page.locator("#row").input_value() == "4"
        place = page.locator("#map").bounding_box()
        assert place is not None
        page.locator("#map").click(position={"x": place["width"] - 3, "y": 3})
        box = graph.receptive_box("features.30", (0, 6))
        assert box is not None
        assert framed(page) == [list(span) for span in box]
        page.locator("#photo").click(position={"x": 2, "y": place["width"] - 2})
        assert "row 7, column 1" in page.locator("#said").inner_text()
        page.get_by_text("The middle unit").click()
        assert "row 4, column 4" in page.locator("#said").inner_text()


def test_a_photo_of_the_readers_own_is_cropped_and_a_bad_one_is_said(
    opened: Browser, folder: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (90, 50), (200, 30, 40)).save(tmp_path / "red.png")
    with shown(opened, folder, "receptive-fields") as page:
        before = page.locator("#photo image").get_attribute("href")
        page.locator("#drop input").set_input_files(tmp_path / "red.png")
        page.wait_for_function(
            "before => document.querySelector('#photo image').getAttribute('href') !== before",
            arg=before,
        )
        page.locator("#drop input").set_input_files(
            {"name": "<b>.txt", "mimeType": "text/plain", "buffer": b"no photo"}
        )
        page.get_by_text("<b>.txt is no picture").wait_for()


# 1 × 1 convolutions, Inception, DepthConcat


def test_channels_and_filters_of_the_readers_own(opened: Browser, folder: Path) -> None:
    channels = [[list(row) for row in plane] for plane in inception.CHANNELS]
    filters = [list(row) for row in inception.FILTERS]
    channels[2][0][1], filters[1][0] = 7.5, -2
    with shown(opened, folder, "inception") as page:
        assert page.locator("#sum").inner_text().endswith("5·3 + 4·1 = 19")
        page.get_by_label("channel 3, row 1, column 2").fill("7.5")
        page.get_by_label("filters, row 2, column 1").fill("-2")
        page.get_by_label("result 2, row 1, column 2").click()
        expected = inception.mix(channels, filters)
        for at in range(2):
            found = [float(x) for x in page.locator(f"#mixed{at} > *").all_text_contents()]
            assert found == [value for row in expected[at] for value in row]
        assert sum_of(page) == expected[1][0][1]
        page.locator("h1").click()
        page.keyboard.press("ArrowRight")
        assert "Row 1, column 3" in page.locator("#sum").inner_text()


@pytest.mark.parametrize(
    "given",
    [
        {"side": 28, "inputs": 192, "outputs": 32, "reduce": 16, "kernel": 5},
        {"side": 7, "inputs": 832, "outputs": 384, "reduce": 192, "kernel": 3},
        {"side": 56, "inputs": 16, "outputs": 16, "reduce": 16, "kernel": 7},
    ],
)
def test_what_a_bottleneck_saves(given: dict[str, int], opened: Browser, folder: Path) -> None:
    expected = inception.bottleneck(**given)
    with shown(opened, folder, "inception") as page:
        page.locator("#kernel").select_option(str(given["kernel"]))
        for name, key in (("inputs-n", "inputs"), ("reduce", "reduce"), ("outputs", "outputs")):
            slide(page, name, given[key])
        slide(page, "side", given["side"])
        assert page.evaluate("g => inception.bottleneck(g)", given) == expected
        assert page.locator("#macs-direct").inner_text() == f"{expected['direct'][0][1]:,}"
        both = sum(macs for _, macs in expected["reduced"])
        assert page.locator("#macs-reduced").inner_text() == f"{both:,}"


def test_the_nine_modules_and_one_of_the_readers_own(opened: Browser, folder: Path) -> None:
    with shown(opened, folder, "inception") as page:
        for name, module in load("inception").data["modules"].items():
            page.locator("#modules").select_option(name)
            found = page.evaluate("m => inception.moduleRows(m.inputs, m.side, m.widths)", module)
            assert found == module["rows"]
            total = sum(row["macs"] for row in module["rows"])
            assert page.locator("#costs .sum td").last.inner_text() == f"{total:,}"
        widths = [10, 20, 30, 4, 5, 6]
        page.get_by_label("takes").fill("12")
        page.get_by_label("side", exact=True).fill("9")
        for at, width in enumerate(widths):
            page.locator(f"#width{at}").fill(str(width))
        page.locator("#width5").press("Tab")
        rows = inception.module_rows(Inception(12, *widths), 12, 9)
        for key, at in (("weights", 1), ("biases", 2), ("macs", 3)):
            total = sum(row[key] for row in rows)
            assert page.locator("#costs .sum td").nth(at).inner_text() == f"{total:,}"
        assert "10 + 30 + 5 + 6 = 51 channels, 51 × 9 × 9" in page.locator("#joint").inner_text()


@pytest.mark.parametrize("placement", ["centre", "top_left"])
def test_maps_of_other_sizes_are_joined(
    placement: Placement, opened: Browser, folder: Path
) -> None:
    sizes = [2, 7, 4]
    with shown(opened, folder, "inception") as page:
        for at, side in enumerate(sizes):
            page.locator(f"#size{at}").fill(str(side))
            page.locator(f"#size{at}").press("Tab")
        page.locator("#placement").select_option(placement)
        expected = inception.joined(sizes, placement)
        for at, plane in enumerate(expected):
            cells = page.locator("#joined .cells").nth(at).locator("> *").all_text_contents()
            assert [float(x) for x in cells] == [value for row in plane for value in row]


# Convolutions over time


def test_the_slides_series_step_by_step(opened: Browser, folder: Path) -> None:
    with shown(opened, folder, "causal") as page:
        assert page.locator("#result > *").all_text_contents() == ["20", "50", "80"]
        assert sum_of(page) == 20
        page.keyboard.press("ArrowRight")
        assert page.locator("#sum").inner_text().endswith("10·1 + 20·2 = 50")
        page.get_by_label("result at step 3").click()
        assert sum_of(page) == 80


@pytest.mark.parametrize(
    ("series", "kernel", "dilation"),
    [([3, 1, 4, 1, 5, 9, 2.5], [1, -2, 0.5], 2), ([7], [1, 2, 3, 4], 8), ([1, 2], [-3], 1)],
)
def test_a_series_of_the_readers_own(
    series: list[float], kernel: list[float], dilation: int, opened: Browser, folder: Path
) -> None:
    with shown(opened, folder, "causal") as page:
        page.get_by_label("Series").first.fill(" ; ".join(map(str, series)))
        page.get_by_label("Filter").first.fill("  ".join(map(str, kernel)))
        page.get_by_label("Dilation", exact=True).fill(str(dilation))
        page.get_by_label("Dilation", exact=True).press("Tab")
        found = [float(x) for x in page.locator("#result > *").all_text_contents()]
        expected = causal.convolve(series, kernel, dilation)
        assert found == pytest.approx(expected)
        page.locator("#result > *").last.click()
        assert sum_of(page) == pytest.approx(expected[-1])
        page.get_by_label("Series").first.fill("1 two 3")
        page.get_by_label("Series").first.press("Tab")
        assert "The series is numbers" in page.locator("#fault").inner_text()


@pytest.mark.parametrize(("kernel", "layers", "base"), [(2, 4, 2), (3, 3, 3), (5, 6, 2), (4, 1, 1)])
def test_what_a_stack_looks_back(
    kernel: int, layers: int, base: int, opened: Browser, folder: Path
) -> None:
    dilations = [base**at for at in range(layers)]
    with shown(opened, folder, "causal") as page:
        for name, value in (("kernel", kernel), ("layers", layers), ("base", base)):
            slide(page, name, value)
        for name, those in (("dilated", dilations), ("plain", [1] * layers)):
            back = causal.stack_look_back(kernel, those)
            assert (
                f"= {back} steps, and sees {back + 1}" in page.locator(f"#{name}-said").inner_text()
            )
            length = int(page.locator("#output").input_value())
            found = page.evaluate(
                "([k, d, r, t]) => causal.lit(k, d, r, t)", [kernel, those, layers, length - 1]
            )
            assert found == causal.lit(kernel, those, length)
            drawn = page.locator(f"#{name} .lit, #{name} .chosen").count()
            assert drawn == sum(map(len, found))


def test_a_unit_of_any_layer_can_be_pressed(opened: Browser, folder: Path) -> None:
    with shown(opened, folder, "causal", width=375) as page:
        unit = page.locator("#dilated circle").nth(2 * 18 + 16)  # layer 2, step 17
        unit.click()
        assert (
            "A unit of layer 2 looks back 1·1 + 1·2 = 3 steps"
            in page.locator("#dilated-said").inner_text()
        )
        assert page.locator("#dilated .lit").count() == 4 + 2
        slide(page, "output", 5)
        assert "reaches beyond" in page.locator("#dilated-said").inner_text()


def test_how_deep_a_network_has_to_be(opened: Browser, folder: Path) -> None:
    with shown(opened, folder, "causal") as page:
        for kernel in (2, 3, 5):
            wanted = [*range(1, 60), 127, 128, 300, 400]
            found = page.evaluate(
                "([all, k]) => all.map((w) => causal.dilationsFor(w, k))", [wanted, kernel]
            )
            assert found == [list(dilations_for(back, kernel)) for back in wanted]
        slide(page, "kernel", 3)
        slide(page, "wanted", 60)
        said = ", ".join(map(str, dilations_for(60, 3)))
        assert f"with dilations {said}: " in page.locator("#deep").inner_text()
