"""What a strategy hands back: a trained network and what it says of every photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import nn

from convscope.data.dataset import Dataset
from convscope.run import HeadInfo, PrecisionInfo, WeightsInfo


@dataclass(frozen=True)
class Fitted:
    """A classifier before calibration.

    Attributes
    ----------
    net : nn.Module
        Trained, complete.
    dataset : Dataset
    logits : numpy.ndarray
        float32 ``(n, classes)``, one row per photo of ``dataset.table``.
    precision : PrecisionInfo
    weights : WeightsInfo or None
    augment : dict or None
    training : dict
        What training chose, JSON values.
    strategy : str or None
        What was done in the end, where that was decided on the way.
    head : HeadInfo or None
        Where the classifier is no layer of the network's own.
    plan : dict or None
        What was measured and decided, JSON values.
    held_out : tuple of numpy.ndarray or None
        Logits and labels to calibrate on, where these are not simply the validation photos'.
    sheet : numpy.ndarray or None
        What augmentation made of some training photos, one picture: uint8 ``(h, w, 3)``.
    """

    net: nn.Module
    dataset: Dataset
    logits: np.ndarray
    precision: PrecisionInfo
    weights: WeightsInfo | None
    augment: dict[str, Any] | None
    training: dict[str, Any]
    strategy: Literal["features", "finetune"] | None = None
    head: HeadInfo | None = None
    plan: dict[str, Any] | None = None
    held_out: tuple[np.ndarray, np.ndarray] | None = None
    sheet: np.ndarray | None = None
