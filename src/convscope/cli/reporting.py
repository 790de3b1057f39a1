"""``report``: the page of a run with everything that can be known of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from convscope.cli.shared import Json, Seed, Workers, app, progress


@app.command(epilog="Example: convscope report my-run --compare ladder")
def report(
    run: Annotated[Path, typer.Argument(help="A Run folder.", show_default=False)],
    photos: Annotated[
        Path | None,
        typer.Option(
            help="What the run was fitted on: folder or table. Default where it was then.",
            show_default=False,
        ),
    ] = None,
    explain: Annotated[int, typer.Option(help="How many photos to explain; 0 for none.")] = 10,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="Whose neurons to show, as convscope describe RUN names it; may be given several "
            "times. Default a late one whose neurons see a part of the photo.",
            show_default=False,
        ),
    ] = None,
    neurons: Annotated[bool, typer.Option(help="Show what excites neurons.")] = True,
    audit: Annotated[bool, typer.Option(help="Search for shortcuts.")] = True,
    masks: Annotated[
        Path | None,
        typer.Option(
            help="A folder with a mask (white: the object) for each photo, under its name, .png.",
            show_default=False,
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            help="A folder that convscope compare made: show its ladder.", show_default=False
        ),
    ] = None,
    forecast: Annotated[
        Path | None,
        typer.Option(
            help="A folder that convscope forecast fit or backtest made: show it, too.",
            show_default=False,
        ),
    ] = None,
    workers: Workers = None,
    seed: Seed = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make again what is in the Run folder already.")
    ] = False,
    json: Json = False,
) -> None:
    """The report with all of it: explanations, neurons, shortcuts, ladder, forecast.

    What is missing is found out and kept in the Run folder; what is there is not made again.
    """
    from convscope.reporting import ReportOptions
    from convscope.reporting import report as work
    from convscope.run import Run
    from convscope.tables import print_json

    options = ReportOptions(explain, tuple(layer or ()), neurons, audit, seed)
    states = work(
        run, photos, options, masks=masks, compare=compare, forecast=forecast, overwrite=overwrite,
        workers=workers, progress=progress(),
    )  # fmt: skip
    page = Run(run).report_path
    if json:
        print_json({"report": str(page), "sections": states}, sys.stdout)
        return
    console = Console()
    for name, state in states.items():
        console.print(f"{name}: {state}", markup=False, highlight=False)
    console.print(f"report: {page}", markup=False, highlight=False, soft_wrap=True)
