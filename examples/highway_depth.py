"""How deep a fully connected network can be trained, with and without the gates of highway layers.

After figure 1 of Srivastava, Greff & Schmidhuber 2015 (arXiv 1505.00387), on scikit-learn's 1,797
digits of 8 × 8 pixels. Both kinds of network get the same weight initialisation (He et al. 2015),
optimiser, number of epochs and learning rates to choose from; the plain ones are 71 units wide
instead of 50, as in the paper, to have as many parameters. Each row of the table is the learning
rate that ended with the lowest training loss; the test digits choose nothing.

What stops the deep plain network here is no vanishing gradient: after this initialisation the
gradient is as large in the first layer as in the last. But layer by layer all images become the
same: at the end their activations point in nearly one direction (middle of the figure). A highway
layer carries most of its input on, and the images stay apart. How much is carried matters: with
gates that start at a bias of -2, 50 layers pass on 0.2 % of the input and do not train in this time
either; at the -4 used here it is 41 %.

    python examples/highway_depth.py [--seed 0] [--out highway_depth.png] [--quick]

It draws with Matplotlib (pip install -e '.[examples]'). Less than a minute on one core; --quick
does less, in about ten seconds.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional

from convscope.nets.highway import HighwayMLP

WIDTHS = {"highway": 50, "plain": 71}
COLOURS = {"highway": "#0072b2", "plain": "#d55e00"}
GATE_BIAS = -4.0
BATCH = 64
CHANCE = math.log(10)


@dataclass(frozen=True)
class Digits:
    """Images ``(n, 1, 8, 8)``, standardised by the training pixels, and their classes."""

    train: Tensor
    train_classes: Tensor
    test: Tensor
    test_classes: Tensor


@dataclass(frozen=True)
class Trained:
    """One network's training: the mean loss of each epoch, and how it ended."""

    learning_rate: float
    losses: list[float]
    train_loss: float
    test_accuracy: float


def digits(seed: int) -> Digits:
    """Three quarters to train on, one to test on, classes in proportion."""
    table = load_digits()
    images = torch.tensor(table.images, dtype=torch.float32).unsqueeze(1)
    classes = torch.tensor(table.target)
    rows, test_rows = train_test_split(
        range(len(images)), test_size=0.25, stratify=table.target, random_state=seed
    )
    train, test = images[rows], images[test_rows]
    mean, std = train.mean(), train.std()
    return Digits((train - mean) / std, classes[rows], (test - mean) / std, classes[test_rows])


def build(kind: str, depth: int, seed: int) -> HighwayMLP:
    """``depth`` layers and the classifier; one input size, one activation."""
    torch.manual_seed(seed)
    return HighwayMLP(
        num_classes=10,
        in_channels=1,
        depth=depth,
        width=WIDTHS[kind],
        image_size=8,
        gate_bias=GATE_BIAS,
        plain=kind == "plain",
    )


