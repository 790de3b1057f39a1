"""Commands on networks: their layers, and the catalogue."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from convscope.cli.shared import Json, Seed, app, progress
from convscope.errors import InputError


@app.command(epilog="Example: convscope describe vgg16 --picture vgg16.svg")
def describe(
    net: Annotated[
        str,
        typer.Argument(
            help="A name that `convscope nets` lists, a Run folder, or module:attribute, your own "
            "torch.nn.Module (or a function that gives one).",
            show_default=False,
        ),
    ],
    input: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="CxHxW",
            show_default=False,
            help="Shape of the input, for example 3x224x224, or 1x64 for a series.",
        ),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(
            help="One row per module at this depth; 1 for the largest parts.",
            min=1,
            show_default=False,
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.svg", show_default=False, help="Draw what the units see into a file."
        ),
    ] = None,
    photo: Annotated[
        Path | None,
        typer.Option(
            show_default=False, help="For the picture; default one that convscope draws itself."
        ),
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Layer by layer: shape, receptive field, jump, parameters, multiply-adds.

    "sees" is the receptive field, in inputs from the first to the last that one unit sees; "jump"
    the inputs from one unit to the next. (--seed is taken for uniformity: nothing here is random.)
    """
    from convscope import describing
    from convscope.options import input_shape
    from convscope.tables import print_description, print_json

    if photo is not None and picture is None:
        raise InputError(f"--photo {photo} is for the picture: add --picture FILE.svg.")
    shape = None if input is None else input_shape(input)
    with redirect_stdout(sys.stderr):  # what a network of one's own prints is no result of ours
        found = describing.describe(net, shape)
    if picture is not None:
        from convscope.field_picture import write_field_picture

        write_field_picture(found.graph, picture, photo=photo, name=found.net)
        progress().say(f"picture: {picture}")
    if depth is not None:
        found = found.folded(depth)
    if json:
        print_json(found.to_dict(), sys.stdout)
    else:
        print_description(found, Console())


@app.command(epilog="Example: convscope nets --json")
def nets(seed: Seed = 0, json: Json = False) -> None:
    """The catalogue of networks.

    (--seed is taken for uniformity: nothing here is random.)
    """
    from convscope.nets.catalog import NETS
    from convscope.tables import print_json, print_nets

    if json:
        print_json([spec.to_dict() for spec in NETS.values()], sys.stdout)
    else:
        print_nets(NETS.values(), Console())
