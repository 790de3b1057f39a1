"""From a Run folder and a data set to the shortcuts that its classifier may have taken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convscope.audit.association import Association, associations
from convscope.audit.finding import Finding
from convscope.audit.judging import Judge
from convscope.audit.looks import TEXTS, VIEWS
from convscope.audit.markers import find_markers, smallest_found
from convscope.audit.material import Material, gather
from convscope.audit.proving import prove
from convscope.data.folder import scan
from convscope.predicting import classifier
from convscope.progress import Progress
from convscope.run import Run

# A property that predicts the label raises an alarm up to this, corrected for all properties.
ALARM = 0.02
# Photos on which properties are shuffled: more only take longer.
_SHUFFLED = 1500
_SHUFFLES = 1000


@dataclass(frozen=True, eq=False)
class Audit:
    """All that an audit found.

    Attributes
    ----------
    findings : tuple of Finding
        The worst first.
    properties : tuple of Association
        Each property alone, the most telling first.
    power : dict of str to float
        Class -> the share of its photos from which a marker that no other class has is found.
    photos, total : int
        Looked at, and that there are.
    left_out : tuple of (str, str)
        Files that cannot be used, and why.
    searched : str
        Which photos were searched for markers.
    seed : int
    """

    findings: tuple[Finding, ...]
    properties: tuple[Association, ...]
    power: dict[str, float]
    photos: int
    total: int
    left_out: tuple[tuple[str, str], ...]
    searched: str
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """As ``convscope audit --json`` prints it."""
        return {
            "findings": [finding.to_dict() for finding in self.findings],
            "properties": [
                {
                    "name": one.name,
                    "balanced_accuracy": round(one.balanced_accuracy, 4),
                    "chance": round(one.chance, 4),
                    "p_value": one.p_value,
                    "corrected": round(one.corrected, 6),
                    "alarm": one.corrected <= ALARM,
                }
                for one in self.properties
            ],
            "power": {name: round(share, 3) for name, share in self.power.items()},
            "photos": self.photos,
            "total": self.total,
            "searched": self.searched,
            "left_out": [{"path": path, "reason": reason} for path, reason in self.left_out],
            "seed": self.seed,
        }


def examine(
    run: Run | Path | str,
    photos: Path | str,
    *,
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
    seed : int
        Of folds, shufflings and samples.
    workers : int, optional
        Decoding processes, default one per core.
    progress : Progress, optional

    Raises
    ------
    InputError
        The run or the photos cannot be used.
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
    labels = material.labels[learn]
    power = {
        name: smallest_found(labels, number)
        for number, name in enumerate(material.classes)
        if (labels == number).any()
    }
    searched = "training photos" if (material.splits == "train").any() else "all photos"
    audit = Audit(
        findings, properties, power, len(material), material.total, material.left_out, searched,
        seed,
    )  # fmt: skip
    return audit, material


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
