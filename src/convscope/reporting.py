"""``report``: what a finished run does not know of itself yet, and its page with all of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from convscope.audit.running import audit
from convscope.comparing.folder import RESULT as COMPARED
from convscope.data.folder import scan
from convscope.describing import describe
from convscope.errors import InputError
from convscope.explaining.asked import METHODS, ExplainOptions
from convscope.explaining.running import explain
from convscope.neurons.asked import NeuronsOptions
from convscope.neurons.running import neurons
from convscope.predicting import load_classifier
from convscope.progress import Progress
from convscope.report import build_report
from convscope.report.gallery import Shot, shots_of
from convscope.report.pages import AUDIT, COMPARE, EXPLAIN, FORECAST, KEPT, NEURONS, Kind, read_page
from convscope.run import Run, RunInfo
from convscope.unfinished import whole_folder

# In this order on the page; those of gradients are left out where there is none.
_METHODS = ("gradcam", "saliency", "occlusion", "lime")
# A late layer whose neurons see at most this share of the photo's side: patches are parts.
_PART = 0.6
_CHANNELS = 20


@dataclass(frozen=True)
class ReportOptions:
    """What the page is to show.

    Attributes
    ----------
    explain : int
        Photos to explain; 0 for none.
    layers : tuple of str
        Whose neurons are shown; none: a late one whose neurons see a part of the photo.
    neurons, audit : bool
        Whether to look for them.
    seed : int
    """

    explain: int = 10
    layers: tuple[str, ...] = ()
    neurons: bool = True
    audit: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.explain < 0:
            raise InputError(f"--explain is {self.explain}. Allowed: 0 or more photos.")


def report(
    run: Run | Path | str,
    photos: Path | str | None = None,
    options: ReportOptions | None = None,
    *,
    masks: Path | str | None = None,
    compare: Path | str | None = None,
    forecast: Path | str | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Find out what is missing, keep it in the Run folder, and write ``report.html`` anew.

    What lies in the folder already is not made again.

    Parameters
    ----------
    run : Run or path
        A finished one, of photos.
    photos : path, optional
        What it was fitted on; default where it was then.
    options : ReportOptions, optional
    masks : path, optional
        See :func:`~convscope.audit.running.audit`.
    compare : path, optional
        A folder that ``convscope compare`` made, of the same classes: the page shows its ladder.
    forecast : path, optional
        A folder that ``convscope forecast fit`` or ``backtest`` made.
    overwrite : bool
        Make again what is there.
    workers : int, optional
        Decoding processes, default one per core.
    progress : Progress, optional

    Returns
    -------
    dict of str to str
        Section -> ``made``, ``kept`` (it was there) or ``missing``.

    Raises
    ------
    InputError
        The run, the photos, an option or a folder cannot be used. What was made before that is
        kept.
    """
    asked, progress = options or ReportOptions(), progress or Progress()
    run = run if isinstance(run, Run) else Run(Path(run))
    info = run.info()
    states: dict[str, str] = {}
    # What can be wrong at once is said before anything is computed.
    if compare is not None:
        states["compare"] = _take_in(run, Path(compare), COMPARE, COMPARED, info)
    if forecast is not None:
        states["forecast"] = _take_in(run, Path(forecast), FORECAST, _forecast_file(forecast), info)
    given = _Photos(run, info, None if photos is None else Path(photos))

    def is_there(kind: Kind) -> bool:
        return (run.path / kind.name / KEPT).is_file()

    def make(kind: Kind, wanted: bool, without: str, work: Callable[[Path], object]) -> None:
        out = run.path / kind.name
        if is_there(kind) and not overwrite:
            states[kind.name] = "kept"
            return
        if not wanted:
            return
        try:
            work(out)
        except InputError as error:
            raise InputError(f"{error} The page can do without: add {without}.") from None
        states[kind.name] = "made"

    make(EXPLAIN, asked.explain > 0, "--explain 0", lambda out: explain(
        run, given.chosen(asked.explain),
        out, ExplainOptions(methods=_methods(run, info, progress), seed=asked.seed),
        masks=masks, overwrite=overwrite, progress=progress,
    ))  # fmt: skip
    layers = asked.layers
    # Tracing the network takes seconds: only for what is not there yet.
    if asked.neurons and not layers and (overwrite or not is_there(NEURONS)):
        late = late_layer(run, info)
        layers = () if late is None else (late,)
        if late is None:
            progress.say(f"left out: neurons: {info.net} has no layer that gives maps")
    make(NEURONS, asked.neurons and bool(layers), "--no-neurons", lambda out: neurons(
        run, given.place,
        out, NeuronsOptions(layers, channels=_CHANNELS),
        overwrite=overwrite or out.exists(), workers=workers, progress=progress,
    ))  # fmt: skip
    make(AUDIT, asked.audit, "--no-audit", lambda out: audit(
        run, given.place, out, masks=masks, seed=asked.seed, workers=workers,
        overwrite=overwrite, progress=progress,
    ))  # fmt: skip
    progress.say("writing the report")
    build_report(run, given.root)
    for kind in (COMPARE, EXPLAIN, NEURONS, AUDIT, FORECAST):
        states.setdefault(kind.name, "kept" if is_there(kind) else "missing")
    return states


