"""Train the network that forecasts: Lightning, early stopping, the best weights kept, resuming."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from convscope.forecast.network import ForecastNet
from convscope.forecast.windows import Windows
from convscope.progress import Progress
from convscope.train.batches import EpochRows, EpochSampler, seed_batch
from convscope.train.loop import Trained, load_best, own_random_numbers, quiet, run_epochs
from convscope.train.step import TrainPlan, decay_groups

_EVALUATION_BATCH = 512
# Context, truth, what is known ahead.
WindowBatch = tuple[Tensor, Tensor, Tensor]


class WindowBatches(Dataset[WindowBatch]):
    """Epoch and numbers of windows to their arrays."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows

    def __getitem__(self, item: EpochRows) -> WindowBatch:
        batch = self.windows.batch(item[1])
        return batch.context, batch.truth, batch.ahead


class Forecasting(pl.LightningModule):
    """The loss of what was measured, AdamW.

    Parameters
    ----------
    net : ForecastNet
    plan : TrainPlan
    seed : int
    """

    def __init__(self, net: ForecastNet, plan: TrainPlan, seed: int) -> None:
        super().__init__()
        self.net, self.plan, self.seed = net, plan, seed

    def on_train_epoch_start(self) -> None:
        """The learning rate of this epoch."""
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.plan.learning_rate_at(self.current_epoch)

    def on_train_batch_start(self, batch: WindowBatch, batch_idx: int) -> None:
        """Dropout depends on seed, epoch and batch alone: resumed training equals unbroken."""
        seed_batch(self.seed, self.current_epoch, batch_idx)

    def training_step(self, batch: WindowBatch, index: int) -> Tensor:
        """Loss of a batch."""
        return self._loss(batch, "train")

    def validation_step(self, batch: WindowBatch, index: int) -> None:
        """Log the loss of a batch."""
        self._loss(batch, "valid")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; weight decay for weight matrices and kernels only."""
        groups = decay_groups(self.net.parameters(), self.plan.weight_decay)
        return torch.optim.AdamW(groups, lr=self.plan.learning_rate)

    def _loss(self, batch: WindowBatch, split: str) -> Tensor:
        context, truth, ahead = batch
        loss = self.net.outputs.loss(self.net(context, ahead), truth)
        # A batch counts for as much as was measured in it.
        known = int(torch.isfinite(truth).sum())
        if known:
            self.log(f"{split}_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=known)
        return loss


def train_forecast(
    net: ForecastNet,
    train: Windows,
    valid: Windows,
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
    net : ForecastNet
    train, valid : Windows
    plan : TrainPlan
        An epoch takes every window once.
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
    work.mkdir(parents=True, exist_ok=True)
    with own_random_numbers(), quiet():
        trained = run_epochs(
            Forecasting(net, plan, seed),
            _loader(train, plan.batch_size, seed),
            _loader(valid, _EVALUATION_BATCH, None),
            epochs=plan.epochs, patience=plan.patience, photos=len(train), work=work,
            epochs_file=epochs_file, resume=resume, progress=progress, unit="windows",
        )  # fmt: skip
    load_best(net, work)
    return trained


def _loader(windows: Windows, batch_size: int, seed: int | None) -> DataLoader[WindowBatch]:
    sampler = EpochSampler(np.arange(len(windows)), batch_size, seed)
    return DataLoader(WindowBatches(windows), batch_size=None, sampler=sampler)


def forecasts_of(net: ForecastNet, windows: Windows) -> np.ndarray:
    """What a network says of all windows: float32 ``(n, outputs, horizon)``, scaled."""
    found = []
    with torch.inference_mode():
        for first in range(0, len(windows), _EVALUATION_BATCH):
            rows = np.arange(first, min(first + _EVALUATION_BATCH, len(windows)))
            batch = windows.batch(rows)
            found.append(net(batch.context, batch.ahead).float().numpy())
    return np.concatenate(found)
