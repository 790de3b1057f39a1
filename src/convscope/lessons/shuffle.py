"""Who minds that all pixels are shuffled, in one way for all images.

On scikit-learn's 1,797 digits of 8 × 8 pixels. A fully connected network has a weight for every
pixel and does not know which of them are neighbours; a convolutional one lives on that. Every seed
draws its own images to train on, its own shuffling and its own weights.

``python -m convscope.lessons.shuffle`` trains all networks again (twenty seconds on one core) and
writes their accuracies to ``shuffle.json`` beside this file, from where the lesson reads them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from convscope.lessons.lesson import Lesson, Step, grid

SIDE, BLOCK, CLASSES = 8, 2, 10
ARRANGEMENTS = {
    "in order": "as they are",
    "pixels": "all pixels shuffled",
    "blocks": f"blocks of {BLOCK} × {BLOCK} pixels shuffled",
}
NETWORKS = {"fcnn": "fully connected", "cnn": "convolutional"}
SEEDS = tuple(range(6))
TRAIN, EPOCHS, BATCH, PEAK = 300, 30, 30, 0.01
# Shufflings to look at.
_SHOWN = 10
# A 3 × 3 patch and weights, to write out.
_PATCH = ((1, 2, 0), (0, 3, 1), (2, 0, 1))
_WEIGHTS = ((1, 0, -1), (2, 0, -2), (1, 0, -1))
_ORDER = (4, 0, 8, 2, 6, 1, 7, 3, 5)


def order(arrangement: str, seed: int) -> np.ndarray:
    """Which old pixel stands at each new place, int ``(64,)``, row by row."""
    rng = np.random.default_rng(seed)
    places = np.arange(SIDE * SIDE)
    if arrangement == "pixels":
        return rng.permutation(places)
    if arrangement == "blocks":
        along = SIDE // BLOCK
        blocks = places.reshape(along, BLOCK, along, BLOCK).transpose(0, 2, 1, 3)
        moved = blocks.reshape(-1, BLOCK, BLOCK)[rng.permutation(along * along)]
        back = moved.reshape(along, along, BLOCK, BLOCK).transpose(0, 2, 1, 3)
        return np.ascontiguousarray(back).reshape(-1)
    return places


def build(kind: str, seed: int) -> nn.Sequential:
    """One of the two networks, of about as many parameters each: 10,900."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        if kind == "fcnn":
            return nn.Sequential(
                nn.Flatten(), nn.Linear(SIDE * SIDE, 100), nn.ReLU(),
                nn.Linear(100, 40), nn.ReLU(), nn.Linear(40, CLASSES),
            )  # fmt: skip
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(24, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(1),
            nn.Flatten(), nn.Linear(32, CLASSES),
        )  # fmt: skip


