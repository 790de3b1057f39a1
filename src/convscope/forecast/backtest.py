"""Rolling origin: forecast as if some day in the past were today, several times over."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convscope.data.series import Series, SeriesTable
from convscope.errors import InputError
from convscope.forecast.judging import Answers, Judged, answers_of, joined, judge
from convscope.forecast.learning import learn
from convscope.forecast.model import Model
from convscope.forecast.options import ForecastOptions, TableOptions
from convscope.forecast.preparing import (
    Shape,
    purposes_of,
    read_table_of,
    shape_of,
    with_columns,
)  # fmt: skip
from convscope.progress import Progress


@dataclass(frozen=True, eq=False)
class Fold:
    """One origin: the rows of each series before, and those that were forecast."""

    train: tuple[slice, ...]
    valid: tuple[slice, ...]
    test: tuple[slice, ...]
    judged: Judged


@dataclass(frozen=True, eq=False)
class Backtest:
    """All origins.

    Attributes
    ----------
    options : ForecastOptions
    shape : Shape
    step : str
        In words.
    refit : bool
        Whether a network was trained for each origin.
    folds : tuple of Fold
    judged : Judged
        Of all together.
    """

    options: ForecastOptions
    shape: Shape
    step: str
    refit: bool
    folds: tuple[Fold, ...]
    judged: Judged

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "horizon": self.options.horizon,
            "look_back": self.shape.look_back,
            "season": self.shape.season,
            "step": self.step,
            "refit": self.refit,
            **self.judged.to_dict(),
            "folds": [
                {"from_row": fold.test[0].start, **fold.judged.to_dict()["model"]}
                for fold in self.folds
            ],
        }


def backtest(
    table: Path | str | SeriesTable,
    columns: TableOptions,
    options: ForecastOptions,
    *,
    folds: int = 5,
    refit: bool = True,
    progress: Progress | None = None,
) -> Backtest:
    """Forecast the newest rows from several origins, each time knowing only what came before.

    Parameters
    ----------
    table : path or SeriesTable
    columns : TableOptions
        What its columns are; of a path.
    options : ForecastOptions
        Its share ``test`` is what is forecast in all, ``valid`` the rows before each origin that
        tell when to stop.
    folds : int
        Origins, evenly spaced.
    refit : bool
        Train anew for each origin; else once, for the first.
    progress : Progress, optional

    Raises
    ------
    InputError
        The table or the options cannot be used, or the rows are too few for so many origins.
    """
    progress = progress or Progress()
    if folds < 1:
        raise InputError(f"folds={folds}: a backtest has 1 origin or more.")
    if not isinstance(table, SeriesTable):
        table = read_table_of(table, columns)
    table = with_columns(table, calendar=options.calendar)
    rounds = origins(table.series, options, folds)
    shape = shape_of(options, table.step, table.series, rounds[0][0])
    found: list[Fold] = []
    collected: list[Answers] = []
    model: Model | None = None
    first = rounds[0][0]
    for number, (train, valid, test) in enumerate(rounds):
        if model is None or refit:
            progress.say(f"origin {number + 1} of {len(rounds)}: {_rows(train)} rows to learn from")
            with tempfile.TemporaryDirectory(prefix="convscope-") as work:
                model, _ = learn(
                    table.series, train, valid, shape, options, work=Path(work) / "work",
                    epochs_file=Path(work) / "epochs.csv", progress=progress,
                )  # fmt: skip
            first = train
        answers = answers_of(model, table.series, test, first, shape.season)
        collected.append(answers)
        found.append(Fold(train, valid, test, judge(answers, options.seed)))
    return Backtest(
        options, shape, table.step.words(), refit, tuple(found),
        judge(joined(collected), options.seed),
    )  # fmt: skip


def origins(
    series: Sequence[Series], options: ForecastOptions, folds: int
) -> list[tuple[tuple[slice, ...], tuple[slice, ...], tuple[slice, ...]]]:
    """The rows of each origin: to learn from, to tell when to stop, to forecast.

    Raises
    ------
    InputError
        The rows to forecast are too few for so many origins; with how many are possible.
    """
    purposes = purposes_of(series, options.horizon, options.valid, options.test)
    longest = max(part.stop - part.start for part in purposes.test)
    possible = longest // options.horizon
    if folds > max(1, possible):
        raise InputError(
            f"{folds} origins of a horizon of {options.horizon} need {folds * options.horizon} "
            f"rows to forecast; there are {longest}. Ask for --folds {max(1, possible)} at most, "
            "or for a larger --test."
        )
    rounds = []
    for number in range(folds):
        parts: tuple[list[slice], ...] = ([], [], [])
        for valid, test in zip(purposes.valid, purposes.test, strict=True):
            size = (test.stop - test.start) // folds
            begin = test.start + number * size
            end = test.stop if number + 1 == folds else begin + size
            held = valid.stop - valid.start
            for part, rows in zip(
                parts, ((0, max(0, begin - held)), (max(0, begin - held), begin), (begin, end)),
                strict=True,
            ):  # fmt: skip
                part.append(slice(*rows))
        rounds.append(tuple(tuple(part) for part in parts))
    return rounds  # type: ignore[return-value]


def _rows(parts: Sequence[slice]) -> str:
    return f"{sum(part.stop - part.start for part in parts):,}"
