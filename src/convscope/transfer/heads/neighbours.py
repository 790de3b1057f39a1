"""The k nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch

from convscope.transfer.heads.modules import METRICS, VOTES, Neighbours, build_head
from convscope.transfer.heads.parts import Part, Settings, State, Trained

GRID: tuple[Settings, ...] = tuple(
    {"neighbours": k, "metric": metric, "votes": votes}
    for metric in METRICS
    for votes in VOTES
    for k in (1, 3, 5, 10, 20, 40)
)
DEFAULT: Settings = {"neighbours": 5, "metric": "cosine", "votes": "distance"}
_ROWS = 512


def neighbours_path(part: Part, grid: Sequence[Settings], seed: int) -> Iterator[Trained]:
    """Nearest neighbours among the standardised training features.

    Parameters
    ----------
    part : Part
    grid : sequence of mapping
        Each with ``neighbours`` (more than there are photos: all of them), ``metric``, ``votes``.
    seed : int
        Not used: nothing here is random.
    """
    heads: dict[str, Neighbours] = {}
    for settings in grid:
        # The vectors are the same for all settings of one metric.
        if settings["metric"] not in heads:
            heads = {settings["metric"]: _head(_state(part, settings))}
        head = heads[settings["metric"]]
        head.neighbours = min(settings["neighbours"], len(part.labels))
        head.votes = settings["votes"]
        with torch.inference_mode():
            logits = [
                head(torch.from_numpy(part.held[start : start + _ROWS])).numpy()
                for start in range(0, max(1, len(part.held)), _ROWS)
            ]
        yield Trained(np.concatenate(logits), partial(_state, part, settings))


def _head(state: State) -> Neighbours:
    head = build_head("neighbours", state.config)
    if not isinstance(head, Neighbours):
        raise TypeError(f"{type(head).__name__} is no Neighbours")
    head.load_state_dict({name: torch.from_numpy(a) for name, a in state.arrays.items()})
    return head


def _state(part: Part, settings: Settings) -> State:
    vectors = part.x
    if settings["metric"] == "cosine":
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors / np.maximum(lengths, np.float32(1e-12))
    return State(
        config={
            "features": vectors.shape[1],
            "classes": part.classes,
            "vectors": len(vectors),
            "neighbours": min(settings["neighbours"], len(vectors)),
            "metric": settings["metric"],
            "votes": settings["votes"],
        },
        arrays={
            "mean": np.asarray(part.scaler.mean_, np.float32),
            "scale": np.asarray(part.scaler.scale_, np.float32),
            "vectors": vectors,
            "labels": part.labels.astype(np.int64),
        },
    )
