"""The picture of what units see: every box and every line in it is the geometry's."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ElementTree
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from convscope.describing import describe
from convscope.errors import ConvscopeError, InputError, PhotoError
from convscope.field_picture import field_picture, write_field_picture
from convscope.geometry import NetGraph, Node, trace
from convscope.nets.catalog import NETS
from convscope.nets.resnet import resnet50
from convscope.nets.tcn import TCN, PlainTCN
from convscope.pictures.layers import MOST, choose, growth
from convscope.pictures.rows import leading, rows_of
from convscope.pictures.stack import look_back_in_words

SVG = "{http://www.w3.org/2000/svg}"
Element = ElementTree.Element


@cache
def graph(name: str) -> NetGraph:
    return describe(name).graph


@cache
def drawn(name: str) -> str:
    return field_picture(graph(name), name=name)


def root(picture: str) -> Element:
    return ElementTree.fromstring(picture)


def of_class(tree: Element, name: str) -> list[Element]:
    return [each for each in tree.iter() if each.get("class") == name]


def description(picture: str) -> str:
    found = root(picture).find(f"{SVG}desc")
    assert found is not None and found.text is not None
    return found.text


def said(tree: Element) -> list[str]:
    return [each.text or "" for each in tree.iter(f"{SVG}text")]


def boxes(picture: str) -> dict[str, tuple[float, ...]]:
    """Layer -> x, y, width, height, in the pixels of the photo."""
    found = {}
    for field in of_class(root(picture), "field"):
        (rect,) = of_class(field, "box")
        found[field.attrib["data-layer"]] = tuple(
            float(rect.attrib[key]) for key in ("x", "y", "width", "height")
        )
    return found


def middle(node: Node) -> tuple[int, ...]:
    assert node.grid is not None
    return tuple(size // 2 for size in node.grid)


PHOTO_NETS = [name for name, spec in NETS.items() if len(spec.input) == 3]
SERIES_NETS = [name for name, spec in NETS.items() if len(spec.input) == 2]


# The file


@pytest.mark.parametrize("name", NETS)
def test_every_network_of_the_catalogue_gives_one_file_that_needs_no_other(name: str) -> None:
    picture = drawn(name)
    tree = root(picture)
    assert tree.get("viewBox") is not None
    assert said(tree)[0] == name
    assert {each.tag.removeprefix(SVG) for each in tree.iter()} <= {
        "svg", "title", "desc", "style", "defs", "image", "pattern", "g", "use", "rect", "circle",
        "path", "text",
    }  # fmt: skip
    for each in tree.iter():
        for key, value in each.attrib.items():
            assert not key.startswith("on")
            if "href" in key:
                assert value.startswith(("#", "data:image/"))
    assert re.findall(r"https?://[^\"]*", picture) == ["http://www.w3.org/2000/svg"]
    assert set(re.findall(r"url\(([^)]*)\)", picture)) <= {"#padding"}
    assert len(picture.encode()) < 120_000


@pytest.mark.parametrize("name", ["vgg16", "lenet5", "tcn"])
def test_the_same_network_gives_the_same_picture(name: str) -> None:
    assert field_picture(describe(name).graph, name=name) == drawn(name)


def test_names_are_text_and_never_markup() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module("<b>&", nn.Conv2d(3, 4, 5))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.get_submodule("<b>&")(x)
            return out

    picture = field_picture(trace(Odd(), (3, 40, 40)), name="</svg><script>\ud800" + "x" * 80)
    tree = root(picture)
    assert not list(tree.iter(f"{SVG}script")) and not list(tree.iter("script"))
    assert "<b>&" in said(tree)
    assert "�" in said(tree)[0] or said(tree)[0].startswith("…")


# Photos


@pytest.mark.parametrize("name", PHOTO_NETS)
def test_the_boxes_are_the_receptive_boxes_of_the_middle_units(name: str) -> None:
    found = boxes(drawn(name))
    assert 1 <= len(found) <= MOST
    for layer, box in found.items():
        node = graph(name).layer(layer)
        spans = graph(name).receptive_box(node, middle(node))
        assert spans is not None
        rows, columns = spans
        assert box == (columns.start, rows.start, columns.size, rows.size), layer


def test_boxes_by_hand() -> None:
    """LeNet-5 has no padding; VGG's convolutions have 1 each, and so 90 pixels before pool5."""
    assert boxes(drawn("lenet5")) == {
        "features.c1": (14, 14, 5, 5),
        "features.s2": (14, 14, 6, 6),
        "features.c3": (10, 10, 14, 14),
        "features.s4": (8, 8, 16, 16),
        "features.c5": (0, 0, 32, 32),
    }
    vgg16 = boxes(drawn("vgg16"))
    assert vgg16["features.30"] == (3 * 32 - 90, 3 * 32 - 90, 212, 212)
    assert vgg16["classifier.0"] == (0, 0, 224, 224)


