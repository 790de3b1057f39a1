"""``neurons``: the patches that excite a network's neurons most."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from convscope.cli.shared import Json, Photos, Seed, Workers, app, progress


@app.command(epilog="Example: convscope neurons my-run photos --layer features.7 --out patches")
def neurons(
    run: Annotated[Path, typer.Argument(help="A Run folder.", show_default=False)],
    photos: Photos,
    layer: Annotated[
        list[str],
        typer.Option(
            help="As convscope describe RUN names it; may be given several times.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder to make.", show_default=False)],
    top: Annotated[int, typer.Option(help="Patches of each channel.")] = 9,
    per_photo: Annotated[int, typer.Option(help="How many of them may be of one photo.")] = 1,
    channels: Annotated[
        int, typer.Option(help="Of each layer, how many the page shows; the files have all.")
    ] = 48,
    workers: Workers = None,
    seed: Seed = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is at --out.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted search for the same.")
    ] = False,
    json: Json = False,
) -> None:
    """Which patches of photos excite the neurons of a layer most."""
    from convscope.neurons.asked import NeuronsOptions
    from convscope.neurons.running import neurons as work
    from convscope.tables import print_json

    del seed  # nothing is drawn by chance; every command takes it
    options = NeuronsOptions(tuple(layer), top=top, per_photo=per_photo, channels=channels)
    told = progress()
    found = work(
        run, photos, out, options, overwrite=overwrite, resume=resume, workers=workers,
        progress=told,
    )  # fmt: skip
    if json:
        print_json(found.to_dict(), sys.stdout)
        return
    for one in found.layers:
        told.say(
            f"{one.layer.name}: {one.layer.channels} channels, {one.silent} of them silent; a "
            f"neuron sees {' x '.join(str(field.size) for field in one.layer.field)} pixels"
        )
    told.say(f"page: {out / 'neurons.html'}")
