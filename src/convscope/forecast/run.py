"""The Run folder of a forecast: what is in it, read with checks.

- ``model.safetensors``: network, scaling, errors of the validation windows;
- ``run.json``: :class:`ForecastInfo`;
- ``metrics.json``: how good it is on the test rows, beside the baselines;
- ``history.parquet``: the newest rows of every series, so that a forecast needs no table;
- ``log/epochs.csv``: learning curves;
- ``look-back.svg``: the network, drawn;
- ``report.html``: the page that shows all of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from convscope.data.series import Series
from convscope.data.timeline import Step
from convscope.errors import InputError
from convscope.files import write_bytes
from convscope.forecast.model import Model, build_net, read_model
from convscope.forecast.options import ForecastOptions, TableOptions


class StepInfo(BaseModel):
    """From one time stamp to the next."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int = Field(ge=1)
    unit: Literal["second", "month", "row"]


class ForecastInfo(BaseModel):
    """Everything about a forecaster that is not a measurement; ``run.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    kind: Literal["forecast"] = "forecast"
    created: str = Field(description="UTC, ISO 8601")
    table: str
    columns: TableOptions
    options: ForecastOptions
    step: StepInfo
    series: tuple[str, ...] = Field(min_length=1)
    past: tuple[str, ...]
    known: tuple[str, ...] = Field(description="the calendar's at the end")
    look_back: int = Field(ge=1, description="steps before the newest that a forecast reads")
    dilations: tuple[int, ...] = Field(min_length=1)
    season: int = Field(ge=1)
    rows: dict[str, int] = Field(description="train, valid, test: rows of all series")
    filled: int = Field(description="values that were not measured")
    training: dict[str, Any]
    versions: dict[str, str]
    model_sha256: str


@dataclass(frozen=True)
class ForecastRun:
    """A Run folder of a forecast, on disk."""

    path: Path

    def info(self) -> ForecastInfo:
        """Read and validate ``run.json``.

        Raises
        ------
        InputError
            The folder is no finished forecast.
        """
        path = self.path / "run.json"
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{self.path} is not a finished run: run.json cannot be read "
                f"({getattr(error, 'strerror', None) or error}). Make one with: convscope forecast "
                "fit TABLE --target COL --horizon H --out RUN"
            ) from None
        try:
            return ForecastInfo.model_validate_json(text)
        except ValidationError as error:
            if '"strategy"' in text:
                raise InputError(
                    f"{self.path} holds a classifier of photos, no forecaster: use convscope "
                    "predict."
                ) from None
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "run.json"
            raise InputError(
                f"{path} is not a forecast of this version of convscope: {where}: {first['msg']}. "
                "Fit again, or read it with the version that wrote it."
            ) from None

    def metrics(self) -> dict[str, Any]:
        """Read ``metrics.json``."""
        try:
            content = json.loads((self.path / "metrics.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path / 'metrics.json'} cannot be read: {error}") from None
        if not isinstance(content, dict):
            raise InputError(f"{self.path / 'metrics.json'} is not what convscope writes.")
        return content

    def model(self, info: ForecastInfo) -> Model:
        """Read the network, its scaling and its intervals."""
        net = build_net(
            info.options, len(info.past), len(info.known), info.look_back, info.dilations
        )
        return read_model(self.path / "model.safetensors", net, info.series)

    def step(self, info: ForecastInfo) -> Step:
        """From one time stamp to the next."""
        return Step(info.step.count, info.step.unit)

    def history(self, info: ForecastInfo) -> list[Series]:
        """The newest rows of every series, as they were when it was fitted."""
        path = self.path / "history.parquet"
        try:
            table = pq.read_table(path)
            numbers = np.asarray(table["number"].to_numpy())
            target = table["target"].to_numpy().astype(float)
            stamps = table["time"].to_numpy()
            past, known = (
                np.stack([table[f"{part}_{place}"].to_numpy() for place in range(len(names))], 1)
                if names
                else np.zeros((len(target), 0))
                for part, names in (("past", info.past), ("known", info.known))
            )
        except (OSError, pa.ArrowException, KeyError) as error:
            raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
        if stamps.dtype.kind == "M":
            stamps = stamps.astype("datetime64[s]")
        found = []
        for number, name in enumerate(info.series):
            rows = numbers == number
            if not rows.any():
                raise InputError(f"{path} has no row of series {name}.")
            found.append(Series(name, stamps[rows], target[rows], past[rows], known[rows]))
        return found


def write_history(path: Path, series: Sequence[Series], length: int) -> None:
    """Write the newest rows of every series, Parquet."""
    newest = [slice(max(0, len(one) - length), len(one)) for one in series]
    columns: dict[str, Any] = {
        "number": np.concatenate([
            np.full(rows.stop - rows.start, number, np.int32) for number, rows in enumerate(newest)
        ]),
        "time": np.concatenate([o.stamps[r] for o, r in zip(series, newest, strict=True)]),
        "target": np.concatenate([o.target[r] for o, r in zip(series, newest, strict=True)]),
    }  # fmt: skip
    for part in ("past", "known"):
        values = np.concatenate([getattr(o, part)[r] for o, r in zip(series, newest, strict=True)])
        columns |= {f"{part}_{place}": column for place, column in enumerate(values.T)}
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), buffer)
    write_bytes(path, buffer.getvalue().to_pybytes())
