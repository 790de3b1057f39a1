"""The small network of the lesson on a photo: its layers, its weights, and photos for it.

It was trained by ``benchmarks/lesson_photo_model.py``, on photos that convscope drew; the weights
lie beside this file. In training each convolution is followed by a batch norm, which is then
folded into it: what is left is convolutions, ReLU, max-pooling, one mean and one linear layer, so
that a page can compute it in a few lines.
"""

from __future__ import annotations

from collections import OrderedDict
from importlib.resources import as_file, files
from itertools import pairwise

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from convscope.demo.scene import CLASSES, ordinary_background, render_scene

# Photos are drawn at ``DRAWN`` pixels; the network sees means of blocks.
SIZE, DRAWN = 48, 192
WIDTHS = (3, 16, 32, 48, 64)
MEAN, SPREAD = 0.5, 0.25
SEED = 0
# Photos that differ in their number differ in everything; training, test and the page share none.
FIRST_TRAIN, FIRST_TEST, FIRST_SHOWN = 0, 2_000_000, 3_000_000
_FILE = "photo.safetensors"


def build(*, batch_norm: bool = False) -> nn.Sequential:
    """The network, untrained; with the batch norms that it is trained with, or without."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (before, after) in enumerate(pairwise(WIDTHS), 1):
        layers[f"conv{number}"] = nn.Conv2d(before, after, 3, padding=1)
        if batch_norm:
            layers[f"norm{number}"] = nn.BatchNorm2d(after)
        layers[f"relu{number}"] = nn.ReLU()
        if number < len(WIDTHS) - 1:
            layers[f"pool{number}"] = nn.MaxPool2d(2)
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(WIDTHS[-1], len(CLASSES))
    return nn.Sequential(layers)


def load_net() -> tuple[nn.Sequential, dict[str, str]]:
    """The trained network, and what its file says of it: how it was trained, how good it is."""
    with (
        as_file(files("convscope.lessons").joinpath(_FILE)) as path,
        safe_open(path, framework="pt") as stored,
    ):
        weights = {name: stored.get_tensor(name).float() for name in stored.keys()}  # noqa: SIM118
        about = dict(stored.metadata())
    net = build()
    net.load_state_dict(weights)
    return net.eval(), about


def draw_photo(label: str, index: int) -> np.ndarray:
    """Photo number ``index`` of a class, uint8 ``(DRAWN, DRAWN, 3)``."""
    background = ordinary_background(label, seed=SEED, index=index)
    return render_scene(label, seed=SEED, index=index, size=DRAWN, background=background).image


def shrink(photo: np.ndarray) -> np.ndarray:
    """Means of blocks, float64 ``(SIZE, SIZE, 3)``, 0..255; the page does the same."""
    block = DRAWN // SIZE
    means: np.ndarray = photo.reshape(SIZE, block, SIZE, block, 3).mean((1, 3))
    return means


def as_input(pixels: np.ndarray) -> Tensor:
    """Pixels ``(..., height, width, 3)`` of 0..255 to what the network takes, float32."""
    scaled = (np.asarray(pixels) / 255 - MEAN) / SPREAD
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(scaled, -1, -3), np.float32))
