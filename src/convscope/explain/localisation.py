"""Whether a map lies on the object, where a mask says where that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation

from convscope.errors import InputError
from convscope.explain.result import Explanation


@dataclass(frozen=True, eq=False)
class Localisation:
    """Where a map points, against a mask; all with the leading shape of the explanation.

    Attributes
    ----------
    hit : numpy.ndarray
        bool ``(...)``: the map's maximum lies on the object (pointing game, Zhang et al. 2016,
        arXiv 1608.00507).
    hit_by_chance : numpy.ndarray
        float64 ``(...)``: share of places that count as a hit.
    mass : numpy.ndarray
        float64 ``(...)``: share of the map's positive values that lies on the object; NaN for a map
        with none.
    area : numpy.ndarray
        float64 ``(...)``: share of the image that is object: the mass that chance would put there.
    """

    hit: np.ndarray
    hit_by_chance: np.ndarray
    mass: np.ndarray
    area: np.ndarray

    def line(self, place: int | tuple[int, ...] = ()) -> str:
        """Say it of one map: ``on the object: 61 % of the map (its area 20 %)``."""
        pointed = "points at the object" if self.hit[place] else "points beside the object"
        return f"{pointed}, {self.mass[place]:.0%} of the map on it (area {self.area[place]:.0%})"

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "pointing_game": self.hit.tolist(),
            "pointing_game_by_chance": self.hit_by_chance.tolist(),
            "mass_in_mask": [None if np.isnan(m) else float(m) for m in np.ravel(self.mass)]
            if self.mass.ndim
            else (None if np.isnan(self.mass) else float(self.mass)),
            "mask_area": self.area.tolist(),
        }


def locate(explanation: Explanation, masks: np.ndarray, *, tolerance: int = 0) -> Localisation:
    """Pointing game and mass in the mask.

    Parameters
    ----------
    explanation : Explanation
    masks : numpy.ndarray
        bool, the object: ``space`` (one for all) or with leading dimensions that broadcast to those
        of the explanation; for n images and t targets ``(n, *space)`` is enough.
    tolerance : int
        Pixels beside the object that count as a hit of the pointing game.

    Raises
    ------
    InputError
        A mask has another shape or no object.
    """
    values, lead = explanation.map, explanation.target.shape
    space = values.shape[len(lead) :]
    on = _fitted(np.asarray(masks, bool), lead, space)
    if tolerance < 0:
        raise InputError(f"tolerance={tolerance}: it is a number of pixels, 0 or more.")
    flat, object_ = values.reshape(*lead, -1), on.reshape(*lead, -1)
    if not object_.any(-1).all():
        raise InputError("A mask has no object: not one of its pixels is true.")
    near = on
    if tolerance:
        ball = np.ones((2 * tolerance + 1,) * len(space), bool)
        each = on.reshape(-1, *space)
        near = np.stack([binary_dilation(one, ball) for one in each]).reshape(on.shape)
    near_flat = near.reshape(*lead, -1)
    top = flat.argmax(-1)[..., None]
    positive = np.maximum(flat, 0).astype(np.float64)
    total = positive.sum(-1)
    with np.errstate(invalid="ignore"):
        mass = np.where(total > 0, (positive * object_).sum(-1) / total, np.nan)
    return Localisation(
        hit=np.take_along_axis(near_flat, top, -1)[..., 0],
        hit_by_chance=near_flat.mean(-1),
        mass=np.asarray(mass),
        area=object_.mean(-1),
    )


def _fitted(masks: np.ndarray, lead: tuple[int, ...], space: tuple[int, ...]) -> np.ndarray:
    wanted = (*lead, *space)
    given = masks
    if masks.ndim == len(space) + 1 and len(lead) == 2 and len(masks) == lead[0]:
        given = masks[:, None]
    try:
        return np.broadcast_to(given, wanted)
    except ValueError:
        raise InputError(
            f"Masks of shape {masks.shape} for maps of {wanted}: give {space} for all, or one for "
            "each image."
        ) from None
