"""The command that pushes photos through a pre-trained network and keeps its features."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from convscope.cli.shared import Json, Photos, Seed, Workers, app, progress


@app.command(epilog="Example: convscope features photos --out photos.parquet --layer conv2")
def features(
    photos: Photos,
    out: Annotated[
        Path,
        typer.Option(help="The Parquet file to write, or to bring up to date.", show_default=False),
    ],
    net: Annotated[str, typer.Option(help="A name that `convscope nets` lists.")] = "mobilenet_v2",
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="A stage of the network; may be given several times. Default the last.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="published, or a .safetensors or .pth file.")
    ] = "published",
    dtype: Annotated[
        Literal["float16", "float32"], typer.Option(help="Numbers in the file.")
    ] = "float16",
    precision: Annotated[
        Literal["fast", "exact"],
        typer.Option(
            help="fast: bfloat16 where the machine computes it and the features stay close, JPEGs "
            "decoded scaled; exact: float32 throughout."
        ),
    ] = "fast",
    seed: Seed = 0,
    workers: Workers = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file at --out.")
    ] = False,
    json: Json = False,
) -> None:
    """Photos once through a pre-trained network, its features into a file.

    Called again, it computes only photos that are new or have changed.
    """
    from convscope.transfer.updating import update_features

    update = update_features(
        photos, out, net=net, weights=weights, stages=layer or None, dtype=dtype, mode=precision,
        overwrite=overwrite, workers=workers, seed=seed, progress=progress(),
    )  # fmt: skip
    if json:
        from convscope.tables import print_json

        print_json(update.to_dict(), sys.stdout)
        return
    gone = f", {update.removed:,} removed" if update.removed else ""
    changed = f" ({update.changed:,} had changed)" if update.changed else ""
    Console().print(
        f"{update.path}: {update.total:,} photos, {', '.join(update.info.stages)} of "
        f"{update.info.net}; {update.computed:,} computed{changed}, {update.kept:,} kept{gone}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
