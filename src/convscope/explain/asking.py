"""What a network is asked: inputs as it takes them, which of its outputs, as which score."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from convscope.errors import InputError
from convscope.explain.result import OF, Of

Target = int | Sequence[int] | Sequence[Sequence[int]] | np.ndarray | Tensor | None
# Inputs that pass through the network at a time, where the caller does not say.
_BATCH = 32
# Of what a message quotes; more is cut off.
_LONGEST = 80


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
        if isinstance(values, Tensor):
            values = values.detach().cpu()
            # NumPy has no bfloat16.
            values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
        return values.reshape((*self.lead, *values.shape[2:]))


@contextmanager
def left_as_found(model: nn.Module, seed: int | None = None) -> Iterator[None]:
    """Evaluation mode for as long as the context is open; afterwards all is as it was before.

    Mode of every module, gradients of the parameters and whether they are wanted, buffers, the
    caller's hooks, random numbers (seeded within the context, where a seed is given). The caller's
    inference mode and autocast do not reach in: the answer is the same wherever it is asked for.

    Raises
    ------
    InputError
        It is no module, or has lazy layers that have not seen an input.
    """
    if not isinstance(model, nn.Module):
        raise InputError(
            f"The network must be a torch.nn.Module; this is {type(model).__name__}. A function "
            "can be put into a module's forward."
        )
    if any(is_lazy(one) for one in itertools.chain(model.parameters(), model.buffers())):
        raise InputError(
            f"{type(model).__name__} has lazy layers that have not seen an input yet. Run it once "
            "on an input first."
        )
    device = device_of(model)
    # Within the caller's inference mode no gradient could be taken.
    with torch.inference_mode(False), _without_autocast(device), _same_tensors(model):
        modes = [(module, module.training) for module in model.modules()]
        wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        buffers = [(buffer, buffer._version, buffer.clone()) for buffer in model.buffers()]
        try:
            model.eval()
            for parameter, _ in wanted:
                parameter.requires_grad_(False)
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                if seed is not None:
                    _seed(seed, device)
                yield
        finally:
            for module, mode in modes:
                module.training = mode
            for parameter, wants in wanted:
                parameter.requires_grad_(wants)
            with torch.no_grad():
                for buffer, version, values in buffers:
                    if buffer._version != version:
                        buffer.copy_(values)


@contextmanager
def _without_autocast(device: torch.device) -> Iterator[None]:
    if not torch.amp.is_autocast_available(device.type):
        yield
        return
    with torch.autocast(device.type, enabled=False):
        yield


@contextmanager
def _same_tensors(model: nn.Module) -> Iterator[None]:
    """Every module has its own buffers again, also where it made new ones.

    Parameters and buffers that were made in inference mode have stand-ins meanwhile: no gradient
    goes through them.
    """
    # A scripted module has no such tables, and makes no new tensors.
    modules = [m for m in model.modules() if not isinstance(m, torch.jit.ScriptModule)]
    buffers = [(m._buffers, dict(m._buffers)) for m in modules]
    stand_ins: dict[int, Any] = {}
    swapped: list[tuple[dict[str, nn.Parameter | None], str, nn.Parameter]] = []
    try:
        for module in modules:
            for name, parameter in module._parameters.items():
                if parameter is not None and parameter.is_inference():
                    # One that two layers share stays shared.
                    other = stand_ins.setdefault(id(parameter), _copy_of(parameter))
                    module._parameters[name] = other
                    swapped.append((module._parameters, name, parameter))
            for name, buffer in module._buffers.items():
                if buffer is not None and buffer.is_inference():
                    module._buffers[name] = stand_ins.setdefault(id(buffer), buffer.clone())
        yield
    finally:
        for table, name, parameter in swapped:
            table[name] = parameter
            if stand_ins[id(parameter)]._version:  # new weights, as the sanity check gives it
                with torch.inference_mode():
                    parameter.copy_(stand_ins[id(parameter)])
        for held, before in buffers:
            held.clear()
            held.update(before)


def _copy_of(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(parameter.clone(), requires_grad=parameter.requires_grad)


def _seed(seed: int, device: torch.device) -> None:
    """As ``torch.manual_seed``, which would also seed devices that nobody puts back."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def device_of(model: nn.Module) -> torch.device:
    """Where the network's first parameter or buffer lies; the CPU where it has none."""
    some: Tensor | None = next(iter(model.parameters()), None)
    some = next(iter(model.buffers()), None) if some is None else some
    return torch.device("cpu") if some is None else some.device


