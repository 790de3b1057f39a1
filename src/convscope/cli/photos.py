"""Commands on photos: from drawing and checking them to a classifier that names new ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from convscope.cli.shared import Json, Overwrite, Photos, Seed, Workers, app, progress, show_run
from convscope.errors import InputError


@app.command(epilog="Example: convscope demo --out demo-run")
def demo(
    out: Annotated[Path, typer.Option(help="The Run folder to make.")] = Path("demo-run"),
    seed: Seed = 0,
    shortcut: Annotated[
        bool, typer.Option("--shortcut", help="Plant one: snow behind nearly all photos of a class")
    ] = False,
    photos_only: Annotated[
        bool, typer.Option("--photos-only", help="Only draw the photos, into --out.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Stop after the training: no explanations, no audit.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """The whole story on photos that convscope draws itself: check, fit, explain, audit, report."""
    from convscope.demo.story import draw, tell

    if photos_only:
        draw(out, seed=seed, shortcut=shortcut, overwrite=overwrite, progress=progress())
        if json:
            from convscope.tables import print_json

            print_json({"photos": str(out)}, sys.stdout)
        return
    run = tell(
        out, seed=seed, shortcut=shortcut, overwrite=overwrite, quick=quick, progress=progress()
    )
    show_run(run.path, json)


@app.command(epilog="Example: convscope check photos")
def check(photos: Photos, workers: Workers = None, seed: Seed = 0, json: Json = False) -> None:
    """Corrupt, duplicate, leaking, imbalanced: every problem, file by file.

    Changes nothing. (--seed is taken for uniformity: nothing here is random.)
    """
    from convscope.data import checks
    from convscope.tables import print_check, print_json

    report = checks.check(photos, workers=workers, progress=progress())
    if json:
        print_json(report.to_dict(), sys.stdout)
    else:
        print_check(report, Console())


@app.command(epilog="Example: convscope fit photos --out my-run --strategy cnn")
def fit(
    photos: Photos,
    out: Annotated[
        Path | None, typer.Option(help="The Run folder to make.", show_default=False)
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="fcnn or cnn: a network from scratch; features: a classifier on the features of "
            "a pre-trained network; finetune: its last stages are trained further, too; auto: "
            "whichever of the two suits how many photos there are and how similar they are to "
            "what the network knows; cnn where weights cannot be had."
        ),
    ] = "auto",
    net: Annotated[
        str | None, typer.Option(help="A name that `convscope nets` lists; default by strategy.")
    ] = None,
    weights: Annotated[
        str, typer.Option(help="published, none, or a .safetensors or .pth file.")
    ] = "published",
    augment: Annotated[
        str | None,
        typer.Option(
            help="none; standard: rotate ±10°, shift ±0.1, flip; strong: crop, colours, erasing; "
            "trivial: TrivialAugment; mixup or cutmix: standard, and photos joined in pairs. "
            "Default standard for networks from scratch."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="At most; early stopping may end sooner.")] = (
        None
    ),
    head: Annotated[
        str | None,
        typer.Option(
            help="Classifier on features: logistic, linear_svm, rbf_svm, forest, neighbours, fcnn; "
            "best tries all. Default best for auto, logistic for features and finetune.",
            show_default=False,
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="Stage of the network whose features are used; may be given several times. "
            "Default the last, or as auto decides.",
            show_default=False,
        ),
    ] = None,
    train_stages: Annotated[
        int | None,
        typer.Option(
            help="How many of the last stages are trained further; default as auto decides.",
            show_default=False,
        ),
    ] = None,
    learning_rate: Annotated[
        str | None,
        typer.Option(
            help="Peak for the stages that are trained further; find measures it first. Default "
            "0.002.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="For features. fast: bfloat16 where the machine computes it and the features "
            "stay close, JPEGs decoded scaled; exact: float32 throughout."
        ),
    ] = "fast",
    seed: Seed = 0,
    workers: Workers = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted fit of the same.")
    ] = False,
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done, and why.")
    ] = False,
    json: Json = False,
) -> None:
    """Train a classifier and measure it once on photos that it has never seen."""
    from convscope.options import fit_options

    if out is None and not dry_run:
        raise InputError("fit needs a place for the Run folder: --out RUN.")
    options = fit_options(
        {
            "strategy": strategy,
            "net": net,
            "weights": weights,
            "augment": augment,
            "epochs": epochs,
            "precision": precision,
            "head": head,
            "layers": tuple(layer) if layer else None,
            "train_stages": train_stages,
            "learning_rate": learning_rate,
            "seed": seed,
        }
    )
    from convscope import fitting

    if dry_run or out is None:
        from convscope.tables import print_json, print_plan

        found = fitting.plan_only(photos, options, workers=workers, progress=progress())
        if json:
            print_json(found, sys.stdout)
        else:
            print_plan(found, Console())
        return
    run = fitting.fit(
        photos, out, options, overwrite=overwrite, resume=resume, workers=workers,
        progress=progress(),
    )  # fmt: skip
    show_run(run.path, json)


@app.command(epilog="Example: convscope predict my-run new.jpg holiday/")
def predict(
    run: Annotated[Path, typer.Argument(help="A Run folder.", show_default=False)],
    photos: Annotated[
        list[Path], typer.Argument(help="Photos, and folders of photos.", show_default=False)
    ],
    format: Annotated[
        Literal["table", "csv"], typer.Option("--format", help="What to print.")
    ] = "table",
    workers: Workers = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Name photos: label and probability.

    Goes on past a bad file, and ends with exit code 1 then. (--seed is taken for uniformity:
    nothing here is random.)
    """
    from convscope.predicting import Prediction
    from convscope.predicting import predict as name
    from convscope.run import Run
    from convscope.tables import print_csv, print_json, print_predictions

    shown = progress()
    rows: list[Prediction] = list(name(run, photos, workers=workers, progress=shown))
    if json:
        print_json([row.to_dict() for row in rows], sys.stdout)
    elif format == "csv":
        print_csv(rows, Run(run).info().classes, sys.stdout)
    else:
        print_predictions(rows, Console())
    bad = [row for row in rows if row.error is not None]
    for row in bad:
        shown.say(f"not read: {row.path}: {row.error}")
    if bad:
        raise typer.Exit(1)


@app.command(epilog="Example: convscope augment photos --policy strong --out strong.html")
def augment(
    photos: Photos,
    out: Annotated[Path, typer.Option(help="The page to write.", show_default=False)],
    policy: Annotated[
        str, typer.Option(help="none, standard, strong, trivial, mixup or cutmix.")
    ] = "standard",
    size: Annotated[
        int, typer.Option(help="Height and width of the photos, pixels.", min=8, max=1024)
    ] = 160,
    per_class: Annotated[int, typer.Option(help="Photos of each class.", min=1, max=20)] = 2,
    masks: Annotated[
        Path | None,
        typer.Option(
            show_default=False,
            help="A folder with a mask (.png, the object in white) under each photo's name: "
            "outlined, and carried along with the photo.",
        ),
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """What training really sees: some photos of each class, and eight changed versions of each."""
    from convscope.augmenting import augment_page
    from convscope.tables import print_json

    page = augment_page(
        photos, out, policy=policy, size=size, per_class=per_class, masks=masks, seed=seed,
        progress=progress(),
    )  # fmt: skip
    if json:
        print_json({"page": str(page), "policy": policy, "seed": seed}, sys.stdout)
    else:
        Console().print(f"page: {page}", markup=False, highlight=False, soft_wrap=True)
