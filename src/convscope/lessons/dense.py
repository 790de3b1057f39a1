"""A fully connected layer, softmax, cross-entropy; then steps against the gradient.

Gradients are torch.autograd's. The texts write out how one gets them by hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from convscope.lessons.lesson import Lesson, Step, grid, number, signed

Rows = Sequence[Sequence[float]]

X: tuple[float, ...] = (1.0, -2.0, 0.5)
WEIGHTS: Rows = ((0.5, -0.25, 1.0), (-0.5, 0.75, 0.25))
BIAS: tuple[float, ...] = (0.1, -0.1)
LABEL = 1
RATE = 0.5

# The second example: many points, and two weights that move.
POINTS, SEED = 24, 3
START = (-2.0, 2.5)
RATES = (0.1, 1.0, 20.0)
STEPS = 20
# Weights from -RANGE to RANGE, and how many values on the way the loss is computed for.
RANGE, SIDE = 4.0, 49


def forward(x: Sequence[float], weights: Rows, bias: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Logits ``W·x + b`` and their softmax, float64 ``(classes,)`` each."""
    logits = functional.linear(_tensor(x), _tensor(weights), _tensor(bias))
    return logits, logits.softmax(0)


def gradients(
    x: Sequence[float], weights: Rows, bias: Sequence[float], label: int
) -> tuple[float, Tensor, Tensor]:
    """The cross-entropy and, by torch.autograd, its gradient for the weights and for the bias."""
    w, b = _tensor(weights).requires_grad_(), _tensor(bias).requires_grad_()
    loss = functional.cross_entropy(functional.linear(_tensor(x), w, b), torch.tensor(label))
    by_weights, by_bias = torch.autograd.grad(loss, (w, b))
    return float(loss.detach()), by_weights, by_bias


@cache
def points() -> tuple[Tensor, Tensor]:
    """The points ``(n, 3)`` and their classes ``(n,)``: two clouds that overlap.

    The second input varies more than the first, so that the loss is a long valley.
    """
    rng = np.random.default_rng(SEED)
    classes = np.arange(POINTS) % 2
    centres = np.array([[-0.6, -0.9, 0.3], [0.6, 0.9, -0.3]])
    drawn = centres[classes] + rng.normal(size=(POINTS, 3)) * [0.9, 2.2, 0.6]
    return torch.tensor(drawn.round(1)), torch.tensor(classes)


def mean_loss(moved: Tensor) -> Tensor:
    """Mean cross-entropy of all points, as two weights of the layer make it.

    Parameters
    ----------
    moved : Tensor
        float64 ``(..., 2)``: the weights of the second class on the first two inputs. All others
        stay as they are.
    """
    inputs, classes = points()
    first = functional.linear(inputs, _tensor(WEIGHTS[:1]), _tensor(BIAS[:1]))[:, 0]
    second = moved @ inputs[:, :2].T + WEIGHTS[1][2] * inputs[:, 2] + BIAS[1]
    logits = torch.stack([first.expand_as(second), second], -1)
    return functional.cross_entropy(
        logits.reshape(-1, 2), classes.expand(second.shape).reshape(-1), reduction="none"
    ).reshape(second.shape).mean(-1)  # fmt: skip


def slope(moved: Sequence[float]) -> Tensor:
    """Gradient of :func:`mean_loss` at one place, by torch.autograd."""
    at = _tensor(moved).requires_grad_()
    (found,) = torch.autograd.grad(mean_loss(at), at)
    return found


def descend(start: Sequence[float], rate: float, steps: int) -> tuple[Tensor, Tensor]:
    """Places ``(steps + 1, 2)`` and losses ``(steps + 1,)`` of gradient descent."""
    places = [_tensor(start)]
    for _ in range(steps):
        places.append(places[-1] - rate * slope(places[-1].tolist()))
    path = torch.stack(places)
    return path, mean_loss(path)


@cache
def lowest() -> tuple[Tensor, float]:
    """Where the mean loss is least, and the step length above which steps leave that place.

    Near the minimum a step overshoots by more than it gains if it is longer than 2 / the largest
    eigenvalue of the Hessian.
    """
    at = torch.zeros(2, dtype=torch.float64)
    hessian = torch.zeros(2, 2)
    for _ in range(50):  # Newton's method
        hessian = torch.autograd.functional.hessian(mean_loss, at)  # type: ignore[no-untyped-call]
        at = at - torch.linalg.solve(hessian, slope(at.tolist()))
    return at, 2 / float(torch.linalg.eigvalsh(hessian).max())


