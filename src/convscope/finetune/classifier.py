"""The strategy ``finetune``: the head first, then the last stages of a pre-trained network."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from convscope.data.augment import Augmentation, augment
from convscope.data.dataset import Dataset, make_dataset
from convscope.data.folder import PhotoTable
from convscope.data.pixels import Pixels
from convscope.data.samples import training_sheet
from convscope.data.survey import DecodeSpec
from convscope.finetune.cutting import HEAD, Cut, cut_net
from convscope.finetune.finding import find_learning_rate
from convscope.finetune.loop import Finetuned, MapData, Scores, finetune, map_logits
from convscope.finetune.maps import FrozenPart, keep_maps
from convscope.finetune.plan import FinetunePlan
from convscope.finetune.starting import start_head
from convscope.fitted import Fitted
from convscope.nets.catalog import NetSpec, build_net
from convscope.nets.weights import load_body, read_weights
from convscope.progress import Progress
from convscope.run import PrecisionInfo, WeightsInfo
from convscope.train.loop import quiet
from convscope.transfer.heads.linear import LinearHead


def fit_finetuned(
    table: PhotoTable,
    spec: NetSpec,
    weights_file: Path,
    plan: FinetunePlan,
    policy: Augmentation | None,
    *,
    mode: Literal["fast", "exact"],
    seed: int,
    work: Path,
    epochs_file: Path,
    resume: bool,
    workers: int | None,
    progress: Progress,
    find_rate: bool = False,
) -> Fitted:
    """Decode every photo once and fine-tune a pre-trained network on them.

    What the frozen stages make of each photo, and of each augmented draw of it, is computed once.

    Parameters
    ----------
    table : PhotoTable
    spec : NetSpec
    weights_file : Path
    plan : FinetunePlan
    policy : Augmentation or None
        For the training photos.
    mode : str
        ``fast``: JPEGs are decoded at a fraction of their size where that is enough.
    seed : int
        For the split, where none is given, and all that is drawn.
    work : Path
        For checkpoints, pixels and maps; all that is here serves resuming only.
    epochs_file : Path
        The learning curves.
    resume : bool
    workers : int or None
        Decoding processes.
    progress : Progress
    find_rate : bool
        Measure the learning rate first, see
        :func:`~convscope.finetune.finding.find_learning_rate`; the plan's has no effect.

    Raises
    ------
    InputError
        If the plan's stages are not the network's last ones, the weights do not fit, or a class
        has too few photos.
    ConvscopeError
        If there is no room on the disk.
    """
    net = build_net(spec, len(table.classes), seed)
    cut = cut_net(net, plan.trained_stages)
    weights = read_weights(weights_file)
    load_body(net, weights)
    work = work / "finetune"
    work.mkdir(parents=True, exist_ok=True)
    decode = DecodeSpec(spec.resize, spec.size, fast=mode == "fast")
    paths = table.full_paths()
    with (
        quiet(),
        closing(
            Pixels(
                paths, decode, range(len(paths)), cache_file=work / "pixels", workers=workers
            )
        ) as pixels,
    ):  # fmt: skip
        dataset = make_dataset(table, pixels.facts(), seed, progress)
        train, valid = dataset.places("train"), dataset.places("valid")
        state = [weights.sha256, cut.behind, mode, [f.sha256 for f in pixels.facts()]]
        maps, draws = _compute_maps(
            cut, spec, pixels, dataset, plan, policy, seed, work, state, progress
        )
        sample_sheet = training_sheet(
            table, pixels, policy, dataset.rows[train], seed=seed, draws=plan.draws
        )
    head = start_head(cut, maps, dataset.labels, (train, valid), len(table.classes))
    data = MapData(
        draws, dataset.labels[train], maps[valid], dataset.labels[valid], len(table.classes)
    )
    search = find_learning_rate(cut, data, plan, seed=seed) if find_rate else None
    if search is not None:
        plan = replace(plan, learning_rate=search.suggestion)
        progress.say(f"learning rate {search.suggestion:.2g}, found by a range test")
    tuned = finetune(
        cut, data, plan, policy=policy, seed=seed, work=work, epochs_file=epochs_file,
        resume=resume, progress=progress,
    )  # fmt: skip
    logits = map_logits(cut.trained, maps)
    _say(tuned, progress)
    return Fitted(
        net=net.eval(),
        dataset=dataset,
        logits=logits,
        precision=PrecisionInfo(mode=mode, dtype="float32", float32_stages=0, cosine=None),
        weights=WeightsInfo(source=weights.source, sha256=weights.sha256),
        augment=policy.model_dump() if policy else None,
        training={
            **_training(cut, plan, head, tuned),
            "rate_search": search.to_dict() if search else None,
        },
        strategy="finetune",
        sheet=sample_sheet,
    )


def _compute_maps(
    cut: Cut,
    spec: NetSpec,
    pixels: Pixels,
    dataset: Dataset,
    plan: FinetunePlan,
    policy: Augmentation | None,
    seed: int,
    work: Path,
    state: list[Any],
    progress: Progress,
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Maps of every photo of the data set as it is, and of each draw of the training photos."""
    part = FrozenPart(cut.frozen, spec.mean, spec.std)
    train = dataset.rows[dataset.places("train")]
    count = 0 if policy is None else min(plan.draws, plan.epochs)
    total = len(dataset.rows) + count * len(train)

    def file(draw: int | None) -> Path:
        drawn = None if draw is None or policy is None else [policy.model_dump(), seed, draw]
        key = json.dumps([*state, drawn, train.tolist()]).encode()
        return work / f"maps-{hashlib.sha256(key).hexdigest()[:20]}"

    def plain(rows: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(pixels.array[rows])

    def drawn(rows: np.ndarray, draw: int) -> np.ndarray:
        assert policy is not None  # noqa: S101
        return augment(plain(rows), policy, rows=rows, epoch=draw, seed=seed)

    name = f"{spec.name} as far as {cut.behind or 'its input'}"
    with progress.task(name, total, "photos") as advance:
        maps = keep_maps(part, plain, dataset.rows, file(None), advance=advance)
        draws = tuple(
            keep_maps(
                part, lambda rows, draw=draw: drawn(rows, draw), train, file(draw),  # type: ignore[misc]
                advance=advance,
            )
            for draw in range(count)
        )  # fmt: skip
    return maps, draws or (maps[dataset.places("train")],)


def _say(tuned: Finetuned, progress: Progress) -> None:
    before, after = tuned.before, tuned.after
    if tuned.best_epoch == 0:
        progress.say(
            f"fine-tuning was no better on the validation photos (log loss {_in_words(after)}) "
            f"than the head on frozen features ({_in_words(before)}), which is kept"
        )
    elif before.log_loss is not None:
        progress.say(
            f"validation log loss {_in_words(before)} with the head alone, {_in_words(after)} "
            f"fine-tuned (epoch {tuned.best_epoch} of {tuned.epochs})"
        )


def _in_words(scores: Scores) -> str:
    loss = "none" if scores.log_loss is None else f"{scores.log_loss:.3f}"
    accuracy = "none" if scores.accuracy is None else f"{scores.accuracy:.3f}"
    return f"{loss}, accuracy {accuracy}"


def _training(cut: Cut, plan: FinetunePlan, head: LinearHead, tuned: Finetuned) -> dict[str, Any]:
    """All that was planned and what came of it, JSON values."""
    return {
        **asdict(plan),
        "trained_stages": list(plan.trained_stages),
        "frozen_up_to": cut.behind,
        "learning_rates": {**plan.stage_rates(), HEAD: plan.learning_rate},
        "max_epochs": plan.epochs,
        "epochs": tuned.epochs,
        "best_epoch": tuned.best_epoch,
        "precision": tuned.precision,
        "kept": "fine-tuned" if tuned.best_epoch else "head on frozen features",
        "head_C": head.C,
        "valid_log_loss_head_alone": tuned.before.log_loss,
        "valid_accuracy_head_alone": tuned.before.accuracy,
        "valid_log_loss_finetuned": tuned.after.log_loss,
        "valid_accuracy_finetuned": tuned.after.accuracy,
    }
