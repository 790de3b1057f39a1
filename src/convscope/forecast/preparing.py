"""From a table to what a network learns from: columns of the calendar, rows for each purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from convscope.data.series import Series, SeriesTable, read_series
from convscope.data.series_rows import read_series_rows
from convscope.data.timeline import Step, stamps_after
from convscope.errors import InputError
from convscope.forecast.baselines import season_of
from convscope.forecast.calendar import calendar_columns, calendar_of, with_calendar
from convscope.forecast.depth import check_look_back, dilations_for
from convscope.forecast.options import ForecastOptions, TableOptions

# Horizons of a series that can spare two of them to tell when to stop.
_LONG = 6
# Of the training rows, what a look-back that nobody asked for takes at most.
_MOST = 0.25


@dataclass(frozen=True)
class Purposes:
    """The rows of each series that are learned from, that tell when to stop, that are tested on."""

    train: tuple[slice, ...]
    valid: tuple[slice, ...]
    test: tuple[slice, ...]


@dataclass(frozen=True)
class Shape:
    """What a network looks back on, and how.

    Attributes
    ----------
    look_back : int
        Steps before the newest that it reads.
    dilations : tuple of int
        Of its levels.
    season : int
        Steps, 1 for none.
    """

    look_back: int
    dilations: tuple[int, ...]
    season: int


def read_table_of(path: Path | str, options: TableOptions, *, future: bool = False) -> SeriesTable:
    """Read a table as :class:`~convscope.forecast.options.TableOptions` says.

    Raises
    ------
    InputError
        See :func:`~convscope.data.series.read_series`.
    """
    if options.rows:
        return read_series_rows(path)
    return read_series(
        path, options.target, time=options.time or None, series=options.series,
        past=options.past, known=options.known, static=options.static, gaps=options.gaps,
        future=future,
    )  # fmt: skip


def with_columns(table: SeriesTable, *, calendar: bool) -> SeriesTable:
    """The table with the calendar's columns behind those that are known ahead, where asked for."""
    names = calendar_columns(table.step) if calendar else ()
    if not names:
        return table
    series = tuple(with_calendar(one, table.step) for one in table.series)
    return replace(table, series=series, known=(*table.known, *names))


def known_ahead(
    one: Series, step: Step, steps: int, columns: int, *, calendar: bool, end: int | None = None
) -> np.ndarray:
    """What is known of the steps that follow a series.

    Parameters
    ----------
    one : Series
        With the calendar's columns, where asked for.
    step : Step
    steps : int
    columns : int
        That are known ahead, the calendar's included.
    calendar : bool
    end : int, optional
        Rows of the past; those behind are the steps to forecast. Default all.

    Returns
    -------
    numpy.ndarray
        float64 ``(steps, columns)``, NaN where nothing is known.
    """
    end = len(one) if end is None else end
    found = np.full((steps, columns), np.nan)
    given = one.known[end : end + steps]
    found[: len(given)] = given
    names = calendar_columns(step) if calendar else ()
    if names:
        stamps = stamps_after(one.stamps[end - 1], step, steps)
        found[:, columns - len(names) :] = calendar_of(stamps, step)
    return found


def purposes_of(series: Sequence[Series], horizon: int, valid: float, test: float) -> Purposes:
    """Split each series in time: the newest rows are tested on, those before tell when to stop.

    Parameters
    ----------
    series : sequence of Series
    horizon : int
        Each part has that many rows at least.
    valid, test : float
        Shares of the rows; 0 for none.
    """
    parts: tuple[list[slice], ...] = ([], [], [])
    for one in series:
        n = len(one)
        tested = max(horizon, round(n * test)) if test else 0
        # Two horizons make a horizon of windows, for the intervals; a short series has only one.
        least = 2 * horizon if n >= _LONG * horizon else horizon
        validated = max(least, round(n * valid))
        last, first = max(0, n - tested), max(0, n - tested - validated)
        for part, rows in zip(parts, ((0, first), (first, last), (last, n)), strict=True):
            part.append(slice(*rows))
    return Purposes(*(tuple(part) for part in parts))


def shape_of(
    options: ForecastOptions, step: Step, series: Sequence[Series], train: Sequence[slice]
) -> Shape:
    """How far to look back, and with which dilations.

    Raises
    ------
    InputError
        The look-back is no span, or longer than what there is to learn from; or the rows are too
        few for the horizon.
    """
    season = options.season or season_of(step)
    length = max(rows.stop - rows.start for rows in train)
    longest = length - options.horizon - 1
    if longest < 1:
        rows = max(len(one) for one in series)
        raise InputError(
            f"{rows} rows are too few for a horizon of {options.horizon}: the newest are kept to "
            f"test on and to stop by, and {length} are left to learn from, where "
            f"{options.horizon + 2} are needed. Choose a smaller --horizon."
        )
    if options.look_back is None:
        asked = max(2 * season, 2 * options.horizon)
        asked = max(1, min(asked, int(_MOST * length), longest))
    else:
        asked = step.steps_in(str(options.look_back))
        check_look_back(asked, length, options.horizon)
    convs = 2 if options.body == "residual" else 1
    dilations = dilations_for(asked, options.kernel_size, convs=convs)
    reach = convs * (options.kernel_size - 1) * sum(dilations)
    # A stack reaches back in whole levels; where the series is too short for the last of them, the
    # network is given less than it could read.
    return Shape(max(asked, min(reach, longest)), dilations, season)


def require_variation(series: Sequence[Series], rows: Sequence[slice]) -> None:
    """Whether there is anything to learn.

    Raises
    ------
    InputError
        Every series is the same number throughout.
    """
    for one, part in zip(series, rows, strict=True):
        values = one.target[part]
        known = values[np.isfinite(values)]
        if len(known) and known.min() < known.max():
            return
    one = series[0]
    known = one.target[np.isfinite(one.target)]
    value = f"{known[0]:g}" if len(known) else "missing"
    which = f"Series {one.name}" if len(series) == 1 else f"Every one of {len(series)} series"
    raise InputError(
        f"{which} is the same in all rows to learn from ({value}): there is nothing to learn. "
        "Forecast that value."
    )
