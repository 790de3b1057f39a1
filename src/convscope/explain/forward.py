"""Many inputs through a network without gradients, as fast as it goes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from convscope.nets.inference import fuse

# Against the largest output; folding batch norms rounds differently.
_CLOSE = 1e-4


def fast_forward(model: nn.Module, images: Tensor, outputs: Tensor) -> Callable[[Tensor], Tensor]:
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

    Returns
    -------
    callable
        ``(b, channels, *space)`` -> ``(b, classes)``; may write into what it is given.
    """
    with torch.inference_mode():
        rewritten = _rewritten(model) if _can_be(model, images) else None
        if rewritten is not None:
            try:
                found = rewritten(_channels_last(images[:1]))
            except Exception:  # whatever the re-written network trips over, the plain one may not
                found = None
            if found is None or not _same(found, outputs[:1]):
                rewritten = None
    net = model if rewritten is None else rewritten

    def forward(some: Tensor) -> Tensor:
        with torch.inference_mode():
            given: Tensor = net(_channels_last(some))
            return given

    return forward


def _can_be(model: nn.Module, images: Tensor) -> bool:
    """Only maps on a CPU gain; hooks would not be called as before."""
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    return (
        images.ndim == 4
        and images.dtype == torch.float32
        and images.device.type == "cpu"
        and not hooked
    )


def _rewritten(model: nn.Module) -> nn.Module | None:
    try:
        return fuse(model)
    except Exception:  # tracing runs the network's own Python
        return None


def _same(found: Tensor, wanted: Tensor) -> bool:
    if found.shape != wanted.shape:
        return False
    return bool((found - wanted).abs().max() <= _CLOSE * wanted.abs().max().clamp_min(1e-6))


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images
