"""What every method of explanation gives: :class:`Explanation`."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

# What is explained: the number before softmax, or the share after it.
Of = Literal["logit", "probability"]
OF: tuple[Of, ...] = ("logit", "probability")


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where the inputs lie that an answer rests on.

    The leading dimensions of ``map``, ``target`` and ``score`` are the same: none for one image and
    one target, ``(n,)`` for n images, ``(n, t)`` for t targets of each, ``(t,)`` for t targets of
    one image.

    Attributes
    ----------
    map : numpy.ndarray
        float32 ``(..., height, width)``, or ``(..., length)`` of a time series: as large as the
        input. Higher speaks more for the target.
    signed : bool
        Whether values below 0 speak against the target; else none is below 0, and they say only
        how much.
    target : numpy.ndarray
        int64 ``(...)``: which output was explained.
    score : numpy.ndarray
        float64 ``(...)``: that output, of the unchanged input.
    of : str
        ``logit``: the output as it is; ``probability``: after softmax.
    method : str
    parameters : mapping
        All that it was called with; JSON values.
    seconds : float
    forwards : float
        Passes of one input through the network that this took: those that were computed in part
        count by their share of the multiply-adds; a backward pass counts for two.
    details : mapping
        What else the method found, by name: ``segments``, ``weights``, ``r2`` of LIME, for example;
        arrays or JSON values.
    """

    map: np.ndarray
    signed: bool
    target: np.ndarray
    score: np.ndarray
    of: Of
    method: str
    parameters: Mapping[str, Any]
    seconds: float
    forwards: float
    details: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many there are along the first leading dimension.

        Raises
        ------
        TypeError
            If it is of one image and one target.
        """
        if not self.target.ndim:
            raise TypeError("This explanation is of one image and one target: it has no length.")
        return len(self.target)

    def __getitem__(self, place: int) -> Explanation:
        """The explanation of one image (or, of one image, of one target).

        ``details`` that have an entry for each are taken apart likewise: arrays with the leading
        dimensions of ``target``, and lists of as many entries. Tuples belong to all.
        """
        count = len(self)
        try:
            place = operator.index(place)
        except TypeError:
            raise TypeError(f"Give the number of one explanation, not {place!r}.") from None
        if not -count <= place < count:
            raise IndexError(f"There are {count} explanations; {place} is not among them.")
        details = {
            name: value[place] if self._for_each(value) else value
            for name, value in self.details.items()
        }
        return replace(
            self, map=self.map[place], target=self.target[place], score=self.score[place],
            seconds=self.seconds / count, forwards=self.forwards / count, details=details,
        )  # fmt: skip

    def _for_each(self, value: object) -> bool:
        if isinstance(value, np.ndarray):
            return bool(value.shape[: self.target.ndim] == self.target.shape)
        return isinstance(value, list) and len(value) == len(self)
