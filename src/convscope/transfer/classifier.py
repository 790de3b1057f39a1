"""The strategy ``features``: a frozen network with a small classifier on its features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from convscope.data.dataset import Dataset, make_dataset
from convscope.data.folder import PhotoTable
from convscope.fitted import Fitted
from convscope.nets.catalog import NetSpec, build_net
from convscope.nets.weights import load_body, read_weights
from convscope.progress import Progress
from convscope.run import WeightsInfo
from convscope.transfer.assembled import assemble
from convscope.transfer.features import Features, Mode, extract_features
from convscope.transfer.heads import FittedHead, best_head, fit_heads
from convscope.transfer.shards import Shards


@dataclass(frozen=True)
class Pushed:
    """Photos that have passed through a pre-trained network once.

    Attributes
    ----------
    net : nn.Module
        Its last layer starts anew, for these classes.
    features : Features
        Of all files.
    dataset : Dataset
    weights : WeightsInfo
    seed : int
    fitted : dict
        Kind and stages -> the classifier, of those that were fitted before.
    """

    net: nn.Module
    features: Features
    dataset: Dataset
    weights: WeightsInfo
    seed: int
    fitted: dict[tuple[str, tuple[str, ...]], FittedHead] = field(default_factory=dict)

    def vectors(self, stages: Sequence[str]) -> np.ndarray:
        """The features of some stages, joined, one row per photo of the data set."""
        parts = [self.features.of(stage) for stage in stages]
        joined: np.ndarray = np.concatenate(parts, axis=1)[self.dataset.rows]
        return joined

    def fit(
        self, kinds: Sequence[str], stages: Sequence[str], progress: Progress
    ) -> tuple[FittedHead, ...]:
        """Classifiers of these kinds on the features of these stages."""
        data, vectors = self.dataset, self.vectors(stages)
        train, valid = data.places("train"), data.places("valid")
        of = tuple(stages)
        new = [kind for kind in kinds if (kind, of) not in self.fitted]
        heads = fit_heads(
            new, vectors[train], data.labels[train], vectors[valid], data.labels[valid],
            len(data.table.classes), seed=self.seed, progress=progress,
            groups=np.concatenate([data.units[train], data.units[valid]]),
        )  # fmt: skip
        self.fitted.update({(head.kind, of): head for head in heads})
        return tuple(self.fitted[kind, of] for kind in kinds)


def push_photos(
    table: PhotoTable,
    spec: NetSpec,
    weights_file: Path,
    *,
    stages: Sequence[str] | None = None,
    mode: Mode,
    seed: int,
    work: Path,
    workers: int | None,
    progress: Progress,
) -> Pushed:
    """Push every photo once through a pre-trained network, and split the photos.

    Parameters
    ----------
    table : PhotoTable
    spec : NetSpec
    weights_file : Path
    stages : sequence of str, optional
        To take features from; default the last.
    mode : str
        ``fast`` or ``exact``, see :func:`~convscope.transfer.features.extract_features`.
    seed : int
        For the split, where none is given, and for what starts from random numbers.
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
    named = "-".join((weights.sha256[:16], *(stages or ())))
    with progress.task(f"features of {spec.name}", len(paths), "photos") as advance:
        features = extract_features(
            paths, net, spec, stages=stages, mode=mode, workers=workers,
            shards=Shards(work / f"features-{named}"), advance=advance,
        )  # fmt: skip
    dataset = make_dataset(table, features.facts, seed, progress)
    info = WeightsInfo(source=weights.source, sha256=weights.sha256)
    return Pushed(net, features, dataset, info, seed)


def fit_on_features(
    pushed: Pushed, stages: Sequence[str], kinds: Sequence[str], progress: Progress
) -> Fitted:
    """Fit a classifier on the features, the best of several kinds.

    Parameters
    ----------
    pushed : Pushed
    stages : sequence of str
        Whose features it gets, joined.
    kinds : sequence of str
        See :data:`~convscope.transfer.heads.HEADS`.
    progress : Progress
    """
    heads = pushed.fit(kinds, stages, progress)
    head = best_head(heads)
    dataset = pushed.dataset
    logits = head.logits(pushed.vectors(stages))
    train, valid = dataset.places("train"), dataset.places("valid")
    # Where folds were held out it was fitted on the validation photos, too; honest is what was said
    # of each by the head that had not seen it.
    of_valid = head.held_out_rows >= len(train)
    logits[valid[head.held_out_rows[of_valid] - len(train)]] = head.held_out_logits[of_valid]
    net, info = assemble(pushed.net, stages, head)
    return Fitted(
        net=net,
        dataset=dataset,
        logits=logits,
        precision=pushed.features.precision,
        weights=pushed.weights,
        augment=None,
        training=_training(head, heads, stages),
        strategy="features",
        head=info,
        held_out=(head.held_out_logits, head.held_out_labels),
    )


_WORDS = {
    "logistic": "logistic regression",
    "linear_svm": "linear support vector machine",
    "rbf_svm": "support vector machine with an RBF kernel",
    "forest": "random forest",
    "neighbours": "k nearest neighbours",
    "fcnn": "small fully connected network",
}


def _training(
    head: FittedHead, heads: Sequence[FittedHead], stages: Sequence[str]
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "head": _WORDS[head.kind],
        "stages": list(stages),
        "settings": head.settings,
        "chosen_on": head.chosen_on,
        "heads": [
            {
                "head": _WORDS[each.kind],
                "settings": each.settings,
                "held_out_log_loss": each.log_loss,
                "held_out_accuracy": each.accuracy,
                "seconds": round(each.seconds, 2),
                "tried": list(each.candidates),
            }
            for each in heads
        ],
    }
    if "C" in head.settings:
        found["C"] = head.settings["C"]
        found["C_tried"] = [
            {
                "C": tried["settings"]["C"],
                "valid_log_loss": tried["log_loss"],
                "valid_accuracy": tried["accuracy"],
            }
            for tried in head.candidates
            # One curve: what else was tried is as in the head that was kept.
            if {**tried["settings"], "C": head.settings["C"]} == head.settings
        ]
    return found
