"""What a network is asked: inputs as it takes them, which of its outputs, as which score."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from convscope.errors import InputError
from convscope.explain.result import OF, Of

Target = int | Sequence[int] | Sequence[Sequence[int]] | np.ndarray | Tensor | None
# Inputs that pass through the network at a time, where the caller does not say.
_BATCH = 32


class _Unusable(InputError):
    """The network takes the images, but what it gives cannot be explained."""


@dataclass(frozen=True)
class Question:
    """Inputs and what is asked of each.

    Attributes
    ----------
    images : Tensor
        ``(n, channels, *space)``, on the network's device and of its floating type; a copy.
    targets : Tensor
        int64 ``(n, t)``, on the same device.
    scores : Tensor
        ``(n, t)``: of the unchanged inputs.
    outputs : Tensor
        ``(n, classes)``: logits of the unchanged inputs.
    lead : tuple of int
        The leading shape that the caller expects: see ``Explanation``.
    of : str
    """

    images: Tensor
    targets: Tensor
    scores: Tensor
    outputs: Tensor
    lead: tuple[int, ...]
    of: Of

    @property
    def space(self) -> tuple[int, ...]:
        """Height and width, or length, of the input."""
        return tuple(self.images.shape[2:])

    def shaped(self, values: Tensor | np.ndarray) -> np.ndarray:
        """Values ``(n, t, ...)`` with the caller's leading shape, as an array."""
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        return array.reshape((*self.lead, *array.shape[2:]))


