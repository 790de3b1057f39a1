"""Train the last stages of a network on kept maps, and keep them only if they are better."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from convscope.calibration import calibrated_log_loss
from convscope.data.augment import Augmentation
from convscope.errors import InputError
from convscope.files import write_json
from convscope.finetune.cutting import Cut
from convscope.finetune.maps import as_input, fused, over_rows
from convscope.finetune.plan import FinetunePlan
from convscope.finetune.step import MapBatches, StageTrainer
from convscope.progress import Progress
from convscope.train.batches import Ahead, EpochSampler
from convscope.train.checkpoints import BEST
from convscope.train.loop import (
    channels_last,
    class_weights,
    own_random_numbers,
    quiet,
    run_epochs,
)

_EVALUATION_BATCH = 256
_DONE = "finetuned.json"
_NET, _AVERAGE = "net.", "average."


@dataclass(frozen=True)
class MapData:
    """What the last stages are trained on.

    Attributes
    ----------
    draws : tuple of numpy.ndarray
        float16 ``(n, ...)`` each: maps of the training photos, augmented.
    labels : numpy.ndarray
        int64 ``(n,)``, of the training photos.
    valid : numpy.ndarray
        float16 ``(m, ...)``; may be empty.
    valid_labels : numpy.ndarray
        int64 ``(m,)``.
    num_classes : int
    """

    draws: tuple[np.ndarray, ...]
    labels: np.ndarray
    valid: np.ndarray
    valid_labels: np.ndarray
    num_classes: int


@dataclass(frozen=True)
class Scores:
    """Calibrated log loss and accuracy on the validation photos; None where there are none."""

    log_loss: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Finetuned:
    """How fine-tuning went.

    Attributes
    ----------
    epochs : int
        That were trained.
    best_epoch : int
        Whose weights were kept, counted from 1; 0 where none was better than the start.
    precision : str
        Lightning's name.
    before, after : Scores
        On the validation photos: of the weights that training began with, and of those of its best
        epoch.
    """

    epochs: int
    best_epoch: int
    precision: str
    before: Scores
    after: Scores


def finetune(
    cut: Cut,
    data: MapData,
    plan: FinetunePlan,
    *,
    policy: Augmentation | None = None,
    seed: int,
    work: Path,
    epochs_file: Path,
    resume: bool = False,
    progress: Progress | None = None,
) -> Finetuned:
    """Train the trained part of a network in place.

    It ends with the weights of the least validation loss: those of an epoch, or, where none of
    them was better, those that it began with.

    Parameters
    ----------
    cut : Cut
        Its stages must be those of the plan.
    data : MapData
    plan : FinetunePlan
    policy : Augmentation or None
        For MixUp and CutMix, which are done on maps; the rest is in the draws.
    seed : int
    work : Path
        For checkpoints.
    epochs_file : Path
        The learning curves, CSV; written after every epoch.
    resume : bool
        Go on from the last checkpoint in ``work``, if there is one.
    progress : Progress, optional

    Raises
    ------
    InputError
        If the cut is not the plan's, or the policy mixes regions where there are no maps.
    KeyboardInterrupt
        If the user stops it; the last whole epoch is in ``work``.
    """
    if tuple(cut.groups)[:-1] != plan.trained_stages:
        raise InputError(
            f"The network is cut for training {', '.join(cut.groups)}; the plan trains "
            f"{', '.join(plan.trained_stages) or 'no stage'} and the head. Cut it for the plan."
        )
    if policy is not None and policy.cutmix and data.draws[0].ndim != 4:
        raise InputError(
            "CutMix needs maps, but the last frozen stage gives vectors. Train more stages, or "
            "choose --augment mixup, standard or strong."
        )
    work.mkdir(parents=True, exist_ok=True)
    began = {name: value.clone() for name, value in cut.trained.state_dict().items()}
    before = evaluate(cut, data.valid, data.valid_labels)
    marker = work / _DONE
    if resume and marker.exists():
        done = json.loads(marker.read_text(encoding="utf-8"))
    else:
        with quiet(), own_random_numbers():
            sets = (data.draws, data.labels), ((data.valid,), data.valid_labels)
            train, valid = (MapBatches(maps, labels) for maps, labels in sets)
            step = StageTrainer(
                _channels_last(cut), plan, class_weights(data.labels, data.num_classes), seed,
                policy,
            )  # fmt: skip
            done = asdict(
                run_epochs(
                    step, _loader(train, plan.batch_size, seed),
                    _loader(valid, _EVALUATION_BATCH, None),
                    epochs=plan.epochs, patience=plan.patience, photos=len(data.labels),
                    work=work, epochs_file=epochs_file, resume=resume, progress=progress,
                )
            )  # fmt: skip
        cut.trained.requires_grad_(True)
        write_json(marker, done)
    _load_best(cut, work)
    after = evaluate(cut, data.valid, data.valid_labels)
    best = int(done["best_epoch"])
    # A loss that is no number is not less either.
    if before.log_loss is not None and after.log_loss is not None:
        if not after.log_loss < before.log_loss:
            cut.trained.load_state_dict(began)
            best = 0
        if not np.isfinite(after.log_loss):
            after = Scores(None, after.accuracy)
    cut.trained.eval()
    return Finetuned(int(done["epochs"]), best, str(done["precision"]), before, after)


def _loader(batches: MapBatches, batch_size: int, seed: int | None) -> Ahead:
    rows = np.arange(len(batches.labels))
    return Ahead(batches, batch_size=None, sampler=EpochSampler(rows, batch_size, seed))


def _channels_last(cut: Cut) -> Cut:
    channels_last(cut.trained)
    return cut


def _load_best(cut: Cut, work: Path) -> None:
    kept = torch.load(work / BEST, map_location="cpu", weights_only=True)["state_dict"]
    state = {k.removeprefix(_NET): v for k, v in kept.items() if k.startswith(_NET)}
    for place, (name, _) in enumerate(cut.trained.named_parameters()):
        state[name] = kept.get(f"{_AVERAGE}w{place}", state[name])
    cut.trained.load_state_dict(state)


def map_logits(trained: nn.Module, maps: np.ndarray) -> np.ndarray:
    """Logits of kept maps, float32 ``(n, classes)``, in evaluation mode.

    Parameters
    ----------
    trained : nn.Module
        See :class:`~convscope.finetune.cutting.Cut`.
    maps : numpy.ndarray
        float16 ``(n, ...)``, n at least 1.
    """
    body = fused(trained.eval())

    def forward(rows: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = body(as_input(maps[rows])).numpy()
            return logits

    return np.concatenate(list(over_rows(forward, np.arange(len(maps)))))


def evaluate(cut: Cut, maps: np.ndarray, labels: np.ndarray) -> Scores:
    """Calibrated log loss and accuracy of the trained part on kept maps.

    Parameters
    ----------
    cut : Cut
    maps : numpy.ndarray
        float16 ``(n, ...)``.
    labels : numpy.ndarray
        int64 ``(n,)``.
    """
    if not len(labels):
        return Scores(None, None)
    logits = map_logits(cut.trained, maps)
    accuracy = float((logits.argmax(axis=1) == labels).mean())
    return Scores(calibrated_log_loss(logits, labels), accuracy)
