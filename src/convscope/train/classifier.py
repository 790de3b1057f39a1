"""The strategies ``fcnn`` and ``cnn``: a network trained from scratch on the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from convscope.data.augment import Augmentation
from convscope.data.checks import require_classes
from convscope.data.dataset import Dataset, class_numbers, is_split, make_dataset
from convscope.data.folder import SPLITS, PhotoTable
from convscope.data.pixels import Pixels
from convscope.data.samples import training_sheet
from convscope.data.survey import CHUNK, DecodeSpec, Facts
from convscope.fitted import Fitted
from convscope.nets.catalog import NetSpec, build_net
from convscope.nets.inference import network_logits
from convscope.progress import Progress
from convscope.run import PrecisionInfo
from convscope.train.batches import epoch_order
from convscope.train.loop import TrainData, quiet, train_network
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

    order = _decode_order(table, seed)
    decode = DecodeSpec(spec.resize, spec.size)
    # Decoding in a thread of this process changes the filters of warnings too, and must both start
    # and end while they are as training wants them.
    with (
        quiet(),
        closing(
            Pixels(
                table.full_paths(), decode, order, cache_file=work / "pixels", workers=workers,
                on_complete=refuse_poor_classes,
            )
        ) as pixels,
    ):  # fmt: skip
        train, valid, dataset = _training_rows(table, pixels, seed, progress)
        data = TrainData(
            pixels, labels, train, valid, len(table.classes), spec.mean, spec.std, policy
        )
        net = build_net(spec, len(table.classes), seed)
        trained = train_network(
            net, data, plan, seed=seed, work=work, epochs_file=epochs_file,
            resume=resume, progress=progress,
        )  # fmt: skip
        dataset = dataset or make_dataset(table, pixels.facts(), seed, progress)
        forward = network_logits(net, spec.mean, spec.std)
        sample_sheet = training_sheet(table, pixels, policy, train, seed=seed)
        parts = np.array_split(dataset.rows, -(-len(dataset.rows) // _EVALUATION_BATCH))
        logits = np.concatenate([forward(pixels.array[rows]) for rows in parts])
    return Fitted(
        net=net,
        dataset=dataset,
        logits=logits,
        precision=PRECISION,
        weights=None,
        augment=policy.model_dump() if policy else None,
        training={**asdict(plan), "max_epochs": plan.epochs, **asdict(trained)},
        sheet=sample_sheet,
    )


def _given_rows(table: PhotoTable) -> dict[str, np.ndarray]:
    """Split -> rows of the table, where the user has given all three."""
    if not is_split(table):
        return {}
    splits = np.asarray(table.splits)
    return {name: np.flatnonzero(splits == name) for name in SPLITS}


def _decode_order(table: PhotoTable, seed: int) -> Sequence[int]:
    """A few held-out photos, then the training photos as the first epoch wants them."""
    given = _given_rows(table)
    if not given:
        return range(len(table))
    held_out = [given["valid"], given["test"]]
    parts = [
        *(rows[:CHUNK] for rows in held_out),
        epoch_order(given["train"], seed, 0),
        *(rows[CHUNK:] for rows in held_out),
    ]
    order: list[int] = np.concatenate(parts).tolist()
    return order


def _training_rows(
    table: PhotoTable, pixels: Pixels, seed: int, progress: Progress
) -> tuple[np.ndarray, np.ndarray, Dataset | None]:
    """Rows to train and to validate on; the data set, if it took that to know them."""
    given = _given_rows(table)
    if given and all(_any_usable(pixels, rows) for rows in given.values()):
        return given["train"], given["valid"], None
    # Copies must not cross the split, so all photos have to be seen before it is made.
    dataset = make_dataset(table, pixels.facts(), seed, progress)
    train, valid = (dataset.rows[dataset.places(name)] for name in ("train", "valid"))
    return train, valid, dataset


def _any_usable(pixels: Pixels, rows: np.ndarray) -> bool:
    """Whether a split has a photo to show; as a rule its first few tell."""
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        pixels.wait(some)
        if pixels.usable[some].any():
            return True
    return False
