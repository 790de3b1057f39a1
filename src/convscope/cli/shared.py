"""What every command shares: the app, the common options, how a result is shown.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 1 the work failed,
2 wrong usage or unusable input. Modules that need PyTorch are imported inside the commands, so that
``--help`` is there at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from convscope import __version__
from convscope.progress import PROGRESS_FILE, Progress, ProgressFile

app = typer.Typer(
    name="convscope",
    help="Train an image classifier from a few hundred photos, and see what it looks at.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Photos = Annotated[
    Path,
    typer.Argument(
        help="A folder with one sub-folder per class, or with train/valid/test sub-folders that "
        "each have them; or a CSV or Parquet file with columns path,label[,split][,group].",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]
Seed = Annotated[int, typer.Option(help="Every random choice comes from it.", min=0, max=2**31 - 1)]
Workers = Annotated[
    int | None,
    typer.Option(help="Decoding processes; default one per core, 0 for none.", min=0),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run at --out.")]


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        print(f"convscope {__version__}")  # noqa: T201
        raise typer.Exit


def show_run(path: Path, json: bool) -> None:
    """The scores of a finished run, or all its figures."""
    from convscope.run import Run
    from convscope.tables import print_json, print_scores

    run = Run(path)
    if json:
        print_json({"run": str(path), "report": str(run.report_path), **run.metrics()}, sys.stdout)
    else:
        print_scores(run, Console())


def progress() -> Progress:
    """Bars and messages on stderr; in a file, where the environment names one."""
    if file := os.environ.get(PROGRESS_FILE):
        return ProgressFile(Path(file))
    return Progress(Console(stderr=True))
