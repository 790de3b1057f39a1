"""Heads as modules: features to logits; the state dict is the whole head, as plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from convscope.errors import InputError, unknown_name

# From the simplest to the least simple: between heads that are as good, the first is taken.
HEADS = ("logistic", "linear_svm", "rbf_svm", "fcnn", "neighbours", "forest")
METRICS = ("cosine", "euclidean")
VOTES = ("uniform", "distance")

# Votes that are spread over the classes, so that none has the probability 0: half a neighbour for
# each class; one tree for all of them.
_PSEUDO_NEIGHBOURS = 0.5
_PSEUDO_TREES = 1.0
# A neighbour this near is the photo itself.
_SAME = 1e-6


class RbfMachines(nn.Module):
    """One support vector machine with a Gaussian kernel per class, against all other classes.

    The logits are the machines' decision values, of features raised to a power, their sign kept,
    and standardised; for two classes, half the one machine's value each way.

    Parameters
    ----------
    features, classes : int
    vectors : int
        Number of support vectors of all machines together.
    power : float
        Above 0, at most 1.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    vectors: torch.Tensor
    coefficients: torch.Tensor
    intercepts: torch.Tensor
    gamma: torch.Tensor

    def __init__(self, features: int, classes: int, vectors: int, power: float) -> None:
        super().__init__()
        self.power = power
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("vectors", torch.zeros(vectors, features))
        self.register_buffer("coefficients", torch.zeros(classes, vectors))
        self.register_buffer("intercepts", torch.zeros(classes))
        self.register_buffer("gamma", torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32 ``(n, features)`` -> ``(n, classes)``."""
        raised = x.sign() * x.abs() ** self.power
        z = (raised - self.mean) / self.scale
        kernel = torch.exp(-self.gamma * squared_distances(z, self.vectors))
        return kernel @ self.coefficients.T + self.intercepts


class Forest(nn.Module):
    """A random forest; its logits are the logarithm of the trees' smoothed mean probabilities.

    All trees' nodes stand in one list, leaves first. A leaf is its own left and right child, so
    that every photo takes the same number of steps.

    Parameters
    ----------
    features, classes : int
    trees, nodes, leaves : int
        Numbers of all trees together.
    depth : int
        Steps from a root to the farthest leaf.
    """

    root: torch.Tensor
    feature: torch.Tensor
    threshold: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor
    distribution: torch.Tensor

    def __init__(
        self, features: int, classes: int, trees: int, nodes: int, leaves: int, depth: int
    ) -> None:
        super().__init__()
        self.depth = depth
        self.register_buffer("root", torch.zeros(trees, dtype=torch.int32))
        self.register_buffer("feature", torch.zeros(nodes, dtype=torch.int32))
        self.register_buffer("threshold", torch.zeros(nodes))
        self.register_buffer("left", torch.zeros(nodes, dtype=torch.int32))
        self.register_buffer("right", torch.zeros(nodes, dtype=torch.int32))
        self.register_buffer("distribution", torch.full((leaves, classes), 1 / classes))

    def probabilities(self, x: torch.Tensor) -> torch.Tensor:
        """float32 ``(n, features)`` -> mean of the trees' class shares, ``(n, classes)``."""
        node = self.root.long().expand(len(x), -1)
        left, right, feature = self.left.long(), self.right.long(), self.feature.long()
        for _ in range(self.depth):
            goes_left = x.gather(1, feature[node]) <= self.threshold[node]
            node = torch.where(goes_left, left[node], right[node])
        return self.distribution[node].mean(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32 ``(n, features)`` -> ``(n, classes)``."""
        shares = self.probabilities(x)
        trees, classes = len(self.root), shares.shape[1]
        smoothed = shares * trees + _PSEUDO_TREES / classes
        return torch.log(smoothed / (trees + _PSEUDO_TREES))


class Neighbours(nn.Module):
    """The k nearest training photos vote; logits are the logarithm of the smoothed vote shares.

    Distances are of standardised features. ``cosine`` is 1 minus the cosine. Votes weigh the same,
    or as the inverse of the distance.

    Parameters
    ----------
    features, classes : int
    vectors : int
        Number of training photos.
    neighbours : int
        At most ``vectors``.
    metric : str
        One of ``METRICS``.
    votes : str
        One of ``VOTES``.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    vectors: torch.Tensor
    labels: torch.Tensor

    def __init__(
        self, features: int, classes: int, vectors: int, neighbours: int, metric: str, votes: str
    ) -> None:
        super().__init__()
        self.classes, self.neighbours = classes, neighbours
        self.metric, self.votes = metric, votes
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("vectors", torch.zeros(vectors, features))
        self.register_buffer("labels", torch.zeros(vectors, dtype=torch.int64))

    def shares(self, x: torch.Tensor) -> torch.Tensor:
        """float32 ``(n, features)`` -> each class' share of the votes, ``(n, classes)``."""
        z = (x - self.mean) / self.scale
        if self.metric == "cosine":
            z = nn.functional.normalize(z, dim=1)
        squared, nearest = squared_distances(z, self.vectors).topk(
            self.neighbours, dim=1, largest=False
        )
        # Of unit vectors, the squared distance is twice 1 minus the cosine.
        distances = squared / 2 if self.metric == "cosine" else squared.sqrt()
        uniform = self.votes == "uniform"
        weights = torch.ones_like(distances) if uniform else 1 / distances.clamp_min(_SAME)
        weights = weights / weights.sum(1, keepdim=True)
        shares = torch.zeros(len(x), self.classes, dtype=x.dtype, device=x.device)
        return shares.scatter_add(1, self.labels[nearest], weights)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32 ``(n, features)`` -> ``(n, classes)``."""
        votes = self.shares(x) * self.neighbours + _PSEUDO_NEIGHBOURS
        return torch.log(votes / (self.neighbours + _PSEUDO_NEIGHBOURS * self.classes))


def squared_distances(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Euclidean, of each row of ``(n, f)`` and each of ``(m, f)``: ``(n, m)``, none below 0."""
    lengths = (a * a).sum(1, keepdim=True) + (b * b).sum(1)
    return torch.addmm(lengths, a, b.T, alpha=-2).clamp_min(0)


def fully_connected(
    features: int, classes: int, hidden: Sequence[int], dropout: float
) -> nn.Sequential:
    """Linear layers with ReLU and dropout between them."""
    widths = (features, *hidden)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))


