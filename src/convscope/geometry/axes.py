"""One operation along one axis: what an output reads, and what an input reaches.

Every map here answers both questions exactly, in integers, with borders clipped: what lies in the
padding is read by nobody. Intervals are :class:`Span`; they are the smallest that hold every index
concerned, so where an operation leaves holes (dilation, stride) the span covers them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np


class Span(NamedTuple):
    """Indices ``start, ..., stop - 1`` of one axis; never empty."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many indices it holds."""
        return self.stop - self.start


def hull(spans: Sequence[Span | None]) -> Span | None:
    """The smallest span that holds all of them; None is nothing.

    >>> hull([Span(0, 2), None, Span(5, 6)])
    Span(start=0, stop=6)
    """
    some = [span for span in spans if span is not None]
    if not some:
        return None
    return Span(min(span.start for span in some), max(span.stop for span in some))


class AxisMap(Protocol):
    """What an operation does along one axis.

    Attributes
    ----------
    size_in, size_out : int
        Length of the axis before and after.
    reads : numpy.ndarray or None
        int64 ``(size_out, k)``: row ``o`` lists the inputs that output ``o`` reads, filled up
        with ``-1``. None where every output reads every input.
    reached : numpy.ndarray or None
        int64 ``(size_in, k)``: row ``i`` lists the outputs that read input ``i``, likewise.
    """

    @property
    def size_in(self) -> int:
        """Length of the axis before."""
        ...

    @property
    def size_out(self) -> int:
        """Length of the axis after."""
        ...

    @property
    def reads(self) -> np.ndarray | None:
        """Inputs of each output."""
        ...

    @property
    def reached(self) -> np.ndarray | None:
        """Outputs of each input."""
        ...

    def backward(self, outputs: Span) -> Span | None:
        """Inputs that any of these outputs reads; None if they see padding only."""
        ...

    def forward(self, inputs: Span) -> Span | None:
        """Outputs that read any of these inputs; None if nobody does."""
        ...

    def unclipped(self, outputs: Span) -> Span | None:
        """Inputs read where the axis had no ends; None where that has no meaning."""
        ...


