"""The command that compares ways of classifying."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from convscope.cli.shared import Json, Photos, Seed, Workers, app, progress


@app.command(epilog="Example: convscope compare photos --out comparison")
def compare(
    photos: Photos,
    out: Annotated[Path, typer.Option(help="The folder to make.", show_default=False)],
    rungs: Annotated[
        str | None,
        typer.Option(
            help="With commas, of: fcnn, cnn, cnn+standard, features (all classifiers on features; "
            "one: features+logistic ...), finetune. Default all that are possible.",
            show_default=False,
        ),
    ] = None,
    sizes: Annotated[
        str, typer.Option(help="Training photos per class, for the learning curve.")
    ] = "10,25,50,100,all",
    seeds: Annotated[int, typer.Option(help="How many times each rung is trained.")] = 3,
    net: Annotated[
        str, typer.Option(help="The pre-trained network; `convscope nets` lists them.")
    ] = "mobilenet_v2",
    weights: Annotated[
        str, typer.Option(help="published, none, or a .safetensors or .pth file.")
    ] = "published",
    epochs: Annotated[
        int | None, typer.Option(help="Of networks from scratch, at most.", show_default=False)
    ] = None,
    seed: Seed = 0,
    workers: Workers = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted comparison of the same.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the comparison at --out.")
    ] = False,
    json: Json = False,
) -> None:
    """The ladder from a network from scratch to a fine-tuned one, on your photos, with tests."""
    from convscope.comparing.ladder import CompareOptions, read_rungs, read_sizes

    options = CompareOptions(
        rungs=read_rungs(rungs),
        sizes=read_sizes(sizes),
        seeds=seeds,
        net=net,
        weights=weights,
        epochs=epochs,
        seed=seed,
    )
    from convscope.comparing.running import compare as run
    from convscope.comparing.table import print_comparison
    from convscope.tables import print_json

    found = run(
        photos, out, options, overwrite=overwrite, resume=resume, workers=workers,
        progress=progress(),
    )  # fmt: skip
    page = out / "compare.html"
    if json:
        print_json({"out": str(out), "page": str(page), **found.to_dict()}, sys.stdout)
    else:
        print_comparison(found, Console())
        Console().print(f"page: {page}", markup=False, highlight=False, soft_wrap=True)