@contextmanager
def left_as_found(model: nn.Module, seed: int | None = None) -> Iterator[None]:
    """Evaluation mode for as long as the context is open; afterwards all is as it was before.

    Mode of every module, gradients of the parameters and whether they are wanted, buffers, the
    caller's hooks, random numbers (seeded within the context, where a seed is given).
    """
    modes = [(module, module.training) for module in model.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    buffers = [(buffer, buffer._version, buffer.clone()) for buffer in model.buffers()]
    device = device_of(model)
    devices = [device] if device.type == "cuda" else []
    try:
        model.eval()
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        # Within the caller's inference mode no gradient could be taken.
        with torch.inference_mode(False), torch.random.fork_rng(devices=devices):
            if seed is not None:
                torch.manual_seed(seed)
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, wants in wanted:
            parameter.requires_grad_(wants)
        for buffer, version, values in buffers:
            if buffer._version != version:
                buffer.copy_(values)


def device_of(model: nn.Module) -> torch.device:
    """Where the network's first parameter or buffer lies; the CPU where it has none."""
    some: Tensor | None = next(iter(model.parameters()), None)
    some = next(iter(model.buffers()), None) if some is None else some
    return torch.device("cpu") if some is None else some.device


def dtype_of(model: nn.Module) -> torch.dtype:
    """The floating type of the network's parameters; float32 where it has none."""
    kinds = (p.dtype for p in model.parameters() if p.dtype.is_floating_point)
    return next(kinds, torch.float32)


def ask(
    model: nn.Module, images: Tensor | np.ndarray, target: Target = None, of: Of = "logit"
) -> Question:
    """Check the inputs, run them once and find out what is to be explained.

    To be called within :func:`left_as_found`.

    Parameters
    ----------
    model : nn.Module
        ``(n, channels, *space)`` -> ``(n, classes)``.
    images : Tensor or array
        ``(channels, *space)`` or ``(n, channels, *space)``, as the network takes them (normalised);
        space is height and width, or the length of a time series. Three dimensions are
        ``(channels, height, width)`` where that is what the network takes, else
        ``(n, channels, length)``.
    target : int, or several, optional
        Which output. None: the one with the highest score, of each image. One int: the same for
        all. For one image, several ints are several targets; for n images, n ints are one for each,
        and ``(n, t)`` are t for each.
    of : str
        ``logit`` or ``probability`` (after softmax).

    Raises
    ------
    InputError
        Inputs of a shape the network cannot take, with NaN or infinity, or none at all; outputs
        that are not ``(n, classes)``; targets outside the classes or of a shape that does not fit.
    """
    if of not in OF:
        raise InputError(f"of='{of}': a score is of the 'logit' or of the 'probability'.")
    given = torch.as_tensor(images).detach()
    if not given.dtype.is_floating_point:
        raise InputError(
            f"Images must be numbers with a fraction, normalised as the network takes them; "
            f"these are {str(given.dtype).removeprefix('torch.')}."
        )
    batch, outputs, single = _first_pass(model, given)
    targets, lead = _targets(outputs, target, single)
    return Question(batch, targets, scores_of(outputs, targets, of), outputs, lead, of)


def scores_of(outputs: Tensor, targets: Tensor, of: Of) -> Tensor:
    """Outputs ``(n, classes)`` and targets ``(n, t)`` to scores ``(n, t)``."""
    values = outputs if of == "logit" else outputs.softmax(1)
    return values.gather(1, targets)


def answers(model: nn.Module, images: Tensor, batch_size: int | None = None) -> Tensor:
    """Outputs ``(n, classes)`` of any number of inputs, some at a time, without gradients."""
    with torch.no_grad():
        parts = torch.split(images, batch_size or _BATCH)
        return torch.cat([_outputs_of(model(part.clone()), len(part)) for part in parts])


def _first_pass(model: nn.Module, given: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Inputs as a batch, their outputs, and whether it is one image without a batch dimension."""
    if given.ndim not in (2, 3, 4) or not given.numel():
        raise InputError(
            f"Images of shape {_words(given.shape)}: expected (channels, height, width) or "
            "(n, channels, height, width); of time series, (channels, length) or "
            "(n, channels, length); none of them 0."
        )
    bad = ~torch.isfinite(given)
    if bad.any():
        place = tuple(int(i) for i in bad.nonzero()[0])
        raise InputError(
            f"The images have NaN or infinity, first at {place}. Give finite numbers: nothing can "
            "be said of the others."
        )
    given = given.to(device_of(model), dtype_of(model))
    tries = {2: (True,), 3: (True, False), 4: (False,)}[given.ndim]
    if given.ndim == 3 and _is_one_dimensional(model):
        tries = (False,)
    errors = []
    for single in tries:
        batch = (given[None] if single else given).clone()
        try:
            return batch, answers(model, batch), single
        except _Unusable:
            raise
        except Exception as error:  # whatever a layer says of the shape
            errors.append(str(error).strip().splitlines()[0])
    raise InputError(
        f"{type(model).__name__} cannot take images of shape {_words(given.shape)}: {errors[0]}"
    )


def _is_one_dimensional(model: nn.Module) -> bool:
    kinds = (nn.Conv1d, nn.ConvTranspose1d)
    flat = (nn.Conv2d, nn.ConvTranspose2d)
    modules = list(model.modules())
    return any(isinstance(m, kinds) for m in modules) and not any(
        isinstance(m, flat) for m in modules
    )


def _outputs_of(outputs: object, count: int) -> Tensor:
    if not isinstance(outputs, Tensor):
        raise _Unusable(
            f"The network gives a {type(outputs).__name__}; explanations need one tensor "
            "(n, classes). Put a module around it that picks the one."
        )
    if outputs.ndim != 2 or len(outputs) != count:
        raise _Unusable(
            f"The network gives {_words(outputs.shape)} for {count} images; explanations need "
            "(n, classes). Put a module around it that picks or averages."
        )
    return outputs


def _targets(outputs: Tensor, target: Target, single: bool) -> tuple[Tensor, tuple[int, ...]]:
    n, classes = outputs.shape
    if target is None:
        return outputs.argmax(1, keepdim=True), () if single else (n,)
    if isinstance(target, bool):
        raise InputError("A target is the number of a class, not True or False.")
    try:
        wanted = torch.as_tensor(copy.copy(target), device=outputs.device)
    except (TypeError, ValueError) as error:
        raise InputError(f"Targets must be numbers of classes; received {target!r}.") from error
    if wanted.dtype.is_floating_point or wanted.dtype == torch.bool or not wanted.numel():
        raise InputError(f"Targets must be numbers of classes; received {target!r}.")
    wanted = wanted.long()
    outside = wanted[(wanted < 0) | (wanted >= classes)]
    if len(outside.flatten()):
        raise InputError(
            f"Target {int(outside.flatten()[0])}: the network has {classes} outputs, "
            f"0 to {classes - 1}."
        )
    shape = tuple(wanted.shape)
    if single and wanted.ndim <= 1:
        return wanted.reshape(1, -1), shape
    if not single and wanted.ndim == 0:
        return wanted.expand(n, 1).clone(), (n,)
    if not single and wanted.ndim <= 2 and len(wanted) == n:
        return wanted.reshape(n, -1), shape
    fits = "one number or several" if single else f"one number, {n} of them, or ({n}, t)"
    raise InputError(f"Targets of shape {_words(shape)} for {n} image(s): expected {fits}.")


def _words(shape: Sequence[int]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")" if math.prod(shape) or shape else "()"
