"""Photos per second that are augmented, uint8 in and out, one thread, against other libraries.

The work is the founding recipe (rotate up to 10 degrees, shift up to a tenth, flip), same size out.
Each library gets photos the way its manual has it, one at a time or as a batch, and all take turns
in one run; a figure is the median over the rounds. Libraries that are not installed are left out
(pip install albumentations==2.0.8 keras kornia). A bare cv2.warpAffine with matrices made
beforehand is the least that such a change can cost.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import cv2
import numpy as np
import torch

from common import parser, row, say
from convscope.data.augment import POLICIES, augment, matrices

Batch = np.ndarray
Way = Callable[[Batch, int], object]

PHOTOS = 64
GOALS: dict[str, dict[int, float]] = {
    "albumentations 2.0.8": {224: 1.2, 48: 3.0},
    "Keras ImageDataGenerator": {224: 12.0, 48: 10.0},
    "torchvision v2": {224: 3.0, 48: 5.0},
    "kornia": {224: 3.0, 48: 5.0},
    "bare cv2.warpAffine": {224: 0.95},
}
RECIPE = POLICIES["standard"]


def ours(photos: Batch, epoch: int) -> Batch:
    """A batch, as training has it."""
    return augment(photos, RECIPE, rows=np.arange(len(photos)), epoch=epoch, seed=0)


def bare(size: int) -> Way:
    """The warp alone."""
    maps = matrices(RECIPE, rows=np.arange(PHOTOS), epoch=0, seed=0, height=size, width=size)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    maps = np.ascontiguousarray(maps[:, :2])

    def warp(photos: Batch, _epoch: int) -> Batch:
        out = np.empty_like(photos)
        for place, matrix in enumerate(maps):
            cv2.warpAffine(photos[place], matrix, (size, size), dst=out[place], flags=flags,
                           borderMode=cv2.BORDER_REFLECT_101)  # fmt: skip
        return out

    return warp


def albumentations_way(_size: int) -> Way:
    """One photo at a time."""
    import albumentations as A

    change = A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.Affine(
                rotate=(-10, 10), translate_percent=(-0.1, 0.1), p=1.0,
                border_mode=cv2.BORDER_REFLECT_101,
            ),
        ]
    )  # fmt: skip
    return lambda photos, _epoch: [change(image=photo)["image"] for photo in photos]


def keras_way(_size: int) -> Way:
    """The generator of the founding course."""
    try:
        from keras.src.legacy.preprocessing.image import ImageDataGenerator
    except ImportError:
        from keras.preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(
        rotation_range=10, width_shift_range=0.1, height_shift_range=0.1, horizontal_flip=True,
        fill_mode="reflect",
    )  # fmt: skip
    return lambda photos, _epoch: [generator.random_transform(photo) for photo in photos]


def torchvision_way(_size: int) -> Way:
    """Tensors, one at a time."""
    from torchvision.transforms import v2

    change = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(10, translate=(0.1, 0.1), interpolation=v2.InterpolationMode.BILINEAR),
        ]
    )
    return lambda photos, _epoch: [
        change(torch.from_numpy(photo).permute(2, 0, 1)) for photo in photos
    ]


def kornia_way(_size: int) -> Way:
    """The whole batch, as floats, which is what it takes."""
    import kornia.augmentation as K

    change = torch.nn.Sequential(
        K.RandomHorizontalFlip(p=0.5),
        K.RandomAffine(10.0, translate=(0.1, 0.1), p=1.0, padding_mode="reflection"),
    )
    return lambda photos, _epoch: (
        change(torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 255) * 255
    ).byte()


PEERS: dict[str, Callable[[int], Way]] = {
    "albumentations 2.0.8": albumentations_way,
    "Keras ImageDataGenerator": keras_way,
    "torchvision v2": torchvision_way,
    "kornia": kornia_way,
    "bare cv2.warpAffine": bare,
}


def rate(way: Way, photos: Batch, epoch: int, seconds: float) -> float:
    """Photos per second over at least so many seconds."""
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        way(photos, epoch + done)
        done += len(photos)
    return done / (time.perf_counter() - started)


def main() -> None:
    options = parser(__doc__).parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    rounds, seconds = (3, 0.3) if options.quick else (7, 1.0)
    for size in (224, 48):
        photos = np.random.default_rng(0).integers(0, 256, (PHOTOS, size, size, 3), np.uint8)
        ways: dict[str, Way] = {}
        for name, make in PEERS.items():
            try:
                ways[name] = make(size)
                ways[name](photos[:PHOTOS], 0)
            except Exception as error:  # not installed, or it does not import here
                ways.pop(name, None)
                say(f"{name} is left out: {type(error).__name__}: {error}")
        rates: dict[str, list[float]] = {name: [] for name in ("ours", *ways)}
        for turn in range(rounds):
            for name, way in (("ours", ours), *ways.items()):
                rates[name].append(rate(way, photos, turn * 1000, seconds))
            say(f"{size}: round {turn + 1} of {rounds}")
        mine = statistics.median(rates["ours"])
        for name in ways:
            ratios = [a / b for a, b in zip(rates["ours"], rates[name], strict=True)]
            row(
                f"the founding recipe at {size} x {size}", name, statistics.median(ratios),
                GOALS[name].get(size), mine, statistics.median(rates[name]), "photos/s",
                rounds=rounds, threads=1,
            )  # fmt: skip


if __name__ == "__main__":
    main()
