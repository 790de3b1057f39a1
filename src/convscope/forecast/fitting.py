"""``forecast fit``: from a table of measurements to a Run folder."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from torch import nn

from convscope.data.series import Series, SeriesTable
from convscope.errors import InputError
from convscope.field_picture import field_picture
from convscope.files import write_bytes, write_json
from convscope.forecast.backtest import Backtest
from convscope.forecast.explaining import explain_forecast
from convscope.forecast.judging import Judged, answers_of, judge
from convscope.forecast.learning import learn
from convscope.forecast.model import Model
from convscope.forecast.options import ForecastOptions, TableOptions
from convscope.forecast.page import Shown, page_content
from convscope.forecast.preparing import (
    Purposes,
    Shape,
    known_ahead,
    purposes_of,
    read_table_of,
    shape_of,
    with_columns,
)
from convscope.forecast.rolling import Forecast, next_steps, time_texts
from convscope.forecast.run import ForecastInfo, ForecastRun, StepInfo, write_history
from convscope.geometry import trace
from convscope.progress import Progress
from convscope.report.pages import FORECAST, write_page
from convscope.train.loop import Trained
from convscope.unfinished import UnfinishedFolder, whole_folder

_PACKAGES = ("convscope", "torch", "lightning", "numpy")
# Series that the page shows, and forecasts that it needs.
_SHOWN = 6
# Rows kept of each series beside what a forecast reads, for the chart.
_MORE_ROWS = 300


def fit_forecast(
    table: Path | str,
    out: Path | str,
    columns: TableOptions,
    options: ForecastOptions,
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> ForecastRun:
    """Train a forecaster, measure it once on the newest rows, and write a Run folder.

    Parameters
    ----------
    table : path
        CSV or Parquet.
    out : path
        The folder to make.
    columns : TableOptions
    options : ForecastOptions
    overwrite : bool
        Replace an existing run.
    resume : bool
        Go on with an interrupted fit of the same table and options.
    progress : Progress, optional

    Returns
    -------
    ForecastRun

    Raises
    ------
    InputError
        The table, the options or ``out`` cannot be used; nothing is left behind.
    ConvscopeError
        The work failed; what is done so far is kept for ``resume``.
    """
    progress = progress or Progress()
    path = Path(table)
    read = with_columns(read_table_of(path, columns), calendar=options.calendar)
    purposes = purposes_of(read.series, options.horizon, options.valid, options.test)
    shape = shape_of(options, read.step, read.series, purposes.train)
    asked = {
        **options.model_dump(mode="json"), **columns.model_dump(mode="json"), "table": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }  # fmt: skip
    folder = UnfinishedFolder(
        Path(out), asked, work="fit", result="run", marks="run.json", overwrite=overwrite,
        resume=resume,
    )  # fmt: skip
    if resume and not folder.resumed:
        progress.say("nothing to resume: starting from the beginning")
    with folder.kept():
        progress.say(_told(read, purposes, shape))
        model, trained = learn(
            read.series, purposes.train, purposes.valid, shape, options,
            work=folder.work / "training", epochs_file=folder.folder / "log" / "epochs.csv",
            resume=folder.resumed, progress=progress,
        )  # fmt: skip
        progress.say("measuring on the newest rows")
        answers = answers_of(model, read.series, purposes.test, purposes.train, shape.season)
        judged = judge(answers, options.seed)
        _write(folder.folder, path, read, columns, options, purposes, shape, model, trained, judged)
        folder.complete()
    return ForecastRun(Path(out))


def _told(table: SeriesTable, purposes: Purposes, shape: Shape) -> str:
    rows = [sum(p.stop - p.start for p in part) for part in
            (purposes.train, purposes.valid, purposes.test)]  # fmt: skip
    return (
        f"{len(table)} series on steps of {table.step.words()}; {rows[0]:,} rows to learn from, "
        f"{rows[1]:,} to stop by, {rows[2]:,} to test on; look-back {shape.look_back} steps with "
        f"dilations {', '.join(map(str, shape.dilations))}"
    )


def _write(
    folder: Path,
    path: Path,
    table: SeriesTable,
    columns: TableOptions,
    options: ForecastOptions,
    purposes: Purposes,
    shape: Shape,
    model: Model,
    trained: Trained,
    judged: Judged,
) -> None:
    content = model.save(folder / "model.safetensors")
    rows = {
        name: sum(p.stop - p.start for p in part)
        for name, part in (
            ("train", purposes.train), ("valid", purposes.valid), ("test", purposes.test),
        )
    }  # fmt: skip
    info = ForecastInfo(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        table=str(path),
        columns=columns,
        options=options,
        step=StepInfo(count=table.step.count, unit=table.step.unit),
        series=tuple(one.name for one in table.series),
        past=table.past,
        known=table.known,
        look_back=shape.look_back,
        dilations=shape.dilations,
        season=shape.season,
        rows=rows,
        filled=table.filled,
        training={"epochs": trained.epochs, "best_epoch": trained.best_epoch,
                  "precision": trained.precision},
        versions={**{name: version(name) for name in _PACKAGES},
                  "python": platform.python_version()},
        model_sha256=hashlib.sha256(content).hexdigest(),
    )  # fmt: skip
    write_json(folder / "metrics.json", metrics_of(judged, options, shape, table))
    keep = max(shape.look_back + 1, shape.season) + _MORE_ROWS
    write_history(folder / "history.parquet", table.series, keep)
    drawn = look_back_picture(model)
    write_bytes(folder / "look-back.svg", drawn.encode())
    shown = table.series[:_SHOWN]
    known = [
        known_ahead(one, table.step, options.horizon, len(table.known), calendar=options.calendar)
        for one in shown
    ]
    forecasts = next_steps(
        model, shown, table.step, options.horizon, known=known, seed=options.seed
    )
    context, ahead = model.context(shown[:1])[0], model.ahead(np.stack(known[:1]))[0]
    explained = explain_forecast(model, context, ahead)
    page = page_content(
        Shown(f"{options.horizon} steps ahead of {_names(table)}", _facts(info, table)),
        judged,
        forecasts=_padded(list(zip(shown, forecasts, strict=True)), table),
        explained=(context[0].numpy(), explained),
        drawn=drawn,
        epochs=folder / "log" / "epochs.csv",
    )
    write_page(folder / "report.html", FORECAST, page)
    write_json(folder / "run.json", info.model_dump(mode="json"))


def metrics_of(
    judged: Judged, options: ForecastOptions, shape: Shape, table: SeriesTable
) -> dict[str, object]:
    """What ``metrics.json`` holds."""
    return {
        "horizon": options.horizon, "look_back": shape.look_back, "season": shape.season,
        "step": table.step.words(), **judged.to_dict(),
    }  # fmt: skip


def look_back_picture(model: Model) -> str:
    """The stack of convolutions as slides draw it, from the network itself: SVG text."""
    body: nn.Module = model.net.body
    length = min(model.net.body.look_back + 1, 128)
    graph = trace(body, (model.net.channels, length))
    try:
        return field_picture(graph, name="look-back")
    except InputError:
        return ""


def write_backtest(found: Backtest, out: Path, series: Sequence[Series], overwrite: bool) -> Path:
    """Write a backtest's page and figures into a folder; gives the page."""
    with whole_folder(out, result="backtest", marks="backtest.json", overwrite=overwrite) as folder:
        facts = [
            ("horizon", f"{found.options.horizon} steps of {found.step}"),
            ("look-back", f"{found.shape.look_back} steps"),
            ("origins", str(len(found.folds))),
            ("network", "trained anew for each origin" if found.refit else "trained once"),
        ]
        starts = series[0].stamps[[fold.test[0].start for fold in found.folds]]
        folds = [
            (f"from {start}", fold.judged)
            for start, fold in zip(time_texts(starts), found.folds, strict=True)
        ]
        page = page_content(
            Shown(f"Backtest, {found.options.horizon} steps ahead", facts), found.judged,
            folds=folds,
        )  # fmt: skip
        write_page(folder / "report.html", FORECAST, page)
        write_json(folder / "backtest.json", found.to_dict())
    return out / "report.html"


def _padded(
    some: list[tuple[Series, Forecast]], table: SeriesTable
) -> list[tuple[Series, Forecast]]:
    """As many as there are series, so that the page can say how many it does not show."""
    return some + some[-1:] * (len(table) - len(some))


def _names(table: SeriesTable) -> str:
    return table.series[0].name if len(table) == 1 else f"{len(table)} series"


def _facts(info: ForecastInfo, table: SeriesTable) -> list[tuple[str, str]]:
    longest = max(table.series, key=len)
    return [
        ("series", f"{len(table)}, the longest of {len(longest):,} steps of {table.step.words()}"),
        ("rows", ", ".join(f"{name} {count:,}" for name, count in info.rows.items())),
        ("not measured", f"{info.filled:,} ({info.columns.gaps})" if info.filled else "nothing"),
        ("looks back", f"{info.look_back} steps, dilations {', '.join(map(str, info.dilations))}"),
        ("columns", ", ".join((*info.past, *info.known)) or "the target alone"),
        ("trained", f"{info.training['epochs']} epochs, the best {info.training['best_epoch']}"),
    ]
