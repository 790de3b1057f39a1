"""The strategies ``fcnn`` and ``cnn``: a network trained from scratch on the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from convscope.data.augment import Augmentation
from convscope.data.checks import require_classes
from convscope.data.dataset import class_numbers, is_split, make_dataset
from convscope.data.folder import PhotoTable
from convscope.data.pixels import Pixels
from convscope.data.survey import DecodeSpec, Facts
from convscope.fitted import Fitted
from convscope.nets.catalog import NetSpec, build_net
from convscope.nets.inference import network_logits
from convscope.progress import Progress
from convscope.run import PrecisionInfo
from convscope.train.batches import epoch_order
from convscope.train.loop import TrainData, train_network
from convscope.train.step import TrainPlan

_EVALUATION_BATCH = 256
PRECISION = PrecisionInfo(mode="fast", dtype="float32", float32_stages=0, cosine=None)


def fit_network(
    table: PhotoTable,
    spec: NetSpec,
    policy: Augmentation | None,
    *,
    epochs: int | None,
    seed: int,
    work: Path,
    epochs_file: Path,
    resume: bool,
    workers: int | None,
    progress: Progress,
) -> Fitted:
    """Decode every photo once and train a network on them.

    Where the split is given, training starts as soon as the first batch is decoded.

    Parameters
    ----------
    table : PhotoTable
    spec : NetSpec
    policy : Augmentation or None
        For the training photos.
    epochs : int or None
        At most; None for the plan's own number.
    seed : int
    work : Path
        For checkpoints and the pixel cache.
    epochs_file : Path
        The learning curves.
    resume : bool
    workers : int or None
        Decoding processes.
    progress : Progress
    """
    plan = TrainPlan() if epochs is None else replace(TrainPlan(), epochs=epochs)
    labels = class_numbers(table)

    def refuse_poor_classes(facts: Sequence[Facts]) -> None:
        require_classes(table, facts)

    pixels = Pixels(
        table.full_paths(),
        DecodeSpec(spec.resize, spec.size),
        _decode_order(table, seed),
        cache_file=work / "pixels",
        workers=workers,
        on_complete=refuse_poor_classes,
    )
    try:
        net = build_net(spec, len(table.classes), seed)
        dataset = None
        if is_split(table):
            train, valid = _given_rows(table)
        else:
            # Copies must not cross the split, so all photos have to be seen before it is made.
            dataset = make_dataset(table, pixels.facts(), seed, progress)
            train = dataset.rows[dataset.places("train")]
            valid = dataset.rows[dataset.places("valid")]
        data = TrainData(
            pixels, labels, train, valid, len(table.classes), spec.mean, spec.std, policy
        )
        trained = train_network(
            net, data, plan, seed=seed, work=work, epochs_file=epochs_file,
            resume=resume, progress=progress,
        )  # fmt: skip
        dataset = dataset or make_dataset(table, pixels.facts(), seed, progress)
        forward = network_logits(net, spec.mean, spec.std)
        parts = np.array_split(dataset.rows, -(-len(dataset.rows) // _EVALUATION_BATCH))
        logits = np.concatenate([forward(pixels.array[rows]) for rows in parts])
    finally:
        pixels.close()
    return Fitted(
        net=net,
        dataset=dataset,
        logits=logits,
        precision=PRECISION,
        weights=None,
        augment=policy.model_dump() if policy else None,
        training={**asdict(plan), "max_epochs": plan.epochs, **asdict(trained)},
    )


def _decode_order(table: PhotoTable, seed: int) -> Sequence[int]:
    """First the training photos, in the order in which the first epoch wants them."""
    if not is_split(table):
        return range(len(table))
    train, valid = _given_rows(table)
    first = epoch_order(train, seed, 0)
    rest = np.setdiff1d(np.arange(len(table)), np.concatenate([train, valid]))
    order: list[int] = np.concatenate([first, valid, rest]).tolist()
    return order


def _given_rows(table: PhotoTable) -> tuple[np.ndarray, np.ndarray]:
    splits = np.asarray(table.splits)
    return np.flatnonzero(splits == "train"), np.flatnonzero(splits == "valid")
