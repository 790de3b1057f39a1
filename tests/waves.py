"""Series for tests of forecasts: tables on disk, and options that train in a second."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convscope.forecast.options import ForecastOptions, TableOptions

QUICK: dict[str, Any] = {
    "filters": 4, "epochs": 1, "batch_size": 128, "dropout": 0.0, "look_back": 12,
}  # fmt: skip
COLUMNS = TableOptions(target=("load",), time=("date",))


def options(**more: Any) -> ForecastOptions:
    """A small network, one epoch."""
    return ForecastOptions(**{"horizon": 4, **QUICK, **more})


def wave(n: int, seed: int = 0, *, noise: float = 0.1) -> np.ndarray:
    """A day of 24 steps, and noise."""
    drawn = np.random.default_rng(seed)
    return 10 + 3 * np.sin(2 * np.pi * np.arange(n) / 24) + noise * drawn.normal(size=n)


def hours(n: int, first: str = "2024-01-01T00") -> list[str]:
    """Stamps, an hour apart."""
    stamps = np.datetime64(first, "h") + np.arange(n)
    return [f"{str(stamp).replace('T', ' ')}:00:00" for stamp in stamps]


def write_table(path: Path, columns: dict[str, Sequence[Any]]) -> Path:
    """A CSV."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def hourly(path: Path, n: int = 240, **more: Sequence[Any]) -> Path:
    """One series with a date."""
    return write_table(path, {"date": hours(n), "load": list(wave(n)), **more})
