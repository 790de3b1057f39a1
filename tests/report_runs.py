"""Runs on disk for the tests of the report, with every figure counted here, not by the package."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from convscope.run import Run

CLASSES = ("daisy", "dandelion", "rose", "sunflower", "tulip")
HOSTILE_NAMES = (
    "my photo (1).jpg",
    "été – 花 🌼.jpg",
    'it\'s "quoted" & more.jpg',
    "<img src=x onerror=alert(2)>.jpg",
    # The slashes are folders; the whole is a path that a table of photos may well hold.
    "</script><script>alert(1)</script>.jpg",
)
FINDINGS: tuple[dict[str, Any], ...] = (
    {
        "kind": "unreadable",
        "severity": "error",
        "path": "rose/broken.jpg",
        "class": "rose",
        "split": None,
        "detail": "not a picture: it looks like a web page or XML",
        "other": [],
    },
    {
        "kind": "near_duplicate",
        "severity": "warning",
        "path": "daisy/<b>copy</b>.jpg",
        "class": "daisy",
        "split": "train",
        "detail": "same photo as daisy/001.jpg",
        "other": ["daisy/001.jpg"],
    },
    {
        "kind": "few_photos",
        "severity": "warning",
        "path": None,
        "class": "tulip",
        "split": None,
        "detail": "class tulip: 12 usable photos to train on",
        "other": [],
    },
)


@dataclass(frozen=True)
class Row:
    """One photo as the run has it."""

    path: str
    split: str
    label: str
    predicted: str
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Made:
    """A run, and what is true of it."""

    run: Run
    photos: Path
    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    metrics: dict[str, Any]


def make_rows(
    classes: Sequence[str],
    per_class: int,
    splits: Sequence[str] = ("train", "train", "valid", "test"),
    *,
    wrong: float = 0.25,
    seed: int = 0,
) -> tuple[Row, ...]:
    """Photos of every class, dealt to the splits in turn, a share of them named wrongly."""
    rng = np.random.default_rng(seed)
    rows = []
    for i, label in enumerate(classes):
        for k in range(per_class):
            said = i
            if rng.random() < wrong:
                # Mostly the neighbour: a matrix with structure, as real ones have.
                step = 1 if rng.random() < 0.7 else int(rng.integers(1, len(classes)))
                said = (i + step) % len(classes)
            weights = rng.random(len(classes)) ** 3
            weights[said] = weights.max() + rng.random() * len(classes)
            name = f"{k:03d}.jpg"
            if k < len(splits) * len(HOSTILE_NAMES) and k % len(splits) == len(splits) - 1:
                name = HOSTILE_NAMES[(i + k // len(splits)) % len(HOSTILE_NAMES)]
            folder = label.replace("/", "_")
            rows.append(
                Row(f"{folder}/{name}", splits[k % len(splits)], label, classes[said],
                    tuple((weights / weights.sum()).astype(np.float32).tolist()))
            )  # fmt: skip
    return tuple(rows)


def draw_photos(folder: Path, rows: Sequence[Row], classes: Sequence[str]) -> None:
    """A small picture for each row: one shape and colour per class."""
    rng = np.random.default_rng(1)
    for k, row in enumerate(rows):
        width, height = ((160, 120), (120, 160), (150, 150), (200, 80))[k % 4]
        i = classes.index(row.label)
        base = rng.integers(40, 110, 3)
        noise = rng.integers(0, 30, (height // 8 + 1, width // 8 + 1, 3))
        back = np.kron(base + noise, np.ones((8, 8, 1)))[:height, :width].astype(np.uint8)
        image = Image.fromarray(back)
        draw = ImageDraw.Draw(image)
        hue = int(255 * i / len(classes))
        colour = Image.new("HSV", (1, 1), (hue, 200, 240)).convert("RGB").getpixel((0, 0))
        x, y = width * rng.uniform(0.35, 0.65), height * rng.uniform(0.35, 0.65)
        draw.regular_polygon((x, y, height * 0.3), 3 + i % 7, fill=colour)
        path = folder / row.path
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, "JPEG", quality=85)


def count(rows: Sequence[Row], classes: Sequence[str]) -> dict[str, Any]:
    """The figures of one split, counted by hand."""
    n = len(rows)
    confusion = [
        [sum(r.label == a and r.predicted == b for r in rows) for b in classes] for a in classes
    ]
    right = sum(r.label == r.predicted for r in rows)
    per_class = {}
    for i, name in enumerate(classes):
        hit, given = confusion[i][i], sum(line[i] for line in confusion)
        held = sum(confusion[i])
        precision = hit / given if given else None
        recall = hit / held if held else None
        f1 = 2 * hit / (given + held) if given + held else None
        per_class[name] = {
            "n": held,
            "precision": precision,
            "recall": recall,
            "recall_95": wilson(hit, held) if held else None,
            "f1": f1,
        }
    recalls = [v["recall"] for v in per_class.values() if v["recall"] is not None]
    losses = [-np.log(r.probabilities[list(classes).index(r.label)]) for r in rows]
    return {
        "n": n,
        "accuracy": right / n,
        "accuracy_95": wilson(right, n),
        "balanced_accuracy": sum(recalls) / len(recalls),
        "macro_f1": sum(v["f1"] or 0.0 for v in per_class.values()) / len(classes),
        "log_loss": float(np.mean(losses)),
        "ece": 0.0731,
        "confusion": confusion,
        "per_class": per_class,
    }


def wilson(hits: int, n: int) -> list[float]:
    """Wilson's 95 % interval of a share."""
    z, p = 1.959964, hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5 / (1 + z * z / n)
    return [max(0.0, middle - half), min(1.0, middle + half)]


