"""The problems found in the photos, grouped by kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LISTED = 50
_OTHERS = 5
_SEVERITIES = ("error", "warning", "note")

# Heading and what it means, in the order of the page: what breaks a result first.
KINDS = {
    "split_leak": (
        "The same photo in two splits",
        "The test figure flatters: the classifier has seen these photos, or near copies of them.",
    ),
    "group_leak": (
        "Photos of one group in two splits",
        "The test figure flatters: what belongs together, such as shots of one object, is on both "
        "sides.",
    ),
    "label_conflict": (
        "The same photo in two classes",
        "At least one of the labels is wrong.",
    ),
    "unreadable": ("Files that cannot be read as photos", "They were left out."),
    "truncated": (
        "Photos that end too early",
        "The file is damaged, often by a broken copy; left out.",
    ),
    "unsupported": ("Files of a kind that is not supported", "They were left out."),
    "too_large": ("Photos with too many pixels", "They were left out."),
    "wrong_suffix": (
        "File names that do not fit their content",
        "For example a PNG named .jpg; read by content.",
    ),
    "exact_duplicate": ("Exact copies", "They add no information, only weight."),
    "near_duplicate": (
        "Near copies",
        "Photos that look almost the same, such as a series or a resized copy.",
    ),
    "tiny": ("Very small photos", "They have fewer pixels than the network looks at."),
    "imbalance": (
        "Classes of very different size",
        "Large classes are favoured; read the figures per class.",
    ),
    "few_photos": ("Classes with few photos", "Their figures are uncertain."),
    "ignored": ("Files that were passed over", "They are not photos, or lie outside the classes."),
    "link_loop": (
        "Links that lead nowhere",
        "They point to nothing, or back to themselves; left out.",
    ),
}
LOOKED_FOR = (
    "unreadable, truncated, unsupported and oversized files; file names that do not fit their "
    "content; exact and near copies; the same photo in two splits or two classes; one group in two "
    "splits; very small photos; classes of very different size or with few photos; files that "
    "were passed over; links that lead nowhere"
)


@dataclass(frozen=True)
class Problem:
    """One line of a group: where, what, and the other files concerned."""

    where: str
    detail: str
    other: tuple[str, ...]
    more_other: int


@dataclass(frozen=True)
class ProblemGroup:
    """All problems of one kind; ``shown`` holds the first of them."""

    title: str
    meaning: str
    severity: str
    count: int
    shown: tuple[Problem, ...]
    hidden: int


@dataclass(frozen=True)
class Problems:
    """Every group, and the files that the fit left out."""

    groups: tuple[ProblemGroup, ...]
    count: int
    looked_for: str
    left_out: ProblemGroup | None


def problems(
    findings: Sequence[Mapping[str, Any]], left_out: Sequence[tuple[str, str]]
) -> Problems:
    """Group the findings by kind, the gravest severity first within the fixed order of kinds."""
    by_kind: dict[str, list[Mapping[str, Any]]] = {kind: [] for kind in KINDS}
    for finding in findings:
        by_kind.setdefault(str(finding.get("kind")), []).append(finding)
    groups = [_group(kind, rows) for kind, rows in by_kind.items() if rows]
    groups.sort(key=lambda group: _SEVERITIES.index(group.severity))
    missing = [Problem(path, reason, (), 0) for path, reason in left_out]
    return Problems(
        groups=tuple(groups),
        count=len(findings),
        looked_for=LOOKED_FOR,
        left_out=ProblemGroup(
            title="Left out of training and testing",
            meaning="These files took no part in this run.",
            severity="note",
            count=len(missing),
            shown=tuple(missing[:LISTED]),
            hidden=max(0, len(missing) - LISTED),
        )
        if missing
        else None,
    )


def _group(kind: str, rows: list[Mapping[str, Any]]) -> ProblemGroup:
    title, meaning = KINDS.get(kind, (kind.replace("_", " ").capitalize(), ""))
    severities = {str(row.get("severity")) for row in rows}
    return ProblemGroup(
        title=title,
        meaning=meaning,
        severity=next((name for name in _SEVERITIES if name in severities), "note"),
        count=len(rows),
        shown=tuple(_problem(row) for row in rows[:LISTED]),
        hidden=max(0, len(rows) - LISTED),
    )


def _problem(row: Mapping[str, Any]) -> Problem:
    detail = str(row.get("detail") or "")
    where = str(row.get("path") or "")
    if not where:
        # The detail often names the class or split itself.
        parts = [
            f"{word} {row[word]}"
            for word in ("class", "split")
            if row.get(word) and f"{word} {row[word]}" not in detail
        ]
        where = ", ".join(parts)
    other = tuple(str(name) for name in row.get("other") or () if str(name) not in detail)
    return Problem(
        where=where,
        detail=detail,
        other=other[:_OTHERS],
        more_other=max(0, len(other) - _OTHERS),
    )
