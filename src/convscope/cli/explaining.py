"""``explain``: what a classifier looks at."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from convscope.cli.shared import Json, Seed, app, progress

_ALL = "all"


@app.command(epilog="Example: convscope explain my-run bee.jpg --method occlusion --out seen")
def explain(
    run: Annotated[Path, typer.Argument(help="A Run folder.", show_default=False)],
    photos: Annotated[
        list[Path],
        typer.Argument(help="Photos, and folders that are searched for some.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="The folder to make.", show_default=False)],
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="saliency, smoothgrad, integrated_gradients, gradcam, occlusion, lime, or all; "
            "may be given several times. Default saliency.",
            show_default=False,
        ),
    ] = None,
    class_: Annotated[
        str | None,
        typer.Option("--class", help="The class to explain; default what the network says."),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(
            help="logit or probability: of which score. Default the logit for gradients, the "
            "probability for occlusion and lime."
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(help="Of occlusion: side, pixels of the network's input; default a seventh."),
    ] = None,
    stride: Annotated[
        int | None, typer.Option(help="Of occlusion: default half of the window.")
    ] = None,
    occluder: Annotated[str, typer.Option(help="Of occlusion: mean, blur or noise.")] = "mean",
    precision: Annotated[
        str, typer.Option(help="Of occlusion: exact, or fast (bfloat16 where that is faster).")
    ] = "exact",
    refine: Annotated[
        bool,
        typer.Option("--refine", help="Of occlusion: coarse first, finer only where it matters."),
    ] = False,
    segments: Annotated[
        str, typer.Option(help="Super-pixels of lime: slic, quickshift or felzenszwalb.")
    ] = "slic",
    surrogate: Annotated[
        str, typer.Option(help="The simple model of lime: ridge, lasso or forest.")
    ] = "ridge",
    samples: Annotated[
        int, typer.Option(help="Of lime, at most; it stops once it is stable.")
    ] = 1000,
    layer: Annotated[
        str | None, typer.Option(help="Of gradcam: a layer; default the last map.")
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            help="A folder with a mask (white: the object) for each photo, under its name, .png: "
            "says how far the maps lie on the object.",
            show_default=False,
        ),
    ] = None,
    trust: Annotated[
        bool, typer.Option(help="Measure whether each map is better than the same elsewhere.")
    ] = True,
    insertion: Annotated[
        bool, typer.Option("--insertion", help="Measure insertion curves, too.")
    ] = False,
    sanity: Annotated[
        bool, typer.Option("--sanity", help="Do the maps change if the network is random?")
    ] = False,
    seed: Seed = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the explanations at --out.")
    ] = False,
    json: Json = False,
) -> None:
    """Which parts of a photo an answer rests on, and whether to believe that."""
    from convscope.explaining.asked import METHODS, ExplainOptions
    from convscope.explaining.running import explain as work
    from convscope.tables import print_json

    names = tuple(METHODS) if method == [_ALL] else tuple(method or ("saliency",))
    options = ExplainOptions(
        methods=names, target=class_, of=of,  # type: ignore[arg-type]
        window=window, stride=stride, occluder=occluder, precision=precision, refine=refine,
        segments=segments, surrogate=surrogate, samples=samples, layer=layer, trust=trust,
        insertion=insertion, sanity=sanity, seed=seed,
    )  # fmt: skip
    told = progress()
    say = told.say if json else _line
    found = work(
        run, photos, out, options, masks=masks, overwrite=overwrite, each=say, progress=told
    )
    if json:
        print_json(found.to_dict(), sys.stdout)
    else:
        told.say(f"page: {out / 'explain.html'}")


def _line(text: str) -> None:
    print(text, flush=True)  # noqa: T201
