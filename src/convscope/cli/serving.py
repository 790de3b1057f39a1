"""``app``: the page that shows everything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convscope.cli.shared import Json, Seed, app, progress


@app.command("app", epilog="Example: convscope app my-run")
def serve(
    run: Annotated[
        Path | None,
        typer.Argument(help="A Run folder to look at; the page does without.", show_default=False),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where to listen. Others can connect only if this is changed.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            help="Default 8610, or the next that is free.", min=1, max=65535, show_default=False
        ),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(
            help="Where photos, runs and jobs are kept; default your data folder.",
            show_default=False,
        ),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open it in the browser.")] = True,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """A page that needs no programming: photos, training, what the network looks at, forecasts.

    Serves until Ctrl-C. Nothing leaves this machine. (--seed and --json are taken for uniformity:
    the page asks for the seed, and its address is all that is printed.)
    """
    from convscope.app.starting import serve as work

    del seed, json
    work(run, host=host, port=port, home=home, browser=browser, progress=progress())
