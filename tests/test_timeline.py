"""Time stamps: formats, steps, gaps, and what is said of those that are irregular."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from convscope.data.timeline import Step, find_step, parse_stamps, stamps_after
from convscope.errors import InputError


def stamps(*texts: str) -> np.ndarray:
    return parse_stamps(texts, "time")


def rows(n: int) -> np.ndarray:
    return np.arange(n) + 2


def test_formats() -> None:
    found = parse_stamps(
        ["1949-01", "2016-07-01 00:30:00", "2016-07-01T00:30", "2016-07-01", "1999"], "time"
    )
    want = ["1949-01-01T00:00:00", "2016-07-01T00:30:00", "2016-07-01T00:30:00",
            "2016-07-01T00:00:00", "1999-01-01T00:00:00"]  # fmt: skip
    assert [str(one) for one in found] == want
    here = datetime(2020, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    both = parse_stamps([here, "2020-01-01T01:00:00Z", datetime(2020, 1, 1, 2, tzinfo=UTC)], "t")
    assert [str(one) for one in both] == [f"2020-01-01T0{hour}:00:00" for hour in range(3)]


@pytest.mark.parametrize("bad", ["tomorrow", "", "12", "2016-13-01", None, 3.5, "2016-00"])
def test_no_stamp_is_named_with_its_row(bad: object) -> None:
    with pytest.raises(InputError, match=r"row 3, column when: .* is no time stamp"):
        parse_stamps(["2016-07-01", bad], "when")


def test_a_time_zone_for_all_or_none() -> None:
    with pytest.raises(InputError, match=r"row 3, column when: .* differ in whether"):
        parse_stamps(["2016-07-01", "2016-07-01T00:00:00Z"], "when")


FREQUENCIES = {"h": "1 hour", "15min": "15 minutes", "D": "1 day", "W": "1 week", "MS": "1 month",
               "ME": "1 month", "QS": "3 months", "YE": "1 year", "2h": "2 hours",
               "10s": "10 seconds", "36h": "36 hours"}  # fmt: skip


@pytest.mark.parametrize(("frequency", "words"), FREQUENCIES.items())
def test_steps_as_pandas_makes_them(frequency: str, words: str) -> None:
    every = pd.date_range("2019-12-31", periods=70, freq=frequency).to_numpy("datetime64[s]")
    step, numbers = find_step(every, rows(70))
    assert step.words() == words
    assert numbers.tolist() == list(range(70))
    # Without some, the others keep their places.
    kept = np.array([0, 1, 2, 5, 6, 7, 20, 21, 22, 69])
    assert find_step(every[kept], rows(10))[1].tolist() == kept.tolist()
    np.testing.assert_array_equal(stamps_after(every[29], step, 40), every[30:])


def test_days_that_a_month_does_not_have() -> None:
    after = stamps_after(np.datetime64("2020-01-30T12:00:00"), Step(1, "month"), 3)
    assert [str(one) for one in after] == [
        "2020-02-29T12:00:00", "2020-03-30T12:00:00", "2020-04-30T12:00:00",
    ]  # fmt: skip


def test_irregular_time_is_named_with_its_row() -> None:
    with pytest.raises(InputError, match="rows 3 and 4 have the same time, 2020-01-02 00:00:00"):
        find_step(stamps("2020-01-01", "2020-01-02", "2020-01-02"), rows(3))
    with pytest.raises(InputError, match=r"row 4 of series a: 2020-01-01 .* Sort the table"):
        find_step(stamps("2020-01-01", "2020-01-03", "2020-01-01"), rows(3), "a")
    odd = stamps("2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04 07:00:00", "2020-01-05")
    with pytest.raises(
        InputError, match="row 5: 2020-01-04 07:00:00 lies between the steps of 1 d"
    ):
        find_step(odd, rows(5))
    with pytest.raises(InputError, match=r"1 stamp\(s\)"):
        find_step(stamps("2020-01-01"), rows(1))


def test_spans() -> None:
    hour, month = Step(3600, "second"), Step(1, "month")
    assert hour.steps_in("2 weeks") == 336
    assert hour.steps_in("90 minutes") == 2  # rounded up
    assert hour.steps_in("48") == 48
    assert month.steps_in("2 years") == 24
    assert Step(3, "month").steps_in("1 year") == 4
    for step, span in ((hour, "2 months"), (month, "3 days"), (Step(1, "row"), "1 hour")):
        with pytest.raises(InputError, match="cannot be counted in"):
            step.steps_in(span)
    for span in ("", "two weeks", "0 days", "-3 days", "1.5 days"):
        with pytest.raises(InputError, match="is no time span"):
            hour.steps_in(span)
