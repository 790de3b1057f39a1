"""Does a map depend on the network at all? Its weights are made random, and the map looked at.

Cascading randomisation of Adebayo et al. 2018 (arXiv 1810.03292): from the top to the bottom.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from convscope.errors import InputError
from convscope.explain.asking import Target, ask, left_as_found
from convscope.explain.gradients import require_count
from convscope.explain.result import Explanation
from convscope.explain.surrogate import rank_correlation
from convscope.progress import Progress

# A map that resembles the trained network's by more than this, with all weights random, shows the
# image rather than the network.
_ALIKE = 0.5
_WINDOW = 7

Method = Callable[[nn.Module, Tensor, Any], Explanation]


@dataclass(frozen=True, eq=False)
class Randomisation:
    """How much a map still resembles the first, the more of the network is random.

    Attributes
    ----------
    layers : tuple of str
        Down to which layer, counted from the top, weights were random at each step.
    rank_correlation : numpy.ndarray
        float64 ``(steps,)``: Spearman's of the absolute maps, mean over all maps; 0 of a map that
        is all the same.
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

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "layers": list(self.layers),
            "rank_correlation": self.rank_correlation.tolist(),
            "similarity": None if self.similarity is None else self.similarity.tolist(),
            "depends_on_the_network": self.depends,
        }


def randomisation(
    method: Method,
    model: nn.Module,
    images: Tensor,
    target: Target = None,
    *,
    steps: int = 5,
    seed: int = 0,
    progress: Progress | None = None,
) -> Randomisation:
    """Make the weights random from the top down, and explain again at each step.

    Parameters
    ----------
    method : callable
        ``(model, images, target)`` -> Explanation: any method, for example
        ``lambda net, x, target: saliency(net, x, target)``.
    model : nn.Module
        Left as it is: a copy is made random.
    images, target
        See :func:`~convscope.explain.asking.ask`; what the whole network says stays the target.
    steps : int
        Cuts; the last is the whole network. As many as there are layers: one after the other.
    seed : int
        Of the random weights.
    progress : Progress, optional

    Raises
    ------
    InputError
        The network has no weights; the method gives a map with NaN or infinity.
    """
    require_count(steps, "steps", 1)
    net = copy.deepcopy(model)
    layers = _from_the_top(net, images, target)
    if not layers:
        raise InputError("This network has no weights that could be made random.")
    first = method(model, images, target)
    before = _maps(first)
    cuts = sorted({round(len(layers) * (step + 1) / steps) for step in range(steps)} - {0})
    ranks, alike, names, done = [], [], [], 0
    with (progress or Progress()).task("random weights", len(cuts), "steps") as advance:
        for cut in cuts:
            with left_as_found(net, seed + cut):
                for _, module in layers[done:cut]:
                    _make_random(module)
            done = cut
            names.append(layers[cut - 1][0] or type(model).__name__)
            after = _maps(method(net, images, first.target))
            pairs = list(zip(before, after, strict=True))
            ranks.append(float(np.mean([rank_correlation(a.ravel(), b.ravel()) for a, b in pairs])))
            if before[0].ndim == 2 and min(before[0].shape) >= _WINDOW:
                alike.append(float(np.mean([_similar(a, b) for a, b in pairs])))
            advance(1)
    return Randomisation(
        layers=tuple(names),
        rank_correlation=np.array(ranks),
        similarity=np.array(alike) if alike else None,
        depends=ranks[-1] <= _ALIKE,
    )


def _from_the_top(net: nn.Module, images: Tensor, target: Target) -> list[tuple[str, nn.Module]]:
    """Layers with weights of their own, the last that computes first.

    By the order in which they are called: that in which a network lists them may be another. One
    whose weights are used without calling it stands where the module around it does; what only the
    network itself could be using comes last.
    """
    called: dict[str, int] = {}
    turns = count()

    def note(name: str) -> None:
        called[name] = next(turns)

    handles = [
        module.register_forward_hook(lambda _module, _given, _output, name=name: note(name))
        for name, module in net.named_modules()
    ]
    try:
        with left_as_found(net):
            ask(net, images, target)
    finally:
        for handle in handles:
            handle.remove()

    def turn(name: str) -> int:
        while name not in called:
            name = name.rpartition(".")[0]
            if not name:
                return -1
        return called[name]

    own = [
        (name, module)
        for name, module in net.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    # Of those with the same turn, the one that is listed last is the top.
    order = sorted(range(len(own)), key=lambda k: (turn(own[k][0]), k), reverse=True)
    return [own[k] for k in order]


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
    if not np.isfinite(explanation.map).all():
        raise InputError(
            f"The map of {explanation.method} has NaN or infinity: it cannot be compared."
        )
    lead = explanation.target.ndim
    maps: np.ndarray = np.abs(explanation.map).reshape(-1, *explanation.map.shape[lead:])
    return maps


def _similar(a: np.ndarray, b: np.ndarray) -> float:
    scaled = [each / max(float(each.max()), 1e-12) for each in (a, b)]
    found = structural_similarity(  # type: ignore[no-untyped-call]
        *scaled, data_range=1.0, win_size=_WINDOW
    )
    return float(found)
