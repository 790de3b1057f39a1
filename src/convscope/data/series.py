"""Tables of measurements over time, CSV or Parquet, to series on one regular step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from convscope.data.columns import numbers_of, read_table, stamps_of
from convscope.data.timeline import FIRST_ROW, Step, find_step, stamps_after
from convscope.errors import InputError, unknown_name

Gaps = Literal["error", "mask", "interpolate"]
GAPS: tuple[Gaps, ...] = ("error", "mask", "interpolate")
# Of a table without time.
ROWS = Step(1, "row")
# More steps than this for each row are no gaps any more: the table has another step.
_SPARSE = 50


@dataclass(frozen=True, eq=False)
class Series:
    """One series, one value a step; NaN where nothing was measured.

    Attributes
    ----------
    name : str
        Of its kind in the table; the target's column if there is one series only.
    stamps : numpy.ndarray
        datetime64[s] ``(n,)``, without a gap; or int64 steps where the table has no time.
    target : numpy.ndarray
        float64 ``(n,)``.
    past : numpy.ndarray
        float64 ``(n, p)``: what is known up to now.
    known : numpy.ndarray
        float64 ``(n, q)``: what is known ahead.
    """

    name: str
    stamps: np.ndarray
    target: np.ndarray
    past: np.ndarray
    known: np.ndarray

    def __len__(self) -> int:
        return len(self.target)

    @property
    def measured(self) -> np.ndarray:
        """Bool ``(n,)``: where the target is a number."""
        return np.asarray(np.isfinite(self.target))


@dataclass(frozen=True, eq=False)
class SeriesTable:
    """All series of a table.

    Attributes
    ----------
    series : tuple of Series
    step : Step
        The same of all.
    past, known : tuple of str
        Columns; those that never change behind the past.
    filled : int
        Values of the target that were not measured, and were interpolated or are masked.
    """

    series: tuple[Series, ...]
    step: Step
    past: tuple[str, ...]
    known: tuple[str, ...]
    filled: int

    def __len__(self) -> int:
        return len(self.series)


def read_series(
    path: Path | str,
    target: str | Sequence[str],
    *,
    time: str | Sequence[str] | None = None,
    series: str | None = None,
    past: Sequence[str] = (),
    known: Sequence[str] = (),
    static: Sequence[str] = (),
    gaps: Gaps = "error",
    future: bool = False,
) -> SeriesTable:
    """Read a table with a row for each time stamp (of each series).

    Parameters
    ----------
    path : path
        CSV (``.csv``, also compressed: ``.csv.gz``) or Parquet.
    target : str or sequence of str
        The column to forecast. Several columns are several series of one length (a wide table).
    time : str or sequence of str, optional
        The column of time stamps, or several that make one together: year, month, day, hour.
        Without it, rows are steps.
    series : str, optional
        The column that tells series apart (a long table).
    past, known : sequence of str
        Columns of numbers that go with the target: known up to now, and known ahead.
    static : sequence of str
        Columns of numbers that never change within a series.
    gaps : str
        What becomes of missing steps and values: ``error`` names them, ``mask`` leaves them out of
        every loss and every measure, ``interpolate`` draws a line between the values around.
    future : bool
        Rows at the end may have no target: those to forecast, with what is known of them.

    Raises
    ------
    InputError
        The file cannot be read; a column is missing, or holds text; stamps come twice, go back or
        are irregular; series have unlike steps; a gap, where gaps are errors. Each with its row.
    """
    if gaps not in GAPS:
        raise unknown_name("policy for gaps", gaps, GAPS)
    path = Path(path)
    table = read_table(path)
    targets = [target] if isinstance(target, str) else list(target)
    stamp_columns = [] if time is None else [time] if isinstance(time, str) else list(time)
    for column in (*targets, *stamp_columns, *past, *known, *static, *([series] if series else [])):
        if column not in table.column_names:
            raise unknown_name(f"column of {path.name}", column, table.column_names)
    try:
        return _series(
            table, targets, stamp_columns, series, tuple(past), tuple(known), tuple(static), gaps,
            future,
        )  # fmt: skip
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _series(
    table: pa.Table,
    targets: list[str],
    stamp_columns: list[str],
    column: str | None,
    past: tuple[str, ...],
    known: tuple[str, ...],
    static: tuple[str, ...],
    gaps: Gaps,
    future: bool,
) -> SeriesTable:
    if not table.num_rows:
        raise InputError("the table has no rows.")
    numbers = {name: numbers_of(table, name) for name in {*targets, *past, *known, *static}}
    stamps = stamps_of(table, stamp_columns) if stamp_columns else None
    found: list[Series] = []
    steps: dict[str, Step] = {}
    filled = 0
    for name, rows in _by_series(table, column):
        if stamps is None:
            step, places = ROWS, np.arange(len(rows))
            every: np.ndarray = places
        else:
            step, places = find_step(stamps[rows], rows + FIRST_ROW, name)
            if places[-1] + 1 > _SPARSE * len(rows):
                raise InputError(
                    f"{_of(name)}{len(rows)} rows, but {places[-1] + 1} steps of {step.words()} "
                    "between the first and the last: the table has no regular step."
                )
            first = stamps[rows[0]]
            every = np.concatenate([[first], stamps_after(first, step, int(places[-1]))])
        steps[name] = step
        for one in targets:
            label = " ".join(filter(None, [name, one if len(targets) > 1 or not name else ""]))
            given = numbers[one][rows]
            # Behind the last value that was measured there is nothing to be missed.
            measured = np.flatnonzero(np.isfinite(given))
            until = len(every)
            if future and len(measured):
                until = int(places[measured[-1]]) + 1
            place = _Placing(places, rows, every, label, gaps)
            filled += until - len(measured)
            columns = [place(numbers[c][rows], c, until) for c in past]
            columns += [place.constant(numbers[c][rows], c) for c in static]
            ahead = [place(numbers[c][rows], c, len(every)) for c in known]
            found.append(
                Series(
                    label, every, place(given, one, until),
                    _side_by_side(columns, len(every)), _side_by_side(ahead, len(every)),
                )
            )  # fmt: skip
    one_step = next(iter(steps.values()))
    for name, step in steps.items():
        if step != one_step:
            raise InputError(
                f"series {next(iter(steps))} has steps of {one_step.words()}, series {name} of "
                f"{step.words()}. Forecast them apart, or resample one of them."
            )
    return SeriesTable(tuple(found), one_step, (*past, *static), known, filled)


def _by_series(table: pa.Table, column: str | None) -> list[tuple[str, np.ndarray]]:
    """Name and rows of each, in the order of their first rows."""
    if column is None:
        return [("", np.arange(table.num_rows))]
    codes = table[column].combine_chunks().dictionary_encode()
    numbers = codes.indices.fill_null(-1).to_numpy()
    if (numbers < 0).any():
        row = int((numbers < 0).argmax())
        raise InputError(f"row {row + FIRST_ROW}, column {column}: no series is named.")
    order = np.argsort(numbers, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(numbers))[:-1])
    return [
        (str(name), rows) for name, rows in zip(codes.dictionary.to_pylist(), parts, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Placing:
    """Puts the values of a series' rows on its regular steps, by the policy for gaps."""

    places: np.ndarray
    rows: np.ndarray
    every: np.ndarray
    name: str
    gaps: Gaps

    def __call__(self, values: np.ndarray, column: str, until: int) -> np.ndarray:
        found = np.full(len(self.every), np.nan)
        found[self.places] = values
        missing = np.flatnonzero(~np.isfinite(found[:until]))
        if not len(missing) or self.gaps == "mask":
            return found
        if len(missing) == until:
            raise InputError(f"{_of(self.name)}column {column} has no number.")
        if self.gaps == "error":
            raise InputError(self._gap(missing, until, column))
        known = np.flatnonzero(np.isfinite(found[:until]))
        if missing[-1] > known[-1] or missing[0] < known[0]:
            end = "end" if missing[-1] > known[-1] else "beginning"
            raise InputError(
                f"{_of(self.name)}column {column} has no number at the {end}, where there is "
                "nothing to draw a line to. Cut these rows off, or use --gaps mask."
            )
        found[missing] = np.interp(missing, known, found[known])
        return found

    def constant(self, values: np.ndarray, column: str) -> np.ndarray:
        """What never changes, on all steps, those that have no row too."""
        known = np.flatnonzero(np.isfinite(values))
        if not len(known):
            raise InputError(f"{_of(self.name)}column {column} has no number.")
        other = np.flatnonzero(values[known] != values[known[0]])
        if len(other):
            row = int(self.rows[known[other[0]]]) + FIRST_ROW
            raise InputError(
                f"{_of(self.name)}row {row}, column {column}: {values[known[other[0]]]:g}, and "
                f"before that {values[known[0]]:g}. What changes is no --static column: use --past."
            )
        return np.full(len(self.every), values[known[0]])

    def _gap(self, missing: np.ndarray, until: int, column: str) -> str:
        """The first gap, in words, and how many there are."""
        first = int(missing[0])
        at = np.flatnonzero(self.places == first)
        if len(at):
            what = f"row {int(self.rows[at[0]]) + FIRST_ROW}, column {column}: no number"
        else:
            after = int(self.rows[np.searchsorted(self.places, first) - 1]) + FIRST_ROW
            stamp = str(self.every[first]).replace("T", " ")
            what = f"after row {after}: {stamp} and perhaps more are missing"
        return (
            f"{_of(self.name)}{what}; {len(missing)} of {until} steps are without a number. Choose "
            "what to do with --gaps mask or --gaps interpolate."
        )


def _side_by_side(columns: Sequence[np.ndarray], length: int) -> np.ndarray:
    return np.stack(columns, 1) if columns else np.zeros((length, 0))


def _of(name: str) -> str:
    return f"series {name}: " if name else ""
