"""Maps kept as rows, one per unit with all its channels; and windows read from them.

A window is what a layer reads for a patch of its output: the changed patch of the map before, what
is around it from the remembered map, and beyond the map's ends the layer's padding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Kept:
    """A remembered map of several images.

    Attributes
    ----------
    rows : Tensor
        ``(images * units + fills, channels)``.
    space : tuple of int
        Units along each axis.
    fills : tuple of float
        What the last rows hold.
    """

    rows: Tensor
    space: tuple[int, ...]
    fills: tuple[float, ...]


@dataclass(frozen=True)
class Patch:
    """Part of a map, for several positions.

    Attributes
    ----------
    content : Tensor
        ``(b, channels, *size)``.
    starts : tuple of Tensor
        Per axis, int64 ``(b,)``; empty where it is the whole map.
    """

    content: Tensor
    starts: tuple[Tensor, ...] = ()


def rows_of(maps: Tensor) -> Tensor:
    """Maps ``(b, channels, *space)`` as rows ``(b * units, channels)``."""
    return maps.movedim(1, -1).reshape(-1, maps.shape[1])


def keep(maps: Sequence[Tensor], fills: Sequence[float]) -> Kept:
    """A copy of maps of one image each, ``(1, channels, *space)``, as rows."""
    first = maps[0]
    space, channels = tuple(first.shape[2:]), first.shape[1]
    units = first[0, 0].numel()
    rows = first.new_empty(len(maps) * units + len(fills), channels)
    for place, one in enumerate(maps):
        rows[place * units : (place + 1) * units].copy_(rows_of(one))
    for place, fill in enumerate(fills):
        rows[len(maps) * units + place] = fill
    return Kept(rows, space, tuple(fills))


def window(
    kept: Kept,
    image: Tensor,
    patch: Patch,
    starts: Sequence[Tensor],
    size: Sequence[int],
    fill: float,
) -> Tensor:
    """Read a window of a map of which a patch has changed.

    Parameters
    ----------
    kept : Kept
        The map as it was.
    image : Tensor
        int64 ``(b,)``.
    patch : Patch
        What has changed of it.
    starts : sequence of Tensor
        Per axis, int64 ``(b,)``: where the window begins, below 0 in the padding.
    size : sequence of int
        Of the window.
    fill : float
        What lies beyond the ends.

    Returns
    -------
    Tensor
        ``(b, channels, *size)``, channels last in memory.
    """
    content = patch.content.to(kept.rows.dtype)
    b, channels = content.shape[:2]
    units = math.prod(size)
    found = kept.rows.new_empty(b * units + 1, channels)
    inner = tuple(content.shape[2:])
    apart = [p - w for p, w in zip(patch.starts, starts, strict=True)]
    around = _around(apart, inner, size)
    into = around.reshape(-1).nonzero()[:, 0]
    if len(into):
        from_ = _sources(kept, image, starts, size, fill).reshape(-1)[into]
        found.index_copy_(0, into, kept.rows.index_select(0, from_))
    _paste(found, content, apart, inner, size)
    return found[:-1].view(b, *size, channels).movedim(-1, 1)


def _around(apart: Sequence[Tensor], inner: Sequence[int], size: Sequence[int]) -> Tensor:
    """Which units of each window are not of the patch: boolean ``(b, *size)``."""
    inside = None
    for axis, (first, length, span) in enumerate(zip(apart, inner, size, strict=True)):
        place = torch.arange(span, device=first.device)
        within = (place >= first[:, None]) & (place < first[:, None] + length)
        along = _along(within, axis, len(size))
        inside = along if inside is None else inside & along
    if inside is None:
        raise ValueError("a map has one axis at least")
    return ~inside


def _along(values: Tensor, axis: int, axes: int) -> Tensor:
    """``(b, length)`` along one of several axes."""
    shape = [len(values)] + [1] * axes
    shape[1 + axis] = -1
    return values.view(shape)


def _sources(
    kept: Kept, image: Tensor, starts: Sequence[Tensor], size: Sequence[int], fill: float
) -> Tensor:
    """The row that each unit of each window is: int64 ``(b, *size)``."""
    axes = len(size)
    row = image.view(-1, *[1] * axes)
    beyond = None
    for axis, (first, length, span) in enumerate(zip(starts, kept.space, size, strict=True)):
        place = first[:, None] + torch.arange(span, device=first.device)
        outside = (place < 0) | (place >= length)
        row = row * length + _along(place, axis, axes)
        if bool(outside.any()):
            along = _along(outside, axis, axes)
            beyond = along if beyond is None else beyond | along
    if beyond is not None:
        row = row.masked_fill(beyond, len(kept.rows) - len(kept.fills) + kept.fills.index(fill))
    return row


def _paste(
    found: Tensor,
    content: Tensor,
    apart: Sequence[Tensor],
    inner: Sequence[int],
    size: Sequence[int],
) -> None:
    """Put each patch where it lies in its window; what sticks out is left out."""
    firsts = [int(one[0]) for one in apart]
    if all(bool((one == first).all()) for one, first in zip(apart, firsts, strict=True)):
        _paste_evenly(found, content, firsts, inner, size)
        return
    axes = len(size)
    row = torch.arange(len(content), device=content.device).view(-1, *[1] * axes)
    beyond = None
    for axis, (first, length, span) in enumerate(zip(apart, inner, size, strict=True)):
        place = first[:, None] + torch.arange(length, device=content.device)
        row = row * span + _along(place, axis, axes)
        outside = (place < 0) | (place >= span)
        if bool(outside.any()):
            along = _along(outside, axis, axes)
            beyond = along if beyond is None else beyond | along
    if beyond is not None:
        row = row.masked_fill(beyond, len(found) - 1)  # a row that nobody reads
    found.index_copy_(0, row.reshape(-1), rows_of(content))


def _paste_evenly(
    found: Tensor,
    content: Tensor,
    firsts: Sequence[int],
    inner: Sequence[int],
    size: Sequence[int],
) -> None:
    """The same where every patch lies at the same place in its window."""
    target = found[:-1].view(len(content), *size, content.shape[1])
    source = content.movedim(1, -1)
    for axis, (first, length, span) in enumerate(zip(firsts, inner, size, strict=True)):
        low, high = max(first, 0), min(first + length, span)
        if high <= low:
            return
        target = target.narrow(1 + axis, low, high - low)
        source = source.narrow(1 + axis, low - first, high - low)
    target.copy_(source)
