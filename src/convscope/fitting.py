"""``fit``: from a folder of photos to a Run folder."""

from __future__ import annotations

import platform
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from convscope.calibration import fit_temperature, probabilities
from convscope.data.folder import SPLITS, PhotoTable, files_state, scan
from convscope.fitted import Fitted
from convscope.metrics import majority_baseline, split_metrics
from convscope.options import FitOptions
from convscope.planning import Plan, make_plan
from convscope.progress import Progress
from convscope.report import build_report
from convscope.run import InputSpec, PhotosInfo, Predictions, Run, RunInfo
from convscope.unfinished import require_place
from convscope.writing import RunWriter

# What it means that a split has no photos.
_WITHOUT = {
    "test": "test photos: how good this classifier is on new photos stays unknown",
    "valid": "validation photos: nothing told when to stop, and probabilities are not calibrated",
}
_PACKAGES = ("convscope", "torch", "lightning", "numpy", "scikit-learn", "pillow")


def fit(
    photos: Path | str,
    out: Path | str,
    options: FitOptions | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Run:
    """Train a classifier, measure it once on the test photos, and write a Run folder.

    Parameters
    ----------
    photos : path
        See :func:`~convscope.data.folder.scan`.
    out : path
        The Run folder to make.
    options : FitOptions, optional
    overwrite : bool
        Replace an existing run.
    resume : bool
        Go on with an interrupted fit of the same photos and options; from the start if there is
        none.
    workers : int, optional
        Decoding processes, default one per core.
    progress : Progress, optional

    Returns
    -------
    Run

    Raises
    ------
    InputError
        The photos, the options or ``out`` cannot be used; nothing is left behind.
    ConvscopeError
        The work failed; what is done so far is kept for ``resume``.
    """
    started = time.perf_counter()
    options = options or FitOptions()
    progress = progress or Progress()
    table = scan(Path(photos))
    # Before weights are fetched, which may take minutes.
    require_place(Path(out), "run", "run.json", overwrite=overwrite)
    plan = make_plan(options, progress)
    asked = {**options.model_dump(), "photos": str(photos), "photos_state": files_state(table)}
    writer = RunWriter(Path(out), asked, overwrite=overwrite, resume=resume)
    if resume and not writer.resumed:
        progress.say("nothing to resume: starting from the beginning")
    with writer.kept():
        fitted = _fit(table, plan, options, writer, workers, progress)
        _write(writer, table, plan, options, asked, fitted, started, progress)
        return writer.finish()


def plan_only(
    photos: Path | str,
    options: FitOptions | None = None,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What :func:`fit` would do and why, JSON values; nothing is trained or written.

    Where the photos themselves decide, they pass through the pre-trained network for it.

    Raises
    ------
    InputError
        The photos or the options cannot be used.
    """
    options = options or FitOptions()
    progress = progress or Progress()
    table = scan(Path(photos))
    plan = make_plan(options, progress)
    found: dict[str, Any] = {
        "strategy": plan.strategy,
        "net": plan.spec.name,
        "augment": plan.policy.model_dump() if plan.policy else None,
        "reasons": [f"{plan.reason[0].upper()}{plan.reason[1:]}."],
    }
    if plan.strategy not in ("auto", "finetune"):
        return found
    from convscope.transferring import plan_transfer

    with tempfile.TemporaryDirectory(prefix="convscope-") as work:
        decided = plan_transfer(
            table, plan, options, work=Path(work), workers=workers, progress=progress
        ).to_dict()
    found["strategy"] = "finetune" if decided["trained_stages"] else "features"
    return {**found, **decided, "reasons": [*found["reasons"], *decided["reasons"]]}


def _fit(
    table: PhotoTable,
    plan: Plan,
    options: FitOptions,
    writer: RunWriter,
    workers: int | None,
    progress: Progress,
) -> Fitted:
    progress.say(f"{len(table):,} photos, {len(table.classes)} classes; {plan.reason}")
    if plan.weights_file is not None:
        from convscope.transferring import fit_transfer

        return fit_transfer(
            table, plan, options, work=writer.work, epochs_file=writer.run.epochs_path,
            resume=writer.resumed, workers=workers, progress=progress,
        )  # fmt: skip
    # Lightning takes seconds to import, and only training needs it.
    from convscope.train.classifier import fit_network

    return fit_network(
        table, plan.spec, plan.policy, epochs=options.epochs, seed=options.seed,
        work=writer.work, epochs_file=writer.run.epochs_path, resume=writer.resumed,
        workers=workers, progress=progress,
    )  # fmt: skip


def _write(
    writer: RunWriter,
    table: PhotoTable,
    plan: Plan,
    options: FitOptions,
    asked: dict[str, Any],
    fitted: Fitted,
    started: float,
    progress: Progress,
) -> None:
    dataset = fitted.dataset
    for name, means in _WITHOUT.items():
        if not len(dataset.places(name)):
            progress.say(f"no {means}")
    valid = dataset.places("valid")
    held_out = fitted.held_out or (fitted.logits[valid], dataset.labels[valid])
    temperature = fit_temperature(*held_out)
    predictions = Predictions(
        paths=dataset.table.paths,
        splits=dataset.table.splits or (),
        labels=dataset.table.labels,
        classes=dataset.table.classes,
        probabilities=probabilities(fitted.logits, temperature),
    )
    sha256 = writer.write_model(fitted.net)
    writer.write_info(
        RunInfo(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            asked=asked,
            strategy=_strategy(plan, fitted),
            reason=plan.reason,
            net=plan.spec.name,
            classes=dataset.table.classes,
            input=InputSpec(
                size=plan.spec.size,
                resize=plan.spec.resize,
                mean=plan.spec.mean,
                std=plan.spec.std,
            ),
            precision=fitted.precision,
            weights=fitted.weights,
            augment=fitted.augment,
            training=fitted.training,
            temperature=temperature,
            head=fitted.head,
            plan=fitted.plan,
            photos=PhotosInfo(
                root=str(table.root),
                layout=table.layout,
                split=dataset.split_by,
                counts=dataset.table.counts(),
            ),
            versions={"python": platform.python_version(), **{p: version(p) for p in _PACKAGES}},
            seed=options.seed,
            model_sha256=sha256,
        )
    )
    writer.write_predictions(predictions)
    if fitted.sheet is not None:
        writer.write_sheet(fitted.sheet)
    writer.write_json("log/check.json", dataset.check_report().to_dict())
    writer.write_json("metrics.json", _metrics(plan, fitted, predictions, started))
    progress.say("writing the report")
    build_report(writer.run, table.root)


def _metrics(
    plan: Plan, fitted: Fitted, predictions: Predictions, started: float
) -> dict[str, Any]:
    """Everything that was measured; the only place that looks at the test photos' labels."""
    dataset = fitted.dataset
    splits = {}
    for name in reversed(SPLITS):
        rows = dataset.places(name)
        if len(rows):
            splits[name] = split_metrics(
                dataset.labels[rows], predictions.probabilities[rows], predictions.classes
            )
    by_split = {name: [predictions.labels[row] for row in dataset.places(name)] for name in SPLITS}
    return {
        "strategy": _strategy(plan, fitted),
        "net": plan.spec.name,
        "seconds": round(time.perf_counter() - started, 2),
        "splits": splits,
        "majority_baseline": majority_baseline(by_split["train"], by_split["test"]),
        "left_out": [{"path": path, "reason": reason} for path, reason in dataset.left_out],
    }


def _strategy(plan: Plan, fitted: Fitted) -> Literal["fcnn", "cnn", "features", "finetune"]:
    """What was done in the end: auto decides between features and fine-tuning on the way."""
    if fitted.strategy is not None:
        return fitted.strategy
    if plan.strategy == "auto":
        raise ValueError("auto has not said what it did")
    return plan.strategy
