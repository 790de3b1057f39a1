"""The strategies that stand on a pre-trained network: measure, decide, carry out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from convscope.calibration import calibrated_log_loss
from convscope.data.folder import PhotoTable
from convscope.errors import InputError
from convscope.fitted import Fitted
from convscope.nets.catalog import RGB, NetSpec
from convscope.nets.stages import Stage
from convscope.options import FitOptions
from convscope.planning import Plan
from convscope.progress import Progress
from convscope.transfer.classifier import Pushed, fit_on_features, push_photos
from convscope.transfer.heads import HEADS
from convscope.transfer.staged import stage_named
from convscope.transfer.strategy import Overrules, TransferPlan, decide, measure, probe_stages


def fit_transfer(
    table: PhotoTable,
    plan: Plan,
    options: FitOptions,
    *,
    work: Path,
    epochs_file: Path,
    resume: bool,
    workers: int | None,
    progress: Progress,
) -> Fitted:
    """Carry out ``features``, ``finetune`` or ``auto``.

    Parameters
    ----------
    table : PhotoTable
    plan : Plan
        With weights.
    options : FitOptions
    work : Path
        For what is kept for resuming.
    epochs_file : Path
        The learning curves, where a network is trained.
    resume : bool
    workers : int or None
        Decoding processes.
    progress : Progress
    """
    stages = _stages(options, plan.spec)
    if options.strategy == "features":
        chosen = options.layers or (stages[-1].name,)
        pushed = _push(table, plan, options, chosen, work, workers, progress)
        return fit_on_features(pushed, chosen, _heads(options.head or "logistic"), progress)
    pushed, decided = _decide(table, plan, options, stages, work, workers, progress)
    for reason in decided.reasons:
        progress.say(reason)
    # The head is put into the network in place: what is compared must not share it.
    fitted = replace(
        fit_on_features(pushed, decided.stages, decided.heads, progress), plan=decided.to_dict()
    )
    if not decided.trained_stages:
        asked = {
            "--epochs": options.epochs,
            "--augment": options.augment,
            "--learning-rate": options.learning_rate,
        }
        for name in (name for name, value in asked.items() if value not in (None, "none")):
            progress.say(f"{name} has no effect: no stage is trained further")
        return fitted
    if not len(pushed.dataset.places("valid")):
        return _without(fitted, decided, "without validation photos nothing tells when to stop")
    from convscope.finetune.classifier import fit_finetuned
    from convscope.finetune.plan import FinetunePlan

    how = FinetunePlan(trained_stages=decided.trained_stages)
    if options.epochs is not None:
        how = replace(how, epochs=options.epochs)
    find_rate = options.learning_rate == "find"
    if isinstance(options.learning_rate, float):
        how = replace(how, learning_rate=options.learning_rate)
    assert plan.weights_file is not None  # noqa: S101
    tuned = fit_finetuned(
        table, plan.spec, plan.weights_file, how, plan.policy, mode=options.precision,
        seed=options.seed, work=work, epochs_file=epochs_file, resume=resume, workers=workers,
        progress=progress, find_rate=find_rate,
    )  # fmt: skip
    return _better(fitted, tuned, decided, forced=options.strategy == "finetune")


def plan_transfer(
    table: PhotoTable,
    plan: Plan,
    options: FitOptions,
    *,
    work: Path,
    workers: int | None,
    progress: Progress,
) -> TransferPlan:
    """Only measure and decide; see :func:`fit_transfer`."""
    stages = _stages(options, plan.spec)
    return _decide(table, plan, options, stages, work, workers, progress)[1]


def _decide(
    table: PhotoTable,
    plan: Plan,
    options: FitOptions,
    stages: tuple[Stage, ...],
    work: Path,
    workers: int | None,
    progress: Progress,
) -> tuple[Pushed, TransferPlan]:
    probed = probe_stages(stages)
    wanted = tuple(dict.fromkeys((*(options.layers or ()), *probed)))
    pushed = _push(table, plan, options, wanted, work, workers, progress)
    data = pushed.dataset
    progress.say(f"measuring what {len(probed)} stages of {plan.spec.name} know of these photos")
    heads = {stage: pushed.fit(("logistic",), (stage,), progress)[0] for stage in probed}
    widths = {stage: pushed.features.of(stage).shape[1] for stage in probed}
    evidence = measure(heads, widths, data.labels[data.places("train")])
    overrules = Overrules(
        stages=options.layers,
        heads=_asked_heads(options),
        finetune=True if options.strategy == "finetune" else None,
        trained_stages=options.train_stages,
    )
    return pushed, decide(evidence, stages, overrules)


def _push(
    table: PhotoTable,
    plan: Plan,
    options: FitOptions,
    stages: tuple[str, ...],
    work: Path,
    workers: int | None,
    progress: Progress,
) -> Pushed:
    assert plan.weights_file is not None  # noqa: S101
    return push_photos(
        table, plan.spec, plan.weights_file, stages=stages, mode=options.precision,
        seed=options.seed, work=work, workers=workers, progress=progress,
    )  # fmt: skip


def _better(fitted: Fitted, tuned: Fitted, decided: TransferPlan, *, forced: bool) -> Fitted:
    """The one of less log loss on the validation photos, each calibrated on them."""
    losses = [_valid_loss(fitted), _valid_loss(tuned)]
    accuracies = [_valid_accuracy(fitted), _valid_accuracy(tuned)]
    figures = (
        f"validation log loss {losses[1]:.3f} against {losses[0]:.3f}, accuracy "
        f"{accuracies[1]:.3f} against {accuracies[0]:.3f} of the classifier on features"
    )
    if losses[1] < losses[0] or forced:
        kept = "was kept" if losses[1] < losses[0] else "was asked for, and is no better"
        reasons = (*decided.reasons, f"The fine-tuned network {kept}: {figures}.")
        return replace(
            tuned, strategy="finetune", plan={**decided.to_dict(), "reasons": list(reasons)}
        )
    return _without(fitted, decided, figures)


def _without(fitted: Fitted, decided: TransferPlan, why: str) -> Fitted:
    reasons = [*decided.reasons, f"The classifier on features was kept, not fine-tuning: {why}."]
    return replace(fitted, plan={**decided.to_dict(), "reasons": reasons})


def _valid_loss(fitted: Fitted) -> float:
    valid = fitted.dataset.places("valid")
    return calibrated_log_loss(fitted.logits[valid], fitted.dataset.labels[valid])


def _valid_accuracy(fitted: Fitted) -> float:
    valid = fitted.dataset.places("valid")
    return float((fitted.logits[valid].argmax(axis=1) == fitted.dataset.labels[valid]).mean())


def _asked_heads(options: FitOptions) -> tuple[str, ...] | None:
    if options.head is not None:
        return _heads(options.head)
    # Where fine-tuning was asked for, the classifier on features is only there to compare with.
    return ("logistic",) if options.strategy == "finetune" else None


def _heads(head: str) -> tuple[str, ...]:
    return HEADS if head == "best" else (head,)


def _stages(options: FitOptions, spec: NetSpec) -> tuple[Stage, ...]:
    """The network's stages, once those that were asked for are known to be among them."""
    with torch.device("meta"):
        net = spec.build(spec.classes, RGB)
    for name in options.layers or ():
        stage_named(net, name)
    stages: tuple[Stage, ...] = getattr(net, "stages", ())
    if options.train_stages is not None and options.train_stages > len(stages):
        raise InputError(
            f"--train-stages {options.train_stages}: {spec.name} has {len(stages)} stages "
            f"({stages[0].name} to {stages[-1].name})."
        )
    return stages
