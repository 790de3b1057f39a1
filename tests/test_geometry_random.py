"""Random small networks: what geometry says is exactly what autograd finds, unit by unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from convscope.geometry import NetGraph, Span, trace
from numeric_fields import relation, seen_inputs

# Said by PyTorch once a process, so that a test's outcome would depend on those before it.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")

CHANNELS = 2
LONGEST = 14

Draw = Callable[[st.SearchStrategy[Any]], Any]


class Slice(nn.Module):
    """Every ``step``-th unit of the last axis from ``start`` to ``stop``."""

    def __init__(self, start: int, stop: int, step: int) -> None:
        super().__init__()
        self.start, self.stop, self.step = start, stop, step

    def forward(self, x: Tensor) -> Tensor:
        return x[..., self.start : self.stop : self.step]


class Pad(nn.Module):
    """``functional.pad`` with any mode."""

    def __init__(self, ends: list[int], mode: str) -> None:
        super().__init__()
        self.ends, self.mode = ends, mode

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, self.ends, mode=self.mode)


class Resize(nn.Module):
    """``functional.interpolate`` to a size or by a factor."""

    def __init__(self, mode: str, size: list[int] | None, factor: int | None) -> None:
        super().__init__()
        self.mode, self.size, self.factor = mode, size, factor

    def forward(self, x: Tensor) -> Tensor:
        if self.size is not None:
            return functional.interpolate(x, size=self.size, mode=self.mode)
        return functional.interpolate(x, scale_factor=self.factor, mode=self.mode)


class Flip(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flip(-1)


class Turn(nn.Module):
    """Height and width change places on the way, and back."""

    def forward(self, x: Tensor) -> Tensor:
        turned = functional.relu(x.transpose(-1, -2)).transpose(1, -1)
        return turned.permute(0, 3, 2, 1).transpose(2, 3).transpose(3, 2).transpose(-2, -1)


class Gate(nn.Module):
    """Squeeze and excitation: the mean of everything scales every unit."""

    def __init__(self, axes: int) -> None:
        super().__init__()
        self.dims = list(range(2, 2 + axes))

    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean(self.dims, keepdim=True)


class FlattenAndBack(nn.Module):
    def __init__(self, shape: list[int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x.flatten(1)).reshape(x.size(0), *self.shape)


class Halves(nn.Module):
    """Cut into two along an axis, and joined the other way round."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=self.dim)
        return torch.cat([second, functional.relu(first)], self.dim)


