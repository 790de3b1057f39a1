"""Networks and maps of which the truth is known."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from convscope.explain.result import Explanation


class Weighted(nn.Module):
    """Score 0 is a weighted sum of the pixels, score 1 its opposite."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Buffer(weights)

    def forward(self, x: Tensor) -> Tensor:
        score = (x * self.weights).flatten(1).sum(1)
        return torch.stack([score, -score], 1)


def explained(values: np.ndarray, target: object = 0, method: str = "by hand") -> Explanation:
    targets = np.asarray(target)
    return Explanation(
        map=np.asarray(values, np.float32), signed=True, target=targets,
        score=np.zeros(targets.shape), of="logit", method=method, parameters={}, seconds=0.0,
        forwards=1.0,
    )  # fmt: skip
