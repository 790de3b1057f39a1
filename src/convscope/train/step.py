"""One training step, described for Lightning."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from convscope.data.augment import Augmentation
from convscope.nets.inference import prepare
from convscope.train.batches import Batch, seed_batch
from convscope.train.mixing import Mixed, mix

_WARM_UP_EPOCHS = 2
# What the loss of an auxiliary head counts (Szegedy et al. 2014, section 5).
AUXILIARY_WEIGHT = 0.3


@dataclass(frozen=True)
class TrainPlan:
    """How a network is trained; what is not said here is Lightning's default.

    Attributes
    ----------
    epochs : int
        At most; early stopping may end sooner.
    batch_size : int
    learning_rate : float
        Its peak: two epochs of rise, then half a cosine down to a hundredth at the last epoch.
    weight_decay : float
        Of AdamW; not for biases and batch norms.
    patience : int
        Epochs without a better validation loss before training stops.
    """

    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    patience: int = 15

    def learning_rate_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        if epoch < _WARM_UP_EPOCHS < self.epochs:
            return self.learning_rate * (epoch + 1) / (_WARM_UP_EPOCHS + 1)
        done = epoch / max(1, self.epochs - 1)
        return self.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


class PhotoClassifier(pl.LightningModule):
    """Cross-entropy with class weights, AdamW.

    Parameters
    ----------
    net : nn.Module
        ``(n, 3, h, w)`` -> logits.
    plan : TrainPlan
    mean, std : sequence of float
        Normalisation, see :func:`~convscope.nets.inference.prepare`.
    class_weights : Tensor
        float ``(classes,)``; a photo of a rare class counts for more. For training only: the
        validation loss is that of the photos as they are.
    seed : int
    policy : Augmentation, optional
        Of which mixing of photos is done here; the rest has been done to the batch.
    """

    def __init__(
        self,
        net: nn.Module,
        plan: TrainPlan,
        mean: Sequence[float],
        std: Sequence[float],
        class_weights: Tensor,
        seed: int,
        policy: Augmentation | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.plan = plan
        self.mean, self.std = mean, std
        self.class_weights = nn.Buffer(class_weights, persistent=False)
        self.seed = seed
        self.policy = policy

    def forward(self, photos: Tensor) -> Tensor:
        """Photos, uint8 ``(n, h, w, 3)``, to logits ``(n, classes)``."""
        logits: Tensor = self.net(prepare(photos, self.mean, self.std))
        return logits

    def on_train_epoch_start(self) -> None:
        """The learning rate of this epoch."""
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.plan.learning_rate_at(self.current_epoch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Dropout depends on seed, epoch and batch alone: resumed training equals unbroken."""
        seed_batch(self.seed, self.current_epoch, batch_idx)

    def training_step(self, batch: Batch, index: int) -> Tensor | None:
        """Loss of a batch; no step where unreadable photos left fewer than batch norm needs."""
        photos, labels = batch
        if len(labels) < 2:
            return None
        x = prepare(photos, self.mean, self.std)
        mixed = mix(x, self.policy, seed=self.seed, epoch=self.current_epoch, batch=index)
        output = self.net(x if mixed is None else mixed.photos)
        # GoogLeNet's auxiliary heads: in training only, beside the logits.
        logits, *others = output if isinstance(output, tuple) else (output,)
        loss = self._loss(logits, labels, mixed)
        self._log("train", loss, logits, labels)
        for auxiliary in others:
            loss = loss + AUXILIARY_WEIGHT * self._loss(auxiliary, labels, mixed)
        return loss

    def _loss(self, logits: Tensor, labels: Tensor, mixed: Mixed | None) -> Tensor:
        def under(given: Tensor) -> Tensor:
            return functional.cross_entropy(logits, given, weight=self.class_weights)

        return under(labels) if mixed is None else mixed.loss(under, labels)

    def validation_step(self, batch: Batch, _index: int) -> None:
        """Log loss and accuracy of a batch."""
        photos, labels = batch
        if len(labels):
            logits = self(photos)
            self._log("valid", functional.cross_entropy(logits, labels), logits, labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; weight decay for weight matrices and kernels only."""
        groups = decay_groups(self.net.parameters(), self.plan.weight_decay)
        return torch.optim.AdamW(groups, lr=self.plan.learning_rate)

    def _log(self, split: str, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        values = {f"{split}_loss": loss, f"{split}_accuracy": accuracy}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(labels))


def decay_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """What AdamW takes: weight decay for weight matrices and kernels, none for the others."""
    every = list(parameters)
    parts = (
        ([p for p in every if p.ndim > 1], weight_decay),
        ([p for p in every if p.ndim <= 1], 0.0),
    )
    return [{"params": part, "weight_decay": decay} for part, decay in parts if part]
