"""Planted shortcuts: how many an audit finds, where it says they are, and false alarms.

Six kinds, each in half, four fifths and all of the training photos of one class; clean draws for
false alarms; the time for 2,000 photos; and what training again without them brings. The
classifier of the first rows was fitted on the clean photos: what is found does not depend on it.
"""

from __future__ import annotations

import io
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from common import material as given_material
from common import parser, row, say
from convscope import FitOptions, fit
from convscope.audit.association import associations
from convscope.audit.finding import Finding
from convscope.audit.judging import Judge
from convscope.audit.looks import FRAMES, look_at
from convscope.audit.markers import find_markers
from convscope.audit.material import PLACE, Material, gather, in_frame
from convscope.audit.proving import prove
from convscope.audit.result import ALARM
from convscope.audit.running import audit, examine
from convscope.data.folder import scan
from convscope.data.survey import in_workers
from convscope.demo import write_photos
from convscope.lanes import in_lanes
from convscope.predicting import classifier
from convscope.progress import Progress
from convscope.run import Run
from plants import KINDS, write

SHARES = (0.5, 0.8, 1.0)
GOALS = {0.5: 0.6, 0.8: 0.9, 1.0: 0.9}
DRAWS, MOST_ALARMS, MASS, MINUTES, RISE = 20, 1, 0.7, 6, 0.10
NOISE = ((100, 100), (160, 40), (180, 20), (25,) * 8)
NOISE_SETS, NOISE_RATE = 400, 0.05
# A finding is of the plant if so much of its region lies inside.
_INSIDE = 0.3


@dataclass(frozen=True)
class Ground:
    """Clean photos, saved once more so that all have one compression, and a run on them."""

    name: str
    run: Run
    photos: Path
    material: Material
    judge: Judge


def saved_again(source: Path, target: Path) -> Path:
    """Every photo as a JPEG of the quality that plants are saved with."""
    table = scan(source)

    def save(path: str) -> None:
        file = (target / path).with_suffix(".jpg")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.open(source / path).convert("RGB").save(file, "JPEG", quality=92)

    for _ in in_lanes(save, table.paths):
        pass
    return target


def ground(name: str, photos: Path, options: FitOptions, folder: Path) -> Ground:
    """Fit, and look at all photos."""
    run = fit(photos, folder / f"{name}-run", options)
    info = run.info()
    forward = classifier(run, info)
    found = gather(
        run, info, scan(photos), forward, workers=None, seed=0, progress=Progress()
    )  # fmt: skip
    return Ground(name, run, photos, found, Judge(forward, info, 0))


def planted(
    on: Ground, kind: str, label: int, share: float, folder: Path, seed: int
) -> tuple[Material, dict[int, np.ndarray]]:
    """The material with a shortcut in so many training photos of a class, and where it is."""
    clean = on.material
    own = np.flatnonzero((clean.labels == label) & (clean.splits == "train"))
    rows = np.sort(np.random.default_rng(seed).permutation(own)[: round(share * len(own))])
    files = list(clean.files)
    masks = {}
    for number in rows.tolist():
        target = folder / f"{number}.jpg"
        mask = write(clean.files[number], target, kind, seed * 10_000 + number)
        masks[number] = cv2.resize(mask.astype(np.uint8), (200, 200)) > 0
        files[number] = target
    looks = [look for _, some in in_workers(look_at, [files[n] for n in rows]) for look in some]
    views = {name: values.copy() for name, values in clean.views.items()}
    canvases = {frame: values.copy() for frame, values in clean.canvases.items()}
    for number, look in zip(rows.tolist(), looks, strict=True):
        for name, values in look.numbers.items():
            views[name][number] = values
        for frame in FRAMES:
            views[in_frame(PLACE, frame)][number] = look.cells[frame]
            canvases[frame][number] = look.canvases[frame]
    return replace(clean, files=tuple(files), views=views, canvases=canvases), masks


