"""What every network says of itself: its named stages, its head, and the inputs it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from convscope.errors import InputError


@dataclass(frozen=True)
class Stage:
    """A place in a network that features are taken from, under the name its paper gives it.

    Attributes
    ----------
    name : str
        ``conv1``, ``layer3``, ``fc1``; unique within the network.
    module : str
        Path of the module whose output it is.
    channels : int
        Of that output.
    stride : int or None
        Input pixels (or time steps) from one unit to the next; None where the whole input has
        become one vector.
    """

    name: str
    module: str
    channels: int
    stride: int | None


class Staged(Protocol):
    """What every network of the catalogue has besides ``forward``.

    Attributes
    ----------
    stages : tuple of Stage
        In the order of the data.
    head : tuple of str
        Paths of the modules whose shape depends on the number of classes.
    """

    stages: tuple[Stage, ...]
    head: ClassVar[tuple[str, ...]]


def check_input(
    x: object,
    net: str,
    *,
    channels: int,
    at_least: int | None = None,
    exactly: int | None = None,
    axes: int = 2,
) -> None:
    """Refuse what a network cannot take, in one line; called first in every ``forward``.

    Parameters
    ----------
    x : Tensor
        ``(n, channels, h, w)``, or ``(n, channels, length)`` with ``axes=1``. While the network
        is traced ``x`` has no sizes yet, and nothing is checked.
    net : str
        The name to say.
    channels : int
    at_least, exactly : int, optional
        Height and width (or length) that the network needs; any if both are None.
    axes : int
        2 for images, 1 for series.

    Raises
    ------
    InputError
    """
    if not isinstance(x, Tensor) or torch.compiler.is_compiling():
        return
    sizes = tuple(x.shape[2:])
    fits = x.dim() == 2 + axes and x.shape[1] == channels
    fits = fits and all(at_least is None or size >= at_least for size in sizes)
    fits = fits and all(exactly is None or size == exactly for size in sizes)
    if fits:
        return
    names = ("height", "width") if axes == 2 else ("length",)
    sides = (exactly,) * axes if exactly is not None else names
    least = f" with {' and '.join(names)} of {at_least} or more" if at_least is not None else ""
    raise InputError(
        f"{net} takes ({_listed('n', channels, *sides)}){least}; received "
        f"({_listed('n', *x.shape[1:])}). Resize the input, or build the network for it."
    )


def _listed(*parts: str | int) -> str:
    return ", ".join(map(str, parts))
