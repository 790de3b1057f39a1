"""Highway and residual layers: a way past each layer, for the signal and for the gradient.

Untrained stacks of 50 layers, on scikit-learn's digits: the norm of the loss's gradient at the
output of every layer, by torch.autograd, and how alike the images have become there. All fixed
gates share their weights, so that only T differs between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from convscope.lessons.lesson import Lesson, Step, grid, number, signed
from convscope.nets.highway import HighwayMLP

# One block of two numbers, written out.
X: tuple[float, ...] = (1.0, -0.5)
WEIGHTS = ((0.6, -0.8), (1.2, 0.4))
BIAS: tuple[float, ...] = (0.1, 0.2)
GATE = 0.25

DEPTH, WIDTH, IMAGES, SEED = 50, 50, 128, 0
GATES = tuple(k / 20 for k in range(21))
BIASES = (-1, -2, -4)
STARTS = {
    "small": "Small weights, as PyTorch draws them for a linear layer by default",
    "larger": "Larger weights after He et al. 2015, made for ReLU layers without a way past",
}
# Layers that the terminal shows.
_SHOWN = (1, 10, 20, 30, 40, 50)

# Input of a layer -> its output.
Layer = Callable[[Tensor], Tensor]


def block(x: Tensor, gate: float, weights: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """``H(x) = ReLU(W·x + b)`` and ``y = T·H(x) + (1 - T)·x``."""
    h = functional.linear(x, weights, bias).relu()
    return h, gate * h + (1 - gate) * x


def through(x: Tensor, gate: float, weights: Tensor, bias: Tensor) -> Tensor:
    """How each output of the block answers to each input, by torch.autograd: ``(out, in)``."""
    found: Tensor = torch.autograd.functional.jacobian(  # type: ignore[no-untyped-call]
        lambda value: block(value, gate, weights, bias)[1], x
    )
    return found


def stack(kind: str, start: str, gate: float = 0.0) -> tuple[list[Layer], nn.Linear]:
    """Fifty untrained layers and their classifier, float64.

    Parameters
    ----------
    kind : str
        ``plain``, ``highway -2`` (with the bias of its gates), ``fixed`` (every gate is
        ``gate``), ``residual`` (``x + H(x)``) or ``residual, batch norm`` (``x + H(norm(x))``).
    start : str
        A name of :data:`STARTS`.
    gate : float
        T of ``fixed``.
    """
    highway = kind.startswith("highway")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(SEED)
        net = HighwayMLP(
            10, 1, depth=DEPTH, width=WIDTH, image_size=8, plain=not highway,
            gate_bias=float(kind.split()[1]) if highway else 0.0,
        ).double()  # fmt: skip
        if start == "small":
            for module in net.modules():
                if isinstance(module, nn.Linear):
                    most = 1 / math.sqrt(module.in_features)
                    nn.init.uniform_(module.weight, -most, most)
    first, *rest = net.layers
    if kind == "fixed":
        return [first, *(_gated(layer, gate) for layer in rest)], net.classifier
    if kind.startswith("residual"):
        return [first, *(_past(layer, kind != "residual") for layer in rest)], net.classifier
    return list(net.layers), net.classifier


def measure(kind: str, start: str, gate: float = 0.0) -> dict[str, list[float]]:
    """Of every layer's output: norm of the loss's gradient, and likeness of the images.

    The likeness is the mean cosine between the outputs for two different images; 1 means that
    nothing of the difference between images is left.
    """
    images, classes = _digits()
    layers, classifier = stack(kind, start, gate)
    outputs = []
    out = images
    for layer in layers:
        out = layer(out)
        outputs.append(out)
    loss = functional.cross_entropy(classifier(out), classes)
    slopes = torch.autograd.grad(loss, outputs)
    gradient = [float(slope.norm()) for slope in slopes]
    likeness = []
    for each in outputs:
        unit = functional.normalize(each.detach(), dim=1)
        cosines = unit @ unit.T
        others = len(unit) * (len(unit) - 1)
        likeness.append(float((cosines.sum() - cosines.trace()) / others))
    return {"gradient": gradient, "likeness": likeness}


def kinds() -> list[str]:
    """The stacks that are compared with fixed gates."""
    return ["plain", *(f"highway {bias}" for bias in BIASES), "residual", "residual, batch norm"]


@cache
def measured() -> dict[str, dict[str, Any]]:
    """All stacks: start -> ``named`` (kind -> measures) and ``fixed`` (one for each gate)."""
    return {
        start: {
            "named": {kind: _short(measure(kind, start)) for kind in kinds()},
            "fixed": [_short(measure("fixed", start, gate)) for gate in GATES],
        }
        for start in STARTS
    }


def lesson() -> Lesson:
    """One block, then fifty."""
    x, weights, bias = (torch.tensor(v, dtype=torch.float64) for v in (X, WEIGHTS, BIAS))
    h, y = block(x, GATE, weights, bias)
    jacobian = through(x, GATE, weights, bias)
    found = measured()
    steps = (
        Step("What the layer makes of its input", _transform(h),
             (grid("x", [X]), grid("W", WEIGHTS), grid("b", [BIAS]))),
        Step(f"The gate: T = {number(GATE)}", _mixed(h, y),
             (grid("H(x)", [h.tolist()]), grid("y", [y.tolist()]))),
        Step("What the gradient meets", _way(weights, h, jacobian),
             (grid("dy/dx", jacobian.tolist()),)),
        Step("Residual", "y = x + H(x): both ways are open, none is shared out.\n" + "\n".join(
            f"y{i} = {number(X[i])} + {number(v)} = {number(X[i] + v)}"
            for i, v in enumerate(h.tolist()))),
        *(_table(start, found[start]) for start in STARTS),
        Step("How alike the images become", _alike(found)),
    )  # fmt: skip
    return Lesson(
        "residual",
        "Highway and residual: a way past each layer",
        "A gate T mixes what a layer makes of its input with the input itself; what is carried on "
        "lets signal and gradient pass fifty layers.",
        steps,
        {
            "x": list(X), "weights": [list(row) for row in WEIGHTS], "bias": list(BIAS),
            "gate": GATE, "h": h.tolist(), "y": y.tolist(), "jacobian": jacobian.tolist(),
            "depth": DEPTH, "gates": list(GATES), "starts": dict(STARTS),
            "biases": {str(bias): 1 / (1 + math.exp(-bias)) for bias in BIASES},
            "images": IMAGES, "measured": found,
        },
    )  # fmt: skip


def _gated(layer: nn.Module, gate: float) -> Layer:
    return lambda x: gate * layer(x) + (1 - gate) * x


def _past(layer: nn.Module, norm: bool) -> Layer:
    # As untrained batch norms compute in training: each unit gets mean 0 and variance 1.
    return lambda x: x + layer(functional.batch_norm(x, None, None, training=True) if norm else x)


@cache
def _digits() -> tuple[Tensor, Tensor]:
    images, classes = load_digits(return_X_y=True)
    images = (images - images.mean()) / images.std()
    return torch.tensor(images[:IMAGES]), torch.tensor(classes[:IMAGES])


def _short(found: dict[str, list[float]]) -> dict[str, list[float]]:
    """Four digits: enough for any drawing, and a page of half the size."""
    return {name: [float(f"{value:.3e}") for value in values] for name, values in found.items()}


def _transform(h: Tensor) -> str:
    lines = []
    for i, (row, bias) in enumerate(zip(WEIGHTS, BIAS, strict=True)):
        terms = " + ".join(f"{signed(w)}·{signed(x)}" for w, x in zip(row, X, strict=True))
        lines.append(f"H{i} = max(0, {terms} + {signed(bias)}) = {number(float(h[i]))}")
    return "\n".join(lines)


def _mixed(h: Tensor, y: Tensor) -> str:
    keep = number(1 - GATE)
    lines = ["y = T·H(x) + (1 - T)·x"]
    lines += [
        f"y{i} = {number(GATE)}·{signed(float(h[i]))} + {keep}·{signed(X[i])} = "
        f"{number(float(y[i]))}"
        for i in range(len(X))
    ]
    lines.append("T = 0 carries x on as it is; T = 1 is a plain layer. A highway layer computes a")
    lines.append("T for each number, sigmoid(gate·x + bias), and learns it.")
    return "\n".join(lines)


def _way(weights: Tensor, h: Tensor, jacobian: Tensor) -> str:
    on = int(h[0] > 0)
    return (
        "dy/dx = T·dH/dx + (1 - T)·1: the second part passes the gradient on, whatever W is.\n"
        f"dy0/dx0 = {number(GATE)}·{signed(on * float(weights[0][0]))} + {number(1 - GATE)} = "
        f"{number(float(jacobian[0][0]))}"
    )


def _table(start: str, found: dict[str, Any]) -> Step:
    rows = [(kind, values["gradient"]) for kind, values in found["named"].items()]
    rows += [
        (f"T = {number(gate)} always", found["fixed"][GATES.index(gate)]["gradient"])
        for gate in (0.0, 0.1, 0.5, 1.0)
    ]
    lines = [f"{'layer':<22}" + "".join(f"{layer:>10}" for layer in _SHOWN)]
    lines += [
        f"{name:<22}" + "".join(f"{norms[layer - 1]:>10.1e}" for layer in _SHOWN)
        for name, norms in rows
    ]
    return Step(
        f"The gradient by depth: {start} weights",
        f"{STARTS[start]}.\nNorm of the loss's gradient at a layer's output, before "
        "any training:\n" + "\n".join(lines),
    )


def _alike(found: dict[str, Any]) -> str:
    named = found["larger"]["named"]
    last = {kind: named[kind]["likeness"][-1] for kind in ("plain", "highway -4")}
    return (
        "With the larger weights no gradient vanishes in the plain stack, and still it hardly "
        "trains:\nthe mean cosine between two images after 50 layers is "
        + ", ".join(f"{number(value, 3)} ({kind})" for kind, value in last.items())
        + ".\nAt 1 nothing of what tells them apart is left."
    )
