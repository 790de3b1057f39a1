"""What is asked of a remembered network: boxes of its inputs that change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from convscope.errors import InputError


@dataclass(frozen=True)
class Changes:
    """Boxes of one size, each on one of the remembered inputs, and what they hold from now on.

    Attributes
    ----------
    image : Tensor
        int64 ``(p,)``: which of the remembered inputs.
    start : Tensor
        int64 ``(p, axes)``: the first unit of the box along each axis. The box lies inside.
    size : tuple of int
        Of every box, per axis.
    content : callable
        Rows, int64 ``(b,)`` -> the new values of these boxes, ``(b, channels, *size)``.
    """

    image: Tensor
    start: Tensor
    size: tuple[int, ...]
    content: Callable[[Tensor], Tensor]

    def __len__(self) -> int:
        return len(self.image)


def check(changes: Changes, images: int, space: Sequence[int]) -> None:
    """Refuse boxes that do not lie inside the remembered inputs.

    Parameters
    ----------
    changes : Changes
    images : int
        How many are remembered.
    space : sequence of int
        Their length along each axis.

    Raises
    ------
    InputError
    """
    count, axes = len(changes), len(space)
    if tuple(changes.start.shape) != (count, axes) or len(changes.size) != axes:
        raise InputError(
            f"{count} changes of inputs with {axes} axes need starts of shape ({count}, {axes}) "
            f"and {axes} sizes. Received starts of shape {tuple(changes.start.shape)} and sizes "
            f"{tuple(changes.size)}."
        )
    if not count:
        return
    if int(changes.image.min()) < 0 or int(changes.image.max()) >= images:
        raise InputError(
            f"Changes of images {int(changes.image.min())} to {int(changes.image.max())}: "
            f"there are {images}, numbered from 0."
        )
    for axis, (size, length) in enumerate(zip(changes.size, space, strict=True)):
        first, last = int(changes.start[:, axis].min()), int(changes.start[:, axis].max())
        if size < 1 or first < 0 or last + size > length:
            raise InputError(
                f"Boxes of length {size} from {first} to {last} along axis {axis} do not lie "
                f"inside an input of length {length}."
            )
