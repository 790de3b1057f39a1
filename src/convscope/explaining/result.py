"""What ``explain`` finds out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from convscope.explain.agreeing import agreement
from convscope.explain.faithfulness import Curve
from convscope.explain.localisation import Localisation
from convscope.explain.result import Explanation
from convscope.explain.sanity import Randomisation
from convscope.pictures import heat


@dataclass(frozen=True, eq=False)
class Explained:
    """One map of one photo, and how far it can be believed.

    Attributes
    ----------
    explanation : Explanation
        Of one image and one target.
    followed : Explanation or None
        Of several classes, ``(t,)``: what covering does to each; of ``occlusion``.
    curves : tuple of Curve
    where : Localisation or None
        Against the photo's mask.
    """

    explanation: Explanation
    followed: Explanation | None = None
    curves: tuple[Curve, ...] = ()
    where: Localisation | None = None

    def words(self) -> str:
        """What it is worth, in one line."""
        said = [curve.line() for curve in self.curves]
        if self.where is not None:
            said.append(self.where.line())
        return ", ".join(said)


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo, what the network says of it, and its maps.

    Attributes
    ----------
    path : str
    pixels : numpy.ndarray
        uint8 ``(height, width, 3)``, upright; large ones are shrunk.
    box : tuple of float
        Left, top, right, bottom of what the network saw, in these pixels.
    probabilities : numpy.ndarray
        float64 ``(classes,)``.
    target : int
        The class that is explained.
    maps : tuple of Explained
    """

    path: str
    pixels: np.ndarray
    box: heat.Box
    probabilities: np.ndarray
    target: int
    maps: tuple[Explained, ...] = ()


@dataclass(frozen=True, eq=False)
class Found:
    """All that ``explain`` found out.

    Attributes
    ----------
    classes : tuple of str
    photos : tuple of Photo
    failed : tuple of (str, str)
        Files that cannot be used, and why.
    sanity : dict
        Method -> what it shows once the network is random.
    seed : int
    """

    classes: tuple[str, ...]
    photos: tuple[Photo, ...]
    failed: tuple[tuple[str, str], ...]
    sanity: dict[str, Randomisation] = field(default_factory=dict)
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As ``explanations.json`` has it."""
        return {
            "classes": list(self.classes),
            "seed": self.seed,
            "photos": [self._photo(photo) for photo in self.photos]
            + [{"path": path, "error": error} for path, error in self.failed],
            "sanity": {name: each.to_dict() for name, each in self.sanity.items()},
        }

    def _photo(self, photo: Photo) -> dict[str, Any]:
        maps = [each.explanation for each in photo.maps]
        pairs = agreement(maps) if len(maps) > 1 else ()
        return {
            "path": photo.path,
            "label": self.classes[int(photo.probabilities.argmax())],
            "probabilities": dict(zip(self.classes, photo.probabilities.tolist(), strict=True)),
            "target": self.classes[photo.target],
            "maps": [
                {
                    "method": each.explanation.method,
                    "of": each.explanation.of,
                    "score": float(each.explanation.score),
                    "parameters": dict(each.explanation.parameters),
                    "seconds": round(each.explanation.seconds, 3),
                    "forwards": round(each.explanation.forwards, 2),
                    **{curve.kind: curve.to_dict() for curve in each.curves},
                    **({} if each.where is None else each.where.to_dict()),
                }
                for each in photo.maps
            ],
            "agreement": [pair.to_dict() for pair in pairs],
        }
