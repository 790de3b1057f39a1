"""Finished features kept on disk while the rest is computed: what ``--resume`` goes on from.

One ``.npz`` of plain arrays for every few hundred photos; nothing in it can run.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from convscope.data.survey import Facts
from convscope.run import PrecisionInfo

SHARD = 512
_TEXTS = ("error_kind", "error", "format", "sha256")


@dataclass(frozen=True)
class Kept:
    """The rows that are done, from the first on."""

    vectors: np.ndarray
    facts: tuple[Facts, ...]
    precision: PrecisionInfo


class Shards:
    """The shards of one extraction.

    Parameters
    ----------
    folder : Path
        Theirs alone; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept = 0

    def keep(
        self,
        vectors: np.ndarray,
        facts: Sequence[Facts],
        precision: PrecisionInfo,
        *,
        at_least: int | None = None,
    ) -> None:
        """Write what a full shard's worth of new rows has come in since; else do nothing.

        Parameters
        ----------
        vectors : numpy.ndarray
            All rows; those beyond ``facts`` are not done yet.
        facts : sequence of Facts
        precision : PrecisionInfo
        at_least : int, optional
            New rows that are worth a shard, default :data:`SHARD`.
        """
        if len(facts) - self._kept < (SHARD if at_least is None else at_least):
            return
        rows = slice(self._kept, len(facts))
        some = facts[rows]
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{rows.start:09d}.npz"
        unfinished = file.with_suffix(".tmp")
        with unfinished.open("wb") as stream:
            np.savez(
                stream,
                vectors=vectors[rows],
                sizes=np.array([(fact.width, fact.height) for fact in some], np.int64),
                thumbs=np.stack([fact.thumb for fact in some]),
                precision=np.array(precision.model_dump_json()),
                texts=np.array([[getattr(fact, name) for name in _TEXTS] for fact in some]),
            )
        unfinished.replace(file)
        self._kept = len(facts)

    def read(self) -> Kept | None:
        """What an earlier try has finished; None if nothing of use is there."""
        parts: list[Kept] = []
        rows = 0
        # A missing or broken shard ends what is known to be done.
        while (part := _read(self.folder / f"{rows:09d}.npz")) is not None:
            parts.append(part)
            rows += len(part.facts)
        self._kept = rows
        if not parts:
            return None
        return Kept(
            np.concatenate([part.vectors for part in parts]),
            tuple(fact for part in parts for fact in part.facts),
            parts[0].precision,
        )


def _read(file: Path) -> Kept | None:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            texts, sizes = arrays["texts"].tolist(), arrays["sizes"].tolist()
            thumbs = arrays["thumbs"]
            precision = PrecisionInfo.model_validate_json(str(arrays["precision"]))
            facts = tuple(
                Facts(kind, error, format_, width, height, sha256, thumb)
                for (kind, error, format_, sha256), (width, height), thumb in zip(
                    texts, sizes, thumbs, strict=True
                )
            )
            return Kept(arrays["vectors"], facts, precision)
    except (OSError, KeyError, ValueError, ValidationError, zipfile.BadZipFile):
        return None
