"""What the calendar says of a time step, as columns that are known ahead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from convscope.data.series import Series
from convscope.data.timeline import Step

_DAY, _WEEK = 86_400, 604_800


def calendar_columns(step: Step) -> tuple[str, ...]:
    """The names of what tells steps of this kind apart: a sine and a cosine for each cycle."""
    return tuple(f"{part} of {cycle}" for cycle in _cycles(step) for part in ("sine", "cosine"))


def calendar_of(stamps: np.ndarray, step: Step) -> np.ndarray:
    """Where each step stands in the day, the week and the year.

    Parameters
    ----------
    stamps : numpy.ndarray
        datetime64[s] ``(n,)``.
    step : Step
        Cycles that it does not resolve, or that are no longer than it, are left out; of rows
        without time there is none.

    Returns
    -------
    numpy.ndarray
        float64 ``(n, columns)``, -1 to 1.
    """
    cycles = _cycles(step)
    if not cycles:
        return np.zeros((len(stamps), 0))
    seconds = stamps.astype("datetime64[s]").astype(np.int64)
    years = stamps.astype("datetime64[Y]")
    starts = years.astype("datetime64[s]").astype(np.int64)
    lengths = (years + 1).astype("datetime64[s]").astype(np.int64) - starts
    # 1970 began on a Thursday.
    within = {
        "day": seconds % _DAY / _DAY,
        "week": (seconds + 3 * _DAY) % _WEEK / _WEEK,
        "year": (seconds - starts) / lengths,
    }
    angles = [2 * np.pi * within[cycle] for cycle in cycles]
    return np.stack([part(angle) for angle in angles for part in (np.sin, np.cos)], 1)


def with_calendar(one: Series, step: Step) -> Series:
    """A series whose known columns have the calendar's behind them."""
    columns = calendar_of(one.stamps, step) if step.unit != "row" else np.zeros((len(one), 0))
    return replace(one, known=np.concatenate([one.known, columns], 1))


def _cycles(step: Step) -> tuple[str, ...]:
    if step.unit == "row":
        return ()
    if step.unit == "month":
        return ("year",) if step.count < 12 else ()
    return tuple(
        name
        for name, length in (("day", _DAY), ("week", _WEEK), ("year", 365 * _DAY))
        if 2 * step.count <= length
    )
