"""What is wrong with a data set, file by file, before anything is trained on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from convscope.data.duplicates import same_photo_groups
from convscope.data.folder import PhotoTable, scan
from convscope.data.images import FORMATS
from convscope.data.survey import DecodeSpec, Facts, survey
from convscope.errors import InputError
from convscope.progress import Progress

# Shorter side, pixels: below it even the smallest network's input has to be enlarged.
TINY = 48
# Photos per class below which figures say little and a class is hard to learn.
FEW_PHOTOS = 20
# Largest class over smallest, above which the imbalance is worth a line.
IMBALANCE = 3.0
LEAST_PER_CLASS = 2
# Files that one error names at most.
_NAMED = 5

Severity = Literal["error", "warning", "note"]

# Kind -> severity and what it means, worst first; the order in which findings are listed.
KINDS: dict[str, tuple[Severity, str]] = {
    "unreadable": ("error", "cannot be decoded; left out"),
    "truncated": ("error", "cut off before its end; left out"),
    "too_large": ("error", "too many pixels or bytes; left out"),
    "unsupported": ("error", "a photo in a format that is not read; left out"),
    "link_loop": ("error", "a link that leads nowhere; left out"),
    "split_leak": ("error", "the same photo on two sides of the split: the test is too easy"),
    "group_leak": ("error", "one group on two sides of the split: the test is too easy"),
    "label_conflict": ("error", "the same photo under different labels"),
    "exact_duplicate": ("warning", "the same file again"),
    "near_duplicate": ("warning", "the same photo again, re-saved or slightly changed"),
    "wrong_suffix": ("warning", "the content is not what the suffix says; read all the same"),
    "tiny": ("warning", f"shorter side under {TINY} pixels"),
    "imbalance": ("warning", f"largest class more than {IMBALANCE:g} times the smallest"),
    "few_photos": ("warning", f"class with fewer than {FEW_PHOTOS} usable photos"),
    "ignored": ("note", "not taken for a photo of a class"),
}


@dataclass(frozen=True)
class Finding:
    """One problem.

    Attributes
    ----------
    kind : str
        A key of :data:`KINDS`.
    severity : str
        ``error``, ``warning`` or ``note``.
    path : str or None
        The file, relative to the photos; None where the problem is a class's.
    label : str or None
    split : str or None
    detail : str
        In plain words.
    other : tuple of str
        The other files concerned.
    """

    kind: str
    severity: Severity
    path: str | None
    label: str | None
    split: str | None
    detail: str
    other: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As in ``check.json``."""
        row = asdict(self)
        row["class"] = row.pop("label")
        row["other"] = list(self.other)
        return row


