"""Methods that ask which small change of the input would change the answer: gradients."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.errors import InputError
from convscope.explain.asking import (
    Question,
    Target,
    ask,
    left_as_found,
    scores_of,
    tensor_of,
)
from convscope.explain.result import Explanation, Of
from convscope.progress import Progress

# Of a gradient, against the forward pass that it belongs to.
BACKWARD = 2.0


def saliency(
    model: nn.Module,
    images: Tensor | np.ndarray,
    target: Target = None,
    *,
    of: Of = "logit",
    batch_size: int = 16,
    progress: Progress | None = None,
) -> Explanation:
    """How strongly the score answers to each pixel: absolute gradient, maximum over channels.

    Simonyan, Vedaldi & Zisserman 2014 (arXiv 1312.6034).

    Parameters
    ----------
    model, images, target, of
        See :func:`~convscope.explain.asking.ask`.
    batch_size : int
        Images at a time.
    progress : Progress, optional

    Returns
    -------
    Explanation
        Unsigned.

    Raises
    ------
    InputError
        As :func:`~convscope.explain.asking.ask`; or the network gives no gradient, or one that is
        NaN or infinite.

    Examples
    --------
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> net[1].weight.data = torch.tensor([[1.0, -2.0, 3.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    >>> saliency(net, torch.ones(1, 2, 2), target=0).map.tolist()
    [[1.0, 2.0], [3.0, 0.0]]
    """
    require_count(batch_size, "batch_size", 1)
    started = time.perf_counter()
    with left_as_found(model):
        question = ask(model, images, target, of)
        found = [
            input_gradients(model, some, targets, of).abs().amax(2)
            for some, targets in _parts(question, batch_size, "saliency", progress)
        ]
    return _explanation(
        question, torch.cat(found), "saliency", signed=False, parameters={},
        forwards=_cost(question, 1), started=started,
    )  # fmt: skip


def smoothgrad(
    model: nn.Module,
    images: Tensor | np.ndarray,
    target: Target = None,
    *,
    of: Of = "logit",
    samples: int = 25,
    noise: float = 0.15,
    batch_size: int = 16,
    seed: int = 0,
    progress: Progress | None = None,
) -> Explanation:
    """Saliency of the mean gradient over noisy copies of the input: less speckled.

    Smilkov et al. 2017 (arXiv 1706.03825).

    Parameters
    ----------
    model, images, target, of
        See :func:`~convscope.explain.asking.ask`.
    samples : int
        Noisy copies.
    noise : float
        Standard deviation of the noise, as a share of the range of values of each image.
    batch_size : int
        Copies at a time.
    seed : int
        The noise of an image does not depend on the other images.
    progress : Progress, optional

    Returns
    -------
    Explanation
        Unsigned.

    Raises
    ------
    InputError
        As :func:`saliency`.
    """
    require_count(batch_size, "batch_size", 1)
    require_count(samples, "samples", 1)
    if not 0 <= noise < float("inf"):
        raise InputError(f"noise={noise}: it is a share of the image's range, 0 or more.")
    started = time.perf_counter()
    with left_as_found(model, seed):
        question = ask(model, images, target, of)
        found = []
        for image, targets in _parts(question, 1, "smoothgrad", progress):
            generator = torch.Generator("cpu").manual_seed(seed)
            spread = noise * (image.max() - image.min())
            total = _zeros(image, targets)
            for count in _chunks(samples, batch_size):
                # On the CPU, in float32 and one by one: a seed means the same whatever machine,
                # network and batch size.
                drawn = [
                    torch.randn(
                        image.shape[1:], generator=generator, dtype=torch.float32, device="cpu"
                    )
                    for _ in range(count)
                ]
                noisy = image + spread * torch.stack(drawn).to(image)
                total += input_gradients(model, noisy, targets.expand(count, -1), of).sum(
                    0, keepdim=True
                )
            found.append((total / samples).abs().amax(2))
    return _explanation(
        question, torch.cat(found), "smoothgrad", signed=False,
        parameters={"samples": samples, "noise": noise, "seed": seed},
        forwards=_cost(question, samples), started=started,
    )  # fmt: skip


def integrated_gradients(
    model: nn.Module,
    images: Tensor | np.ndarray,
    target: Target = None,
    *,
    of: Of = "logit",
    baseline: float | Tensor | np.ndarray = 0.0,
    steps: int = 50,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> Explanation:
    """The change of score from a baseline to the image, shared out over the pixels.

    Sundararajan, Taly & Yan 2017 (arXiv 1703.01365), by Gauss-Legendre quadrature. The values of a
    map add up to the difference of scores, but for what the quadrature misses: ``delta``.

    Parameters
    ----------
    model, images, target, of
        See :func:`~convscope.explain.asking.ask`.
    baseline : float, Tensor or array
        Where the way begins: one value, ``(channels, *space)``, one for each image, or a colour
        ``(channels, 1, 1)``. Of normalised inputs, 0 is the mean colour.
    steps : int
        Points on the way.
    batch_size : int
        Points at a time.
    progress : Progress, optional

    Returns
    -------
    Explanation
        Signed: summed over channels. ``details``: ``delta`` ``(...)``, what the map's sum is more
        than the difference of scores, and ``baseline_score`` ``(...)``.

    Raises
    ------
    InputError
        As :func:`saliency`; or the baseline does not fit the images.
    """
    require_count(batch_size, "batch_size", 1)
    require_count(steps, "steps", 1)
    started = time.perf_counter()
    with left_as_found(model):
        question = ask(model, images, target, of)
        begins = _baseline(baseline, question)
        places, shares = _quadrature(steps, question.images)
        found, first = [], []
        parts = _parts(question, 1, "integrated gradients", progress)
        for (image, targets), begin in zip(parts, torch.split(begins, 1), strict=True):
            total = _zeros(image, targets)
            for place, share in zip(
                torch.split(places, batch_size), torch.split(shares, batch_size), strict=True
            ):
                on_the_way = (begin + _along(place, image) * (image - begin)).to(image.dtype)
                of_these = input_gradients(model, on_the_way, targets.expand(len(place), -1), of)
                total += torch.tensordot(share, of_these.to(total.dtype), 1)[None]
            found.append((total * (image - begin)[:, None]).sum(2))
            with torch.no_grad():
                first.append(scores_of(model(begin.clone()), targets, of))
    values, baselines = torch.cat(found), torch.cat(first)
    missing = values.flatten(2).sum(2) - (question.scores - baselines)
    return _explanation(
        question, values, "integrated_gradients", signed=True,
        parameters={"steps": steps, "baseline": baseline if isinstance(baseline, int | float)
                    else "given"},
        forwards=_cost(question, steps) + len(question.images), started=started,
        details={"delta": question.shaped(missing), "baseline_score": question.shaped(baselines)},
    )  # fmt: skip


def input_gradients(model: nn.Module, images: Tensor, targets: Tensor, of: Of) -> Tensor:
    """Gradients of scores by the input, ``(n, t, channels, *space)``.

    To be called within :func:`~convscope.explain.asking.left_as_found`.

    Parameters
    ----------
    model : nn.Module
    images : Tensor
        ``(n, channels, *space)``.
    targets : Tensor
        int64 ``(n, t)``.
    of : str

    Raises
    ------
    InputError
        The network gives no gradient, or one that is NaN or infinite.
    """
    with torch.enable_grad():
        x = images.detach().clone().requires_grad_()
        # A copy, since the first layer may write into what it is given.
        outputs = model(x.clone())
        return gradients_by(scores_of(outputs, targets, of), x)


def gradients_by(scores: Tensor, x: Tensor) -> Tensor:
    """Gradients of scores ``(n, t)`` by ``(n, ...)``: ``(n, t, ...)``.

    Raises
    ------
    InputError
        No score depends on it by a gradient; the gradient is NaN or infinite.
    """
    if not scores.requires_grad:
        raise InputError(_NO_GRADIENT)
    count = scores.shape[1]
    found = []
    for place in range(count):
        (gradient,) = torch.autograd.grad(
            scores[:, place].sum(), x, retain_graph=place < count - 1, allow_unused=True
        )
        if gradient is None:
            raise InputError(_NO_GRADIENT)
        if not torch.isfinite(gradient).all():
            raise InputError(_NOT_FINITE)
        found.append(gradient)
    return torch.stack(found, 1)


_NO_GRADIENT = (
    "This network gives no gradient: part of it decides by comparisons, as a forest does. Use "
    "occlusion or lime, which only look at its answers."
)
_NOT_FINITE = (
    "The network's gradient is NaN or infinite here. In half precision numbers may grow too large: "
    "try model.float(). Else use occlusion or lime, which only look at its answers."
)


def _parts(
    question: Question, batch_size: int, what: str, progress: Progress | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and targets, some at a time, with a bar."""
    total = len(question.images)
    with (progress or Progress()).task(what, total, "images") as advance:
        for some, targets in zip(
            torch.split(question.images, batch_size),
            torch.split(question.targets, batch_size),
            strict=True,
        ):
            yield some, targets
            advance(len(some))


def _chunks(total: int, most: int) -> Iterator[int]:
    for begun in range(0, total, most):
        yield min(most, total - begun)


def _precise(dtype: torch.dtype) -> torch.dtype:
    """What sums are taken in: float32 of half precision, else the same."""
    return torch.promote_types(dtype, torch.float32)


def _zeros(image: Tensor, targets: Tensor) -> Tensor:
    """One map per target to sum up in, ``(1, t, channels, *space)``."""
    shape = (1, targets.shape[1], *image.shape[1:])
    return torch.zeros(shape, dtype=_precise(image.dtype), device=image.device)


def _quadrature(steps: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Points between 0 and 1 and their weights, which add up to 1."""
    points, weights = np.polynomial.legendre.leggauss(steps)
    first, second = (torch.from_numpy(some / 2) for some in (points + 1, weights))
    dtype = _precise(like.dtype)
    return first.to(like.device, dtype), second.to(like.device, dtype)


def _along(place: Tensor, image: Tensor) -> Tensor:
    return place.reshape(-1, *[1] * (image.ndim - 1))


def _baseline(baseline: float | Tensor | np.ndarray, question: Question) -> Tensor:
    like = question.images
    given = tensor_of(baseline, "A baseline").to(like.device, like.dtype)
    try:
        fits = given.expand_as(like)
    except RuntimeError:
        raise InputError(
            f"A baseline of shape {tuple(given.shape)} for images of {tuple(like.shape)}: give "
            "one number, one image, or one for each image."
        ) from None
    if not torch.isfinite(given).all():
        raise InputError("The baseline has NaN or infinity.")
    return fits


def require_count(value: int, name: str, least: int) -> None:
    """Refuse what is no whole number, or too small."""
    if type(value) is not int or value < least:
        raise InputError(f"{name}={value!r}: it must be a whole number of at least {least}.")


def _cost(question: Question, samples: int) -> float:
    """The first look at each image, and then a pass and a gradient per target of each sample."""
    n, t = question.targets.shape
    return n * (1 + samples * (1 + BACKWARD * t))


def _explanation(
    question: Question,
    values: Tensor,
    method: str,
    *,
    signed: bool,
    parameters: dict[str, Any],
    forwards: float,
    started: float,
    details: dict[str, Any] | None = None,
) -> Explanation:
    return Explanation(
        map=question.shaped(values.float()),
        signed=signed,
        target=question.shaped(question.targets),
        score=question.shaped(question.scores.double()),
        of=question.of,
        method=method,
        parameters=parameters,
        seconds=time.perf_counter() - started,
        forwards=forwards,
        details=details or {},
    )
