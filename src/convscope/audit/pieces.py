"""Pieces of photos that a classifier goes by: super-pixels, scored by covering them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from convscope.audit.material import Material
from convscope.data.survey import DecodeSpec, decode_chunk
from convscope.errors import InputError
from convscope.explain.segments import superpixels
from convscope.explaining.masks import mask_of
from convscope.lanes import in_lanes
from convscope.nets.inference import prepare
from convscope.progress import Progress
from convscope.run import InputSpec, RunInfo

# Photos of a class that are looked at, and of all; of these, that the classifier learned from.
_OF_A_CLASS, _OF_ALL, _FEWEST, _LEARNED = 40, 800, 8, 0.7
# Super-pixels of a photo, cut at so many pixels; and pieces of it that are kept.
_COUNT, _CUT, _KEPT = 30, 112, 3
# A piece is described by a crop around it, larger by so much on each side.
_AROUND = 0.15
# Photos and crops that go through the network at a time.
_BATCH = 16
# A map of fewer places is none.
_PLACES = 4


@dataclass(frozen=True, eq=False)
class Sample:
    """Photos that are looked at piece by piece, as the network sees them.

    Attributes
    ----------
    rows : numpy.ndarray
        int ``(n,)``: of the material.
    pixels : numpy.ndarray
        uint8 ``(n, size, size, 3)``.
    predicted : numpy.ndarray
        int ``(n,)``: what the classifier says.
    objects : tuple of (numpy.ndarray or None)
        bool ``(size, size)``: where the object is; None where nobody knows.
    """

    rows: np.ndarray
    pixels: np.ndarray
    predicted: np.ndarray
    objects: tuple[np.ndarray | None, ...]


@dataclass(frozen=True, eq=False)
class Pieces:
    """What the classifier goes by most, in each photo of a sample.

    Attributes
    ----------
    photo : numpy.ndarray
        int ``(m,)``: of the sample.
    masks : numpy.ndarray
        bool ``(m, size, size)``.
    drop : numpy.ndarray
        float ``(m,)``: by how much the log-odds of the class fall when it is covered; above 0.
    features : numpy.ndarray
        float32 ``(m, d)``: what the network's last map says of a crop around it, of length 1, and
        the mean colour of the piece (Lab, 0 to 1).
    """

    photo: np.ndarray
    masks: np.ndarray
    drop: np.ndarray
    features: np.ndarray

    @property
    def places(self) -> np.ndarray:
        """The middle of each, across and down, 0 to 1: float ``(m, 2)``."""
        side = self.masks.shape[1]
        at = (np.arange(side) + 0.5) / side
        area = np.maximum(self.masks.sum((1, 2)), 1)
        across = (self.masks.sum(1) * at).sum(1) / area
        down = (self.masks.sum(2) * at).sum(1) / area
        return np.stack([across, down], 1)


def draw_sample(
    material: Material, info: RunInfo, masks: Path | None, roots: Sequence[Path], seed: int
) -> Sample:
    """Some photos of each class, those that the classifier learned from and others.

    Raises
    ------
    InputError
        A mask cannot be read.
    """
    drawn = np.random.default_rng(seed)
    present = np.unique(material.labels)
    each = int(np.clip(_OF_ALL // len(present), _FEWEST, _OF_A_CLASS))
    rows: list[int] = []
    for label in present:
        own = material.labels == label
        learned, other = (
            drawn.permutation(np.flatnonzero(own & some))
            for some in (material.learn, ~material.learn)
        )
        held = min(len(other), each - round(_LEARNED * each))
        rows += learned[: each - held].tolist() + other[:held].tolist()
    size, resize = info.input.size, info.input.resize
    spec = DecodeSpec(resize, size, fast=info.precision.mode == "fast")
    pixels: list[np.ndarray] = []
    good: list[int] = []
    with closing(in_lanes(lambda row: decode_chunk([str(material.files[row])], spec), rows)) as got:
        for row, (facts, found) in got:
            if facts[0].usable:
                good.append(row)
                pixels.append(found[0])
    objects = [
        None if masks is None else mask_of(masks, material.files[row], roots, resize, size)
        for row in good
    ]
    kept = np.array(good, np.int64)
    shown = np.stack(pixels) if pixels else np.zeros((0, size, size, 3), np.uint8)
    return Sample(kept, shown, material.predicted[kept], tuple(objects))


def pieces_of(
    sample: Sample,
    forward: Callable[[np.ndarray], np.ndarray],
    net: nn.Module,
    info: RunInfo,
    progress: Progress,
) -> Pieces:
    """Cut each photo into super-pixels, and keep those that matter most to what it is called.

    Parameters
    ----------
    sample : Sample
    forward : callable
        uint8 ``(n, size, size, 3)`` -> logits ``(n, classes)``.
    net : nn.Module
        The same, of normalised images; its last map describes the pieces.
    info : RunInfo
    progress : Progress
    """
    photo: list[int] = []
    masks: list[np.ndarray] = []
    drops: list[float] = []

    def look(at: int) -> list[tuple[np.ndarray, float]]:
        return _scored(sample.pixels[at], int(sample.predicted[at]), forward)

    with (
        progress.task("pieces", len(sample.rows), "photos") as advance,
        closing(in_lanes(look, range(len(sample.rows)))) as results,
    ):
        for at, found in results:
            for mask, drop in found:
                photo.append(at)
                masks.append(mask)
                drops.append(drop)
            advance(1)
    side = info.input.size
    crops = [_crop(sample.pixels[at], mask) for at, mask in zip(photo, masks, strict=True)]
    if not crops:
        nothing = np.zeros((0, 1), np.float32)
        return Pieces(
            np.zeros(0, np.int64), np.zeros((0, side, side), bool), nothing[:, 0], nothing
        )
    colours = np.stack(
        [_colour(sample.pixels[at][mask]) for at, mask in zip(photo, masks, strict=True)]
    )
    features = np.concatenate([described(net, np.stack(crops), info.input), colours], axis=1)
    return Pieces(np.array(photo, np.int64), np.stack(masks), np.array(drops), features)


def cut(pixels: np.ndarray) -> np.ndarray:
    """Super-pixels of a photo, uint8 ``(size, size, 3)``: int ``(size, size)``."""
    side = pixels.shape[0]
    small = cv2.resize(pixels, (_CUT, _CUT), interpolation=cv2.INTER_AREA)
    image = small.transpose(2, 0, 1)[None].astype(np.float32) / 255
    try:
        labels = superpixels(image, count=_COUNT)[0]
    except InputError:  # it is one piece only
        return np.zeros((side, side), np.int64)
    large = cv2.resize(labels.astype(np.int32), (side, side), interpolation=cv2.INTER_NEAREST)
    return np.asarray(large, np.int64)


def covered(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The photo with a part filled with the mean colour of the rest."""
    rest = pixels[~mask]
    return np.where(mask[..., None], np.rint(rest.mean(0)) if len(rest) else 128, pixels).astype(
        np.uint8
    )