def test_photo_and_boxes_share_the_pixels_of_the_input() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, (3, 5), padding=(1, 2)), nn.MaxPool2d((1, 2), (1, 2)))
    tree = root(field_picture(trace(net, (3, 30, 50)), name="wide"))
    (panel,) = [
        each for each in tree.iter(f"{SVG}svg") if of_class(each, "field") and each is not tree
    ]
    assert panel.get("viewBox") == "0 0 50 30"
    assert float(panel.attrib["width"]) / float(panel.attrib["height"]) == pytest.approx(
        5 / 3, 0.01
    )
    (image,) = tree.iter(f"{SVG}image")
    assert (image.get("width"), image.get("height")) == ("50", "30")
    assert "6 × 3" in " ".join(said(tree))  # width first


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        (
            "squeezenet1_0",
            ["features.0", "features.5", "features.10", "features.12", "classifier.3"],
        ),
        ("resnet152", ["conv1", "layer1", "layer2", "layer3", "layer4", "avgpool"]),
        (
            "googlenet_2014",
            ["conv1", "conv3", "inception3b", "inception4e", "inception5b", "avgpool"],
        ),
        ("fcnn", ["features.1"]),
        ("small_cnn", ["features.conv2", "features.conv4", "features.pool4", "hidden.1"]),
    ],
)  # fmt: skip
def test_which_layers_are_shown(name: str, layers: list[str]) -> None:
    assert [seen.name for seen in choose(graph(name))] == layers


@pytest.mark.parametrize("name", PHOTO_NETS)
def test_layers_come_in_order_and_their_fields_grow(name: str) -> None:
    shown = choose(graph(name))
    even = [seen for seen in shown if None not in seen.jump]
    assert all(a.depth < b.depth and a.size[0] < b.size[0] for a, b in pairwise(even))
    deepest = max((max(f.size for f in graph(name).field(n) or ()) for n in graph(name).nodes
                   if graph(name).field(n) and None not in
                   [f.jump for f in graph(name).field(n) or ()]), default=1)  # fmt: skip
    if even:
        assert max(even[-1].size) == deepest


def test_many_sizes_are_thinned_out() -> None:
    net = nn.Sequential(*(nn.Conv2d(3, 3, 3) for _ in range(20)))
    shown = choose(trace(net, (3, 64, 64)))
    assert len(shown) == MOST
    assert (shown[0].size, shown[-1].size) == ((3, 3), (41, 41))


