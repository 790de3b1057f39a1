"""Fine-tuning the last stages on kept maps, against a plain fine-tune of everything at one rate.

The peer trains the whole network in PyTorch: AdamW, one learning rate, batches of 32, the same
augmentation, batch norms in training mode; it decodes its photos before the clock starts, stops
after as many seconds as ours took, and keeps the epoch of the best validation accuracy. It has all
that time for each of several rates, and the best of these counts.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from common import material, parser, row, say
from convscope.data.augment import POLICIES, augment
from convscope.data.dataset import class_numbers
from convscope.data.folder import PhotoTable, scan
from convscope.data.pixels import Pixels
from convscope.data.survey import DecodeSpec
from convscope.finetune.classifier import fit_finetuned
from convscope.finetune.plan import FinetunePlan
from convscope.nets.catalog import build_net, net_spec
from convscope.nets.inference import network_logits, prepare
from convscope.nets.weights import load_body, read_weights
from convscope.progress import Progress

STAGES = ("bottleneck5", "bottleneck6", "bottleneck7", "conv2")
QUICK = ("conv2",)
# The peer may have the better of these, by validation accuracy.
RATES = (3e-4, 1e-3, 3e-3)
POLICY = POLICIES["standard"]
GOAL = 0.90


def ours(
    table: PhotoTable, weights: Path, seed: int, quick: bool
) -> tuple[float, dict[str, float]]:
    """Seconds, and accuracy by split."""
    plan = FinetunePlan(QUICK, draws=1, epochs=1) if quick else FinetunePlan(STAGES)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        fitted = fit_finetuned(
            table, net_spec("mobilenet_v2"), weights, plan, POLICY, mode="fast", seed=seed,
            work=work, epochs_file=work / "epochs.csv", resume=False, workers=None,
            progress=Progress(),
        )  # fmt: skip
    seconds = time.perf_counter() - started
    right = fitted.logits.argmax(axis=1) == fitted.dataset.labels
    found = {split: float(right[fitted.dataset.places(split)].mean()) for split in _SPLITS}
    found["head alone, valid"] = fitted.training["valid_accuracy_head_alone"]
    return seconds, found


_SPLITS = ("valid", "test")


def theirs(
    pixels: np.ndarray, table: PhotoTable, weights: Path, seed: int, seconds: float, rate: float
) -> tuple[int, dict[str, float]]:
    """Epochs begun, and accuracy by split."""
    spec = net_spec("mobilenet_v2")
    labels, splits = class_numbers(table), np.array(table.splits)
    rows = {split: np.flatnonzero(splits == split) for split in ("train", *_SPLITS)}
    started = time.perf_counter()
    net = build_net(spec, len(table.classes), seed)
    load_body(net, read_weights(weights))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate)
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    best: dict[str, float] = {}
    epoch = 0
    while not best or time.perf_counter() - started < seconds:
        net.train()
        order = rng.permutation(rows["train"])
        for batch in np.array_split(order, -(-len(order) // 32)):
            changed = augment(pixels[batch], POLICY, rows=batch, epoch=epoch, seed=seed)
            logits = net(prepare(torch.from_numpy(changed), spec.mean, spec.std))
            loss = functional.cross_entropy(logits, torch.from_numpy(labels[batch]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if time.perf_counter() - started > seconds:
                break
        epoch += 1
        forward = network_logits(net.eval(), spec.mean, spec.std)
        found = {}
        for split in _SPLITS:
            parts = np.array_split(rows[split], -(-len(rows[split]) // 64))
            right = [forward(pixels[part]).argmax(axis=1) == labels[part] for part in parts]
            found[split] = float(np.concatenate(right).mean())
        if not best or found["valid"] > best["valid"]:
            best = found
    return epoch, best


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--seeds", type=int, default=3, help="how many times each is trained")
    options = asked.parse_args()
    seeds = range(1 if options.quick else options.seeds)
    with material(options) as (photos, weights, real), tempfile.TemporaryDirectory() as folder:
        table = scan(photos)
        spec = net_spec("mobilenet_v2")
        decoded = Pixels(
            table.full_paths(), DecodeSpec(spec.resize, spec.size), range(len(table)),
            cache_file=Path(folder) / "pixels",
        )  # fmt: skip
        decoded.wait()
        mine, peers, times, epochs = [], [], [], []
        for seed in seeds:
            seconds, found = ours(table, weights, seed, options.quick)
            say(f"ours, seed {seed}: {seconds:.0f} s, {found}")
            rates = RATES[:1] if options.quick else RATES
            tries = [theirs(decoded.array, table, weights, seed, seconds, rate) for rate in rates]
            for rate, each in zip(rates, tries, strict=True):
                say(f"everything at {rate}, seed {seed}: {each[0]} epochs, {each[1]}")
            count, other = max(tries, key=lambda each: each[1]["valid"])
            mine.append(found)
            peers.append(other)
            times.append(seconds)
            epochs.append(count)
        decoded.close()
    for split in _SPLITS if real else ():
        ours_mean, theirs_mean = (
            statistics.mean(found[split] for found in all_found) for all_found in (mine, peers)
        )
        row(
            f"{split} accuracy, last stages fine-tuned",
            "whole network at one rate, as many seconds",
            ours_mean / theirs_mean, None, ours_mean, theirs_mean, "accuracy",
            goal_accuracy=GOAL if split == "test" else None, seeds=len(seeds),
            seconds=round(statistics.mean(times), 1), peer_epochs=epochs,
            head_alone_valid=mine[0]["head alone, valid"], quick=options.quick,
        )  # fmt: skip
    row(
        "seconds to fine-tune", "none: the peer has as many", None, None,
        statistics.mean(times), None, "s",
    )  # fmt: skip


if __name__ == "__main__":
    main()
