"""What Python users hand over: arrays or pandas objects, to series and back."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from convscope.data.series import ROWS, Series
from convscope.data.timeline import Step, find_step, stamps_after
from convscope.errors import InputError


@dataclass(frozen=True, eq=False)
class Given:
    """Series as they were given.

    Attributes
    ----------
    series : tuple of Series
    step : Step
    single : bool
        Whether y was one series, not a table.
    pandas : module or None
        Where y came from.
    zone : tzinfo or None
        Of its index; stamps are UTC then.
    """

    series: tuple[Series, ...]
    step: Step
    single: bool
    pandas: Any
    zone: Any = None

    def with_rows(self, later: Given) -> Given:
        """These rows and others: what is known already is replaced, what lies between is missing.

        Rows without time stamps follow those that are known.

        Raises
        ------
        InputError
            They lie between the steps, or before the first row; or have other columns.
        """
        joined = []
        for one, other in zip(self.series, later.series, strict=True):
            places = len(one) + np.arange(len(other))
            if self.step.unit != "row" and other.stamps.dtype.kind == "M":
                places = places_of(other.stamps, one.stamps[0], self.step)
            length = max(len(one), int(places.max()) + 1)
            stamps = one.stamps
            if length > len(one):
                more = length - len(one)
                behind = (
                    np.arange(more) + int(stamps[-1]) + 1
                    if self.step.unit == "row"
                    else stamps_after(stamps[-1], self.step, more)
                )
                stamps = np.concatenate([stamps, behind])
            parts = []
            for name in ("target", "past", "known"):
                old, new = getattr(one, name), getattr(other, name)
                if old.shape[1:] != new.shape[1:]:
                    word = {"past": "past", "known": "X"}[name]
                    raise InputError(
                        f"{word} has {new.shape[1]} columns; fit was given {old.shape[1]}."
                    )
                rows = np.full((length, *old.shape[1:]), np.nan)
                rows[: len(old)] = old
                rows[places] = new
                parts.append(rows)
            joined.append(Series(one.name, stamps, *parts))
        return replace(self, series=tuple(joined))

    def ahead(self, x: Any, steps: int) -> np.ndarray | None:
        """What is known of the steps ahead: float64 ``(steps, columns)``; None if nothing is.

        Raises
        ------
        InputError
            Too few rows, or other columns than before.
        """
        columns = self.series[0].known.shape[1]
        if x is None:
            return None
        found = _columns(x, "X")
        if found.shape[1] != columns:
            raise InputError(f"X has {found.shape[1]} columns; fit was given {columns}.")
        if len(found) < steps:
            raise InputError(f"X has {len(found)} rows; {steps} steps are to be forecast.")
        return found[:steps]

    def interval_frame(
        self, bounds: np.ndarray, levels: Sequence[float], stamps: np.ndarray
    ) -> Any:
        """``(fh, series, coverages, 2)`` as sktime gives intervals."""
        columns = self.pandas.MultiIndex.from_tuples([
            (one.name, level, side)
            for one in self.series for level in levels for side in ("lower", "upper")
        ])  # fmt: skip
        return self.pandas.DataFrame(
            bounds.reshape(len(bounds), -1), index=_index(self, stamps), columns=columns
        )


def places_of(stamps: np.ndarray, first: np.datetime64, step: Step) -> np.ndarray:
    """At which step each stamp lies, counted from the first: int ``(n,)``.

    Raises
    ------
    InputError
        One lies between the steps, or before the first.
    """
    if step.unit == "month":
        months = stamps.astype("datetime64[M]") - first.astype("datetime64[M]")
        apart = months.astype(np.int64)
    else:
        apart = (stamps - first).astype(np.int64)
    for wrong, said in (
        (apart < 0, f"lies before the first row, {first}"),
        (apart % step.count != 0, f"lies between the steps of {step.words()}"),
    ):
        if wrong.any():
            raise InputError(f"{stamps[int(wrong.argmax())]} {said}.".replace("T", " "))
    return np.asarray(apart // step.count)


def as_given(y: Any, x: Any = None, past: Any = None, *, step: Step | None = None) -> Given:
    """Read y and its columns.

    Parameters
    ----------
    y : array, pandas.Series or pandas.DataFrame
    x, past : array or pandas.DataFrame, optional
    step : Step, optional
        Where it is known already: stamps are then taken as they are.

    Raises
    ------
    InputError
        Not numbers; lengths that differ; an index that is no regular time.
    """
    pandas = sys.modules.get("pandas")
    framed = pandas is not None and isinstance(y, pandas.Series | pandas.DataFrame)
    table = _columns(y, "y")
    single = np.ndim(y) == 1
    names = _names(y, framed, table.shape[1])
    found, stamps = ROWS, np.arange(len(table))
    if framed:
        found, stamps = _time(y.index, pandas, step)
    known, before = (
        np.zeros((len(table), 0)) if some is None else _columns(some, name)
        for some, name in ((x, "X"), (past, "past"))
    )
    for some, name in ((known, "X"), (before, "past")):
        if len(some) != len(table):
            raise InputError(f"{name} has {len(some)} rows, y has {len(table)}.")
    series = tuple(
        Series(name, stamps, values, before, known)
        for name, values in zip(names, table.T, strict=True)
    )
    zone = getattr(y.index, "tz", None) if framed else None
    return Given(series, found, single, pandas if framed else None, zone)


def horizon_of(fh: Any) -> np.ndarray:
    """Steps ahead: int ``(n,)``.

    Raises
    ------
    InputError
        Not whole numbers from 1.
    """
    found = np.atleast_1d(np.asarray(fh))
    if found.ndim != 1 or not len(found) or found.dtype.kind not in "iu" or found.min() < 1:
        raise InputError(f"fh={fh}: steps ahead are whole numbers from 1, such as [1, 2, 3].")
    return found


def as_frame(given: Given, values: np.ndarray, stamps: np.ndarray) -> Any:
    """Forecasts ``(fh, series)`` as y was given."""
    if given.pandas is None:
        return values[:, 0] if given.single else values
    index = _index(given, stamps)
    if given.single:
        return given.pandas.Series(values[:, 0], index=index, name=given.series[0].name or None)
    return given.pandas.DataFrame(values, index=index, columns=[one.name for one in given.series])


def _columns(given: Any, name: str) -> np.ndarray:
    """float64 ``(n, columns)``."""
    try:
        found = np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{name} holds something that is no number.") from None
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2 or not found.size:
        raise InputError(f"{name} of shape {np.shape(given)}: expected (n,) or (n, columns).")
    if np.isinf(found).any():
        raise InputError(f"{name}: row {int(np.argwhere(np.isinf(found))[0][0])} is infinite.")
    return found


def _names(y: Any, framed: bool, count: int) -> list[str]:
    if framed and hasattr(y, "columns"):
        return [str(name) for name in y.columns]
    name = getattr(y, "name", None) if framed else None
    return [str(name or "y")] if count == 1 else [f"y{number}" for number in range(count)]


def _time(index: Any, pandas: Any, known: Step | None) -> tuple[Step, np.ndarray]:
    if isinstance(index, pandas.PeriodIndex):
        index = index.to_timestamp()
    if not isinstance(index, pandas.DatetimeIndex):
        return ROWS, np.arange(len(index))
    # Local time repeats an hour once a year.
    index = index if index.tz is None else index.tz_convert("UTC").tz_localize(None)
    stamps = index.to_numpy().astype("datetime64[s]")
    if known is not None:
        return known, stamps
    step, places = find_step(stamps, np.arange(len(stamps)))
    if places[-1] != len(places) - 1:
        missing = int(np.flatnonzero(np.diff(places) > 1)[0])
        raise InputError(
            f"The index of y has a gap after {stamps[missing]}: y.asfreq(...) puts NaN there."
        )
    return step, stamps


def _index(given: Given, stamps: np.ndarray) -> Any:
    if stamps.dtype.kind != "M":
        return given.pandas.Index(stamps.astype(int))
    index = given.pandas.DatetimeIndex(stamps)
    return index if given.zone is None else index.tz_localize("UTC").tz_convert(given.zone)
