"""``audit``: shortcuts over a whole data set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from convscope.cli.shared import Json, Photos, Seed, Workers, app, progress


@app.command(epilog="Example: convscope audit my-run photos --out shortcuts")
def audit(
    run: Annotated[Path, typer.Argument(help="A Run folder.", show_default=False)],
    photos: Photos,
    out: Annotated[Path, typer.Option(help="The folder to make.", show_default=False)],
    masks: Annotated[
        Path | None,
        typer.Option(
            help="A folder with a mask (white: the object) for each photo, under its name, .png: "
            "tells what lies beside the object.",
            show_default=False,
        ),
    ] = None,
    mask_out: Annotated[
        Path | None,
        typer.Option(
            help="A Run folder to make: trained again without the strong findings, and compared.",
            show_default=False,
        ),
    ] = None,
    workers: Workers = None,
    seed: Seed = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the audit at --out.")
    ] = False,
    json: Json = False,
) -> None:
    """What gives a class away that is not the thing itself, and whether the classifier uses it."""
    from convscope.audit.running import audit as work
    from convscope.tables import print_json

    told = progress()
    found, remedy = work(
        run, photos, out, masks=masks, mask_out=mask_out, seed=seed, workers=workers,
        overwrite=overwrite, progress=told,
    )  # fmt: skip
    if json:
        content = {**found.to_dict(), "remedy": None if remedy is None else remedy.to_dict()}
        print_json(content, sys.stdout)
        return
    strong = [one for one in found.findings if one.strength == "strong"]
    beside = [one for one in found.patterns if one.strength == "strong"]
    for number, one in enumerate(strong, start=1):
        _line(f"{number}. {one.label}, {one.kind}: {one.text()}")
    for number, pattern in enumerate(beside, start=len(strong) + 1):
        _line(f"{number}. {pattern.label}, beside the object: {pattern.text()}")
    if not strong and not beside:
        most = max(found.power.values(), default=1.0)
        _line(f"no shortcut found; one in {most:.0%} of the photos of a class would have been")
    if len(found.findings) > len(strong):
        _line(f"{len(found.findings) - len(strong)} weak: see the page")
    if len(found.patterns) > len(beside):
        _line(f"{len(found.patterns) - len(beside)} kinds of pieces it goes by: see the page")
    if remedy is not None:
        before, after = remedy.worst
        _line(f"trained again without: worst group {before:.2f}, now {after:.2f}")
    elif mask_out is not None:
        told.say(
            "not trained again: --mask-out covers places that are the same in each photo"
            if beside
            else "nothing to train again without: no finding is strong"
        )
    told.say(f"page: {out / 'audit.html'}")


def _line(text: str) -> None:
    print(text, flush=True)  # noqa: T201
