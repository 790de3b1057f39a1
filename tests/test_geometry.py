"""Geometry against arithmetic by hand, brute force, papers' figures and other counters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn
from torch.nn import functional

from convscope.errors import InputError
from convscope.geometry import NetGraph, Span, teach, trace
from convscope.geometry.axes import (
    AxisMap,
    Reversed,
    Table,
    Whole,
    Window,
    adaptive,
    compose,
    hull,
    table,
)
from convscope.geometry.calls import Call, Read
from convscope.geometry.windows import padded_axis
from convscope.nets.catalog import NETS
from convscope.nets.resnet import resnet50
from convscope.nets.tcn import TCN, CausalConv1d
from numeric_fields import seen_inputs

# One operation along one axis


def test_a_three_wide_window_by_hand() -> None:
    """The 6 × 6 image and its 3 × 3 filter: output 1 reads 1, 2, 3; input 1 reaches 0 and 1."""
    window = Window(size_in=6, size_out=4, kernel_size=3)
    assert window.backward(Span(1, 2)) == Span(1, 4)
    assert window.forward(Span(1, 2)) == Span(0, 2)
    assert window.backward(Span(0, 4)) == Span(0, 6)


def test_borders_are_clipped_to_what_is_really_read() -> None:
    """With dilation 2 and padding 1 output 0 reads -1 (padding), 1 and 3: its span starts at 1."""
    window = Window(size_in=6, size_out=4, kernel_size=3, dilation=2, padding=1)
    assert window.backward(Span(0, 1)) == Span(1, 4)
    assert window.backward(Span(1, 2)) == Span(0, 5)
    assert window.unclipped(Span(0, 1)) == Span(-1, 4)
    assert Window(4, 6, padding=1).backward(Span(0, 1)) is None  # padding only
    assert Window(7, 2, kernel_size=1, stride=4).forward(Span(1, 4)) is None  # read by nobody


windows = st.builds(
    Window,
    size_in=st.integers(1, 12),
    size_out=st.integers(1, 12),
    kernel_size=st.integers(1, 4),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    padding=st.integers(-3, 4),
)
any_map: st.SearchStrategy[AxisMap] = st.one_of(
    windows,
    windows.map(Reversed),
    st.builds(adaptive, st.integers(1, 12), st.integers(1, 12)),
    st.builds(
        padded_axis,
        st.just(5),
        st.integers(0, 4),
        st.integers(0, 4),
        st.sampled_from(["reflect", "replicate", "circular", "constant"]),
    ),
)


def matrix(through: AxisMap) -> np.ndarray:
    """Brute force: ``[o, i]`` is whether output ``o`` reads input ``i``."""
    found = np.zeros((through.size_out, through.size_in), bool)
    if through.reads is None:
        return ~found
    for o, row in enumerate(through.reads):
        found[o, row[row >= 0]] = True
    return found


def spans(size: int) -> list[Span]:
    return [Span(a, b) for a in range(size) for b in range(a + 1, size + 1)]


def around(hits: np.ndarray) -> Span | None:
    where = np.flatnonzero(hits)
    return Span(int(where[0]), int(where[-1]) + 1) if len(where) else None


@settings(max_examples=300)
@given(any_map)
def test_every_interval_both_ways_by_brute_force(through: AxisMap) -> None:
    relation = matrix(through)
    for span in spans(through.size_out):
        assert through.backward(span) == around(relation[slice(*span)].any(0))
    for span in spans(through.size_in):
        assert through.forward(span) == around(relation[:, slice(*span)].any(1))
    if through.reached is not None:
        for i, row in enumerate(through.reached):
            assert set(row[row >= 0]) == set(np.flatnonzero(relation[:, i]))


@given(windows, st.integers(-20, 20), st.integers(1, 5))
def test_without_ends_a_window_and_its_reverse_by_brute_force(
    window: Window, first: int, length: int
) -> None:
    outputs = Span(first, first + length)
    read = {
        o * window.stride - window.padding + k * window.dilation
        for o in range(*outputs)
        for k in range(window.kernel_size)
    }
    assert window.unclipped(outputs) == Span(min(read), max(read) + 1)
    reach = 60  # further than anything here reads
    inputs = [
        i
        for i in range(-reach, reach)
        for k in range(window.kernel_size)
        if first <= i * window.stride - window.padding + k * window.dilation < first + length
    ]
    wanted = Span(min(inputs), max(inputs) + 1) if inputs else None
    assert Reversed(window).unclipped(outputs) == wanted


def test_small_parts() -> None:
    assert hull([]) is None
    assert hull([None, Span(3, 4), Span(0, 1)]) == Span(0, 4)
    assert Span(2, 5).size == 3
    assert isinstance(adaptive(7, 1), Whole)
    assert adaptive(6, 3) == Window(6, 3, kernel_size=2, stride=2)
    both = compose(table(3, [[2], [0, 1]]), Window(2, 1, kernel_size=2))
    assert isinstance(both, Table)
    assert both.reads is not None
    assert both.reads.tolist() == [[0, 1, 2]]


# Networks: what is known


def sizes(graph: NetGraph, layer: str) -> list[int]:
    fields = graph.field(graph.layer(layer))
    assert fields is not None
    return [field.size for field in fields]


def stacked(count: int, kernel_size: int) -> nn.Sequential:
    convolutions = [nn.Conv2d(1, 1, kernel_size, bias=False) for _ in range(count)]
    return nn.Sequential(*convolutions)


@pytest.mark.parametrize(
    ("count", "kernel_size", "field", "weights"), [(1, 7, 7, 49), (2, 3, 5, 18), (3, 3, 7, 27)]
)
def test_three_small_filters_see_what_a_large_one_sees_with_fewer_weights(
    count: int, kernel_size: int, field: int, weights: int
) -> None:
    graph = trace(stacked(count, kernel_size), (1, 32, 32))
    assert sizes(graph, str(count - 1)) == [field, field]
    assert graph.parameters == weights


def catalogue(name: str) -> NetGraph:
    spec = NETS[name]
    with torch.device("meta"):
        return trace(spec.build(spec.classes, spec.input[0]), spec.input)


def test_vgg16_before_and_after_pool5() -> None:
    graph = catalogue("vgg16")
    assert sizes(graph, "features.29") == [196, 196]
    assert sizes(graph, "features.30") == [212, 212]
    fields = graph.field(graph.layer("features.30"))
    assert fields is not None
    assert [field.jump for field in fields] == [32, 32]
    assert sizes(graph, "classifier.0") == [224, 224]


@pytest.mark.parametrize(("stride_in", "size"), [("3x3", 427), ("1x1", 483)])
def test_resnet50_sees_427_or_483_depending_on_where_the_stride_sits(
    stride_in: Any, size: int
) -> None:
    """Stride in the 3 × 3 (torchvision): 427. In the 1 × 1 before it (the paper): 483.

    By gradient on an input so large that the middle unit sees no padding.
    """
    large = (3, 576, 576)
    with torch.device("meta"):
        net = resnet50(2, stride_in=stride_in)
        graph = trace(net, large)
    assert sizes(graph, "layer4") == [size, size]
    node = graph.layer("layer4")
    assert node.grid is not None
    unit = tuple(n // 2 for n in node.grid)
    (mask,) = seen_inputs(resnet50(2, stride_in=stride_in), large, "layer4", [unit])
    assert mask.any(1).sum() == mask.any(0).sum() == size
    np.testing.assert_array_equal(graph.receptive_mask(node, unit), mask)


@pytest.mark.parametrize(("dilations", "look_back"), [((1, 1, 1, 1), 4), ((1, 2, 4, 8), 15)])
def test_look_back_of_a_causal_stack_of_kernel_2(
    dilations: tuple[int, ...], look_back: int
) -> None:
    stack = nn.Sequential(*(CausalConv1d(1, 1, 2, dilation) for dilation in dilations))
    graph = trace(stack, (1, 64))
    assert sizes(graph, "3.conv") == [look_back + 1]
    assert graph.receptive_box(graph.layer("3.conv"), (40,)) == (Span(40 - look_back, 41),)
    (mask,) = seen_inputs(stack, (1, 64), "3", [(40,)])
    assert np.flatnonzero(mask)[[0, -1]].tolist() == [40 - look_back, 40]


def test_a_tcn_of_40_layers() -> None:
    """20 residual blocks of two convolutions: 1 + sum of 2 (3 - 1) d over the blocks."""
    dilations = tuple(2 ** (block % 5) for block in range(20))
    net = TCN(1, 1, channels=(2,) * 20, kernel_size=3, dilations=dilations)
    convolutions = [m for m in net.modules() if isinstance(m, CausalConv1d)]
    assert len(convolutions) == 40
    wanted = 1 + sum(2 * 2 * dilation for dilation in dilations)
    length = wanted + 100
    graph = trace(net, (1, length))
    assert sizes(graph, graph.nodes[-1].name) == [wanted]
    (mask,) = seen_inputs(net, (1, length), "", [()])
    np.testing.assert_array_equal(graph.receptive_mask(graph.nodes[-1], (0,)), mask)
    assert np.flatnonzero(mask)[0] == length - wanted


def test_branches_meet_by_their_hull() -> None:
    """A 5 × 5 and a 1 × 7 branch: 5 rows, 7 columns."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.square = nn.Conv2d(1, 2, 5, padding=2)
            self.wide = nn.Conv2d(1, 3, (1, 7), padding=(0, 3))

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.square(x), self.wide(x)], 1)

    graph = trace(Branches(), (1, 20, 20))
    assert sizes(graph, "cat") == [5, 7]
    # Exactly, it is a cross and no rectangle.
    mask = graph.receptive_mask(graph.layer("cat"), (10, 10))
    assert mask.sum() == 5 * 5 + 7 - 5