class _Photos:
    """What the run was fitted on; looked for only when it is needed."""

    def __init__(self, run: Run, info: RunInfo, place: Path | None) -> None:
        self._run, self._info, self._place = run, info, place
        self._root = None if place is None else scan(place).root

    @property
    def place(self) -> Path:
        """The folder or table.

        Raises
        ------
        InputError
            It is not known, or not there any more.
        """
        if self._place is not None:
            return self._place
        root = Path(self._info.photos.root)
        if self._info.photos.layout == "table":
            raise InputError(
                f"This run was fitted on a table of photos in {root}. Name it: --photos TABLE."
            )
        if not root.is_dir():
            raise InputError(
                f"The photos of this run were in {root}, which is not there. Say where they are: "
                "--photos PHOTOS."
            )
        return root

    @property
    def root(self) -> Path:
        """What the paths of the run are relative to; photos that are not there are grey fields."""
        return Path(self._info.photos.root) if self._root is None else self._root

    def chosen(self, count: int) -> list[Path]:
        """Photos to explain, those that cannot be found left out."""
        self.place  # noqa: B018  (says what is wrong where it is not known)
        shots = choose(shots_of(self._run.predictions(), self._info.classes), count)
        found = [self.root / shot.path for shot in shots]
        if shots and not any(path.is_file() for path in found):
            raise InputError(f"{found[0]} is not there. Name the photos: --photos PHOTOS.")
        return found


def choose(shots: Sequence[Shot], count: int) -> list[Shot]:
    """Photos that tell most: the surest mistakes and the surest right ones, class after class.

    Parameters
    ----------
    shots : sequence of Shot
        Test photos are taken where there are any, else validation photos.
    count : int
        At most; half of them mistakes, where there are as many.
    """
    split = "test" if any(shot.split == "test" for shot in shots) else "valid"
    sure = sorted(
        (shot for shot in shots if shot.split == split), key=lambda s: (-s.p_predicted, s.path)
    )
    by_kind: list[list[Shot]] = []
    for right in (False, True):
        classes: dict[int, list[Shot]] = {}
        for shot in sure:
            if shot.right == right:
                classes.setdefault(shot.label, []).append(shot)
        turns = zip_longest(*(classes[label] for label in sorted(classes)))
        by_kind.append([shot for turn in turns for shot in turn if shot is not None])
    wrong, rightly = by_kind
    many = min(len(wrong), max(count // 2, count - len(rightly)))
    return [*wrong[:many], *rightly[: count - many]]


def late_layer(run: Run, info: RunInfo) -> str | None:
    """The last layer with maps whose neurons see a part of the photo; None: there are no maps.

    Parameters
    ----------
    run : Run
    info : RunInfo
    """
    size = info.input.size
    layers = describe(load_classifier(run, info), (3, size, size)).layers
    for most in (_PART * size, float("inf")):
        for layer in reversed(layers):
            field = layer.receptive_field
            if layer.maps and field is not None and max(field) <= most:
                return layer.name
    return None


def _methods(run: Run, info: RunInfo, progress: Progress) -> tuple[str, ...]:
    """Those of ``_METHODS`` that this network can answer: a forest has no gradient."""
    net = load_classifier(run, info)
    blank = torch.zeros(3, info.input.size, info.input.size)
    target: Any = 0
    possible = []
    for name in _METHODS:
        if name in ("gradcam", "saliency"):
            try:
                METHODS[name](net, blank, target, ExplainOptions(), Progress())
            except InputError as error:
                progress.say(f"left out: {name}: {error}")
                continue
        possible.append(name)
    return tuple(possible)


def _forecast_file(folder: Path | str) -> str:
    backtest = "backtest.json"
    return backtest if (Path(folder) / backtest).is_file() else "metrics.json"


def _take_in(run: Run, folder: Path, kind: Kind, result: str, info: RunInfo) -> str:
    """Keep a copy of what another command made, so that the page can be built again without it."""
    content = read_page(folder, kind)
    if kind is COMPARE and set(content["found"]["classes"]) != set(info.classes):
        raise InputError(
            f"{folder} compares on other classes ({', '.join(content['found']['classes'])}) than "
            f"{run.path} knows ({', '.join(info.classes)})."
        )
    out = run.path / kind.name
    with whole_folder(out, result=kind.name, marks=KEPT, overwrite=True) as kept:
        for name in (KEPT, result):
            shutil.copyfile(folder / name, kept / name)
    return "made"
