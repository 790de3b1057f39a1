"""``fit``: from a folder of photos to a Run folder."""

from __future__ import annotations

import hashlib
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from convscope.calibration import fit_temperature, probabilities
from convscope.data.augment import POLICIES, Augmentation
from convscope.data.folder import SPLITS, PhotoTable, scan
from convscope.errors import ConvscopeError, InputError, InterruptedRunError, unknown_name
from convscope.fitted import Fitted
from convscope.metrics import majority_baseline, split_metrics
from convscope.nets.catalog import NETS, NetSpec, photo_net_spec
from convscope.nets.weights import find_weights
from convscope.options import FitOptions
from convscope.progress import Progress
from convscope.report import build_report
from convscope.run import InputSpec, PhotosInfo, Predictions, Run, RunInfo
from convscope.writing import RunWriter

_DEFAULT_NETS = {"fcnn": "fcnn", "cnn": "small_cnn", "features": "mobilenet_v2"}
# What it means that a split has no photos.
_WITHOUT = {
    "test": "test photos: how good this classifier is on new photos stays unknown",
    "valid": "validation photos: nothing told when to stop, and probabilities are not calibrated",
}
_PACKAGES = ("convscope", "torch", "lightning", "numpy", "scikit-learn", "pillow")


@dataclass(frozen=True)
class Plan:
    """What will be done, decided before a photo is opened.

    Attributes
    ----------
    strategy : str
    reason : str
        Why this one, a sentence.
    spec : NetSpec
    weights_file : Path or None
    policy : Augmentation or None
    """

    strategy: Literal["fcnn", "cnn", "features"]
    reason: str
    spec: NetSpec
    weights_file: Path | None
    policy: Augmentation | None


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
    plan = make_plan(options, progress)
    asked = {**options.model_dump(), "photos": str(photos), "photos_state": _state(table)}
    writer = RunWriter(Path(out), asked, overwrite=overwrite, resume=resume)
    kept = f"What is done is kept in {writer.folder}"
    again = "go on with the same command and --resume."
    if resume and not writer.resumed:
        progress.say("nothing to resume: starting from the beginning")
    try:
        fitted = _fit(table, plan, options, writer, workers, progress)
        _write(writer, table, plan, options, asked, fitted, started, progress)
        return writer.finish()
    except KeyboardInterrupt:
        raise InterruptedRunError(f"Stopped. {kept}: {again}") from None
    except InputError:
        # What an earlier try has done is not thrown away for what is wrong now.
        if not writer.resumed:
            writer.discard()
        raise
    except ConvscopeError as error:
        raise ConvscopeError(f"{error} {kept}: {again}") from error
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise ConvscopeError(
            f"Writing{where} failed: {error.strerror or error}. {kept}: make room, then {again}"
        ) from error
    finally:
        writer.close()


def make_plan(options: FitOptions, progress: Progress) -> Plan:
    """Decide strategy, network, weights and augmentation.

    Raises
    ------
    InputError
        If the options do not go together.
    ConvscopeError
        If weights that were asked for cannot be had.
    """
    if options.augment is not None and options.augment not in POLICIES:
        raise unknown_name("augmentation", options.augment, POLICIES)
    if options.strategy == "auto":
        return _plan_auto(options, progress)
    strategy = options.strategy
    spec = photo_net_spec(options.net or _DEFAULT_NETS[strategy])
    reason = f"{strategy} was asked for"
    if strategy == "features":
        return Plan(strategy, reason, spec, _weights_for_features(options, spec, progress), None)
    return _plan_from_scratch(strategy, reason, spec, options)


def _plan_auto(options: FitOptions, progress: Progress) -> Plan:
    spec = photo_net_spec(options.net or _DEFAULT_NETS["features"])
    if spec.features is None:
        strategy: Literal["fcnn", "cnn"] = "cnn" if spec.kind == "convolutional" else "fcnn"
        return _plan_from_scratch(strategy, f"{spec.name} is trained from scratch", spec, options)
    try:
        file = find_weights(options.weights, spec, progress=progress)
        lacking = f"--weights {options.weights}"
    except InputError:
        raise
    except ConvscopeError as error:
        progress.say(str(error))
        file, lacking = None, f"the published weights of {spec.name} could not be fetched"
    if file is not None:
        asked = {"--epochs": options.epochs, "--augment": options.augment}
        for name in (name for name, value in asked.items() if value not in (None, "none")):
            progress.say(f"{name} has no effect: auto chose features; --strategy cnn would heed it")
        reason = f"weights of {spec.name} are at hand, and with few photos features go furthest"
        return Plan("features", reason, spec, file, None)
    if options.net is None:
        spec = photo_net_spec(_DEFAULT_NETS["cnn"])
    return _plan_from_scratch("cnn", f"no pre-trained weights ({lacking})", spec, options)


def _weights_for_features(options: FitOptions, spec: NetSpec, progress: Progress) -> Path:
    if spec.features is None:
        fit_for_it = ", ".join(name for name, net in NETS.items() if net.features)
        raise InputError(
            f"Net {spec.name} has no features to transfer. Allowed with --strategy features: "
            f"{fit_for_it}."
        )
    if options.augment not in (None, "none"):
        raise InputError(
            f"--augment {options.augment} has no effect on --strategy features, where each photo "
            "passes through the network once. Leave it out, or choose --strategy cnn."
        )
    if options.epochs is not None:
        raise InputError("--epochs has no meaning with --strategy features. Leave it out.")
    file = find_weights(options.weights, spec, progress=progress)
    if file is None:
        raise InputError(
            "--strategy features needs pre-trained weights: --weights published or a file."
        )
    return file


def _plan_from_scratch(
    strategy: Literal["fcnn", "cnn"], reason: str, spec: NetSpec, options: FitOptions
) -> Plan:
    kind = "fully connected" if strategy == "fcnn" else "convolutional"
    if spec.kind != kind:
        others = ", ".join(name for name, other in NETS.items() if other.kind == kind)
        raise InputError(f"--strategy {strategy} does not go with net {spec.name}. Use: {others}.")
    if options.weights not in ("published", "none"):
        find_weights(options.weights, spec)  # a choice that does not exist at all says so first
        raise InputError(
            f"--strategy {strategy} trains from scratch: leave out --weights {options.weights}, "
            "or choose --strategy features."
        )
    return Plan(strategy, reason, spec, None, POLICIES[options.augment or "standard"])


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
        from convscope.transfer.classifier import fit_on_features

        return fit_on_features(
            table, plan.spec, plan.weights_file, mode=options.precision, seed=options.seed,
            work=writer.work, workers=workers, progress=progress,
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
    temperature = fit_temperature(fitted.logits[valid], dataset.labels[valid])
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
            strategy=plan.strategy,
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
        "strategy": plan.strategy,
        "net": plan.spec.name,
        "seconds": round(time.perf_counter() - started, 2),
        "splits": splits,
        "majority_baseline": majority_baseline(by_split["train"], by_split["test"]),
        "left_out": [{"path": path, "reason": reason} for path, reason in dataset.left_out],
    }


def _state(table: PhotoTable) -> str:
    """A hash of which files there are, how they are labelled, how large and how old they are."""
    digest = hashlib.sha256()
    splits = table.splits or ("",) * len(table)
    for path, label, split in zip(table.paths, table.labels, splits, strict=True):
        try:
            status = (table.root / path).stat()
            size, changed = status.st_size, status.st_mtime_ns
        except OSError:
            size, changed = -1, 0
        digest.update(repr((path, label, split, size, changed)).encode())
    return digest.hexdigest()