def test_both_ways_of_a_u_net_are_shown() -> None:
    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Conv2d(3, 4, 3, padding=1)
            self.pool = nn.MaxPool2d(2)
            self.deep = nn.Conv2d(4, 4, 3, padding=1)
            self.up = nn.Upsample(scale_factor=2)
            self.out = nn.Conv2d(8, 2, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            wide = self.down(x)
            out: Tensor = self.out(torch.cat([wide, self.up(self.deep(self.pool(wide)))], 1))
            return out

    assert [seen.name for seen in choose(trace(UNet(), (3, 32, 32)))] == ["down", "deep", "out"]


def test_how_the_field_of_vgg16_grows() -> None:
    by_hand = (1, 3, 5, 6, 10, 14, 16, 24, 32, 40, 44, 60, 76, 92, 100, 132, 164, 196, 212)
    assert growth(graph("vgg16")) == by_hand


def test_branches_count_once() -> None:
    """GoogLeNet: 7 x 7, pool, 3 x 3, pool; 9 modules of a 5 x 5 branch; 2 pools between them."""
    grown = growth(graph("googlenet_2014"))
    assert len(grown) - 1 == 4 + 9 + 2
    assert growth(graph("fcnn")) == (1,)


def test_what_is_said_of_fields_beyond_the_photo() -> None:
    paper = field_picture(trace(resnet50(stride_in="1x1"), (3, 224, 224)), name="paper")
    assert "layer4 sees 483 × 483 pixels: the whole photo and padding around it." in description(
        paper
    )
    common = description(drawn("resnet50"))
    assert "layer4 sees 427 × 427 pixels: the whole photo and padding around it." in common
    assert "conv1 sees 7 × 7 pixels: 0.1 % of the photo." in common
    vgg16 = description(drawn("vgg16"))
    assert "features.28 sees 196 × 196 pixels: 77 % of the photo." in vgg16
    assert (
        "classifier.0 sees 224 × 224 pixels: the whole photo, as all layers after it do." in vgg16
    )


def test_a_field_that_lies_partly_in_the_padding() -> None:
    net = nn.Conv2d(3, 4, 9, padding=4)
    told = description(field_picture(trace(nn.Sequential(net), (3, 9, 7)), name="net"))
    assert "0 sees 9 × 9 pixels: the whole photo and padding around it." in told
    off = nn.Sequential(nn.ZeroPad2d((16, 0, 0, 0)), nn.Conv2d(3, 4, 9, stride=4))
    told = description(field_picture(trace(off, (3, 17, 17)), name="net"))
    assert "% of the photo and some padding." in told


@pytest.mark.parametrize("name", PHOTO_NETS)
def test_no_number_hides_another(name: str) -> None:
    tree = root(drawn(name))
    discs = [each for each in tree if each.tag == f"{SVG}circle" and each.get("class") == "rim"]
    for one, other in pairwise(discs):
        x, y = (float(one.attrib[key]) - float(other.attrib[key]) for key in ("cx", "cy"))
        assert np.hypot(x, y) > 10


def embedded(picture: str) -> Image.Image:
    (image,) = root(picture).iter(f"{SVG}image")
    content = base64.b64decode(image.attrib["href"].partition(",")[2])
    return Image.open(io.BytesIO(content))


def test_ones_own_photo(tmp_path: Path) -> None:
    photo = tmp_path / "red.png"
    pixels = np.zeros((300, 700, 3), np.uint8)
    pixels[:, 200:500] = (255, 0, 0)  # the middle, which is what the network would be given
    Image.fromarray(pixels).save(photo)
    shown = embedded(field_picture(graph("vgg16"), name="vgg16", photo=photo))
    assert shown.size == (224, 224)
    colours = np.asarray(shown.convert("RGB"))[4:-4, 4:-4]
    assert abs(colours.astype(int) - (255, 0, 0)).max() < 12


def test_grey_and_small_photos_stay_what_they_are() -> None:
    shown = embedded(drawn("lenet5"))
    assert (shown.format, shown.mode) == ("PNG", "L")
    squares = np.asarray(shown)
    side = len(squares) // 32
    assert side > 1 and (squares[::side, ::side].repeat(side, 0).repeat(side, 1) == squares).all()
    assert embedded(drawn("resnet20_cifar")).mode == "RGB"


# Series


@pytest.mark.parametrize("name", SERIES_NETS)
def test_the_bright_inputs_are_those_that_the_last_output_sees(name: str) -> None:
    net = graph(name)
    first = of_class(root(drawn(name)), "row")[0]
    on = [int(each.attrib["data-unit"]) for each in first if each.get("class") == "on"]
    mask = net.receptive_mask(net.nodes[-1], (0,))
    assert on == np.flatnonzero(mask).tolist()
    assert len(first) == net.input[1]


def test_the_lines_of_a_binary_tree() -> None:
    """Kernel 2, dilations 1, 2, 4, 8: 16 inputs, 30 lines, and one to the output."""
    net = trace(PlainTCN(kernel_size=2, dilations=(1, 2, 4, 8)), (1, 16))
    picture = field_picture(net, name="tree")
    paths = [each.attrib["d"] for each in of_class(root(picture), "lead")]
    assert sum(path.count("L") for path in paths) == 2 + 4 + 8 + 16 + 1
    assert [int(mask.sum()) for mask in leading(rows_of(net))] == [16, 8, 4, 2, 1, 1]
    assert "sees 16 steps: now and 15 back" in description(picture)


def test_every_connection_of_a_convolution_is_drawn() -> None:
    net = trace(PlainTCN(kernel_size=3, dilations=(2,)), (1, 10))
    (faint, _) = of_class(root(field_picture(net, name="net")), "thread")
    # Three each; 2 of the first two units' and one of the next two's lie in the padding.
    assert faint.attrib["d"].count("L") == 10 + 8 + 6


def test_shortcuts_lead_into_the_row_that_ends_their_block() -> None:
    net = trace(TCN(channels=(8, 8), dilations=(1, 2)), (1, 16))
    rows = rows_of(net)
    assert len(rows) == 1 + 4 + 1
    assert [sorted(below for below, _ in row.links) for row in rows] == [
        [], [0], [0, 1], [2], [2, 3], [4],
    ]  # fmt: skip
    picture = field_picture(net, name="net")
    assert "dashed: shortcuts" in " ".join(said(root(picture)))
    assert sum(each.attrib["d"].count("Q") for each in of_class(root(picture), "skip")) == 5 + 1
    assert "dashed" not in drawn("tcn_plain")


@pytest.mark.parametrize(
    ("net", "steps", "words"),
    [
        (PlainTCN(), 64, "sees 61 steps: now and 60 back"),
        (PlainTCN(kernel_size=3, dilations=(1, 2, 4, 8)), 64, "sees 31 steps: now and 30 back"),
        (PlainTCN(), 20, "sees 61 steps: now and 60 back; the input has only 20"),
        (TCN(), 64, "sees 61 steps: now and 60 back"),
        (PlainTCN(kernel_size=1, dilations=(1,)), 8, "sees 1 step: now"),
        (PlainTCN(kernel_size=2, dilations=(4,)), 8, "sees 2 of the last 5 steps"),
        (nn.Sequential(nn.Conv1d(1, 2, 3), nn.AdaptiveAvgPool1d(1)), 40, "sees all 40 steps"),
        (nn.Sequential(nn.Conv1d(1, 2, 3, padding=1)), 40, "sees 2 of 40 steps"),
    ],
)
def test_how_far_back_in_words(net: nn.Module, steps: int, words: str) -> None:
    """Against the networks' own look-back where they have one."""
    traced = trace(net, (1, steps))
    assert look_back_in_words(traced) == words
    assert f"The last output {words}" in description(field_picture(traced, name="net"))
    if isinstance(net, PlainTCN | TCN) and "now and" in words:
        assert f"now and {net.look_back} back" in words


def test_of_long_series_the_end_is_drawn_and_said_so() -> None:
    picture = field_picture(trace(PlainTCN(), (1, 500)), name="long")
    assert "drawn: the last 72 of 500 steps" in said(root(picture))
    assert len(of_class(root(picture), "row")[0]) == 72
    whole = nn.Sequential(nn.Conv1d(1, 4, 5, stride=2), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    tree = root(field_picture(trace(whole, (1, 500)), name="pooled"))
    assert len(of_class(tree, "out")) == 1


# What goes wrong


def fails(message: str, *arguments: object, **options: object) -> None:
    with pytest.raises(ConvscopeError, match=message) as caught:
        write_field_picture(*arguments, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, PhotoError)


def test_a_target_that_is_no_svg_or_cannot_be_written(tmp_path: Path) -> None:
    fails(r"does not end in \.svg", "vgg16", tmp_path / "vgg16.png")
    (tmp_path / "file").write_text("in the way")
    fails(r"cannot be written \(", "lenet5", tmp_path / "file" / "a.svg")
    (tmp_path / "folder.svg").mkdir()
    fails(r"folder\.svg cannot be written \(", "lenet5", tmp_path / "folder.svg")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder.svg"]


def test_a_photo_that_is_none(tmp_path: Path) -> None:
    target = tmp_path / "out.svg"
    fails("is no usable photo: cannot be read", "vgg16", target, photo=tmp_path / "absent.jpg")
    (tmp_path / "text.jpg").write_text("no photo")
    fails(
        "text.jpg is no usable photo: not a picture", "vgg16", target, photo=tmp_path / "text.jpg"
    )
    fails("takes a series", "tcn", target, photo=tmp_path / "text.jpg")
    assert not target.exists()


def test_networks_that_cannot_be_drawn(tmp_path: Path) -> None:
    class Untraceable(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(1, 2, batch_first=True)
            self.out = nn.Linear(2, 1)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.out(self.lstm(x.transpose(1, 2))[0][:, -1])
            return out

    target = tmp_path / "out.svg"
    fails("Unknown net 'vgg61'. Did you mean 'vgg1", "vgg61", target)
    fails("receptive fields of x are not known", trace(Untraceable(), (3, 8, 8)), target, name="x")
    fails("out, the last layer, sees is not known", trace(Recurrent(), (1, 9)), target)
    fails("3 spatial axes", trace(nn.Conv3d(1, 1, 3), (1, 8, 8, 8)), target, name="x")
    fails("more than one pixel", trace(nn.Conv2d(3, 2, 1), (3, 8, 8)), target, name="x")
    fails("Pictures are of inputs up to 1024", trace(nn.Conv2d(3, 2, 3), (3, 8, 2000)), target)
    assert not target.exists()


def test_a_picture_is_written(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "lenet5.SVG"
    write_field_picture("lenet5", target)
    assert target.read_text(encoding="utf-8") == drawn("lenet5")
    write_field_picture(graph("lenet5"), target)
    assert said(root(target.read_text(encoding="utf-8")))[0] == "network"


def test_input_errors_end_with_the_code_of_wrong_usage() -> None:
    with pytest.raises(InputError):
        field_picture(graph("tcn"), name="tcn", photo=Path("any.jpg"))