@dataclass(frozen=True)
class CheckReport:
    """All that :func:`check` found."""

    photos: int
    counts: dict[str, dict[str, int]]
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        """Machine-readable, as ``convscope check --json`` prints it."""
        return {
            "photos": self.photos,
            "counts": self.counts,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def check(
    photos: Path | str, *, workers: int | None = None, progress: Progress | None = None
) -> CheckReport:
    """Decode every photo of a data set and list its problems; changes nothing.

    Parameters
    ----------
    photos : path
        See :func:`~convscope.data.folder.scan`.
    workers : int, optional
        Decoding processes, default one per core.
    progress : Progress, optional

    Raises
    ------
    InputError
        If there is no data set at all.
    """
    table = scan(Path(photos))
    progress = progress or Progress()
    # A scaled decoding reads a file to its end as well: one that is cut off is found.
    spec = DecodeSpec(resize=32, size=32)
    facts: list[Facts] = []
    with progress.task("reading photos", len(table), "photos") as advance:
        for chunk in survey(table.full_paths(), spec, workers=workers):
            facts.extend(chunk.facts)
            advance(len(chunk.rows))
    usable = table.take(i for i, fact in enumerate(facts) if fact.usable)
    return CheckReport(len(usable), usable.counts(), find_problems(table, facts))


def find_problems(table: PhotoTable, facts: Sequence[Facts]) -> tuple[Finding, ...]:
    """Everything wrong with these photos, worst kind first.

    Parameters
    ----------
    table : PhotoTable
    facts : sequence of Facts
        One per photo of the table.
    """
    exact, near = same_photo_groups(facts)
    findings = [_finding(kind, None, path, reason) for path, kind, reason in table.ignored]
    for row, fact in enumerate(facts):
        findings.extend(_file_problems(table, row, fact))
    findings.extend(_copies(table, exact, near))
    findings.extend(_group_leaks(table))
    findings.extend(_class_problems(table, facts))
    order = list(KINDS)
    findings.sort(key=lambda f: (order.index(f.kind), f.path or "", f.label or ""))
    return tuple(findings)


def require_classes(table: PhotoTable, facts: Sequence[Facts]) -> None:
    """Raise :class:`InputError` where a class has too few usable photos.

    Too few are fewer than 2, or none to train on where the split is given. The error names the
    files of such a class that were left out.
    """
    usable, trained = Counter[str](), Counter[str]()
    for row, fact in enumerate(facts):
        if fact.usable:
            usable[table.labels[row]] += 1
            trained[table.labels[row]] += table.splits is None or table.splits[row] == "train"
    poor = [c for c in table.classes if usable[c] < LEAST_PER_CLASS or not trained[c]]
    if not poor:
        return
    names = ", ".join(f"{c} ({usable[c]}, {trained[c]} to train on)" for c in poor)
    left_out = [
        f"{table.paths[row]} ({fact.error})"
        for row, fact in enumerate(facts)
        if not fact.usable and table.labels[row] in poor
    ]
    text = f"Too few usable photos in: {names}; at least {LEAST_PER_CLASS} are needed, one of "
    text += "them to train on."
    if left_out:
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        text += f" Left out: {', '.join(left_out[:_NAMED])}{more}."
    raise InputError(f"{text} Add photos to these classes or remove them.")


def _finding(
    kind: str,
    row: tuple[str | None, str | None] | None,
    path: str | None,
    detail: str,
    other: Sequence[str] = (),
) -> Finding:
    label, split = row or (None, None)
    return Finding(kind, KINDS[kind][0], path, label, split, detail, tuple(other))


def _place(table: PhotoTable, row: int) -> tuple[str | None, str | None]:
    return table.labels[row], table.splits[row] if table.splits else None


def _file_problems(table: PhotoTable, row: int, fact: Facts) -> list[Finding]:
    path, place = table.paths[row], _place(table, row)
    if not fact.usable:
        return [_finding(fact.error_kind, place, path, fact.error)]
    problems = []
    suffix = Path(path).suffix.lower()
    if fact.format not in FORMATS.get(suffix, (fact.format,)):
        problems.append(
            _finding("wrong_suffix", place, path, f"named {suffix}, content is {fact.format}")
        )
    if min(fact.width, fact.height) < TINY:
        problems.append(_finding("tiny", place, path, f"{fact.width}x{fact.height} pixels"))
    return problems


def _copies(table: PhotoTable, exact: np.ndarray, near: np.ndarray) -> list[Finding]:
    """One finding per photo that is a copy of an earlier one, and per group that crosses a line."""
    groups: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(near.tolist()):
        groups[group].append(row)
    findings = []
    for rows in groups.values():
        if len(rows) < 2:
            continue
        first = rows[0]
        first_of_bytes: dict[int, int] = {}
        for row in rows:
            same_bytes = first_of_bytes.setdefault(int(exact[row]), row)
            if row == first:
                continue
            kind, original = (
                ("near_duplicate", first) if same_bytes == row else ("exact_duplicate", same_bytes)
            )
            findings.append(
                _finding(kind, _place(table, row), table.paths[row],
                         f"same photo as {table.paths[original]}", [table.paths[original]])
            )  # fmt: skip
        others = [table.paths[row] for row in rows[1:]]
        labels = sorted({table.labels[row] for row in rows})
        if len(labels) > 1:
            findings.append(
                _finding("label_conflict", _place(table, first), table.paths[first],
                         f"labelled {' and '.join(labels)}", others)
            )  # fmt: skip
        if table.splits and len({table.splits[row] for row in rows}) > 1:
            splits = sorted({table.splits[row] for row in rows})
            findings.append(
                _finding("split_leak", _place(table, first), table.paths[first],
                         f"in {' and '.join(splits)}", others)
            )  # fmt: skip
    return findings


def _group_leaks(table: PhotoTable) -> list[Finding]:
    if table.groups is None or table.splits is None:
        return []
    sides: dict[str, set[str]] = defaultdict(set)
    for group, split in zip(table.groups, table.splits, strict=True):
        sides[group].add(split)
    return [
        _finding("group_leak", None, None, f"group {group} is in {' and '.join(sorted(splits))}")
        for group, splits in sorted(sides.items())
        if len(splits) > 1
    ]


def _class_problems(table: PhotoTable, facts: Sequence[Facts]) -> list[Finding]:
    usable = [
        (label, table.splits[row] if table.splits else "train")
        for row, (label, fact) in enumerate(zip(table.labels, facts, strict=True))
        if fact.usable
    ]
    sizes = Counter(label for label, split in usable if split == "train")
    findings = [
        _finding("few_photos", (label, None), None, f"class {label}: {sizes[label]} usable photos"
                 + (" to train on" if table.splits else ""))
        for label in table.classes
        if sizes[label] < FEW_PHOTOS
    ]  # fmt: skip
    smallest = min(table.classes, key=sizes.__getitem__)
    largest = max(table.classes, key=sizes.__getitem__)
    if sizes[smallest] and sizes[largest] > IMBALANCE * sizes[smallest]:
        ratio = sizes[largest] / sizes[smallest]
        findings.append(
            _finding("imbalance", None, None,
                     f"{largest} has {sizes[largest]} photos, {smallest} {sizes[smallest]}: "
                     f"{ratio:.1f} times; a network from scratch weights the classes")
        )  # fmt: skip
    return findings