class RandomNet(nn.Module):
    """Steps in order; each reads one earlier result, or joins two."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        self.reads: list[tuple[int, ...]] = []
        self.joins: list[str] = []

    def forward(self, x: Tensor) -> Tensor:
        results = [x]
        for step, reads, join in zip(self.steps, self.reads, self.joins, strict=True):
            given = [results[place] for place in reads]
            if join == "add":
                found = given[0] + given[1]
            elif join == "channels":
                found = torch.cat(given, 1)
            elif join == "behind":
                found = torch.cat(given, -1)
            else:
                found = given[0]
            results.append(step(found))
        return results[-1]


def small(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


def any_step(draw: Draw, axes: int, sizes: list[int], endless: bool) -> nn.Module:
    """An operation that a map of these sizes can go through."""
    conv = nn.Conv1d if axes == 1 else nn.Conv2d
    kinds = ["conv", "conv", "conv", "max", "avg", "pad", "up", "transposed", "norm"]
    if not endless:
        kinds += ["slice", "reflect", "resize", "adaptive", "flip", "halves", "gate", "flatten"]
        kinds += ["turn"] if axes == 2 else []
    kind = draw(st.sampled_from(kinds))
    kernel = [draw(small(1, 3)) for _ in range(axes)]
    stride = [draw(small(1, 3)) for _ in range(axes)]
    dilation = [draw(small(1, 3)) for _ in range(axes)]
    if kind == "conv":
        padding: Any = [draw(small(0, 3)) for _ in range(axes)]
        mode = "zeros"
        if not endless and draw(st.booleans()):
            mode = draw(st.sampled_from(["reflect", "replicate", "circular"]))
            padding = [min(p, size - 1) for p, size in zip(padding, sizes, strict=True)]
        elif draw(st.booleans()):
            padding, stride = "same", [1] * axes
        groups = draw(st.sampled_from([1, CHANNELS]))
        return conv(
            CHANNELS, CHANNELS, kernel, stride, padding, dilation, groups, padding_mode=mode
        )
    if kind in ("max", "avg"):
        padding = [draw(small(0, k // 2)) for k in kernel]
        ceil = draw(st.booleans())
        if kind == "max":
            pool = nn.MaxPool1d if axes == 1 else nn.MaxPool2d
            return pool(kernel if axes == 2 else kernel[0], stride if axes == 2 else stride[0],
                        padding if axes == 2 else padding[0],
                        dilation if axes == 2 else dilation[0], ceil_mode=ceil)  # fmt: skip
        average = nn.AvgPool1d if axes == 1 else nn.AvgPool2d
        return average(kernel, stride, padding, ceil_mode=ceil)
    if kind == "pad":
        return Pad([draw(small(-1, 3)) for _ in range(2 * axes)], "constant")
    if kind == "up":
        modes = ["nearest", "linear" if axes == 1 else "bilinear"]
        return Resize(draw(st.sampled_from(modes)), None, draw(small(2, 3)))
    if kind == "transposed":
        up = nn.ConvTranspose1d if axes == 1 else nn.ConvTranspose2d
        return up(CHANNELS, CHANNELS, kernel, stride, [draw(small(0, 1))] * axes)
    if kind == "norm":
        norm = nn.BatchNorm1d if axes == 1 else nn.BatchNorm2d
        return nn.Sequential(nn.LocalResponseNorm(2), norm(CHANNELS), nn.ReLU(inplace=True))
    if kind == "slice":
        start = draw(small(0, sizes[-1] - 1))
        return Slice(start, draw(small(start + 1, sizes[-1])), draw(small(1, 2)))
    if kind == "reflect":
        mode = draw(st.sampled_from(["reflect", "replicate", "circular"]))
        return Pad([min(draw(small(0, 3)), s - 1) for s in reversed(sizes) for _ in "ab"], mode)
    if kind == "resize":
        modes = ["nearest", "linear" if axes == 1 else "bilinear", "area"]
        return Resize(draw(st.sampled_from(modes)), [draw(small(1, LONGEST)) for _ in sizes], None)
    if kind == "adaptive":
        adaptive = nn.AdaptiveAvgPool1d if axes == 1 else nn.AdaptiveAvgPool2d
        wanted = [draw(small(1, size)) for size in sizes]
        return adaptive(wanted if axes == 2 else wanted[0])
    if kind == "flip":
        return Flip()
    if kind == "halves":
        return Halves(draw(st.sampled_from([1, -1]))) if sizes[-1] > 1 else nn.Identity()
    if kind == "gate":
        return Gate(axes)
    if kind == "turn":
        return Turn()
    return FlattenAndBack([CHANNELS, *sizes])


class _Thinned(nn.Module):
    """Back to the usual number of channels behind a concatenation of them."""

    def __init__(self, axes: int, step: nn.Module) -> None:
        super().__init__()
        conv = nn.Conv1d if axes == 1 else nn.Conv2d
        self.squeeze = conv(2 * CHANNELS, CHANNELS, 1)
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return self.step(self.squeeze(x))


def random_net(draw: Draw, axes: int, sizes: list[int], endless: bool) -> RandomNet:
    net = RandomNet()
    results = [torch.zeros(1, CHANNELS, *sizes)]
    for _ in range(draw(small(1, 6))):
        here = draw(small(max(0, len(results) - 3), len(results) - 1))
        there = draw(small(0, len(results) - 1))
        same = results[here].shape == results[there].shape
        beside = results[here].shape[:-1] == results[there].shape[:-1] and not endless
        choices = ["one"] + ["add", "channels"] * same + ["behind"] * beside
        join = draw(st.sampled_from(choices)) if here != there else "one"
        reads = (here,) if join == "one" else (here, there)
        now = list(results[here].shape[2:])
        if join == "behind":
            now[-1] += results[there].shape[-1]
        try:
            step = any_step(draw, axes, now, endless)
            if join == "channels":
                step = _Thinned(axes, step)
            trial = RandomNet()
            trial.steps = nn.ModuleList([*net.steps, step])
            trial.reads, trial.joins = [*net.reads, reads], [*net.joins, join]
            with torch.no_grad():
                found = trial.eval()(results[0])
        except (RuntimeError, ValueError):
            continue  # PyTorch cannot do this to so small a map
        if min(found.shape[2:]) < 1 or (max(found.shape[2:]) > LONGEST and not endless):
            continue
        net = trial
        results.append(found)
    assume(len(net.steps) > 0)
    return net


def table_of(graph: NetGraph) -> np.ndarray:
    """Every unit of the last node against every input."""
    last = graph.nodes[-1]
    assert last.unknown is None
    assert last.grid is not None
    rows = [graph.receptive_mask(last, unit) for unit in np.ndindex(last.grid)]
    return np.array(rows).reshape(*last.grid, *graph.input[1:])


@pytest.mark.parametrize("axes", [1, 2])
@settings(max_examples=500, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_unit_sees_exactly_what_autograd_says(axes: int, data: st.DataObject) -> None:
    sizes = [data.draw(small(3, 12 if axes == 1 else 7)) for _ in range(axes)]
    net = random_net(data.draw, axes, sizes, endless=False)
    graph = trace(net, (CHANNELS, *sizes))
    wanted = relation(net, (CHANNELS, *sizes))
    np.testing.assert_array_equal(table_of(graph), wanted)
    # Forward: what a changed input can change is the same table, read the other way.
    grid = graph.nodes[-1].grid
    assert grid is not None
    start = [data.draw(small(0, size - 1)) for size in sizes]
    box = tuple(
        Span(first, data.draw(small(first + 1, size)))
        for first, size in zip(start, sizes, strict=True)
    )
    changed = np.zeros(sizes, bool)
    changed[tuple(slice(*span) for span in box)] = True
    reached = (wanted & changed).any(tuple(range(len(grid), wanted.ndim)))
    masks = graph.influence_masks(changed)
    found = masks[-1]
    assert found is not None
    np.testing.assert_array_equal(found, reached)
    # Intervals may cover holes, and never lack anything.
    around = graph.influence_boxes(box)[-1]
    inside = np.zeros(grid, bool)
    if around is not None:
        inside[tuple(slice(*span) for span in around)] = True
    assert not (reached & ~inside).any()


@pytest.mark.parametrize("axes", [1, 2])
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_size_jump_and_start_are_those_of_units_far_from_the_ends(
    axes: int, data: st.DataObject
) -> None:
    """On so long an input that some units see no padding: the formulas are exact there."""
    sizes = [240 if axes == 1 else 60] * axes
    net = random_net(data.draw, axes, sizes, endless=True)
    graph = trace(net, (CHANNELS, *sizes))
    last = graph.nodes[-1]
    fields = graph.field(last)
    assert fields is not None
    assert last.grid is not None
    middle = [size // 2 for size in last.grid]
    units = [tuple(m + step for m in middle) for step in range(min(12, *last.grid) // 2)]
    masks = seen_inputs(net, (CHANNELS, *sizes), "", units)
    for axis, field in enumerate(fields):
        if field.jump is None:  # a stride over the holes of a transposed convolution
            assert field.size == 0
            assert not any(mask.any() for mask in masks)
            continue
        others = tuple(other for other in range(axes) if other != axis)
        resampled = any("Reversed" in repr(node.sources) for node in graph.nodes)
        for unit, mask in zip(units, masks, strict=True):
            hit = np.flatnonzero(mask.any(others))
            first = field.start + unit[axis] * field.jump
            last_seen = first + field.size - 1
            if not len(hit):
                continue
            assert hit[-1] - hit[0] + 1 <= field.size
            if resampled:
                continue  # units differ in phase: the size is that of the widest
            assert first <= hit[0]
            assert hit[-1] <= last_seen
            if first >= 0 and last_seen < sizes[axis]:  # no padding
                assert hit[0] == first
                assert hit[-1] == last_seen
