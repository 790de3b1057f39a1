"""The commands, each a few lines: they call the same public functions as Python users do.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 1 the work failed,
2 wrong usage or unusable input.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from convscope import __version__
from convscope.errors import ConvscopeError, InputError
from convscope.progress import Progress

# Typer's own exit code for Ctrl-C; ours are 0, 1 and 2.
_TYPER_STOPPED = 130

_STOPS = (signal.SIGINT, signal.SIGTERM)

# Modules that need PyTorch are imported inside the commands: --help is there at once.

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


@app.command(epilog="Example: convscope demo --out demo-run")
def demo(
    out: Annotated[Path, typer.Option(help="The Run folder to make.")] = Path("demo-run"),
    seed: Seed = 0,
    shortcut: Annotated[
        bool, typer.Option("--shortcut", help="Plant one: snow behind nearly all photos of a class")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """The whole story on photos that convscope draws itself: check, fit, report."""
    from convscope.demo.story import tell

    run = tell(out, seed=seed, shortcut=shortcut, overwrite=overwrite, progress=_progress())
    _show_run(run.path, json)


@app.command(epilog="Example: convscope check photos")
def check(photos: Photos, workers: Workers = None, seed: Seed = 0, json: Json = False) -> None:
    """Corrupt, duplicate, leaking, imbalanced: every problem, file by file.

    Changes nothing. (--seed is taken for uniformity: nothing here is random.)
    """
    from convscope.data import checks
    from convscope.tables import print_check, print_json

    report = checks.check(photos, workers=workers, progress=_progress())
    if json:
        print_json(report.to_dict(), sys.stdout)
    else:
        print_check(report, Console())


@app.command(epilog="Example: convscope fit photos --out my-run --strategy cnn")
def fit(
    photos: Photos,
    out: Annotated[Path, typer.Option(help="The Run folder to make.", show_default=False)],
    strategy: Annotated[
        str,
        typer.Option(
            help="fcnn or cnn: a network from scratch; features: a pre-trained network and a "
            "logistic regression; auto: features where weights can be had, else cnn."
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
    json: Json = False,
) -> None:
    """Train a classifier and measure it once on photos that it has never seen."""
    from convscope.options import fit_options

    options = fit_options(
        {
            "strategy": strategy,
            "net": net,
            "weights": weights,
            "augment": augment,
            "epochs": epochs,
            "precision": precision,
            "seed": seed,
        }
    )
    from convscope import fitting

    run = fitting.fit(
        photos, out, options, overwrite=overwrite, resume=resume, workers=workers,
        progress=_progress(),
    )  # fmt: skip
    _show_run(run.path, json)


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

    progress = _progress()
    rows: list[Prediction] = list(name(run, photos, workers=workers, progress=progress))
    if json:
        print_json([row.to_dict() for row in rows], sys.stdout)
    elif format == "csv":
        print_csv(rows, Run(run).info().classes, sys.stdout)
    else:
        print_predictions(rows, Console())
    bad = [row for row in rows if row.error is not None]
    for row in bad:
        progress.say(f"not read: {row.path}: {row.error}")
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
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """What training really sees: some photos of each class, and eight changed versions of each."""
    from convscope.augmenting import augment_page
    from convscope.tables import print_json

    page = augment_page(
        photos, out, policy=policy, size=size, per_class=per_class, seed=seed, progress=_progress()
    )
    if json:
        print_json({"page": str(page), "policy": policy, "seed": seed}, sys.stdout)
    else:
        Console().print(f"page: {page}", markup=False, highlight=False, soft_wrap=True)


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
        _progress().say(f"picture: {picture}")
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


def _show_run(path: Path, json: bool) -> None:
    from convscope.run import Run
    from convscope.tables import print_json, print_scores

    run = Run(path)
    if json:
        print_json({"run": str(path), "report": str(run.report_path), **run.metrics()}, sys.stdout)
    else:
        print_scores(run, Console())


def _progress() -> Progress:
    return Progress(Console(stderr=True))


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; every error is one line on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal cannot show must not stop the command.
        sys.stdout.reconfigure(errors="backslashreplace")
    _stop_once()
    try:
        app(args=argv)
    except SystemExit as ended:
        if ended.code == _TYPER_STOPPED:
            _fail("Stopped.", 1)
        raise
    except ConvscopeError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("Stopped.", 1)
    except OSError as error:
        _fail(f"{error.filename or 'The output'} cannot be written: {error.strerror}.", 1)
    except MemoryError:
        _fail("Not enough memory. Close other programs, or use fewer --workers.", 1)
    except Exception as error:
        if os.environ.get("CONVSCOPE_DEBUG"):
            raise
        _fail(
            f"{type(error).__name__}: {error} (this is a fault in convscope: please report it; "
            "CONVSCOPE_DEBUG=1 shows where it happened)",
            1,
        )


def _stop_once() -> None:
    """Ctrl-C and ``kill`` stop the work; a second one does not stop the tidying up after that."""
    stopped: list[int] = []

    def stop(number: int, _frame: object) -> None:
        _ignore_stops()  # in programs that are started while tidying up too
        if not stopped:
            stopped.append(number)
            raise KeyboardInterrupt

    for number in _STOPS:
        # Not where somebody else has a say in it, nohup for example.
        if _in_charge() and signal.getsignal(number) in (
            signal.default_int_handler,
            signal.SIG_DFL,
        ):
            signal.signal(number, stop)


def _ignore_stops() -> None:
    if _in_charge():
        for number in _STOPS:
            signal.signal(number, signal.SIG_IGN)


def _in_charge() -> bool:
    return threading.current_thread() is threading.main_thread()


def _fail(text: str, code: int) -> None:
    _ignore_stops()  # there is nothing left to stop
    Console(stderr=True).print(
        f"convscope: {' '.join(text.split())}",
        markup=False,
        highlight=False,
        soft_wrap=True,
        style="red",
    )
    sys.exit(code)
