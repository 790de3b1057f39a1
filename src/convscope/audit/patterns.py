"""What a classifier goes by in many photos of one class, wherever it lies in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from convscope.audit.clustering import Cluster, clusters, having
from convscope.audit.finding import Strength, paths_of
from convscope.audit.judging import Rate, differs, goes_by, groups_of, groups_to_dict
from convscope.audit.material import Material
from convscope.audit.pieces import Pieces, Sample, covered
from convscope.progress import Progress

Forward = Callable[[np.ndarray], np.ndarray]

# Photos that a pattern is tried on, and pieces that are pasted.
_TRIED, _DONORS = 60, 12
# Pieces are pasted and covered with so much around them, as a share of the side.
_AROUND = 0.02
# A piece lies at a fixed place if its middle varies by less, as a share of the side.
FIXED = 0.1
# Less of it than this on the object, and in that share of the class: a shortcut.
_OUTSIDE, _STRONG = 0.25, 0.3
_SHOWN = 12


@dataclass(frozen=True, eq=False)
class Pattern:
    """Pieces that look alike, that matter to one class, and that turn photos.

    Attributes
    ----------
    label : str
        The class.
    share, elsewhere : float
        Of the photos of the class that were looked at, and of the others', those in which such a
        piece is among those that matter most; as confirmed.
    p_value : float
        Fisher's exact test on the photos that it was not found in; corrected for all clusters that
        were to be confirmed.
    place, spread : tuple of float
        The middle of the pieces, across and down, 0 to 1, and how much it varies (standard
        deviation).
    inside : float or None
        The share of the pieces that lies on the object; None where nobody knows.
    carriers, stray : tuple of str
        Photos of the class and of others that have it.
    given, control, taken : Rate
        Photos of others that turn when a piece is pasted into them, and when the same place of
        another photo is; carriers that are lost when the pieces are covered.
    groups : dict of str to Rate
        How accurate the classifier is on photos with and without it.
    examples : tuple of (str, numpy.ndarray, numpy.ndarray)
        Name, pixels and mask of some carriers, as the network sees them.
    """

    label: str
    share: float
    elsewhere: float
    p_value: float
    place: tuple[float, float]
    spread: tuple[float, float]
    inside: float | None
    carriers: tuple[str, ...]
    stray: tuple[str, ...]
    given: Rate
    control: Rate
    taken: Rate
    groups: dict[str, Rate] = field(default_factory=dict)
    examples: tuple[tuple[str, np.ndarray, np.ndarray], ...] = ()

    @property
    def fixed(self) -> bool:
        """Whether it is always at the same place."""
        return max(self.spread) < FIXED

    @property
    def strength(self) -> Strength:
        """``strong`` where it is known that it is not the object."""
        outside = self.inside is not None and self.inside < _OUTSIDE
        return "strong" if outside and self.share >= _STRONG else "weak"

    @property
    def weight(self) -> float:
        """For the order: the worst first."""
        outside = 0.5 if self.inside is None else 1 - self.inside
        return (self.strength == "strong") * 10 + outside + self.share + self.given.share

    def text(self) -> str:
        """In plain words."""
        where = "at the same place of each" if self.fixed else "at changing places"
        said = (
            f"In {self.share:.0%} of the photos of {self.label} that were looked at "
            f"({self.elsewhere:.1%} of the others) the classifier goes by a piece like these, "
            f"{where}."
        )
        if self.inside is not None:
            said += f" {self.inside:.0%} of it lies on the object."
        if self.given.n:
            said += (
                f" Pasted into {self.given.n} photos of other classes, {self.given.share:.0%} are "
                f"called {self.label} ({self.control.share:.0%} with that place of another photo)."
            )
        if self.taken.n:
            said += (
                f" Covered, {self.taken.share:.0%} of {self.taken.n} that were named right are "
                "not any more."
            )
        return said

    def advice(self) -> str:
        """What to do about it, in plain words."""
        if self.inside is None or self.inside >= _OUTSIDE:
            return (
                f"Look whether it is part of {self.label}. If it is not: crop or cover it, or "
                f"collect photos of {self.label} without it and of others with it."
            )
        return (
            f"It is not the thing itself. Crop or cover it, or collect photos of {self.label} "
            "without it and of others with it."
        )

    def to_dict(self) -> dict[str, Any]:
        """As ``convscope audit --json`` prints it."""
        return {
            "class": self.label,
            "strength": self.strength,
            "photos": len(self.carriers),
            "share": round(self.share, 4),
            "elsewhere": round(self.elsewhere, 4),
            "p_value": self.p_value,
            "place": [round(at, 4) for at in self.place],
            "spread": [round(by, 4) for by in self.spread],
            "fixed": self.fixed,
            "on_object": None if self.inside is None else round(self.inside, 4),
            "flip_rate": round(self.given.share, 4),
            "flip_rate_95": list(self.given.interval),
            "flip_rate_control": round(self.control.share, 4),
            "lost_when_covered": round(self.taken.share, 4),
            "accuracy": groups_to_dict(self.groups),
            "paths": list(self.carriers),
            "text": self.text(),
        }


def find_patterns(
    sample: Sample,
    pieces: Pieces,
    material: Material,
    forward: Forward,
    seed: int,
    progress: Progress,
) -> tuple[Pattern, ...]:
    """Cluster the pieces of one half of the photos, confirm on the other, and try them out.

    Parameters
    ----------
    sample : Sample
    pieces : Pieces
        Of it.
    material : Material
    forward : callable
        uint8 ``(n, size, size, 3)`` -> logits ``(n, classes)``.
    seed : int
    progress : Progress

    Returns
    -------
    tuple of Pattern
        Those that the classifier goes by, the worst first.
    """
    groups = clusters(
        pieces, material.labels[sample.rows], material.units[sample.rows], seed
    )  # fmt: skip
    found = []
    with progress.task("trying pieces", len(groups), "patterns") as advance:
        for number, group in enumerate(groups):
            drawn = np.random.default_rng([seed, number])
            pattern = _tried(group, sample, pieces, material, forward, drawn)
            if pattern is not None:
                found.append(pattern)
            advance(1)
    return tuple(sorted(found, key=lambda one: -one.weight))


def _tried(
    cluster: Cluster,
    sample: Sample,
    pieces: Pieces,
    material: Material,
    forward: Forward,
    drawn: np.random.Generator,
) -> Pattern | None:
    """None where the classifier does not go by it."""
    labels = material.labels[sample.rows]
    right = sample.predicted == labels
    mine = labels == cluster.label
    has = having(cluster.members, pieces, len(labels))
    masks = {number: _grown(pieces.masks[number]) for number in cluster.members.tolist()}
    members = cluster.members[mine[pieces.photo[cluster.members]]]
    donors = drawn.permutation(members)[:_DONORS]
    targets = drawn.permutation(np.flatnonzero(~mine & right & ~has))[:_TRIED]
    strangers = np.flatnonzero(~mine & ~has)
    given: list[np.ndarray] = []
    control: list[np.ndarray] = []
    for target in targets.tolist():
        donor = int(drawn.choice(donors))
        mask = masks[donor][..., None]
        sources = ((int(pieces.photo[donor]), given), (int(drawn.choice(strangers)), control))
        for source, pasted in sources:
            pasted.append(np.where(mask, sample.pixels[source], sample.pixels[target]))
    carriers = drawn.permutation(np.flatnonzero(mine & right & has))[:_TRIED]
    taken = []
    for carrier in carriers.tolist():
        some = [masks[k] for k in cluster.members.tolist() if pieces.photo[k] == carrier]
        taken.append(covered(sample.pixels[carrier], np.any(some, axis=0)))
    turned, by_chance = (_named(forward, each) == cluster.label for each in (given, control))
    lost = Rate(int((_named(forward, taken) != cluster.label).sum()), len(taken))
    gain = turned.mean() - by_chance.mean() if len(turned) else 0.0
    if not goes_by(float(gain), differs(turned, by_chance), lost):
        return None
    held = np.isin(material.splits[sample.rows], ("valid", "test"))
    places = pieces.places[members]
    name = material.classes[cluster.label]
    rows = sample.rows
    return Pattern(
        label=name,
        share=cluster.share,
        elsewhere=cluster.elsewhere,
        p_value=cluster.p_value,
        place=(float(places[:, 0].mean()), float(places[:, 1].mean())),
        spread=(float(places[:, 0].std()), float(places[:, 1].std())),
        inside=_inside(members, sample, pieces),
        carriers=paths_of(rows[mine & has], material.names),
        stray=paths_of(rows[~mine & has], material.names),
        given=Rate(int(turned.sum()), len(turned)),
        control=Rate(int(by_chance.sum()), len(by_chance)),
        taken=lost,
        groups=groups_of(name, mine, has, right, held),
        examples=_examples(members, sample, pieces, material),
    )


def _named(forward: Forward, photos: Sequence[np.ndarray]) -> np.ndarray:
    found = [
        forward(np.stack(photos[first : first + 16])).argmax(1)
        for first in range(0, len(photos), 16)
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _grown(mask: np.ndarray) -> np.ndarray:
    side = 2 * max(1, round(_AROUND * mask.shape[0])) + 1
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8))) > 0


def _inside(members: np.ndarray, sample: Sample, pieces: Pieces) -> float | None:
    """The mean share of the pieces that lies on the object."""
    shares = []
    for number in members.tolist():
        there = sample.objects[int(pieces.photo[number])]
        if there is not None:
            shares.append(float(there[pieces.masks[number]].mean()))
    return float(np.mean(shares)) if shares else None


def _examples(
    members: np.ndarray, sample: Sample, pieces: Pieces, material: Material
) -> tuple[tuple[str, np.ndarray, np.ndarray], ...]:
    """Those that matter most, one of each photo."""
    chosen: dict[int, int] = {}
    for number in members[np.argsort(-pieces.drop[members], kind="stable")].tolist():
        chosen.setdefault(int(pieces.photo[number]), number)
    return tuple(
        (material.names[int(sample.rows[photo])], sample.pixels[photo], pieces.masks[number])
        for photo, number in list(chosen.items())[:_SHOWN]
    )
