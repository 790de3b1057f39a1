"""Super-pixels: pieces of an image that look like one thing."""

from __future__ import annotations

from typing import Literal

import numpy as np
from skimage.segmentation import felzenszwalb, quickshift, slic

from convscope.errors import InputError, unknown_name

Segmentation = Literal["slic", "quickshift", "felzenszwalb"]
SEGMENTATIONS: tuple[Segmentation, ...] = ("slic", "quickshift", "felzenszwalb")
# Pieces that SLIC is asked for, and of a time series.
COUNT = 50
# The setting of each is made finer so many times where it gives one piece alone (SLIC: few).
_FINER = 6
_RGB = 3


def superpixels(
    images: np.ndarray, how: str = "slic", *, count: int = COUNT, seed: int = 0
) -> np.ndarray:
    """Cut images into super-pixels.

    Parameters
    ----------
    images : numpy.ndarray
        float ``(n, channels, height, width)``, of any range; or ``(n, channels, length)``, which is
        cut into pieces of equal length.
    how : str
        ``slic`` (Achanta et al. 2012), ``quickshift`` (Vedaldi & Soatto 2008) or ``felzenszwalb``
        (Felzenszwalb & Huttenlocher 2004), by scikit-image.
    count : int
        About how many pieces: of ``slic``, and of a time series; 2 or more.
    seed : int
        Of ``quickshift``.

    Returns
    -------
    numpy.ndarray
        int64 ``(n, *space)``: numbers of the pieces, from 0, without a gap.

    Raises
    ------
    InputError
        The name or the count is none; an image is one piece only.
    """
    if how not in SEGMENTATIONS:
        raise unknown_name("segmentation", how, SEGMENTATIONS)
    if type(count) is not int or count < 2:
        raise InputError(f"count={count!r}: super-pixels are 2 or more.")
    if images.ndim == 3:
        length = images.shape[2]
        pieces = np.arange(length) * min(count, length) // length
        return _checked(np.broadcast_to(pieces, (len(images), length)).copy())
    return _checked(np.stack([_cut(image, how, count, seed) for image in images]))


def given_segments(segments: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Super-pixels that the caller has, checked and numbered without gaps.

    Parameters
    ----------
    segments : numpy.ndarray
        int ``space`` (the same for all images) or ``(n, *space)``.
    shape : tuple of int
        ``(n, *space)``.

    Raises
    ------
    InputError
        They are no whole numbers, have another shape, or make one piece only.
    """
    labels = np.asarray(segments)
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"Segments must be whole numbers; these are {labels.dtype}.")
    if labels.shape not in (shape, shape[1:]):
        raise InputError(
            f"Segments of shape {labels.shape} for images of {shape[1:]}: give {shape[1:]} for "
            f"all images, or {shape}."
        )
    return _checked(np.broadcast_to(labels, shape))


def _checked(labels: np.ndarray) -> np.ndarray:
    numbered = [np.unique(each, return_inverse=True)[1].reshape(each.shape) for each in labels]
    for place, each in enumerate(numbered):
        if each.max() == 0:
            raise InputError(
                f"Image {place} is one super-pixel only, so nothing can be compared. Cut it finer: "
                "another segmentation, or segments of your own."
            )
    return np.stack(numbered).astype(np.int64)


def _cut(image: np.ndarray, how: str, count: int, seed: int) -> np.ndarray:
    pixels = np.moveaxis(_to_unit(image), 0, -1)
    colour = pixels.shape[2] == _RGB
    if how == "slic":
        return _slic(pixels, colour, count)
    for finer in range(_FINER):
        scale = 0.5**finer
        if how == "quickshift":
            # The settings of the paper's own code, where the image is large enough for them.
            pieces = quickshift(  # type: ignore[no-untyped-call]
                _three(pixels), kernel_size=max(1.0, 4 * scale), max_dist=200 * scale**2, ratio=0.2,
                rng=seed, convert2lab=colour,
            )  # fmt: skip
        else:
            smallest = max(2, int(pixels.shape[0] * pixels.shape[1] / (4 * count) * scale))
            pieces = felzenszwalb(
                _three(pixels), scale=100 * scale, sigma=0.5, min_size=smallest, channel_axis=-1
            )
        if pieces.max() > 0:
            break
    return np.asarray(pieces)


def _slic(pixels: np.ndarray, colour: bool, count: int) -> np.ndarray:
    """SLIC, rounder where the image is so grainy that it leaves few pieces, or one.

    Pieces that follow grain fall apart, and SLIC joins the crumbs with their neighbours.
    """
    compactness = 10.0 if colour else 0.1
    enough = max(2.0, min(count, pixels.shape[0] * pixels.shape[1]) / 4)
    for rounder in range(_FINER):
        pieces = slic(
            # One more each time: asked for two, it may give one of any shape.
            pixels, n_segments=count + rounder, compactness=compactness * 4**rounder,
            start_label=0, convert2lab=colour, channel_axis=-1,
        )  # fmt: skip
        if len(np.unique(pieces)) >= enough:
            break
    return np.asarray(pieces)


def _three(pixels: np.ndarray) -> np.ndarray:
    """Three channels of any number of them: neighbours averaged, or the one repeated."""
    channels = pixels.shape[2]
    if channels < _RGB:
        return np.repeat(pixels.mean(2, keepdims=True), _RGB, 2)
    groups = np.array_split(np.arange(channels), _RGB)
    return np.stack([pixels[..., group].mean(2) for group in groups], 2)


def _to_unit(image: np.ndarray) -> np.ndarray:
    low, high = float(image.min()), float(image.max())
    return np.asarray((image - low) / max(high - low, 1e-12), np.float64)
