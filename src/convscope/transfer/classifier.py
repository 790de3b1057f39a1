"""The strategy ``features``: a frozen backbone with a logistic regression on top."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from convscope.data.dataset import make_dataset
from convscope.data.folder import PhotoTable
from convscope.fitted import Fitted
from convscope.nets.catalog import NetSpec, build_net
from convscope.nets.inference import last_linear
from convscope.nets.weights import load_body, read_weights
from convscope.progress import Progress
from convscope.run import WeightsInfo
from convscope.transfer.features import Mode, extract_features
from convscope.transfer.heads.linear import LinearHead, fit_linear_head
from convscope.transfer.shards import Shards


def fit_on_features(
    table: PhotoTable,
    spec: NetSpec,
    weights_file: Path,
    *,
    mode: Mode,
    seed: int,
    work: Path,
    workers: int | None,
    progress: Progress,
) -> Fitted:
    """Push every photo once through a pre-trained network and fit a head on its features.

    Parameters
    ----------
    table : PhotoTable
    spec : NetSpec
        With features.
    weights_file : Path
    mode : str
        ``fast`` or ``exact``, see :func:`~convscope.transfer.features.extract_features`.
    seed : int
        For the split, where none is given.
    work : Path
        Where finished features are kept for resuming.
    workers : int or None
        Decoding processes.
    progress : Progress
    """
    weights = read_weights(weights_file)
    net = build_net(spec, len(table.classes), seed)
    load_body(net, weights)
    net.eval()
    paths = table.full_paths()
    # A file of the same name may hold other weights by the time the fit is resumed.
    shards = Shards(work / f"features-{weights.sha256[:16]}")
    with progress.task(f"features of {spec.name}", len(paths), "photos") as advance:
        features = extract_features(
            paths, net, spec, mode=mode, workers=workers, shards=shards, advance=advance
        )
    dataset = make_dataset(table, features.facts, seed, progress)
    vectors = features.vectors[dataset.rows]
    train, valid = dataset.places("train"), dataset.places("valid")
    progress.say(f"fitting a logistic regression on {len(train):,} photos")
    head = fit_linear_head(
        vectors[train],
        dataset.labels[train],
        vectors[valid],
        dataset.labels[valid],
        len(table.classes),
    )
    _put_head(net, head)
    return Fitted(
        net=net,
        dataset=dataset,
        logits=head.logits(vectors),
        precision=features.precision,
        weights=WeightsInfo(source=weights.source, sha256=weights.sha256),
        augment=None,
        training={
            "head": "logistic regression",
            "C": head.C,
            "C_tried": [asdict(candidate) for candidate in head.candidates],
        },
    )


def _put_head(net: nn.Module, head: LinearHead) -> None:
    """The head becomes the network's last layer, so that the file holds the whole classifier."""
    last = last_linear(net)
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(head.weight))
        last.bias.copy_(torch.from_numpy(head.bias))
