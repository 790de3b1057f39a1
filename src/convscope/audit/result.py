"""What an audit gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convscope.audit.association import Association
from convscope.audit.finding import Finding
from convscope.audit.patterns import Pattern

# A property that predicts the label raises an alarm up to this, corrected for all properties.
ALARM = 0.02


@dataclass(frozen=True, eq=False)
class Audit:
    """All that an audit found.

    Attributes
    ----------
    findings : tuple of Finding
        The worst first.
    patterns : tuple of Pattern
        What the classifier goes by in pieces of the photos, the worst first.
    properties : tuple of Association
        Each property alone, the most telling first.
    power : dict of str to float
        Class -> the share of its photos from which a marker that no other class has is found.
    photos, sampled, total : int
        Looked at, looked at piece by piece, and that there are.
    left_out : tuple of (str, str)
        Files that cannot be used, and why.
    searched : str
        Which photos were searched for markers.
    seed : int
    """

    findings: tuple[Finding, ...]
    patterns: tuple[Pattern, ...]
    properties: tuple[Association, ...]
    power: dict[str, float]
    photos: int
    sampled: int
    total: int
    left_out: tuple[tuple[str, str], ...]
    searched: str
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """As ``convscope audit --json`` prints it."""
        return {
            "findings": [finding.to_dict() for finding in self.findings],
            "patterns": [pattern.to_dict() for pattern in self.patterns],
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
            "sampled": self.sampled,
            "total": self.total,
            "searched": self.searched,
            "left_out": [{"path": path, "reason": reason} for path, reason in self.left_out],
            "seed": self.seed,
        }
