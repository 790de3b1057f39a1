"""Augmentation on the fly: what a training photo may look like this time, in one warp.

All changes of place of one photo (flip, rotation, zoom, shear, shift, crop, resize) compose into
one affine map and one warp of its pixels; all changes of colour into one matrix, applied once.
Photo ``i`` of epoch ``e`` is changed in the same way for the same seed, whatever the batch and the
number of processes.
"""

from __future__ import annotations

import math

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from convscope.data import affine, colour, trivial
from convscope.data.affine import Fill
from convscope.data.draws import uniforms


class Augmentation(BaseModel):
    """What may happen to a training photo; stored in ``run.json``.

    The defaults are the founding recipe. Where a range is given as ± something, every value in it
    is equally likely.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rotation: float = Field(10.0, ge=0, le=180, description="± degrees")
    shift: float = Field(0.1, ge=0, lt=1, description="± share of width and of height")
    zoom: float = Field(0.0, ge=0, lt=1, description="± share of the size, width and height alike")
    shear: float = Field(0.0, ge=0, lt=90, description="± degrees, along both axes")
    horizontal_flip: bool = Field(True, description="left and right swapped, every other photo")
    vertical_flip: bool = Field(
        False, description="off: few things that people photograph stand on their heads"
    )
    crop: tuple[float, float] | None = Field(
        None, description="least and largest share of the area that is kept and enlarged"
    )
    brightness: float = Field(0.0, ge=0, le=1, description="± share")
    contrast: float = Field(0.0, ge=0, le=1, description="± share")
    saturation: float = Field(0.0, ge=0, le=1, description="± share")
    hue: float = Field(0.0, ge=0, le=180, description="± degrees on the colour circle")
    grey: float = Field(0.0, ge=0, le=1, description="share of photos that lose their colour")
    erase: float = Field(0.0, ge=0, le=1, description="share of photos with a rectangle wiped out")
    trivial: bool = Field(False, description="TrivialAugment's one change for each photo")
    fill: Fill = Field("reflect", description="what comes in from outside the photo")
    mixup: float = Field(0.0, ge=0, description="alpha of MixUp; 0 for none")
    cutmix: float = Field(0.0, ge=0, description="alpha of CutMix; 0 for none")

    @model_validator(mode="after")
    def _check(self) -> Augmentation:
        if self.crop is not None and not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise ValueError("crop is the least and the largest share, 0 < least <= largest <= 1")
        if self.mixup and self.cutmix:
            raise ValueError("mixup and cutmix are alternatives: one of them must be 0")
        return self


POLICIES: dict[str, Augmentation | None] = {
    "none": None,
    "standard": Augmentation(),
    "strong": Augmentation(
        rotation=15.0,
        shift=0.0,
        crop=(0.6, 1.0),
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        hue=10.0,
        erase=0.25,
    ),
    "trivial": Augmentation(rotation=0.0, shift=0.0, trivial=True),
    "mixup": Augmentation(mixup=0.2),
    "cutmix": Augmentation(cutmix=1.0),
}

# Which number of a photo's draw decides what; new ones go to the end.
_PLACES = (
    "angle", "right", "down", "flip_x", "flip_y", "zoom", "shear_x", "shear_y", "area", "ratio",
    "left", "top", "brightness", "contrast", "saturation", "hue", "grey", "erase", "erase_area",
    "erase_ratio", "erase_left", "erase_top", "trivial", "strength", "sign",
)  # fmt: skip
# Of crops and wiped out rectangles, width by height (Szegedy et al. 2014; Zhong et al. 2017).
_CROP_RATIO = 4 / 3
_ERASE_RATIO = 1 / 0.3
_ERASE_AREA = (0.02, 0.33)
_ERASED = 128


def augment(
    photos: np.ndarray,
    policy: Augmentation,
    *,
    rows: np.ndarray,
    epoch: int,
    seed: int,
    size: int | None = None,
) -> np.ndarray:
    """Change photos at random.

    Parameters
    ----------
    photos : numpy.ndarray
        uint8 ``(n, height, width, 3)``.
    policy : Augmentation
    rows : numpy.ndarray
        int ``(n,)``: each photo's number in the data set, which with ``epoch`` and ``seed``
        decides what happens to it.
    epoch, seed : int
    size : int, optional
        Height and width of the result; default those of the photos.

    Returns
    -------
    numpy.ndarray
        uint8 ``(n, height, width, 3)``; the input is left as it was.
    """
    height, width = photos.shape[1:3] if size is None else (size, size)
    drawn = _draw(policy, rows, epoch, seed)
    moves = _matrices(policy, drawn, photos.shape[1:3], (height, width))
    out = affine.warp_all(photos, moves, height, width, fill=policy.fill)
    colours = _colours(policy, drawn, out)
    if colours is not None:
        for photo, matrix in zip(out, colours, strict=True):
            photo[:] = colour.recolour(photo, matrix)
    if policy.trivial:
        for place, photo in enumerate(out):
            change = (drawn["trivial"][place], drawn["strength"][place], drawn["sign"][place])
            photo[:] = trivial.change(photo, *change, fill=policy.fill)
    if policy.erase:
        _erase(out, policy, drawn)
    return out


def matrices(
    policy: Augmentation,
    *,
    rows: np.ndarray,
    epoch: int,
    seed: int,
    height: int,
    width: int,
    size: int | None = None,
) -> np.ndarray:
    """The maps by which :func:`augment` moves these photos: for their masks, labels and points.

    See :func:`~convscope.data.affine.warp` (``nearest=True``) and
    :func:`~convscope.data.affine.move_points`. TrivialAugment's change is not in them.

    Returns
    -------
    numpy.ndarray
        float64 ``(n, 3, 3)``.
    """
    after = (height, width) if size is None else (size, size)
    return _matrices(policy, _draw(policy, rows, epoch, seed), (height, width), after)


def _draw(policy: Augmentation, rows: np.ndarray, epoch: int, seed: int) -> dict[str, np.ndarray]:
    """The numbers that this policy may look at."""
    more = policy.crop is not None or policy.erase or policy.trivial or _recolours(policy)
    places = _PLACES if more else _PLACES[: _PLACES.index("area")]
    return dict(zip(places, uniforms(seed, epoch, rows, len(places)).T, strict=True))


def _recolours(policy: Augmentation) -> bool:
    return any((policy.brightness, policy.contrast, policy.saturation, policy.hue, policy.grey))


def _matrices(
    policy: Augmentation,
    drawn: dict[str, np.ndarray],
    before: tuple[int, int],
    after: tuple[int, int],
) -> np.ndarray:
    height, width = before
    flip_x = np.where(policy.horizontal_flip & (drawn["flip_x"] < 0.5), -1.0, 1.0)
    flip_y = np.where(policy.vertical_flip & (drawn["flip_y"] < 0.5), -1.0, 1.0)
    zoom = 1 + policy.zoom * _both(drawn["zoom"])
    # A rotation after a scaling, which is a factor for each column.
    scales = np.stack([flip_x * zoom, flip_y * zoom], axis=1)
    linear = affine.rotation(policy.rotation * _both(drawn["angle"])) * scales[:, None]
    if policy.shear:
        pushed = (policy.shear * _both(drawn[name]) for name in ("shear_x", "shear_y"))
        linear = affine.shear(*pushed) @ linear
    found = affine.about_centre(linear, height, width)
    found[:, 0, 2] += policy.shift * width * _both(drawn["right"])
    found[:, 1, 2] += policy.shift * height * _both(drawn["down"])
    if policy.crop is not None:
        boxes = _boxes(drawn, "", policy.crop, _CROP_RATIO, height, width)
        return np.asarray(found @ affine.crop_and_resize(boxes, *after))
    if after != before:
        whole = np.broadcast_to([0.0, 0.0, width, height], (len(found), 4))
        return np.asarray(found @ affine.crop_and_resize(whole, *after))
    return np.asarray(found)


def _colours(
    policy: Augmentation, drawn: dict[str, np.ndarray], photos: np.ndarray
) -> np.ndarray | None:
    """One matrix a photo, or None where colours stay as they are."""
    if not _recolours(policy):
        return None
    found = colour.brightness(1 + policy.brightness * _both(drawn["brightness"]))
    if policy.contrast:
        greys = colour.greys_after(found, colour.mean_colours(photos))
        factors = 1 + policy.contrast * _both(drawn["contrast"])
        found = colour.then(found, colour.contrast(factors, greys))
    if policy.saturation or policy.grey:
        factors = 1 + policy.saturation * _both(drawn["saturation"])
        factors = np.where(drawn["grey"] < policy.grey, 0.0, factors)
        found = colour.then(found, colour.saturation(factors))
    if policy.hue:
        found = colour.then(found, colour.hue(policy.hue * _both(drawn["hue"])))
    return found


def _erase(photos: np.ndarray, policy: Augmentation, drawn: dict[str, np.ndarray]) -> None:
    height, width = photos.shape[1:3]
    boxes = _boxes(drawn, "erase_", _ERASE_AREA, _ERASE_RATIO, height, width).round().astype(int)
    for place in np.flatnonzero(drawn["erase"] < policy.erase):
        left, top, across, down = boxes[place]
        photos[place, top : top + down, left : left + across] = _ERASED


def _boxes(
    drawn: dict[str, np.ndarray],
    prefix: str,
    area: tuple[float, float],
    ratio: float,
    height: int,
    width: int,
) -> np.ndarray:
    """Boxes within a photo: left, top, width, height, float ``(n, 4)``."""
    share = area[0] + (area[1] - area[0]) * drawn[f"{prefix}area"]
    stretch = np.exp(math.log(ratio) * _both(drawn[f"{prefix}ratio"]))
    across = np.minimum(width * np.sqrt(share * stretch), width)
    down = np.minimum(height * np.sqrt(share / stretch), height)
    left = (width - across) * drawn[f"{prefix}left"]
    top = (height - down) * drawn[f"{prefix}top"]
    return np.stack([left, top, across, down], axis=1)


def _both(uniform: np.ndarray) -> np.ndarray:
    """From 0..1 to -1..1."""
    return 2 * uniform - 1
