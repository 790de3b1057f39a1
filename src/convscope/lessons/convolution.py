"""The first worked example: a 6 × 6 image, a 3 × 3 filter, ReLU, max-pooling.

The founding slides print the transpose of the result (first row 32.5 -105.5 185.5 54): columns
written as rows. What is computed here is what the arithmetic gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch.nn import functional

from convscope.errors import InputError
from convscope.geometry.axes import Window
from convscope.lessons.lesson import Cell, Grid, Lesson, Step, grid, number, signed

Rows = Sequence[Sequence[float]]

IMAGE: Rows = (
    (255, 220, 150, 200, 110, 100),
    (240, 50, 35, 45, 200, 130),
    (0, 20, 245, 250, 230, 120),
    (170, 180, 235, 145, 170, 255),
    (190, 185, 170, 165, 130, 120),
    (255, 255, 245, 190, 200, 175),
)
FILTER: Rows = ((-0.7, 0.2, 0.1), (0.3, 0.5, 0.4), (-0.2, -0.4, 0.2))
POOL = 2

_NOTE = (
    "The founding slides print the transpose of this (first row 32.5 -105.5 185.5 54; pooled "
    "104 217.5 / 224 52.5): their columns are rows here. What is shown is what the arithmetic "
    "gives, row by row from the upper left."
)


def convolve(
    image: Rows, kernel: Rows, stride: int = 1, padding: int = 0, dilation: int = 1
) -> torch.Tensor:
    """What a convolutional layer with this one filter computes, ``(rows, columns)``, float64.

    Raises
    ------
    InputError
        The filter does not fit into the padded image.
    """
    reach = [dilation * (side - 1) + 1 for side in (len(kernel), len(kernel[0]))]
    sides = [side + 2 * padding for side in (len(image), len(image[0]))]
    if any(a > b for a, b in zip(reach, sides, strict=True)):
        raise InputError(
            f"A filter that spans {reach[0]} x {reach[1]} pixels does not fit into an image of "
            f"{sides[0]} x {sides[1]} with its padding. Take a smaller dilation, or more padding."
        )
    return functional.conv2d(
        _plane(image), _plane(kernel), stride=stride, padding=padding, dilation=dilation
    )[0, 0]


def seen(
    image: Rows, kernel: Rows, stride: int = 1, padding: int = 0, dilation: int = 1
) -> dict[Cell, list[Cell]]:
    """Output -> the pixels that it is computed from, in reading order; -1 lies outside."""
    result = convolve(image, kernel, stride, padding, dilation)
    rows, columns = (
        Window(size, int(out), side, stride, dilation, padding).reads
        for size, out, side in zip(
            (len(image), len(image[0])), result.shape, (len(kernel), len(kernel[0])), strict=True
        )
    )
    return {
        (r, c): [(int(y), int(x)) for y in rows[r] for x in columns[c]]
        for r, c in product(range(len(rows)), range(len(columns)))
    }


def lesson() -> Lesson:
    """The example of the course, position by position."""
    return example(IMAGE, FILTER, note=_NOTE)


def example(
    image: Rows, kernel: Rows, stride: int = 1, padding: int = 0, dilation: int = 1, note: str = ""
) -> Lesson:
    """The same steps for any image and filter.

    Raises
    ------
    InputError
        The filter does not fit into the padded image.
    """
    result = convolve(image, kernel, stride, padding, dilation)
    rectified = result.relu()
    rows, columns = result.shape
    poolable = min(rows, columns) >= POOL
    pooled = functional.max_pool2d(rectified[None], POOL)[0] if poolable else None
    steps = [
        Step(
            f"Row {r + 1}, column {c + 1}",
            _sum(image, kernel, places, float(result[r, c])),
            (grid("image", image, places), grid("filter", kernel), _until(result, r, c)),
        )
        for (r, c), places in seen(image, kernel, stride, padding, dilation).items()
    ]
    negative = [(r, c) for r in range(rows) for c in range(columns) if result[r, c] < 0]
    steps.append(
        Step(
            "ReLU",
            f"max(0, x): {len(negative)} of {rows * columns} values are negative and become 0.",
            (grid("result", result.tolist(), negative), grid("ReLU", rectified.tolist(), negative)),
        )
    )
    if pooled is not None:
        steps.append(_pooling(rectified, pooled))
    if note:
        steps.append(Step("A note on the slides", note, ()))
    return Lesson(
        "convolution",
        "Convolution, ReLU, max-pooling",
        "A filter slides over an image and sums what it covers; ReLU keeps what is positive; "
        "pooling keeps the largest.",
        tuple(steps),
        {
            "image": [list(row) for row in image],
            "filter": [list(row) for row in kernel],
            "stride": stride, "padding": padding, "dilation": dilation, "pool": POOL,
            "result": result.tolist(), "relu": rectified.tolist(),
            "pooled": None if pooled is None else pooled.tolist(), "note": note,
        },
    )  # fmt: skip


def _plane(rows: Rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)[None, None]


def _sum(image: Rows, kernel: Rows, places: Sequence[Cell], total: float) -> str:
    weights = [weight for row in kernel for weight in row]
    terms = [
        f"{number(_pixel(image, place))}·{signed(weight)}"
        for place, weight in zip(places, weights, strict=True)
    ]  # fmt: skip
    width = len(kernel[0])
    lines = [" + ".join(terms[i : i + width]) for i in range(0, len(terms), width)]
    return "\n + ".join(lines) + f"\n = {number(total)}"


def _pixel(image: Rows, place: Cell) -> float:
    r, c = place
    return image[r][c] if 0 <= r < len(image) and 0 <= c < len(image[0]) else 0.0


def _until(result: torch.Tensor, row: int, column: int) -> Grid:
    """The result as far as it is computed; NaN stands for what is still to come."""
    shown = torch.full_like(result, torch.nan)
    done = row * result.shape[1] + column + 1
    shown.view(-1)[:done] = result.reshape(-1)[:done]
    return grid("result", shown.tolist(), [(row, column)])


def _pooling(rectified: torch.Tensor, pooled: torch.Tensor) -> Step:
    marked, said = [], []
    for r, c in product(*map(range, pooled.shape)):
        block = rectified[r * POOL : (r + 1) * POOL, c * POOL : (c + 1) * POOL]
        at = divmod(int(block.argmax()), POOL)
        marked.append((r * POOL + at[0], c * POOL + at[1]))
        said.append(
            f"max({', '.join(number(float(x)) for x in block.flatten())}) = "
            f"{number(float(pooled[r, c]))}"
        )
    return Step(
        f"Max-pooling, {POOL} × {POOL}",
        "\n".join(said),
        (grid("ReLU", rectified.tolist(), marked), grid("pooled", pooled.tolist())),
    )
