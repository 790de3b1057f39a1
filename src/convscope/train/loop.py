"""Train a network: Lightning with early stopping, the best weights kept, and resuming."""

from __future__ import annotations

import json
import logging
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from convscope.data.augment import Augmentation
from convscope.data.pixels import Pixels
from convscope.files import write_json
from convscope.progress import Progress
from convscope.train.batches import Ahead, Batch, EpochSampler, PhotoBatches
from convscope.train.callbacks import EpochBar, History
from convscope.train.checkpoints import BEST, LAST, Checkpoints, WholeFiles
from convscope.train.step import PhotoClassifier, TrainPlan

_EVALUATION_BATCH = 256
_TRAINED = "trained.json"

Precision = Literal["32-true", "16-mixed", "bf16-mixed"]


@dataclass(frozen=True)
class TrainData:
    """What a network is trained on.

    Attributes
    ----------
    pixels : Pixels
    labels : numpy.ndarray
        int64 ``(n,)``.
    train, valid : numpy.ndarray
        int rows of ``pixels``; ``valid`` may be empty.
    num_classes : int
    mean, std : sequence of float
        Normalisation.
    policy : Augmentation or None
        For the training photos.
    """

    pixels: Pixels
    labels: np.ndarray
    train: np.ndarray
    valid: np.ndarray
    num_classes: int
    mean: Sequence[float]
    std: Sequence[float]
    policy: Augmentation | None


@dataclass(frozen=True)
class Trained:
    """How training went.

    Attributes
    ----------
    epochs : int
        That were trained.
    best_epoch : int
        Whose weights were kept, counted from 1.
    precision : str
        Lightning's name, such as ``32-true`` or ``bf16-mixed``.
    """

    epochs: int
    best_epoch: int
    precision: Precision


def train_network(
    net: nn.Module,
    data: TrainData,
    plan: TrainPlan,
    *,
    seed: int,
    work: Path,
    epochs_file: Path,
    resume: bool = False,
    progress: Progress | None = None,
) -> Trained:
    """Train a network in place; it ends with the weights of the least validation loss.

    Parameters
    ----------
    net : nn.Module
        ``(n, 3, h, w)`` -> logits.
    data : TrainData
    plan : TrainPlan
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
    KeyboardInterrupt
        If the user stops it; the last whole epoch is in ``work``.
    """
    marker = work / _TRAINED
    if resume and marker.exists():
        trained = Trained(**json.loads(marker.read_text(encoding="utf-8")))
    else:
        with own_random_numbers():
            trained = _train(net, data, plan, seed, work, epochs_file, resume, progress)
        write_json(marker, asdict(trained))
    load_best(net, work)
    return trained


def load_best(net: nn.Module, work: Path) -> None:
    """Give a network the weights of the least validation loss, and leave it in evaluation mode.

    Parameters
    ----------
    net : nn.Module
        What the trained step holds as ``net``.
    work : Path
        Of :func:`run_epochs`.
    """
    kept = torch.load(work / BEST, map_location="cpu", weights_only=True)
    # Lightning's names are those of its module, which holds the network as "net".
    net.load_state_dict({k.removeprefix("net."): v for k, v in kept["state_dict"].items()})
    net.eval()


def _train(
    net: nn.Module,
    data: TrainData,
    plan: TrainPlan,
    seed: int,
    work: Path,
    epochs_file: Path,
    resume: bool,
    progress: Progress | None,
) -> Trained:
    weights = class_weights(data.labels[data.train], data.num_classes)
    step = PhotoClassifier(
        channels_last(net), plan, data.mean, data.std, weights, seed, data.policy
    )
    return run_epochs(
        step,
        _loader(data, plan.batch_size, seed, train=True),
        _loader(data, _EVALUATION_BATCH, seed, train=False),
        epochs=plan.epochs, patience=plan.patience, photos=len(data.train), work=work,
        epochs_file=epochs_file, resume=resume, progress=progress,
    )  # fmt: skip


def run_epochs(
    step: pl.LightningModule,
    train: DataLoader[Any],
    valid: DataLoader[Any],
    *,
    epochs: int,
    patience: int,
    photos: int,
    work: Path,
    epochs_file: Path,
    resume: bool,
    progress: Progress | None,
    unit: str = "photos",
) -> Trained:
    """Train as a step describes it; the best weights and the last state are in ``work`` then.

    Parameters
    ----------
    step : LightningModule
        That logs ``valid_loss`` where there is something to validate on.
    train, valid : DataLoader
    epochs : int
        At most.
    patience : int
        Epochs without a better validation loss before training stops.
    photos : int
        Of an epoch, for the bar; or what else is trained on.
    work : Path
    epochs_file : Path
        The learning curves, CSV; written after every epoch.
    resume : bool
        Go on from the last checkpoint in ``work``, if there is one.
    progress : Progress or None
    unit : str
        What the bar counts.

    Raises
    ------
    KeyboardInterrupt
        If the user stops it; the last whole epoch is in ``work``.
    """
    history = History(epochs_file)
    precision = _precision()
    with (progress or Progress()).bar("training", epochs * photos, unit) as update:
        trainer = pl.Trainer(
            max_epochs=epochs,
            callbacks=[
                history,
                Checkpoints(work, history, patience),
                EpochBar(update, photos, history, unit),
            ],
            plugins=[WholeFiles()],
            precision=precision,
            devices=1,
            logger=False,
            enable_checkpointing=False,  # ours are those above
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            default_root_dir=work,
        )
        last = work / LAST
        with _interruptible(trainer):
            trainer.fit(
                step,
                train,
                valid,
                ckpt_path=last if resume and last.exists() else None,
                weights_only=True,
            )
    return Trained(len(history.rows), history.best_epoch, precision)


def _loader(data: TrainData, batch_size: int, seed: int, *, train: bool) -> DataLoader[Batch]:
    photos = PhotoBatches(data.pixels, data.labels, data.policy if train else None, seed)
    rows = data.train if train else data.valid
    # The photos are in memory: no loading processes.
    sampler = EpochSampler(rows, batch_size, seed if train else None)
    return Ahead(photos, batch_size=None, sampler=sampler)


def channels_last(net: nn.Module) -> nn.Module:
    """Lay the kernels of a network's convolutions out as photos are; in place."""
    for parameter in net.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return net


def class_weights(labels: np.ndarray, num_classes: int) -> Tensor:
    """Weights under which every class counts the same in total; mean over the photos 1."""
    counts = np.bincount(labels, minlength=num_classes)
    weights = len(labels) / (num_classes * np.maximum(counts, 1))
    return torch.from_numpy(weights).float()


def _precision() -> Precision:
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "32-true"


@contextmanager
def _interruptible(trainer: pl.Trainer) -> Iterator[None]:
    """Lightning ends the process on Ctrl-C and leaves the signal ignored; we want it raised."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


@contextmanager
def own_random_numbers() -> Iterator[None]:
    """What is drawn inside leaves PyTorch's generators as they were."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices=devices):
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's notices on devices and on loading, which do not concern the user."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            yield
    finally:
        logger.setLevel(level)
