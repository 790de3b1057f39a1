"""The transfer ladder on real photos: accuracies, and how long they take.

Test accuracy of the best head on features and of ``auto`` (mean over seeds); of both and of the CNN
from scratch with 10 training photos of each class (mean over random draws); of ``auto`` by
five-fold cross-validation where ``--folds`` names a folder without a split; and the time to bring
an unchanged feature file up to date. The peer of each row is what it says; accuracies of fastai
and of plain logistic regression are those that were measured once on the same photos.
"""

from __future__ import annotations

import csv
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedKFold

from common import CLOTHING, material, parser, row, say
from convscope import FitOptions, fit
from convscope.data.folder import PhotoTable, scan
from convscope.metrics import wilson

ANTS_AND_BEES = CLOTHING.parent / "hymenoptera"
# fastai's fine_tune(4), and frozen features with a logistic regression of default strength.
FASTAI, PLAIN_LOGISTIC = 0.871, 0.879


def write_table(file: Path, table: PhotoTable, splits: Sequence[str | None]) -> Path:
    """Photos with the split that is given for each; those with None are left out."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "split"])
        for path, label, split in zip(table.full_paths(), table.labels, splits, strict=True):
            if split is not None:
                writer.writerow([str(path), label, split])
    return file


def few(file: Path, table: PhotoTable, per_class: int, draw: int) -> Path:
    """A table with so many training photos of each class; the others as they are."""
    rng = np.random.default_rng(draw)
    splits: list[str | None] = list(table.splits or ())
    for label in table.classes:
        mine = [i for i, name in enumerate(table.labels) if name == label and splits[i] == "train"]
        for i in rng.permutation(mine)[per_class:]:
            splits[i] = None
    return write_table(file, table, splits)


def accuracy(photos: Path, weights: Path, split: str = "test", **asked: object) -> dict[str, float]:
    """Fit and measure."""
    with tempfile.TemporaryDirectory() as folder:
        options = FitOptions.model_validate({"weights": str(weights), **asked})
        started = time.perf_counter()
        run = fit(photos, Path(folder) / "run", options)
        seconds = time.perf_counter() - started
        metrics, info = run.metrics()["splits"], run.info()
    found = {"accuracy": metrics[split]["accuracy"], "n": metrics[split]["n"], "seconds": seconds}
    found["valid"] = metrics["valid"]["accuracy"]
    say(f"{asked}: {info.strategy}, {found}; {' '.join((info.plan or {}).get('reasons', [])[-1:])}")
    return found


def mean(rows: Sequence[dict[str, float]], name: str = "accuracy") -> float:
    return statistics.fmean(each[name] for each in rows)


def heads_and_auto(photos: Path, weights: Path, seeds: int) -> None:
    for asked, peer, theirs, goal in (
        ({"strategy": "features", "head": "best"}, "plain logistic", PLAIN_LOGISTIC, 0.88),
        ({"strategy": "auto"}, "fastai fine_tune(4)", FASTAI, 0.90),
    ):
        rows = [accuracy(photos, weights, **asked, seed=seed) for seed in range(seeds)]
        row(
            f"{asked['strategy']}, test accuracy", peer, mean(rows) / theirs, goal / theirs,
            mean(rows), theirs, "accuracy", valid=round(mean(rows, "valid"), 4),
            seconds=round(mean(rows, "seconds"), 1), seeds=seeds,
            each=[round(each["accuracy"], 4) for each in rows],
        )  # fmt: skip


def ten_per_class(photos: Path, weights: Path, draws: int) -> None:
    table = scan(photos)
    found: dict[str, list[dict[str, float]]] = {"auto": [], "logistic": [], "cnn": []}
    with tempfile.TemporaryDirectory() as folder:
        for draw in range(draws):
            some = few(Path(folder) / f"{draw}.csv", table, 10, draw)
            found["auto"].append(accuracy(some, weights, strategy="auto", seed=draw))
            found["logistic"].append(
                accuracy(some, weights, strategy="features", head="logistic", seed=draw)
            )
            found["cnn"].append(accuracy(some, Path("none"), strategy="cnn", seed=draw))
    ours = mean(found["auto"])
    each = {name: [round(one["accuracy"], 4) for one in rows] for name, rows in found.items()}
    for peer, goal in (("logistic", 1.0), ("cnn", None)):
        theirs = mean(found[peer])
        row(
            "auto, 10 photos a class, test accuracy", peer, ours / theirs, goal, ours, theirs,
            "accuracy", lead=round(ours - theirs, 4), draws=draws, each=each,
        )  # fmt: skip


def folds(photos: Path, weights: Path, quick: bool) -> None:
    """Five-fold cross-validation: each fold is tested on once, the rest is the user's photos."""
    table = scan(photos)
    labels = np.asarray(table.labels)
    hits = total = 0
    parts = StratifiedKFold(5, shuffle=True, random_state=0).split(labels, labels)
    with tempfile.TemporaryDirectory() as folder:
        for number, (_, test) in enumerate(parts):
            if quick and number:
                break
            splits = ["train"] * len(labels)
            for i in test:
                splits[i] = "test"
            some = write_table(Path(folder) / f"{number}.csv", table, splits)
            got = accuracy(some, weights, strategy="auto", seed=number)
            hits += round(got["accuracy"] * got["n"])
            total += int(got["n"])
    row(
        "auto, ants and bees, 5-fold accuracy", "frozen features, logistic", hits / total / 0.972,
        0.965 / 0.972, hits / total, 0.972, "accuracy", interval_95=wilson(hits, total), n=total,
    )  # fmt: skip


def again(photos: Path, weights: Path) -> None:
    """The whole command, the second time."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "convscope", "features", str(photos), "--weights", str(weights),
            "--out", str(Path(folder) / "features.parquet"),
        ]  # fmt: skip
        seconds = []
        for _ in range(4):
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - started)
            say(f"features: {seconds[-1]:.2f} s")
    later = statistics.median(seconds[1:])
    row(
        f"features of {len(scan(photos)):,} unchanged photos", "the first time",
        seconds[0] / later, seconds[0] / 2.0, later, seconds[0], "s", goal_seconds=2.0,
    )  # fmt: skip


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--folds", type=Path, help="folder of photos without a split")
    options = made.parse_args()
    with material(options) as (photos, weights, real):
        again(photos, weights)
        if not real:
            say("accuracies mean nothing with these weights: left out")
            return
        heads_and_auto(photos, weights, 1 if options.quick else 3)
        ten_per_class(photos, weights, 1 if options.quick else 5)
        unsplit = options.folds or (ANTS_AND_BEES if ANTS_AND_BEES.is_dir() else None)
        if unsplit is not None:
            folds(unsplit, weights, options.quick)


if __name__ == "__main__":
    main()
