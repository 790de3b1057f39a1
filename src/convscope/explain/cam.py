"""Grad-CAM: which places of a network's last map speak for the answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn import functional

from convscope.errors import InputError, unknown_name
from convscope.explain.asking import Question, Target, ask, left_as_found, scores_of
from convscope.explain.gradients import BACKWARD, gradients_by, require_count
from convscope.explain.result import Explanation, Of
from convscope.progress import Progress

_RESIZED = {1: "linear", 2: "bilinear"}
# That a map has at least.
_PLACES = 2


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
        last); default whatever gives the last map of more than one place that the answer depends
        on. The output is as the layer gave it, also where a later one writes into it.
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
    # The modules in a compiled network are not called one by one.
    inner = getattr(model, "_orig_mod", None)
    model = inner if isinstance(inner, nn.Module) else model
    raw: list[Tensor] = []
    taken: list[str] = []
    with left_as_found(model):
        _check_layer(model, layer)
        question = ask(model, images, target, of)
        parts = zip(
            torch.split(question.images, batch_size),
            torch.split(question.targets, batch_size),
            strict=True,
        )
        with (progress or Progress()).task("Grad-CAM", len(question.images), "images") as advance:
            for some, targets in parts:
                found, name = _weighted(model, some, targets, of, layer)
                raw.append(found)
                taken.append(name)
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
        parameters={"layer": taken[0]},
        seconds=time.perf_counter() - started,
        forwards=n * (2 + BACKWARD * t),
        details={"raw": question.shaped(values.float()), "layer": taken[0]},
    )


@dataclass(frozen=True)
class _Seen:
    """What a module gave.

    Attributes
    ----------
    name : str
    maps : Tensor
        ``(n, channels, *places)``.
    made_by : torch.autograd.graph.Node or None
        None where no gradient goes through it.
    version : int
        Of the maps: a later layer may write into them.
    """

    name: str
    maps: Tensor
    made_by: Node | None
    version: int


def _check_layer(model: nn.Module, layer: str | None) -> None:
    names = dict(model.named_modules())
    if layer is not None and layer not in names:
        raise unknown_name("layer", layer, [name for name in names if name])
    if any(isinstance(module, torch.jit.ScriptModule) for module in names.values()):
        raise InputError(
            f"{type(model).__name__} was compiled by torch.jit, which shows its layers to nobody. "
            "Give the network that it was made from, or use saliency, occlusion or lime."
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
        one = _last(seen, scores) if layer is None else seen[-1]
        if layer is not None or one.maps._version == one.version:
            return _sums(scores, one), one.name
    # A later layer wrote into the maps. After a layer that was asked for, it gets a copy.
    return _weighted(model, images, targets, of, one.name)


def _sums(scores: Tensor, seen: _Seen) -> Tensor:
    if seen.made_by is None:
        raise InputError(f"Nothing in front of layer {seen.name} depends on the image.")
    if scores.requires_grad and not _on_the_way(scores, seen)[0]:
        raise InputError(f"The answer does not depend on layer {seen.name} by a gradient.")
    weights = gradients_by(scores, seen.maps).flatten(3).mean(3)
    return torch.einsum("ntc,nc...->nt...", weights, seen.maps.detach())


def _last(seen: list[_Seen], scores: Tensor) -> _Seen:
    """The last map that the answer depends on.

    Rather one of that size which nothing goes around, where there is one: not the last layer of a
    branch before the branch is added to what it began with.
    """
    chosen = None
    for one in reversed(seen):
        if chosen is not None and one.maps.shape[2:] != chosen.maps.shape[2:]:
            break
        through, around = _on_the_way(scores, one)
        if through and not around:
            return one
        chosen = one if through and chosen is None else chosen
    return chosen or seen[-1]


def _on_the_way(scores: Tensor, seen: _Seen) -> tuple[bool, bool]:
    """Whether the scores are computed through a map, and whether also in ways around it."""
    if scores.grad_fn is None or seen.made_by is None:
        return False, False
    through, around = False, False
    visited: set[Node] = set()
    waiting = [scores.grad_fn]
    while waiting:
        node = waiting.pop()
        if node in visited:
            continue
        visited.add(node)
        before = [one for one, _ in node.next_functions if one is not None]
        if node is seen.made_by:
            through = True
        elif before:
            waiting += before
        else:  # the beginning: of all that is there, only the input asks for a gradient
            around = True
    return through, around


def _no_map(layer: str | None) -> str:
    if layer is None:
        return (
            "This network has no map of more than one place, so Grad-CAM has nothing to show. Use "
            "saliency, occlusion or lime."
        )
    return f"Layer {layer} gives no map of more than one place. Name a convolution or pooling."


@contextmanager
def _watched(model: nn.Module, layer: str | None, ndim: int) -> Iterator[list[_Seen]]:
    """Notes the maps that the network's modules give, or those of one, in the order of calls."""
    seen: list[_Seen] = []

    def note(name: str, maps: object) -> Tensor | None:
        if not isinstance(maps, Tensor) or maps.ndim != ndim or maps[0, 0].numel() < _PLACES:
            return None
        seen.append(_Seen(name, maps, maps.grad_fn, maps._version))
        # What comes next may write into what it is given.
        return maps.clone() if layer is not None else None

    handles = [
        module.register_forward_hook(lambda _module, _given, output, name=name: note(name, output))
        for name, module in model.named_modules()
        if (name == layer if layer is not None else name)
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
