"""Augmentation, saliency, occlusion and LIME on photos, on a network small enough for a page.

The page computes the network itself, forwards and backwards; what it computes is held against
:mod:`convscope.explain` in the tests.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from convscope.data import affine
from convscope.demo.scene import CLASSES
from convscope.explain import lime, occlusion, saliency, superpixels
from convscope.lessons.lesson import Grid, Lesson, Step, grid, number
from convscope.lessons.photo_model import (
    DRAWN,
    FIRST_SHOWN,
    MEAN,
    SIZE,
    SPREAD,
    as_input,
    draw_photo,
    load_net,
    shrink,
)
from convscope.metrics import wilson

PIECES, SAMPLES, WINDOW, STRIDE = 30, 300, 12, 6
_QUALITY = 85
# Of the tables in the terminal: a map in so many blocks along each side.
_BLOCKS = 8


@cache
def photos() -> tuple[tuple[str, bytes, np.ndarray], ...]:
    """Label, JPEG file and pixels as decoded ``(DRAWN, DRAWN, 3)`` of one photo of each class.

    The first of each class that the network was neither trained nor tested on.
    """
    found = []
    for label in CLASSES:
        stream = io.BytesIO()
        Image.fromarray(draw_photo(label, FIRST_SHOWN)).save(stream, "JPEG", quality=_QUALITY)
        found.append((label, stream.getvalue(), np.asarray(Image.open(stream).convert("RGB"))))
    return tuple(found)


def shares(net: nn.Module, inputs: Tensor) -> Tensor:
    """Softmax of what the network says, ``(n, classes)``."""
    with torch.inference_mode():
        answer: Tensor = net(inputs).softmax(1)
    return answer


def change(
    degrees: float = 0, right: float = 0, down: float = 0, zoom: float = 1, *,
    flip: bool = False, crop: float = 1,
) -> np.ndarray:  # fmt: skip
    """Where each place of a changed photo comes from, ``(3, 3)``; see ``data.affine``.

    Parameters
    ----------
    degrees : float
        Counter-clockwise.
    right, down : float
        Shares of the side by which the photo moves.
    zoom : float
        Above 1 it becomes larger.
    flip : bool
        Left and right swapped.
    crop : float
        Share of the area, in the middle, that is kept and enlarged to the whole.
    """
    turned = affine.rotation(np.array([degrees]))
    sized = affine.scaling(np.array([(-1 if flip else 1) / zoom]), np.array([1 / zoom]))
    found = affine.about_centre(turned @ sized, DRAWN, DRAWN)
    found[:, 0, 2] -= right * DRAWN
    found[:, 1, 2] -= down * DRAWN
    side = DRAWN * crop**0.5
    box = [[(DRAWN - side) / 2, (DRAWN - side) / 2, side, side]]
    matrix: np.ndarray = (found @ affine.crop_and_resize(np.array(box), DRAWN, DRAWN))[0]
    return matrix


def lesson() -> Lesson:
    """What the network is, what it says, and three ways to ask why."""
    net, about = load_net()
    inputs = torch.stack([as_input(shrink(pixels)) for _, _, pixels in photos()])
    pieces = superpixels(inputs.numpy(), count=PIECES)
    with torch.inference_mode():
        logits = net(inputs)
    hits, n = int(about["test_hits"]), int(about["test_n"])
    low, high = wilson(hits, n) or (0.0, 1.0)
    tests = (
        f"Right for {hits} of {n} drawn photos that it was not trained on: {100 * hits / n:.1f} % "
        f"(95 % interval {100 * low:.1f} % to {100 * high:.1f} %)."
    )
    return Lesson(
        "photo",
        "A photo, and what the network looks at",
        "Augmentation changes a photo and should not change the answer; saliency, occlusion and "
        "LIME ask, each in its way, what the answer rests on.",
        (
            _network(net, about["trained_on"], tests),
            _answers(logits),
            _augmented(net),
            *_explained(net, inputs[0], pieces[0]),
        ),
        {
            "classes": list(CLASSES), "size": SIZE, "drawn": DRAWN, "mean": MEAN, "spread": SPREAD,
            **_packed(net),
            "parameters": sum(p.numel() for p in net.parameters()),
            "trained_on": int(about["trained_on"]), "tests": tests,
            "window": WINDOW, "stride": STRIDE, "samples": SAMPLES, "grid": 6,
            "kernel_width": 0.25, "penalty": 1,
            "photos": [
                {
                    "label": label,
                    "jpeg": base64.b64encode(file).decode(),
                    "segments": labels.reshape(-1).tolist(),
                    "logits": answer,
                }
                for (label, file, _), labels, answer in zip(
                    photos(), pieces, logits.tolist(), strict=True
                )
            ],
        },
    )  # fmt: skip


def _packed(net: nn.Module) -> dict[str, object]:
    """All weights as float16 in one text, and the layers that they belong to."""
    layers: list[dict[str, object]] = []
    parts = []
    for name, module in net.named_children():
        kind = type(module).__name__.lower()
        layer: dict[str, object] = {"name": name, "kind": kind}
        if isinstance(module, nn.Conv2d | nn.Linear):
            layer["shape"] = list(module.weight.shape)
            parts += [each.detach().flatten() for each in module.parameters()]  # weight, bias
        layers.append(layer)
    flat = torch.cat(parts).half().numpy().astype("<f2")
    return {"layers": layers, "weights": base64.b64encode(flat.tobytes()).decode()}


def _network(net: nn.Sequential, trained_on: str, tests: str) -> Step:
    lines = []
    x = torch.zeros(1, 3, SIZE, SIZE)
    with torch.inference_mode():
        for name, module in net.named_children():
            x = module(x)
            count = sum(p.numel() for p in module.parameters())
            size = " × ".join(map(str, x.shape[1:]))
            lines.append(f"{name:<11} {size:<14}" + (f"{count:>7,} parameters" if count else ""))
    total = sum(p.numel() for p in net.parameters())
    return Step(
        "The network",
        f"It sees {SIZE} × {SIZE} pixels, was trained on {trained_on} drawn photos of five "
        f"creatures, and knows nothing else.\n{tests}\n"
        + "\n".join(line.rstrip() for line in lines)
        + f"\n{total:,} parameters in all",
    )


def _answers(logits: Tensor) -> Step:
    lines = [f"{'photo of a':<12}" + "".join(f"{label:>10}" for label in CLASSES)]
    for (label, _, _), row in zip(photos(), logits.softmax(1).tolist(), strict=True):
        lines.append(f"{label:<12}" + "".join(f"{share:>10.3f}" for share in row))
    powers = logits[0].exp().tolist()
    best = int(logits[0].argmax())
    lines.append(
        f"The first: {CLASSES[best]} {number(powers[best])} / ("
        + " + ".join(map(number, powers))
        + f") = {number(powers[best] / sum(powers))}"
    )
    return Step("What it says of five photos", "\n".join(lines))


def _augmented(net: nn.Module) -> Step:
    label, _, pixels = photos()[0]
    place = CLASSES.index(label)
    changes: dict[str, dict[str, Any]] = {
        "as it is": {}, "flipped": {"flip": True}, "10° to the left": {"degrees": 10},
        "90° to the left": {"degrees": 90}, "on its head": {"degrees": 180},
        "20 % to the right": {"right": 0.2}, "half as large": {"zoom": 0.5},
        "the middle half": {"crop": 0.5},
    }  # fmt: skip
    lines = []
    for name, how in changes.items():
        moved = affine.warp(pixels, change(**how), DRAWN, DRAWN)
        share = float(shares(net, as_input(shrink(moved))[None])[0, place])
        lines.append(f"{name:<20} {share:.3f}")
    return Step(
        "Augmentation",
        f"The share of {label}, for one photo, changed. In training it saw turns of up to 15°, "
        "shifts of up to 10 %,\nzooms of 15 %, and mirrors; what lies beyond that it need not "
        "take.\n" + "\n".join(lines),
    )


def _explained(net: nn.Module, image: Tensor, pieces: np.ndarray) -> tuple[Step, ...]:
    target = CLASSES.index(photos()[0][0])
    slope = saliency(net, image, target).map
    covered = occlusion(net, image, target, window=WINDOW, stride=STRIDE)
    imitated = lime(net, image, target, segments=pieces, samples=SAMPLES, stop_early=False)
    along = len({start[0] for start in covered.details["starts"]})
    drops = covered.details["drops"].reshape(along, along)
    weights = imitated.details["weights"]
    heaviest = np.argsort(-np.abs(weights))[:5]
    rows = "\n".join(
        f"piece {piece:>2}: {weights[piece]:+.3f} ({(pieces == piece).sum()} pixels)"
        for piece in heaviest
    )
    name = CLASSES[target]
    return (
        Step("Saliency", f"How strongly the logit of {name} answers to each pixel: the absolute "
             f"gradient.\nMeans of {_BLOCKS} × {_BLOCKS} blocks; the largest is marked.",
             (_largest("mean gradient", _blocks(slope)),)),
        Step("Occlusion", f"A window of {WINDOW} × {WINDOW} pixels in the photo's mean colour goes "
             f"over it in steps of {STRIDE}.\nHow far the logit of {name} falls at each of "
             f"{drops.size} places; the largest is marked.", (_largest("drop", drops),)),
        Step("LIME", f"{int(pieces.max()) + 1} super-pixels, shown or hidden at random "
             f"{SAMPLES} times; a weighted ridge regression imitates\nthe share of {name} "
             f"(R² {float(imitated.details['r2']):.2f}). The heaviest pieces:\n{rows}"),
    )  # fmt: skip


def _blocks(values: np.ndarray) -> np.ndarray:
    side = SIZE // _BLOCKS
    means: np.ndarray = values.reshape(_BLOCKS, side, _BLOCKS, side).mean((1, 3))
    return means


def _largest(caption: str, values: np.ndarray) -> Grid:
    rows: Sequence[Sequence[float]] = np.round(values.astype(float), 2).tolist()
    at = divmod(int(values.argmax()), values.shape[1])
    return grid(caption, rows, [at])
