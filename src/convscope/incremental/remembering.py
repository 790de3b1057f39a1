"""Which way a network's answers to changed inputs are computed."""

from __future__ import annotations

import time
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.nn.modules import module as every_module

from convscope.errors import InputError, unknown_name
from convscope.geometry.tracing import Traced, trace_calls
from convscope.incremental.calibrating import CalibratedEngine
from convscope.incremental.engine import IncrementalEngine
from convscope.incremental.lowering import Program, lower
from convscope.incremental.plain import PlainEngine
from convscope.lanes import one_core_per_call
from convscope.nets.inference import bfloat16_is_fast

Precision = Literal["exact", "fast"]
Engine = IncrementalEngine | CalibratedEngine | PlainEngine
PRECISIONS: tuple[Precision, ...] = ("exact", "fast")
# Largest difference between the re-written network and the network itself, relative to its largest
# output, up to which the one stands for the other. Rounding stays far below.
_SAME = 1e-4
# How much faster bfloat16 must be to be worth its rounding.
_MUCH_FASTER = 1.2


def remember(
    model: nn.Module, images: Tensor, precision: Precision = "exact", max_memory: int = 3 * 2**28
) -> Engine:
    """Run a network once and keep what is needed to answer for changed inputs.

    To be called, and the engine used, while the network is in evaluation mode and without
    gradients; it is left as it is.

    Parameters
    ----------
    model : nn.Module
        ``(n, channels, *space)`` -> ``(n, classes)``; one or two axes.
    images : Tensor
        ``(n, channels, *space)``, on the network's device and of its type.
    precision : str
        ``exact``: in the network's own type, equal to plain passes up to rounding. ``fast``: in
        bfloat16 if that is faster here:
        products only, sums stay as they are;
        and if, on a few of the boxes, that keeps the order of the predicted class's scores. Else
        the same as ``exact``.
    max_memory : int
        Bytes for remembered maps and for batches of positions.

    Returns
    -------
    IncrementalEngine, CalibratedEngine or PlainEngine
        ``why`` of the engine says why nothing is read from memory, where that is so.

    Raises
    ------
    InputError
        If there is no such precision, or the network cannot take the images.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from convscope.incremental import Changes, remember
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 36, 3))
    >>> engine = remember(net.eval(), torch.zeros(1, 1, 8, 8))
    >>> change = Changes(
    ...     image=torch.tensor([0]), start=torch.tensor([[2, 3]]), size=(2, 2),
    ...     content=lambda rows: torch.ones(len(rows), 1, 2, 2),
    ... )
    >>> [tuple(outputs.shape) for rows, outputs in engine.answers(change)]
    [(1, 3)]
    """
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    at_once = max(1, max_memory // _bytes_of_pass(images))
    why = _why_plain(model)
    if why is not None:
        return PlainEngine(model, images, why, at_once)
    try:
        traced = trace_calls(model, tuple(images.shape[1:]))
        program = lower(traced)
    except InputError as error:
        program = str(error)
    if isinstance(program, str):
        return PlainEngine(model, images, program, at_once)
    if not _is_the_network(program, model, images):
        why = "the network, taken apart, does not give what it gives as a whole"
        return PlainEngine(model, images, why, at_once)
    if precision == "fast" and images.dtype == torch.float32 and _has_bfloat16():
        other = _in_bfloat16(traced, images)
        if other is not None and _is_much_faster(other, program, images):
            # One after the other is at work, but both remember.
            fast = IncrementalEngine(other, images, max_memory // 2, "fast")
            exact = IncrementalEngine(program, images, max_memory // 2)
            return CalibratedEngine(fast, exact)
    return IncrementalEngine(program, images, max_memory)


def _why_plain(model: nn.Module) -> str | None:
    for name, module in model.named_modules():
        if module._forward_hooks or module._forward_pre_hooks:
            return f"layer {name or type(module).__name__} has hooks, which want to see whole maps"
    if every_module._global_forward_hooks or every_module._global_forward_pre_hooks:
        return "there are hooks on all layers, which want to see whole maps"
    return None


def _bytes_of_pass(images: Tensor) -> int:
    """Roughly, of one image: the widest maps have some 64 channels for 3 of the input."""
    return 2 * 64 * images[0].numel() * images.element_size()


def _is_the_network(program: Program, model: nn.Module, images: Tensor) -> bool:
    """Whether a program gives what the network gives."""
    with torch.inference_mode():
        wanted = model(images[:1].clone())
        try:
            found = run(program, images[:1])
        except Exception:  # whatever a layer says that was given something else than usual
            return False
    if not isinstance(wanted, Tensor) or found.shape != wanted.shape:
        return False
    apart = (found - wanted).abs().max()
    return bool(apart <= _SAME * wanted.abs().max()) or bool(torch.equal(found, wanted))


def run(program: Program, images: Tensor) -> Tensor:
    """A whole pass of a program."""
    env: dict[fx.Node, Any] = {program.input: images.movedim(1, -1).contiguous().movedim(-1, 1)}
    for step in program.steps:
        env[step.node] = step.run(env)
        for source in step.last:
            env.pop(source, None)
    found: Tensor = env[program.output]
    return found


def _has_bfloat16() -> bool:
    """Whether the device has instructions for it; if not, it is never faster."""
    if bfloat16_is_fast():
        return True
    return bool(torch.cpu._is_avx512_bf16_supported())


def _in_bfloat16(traced: Traced, images: Tensor) -> Program | None:
    """The network with its products in bfloat16; batch norm is folded in before that."""
    program = lower(traced, torch.bfloat16)
    if isinstance(program, str):
        return None
    try:
        with torch.inference_mode():
            run(program, images[:1])
    except RuntimeError:  # a layer that has no bfloat16
        return None
    return program


def _is_much_faster(other: Program, program: Program, images: Tensor) -> bool:
    """Whether a whole pass in bfloat16 takes much less time than in the network's own type."""
    if images.device.type == "cuda":
        return True
    seconds = {}
    # On one core and by its own clock: who else computes here meanwhile does not count.
    with torch.inference_mode(), one_core_per_call():
        for one in (program, other):
            run(one, images[:1])
            tries = []
            for _ in range(2):
                began = time.thread_time()
                run(one, images[:1])
                tries.append(time.thread_time() - began)
            seconds[one is other] = min(tries)
    return seconds[True] * _MUCH_FASTER <= seconds[False]