@dataclass(frozen=True)
class Window:
    """A sliding window: output ``o`` reads inputs ``o * stride - padding + k * dilation``.

    ``k`` runs from 0 to ``kernel_size - 1``. Convolution, pooling, zero padding and cropping (one
    tap, negative padding), identity.

    Parameters
    ----------
    size_in, size_out : int
    kernel_size, stride, dilation : int
        1 or more.
    padding : int
        Before the first input; what is behind the last one follows from ``size_out``.

    >>> Window(size_in=6, size_out=4, kernel_size=3).backward(Span(1, 2))
    Span(start=1, stop=4)
    """

    size_in: int
    size_out: int
    kernel_size: int = 1
    stride: int = 1
    dilation: int = 1
    padding: int = 0

    @cached_property
    def reads(self) -> np.ndarray:
        """See :class:`AxisMap`."""
        starts = np.arange(self.size_out)[:, None] * self.stride - self.padding
        taps = starts + np.arange(self.kernel_size)[None] * self.dilation
        return np.where((taps >= 0) & (taps < self.size_in), taps, -1)

    @cached_property
    def reached(self) -> np.ndarray:
        """See :class:`AxisMap`."""
        return _inverted(self.reads, self.size_in)

    def backward(self, outputs: Span) -> Span | None:
        """See :class:`AxisMap`."""
        found = []
        for offset in self._offsets():
            # Of the outputs whose tap lies inside, the first reads the lowest input.
            first = max(outputs.start, -(offset // self.stride))
            last = min(outputs.stop - 1, (self.size_in - 1 - offset) // self.stride)
            if first <= last:
                found.append(Span(first * self.stride + offset, last * self.stride + offset + 1))
        return hull(found)

    def forward(self, inputs: Span) -> Span | None:
        """See :class:`AxisMap`."""
        return self.outputs(inputs, 0, self.size_out - 1)

    def outputs(self, inputs: Span, lowest: float, highest: float) -> Span | None:
        """As :meth:`forward`, of outputs between two bounds, which may be infinite."""
        found = []
        for offset in self._offsets():
            first = max(lowest, -((offset - inputs.start) // self.stride))
            last = min(highest, (inputs.stop - 1 - offset) // self.stride)
            if first <= last:
                found.append(Span(int(first), int(last) + 1))
        return hull(found)

    def unclipped(self, outputs: Span) -> Span:
        """See :class:`AxisMap`."""
        start = outputs.start * self.stride - self.padding
        reach = self.dilation * (self.kernel_size - 1)
        return Span(start, (outputs.stop - 1) * self.stride - self.padding + reach + 1)

    def _offsets(self) -> range:
        reach = self.dilation * self.kernel_size
        return range(-self.padding, reach - self.padding, self.dilation)


@dataclass(frozen=True)
class Reversed:
    """A window read the other way: transposed convolution, upsampling by a whole factor.

    Output ``o`` reads every input ``i`` whose window, laid over the *outputs*, holds ``o``.

    Parameters
    ----------
    window : Window
        From the outputs (as its inputs) to the inputs (as its outputs).
    """

    window: Window

    @property
    def size_in(self) -> int:
        """Length of the axis before."""
        return self.window.size_out

    @property
    def size_out(self) -> int:
        """Length of the axis after."""
        return self.window.size_in

    @property
    def reads(self) -> np.ndarray:
        """See :class:`AxisMap`."""
        return self.window.reached

    @property
    def reached(self) -> np.ndarray:
        """See :class:`AxisMap`."""
        return self.window.reads

    def backward(self, outputs: Span) -> Span | None:
        """See :class:`AxisMap`."""
        return self.window.forward(outputs)

    def forward(self, inputs: Span) -> Span | None:
        """See :class:`AxisMap`."""
        return self.window.backward(inputs)

    def unclipped(self, outputs: Span) -> Span | None:
        """See :class:`AxisMap`."""
        return self.window.outputs(outputs, -math.inf, math.inf)


@dataclass(frozen=True)
class Whole:
    """Every output reads every input: fully connected, global pooling, one value broadcast."""

    size_in: int
    size_out: int
    reads: None = None
    reached: None = None

    def backward(self, outputs: Span) -> Span | None:
        """See :class:`AxisMap`."""
        return Span(0, self.size_in)

    def forward(self, inputs: Span) -> Span | None:
        """See :class:`AxisMap`."""
        return Span(0, self.size_out)

    def unclipped(self, outputs: Span) -> None:
        """Without ends there is no whole."""
        return None


@dataclass(frozen=True, eq=False)
class Table:
    """Any other relation, written out.

    Parameters
    ----------
    size_in : int
    reads : numpy.ndarray
        See :class:`AxisMap`.
    inner : AxisMap or None
        What it is away from the ends, where that is the same for all outputs: reflecting padding
        is a shift, interpolation by a whole factor a :class:`Reversed`.
    """

    size_in: int
    reads: np.ndarray
    inner: AxisMap | None = None

    @property
    def size_out(self) -> int:
        """Length of the axis after."""
        return len(self.reads)

    @cached_property
    def reached(self) -> np.ndarray:
        """See :class:`AxisMap`."""
        return _inverted(self.reads, self.size_in)

    def backward(self, outputs: Span) -> Span | None:
        """See :class:`AxisMap`."""
        return _span_of(self.reads[outputs.start : outputs.stop])

    def forward(self, inputs: Span) -> Span | None:
        """See :class:`AxisMap`."""
        return _span_of(self.reached[inputs.start : inputs.stop])

    def unclipped(self, outputs: Span) -> Span | None:
        """See :class:`AxisMap`."""
        return None if self.inner is None else self.inner.unclipped(outputs)


def identity(size: int) -> Window:
    """Output ``o`` reads input ``o``."""
    return Window(size, size)


def adaptive(size_in: int, size_out: int) -> AxisMap:
    """Adaptive pooling: bins of nearly equal length, as PyTorch cuts them."""
    if size_out == 1:
        return Whole(size_in, 1)
    if size_in % size_out == 0:
        step = size_in // size_out
        return Window(size_in, size_out, kernel_size=step, stride=step)
    bins = [
        range(o * size_in // size_out, -(-(o + 1) * size_in // size_out)) for o in range(size_out)
    ]
    return table(size_in, bins)


def table(size_in: int, reads: Sequence[Sequence[int]], inner: AxisMap | None = None) -> Table:
    """A :class:`Table` from the inputs of each output.

    >>> table(3, [[0, 1], [2]]).reads
    array([[ 0,  1],
           [ 2, -1]])
    """
    width = max((len(inputs) for inputs in reads), default=0)
    taps = np.full((len(reads), max(width, 1)), -1, np.int64)
    for row, inputs in zip(taps, reads, strict=True):
        row[: len(inputs)] = inputs
    return Table(size_in, taps, inner)


def compose(first: AxisMap, then: AxisMap) -> AxisMap:
    """Two operations on one axis as one: reflecting padding, then convolution."""
    if first.reads is None or then.reads is None:
        return Whole(first.size_in, then.size_out)
    # One more row, empty, for the places that hold no index (-1).
    padded = np.concatenate([first.reads, np.full_like(first.reads[:1], -1)])
    rows = padded[then.reads].reshape(then.size_out, -1)
    return table(first.size_in, [sorted({int(i) for i in row if i >= 0}) for row in rows])


def mask_backward(outputs: np.ndarray, axis: int, through: AxisMap) -> np.ndarray:
    """Along one axis of a boolean mask of outputs, the mask of the inputs that they read."""
    return _gather(outputs, axis, through.reached, through.size_in)


def mask_forward(inputs: np.ndarray, axis: int, through: AxisMap) -> np.ndarray:
    """Along one axis of a boolean mask of inputs, the mask of the outputs that read them."""
    return _gather(inputs, axis, through.reads, through.size_out)


def _gather(mask: np.ndarray, axis: int, rows: np.ndarray | None, size: int) -> np.ndarray:
    given = np.moveaxis(mask, axis, 0)
    if rows is None:
        found = np.broadcast_to(given.any(axis=0), (size, *given.shape[1:])).copy()
    else:
        # One more, False, for the places that hold no index (-1).
        padded = np.concatenate([given, np.zeros_like(given, shape=(1, *given.shape[1:]))])
        found = np.zeros((size, *given.shape[1:]), bool)
        for column in rows.T:
            found |= padded[column]
    return np.moveaxis(found, 0, axis)


def _inverted(rows: np.ndarray, size: int) -> np.ndarray:
    """Who lists index ``i``, for every ``i`` below ``size``; filled up with -1."""
    here, where = np.nonzero(rows >= 0)
    listed = rows[here, where]
    order = np.argsort(listed, kind="stable")
    here, listed = here[order], listed[order]
    counts = np.bincount(listed, minlength=size)
    place = np.arange(len(listed)) - (np.cumsum(counts) - counts)[listed]
    found = np.full((size, max(1, int(counts.max(initial=0)))), -1, np.int64)
    found[listed, place] = here
    return found


def _span_of(indices: np.ndarray) -> Span | None:
    some = indices[indices >= 0]
    return Span(int(some.min()), int(some.max()) + 1) if some.size else None
