"""Train the small network of ``convscope lesson photo``, and say how good it is.

Draws 300 photos of each of the five clay creatures to train on and 100 others of each to test on,
trains for a fixed number of epochs (the test chooses nothing), folds the batch norms into the
convolutions, rounds the weights to float16, and writes them with their test accuracy.

    python benchmarks/lesson_photo_model.py [--out src/convscope/lessons/photo.safetensors]

About three minutes on one core. The same seed gives the same photos; the weights may differ in
their last digits on another processor.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from convscope.data.augment import Augmentation, augment
from convscope.demo.scene import CLASSES
from convscope.lessons.photo_model import (
    FIRST_TEST,
    FIRST_TRAIN,
    SEED,
    as_input,
    build,
    draw_photo,
    shrink,
)
from convscope.metrics import wilson

POLICY = Augmentation(
    rotation=15, shift=0.1, zoom=0.15, brightness=0.2, contrast=0.2, saturation=0.2
)
BATCH, PEAK, DECAY, SMOOTHING = 32, 0.01, 0.02, 0.05


def draw(first: int, count: int) -> tuple[np.ndarray, Tensor]:
    """Small photos, uint8 ``(n, 48, 48, 3)``, and the numbers of their classes."""
    photos = [
        shrink(draw_photo(label, first + number)).round().astype(np.uint8)
        for label in CLASSES
        for number in range(count)
    ]
    return np.stack(photos), torch.arange(len(CLASSES)).repeat_interleave(count)


def train(photos: np.ndarray, classes: Tensor, epochs: int) -> nn.Sequential:
    """AdamW; the learning rate rises, then falls to 0 (one cycle)."""
    torch.manual_seed(SEED)
    net = build(batch_norm=True).train()
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=DECAY)
    steps = epochs * (len(photos) // BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK, total_steps=steps)
    for epoch in range(epochs):
        started, total = time.perf_counter(), 0.0
        changed = augment(photos, POLICY, rows=np.arange(len(photos)), epoch=epoch, seed=SEED)
        batches = torch.randperm(len(photos))[: len(photos) // BATCH * BATCH].split(BATCH)
        for rows in batches:
            loss = functional.cross_entropy(
                net(as_input(changed[rows.numpy()])), classes[rows], label_smoothing=SMOOTHING
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
            total += loss.item()
        took = time.perf_counter() - started
        print(f"epoch {epoch + 1:>3}  loss {total / len(batches):.4f}  {took:.1f} s", flush=True)
    return net.eval()


def fold(net: nn.Sequential) -> nn.Sequential:
    """The same network without batch norms, its weights rounded to float16."""
    plain = build()
    for name, module in net.named_children():
        if isinstance(module, nn.Conv2d):
            norm = net.get_submodule(name.replace("conv", "norm"))
            factor = norm.weight / (norm.running_var + norm.eps).sqrt()
            target = plain.get_submodule(name)
            target.weight.data = module.weight.data * factor[:, None, None, None]
            target.bias.data = (module.bias - norm.running_mean) * factor + norm.bias
    plain.classifier.load_state_dict(net.classifier.state_dict())
    return plain.half().float().eval()


def main() -> None:
    """Train, test, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("src/convscope/lessons/photo.safetensors"))
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--photos", type=int, default=300, help="of each class, to train on")
    options = parser.parse_args()
    torch.set_num_threads(1)
    net = fold(train(*draw(FIRST_TRAIN, options.photos), options.epochs))
    photos, classes = draw(FIRST_TEST, 100)
    with torch.inference_mode():
        found = net(as_input(photos)).argmax(1)
    hits, n = int((found == classes).sum()), len(classes)
    low, high = wilson(hits, n)
    print(f"test accuracy {hits / n:.1%} (n = {n}, 95 % interval {low:.1%} to {high:.1%})")
    about = {
        "trained_on": str(options.photos * len(CLASSES)), "epochs": str(options.epochs),
        "seed": str(SEED), "classes": ",".join(CLASSES),
        "test_n": str(n), "test_hits": str(hits),
    }  # fmt: skip
    weights = {name: each.detach().half() for name, each in net.state_dict().items()}
    save_file(weights, options.out, metadata=about)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
