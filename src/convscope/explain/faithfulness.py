"""Is a map right about the network? Take away what it points at, and look at the score.

Deletion and insertion curves of Petsiuk, Das & Saenko 2018 (RISE, arXiv 1806.07421), each beside
what the same map reaches when it lies at a wrong place.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from convscope.errors import InputError, unknown_name
from convscope.explain.asking import Question, ask, left_as_found, scores_of
from convscope.explain.fills import FILLS, filled
from convscope.explain.forward import fast_forward
from convscope.explain.gradients import require_count
from convscope.explain.result import Explanation, Of
from convscope.progress import Progress

# One in twenty by chance; with fewer draws than this, nothing can be that rare.
_CHANCE = 0.05
_ENOUGH = 19
# Pixels with the same value go in blocks of this share of each side.
_CELLS = 14


@dataclass(frozen=True, eq=False)
class Curve:
    """A score while the image is taken away, or brought in, in the order of a map.

    Attributes
    ----------
    kind : str
        ``deletion``: a good map's area is small; ``insertion``: large.
    shares : numpy.ndarray
        float64 ``(steps + 1,)``: how much of the image is changed.
    scores : numpy.ndarray
        float64 ``(..., steps + 1)``, with the leading shape of the explanation.
    area : numpy.ndarray
        float64 ``(...)``: under the curve, between 0 and 1 where the score is a probability.
    random_areas : numpy.ndarray
        float64 ``(..., draws)``: of the same map, moved to random places and mirrored.
    of : str
        Which score.
    seconds : float
    forwards : float
    """

    kind: Literal["deletion", "insertion"]
    shares: np.ndarray
    scores: np.ndarray
    area: np.ndarray
    random_areas: np.ndarray
    of: Of
    seconds: float
    forwards: float

    @property
    def random(self) -> np.ndarray:
        """Mean of the random areas, ``(...)``; NaN without any."""
        if not self.random_areas.shape[-1]:
            return np.full(self.area.shape, np.nan)
        mean: np.ndarray = self.random_areas.mean(-1)
        return mean

    @property
    def p_value(self) -> np.ndarray:
        """How often chance does as well, ``(...)``: 0.05 at the least with 19 draws."""
        return self._chance(self.area, self.random_areas)

    @property
    def p_together(self) -> float:
        """How often chance does as well in the mean over all maps.

        Several maps can tell what none of them can by itself.
        """
        draws = self.random_areas.shape[-1]
        # A seed moves all maps alike, and objects lie alike, too: another draw of each goes in.
        rows = self.random_areas.reshape(-1, draws)
        means = np.stack([np.roll(row, place) for place, row in enumerate(rows)]).mean(0)
        return float(self._chance(np.asarray(self.area.mean()), means))

    def _chance(self, area: np.ndarray, random_areas: np.ndarray) -> np.ndarray:
        sign = 1 if self.kind == "deletion" else -1
        as_good = sign * random_areas <= sign * area[..., None]
        chance: np.ndarray = (1 + as_good.sum(-1)) / (1 + random_areas.shape[-1])
        return chance

    @property
    def better(self) -> np.ndarray:
        """Whether the map is better than chance, bool ``(...)``; never with under 19 draws."""
        return self.p_value <= _CHANCE + 1e-12

    @property
    def decided(self) -> bool:
        """Whether there are draws enough, 19, to say of a map that it is no better than chance."""
        enough: bool = self.random_areas.shape[-1] >= _ENOUGH
        return enough

    def line(self, place: int | tuple[int, ...] = ()) -> str:
        """Say it of one map: ``deletion 0.21 (random 0.48)``.

        Parameters
        ----------
        place : int or tuple of int
            Which map; none where there is only one.
        """
        said = f"{self.kind} {self.area[place]:.2f}"
        if self.random_areas.shape[-1]:
            said += f" (random {self.random[place]:.2f})"
            if self.decided and not self.better[place]:
                said += ": no better than random"
        return said

    def __str__(self) -> str:
        """Of one map its line; of several, their means and how many are better by themselves."""
        if not self.area.ndim:
            return self.line()
        said = f"{self.kind} {self.area.mean():.2f}"
        if self.random_areas.shape[-1]:
            said += f" (random {self.random.mean():.2f})"
        said += f", mean of {self.area.size}"
        if self.decided:
            if self.p_together > _CHANCE + 1e-12:
                said += ": no better than random"
            said += f"; better by itself: {int(self.better.sum())}"
        return said

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "kind": self.kind,
            "of": self.of,
            "shares": self.shares.tolist(),
            "scores": self.scores.tolist(),
            "area": self.area.tolist(),
            **(
                {
                    "random": self.random.tolist(),
                    "p_value": self.p_value.tolist(),
                    "better_than_random": self.better.tolist() if self.decided else None,
                }
                if self.random_areas.shape[-1]
                else {}
            ),
        }


def together(curves: Sequence[Curve]) -> Curve:
    """The curves of one map each as one result, which can tell more than any of them.

    Parameters
    ----------
    curves : sequence of Curve
        One or more, of the same kind, steps and draws.
    """
    return replace(
        curves[0],
        scores=np.stack([each.scores for each in curves]),
        area=np.stack([each.area for each in curves]),
        random_areas=np.stack([each.random_areas for each in curves]),
        seconds=sum(each.seconds for each in curves),
        forwards=sum(each.forwards for each in curves),
    )


def deletion(
    model: nn.Module,
    images: Tensor | np.ndarray,
    explanation: Explanation,
    *,
    of: Of = "probability",
    steps: int = 10,
    fill: str | float = "mean",
    draws: int = 19,
    batch_size: int = 32,
    seed: int = 0,
    progress: Progress | None = None,
) -> Curve:
    """Take pixels away, those with the highest values of the map first.

    Chance is the same map, shifted to a random place (what leaves at one side comes in at the
    other) and mirrored at random: as smooth and as coarse as the map itself, so that it takes away
    pieces of the same size. Single pixels at random would not be a fair rival: they make noise that
    networks never see, and break them at once.

    A map that passes lies at the right place, and need not know the network: a blob in the middle
    passes where the object is in the middle. ``randomisation`` asks that. And one photo tells
    little: of a coarse map that covers half of it, many draws lie well, too. ``p_together`` of
    several photos tells more.

    Parameters
    ----------
    model : nn.Module
    images : Tensor or array
        Those that were explained.
    explanation : Explanation
        Of these images.
    of : str
        The score that is watched, whatever the map was made of.
    steps : int
        The image goes in so many equal parts.
    fill : str or float
        What is shown instead: the image's ``mean`` colour, its ``blur``, or one number.
    draws : int
        Random maps; 0 for none. It takes 19 to tell at 5 %: with fewer, their mean is given and no
        verdict.
    batch_size : int
        Altered images at a time, of whatever image and target.
    seed : int
        Of the draws, and of the order of pixels with the same value: they go in blocks, since
        single pixels at random would break the network by themselves.
    progress : Progress, optional

    Raises
    ------
    InputError
        The images are not those of the explanation; the map has NaN or infinity; an option is
        none.
    """
    return _curve(
        "deletion", model, images, explanation, of, steps, fill, draws, batch_size, seed, progress
    )


def insertion(
    model: nn.Module,
    images: Tensor | np.ndarray,
    explanation: Explanation,
    *,
    of: Of = "probability",
    steps: int = 10,
    fill: str | float = "blur",
    draws: int = 19,
    batch_size: int = 32,
    seed: int = 0,
    progress: Progress | None = None,
) -> Curve:
    """Bring pixels in, those with the highest values of the map first; see :func:`deletion`.

    Parameters
    ----------
    model, images, explanation, of, steps, draws, batch_size, seed, progress
        See :func:`deletion`.
    fill : str or float
        What is shown at first.

    Raises
    ------
    InputError
        As :func:`deletion`.
    """
    return _curve(
        "insertion", model, images, explanation, of, steps, fill, draws, batch_size, seed, progress
    )


def _curve(
    kind: Literal["deletion", "insertion"],
    model: nn.Module,
    images: Tensor | np.ndarray,
    explanation: Explanation,
    of: Of,
    steps: int,
    fill: str | float,
    draws: int,
    batch_size: int,
    seed: int,
    progress: Progress | None,
) -> Curve:
    _check(steps, fill, draws, batch_size)
    started = time.perf_counter()
    with left_as_found(model, seed):
        question = ask(model, images, explanation.target, of)
        n, t = question.targets.shape
        _check_fits(explanation, question)
        maps = explanation.map.reshape(n, t, *question.space)
        forward = fast_forward(model, question.images, question.outputs)
        scores = np.empty((n, t, 1 + draws, steps + 1))
        passes = n * (2 + t * (1 + draws) * (steps - 1))
        altered = _altered(kind, question, maps, steps, fill, draws, seed)
        with (progress or Progress()).task(kind, passes, "images") as advance:
            while some := list(islice(altered, batch_size)):
                outputs = forward(torch.stack([each.image for each in some])).double()
                targets = question.targets[[each.place for each in some]]
                values = scores_of(outputs, targets, of).cpu().numpy()
                for each, of_targets in zip(some, values, strict=True):
                    if each.target is None:
                        scores[each.place, :, :, each.step] = of_targets[:, None]
                    else:
                        found = of_targets[each.target]
                        scores[each.place, each.target, each.order, each.step] = found
                advance(len(some))
    areas = np.asarray(np.trapezoid(scores, dx=1 / steps, axis=-1))
    return Curve(
        kind=kind,
        shares=np.linspace(0, 1, steps + 1),
        scores=question.shaped(scores[:, :, 0]),
        area=question.shaped(areas[..., 0]),
        random_areas=question.shaped(areas[..., 1:]),
        of=of,
        seconds=time.perf_counter() - started,
        forwards=float(n + passes),
    )


@dataclass(frozen=True, eq=False)
class _Altered:
    """An image with part of it changed: of which image, target and order, and how far along it."""

    place: int
    target: int | None  # None: an end of the curve, the same for all targets and orders
    order: int
    step: int
    image: Tensor


def _altered(
    kind: str,
    question: Question,
    maps: np.ndarray,
    steps: int,
    fill: str | float,
    draws: int,
    seed: int,
) -> Iterator[_Altered]:
    """All that the network has to look at, made one by one: any number needs no more memory."""
    for place, image in enumerate(question.images):
        before, after = image, filled(image, fill)
        if kind == "insertion":
            before, after = after, before
        yield _Altered(place, None, 0, 0, before)
        yield _Altered(place, None, 0, steps, after)
        for target, values in enumerate(maps[place]):
            # The draws of an image depend neither on other images nor on other targets.
            for order, turns in enumerate(_orders(values, draws, seed)):
                ranks = torch.from_numpy(turns).to(image.device)
                for step in range(1, steps):
                    changed = ranks < round(step * values.size / steps)
                    mixed = torch.where(changed, after, before)
                    yield _Altered(place, target, order, step, mixed)


def _orders(values: np.ndarray, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Each pixel's turn, int64 like the map: of the map itself, and of the map elsewhere."""
    rng = np.random.default_rng(seed)
    yield _turns(values, rng)
    for _ in range(draws):
        yield _turns(_elsewhere(values, rng), rng)


