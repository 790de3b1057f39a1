"""Lessons 2, 4, 5 and 7: their numbers against ones worked out by hand, and against torch."""

from __future__ import annotations

import io
from functools import cache

import pytest
import torch
from rich.console import Console
from torch import nn

from convscope.describing import describe
from convscope.forecast.depth import dilations_for
from convscope.lessons import catalog, causal, inception, pattern, receptive_fields
from convscope.lessons.terminal import tell

load = cache(catalog.load)


def printed(name: str) -> str:
    text = io.StringIO()
    tell(load(name), Console(file=text, width=160))
    return text.getvalue()


# One filter looks for one pattern


def test_the_curve_detectors_answers_are_those_of_the_slides() -> None:
    """By hand: 0·30 + 50·30 + 20·30 + 3 · 50·30 = 6600; row 7 adds 50·30 to both patches."""
    without, drawn = pattern.detector(row_7=False), pattern.detector(row_7=True)
    assert pattern.answer(pattern.CURVE, without) == 6600
    assert pattern.answer(pattern.OTHER, without) == 0
    assert pattern.answer(pattern.CURVE, drawn) == 8100
    assert pattern.answer(pattern.OTHER, drawn) == 1500
    # counted from 1, as the slides have it
    columns = [[c + 1 for c, weight in enumerate(row) if weight == 30] for row in drawn]
    assert columns == [[6], [5], [4], [4], [4], [4], [4]]
    assert sum(weight != 0 for row in drawn for weight in row) == 7
    data = load("pattern").data
    assert data["answers"] == {
        "without": {"curve": 6600, "other": 0},
        "with": {"curve": 8100, "other": 1500},
    }


def test_both_patches_are_parts_of_the_drawing() -> None:
    data = load("pattern").data
    for name in ("curve", "other"):
        r, c = data["places"][name]
        assert [row[c : c + 7] for row in data["picture"][r : r + 7]] == data[name]
    (r, c), (r_other, c_other) = data["places"]["curve"], data["places"]["other"]
    assert data["over"][r][c] == 6600
    assert data["over"][r_other][c_other] == 0


def test_the_hottest_place_is_at_the_mouses_back() -> None:
    """By hand: all six 30s lie on 50s, 6 · 1500."""
    data = load("pattern").data
    r, c = data["hottest"]
    assert [r, c] == [6, 5]
    assert data["over"][r][c] == 9000 == max(value for row in data["over"] for value in row)
    assert len(data["over"]) == len(data["picture"]) - 6
    assert pattern.hottest([[1, 3], [3, 2]]) == (0, 1)


@pytest.mark.parametrize("said", ["= 6600", "= 8100", "= 1500", "row 7, column 6"])
def test_the_pattern_in_the_terminal(said: str) -> None:
    assert said in printed("pattern")


# What a unit sees


def test_two_and_three_3x3_against_one_7x7() -> None:
    data = load("receptive-fields").data
    assert [one["fields"] for one in data["stacks"]] == [[7], [3, 5], [3, 5, 7]]
    assert [one["weights"] for one in data["stacks"]] == [49, 18, 27]
    for channels in (1, 3, 64, 512):
        found = [receptive_fields.stack_weights(*one, channels) for one in receptive_fields.STACKS]
        assert found == [49 * channels**2, 18 * channels**2, 27 * channels**2]


@pytest.mark.parametrize(
    ("net", "fields"),
    [
        ("vgg16", [3, 5, 6, 10, 14, 16, 24, 32, 40, 44, 60, 76, 92, 100, 132, 164, 196, 212]),
        ("alexnet", [11, 19, 51, 67, 99, 131, 163, 195]),
        ("lenet5", [5, 6, 14, 16, 32]),
    ],
)
def test_fields_as_worked_out_by_hand(net: str, fields: list[int]) -> None:
    """Each is the one before plus (kernel - 1) times the product of the strides so far."""
    layers = load("receptive-fields").data["networks"][net]["layers"]
    assert [layer["field"] for layer in layers if layer["jump"] is not None] == fields


