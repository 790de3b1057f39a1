"""Many inputs through a network without gradients, as fast as it goes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from convscope.nets.inference import fuse, has_bfloat16

Precision = Literal["exact", "fast"]
PRECISIONS: tuple[Precision, ...] = ("exact", "fast")
# Against the largest output; folding batch norms rounds differently.
_CLOSE = 1e-4
# The same of bfloat16, which has 8 bits; sampling makes more noise than that.
_CLOSE_FAST = 0.03
# Inputs that the two types run a race on, and by how much bfloat16 has to win it.
_RACE, _WINS = 8, 1.2


@dataclass(frozen=True)
class Forward:
    """``(b, channels, *space)`` -> ``(b, classes)``; may write into what it is given.

    Attributes
    ----------
    net : nn.Module
    given : torch.dtype
        What the network takes; outputs come in that of the inputs.
    """

    net: nn.Module
    given: torch.dtype

    def __call__(self, images: Tensor) -> Tensor:
        """Outputs, without gradients."""
        with torch.inference_mode():
            outputs: Tensor = self.net(_channels_last(images.to(self.given)))
            return outputs.to(images.dtype)


def fast_forward(
    model: nn.Module, images: Tensor, outputs: Tensor, precision: Precision = "exact"
) -> Forward:
    """The network re-written for evaluation where that gives the same, else the network itself.

    To be called within :func:`~convscope.explain.asking.left_as_found`.

    Parameters
    ----------
    model : nn.Module
        Left as it is.
    images : Tensor
        ``(n, channels, *space)``, n at least 1: what it is tried on.
    outputs : Tensor
        ``(n, classes)``: what the network says of them.
    precision : str
        ``fast``: in bfloat16 where the CPU has it, it is faster, and the outputs are within 3 % of
        the largest.
    """
    with torch.inference_mode():
        rewritten = _rewritten(model) if _can_be(model, images) else None
        if rewritten is None:
            return Forward(model, images.dtype)
        exact = Forward(rewritten, images.dtype)
        if not _same(exact, images, outputs, _CLOSE):
            return Forward(model, images.dtype)
        if precision == "fast" and has_bfloat16():
            reduced = _rewritten(model, torch.bfloat16)
            fast = None if reduced is None else Forward(reduced, torch.bfloat16)
            if fast is not None and _same(fast, images, outputs, _CLOSE_FAST):
                return fast if _seconds(exact, images) > _WINS * _seconds(fast, images) else exact
    return exact


def _can_be(model: nn.Module, images: Tensor) -> bool:
    """Only maps on a CPU gain; hooks would not be called as before."""
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    return (
        images.ndim == 4
        and images.dtype == torch.float32
        and images.device.type == "cpu"
        and not hooked
    )


def _rewritten(model: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module | None:
    try:
        return fuse(model, dtype)
    except Exception:  # tracing runs the network's own Python
        return None


def _same(forward: Forward, images: Tensor, outputs: Tensor, close: float) -> bool:
    wanted = outputs[:1]
    try:
        found = forward(images[:1].clone())
    except Exception:  # whatever the re-written network trips over, the plain one may not
        return False
    if found.shape != wanted.shape:
        return False
    return bool((found - wanted).abs().max() <= close * wanted.abs().max().clamp_min(1e-6))


def _seconds(forward: Forward, images: Tensor) -> float:
    """Of a batch, the better of two tries after one that prepares."""
    batch = images[:1].repeat(_RACE, *[1] * (images.ndim - 1))
    took = []
    for _ in range(3):
        started = time.perf_counter()
        forward(batch.clone())
        took.append(time.perf_counter() - started)
    return min(took[1:])


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images
