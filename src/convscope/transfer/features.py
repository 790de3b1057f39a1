"""Features: every photo once through the convolutional part of a pre-trained network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from convscope.data.survey import CHUNK, DecodeSpec, Facts, survey
from convscope.nets.catalog import NetSpec
from convscope.nets.inference import (
    bfloat16_is_fast,
    fused_stages,
    inference_body,
    join_stages,
    prepare,
)
from convscope.run import PrecisionInfo
from convscope.transfer.push import push
from convscope.transfer.shards import Shards

Mode = Literal["fast", "exact"]

# Fast mode keeps as many leading stages in float32 as it takes for every calibration photo to
# reach this cosine; a little above the 0.998 that is promised for all photos.
CALIBRATION_COSINE = 0.9985
CALIBRATION_PHOTOS = 2 * CHUNK
EXACT = PrecisionInfo(mode="exact", dtype="float32", float32_stages=0, cosine=None)


@dataclass(frozen=True)
class Features:
    """One vector per photo.

    Attributes
    ----------
    vectors : numpy.ndarray
        float32 ``(n, features)``; rows of unusable photos are zero.
    facts : tuple of Facts
        What decoding found out about each file.
    precision : PrecisionInfo
    """

    vectors: np.ndarray
    facts: tuple[Facts, ...]
    precision: PrecisionInfo


class Backbone:
    """Photos to pooled feature vectors.

    Parameters
    ----------
    body : nn.Module
        Float32 input to float32 feature maps, see
        :func:`~convscope.nets.inference.inference_body`.
    spec : NetSpec
    """

    def __init__(self, body: nn.Module, spec: NetSpec) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.body = body.to(self.device)
        self.spec = spec

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Photos, uint8 ``(n, size, size, 3)``, to features, float32 ``(n, features)``."""
        with torch.inference_mode():
            x = prepare(torch.from_numpy(pixels).to(self.device), self.spec.mean, self.spec.std)
            pooled: np.ndarray = self.body(x).mean((2, 3)).cpu().numpy()
            return pooled


def make_backbone(net: nn.Module, spec: NetSpec, precision: PrecisionInfo) -> Backbone:
    """The convolutional part of a network with mean pooling behind it, ready to evaluate."""
    kept = precision.float32_stages if precision.dtype == "bfloat16" else None
    return Backbone(inference_body(_stages(net), float32_stages=kept), spec)


def _stages(net: nn.Module) -> nn.Sequential:
    stages = net.get_submodule("features")
    if not isinstance(stages, nn.Sequential):
        raise TypeError(f"{type(net).__name__}.features is no sequence of stages")
    return stages.eval()


def decode_spec(spec: NetSpec, precision: PrecisionInfo) -> DecodeSpec:
    """How photos are decoded for this network."""
    return DecodeSpec(spec.resize, spec.size, fast=precision.mode == "fast")


def choose_precision(
    paths: Sequence[Path], net: nn.Module, spec: NetSpec, mode: Mode
) -> PrecisionInfo:
    """Say how to compute: as asked, or exactly where fast features are not close enough.

    Tried in turn on photos spread over the data set, against exact decoding and float32:
    bfloat16 (where the processor multiplies it in tiles) for all stages but the first 0, 1, 2...,
    then float32 with fast decoding.

    Parameters
    ----------
    paths : sequence of Path
        Unreadable files among them are passed over.
    net : nn.Module
    spec : NetSpec
    mode : str
    """
    if mode == "exact":
        return EXACT
    exact_pixels = _calibration_pixels(paths, spec, fast=False)
    if not len(exact_pixels):
        return EXACT
    exact_stages = fused_stages(_stages(net))
    exact = Backbone(join_stages(exact_stages, []), spec)(exact_pixels)
    pixels = _calibration_pixels(paths, spec, fast=True)

    def measure(kept: int, fast_stages: list[nn.Module]) -> PrecisionInfo:
        body = join_stages(exact_stages[:kept], fast_stages)
        cosine = float(cosines(exact, Backbone(body, spec)(pixels)).min())
        return PrecisionInfo(
            mode="fast",
            dtype="bfloat16" if fast_stages else "float32",
            float32_stages=kept if fast_stages else 0,
            cosine=round(cosine, 5),
        )

    fast_stages = fused_stages(_stages(net), torch.bfloat16) if bfloat16_is_fast() else []
    for kept in range(len(fast_stages)):
        found = measure(kept, fast_stages[kept:])
        if (found.cosine or 0) >= CALIBRATION_COSINE:
            return found
    found = measure(len(exact_stages), [])
    return found if (found.cosine or 0) >= CALIBRATION_COSINE else EXACT


def _calibration_pixels(paths: Sequence[Path], spec: NetSpec, *, fast: bool) -> np.ndarray:
    """A few readable photos, uint8 ``(n, size, size, 3)``."""
    # Twice as many candidates as are wanted: some may be unreadable.
    some = paths[:: max(1, len(paths) // (2 * CALIBRATION_PHOTOS))]
    found = np.zeros((0, spec.size, spec.size, 3), np.uint8)
    for chunk in survey(some, DecodeSpec(spec.resize, spec.size, fast=fast), workers=0):
        usable = chunk.pixels[[fact.usable for fact in chunk.facts]]
        found = np.concatenate([found, usable])
        if len(found) >= CALIBRATION_PHOTOS:
            break
    return found[:CALIBRATION_PHOTOS]


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row by row, float ``(n,)``."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(lengths, 1e-12))


def extract_features(
    paths: Sequence[Path],
    net: nn.Module,
    spec: NetSpec,
    *,
    mode: Mode = "fast",
    workers: int | None = None,
    shards: Shards | None = None,
    advance: Callable[[int], None] = lambda more: None,
) -> Features:
    """Push photos through the convolutional part of a network.

    Parameters
    ----------
    paths : sequence of Path
        Files that cannot be decoded are named in the result's facts.
    net : nn.Module
        With its convolutional part as the sequence ``features``; left as it is.
    spec : NetSpec
    mode : str
        ``fast``: bfloat16 where the processor computes it and the features stay close, JPEGs
        decoded at a fraction of their size where that is enough. ``exact``: float32 throughout.
    workers : int, optional
        Decoding processes, default one per core.
    shards : Shards, optional
        Where finished rows are kept, and found again after an interruption.
    advance : callable, optional
        Told how many more photos are done.
    """
    done = shards.read() if shards is not None else None
    precision = done.precision if done else choose_precision(paths, net, spec, mode)
    facts: list[Facts] = list(done.facts) if done else []
    vectors = np.zeros((len(paths), spec.features or 0), np.float32)
    if done:
        vectors[: len(facts)] = done.vectors
        advance(len(facts))
    backbone = make_backbone(net, spec, precision)
    first = len(facts)
    results = push(paths[first:], decode_spec(spec, precision), backbone, workers=workers)
    with closing(results):
        for chunk, output in results:
            usable = np.array([fact.usable for fact in chunk.facts])
            rows = slice(first + chunk.rows.start, first + chunk.rows.stop)
            vectors[rows] = np.where(usable[:, None], output, 0)
            facts.extend(chunk.facts)
            advance(len(chunk.facts))
            if shards is not None:
                shards.keep(vectors, facts, precision)
    return Features(vectors, tuple(facts), precision)