def build_head(kind: str, config: Mapping[str, Any]) -> nn.Module:
    """An empty head, for ``load_state_dict`` to fill.

    Parameters
    ----------
    kind : str
        One of ``HEADS``.
    config : mapping
        As a :class:`~convscope.transfer.heads.choosing.FittedHead` has it, or as read from JSON.

    Returns
    -------
    nn.Module
        float32 features ``(n, features)`` -> logits ``(n, classes)``; in evaluation mode.

    Raises
    ------
    InputError
        The kind is unknown, or the configuration is not one of this kind.
    """
    if kind not in HEADS:
        raise unknown_name("head", kind, HEADS)
    # What layers start from is overwritten; the caller's random numbers stay as they were.
    with torch.random.fork_rng(devices=[]):
        return _BUILDERS[kind](_Config(kind, config)).eval()


class _Config:
    """Values of a configuration, checked."""

    def __init__(self, kind: str, values: Mapping[str, Any]) -> None:
        self.kind = kind
        self.values = values

    def number(self, name: str, least: int = 1) -> int:
        value = self.values.get(name)
        if not _is_number(value, least):
            raise self._wrong(name, f"an integer of at least {least}")
        return int(value)  # type: ignore[arg-type]

    def numbers(self, name: str) -> tuple[int, ...]:
        values = self.values.get(name)
        if not isinstance(values, list | tuple) or not all(_is_number(v, 1) for v in values):
            raise self._wrong(name, "a list of integers of at least 1")
        return tuple(values)

    def share(self, name: str) -> float:
        value = self.values.get(name)
        if not isinstance(value, int | float) or not 0 <= value < 1:
            raise self._wrong(name, "a number from 0 to below 1")
        return float(value)

    def power(self, name: str) -> float:
        value = self.values.get(name)
        if not isinstance(value, int | float) or not 0 < value <= 1:
            raise self._wrong(name, "a number above 0 and at most 1")
        return float(value)

    def one_of(self, name: str, allowed: Sequence[str]) -> str:
        value = self.values.get(name)
        if value not in allowed:
            raise self._wrong(name, f"one of {', '.join(allowed)}")
        return str(value)

    def _wrong(self, name: str, allowed: str) -> InputError:
        got = repr(self.values[name]) if name in self.values else "nothing"
        return InputError(
            f"The configuration of this {self.kind} head is damaged: '{name}' must be {allowed}, "
            f"and is {got}. Fit the head anew."
        )


def _is_number(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _linear(config: _Config) -> nn.Module:
    return nn.Linear(config.number("features"), config.number("classes"))


def _rbf(config: _Config) -> nn.Module:
    return RbfMachines(
        config.number("features"),
        config.number("classes"),
        config.number("vectors"),
        config.power("power"),
    )


def _fcnn(config: _Config) -> nn.Module:
    return fully_connected(
        config.number("features"),
        config.number("classes"),
        config.numbers("hidden"),
        config.share("dropout"),
    )


def _neighbours(config: _Config) -> nn.Module:
    return Neighbours(
        config.number("features"),
        config.number("classes"),
        config.number("vectors"),
        config.number("neighbours"),
        config.one_of("metric", METRICS),
        config.one_of("votes", VOTES),
    )


def _forest(config: _Config) -> nn.Module:
    return Forest(
        config.number("features"),
        config.number("classes"),
        config.number("trees"),
        config.number("nodes"),
        config.number("leaves"),
        config.number("depth", least=0),
    )


_BUILDERS: dict[str, Callable[[_Config], nn.Module]] = {
    "logistic": _linear,
    "linear_svm": _linear,
    "rbf_svm": _rbf,
    "fcnn": _fcnn,
    "neighbours": _neighbours,
    "forest": _forest,
}