def test_upsampling_has_fractional_jumps() -> None:
    net = nn.Sequential(nn.MaxPool2d(4), nn.Upsample(scale_factor=8), nn.Conv2d(1, 1, 3, padding=1))
    fields = (graph := trace(net, (1, 64, 64))).field(graph.layer("2"))
    assert fields is not None
    assert fields[0].jump == Fraction(1, 2)
    assert fields[0].size == 8  # two cells of 4 where a unit lies at the seam of two of them


# Costs


def test_counts_by_hand() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1),
        nn.Conv2d(8, 8, 3, groups=4, bias=False),
        nn.ConvTranspose2d(8, 4, 2, stride=2),
        nn.Flatten(),
        nn.Linear(4 * 12 * 12, 5),
    )
    graph = trace(net, (3, 16, 16))
    assert [node.parameters for node in graph.nodes[1:]] == [
        3 * 9 * 8 + 8, 2 * 9 * 8, 8 * 4 * 4 + 4, 0, 4 * 144 * 5 + 5,
    ]  # fmt: skip
    assert [node.macs for node in graph.nodes[1:]] == [
        8 * 8 * 8 * 27, 8 * 6 * 6 * 18, 8 * 6 * 6 * 4 * 4, 0, 4 * 144 * 5,
    ]  # fmt: skip
    assert [node.bytes for node in graph.nodes[1:]] == [
        4 * 8 * 64, 4 * 8 * 36, 4 * 4 * 144, 4 * 576, 4 * 5,
    ]  # fmt: skip


