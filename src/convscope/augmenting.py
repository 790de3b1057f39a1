"""``augment``: a page that shows what a policy makes of one's own photos."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from convscope.data.augment import POLICIES, Augmentation
from convscope.data.folder import scan
from convscope.data.samples import (
    Sample,
    carry_masks,
    choose_rows,
    draw_samples,
    jpeg,
    outline,
)
from convscope.data.survey import DecodeSpec, decode_chunk, survey
from convscope.errors import ConvscopeError, InputError, unknown_name
from convscope.files import write_bytes
from convscope.progress import Progress
from convscope.report import words
from convscope.report.rendering import style, template

# Photos on one page.
_MOST = 60
# A mask is where its picture is lighter than the middle grey.
_WHITE = 127


def augment_page(
    photos: Path | str,
    out: Path | str,
    *,
    policy: str = "standard",
    size: int = 160,
    per_class: int = 2,
    masks: Path | str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Write a page with some photos of each class, as they are and as training would see them.

    Parameters
    ----------
    photos : path
        See :func:`~convscope.data.folder.scan`.
    out : path
        The HTML file; written whole or not at all.
    policy : str
        A name of :data:`~convscope.data.augment.POLICIES`.
    size : int
        Height and width to show, pixels. With that of a network, and its seed, the draws are those
        of its first epochs.
    per_class : int
        Photos of each class; 60 on a page at most.
    masks : path, optional
        A folder that holds, under the name of each photo but ending in ``.png``, where the object
        is (white). It is outlined, carried along with the photo.
    seed : int
    progress : Progress, optional

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        No such policy, no usable photos, or a mask that is not there or does not fit its photo.
    ConvscopeError
        The page cannot be written.
    """
    if policy not in POLICIES:
        raise unknown_name("augmentation", policy, POLICIES)
    if masks is not None and policy == "trivial":
        raise InputError(
            "--masks does not go with --policy trivial, whose changes are not all one map of the "
            "photo. Leave out one of them."
        )
    progress = progress or Progress()
    table = scan(Path(photos))
    training = [
        row for row in range(len(table)) if table.splits is None or table.splits[row] == "train"
    ]
    # A few more than are shown: some may be unreadable.
    rows = choose_rows(table.labels, training or list(range(len(table))), 2 * per_class, 2 * _MOST)
    paths = table.full_paths()
    shown: list[Sample] = []
    with progress.task("changing", len(rows), "photos") as advance:
        for chunk in survey([paths[row] for row in rows], DecodeSpec(size, size), workers=0):
            here = rows[chunk.rows.start : chunk.rows.stop]
            usable = [place for place, fact in enumerate(chunk.facts) if fact.usable]
            if usable:
                numbers = [here[place] for place in usable]
                some = draw_samples(
                    chunk.pixels[usable], numbers, [table.paths[n] for n in numbers],
                    [table.labels[n] for n in numbers], POLICIES[policy], seed=seed,
                )  # fmt: skip
                if masks is not None:
                    shapes = [(chunk.facts[place].width, chunk.facts[place].height)
                              for place in usable]  # fmt: skip
                    of_photos = _read_masks(Path(masks), some, shapes, size)
                    some = _outlined(some, of_photos, numbers, POLICIES[policy], seed)
                shown += some
            advance(len(chunk.facts))
    chosen = choose_rows([s.label for s in shown], list(range(len(shown))), per_class, _MOST)
    if not chosen:
        raise InputError(f"{photos} holds no photo that can be read: see convscope check.")
    target = Path(out)
    page = _render(policy, [shown[place] for place in chosen], seed, size)
    try:
        write_bytes(target, page.encode("utf-8", errors="backslashreplace"))
    except OSError as error:
        raise ConvscopeError(
            f"{target} cannot be written ({error.strerror or error}). Name another file."
        ) from None
    return target


def _read_masks(
    folder: Path, samples: Sequence[Sample], shapes: Sequence[tuple[int, int]], size: int
) -> np.ndarray:
    """The photos' masks, cut as the photos are: bool ``(n, size, size)``."""
    paths = [folder / Path(sample.path).with_suffix(".png") for sample in samples]
    facts, pixels = decode_chunk([str(path) for path in paths], DecodeSpec(size, size, fast=False))
    for path, fact, shape in zip(paths, facts, shapes, strict=True):
        if not fact.usable:
            raise InputError(f"{path}: {fact.error}. Every photo on the page needs its mask.")
        if (fact.width, fact.height) != shape:
            raise InputError(
                f"{path} is {fact.width} x {fact.height} pixels, its photo {shape[0]} x {shape[1]}."
            )
    return np.asarray(pixels[..., 0] > _WHITE)


def _outlined(
    samples: Sequence[Sample],
    masks: np.ndarray,
    rows: Sequence[int],
    policy: Augmentation | None,
    seed: int,
) -> list[Sample]:
    carried = np.stack(
        [
            carry_masks(masks, rows, policy, seed=seed, epoch=epoch)
            for epoch in range(len(samples[0].draws))
        ],
        axis=1,
    )
    return [
        replace(
            sample,
            original=outline(sample.original, mask),
            draws=np.stack([outline(*pair) for pair in zip(sample.draws, moved, strict=True)]),
        )
        for sample, mask, moved in zip(samples, masks, carried, strict=True)
    ]


def _render(policy: str, samples: list[Sample], seed: int, size: int) -> str:
    chosen = POLICIES[policy]
    return template("augment.html").render(
        policy=policy,
        settings=None if chosen is None else words.augmentation(chosen.model_dump()),
        mixes=chosen is not None and bool(chosen.mixup or chosen.cutmix),
        seed=seed,
        size=size,
        style=style(),
        rows=[
            {
                "label": sample.label,
                "path": sample.path,
                "original": _uri(jpeg(sample.original)),
                "draws": [_uri(jpeg(draw)) for draw in sample.draws],
            }
            for sample in samples
        ],
    )


def _uri(content: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")