def lesson() -> Lesson:
    """The layer by hand, then the loss as a landscape."""
    logits, shares = forward(X, WEIGHTS, BIAS)
    loss, by_weights, by_bias = gradients(X, WEIGHTS, BIAS, LABEL)
    after_weights = _tensor(WEIGHTS) - RATE * by_weights
    after_bias = _tensor(BIAS) - RATE * by_bias
    after = gradients(X, after_weights.tolist(), after_bias.tolist(), LABEL)[0]
    axis = torch.linspace(-RANGE, RANGE, SIDE, dtype=torch.float64)
    surface = mean_loss(torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1))
    inputs, classes = points()
    minimum, longest = lowest()
    steps = (
        Step("The layer", _layer(logits), (grid("inputs x", [X]), grid("weights W", WEIGHTS),
                                           grid("bias b", [BIAS]))),
        Step("Softmax", _softmax(logits, shares), (grid("logits z", [logits.tolist()]),
                                                   grid("softmax p", [shares.tolist()]))),
        Step("Cross-entropy", f"The right class is {LABEL}.\n"
             f"loss = -ln({number(float(shares[LABEL]))}) = {number(loss)}"),
        Step("The gradient", _gradient(shares), (grid("gradient for W", by_weights.tolist()),
                                                 grid("gradient for b", [by_bias.tolist()]))),
        Step("One step", _step(float(by_weights[LABEL][0]), loss, after),
             (grid("new W", after_weights.tolist()), grid("new b", [after_bias.tolist()]))),
        Step("The loss over two weights", _landscape(minimum)),
        *_descents(longest),
    )  # fmt: skip
    return Lesson(
        "dense",
        "A fully connected layer learns",
        "Every output weighs every input; softmax makes shares of them; cross-entropy says how "
        "wrong they are; and its gradient says which way the weights should go.",
        steps,
        {
            "x": list(X), "weights": [list(row) for row in WEIGHTS], "bias": list(BIAS),
            "label": LABEL, "rate": RATE, "logits": logits.tolist(), "shares": shares.tolist(),
            "loss": loss, "by_weights": by_weights.tolist(), "by_bias": by_bias.tolist(),
            "after": after,
            "points": inputs.tolist(), "classes": classes.tolist(),
            "start": list(START), "steps": STEPS, "axis": axis.tolist(),
            # Of the row: the weight of the second input; of the column: that of the first.
            "surface": [[round(value, 6) for value in row] for row in surface.tolist()],
            "minimum": minimum.tolist(), "least": float(mean_loss(minimum)), "longest": longest,
        },
    )  # fmt: skip


def _tensor(values: Sequence[float] | Rows) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _layer(logits: Tensor) -> str:
    lines = []
    for c, (row, bias) in enumerate(zip(WEIGHTS, BIAS, strict=True)):
        terms = " + ".join(f"{signed(w)}·{signed(x)}" for w, x in zip(row, X, strict=True))
        lines.append(f"z{c} = {terms} + {signed(bias)} = {number(float(logits[c]))}")
    return "\n".join(lines)


def _softmax(logits: Tensor, shares: Tensor) -> str:
    powers = [math.exp(z) for z in logits.tolist()]
    total = sum(powers)
    lines = [f"e^z0 + e^z1 = {' + '.join(map(number, powers))} = {number(total)}"]
    lines += [
        f"p{c} = {number(power)} / {number(total)} = {number(float(shares[c]))}"
        for c, power in enumerate(powers)
    ]
    return "\n".join(lines)


def _gradient(shares: Tensor) -> str:
    lines = ["For the logits it is the shares minus what they should be:"]
    for c, share in enumerate(shares.tolist()):
        wanted = int(c == LABEL)
        lines.append(f"dL/dz{c} = {number(share)} - {wanted} = {number(share - wanted)}")
    first = float(shares[0])
    lines.append("A weight's is that of its logit times its input; a bias's is that of its logit:")
    lines.append(f"dL/dW[0][1] = {number(first)}·{signed(X[1])} = {number(first * X[1])}")
    return "\n".join(lines)


def _step(slope_of_one: float, before: float, after: float) -> str:
    old = WEIGHTS[LABEL][0]
    return (
        f"new = old - step length · gradient, step length {number(RATE)}:\n"
        f"W[{LABEL}][0] = {number(old)} - {number(RATE)}·{signed(slope_of_one)} = "
        f"{number(old - RATE * slope_of_one)}\n"
        f"The loss of this input falls from {number(before)} to {number(after)}."
    )


def _landscape(minimum: Tensor) -> str:
    gradient = slope(START)
    at = ", ".join(map(number, START))
    return (
        f"{POINTS} points in two clouds; all weights stay but W[1][0] and W[1][1].\n"
        f"At ({at}) the mean loss is {number(float(mean_loss(_tensor(START))))}, its gradient "
        f"({', '.join(map(number, gradient.tolist()))}).\n"
        f"It is least, {number(float(mean_loss(minimum)))}, at "
        f"({', '.join(map(number, minimum.tolist()))})."
    )


def _descents(longest: float) -> list[Step]:
    found = []
    for rate in RATES:
        path, losses = descend(START, rate, STEPS)
        lines = [
            f"step {k}: ({', '.join(map(number, path[k].tolist()))})  "
            f"loss {number(float(losses[k]))}"
            for k in (0, 1, 2, 5, 10, STEPS)
        ]
        verdict = (
            f"Longer than {number(longest, 2)}, steps cannot settle at the minimum."
            if rate > longest
            else f"Steps up to {number(longest, 2)} can settle at the minimum."
        )
        found.append(Step(f"Step length {number(rate)}", "\n".join([*lines, verdict])))
    return found
