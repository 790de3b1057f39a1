"""Patches as the user's own pixels, and first-layer filters as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn

from convscope.data.images import open_photo
from convscope.data.survey import DecodeSpec, decode_chunk
from convscope.errors import PhotoError
from convscope.explain.exciting import Hit, pixels_that_mattered
from convscope.explain.tapping import Tapped
from convscope.nets.inference import prepare
from convscope.neurons.result import PhotoBox
from convscope.run import RunInfo

# Side of a patch on the page, pixels.
TILE = 72
# Photos are opened at this length or more of their longer side.
_OPENED = 700
# Pixels of a filter on the page, at least.
_LEAST_SIDE = 40
_GAP = 2
# Patches whose gradients are taken at a time.
_BATCH = 8
# What did not matter keeps this much of its light.
_DIM = 0.2
_GREY = 128


class PhotoPatches:
    """One photo, opened once for all its patches.

    Parameters
    ----------
    path : Path
    size : (int, int)
        Width and height of the photo.
    """

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self.image = open_photo(path, at_least=_OPENED).convert("RGB")
        self.share = self.image.width / size[0], self.image.height / size[1]

    def tile(self, box: PhotoBox, mattered: np.ndarray | None = None) -> np.ndarray:
        """What lies in a box: uint8 ``(TILE, TILE, 3)``, in its own proportions, grey around.

        Parameters
        ----------
        box : tuple of float
            On the photo.
        mattered : numpy.ndarray, optional
            float ``(height, width)`` of the box, 0 to 1: the rest is dimmed.
        """
        x, y = self.share
        left, top, right, bottom = box[0] * x, box[1] * y, box[2] * x, box[3] * y
        scale = TILE / max(right - left, bottom - top)
        width = max(1, min(TILE, round((right - left) * scale)))
        height = max(1, min(TILE, round((bottom - top) * scale)))
        cut = self.image.resize(
            (width, height), Image.Resampling.BICUBIC, _within(self.image, left, top, right, bottom)
        )
        pixels = np.asarray(cut)
        if mattered is not None:
            light = cv2.resize(mattered, (width, height), interpolation=cv2.INTER_LINEAR)
            pixels = np.rint(pixels * (_DIM + (1 - _DIM) * light)[..., None]).astype(np.uint8)
        tile = np.full((TILE, TILE, 3), _GREY, np.uint8)
        down, across = (TILE - height) // 2, (TILE - width) // 2
        tile[down : down + height, across : across + width] = pixels
        return tile

    def small(self, side: int) -> np.ndarray:
        """The whole photo with this longer side at most: uint8 ``(height, width, 3)``."""
        copy = self.image.copy()
        copy.thumbnail((side, side), Image.Resampling.LANCZOS)
        return np.asarray(copy)


def _within(
    image: Image.Image, left: float, top: float, right: float, bottom: float
) -> tuple[float, float, float, float]:
    """A box that begins and ends on the image, and is not empty."""
    right, bottom = min(right, image.width), min(bottom, image.height)
    return max(0.0, min(left, right - 0.5)), max(0.0, min(top, bottom - 0.5)), right, bottom


def what_mattered(
    tapped: Tapped, info: RunInfo, hits: Sequence[tuple[int, Hit, Path]]
) -> Iterator[np.ndarray]:
    """For each hit, how much each pixel of its box moved the activation.

    Parameters
    ----------
    tapped : Tapped
        As far as the hits' layer, and no other.
    info : RunInfo
        How photos are made into inputs.
    hits : sequence of (int, Hit, Path)
        Channel, hit, and its photo.

    Yields
    ------
    numpy.ndarray
        float32, of the box's height and width, 0 to 1; smoothed a little.
    """
    (layer,) = tapped.layers
    spec = DecodeSpec(info.input.resize, info.input.size, fast=info.precision.mode == "fast")
    # A point on a fine grid of gradients says little; its surroundings do.
    blur = max(0.7, layer.field[0].size / 24) if layer.field[0].jump is not None else 4.0
    blur = min(blur, info.input.size / 32)
    for first in range(0, len(hits), _BATCH):
        some = hits[first : first + _BATCH]
        facts, pixels = decode_chunk([str(path) for _, _, path in some], spec)
        for (_, _, path), fact in zip(some, facts, strict=True):
            if not fact.usable:
                raise PhotoError(fact.error_kind, f"{path}: {fact.error}")
        x = prepare(torch.from_numpy(pixels), info.input.mean, info.input.std)
        slopes = pixels_that_mattered(
            tapped, layer, x, [channel for channel, _, _ in some], [hit.unit for _, hit, _ in some]
        )
        for slope, (_, hit, _) in zip(slopes, some, strict=True):
            rows, columns = hit.box
            smooth = cv2.GaussianBlur(slope, (0, 0), blur)
            inside = smooth[rows.start : rows.stop, columns.start : columns.stop]
            most = float(inside.max())
            yield np.sqrt(inside / most) if most > 0 else np.zeros_like(inside)


def strip(tiles: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Tiles side by side, with room for ``count``."""
    row = np.full((TILE, TILE * count, 3), _GREY, np.uint8)
    for number, tile in enumerate(tiles):
        row[:, number * TILE : (number + 1) * TILE] = tile
    return row


def filters(model: nn.Module, tapped: Tapped) -> tuple[str, np.ndarray] | None:
    """The first convolution's name, and its weights as colours: grey is 0.

    Each filter is scaled by its own largest weight. None where the first convolution does not see
    three colours, or its filters are no larger than one pixel.
    """
    for node in tapped.graph.nodes:
        if node.kind != "Conv2d" or not node.module:
            continue
        weight = getattr(model.get_submodule(node.name), "weight", None)
        if not isinstance(weight, torch.Tensor) or weight.shape[1] != 3 or weight.shape[2] < 2:
            return None
        values = weight.detach().float().cpu().numpy().transpose(0, 2, 3, 1)
        return node.name, _mosaic(values)
    return None


def _mosaic(values: np.ndarray) -> np.ndarray:
    """``(filters, height, width, 3)`` to one picture, uint8."""
    count = len(values)
    scale = np.abs(values).reshape(count, -1).max(1)[:, None, None, None]
    grey = np.rint(127.5 + 127.5 * values / np.maximum(scale, 1e-12)).astype(np.uint8)
    times = -(-_LEAST_SIDE // max(grey.shape[1:3]))
    large = grey.repeat(times, 1).repeat(times, 2)
    columns = min(count, 16)
    rows = -(-count // columns)
    high, wide = large.shape[1] + _GAP, large.shape[2] + _GAP
    picture = np.full((rows * high + _GAP, columns * wide + _GAP, 3), 255, np.uint8)
    for number, one in enumerate(large):
        down, across = divmod(number, columns)
        top, left = _GAP + down * high, _GAP + across * wide
        picture[top : top + one.shape[0], left : left + one.shape[1]] = one
    return picture
