"""What a comparison found: one frozen object, which the page, the table and the JSON show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from convscope.comparing.cells import Cell, CellResult, size_name
from convscope.comparing.ladder import RUNGS, Rung
from convscope.comparing.statistics import (
    accuracy_interval,
    difference_interval,
    holm,
    paired_test,
)


@dataclass(frozen=True)
class Score:
    """How good one rung is with so many training photos.

    Attributes
    ----------
    rung : str
        A name of :data:`~convscope.comparing.ladder.RUNGS`.
    size : str
        Training photos per class at most, or ``all``.
    photos : int
        Training photos, of all classes.
    accuracies : tuple of float
        On the test photos, one per seed.
    accuracy : float
        Their mean.
    accuracy_95 : tuple of float
        See :mod:`convscope.comparing.statistics`.
    seconds : float
        Mean time of one training.
    held_out_log_loss : float or None
        Of classifiers on features, on photos that were held out of training; not on test photos.
    settings : tuple of dict
        What training chose, one per seed.
    """

    rung: str
    size: str
    photos: int
    accuracies: tuple[float, ...]
    accuracy: float
    accuracy_95: tuple[float, float]
    seconds: float
    held_out_log_loss: float | None
    settings: tuple[Mapping[str, Any], ...]

    @property
    def title(self) -> str:
        """The rung's name for tables."""
        return RUNGS[self.rung].title


@dataclass(frozen=True)
class Step:
    """Two rungs held to the same test photos, trained on all training photos.

    Attributes
    ----------
    lower, upper : str
        Rungs.
    difference : float
        Accuracy of the upper minus that of the lower.
    difference_95 : tuple of float
    p : float
        Two-sided, that both are equally good, corrected for how many steps are tested (Holm).
    p_alone : float
        Not corrected.
    """

    lower: str
    upper: str
    difference: float
    difference_95: tuple[float, float]
    p: float
    p_alone: float

    @property
    def shown(self) -> bool:
        """Whether the difference is more than these photos would show by chance."""
        return self.p < LEVEL


LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Attributes
    ----------
    created : str
        UTC, ISO 8601.
    photos : str
        What was asked to be compared on.
    classes : tuple of str
    counts : dict
        Split -> class -> usable photos.
    split : str
        Who made it, in words.
    seeds : tuple of int
    net, weights : str or None
        The pre-trained network and where its weights came from; None without.
    majority : dict
        What always naming the commonest training class reaches: ``class`` and ``accuracy``.
    ladder : tuple of Score
        With all training photos, the lowest rung first. Classifiers on features stand in the order
        of their log loss on held-out photos, the best last.
    steps : tuple of Step
        Between neighbours of the ladder; and from the last network from scratch to the best
        classifier on features, where these are no neighbours.
    curve : tuple of Score
        All rungs with fewer photos, then with all.
    best_heads : dict
        Size -> the classifier on features with the least log loss on held-out photos.
    left_out : tuple of (str, str)
        Rungs that were not compared, and why.
    seconds : float
        Of the command that finished it.
    """

    created: str
    photos: str
    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    split: str
    seeds: tuple[int, ...]
    net: str | None
    weights: str | None
    majority: dict[str, Any]
    ladder: tuple[Score, ...]
    steps: tuple[Step, ...]
    curve: tuple[Score, ...]
    best_heads: dict[str, str]
    left_out: tuple[tuple[str, str], ...]
    seconds: float

    @property
    def test_photos(self) -> int:
        """How many photos the accuracies were measured on."""
        return sum(self.counts["test"].values())

    @property
    def sizes(self) -> tuple[str, ...]:
        """Of the curve, rising; the last is ``all``."""
        return tuple(dict.fromkeys(score.size for score in self.curve))

    def step_to(self, rung: str) -> Step | None:
        """The test of this rung against the one below it in the ladder."""
        names = [score.rung for score in self.ladder]
        place = names.index(rung)
        return self.step(names[place - 1], rung) if place else None

    def step(self, lower: str, upper: str) -> Step | None:
        """The test of these two rungs, if it was made."""
        for step in self.steps:
            if (step.lower, step.upper) == (lower, upper):
                return step
        return None

    def score(self, rung: str, size: str) -> Score:
        """One point of the curve."""
        return next(s for s in self.curve if (s.rung, s.size) == (rung, size))

    def to_dict(self) -> dict[str, Any]:
        """JSON values, as in ``compare.json``."""
        return {**asdict(self), "test_photos": self.test_photos}


def scores(
    results: Mapping[Cell, CellResult], labels: np.ndarray
) -> tuple[dict[tuple[str, str], Score], dict[tuple[str, str], np.ndarray]]:
    """Sum the cells of each rung and size up.

    Parameters
    ----------
    results : mapping
    labels : numpy.ndarray
        int ``(n,)``: classes of the test photos.

    Returns
    -------
    dict
        Rung and size -> score.
    dict
        Rung and size -> bool ``(seeds, n)``: which test photos were named rightly.
    """
    by_place: dict[tuple[str, str], list[CellResult]] = {}
    for cell, result in results.items():
        by_place.setdefault((cell.rung.name, size_name(cell.size)), []).append(result)
    found, hits = {}, {}
    for (rung, size), cells in by_place.items():
        right = np.stack([cell.probabilities.argmax(axis=1) == labels for cell in cells])
        losses = [c.held_out_log_loss for c in cells if c.held_out_log_loss is not None]
        hits[rung, size] = right
        found[rung, size] = Score(
            rung=rung,
            size=size,
            photos=cells[0].photos,
            accuracies=tuple(float(share) for share in right.mean(axis=1)),
            accuracy=float(right.mean()),
            accuracy_95=accuracy_interval(right),
            seconds=round(float(np.mean([cell.seconds for cell in cells])), 2),
            held_out_log_loss=float(np.mean(losses)) if losses else None,
            settings=tuple(cell.settings for cell in cells),
        )
    return found, hits


def ladder_order(rungs: Sequence[Rung], found: Mapping[tuple[str, str], Score]) -> list[str]:
    """Put the rungs in order, the classifiers on features by their held-out log loss."""

    def place(rung: Rung) -> tuple[int, float]:
        if rung.kind != "features":
            return (0 if rung.kind == "scratch" else 2), 0.0
        return 1, -_loss(found[rung.name, "all"])

    return [rung.name for rung in sorted(rungs, key=place)]


def best_heads(found: Mapping[tuple[str, str], Score]) -> dict[str, str]:
    """Size -> the classifier on features with the least held-out log loss."""
    best: dict[str, Score] = {}
    for score in found.values():
        if RUNGS[score.rung].kind != "features":
            continue
        if score.size not in best or _loss(score) < _loss(best[score.size]):
            best[score.size] = score
    return {size: score.rung for size, score in best.items()}


def _loss(score: Score) -> float:
    # Without a photo that could be held out nothing is known of it.
    return np.inf if score.held_out_log_loss is None else score.held_out_log_loss


def ladder_steps(
    order: Sequence[str],
    best_head: str | None,
    hits: Mapping[tuple[str, str], np.ndarray],
) -> tuple[Step, ...]:
    """Hold neighbours of the ladder against each other, with all training photos.

    Parameters
    ----------
    order : sequence of str
        The rungs, lowest first.
    best_head : str or None
        Is held against the last network from scratch, too.
    hits : mapping
        See :func:`scores`.
    """
    pairs = [(order[i], order[i + 1]) for i in range(len(order) - 1)]
    scratch = [name for name in order if RUNGS[name].kind == "scratch"]
    if scratch and best_head is not None and (scratch[-1], best_head) not in pairs:
        pairs.append((scratch[-1], best_head))
    both = [(hits[upper, "all"], hits[lower, "all"]) for lower, upper in pairs]
    alone = [paired_test(a, b) for a, b in both]
    return tuple(
        Step(
            lower=lower,
            upper=upper,
            difference=float(a.mean() - b.mean()),
            difference_95=difference_interval(a, b),
            p=p,
            p_alone=p_alone,
        )
        for (lower, upper), (a, b), p, p_alone in zip(pairs, both, holm(alone), alone, strict=True)
    )
