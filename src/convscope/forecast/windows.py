"""Windows of several series: what came before, and what follows; views, not copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convscope.data.series import Series
from convscope.errors import InputError
from convscope.forecast.depth import check_look_back


@dataclass(frozen=True, eq=False)
class Scaling:
    """Mean and spread of training rows.

    Attributes
    ----------
    target : numpy.ndarray
        float64 ``(series, 2)``: of each series.
    past, known : numpy.ndarray
        float64 ``(columns, 2)``: of all series together.
    """

    target: np.ndarray
    past: np.ndarray
    known: np.ndarray


# The same of every series, or of each its own.
Rows = slice | Sequence[slice]


def fit_scaling(series: Sequence[Series], rows: Rows) -> Scaling:
    """Learn means and spreads from some rows of each series, the training rows.

    A column that does not vary is only moved to 0.

    Raises
    ------
    InputError
        A series is measured nowhere in them.
    """
    target = []
    parts = rows_of(series, rows)
    for one, part in zip(series, parts, strict=True):
        values = one.target[part]
        if not np.isfinite(values).any():
            raise InputError(f"Series {one.name} has no number in the rows to learn from.")
        target.append(_moments(values))
    return Scaling(
        np.array(target),
        *(
            np.array([_moments(column) for column in np.concatenate(some).T]).reshape(-1, 2)
            for some in (
                [one.past[part] for one, part in zip(series, parts, strict=True)],
                [one.known[part] for one, part in zip(series, parts, strict=True)],
            )
        ),
    )


def rows_of(series: Sequence[Series], rows: Rows) -> list[slice]:
    """The rows of each series."""
    return [rows] * len(series) if isinstance(rows, slice) else list(rows)


def _moments(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    spread = float(known.std())
    # Rounding alone makes a constant column vary by a little.
    return float(known.mean()), spread if spread > 1e-9 * (1 + np.abs(known).max()) else 1.0


@dataclass(frozen=True, eq=False)
class Batch:
    """Some windows.

    Attributes
    ----------
    context : Tensor
        float32 ``(n, channels, look_back + 1)``: target, whether it was measured (1 or 0), past
        and known columns; scaled, 0 where nothing was measured.
    ahead : Tensor
        float32 ``(n, known, horizon)``: what is known of the steps to forecast.
    truth : Tensor
        float32 ``(n, horizon)``: scaled; NaN where nothing was measured.
    """

    context: Tensor
    ahead: Tensor
    truth: Tensor


class Windows:
    """All windows of some rows of several series.

    Parameters
    ----------
    series : sequence of Series
    scaling : Scaling
    look_back : int
        Steps before the newest that a window holds.
    horizon : int
    rows : slice or sequence of slice
        Of each series; a window's truths lie in them, all of them; its context may reach before.
    stride : int
        Between the windows of a series.

    Raises
    ------
    InputError
        No series is long enough; with the longest look-back that is possible.
    """

    def __init__(
        self, series: Sequence[Series], scaling: Scaling, look_back: int, horizon: int,
        rows: Rows = slice(None), *, stride: int = 1,
    ) -> None:  # fmt: skip
        self.look_back, self.horizon = look_back, horizon
        self.past, self.known = len(scaling.past), len(scaling.known)
        starts: list[np.ndarray] = []
        firsts: list[np.ndarray] = []
        numbers: list[np.ndarray] = []
        tables: list[np.ndarray] = []
        offset = 0
        parts = rows_of(series, rows)
        for number, (one, part) in enumerate(zip(series, parts, strict=True)):
            first, stop, _ = part.indices(len(one))
            # Of a window that begins here, the first truth is that many steps later.
            begins = np.arange(max(0, first - look_back - 1), stop - horizon - look_back, stride)
            starts.append(begins + offset)
            firsts.append(begins + look_back + 1)
            numbers.append(np.full(len(begins), number))
            tables.append(
                scaled_columns(one.target, one.past, one.known, scaling, scaling.target[number])
            )
            offset += len(one)
        self.starts = np.concatenate(starts)
        #: Of each window the row of its series where its first truth lies.
        self.firsts = np.concatenate(firsts)
        self.series = np.concatenate(numbers)
        if not len(self.starts):
            length = max(part.indices(len(one))[1] for one, part in zip(series, parts, strict=True))
            check_look_back(look_back, length, horizon)
            raise InputError(f"The rows hold no window of {look_back + 1} and {horizon} steps.")
        self.table = torch.from_numpy(np.concatenate(tables).astype(np.float32))
        # A view of all windows at all places; only what a batch takes is copied.
        self._views = self.table.unfold(0, look_back + 1 + horizon, 1)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def channels(self) -> int:
        """Of a context."""
        return 2 + self.past + self.known

    def batch(self, rows: np.ndarray | Tensor) -> Batch:
        """Some windows, by their numbers."""
        some = self._views[torch.from_numpy(self.starts[np.asarray(rows)])]
        context = some[:, : self.channels, : self.look_back + 1]
        ahead = some[:, self.channels - self.known : self.channels, self.look_back + 1 :]
        target, measured = some[:, 0, self.look_back + 1 :], some[:, 1, self.look_back + 1 :]
        truth = target.masked_fill(measured == 0, float("nan"))
        return Batch(context.contiguous(), ahead.contiguous(), truth)


def scaled_columns(
    target: np.ndarray, past: np.ndarray, known: np.ndarray, scaling: Scaling, moments: np.ndarray
) -> np.ndarray:
    """What a network reads of some steps: float64 ``(n, channels)``.

    Parameters
    ----------
    target : numpy.ndarray
        ``(n,)``.
    past, known : numpy.ndarray
        ``(n, columns)``.
    scaling : Scaling
        Of the columns.
    moments : numpy.ndarray
        ``(2,)``: mean and spread of the series.

    Returns
    -------
    numpy.ndarray
        Target, measured, past, known; 0 where nothing was measured.
    """
    mean, spread = moments
    measured = np.isfinite(target)
    moved = np.where(measured, (np.nan_to_num(target) - mean) / spread, 0.0)
    columns = [moved[:, None], measured[:, None].astype(float)]
    for values, each in ((past, scaling.past), (known, scaling.known)):
        of = (values - each[:, 0]) / each[:, 1]
        columns.append(np.where(np.isfinite(of), of, 0.0))
    return np.concatenate(columns, axis=1)
