"""The photos of a feature file: known by content, wherever they lie, whatever their names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from convscope.data.folder import PhotoTable
from convscope.data.images import read_bytes
from convscope.errors import PhotoError
from convscope.progress import Progress
from convscope.transfer.store import FeatureTable

# They wait for the disk, and SHA-256 lets other threads run.
_READERS = 8


class Rows:
    """The photos, what is known of each, and where their vectors are.

    Parameters
    ----------
    table : PhotoTable
    earlier : FeatureTable or None
    """

    def __init__(self, table: PhotoTable, earlier: FeatureTable | None) -> None:
        self.table = table
        self.hashes = [""] * len(table)
        self.reasons: dict[int, str] = {}
        self.computed = 0
        # Content -> which of the sources has its vectors, and where.
        self.places: dict[str, tuple[int, int]] = {}
        self.sources: list[Mapping[str, np.ndarray]] = []
        self._bad: dict[str, str] = {}
        if earlier is not None:
            self.add(earlier.sha256, earlier.vectors)
            self._bad = {u.sha256: u.reason for u in earlier.info.unusable if u.sha256}

    def add(self, hashes: Iterable[str], vectors: Mapping[str, np.ndarray]) -> None:
        """Vectors of photos of these contents; those without one are passed over."""
        for row, sha256 in enumerate(hashes):
            if sha256:
                self.places.setdefault(sha256, (len(self.sources), row))
        self.sources.append(vectors)

    def hash_contents(self, progress: Progress) -> None:
        """Read every file; sizes and dates would miss changes that keep both."""
        paths = self.table.full_paths()
        with (
            progress.task("reading", len(paths), "photos") as advance,
            ThreadPoolExecutor(_READERS, thread_name_prefix="hash") as pool,
        ):
            for row, (sha256, reason) in enumerate(pool.map(_content_hash, paths)):
                self.hashes[row] = sha256
                reason = reason or self._bad.get(sha256, "")
                if reason:
                    self.reasons[row] = reason
                advance(1)

    def missing(self) -> list[int]:
        """Photos whose vectors are not there yet."""
        return [
            row for row, sha256 in enumerate(self.hashes)
            if row not in self.reasons and sha256 not in self.places
        ]  # fmt: skip

    def usable(self) -> list[int]:
        """Photos that have vectors."""
        return [row for row in range(len(self.table)) if row not in self.reasons]

    def vectors(self, stage: str, width: int) -> np.ndarray:
        """Of the usable photos, float32 ``(n, width)``."""
        places = [self.places[self.hashes[row]] for row in self.usable()]
        found = np.empty((len(places), width), np.float32)
        sources, rows = np.array(places, np.int64).reshape(-1, 2).T
        for number, source in enumerate(self.sources):
            here = np.flatnonzero(sources == number)
            found[here] = source[stage][rows[here]]
        return found


def _content_hash(path: Path) -> tuple[str, str]:
    """SHA-256, or why there is none."""
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest(), ""
    except PhotoError as error:
        return "", error.reason
