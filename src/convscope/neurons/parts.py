"""The strongest activations of every photo on disk, a file for every few hundred photos.

No more than one part is held in memory, and an interrupted pass goes on behind the last one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from convscope.data.survey import Facts
from convscope.explain.tapping import Layer

# Photos in a part.
PART = 256


@dataclass(frozen=True)
class Peaks:
    """Of some photos and one layer, the strongest units of every channel.

    Attributes
    ----------
    values : numpy.ndarray
        float32 ``(n, channels, m)``, falling; -inf where a photo has no more.
    units : numpy.ndarray
        int32 ``(n, channels, m)``: number on the flattened grid.
    """

    values: np.ndarray
    units: np.ndarray


def structure(layers: Sequence[Layer], per_photo: int) -> np.dtype:
    """One photo's peaks in all layers, as an element of an array."""
    fields = []
    for number, layer in enumerate(layers):
        shape = (layer.channels, per_photo)
        fields += [(f"values{number}", "<f4", shape), (f"units{number}", "<i4", shape)]
    return np.dtype(fields)


class Parts:
    """The parts of one pass.

    Parameters
    ----------
    folder : Path
        Theirs alone.
    layers : sequence of Layer
    per_photo : int
    """

    def __init__(self, folder: Path, layers: Sequence[Layer], per_photo: int) -> None:
        self.folder, self.layers, self.per_photo = folder, layers, per_photo

    def done(self) -> int:
        """Photos that an earlier try has finished."""
        photos = 0
        while (file := self._file(photos)).is_file():
            rows = _length(file)
            if not rows:
                break
            photos += rows
        return photos

    def write(self, first: int, facts: Sequence[Facts], found: np.ndarray) -> None:
        """Keep a part.

        Parameters
        ----------
        first : int
            Number of its first photo.
        facts : sequence of Facts
        found : numpy.ndarray
            ``(n,)`` of :func:`structure`.
        """
        columns: dict[str, pa.Array] = {
            "sha256": pa.array([fact.sha256 for fact in facts], pa.string()),
            "error": pa.array([fact.error for fact in facts], pa.string()),
            "width": pa.array([fact.width for fact in facts], pa.int32()),
            "height": pa.array([fact.height for fact in facts], pa.int32()),
        }
        for number, layer in enumerate(self.layers):
            size = layer.channels * self.per_photo
            for name in (f"values{number}", f"units{number}"):
                flat = pa.array(np.ascontiguousarray(found[name]).reshape(-1))
                columns[name] = pa.FixedSizeListArray.from_arrays(flat, size)
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self._file(first)
        unfinished = file.with_suffix(".tmp")
        pq.write_table(pa.table(columns), unfinished, compression="zstd")
        unfinished.replace(file)

    def facts(self) -> Iterator[tuple[int, dict[str, list[Any]]]]:
        """Of each part, its first photo and the columns ``sha256, error, width, height``."""
        for first, file in self._files():
            names = ["sha256", "error", "width", "height"]
            yield first, pq.read_table(file, columns=names).to_pydict()

    def peaks(self, number: int) -> Iterator[tuple[int, np.ndarray, Peaks]]:
        """Of each part, its first photo, which of its photos can be used, and one layer's peaks."""
        shape = (-1, self.layers[number].channels, self.per_photo)
        names = ["error", f"values{number}", f"units{number}"]
        for first, file in self._files():
            table = pq.read_table(file, columns=names)
            values, units = (_flat(table[name]).reshape(shape) for name in names[1:])
            usable = np.array([not error for error in table["error"].to_pylist()], bool)
            yield first, usable, Peaks(values, units)

    def _files(self) -> Iterator[tuple[int, Path]]:
        photos = 0
        while (file := self._file(photos)).is_file() and (rows := _length(file)):
            yield photos, file
            photos += rows

    def _file(self, first: int) -> Path:
        return self.folder / f"{first:09d}.parquet"


def _length(file: Path) -> int:
    """Rows of a part; 0 of a broken one."""
    try:
        return int(pq.read_metadata(file).num_rows)
    except (OSError, pa.ArrowInvalid):
        return 0


def _flat(column: pa.ChunkedArray) -> np.ndarray:
    found: np.ndarray = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return found
