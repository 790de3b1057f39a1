"""From markers to findings: what belongs together, where it is, and whether it moves anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from convscope.audit.changing import Blur, Change, Cover, Nothing, Paste, Shift
from convscope.audit.finding import GLOBAL, OF_FILES, Finding, Strength, name_of, paths_of
from convscope.audit.judging import Judge, Rate, differs, goes_by, groups_of, open_whole
from convscope.audit.looks import FRAMES, SQUARE, WHOLE
from convscope.audit.markers import Marker
from convscope.audit.material import OVERLAY, Material
from convscope.audit.regions import EVERYWHERE, Region, where
from convscope.progress import Progress

# Markers of one class are one if they mark mostly the same photos.
_SAME = 0.5
# Two markers are opposites if nearly every photo has one of them and not the other.
_OPPOSITE = 0.9
# What fewer photos of the class have is not followed up.
FOLLOWED = 0.22
# Photos that a change is tried on, and photos that others' parts are taken from.
_TRIED, _DONORS = 120, 12
# Share of the class from which a marker is strong: of a part of the photo, and of all of it. What a
# photo shows marks a third of a class at the same place, here and there.
_STRONG_PART, _STRONG_WHOLE = 0.40, 0.25
_CLEARLY = 0.05
_NOTHING = Nothing()


@dataclass(frozen=True, eq=False)
class Trial:
    """What one way of giving and taking a marker does.

    Attributes
    ----------
    view : str
    region : Region or None
    given, control, taken : Rate or None
    sure : float
        The chance that the change turns no more photos than the control.
    give, take : Change or None
    """

    view: str
    region: Region | None
    given: Rate | None
    control: Rate | None
    taken: Rate | None
    sure: float
    give: Change | None = None
    take: Change | None = None

    @property
    def gain(self) -> float:
        """How many more photos turn than with the control, 0 to 1."""
        if self.given is None:
            return 0.0
        return self.given.share - (0.0 if self.control is None else self.control.share)


def prove(
    markers: Sequence[Marker], material: Material, judge: Judge, progress: Progress
) -> tuple[Finding, ...]:
    """Try out what the markers say.

    Returns
    -------
    tuple of Finding
        The worst first.
    """
    groups = [group for group in together(markers) if group[0].share >= FOLLOWED]
    groups = [one for one in groups if not _is_a_lack(one, groups, material)]
    work = sum(len(_ways(group, material)) for group in groups) * 3 * _TRIED
    found = []
    with progress.task("trying out", work, "photos") as advance:
        for group in groups:
            trials = [
                _try(view, region, group, material, judge, advance)
                for view, region in _ways(group, material)
            ]
            found.append(_finding(group, _plainest(trials), material))
    return tuple(sorted(found, key=lambda one: -one.weight))


def together(markers: Sequence[Marker]) -> list[list[Marker]]:
    """Markers of one class that mark mostly the same photos, the best first."""
    groups: list[list[Marker]] = []
    for marker in sorted(markers, key=lambda one: -one.lead):
        for group in groups:
            both = marker.carriers & group[0].carriers
            fewer = min(marker.carriers.sum(), group[0].carriers.sum())
            if marker.label == group[0].label and both.sum() >= _SAME * fewer:
                group.append(marker)
                break
        else:
            groups.append([marker])
    return groups


def _plainest(trials: Sequence[Trial]) -> Trial:
    """The one that turns most photos; a look of all of the photo has to turn clearly more."""
    return max(trials, key=lambda one: one.gain - _CLEARLY * (one.view in GLOBAL))


def _is_a_lack(
    group: Sequence[Marker], groups: Sequence[Sequence[Marker]], material: Material
) -> bool:
    """Whether it is only that another marker is not there, as happens with two classes.

    What is there is more alike in all who have it than what is there instead.
    """
    own = group[0].carriers & material.learn
    for other in groups:
        rest = other[0].carriers & material.learn
        if other is group or (own ^ rest).sum() < _OPPOSITE * material.learn.sum():
            continue
        if min(own.sum(), rest.sum()) < 2:
            continue
        frame = _frame_of(other)
        canvases = material.canvases[frame]
        mask = (
            where(canvases, own, rest, frame=frame).mask
            | where(canvases, rest, own, frame=frame).mask
        )
        spread = [float(canvases[rows][:, mask].std(0).mean()) for rows in (own, rest)]
        if mask.any() and spread[0] > spread[1]:
            return True
    return False


def _ways(group: Sequence[Marker], material: Material) -> list[tuple[str, Region | None]]:
    """As what it can be tried: a part of the photo, a look of all of it, or not at all."""
    best = group[0]
    views = {marker.view for marker in group}
    if views <= set(OF_FILES):
        return [(best.view, None)]
    ways: list[tuple[str, Region | None]] = []
    mine = material.labels == best.label
    carriers = best.carriers & material.learn
    frame = _frame_of(group)
    region = where(
        material.canvases[frame], carriers & mine, ~carriers & material.learn, frame=frame
    )
    whole = [marker.view for marker in group if marker.view in GLOBAL]
    if whole:
        ways.append((whole[0], Region(np.ones_like(region.mask), WHOLE)))
    if region.mask.any() and region.area < EVERYWHERE and views - set(GLOBAL) - set(OF_FILES):
        ways.append((_part(best.view, region), region))
    return ways or [(best.view, None)]


def _frame_of(group: Sequence[Marker]) -> str:
    """In which frame the photos are most alike."""
    leads = dict.fromkeys(FRAMES, 0.0)
    for marker in group:
        frame = SQUARE if marker.view.endswith(SQUARE) else WHOLE
        leads[frame] = max(leads[frame], marker.lead)
    # On photos of one shape both are the same.
    return SQUARE if leads[SQUARE] > leads[WHOLE] else WHOLE


def _part(view: str, region: Region) -> str:
    """What a part of the photo is called."""
    side = region.mask.shape[0]
    at = np.arange(side)
    edge = np.minimum(at, side - 1 - at) / side
    outer = np.minimum(edge[:, None], edge[None]) < 0.12
    around = [region.mask[0].mean(), region.mask[-1].mean(), region.mask[:, 0].mean(),
              region.mask[:, -1].mean()]  # fmt: skip
    if sum(share > 0.5 for share in around) >= 3:
        return "border" if region.mask[outer].sum() > 0.8 * region.mask.sum() else "background"
    return name_of(view) if view.startswith((OVERLAY, "overlaid")) else "fixed place"


def _try(
    view: str, region: Region | None, group: Sequence[Marker], material: Material, judge: Judge,
    advance: Callable[[int], None],
) -> Trial:  # fmt: skip
    best = group[0]
    if region is None:
        advance(3 * _TRIED)
        return Trial(view, None, None, None, None, 1.0)
    mine = material.labels == best.label
    right = material.predicted == material.labels
    carriers, others = best.carriers & mine, ~best.carriers & ~mine
    give, plain, take = _changes(view, region, carriers, others, material)
    drawn = np.random.default_rng(judge.seed)
    given = control = taken = None
    sure = 1.0
    targets = _drawn(others & right, drawn)
    if give is not None and len(targets):
        turned, turned_plain = (
            _says(judge, material, targets, change, advance) == best.label
            for change in (give, plain)
        )
        given = Rate(int(turned.sum()), len(targets))
        control = None if plain is _NOTHING else Rate(int(turned_plain.sum()), len(targets))
        sure = differs(turned, turned_plain)
    own = _drawn(carriers & right, drawn)
    if take is not None and len(own):
        lost = _says(judge, material, own, take, advance) != best.label
        taken = Rate(int(lost.sum()), len(own))
    return Trial(view, region, given, control, taken, sure, give, take)


def _says(
    judge: Judge,
    material: Material,
    rows: np.ndarray,
    change: Change,
    advance: Callable[[int], None],
) -> np.ndarray:
    files = [material.files[int(row)] for row in rows]
    return judge.says(files, change, advance)


def _drawn(rows: np.ndarray, drawn: np.random.Generator) -> np.ndarray:
    return np.sort(drawn.permutation(np.flatnonzero(rows))[:_TRIED])


def _changes(
    view: str, region: Region, carriers: np.ndarray, others: np.ndarray, material: Material
) -> tuple[Change | None, Change, Change | None]:
    """How it is given, what that is compared with, and how it is taken."""
    canvases = material.canvases[SQUARE]
    if view == "sharpness":
        return _blurring(canvases[carriers], canvases[others]), _NOTHING, None
    if view in GLOBAL:
        shift = _shifting(canvases[carriers], canvases[others])
        return shift, _NOTHING, shift.back
    with_it, without = (
        [open_whole(material.files[int(row)], 512) for row in _spread(rows)]
        for rows in (carriers, others)
    )
    return Paste(region, with_it), Paste(region, without), Cover(region)


def _spread(rows: np.ndarray) -> np.ndarray:
    found = np.flatnonzero(rows)
    places = np.unique(np.linspace(0, len(found) - 1, _DONORS).round().astype(int))
    return np.asarray(found[places])


def _shifting(own: np.ndarray, others: np.ndarray) -> Shift:
    def moments(canvases: np.ndarray) -> tuple[np.ndarray, float]:
        lab = np.stack([cv2.cvtColor(one, cv2.COLOR_RGB2LAB) for one in canvases[:200]])
        means = lab.reshape(-1, 3).mean(0) / (2.55, 1, 1)
        return means, float(np.mean([one[..., 0].std() for one in lab]))

    (mean, spread), (usual, usual_spread) = moments(own), moments(others)
    by = mean - usual
    return Shift((float(by[0]), float(by[1]), float(by[2])), spread / max(usual_spread, 1.0))


def _blurring(own: np.ndarray, others: np.ndarray) -> Blur | None:
    """As much as makes the others as sharp as these; None if these are no less sharp."""

    def sharpness(canvases: np.ndarray, sigma: float) -> float:
        found = []
        for one in canvases[:60]:
            grey = cv2.cvtColor(one, cv2.COLOR_RGB2GRAY)
            soft = cv2.GaussianBlur(grey, (0, 0), sigma) if sigma > 0.05 else grey
            found.append(float(np.log(cv2.Laplacian(soft, cv2.CV_32F).var() + 1)))
        return float(np.median(found))

    wanted = sharpness(own, 0.0)
    low, high = 0.0, 8.0
    if wanted >= sharpness(others, 0.3):
        return None
    for _ in range(10):
        middle = (low + high) / 2
        low, high = (middle, high) if sharpness(others, middle) > wanted else (low, middle)
    return Blur((low + high) / 2 / others.shape[1])


def _finding(group: Sequence[Marker], trial: Trial, material: Material) -> Finding:
    best = group[0]
    mine = material.labels == best.label
    carriers = np.flatnonzero(best.carriers & mine)
    also = dict.fromkeys(name_of(m.view) for m in group if name_of(m.view) != name_of(trial.view))
    return Finding(
        kind=name_of(trial.view),
        label=material.classes[best.label],
        strength=_strength(best, trial),
        used=_used(trial),
        share=best.share,
        elsewhere=best.elsewhere,
        p_value=best.p_value,
        region=trial.region,
        box=None if trial.region is None else _box(trial.region, material.sizes[carriers]),
        carriers=paths_of(carriers, material.names),
        stray=paths_of(np.flatnonzero(best.carriers & ~mine), material.names),
        given=trial.given,
        control=trial.control,
        taken=trial.taken,
        groups=groups_of(
            material.classes[best.label],
            mine,
            best.carriers,
            material.predicted == material.labels,
            material.judged,
        ),
        also=tuple(also),
        give=trial.give,
        take=trial.take,
    )


def _box(region: Region, sizes: np.ndarray) -> tuple[float, float, float, float]:
    boxes = [region.box_on(int(width), int(height)) for width, height in sizes]
    left, top, right, bottom = np.median(boxes, axis=0).tolist()
    return left, top, right, bottom


def _strength(best: Marker, trial: Trial) -> Strength:
    whole = trial.view in GLOBAL
    if trial.region is None or best.share < (_STRONG_WHOLE if whole else _STRONG_PART):
        return "weak"
    return "strong"


def _used(trial: Trial) -> bool | None:
    """Whether the classifier goes by it; None where it was not tried out."""
    if trial.given is None and trial.taken is None:
        return None
    return goes_by(trial.gain, trial.sure, trial.taken)