@pytest.mark.parametrize("net", receptive_fields.NETWORKS)
def test_what_units_see_is_exact_also_at_the_borders(net: str) -> None:
    graph = describe(net).graph
    shown = receptive_fields.network(net, receptive_fields.NETWORKS[net])
    assert receptive_fields.unit_spans(graph, 0) == receptive_fields.unit_spans(graph, 1)
    for layer in shown["layers"][:: 3 if len(shown["layers"]) > 9 else 1]:
        spans = layer["spans"]
        last = len(spans) - 1
        for unit in {(0, 0), (last, 0), (last // 2, last), (last // 3, last // 2)}:
            box = graph.receptive_box(layer["name"], unit)
            assert box is not None
            assert [list(span) for span in box] == [spans[at] for at in unit], layer["name"]


def test_a_unit_at_the_border_sees_less_than_the_formula_says() -> None:
    """SqueezeNet's first layer, 3 wide and 2 apart, ends at pixel 223 of 224."""
    layers = load("receptive-fields").data["networks"]["squeezenet1_1"]["layers"]
    assert layers[0]["spans"][-1] == [220, 223]
    wide = next(layer for layer in layers if layer["field"] > 30)
    assert wide["spans"][-1][1] == 223


def test_fields_in_the_terminal() -> None:
    text = printed("receptive-fields")
    for said in ("3 + 2 = 5", "= 49·C²", "C = 64: 110,592", "196 + 1·16 = 212"):
        assert said in text


# 1 × 1 convolutions, Inception, DepthConcat


def test_a_1x1_convolution_is_a_dot_product_over_channels() -> None:
    """In the middle the channels are 1, 5, 4: 1 - 5 + 8 = 4, and 0 + 15 + 4 = 19."""
    data = load("inception").data
    assert [plane[1][1] for plane in data["channels"]] == [1, 5, 4]
    assert data["filters"] == [[1, -1, 2], [0, 3, 1]]
    assert [plane[1][1] for plane in data["mixed"]] == [4, 19]
    assert data["mixed"][0] == [[5, 1, 5], [3, 4, 4], [-1, 5, 4]]
    assert data["mixed"][1] == [[2, 3, 6], [7, 19, 1], [3, 2, 7]]


def test_a_bottleneck_saves_what_the_course_says() -> None:
    """25 · 192 · 32 = 153,600 weights; 192 · 16 + 25 · 16 · 32 = 15,872; each times 28 · 28."""
    costs = load("inception").data["bottleneck"]
    assert costs["direct"] == [[153_600, 120_422_400]]
    assert costs["reduced"] == [[3_072, 2_408_448], [12_800, 10_035_200]]
    assert sum(macs for _, macs in costs["reduced"]) == 12_443_648


@pytest.mark.parametrize("channels", [16, 1])
def test_a_bottleneck_of_equal_channels_has_its_kernel_last(channels: int) -> None:
    costs = inception.bottleneck(side=4, inputs=16, outputs=channels, reduce=channels, kernel=3)
    assert [weights for weights, _ in costs["reduced"]] == [16 * channels, 9 * channels**2]


def test_the_nine_modules_are_those_of_googlenet() -> None:
    data = load("inception").data["modules"]
    assert list(data) == ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
    assert data["3a"]["inputs"] == 192
    assert data["3a"]["widths"] == [64, 96, 128, 16, 32, 32]
    # 192·64, 192·96, 9·96·128, 192·16, 25·16·32, pool, 192·32
    weights = [row["weights"] for row in data["3a"]["rows"]]
    assert weights == [12_288, 18_432, 110_592, 3_072, 12_800, 0, 6_144]
    described = describe("googlenet_2014").folded(1)
    for name, module in data.items():
        whole = next(row for row in described.layers if row.name == f"inception{name}")
        rows = module["rows"]
        ends = {row["branch"]: row["outputs"] for row in rows}
        assert whole.output == (sum(ends.values()), module["side"], module["side"])
        assert whole.parameters == sum(row["weights"] + row["biases"] for row in rows)
        assert whole.macs == sum(row["macs"] for row in rows)


def test_depth_concat_puts_zeros_around_smaller_maps() -> None:
    """5 - 2 = 3 rows are missing: 1 above and 2 below."""
    data = load("inception").data
    assert data["sizes"] == [5, 3, 2]
    small = [[3.0 if r in (1, 2) and c in (1, 2) else 0.0 for c in range(5)] for r in range(5)]
    assert data["joined"]["centre"][2] == small
    assert data["joined"]["top_left"][2][0] == [3, 3, 0, 0, 0]


def test_mixing_is_a_layer_of_torch() -> None:
    layer = nn.Conv2d(3, 2, 1, bias=False, dtype=torch.float64)
    planes = torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = layer.weight[:, :, 0, 0].tolist()
    assert torch.allclose(torch.tensor(inception.mix(planes.tolist(), weights)).double(),
                          layer(planes).detach(), atol=1e-6)  # fmt: skip


@pytest.mark.parametrize(
    "said",
    ["1·1 + 5·(-1) + 4·2 = 4", "9.7 times less", "64 + 128 + 32 + 32 = 256", "1 of them above"],
)
def test_inception_in_the_terminal(said: str) -> None:
    assert said in printed("inception")


# Convolutions over time


def test_a_causal_convolution_as_on_the_slides() -> None:
    """2 · 10; 1 · 10 + 2 · 20; 1 · 20 + 2 · 30."""
    data = load("causal").data
    assert (data["series"], data["filter"]) == ([10, 20, 30], [1, 2])
    assert data["result"] == [20, 50, 80]
    assert data["taps"] == [[-1, 0], [0, 1], [1, 2]]


def test_dilation_skips_steps() -> None:
    """By hand, dilation 2: y(t) = 1 · x(t - 2) + 2 · x(t)."""
    assert causal.convolve([1, 2, 3, 4], [1, 2], dilation=2) == [2, 4, 7, 10]


def test_no_output_knows_a_later_step() -> None:
    one = causal.convolve([3, 1, 4, 1, 5], [2, -1, 0.5], 1)
    other = causal.convolve([3, 1, 4, 9, 9], [2, -1, 0.5], 1)
    assert one[:3] == other[:3]
    assert one[3] != other[3]


def test_four_layers_look_back_4_or_15_steps() -> None:
    stacks = load("causal").data["stacks"]
    assert stacks["plain"]["look_back"] == 4
    assert stacks["dilated"]["look_back"] == 1 + 2 + 4 + 8
    assert stacks["plain"]["lit"] == [
        [11, 12, 13, 14, 15], [12, 13, 14, 15], [13, 14, 15], [14, 15], [15],
    ]  # fmt: skip
    odd = [1, 3, 5, 7, 9, 11, 13, 15]
    assert stacks["dilated"]["lit"] == [
        list(range(16)), odd, [3, 7, 11, 15], [7, 15], [15],
    ]  # fmt: skip


def test_how_deep_for_a_look_back() -> None:
    """1 + 2 + 4 + 8 + 16 = 31 are too few for 36; 5 more would do, in steps of 4 it is 8."""
    data = load("causal").data
    assert data["wanted"] == 36
    assert data["deep"] == {"dilations": [1, 2, 4, 8, 16, 8], "look_back": 39}
    assert tuple(data["deep"]["dilations"]) == dilations_for(36, 2)


@pytest.mark.parametrize("said", ["10·1 + 20·2 = 50", "= 15 steps back", "without dilation 36"])
def test_causal_in_the_terminal(said: str) -> None:
    assert said in printed("causal")