def _elsewhere(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    moved = values
    for axis, size in enumerate(values.shape):
        moved = np.roll(moved, int(rng.integers(size)), axis)
        if rng.integers(2):
            moved = np.flip(moved, axis)
    return moved


def _turns(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """0 for the highest value; of those with the same value, one block after the other."""
    cells = [np.arange(size) * min(_CELLS, size) // size for size in values.shape]
    blocks = rng.random([each[-1] + 1 for each in cells])[np.ix_(*cells)]
    flat = values.ravel()
    order = np.lexsort((blocks.ravel(), -flat))
    turns = np.empty(flat.size, np.int64)
    turns[order] = np.arange(flat.size)
    return turns.reshape(values.shape)


def _check(steps: int, fill: str | float, draws: int, batch_size: int) -> None:
    require_count(steps, "steps", 2)
    require_count(draws, "draws", 0)
    require_count(batch_size, "batch_size", 1)
    if isinstance(fill, str) and fill not in FILLS:
        raise unknown_name("fill", fill, FILLS)
    if not isinstance(fill, str) and not np.isfinite(fill):
        raise InputError(f"fill={fill}: it must be a finite number, 'mean' or 'blur'.")


def _check_fits(explanation: Explanation, question: Question) -> None:
    wanted = (*question.lead, *question.space)
    if explanation.map.shape != wanted:
        raise InputError(
            f"The explanation's map is {explanation.map.shape}, for these images it would be "
            f"{wanted}. Give the images that were explained."
        )
    if not np.isfinite(explanation.map).all():
        raise InputError(
            f"The map of {explanation.method} has NaN or infinity: its pixels have no order."
        )
