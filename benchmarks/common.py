"""What the benchmarks share: rows of JSON on stdout, and photos and weights to work on.

Photos and weights lie in a folder ``shared`` beside the checkout, or are named by
``--photos`` and ``--weights``. Without either, convscope draws its own photos and the network
keeps its random weights: times are the same, accuracies mean nothing then and are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import save_file

from convscope.demo import write_photos
from convscope.nets.catalog import build_net, net_spec

_SHARED = Path(__file__).resolve().parents[2] / "shared"
CLOTHING = _SHARED / "images" / "clothing"
MOBILENET = _SHARED / "weights" / "mobilenet_v2_imagenet.safetensors"


def parser(about: str | None) -> argparse.ArgumentParser:
    """With the options that every benchmark takes."""
    made = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    made.add_argument("--quick", action="store_true", help="less work, rougher figures")
    made.add_argument("--photos", type=Path, help="folder with train/valid/test")
    made.add_argument("--weights", type=Path, help="MobileNetV2 weights")
    return made


@contextmanager
def material(options: argparse.Namespace) -> Iterator[tuple[Path, Path, bool]]:
    """Photos, weights, and whether accuracies mean something."""
    with tempfile.TemporaryDirectory() as folder:
        photos = options.photos or (CLOTHING if CLOTHING.is_dir() else None)
        weights = options.weights or (MOBILENET if MOBILENET.is_file() else None)
        real = photos is not None and weights is not None
        if photos is None:
            say("no photos: drawing some")
            photos = Path(folder) / "photos"
            write_photos(photos, seed=0, size=256)
        if weights is None:
            say("no weights: random ones")
            weights = Path(folder) / "random.safetensors"
            save_file(build_net(net_spec("mobilenet_v2"), 1000, seed=0).state_dict(), weights)
        yield photos, weights, real


def row(
    work: str, against: str, ratio: float | None, goal: float | None,
    ours: float, theirs: float | None, unit: str, **detail: object,
) -> None:  # fmt: skip
    """Print one result; a ratio above 1 means that convscope is better."""
    result = {
        "work": work,
        "against": against,
        "ratio": None if ratio is None else round(ratio, 3),
        "goal": goal,
        "ours": round(ours, 4),
        "theirs": None if theirs is None else round(theirs, 4),
        "unit": unit,
        "detail": {**detail, "machine": f"{os.cpu_count()} cores, {platform.machine()}"},
    }
    print(json.dumps(result), flush=True)


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)
