"""What an audit finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from convscope.audit.changing import Change
from convscope.audit.judging import Rate, groups_to_dict
from convscope.audit.regions import Region

Strength = Literal["strong", "weak"]
# What is not in the pixels that a network sees.
OF_FILES = ("size", "aspect ratio", "compression", "file format", "camera")
# Of the photo as a whole.
GLOBAL = ("colour", "hues", "brightness", "contrast", "sharpness")
_NAMES = {"hues": "colour", "sharpness": "blur", "place": "fixed place"}


@dataclass(frozen=True, eq=False)
class Finding:
    """A marker of one class, and what became of it when it was tried out.

    Attributes
    ----------
    kind : str
    label : str
        The class.
    strength : str
        ``strong``: it sets so much of the class apart that a classifier can go by it; ``weak``: of
        less, or not in the pixels that a network sees.
    used : bool or None
        Whether this classifier goes by it: photos turn when they are given it, or are lost when it
        is taken; None where that could not be tried.
    share, elsewhere : float
        Of the class's photos, and of the others', those that have it.
    p_value : float
    region : Region or None
        None of what is not in the pixels.
    box : tuple of float or None
        Left, top, right, bottom around the region, in fractions of a photo; the median of those
        that carry it.
    carriers : tuple of str
        Photos of the class that have it, the plainest first.
    stray : tuple of str
        Photos of other classes that have it.
    given, control : Rate or None
        Photos of other classes that turn to this class when they are given it; and when they are
        given the same of photos that do not have it.
    taken : Rate or None
        Carriers that are no longer named right when it is taken from them, of those that were.
    groups : dict of str to Rate
        How accurate the classifier is on photos with and without it.
    also : tuple of str
        Other views that show the same photos.
    give, take : Change or None
        How a photo gets it and loses it; None where that cannot be done.
    """

    kind: str
    label: str
    strength: Strength
    used: bool | None
    share: float
    elsewhere: float
    p_value: float
    region: Region | None
    box: tuple[float, float, float, float] | None
    carriers: tuple[str, ...]
    stray: tuple[str, ...]
    given: Rate | None = None
    control: Rate | None = None
    taken: Rate | None = None
    groups: dict[str, Rate] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    give: Change | None = None
    take: Change | None = None

    @property
    def worst(self) -> tuple[str, Rate] | None:
        """The group on which the classifier does worst, of those with ten photos or more."""
        return worst_of(self.groups)

    @property
    def weight(self) -> float:
        """For the order: the worst first."""
        flips = 0.0 if self.given is None else self.given.share
        return (self.strength == "strong") * 10 + bool(self.used) * 5 + flips + self.share

    def text(self) -> str:
        """In plain words."""
        what = _what(self.kind, self.region, self.box)
        said = (
            f"{self.share:.0%} of the photos of {self.label} have {what}, and {self.elsewhere:.1%} "
            "of all others."
        )
        if self.kind in OF_FILES:
            return f"{said} The network does not see it, but the label goes with it."
        if self.given is not None and self.given.n:
            said += (
                f" Given it, {self.given.share:.0%} of {self.given.n} photos of other classes are "
                f"called {self.label}"
            )
            if self.control is not None:
                said += f" ({self.control.share:.0%} with the same from photos without it)"
            said += "."
        if self.taken is not None and self.taken.n:
            said += (
                f" Without it, {self.taken.share:.0%} of {self.taken.n} that were named right are "
                "not any more."
            )
        if self.used is False:
            said += " This classifier does not go by it; another one may."
        return said

    def advice(self) -> str:
        """What to do about it, in plain words."""
        if self.kind in OF_FILES:
            return (
                f"Where do the photos of {self.label} come from? Take some from where the others "
                "come from, and the other way round; save all of them in the same way."
            )
        if self.kind in GLOBAL or self.kind == "blur":
            return (
                f"Collect photos of {self.label} without it, and of others with it. Until then, "
                "--mask-out RUN trains again with it spread over all classes."
            )
        return (
            f"Crop or cover it, or collect photos of {self.label} without it and of others with "
            "it. --mask-out RUN trains again with that place covered in all photos."
        )

    def to_dict(self) -> dict[str, Any]:
        """As ``convscope audit --json`` prints it."""
        return {
            "kind": self.kind,
            "class": self.label,
            "strength": self.strength,
            "used": self.used,
            "photos": len(self.carriers),
            "share": round(self.share, 4),
            "elsewhere": round(self.elsewhere, 4),
            "p_value": self.p_value,
            "flip_rate": None if self.given is None else round(self.given.share, 4),
            "flip_rate_95": None if self.given is None else list(self.given.interval),
            "flip_rate_control": None if self.control is None else round(self.control.share, 4),
            "lost_when_taken": None if self.taken is None else round(self.taken.share, 4),
            "region": None if self.box is None else [round(side, 4) for side in self.box],
            "area": None if self.region is None else round(self.region.area, 4),
            "accuracy": groups_to_dict(self.groups),
            "also": list(self.also),
            "paths": list(self.carriers),
            "text": self.text(),
        }


def worst_of(groups: dict[str, Rate]) -> tuple[str, Rate] | None:
    """The group on which the classifier does worst, of those with ten photos or more."""
    large = {name: rate for name, rate in groups.items() if rate.n >= 10}
    if not large:
        return None
    name = min(large, key=lambda each: large[each].share)
    return name, large[name]


def name_of(view: str) -> str:
    """What a view is called in a finding."""
    plain = view.partition(" in the ")[0]
    return _NAMES.get(plain, plain)


def _what(kind: str, region: Region | None, box: tuple[float, float, float, float] | None) -> str:
    if kind in OF_FILES:
        return f"the same {kind}"
    if kind in ("colour", "brightness", "contrast"):
        return f"an unusual {kind}"
    if kind == "blur":
        return "an unusual sharpness"
    if region is None or box is None:
        return f"the same {kind}"
    if kind in ("border", "background"):
        return f"the same {kind}, {region.area:.0%} of the photo"
    left, top, right, bottom = box
    down = "top" if bottom < 0.5 else "bottom" if top > 0.5 else "middle"
    across = "left" if right < 0.5 else "right" if left > 0.5 else ""
    place = f"{down} {across}".strip()
    return f"the same at the {place} ({region.area:.1%} of the photo)"


def paths_of(rows: np.ndarray, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of some photos."""
    return tuple(names[int(row)] for row in rows)
