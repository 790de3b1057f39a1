"""What a forecast is trained to: losses over the steps that were measured, and no others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from convscope.errors import InputError, unknown_name

Kind = Literal["point", "quantiles", "gaussian"]
KINDS: tuple[Kind, ...] = ("point", "quantiles", "gaussian")
# The logarithm of a spread stays within.
_LOG_SPREAD = 9.0


@dataclass(frozen=True)
class Outputs:
    """What a network says of each step ahead.

    Attributes
    ----------
    kind : str
        ``point``: one value, the mean (squared errors); ``quantiles``: those of :attr:`levels`;
        ``gaussian``: mean and logarithm of the standard deviation.
    levels : tuple of float
        Of quantiles, rising, 0.5 among them.
    """

    kind: Kind = "point"
    levels: tuple[float, ...] = (0.1, 0.5, 0.9)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("kind of output", self.kind, KINDS)
        rising = all(0 < a < b < 1 for a, b in zip(self.levels, self.levels[1:], strict=False))
        if self.kind == "quantiles" and (not rising or 0.5 not in self.levels):
            raise InputError(
                f"levels={self.levels}: quantiles rise between 0 and 1, and 0.5 is one of them."
            )

    @property
    def count(self) -> int:
        """Numbers for each step."""
        return {"point": 1, "quantiles": len(self.levels), "gaussian": 2}[self.kind]

    def scaled(self, raw: Tensor, level: Tensor, spread: Tensor) -> Tensor:
        """What is said of a window that was moved and scaled, said of the window as it was.

        Parameters
        ----------
        raw : Tensor
            ``(n, count, horizon)``.
        level, spread : Tensor
            ``(n, 1)``: what was taken off, and then divided by.
        """
        if self.kind != "gaussian":
            return raw * spread[:, None] + level[:, None]
        return torch.stack([raw[:, 0] * spread + level, raw[:, 1] + spread.log()], 1)

    def loss(self, raw: Tensor, truth: Tensor) -> Tensor:
        """Mean over what was measured; 0 if nothing was.

        Parameters
        ----------
        raw : Tensor
            ``(n, count, horizon)``: what the network gives.
        truth : Tensor
            ``(n, horizon)``, NaN where nothing was measured.
        """
        known = torch.isfinite(truth)
        target = torch.where(known, truth, torch.zeros_like(truth))
        if self.kind == "point":
            each = (raw[:, 0] - target) ** 2
        elif self.kind == "quantiles":
            levels = raw.new_tensor(self.levels)[None, :, None]
            off = target[:, None] - raw
            each = torch.maximum(levels * off, (levels - 1) * off).mean(1)
        else:
            log_spread = _log_spread(raw)
            each = log_spread + 0.5 * ((target - raw[:, 0]) * (-log_spread).exp()) ** 2
            each = each + 0.5 * math.log(2 * math.pi)
        return (each * known).sum() / known.sum().clamp(min=1)

    def middle(self, raw: Tensor) -> Tensor:
        """The forecast itself, ``(n, horizon)``: the mean, or the median of quantiles."""
        return self.quantile(raw, 0.5) if self.kind == "quantiles" else raw[:, 0]

    def quantile(self, raw: Tensor, level: float) -> Tensor:
        """One quantile, ``(n, horizon)``. Quantiles that cross are put in order.

        Raises
        ------
        InputError
            The network does not say it.
        """
        if self.kind == "gaussian":
            factor = math.sqrt(2) * float(torch.erfinv(torch.tensor(2 * level - 1.0)))
            return raw[:, 0] + factor * _log_spread(raw).exp()
        if self.kind == "point" or level not in self.levels:
            said = "one value" if self.kind == "point" else f"quantiles {self.levels}"
            raise InputError(f"This network says {said}, and not the quantile {level}.")
        return raw.sort(1).values[:, self.levels.index(level)]


def _log_spread(raw: Tensor) -> Tensor:
    return raw[:, 1].clamp(-_LOG_SPREAD, _LOG_SPREAD)
