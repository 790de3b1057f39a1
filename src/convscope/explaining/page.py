"""The page of explanations: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np

from convscope.data.samples import jpeg
from convscope.explain.agreeing import agreement
from convscope.explaining.result import Found, Photo
from convscope.explaining.values import map_values, shrunk
from convscope.pictures import heat
from convscope.report.pages import EXPLAIN, json_values, render_page

# Longest side of photos on the page, pixels.
_PHOTO = 560
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
    scaled = shrunk(photo.pixels, _PHOTO)
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
            "maps": [map_values(each, found.classes) for each in photo.maps],
        },
    }


def _title(name: str) -> str:
    words = name.replace("_", " ")
    return {"gradcam": "Grad-CAM", "lime": "LIME"}.get(name, words[:1].upper() + words[1:])


def _uri(content: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")
