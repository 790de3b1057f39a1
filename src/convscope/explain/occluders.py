"""What is put over a part of the image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from convscope.errors import InputError, unknown_name
from convscope.explain.fills import filled

OCCLUDERS = ("mean", "blur", "noise")


def covers(images: Tensor, occluder: str | float | Tensor | np.ndarray, seed: int) -> Tensor:
    """Images to take the covered part from, ``(n, channels, *space)``.

    Parameters
    ----------
    images : Tensor
        ``(n, channels, *space)``.
    occluder : str, float, or Tensor or array
        ``mean``: the image's mean colour; ``blur``: the image without detail; ``noise``: as bright
        and as varied as the image, channel by channel; a number; or what is shown instead,
        ``(channels, *space)`` or one for each image.
    seed : int
        Of the noise, which is the same for every image but for brightness and spread.

    Raises
    ------
    InputError
        The name is unknown, a number is none or not finite, or the shape does not fit.
    """
    if isinstance(occluder, str):
        if occluder not in OCCLUDERS:
            raise unknown_name("occluder", occluder, OCCLUDERS)
        if occluder == "noise":
            return _noise(images, seed)
        return torch.stack([filled(image, occluder) for image in images])
    given = _numbers(occluder, images)
    if not torch.isfinite(given).all():
        raise InputError("The occluder has NaN or infinity.")
    if given.ndim not in (0, images.ndim - 1, images.ndim):
        raise InputError(_unfit(given, images))
    try:
        return given.expand_as(images)
    except RuntimeError:
        raise InputError(_unfit(given, images)) from None


def _numbers(occluder: object, images: Tensor) -> Tensor:
    if isinstance(occluder, bool):
        raise InputError(f"occluder={occluder}: give a name, a number or an image.")
    try:
        # Detached: nothing of what is computed with it needs a gradient.
        return torch.as_tensor(occluder, dtype=images.dtype, device=images.device).detach()
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise InputError(
            f"An occluder of type {type(occluder).__name__} cannot be read as numbers: {error}. "
            f"Give a name ({', '.join(OCCLUDERS)}), a number, one image, or one for each."
        ) from error


def _unfit(given: Tensor, images: Tensor) -> str:
    return (
        f"An occluder of shape {tuple(given.shape)} for images of {tuple(images.shape[1:])}: give "
        "a name, a number, one image, or one for each."
    )


def _noise(images: Tensor, seed: int) -> Tensor:
    drawn = torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(seed))
    flat = images.flatten(2)
    shape = (*flat.shape[:2], *[1] * (images.ndim - 2))
    mean, spread = flat.mean(2).reshape(shape), flat.std(2, correction=0).reshape(shape)
    return mean + spread * drawn.to(images)
