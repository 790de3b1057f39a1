"""What local operations do along each axis: convolution, pooling, padding, resampling."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.nn import functional

from convscope.geometry.axes import (
    AxisMap,
    Reversed,
    Table,
    Whole,
    Window,
    adaptive,
    compose,
    table,
)
from convscope.geometry.calls import Call, Read, UnknownOperation


def _axes(call: Call) -> int:
    """Spatial axes of the operation: the dimensions of its input behind batch and channels."""
    return len(call.input.shape) - 2


def _maps(call: Call, per_axis: Sequence[AxisMap], *, mixes_channels: bool = False) -> list[Read]:
    maps = {2 + axis: through for axis, through in enumerate(per_axis)}
    if mixes_channels:
        maps[1] = Whole(call.input.shape[1], int(call.output.shape[1]))
    return [Read(call.input, maps)]


def convolution(call: Call) -> list[Read]:
    """Convolution with any stride, dilation, groups and padding mode."""
    axes = _axes(call)
    kernel = _kernel_size(call, axes)
    stride = call.per_axis(call.argument("stride", 1), axes)
    dilation = call.per_axis(call.argument("dilation", 1), axes)
    padding = call.argument("padding", 0)
    sizes, sizes_out = call.input.shape[2:], call.output.shape[2:]
    if isinstance(padding, str):
        # "same" puts the odd one behind.
        reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        ends = [(r // 2, r - r // 2) if padding == "same" else (0, 0) for r in reach]
    else:
        ends = [(p, p) for p in call.per_axis(padding, axes)]
    mode = getattr(call.module, "padding_mode", "zeros")
    found: list[AxisMap] = []
    for axis in range(axes):
        size, size_out = sizes[axis], int(sizes_out[axis])
        before, behind = ends[axis]
        window = Window(size, size_out, kernel[axis], stride[axis], dilation[axis], before)
        if mode == "zeros":
            found.append(window)
            continue
        padded = padded_axis(size, before, behind, mode)
        inside = Window(padded.size_out, size_out, kernel[axis], stride[axis], dilation[axis])
        through = compose(padded, inside)
        if isinstance(through, Table):
            through = Table(through.size_in, through.reads, inner=window)
        found.append(through)
    groups = call.argument("groups", 1)
    if groups > 1 and call.input.layout is not None and 1 in call.input.layout.dims:
        raise UnknownOperation("an axis lies where it expects channels")
    return _maps(call, found, mixes_channels=True)


def _kernel_size(call: Call, axes: int) -> tuple[int, ...]:
    if call.module is not None:
        return call.per_axis(call.argument("kernel_size"), axes)
    weight = call.argument("weight")
    shape = weight.shape if hasattr(weight, "shape") else ()
    if len(shape) != axes + 2:
        raise UnknownOperation("its weight has an unexpected shape")
    return tuple(int(size) for size in shape[2:])


def transposed_convolution(call: Call) -> list[Read]:
    """Transposed convolution: a convolution read the other way."""
    axes = _axes(call)
    kernel = _kernel_size(call, axes)
    stride = call.per_axis(call.argument("stride", 1), axes)
    dilation = call.per_axis(call.argument("dilation", 1), axes)
    padding = call.per_axis(call.argument("padding", 0), axes)
    found = [
        Reversed(
            Window(
                int(call.output.shape[2 + axis]),
                call.input.shape[2 + axis],
                kernel[axis],
                stride[axis],
                dilation[axis],
                padding[axis],
            )
        )
        for axis in range(axes)
    ]
    return _maps(call, found, mixes_channels=True)


def pooling(call: Call) -> list[Read]:
    """Maximum, average and power-average pooling, ceil mode included."""
    axes = _axes(call)
    kernel = call.per_axis(call.argument("kernel_size"), axes)
    stride = call.argument("stride")
    strides = kernel if stride in (None, []) else call.per_axis(stride, axes)
    padding = call.per_axis(call.argument("padding", 0), axes)
    dilation = call.per_axis(call.argument("dilation", 1), axes)
    if call.argument("return_indices", False):
        raise UnknownOperation("it returns indices")
    found = [
        Window(
            call.input.shape[2 + axis],
            int(call.output.shape[2 + axis]),
            kernel[axis],
            strides[axis],
            dilation[axis],
            padding[axis],
        )
        for axis in range(axes)
    ]
    return _maps(call, found)


def adaptive_pooling(call: Call) -> list[Read]:
    """Adaptive pooling, global pooling included."""
    pairs = zip(call.input.shape[2:], call.output.shape[2:], strict=True)
    return _maps(call, [adaptive(size, int(size_out)) for size, size_out in pairs])


def padding_module(call: Call) -> list[Read]:
    """``nn.ZeroPad2d`` and its relatives."""
    name = type(call.module).__name__
    mode = next((mode for mode in ("reflect", "replicat", "circular") if mode in name.lower()), "")
    return _padded(call, call.argument("padding"), mode or "constant")


def padding_function(call: Call) -> list[Read]:
    """``functional.pad``."""
    return _padded(call, call.argument("pad"), call.argument("mode", "constant"))


def _padded(call: Call, pad: object, mode: str) -> list[Read]:
    rank = len(call.input.shape)
    if isinstance(pad, int):
        pad = (pad,) * (2 * (rank - 2))
    if not isinstance(pad, list | tuple) or not all(isinstance(one, int) for one in pad):
        raise UnknownOperation("its padding is computed")
    maps: dict[int, AxisMap] = {}
    for place in range(len(pad) // 2):
        dim = rank - 1 - place
        before, behind = pad[2 * place], pad[2 * place + 1]
        maps[dim] = padded_axis(call.input.shape[dim], before, behind, mode)
    return [Read(call.input, maps)]


def padded_axis(size: int, before: int, behind: int, mode: str) -> AxisMap:
    """Padding of one axis; negative amounts crop.

    Parameters
    ----------
    size : int
    before, behind : int
    mode : str
        ``zeros`` or ``constant``, ``reflect``, ``replicate`` (or ``replicat``), ``circular``.
    """
    shift = Window(size, size + before + behind, padding=before)
    if mode in ("zeros", "constant"):
        return shift
    places = np.arange(-before, size + behind)
    if mode == "reflect":
        places = np.abs(places)
        places = np.where(places >= size, 2 * (size - 1) - places, places)
    elif mode in ("replicate", "replicat"):
        places = places.clip(0, size - 1)
    elif mode == "circular":
        places = places % size
    else:
        raise UnknownOperation(f"padding mode {mode}")
    return Table(size, places[:, None], inner=shift)


def interpolation(call: Call) -> list[Read]:
    """``nn.Upsample`` and ``functional.interpolate``, any mode and size."""
    mode = call.argument("mode", "nearest")
    if call.argument("antialias", False):
        raise UnknownOperation("it smooths against aliasing")
    aligned = bool(call.argument("align_corners", None))
    found = []
    for axis, size in enumerate(call.input.shape[2:]):
        size_out = int(call.output.shape[2 + axis])
        scale = call.argument("scale_factor")
        if isinstance(scale, list | tuple):
            scale = scale[axis]
        if call.argument("recompute_scale_factor", None):
            scale = None
        found.append(_resampled(size, size_out, mode, aligned, scale))
    return _maps(call, found)


# Of a table of weights: 200 MB.
_MOST_PROBED = 25_000_000


@lru_cache(maxsize=32)
def _resampled(size: int, size_out: int, mode: str, aligned: bool, scale: float | None) -> AxisMap:
    if size == size_out and scale in (None, 1):
        return Window(size, size)
    if mode == "area":
        return adaptive(size, size_out)
    factor, rest = divmod(size_out, size)
    whole = rest == 0 and not aligned and scale in (None, factor)
    if whole and mode in ("nearest", "nearest-exact"):
        return Reversed(Window(size_out, size, kernel_size=factor, stride=factor))
    inner = None
    if whole and mode in ("linear", "bilinear", "trilinear"):
        # Weights fall to zero over one step of the input on either side.
        even = 1 - factor % 2
        reach = (factor - 1) // 2 + even
        inner = Reversed(Window(size_out, size, 2 * factor - 1 + even, factor, padding=reach))
    if size * size_out <= _MOST_PROBED:
        # Also where a formula is known: PyTorch rounds, and reads what should have no weight.
        return _probed(size, size_out, mode, aligned, scale, inner)
    if inner is not None:
        return inner
    raise UnknownOperation(f"{size} units to {size_out} are too many to look at one by one")


def _probed(
    size: int,
    size_out: int,
    mode: str,
    aligned: bool,
    scale: float | None,
    inner: AxisMap | None,
) -> AxisMap:
    """Which inputs have a weight: asked of PyTorch itself, one impulse per input."""
    one_axis = {"bilinear": "linear", "trilinear": "linear"}.get(mode, mode)
    options: dict[str, object] = {"mode": one_axis}
    if one_axis in ("linear", "bicubic"):
        options["align_corners"] = aligned
    if scale is None:
        options["size"] = [size_out, 1] if one_axis == "bicubic" else size_out
    else:
        options["scale_factor"] = [scale, 1.0] if one_axis == "bicubic" else scale
    with unset_fake_temporarily():
        impulses = torch.eye(size, dtype=torch.float64)[:, None]
        if one_axis == "bicubic":
            impulses = impulses[..., None]
        answers = functional.interpolate(impulses, **options)  # type: ignore[arg-type]
        weights = answers.reshape(size, size_out).numpy()
    return table(size, [np.flatnonzero(weights[:, o]).tolist() for o in range(size_out)], inner)


def pixel_shuffle(call: Call) -> list[Read]:
    """Channels to space: each unit becomes a block."""
    factor = call.argument("upscale_factor")
    pairs = zip(call.input.shape[2:], call.output.shape[2:], strict=True)
    return _maps(call, [Reversed(Window(int(out), size, factor, factor)) for size, out in pairs])


def pixel_unshuffle(call: Call) -> list[Read]:
    """Space to channels: each block becomes a unit."""
    factor = call.argument("downscale_factor")
    pairs = zip(call.input.shape[2:], call.output.shape[2:], strict=True)
    return _maps(call, [Window(size, int(out), factor, factor) for size, out in pairs])


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
POOLS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.LPPool1d, nn.LPPool2d,
)  # fmt: skip
ADAPTIVE = (
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
)  # fmt: skip
PADS = (
    nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d,
    nn.ConstantPad3d, nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d,
    nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d, nn.CircularPad1d,
    nn.CircularPad2d, nn.CircularPad3d,
)  # fmt: skip
