"""Inception, highway, residual and temporal networks against their papers, autograd and hand."""

import copy
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import Tensor, fx, nn
from torch.nn import functional

from convscope.errors import InputError
from convscope.nets.googlenet import GoogLeNet, GoogLeNet2014, GoogLeNetOutput
from convscope.nets.highway import HighwayCNN, HighwayConv2d, HighwayLayer, HighwayMLP, PlainLayer
from convscope.nets.inception import DepthConcat, Inception, depth_concat
from convscope.nets.resnet import (
    CifarResNet,
    IdentityShortcut,
    ResNet,
    resnet18,
    resnet20_cifar,
    resnet32_cifar,
    resnet34,
    resnet44_cifar,
    resnet50,
    resnet56_cifar,
    resnet101,
    resnet110_cifar,
    resnet152,
)
from convscope.nets.tcn import TCN, CausalConv1d, PlainTCN
from convscope.nets.weights import read_weights

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def at_sizes(net: nn.Module, *shape: int) -> dict[str, tuple[int, ...]]:
    """Output shape of every module, without computing anything: for a net on the meta device."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, module in net.named_modules():
        module.register_forward_hook(
            lambda _m, _i, out, name=name: shapes.update({name: tuple(out.shape)})
        )
    net(torch.empty(shape, device="meta"))
    return shapes


# --- depth concatenation and Inception


def test_depth_concat_centres_the_smaller_map() -> None:
    small, large = torch.ones(1, 2, 14, 14), torch.full((1, 3, 16, 16), 2.0)
    joined = depth_concat([small, large])
    assert joined.shape == (1, 5, 16, 16)
    by_hand = np.zeros((5, 16, 16), np.float32)
    by_hand[:2, 1:15, 1:15] = 1  # one row of zeros above and below, one column left and right
    by_hand[2:] = 2
    np.testing.assert_array_equal(joined[0], by_hand)


def test_depth_concat_puts_the_odd_row_and_column_below_and_right() -> None:
    # Largest height 7 and largest width 6 come from different maps.
    high, wide = torch.ones(1, 1, 7, 3), torch.ones(1, 1, 4, 6)
    joined = depth_concat((high, wide))
    assert joined.shape == (1, 2, 7, 6)
    by_hand = np.zeros((2, 7, 6), np.float32)
    by_hand[0, :, 1:4] = 1  # 3 columns to spare: floor(3 / 2) = 1 left, 2 right
    by_hand[1, 1:5, :] = 1  # 3 rows to spare: 1 above, 2 below
    np.testing.assert_array_equal(joined[0], by_hand)
    by_hand = np.zeros((2, 7, 6), np.float32)
    by_hand[0, :, :3] = by_hand[1, :4, :] = 1
    np.testing.assert_array_equal(depth_concat((high, wide), "top_left")[0], by_hand)


def test_depth_concat_refuses_what_it_cannot_join() -> None:
    with pytest.raises(InputError, match="none"):
        depth_concat([])
    with pytest.raises(InputError, match=re.escape("received: (2, 3)")):
        depth_concat([torch.ones(2, 3)])
    with pytest.raises(InputError, match="Did you mean 'centre'"):
        depth_concat([torch.ones(1, 1, 1, 1)], "center")  # type: ignore[arg-type]


def test_depth_concat_module_and_its_trace_are_one_call() -> None:
    module = DepthConcat([nn.Conv2d(3, 2, 3), nn.Conv2d(3, 4, 5, stride=2), nn.Identity()])
    x = torch.randn(2, 3, 9, 9)
    out = module(x)
    assert out.shape == (2, 9, 9, 9)
    torch.testing.assert_close(out[:, 6:], x)
    torch.testing.assert_close(out[:, :2, 1:8, 1:8], module.branches[0](x))
    torch.testing.assert_close(out[:, 2:6, 3:6, 3:6], module.branches[1](x))
    traced = fx.symbolic_trace(module)
    functions = [node.target for node in traced.graph.nodes if node.op == "call_function"]
    assert functions == [depth_concat]
    # Another size than any it was traced with: the padding is worked out anew.
    other = torch.randn(1, 3, 12, 10)
    torch.testing.assert_close(traced(other), module(other))


def test_inception_is_its_four_branches() -> None:
    inception = Inception(6, 2, 3, 4, 5, 7, 8)
    by_hand = 6 * 2 + 2 + 6 * 3 + 3 + 9 * 3 * 4 + 4 + 6 * 5 + 5 + 25 * 5 * 7 + 7 + 6 * 8 + 8
    assert count(inception) == by_hand
    x = torch.randn(1, 6, 5, 4)
    p = dict(inception.named_parameters())

    def conv(name: str, x: Tensor, padding: int) -> Tensor:
        weight, bias = p[f"{name}.conv.weight"], p[f"{name}.conv.bias"]
        return functional.conv2d(x, weight, bias, padding=padding).clamp(min=0)

    pooled = functional.max_pool2d(functional.pad(x, (1, 1, 1, 1), value=-math.inf), 3, 1)
    parts = [
        conv("branch1", x, 0),
        conv("branch2.1", conv("branch2.0", x, 0), 1),
        conv("branch3.1", conv("branch3.0", x, 0), 2),
        conv("branch4.1", pooled, 0),
    ]
    torch.testing.assert_close(inception(x), torch.cat(parts, 1))


# --- GoogLeNet

# Table 1 of the paper, row by row: type, patch size and stride, output size, and the columns
# #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj; then the parameters as printed, in K.
TABLE_1: list[tuple[str, str, tuple[int, int, int], tuple[int, ...], float | None]] = [
    ("conv1", "7x7/2", (112, 112, 64), (), 2.7),
    ("maxpool1", "3x3/2", (56, 56, 64), (), None),
    ("conv3", "3x3/1", (56, 56, 192), (64, 192), 112),
    ("maxpool2", "3x3/2", (28, 28, 192), (), None),
    ("inception3a", "", (28, 28, 256), (64, 96, 128, 16, 32, 32), 159),
    ("inception3b", "", (28, 28, 480), (128, 128, 192, 32, 96, 64), 380),
    ("maxpool3", "3x3/2", (14, 14, 480), (), None),
    ("inception4a", "", (14, 14, 512), (192, 96, 208, 16, 48, 64), 364),
    ("inception4b", "", (14, 14, 512), (160, 112, 224, 24, 64, 64), 437),
    ("inception4c", "", (14, 14, 512), (128, 128, 256, 24, 64, 64), 463),
    ("inception4d", "", (14, 14, 528), (112, 144, 288, 32, 64, 64), 580),
    ("inception4e", "", (14, 14, 832), (256, 160, 320, 32, 128, 128), 840),
    ("maxpool4", "3x3/2", (7, 7, 832), (), None),
    ("inception5a", "", (7, 7, 832), (256, 160, 320, 32, 128, 128), 1072),
    ("inception5b", "", (7, 7, 1024), (384, 192, 384, 48, 128, 128), 1388),
    ("avgpool", "7x7/1", (1, 1, 1024), (), None),
    ("fc", "", (1, 1, 1000), (), 1000),
]
# Rows whose printed parameters are not what their own columns give: (printed, weights in K of
# 1024). Counting biases moves none of them to the printed figure.
NOT_AS_PRINTED = {
    "conv1": (2.7, 9.2),
    "inception4a": (364, 366.8),
    "inception4b": (437, 438.0),
    "inception4c": (463, 497.5),
    "inception4d": (580, 590.5),
    "inception4e": (840, 847.0),
    "inception5a": (1072, 1018.0),
    "inception5b": (1388, 1409.0),
}


@pytest.fixture(scope="module")
def googlenet_2014() -> GoogLeNet2014:
    with torch.device("meta"):
        return GoogLeNet2014().eval()


def by_columns(row: str, channels: int, columns: tuple[int, ...]) -> tuple[int, int]:
    """Weights and biases of a row of table 1, by hand from its columns."""
    if row == "conv1":
        return 7 * 7 * 3 * 64, 64
    if row == "conv3":
        reduce, out = columns
        return channels * reduce + 9 * reduce * out, reduce + out
    if row == "fc":
        return 1024 * 1000, 1000
    ch1, reduce3, ch3, reduce5, ch5, pool = columns
    weights = channels * (ch1 + reduce3 + reduce5 + pool) + 9 * reduce3 * ch3 + 25 * reduce5 * ch5
    return weights, sum(columns)


def test_googlenet_2014_is_table_1(googlenet_2014: GoogLeNet2014) -> None:
    net = googlenet_2014
    shapes = at_sizes(copy.deepcopy(net), 2, 3, 224, 224)
    differing = {}
    channels = 3
    for row, patch, (height, width, depth), columns, printed in TABLE_1:
        out = shapes[row] if row != "fc" else (*shapes[row], 1, 1)
        assert out == (2, depth, height, width), row
        module = net.get_submodule(row)
        if patch:
            layer = module.conv if hasattr(module, "conv") else module
            if row != "avgpool":  # global here: the same as 7 × 7 at 7 × 7
                assert f"{np.max(layer.kernel_size)}x{np.max(layer.kernel_size)}" in patch, row
                assert np.max(layer.stride) == int(patch[-1]), row
        if printed is not None:
            weights, biases = by_columns(row, channels, columns)
            modules = [net.conv2, net.conv3] if row == "conv3" else [module]
            parameters = [p for m in modules for p in m.parameters()]
            assert sum(p.numel() for p in parameters if p.dim() > 1) == weights, row
            assert sum(p.numel() for p in parameters if p.dim() == 1) == biases, row
            counted = {weights / 1024, (weights + biases) / 1024}
            agreeing = {rounded(k) for k in counted for rounded in (math.floor, round)}
            if printed not in agreeing:
                differing[row] = (printed, round(weights / 1024, 1))
        channels = depth
    assert differing == {k: pytest.approx(v, abs=0.051) for k, v in NOT_AS_PRINTED.items()}
    # What the first row's 2.7K is: 7 + 7 weights for each pair of channels, and biases. With as
    # many the multiplications are the table's 34M; 7 × 7 has 118M.
    assert round((3 * 64 * (7 + 7) + 64) / 1024, 1) == 2.7
    assert round(3 * 64 * (7 + 7) * 112 * 112 / 1e6) == 34
    assert all(ours / printed < 1.08 for printed, ours in list(NOT_AS_PRINTED.values())[1:])


def test_googlenet_2014_has_what_the_text_says(googlenet_2014: GoogLeNet2014) -> None:
    net = googlenet_2014
    assert count(net) - count(net.aux1) - count(net.aux2) == 6_998_552
    assert (net.dropout.p, net.aux1.dropout.p, net.aux2.dropout.p) == (0.4, 0.7, 0.7)
    for head, channels in ((net.aux1, 512), (net.aux2, 528)):
        by_hand = channels * 128 + 128 + 2048 * 1024 + 1024 + 1024 * 1000 + 1000
        assert count(head) == by_hand
        # "an average pooling layer with 5 × 5 filter size and stride 3, resulting in 4 × 4"
        x = torch.randn(1, channels, 14, 14)
        by_hand_pool = x.unfold(2, 5, 3).unfold(3, 5, 3).mean((-2, -1))
        torch.testing.assert_close(head.pool(x), by_hand_pool)
    assert sum(isinstance(m, nn.LocalResponseNorm) for m in net.modules()) == 2
    assert {m.conv.kernel_size for n, m in net.named_modules() if n.endswith("branch3.1")} == {
        (5, 5)
    }


@pytest.mark.parametrize("kind", [GoogLeNet2014, GoogLeNet])
def test_googlenet_gives_three_logits_in_training_and_one_otherwise(
    kind: type[GoogLeNet2014] | type[GoogLeNet],
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 1, 80, 96)
    net = kind(7, 1, aux_heads=True)
    out = net.train()(x)
    assert isinstance(out, GoogLeNetOutput)
    assert out._fields == ("logits", "aux2", "aux1")
    assert [part.shape for part in out] == [(2, 7)] * 3
    # aux1 hangs on 4a: nothing after 4a reaches it.
    named = dict(net.named_parameters())
    reached = torch.autograd.grad(
        out.aux1.sum(), list(named.values()), retain_graph=True, allow_unused=True
    )
    roots = {name.split(".")[0] for name, g in zip(named, reached, strict=True) if g is not None}
    stem = {"conv1", "conv2", "conv3", "inception3a", "inception3b", "inception4a"}
    assert roots == stem | {"aux1"}
    reached = torch.autograd.grad(out.aux2.sum(), list(named.values()), allow_unused=True)
    roots = {name.split(".")[0] for name, g in zip(named, reached, strict=True) if g is not None}
    assert roots == stem | {"inception4b", "inception4c", "inception4d", "aux2"}
    assert net.eval()(x).shape == (2, 7)
    traced = fx.symbolic_trace(net.train())(x)
    assert isinstance(traced, GoogLeNetOutput)

    assert net.head == ("fc", "aux1.fc2", "aux2.fc2")
    without = kind(7, 1, aux_heads=False)
    assert without.head == ("fc",)
    assert without.train()(x).shape == (2, 7)


@pytest.mark.parametrize(
    ("build", "smallest", "training"),
    [
        (lambda: GoogLeNet2014(2, aux_heads=False), 31, True),
        (lambda: GoogLeNet2014(2, aux_heads=True), 31, False),
        (lambda: GoogLeNet2014(2, aux_heads=True), 79, True),
        (lambda: GoogLeNet(2, aux_heads=True), 15, True),
    ],
)
def test_googlenet_smallest_input(build, smallest: int, training: bool) -> None:
    with torch.device("meta"):
        net = build().train(training)
    out = net(torch.empty(2, 3, smallest, smallest, device="meta"))
    assert (out.logits if isinstance(out, GoogLeNetOutput) else out).shape == (2, 2)
    too_small = torch.empty(2, 3, smallest, smallest - 1, device="meta")
    with pytest.raises(InputError, match=f"of {smallest} or more"):
        net(too_small)
    with pytest.raises(RuntimeError):  # and rightly: a pool would be left without a window
        net._from_3a(net._stem(too_small))


def test_googlenet_is_torchvisions() -> None:
    with torch.device("meta"):
        net, with_heads = GoogLeNet(), GoogLeNet(aux_heads=True)
    assert count(net) == 6_624_904
    assert count(with_heads) == 13_004_888
    keys = with_heads.state_dict()
    # 57 convolutions with five entries of batch norm each, two heads, three linear layers more.
    assert len(keys) == (57 + 2) * 6 + 2 * 5
    for key, shape in {
        "conv1.conv.weight": (64, 3, 7, 7),
        "conv1.bn.running_var": (64,),
        "conv2.conv.weight": (64, 64, 1, 1),
        "conv3.conv.weight": (192, 64, 3, 3),
        "inception3a.branch1.conv.weight": (64, 192, 1, 1),
        "inception3a.branch2.0.conv.weight": (96, 192, 1, 1),
        "inception3a.branch2.1.bn.weight": (128,),
        "inception5b.branch3.1.conv.weight": (128, 48, 3, 3),
        "inception5b.branch4.1.conv.weight": (128, 832, 1, 1),
        "aux1.conv.conv.weight": (128, 512, 1, 1),
        "aux2.conv.bn.bias": (128,),
        "aux2.fc1.weight": (1024, 2048),
        "aux1.fc2.bias": (1000,),
        "fc.weight": (1000, 1024),
    }.items():
        assert tuple(keys[key].shape) == shape, key
    assert net.conv1.bn.eps == 0.001
    assert net.dropout.p == 0.2


# --- highway networks


def gates(net: nn.Module, bias: float) -> None:
    """Set every gate to the same value whatever the input is."""
    for module in net.modules():
        if isinstance(module, HighwayLayer | HighwayConv2d):
            nn.init.zeros_(module.gate.weight)
            nn.init.constant_(module.gate.bias, bias)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_highway_layer_carries_at_gate_0_and_transforms_at_gate_1(
    kind: str, activation: str
) -> None:
    torch.manual_seed(0)
    if kind == "linear":
        layer, x = HighwayLayer(6, activation=activation), torch.randn(1, 6)
    else:
        layer, x = HighwayConv2d(2, activation=activation), torch.randn(1, 2, 4, 3)
    layer, x = layer.double(), x.double()
    nn.init.normal_(layer.transform.bias)
    size = x.numel()

    def jacobian(function) -> Tensor:
        return torch.autograd.functional.jacobian(function, x).reshape(size, size)

    def h(x: Tensor) -> Tensor:
        affine = layer.transform(x)
        return affine.clamp(min=0) if activation == "relu" else affine.tanh()

    gates(layer, -1e4)
    assert torch.equal(layer(x), x)
    assert torch.equal(jacobian(layer), torch.eye(size, dtype=torch.float64))
    gates(layer, 1e4)
    torch.testing.assert_close(layer(x), h(x))
    torch.testing.assert_close(jacobian(layer), jacobian(h))
    assert jacobian(h).abs().sum() > 0
    # Between: at zero bias and zero weights half of each.
    gates(layer, 0.0)
    torch.testing.assert_close(layer(x), 0.5 * h(x) + 0.5 * x)
    # And with a gate that knows its input, the equation of the paper.
    nn.init.normal_(layer.gate.weight)
    t = layer.gate(x).sigmoid()
    torch.testing.assert_close(layer(x), h(x) * t + x * (1 - t))


def test_highway_starts_at_the_gate_bias_it_is_given() -> None:
    assert HighwayLayer(3).gate.bias.tolist() == [-2.0] * 3
    assert HighwayConv2d(3, gate_bias=-5.0).gate.bias.tolist() == [-5.0] * 3
    assert HighwayLayer(3).transform.bias.tolist() == [0.0] * 3
    net = HighwayMLP(depth=3, gate_bias=-1.5)
    assert {layer.gate.bias.unique().item() for layer in net.layers[1:]} == {-1.5}


def test_highway_mlp_is_deep_and_keeps_what_it_is_given() -> None:
    net = HighwayMLP(10, 1, depth=50, width=50, image_size=28)
    # First layer, 49 layers of two matrices with biases, classifier.
    assert count(net) == 784 * 50 + 50 + 49 * 2 * (50 * 50 + 50) + 50 * 10 + 10
    assert [s.name for s in net.stages] == [f"layer{n}" for n in range(1, 51)]
    assert {(s.channels, s.stride) for s in net.stages} == {(50, None)}
    gates(net, -1e4)
    x = torch.randn(2, 1, 28, 28)
    first = net.layers[0](x.flatten(1))
    assert torch.equal(net(x), net.classifier(first))
    plain = HighwayMLP(10, 1, depth=50, width=71, plain=True)
    assert not any(isinstance(m, nn.Sigmoid) for m in plain.modules())
    assert len(plain.stages) == 50
    # "roughly identical numbers of parameters (about 5000) per layer"
    assert count(net.layers[7]) == 5100
    assert count(plain.layers[7]) == 5112
    with pytest.raises(InputError, match=re.escape("takes (n, 1, 28, 28)")):
        net(torch.randn(2, 1, 28, 27))
    with pytest.raises(InputError, match="depth of HighwayMLP is 1 or more; received 0"):
        HighwayMLP(depth=0)
    with pytest.raises(InputError, match="Unknown activation 'sigmoid'"):
        HighwayMLP(depth=2, activation="sigmoid")  # type: ignore[arg-type]


def test_highway_cnn_has_one_plain_layer_a_stage() -> None:
    net = HighwayCNN(10, 3, widths=(8, 12), layers_per_stage=3)
    by_hand = (27 * 8 + 8) + 2 * 2 * (72 * 8 + 8) + (72 * 12 + 12) + 2 * 2 * (108 * 12 + 12) + 130
    assert count(net) == by_hand
    kinds = [type(layer) for layer in net.features.stage2]
    assert kinds == [PlainLayer, HighwayConv2d, HighwayConv2d]
    assert [(s.name, s.channels, s.stride) for s in net.stages] == [
        ("stage1", 8, 1),
        ("stage2", 12, 2),
        ("pooled", 12, None),
    ]
    # With shut gates a stage is its plain layer.
    gates(net, -1e4)
    x = torch.randn(1, 3, 5, 6)
    assert torch.equal(net.features.stage1(x), net.features.stage1[0](x))
    # 19 layers by default: three times six convolutions and the classifier.
    layers = [m for n, m in HighwayCNN().named_modules() if n.endswith((".0", "transform"))]
    convolutions = [m for m in layers if isinstance(m, nn.Conv2d)]
    assert len(convolutions) + 1 == 19
    assert HighwayCNN(plain=True)(torch.randn(1, 3, 4, 4)).shape == (1, 10)
    with pytest.raises(InputError, match="of 4 or more"):
        HighwayCNN()(torch.randn(1, 3, 4, 3))
    with pytest.raises(InputError, match="is odd"):
        HighwayConv2d(3, kernel_size=2)
    with pytest.raises(InputError, match="one width or more"):
        HighwayCNN(widths=())


def test_example_shows_that_a_deep_highway_learns_where_a_plain_network_does_not(
    tmp_path: Path,
) -> None:
    figure = tmp_path / "depth.png"
    done = subprocess.run(
        [sys.executable, "-W", "error", "highway_depth.py", "--quick", "--out", str(figure)],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pattern = r"^ *(\d+)  (highway|plain) +\S+ +([\d.]+) +([\d.]+)%$"
    rows = {
        (kind, int(depth)): (float(loss), float(accuracy))
        for depth, kind, loss, accuracy in re.findall(pattern, done.stdout, re.MULTILINE)
    }
    assert set(rows) == {(kind, depth) for kind in ("highway", "plain") for depth in (10, 50)}
    loss, accuracy = rows["highway", 50]
    assert loss < 0.4
    assert accuracy > 85
    loss, accuracy = rows["plain", 50]
    assert loss > 1.2
    assert accuracy < 60
    with Image.open(figure) as image:
        assert image.width > 1000


# --- residual networks


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        (resnet18, 11_689_512),
        (resnet34, 21_797_672),
        (resnet50, 25_557_032),
        (resnet101, 44_549_160),
        (resnet152, 60_192_808),
    ],
)
def test_resnet_has_the_published_number_of_parameters(build, parameters: int) -> None:
    with torch.device("meta"):
        net = build()
    assert count(net) == parameters
    shapes = at_sizes(net.eval(), 1, 3, 224, 224)
    # Table 1 of the paper, column "output size".
    sizes = [shapes[s.module][2:] for s in net.stages if s.stride is not None]
    assert sizes == [(112, 112), (56, 56), (28, 28), (14, 14), (7, 7)]
    deep = build not in (resnet18, resnet34)
    assert [s.channels for s in net.stages] == (
        [64, 256, 512, 1024, 2048, 2048] if deep else [64, 64, 128, 256, 512, 512]
    )


def test_resnet_has_torchvisions_keys() -> None:
    with torch.device("meta"):
        keys = resnet50(in_channels=4).state_dict()
        assert "layer1.0.downsample.0.weight" not in resnet18().state_dict()
    for key, shape in {
        "conv1.weight": (64, 4, 7, 7),
        "bn1.running_mean": (64,),
        "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer1.0.downsample.1.bias": (256,),
        "layer3.5.conv2.weight": (256, 256, 3, 3),
        "layer4.2.conv3.weight": (2048, 512, 1, 1),
        "layer4.2.bn3.weight": (2048,),
        "fc.bias": (1000,),
    }.items():
        assert tuple(keys[key].shape) == shape, key
    assert len(keys) == 53 + 53 * 5 + 2


def receptive_field(net: ResNet, length: int) -> int:
    """Rows of the input that the middle unit of layer4 sees, by autograd on a strip 1 wide.

    Positive weights and input, and an average pool of the same geometry, so that nothing that is
    seen cancels or goes unselected.
    """
    net = net.double().eval()
    net.maxpool = nn.AvgPool2d(3, stride=2, padding=1)
    for parameter in net.parameters():
        parameter.data.abs_()
    x = torch.ones(1, 3, length, 1, dtype=torch.float64, requires_grad=True)
    # Rescaled stage by stage: the numbers grow with depth, and only zero or not matters.
    out = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
        for block in layer:
            out = block(out)
            out = out / out.detach().max()
    out[0, :, out.shape[2] // 2].sum().backward()
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert rows.min() > 0
    assert rows.max() < length - 1
    return int(rows.max() - rows.min()) + 1


def test_resnet50_sees_427_pixels_or_483_by_where_the_stride_is() -> None:
    # By hand: 11 after the stem, then 2 jumps more with each 3 × 3. Where the stride is in the
    # 3 × 3, the first of a layer still moves by the jump of the layer before.
    blocks = ((3, 4), (4, 8), (6, 16), (3, 32))
    papers = 11 + sum(2 * jump * repeats for repeats, jump in blocks)
    torchvisions = papers - sum(2 * jump // 2 for _, jump in blocks[1:])
    assert (torchvisions, papers) == (427, 483)
    assert receptive_field(resnet50(2), 640) == torchvisions
    assert receptive_field(resnet50(2, stride_in="1x1"), 640) == papers


def test_stride_of_the_bottleneck_is_where_it_is_asked_for() -> None:
    with torch.device("meta"):
        ours, papers = resnet50(), resnet50(stride_in="1x1")
    assert (ours.layer2[0].conv1.stride, ours.layer2[0].conv2.stride) == ((1, 1), (2, 2))
    assert (papers.layer2[0].conv1.stride, papers.layer2[0].conv2.stride) == ((2, 2), (1, 1))
    assert ours.layer1[0].conv2.stride == (1, 1)
    assert ours.state_dict().keys() == papers.state_dict().keys()
    with pytest.raises(InputError, match="stride_in"):
        resnet50(stride_in="2x2")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="18, 34, 50, 101, 152; received 42"):
        ResNet(depth=42)


def test_residual_block_adds_its_input() -> None:
    net = resnet18(2).eval()
    block = net.layer1[0]
    nn.init.zeros_(block.bn2.weight)  # the residual is zero: what is left is ReLU of the input
    x = torch.randn(1, 64, 3, 3)
    assert torch.equal(block(x), x.clamp(min=0))
    assert net(torch.randn(2, 3, 1, 1)).shape == (2, 2)
    with pytest.raises(InputError):
        net(torch.randn(2, 3, 0, 1))


def test_resnet_starts_as_he_et_al() -> None:
    torch.manual_seed(0)
    net = resnet18(2)
    weight = net.layer3[1].conv1.weight
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (256 * 9)), rel=0.01)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all((m.weight == 1).all() and (m.bias == 0).all() for m in norms)


@pytest.mark.parametrize(
    ("build", "depth", "parameters", "millions"),
    [
        (resnet20_cifar, 20, 269_722, "0.27"),
        (resnet32_cifar, 32, 464_154, "0.46"),
        (resnet44_cifar, 44, 658_586, "0.66"),
        (resnet56_cifar, 56, 853_018, "0.85"),
        (resnet110_cifar, 110, 1_727_962, "1.7"),
    ],
)
def test_cifar_resnets_are_table_6(build, depth: int, parameters: int, millions: str) -> None:
    net = build()
    assert count(net) == parameters
    assert f"{parameters / 1e6:.{len(millions) - 2}f}" == millions
    # 6 n + 2 layers with weights.
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in net.modules()) == depth
    widths = [(3, 16), *[(16, 16)] * ((depth - 2) // 3), (16, 32), *[(32, 32)] * ((depth - 5) // 3)]
    widths += [(32, 64), *[(64, 64)] * ((depth - 5) // 3)]
    by_hand = sum(9 * before * after + 2 * after for before, after in widths) + 64 * 10 + 10
    assert parameters == by_hand
    assert [(s.name, s.channels, s.stride) for s in net.stages] == [
        ("conv1", 16, 1),
        ("layer1", 16, 1),
        ("layer2", 32, 2),
        ("layer3", 64, 4),
        ("pooled", 64, None),
    ]


def test_identity_shortcut_has_no_parameters_and_projection_two_convolutions() -> None:
    a, b = resnet20_cifar(), resnet20_cifar(shortcut="projection")
    assert count(b) - count(a) == 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert {k for k in b.state_dict() if k not in a.state_dict()} == {
        f"layer{n}.0.shortcut.{rest}"
        for n in (2, 3)
        for rest in (
            "0.weight",
            "1.weight",
            "1.bias",
            "1.running_mean",
            "1.running_var",
            "1.num_batches_tracked",
        )
    }
    x = torch.randn(2, 4, 5, 6)
    out = IdentityShortcut(6)(x)
    by_hand = np.zeros((2, 10, 3, 3), np.float32)
    by_hand[:, 3:7] = x.numpy()[:, :, [0, 2, 4]][:, :, :, [0, 2, 4]]
    np.testing.assert_array_equal(out, by_hand)
    # In the network: with no residual, the block is ReLU of the shortcut.
    block = a.eval().layer2[0]
    nn.init.zeros_(block.bn2.weight)
    x = torch.randn(1, 16, 7, 7)
    out = block(x)
    assert out.shape == (1, 32, 4, 4)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2].clamp(min=0))
    assert not out[:, :8].any()
    assert not out[:, 24:].any()
    with pytest.raises(InputError, match="received 21"):
        CifarResNet(depth=21)
    with pytest.raises(InputError, match="Did you mean 'identity'"):
        CifarResNet(shortcut="identiy")  # type: ignore[arg-type]
    assert CifarResNet(3, 1, depth=8).eval()(torch.randn(1, 1, 1, 1)).shape == (1, 3)


@pytest.mark.shared
def test_published_cifar_weights_load_and_fit_what_photos_do_in_the_network(shared: Path) -> None:
    weights = read_weights(shared / "weights" / "resnet20_cifar10.pth")
    net = resnet20_cifar()
    state = net.state_dict()
    counts = {name for name in state if name.endswith("num_batches_tracked")}
    assert set(weights.tensors) == set(state) - counts
    assert all(state[name].shape == tensor.shape for name, tensor in weights.tensors.items())
    net.load_state_dict({**state, **weights.tensors})
    net.eval()

    # CIFAR is not here, but the weights hold each channel's mean and variance over it, and other
    # photos come close to these, if the network is the one that was trained. With the zeros of
    # the shortcuts all on one side they do not.
    files = sorted((shared / "images" / "hymenoptera").rglob("*.jpg"))[::4]
    photos = np.stack(
        [np.asarray(Image.open(f).convert("RGB").resize((32, 32)), np.float32) for f in files]
    )
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = torch.from_numpy(((photos / 255 - mean) / std).astype(np.float32)).permute(0, 3, 1, 2)

    def distance() -> float:
        """Mean distance of the photos' channel means from the stored ones, in stored deviations."""
        found = []

        def look(norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...], _out: Tensor) -> None:
            away = (inputs[0].mean((0, 2, 3)) - norm.running_mean).abs()
            found.append(float((away / norm.running_var.sqrt()).mean()))

        later = [m for n, m in net.named_modules() if n[:6] in ("layer2", "layer3")]
        hooks = [m.register_forward_hook(look) for m in later if isinstance(m, nn.BatchNorm2d)]
        with torch.inference_mode():
            net(x)
        for hook in hooks:
            hook.remove()
        return float(np.mean(found))

    as_built = distance()
    assert as_built < 0.2
    for module in net.modules():
        if isinstance(module, IdentityShortcut):
            module.before, module.after = 0, module.before + module.after
    assert distance() > 1.5 * as_built


