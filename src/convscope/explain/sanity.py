"""Does a map depend on the network at all? Its weights are made random, and the map looked at.

Cascading randomisation of Adebayo et al. 2018 (arXiv 1810.03292): from the top to the bottom.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from convscope.errors import InputError
from convscope.explain.asking import left_as_found
from convscope.explain.gradients import require_count
from convscope.explain.result import Explanation
from convscope.explain.surrogate import rank_correlation

# A map that resembles the trained network's by more than this, with all weights random, shows the
# image rather than the network.
_ALIKE = 0.5
_WINDOW = 7

Method = Callable[[nn.Module, Tensor, np.ndarray], Explanation]


@dataclass(frozen=True, eq=False)
class Randomisation:
    """How much a map still resembles the first, the more of the network is random.

    Attributes
    ----------
    layers : tuple of str
        Down to which layer, counted from the top, weights were random at each step.
    rank_correlation : numpy.ndarray
        float64 ``(steps,)``: Spearman's of the absolute maps, mean over all maps.
    similarity : numpy.ndarray or None
        float64 ``(steps,)``: structural similarity (SSIM) of the absolute maps; None of series and
        of images below 7 pixels.
    depends : bool
        Whether the map depends on the network: with all weights random the rank correlation is 0.5
        or less.
    """

    layers: tuple[str, ...]
    rank_correlation: np.ndarray
    similarity: np.ndarray | None
    depends: bool

    def line(self) -> str:
        """In one line."""
        said = f"with random weights the map resembles itself by {self.rank_correlation[-1]:.2f}"
        return said if self.depends else f"{said}: it shows the image, not the network"


def randomisation(
    method: Method, model: nn.Module, images: Tensor, *, steps: int = 5, seed: int = 0
) -> Randomisation:
    """Make the weights random from the top down, and explain again at each step.

    Parameters
    ----------
    method : callable
        ``(model, images, target)`` -> Explanation: any method, for example
        ``lambda net, x, target: saliency(net, x, target)``.
    model : nn.Module
        Left as it is: a copy is made random.
    images : Tensor
        See :func:`~convscope.explain.asking.ask`.
    steps : int
        Cuts; the last is the whole network.
    seed : int
        Of the random weights.

    Raises
    ------
    InputError
        The network has no weights.
    """
    require_count(steps, "steps", 1)
    first = method(model, images, None)  # type: ignore[arg-type]
    net = copy.deepcopy(model)
    named = [
        (name, module)
        for name, module in net.named_modules()
        if any(True for _ in module.parameters(recurse=False))
    ][::-1]
    if not named:
        raise InputError("This network has no weights that could be made random.")
    cuts = sorted({round(len(named) * (step + 1) / steps) for step in range(steps)} - {0})
    ranks, alike, layers, done = [], [], [], 0
    for cut in cuts:
        with left_as_found(net, seed + cut):
            for _, module in named[done:cut]:
                _make_random(module)
        done = cut
        layers.append(named[cut - 1][0] or type(model).__name__)
        now = method(net, images, first.target)
        pairs = list(zip(_maps(first), _maps(now), strict=True))
        ranks.append(float(np.mean([rank_correlation(a.ravel(), b.ravel()) for a, b in pairs])))
        if pairs[0][0].ndim == 2 and min(pairs[0][0].shape) >= _WINDOW:
            alike.append(float(np.mean([_similar(a, b) for a, b in pairs])))
    return Randomisation(
        layers=tuple(layers),
        rank_correlation=np.array(ranks),
        similarity=np.array(alike) if alike else None,
        depends=ranks[-1] <= _ALIKE,
    )


def _make_random(module: nn.Module) -> None:
    """New weights as the layer begins with, or of the same spread where it does not say how."""
    reset = getattr(module, "reset_parameters", None)
    with torch.no_grad():
        if callable(reset):
            reset()
            return
        for parameter in module.parameters(recurse=False):
            parameter.normal_(0, max(float(parameter.std(correction=0)), 1e-3))


def _maps(explanation: Explanation) -> np.ndarray:
    lead = explanation.target.ndim
    maps: np.ndarray = np.abs(explanation.map).reshape(-1, *explanation.map.shape[lead:])
    return maps


def _similar(a: np.ndarray, b: np.ndarray) -> float:
    scaled = [each / max(float(each.max()), 1e-12) for each in (a, b)]
    found = structural_similarity(  # type: ignore[no-untyped-call]
        *scaled, data_range=1.0, win_size=_WINDOW
    )
    return float(found)
