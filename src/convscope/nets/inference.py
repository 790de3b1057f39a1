"""A network re-written for fast evaluation on a CPU; the same function up to rounding.

Batch norm is folded into the convolution before it, the ReLU behind it runs inside the
convolution, channels come last in memory. In fast mode all but the first few stages compute in
bfloat16 where the processor has it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval


class FusedConv2d(nn.Module):
    """Convolution, bias and ReLU or ReLU6 in one call.

    Parameters
    ----------
    conv : nn.Conv2d
        With batch norm folded in already.
    clamp : tuple of float or None
        Bounds of the activation behind it: ``(0, inf)`` is ReLU, ``(0, 6)`` ReLU6.
    dtype : torch.dtype
    """

    def __init__(
        self, conv: nn.Conv2d, clamp: tuple[float, float] | None, dtype: torch.dtype
    ) -> None:
        super().__init__()
        weight = conv.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        self.weight = nn.Buffer(weight)
        bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
        self.bias = nn.Buffer(bias.to(dtype))
        padding = conv.padding
        if isinstance(padding, str):
            raise NotImplementedError("padding given as a word")
        self.stride, self.padding = list(conv.stride), list(padding)
        self.dilation, self.groups = list(conv.dilation), conv.groups
        self.clamp = clamp
        self._packed: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, h, w)`` to ``(n, out_channels, h', w')``."""
        if x.device.type == "cpu" and fused_kernels_work(x.dtype):
            return self._one_call(x)
        y = functional.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )
        return y if self.clamp is None else y.clamp_(*self.clamp)

    def _one_call(self, x: Tensor) -> Tensor:
        if self._packed is None:
            self._packed = torch._C._nn.mkldnn_reorder_conv2d_weight(  # type: ignore[call-arg]
                self.weight.to_mkldnn(),
                self.padding,
                self.stride,
                self.dilation,
                self.groups,
                list(x.shape),
            )
        activation = "none"
        scalars: list[float] = []
        if self.clamp is not None:
            activation, scalars = "hardtanh", list(self.clamp)
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x,
            self._packed,
            self.bias,
            self.padding,
            self.stride,
            self.dilation,
            self.groups,
            activation,
            scalars,
            "",
        )
        return out


@cache
def fused_kernels_work(dtype: torch.dtype = torch.float32) -> bool:
    """Whether this PyTorch has oneDNN's fused convolution, and it agrees with the plain one.

    It is what ``torch.compile`` calls too, but not a documented function: so it is tried once,
    and where it is missing or differs the plain calls are used. In bfloat16 a CPU without AVX-512
    refuses it.

    Parameters
    ----------
    dtype : torch.dtype
        That is computed in.
    """
    conv = nn.Conv2d(4, 8, 3, stride=2, padding=1)
    with torch.inference_mode():
        x = torch.linspace(-9, 9, 2 * 4 * 7 * 7).reshape(2, 4, 7, 7)
        try:
            one_call = FusedConv2d(conv, (0.0, 6.0), dtype)._one_call(x.to(dtype))
        except (RuntimeError, AttributeError, TypeError):
            return False
        close = 1e-4 if dtype == torch.float32 else 0.2
        return torch.allclose(one_call.float(), conv(x).clamp(0, 6), atol=close)


def bfloat16_is_fast() -> bool:
    """Whether bfloat16 is computed faster than float32 here: by a GPU, or by a CPU with AMX.

    The AVX-512 instructions for bfloat16 alone are slower than float32 in these networks (10.4
    against 7.8 ms a photo on one core), so a CPU that has only them counts as not fast.
    """
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_amx_tile_supported())


def has_bfloat16() -> bool:
    """Whether the CPU has any instructions for bfloat16, be they faster than float32 or not."""
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


_CLAMPS: dict[type[nn.Module], tuple[float, float]] = {
    nn.ReLU: (0.0, float("inf")),
    nn.ReLU6: (0.0, 6.0),
}


def fuse(stage: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Fold batch norms and activations into the convolutions of a traceable module.

    Parameters
    ----------
    stage : nn.Module
        In evaluation mode; left as it is.
    dtype : torch.dtype
        What the result computes in.

    Returns
    -------
    nn.Module
        Equal to ``stage`` up to rounding, for inputs of this type with channels last.
    """
    traced = fx.symbolic_trace(copy.deepcopy(stage))
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        conv = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(conv, nn.Conv2d):
            continue
        norm_node = _only_user(node, modules, nn.BatchNorm2d)
        if norm_node is not None:
            norm = modules[str(norm_node.target)]
            conv = fuse_conv_bn_eval(conv, norm)
            _bypass(norm_node, node)
        clamp = None
        for kind, bounds in _CLAMPS.items():
            activation = _only_user(node, modules, kind)
            if activation is not None:
                clamp = bounds
                _bypass(activation, node)
                break
        traced.set_submodule(str(node.target), FusedConv2d(conv, clamp, dtype))
    traced.delete_all_unused_submodules()
    traced.graph.lint()
    traced.recompile()
    return traced.to(dtype).eval()


def _only_user(
    node: fx.Node, modules: dict[str, nn.Module], kind: type[nn.Module]
) -> fx.Node | None:
    """The node behind this one, if it is the only one and of this kind."""
    if len(node.users) != 1:
        return None
    user = next(iter(node.users))
    is_kind = user.op == "call_module" and isinstance(modules.get(str(user.target)), kind)
    return user if is_kind else None


def _bypass(node: fx.Node, by: fx.Node) -> None:
    node.replace_all_uses_with(by)
    node.graph.erase_node(node)


def fused_stages(
    stages: Iterable[nn.Module], dtype: torch.dtype = torch.float32
) -> list[nn.Module]:
    """Each stage re-written for evaluation, see :func:`fuse`."""
    return [fuse(stage, dtype) for stage in stages]


def prepare(photos: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Normalise photos into a network's input.

    Parameters
    ----------
    photos : Tensor
        uint8 ``(n, h, w, 3)``.
    mean, std : sequence of float
        Per channel, on the 0..1 scale.

    Returns
    -------
    Tensor
        float32 ``(n, 3, h, w)``, channels last in memory.
    """
    centre = 255 * torch.tensor(mean, device=photos.device)
    scale = 1 / (255 * torch.tensor(std, device=photos.device))
    return photos.float().sub_(centre).mul_(scale).permute(0, 3, 1, 2)


def network_logits(
    net: nn.Module, mean: Sequence[float], std: Sequence[float]
) -> Callable[[np.ndarray], np.ndarray]:
    """A network as a function of photos.

    Parameters
    ----------
    net : nn.Module
        In evaluation mode.
    mean, std : sequence of float
        See :func:`prepare`.

    Returns
    -------
    callable
        uint8 ``(n, size, size, 3)`` -> float32 logits ``(n, classes)``.
    """

    def forward(photos: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = net(prepare(torch.from_numpy(photos), mean, std)).float().numpy()
            return logits

    return forward


def last_linear(net: nn.Module) -> nn.Linear:
    """The layer of a network that gives the logits."""
    return [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