# --- temporal networks


def test_causal_convolution_is_the_sum_by_hand() -> None:
    conv = CausalConv1d(1, 1, kernel_size=3, dilation=2)
    conv.conv.weight.data = torch.tensor([[[100.0, 10.0, 1.0]]])
    x = torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]])
    # 1 x[t] + 10 x[t - 2] + 100 x[t - 4], with zeros before the first step.
    assert conv(x).flatten().tolist() == [1, 2, 13, 24, 135, 246]
    assert conv.look_back == 4


@pytest.mark.parametrize(("kernel_size", "dilation"), [(1, 1), (2, 1), (3, 4), (4, 3)])
def test_causal_convolution_never_sees_the_future(kernel_size: int, dilation: int) -> None:
    torch.manual_seed(0)
    conv = CausalConv1d(2, 3, kernel_size, dilation)
    x = torch.randn(1, 2, 16)
    assert conv(x).shape == (1, 3, 16)
    depends = torch.autograd.functional.jacobian(conv, x).abs().sum((0, 1, 3, 4)) > 0
    by_hand = torch.zeros(16, 16, dtype=torch.bool)
    for t in range(16):
        for tap in range(kernel_size):
            if t - tap * dilation >= 0:
                by_hand[t, t - tap * dilation] = True
    assert torch.equal(depends, by_hand)


