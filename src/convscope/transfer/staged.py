"""The named stages of a network as vectors: feature maps averaged, several stages joined."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from convscope.errors import InputError, unknown_name
from convscope.nets.stages import Stage


def stage_named(of: nn.Module | Sequence[Stage], name: str, net_name: str = "") -> Stage:
    """Look a stage up.

    Parameters
    ----------
    of : nn.Module or sequence of Stage
        A network of the catalogue, or its stages.
    name : str
    net_name : str, optional
        The network's name to say; default its class's.

    Raises
    ------
    InputError
        If the network has no such stage: the nearest name and all allowed.
    """
    stages = _stages(of) if isinstance(of, nn.Module) else tuple(of)
    for stage in stages:
        if stage.name == name:
            return stage
    said = net_name or (type(of).__name__ if isinstance(of, nn.Module) else "the network")
    raise unknown_name(f"stage of {said}", name, [stage.name for stage in stages])


def default_stage(net: nn.Module) -> Stage:
    """The last stage: what the network's own classifier takes."""
    return _stages(net)[-1]


def chosen_stages(net: nn.Module, names: Sequence[str] | None, net_name: str = "") -> list[Stage]:
    """The stages of these names, in this order; the last one for None.

    Raises
    ------
    InputError
        For an unknown name, one given twice, or none at all.
    """
    if names is None:
        return [default_stage(net)]
    if isinstance(names, str) or not names:
        raise InputError("Give a list of one or more stages, or None for the last one.")
    stages = [stage_named(net, name, net_name) for name in names]
    for name in names:
        if list(names).count(name) > 1:
            raise InputError(f"The stage {name} is asked for twice. Give each once.")
    return stages


def stage_columns(widths: dict[str, int]) -> dict[str, slice]:
    """Where each stage's numbers lie in the joined vectors, given stage -> how many."""
    columns, start = {}, 0
    for name, width in widths.items():
        columns[name] = slice(start, start + width)
        start += width
    return columns


def as_vectors(output: Tensor) -> Tensor:
    """Average a stage's output over height and width, or over time; copy vectors as they are.

    Parameters
    ----------
    output : Tensor
        ``(n, channels, h, w)``, ``(n, channels, length)`` or ``(n, channels)``.

    Returns
    -------
    Tensor
        float32 ``(n, channels)``, of its own memory: what lies behind the stage may overwrite
        ``output`` in place.
    """
    if output.dim() > 2:
        return output.float().mean(tuple(range(2, output.dim())))
    return output.float().clone()


class StageVectors(nn.Module):
    """A network as far as its stages: photos to the vectors of some of them, joined.

    Parameters
    ----------
    net : nn.Module
        Of the catalogue, with ``stages``. It computes as before, by itself and in here.
    stages : sequence of str
        Names, in the order in which their vectors are joined.

    Attributes
    ----------
    net : nn.Module
    stages : tuple of str
    widths : dict of str to int
        Stage -> numbers per photo, in that order.
    columns : dict of str to slice
        Stage -> where its numbers lie.

    Raises
    ------
    InputError
        If the network has no such stage.
    """

    def __init__(self, net: nn.Module, stages: Sequence[str]) -> None:
        super().__init__()
        chosen = chosen_stages(net, stages)
        self.net = net
        self.stages = tuple(stage.name for stage in chosen)
        self.widths = {stage.name: stage.channels for stage in chosen}
        self.columns = stage_columns(self.widths)
        self._taps = [_Tap() for _ in chosen]
        for stage, tap in zip(chosen, self._taps, strict=True):
            net.get_submodule(stage.module).register_forward_hook(tap)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, h, w)`` to float32 ``(n, sum of widths)``; may run in several threads."""
        for tap in self._taps:
            tap.open()
        try:
            self.net(x)
        finally:
            found = [tap.close() for tap in self._taps]
        vectors = [vector for vector in found if vector is not None]
        if len(vectors) != len(self._taps):
            raise RuntimeError("the network's forward did not pass through all of its stages")
        return torch.cat(vectors, dim=1)


@dataclass
class _Tap:
    """A forward hook that keeps a stage's vectors, only for the threads that have opened it."""

    found: dict[int, Tensor | None] = field(default_factory=dict)

    def open(self) -> None:
        self.found[threading.get_ident()] = None

    def close(self) -> Tensor | None:
        return self.found.pop(threading.get_ident(), None)

    def __call__(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        thread = threading.get_ident()
        if thread in self.found:
            self.found[thread] = as_vectors(output)


def _stages(net: nn.Module) -> tuple[Stage, ...]:
    stages: tuple[Stage, ...] | None = getattr(net, "stages", None)
    if not stages:
        raise InputError(
            f"{type(net).__name__} names no stages to take features from. `convscope nets` lists "
            "networks that do."
        )
    return stages