def accuracy(kind: str, arrangement: str, seed: int) -> float:
    """Train on 300 digits, and give the share of right answers on the 1,497 others."""
    images, classes = _digits()
    images = images[:, order(arrangement, seed)].reshape(-1, 1, SIDE, SIDE)
    draws = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(images), generator=draws)
    chosen, others = rows[:TRAIN], rows[TRAIN:]
    net = build(kind, seed)
    optimiser = torch.optim.Adam(net.parameters(), fused=True)
    steps = EPOCHS * -(-TRAIN // BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK, total_steps=steps)
    for _ in range(EPOCHS):
        mixed = chosen[torch.randperm(TRAIN, generator=draws)]
        for start in range(0, TRAIN, BATCH):
            batch = mixed[start : start + BATCH]
            loss = functional.cross_entropy(net(images[batch]), classes[batch])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rate.step()
    with torch.inference_mode():
        return float((net(images[others]).argmax(1) == classes[others]).float().mean())


def measure(seeds: Sequence[int] = SEEDS) -> dict[str, dict[str, list[float]]]:
    """Accuracies by network and arrangement, one for each seed."""
    return {
        kind: {
            each: [round(accuracy(kind, each, seed), 4) for seed in seeds] for each in ARRANGEMENTS
        }
        for kind in NETWORKS
    }


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and its 95 % interval by Student's t over the seeds."""
    mean = float(np.mean(values))
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def stored() -> dict[str, dict[str, list[float]]]:
    """What :func:`measure` gave when the file was written."""
    text = files("convscope.lessons").joinpath("shuffle.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, list[float]]] = json.loads(text)
    return found


def lesson() -> Lesson:
    """A sum in another order, then two networks."""
    images, classes = load_digits(return_X_y=True)
    examples = [images[np.flatnonzero(classes == c)[0]].astype(int).tolist() for c in range(10)]
    found = stored()
    n = len(images) - TRAIN
    summary = {
        kind: {each: interval(values) for each, values in by.items()} for kind, by in found.items()
    }
    losses = {
        kind: {
            each: interval(np.subtract(values, by["in order"]).tolist())
            for each, values in by.items()
            if each != "in order"
        }
        for kind, by in found.items()
    }
    digit = np.array(examples[3])
    moved = digit[order("pixels", 0)]
    steps = (
        Step("One digit, in order and shuffled",
             "All images are shuffled in the same way: every pixel of the left lies somewhere on "
             "the right.", (grid("in order", _rows(digit)), grid("shuffled", _rows(moved)))),
        Step("A fully connected layer does not mind", _reordered(),
             (grid("pixels", _PATCH), grid("weights", _WEIGHTS))),
        Step("A convolution does", _convolved()),
        Step("Trained", _accuracies(summary, losses, n)),
    )  # fmt: skip
    return Lesson(
        "shuffle",
        "Shuffle the pixels: who minds?",
        "A fully connected network sees a list of pixels, and learns as well from any order of "
        "it; a convolutional network lives on neighbours.",
        steps,
        {
            "side": SIDE, "block": BLOCK, "examples": examples,
            "orders": {
                each: [order(each, seed).tolist() for seed in range(_SHOWN)]
                for each in ARRANGEMENTS
            },
            "arrangements": dict(ARRANGEMENTS), "networks": dict(NETWORKS),
            "accuracies": found,
            "summary": {kind: {k: list(v) for k, v in by.items()} for kind, by in summary.items()},
            "losses": {kind: {k: list(v) for k, v in by.items()} for kind, by in losses.items()},
            "patch": [p for row in _PATCH for p in row],
            "weights": [w for row in _WEIGHTS for w in row], "order": list(_ORDER),
            "train": TRAIN, "test": n, "seeds": len(SEEDS),
            "parameters": {
                kind: sum(p.numel() for p in build(kind, 0).parameters()) for kind in NETWORKS
            },
        },
    )  # fmt: skip


@cache
def _digits() -> tuple[Tensor, Tensor]:
    images, classes = load_digits(return_X_y=True)
    return torch.tensor(images / 8 - 1, dtype=torch.float32), torch.tensor(classes)


def _rows(image: np.ndarray) -> list[list[float]]:
    rows: list[list[float]] = image.reshape(SIDE, SIDE).tolist()
    return rows


def _terms(pixels: Sequence[int], weights: Sequence[int]) -> str:
    return " + ".join(
        f"{p}·({w})" if w < 0 else f"{p}·{w}" for p, w in zip(pixels, weights, strict=True)
    )


def _reordered() -> str:
    pixels, weights = (np.array(each).reshape(-1) for each in (_PATCH, _WEIGHTS))
    there = list(_ORDER)
    total = int(pixels @ weights)
    return (
        f"{_terms(pixels.tolist(), weights.tolist())} = {total}\n"
        f"{_terms(pixels[there].tolist(), weights[there].tolist())} = {total}\n"
        "The same numbers in another order give the same sum, if each pixel keeps its weight. The\n"
        "weights are drawn at random, so that one order is as good a start as any other."
    )


def _convolved() -> str:
    pixels, weights = (np.array(each).reshape(-1) for each in (_PATCH, _WEIGHTS))
    there = list(_ORDER)
    return (
        f"{_terms(pixels[there].tolist(), weights.tolist())} = {int(pixels[there] @ weights)}\n"
        "A filter takes its weights along to every place: they belong to positions in the window,\n"
        "not to pixels. Over shuffled pixels it meets other neighbours at each place, and an edge\n"
        f"is no edge any more: {int(pixels[there] @ weights)} instead of {int(pixels @ weights)}."
    )


def _accuracies(summary: dict[str, Any], losses: dict[str, Any], n: int) -> str:
    lines = [
        f"{TRAIN} digits to train on, {n} others to test on; mean of {len(SEEDS)} seeds and its "
        "95 % interval:"
    ]
    for kind, by in summary.items():
        for each, (mean, low, high) in by.items():
            change = ""
            if each in losses[kind]:
                middle, least, most = (100 * x for x in losses[kind][each])
                change = f"   change {middle:+.1f} points ({least:+.1f} to {most:+.1f})"
            lines.append(
                f"{NETWORKS[kind]:<16} {ARRANGEMENTS[each]:<32} {100 * mean:.1f} % "
                f"({100 * low:.1f} % to {100 * high:.1f} %){change}"
            )
    lines.append(
        "Every seed has its own split, shuffling and weights; the splits share digits, so that the "
        "true\nintervals are somewhat wider."
    )
    return "\n".join(lines)


def main() -> None:
    """Train all networks and write their accuracies."""
    torch.set_num_threads(1)  # the layers are too small to be worth sharing between cores
    text = json.dumps(measure(), indent=1)
    Path(__file__).with_name("shuffle.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
