"""From a Run folder and a data set to the shortcuts that its classifier may have taken."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from convscope.audit.association import Association, associations
from convscope.audit.judging import Judge
from convscope.audit.looks import TEXTS, VIEWS
from convscope.audit.markers import find_markers, smallest_found
from convscope.audit.material import Material, gather
from convscope.audit.page import contact_sheet, page_content, pattern_sheet
from convscope.audit.patterns import find_patterns
from convscope.audit.pieces import draw_sample, pieces_of
from convscope.audit.proving import FOLLOWED, prove
from convscope.audit.remedy import Remedy, train_without
from convscope.audit.result import Audit
from convscope.data.folder import scan
from convscope.errors import InputError
from convscope.explaining.running import png
from convscope.files import write_bytes, write_json
from convscope.predicting import classifier, load_classifier
from convscope.progress import Progress
from convscope.report.pages import AUDIT, write_page
from convscope.run import Run
from convscope.unfinished import whole_folder

# Photos on which properties are shuffled: more only take longer.
_SHUFFLED = 1500
_SHUFFLES = 1000
RESULT = "audit.json"


def audit(
    run: Run | Path | str,
    photos: Path | str,
    out: Path | str,
    *,
    masks: Path | str | None = None,
    mask_out: Path | str | None = None,
    seed: int = 0,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[Audit, Remedy | None]:
    """Find shortcuts, and write them down: ``audit.json``, ``audit.html``, lists and pictures.

    Parameters
    ----------
    run, photos, masks, seed, workers, progress
        See :func:`examine`.
    out : path
        The folder to make; it appears whole or not at all.
    mask_out : path, optional
        A Run folder to make: trained again without the strong findings.
    overwrite : bool
        Replace an earlier audit at ``out``.

    Returns
    -------
    Audit
    Remedy or None
        None without ``mask_out``, or where no finding is strong.

    Raises
    ------
    InputError
        As :func:`examine`; or ``out`` or ``mask_out`` exists.
    """
    progress = progress or Progress()
    run = run if isinstance(run, Run) else Run(Path(run))
    if mask_out is not None and Path(mask_out).exists():
        raise InputError(f"{mask_out} exists already. Choose another --mask-out.")
    with whole_folder(Path(out), result="audit", marks=RESULT, overwrite=overwrite) as folder:
        found, material = examine(
            run, photos, masks=masks, seed=seed, workers=workers, progress=progress
        )  # fmt: skip
        remedy = None
        if mask_out is not None:
            remedy = train_without(
                run, material, found.findings, Path(mask_out), seed=seed, workers=workers,
                progress=progress,
            )  # fmt: skip
        files = dict(zip(material.names, material.files, strict=True))
        sheets = {}
        for number, finding in enumerate(found.findings):
            picture = contact_sheet(finding, files)
            if picture is not None:
                sheets[number] = picture
                write_bytes(folder / f"finding-{number + 1}.png", png(picture))
        seen = [pattern_sheet(one) for one in found.patterns]
        for number, picture in enumerate(seen):
            write_bytes(folder / f"pattern-{number + 1}.png", png(picture))
        write_bytes(folder / "photos.csv", _lists(found))
        result = {**found.to_dict(), "remedy": None if remedy is None else remedy.to_dict()}
        write_json(folder / RESULT, result)
        write_page(folder / "audit.html", AUDIT, page_content(found, sheets, seen, remedy))
    return found, remedy


def _lists(found: Audit) -> bytes:
    """Who has what, as CSV: photos to look at, to crop, or to replace."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["finding", "class", "kind", "strength", "path", "of_the_class"])
    for number, one in enumerate(found.findings, start=1):
        for paths, own in ((one.carriers, True), (one.stray, False)):
            for path in paths:
                writer.writerow([number, one.label, one.kind, one.strength, path, own])
    for number, pattern in enumerate(found.patterns, start=1):
        name = f"pattern {number}"
        for paths, own in ((pattern.carriers, True), (pattern.stray, False)):
            for path in paths:
                writer.writerow([name, pattern.label, "pattern", pattern.strength, path, own])
    return buffer.getvalue().encode("utf-8", errors="backslashreplace")


def examine(
    run: Run | Path | str,
    photos: Path | str,
    *,
    masks: Path | str | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Audit, Material]:
    """Search a data set for what gives a class away, and try out whether the classifier uses it.

    Parameters
    ----------
    run : Run or path
    photos : path
        See :func:`~convscope.data.folder.scan`; the photos that the run was fitted on.
    masks : path, optional
        A folder that holds, under the name of each photo but ending in ``.png``, where the object
        is (white): what lies on it is no shortcut.
    seed : int
        Of folds, shufflings and samples.
    workers : int, optional
        Decoding processes, default one per core.
    progress : Progress, optional

    Raises
    ------
    InputError
        The run, the photos or a mask cannot be used.
    """
    progress = progress or Progress()
    run = run if isinstance(run, Run) else Run(Path(run))
    info = run.info()
    forward = classifier(run, info)
    table = scan(Path(photos))
    material = gather(
        run, info, table, forward, workers=workers, seed=seed, progress=progress
    )  # fmt: skip
    learn = material.learn
    properties = _properties(material, learn, seed, progress)
    with progress.task("markers", 1, "search") as advance:
        markers = find_markers(
            material.views, material.labels, material.units, learn=learn,
            overlays=material.overlays(), seed=seed,
        )  # fmt: skip
        advance(1)
    findings = prove(markers, material, Judge(forward, info, seed), progress)
    folder = None if masks is None else _folder(Path(masks))
    sample = draw_sample(material, info, folder, [Path(photos)], seed)
    pieces = pieces_of(sample, forward, load_classifier(run, info), info, progress)
    patterns = find_patterns(sample, pieces, material, forward, seed, progress)
    labels = material.labels[learn]
    power = {
        name: max(FOLLOWED, smallest_found(labels, number))
        for number, name in enumerate(material.classes)
        if (labels == number).any()
    }
    searched = "training photos" if (material.splits == "train").any() else "all photos"
    audit = Audit(
        findings, patterns, properties, power, len(material), len(sample.rows), material.total,
        material.left_out, searched, seed,
    )  # fmt: skip
    return audit, material


def _folder(masks: Path) -> Path:
    if not masks.is_dir():
        raise InputError(f"{masks} is no folder of masks.")
    return masks


def _properties(
    material: Material, learn: np.ndarray, seed: int, progress: Progress
) -> tuple[Association, ...]:
    rows = np.flatnonzero(learn)
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:_SHUFFLED])
    views = {name: material.views[name][rows] for name in (*VIEWS, *TEXTS)}
    return associations(
        {name: values for name, values in views.items() if len(np.unique(values)) > 1},
        material.labels[rows], material.units[rows], seed=seed, shuffles=_SHUFFLES,
        progress=progress,
    )  # fmt: skip
