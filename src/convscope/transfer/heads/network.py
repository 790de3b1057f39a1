"""The small fully connected network on features."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import nn

from convscope.lanes import one_core_per_call
from convscope.transfer.heads.modules import fully_connected
from convscope.transfer.heads.parts import Part, Settings, State, Trained, fold_numbers

# The founding network's three layers of 400, 500 and 200 units, and parts of it.
GRID: tuple[Settings, ...] = (
    {"hidden": [200], "dropout": 0.5},
    {"hidden": [400, 200], "dropout": 0.5},
    {"hidden": [400, 500, 200], "dropout": 0.5},
)
DEFAULT: Settings = GRID[0]
LEARNING_RATE = 3e-4
WEIGHT_DECAY = 0.05
BATCH = 64
MOST_EPOCHS = 60
# Epochs without a lower loss on the watched photos that end the search.
PATIENCE = 6
# Where no photo can be spared to say when to stop.
EPOCHS = 20


def network_path(part: Part, grid: Sequence[Settings], seed: int) -> Iterator[Trained]:
    """Train a network for each setting, with AdamW.

    A fifth of the training photos says when to stop; then the network is trained anew on all of
    them, as long. The held-out photos have no say in it, so that they judge it as they judge heads
    that need no stopping.

    Parameters
    ----------
    part : Part
    grid : sequence of mapping
        Each with ``hidden`` and ``dropout``.
    seed : int
        For first weights, order, dropout, and the fifth.
    """
    x, labels = torch.from_numpy(part.x), torch.from_numpy(part.labels)
    watched = torch.from_numpy(fold_numbers(part.labels, None, seed) == 0)
    for settings in grid:
        # No yield inside: the caller's random numbers are put back before the caller goes on.
        # So small a network waits for threads longer than it computes.
        with one_core_per_call(), torch.random.fork_rng(devices=[]):
            epochs = EPOCHS
            if watched.any():
                net = _start(part, settings, seed)
                epochs = _best_epoch(
                    net, x[~watched], labels[~watched], x[watched], labels[watched]
                )
            net = _start(part, settings, seed)
            optimiser = _optimiser(net)
            for _ in range(epochs):
                _one_epoch(net, optimiser, x, labels)
        logits = _logits(net, torch.from_numpy(part.x_held)).numpy()
        yield Trained(logits, partial(_state, part, settings, net), {"epochs": epochs})


def _start(part: Part, settings: Settings, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    hidden, dropout = settings["hidden"], settings["dropout"]
    return fully_connected(part.x.shape[1], part.classes, hidden, dropout)


def _optimiser(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)


def _best_epoch(
    net: nn.Module,
    x: torch.Tensor,
    labels: torch.Tensor,
    watched: torch.Tensor,
    watched_labels: torch.Tensor,
) -> int:
    """Of least loss on the watched photos, counted from 1."""
    optimiser = _optimiser(net)
    best, best_epoch = math.inf, 1
    for epoch in range(1, MOST_EPOCHS + 1):
        _one_epoch(net, optimiser, x, labels)
        loss = float(nn.functional.cross_entropy(_logits(net, watched), watched_labels))
        if loss < best:
            best, best_epoch = loss, epoch
        elif epoch - best_epoch >= PATIENCE:
            break
    return best_epoch


def _one_epoch(
    net: nn.Module, optimiser: torch.optim.Optimizer, x: torch.Tensor, labels: torch.Tensor
) -> None:
    net.train()
    for rows in torch.split(torch.randperm(len(x)), BATCH):
        loss = nn.functional.cross_entropy(net(x[rows]), labels[rows])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _logits(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    net.eval()
    with torch.inference_mode():
        logits: torch.Tensor = net(x)
        return logits


def _state(part: Part, settings: Settings, net: nn.Sequential) -> State:
    """With the standardisation folded into the first layer."""
    arrays = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    weight = arrays["0.weight"].astype(np.float64) / part.scaler.scale_
    arrays["0.bias"] = (arrays["0.bias"] - weight @ part.scaler.mean_).astype(np.float32)
    arrays["0.weight"] = weight.astype(np.float32)
    return State(
        config={
            "features": part.x.shape[1],
            "classes": part.classes,
            "hidden": list(settings["hidden"]),
            "dropout": settings["dropout"],
        },
        arrays=arrays,
    )
