"""Which past steps made a forecast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from convscope import explain
from convscope.errors import InputError
from convscope.explain.result import Explanation
from convscope.forecast.model import Model

# Of a look-back, what is covered at a time: about so many stretches.
_STRETCHES = 48


class OneSeries(nn.Module):
    """A forecaster as :mod:`convscope.explain` takes networks: a window to one score a step ahead.

    Parameters
    ----------
    model : Model
    ahead : Tensor
        ``(1, known, horizon)``: what is known of the steps ahead.
    """

    def __init__(self, model: Model, ahead: Tensor) -> None:
        super().__init__()
        self.net, self.outputs = model.net, model.net.outputs
        self.ahead = nn.Buffer(ahead)

    def forward(self, context: Tensor) -> Tensor:
        """``(n, channels, length)`` to the forecast, ``(n, horizon)``, scaled."""
        # Whether something was measured is no quantity that could be a little larger.
        measured = context[:, 1:2].detach()
        context = torch.cat([context[:, :1], measured, context[:, 2:]], 1)
        raw = self.net(context, self.ahead.expand(len(context), -1, -1))
        return self.outputs.middle(raw)


@dataclass(frozen=True, eq=False)
class OverTime:
    """What a forecast rests on.

    Attributes
    ----------
    saliency, occlusion : Explanation
        ``map`` is float32 ``(targets, length)``, the newest step last: how strongly the forecast
        answers to each step; how far it falls, in spreads of the series, where a stretch is taken
        for not measured.
    """

    saliency: Explanation
    occlusion: Explanation


def explain_forecast(
    model: Model, context: Tensor, ahead: Tensor, steps: tuple[int, ...] | None = None,
    window: int | None = None,
) -> OverTime:  # fmt: skip
    """Explain the forecast of one window.

    Parameters
    ----------
    model : Model
    context : Tensor
        ``(channels, length)``, scaled; see :meth:`~convscope.forecast.model.Model.context`.
    ahead : Tensor
        ``(known, horizon)``.
    steps : tuple of int, optional
        Which steps ahead, from 1; default the first, the middle and the last.
    window : int, optional
        Steps that are covered at a time; default about a 48th of the window.

    Raises
    ------
    InputError
        There is no such step.
    """
    horizon = model.horizon
    chosen = steps or tuple(sorted({1, (horizon + 1) // 2, horizon}))
    if min(chosen) < 1 or max(chosen) > horizon:
        raise InputError(f"steps={chosen}: this network says steps 1 to {horizon}.")
    net = OneSeries(model, ahead[None]).eval()
    targets = torch.tensor([[step - 1 for step in chosen]])
    images = context[None]
    wide = window or max(1, context.shape[1] // _STRETCHES)
    saliency = explain.saliency(net, images, targets)
    # Zeros everywhere: not measured, and every column at its mean.
    occlusion = explain.occlusion(
        net, images, targets, window=wide, stride=max(1, wide // 2), occluder=0.0
    )
    return OverTime(_first(saliency), _first(occlusion))


def _first(found: Explanation) -> Explanation:
    return found[0]


def mean_over_steps(found: Explanation) -> np.ndarray:
    """Absolute values, over the explained steps: float32 ``(length,)``."""
    return np.asarray(np.abs(found.map).reshape(-1, found.map.shape[-1]).mean(0))