def seen(net: nn.Module, length: int) -> list[int]:
    """Steps before the newest that the output depends on, by autograd; positive weights."""
    for parameter in net.parameters():
        parameter.data.abs_()
    x = torch.ones(1, 1, length, requires_grad=True)
    net.eval()(x).sum().backward()
    return [length - 1 - t for t in x.grad[0, 0].nonzero().flatten().tolist()]


@pytest.mark.parametrize(
    ("net", "steps"),
    [
        (PlainTCN(kernel_size=2, dilations=(1, 1, 1, 1)), 4),
        (PlainTCN(kernel_size=2, dilations=(1, 2, 4, 8)), 15),
        (PlainTCN(), 60),
        (TCN(channels=(4, 4), kernel_size=2, dilations=(1, 2)), 6),
        (TCN(), 60),
    ],
    ids=["4", "15", "default", "blocks", "blocks default"],
)
def test_look_back_is_what_the_output_depends_on(net: PlainTCN | TCN, steps: int) -> None:
    assert net.look_back == steps
    dependent = seen(net, steps + 7)
    assert max(dependent) == steps
    # These dilations leave no hole: every step between now and then is seen.
    assert dependent == list(range(steps, -1, -1))


def test_the_toy_has_15681_parameters() -> None:
    net = PlainTCN()
    by_hand = (1 * 5 * 32 + 32) + 3 * (32 * 5 * 32 + 32) + (32 * 1 + 1)
    assert count(net) == by_hand == 15_681
    assert [(s.name, s.channels, s.stride) for s in net.stages] == [
        *((f"conv{n}", 32, 1) for n in (1, 2, 3, 4)),
        ("last", 32, None),
    ]
    assert net(torch.randn(3, 1, 1)).shape == (3, 1)
    with pytest.raises(InputError, match="with length of 1 or more"):
        net(torch.randn(3, 1, 0))
    with pytest.raises(InputError, match=re.escape("takes (n, 1, length)")):
        net(torch.randn(3, 2, 5))
    with pytest.raises(InputError, match="dilations of 1 or more"):
        PlainTCN(dilations=(1, 0))