def dtype_of(model: nn.Module) -> torch.dtype:
    """The floating type of the network's parameters, or else buffers; float32 without any."""
    some = itertools.chain(model.parameters(), model.buffers())
    return next((one.dtype for one in some if one.dtype.is_floating_point), torch.float32)


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
        that are not ``(n, classes)`` or are whole numbers; targets outside the classes or of a
        shape that does not fit; a score that is NaN or infinite.
    """
    if of not in OF:
        raise InputError(f"of='{of}': a score is of the 'logit' or of the 'probability'.")
    given = tensor_of(images, "Images")
    if not given.dtype.is_floating_point:
        raise InputError(
            "Images must be numbers with a fraction, normalised as the network takes them; "
            f"these are {_kind(given)}."
        )
    batch, outputs, single = _first_pass(model, given)
    targets, lead = _targets(outputs, target, single)
    scores = scores_of(outputs, targets, of)
    _check_scores(scores, targets, of)
    return Question(batch, targets, scores, outputs, lead, of)


def scores_of(outputs: Tensor, targets: Tensor, of: Of) -> Tensor:
    """Outputs ``(n, classes)`` and targets ``(n, t)`` to scores ``(n, t)``."""
    values = outputs if of == "logit" else outputs.softmax(1)
    return values.gather(1, targets)


def answers(model: nn.Module, images: Tensor, batch_size: int | None = None) -> Tensor:
    """Outputs ``(n, classes)`` of any number of inputs, some at a time, without gradients."""
    with torch.no_grad():
        parts = torch.split(images, batch_size or _BATCH)
        return torch.cat([_outputs_of(model(part.clone()), len(part)) for part in parts])


def tensor_of(given: object, what: str) -> Tensor:
    """A tensor without gradient, of a tensor, an array, or lists of either or of numbers.

    Raises
    ------
    InputError
        It is none of these, or they differ in shape.
    """
    try:
        if isinstance(given, Tensor):
            return given.detach()
        if isinstance(given, list | tuple) and given and isinstance(given[0], Tensor):
            return torch.stack(list(given)).detach()
        array = np.asarray(given)
        # A copy, in the machine's own order: torch takes no array that is read-only or turned.
        return torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{what} must be a tensor, an array, or a list of them that have one shape; "
            f"received {_short(given)}."
        ) from error


def _first_pass(model: nn.Module, given: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Inputs as a batch, their outputs, and whether it is one image without a batch dimension."""
    if given.ndim not in (2, 3, 4) or not given.numel():
        raise InputError(
            f"Images of shape {_words(given.shape)}: expected (channels, height, width) or "
            "(n, channels, height, width); of time series, (channels, length) or "
            "(n, channels, length); none of them 0."
        )
    given = given.to(device_of(model), dtype_of(model))
    bad = ~torch.isfinite(given)
    if bad.any():
        place = tuple(int(i) for i in bad.nonzero()[0])
        raise InputError(
            f"The images have NaN or infinity, first at {place}, as {_kind(given)}. Give finite "
            "numbers: nothing can be said of the others."
        )
    tries = {2: (True,), 3: (True, False), 4: (False,)}[given.ndim]
    if given.ndim == 3 and _is_one_dimensional(model):
        tries = (False,)
    errors: list[Exception] = []
    for single in tries:
        batch = (given[None] if single else given).clone()
        try:
            return batch, answers(model, batch), single
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a layer says of the shape
            errors.append(error)
    unusable = [error for error in errors if isinstance(error, _Unusable)]
    if unusable:  # it can take them, so their shape is not what is wrong
        raise unusable[0]
    raise InputError(
        f"{type(model).__name__} cannot take images of shape {_words(given.shape)}: "
        f"{_first_line(errors[0])}"
    ) from errors[0]


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
    if not outputs.shape[1]:
        raise _Unusable("The network has no outputs: there is nothing to explain.")
    if not outputs.dtype.is_floating_point:
        raise _Unusable(
            f"The network gives {_kind(outputs)}; explanations need scores, which have a fraction."
        )
    return outputs


def _check_scores(scores: Tensor, targets: Tensor, of: Of) -> None:
    bad = ~torch.isfinite(scores)
    if bad.any():
        image, place = (int(i) for i in bad.nonzero()[0])
        raise InputError(
            f"The network's {of} of class {int(targets[image, place])} is "
            f"{float(scores[image, place])} for image {image}: that cannot be explained."
        )


def _targets(outputs: Tensor, target: Target, single: bool) -> tuple[Tensor, tuple[int, ...]]:
    n, classes = outputs.shape
    if target is None:
        return outputs.argmax(1, keepdim=True), () if single else (n,)
    if isinstance(target, bool):
        raise InputError("A target is the number of a class, not True or False.")
    try:
        # A copy: no gradient goes through one that was made in inference mode.
        wanted = tensor_of(target, "Targets").to(outputs.device, copy=True)
    except InputError as error:
        raise InputError(
            f"Targets must be numbers of classes; received {_short(target)}."
        ) from error
    whole = not (wanted.dtype.is_floating_point or wanted.dtype.is_complex)
    if not whole or wanted.dtype == torch.bool or not wanted.numel():
        raise InputError(f"Targets must be numbers of classes; received {_short(target)}.")
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


def _kind(values: Tensor) -> str:
    return str(values.dtype).removeprefix("torch.")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _short(given: object) -> str:
    text = f"a tensor of {_words(given.shape)}" if isinstance(given, Tensor) else repr(given)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
