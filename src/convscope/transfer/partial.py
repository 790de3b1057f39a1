"""What interrupted calls have computed of a feature file, kept beside it until it is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convscope.run import PrecisionInfo
from convscope.transfer.rows import Rows
from convscope.transfer.shards import Shards
from convscope.transfer.staged import stage_columns


class Partial:
    """What interrupted calls have computed, in ``OUT.partial``; a folder for each kind and call.

    Parameters
    ----------
    out : Path
    kind : list
        All that the numbers depend on, as JSON.
    """

    def __init__(self, out: Path, kind: list[Any]) -> None:
        self.folder = partial_folder(out)
        name = hashlib.sha256(json.dumps(kind).encode()).hexdigest()[:16]
        self._mine = self.folder / name

    def add_to(self, rows: Rows, stages: Mapping[str, int]) -> PrecisionInfo | None:
        """Give what was computed to the photos; how it was, or None if there is nothing."""
        precision = None
        columns = stage_columns(dict(stages))
        for call in sorted(self._mine.glob("*")):
            kept = Shards(call).read()
            if kept is None or kept.vectors.shape[1] != sum(stages.values()):
                continue
            precision = precision or kept.precision
            if kept.precision == precision:
                hashes = [fact.sha256 if fact.usable else "" for fact in kept.facts]
                rows.add(hashes, {s: kept.vectors[:, c] for s, c in columns.items()})
        return precision

    def next_call(self) -> Shards:
        """Where this call keeps what it computes."""
        return Shards(self._mine / f"{len(list(self._mine.glob('*'))):06d}")


def partial_folder(out: Path) -> Path:
    """``OUT.partial``."""
    return out.with_name(f"{out.name}.partial")
