"""What augmentation makes of some photos: the original and several draws side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from convscope.data import affine
from convscope.data.augment import Augmentation, augment, matrices
from convscope.data.folder import PhotoTable
from convscope.data.pixels import Pixels

DRAWS = 8
_QUALITY = 90
# Photos on the sheet that shows what augmentation did.
_SHOWN_PER_CLASS, _SHOWN = 1, 10


@dataclass(frozen=True)
class Sample:
    """One photo and what training sees of it.

    Attributes
    ----------
    path, label : str
    original : numpy.ndarray
        uint8 ``(h, w, 3)``, at the network's size.
    draws : numpy.ndarray
        uint8 ``(k, h, w, 3)``: in epochs 0 to k - 1.
    """

    path: str
    label: str
    original: np.ndarray
    draws: np.ndarray


def choose_rows(labels: Sequence[str], rows: Sequence[int], per_class: int, most: int) -> list[int]:
    """The first few rows of each class, as many classes as there is room for.

    Parameters
    ----------
    labels : sequence of str
        Of all rows.
    rows : sequence of int
        To choose from, in order.
    per_class, most : int
        Rows of one class, and of all together.
    """
    found: dict[str, list[int]] = {}
    for row in rows:
        of_class = found.setdefault(labels[row], [])
        if len(of_class) < per_class:
            of_class.append(row)
    return [row for label in sorted(found) for row in found[label]][:most]


def draw_samples(
    photos: np.ndarray,
    rows: Sequence[int],
    paths: Sequence[str],
    labels: Sequence[str],
    policy: Augmentation | None,
    *,
    seed: int,
    draws: int = DRAWS,
) -> list[Sample]:
    """Exactly what training with this seed sees of these photos in its first epochs.

    MixUp and CutMix, which join two photos of a batch, are not shown.

    Parameters
    ----------
    photos : numpy.ndarray
        uint8 ``(n, h, w, 3)``.
    rows : sequence of int
        Each photo's number in the data set.
    paths, labels : sequence of str
        Of each photo.
    policy : Augmentation or None
    seed, draws : int
    """
    numbers = np.asarray(rows)
    changed = np.stack(
        [
            photos
            if policy is None
            else augment(photos, policy, rows=numbers, epoch=epoch, seed=seed)
            for epoch in range(draws)
        ],
        axis=1,
    )
    return [
        Sample(path, label, photo, of_photo)
        for path, label, photo, of_photo in zip(paths, labels, photos, changed, strict=True)
    ]


def training_sheet(
    table: PhotoTable,
    pixels: Pixels,
    policy: Augmentation | None,
    rows: np.ndarray,
    *,
    seed: int,
    draws: int = DRAWS,
) -> np.ndarray | None:
    """What training with this seed sees of one photo of each class; None if it changes nothing.

    Parameters
    ----------
    table : PhotoTable
        All files.
    pixels : Pixels
        Of all files.
    policy : Augmentation or None
    rows : numpy.ndarray
        int: the training photos, rows of the table.
    seed, draws : int

    Returns
    -------
    numpy.ndarray or None
        See :func:`sheet`.
    """
    usable = rows[pixels.usable[rows]]
    shown = choose_rows(table.labels, usable.tolist(), _SHOWN_PER_CLASS, _SHOWN)
    if policy is None or not shown:
        return None
    paths, labels = [table.paths[row] for row in shown], [table.labels[row] for row in shown]
    photos = pixels.array[shown]
    return sheet(draw_samples(photos, shown, paths, labels, policy, seed=seed, draws=draws))


def carry_masks(
    masks: np.ndarray, rows: Sequence[int], policy: Augmentation | None, *, seed: int, epoch: int
) -> np.ndarray:
    """Where the objects of photos are once :func:`~convscope.data.augment.augment` has moved them.

    Parameters
    ----------
    masks : numpy.ndarray
        bool ``(n, h, w)``.
    rows : sequence of int
        Each photo's number in the data set.
    policy : Augmentation or None
        Without TrivialAugment, whose change is not one map.
    seed, epoch : int

    Returns
    -------
    numpy.ndarray
        bool ``(n, h, w)``; outside the photo there is no object, whatever is filled in there.

    Raises
    ------
    ValueError
        If the policy is TrivialAugment.
    """
    if policy is None:
        return masks
    if policy.trivial:
        raise ValueError("masks cannot be carried through TrivialAugment")
    height, width = masks.shape[1:]
    moves = matrices(
        policy, rows=np.asarray(rows), epoch=epoch, seed=seed, height=height, width=width
    )
    moved = [
        affine.warp(mask.astype(np.uint8), move, height, width, fill="constant", nearest=True)
        for mask, move in zip(masks, moves, strict=True)
    ]
    return np.stack(moved).astype(bool)


def outline(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A copy of a photo, uint8 ``(h, w, 3)``, with the rim of a mask, bool ``(h, w)``, drawn in.

    White on black, to be seen on any photo.
    """
    found = photo.copy()
    rims, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(found, rims, -1, (0, 0, 0), 3)
    cv2.drawContours(found, rims, -1, (255, 255, 255), 1)
    return found


def jpeg(photo: np.ndarray) -> bytes:
    """A photo, uint8 ``(h, w, 3)``, as a file."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()


def sheet(samples: Sequence[Sample], side: int = 96, gap: int = 4) -> np.ndarray:
    """All samples as one picture: a row each, the original first.

    Parameters
    ----------
    samples : sequence of Sample
    side : int
        Larger photos are shrunk to this height and width.
    gap : int
        White pixels between photos.

    Returns
    -------
    numpy.ndarray
        uint8 ``(h, w, 3)``.
    """
    height, width = (min(length, side) for length in samples[0].original.shape[:2])
    columns = 1 + len(samples[0].draws)
    rows_high = len(samples) * (height + gap) - gap
    # A wider gap behind the originals.
    page = np.full((rows_high, columns * (width + gap) - gap + 2 * gap, 3), 255, np.uint8)
    for row, sample in enumerate(samples):
        top = row * (height + gap)
        for column, photo in enumerate([sample.original, *sample.draws]):
            left = column * (width + gap) + (2 * gap if column else 0)
            page[top : top + height, left : left + width] = cv2.resize(
                photo, (width, height), interpolation=cv2.INTER_AREA
            )
    return page
