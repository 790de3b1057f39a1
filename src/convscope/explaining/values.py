"""Maps as a page holds them, to be coloured and laid over the photo there."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from convscope.explaining.asked import UNITS
from convscope.explaining.result import Explained
from convscope.pictures import heat

# Longest side of a map, pixels: browsers enlarge it smoothly.
_MAP = 112


def map_values(each: Explained, classes: Sequence[str]) -> dict[str, Any]:
    """A map as a page holds it: a byte for each place, -127 to 127, and what they stand for.

    Parameters
    ----------
    each : Explained
    classes : sequence of str
    """
    one = each.explanation
    scale = heat.scale_of(one.map)
    values = shrunk(one.map, _MAP)
    steps = np.clip(np.rint(values / scale * 127), -127, 127).astype(np.int8)
    data: dict[str, Any] = {
        "name": one.method,
        "unit": UNITS[one.method],
        "signed": one.signed,
        "scale": float(f"{scale:.4g}"),
        "shape": list(steps.shape),
        "values": base64.b64encode(steps.tobytes()).decode(),
    }
    if each.followed is not None:
        several = each.followed
        known = ~np.isnan(several.details["drops"][0])
        data["occlusion"] = {
            "of": several.of,
            "space": list(one.map.shape),
            "window": list(several.details["window"]),
            "starts": np.array(several.details["starts"])[known].tolist(),
            "classes": [classes[int(k)] for k in several.target],
            "before": [round(float(score), 4) for score in several.score],
            "drops": np.round(several.details["drops"][:, known], 4).tolist(),
        }
    return data


def shrunk(picture: np.ndarray, most: int) -> np.ndarray:
    """A picture or a map whose longer side is at most ``most`` pixels."""
    height, width = picture.shape[:2]
    share = min(1.0, most / max(height, width))
    size = max(1, round(width * share)), max(1, round(height * share))
    if size == (width, height):
        return picture
    smaller: np.ndarray = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return smaller
