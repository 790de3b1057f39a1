"""What ``neurons`` finds out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from convscope.explain.exciting import Hit
from convscope.explain.tapping import Layer
from convscope.neurons.measures import Measures

PhotoBox = tuple[float, float, float, float]


@dataclass(frozen=True)
class Seen:
    """A hit on the user's photo.

    Attributes
    ----------
    hit : Hit
        ``image`` is the photo's number in the list of all.
    box : tuple of float
        Left, top, right, bottom of what the neuron saw, in the photo's own pixels.
    """

    hit: Hit
    box: PhotoBox


@dataclass(frozen=True, eq=False)
class LayerFound:
    """What was found out about one layer.

    Attributes
    ----------
    layer : Layer
    measures : Measures
    seen : tuple of tuple of Seen
        For each channel, the strongest first.
    """

    layer: Layer
    measures: Measures
    seen: tuple[tuple[Seen, ...], ...]

    @property
    def silent(self) -> int:
        """Channels that no photo excites."""
        return sum(not one for one in self.seen)


@dataclass(frozen=True, eq=False)
class NeuronsFound:
    """All that ``neurons`` found out.

    Attributes
    ----------
    paths : tuple of str
        Of all photos, as they were listed.
    labels : tuple of (str or None)
    classes : tuple of str
        Of the labels; none where the photos have none.
    sizes : numpy.ndarray
        int ``(n, 2)``: width and height of each photo; 0 of those that cannot be used.
    layers : tuple of LayerFound
    failed : tuple of (str, str)
        Files that cannot be used, and why.
    """

    paths: tuple[str, ...]
    labels: tuple[str | None, ...]
    classes: tuple[str, ...]
    sizes: np.ndarray
    layers: tuple[LayerFound, ...]
    failed: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """As ``neurons.json`` has it: layers and channels; patches are in ``patches.parquet``."""
        return {
            "photos": len(self.paths) - len(self.failed),
            "classes": list(self.classes),
            "layers": [self._layer(one) for one in self.layers],
            "left_out": [{"path": path, "reason": reason} for path, reason in self.failed],
        }

    def _layer(self, found: LayerFound) -> dict[str, Any]:
        measures, best = found.measures, found.measures.best()
        return {
            "layer": found.layer.name,
            "node": found.layer.node.name,
            "grid": list(found.layer.grid),
            "receptive_field": [field.size for field in found.layer.field],
            "silent": found.silent,
            "channels": [
                {
                    "channel": channel,
                    "most": float(measures.most[channel]),
                    "sparsity": round(float(measures.sparsity[channel]), 4),
                    "class": None if best[channel] < 0 else self.classes[best[channel]],
                    "auroc": None
                    if best[channel] < 0
                    else round(float(measures.auroc[channel, best[channel]]), 4),
                }
                for channel in range(found.layer.channels)
            ],
        }