def test_what_is_shared_is_counted_once_and_what_is_called_twice_works_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1)
            self.scale = nn.Parameter(torch.ones(2, 1, 1))
            self.unused = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.conv(x) * self.scale)

    graph = trace(Twice(), (2, 8, 8))
    assert [node.name for node in graph.nodes] == [
        "input", "conv", "scale", "mul", "conv#2",
    ]  # fmt: skip
    assert [node.parameters for node in graph.nodes] == [0, 38, 2, 0, 0]
    assert graph.macs == 2 * 2 * 64 * 18
    assert graph.parameters == 38 + 2 + 20
    assert sizes(graph, "conv#2") == [5, 5]


@pytest.mark.parametrize("name", NETS)
def test_totals_agree_with_fvcore_and_torchinfo(name: str) -> None:
    fvcore = pytest.importorskip("fvcore.nn")
    torchinfo = pytest.importorskip("torchinfo")
    spec = NETS[name]
    graph = catalogue(name)
    net = spec.build(spec.classes, spec.input[0]).eval()
    statistics = torchinfo.summary(net, verbose=0)
    assert graph.parameters == statistics.total_params
    assert graph.trainable == statistics.trainable_params
    counted = fvcore.FlopCountAnalysis(net, torch.zeros(1, *spec.input))
    counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    counted.tracer_warnings("none")
    by_operator = counted.by_operator()
    assert graph.macs == by_operator["conv"] + by_operator["linear"] > 0


# What cannot be known


class Decides(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        if y.mean() > 0:  # decided by values
            return y
        return -y


def test_control_flow_is_named_with_its_line_and_counted_by_hooks() -> None:
    graph = trace(Decides(), (3, 10, 10))
    lines, first = inspect.getsourcelines(Decides.forward)
    line = first + next(i for i, text in enumerate(lines) if "decided by values" in text)
    assert graph.untraced is not None
    assert f"test_geometry.py, line {line}: if y.mean() > 0" in graph.untraced
    conv = graph.layer("conv")
    assert (conv.output, conv.parameters, conv.macs) == ((4, 8, 8), 112, 4 * 64 * 27)
    assert graph.field(conv) is None
    with pytest.raises(InputError, match="receptive field of layer conv is not known"):
        graph.receptive_mask(conv, (0, 0))


class Sorts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.before(x)
        values, _places = torch.sort(y, dim=-1)
        z: Tensor = self.after(values)
        return z


def test_an_operation_without_a_rule_is_not_guessed_at() -> None:
    graph = trace(Sorts(), (1, 12, 12))
    assert sizes(graph, "before") == [3, 3]
    after = graph.layer("after")
    assert graph.field(after) is None
    assert after.unknown is not None
    assert "sort" in after.unknown
    assert (after.output, after.macs) == ((1, 8, 8), 64 * 9)
    assert graph.influence_boxes((Span(0, 1), Span(0, 1)))[-1] is None


class MixesBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True)


