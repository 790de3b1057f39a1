"""The page of neurons: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from convscope.explain.tapping import Layer, Tapped
from convscope.neurons.asked import NeuronsOptions, Photos
from convscope.neurons.drawing import (
    TILE,
    PhotoPatches,
    filters,
    strip,
    what_mattered,
)
from convscope.neurons.measures import order_of
from convscope.neurons.parts import Parts
from convscope.neurons.result import LayerFound, NeuronsFound
from convscope.progress import Progress
from convscope.report.pages import NEURONS, json_values, write_page
from convscope.run import RunInfo

# Longer side of photos on the page, pixels.
_PHOTO = 320
_QUALITY = 78


def write_neurons(
    target: Path,
    tapped: Tapped,
    model: nn.Module,
    given: Photos,
    found: NeuronsFound,
    parts: Parts,
    info: RunInfo,
    options: NeuronsOptions,
    progress: Progress,
) -> None:
    """Draw the patches of the channels that are shown, and write the page.

    Raises
    ------
    PhotoError
        A photo cannot be read any more.
    """
    layers = [
        order_of(one.measures, [bool(hits) for hits in one.seen])[: options.channels]
        for one in found.layers
    ]
    wanted = sorted(
        {
            seen.hit.image
            for one, shown in zip(found.layers, layers, strict=True)
            for channel in shown
            for seen in one.seen[channel]
        }
    )
    places = {image: place for place, image in enumerate(wanted)}
    hits = sum(
        len(one.seen[channel])
        for one, shown in zip(found.layers, layers, strict=True)
        for channel in shown
    )
    with progress.task("pictures", hits, "patches") as advance:
        drawn = _Drawn(model, given, found, info, places)
        told = []
        for number, (one, shown) in enumerate(zip(found.layers, layers, strict=True)):
            told.append(_layer(number, one, shown, drawn, parts, wanted))
            advance(sum(len(one.seen[channel]) for channel in shown))
    content = _content(found, told, drawn, filters(model, tapped), options)
    write_page(target, NEURONS, content)


class _Drawn:
    """Photos, each opened once for a layer."""

    def __init__(
        self, model: nn.Module, given: Photos, found: NeuronsFound, info: RunInfo,
        places: dict[int, int],
    ) -> None:  # fmt: skip
        self.model, self.given, self.found, self.info = model, given, found, info
        self.places = places
        self.photos: dict[int, str] = {}

    def strips(self, one: LayerFound, shown: list[int]) -> list[tuple[str, str]]:
        """For each channel, its patches as they are, and with what did not matter dimmed."""
        wanted = [
            (seen.hit.image, channel, rank, seen)
            for channel in shown
            for rank, seen in enumerate(one.seen[channel])
        ]
        asked = [(channel, seen.hit, self.given.files[image]) for image, channel, _, seen in wanted]
        # As far as this layer and no farther.
        size = self.info.input.size
        tapped = Tapped(self.model, (3, size, size), [one.layer.name])
        light = what_mattered(tapped, self.info, asked)
        maps = {
            (channel, rank): each for (_, channel, rank, _), each in zip(wanted, light, strict=True)
        }
        tiles: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
        opened: tuple[int, PhotoPatches] | None = None
        for image, channel, rank, seen in sorted(wanted, key=lambda each: each[:3]):
            if opened is None or opened[0] != image:
                width, height = map(int, self.found.sizes[image])
                opened = image, PhotoPatches(self.given.files[image], (width, height))
            photo = opened[1]
            if image not in self.photos:
                self.photos[image] = _uri(photo.small(_PHOTO))
            mattered = maps[channel, rank]
            tiles[channel, rank] = photo.tile(seen.box), photo.tile(seen.box, mattered)
        strips = []
        for channel in shown:
            own = [tiles[channel, rank] for rank in range(len(one.seen[channel]))]
            plain, dimmed = (strip([pair[way] for pair in own], max(1, len(own))) for way in (0, 1))
            strips.append((_uri(plain), _uri(dimmed)))
        return strips


def _layer(
    number: int, one: LayerFound, shown: list[int], drawn: _Drawn, parts: Parts, wanted: list[int]
) -> dict[str, Any]:
    measures, best = one.measures, one.measures.best()
    shares = _on_photos(parts, number, shown, wanted)
    channels = []
    for channel, (plain, dimmed) in zip(shown, drawn.strips(one, shown), strict=True):
        label = int(best[channel])
        channels.append(
            {
                "channel": channel,
                "most": _short(measures.most[channel]),
                "sparsity": round(float(measures.sparsity[channel]), 3),
                "label": label,
                "auroc": [_short(value) for value in measures.auroc[channel]],
                "plain": plain,
                "dimmed": dimmed,
                "hits": [
                    {
                        "photo": drawn.places[seen.hit.image],
                        "value": _short(seen.hit.value),
                        "box": _fractions(seen.box, drawn.found.sizes[seen.hit.image]),
                        "beyond": round(seen.hit.beyond, 2),
                    }
                    for seen in one.seen[channel]
                ],
            }
        )
    return {
        "name": one.layer.name,
        "channels": channels,
        "hidden": one.layer.channels - len(shown),
        "silent": one.silent,
        "field": [field.size for field in one.layer.field],
        "words": _words(one.layer),
        "shares": base64.b64encode(shares.tobytes()).decode(),
    }


def _on_photos(parts: Parts, number: int, shown: list[int], wanted: list[int]) -> np.ndarray:
    """On each photo of the page, the share of all photos that excite a channel less: uint8."""
    values, rows = [], []
    for first, good, peaks in parts.peaks(number):
        values.append(peaks.values[good][:, shown, 0])
        rows.append(first + np.flatnonzero(good))
    every, numbers = np.concatenate(values), np.concatenate(rows)
    order = np.sort(every, axis=0)
    own = every[np.searchsorted(numbers, wanted)]
    below = np.stack(
        [np.searchsorted(order[:, k], own[:, k], side="left") for k in range(len(shown))], 1
    )
    return np.floor(255 * below / max(1, len(every) - 1)).clip(0, 255).astype(np.uint8)


def _words(layer: Layer) -> str:
    sizes = " × ".join(str(field.size) for field in layer.field)
    grid = " × ".join(map(str, layer.grid))
    if all(field.jump is None for field in layer.field):
        return f"{layer.channels} channels of one unit each, which sees the whole photo"
    return (
        f"{layer.channels} channels of {grid} units, each of which sees {sizes} pixels of the "
        "network's input"
    )


def _fractions(box: tuple[float, float, float, float], size: np.ndarray) -> list[float]:
    width, height = map(int, size)
    return [round(side / length, 4) for side, length in zip(box, (width, height) * 2, strict=True)]


def _short(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{float(value):.4g}")


def _content(
    found: NeuronsFound,
    layers: list[dict[str, Any]],
    drawn: _Drawn,
    first: tuple[str, np.ndarray] | None,
    options: NeuronsOptions,
) -> dict[str, Any]:
    photos = [
        {"name": found.paths[image], "label": found.labels[image], "uri": drawn.photos[image]}
        for image in drawn.places
    ]
    content: dict[str, Any] = json_values({
        # What the script needs stands apart.
        "data": {"layers": layers, "photos": photos, "classes": found.classes, "tile": TILE},
        "layers": [(one["name"], one["words"], one["hidden"], one["silent"]) for one in layers],
        "photos": len(found.paths) - len(found.failed),
        "classes": found.classes,
        "failed": found.failed,
        "per_photo": options.per_photo,
        "filters": None if first is None else (first[0], _uri(first[1], "PNG")),
    })  # fmt: skip
    return content


def _uri(picture: np.ndarray, kind: str = "JPEG") -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, quality=_QUALITY)
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{encoded}"
