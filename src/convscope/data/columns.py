"""A table's columns: read as text first, so that a number that is none is named with its row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import compute, csv, parquet

from convscope.data.timeline import FIRST_ROW, PARTS, parse_stamps
from convscope.errors import InputError

# What stands for a value that was not measured.
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "-", "?")


def read_table(path: Path) -> pa.Table:
    """Read CSV (also compressed: ``.csv.gz``) or Parquet; columns of a CSV are text.

    Raises
    ------
    InputError
        It cannot be read.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    try:
        if path.suffix in (".parquet", ".pq"):
            return _with_own_names(parquet.read_table(path), path)
        # Everything as text first: a number that is none is to be named with its row.
        with csv.open_csv(path) as stream:
            names = stream.schema.names
        options = csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        )
        return _with_own_names(csv.read_csv(path, convert_options=options), path)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"{path} is no table that can be read: {first}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None


def _with_own_names(table: pa.Table, path: Path) -> pa.Table:
    twice = sorted(name for name, count in Counter(table.column_names).items() if count > 1)
    if twice:
        names = ", ".join(f"'{name}'" for name in twice)
        raise InputError(f"{path} has several columns of the name {names}. Give each its own.")
    return table


def numbers_of(table: pa.Table, name: str) -> np.ndarray:
    """A column's numbers: float64 ``(n,)``; NaN where nothing was measured.

    Raises
    ------
    InputError
        A value is none, or infinite, with its row.
    """
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


def stamps_of(table: pa.Table, columns: list[str]) -> np.ndarray:
    """Time stamps of one column, or of several that make one: datetime64[s] ``(n,)``.

    Raises
    ------
    InputError
        A value is no time stamp, with its row; or the columns are not year, month, day, ...
    """
    if len(columns) == 1:
        return parse_stamps(table[columns[0]].to_pylist(), columns[0])
    wrong = [column for column in columns if column.lower() not in PARTS]
    if wrong or [column.lower() for column in columns] != list(PARTS[: len(columns)]):
        raise InputError(
            f"time from several columns are year, month, day, hour, ... in this order; given were "
            f"{', '.join(columns)}."
        )
    parts = [numbers_of(table, column) for column in columns]
    texts = []
    for values in zip(*parts, strict=True):
        if not np.isfinite(values).all():
            texts.append("")
            continue
        whole = [int(value) for value in values] + [1, 1, 0, 0, 0][len(values) - 1 :]
        year, month, day, hour, minute, second = whole
        texts.append(f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    return parse_stamps(texts, "+".join(columns))


def _is_number(text: str) -> bool:
    try:
        pa.array([text]).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True