def make_run(
    folder: Path,
    rows: Sequence[Row],
    classes: Sequence[str] = CLASSES,
    *,
    epochs: int = 0,
    draw: bool = True,
    findings: Sequence[Mapping[str, Any]] = FINDINGS,
    training: Mapping[str, Any] | None = None,
    name: str = "my run",
) -> Made:
    """Write a finished run of these rows, and their photos, below a folder."""
    run, photos = Run(folder / name), folder / "photos"
    (run.path / "log").mkdir(parents=True)
    photos.mkdir(exist_ok=True)
    if draw:
        draw_photos(photos, rows, classes)
    splits = {
        split: chosen
        for split in ("test", "valid", "train")
        if (chosen := [row for row in rows if row.split == split])
    }
    metrics = {
        "strategy": "cnn" if epochs else "features",
        "net": "founding" if epochs else "mobilenet_v3_small",
        "seconds": 83.4,
        "splits": {split: count(chosen, classes) for split, chosen in splits.items()},
        "majority_baseline": {"class": classes[0], "accuracy": 0.2137},
        "left_out": [{"path": "rose/broken.jpg", "reason": "not a picture: it looks like HTML"}],
    }
    write_json(run.path / "metrics.json", metrics)
    write_json(run.path / "run.json", run_info(splits, classes, photos, metrics, training, epochs))
    write_json(
        run.path / "log" / "check.json",
        {"photos": len(rows), "counts": {}, "findings": list(findings)},
    )
    write_predictions(run.path / "predictions.parquet", rows, classes)
    if epochs:
        write_epochs(run.epochs_path, epochs)
    return Made(run, photos, tuple(classes), tuple(rows), metrics)


def run_info(
    splits: Mapping[str, Sequence[Row]],
    classes: Sequence[str],
    photos: Path,
    metrics: Mapping[str, Any],
    training: Mapping[str, Any] | None,
    epochs: int,
) -> dict[str, Any]:
    """What ``run.json`` holds."""
    if training is None:
        tried = [
            {"C": c, "valid_log_loss": 0.4 + 0.1 * abs(k - 3), "valid_accuracy": 0.85 - 0.02 * k}
            for k, c in enumerate((1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0))
        ]
        training = (
            {"epochs": epochs, "best_epoch": max(1, epochs - 4), "learning_rate": 0.001}
            if epochs
            else {"head": "logistic regression", "C": 0.1, "C_tried": tried}
        )
    return {
        "format": 1,
        "created": "2025-05-03T14:05:09+00:00",
        "asked": {"strategy": "auto", "seed": 7},
        "strategy": metrics["strategy"],
        "reason": "200 photos are too few to train a network from scratch",
        "net": metrics["net"],
        "classes": list(classes),
        "input": {"size": 224, "resize": 256, "mean": [0.5] * 3, "std": [0.25] * 3},
        "precision": {"mode": "exact", "dtype": "float32", "float32_stages": 0, "cosine": None},
        "weights": None
        if epochs
        else {"source": "mobilenet_v3_small-047dcff4.pth", "sha256": "047dcff4" * 8},
        "augment": {"rotation": 10.0, "shift": 0.1, "horizontal_flip": True, "vertical_flip": False}
        if epochs
        else None,
        "training": dict(training),
        "temperature": 1.21,
        "photos": {
            "root": photos.name,
            "layout": "class folders",
            "split": "made here: 60 % training, 20 % validation, 20 % test",
            "counts": {
                split: {c: sum(r.label == c for r in splits[split]) for c in classes}
                for split in splits
            },
        },
        "versions": {"convscope": "0.1.0", "python": "3.11.7", "torch": "2.8.0"},
        "seed": 7,
        "model_sha256": "ab12" * 16,
    }


def write_json(path: Path, content: object) -> None:
    """Write JSON as the package does."""
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def write_predictions(path: Path, rows: Sequence[Row], classes: Sequence[str]) -> None:
    """Write ``predictions.parquet``."""
    columns: dict[str, Any] = {
        "path": [row.path for row in rows],
        "split": [row.split for row in rows],
        "label": [row.label for row in rows],
        "predicted": [row.predicted for row in rows],
    }
    for i, name in enumerate(classes):
        columns[f"p_{name}"] = np.array([row.probabilities[i] for row in rows], np.float32)
    pq.write_table(pa.table(columns), path)


def write_epochs(path: Path, epochs: int) -> None:
    """Write ``epochs.csv``: training loss falls on and on, validation loss turns."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy",
             "learning_rate", "seconds"]
        )  # fmt: skip
        for k in range(1, epochs + 1):
            t = k / epochs
            writer.writerow(
                [k, round(1.6 * np.exp(-2.5 * t), 4), round(0.98 - 0.7 * np.exp(-3 * t), 4),
                 round(1.5 * np.exp(-2 * t) + 0.35 * t * t, 4),
                 round(0.85 - 0.55 * np.exp(-4 * t), 4), 0.001 * (1 - t), 2.4]
            )  # fmt: skip
