"""Grad-CAM: which places of a network's last map speak for the answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from convscope.errors import InputError, unknown_name
from convscope.explain.asking import Question, Target, ask, left_as_found, scores_of
from convscope.explain.gradients import BACKWARD, gradients_by, require_count
from convscope.explain.result import Explanation, Of
from convscope.progress import Progress

_RESIZED = {1: "linear", 2: "bilinear"}


def gradcam(
    model: nn.Module,
    images: Tensor | np.ndarray,
    target: Target = None,
    *,
    of: Of = "logit",
    layer: str | None = None,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> Explanation:
    """Channels of a map, weighted by the mean gradient of the score, positive part, enlarged.

    Selvaraju et al. 2017 (arXiv 1610.02391). Coarse: a map of 7 x 7 is enlarged to the image.

    Parameters
    ----------
    model, images, target, of
        See :func:`~convscope.explain.asking.ask`.
    layer : str, optional
        Path of the module whose output is taken (of a module that is called several times, the
        last); default whatever gives the last map of more than one place.
    batch_size : int
        Images at a time.
    progress : Progress, optional

    Returns
    -------
    Explanation
        Unsigned. ``details``: ``raw``, float32 ``(..., *places)``, the weighted sum before what is
        below 0 is cut off and before it is enlarged; ``layer``, where it was taken.

    Raises
    ------
    InputError
        As :func:`~convscope.explain.gradients.saliency`; the layer is unknown or gives no map.
    """
    require_count(batch_size, "batch_size", 1)
    started = time.perf_counter()
    names = dict(model.named_modules())
    if layer is not None and layer not in names:
        raise unknown_name("layer", layer, [name for name in names if name])
    raw, taken = [], ""
    with left_as_found(model):
        question = ask(model, images, target, of)
        parts = zip(
            torch.split(question.images, batch_size),
            torch.split(question.targets, batch_size),
            strict=True,
        )
        with (progress or Progress()).task("Grad-CAM", len(question.images), "images") as advance:
            for some, targets in parts:
                found, taken = _weighted(model, some, targets, of, layer)
                raw.append(found)
                advance(len(some))
    values = torch.cat(raw)
    n, t = question.targets.shape
    return Explanation(
        map=question.shaped(_enlarged(values.clamp_min(0), question)),
        signed=False,
        target=question.shaped(question.targets),
        score=question.shaped(question.scores.double()),
        of=of,
        method="gradcam",
        parameters={"layer": taken},
        seconds=time.perf_counter() - started,
        forwards=n * (2 + BACKWARD * t),
        details={"raw": question.shaped(values.float()), "layer": taken},
    )


def _weighted(
    model: nn.Module, images: Tensor, targets: Tensor, of: Of, layer: str | None
) -> tuple[Tensor, str]:
    """Weighted sums of channels, ``(n, t, *places)``, and the layer they were taken from."""
    with torch.enable_grad(), _watched(model, layer, images.ndim) as seen:
        x = images.detach().clone().requires_grad_()
        scores = scores_of(model(x.clone()), targets, of)
        if not seen:
            raise InputError(_no_map(layer))
        name, maps = seen["name"], seen["maps"]
        if not maps.requires_grad:
            raise InputError(f"Nothing in front of layer {name} depends on the image.")
        gradients = gradients_by(scores, maps)
        weights = gradients.flatten(3).mean(3)
        found = torch.einsum("ntc,nc...->nt...", weights, maps.detach())
    return found, name


def _no_map(layer: str | None) -> str:
    if layer is None:
        return (
            "This network has no map of more than one place, so Grad-CAM has nothing to show. Use "
            "saliency, occlusion or lime."
        )
    return f"Layer {layer} gives no map of more than one place. Name a convolution or pooling."


@contextmanager
def _watched(model: nn.Module, layer: str | None, ndim: int) -> Iterator[dict[str, Any]]:
    """Notes the last map that the network, or one layer of it, gives."""
    seen: dict[str, Any] = {}

    def note(name: str, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == ndim and output[0, 0].numel() > 1:
            seen.update(name=name, maps=output)

    chosen = [
        (name, module)
        for name, module in model.named_modules()
        if (name == layer if layer is not None else name)
    ]
    handles = [
        module.register_forward_hook(lambda _module, _given, output, name=name: note(name, output))
        for name, module in chosen
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _enlarged(values: Tensor, question: Question) -> Tensor:
    mode = _RESIZED[len(question.space)]
    n, t = values.shape[:2]
    flat = values.float().reshape(n * t, 1, *values.shape[2:])
    large = functional.interpolate(flat, question.space, mode=mode, align_corners=False)
    return large.reshape(n, t, *question.space)
