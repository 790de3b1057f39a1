"""Time stamps: read, held against one regular step, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from convscope.errors import InputError

# Names of the columns that make a stamp together, the coarsest first.
PARTS = ("year", "month", "day", "hour", "minute", "second")
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_YEAR = 12
# The header is row 1.
FIRST_ROW = 2


@dataclass(frozen=True)
class Step:
    """From one time stamp to the next.

    Attributes
    ----------
    count : int
    unit : str
        ``second``, ``month`` (calendar months, of 28 to 31 days) or ``row`` (no time is known).
    """

    count: int
    unit: Literal["second", "month", "row"]

    def words(self) -> str:
        """For example ``1 hour``, ``15 minutes``, ``3 months``."""
        count, unit = self.count, str(self.unit)
        if unit == "month" and count % _YEAR == 0:
            count, unit = count // _YEAR, "year"
        elif unit == "second":
            unit, seconds = next(
                (name, size) for name, size in reversed(_UNITS.items()) if count % size == 0
            )
            count //= seconds
        return f"{count} {unit}{'' if count == 1 else 's'}"

    def steps_in(self, span: str) -> int:
        """How many of them a time span holds, rounded up: ``2 weeks``, ``36 hours``, or ``48``.

        Raises
        ------
        InputError
            The span is none, or is not one of this kind of step.
        """
        words = span.split()
        if len(words) == 1 and words[0].isdecimal():
            return int(words[0])
        if len(words) != 2 or not words[0].isdecimal() or not int(words[0]):
            raise InputError(f"{span!r} is no time span: write 48, or '2 weeks', or '36 hours'.")
        amount, unit = int(words[0]), words[1].removesuffix("s")
        if unit in ("month", "year") and self.unit == "month":
            return -(-amount * (_YEAR if unit == "year" else 1) // self.count)
        if unit in _UNITS and self.unit == "second":
            return -(-amount * _UNITS[unit] // self.count)
        kind = "a table without a time column" if self.unit == "row" else f"steps of {self.words()}"
        raise InputError(f"{span!r} cannot be counted in {kind}. Write a number of steps.")


def parse_stamps(values: Sequence[object], column: str) -> np.ndarray:
    """Time stamps of a column: datetime64[s] ``(n,)``, in UTC where they say an offset.

    Dates, date and time (ISO 8601, ``2016-07-01 00:00:00``, ``1949-01``), or whole years.

    Raises
    ------
    InputError
        One of them is no time stamp; or some say an offset and others do not.
    """
    found = np.zeros(len(values), "datetime64[s]")
    aware: list[bool] = []
    for place, value in enumerate(values):
        try:
            stamp, offset = _stamp(value)
        except ValueError:
            raise InputError(
                f"row {place + FIRST_ROW}, column {column}: {value!r} is no time stamp. Write "
                "dates as 2016-07-01 or 2016-07-01 13:00:00."
            ) from None
        found[place] = stamp
        aware.append(offset)
        if offset != aware[0]:
            raise InputError(
                f"row {place + FIRST_ROW}, column {column}: {value!r} and the first row differ in "
                "whether they say a time zone."
            )
    return found


def _stamp(value: object) -> tuple[np.datetime64, bool]:
    if isinstance(value, datetime):
        moment = value
    elif value is None or isinstance(value, float):
        raise ValueError
    else:
        text = str(value).strip()
        if text.isdecimal() or len(text) <= len("2016-07"):
            if not 4 <= len(text) <= len("2016-07"):
                raise ValueError
            stamp = np.datetime64(text).astype("datetime64[s]")
            if np.isnat(stamp):
                raise ValueError
            return stamp, False
        moment = datetime.fromisoformat(text)
    aware = moment.tzinfo is not None
    if aware:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(moment.replace(microsecond=0)).astype("datetime64[s]"), aware


def find_step(stamps: np.ndarray, rows: np.ndarray, name: str = "") -> tuple[Step, np.ndarray]:
    """The step of one series, and at which step each stamp lies.

    Parameters
    ----------
    stamps : numpy.ndarray
        datetime64[s] ``(n,)``.
    rows : numpy.ndarray
        int ``(n,)``: where in the table they stand.
    name : str
        Of the series, for errors; empty of the only one.

    Returns
    -------
    Step
        The commonest distance between two stamps.
    numpy.ndarray
        int64 ``(n,)``: 0, 1, 2, ...; numbers are left out where there is a gap.

    Raises
    ------
    InputError
        Stamps that go back, come twice, or lie between the steps, with the row; or fewer than two.
    """
    of = f" of series {name}" if name else ""
    if len(stamps) < 2:
        raise InputError(f"Time{of} has {len(stamps)} stamp(s): a step needs two at least.")
    apart = np.diff(stamps).astype(np.int64)
    if (apart <= 0).any():
        place = int((apart <= 0).argmax())
        one, other = int(rows[place]), int(rows[place + 1])
        if apart[place] == 0:
            raise InputError(
                f"rows {one} and {other}{of} have the same time, {_text(stamps[place])}. Keep one "
                "of them, or say with --series which column tells series apart."
            )
        raise InputError(
            f"row {other}{of}: {_text(stamps[place + 1])} comes after {_text(stamps[place])}. Sort "
            "the table by time."
        )
    months = _months(stamps)
    if months is not None:
        step = Step(_commonest(np.diff(months)), "month")
        numbers = months - months[0]
    else:
        step = Step(_commonest(apart), "second")
        numbers = (stamps - stamps[0]).astype(np.int64)
    odd = np.flatnonzero(numbers % step.count)
    if len(odd):
        place = int(odd[0])
        raise InputError(
            f"row {int(rows[place])}{of}: {_text(stamps[place])} lies between the steps of "
            f"{step.words()} that most rows have. Resample the table to one step."
        )
    return step, numbers // step.count


def stamps_after(last: np.datetime64, step: Step, count: int, first_day: int | None = None
                 ) -> np.ndarray:  # fmt: skip
    """The stamps that follow: datetime64[s] ``(count,)``.

    Parameters
    ----------
    last : numpy.datetime64
    step : Step
        Of seconds or months.
    count : int
    first_day : int, optional
        Of months: the day that stamps fall on, as far as a month has it. Default that of ``last``.
    """
    ahead = np.arange(1, count + 1)
    if step.unit != "month":
        return np.asarray(last + (ahead * step.count).astype("timedelta64[s]"))
    month = last.astype("datetime64[M]")
    within = last - month.astype("datetime64[s]")
    of_day = within % np.timedelta64(_UNITS["day"], "s")
    ends = _is_last_day(np.array([last]))[0]
    day = int(within // np.timedelta64(_UNITS["day"], "s")) + 1 if first_day is None else first_day
    months = month + ahead * step.count
    lengths = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(int)
    days = lengths if ends and day >= 28 else np.minimum(day, lengths)
    return np.asarray(
        months.astype("datetime64[s]")
        + ((days - 1) * _UNITS["day"]).astype("timedelta64[s]")
        + of_day
    )


def _months(stamps: np.ndarray) -> np.ndarray | None:
    """Months since 1970, if stamps are months: the same day and time of each, or its last day."""
    months = stamps.astype("datetime64[M]")
    if (np.diff(months).astype(np.int64) < 1).any():
        return None
    within = stamps - months.astype("datetime64[s]")
    of_day = within % np.timedelta64(_UNITS["day"], "s")
    same = (within == within[0]).all()
    last = (of_day == of_day[0]).all() and _is_last_day(stamps).all()
    return months.astype(np.int64) if same or last else None


def _is_last_day(stamps: np.ndarray) -> np.ndarray:
    days = stamps.astype("datetime64[D]")
    return np.asarray((days + 1).astype("datetime64[M]") != days.astype("datetime64[M]"))


def _commonest(distances: np.ndarray) -> int:
    values, counts = np.unique(distances, return_counts=True)
    return int(values[counts.argmax()])


def _text(stamp: np.datetime64) -> str:
    return str(stamp).replace("T", " ")
