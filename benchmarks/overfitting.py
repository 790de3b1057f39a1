"""What augmentation does against overfitting: the founding CNN on 50 photos of each class.

Test accuracy at 48 x 48, mean over seeds, and the gap between validation and training loss in the
epoch that is kept. Where the photos have a split, 50 training photos of each class are taken from
it and the test photos stay what they are.
"""

from __future__ import annotations

import csv
import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

from common import material, parser, row, say
from convscope import FitOptions, fit
from convscope.data.folder import scan

PER_CLASS = 50


class Outcome(NamedTuple):
    """Of one training."""

    accuracy: float
    gap: float
    wait: float


def few(photos: Path, table: Path) -> Path:
    """A table with as many training photos of each class as are wanted, the others as they are."""
    found = scan(photos)
    taken: dict[str, int] = {}
    splits = found.splits or ("train",) * len(found)
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "split"])
        for path, label, split in zip(found.full_paths(), found.labels, splits, strict=True):
            if split == "train":
                taken[label] = taken.get(label, 0) + 1
                if taken[label] > PER_CLASS:
                    continue
            writer.writerow([str(path), label, split])
    return table


def train(table: Path, augment: str, seed: int, quick: bool) -> Outcome:
    options = FitOptions(strategy="cnn", augment=augment, seed=seed, epochs=3 if quick else None)
    with tempfile.TemporaryDirectory() as folder:
        run = fit(table, Path(folder) / "run", options)
        accuracy = float(run.metrics()["splits"]["test"]["accuracy"])
        with run.epochs_path.open() as stream:
            epochs = list(csv.DictReader(stream))
        kept = epochs[int(run.info().training["best_epoch"]) - 1]
    gap = float(kept["valid_loss"]) - float(kept["train_loss"])
    wait = statistics.median(float(epoch["wait_share"]) for epoch in epochs)
    say(f"{augment}, seed {seed}: {accuracy:.4f}, gap {gap:.3f}, waits {wait:.2%}")
    return Outcome(accuracy, gap, wait)


def main() -> None:
    options = parser(__doc__).parse_args()
    seeds = (0,) if options.quick else (0, 1, 2)
    with material(options) as (photos, _, _real), tempfile.TemporaryDirectory() as folder:
        table = few(photos, Path(folder) / "few.csv")
        found = {
            augment: [train(table, augment, seed, options.quick) for seed in seeds]
            for augment in ("none", "standard", "strong")
        }
    means = {
        name: Outcome(*(statistics.mean(values) for values in zip(*outcomes, strict=True)))
        for name, outcomes in found.items()
    }
    for name in ("standard", "strong"):
        row(
            f"cnn, {PER_CLASS} photos a class, augment {name}, test accuracy", "augment none",
            means[name].accuracy / means["none"].accuracy, 1.0, means[name].accuracy,
            means["none"].accuracy, "accuracy", gap=round(means[name].gap, 3),
            gap_without=round(means["none"].gap, 3), wait_share=round(means[name].wait, 4),
            seeds=len(seeds), each={k: [round(o.accuracy, 4) for o in v] for k, v in found.items()},
        )  # fmt: skip


if __name__ == "__main__":
    main()
