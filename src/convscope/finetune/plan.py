"""What is trained, how fast and how long: decided before a photo is opened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from convscope.errors import InputError, unknown_name
from convscope.nets.stages import Stage

# Of the peak, at the last epoch.
_FLOOR = 0.01


@dataclass(frozen=True)
class FinetunePlan:
    """How the last stages of a network are trained.

    Attributes
    ----------
    trained_stages : tuple of str
        Names of the last stages of ``net.stages``, in their order; the head is always trained. None
        at all: the head alone.
    draws : int
        Augmented versions of each training photo; epoch ``e`` takes draw ``e % draws``.
    head_epochs : int
        Epochs, the first of ``epochs``, in which the head alone is trained. It starts as logistic
        regression on the features, not from random numbers, so as a rule none are needed.
    epochs : int
        At most; early stopping may end sooner.
    batch_size : int
    learning_rate : float
        Peak, of the last trained stage and the head.
    stage_factor : float
        The rate of each earlier stage is that of the one behind it times this, 0 to 1.
    weight_decay : float
        Of AdamW; not for biases and batch norms.
    label_smoothing : float
        Share of each training label that is spread over all classes, 0 or more and below 1.
    patience : int
        Epochs without a better validation loss before training stops.
    warm_up : int
        Epochs in which the rates rise in equal steps, before half a cosine takes them down.
    ema : float or None
        Decay, per step, of the moving average of the weights that is validated and kept; None for
        the weights themselves.

    Raises
    ------
    InputError
        If a number is out of its bounds.
    """

    trained_stages: tuple[str, ...]
    draws: int = 6
    head_epochs: int = 0
    epochs: int = 8
    batch_size: int = 32
    learning_rate: float = 2e-3
    stage_factor: float = 0.7
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    patience: int = 4
    warm_up: int = 1
    ema: float | None = 0.99

    def __post_init__(self) -> None:
        for name in ("draws", "epochs", "batch_size", "patience"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        for name in ("head_epochs", "warm_up"):
            _require(name, getattr(self, name), getattr(self, name) >= 0, "0 or more")
        rate, factor, ema = self.learning_rate, self.stage_factor, self.ema
        _require("learning_rate", rate, 0 < rate < math.inf, "above 0")
        _require("stage_factor", factor, 0 < factor <= 1, "above 0 and at most 1")
        decay = self.weight_decay
        _require("weight_decay", decay, 0 <= decay < math.inf, "0 or more")
        smooth = self.label_smoothing
        _require("label_smoothing", smooth, 0 <= smooth < 1, "0 or more and below 1")
        _require("ema", ema, ema is None or 0 <= ema < 1, "None, or 0 or more and below 1")
        if self.trained_stages and self.head_epochs >= self.epochs:
            raise InputError(
                f"Fine-tuning with head_epochs {self.head_epochs} of {self.epochs} epochs would "
                "train no stage. Give fewer head_epochs, or more epochs."
            )

    def rise_and_fall(self, epoch: int) -> float:
        """The share of its peak that every rate has in an epoch, counted from 0."""
        if epoch < self.warm_up < self.epochs:
            return (epoch + 1) / (self.warm_up + 1)
        first = self.warm_up if self.warm_up < self.epochs else 0
        done = (epoch - first) / max(1, self.epochs - 1 - first)
        return _FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * min(done, 1.0))) / 2

    def stage_rates(self) -> dict[str, float]:
        """Trained stage -> the peak of its learning rate, in the order of the data."""
        last = len(self.trained_stages) - 1
        return {
            stage: self.learning_rate * self.stage_factor ** (last - place)
            for place, stage in enumerate(self.trained_stages)
        }


def _require(name: str, got: object, fits: bool, allowed: str) -> None:
    if not fits:
        raise InputError(f"Fine-tuning with {name} {got}: it must be {allowed}.")


def check_stages(net: nn.Module, trained: Sequence[str]) -> None:
    """Refuse stages that the network does not have, and those that are not its last ones.

    Parameters
    ----------
    net : nn.Module
        Of the catalogue, with ``stages``.
    trained : sequence of str

    Raises
    ------
    InputError
    """
    kind = type(net).__name__
    stages: tuple[Stage, ...] = getattr(net, "stages", ())
    names = [stage.name for stage in stages]
    if not names:
        raise InputError(f"{kind} names no stages, so none of them can be fine-tuned.")
    for name in trained:
        if name not in names:
            raise unknown_name(f"stage of {kind}", name, names)
    last = names[len(names) - len(trained) :]
    if list(trained) != last:
        places = [names.index(name) for name in trained]
        ordered = all(a < b for a, b in pairwise(places))
        would = ", ".join(names[min(places) :])
        raise InputError(
            f"Trained stages must be the last ones of {kind}"
            f"{'' if ordered else ', each once and in their order'}; received "
            f"{', '.join(trained)}. From {names[min(places)]} on these are: {would}."
        )
