"""Tables with a row for each series."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from convscope.data.columns import numbers_of, read_table
from convscope.data.series import ROWS, Series, SeriesTable
from convscope.data.timeline import FIRST_ROW
from convscope.errors import InputError, unknown_name


def read_series_rows(path: Path | str, *, name: str | None = None) -> SeriesTable:
    """Read a table with a row for each series, its values in the columns from left to right.

    Series may be of unlike length: what follows the last value of a row is empty. So the M4
    competition hands them out.

    Parameters
    ----------
    path : path
        CSV or Parquet; see :func:`read_series`.
    name : str, optional
        The column of names; default the first.

    Raises
    ------
    InputError
        The file cannot be read; a value is no number, or missing before the last; a name comes
        twice.
    """
    path = Path(path)
    table = read_table(path)
    column = table.column_names[0] if name is None else name
    if column not in table.column_names:
        raise unknown_name(f"column of {path.name}", column, table.column_names)
    try:
        names = [str(one) for one in table[column].to_pylist()]
        columns = [numbers_of(table, one) for one in table.column_names if one != column]
        if not names or not columns:
            raise InputError("the table has no series.")
        found: list[Series] = []
        for row, (one, values) in enumerate(zip(names, np.stack(columns, 1), strict=True)):
            where = f"row {row + FIRST_ROW}, series {one}"
            known = np.flatnonzero(np.isfinite(values))
            if not len(known):
                raise InputError(f"{where}: it has no number.")
            length = int(known[-1]) + 1
            if len(known) < length:
                gap = int(np.flatnonzero(~np.isfinite(values))[0]) + 1
                raise InputError(f"{where}: value {gap} is missing, and later ones are there.")
            none = np.zeros((length, 0))
            found.append(Series(one, np.arange(length), values[:length], none, none))
        name, most = Counter(names).most_common(1)[0]
        if most > 1:
            raise InputError(f"series {name} comes {most} times.")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return SeriesTable(tuple(found), ROWS, (), (), 0)
