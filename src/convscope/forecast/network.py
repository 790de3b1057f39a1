"""The network that forecasts: causal, dilated convolutions and all steps ahead at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from convscope.errors import InputError, unknown_name
from convscope.forecast.losses import Outputs
from convscope.forecast.newest import Newest
from convscope.nets.tcn import TCN, PlainTCN

Body = Literal["plain", "residual"]
Normalise = Literal["none", "last", "window", "revin"]
BODIES: tuple[Body, ...] = ("plain", "residual")
NORMALISE: tuple[Normalise, ...] = ("none", "last", "window", "revin")
_LEAST = 1e-3
_POINT = Outputs()


class ForecastNet(nn.Module):
    """A causal stack, a linear layer on its newest step for all steps ahead.

    Parameters
    ----------
    channels : int
        Of a context: the target, whether it was measured, past and known columns; see
        :class:`~convscope.forecast.windows.Batch`.
    horizon : int
    dilations : sequence of int
        Of each level; see :func:`~convscope.forecast.depth.dilations_for`.
    known : int
        Columns that are known ahead.
    outputs : Outputs
        What is said of each step ahead.
    body : str
        ``plain``: :class:`~convscope.nets.tcn.PlainTCN`, one convolution a level; ``residual``:
        :class:`~convscope.nets.tcn.TCN`, a block of two.
    filters, kernel_size : int
    dropout : float
        Of ``residual``, 0..1.
    normalise : str
        What is taken off each window's target before, and put back after: ``last`` its last
        measured value (Zeng et al. 2023); ``window`` its mean, and it is divided by its spread;
        ``revin`` the same with a learned factor and offset (Kim et al. 2022); ``none``.
    look_back : int, optional
        Steps before the newest that are read, no more than the stack reads; default all that it
        reads. Zeros stand for those before.
    shortcut : bool
        Add a linear map from the target's window to the steps ahead, so that the convolutions
        learn what it cannot say.
    """

    def __init__(
        self,
        channels: int,
        horizon: int,
        dilations: Sequence[int],
        *,
        known: int = 0,
        outputs: Outputs = _POINT,
        body: Body = "residual",
        filters: int = 32,
        kernel_size: int = 3,
        dropout: float = 0.1,
        normalise: Normalise = "last",
        look_back: int | None = None,
        shortcut: bool = False,
    ) -> None:
        super().__init__()
        if body not in BODIES:
            raise unknown_name("body", body, BODIES)
        if normalise not in NORMALISE:
            raise unknown_name("normalisation", normalise, NORMALISE)
        if horizon < 1:
            raise InputError(f"horizon={horizon}: a forecast is 1 step ahead or more.")
        self.horizon, self.outputs, self.normalise = horizon, outputs, normalise
        self.channels, self.known = channels, known
        count = horizon * outputs.count
        self.body: PlainTCN | TCN
        if body == "plain":
            self.body = PlainTCN(
                count, channels, filters=filters, kernel_size=kernel_size, dilations=dilations
            )
        else:
            self.body = TCN(
                count, channels, channels=[filters] * len(dilations), kernel_size=kernel_size,
                dilations=dilations, dropout=dropout,
            )  # fmt: skip
        #: Steps before the newest that a forecast reads.
        self.look_back = self.body.look_back if look_back is None else look_back
        if not 0 <= self.look_back <= self.body.look_back:
            raise InputError(
                f"look_back={look_back}: these convolutions look back {self.body.look_back} steps."
            )
        self.ahead = nn.Linear(known * horizon, count, bias=False) if known else None
        self.direct = nn.Linear(self.look_back + 1, count, bias=False) if shortcut else None
        self.log_factor = nn.Parameter(torch.zeros(1)) if normalise == "revin" else None
        self.offset = nn.Parameter(torch.zeros(1)) if normalise == "revin" else None
        self._newest = Newest(self.body)
        # It begins with what is taken off the window: the last value, the naive forecast.
        nn.init.zeros_(self.body.linear.bias)
        for layer in (self.body.linear, self.ahead, self.direct):
            if layer is not None:
                nn.init.zeros_(layer.weight)

    def start_linear(self, weight: Tensor, bias: Tensor) -> None:
        """Begin with a linear forecast, which the convolutions then mend.

        Parameters
        ----------
        weight : Tensor
            ``(look_back + 1, horizon)``: of the window after its last value was taken off.
        bias : Tensor
            ``(horizon,)``.

        Raises
        ------
        InputError
            The network has no linear map, or takes something else off.
        """
        if self.direct is None or self.normalise != "last":
            raise InputError("Only a network with shortcut and normalise='last' begins so.")
        # What is no spread: the mean, or all quantiles.
        means = 1 if self.outputs.kind == "gaussian" else self.outputs.count
        rows = means * self.horizon
        with torch.no_grad():
            self.direct.weight[:rows] = weight.T.repeat(means, 1)
            self.body.linear.bias[:rows] = bias.repeat(means)

    def forward(self, context: Tensor, ahead: Tensor | None = None) -> Tensor:
        """Windows to forecasts.

        Parameters
        ----------
        context : Tensor
            ``(n, channels, length)``, of which the newest ``look_back + 1`` steps are read; with a
            shortcut, no fewer.
        ahead : Tensor, optional
            ``(n, known, horizon)``.

        Returns
        -------
        Tensor
            ``(n, outputs, horizon)``, on the scale of the target.
        """
        context = context[:, :, -(self.look_back + 1) :]
        target, measured = context[:, 0], context[:, 1]
        level, spread = self._moments(target, measured)
        # What was not measured stays 0 after the level is taken off.
        moved = (target - level) / spread
        if self.log_factor is not None and self.offset is not None:
            moved = moved * self.log_factor.exp() + self.offset
        moved = moved * measured
        x = torch.cat([moved[:, None], context[:, 1:]], 1)
        found: Tensor = self.body.linear(self._newest(x))
        if self.ahead is not None:
            if ahead is None:
                raise InputError("This network needs the columns that are known ahead.")
            found = found + self.ahead(ahead.flatten(1))
        if self.direct is not None:
            found = found + self.direct(moved)
        found = found.reshape(-1, self.outputs.count, self.horizon)
        if self.log_factor is not None and self.offset is not None:
            spread = spread / self.log_factor.exp()
            level = level - self.offset * spread
        return self.outputs.scaled(found, level, spread)

    def _moments(self, target: Tensor, measured: Tensor) -> tuple[Tensor, Tensor]:
        """What is taken off, and what is divided by: ``(n, 1)`` each."""
        ones = torch.ones_like(target[:, :1])
        if self.normalise == "none":
            return torch.zeros_like(ones), ones
        if self.normalise == "last":
            steps = torch.arange(1, target.shape[1] + 1, device=target.device)
            last = (measured * steps).argmax(1, keepdim=True)
            return target.gather(1, last), ones
        count = measured.sum(1, keepdim=True).clamp(min=1)
        mean = (target * measured).sum(1, keepdim=True) / count
        variance = (((target - mean) * measured) ** 2).sum(1, keepdim=True) / count
        return mean, (variance + _LEAST**2).sqrt()
