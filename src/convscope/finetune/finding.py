"""The learning-rate range test (Smith 2015, arXiv 1506.01186), and its plot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from convscope.errors import InputError
from convscope.finetune.cutting import Cut
from convscope.finetune.loop import MapData
from convscope.finetune.plan import FinetunePlan
from convscope.finetune.step import MapBatches, StageTrainer
from convscope.train.batches import EpochRows, EpochSampler
from convscope.train.loop import class_weights, own_random_numbers

# Of the moving average of the loss; and how far above its least it may rise before the test ends.
_SMOOTHING, _DIVERGED = 0.9, 4.0
# Of the first steps the average is of few batches, and least by chance.
_FIRST = 10


@dataclass(frozen=True)
class RateSearch:
    """Loss at a learning rate that rises with every step.

    Attributes
    ----------
    rates : tuple of float
        Of the last trained stage and the head; earlier stages as the plan has them.
    losses : tuple of float
        Smoothed training loss after a step at each rate.
    suggestion : float
        The rate of least loss, as the peak of a rate that rises to it and falls again.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "rates": list(self.rates),
            "losses": list(self.losses),
            "suggestion": self.suggestion,
        }

    def to_svg(self) -> str:
        """Loss against the logarithm of the rate, with the suggestion marked; a whole SVG file."""
        # The page that reports are made of is not needed for anything else here.
        from convscope.report.chart import Series, line_chart

        # Past twice the least loss the curve says only that it has left the page.
        high = 2 * min(self.losses)
        shown = tuple(loss if loss <= high else None for loss in self.losses)
        mark = int(np.argmin(np.abs(np.log(self.rates) - np.log(self.suggestion))))
        chart = line_chart(
            "Training loss while the learning rate rises", "learning rate", self.rates,
            [Series("loss", "train", shown)], x_word="rate", log_x=True, mark=mark,
            mark_label=f"suggested {self.suggestion:.1g}",
        )  # fmt: skip
        if chart is None:
            raise InputError("No loss of the rate test is a number: there is nothing to draw.")
        rule, text = 'stroke="#ccc"', 'font-family="sans-serif" font-size="12" fill="#333"'
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {chart.width:g} '
            f'{chart.height:g}" role="img"><title>{escape(chart.description)}</title>',
            f'<rect width="{chart.width:g}" height="{chart.height:g}" fill="#fff"/>',
        ]
        for tick in chart.y_ticks:
            parts.append(f'<path {rule} d="M{chart.left:g} {tick.at:g}H{chart.right:g}"/>')
            parts.append(_text(chart.left - 7, tick.at + 4, tick.label, "end", text))
        for tick in chart.x_ticks:
            parts.append(f'<path {rule} d="M{tick.at:g} {chart.bottom:g}v5"/>')
            parts.append(_text(tick.at, chart.bottom + 19, tick.label, "middle", text))
        middle = (chart.left + chart.right) / 2
        parts.append(_text(middle, chart.height - 5, chart.x_label, "middle", text))
        if chart.mark is not None:
            at = chart.mark.at
            parts.append(f'<path stroke="#c40" d="M{at:g} {chart.top:g}V{chart.bottom:g}"/>')
            parts.append(_text(at, chart.top - 7, chart.mark.label, "middle", text))
        parts += [
            f'<polyline fill="none" stroke="#06c" stroke-width="2" points="{points}"/>'
            for line in chart.lines
            for points in line.stretches
        ]
        return "\n".join([*parts, "</svg>\n"])


def _text(x: float, y: float, label: str, anchor: str, style: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" {style}>{escape(label)}</text>'


def find_learning_rate(
    cut: Cut,
    data: MapData,
    plan: FinetunePlan,
    *,
    seed: int,
    steps: int = 100,
    low: float = 1e-6,
    high: float = 1.0,
) -> RateSearch:
    """Try learning rates from very low to very high, one step each, and suggest one.

    The test ends early where the loss leaves all bounds. Weights, modes and random generators are
    left as they were.

    Parameters
    ----------
    cut : Cut
    data : MapData
    plan : FinetunePlan
        Its ``learning_rate`` has no effect.
    seed : int
    steps : int
        Rates, 10 or more.
    low, high : float
        First and last rate.

    Raises
    ------
    InputError
        If the range or the number of steps makes no test.
    """
    if not (0 < low < high and steps >= 10):
        raise InputError(
            f"A rate test from {low} to {high} in {steps} steps: rates must rise from above 0, in "
            "10 steps or more."
        )
    began = {name: value.clone() for name, value in cut.trained.state_dict().items()}
    modes = [(module, module.training) for module in cut.trained.modules()]
    grads = [(p, p.grad) for p in cut.trained.parameters()]
    rates = np.geomspace(low, high, steps)
    try:
        with own_random_numbers(), torch.enable_grad():
            losses = _losses(cut, data, plan, seed, rates)
    finally:
        cut.trained.load_state_dict(began)
        for module, mode in modes:
            module.training = mode
        for parameter, grad in grads:
            parameter.grad = grad
    return RateSearch(tuple(rates[: len(losses)].tolist()), tuple(losses), suggest(rates, losses))


def _losses(
    cut: Cut, data: MapData, plan: FinetunePlan, seed: int, rates: np.ndarray
) -> list[float]:
    weights = class_weights(data.labels, data.num_classes)
    step = StageTrainer(cut, plan, weights, seed).train()
    optimizer = step.configure_optimizers()
    batches = MapBatches(data.draws, data.labels)
    sampler = EpochSampler(np.arange(len(data.labels)), plan.batch_size, seed)
    torch.manual_seed(seed)
    found: list[float] = []
    mean = 0.0
    epoch = 0
    items: Iterator[EpochRows] = iter(())
    for count, rate in enumerate(rates.tolist(), 1):
        item = next(items, None)
        if item is None:
            sampler.set_epoch(epoch)
            items, epoch = iter(list(sampler)), epoch + 1
            item = next(items)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["peak"] / plan.learning_rate
        maps, labels = batches[item]
        loss = functional.cross_entropy(step.net(maps), labels, weight=step.class_weights)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * float(loss.detach())
        smooth = mean / (1 - _SMOOTHING**count)
        if not np.isfinite(smooth) or (found and smooth > _DIVERGED * min(found)):
            break
        found.append(smooth)
    if not found:
        raise InputError("The rate test: the loss is no number at the very first step.")
    return found


def suggest(rates: Sequence[float] | np.ndarray, losses: Sequence[float]) -> float:
    """The rate of least loss, apart from the first steps.

    A head that starts from a fitted classifier has little left to gain, so the loss hardly falls
    before it rises, and the rate of its steepest fall says nothing. The rate is the peak of a
    schedule that rises to it slowly and leaves it again (Smith 2018, arXiv 1803.09820).

    >>> rates = [10.0 ** (step / 10 - 4) for step in range(30)]
    >>> suggest(rates, [abs(step - 20) for step in range(30)])
    0.01
    """
    first = min(_FIRST, len(losses) - 1)
    return float(rates[first + int(np.argmin(losses[first:]))])
