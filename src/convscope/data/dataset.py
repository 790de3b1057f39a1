"""The photos that can be used, who is on which side of the split, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convscope.data.checks import CheckReport, Finding, find_problems, require_classes
from convscope.data.duplicates import same_photo_groups
from convscope.data.folder import SPLITS, PhotoTable
from convscope.data.split import inseparable, split_photos
from convscope.data.survey import Facts
from convscope.progress import Progress

# Kinds of findings that say of a file that it takes no part.
LEFT_OUT = frozenset({"unreadable", "truncated", "too_large", "unsupported", "link_loop"})


@dataclass(frozen=True)
class Dataset:
    """A data set ready to train on.

    Attributes
    ----------
    table : PhotoTable
        Usable photos only, each with a split.
    rows : numpy.ndarray
        int ``(n,)``: where each of them stands in the table of all files.
    labels : numpy.ndarray
        int64 ``(n,)``: number of each photo's class in ``table.classes``.
    units : numpy.ndarray
        int ``(n,)``: photos that must not part have the same number, in folds as in splits.
    split_by : str
        Who made the split, in words.
    findings : tuple of Finding
        Problems of all files.
    left_out : tuple of (str, str)
        Files that cannot be used: path and reason.
    """

    table: PhotoTable
    rows: np.ndarray
    labels: np.ndarray
    units: np.ndarray
    split_by: str
    findings: tuple[Finding, ...]
    left_out: tuple[tuple[str, str], ...]

    def places(self, split: str) -> np.ndarray:
        """Which photos of ``table`` are in a split, int."""
        return np.flatnonzero(np.asarray(self.table.splits) == split)

    def check_report(self) -> CheckReport:
        """The problems, as ``convscope check`` gives them."""
        return CheckReport(len(self.table), self.table.counts(), self.findings)


def make_dataset(
    table: PhotoTable, facts: Sequence[Facts], seed: int, progress: Progress
) -> Dataset:
    """Leave out what cannot be used, and split what is not split yet.

    Parameters
    ----------
    table : PhotoTable
    facts : sequence of Facts
        One per file of the table.
    seed : int
        For the split.
    progress : Progress
        Told each file that is left out.

    Raises
    ------
    InputError
        If a class has too few usable photos.
    """
    findings = find_problems(table, facts)
    left_out = tuple((f.path or "", f.detail) for f in findings if f.kind in LEFT_OUT)
    for path, reason in left_out:
        progress.say(f"left out: {path}: {reason}")
    require_classes(table, facts)
    rows = np.flatnonzero([fact.usable for fact in facts])
    usable = table.take(rows.tolist())
    _, near = same_photo_groups([facts[row] for row in rows.tolist()])
    units = inseparable(usable, near)
    split, split_by = split_photos(usable, units, seed)
    return Dataset(split, rows, class_numbers(split), units, split_by, findings, left_out)


def class_numbers(table: PhotoTable) -> np.ndarray:
    """Each photo's class as a number, int64 ``(n,)``."""
    numbers = {label: number for number, label in enumerate(table.classes)}
    return np.array([numbers[label] for label in table.labels], np.int64)


def is_split(table: PhotoTable) -> bool:
    """Whether the user has given training, validation and test photos."""
    return table.splits is not None and set(table.splits) == set(SPLITS)
