"""Features: every photo once through a pre-trained network, as far as some of its stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from convscope.data.survey import CHUNK, DecodeSpec, Facts, survey
from convscope.errors import ConvscopeError, unknown_name
from convscope.nets.catalog import NetSpec
from convscope.nets.inference import bfloat16_is_fast, fused_stages, prepare
from convscope.run import PrecisionInfo
from convscope.transfer.push import push
from convscope.transfer.shards import Shards
from convscope.transfer.staged import StageVectors, chosen_stages, stage_columns
from convscope.transfer.tapped import TappedStages, split_at

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
    columns : dict of str to slice
        Stage -> where its numbers lie in ``vectors``.
    """

    vectors: np.ndarray
    facts: tuple[Facts, ...]
    precision: PrecisionInfo
    columns: Mapping[str, slice]

    def of(self, stage: str) -> np.ndarray:
        """The vectors of one stage, float32 ``(n, channels)``."""
        if stage not in self.columns:
            raise unknown_name("stage of these features", stage, self.columns)
        return self.vectors[:, self.columns[stage]]


class Backbone:
    """Photos to feature vectors.

    Parameters
    ----------
    body : nn.Module
        Float32 input, channels last, to float32 vectors ``(n, features)``.
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
            vectors: np.ndarray = self.body(x).cpu().numpy()
            return vectors


def make_backbone(
    net: nn.Module, spec: NetSpec, precision: PrecisionInfo, stages: Sequence[str] | None = None
) -> Backbone:
    """A network as far as some of its stages, ready to evaluate.

    Parameters
    ----------
    net : nn.Module
        Set to evaluation mode.
    spec : NetSpec
    precision : PrecisionInfo
    stages : sequence of str, optional
        Default the last.
    """
    chosen = chosen_stages(net, stages, spec.name)
    net.eval()
    parts = split_at(net, chosen)
    if parts is None:
        # Channels last in memory: the layout of the photos that come in.
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return Backbone(StageVectors(net, [stage.name for stage in chosen]).eval(), spec)
    kept = precision.float32_stages if precision.dtype == "bfloat16" else len(parts.modules)
    exact = fused_stages(parts.modules[:kept])
    fast = fused_stages(parts.modules[kept:], torch.bfloat16)
    return Backbone(TappedStages(exact, fast, parts.taps), spec)


def decode_spec(spec: NetSpec, precision: PrecisionInfo) -> DecodeSpec:
    """How photos are decoded for this network."""
    return DecodeSpec(spec.resize, spec.size, fast=precision.mode == "fast")


def choose_precision(
    paths: Sequence[Path],
    net: nn.Module,
    spec: NetSpec,
    mode: Mode,
    stages: Sequence[str] | None = None,
) -> PrecisionInfo:
    """Say how to compute: as asked, or exactly where fast features are not close enough.

    Tried in turn on photos spread over the data set, against exact decoding and float32:
    bfloat16 (where the processor multiplies it in tiles) for all modules but the first 0, 1, 2...,
    then float32 with fast decoding. Networks that are no sequence as far as the stages go are
    computed in float32.

    Parameters
    ----------
    paths : sequence of Path
        Unreadable files among them are passed over.
    net : nn.Module
    spec : NetSpec
    mode : str
    stages : sequence of str, optional
        All of them must be close; default the last.
    """
    if mode == "exact":
        return EXACT
    exact_pixels = _calibration_pixels(paths, spec, fast=False)
    if not len(exact_pixels):
        return EXACT
    chosen = chosen_stages(net, stages, spec.name)
    columns = stage_columns({stage.name: stage.channels for stage in chosen})
    exact = make_backbone(net, spec, EXACT, stages)(exact_pixels)
    pixels = _calibration_pixels(paths, spec, fast=True)

    def measure(backbone: Backbone, kept: int | None = None) -> PrecisionInfo:
        got = backbone(pixels)
        cosine = min(float(cosines(exact[:, c], got[:, c]).min()) for c in columns.values())
        return PrecisionInfo(
            mode="fast",
            dtype="float32" if kept is None else "bfloat16",
            float32_stages=kept or 0,
            cosine=round(cosine, 5),
        )

    parts = split_at(net, chosen) if bfloat16_is_fast() else None
    if parts is not None:
        exact_parts = fused_stages(parts.modules)
        fast_parts = fused_stages(parts.modules, torch.bfloat16)
        for kept in range(len(fast_parts)):
            body = TappedStages(exact_parts[:kept], fast_parts[kept:], parts.taps)
            found = measure(Backbone(body, spec), kept)
            if (found.cosine or 0) >= CALIBRATION_COSINE:
                return found
    found = measure(make_backbone(net, spec, EXACT, stages))
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
    stages: Sequence[str] | None = None,
    mode: Mode = "fast",
    precision: PrecisionInfo | None = None,
    workers: int | None = None,
    shards: Shards | None = None,
    advance: Callable[[int], None] = lambda more: None,
) -> Features:
    """Push photos through a network as far as some of its stages.

    Parameters
    ----------
    paths : sequence of Path
        Files that cannot be decoded are named in the result's facts.
    net : nn.Module
        Of the catalogue; set to evaluation mode, otherwise left as it is.
    spec : NetSpec
    stages : sequence of str, optional
        Whose vectors are joined, in this order; default the last.
    mode : str
        ``fast``: bfloat16 where the processor computes it and the features stay close, JPEGs
        decoded at a fraction of their size where that is enough. ``exact``: float32 throughout.
    precision : PrecisionInfo, optional
        As earlier photos were computed; without it ``mode`` and the photos decide.
    workers : int, optional
        Decoding processes, default one per core.
    shards : Shards, optional
        Where finished rows are kept, and found again after an interruption.
    advance : callable, optional
        Told how many more photos are done.

    Raises
    ------
    InputError
        If the network has no such stage.
    """
    chosen = chosen_stages(net, stages, spec.name)
    columns = stage_columns({stage.name: stage.channels for stage in chosen})
    done = shards.read() if shards is not None else None
    if done:
        precision = done.precision
    elif precision is None:
        precision = choose_precision(paths, net, spec, mode, stages)
    facts: list[Facts] = list(done.facts) if done else []
    vectors = np.zeros((len(paths), sum(stage.channels for stage in chosen)), np.float32)
    if done:
        vectors[: len(facts)] = done.vectors
        advance(len(facts))
    backbone = make_backbone(net, spec, precision, stages)
    first = len(facts)
    results = push(paths[first:], decode_spec(spec, precision), backbone, workers=workers)
    try:
        with closing(results):
            for chunk, output in results:
                usable = np.array([fact.usable for fact in chunk.facts])
                rows = slice(first + chunk.rows.start, first + chunk.rows.stop)
                vectors[rows] = np.where(usable[:, None], output, 0)
                facts.extend(chunk.facts)
                advance(len(chunk.facts))
                if shards is not None:
                    shards.keep(vectors, facts, precision)
    except (KeyboardInterrupt, ConvscopeError):
        if shards is not None:
            shards.keep(vectors, facts, precision, at_least=1)
        raise
    return Features(vectors, tuple(facts), precision, columns)
