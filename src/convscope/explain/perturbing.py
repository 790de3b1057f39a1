"""LIME: which super-pixels a simple model needs to imitate the network near one image.

Ribeiro, Singh & Guestrin 2016 (arXiv 1602.04938).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from convscope.errors import InputError, unknown_name
from convscope.explain.asking import Question, Target, ask, left_as_found, scores_of
from convscope.explain.fills import FILLS, filled
from convscope.explain.forward import PRECISIONS, Forward, Precision, fast_forward
from convscope.explain.gradients import require_count
from convscope.explain.result import Explanation, Of
from convscope.explain.segments import COUNT, given_segments, superpixels
from convscope.explain.surrogate import (
    SURROGATES,
    Fit,
    chance,
    closeness,
    fit_surrogate,
    rank_correlation,
)
from convscope.progress import Progress

# Samples between two looks at whether it is stable.
_CHUNK = 50
# Stable: so many looks in a row agree on the pieces that matter most,
_LOOKS, _TOP = 4, 5
# the halves of the samples agree on the order of the pieces, there are enough samples for each,
_AGREE, _PER_PIECE = 0.8, 4
# and pieces without influence would hardly explain as much. (Without that, of 40 runs on a network
# that answers with noise, 32 with two pieces were called stable: two lists of two agree easily.)
_CHANCE = 1e-3

Fill = str | float | Sequence[float]


def lime(
    model: nn.Module,
    images: Tensor | np.ndarray,
    target: Target = None,
    *,
    of: Of = "probability",
    segments: str | np.ndarray = "slic",
    count: int = COUNT,
    surrogate: str = "ridge",
    features: int = 10,
    samples: int = 1000,
    stop_early: bool = True,
    fill: Fill = "mean",
    kernel_width: float = 0.25,
    precision: Precision = "exact",
    batch_size: int = 32,
    seed: int = 0,
    progress: Progress | None = None,
) -> Explanation:
    """Show random halves of the super-pixels, and find which of them the score rests on.

    Parameters
    ----------
    model, images, target, of
        See :func:`~convscope.explain.asking.ask`.
    segments : str or numpy.ndarray
        How super-pixels are cut, see :func:`~convscope.explain.segments.superpixels`; or int labels
        ``space`` or ``(n, *space)``.
    count : int
        About how many super-pixels.
    surrogate : str
        ``ridge``, ``lasso`` or ``forest``, see :func:`~convscope.explain.surrogate.fit_surrogate`.
    features : int
        Super-pixels that ``lasso`` may use.
    samples : int
        At most; the first is the whole image.
    stop_early : bool
        End as soon as the result is stable: the five super-pixels of most weight are the same in
        four looks in a row, 50 samples apart; the two halves of the samples agree on the order of
        all (rank correlation 0.8); there are four samples for each super-pixel; and together they
        explain more than chance would (F test, p < 0.001).
    fill : str, float or several
        What stands where a super-pixel is off: its ``mean`` colour, the image's ``blur``, one
        number (0 is the mean colour of normalised inputs), or a colour, one number per channel.
    kernel_width : float
        How fast samples count less the more of the image they hide.
    precision : str
        ``exact`` (the network's own type) or ``fast``: bfloat16 where the CPU gains by it. That is
        measured each time, so on a busy machine it may be the one or the other; ``computed_in``
        says which.
    batch_size : int
        Samples at a time; it has no influence on the result.
    seed : int
        Decides super-pixels, samples and forest; the samples of an image do not depend on others.
    progress : Progress, optional

    Returns
    -------
    Explanation
        Signed: every pixel has the weight of its super-pixel. ``details``: ``segments``
        ``(..., *space)``; ``weights``, lists nested like ``target`` of arrays, one weight per
        super-pixel; ``r2``, how well the simple model imitates the network; ``stability``, rank
        correlation of ridge weights from the two halves of the samples (of two or three
        super-pixels it says little); ``intercept``; ``whole``,
        what the simple model says of the unchanged image; ``samples``, used; ``computed_in``, the
        type.

    Raises
    ------
    InputError
        As :func:`~convscope.explain.asking.ask`; an option is none; an image is one super-pixel.
    """
    _check(surrogate, features, samples, fill, kernel_width, batch_size, precision)
    started = time.perf_counter()
    with left_as_found(model, seed):
        question = ask(model, images, target, of)
        labels = _segments(segments, question, count, seed)
        forward = fast_forward(model, question.images, question.outputs, precision)
        n = len(question.images)
        with (progress or Progress()).task("LIME", n * samples, "samples") as advance:
            results = [
                _one(
                    _Material(question, place, labels[place], fill),
                    forward, surrogate, features, samples, stop_early, kernel_width, batch_size,
                    seed, advance,
                )
                for place in range(n)
            ]  # fmt: skip
    maps = np.stack(
        [
            np.stack([fit.weights[labels[place]] for fit in result.fits])
            for place, result in enumerate(results)
        ]
    )
    t = question.targets.shape[1]
    return Explanation(
        map=question.shaped(maps.astype(np.float32)),
        signed=True,
        target=question.shaped(question.targets),
        score=question.shaped(question.scores.double()),
        of=of,
        method="lime",
        parameters={
            "segments": segments if isinstance(segments, str) else "given",
            "count": count, "surrogate": surrogate, "features": features, "samples": samples,
            "stop_early": stop_early,
            "fill": fill if isinstance(fill, str | float | int) else [float(x) for x in fill],
            "kernel_width": kernel_width, "precision": precision, "seed": seed,
        },
        seconds=time.perf_counter() - started,
        forwards=float(n + sum(result.samples for result in results)),
        details={
            "segments": question.shaped(np.repeat(labels[:, None], t, 1)),
            "weights": _nested([[fit.weights for fit in r.fits] for r in results], question),
            "r2": question.shaped(np.array([[fit.r2 for fit in r.fits] for r in results])),
            "stability": question.shaped(np.array([r.stability for r in results])),
            "intercept": question.shaped(
                np.array([[fit.intercept for fit in r.fits] for r in results])
            ),
            "whole": question.shaped(np.array([[fit.whole for fit in r.fits] for r in results])),
            "samples": question.shaped(np.array([[r.samples] * t for r in results])),
            "computed_in": str(forward.given).removeprefix("torch."),
        },
    )  # fmt: skip


@dataclass(frozen=True)
class _Result:
    fits: list[Fit]  # one per target
    stability: list[float]
    samples: int


class _Material:
    """One image, its super-pixels, and what is shown instead of them."""

    def __init__(self, question: Question, place: int, labels: np.ndarray, fill: Fill) -> None:
        self.image = question.images[place]
        self.targets = question.targets[place]
        self.of = question.of
        self.labels = torch.from_numpy(labels).to(self.image.device)
        self.count = int(labels.max()) + 1
        self.fill = _filled(self.image, self.labels, self.count, fill)

    def shown(self, masks: np.ndarray) -> Tensor:
        """Samples ``(b, channels, *space)``: each super-pixel as it is, or filled."""
        row = torch.from_numpy(masks).to(self.image.device, torch.bool)
        return torch.where(row[:, self.labels][:, None], self.image, self.fill)


def _one(
    material: _Material,
    forward: Forward,
    surrogate: str,
    features: int,
    samples: int,
    stop_early: bool,
    width: float,
    batch_size: int,
    seed: int,
    advance: Callable[[int], None],
) -> _Result:
    masks = np.random.default_rng(seed).integers(0, 2, (samples, material.count), np.uint8)
    masks[0] = 1
    near = closeness(masks, width)
    scores = np.zeros((samples, len(material.targets)))
    tops: list[list[frozenset[int]]] = []
    done = 0
    while done < samples:
        end = min(samples, done + _CHUNK)
        for begin in range(done, end, batch_size):
            rows = slice(begin, min(begin + batch_size, end))
            outputs = forward(material.shown(masks[rows]))
            targets = material.targets.expand(len(outputs), -1)
            scores[rows] = scores_of(outputs.double(), targets, material.of).cpu().numpy()
            advance(rows.stop - rows.start)
        done = end
        if stop_early and done < samples:
            fits = _ridges(masks[:done], scores[:done], near[:done])
            tops.append([_top(fit.weights) for fit in fits])
            if _stable(masks[:done], scores[:done], near[:done], tops, fits):
                advance(samples - done)
                break
    used = slice(0, done)
    fits = [
        fit_surrogate(surrogate, masks[used].astype(float), column, near[used], features, seed)
        for column in scores[used].T
    ]
    return _Result(fits, _halves(masks[used], scores[used], near[used]), done)


def _top(weights: np.ndarray) -> frozenset[int]:
    """The super-pixels of most weight."""
    return frozenset(np.argsort(-np.abs(weights))[:_TOP].tolist())


def _stable(
    masks: np.ndarray,
    scores: np.ndarray,
    near: np.ndarray,
    tops: list[list[frozenset[int]]],
    fits: list[Fit],
) -> bool:
    if len(tops) < _LOOKS or len(masks) < _PER_PIECE * masks.shape[1]:
        return False
    if any(look != tops[-1] for look in tops[-_LOOKS:]):
        return False
    if any(chance(fit.r2, near, masks.shape[1]) > _CHANCE for fit in fits):
        return False
    return min(_halves(masks, scores, near)) >= _AGREE


def _halves(masks: np.ndarray, scores: np.ndarray, near: np.ndarray) -> list[float]:
    """How far the weights from every other sample agree with those from the rest."""
    parts = [_ridges(masks[k::2], scores[k::2], near[k::2]) for k in range(2)]
    return [rank_correlation(a.weights, b.weights) for a, b in zip(*parts, strict=True)]


def _ridges(masks: np.ndarray, scores: np.ndarray, near: np.ndarray) -> list[Fit]:
    shown = masks.astype(float)
    return [fit_surrogate("ridge", shown, column, near, 0, 0) for column in scores.T]


def _segments(segments: str | np.ndarray, question: Question, count: int, seed: int) -> np.ndarray:
    images = question.images.float().cpu().numpy()
    if isinstance(segments, str):
        return superpixels(images, segments, count=count, seed=seed)
    return given_segments(segments, (len(images), *question.space))


def _filled(image: Tensor, labels: Tensor, count: int, fill: Fill) -> Tensor:
    """What is shown where a super-pixel is off, ``(channels, *space)``."""
    if fill == "mean":
        flat, where = image.flatten(1), labels.flatten()
        totals = torch.zeros((len(image), count), dtype=image.dtype, device=image.device)
        totals.index_add_(1, where, flat)
        means = totals / torch.bincount(where, minlength=count)
        return means[:, labels]
    if isinstance(fill, str | float | int):
        return filled(image, fill)
    if len(fill) != len(image):
        raise InputError(
            f"fill has {len(fill)} numbers; a colour is one for each of the {len(image)} channels."
        )
    colour = torch.as_tensor(fill, dtype=image.dtype, device=image.device)
    return colour.reshape(-1, *[1] * (image.ndim - 1)).expand_as(image)


def _nested(weights: list[list[np.ndarray]], question: Question) -> object:
    """One array per target, nested as ``target`` is: images have different numbers of pieces."""
    if question.lead == ():
        return weights[0][0]
    if len(question.lead) == 2:
        return [list(each) for each in weights]
    single = len(question.images) == 1 and question.targets.shape[1] == question.lead[0]
    return list(weights[0]) if single else [each[0] for each in weights]


def _check(
    surrogate: str, features: int, samples: int, fill: Fill, width: float, batch_size: int,
    precision: str,
) -> None:  # fmt: skip
    if surrogate not in SURROGATES:
        raise unknown_name("surrogate", surrogate, SURROGATES)
    if isinstance(fill, str) and fill not in FILLS:
        raise unknown_name("fill", fill, FILLS)
    if not isinstance(fill, str) and not np.isfinite(np.asarray(fill, float)).all():
        raise InputError(f"fill={fill}: it must be 'mean', 'blur', or finite numbers.")
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    if not 0 < width < float("inf"):
        raise InputError(f"kernel_width={width}: it must be above 0.")
    require_count(features, "features", 1)
    require_count(samples, "samples", 10)
    require_count(batch_size, "batch_size", 1)