def train(kind: str, depth: int, data: Digits, rate: float, epochs: int, seed: int) -> Trained:
    """Train by stochastic gradient descent with momentum 0.9, as the paper does."""
    net = build(kind, depth, seed)
    optimiser = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(data.train)).split(BATCH):
            loss = functional.cross_entropy(net(data.train[rows]), data.train_classes[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(rows)
        losses.append(total / len(data.train))
    with torch.inference_mode():
        train_loss = float(functional.cross_entropy(net(data.train), data.train_classes))
        accuracy = float((net(data.test).argmax(1) == data.test_classes).float().mean())
    return Trained(rate, losses, train_loss, accuracy)


def best(
    kind: str, depth: int, data: Digits, rates: list[float], epochs: int, seed: int
) -> Trained:
    """The learning rate that ended with the lowest training loss; what diverged comes last."""
    runs = [train(kind, depth, data, rate, epochs, seed) for rate in rates]
    return min(runs, key=lambda run: run.train_loss if math.isfinite(run.train_loss) else math.inf)


def at_start(kind: str, depth: int, data: Digits, seed: int) -> tuple[list[float], list[float]]:
    """Of each layer of the untrained network: gradient norm, and likeness of the images.

    The norm is that of the loss's gradient at the layer's output; the likeness is the mean cosine
    between the activations of two different images.
    """
    net = build(kind, depth, seed)
    x, classes = data.train[:256], data.train_classes[:256]
    outputs = []
    out = net.flatten(x)
    for layer in net.layers:
        out = layer(out)
        out.retain_grad()
        outputs.append(out)
    functional.cross_entropy(net.classifier(out), classes).backward()
    norms, likeness = [], []
    for out in outputs:
        norms.append(float(out.grad.norm()))
        unit = functional.normalize(out.detach(), dim=1)
        cosines = unit @ unit.T
        others = len(unit) * (len(unit) - 1)
        likeness.append(float((cosines.sum() - cosines.trace()) / others))
    return norms, likeness


def draw(
    runs: dict[tuple[str, int], Trained],
    starts: dict[str, tuple[list[float], list[float]]],
    deepest: int,
    out: Path,
) -> None:
    """Three panels: gradient norm and likeness by layer before training, then the losses."""
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    layers = range(1, deepest + 1)
    for kind, (norms, likeness) in starts.items():
        left.semilogy(layers, norms, color=COLOURS[kind], label=kind)
        middle.plot(layers, likeness, color=COLOURS[kind], label=kind)
    left.set_ylim(1e-3, 1)
    left.set_ylabel("gradient norm at the layer's output")
    left.set_title(f"Untrained, {deepest} layers:\nno gradient vanishes")
    middle.set_ylim(0, 1.02)
    middle.set_ylabel("mean cosine between two images")
    middle.set_title(f"Untrained, {deepest} layers:\nplain layers make all images alike")
    for panel in (left, middle):
        panel.set_xlabel("layer")
        panel.legend(frameon=False, loc="lower right")

    depths = sorted({depth for _, depth in runs})
    for (kind, depth), run in runs.items():
        emphasis = 0.35 + 0.65 * depths.index(depth) / max(1, len(depths) - 1)
        epochs = range(1, len(run.losses) + 1)
        right.semilogy(epochs, run.losses, color=COLOURS[kind], alpha=emphasis, lw=0.8 + emphasis)
    right.axhline(CHANCE, color="0.5", ls=":", lw=1)
    right.annotate("guessing", (1, CHANCE), xytext=(0, 3), textcoords="offset points", color="0.4")
    right.margins(x=0.02)
    right.set_xlabel("epoch")
    right.set_ylabel("training loss (cross-entropy)")
    right.set_title(
        "Training, best of the learning rates:\ndepth stops plain networks, not highways"
    )
    right.set_ylim(right.get_ylim())
    name_ends(right, {key: run.losses[-1] for key, run in runs.items()})
    figure.savefig(out, dpi=150)
    plt.close(figure)


def name_ends(panel: Axes, ends: dict[tuple[str, int], float]) -> None:
    """The curves' names at the right edge, lowest first, none upon another."""
    low, high = (math.log(limit) for limit in panel.get_ylim())
    place = -math.inf
    for (kind, depth), loss in sorted(ends.items(), key=lambda end: end[1]):
        place = max((math.log(loss) - low) / (high - low), place + 0.055)
        panel.annotate(
            f"{kind} {depth}",
            (1.01, place),
            xycoords="axes fraction",
            va="center",
            color=COLOURS[kind],
        )


def main() -> None:
    """Train, print the table, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of split, weights and batches")
    parser.add_argument("--out", type=Path, default=Path("highway_depth.png"), help="the figure")
    parser.add_argument("--quick", action="store_true", help="fewer depths, rates and epochs")
    options = parser.parse_args()

    mpl.use("Agg")
    # The layers are too small to be worth sharing between cores.
    torch.set_num_threads(1)
    depths = [10, 50] if options.quick else [10, 20, 50]
    rates = [0.1, 0.001] if options.quick else [0.1, 0.01, 0.001]
    epochs = 5 if options.quick else 15

    data = digits(options.seed)
    print(f"{len(data.train)} digits to train on, {len(data.test)} to test on, {epochs} epochs")
    print(f"{'depth':>5}  {'network':<8} {'rate':>6}  {'training loss':>13}  {'test accuracy':>13}")
    runs = {}
    for depth in depths:
        for kind in WIDTHS:
            run = best(kind, depth, data, rates, epochs, options.seed)
            runs[kind, depth] = run
            print(
                f"{depth:>5}  {kind:<8} {run.learning_rate:>6g}  {run.train_loss:>13.4f}"
                f"  {run.test_accuracy:>13.1%}",
                flush=True,
            )
    starts = {kind: at_start(kind, depths[-1], data, options.seed) for kind in WIDTHS}
    draw(runs, starts, depths[-1], options.out)
    print(f"figure: {options.out}")


if __name__ == "__main__":
    main()
