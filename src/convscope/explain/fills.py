"""What is shown where part of an image is taken away."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

FILLS = ("mean", "blur")
# Standard deviation of the blur, as a share of the image's shorter side.
_BLUR = 0.05


def filled(image: Tensor, fill: str | float) -> Tensor:
    """An image with nothing left to recognise.

    Parameters
    ----------
    image : Tensor
        ``(channels, *space)``.
    fill : str or float
        The image's ``mean`` colour, its ``blur``, or one number.
    """
    if fill == "blur":
        return blurred(image[None])[0]
    if fill == "mean":
        mean = image.flatten(1).mean(1)
        return mean.reshape(-1, *[1] * (image.ndim - 1)).expand_as(image).contiguous()
    return torch.full_like(image, float(fill))


def blurred(images: Tensor) -> Tensor:
    """Images ``(n, channels, *space)`` without their details: a Gaussian of 5 % of the side."""
    found = images
    for axis in range(2, images.ndim):
        sigma = max(1.0, _BLUR * min(images.shape[2:]))
        reach = min(int(3 * sigma), images.shape[axis] - 1)
        offsets = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
        kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
        kernel = kernel / kernel.sum()
        moved = found.movedim(axis, -1)
        lines = functional.pad(moved.reshape(-1, 1, moved.shape[-1]), (reach, reach), "reflect")
        found = functional.conv1d(lines, kernel[None, None]).reshape(moved.shape).movedim(-1, axis)
    return found
