"""``forecast predict``: a finished run, perhaps a newer table, and what comes next."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from convscope.data.series import Series
from convscope.errors import InputError
from convscope.files import write_bytes
from convscope.forecast.calendar import calendar_columns
from convscope.forecast.preparing import known_ahead, read_table_of, with_columns
from convscope.forecast.rolling import COVERAGES, Forecast, next_steps
from convscope.forecast.run import ForecastInfo, ForecastRun
from convscope.progress import Progress


def predict_forecast(
    run: ForecastRun | Path | str,
    table: Path | str | None = None,
    *,
    steps: int | None = None,
    coverages: Sequence[float] = COVERAGES,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Forecast]:
    """Forecast what follows.

    Parameters
    ----------
    run : ForecastRun or path
    table : path, optional
        With the same columns as the one that was learned from; default that one's newest rows.
        Rows at its end without a target are what is to be forecast: their known columns are used.
    steps : int, optional
        Default the horizon. Beyond it forecasts stand on forecasts.
    coverages : sequence of float
        Of the intervals.
    seed : int
        Of the paths that intervals beyond the horizon are taken from.
    progress : Progress, optional

    Raises
    ------
    InputError
        The run or the table cannot be used, or columns that are known ahead are missing.
    """
    progress = progress or Progress()
    run = run if isinstance(run, ForecastRun) else ForecastRun(Path(run))
    info = run.info()
    steps = info.options.horizon if steps is None else steps
    if steps < 1:
        raise InputError(f"steps={steps}: a forecast is 1 step ahead or more.")
    model = run.model(info)
    step = run.step(info)
    every = run.history(info) if table is None else _read(Path(table), info, run)
    own = len(info.known) - (len(calendar_columns(step)) if info.options.calendar else 0)
    past, known = [], []
    for one in every:
        end = int(np.flatnonzero(one.measured)[-1]) + 1 if one.measured.any() else len(one)
        if table is None:
            end = len(one)
        if own:
            _require_known(one, end, steps, info.known[:own], table)
        known.append(
            known_ahead(one, step, steps, len(info.known), calendar=info.options.calendar, end=end)
        )
        past.append(_until(one, end))
        if one.name not in info.series:
            progress.say(f"series {one.name} is new: it is scaled by its own rows")
        if len(past[-1]) <= model.look_back:
            progress.say(
                f"series {one.name} has {len(past[-1])} rows, fewer than the {model.look_back + 1} "
                "that a forecast reads: what lies before counts as not measured"
            )
    return next_steps(model, past, step, steps, known=known, coverages=coverages, seed=seed)


def _read(path: Path, info: ForecastInfo, run: ForecastRun) -> list[Series]:
    table = with_columns(
        read_table_of(path, info.columns, future=True), calendar=info.options.calendar
    )
    step = run.step(info)
    if table.step != step:
        raise InputError(
            f"{path} has steps of {table.step.words()}, the run {run.path} was fitted on steps of "
            f"{step.words()}."
        )
    return list(table.series)


def _require_known(
    one: Series, end: int, steps: int, names: Sequence[str], table: Path | str | None
) -> None:
    there = len(one) - end
    if there >= steps:
        return
    which = ", ".join(names)
    if table is None:
        raise InputError(
            f"{which}: known ahead, and needed for the steps to forecast. Give a table that goes "
            f"{steps} rows on with them, and leaves the target empty there."
        )
    raise InputError(
        f"Series {one.name}: {there} rows follow the last measured one, {steps} are needed, with "
        f"{which} and without the target. Add rows, or ask for fewer --steps."
    )


def _until(one: Series, end: int) -> Series:
    return replace(
        one, stamps=one.stamps[:end], target=one.target[:end], past=one.past[:end],
        known=one.known[:end],
    )  # fmt: skip


def write_forecasts(forecasts: Sequence[Forecast], out: Path) -> None:
    """Write a row for each step: CSV or Parquet, by the name's end; whole or not at all.

    Raises
    ------
    InputError
        Another end.
    """
    table = pa.Table.from_pylist([row for one in forecasts for row in one.rows()])
    if out.suffix in (".parquet", ".pq"):
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer)
        write_bytes(out, buffer.getvalue().to_pybytes())
    elif out.suffix == ".csv":
        write_bytes(out, csv_bytes(table))
    else:
        raise InputError(f"--out {out}: forecasts are written as .csv or .parquet.")


def csv_bytes(table: pa.Table) -> bytes:
    """A table as CSV, UTF-8."""
    stream = io.BytesIO()
    csv.write_csv(table, stream, csv.WriteOptions(quoting_style="needed"))
    return stream.getvalue()
