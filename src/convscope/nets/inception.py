"""Joining feature maps of unlike sizes along channels, and the Inception module made with it.

``DepthConcat`` is Torch's container of that name; the Inception module is figure 2b of Szegedy
et al. 2014 (arXiv 1409.4842).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from convscope.errors import InputError, unknown_name
from convscope.geometry import teach
from convscope.geometry.axes import Window
from convscope.geometry.calls import Call, Read

Placement = Literal["centre", "top_left"]
_PLACEMENTS = ("centre", "top_left")


def depth_concat(
    maps: list[Tensor] | tuple[Tensor, ...], placement: Placement = "centre"
) -> Tensor:
    """Join feature maps along channels, with zeros around the smaller ones.

    ``torch.fx`` keeps it as one call where it is used in this module; other modules that call it
    and are traced say ``torch.fx.wrap("depth_concat")`` once, or use :class:`DepthConcat`.

    Parameters
    ----------
    maps : list or tuple of Tensor
        Each ``(n, channels, h, w)``; the same n, any channels, heights and widths.
    placement : {"centre", "top_left"}
        Where a smaller map lies in the largest height and width. ``centre`` as in Torch:
        floor((largest - size) / 2) rows of zeros above and as many columns on the left, the rest
        below and on the right.

    Returns
    -------
    Tensor
        ``(n, sum of channels, largest h, largest w)``.

    Raises
    ------
    InputError
        No maps, maps that are not 4-dimensional, or an unknown placement.

    Examples
    --------
    >>> depth_concat([torch.ones(1, 2, 14, 14), torch.ones(1, 3, 16, 16)]).shape
    torch.Size([1, 5, 16, 16])
    """
    _check_placement(placement)
    if not maps or any(each.dim() != 4 for each in maps):
        shapes = ", ".join(str(tuple(each.shape)) for each in maps) or "none"
        raise InputError(f"depth_concat takes maps (n, channels, h, w); received: {shapes}.")
    height = max(each.shape[2] for each in maps)
    width = max(each.shape[3] for each in maps)
    return torch.cat([_framed(each, height, width, placement) for each in maps], dim=1)


def _framed(x: Tensor, height: int, width: int, placement: Placement) -> Tensor:
    rows, columns = height - x.shape[2], width - x.shape[3]
    if rows == 0 and columns == 0:
        return x
    top, left = _before(rows, placement), _before(columns, placement)
    return functional.pad(x, (left, columns - left, top, rows - top))


def _before(zeros: int, placement: str) -> int:
    """How many of the zeros along an axis stand before a map."""
    return zeros // 2 if placement == "centre" else 0


def _reads(call: Call) -> list[Read]:
    """What each unit of the joined map reads: every map is shifted by the zeros before it."""
    placement = call.argument("placement", "centre")
    sizes = {dim: int(call.output.shape[dim]) for dim in (2, 3)}
    return [
        Read(
            each,
            {
                dim: Window(
                    each.shape[dim], size, padding=_before(size - each.shape[dim], placement)
                )
                for dim, size in sizes.items()
            },
        )
        for each in call.values()
    ]


# A reader of the traced graph (geometry, first of all) shall see one operation, not its paddings.
fx.wrap("depth_concat")
teach(depth_concat, _reads, names=("maps", "placement"))


def _check_placement(placement: str) -> None:
    if placement not in _PLACEMENTS:
        raise unknown_name("placement", placement, _PLACEMENTS)


class DepthConcat(nn.Module):
    """Branches that all read the same input, their outputs joined by :func:`depth_concat`.

    Parameters
    ----------
    branches : iterable of nn.Module
        Each ``(n, in_channels, h, w)`` to a 4-dimensional map.
    placement : {"centre", "top_left"}
    """

    def __init__(self, branches: Iterable[nn.Module], placement: Placement = "centre") -> None:
        super().__init__()
        _check_placement(placement)
        self.branches = nn.ModuleList(branches)
        self.placement: Placement = placement

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in_channels, h, w)`` to ``(n, sum of channels, largest h', largest w')``."""
        return depth_concat([branch(x) for branch in self.branches], self.placement)


class ConvReLU(nn.Sequential):
    """Convolution with "same" padding, ReLU; with batch norm between them if asked.

    Parameters
    ----------
    in_channels, out_channels, kernel_size : int
    stride : int
    batch_norm : bool
        The convolution then has no biases. torchvision's GoogLeNet has it (and its eps, 0.001).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        *,
        batch_norm: bool = False,
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv"] = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=kernel_size // 2,
            bias=not batch_norm,
        )
        if batch_norm:
            layers["bn"] = nn.BatchNorm2d(out_channels, eps=0.001)
        layers["relu"] = nn.ReLU()
        super().__init__(layers)


class Inception(nn.Module):
    """Four branches side by side, ReLU after each convolution; figure 2b of the paper.

    1 × 1; 1 × 1 then 3 × 3; 1 × 1 then 5 × 5; 3 × 3 max pool then 1 × 1.

    Parameters
    ----------
    in_channels : int
    ch1x1, ch3x3_reduce, ch3x3, ch5x5_reduce, ch5x5, pool_proj : int
        Output channels of the convolutions, in the order of the columns of the paper's table 1.
    large_kernel : {5, 3}
        3 gives torchvision's form, which has 3 × 3 where the paper has 5 × 5.
    batch_norm : bool
        See :class:`ConvReLU`.
    """

    def __init__(
        self,
        in_channels: int,
        ch1x1: int,
        ch3x3_reduce: int,
        ch3x3: int,
        ch5x5_reduce: int,
        ch5x5: int,
        pool_proj: int,
        *,
        large_kernel: Literal[5, 3] = 5,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if large_kernel not in (5, 3):
            raise InputError(f"large_kernel is 5 or 3; received {large_kernel}.")
        self.branch1 = ConvReLU(in_channels, ch1x1, 1, batch_norm=batch_norm)
        self.branch2 = nn.Sequential(
            ConvReLU(in_channels, ch3x3_reduce, 1, batch_norm=batch_norm),
            ConvReLU(ch3x3_reduce, ch3x3, 3, batch_norm=batch_norm),
        )
        self.branch3 = nn.Sequential(
            ConvReLU(in_channels, ch5x5_reduce, 1, batch_norm=batch_norm),
            ConvReLU(ch5x5_reduce, ch5x5, large_kernel, batch_norm=batch_norm),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),
            ConvReLU(in_channels, pool_proj, 1, batch_norm=batch_norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in_channels, h, w)`` to ``(n, ch1x1 + ch3x3 + ch5x5 + pool_proj, h, w)``."""
        return depth_concat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)])