@pytest.mark.parametrize("build", [PlainTCN, TCN])
def test_causal_networks_never_see_the_future_inside(build) -> None:
    torch.manual_seed(0)
    net = build(2, 3).eval()
    layers = net.layers if build is PlainTCN else net.blocks
    x = torch.randn(1, 3, 40)
    changed = x.clone()
    changed[:, :, 25:] += torch.randn(1, 3, 15)
    before, after = layers(x), layers(changed)
    assert before.shape[2] == 40
    assert torch.equal(before[:, :, :25], after[:, :, :25])
    assert not torch.equal(before[:, :, 25], after[:, :, 25])
    # The head reads the last step.
    torch.testing.assert_close(net(x), net.linear(before[:, :, 39]))


def test_tcn_block_is_the_papers() -> None:
    torch.manual_seed(0)
    net = TCN(2, 3, channels=(5, 5), kernel_size=3, dilations=(1, 2), dropout=0.5).eval()
    # Weight norm: a length for each output channel beside the kernels; 1 × 1 only where needed.
    convs = [(3, 5), (5, 5), (5, 5), (5, 5)]
    by_hand = sum(3 * before * after + after + after for before, after in convs)
    assert count(net) == by_hand + (3 * 5 + 5) + (5 * 2 + 2)
    x = torch.randn(2, 3, 9)
    first, second = net.blocks

    def conv(layer: CausalConv1d, x: Tensor) -> Tensor:
        g, v = (
            layer.conv.parametrizations.weight.original0,
            (layer.conv.parametrizations.weight.original1),
        )
        weight = g * v / v.pow(2).sum((1, 2), keepdim=True).sqrt()
        x = functional.pad(x, (layer.look_back, 0))
        return functional.conv1d(x, weight, layer.conv.bias, dilation=layer.look_back // 2)

    for block, shortcut in ((first, first.shortcut(x)), (second, None)):
        shortcut = x if shortcut is None else shortcut
        inner = conv(block.conv2, conv(block.conv1, x).clamp(min=0)).clamp(min=0)
        x_next = (inner + shortcut).clamp(min=0)
        torch.testing.assert_close(block(x), x_next)
        x = x_next
    # "a whole channel is zeroed out" in training
    dropped = first.train().dropout1(torch.ones(64, 5, 9))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(dropped, dropped[:, :, :1].expand_as(dropped))
    with pytest.raises(InputError, match="2 channels and 3 dilations"):
        TCN(channels=(4, 4), dilations=(1, 2, 4))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weight_norm_survives_tracing_saving_copying_and_onnx(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = TCN(3, 2, channels=(4, 6), dilations=(1, 2)).eval()
    x = torch.randn(2, 2, 11)
    wanted = net(x)
    torch.save(net.state_dict(), tmp_path / "tcn.pth")
    torch.manual_seed(1)
    fresh = TCN(3, 2, channels=(4, 6), dilations=(1, 2)).eval()
    assert not torch.allclose(fresh(x), wanted)
    fresh.load_state_dict(torch.load(tmp_path / "tcn.pth", weights_only=True))
    assert torch.equal(fresh(x), wanted)
    assert torch.equal(copy.deepcopy(net)(x), wanted)
    traced = fx.symbolic_trace(net)
    assert torch.equal(traced(x), wanted)
    modules = dict(traced.named_modules())
    called = [modules[n.target] for n in traced.graph.nodes if n.op == "call_module"]
    assert sum(isinstance(module, nn.Conv1d) for module in called) == 4 + 2

    file = tmp_path / "tcn.onnx"
    dynamic = {0: torch.export.Dim("n"), 2: torch.export.Dim("length")}
    torch.onnx.export(net, (x,), file, dynamo=True, dynamic_shapes=(dynamic,), verbose=False)
    session = onnxruntime.InferenceSession(file)
    other = torch.randn(3, 2, 17)
    (got,) = session.run(None, {session.get_inputs()[0].name: other.numpy()})
    np.testing.assert_allclose(got, net(other).detach(), atol=1e-5)