def findings(on: Ground, material: Material) -> tuple[Finding, ...]:
    """As ``convscope audit`` has them."""
    markers = find_markers(
        material.views, material.labels, material.units, learn=material.learn,
        overlays=material.overlays(), seed=0,
    )  # fmt: skip
    return prove(markers, material, on.judge, Progress())


def inside(finding: Finding, masks: dict[int, np.ndarray], material: Material) -> float:
    """The share of the reported region that lies where the shortcut is, mean over photos."""
    if finding.region is None:
        return 0.0
    shares = []
    for number, mask in masks.items():
        width, height = map(int, material.sizes[number])
        told = finding.region.on(width, height)
        truth = cv2.resize(mask.astype(np.uint8), (width, height)) > 0
        shares.append(float(truth[told].mean()) if told.any() else 0.0)
    return float(np.mean(shares))


def recall_rows(grounds: list[Ground], quick: bool) -> None:
    """Recall by share, and how well the region lies."""
    hits: dict[float, list[bool]] = {share: [] for share in SHARES}
    strong: dict[float, list[bool]] = {share: [] for share in SHARES}
    masses: list[float] = []
    missed: list[str] = []
    for on in grounds:
        classes = len(on.material.classes)
        for number, kind in enumerate(KINDS):
            for share in SHARES[1:2] if quick else SHARES:
                label = (3 * number + round(10 * share)) % classes
                with tempfile.TemporaryDirectory() as folder:
                    changed, masks = planted(on, kind, label, share, Path(folder), number)
                    found = [
                        (one, inside(one, masks, changed)) for one in findings(on, changed)
                        if one.label == changed.classes[label]
                    ]  # fmt: skip
                best = max(found, key=lambda pair: (pair[0].weight, pair[1]), default=None)
                hit = best is not None and best[1] >= _INSIDE
                hits[share].append(hit)
                strong[share].append(hit and best is not None and best[0].strength == "strong")
                name = f"{on.name}, {kind} in {share:.0%} of {changed.classes[label]}"
                if best is None or not hit:
                    missed.append(name)
                    say(f"{name}: missed")
                else:
                    masses.append(best[1])
                    say(f"{name}: {best[0].strength} {best[0].kind}, {best[1]:.2f} inside")
    for share in SHARES:
        if hits[share]:
            ours = float(np.mean(hits[share]))
            row(
                f"audit: recall of shortcuts in {share:.0%} of a class", "the goal",
                ours / GOALS[share], 1.0, ours, GOALS[share], "share found",
                plants=len(hits[share]), strong=float(np.mean(strong[share])), missed=missed,
            )  # fmt: skip
    ours = float(np.mean(masses)) if masses else 0.0
    row("audit: share of the reported region inside the plant", "the goal", ours / MASS, 1.0,
        ours, MASS, "share", regions=len(masses))  # fmt: skip


def some_of(material: Material, rows: np.ndarray) -> Material:
    """Some of the photos."""
    return replace(
        material,
        names=tuple(material.names[k] for k in rows), files=tuple(material.files[k] for k in rows),
        labels=material.labels[rows], predicted=material.predicted[rows],
        splits=material.splits[rows], units=material.units[rows], sizes=material.sizes[rows],
        views={name: values[rows] for name, values in material.views.items()},
        canvases={name: values[rows] for name, values in material.canvases.items()},
    )  # fmt: skip


def precision_row(grounds: list[Ground], folder: Path, quick: bool) -> None:
    """Strong findings on draws without a shortcut."""
    draws = 4 if quick else DRAWS
    alarms: list[str] = []
    for draw in range(draws):
        on = grounds[draw % len(grounds)]
        if on.name == "demo":
            photos = folder / f"draw-{draw}"
            write_photos(photos, seed=100 + draw)
            info = on.run.info()
            changed = gather(
                on.run, info, scan(photos), on.judge.forward, workers=None, seed=draw,
                progress=Progress(),
            )  # fmt: skip
        else:
            rows = np.random.default_rng(draw).permutation(len(on.material))
            changed = some_of(on.material, np.sort(rows[: round(0.7 * len(rows))]))
        found = [one for one in findings(on, changed) if one.strength == "strong"]
        alarms += [f"{on.name} {draw}: {one.kind} of {one.label}, {one.share:.2f}" for one in found]
        say(f"clean draw {draw + 1}, {on.name}: {len(found)} strong")
    row("audit: strong findings on clean draws", "at most one", None, None, len(alarms),
        MOST_ALARMS, "findings", draws=draws, found=alarms)  # fmt: skip


