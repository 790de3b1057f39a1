"""Tables of measurements over time, CSV or Parquet, to series on one regular step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from pyarrow import compute, csv, parquet

from convscope.data.timeline import FIRST_ROW, PARTS, Step, find_step, parse_stamps, stamps_after
from convscope.errors import InputError, unknown_name

Gaps = Literal["error", "mask", "interpolate"]
GAPS: tuple[Gaps, ...] = ("error", "mask", "interpolate")
# What stands for a value that was not measured.
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "-", "?")
_COUNTS = Step(1, "row")
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
        Columns.
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
    gaps: Gaps = "error",
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
    gaps : str
        What becomes of missing steps and values: ``error`` names them, ``mask`` leaves them out of
        every loss and every measure, ``interpolate`` draws a line between the values around.

    Raises
    ------
    InputError
        The file cannot be read; a column is missing, or holds text; stamps come twice, go back or
        are irregular; series have unlike steps; a gap, where gaps are errors. Each with its row.
    """
    if gaps not in GAPS:
        raise unknown_name("policy for gaps", gaps, GAPS)
    path = Path(path)
    table = _read(path)
    targets = [target] if isinstance(target, str) else list(target)
    stamp_columns = [] if time is None else [time] if isinstance(time, str) else list(time)
    for column in (*targets, *stamp_columns, *past, *known, *([series] if series else [])):
        if column not in table.column_names:
            raise unknown_name(f"column of {path.name}", column, table.column_names)
    try:
        return _series(table, targets, stamp_columns, series, tuple(past), tuple(known), gaps)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _series(
    table: pa.Table,
    targets: list[str],
    stamp_columns: list[str],
    column: str | None,
    past: tuple[str, ...],
    known: tuple[str, ...],
    gaps: Gaps,
) -> SeriesTable:
    if not table.num_rows:
        raise InputError("the table has no rows.")
    numbers = {name: _numbers(table, name) for name in {*targets, *past, *known}}
    stamps = _stamps(table, stamp_columns) if stamp_columns else None
    found: list[Series] = []
    steps: dict[str, Step] = {}
    filled = 0
    for name, rows in _by_series(table, column):
        if stamps is None:
            step, places = _COUNTS, np.arange(len(rows))
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
            values = _placed(numbers[one][rows], places, rows, every, one, label, gaps)
            filled += len(every) - int(np.isfinite(numbers[one][rows]).sum())
            extra = [
                np.stack([
                    _placed(numbers[c][rows], places, rows, every, c, label, gaps) for c in columns
                ], 1) if columns else np.zeros((len(every), 0))
                for columns in (past, known)
            ]  # fmt: skip
            found.append(Series(label, every, values, extra[0], extra[1]))
    one_step = next(iter(steps.values()))
    for name, step in steps.items():
        if step != one_step:
            raise InputError(
                f"series {next(iter(steps))} has steps of {one_step.words()}, series {name} of "
                f"{step.words()}. Forecast them apart, or resample one of them."
            )
    return SeriesTable(tuple(found), one_step, past, known, filled)


def _read(path: Path) -> pa.Table:
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    try:
        if path.suffix in (".parquet", ".pq"):
            return parquet.read_table(path)
        # Everything as text first: a number that is none is to be named with its row.
        with csv.open_csv(path) as stream:
            names = stream.schema.names
        options = csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        )
        return csv.read_csv(path, convert_options=options)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"{path} is no table that can be read: {first}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    """float64 ``(n,)``; NaN where nothing was measured."""
    column = table[name].combine_chunks()
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        found = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), float)
    elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        text = compute.utf8_trim_whitespace(column)
        missing = compute.or_kleene(
            compute.is_in(text, pa.array(MISSING, text.type)), compute.is_null(text)
        )
        known = compute.if_else(missing, pa.scalar(None, text.type), text)
        try:
            found = np.asarray(known.cast(pa.float64()).to_numpy(zero_copy_only=False), float)
        except pa.ArrowInvalid:
            row, value = next(
                (row, value) for row, value in enumerate(known.to_pylist())
                if value is not None and not _is_number(value)
            )  # fmt: skip
            raise InputError(
                f"row {row + FIRST_ROW}, column {name}: {value!r} is no number."
            ) from None
    else:
        raise InputError(f"column {name} holds {column.type}, no numbers.")
    endless = np.flatnonzero(np.isinf(found))
    if len(endless):
        raise InputError(f"row {endless[0] + FIRST_ROW}, column {name}: infinite.")
    return found


def _is_number(text: str) -> bool:
    try:
        pa.array([text]).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _stamps(table: pa.Table, columns: list[str]) -> np.ndarray:
    if len(columns) == 1:
        return parse_stamps(table[columns[0]].to_pylist(), columns[0])
    wrong = [column for column in columns if column.lower() not in PARTS]
    if wrong or [column.lower() for column in columns] != list(PARTS[: len(columns)]):
        raise InputError(
            f"time from several columns are year, month, day, hour, ... in this order; given were "
            f"{', '.join(columns)}."
        )
    parts = [_numbers(table, column) for column in columns]
    texts = []
    for values in zip(*parts, strict=True):
        if not np.isfinite(values).all():
            texts.append("")
            continue
        whole = [int(value) for value in values] + [1, 1, 0, 0, 0][len(values) - 1 :]
        year, month, day, hour, minute, second = whole
        texts.append(f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    return parse_stamps(texts, "+".join(columns))


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


def _spread(values: np.ndarray, places: np.ndarray, length: int) -> np.ndarray:
    found = np.full(length, np.nan)
    found[places] = values
    return found


def _placed(
    values: np.ndarray,
    places: np.ndarray,
    rows: np.ndarray,
    every: np.ndarray,
    column: str,
    name: str,
    gaps: Gaps,
) -> np.ndarray:
    """The values on the regular steps, by the policy for gaps."""
    found = _spread(values, places, len(every))
    missing = np.flatnonzero(~np.isfinite(found))
    if not len(missing) or gaps == "mask":
        return found
    if len(missing) == len(found):
        raise InputError(f"{_of(name)}column {column} has no number.")
    if gaps == "error":
        raise InputError(_gap(found, missing, places, rows, every, column, name))
    known = np.flatnonzero(np.isfinite(found))
    if missing[-1] > known[-1] or missing[0] < known[0]:
        end = "end" if missing[-1] > known[-1] else "beginning"
        raise InputError(
            f"{_of(name)}column {column} has no number at the {end}, where there is nothing to "
            f"draw a line to. Cut these rows off, or use --gaps mask."
        )
    found[missing] = np.interp(missing, known, found[known])
    return found


def _gap(
    found: np.ndarray,
    missing: np.ndarray,
    places: np.ndarray,
    rows: np.ndarray,
    every: np.ndarray,
    column: str,
    name: str,
) -> str:
    """The first gap, in words, and how many there are."""
    first = int(missing[0])
    at = np.flatnonzero(places == first)
    if len(at):
        what = f"row {int(rows[at[0]]) + FIRST_ROW}, column {column}: no number"
    else:
        after = int(rows[np.searchsorted(places, first) - 1]) + FIRST_ROW
        stamp = str(every[first]).replace("T", " ")
        what = f"after row {after}: {stamp} and perhaps more are missing"
    return (
        f"{_of(name)}{what}; {len(missing)} of {len(found)} steps are without a number. Choose "
        "what to do with --gaps mask or --gaps interpolate."
    )


def _of(name: str) -> str:
    return f"series {name}: " if name else ""
