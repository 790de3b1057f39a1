"""Which rule belongs to which operation: modules by class, functions and methods by name.

An operation without a rule is not guessed at: what depends on it is marked unknown. :func:`teach`
adds a rule for a function or module class of your own.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from convscope.geometry import shapes, windows
from convscope.geometry.calls import Rule

# A rule, and the names of the positional arguments.
Entry = tuple[Rule, tuple[str, ...]]

_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_CONV_T = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
_MAX = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVG = ("input", "kernel_size", "stride", "padding", "ceil_mode")
_LP = ("input", "norm_type", "kernel_size", "stride", "ceil_mode")
_REDUCE = ("input", "dim", "keepdim")
_RESIZE = (
    "input", "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias",
)  # fmt: skip

MODULES: dict[type[nn.Module], Rule] = {
    **dict.fromkeys(windows.CONVOLUTIONS, windows.convolution),
    **dict.fromkeys(windows.TRANSPOSED, windows.transposed_convolution),
    **dict.fromkeys(windows.POOLS, windows.pooling),
    **dict.fromkeys(windows.ADAPTIVE, windows.adaptive_pooling),
    **dict.fromkeys(windows.PADS, windows.padding_module),
    **dict.fromkeys(
        (nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d), windows.interpolation
    ),
    nn.PixelShuffle: windows.pixel_shuffle,
    nn.PixelUnshuffle: windows.pixel_unshuffle,
    nn.Linear: shapes.fully_connected,
    nn.GroupNorm: shapes.group_norm,
    **dict.fromkeys(
        (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm), shapes.batch_norm
    ),
    nn.LocalResponseNorm: shapes.response_norm,
    **dict.fromkeys(
        (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), shapes.instance_norm
    ),
    nn.LayerNorm: shapes.layer_norm,
    nn.RMSNorm: shapes.layer_norm,
    **dict.fromkeys((nn.CrossMapLRN2d, nn.GLU, nn.ChannelShuffle), shapes.channels_only),
    nn.Softmax: shapes.softmax,
    nn.LogSoftmax: shapes.softmax,
    **dict.fromkeys(
        (
            nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU,
            nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardswish,
            nn.Hardsigmoid, nn.Softplus, nn.Softsign, nn.Tanhshrink, nn.Hardshrink, nn.Softshrink,
            nn.LogSigmoid, nn.Threshold, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
            nn.AlphaDropout, nn.FeatureAlphaDropout,
        ),
        shapes.elementwise,
    ),
}  # fmt: skip

# Modules that keep the numbers and their order.
RESHAPING_MODULES = (nn.Flatten, nn.Unflatten)

# A name with "_" behind it is the same in place.
_ELEMENTWISE = (
    "abs", "add", "alpha_dropout", "atan", "bfloat16", "ceil", "celu",
    "clamp", "clamp_max", "clamp_min", "clip", "clone", "contiguous", "cos",
    "cpu", "cuda", "detach", "div", "double", "dropout", "dropout1d", "dropout2d", "dropout3d",
    "elu", "eq", "erf", "exp", "expm1", "feature_alpha_dropout", "float", "floor", "ge", "gelu",
    "gt", "half", "hardsigmoid", "hardswish", "hardtanh", "le", "leaky_relu", "lerp",
    "log", "log1p", "log2", "logical_and", "logical_not", "logical_or",
    "logsigmoid", "lt", "masked_fill", "maximum", "minimum", "mish", "mul", "multiply", "ne",
    "neg", "pow", "prelu", "reciprocal", "relu", "relu6", "round", "rsqrt", "selu", "sigmoid",
    "sign", "silu", "sin", "softplus", "softsign", "sqrt", "square", "sub", "subtract", "tan",
    "tanh", "tanhshrink", "threshold", "true_divide", "where",
)  # fmt: skip

EXTREMES = ("max", "min")

FUNCTIONS_BY_NAME: dict[str, Entry] = {
    **dict.fromkeys(_ELEMENTWISE, (shapes.elementwise, ("input",))),
    **dict.fromkeys(("to", "type_as", "expand", "expand_as"), (shapes.like, ("input",))),
    **dict.fromkeys(("channel_shuffle", "glu"), (shapes.channels_only, ("input",))),
    "local_response_norm": (shapes.response_norm, ("input", "size")),
    "batch_norm": (
        shapes.batch_norm,
        ("input", "running_mean", "running_var", "weight", "bias", "training"),
    ),
    **{f"conv{n}d": (windows.convolution, _CONV) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": (windows.transposed_convolution, _CONV_T) for n in (1, 2, 3)},
    **{f"max_pool{n}d": (windows.pooling, _MAX) for n in (1, 2, 3)},
    **{f"avg_pool{n}d": (windows.pooling, _AVG) for n in (1, 2, 3)},
    **{f"lp_pool{n}d": (windows.pooling, _LP) for n in (1, 2)},
    **{
        f"adaptive_{kind}_pool{n}d": (windows.adaptive_pooling, ("input", "output_size"))
        for kind in ("avg", "max")
        for n in (1, 2, 3)
    },
    "pad": (windows.padding_function, ("input", "pad", "mode", "value")),
    "interpolate": (windows.interpolation, _RESIZE),
    "pixel_shuffle": (windows.pixel_shuffle, ("input", "upscale_factor")),
    "pixel_unshuffle": (windows.pixel_unshuffle, ("input", "downscale_factor")),
    "linear": (shapes.fully_connected, ("input", "weight", "bias")),
    **dict.fromkeys(
        ("mean", "sum", "amax", "amin", "prod", "logsumexp"), (shapes.reduction, _REDUCE)
    ),
    **dict.fromkeys(("std", "var"), (shapes.reduction, ("input", "dim", "unbiased", "keepdim"))),
    **dict.fromkeys(EXTREMES, (shapes.extreme, _REDUCE)),
    "softmax": (shapes.softmax, ("input", "dim")),
    "log_softmax": (shapes.softmax, ("input", "dim")),
    "group_norm": (shapes.group_norm, ("input", "num_groups")),
    "instance_norm": (shapes.group_norm, ("input",)),
    "layer_norm": (shapes.layer_norm, ("input", "normalized_shape")),
    "permute": (shapes.permute, ("input", "dims")),
    "transpose": (shapes.transpose, ("input", "dim0", "dim1")),
    "swapaxes": (shapes.transpose, ("input", "dim0", "dim1")),
    "cat": (shapes.concatenation, ("tensors", "dim")),
    "concat": (shapes.concatenation, ("tensors", "dim")),
    "concatenate": (shapes.concatenation, ("tensors", "dim")),
    "stack": (shapes.stack, ("tensors", "dim")),
    "flip": (shapes.flip, ("input", "dims")),
    "roll": (shapes.roll, ("input", "shifts", "dims")),
    "narrow": (shapes.narrow, ("input", "dim", "start", "length")),
    "select": (shapes.select, ("input", "dim", "index")),
    "getitem": (shapes.getitem, ()),
}
# As modules do: keep the numbers and their order.
RESHAPING = frozenset(
    {"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as"}
)
# Give several tensors: parts of the input, or (EXTREMES) values and places.
# Give back, in evaluation, what they got.
PASSING_MODULES = (
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)  # fmt: skip
# Look at the memory of their input, or may do so.
VIEWS = RESHAPING | {
    "getitem", "transpose", "swapaxes", "permute", "narrow", "select", "detach", "expand",
    "expand_as", "contiguous", "getattr", "to", "type_as", "float", "chunk", "split", "unbind",
    "tensor_split",
}  # fmt: skip
# Write into their first argument; so does everything whose name ends in "_".
IN_PLACE = frozenset(
    {
        operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow,
        operator.ifloordiv, operator.imod, operator.iand, operator.ior, operator.ixor,
    }
)  # fmt: skip
# Without a rule here, and with multiply-adds.
UNCOUNTED = frozenset(
    {"addmm", "baddbmm", "addbmm", "einsum", "scaled_dot_product_attention", "tensordot"}
)
SPLITTING: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(EXTREMES, _REDUCE),
    "chunk": ("input", "chunks", "dim"),
    "split": ("input", "split_size", "dim"),
    "unbind": ("input", "dim"),
    "tensor_split": ("input", "indices_or_sections", "dim"),
}

_TAUGHT: dict[Callable[..., Any] | type[nn.Module], Entry] = {}


def teach(
    operation: Callable[..., Any] | type[nn.Module], rule: Rule, names: tuple[str, ...] = ()
) -> None:
    """Say what an operation of your own does along each axis.

    Parameters
    ----------
    operation : callable or type
        A function that :func:`torch.fx.wrap` keeps whole, or a module class, which is then not
        looked into.
    rule : callable
        :class:`~convscope.geometry.calls.Call` -> list of
        :class:`~convscope.geometry.calls.Read`.
    names : tuple of str
        Of the positional arguments, for functions.
    """
    _TAUGHT[operation] = (rule, names)


def module_rule(module: nn.Module) -> Rule | None:
    """The rule of a module, by its class or the class whose ``forward`` it has."""
    for kind in type(module).__mro__:
        rule = _TAUGHT[kind][0] if kind in _TAUGHT else MODULES.get(kind)
        if rule is not None:
            # One that computes something else than the class it stems from is looked into.
            return rule if type(module).forward is getattr(kind, "forward", None) else None
    return None


def function_entry(function: Callable[..., Any]) -> Entry | None:
    """The rule of a function."""
    if function in _TAUGHT:
        return _TAUGHT[function]
    return named_entry(_NAMES.get(function, ""))


def named_entry(name: str) -> Entry | None:
    """The rule of a function or method of tensors by its name."""
    return FUNCTIONS_BY_NAME.get(plain_name(name))


def plain_name(name: str) -> str:
    """Without the underscore of what works in place."""
    return name.removesuffix("_") if not name.startswith("_") else name


def function_name(function: Callable[..., Any]) -> str:
    """The name under which PyTorch has a function; its own name for others."""
    return _NAMES.get(function) or str(getattr(function, "__name__", function))


def _names() -> dict[Callable[..., Any], str]:
    found: dict[Callable[..., Any], str] = {}
    for name in (*FUNCTIONS_BY_NAME, *RESHAPING, *SPLITTING):
        for home in (torch, functional):
            for spelled in (name, f"{name}_"):
                function = getattr(home, spelled, None)
                if callable(function):
                    found[function] = name
    for name in ("add", "sub", "mul", "neg", "pow", "gt", "lt", "ge", "le", "eq", "ne", "abs"):
        found[getattr(operator, name)] = name
    for name in ("add", "sub", "mul", "pow"):
        found[getattr(operator, f"i{name}")] = name
    found[operator.truediv] = found[operator.itruediv] = "div"
    found[operator.getitem] = "getitem"
    return found


_NAMES = _names()
