"""LIME on ResNet-18 at 224x224, against the ``lime`` package.

Both get the same image, super-pixels, fill and kernel, and the same network in inference mode. In
the comparison at the same samples the package is handed our on and off as well, so that the weights
can be compared; of its batch sizes the one that is fastest here counts. "Fast" is bfloat16, where
the CPU gains by it. The ways take turns in one run, and each ratio is the median over the turns.
The network's weights are random: times do not depend on them.

Where we stop early, our five super-pixels of most weight are compared with those that the package
finds from samples of its own; as a yardstick, so are those of the package with one more seed.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import time
from collections.abc import Sequence

import numpy as np
import torch
from lime.lime_image import LimeImageExplainer
from torch import Tensor, nn

from common import parser, row, say
from convscope.demo import render_scene
from convscope.explain import Explanation, lime, superpixels
from convscope.explain.forward import PRECISIONS, Precision
from convscope.nets.catalog import build_net, net_spec

SAMPLES, QUICK_SAMPLES = 1000, 300
# The first is what the package does unless told otherwise.
BATCHES = (10, 32, 64)
TRIED = 64
SAME, STOPPED = 2.0, 4.0
TOP = 5


class Given(np.random.RandomState):
    """Random numbers that are on and off of our choice: the package asks for them in one call."""

    def __init__(self, masks: np.ndarray) -> None:
        super().__init__(0)
        self.masks = masks

    def randint(self, *_: object, **__: object) -> np.ndarray:
        """``(samples * segments,)``."""
        return self.masks.astype(int).ravel()


def theirs(
    net: nn.Module,
    image: Tensor,
    labels: np.ndarray,
    target: int,
    samples: int,
    batch: int,
    random: np.random.RandomState,
) -> tuple[np.ndarray, float]:
    """What the package finds: one weight per super-pixel, and the seconds."""

    def classify(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return net(torch.from_numpy(images).permute(0, 3, 1, 2)).softmax(1).numpy()

    pixels = image.permute(1, 2, 0).contiguous().numpy()
    started = time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        found = LimeImageExplainer(random_state=random).explain_instance(
            pixels, classify, labels=(target,), top_labels=None, num_samples=samples,
            batch_size=batch, segmentation_fn=lambda _: labels, random_seed=0,
        )  # fmt: skip
    seconds = time.perf_counter() - started
    weights = np.zeros(labels.max() + 1)
    for place, weight in found.local_exp[target]:
        weights[place] = weight
    return weights, seconds


def ours(
    net: nn.Module,
    image: Tensor,
    labels: np.ndarray,
    target: int,
    samples: int,
    early: bool,
    precision: Precision,
) -> tuple[Explanation, float]:
    """What we find, and the seconds."""
    started = time.perf_counter()
    found = lime(
        net, image, target, segments=labels, samples=samples, stop_early=early, precision=precision
    )
    return found, time.perf_counter() - started


def top(weights: np.ndarray) -> set[int]:
    """The super-pixels of most weight, for or against."""
    return set(np.argsort(-np.abs(weights))[:TOP].tolist())


def fastest_batch(net: nn.Module, image: Tensor, labels: np.ndarray, target: int) -> int:
    """The package's best batch size on this machine."""
    took = {}
    for batch in BATCHES:
        seconds = [
            theirs(net, image, labels, target, TRIED, batch, np.random.RandomState(0))[1]
            for _ in range(2)
        ]
        took[batch] = min(seconds)
        say(f"lime package, batches of {batch}: {took[batch] / TRIED * 1e3:.1f} ms a sample")
    return min(took, key=lambda batch: took[batch])


def lime_rows(quick: bool) -> None:
    """Print rows at the same samples and where we stop early, in either precision."""
    samples, turns = (QUICK_SAMPLES, 1) if quick else (SAMPLES, 3)
    spec = net_spec("resnet18")
    net = build_net(spec, 1000, seed=0).eval()
    photo = render_scene("bird", seed=0, index=0, size=224).image
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (spec.mean, spec.std))
    image = (torch.from_numpy(photo).permute(2, 0, 1).float() / 255 - mean) / std
    labels = superpixels(image[None].numpy())[0]
    with torch.inference_mode():
        target = int(net(image[None]).argmax())
    batch = BATCHES[1] if quick else fastest_batch(net, image, labels, target)
    masks = np.random.default_rng(0).integers(0, 2, (samples, labels.max() + 1), np.uint8)
    took: dict[str, list[float]] = {"theirs": []}
    found: dict[str, Explanation] = {}
    for turn in range(turns):
        peer, seconds = theirs(net, image, labels, target, samples, batch, Given(masks))
        took["theirs"].append(seconds)
        for precision in PRECISIONS:
            for early in (False, True):
                way = f"{precision}, {'stopping early' if early else 'same samples'}"
                found[way], seconds = ours(net, image, labels, target, samples, early, precision)
                took.setdefault(way, []).append(seconds)
        say(f"turn {turn + 1}: " + "; ".join(f"{k} {v[-1]:.1f} s" for k, v in took.items()))
    own = [
        theirs(net, image, labels, target, samples, batch, np.random.RandomState(seed))[0]
        for seed in range(1, 3)
    ]
    shared = {"samples": samples, "super_pixels": int(labels.max()) + 1, "peer_batch": batch}
    for way, ended in found.items():
        weights, shared["computed_in"] = ended.details["weights"], ended.details["computed_in"]
        if way.endswith("same samples"):
            differ = np.abs(weights - peer).max() / np.abs(peer).max()
            _row(way, took["theirs"], took[way], SAME, weights_differ_by=float(f"{differ:.1e}"),
                 **shared)  # fmt: skip
        else:
            _row(way, took["theirs"], took[way], STOPPED,
                 samples_used=int(ended.details["samples"]),
                 stability=round(float(ended.details["stability"]), 3),
                 top_five_as_package=len(top(weights) & top(own[0])),
                 top_five_package_two_seeds=len(top(own[0]) & top(own[1])), **shared)  # fmt: skip


def _row(
    what: str, theirs: Sequence[float], ours: Sequence[float], goal: float, **detail: object
) -> None:
    ratio = statistics.median(a / b for a, b in zip(theirs, ours, strict=True))
    row(
        f"LIME, ResNet-18, {what}", "lime package", ratio, goal,
        statistics.median(ours), statistics.median(theirs), "s", turns=len(ours), **detail,
    )  # fmt: skip


if __name__ == "__main__":
    lime_rows(parser(__doc__).parse_args().quick)
