"""Whether different methods say the same of the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from convscope.errors import InputError
from convscope.explain.result import Explanation
from convscope.explain.surrogate import rank_correlation

# The pixels that a map is said to point at.
_TOP = 0.1


@dataclass(frozen=True, eq=False)
class Agreement:
    """Of two maps of the same images and targets, with their leading shape.

    Attributes
    ----------
    methods : tuple of (str, str)
    rank_correlation : numpy.ndarray
        float64 ``(...)``: Spearman's, over all pixels.
    overlap : numpy.ndarray
        float64 ``(...)``: of the tenth of the pixels with the highest values, what is common to
        both, divided by what is in one of them. Chance gives 0.05. Where pixels of the same value
        share the last places, each counts in part.
    """

    methods: tuple[str, str]
    rank_correlation: np.ndarray
    overlap: np.ndarray

    def line(self, place: int | tuple[int, ...] = ()) -> str:
        """Say it of one image: ``saliency and lime: ranks 0.31, top tenth 0.12 in common``."""
        return (
            f"{self.methods[0]} and {self.methods[1]}: ranks {self.rank_correlation[place]:.2f}, "
            f"top tenth {self.overlap[place]:.2f} in common"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "methods": list(self.methods),
            "rank_correlation": self.rank_correlation.tolist(),
            "overlap": self.overlap.tolist(),
        }


def agreement(explanations: Sequence[Explanation]) -> tuple[Agreement, ...]:
    """Compare every pair.

    Parameters
    ----------
    explanations : sequence of Explanation
        Two or more, of the same images and targets.

    Raises
    ------
    InputError
        There are fewer than two; or they are of other images or targets.
    """
    if len(explanations) < 2:
        raise InputError("Agreement needs two explanations or more.")
    first = explanations[0]
    for other in explanations[1:]:
        if other.map.shape != first.map.shape or not np.array_equal(other.target, first.target):
            raise InputError(
                f"{first.method} and {other.method} explain other images or targets "
                f"({first.map.shape} and {other.map.shape}): nothing can be compared."
            )
    return tuple(_pair(a, b) for a, b in combinations(explanations, 2))


def _pair(a: Explanation, b: Explanation) -> Agreement:
    lead = a.target.shape
    x, y = (each.map.reshape(-1, *each.map.shape[len(lead) :]) for each in (a, b))
    ranks = [rank_correlation(one.ravel(), other.ravel()) for one, other in zip(x, y, strict=True)]
    overlaps = [_overlap(one.ravel(), other.ravel()) for one, other in zip(x, y, strict=True)]
    return Agreement((a.method, b.method), np.reshape(ranks, lead), np.reshape(overlaps, lead))


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    top_a, top_b = _top(a), _top(b)
    return float(np.minimum(top_a, top_b).sum() / np.maximum(top_a, top_b).sum())


def _top(values: np.ndarray) -> np.ndarray:
    """How far each pixel is among the highest, 0 to 1.

    Super-pixels make many pixels the same: if the first of them in reading order were taken, two
    such maps would agree on the upper left, whatever they say.
    """
    most = max(1, round(_TOP * values.size))
    last = np.partition(values, values.size - most)[values.size - most]
    above, equal = values > last, values == last
    share: np.ndarray = above + equal * ((most - above.sum()) / equal.sum())
    return share
