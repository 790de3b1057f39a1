"""Photos per second from JPEG files to MobileNetV2 features, against the plain loop.

The peer is what everybody writes first: one process, Pillow decodes, resize 256, crop 224,
float32 MobileNetV2 as PyTorch makes it, batches of 32. The three ways take turns in one run, and
each ratio is the median over the rounds.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from common import material, parser, row, say
from convscope.data.folder import scan
from convscope.nets.catalog import NetSpec, build_net, net_spec
from convscope.nets.weights import load_body, read_weights
from convscope.transfer.features import Mode, cosines, extract_features

BATCH = 32
GOALS: dict[Mode, float] = {"exact": 1.4, "fast": 2.5}
MIN_COSINE: dict[Mode, float] = {"exact": 0.9999, "fast": 0.998}


def plain(files: list[Path], net: nn.Module, spec: NetSpec) -> np.ndarray:
    """The plain loop, as a tutorial has it."""
    mean = torch.tensor(spec.mean).view(3, 1, 1)
    std = torch.tensor(spec.std).view(3, 1, 1)
    rows = []
    with torch.inference_mode():
        for start in range(0, len(files), BATCH):
            batch = [load(file, spec) for file in files[start : start + BATCH]]
            x = torch.stack([(photo - mean) / std for photo in batch])
            rows.append(net.get_submodule("features")(x).mean((2, 3)))
    return torch.cat(rows).numpy()


def load(file: Path, spec: NetSpec) -> torch.Tensor:
    """Resize and centre crop, with torchvision's rounding."""
    image = Image.open(file).convert("RGB")
    short, long = sorted(image.size)
    longer = int(spec.resize * long / short)
    size = (spec.resize, longer) if image.width == short else (longer, spec.resize)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - spec.size) / 2), round((size[1] - spec.size) / 2)
    image = image.crop((left, top, left + spec.size, top + spec.size))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def main() -> None:
    options = parser(__doc__).parse_args()
    with material(options) as (photos, weights, _):
        files = scan(photos).full_paths()
        files = files[:: max(1, len(files) // (200 if options.quick else 1400))]
        spec = net_spec("mobilenet_v2")
        net = build_net(spec, 10, seed=0).eval()
        load_body(net, read_weights(weights))
        plain(files[:BATCH], net, spec)
        extract_features(files[:BATCH], net, spec)
        speeds: dict[str, list[float]] = {"plain": [], "exact": [], "fast": []}
        found: dict[str, np.ndarray] = {}
        dtypes: dict[str, str] = {}
        for turn in range(1 if options.quick else 3):
            for way in speeds:
                started = time.perf_counter()
                if way == "plain":
                    found[way] = plain(files, net, spec)
                else:
                    got = extract_features(files, net, spec, mode=way)  # type: ignore[arg-type]
                    found[way] = got.vectors
                    kept = got.precision.float32_stages
                    dtypes[way] = f"{got.precision.dtype}, first {kept} stages float32"
                speeds[way].append(len(files) / (time.perf_counter() - started))
                say(f"turn {turn + 1}, {way}: {speeds[way][-1]:.0f} photos/s")
    for mode, goal in GOALS.items():
        ratios = [a / b for a, b in zip(speeds[mode], speeds["plain"], strict=True)]
        closeness = cosines(found[mode], found["plain"])
        row(
            f"MobileNetV2 features from JPEG files, {mode} mode",
            "plain loop: Pillow and PyTorch, one process, batch 32, float32",
            statistics.median(ratios), goal,
            statistics.median(speeds[mode]), statistics.median(speeds["plain"]), "photos/s",
            photos=len(files), ratios=[round(r, 2) for r in ratios],
            cosine_min=round(float(closeness.min()), 6),
            cosine_mean=round(float(closeness.mean()), 6),
            cosine_goal=MIN_COSINE[mode], dtype=dtypes[mode],
        )  # fmt: skip


if __name__ == "__main__":
    main()
