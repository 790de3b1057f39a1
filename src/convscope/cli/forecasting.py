"""``forecast fit``, ``forecast predict`` and ``forecast backtest``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from convscope.cli.shared import Json, Overwrite, Seed, app, progress
from convscope.errors import InputError

forecast = typer.Typer(
    help="Forecast time series with causal, dilated convolutions.", no_args_is_help=True
)
app.add_typer(forecast, name="forecast")

Table = Annotated[
    Path,
    typer.Argument(help="CSV or Parquet, a row for each time stamp.", show_default=False),
]
Target = Annotated[
    list[str] | None,
    typer.Option(
        help="Column to forecast; several are several series of one wide table.",
        show_default=False,
    ),
]
Time = Annotated[
    list[str] | None,
    typer.Option(
        help="Column of time stamps, or several: --time year --time month ... Without it rows "
        "are steps.",
        show_default=False,
    ),
]
SeriesColumn = Annotated[
    str | None,
    typer.Option("--series", help="Column that tells series apart.", show_default=False),
]
Rows = Annotated[bool, typer.Option("--rows", help="A row is a series: its name, then its values.")]
Past = Annotated[
    list[str] | None,
    typer.Option(help="Column that is known up to now, such as the weather.", show_default=False),
]
Known = Annotated[
    list[str] | None,
    typer.Option(help="Column that is known ahead, such as holidays.", show_default=False),
]
Static = Annotated[
    list[str] | None,
    typer.Option(help="Column that never changes within a series.", show_default=False),
]
Gaps = Annotated[
    str,
    typer.Option(
        help="Missing steps and values: error names them; mask leaves them out of every loss and "
        "measure; interpolate draws lines."
    ),
]
Horizon = Annotated[int, typer.Option(help="Steps ahead.", show_default=False)]
LookBack = Annotated[
    str | None,
    typer.Option(
        help="How far back a forecast looks: steps, or '2 weeks'. Default two seasons or two "
        "horizons, whichever is more.",
        show_default=False,
    ),
]
Body = Annotated[str, typer.Option(help="plain: one convolution a level; residual: two.")]
Filters = Annotated[int, typer.Option(help="Channels of each convolution.")]
Kernel = Annotated[int, typer.Option(help="Steps that a convolution reads.")]
Dropout = Annotated[float, typer.Option(help="Share of channels left out in training.")]
Normalise = Annotated[
    str,
    typer.Option(
        help="What is taken off each window: last (its last value), window (mean and spread), "
        "revin (the same, with learned factors), none."
    ),
]
Shortcut = Annotated[
    bool, typer.Option(help="A linear map from the window beside the convolutions.")
]
Output = Annotated[str, typer.Option(help="point, quantiles (0.1, 0.5, 0.9) or gaussian.")]
Calendar = Annotated[
    bool, typer.Option(help="Tell the network the time of day, of the week and of the year.")
]
Season = Annotated[
    int | None,
    typer.Option(help="Steps of the season; default by the step.", show_default=False),
]
Epochs = Annotated[int, typer.Option(help="At most; early stopping may end sooner.")]
Batch = Annotated[int, typer.Option("--batch-size", help="Windows at a time.")]
Rate = Annotated[float, typer.Option("--learning-rate", help="Its peak.")]
Valid = Annotated[float, typer.Option(help="Share of the rows that tells when to stop.")]
Test = Annotated[float, typer.Option(help="Share of the rows, the newest, to test on.")]


@forecast.command(
    epilog="Example: convscope forecast fit power.csv --target load --time date --horizon 24 "
    "--out power-run"
)
def fit(
    table: Table,
    horizon: Horizon,
    out: Annotated[Path, typer.Option(help="The Run folder to make.", show_default=False)],
    target: Target = None,
    time: Time = None,
    series: SeriesColumn = None,
    rows: Rows = False,
    past: Past = None,
    known: Known = None,
    static: Static = None,
    gaps: Gaps = "error",
    look_back: LookBack = None,
    body: Body = "residual",
    filters: Filters = 32,
    kernel_size: Kernel = 3,
    dropout: Dropout = 0.2,
    normalise: Normalise = "last",
    shortcut: Shortcut = True,
    output: Output = "point",
    calendar: Calendar = True,
    season: Season = None,
    epochs: Epochs = 30,
    batch_size: Batch = 64,
    learning_rate: Rate = 5e-4,
    valid: Valid = 0.1,
    test: Test = 0.2,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted fit of the same.")
    ] = False,
    json: Json = False,
) -> None:
    """Train a network on a table of measurements over time, and say how good it is."""
    from convscope.forecast.fitting import fit_forecast
    from convscope.tables import print_json

    columns, options = _options(
        target, time, series, rows, past, known, static, gaps, horizon=horizon,
        look_back=look_back, body=body, filters=filters, kernel_size=kernel_size, dropout=dropout,
        normalise=normalise, shortcut=shortcut, output=output, calendar=calendar, season=season,
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, valid=valid, test=test,
        seed=seed,
    )  # fmt: skip
    told = progress()
    run = fit_forecast(
        table, out, columns, options, overwrite=overwrite, resume=resume, progress=told
    )
    metrics = run.metrics()
    if json:
        print_json({"run": str(out), "report": str(out / "report.html"), **metrics}, sys.stdout)
        return
    _print_scores(metrics)
    told.say(f"page: {out / 'report.html'}")


@forecast.command(epilog="Example: convscope forecast predict power-run --steps 48")
def predict(
    run: Annotated[Path, typer.Argument(help="A Run folder of a forecast.", show_default=False)],
    table: Annotated[
        Path | None,
        typer.Argument(
            help="With the same columns; default the rows that the run was fitted on. Rows at the "
            "end without a target are what is to be forecast.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Default the horizon; beyond it forecasts stand on forecasts.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write .csv or .parquet instead of printing.", show_default=False),
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """What comes next, with 80 % and 95 % intervals."""
    import pyarrow as pa

    from convscope.forecast.predicting import csv_bytes, predict_forecast, write_forecasts
    from convscope.tables import print_json

    if out is not None and out.suffix not in (".csv", ".parquet", ".pq"):
        raise InputError(f"--out {out}: forecasts are written as .csv or .parquet.")
    found = predict_forecast(run, table, steps=steps, seed=seed, progress=progress())
    lines = [row for one in found for row in one.rows()]
    if out is not None:
        write_forecasts(found, out)
    if json:
        print_json(lines, sys.stdout)
    elif out is None:
        print(csv_bytes(pa.Table.from_pylist(lines)).decode(), end="")  # noqa: T201


@forecast.command(
    epilog="Example: convscope forecast backtest power.csv --target load --time date --horizon 24"
)
def backtest(
    table: Table,
    horizon: Horizon,
    target: Target = None,
    time: Time = None,
    series: SeriesColumn = None,
    rows: Rows = False,
    past: Past = None,
    known: Known = None,
    static: Static = None,
    gaps: Gaps = "error",
    folds: Annotated[int, typer.Option(help="Origins, evenly spaced.")] = 5,
    refit: Annotated[bool, typer.Option(help="Train anew for each origin.")] = True,
    out: Annotated[
        Path | None, typer.Option(help="A folder to make, with the page.", show_default=False)
    ] = None,
    look_back: LookBack = None,
    body: Body = "residual",
    filters: Filters = 32,
    kernel_size: Kernel = 3,
    dropout: Dropout = 0.2,
    normalise: Normalise = "last",
    shortcut: Shortcut = True,
    output: Output = "point",
    calendar: Calendar = True,
    season: Season = None,
    epochs: Epochs = 30,
    batch_size: Batch = 64,
    learning_rate: Rate = 5e-4,
    valid: Valid = 0.1,
    test: Test = 0.2,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Forecast the newest rows from several origins, beside what a network has to beat."""
    from convscope.forecast.backtest import backtest as work
    from convscope.forecast.fitting import write_backtest
    from convscope.forecast.preparing import read_table_of
    from convscope.tables import print_json

    columns, options = _options(
        target, time, series, rows, past, known, static, gaps, horizon=horizon,
        look_back=look_back, body=body, filters=filters, kernel_size=kernel_size, dropout=dropout,
        normalise=normalise, shortcut=shortcut, output=output, calendar=calendar, season=season,
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, valid=valid, test=test,
        seed=seed,
    )  # fmt: skip
    told = progress()
    read = read_table_of(table, columns)
    found = work(read, columns, options, folds=folds, refit=refit, progress=told)
    if out is not None:
        page = write_backtest(found, out, read.series, overwrite)
        told.say(f"page: {page}")
    if json:
        print_json(found.to_dict(), sys.stdout)
    else:
        _print_scores(found.to_dict())


def _options(
    target: list[str] | None,
    time: list[str] | None,
    series: str | None,
    rows: bool,
    past: list[str] | None,
    known: list[str] | None,
    static: list[str] | None,
    gaps: str,
    **asked: Any,
) -> tuple[Any, Any]:
    """What the columns are, and what is asked of the network."""
    from convscope.forecast.options import forecast_options, table_options

    columns = {
        "target": target or (), "time": time or (), "series": series, "rows": rows,
        "past": past or (), "known": known or (), "static": static or (), "gaps": gaps,
    }  # fmt: skip
    return table_options(columns), forecast_options(asked)


def _print_scores(metrics: dict[str, Any]) -> None:
    """Network and baselines, the best first, and the verdict."""
    from convscope.tables import print_forecast

    print_forecast(metrics, Console())
