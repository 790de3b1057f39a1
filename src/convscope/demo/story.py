"""The whole story on photos that convscope draws itself: draw, check, fit, look inside, report."""

from __future__ import annotations

import shutil
from pathlib import Path

from convscope.data.checks import check
from convscope.demo.photos import MASKS, Shortcut, write_photos
from convscope.errors import InputError, InterruptedRunError
from convscope.fitting import fit
from convscope.options import FitOptions
from convscope.progress import Progress
from convscope.reporting import ReportOptions
from convscope.reporting import report as show
from convscope.run import Run

# Photos that are explained: enough to see something, few enough not to be waited for.
_EXPLAINED = 8
SHORTCUT = Shortcut("bird", splits=("train", "valid"))


def draw(
    photos: Path,
    *,
    seed: int = 0,
    shortcut: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> None:
    """Draw the photo set alone.

    Parameters
    ----------
    photos : Path
        The folder to make.
    seed, shortcut, progress
        As of :func:`tell`.
    overwrite : bool
        Replace an earlier drawn set there; nothing else is ever replaced.

    Raises
    ------
    InputError
        If ``photos`` exists.
    """
    if photos.exists():
        if not overwrite or not (photos / MASKS).is_dir():
            raise InputError(f"{photos} exists already. Choose another --out, or move it away.")
        shutil.rmtree(photos)
    write_photos(photos, seed=seed, shortcut=SHORTCUT if shortcut else None, progress=progress)


def tell(
    out: Path,
    *,
    seed: int = 0,
    shortcut: bool = False,
    overwrite: bool = False,
    epochs: int | None = None,
    quick: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Draw a photo set beside the run, check it, train the small CNN on it, and look inside.

    Parameters
    ----------
    out : Path
        The Run folder to make; the photos go into ``OUT.photos``.
    seed : int
        For the photos and for the training.
    shortcut : bool
        Put snow behind nearly all birds of the training and validation photos, and behind no
        other: what the network learns then fails on the test photos, where birds have no snow.
    overwrite : bool
        Replace an earlier demo.
    epochs : int, optional
        At most.
    quick : bool
        Stop after the training, without explanations, neurons and audit.
    progress : Progress, optional

    Raises
    ------
    InputError
        If ``out`` or its photos exist.
    """
    progress = progress or Progress()
    if out.name in ("", ".."):
        raise InputError(f"--out {out} is no name for a folder. Give one, such as --out demo-run.")
    photos = out.with_name(out.name + ".photos")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists already. Choose another --out, or add --overwrite.")
    parts = 3 if quick else 4
    progress.say(f"1 of {parts}: drawing photos of five clay creatures into {photos}")
    draw(photos, seed=seed, shortcut=shortcut, overwrite=overwrite, progress=progress)
    progress.say(f"2 of {parts}: checking them")
    checked = check(photos, progress=progress)
    progress.say(f"{checked.photos:,} usable photos, {len(checked.findings)} problems found")
    progress.say(f"3 of {parts}: training a small convolutional network from scratch")
    options = FitOptions(strategy="cnn", seed=seed, epochs=epochs)
    try:
        run = fit(photos, out, options, overwrite=overwrite, progress=progress)
        if not quick:
            progress.say(f"4 of {parts}: what it looks at, what excites it, and shortcuts")
            show(
                run, photos, ReportOptions(explain=_EXPLAINED, seed=seed), masks=photos / MASKS,
                progress=progress,
            )  # fmt: skip
        return run
    except InterruptedRunError:
        raise InterruptedRunError("Stopped. To tell it again, add --overwrite.") from None
