"""Convolutions over time that see no later step: the sums, and how far a stack looks back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from convscope.forecast.depth import dilations_for
from convscope.geometry import trace
from convscope.geometry.axes import Window
from convscope.lessons.lesson import Lesson, Step, grid, number
from convscope.nets.tcn import CausalConv1d, look_back
from convscope.pictures.rows import leading, rows_of

SERIES = (10.0, 20.0, 30.0)
FILTER = (1.0, 2.0)
# The stacks of the slides: four layers of kernel 2.
KERNEL_SIZE = 2
PLAIN = (1, 1, 1, 1)
DILATED = (1, 2, 4, 8)
# A day and a half of hours, say.
WANTED = 36


def convolve(series: Sequence[float], kernel: Sequence[float], dilation: int = 1) -> list[float]:
    """What a causal convolution gives; zeros stand before the series.

    Parameters
    ----------
    series : sequence of float
        The oldest step first.
    kernel : sequence of float
        The weight of the oldest step that is read first, that of the present last.
    dilation : int
        Steps from one weight to the next.
    """
    layer = CausalConv1d(1, 1, len(kernel), dilation).double()
    bias = layer.conv.bias
    with torch.no_grad():
        layer.conv.weight.copy_(torch.tensor(kernel, dtype=torch.float64)[None, None])
        if bias is not None:
            bias.zero_()
        result: list[float] = layer(torch.tensor([[series]], dtype=torch.float64))[0, 0].tolist()
    return result


def taps(length: int, kernel_size: int, dilation: int = 1) -> list[list[int]]:
    """Which steps each output reads, the oldest first; -1 is a zero before the series."""
    padding = (kernel_size - 1) * dilation
    reads: list[list[int]] = Window(
        length, length, kernel_size, dilation=dilation, padding=padding
    ).reads.tolist()
    return reads


def stack(kernel_size: int, dilations: Sequence[int]) -> nn.Sequential:
    """Causal convolutions one upon the other, one channel each."""
    return nn.Sequential(*(CausalConv1d(1, 1, kernel_size, dilation) for dilation in dilations))


def stack_look_back(kernel_size: int, dilations: Sequence[int]) -> int:
    """Steps before the newest that the output of a :func:`stack` reads."""
    return look_back(stack(kernel_size, dilations))


def lit(kernel_size: int, dilations: Sequence[int], length: int) -> list[list[int]]:
    """What the newest output of a :func:`stack` reads: the steps of each row, the input first."""
    rows = rows_of(trace(stack(kernel_size, dilations), (1, length)))
    return [np.flatnonzero(mask).tolist() for mask in leading(rows)]


def lesson() -> Lesson:
    """The sums of the course, then its two stacks."""
    result = convolve(SERIES, FILTER)
    stacks = {
        key: {
            "kernel": KERNEL_SIZE,
            "dilations": list(dilations),
            "look_back": stack_look_back(KERNEL_SIZE, dilations),
            "lit": lit(KERNEL_SIZE, dilations, 1 + stack_look_back(KERNEL_SIZE, DILATED)),
        }
        for key, dilations in (("plain", PLAIN), ("dilated", DILATED))
    }
    deep = dilations_for(WANTED, KERNEL_SIZE)
    return Lesson(
        "causal",
        "Causal and dilated convolutions",
        "A causal convolution sees the present and the past; dilation makes a stack look back far "
        "with few layers.",
        (
            *_sums(result),
            Step("Without dilation", _pictured(PLAIN)),
            Step("With dilation", _pictured(DILATED)),
            Step("How deep for a look-back", _depths(deep)),
        ),
        {
            "series": list(SERIES),
            "filter": list(FILTER),
            "dilation": 1,
            "result": result,
            "taps": taps(len(SERIES), len(FILTER)),
            "stacks": stacks,
            "wanted": WANTED,
            "deep": {"dilations": list(deep), "look_back": stack_look_back(KERNEL_SIZE, deep)},
        },
    )


def _sums(result: Sequence[float]) -> list[Step]:
    zeros = len(FILTER) - 1
    padded = [[0.0] * zeros + list(SERIES)]
    steps = []
    for step, places in enumerate(taps(len(SERIES), len(FILTER))):
        terms = [
            f"{number(SERIES[place] if place >= 0 else 0)}·{number(weight)}"
            for place, weight in zip(places, FILTER, strict=True)
        ]
        so_far = [value if at <= step else math.nan for at, value in enumerate(result)]
        steps.append(
            Step(
                f"Step {step + 1}",
                f"{' + '.join(terms)} = {number(result[step])}"
                + ("   (0 before the series)" if -1 in places else ""),
                (
                    grid("0, then series", padded, [(0, step + at) for at in range(len(FILTER))]),
                    grid("filter", [FILTER]),
                    grid("result", [so_far], [(0, step)]),
                ),
            )
        )
    return steps


def _pictured(dilations: Sequence[int]) -> str:
    length = 1 + stack_look_back(KERNEL_SIZE, DILATED)
    rows = lit(KERNEL_SIZE, dilations, length)
    names = [*(f"layer {at}, dilation {d}" for at, d in enumerate(dilations, 1))]
    lines = [
        f"{name:<20}" + " ".join("o" if step in read else "·" for step in range(length))
        for name, read in reversed(list(zip(["input", *names], rows, strict=True)))
    ]
    terms = " + ".join(f"{KERNEL_SIZE - 1}·{dilation}" for dilation in dilations)
    back = stack_look_back(KERNEL_SIZE, dilations)
    return (
        "o is what the newest output (right) is computed from.\n"
        + "\n".join(lines)
        + f"\nEach layer adds (kernel size - 1) · dilation: {terms} = {back} steps back."
    )


def _depths(deep: Sequence[int]) -> str:
    plain = -(-WANTED // (KERNEL_SIZE - 1))
    return (
        f"To look back {WANTED} steps with kernel size {KERNEL_SIZE}:\n"
        f"without dilation {plain} layers;\n"
        f"with dilations {', '.join(map(str, deep))}: {len(deep)} layers, "
        f"{' + '.join(map(str, deep))} = {stack_look_back(KERNEL_SIZE, deep)}."
    )