class Normalises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(x, dim=-1)


@pytest.mark.parametrize("net", [MixesBatch(), Normalises()])
def test_other_things_that_are_not_known(net: nn.Module) -> None:
    graph = trace(net, (2, 6, 6))
    assert graph.nodes[-1].unknown is not None
    assert graph.field(graph.nodes[-1]) is None


@fx.wrap
def every_other(x: Tensor) -> Tensor:
    """A function that symbolic tracing keeps whole."""
    return x[..., ::2].contiguous()


class UsesMine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        return every_other(self.conv(x))


def test_a_rule_can_be_taught() -> None:
    assert trace(UsesMine(), (1, 11)).nodes[-1].unknown is not None

    def rule(call: Call) -> list[Read]:
        size, size_out = call.input.shape[-1], int(call.output.shape[-1])
        return [Read(call.input, {2: Window(size, size_out, stride=2)})]

    teach(every_other, rule)
    graph = trace(UsesMine(), (1, 11))
    assert graph.nodes[-1].unknown is None
    assert graph.receptive_box(graph.nodes[-1], (2,)) == (Span(4, 7),)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((3, 4, 4), "cannot take inputs of shape 3x4x4"), ((), "Received: nothing"),
     ((3, 0, 4), "Received: 3x0x4"), ((4, 9, 9), "cannot take inputs")],
)  # fmt: skip
def test_inputs_that_do_not_fit(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        trace(nn.Conv2d(3, 1, 5), shape)


def test_lazy_layers_are_told() -> None:
    with pytest.raises(InputError, match="lazy layers"):
        trace(nn.Sequential(nn.LazyConv2d(3, 3)), (3, 8, 8))


def test_units_and_layers_that_are_not_there() -> None:
    graph = trace(stacked(2, 3), (1, 9, 9))
    with pytest.raises(InputError, match=r"Layer 1 has no unit \(5, 0\): its grid is \(5, 5\)"):
        graph.receptive_mask(graph.layer("1"), (5, 0))
    with pytest.raises(InputError, match=r"Unknown layer 'inptu'\. Did you mean 'input'"):
        graph.layer("inptu")
    with pytest.raises(InputError, match="shape"):
        graph.influence_masks(np.zeros((3, 3), bool))


# Nothing is changed


class Spy(nn.Module):
    """Counts its real calls, has a dropout and a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x  # kept for later, as some networks do
        y: Tensor = self.drop(self.norm(self.conv(x)))
        return y


@pytest.mark.parametrize("make", [Spy, Decides])
def test_tracing_leaves_the_network_as_it_was(make: Callable[[], nn.Module]) -> None:
    net = make().train()
    net.conv.eval()  # type: ignore[union-attr, operator]
    calls: list[object] = []
    hook = net.conv.register_forward_hook(lambda *_: calls.append(1))  # type: ignore[union-attr, operator]
    state = {key: value.clone() for key, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    torch.manual_seed(3)
    random = torch.random.get_rng_state()
    trace(net, (3, 8, 8))
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.is_grad_enabled()
    assert calls == []
    assert not hasattr(net, "seen")
    net(torch.zeros(2, 3, 8, 8))
    assert calls == [1]
    hook.remove()


def test_a_network_on_the_meta_device_or_in_half_precision_is_the_same() -> None:
    with torch.device("meta"):
        nowhere = Spy()
    for net in (Spy(), Spy().half(), nowhere):
        graph = trace(net, (3, 8, 8))
        assert (graph.parameters, graph.macs) == (120, 4 * 36 * 27)
        assert graph.nodes[1].bytes == 4 * 36 * (2 if net.conv.weight.dtype == torch.half else 4)


def test_three_dimensions_and_none() -> None:
    graph = trace(nn.Sequential(nn.Conv3d(1, 1, 3), nn.MaxPool3d(2)), (1, 8, 8, 8))
    assert sizes(graph, "1") == [4, 4, 4]
    assert trace(nn.Sequential(nn.Linear(5, 2), nn.ReLU()), (5,)).nodes[-1].output == (2,)


def test_long_series_are_quick_and_small() -> None:
    """A million steps: the maps are formulas, no table of the whole axis is made."""
    stack = nn.Sequential(*(CausalConv1d(1, 1, 2, 2**i) for i in range(10)))
    with torch.device("meta"):
        stack = stack.to("meta")
    graph = trace(stack, (1, 1_000_000))
    assert sizes(graph, "9") == [1024]
    assert graph.influence_boxes((Span(500_000, 500_001),))[-1] == (Span(500_000, 501_024),)