def log_odds(logits: np.ndarray, label: int) -> np.ndarray:
    """Of one class against all others: float ``(n,)``."""
    others = np.delete(logits.astype(np.float64), label, axis=1)
    return np.asarray(logits[:, label] - np.logaddexp.reduce(others, axis=1))


def _scored(
    pixels: np.ndarray, label: int, forward: Callable[[np.ndarray], np.ndarray]
) -> list[tuple[np.ndarray, float]]:
    labels = cut(pixels)
    pieces = [labels == number for number in range(int(labels.max()) + 1)]
    if len(pieces) < 2:
        return []
    shown = np.stack([pixels, *(covered(pixels, piece) for piece in pieces)])
    odds = np.concatenate([
        log_odds(forward(shown[first : first + _BATCH]), label)
        for first in range(0, len(shown), _BATCH)
    ])  # fmt: skip
    drops = odds[0] - odds[1:]
    best = np.argsort(-drops, kind="stable")[:_KEPT]
    return [(pieces[k], float(drops[k])) for k in best if drops[k] > 0]


def _colour(pixels: np.ndarray) -> np.ndarray:
    lab = cv2.cvtColor(pixels[None], cv2.COLOR_RGB2LAB)[0].astype(np.float32)
    return np.asarray(lab.mean(0) / 255)


def _crop(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A square around a piece, as large as the photo: uint8 ``(size, size, 3)``."""
    side = pixels.shape[0]
    down, across = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    wide = max(down[-1] - down[0], across[-1] - across[0]) + 1
    wide = min(side, round(wide * (1 + 2 * _AROUND)))
    top, left = (
        int(np.clip((at[0] + at[-1] + 1 - wide) // 2, 0, side - wide)) for at in (down, across)
    )
    part = np.ascontiguousarray(pixels[top : top + wide, left : left + wide])
    return np.asarray(cv2.resize(part, (side, side), interpolation=cv2.INTER_CUBIC))


def described(net: nn.Module, crops: np.ndarray, given: InputSpec) -> np.ndarray:
    """What the last map of a network says of images, mean over places.

    Of a network without a map, the image itself, small.

    Parameters
    ----------
    net : nn.Module
    crops : numpy.ndarray
        uint8 ``(n, size, size, 3)``.
    given : InputSpec

    Returns
    -------
    numpy.ndarray
        float32 ``(n, d)``, each of length 1.
    """
    name = _last_map(net, prepare(torch.from_numpy(crops[:1]), given.mean, given.std))
    if name is None:
        found = np.stack([cv2.resize(crop, (8, 8), interpolation=cv2.INTER_AREA) for crop in crops])
        vectors = found.reshape(len(crops), -1).astype(np.float32) - 128
    else:
        module = net.get_submodule(name)
        kept: list[Tensor] = []
        handle = module.register_forward_hook(
            lambda _module, _given, output: kept.append(output.float().flatten(2).mean(2))
        )
        try:
            with torch.inference_mode():
                for first in range(0, len(crops), _BATCH):
                    batch = torch.from_numpy(crops[first : first + _BATCH])
                    net(prepare(batch, given.mean, given.std))
        finally:
            handle.remove()
        vectors = torch.cat(kept).numpy()
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), np.float32)


def _last_map(net: nn.Module, x: Tensor) -> str | None:
    seen: list[str] = []

    def note(name: str, output: Any) -> None:
        map_like = isinstance(output, Tensor) and output.ndim == x.ndim
        if map_like and output[0, 0].numel() >= _PLACES:
            seen.append(name)

    handles = [
        module.register_forward_hook(lambda _m, _g, output, name=name: note(name, output))
        for name, module in net.named_modules()
        if name
    ]
    try:
        with torch.inference_mode():
            net(x)
    finally:
        for handle in handles:
            handle.remove()
    return seen[-1] if seen else None
