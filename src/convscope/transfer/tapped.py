"""The stages of a network that is a plain sequence, re-written for evaluation.

Most networks of the catalogue compute their feature maps in one ``nn.Sequential``, ``features``.
As far as that goes, its modules can be fused one by one, and some of them computed in bfloat16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convscope.nets.stages import Stage
from convscope.transfer.staged import as_vectors

_BEHIND = (nn.BatchNorm2d, nn.ReLU, nn.ReLU6)


@dataclass(frozen=True)
class Parts:
    """A sequence, cut where stages end and where a convolution with all behind it begins.

    Attributes
    ----------
    modules : tuple of nn.Module
    taps : tuple of int
        For each stage that was asked for, the module whose output it is.
    """

    modules: tuple[nn.Module, ...]
    taps: tuple[int, ...]


def split_at(net: nn.Module, stages: Sequence[Stage]) -> Parts | None:
    """The modules of ``net.features`` as far as the last of some stages.

    Parameters
    ----------
    net : nn.Module
    stages : sequence of Stage

    Returns
    -------
    Parts or None
        None where ``features`` is no sequence or a stage lies outside of it.
    """
    features = getattr(net, "features", None)
    if not isinstance(features, nn.Sequential):
        return None
    children = dict(features.named_children())
    wanted = [stage.module.removeprefix("features.") for stage in stages]
    if any(f"features.{name}" != stage.module or name not in children
           for name, stage in zip(wanted, stages, strict=True)):  # fmt: skip
        return None
    groups: list[list[str]] = []
    for name, child in children.items():
        behind_conv = bool(groups) and isinstance(children[groups[-1][0]], nn.Conv2d)
        if behind_conv and isinstance(child, _BEHIND) and groups[-1][-1] not in wanted:
            groups[-1].append(name)
        else:
            groups.append([name])
    ends = {group[-1]: place for place, group in enumerate(groups)}
    if any(name not in ends for name in wanted):
        return None
    taps = tuple(ends[name] for name in wanted)
    modules = []
    for group in groups[: max(taps) + 1]:
        first = children[group[0]]
        # A bare layer is traced from outside, so that it stays one.
        bare = len(group) > 1 or type(first).__module__.startswith("torch.nn.modules.")
        bare = bare and not isinstance(first, nn.Sequential)
        modules.append(nn.Sequential(*(children[n] for n in group)) if bare else first)
    return Parts(tuple(modules), taps)


class TappedStages(nn.Module):
    """Modules one after the other, with vectors taken from some of them.

    Parameters
    ----------
    exact, fast : sequence of nn.Module
        Those that compute in float32, then those in bfloat16.
    taps : sequence of int
        Places in ``exact + fast`` whose outputs are joined, in this order.
    """

    def __init__(
        self, exact: Sequence[nn.Module], fast: Sequence[nn.Module], taps: Sequence[int]
    ) -> None:
        super().__init__()
        self.parts = nn.Sequential(*exact, *fast)
        self.float32 = len(exact)
        self.taps = tuple(taps)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, h, w)`` float32, channels last, to float32 vectors ``(n, features)``."""
        found: dict[int, Tensor] = {}
        for place, part in enumerate(self.parts):
            if place == self.float32:
                x = x.to(torch.bfloat16)
            x = part(x)
            if place in self.taps:
                found[place] = as_vectors(x)
        return torch.cat([found[place] for place in self.taps], dim=1)
