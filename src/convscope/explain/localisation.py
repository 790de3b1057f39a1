"""Whether a map lies on the object, where a mask says where that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from convscope.errors import InputError
from convscope.explain.result import Explanation


@dataclass(frozen=True, eq=False)
class Localisation:
    """Where a map points, against a mask; all with the leading shape of the explanation.

    Attributes
    ----------
    hit : numpy.ndarray
        bool ``(...)``: the map's maximum lies on the object (pointing game, Zhang et al. 2016,
        arXiv 1608.00507); where several pixels share the maximum, as in a super-pixel, half of them
        or more.
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
        """Say it of one map: ``points at the object, 61% of the map on it (area 20%)``."""
        if np.isnan(self.mass[place]):
            return "points nowhere: no value is above 0"
        pointed = "points at the object" if self.hit[place] else "points beside the object"
        return f"{pointed}, {self.mass[place]:.0%} of the map on it (area {self.area[place]:.0%})"

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        mass = self.mass.astype(object)
        mass[np.isnan(self.mass)] = None
        return {
            "pointing_game": self.hit.tolist(),
            "pointing_game_by_chance": self.hit_by_chance.tolist(),
            "mass_in_mask": mass.tolist(),
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
        So many pixels around the object count as a hit of the pointing game, too; 15 in the paper.

    Raises
    ------
    InputError
        A mask has another shape or no object; the map has NaN or infinity.
    """
    values, lead = explanation.map, explanation.target.shape
    space = values.shape[len(lead) :]
    on = _fitted(np.asarray(masks, bool), lead, space)
    if tolerance < 0:
        raise InputError(f"tolerance={tolerance}: it is a number of pixels, 0 or more.")
    if not np.isfinite(values).all():
        raise InputError(f"The map of {explanation.method} has NaN or infinity: it points nowhere.")
    flat, object_ = values.reshape(*lead, -1), on.reshape(*lead, -1)
    if not object_.any(-1).all():
        raise InputError("A mask has no object: not one of its pixels is true.")
    near = on
    if tolerance:
        each = on.reshape(-1, *space)
        near = np.stack([distance_transform_edt(~one) <= tolerance for one in each])
    near_flat = near.reshape(*lead, -1)
    # Of super-pixels, the first pixel in reading order would be a corner.
    top = flat == flat.max(-1, keepdims=True)
    positive = np.maximum(flat, 0).astype(np.float64)
    total = positive.sum(-1)
    with np.errstate(invalid="ignore"):
        mass = np.where(total > 0, (positive * object_).sum(-1) / total, np.nan)
    return Localisation(
        hit=np.asarray(2 * (top & near_flat).sum(-1) >= top.sum(-1)),
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
