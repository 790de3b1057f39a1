"""What can be asked of a forecast, checked before anything starts."""

from __future__ import annotations

from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from convscope.data.series import Gaps
from convscope.errors import InputError

Shares = tuple[float, ...]
_T = TypeVar("_T", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TableOptions(_Strict):
    """Which columns of a table are what; see :func:`~convscope.data.series.read_series`."""

    target: tuple[str, ...] = Field((), description="columns to forecast; none for rows")
    time: tuple[str, ...] = ()
    series: str | None = Field(None, description="the column that tells series apart")
    rows: bool = Field(False, description="a row is a series, the first column its name")
    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    gaps: Gaps = "error"

    @model_validator(mode="after")
    def _one_layout(self) -> Self:
        others = (*self.target, *self.time, *self.past, *self.known, *self.static)
        if self.rows and (others or self.series):
            raise ValueError("in a table with a row for each series there are no other columns")
        if not self.rows and not self.target:
            raise ValueError("name the column to forecast with --target")
        return self


class ForecastOptions(_Strict):
    """What is asked of a forecast; None leaves the choice to convscope.

    >>> ForecastOptions(horizon=24, look_back="2 weeks").normalise
    'last'
    """

    horizon: int = Field(ge=1, description="steps ahead that are said at once")
    look_back: int | str | None = Field(None, description="steps, or a time span: '2 weeks'")
    season: int | None = Field(None, ge=1, description="steps; of the baselines and of MASE")
    calendar: bool = Field(True, description="hour of the day, day of the week and of the year")
    body: Literal["plain", "residual"] = "residual"
    filters: int = Field(32, ge=1)
    kernel_size: int = Field(3, ge=2, description="1 reads the present only")
    dropout: float = Field(0.2, ge=0, lt=1)
    normalise: Literal["none", "last", "window", "revin"] = "last"
    shortcut: bool = Field(True, description="a linear map beside the convolutions")
    output: Literal["point", "quantiles", "gaussian"] = "point"
    levels: Shares = Field((0.1, 0.5, 0.9), description="of quantiles")
    epochs: int = Field(30, ge=1, le=100_000, description="at most")
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(5e-4, gt=0)
    weight_decay: float = Field(0.02, ge=0)
    patience: int = Field(5, ge=1)
    valid: float = Field(0.1, gt=0, lt=0.5, description="share of the rows, before the test rows")
    test: float = Field(0.2, gt=0, lt=0.5, description="share of the rows, the newest")
    seed: int = Field(0, ge=0, lt=2**31)


def table_options(asked: dict[str, Any]) -> TableOptions:
    """Validate; every fault in one :class:`InputError`."""
    return _validated(TableOptions, asked)


def forecast_options(asked: dict[str, Any]) -> ForecastOptions:
    """Validate; every fault in one :class:`InputError`.

    >>> forecast_options({"horizon": 0})
    Traceback (most recent call last):
    convscope.errors.InputError: horizon: input should be greater than or equal to 1. Received: 0.
    """
    if asked.get("kernel_size", 2) == 1:
        raise InputError(
            "kernel_size=1 reads the present only, however deep the network is. Choose 2 or more."
        )
    return _validated(ForecastOptions, asked)


def _validated(kind: type[_T], asked: dict[str, Any]) -> _T:
    try:
        return kind(**asked)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            where = ".".join(map(str, fault["loc"]))
            said = fault["msg"].removeprefix("Value error, ")
            said = said[0].lower() + said[1:]
            got = f" Received: {fault['input']!r}." if where else ""
            faults.append(f"{where}{': ' if where else ''}{said}.{got}")
        raise InputError(" ".join(faults)) from None
