"""Where a window is laid over an image, and what its drops of the score say of each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convscope.errors import InputError

# Of the image's side, where the caller does not say.
_WINDOW_SHARE = 7
# How much coarser the first look may be.
_COARSEST = 4


@dataclass(frozen=True)
class Grid:
    """All positions of a window.

    Attributes
    ----------
    window, stride : tuple of int
        Per axis.
    along : tuple of numpy.ndarray
        int64, per axis: first pixels. The last window ends with the image, wherever the stride
        would have put it.
    """

    window: tuple[int, ...]
    stride: tuple[int, ...]
    along: tuple[np.ndarray, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Positions along each axis."""
        return tuple(len(each) for each in self.along)

    @property
    def starts(self) -> np.ndarray:
        """First pixels, int64 ``(positions, axes)``."""
        along = np.meshgrid(*self.along, indexing="ij")
        return np.stack(along, -1).reshape(-1, len(along))

    def every(self, step: int) -> np.ndarray:
        """Of each ``step``-th position along each axis, and the last, bool ``(positions,)``."""
        kept = []
        for each in self.along:
            mask = np.zeros(len(each), bool)
            mask[::step] = True
            mask[-1] = True
            kept.append(mask)
        whole = kept[0]
        for mask in kept[1:]:
            whole = whole[..., None] & mask
        return whole.reshape(-1)

    @property
    def coarsest(self) -> int:
        """The largest step (4, 2 or 1) whose windows still leave no gap."""
        step = _COARSEST
        while step > 1 and any(step * s > w for s, w in zip(self.stride, self.window, strict=True)):
            step //= 2
        return step


def grid(
    space: Sequence[int],
    window: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
) -> Grid:
    """Lay a window over an image.

    Parameters
    ----------
    space : sequence of int
        Height and width, or length.
    window : int or sequence of int, optional
        Length of its sides, pixels; default a seventh of each side.
    stride : int or sequence of int, optional
        Default half of the window.

    Raises
    ------
    InputError
        A length is no whole number above 0; the window is larger than the image; the stride is
        larger than the window, so that pixels would never be covered.
    """
    sides = tuple(max(1, round(size / _WINDOW_SHARE)) for size in space)
    windows = sides if window is None else _per_axis(window, "window", len(space))
    if stride is None:
        strides = tuple(max(1, side // 2) for side in windows)
    else:
        strides = _per_axis(stride, "stride", len(space))
    along = []
    for size, side, step in zip(space, windows, strides, strict=True):
        if side > size:
            raise InputError(
                f"A window of {_words(windows)} is larger than the image of {_words(space)}. Give "
                "a smaller one."
            )
        if step > side:
            raise InputError(
                f"A stride of {_words(strides)} is larger than the window of {_words(windows)}: "
                "pixels between would never be covered."
            )
        firsts = list(range(0, size - side + 1, step))
        if firsts[-1] != size - side:
            firsts.append(size - side)
        along.append(np.array(firsts, np.int64))
    return Grid(windows, strides, tuple(along))


def spread(drops: np.ndarray, grid: Grid, space: Sequence[int]) -> np.ndarray:
    """For each pixel the mean drop over the windows that cover it.

    Parameters
    ----------
    drops : numpy.ndarray
        float64 ``(..., positions)``; NaN where none was computed.
    grid : Grid
    space : sequence of int

    Returns
    -------
    numpy.ndarray
        float64 ``(..., *space)``; 0 where no window was computed.
    """
    lead = drops.shape[:-1]
    flat = drops.reshape(-1, drops.shape[-1])
    known = ~np.isnan(flat)
    totals = _painted(np.where(known, flat, 0.0), grid, space)
    counts = np.rint(_painted(known.astype(np.float64), grid, space))
    means = np.divide(totals, counts, out=np.zeros_like(totals), where=counts > 0)
    shaped: np.ndarray = means.reshape(*lead, *space)
    return shaped


def _painted(values: np.ndarray, grid: Grid, space: Sequence[int]) -> np.ndarray:
    """The sum over windows of their value, for each pixel, ``(m, *space)``.

    Each axis for itself: how far a window reaches along it is a matrix of zeros and ones.
    """
    found = values.reshape(len(values), *grid.shape)
    for axis, (firsts, side, size) in enumerate(
        zip(grid.along, grid.window, space, strict=True), start=1
    ):
        places = np.arange(size)
        covers = (places >= firsts[:, None]) & (places < firsts[:, None] + side)
        found = np.moveaxis(np.tensordot(found, covers.astype(np.float64), (axis, 0)), -1, axis)
    return found


def near(chosen: np.ndarray, grid: Grid, step: int) -> np.ndarray:
    """Positions that are at most ``step`` places from a chosen one along every axis.

    Parameters
    ----------
    chosen : numpy.ndarray
        bool ``(positions,)``.
    grid : Grid
    step : int

    Returns
    -------
    numpy.ndarray
        bool ``(positions,)``.
    """
    wide = chosen.reshape(grid.shape)
    for axis in range(wide.ndim):
        moved = np.moveaxis(wide, axis, 0)
        out = moved.copy()
        for by in range(1, min(step, len(moved) - 1) + 1):
            out[by:] |= moved[:-by]
            out[:-by] |= moved[by:]
        wide = np.moveaxis(out, 0, axis)
    flat: np.ndarray = wide.reshape(-1)
    return flat


def _per_axis(value: int | Sequence[int], name: str, axes: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, Sequence) else (value,) * axes
    fits = len(values) == axes and all(type(v) is int and v > 0 for v in values)
    if isinstance(value, bool) or not fits:
        raise InputError(f"{name}={value!r}: give one whole number above 0, or {axes} of them.")
    return values


def _words(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))