def time_row(on: Ground, quick: bool) -> None:
    """The whole audit of 2,000 photos, as the command does it."""
    count = len(scan(on.photos))
    started = time.perf_counter()
    found, _ = examine(on.run, on.photos)
    seconds = time.perf_counter() - started
    for_2000 = seconds * 2000 / count
    row("audit of 2,000 photos", "the goal", 60 * MINUTES / for_2000, 1.0, for_2000, 60 * MINUTES,
        "s", photos=count, seconds=round(seconds), findings=len(found.findings))  # fmt: skip


def remedy_row(folder: Path, quick: bool) -> None:
    """A network from scratch on the demo's photos with a tag in all of one class."""
    source, tagged = folder / "remedy", folder / "remedy-planted"
    write_photos(source, seed=7)
    for file in sorted(source.rglob("*.jpg")):
        target = tagged / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if (file.parent.name == "snail" and "train" in file.parts) or (
            file.parent.name == "snail" and "valid" in file.parts
        ):
            write(file, target, "tag", 1)
        else:
            content = io.BytesIO()
            Image.open(file).convert("RGB").save(content, "JPEG", quality=92)
            target.write_bytes(content.getvalue())
    run = fit(tagged, folder / "remedy-run", FitOptions(strategy="cnn"))
    _, remedy = audit(run, tagged, folder / "remedy-audit", mask_out=folder / "remedy-again")
    before, after = (0.0, 0.0) if remedy is None else remedy.worst
    row("audit: worst-group accuracy after training without the shortcut", "before", None, None,
        after, before, "accuracy", rise=round(after - before, 3), rise_goal=RISE,
        groups={} if remedy is None else remedy.to_dict()["groups"])  # fmt: skip


def noise_rows(quick: bool) -> None:
    """Eight properties of pure noise: how often one of them is called telling."""
    sets = 20 if quick else NOISE_SETS
    for shares in NOISE:
        drawn = np.random.default_rng(0)
        alarms = {0.05: 0, ALARM: 0}
        for _ in range(sets):
            labels = np.repeat([f"c{k}" for k in range(len(shares))], shares)
            noise: dict[str, np.ndarray] = {
                f"x{k}": drawn.normal(size=len(labels)) for k in range(7)
            }
            noise["text"] = drawn.choice(list("abcd"), len(labels))
            found = associations(noise, labels, seed=int(drawn.integers(1000)))
            least = min(one.corrected for one in found)
            for level in alarms:
                alarms[level] += least <= level
        rates = {level: count / sets for level, count in alarms.items()}
        words = "/".join(str(share) for share in shares)
        say(f"noise {words}: {rates}")
        row(
            f"sets of noise that raise an alarm, classes of {words}", "5 %",
            None if not rates[ALARM] else NOISE_RATE / rates[ALARM], 1.0, rates[ALARM], NOISE_RATE,
            "share of sets", sets=sets, at_corrected_5_percent=rates[0.05],
        )  # fmt: skip


def main() -> None:
    """All rows."""
    options = parser(__doc__).parse_args()
    noise_rows(options.quick)
    with given_material(options) as (photos, weights, _), tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        clean = saved_again(photos, folder / "photos")
        features = FitOptions(strategy="features", head="logistic", weights=str(weights))
        grounds = [ground("photos", clean, features, folder)]
        write_photos(folder / "demo", seed=0)
        drawn = saved_again(folder / "demo", folder / "drawn")
        grounds.append(ground("demo", drawn, FitOptions(strategy="cnn"), folder))
        time_row(grounds[0], options.quick)
        recall_rows(grounds, options.quick)
        precision_row(grounds, folder, options.quick)
        remedy_row(folder, options.quick)


if __name__ == "__main__":
    main()
