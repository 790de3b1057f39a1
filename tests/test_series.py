"""Tables to series: long, wide, Parquet; gaps by policy; every fault with its row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from convscope.data.series import read_series
from convscope.errors import InputError


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


DAYS = "day,sold,price\n2020-01-01,1,5\n2020-01-02,2,5\n2020-01-03,4,6\n2020-01-04,8,6\n"


def test_one_series(tmp_path: Path) -> None:
    found = read_series(written(tmp_path / "a.csv", DAYS), "sold", time="day", known=["price"])
    assert len(found) == 1
    (one,) = found.series
    assert (one.name, found.step.words(), found.filled) == ("sold", "1 day", 0)
    assert one.target.tolist() == [1, 2, 4, 8]
    assert one.known[:, 0].tolist() == [5, 5, 6, 6]
    assert one.past.shape == (4, 0)
    assert one.measured.all()
    assert str(one.stamps[-1]) == "2020-01-04T00:00:00"
    rows = read_series(tmp_path / "a.csv", "sold")
    assert rows.series[0].stamps.tolist() == [0, 1, 2, 3]
    assert rows.step.words() == "1 row"


def long_table() -> pd.DataFrame:
    hours = pd.date_range("2020-01-01", periods=5, freq="h")
    return pd.DataFrame({
        "shop": ["b"] * 5 + ["a"] * 4, "when": [*hours, *hours[:4]],
        "sold": [*range(5), *range(10, 14)], "rain": np.arange(9) / 2,
    })  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet", "mixed rows"])
def test_many_series(kind: str, tmp_path: Path) -> None:
    frame = long_table()
    path = tmp_path / f"long.{'csv' if kind == 'mixed rows' else kind}"
    if kind == "mixed rows":
        frame = frame.iloc[[0, 5, 1, 6, 2, 3, 7, 8, 4]]
    if kind == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    found = read_series(path, "sold", time="when", series="shop", past=["rain"])
    assert [one.name for one in found.series] == ["b", "a"]
    assert found.series[1].target.tolist() == [10, 11, 12, 13]
    assert found.series[1].past[:, 0].tolist() == [2.5, 3, 3.5, 4]
    assert found.step.words() == "1 hour"


def test_a_wide_table(tmp_path: Path) -> None:
    found = read_series(written(tmp_path / "a.csv", DAYS), ["sold", "price"], time="day")
    assert [(one.name, one.target.tolist()) for one in found.series] == [
        ("sold", [1, 2, 4, 8]), ("price", [5, 5, 6, 6]),
    ]  # fmt: skip


def test_time_of_several_columns(tmp_path: Path) -> None:
    text = "year,month,day,hour,y\n2010,1,1,22,1\n2010,1,1,23,2\n2010,1,2,0,3\n"
    path = written(tmp_path / "a.csv", text)
    found = read_series(path, "y", time=["year", "month", "day", "hour"])
    assert found.step.words() == "1 hour"
    assert str(found.series[0].stamps[-1]) == "2010-01-02T00:00:00"
    with pytest.raises(InputError, match="in this order"):
        read_series(path, "y", time=["month", "year"])


GAPPY = "t,y\n2020-01-01,1\n2020-01-02,2\n2020-01-05,NA\n2020-01-06,6\n2020-01-07,7\n"


def test_gaps(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", GAPPY)
    with pytest.raises(InputError, match=r"after row 3: 2020-01-03 00:00:00 .* 3 of 7 steps"):
        read_series(path, "y", time="t")
    masked = read_series(path, "y", time="t", gaps="mask")
    assert masked.series[0].measured.tolist() == [True, True, False, False, False, True, True]
    drawn = read_series(path, "y", time="t", gaps="interpolate")
    assert drawn.series[0].target.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert masked.filled == drawn.filled == 3
    inside = written(tmp_path / "b.csv", "t,y\n2020-01-01,1\n2020-01-02,\n2020-01-03,3\n")
    with pytest.raises(InputError, match="row 3, column y: no number; 1 of 3"):
        read_series(inside, "y", time="t")
    end = written(tmp_path / "c.csv", "t,y\n2020-01-01,1\n2020-01-02,2\n2020-01-03,nan\n")
    with pytest.raises(InputError, match="at the end"):
        read_series(end, "y", time="t", gaps="interpolate")
    nothing = written(tmp_path / "d.csv", "t,y\n2020-01-01,\n2020-01-02,\n")
    with pytest.raises(InputError, match="column y has no number"):
        read_series(nothing, "y", time="t")


FAULTS = {
    "text": ("t,y\n2020-01-01,1\n2020-01-02,many\n", "row 3, column y: 'many' is no number"),
    "unsorted": ("t,y\n2020-01-03,1\n2020-01-01,1\n", "row 3: .* Sort the table by time"),
    "twice": ("t,y\n2020-01-01,1\n2020-01-01,1\n", "rows 2 and 3 have the same time"),
    "no stamp": ("t,y\nsoon,1\n", "row 2, column t: 'soon' is no time stamp"),
    "infinite": ("t,y\n2020-01-01,inf\n", "row 2, column y: infinite"),
    "no rows": ("t,y\n", "no rows"),
    "no column": ("t,z\n2020-01-01,1\n", "column of a.csv"),
    "ragged": ("t,y\n2020-01-01,1\n2020-01-02\n", "no table that can be read"),
    "empty": ("", "no table that can be read"),
    "sparse": ("t,y\n2020-01-01 00:00:00,1\n2020-01-01 00:00:01,2\n2020-02-01 00:00:00,3\n",
               "no regular step"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(fault: str, tmp_path: Path) -> None:
    text, words = FAULTS[fault]
    with pytest.raises(InputError, match=words):
        read_series(written(tmp_path / "a.csv", text), "y", time="t")


def test_series_of_unlike_steps(tmp_path: Path) -> None:
    text = "s,t,y\na,2020-01-01,1\na,2020-01-02,1\nb,2020-01-01,1\nb,2020-01-08,1\n"
    path = written(tmp_path / "a.csv", text)
    with pytest.raises(InputError, match="series a has steps of 1 day, series b of 1 week"):
        read_series(path, "y", time="t", series="s")
    with pytest.raises(InputError, match="row 4: 2020-01-01"):
        read_series(path, "y", time="t")
    nameless = written(tmp_path / "b.parquet", "")
    pd.DataFrame({"s": ["a", None], "y": [1, 2]}).to_parquet(nameless)
    with pytest.raises(InputError, match="row 3, column s: no series is named"):
        read_series(nameless, "y", series="s")
    with pytest.raises(InputError, match="policy for gaps"):
        read_series(path, "y", gaps="guess")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="does not exist"):
        read_series(tmp_path / "nowhere.csv", "y")


SHARED = Path(__file__).resolve().parents[2] / "shared" / "series"


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/series")
def test_tables_that_people_have() -> None:
    hourly = read_series(SHARED / "ETTh1.csv", ["HUFL", "OT"], time="date")
    assert [len(one) for one in hourly.series] == [17_420] * 2
    assert hourly.step.words() == "1 hour"
    monthly = read_series(SHARED / "AirPassengers.csv", "#Passengers", time="Month")
    assert (len(monthly.series[0]), monthly.step.words()) == (144, "1 month")
    parts = ["year", "month", "day", "hour"]
    beijing = SHARED / "pollution.csv"
    found = read_series(beijing, "pm2.5", time=parts, past=["TEMP", "Iws"], gaps="mask")
    assert len(found.series[0]) == 43_824
    assert found.filled == 2_067
    with pytest.raises(InputError, match=r"row 2, column pm2.5: no number; 2067 of 43824"):
        read_series(beijing, "pm2.5", time=parts)
    with pytest.raises(InputError, match="row 2, column cbwd: 'NW' is no number"):
        read_series(beijing, "cbwd", time=parts)
