"""Photo folders that a network learns in an epoch or two, and a command line in a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import photos
from convscope.nets.catalog import net_spec
from convscope.nets.inference import prepare
from convscope.nets.mobilenet import MobileNetV2

TINTS = {"brick": (200, 70, 50), "leaf": (60, 170, 60), "sky": (80, 120, 220)}


def tinted(label: str, seed: int, side: int = 64) -> Image.Image:
    """A texture of no two alike, in the colour of its class."""
    grey = np.asarray(photos.texture(seed, side, side).convert("L"), np.float32)[..., None] - 128
    tint = np.array(TINTS[label], np.float32)
    return Image.fromarray(np.clip(tint + 0.35 * grey, 0, 255).astype(np.uint8))


def tinted_folder(root: Path, counts: Mapping[str, int] | int, *, start: int = 0) -> Path:
    """Class folders; or split folders, given split -> photos per class."""
    number = start
    parts = {"": counts} if isinstance(counts, int) else dict(counts)
    for split, per_class in parts.items():
        for label in TINTS:
            folder = root / split / label if split else root / label
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(per_class):
                number += 1
                tinted(label, number).save(folder / f"{label}{i:02}.png")
    return root


def settled_net(num_classes: int, side: int = 224) -> MobileNetV2:
    """A MobileNetV2 whose batch norms fit its activations, as after training: no value dies out."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = MobileNetV2(num_classes).train()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the mean over what follows
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.3)
        with torch.no_grad():
            for seed in range(3):
                some = [np.asarray(photos.texture(seed * 8 + i, side, side)) for i in range(8)]
                spec = net_spec("mobilenet_v2")
                net(prepare(torch.from_numpy(np.stack(some)), spec.mean, spec.std))
    return net.eval()


def convscope(
    *arguments: str | Path, cwd: Path | None = None, prefix: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own; ``prefix`` is Python that runs before it."""
    code = f"import sys\n{prefix}\nfrom convscope.cli import main\nmain(sys.argv[1:])"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200"}
    environment.pop("CONVSCOPE_DEBUG", None)
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300, check=False
    )
