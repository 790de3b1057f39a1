"""What can be asked of ``explain``, and the methods by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from convscope.errors import InputError, unknown_name
from convscope.explain.cam import gradcam
from convscope.explain.gradients import integrated_gradients, saliency, smoothgrad
from convscope.explain.occluding import occlusion
from convscope.explain.perturbing import lime
from convscope.explain.result import OF, Explanation, Of
from convscope.explain.segments import SEGMENTATIONS
from convscope.explain.surrogate import SURROGATES
from convscope.progress import Progress


@dataclass(frozen=True)
class ExplainOptions:
    """What is asked of an explanation; None leaves the choice to the method.

    Attributes
    ----------
    methods : tuple of str
        Names of ``METHODS``, each once.
    target : str or None
        A class by its name; None: what the network says.
    of : str or None
        ``logit`` or ``probability``; default the logit for gradients, the probability for methods
        that only look at answers.
    window, stride : int or None
        Of ``occlusion``, pixels of the network's input.
    occluder : str
        Of ``occlusion``: ``mean``, ``blur`` or ``noise``.
    precision : str
        Of ``occlusion``: ``exact`` or ``fast``.
    refine : bool
        Of ``occlusion``: coarse first, then finer where it matters.
    segments, surrogate : str
        Of ``lime``.
    samples : int
        Of ``lime``, at most.
    layer : str or None
        Of ``gradcam``.
    trust : bool
        Measure deletion curves.
    insertion : bool
        Measure insertion curves, too.
    sanity : bool
        Make the network random and see whether the maps change.
    seed : int
    """

    methods: tuple[str, ...] = ("saliency",)
    target: str | None = None
    of: Of | None = None
    window: int | None = None
    stride: int | None = None
    occluder: str = "mean"
    precision: str = "exact"
    refine: bool = False
    segments: str = "slic"
    surrogate: str = "ridge"
    samples: int = 1000
    layer: str | None = None
    trust: bool = True
    insertion: bool = False
    sanity: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.methods:
            if name not in METHODS:
                raise unknown_name("method", name, METHODS)
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise InputError("Name at least one method, and each only once.")
        if self.of is not None and self.of not in OF:
            raise unknown_name("score", self.of, OF)
        if self.segments not in SEGMENTATIONS:
            raise unknown_name("segmentation", self.segments, SEGMENTATIONS)
        if self.surrogate not in SURROGATES:
            raise unknown_name("surrogate", self.surrogate, SURROGATES)


Run = Callable[[nn.Module, Tensor, np.ndarray, ExplainOptions, Progress], Explanation]


def _saliency(
    net: nn.Module, x: Tensor, target: np.ndarray, asked: ExplainOptions, progress: Progress
) -> Explanation:
    return saliency(net, x, target, of=asked.of or "logit", progress=progress)


def _smoothgrad(
    net: nn.Module, x: Tensor, target: np.ndarray, asked: ExplainOptions, progress: Progress
) -> Explanation:
    of = asked.of or "logit"
    return smoothgrad(net, x, target, of=of, seed=asked.seed, progress=progress)


def _integrated(
    net: nn.Module, x: Tensor, target: np.ndarray, asked: ExplainOptions, progress: Progress
) -> Explanation:
    return integrated_gradients(net, x, target, of=asked.of or "logit", progress=progress)


def _gradcam(
    net: nn.Module, x: Tensor, target: np.ndarray, asked: ExplainOptions, progress: Progress
) -> Explanation:
    return gradcam(net, x, target, of=asked.of or "logit", layer=asked.layer, progress=progress)


def _occlusion(
    net: nn.Module, x: Tensor, target: np.ndarray, asked: ExplainOptions, progress: Progress
) -> Explanation:
    return occlusion(
        net, x, target, of=asked.of or "probability", window=asked.window, stride=asked.stride,
        occluder=asked.occluder, precision="fast" if asked.precision == "fast" else "exact",
        refine=asked.refine, seed=asked.seed, progress=progress,
    )  # fmt: skip


def _lime(
    net: nn.Module, x: Tensor, target: np.ndarray, asked: ExplainOptions, progress: Progress
) -> Explanation:
    return lime(
        net, x, target, of=asked.of or "probability", segments=asked.segments,
        surrogate=asked.surrogate, samples=asked.samples, seed=asked.seed, progress=progress,
    )  # fmt: skip


METHODS: dict[str, Run] = {
    "saliency": _saliency,
    "smoothgrad": _smoothgrad,
    "integrated_gradients": _integrated,
    "gradcam": _gradcam,
    "occlusion": _occlusion,
    "lime": _lime,
}

# What the numbers of a map are, for legends.
UNITS = {
    "saliency": "change per pixel",
    "smoothgrad": "change per pixel",
    "integrated_gradients": "share of the score",
    "gradcam": "weight of the place",
    "occlusion": "drop where it is covered",
    "lime": "gain where it is shown",
}


class Calibrated(nn.Module):
    """A classifier whose logits are divided by its temperature, as the run's probabilities are.

    Parameters
    ----------
    net : nn.Module
    temperature : float
    """

    def __init__(self, net: nn.Module, temperature: float) -> None:
        super().__init__()
        self.net = net
        self.temperature = temperature

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, h, w)`` -> ``(n, classes)``."""
        logits: Tensor = self.net(x)
        return torch.div(logits, self.temperature)
