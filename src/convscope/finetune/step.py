"""One step of training the last stages on kept maps, described for Lightning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.utils.data import Dataset

from convscope.calibration import calibrated_log_loss
from convscope.data.augment import Augmentation
from convscope.finetune.cutting import HEAD, Cut
from convscope.finetune.maps import as_input
from convscope.finetune.plan import FinetunePlan
from convscope.train.batches import Batch, EpochRows, seed_batch
from convscope.train.mixing import Mixed, mix
from convscope.train.step import decay_groups

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class MapBatches(Dataset[Batch]):
    """Epoch and rows to maps and labels.

    Parameters
    ----------
    draws : sequence of numpy.ndarray
        float16 ``(n, ...)`` each, see :func:`~convscope.finetune.maps.keep_maps`.
    labels : numpy.ndarray
        int64 ``(n,)``.
    """

    def __init__(self, draws: Sequence[np.ndarray], labels: np.ndarray) -> None:
        self.draws = draws
        self.labels = labels

    def __getitem__(self, item: EpochRows) -> Batch:
        epoch, rows = item
        maps = self.draws[epoch % len(self.draws)][rows]
        return as_input(maps), torch.from_numpy(self.labels[rows])


class StageTrainer(pl.LightningModule):
    """Cross-entropy with class weights, AdamW with a learning rate for each stage.

    Batch norms stay in evaluation mode: their statistics are those of the many photos that the
    network was trained on, better than what batches of a few dozen photos would give. Their scale
    and shift are trained.

    Parameters
    ----------
    cut : Cut
    plan : FinetunePlan
    class_weights : Tensor
        float ``(classes,)``; for training only.
    seed : int
    policy : Augmentation or None
        Of which mixing is done here, on maps (Verma et al. 2019, arXiv 1806.05236).
    """

    def __init__(
        self,
        cut: Cut,
        plan: FinetunePlan,
        class_weights: Tensor,
        seed: int,
        policy: Augmentation | None = None,
    ) -> None:
        super().__init__()
        self.net = cut.trained
        self.groups = cut.groups
        self.plan = plan
        self.class_weights = nn.Buffer(class_weights, persistent=False)
        self.seed = seed
        self.policy = policy
        self._validated: list[tuple[Tensor, Tensor]] = []
        self.average = None if plan.ema is None else WeightAverage(self.net, plan.ema)

    def train(self, mode: bool = True) -> StageTrainer:
        """As usual, but for batch norms."""
        super().train(mode)
        for module in self.net.modules():
            if isinstance(module, _BATCH_NORMS):
                module.eval()
        return self

    def on_train_epoch_start(self) -> None:
        """The learning rates of this epoch; stages wait until the head has had its epochs."""
        share = self.plan.rise_and_fall(self.current_epoch)
        waiting = self.current_epoch < self.plan.head_epochs
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = share * group["peak"]
            for parameter in group["params"]:
                parameter.requires_grad_(group["stage"] == HEAD or not waiting)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Dropout depends on seed, epoch and batch alone: resumed training equals unbroken."""
        seed_batch(self.seed, self.current_epoch, batch_idx)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of a batch."""
        maps, labels = batch
        mixed = mix(maps, self.policy, seed=self.seed, epoch=self.current_epoch, batch=index)
        logits = self.net(maps if mixed is None else mixed.photos)
        loss = self._loss(logits, labels, mixed)
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        values = {"train_loss": loss, "train_accuracy": accuracy}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def _loss(self, logits: Tensor, labels: Tensor, mixed: Mixed | None) -> Tensor:
        def under(given: Tensor) -> Tensor:
            return functional.cross_entropy(
                logits, given, weight=self.class_weights,
                label_smoothing=self.plan.label_smoothing,
            )  # fmt: skip

        return under(labels) if mixed is None else mixed.loss(under, labels)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Take the step into the average."""
        if self.average is not None:
            self.average.update(self.net)

    def validation_step(self, batch: Batch, _index: int) -> None:
        """Keep the logits of a batch, by the averaged weights where there are such."""
        maps, labels = batch
        if len(labels):
            weights = {} if self.average is None else self.average.weights()
            logits = functional_call(self.net, weights, (maps,))
            self._validated.append((logits.cpu(), labels.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Log the calibrated loss of all, by which the best epoch is chosen, and the accuracy."""
        if not self._validated:
            return
        logits, labels = (torch.cat(part).numpy() for part in zip(*self._validated, strict=True))
        self._validated = []
        loss = calibrated_log_loss(logits, labels)
        accuracy = float((logits.argmax(axis=1) == labels).mean())
        self.log_dict({"valid_loss": loss, "valid_accuracy": accuracy})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW, the head's groups first; weight decay for weight matrices and kernels only."""
        return torch.optim.AdamW(parameter_groups(self.net, self.groups, self.plan))


def parameter_groups(
    net: nn.Module, groups: dict[str, tuple[str, ...]], plan: FinetunePlan
) -> list[dict[str, Any]]:
    """What AdamW takes: parameters by stage, the head first, with and without weight decay.

    Parameters
    ----------
    net : nn.Module
        The trained part.
    groups : dict of str to tuple of str
        See :class:`~convscope.finetune.cutting.Cut`.
    plan : FinetunePlan

    Returns
    -------
    list of dict
        Beside what AdamW reads, ``stage`` names the group and ``peak`` is its highest rate.
    """
    parameters = dict(net.named_parameters())
    rates = {**plan.stage_rates(), HEAD: plan.learning_rate}
    found = []
    for stage in reversed(groups):
        of_stage = [parameters[name] for name in groups[stage]]
        common = {"lr": rates[stage], "peak": rates[stage], "stage": stage}
        found += [{**group, **common} for group in decay_groups(of_stage, plan.weight_decay)]
    return found


class WeightAverage(nn.Module):
    """The exponential moving average of a network's weights, kept in the checkpoint with them.

    Young averages follow more closely: step ``t`` decays by ``min(decay, (1 + t) / (10 + t))``.

    Parameters
    ----------
    net : nn.Module
        Whose weights the average begins with.
    decay : float
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.names = [name for name, _ in net.named_parameters()]
        self.steps = nn.Buffer(torch.zeros((), dtype=torch.int64))
        for place, (_, value) in enumerate(net.named_parameters()):
            self.register_buffer(f"w{place}", value.detach().clone())

    def weights(self) -> dict[str, Tensor]:
        """Parameter of the network -> average."""
        buffers = dict(self.named_buffers())
        return {name: buffers[f"w{place}"] for place, name in enumerate(self.names)}

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """One more step."""
        step = int(self.steps)
        decay = min(self.decay, (1 + step) / (10 + step))
        mine = list(self.weights().values())
        torch._foreach_lerp_(mine, [p.detach() for p in net.parameters()], 1 - decay)
        self.steps.add_(1)
