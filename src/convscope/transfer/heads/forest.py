"""The random forest, its trees laid out as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier

from convscope.transfer.heads.modules import build_head
from convscope.transfer.heads.parts import Part, Settings, State, Trained

TREES = 300
# Features looked at for each cut, as a multiple of the square root of all.
GRID: tuple[Settings, ...] = (
    {"trees": TREES, "features_per_cut": 1.0},
    {"trees": TREES, "features_per_cut": 2.0},
)
DEFAULT: Settings = GRID[0]


def forest_path(part: Part, grid: Sequence[Settings], seed: int) -> Iterator[Trained]:
    """Random forests on the features as they are; trees do not mind their scale.

    Parameters
    ----------
    part : Part
    grid : sequence of mapping
        Each with ``trees`` and ``features_per_cut``.
    seed : int
    """
    features = part.features.shape[1]
    for settings in grid:
        cut = max(1, min(features, round(settings["features_per_cut"] * features**0.5)))
        forest = RandomForestClassifier(
            settings["trees"], max_features=cut, random_state=seed, n_jobs=-1
        ).fit(part.features, part.labels)
        state = forest_state(forest)
        yield Trained(_logits(state, part.held), partial(_same, state))


def _same(state: State) -> State:
    return state


def _logits(state: State, features: np.ndarray) -> np.ndarray:
    head = build_head("forest", state.config)
    head.load_state_dict({name: torch.from_numpy(a) for name, a in state.arrays.items()})
    with torch.inference_mode():
        return np.concatenate(
            [head(torch.from_numpy(some)).numpy() for some in _few_at_a_time(features)]
        )


def _few_at_a_time(features: np.ndarray, few: int = 512) -> Iterator[np.ndarray]:
    for start in range(0, max(1, len(features)), few):
        yield np.ascontiguousarray(features[start : start + few])


def forest_state(forest: RandomForestClassifier) -> State:
    """A fitted scikit-learn forest as arrays, leaves first.

    Parameters
    ----------
    forest : RandomForestClassifier
        Of classes 0, 1, 2...
    """
    trees = [estimator.tree_ for estimator in forest.estimators_]
    sizes = [tree.node_count for tree in trees]
    starts = np.cumsum([0, *sizes[:-1]])

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(tree, name) for tree in trees])

    left, right = joined("children_left"), joined("children_right")
    leaf = left < 0
    here = np.arange(len(leaf))
    shift = np.repeat(starts, sizes)
    left, right = np.where(leaf, here, left + shift), np.where(leaf, here, right + shift)
    order = np.argsort(~leaf, kind="stable")
    place = np.empty_like(here)
    place[order] = here
    shares = joined("value")[:, 0][leaf]
    return State(
        config={
            "features": int(forest.n_features_in_),
            "classes": len(forest.classes_),
            "trees": len(trees),
            "nodes": len(leaf),
            "leaves": int(leaf.sum()),
            "depth": int(max(tree.max_depth for tree in trees)),
        },
        arrays={
            "root": place[starts].astype(np.int32),
            "feature": np.where(leaf, 0, joined("feature"))[order].astype(np.int32),
            "threshold": _float32_below(np.where(leaf, 0, joined("threshold"))[order]),
            "left": place[left][order].astype(np.int32),
            "right": place[right][order].astype(np.int32),
            "distribution": (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32),
        },
    )


def _float32_below(values: np.ndarray) -> np.ndarray:
    """The nearest float32 that is not above: features, float32, fall on the same side of it."""
    near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)
