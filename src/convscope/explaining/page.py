"""The page of explanations: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from convscope.data.samples import jpeg
from convscope.explain.agreeing import agreement
from convscope.explaining.asked import UNITS
from convscope.explaining.result import Explained, Found, Photo
from convscope.pictures import heat
from convscope.report.pages import EXPLAIN, json_values, render_page

# Longest sides on the page, pixels: of photos, and of maps (enlarged smoothly by the browser).
_PHOTO, _MAP = 560, 112
# Classes that are listed beside a photo.
_LISTED = 5


def page_content(found: Found) -> dict[str, Any]:
    """Give what the page shows, JSON values.

    Parameters
    ----------
    found : Found
    """
    cards = [_card(found, photo) for photo in found.photos]
    shown: dict[str, Any] = json_values({
        # What the script needs stands apart.
        "data": [card.pop("data") for card in cards],
        "cards": cards,
        "failed": found.failed,
        "sanity": [(_title(name), each.line()) for name, each in found.sanity.items()],
    })  # fmt: skip
    return shown


def render(found: Found) -> str:
    """Give the page's HTML.

    Parameters
    ----------
    found : Found
    """
    return render_page(EXPLAIN, page_content(found))


def _card(found: Found, photo: Photo) -> dict[str, Any]:
    scaled = _shrunk(photo.pixels, _PHOTO)
    share = scaled.shape[1] / photo.pixels.shape[1]
    box = heat.whole_pixels(
        tuple(side * share for side in photo.box),
        scaled.shape[1], scaled.shape[0],
    )  # fmt: skip
    order = np.argsort(-photo.probabilities)[:_LISTED]
    maps = [each.explanation for each in photo.maps]
    pairs = agreement(maps) if len(maps) > 1 else ()
    return {
        "name": Path(photo.path).name,
        "path": photo.path,
        "target": found.classes[photo.target],
        "predicted": found.classes[int(photo.probabilities.argmax())],
        # A report knows what it is.
        "label": None,
        "classes": [(found.classes[k], photo.probabilities[k]) for k in order],
        "width": scaled.shape[1],
        "height": scaled.shape[0],
        "methods": [
            {
                "name": each.explanation.method,
                "title": _title(each.explanation.method),
                "words": each.words(),
            }
            for each in photo.maps
        ],
        "pairs": [
            (f"{_title(p.methods[0])} and {_title(p.methods[1])}", float(p.rank_correlation))
            for p in pairs
        ],
        "data": {
            "photo": _uri(jpeg(scaled)),
            "box": box,
            "maps": [_map(found, photo, each) for each in photo.maps],
        },
    }


def _map(found: Found, photo: Photo, each: Explained) -> dict[str, Any]:
    one = each.explanation
    scale = heat.scale_of(one.map)
    values = _shrunk(one.map, _MAP)
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
            "classes": [found.classes[int(k)] for k in several.target],
            "before": [round(float(score), 4) for score in several.score],
            "drops": np.round(several.details["drops"][:, known], 4).tolist(),
        }
    return data


def _title(name: str) -> str:
    words = name.replace("_", " ")
    return {"gradcam": "Grad-CAM", "lime": "LIME"}.get(name, words[:1].upper() + words[1:])


def _shrunk(picture: np.ndarray, most: int) -> np.ndarray:
    height, width = picture.shape[:2]
    share = min(1.0, most / max(height, width))
    size = max(1, round(width * share)), max(1, round(height * share))
    if size == (width, height):
        return picture
    smaller: np.ndarray = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return smaller


def _uri(content: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")
