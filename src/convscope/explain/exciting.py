"""Neurons: the patches of many images that excite a channel most.

Girshick, Donahue, Darrell, Malik: Rich feature hierarchies, 2014 (arXiv 1311.2524), section 3.1:
"single out a particular unit in the network and use it as if it were an object detector".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from convscope.errors import InputError
from convscope.explain.asking import device_of, dtype_of, left_as_found, tensor_of
from convscope.explain.gradients import require_count
from convscope.explain.strongest import Strongest
from convscope.explain.tapping import Layer, Tapped, peaks, reach_of
from convscope.geometry.axes import Span
from convscope.progress import Progress

# Images at a time.
_BATCH = 16


@dataclass(frozen=True)
class Hit:
    """One unit that answered strongly.

    Attributes
    ----------
    value : float
        Its activation.
    image : int
        Number of the image.
    unit : tuple of int
        Its place on the layer's grid.
    box : tuple of Span
        What of the input it saw, per axis, clipped to the input.
    beyond : float
        The share of its receptive field that lies in the padding, 0 to 1.
    """

    value: float
    image: int
    unit: tuple[int, ...]
    box: tuple[Span, ...]
    beyond: float


@dataclass(frozen=True)
class Neurons:
    """What excites the channels of one layer.

    Attributes
    ----------
    layer : str
    field : tuple of int
        Inputs that a unit sees along each axis.
    hits : tuple of tuple of Hit
        For each channel, the strongest first; fewer than asked for where no more were excited.
    """

    layer: str
    field: tuple[int, ...]
    hits: tuple[tuple[Hit, ...], ...]


def neurons(
    model: nn.Module,
    images: Tensor | np.ndarray | Iterable[Tensor],
    layers: str | Sequence[str],
    *,
    top: int = 9,
    per_image: int = 1,
    progress: Progress | None = None,
) -> dict[str, Neurons]:
    """Find the patches that excite each channel of some layers most.

    Parameters
    ----------
    model : nn.Module
        Left as it is.
    images : Tensor, array or iterable of Tensor
        ``(n, channels, *space)``, as the network takes them; or such batches, one after the other:
        no more than one of them is held at a time.
    layers : str or sequence of str
        As ``convscope describe`` names them.
    top : int
        Patches of each channel.
    per_image : int
        How many of them may come from one image; they overlap by half at most.
    progress : Progress, optional

    Returns
    -------
    dict
        Layer -> :class:`Neurons`, in the order of ``layers``.

    Raises
    ------
    InputError
        No images; images or layers that the network cannot take; activations that are NaN.
    """
    require_count(top, "top", 1)
    require_count(per_image, "per_image", 1)
    names = [layers] if isinstance(layers, str) else list(layers)
    with left_as_found(model), torch.no_grad():
        tapped: Tapped | None = None
        best: list[Strongest] = []
        lowest: list[float] = []
        first = 0
        with (progress or Progress()).task("activations", _count(images), "images") as advance:
            for batch in _batches(images, model):
                if tapped is None:
                    tapped = Tapped(model, batch.shape[1:], names)
                    best = [Strongest(layer.channels, top) for layer in tapped.layers]
                    lowest = [np.inf] * len(best)
                rows = np.arange(first, first + len(batch))
                for place, (values, units) in enumerate(strongest_of(tapped, batch, per_image)):
                    if np.isnan(values).any():
                        image = first + int(np.isnan(values).any((1, 2)).argmax())
                        raise InputError(f"Image {image} gives NaN in layer {names[place]}.")
                    best[place].update(values, units, rows)
                    lowest[place] = min(lowest[place], float(values[..., 0].min()))
                first += len(batch)
                advance(len(batch))
        if tapped is None:
            raise InputError("There are no images.")
        return {
            layer.name: Neurons(
                layer.name, tuple(f.size for f in layer.field),
                tuple(hits_of(tapped, layer, found, low, c) for c in range(layer.channels)),
            )
            for layer, found, low in zip(tapped.layers, best, lowest, strict=True)
        }  # fmt: skip


def strongest_of(
    tapped: Tapped, images: Tensor, per_image: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each layer, the strongest units of some images: see :func:`~.tapping.peaks`."""
    return [
        peaks(maps, per_image, reach_of(layer))
        for layer, maps in zip(tapped.layers, tapped(images), strict=True)
    ]


def hits_of(
    tapped: Tapped, layer: Layer, found: Strongest, lowest: float, channel: int
) -> tuple[Hit, ...]:
    """The hits of one channel.

    Parameters
    ----------
    tapped : Tapped
    layer : Layer
    found : Strongest
        Of that layer.
    lowest : float
        The least that any channel gave as its strongest of an image: if that is 0, the layer gives
        nothing below it, and 0 is no excitement.
    channel : int
    """
    hits = []
    for value, image, unit in zip(
        found.values[channel], found.images[channel], found.units[channel], strict=True
    ):
        if image < 0 or (lowest == 0 and value <= 0):
            continue
        at = tuple(int(i) for i in np.unravel_index(unit, layer.grid))
        box = tapped.box(layer, at)
        if box is not None:
            hits.append(Hit(float(value), int(image), at, box, tapped.beyond(layer, at)))
    return tuple(hits)


def pixels_that_mattered(
    tapped: Tapped, layer: Layer, images: Tensor, channels: Sequence[int],
    units: Sequence[Sequence[int]],
) -> np.ndarray:  # fmt: skip
    """How much each input of a unit's field moves its activation.

    The absolute gradient, the largest of the channels, as in
    :func:`~convscope.explain.saliency`; of what goes into the unit's ReLU, where it is one: beyond
    its ends there is no gradient.

    Parameters
    ----------
    tapped : Tapped
    layer : Layer
    images : Tensor
        ``(n, channels, *space)``.
    channels : sequence of int
        Of the layer, one for each image.
    units : sequence of sequence of int

    Returns
    -------
    numpy.ndarray
        float32 ``(n, *space)``, 0 outside of the fields.
    """
    with torch.enable_grad():
        x = images.detach().clone().requires_grad_(True)
        maps = tapped.before_activation(x)[tapped.layers.index(layer)]
        index = (
            torch.arange(len(images)), torch.as_tensor(channels),
            *torch.as_tensor(np.array(units).reshape(len(images), -1)).T,
        )  # fmt: skip
        (slope,) = torch.autograd.grad(maps[index].sum(), x)
    found: np.ndarray = slope.abs().amax(1).float().cpu().numpy()
    return found


def _count(images: object) -> int:
    return len(images) if isinstance(images, Tensor | np.ndarray) else 0


def _batches(images: Tensor | np.ndarray | Iterable[Tensor], model: nn.Module) -> Iterator[Tensor]:
    device, dtype = device_of(model), dtype_of(model)
    whole = isinstance(images, Tensor | np.ndarray)
    for part in [images] if whole else images:
        batch = tensor_of(part, "Images")
        if batch.ndim not in (3, 4):
            raise InputError(
                f"Images of shape {tuple(batch.shape)}: expected (n, channels, height, width), or "
                "(n, channels, length) of time series."
            )
        for some in torch.split(batch, _BATCH):
            if len(some):
                yield some.to(device, dtype)
