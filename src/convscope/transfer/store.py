"""The feature file: one row per photo in Apache Parquet, with all that its numbers depend on.

Columns ``path``, ``sha256`` (of the photo file's content), ``label`` and ``split`` (null where
there is none), and one list of fixed length per stage, named as the stage. The schema's metadata
has :class:`FeaturesInfo` as JSON under the key ``convscope``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from convscope.errors import ConvscopeError, InputError, unknown_name
from convscope.files import write_bytes
from convscope.run import InputSpec, PrecisionInfo, WeightsInfo

FORMAT: Literal[1] = 1
Dtype = Literal["float16", "float32"]

_KEY = b"convscope"
_TEXTS = ("path", "sha256", "label", "split")
_TYPES = {"float16": pa.float16(), "float32": pa.float32()}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Unusable(_Strict):
    """A photo that cannot be read; it is not tried again while its content stays the same."""

    path: str
    sha256: str
    reason: str


class FeaturesInfo(_Strict):
    """What the numbers of a feature file depend on; rows of one file share all of it."""

    format: Literal[1] = FORMAT
    convscope: str = Field(description="the version that computed the features")
    net: str
    stages: dict[str, Annotated[int, Field(ge=1)]] = Field(
        min_length=1, description="stage -> numbers per photo, in the order of the columns"
    )
    last_stage: str = Field(description="of the network: the default")
    weights: WeightsInfo
    input: InputSpec
    mode: Literal["exact", "fast"] = Field(description="as asked")
    precision: PrecisionInfo = Field(description="as computed")
    dtype: Dtype
    unusable: tuple[Unusable, ...] = ()


@dataclass(frozen=True)
class FeatureTable:
    """A feature file, read; equal lengths, one entry per photo.

    Attributes
    ----------
    paths : tuple of str
        As in the folder or table of photos, with forward slashes.
    sha256 : tuple of str
        Of each file's content.
    labels, splits : tuple of (str or None)
    vectors : mapping of str to numpy.ndarray
        Stage -> float16 or float32 ``(n, channels)``.
    info : FeaturesInfo
    """

    paths: tuple[str, ...]
    sha256: tuple[str, ...]
    labels: tuple[str | None, ...]
    splits: tuple[str | None, ...]
    vectors: Mapping[str, np.ndarray]
    info: FeaturesInfo

    def __len__(self) -> int:
        return len(self.paths)

    def of(self, stages: Sequence[str] | None = None) -> np.ndarray:
        """The vectors of some stages (default all) joined, float32 ``(n, sum of channels)``."""
        wanted = tuple(self.vectors) if stages is None else tuple(stages)
        for stage in wanted:
            if stage not in self.vectors:
                raise unknown_name("stage of these features", stage, self.vectors)
        return np.concatenate([self.vectors[stage].astype(np.float32) for stage in wanted], axis=1)


def write_features(target: Path, table: FeatureTable) -> None:
    """Write a feature file, whole or not at all.

    Parameters
    ----------
    target : Path
    table : FeatureTable
        Vectors are stored as ``info.dtype`` says.

    Raises
    ------
    ConvscopeError
        If a number is too large for that, or the file cannot be written.
    """
    columns: dict[str, pa.Array] = {
        "path": pa.array(table.paths, pa.string()),
        "sha256": pa.array(table.sha256, pa.string()),
        "label": pa.array(table.labels, pa.string()),
        "split": pa.array(table.splits, pa.string()),
    }
    for stage, width in table.info.stages.items():
        flat = pa.array(_stored(stage, table.vectors[stage], table.info.dtype).reshape(-1))
        columns[stage] = pa.FixedSizeListArray.from_arrays(flat, width)
    whole = pa.table(columns).replace_schema_metadata({_KEY: table.info.model_dump_json()})
    buffer = pa.BufferOutputStream()
    pq.write_table(
        whole, buffer, compression="zstd", use_dictionary=["label", "split"],
        write_page_checksum=True,
    )  # fmt: skip
    try:
        write_bytes(target, buffer.getvalue().to_pybytes())
    except OSError as error:
        raise ConvscopeError(f"{target} cannot be written: {error.strerror or error}.") from None


def _stored(stage: str, vectors: np.ndarray, dtype: Dtype) -> np.ndarray:
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(vectors, np.dtype(dtype))
    if not np.isfinite(stored).all():
        wider = " Use --dtype float32." if np.isfinite(vectors).all() else ""
        raise ConvscopeError(f"Stage {stage} gives numbers that {dtype} cannot hold.{wider}")
    return stored


def read_features(path: Path | str) -> FeatureTable:
    """Read a feature file.

    Parameters
    ----------
    path : path

    Raises
    ------
    InputError
        If it is not there, damaged, not convscope's, or of another version's format.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path}: no such file. Make one with: convscope features PHOTOS --out {path.name}"
        )
    try:
        info = _info(path, pq.read_schema(path))
        whole = pq.read_table(path, page_checksum_verification=True)
        paths, sha256, labels, splits = (tuple(whole.column(name).to_pylist()) for name in _TEXTS)
        vectors = {stage: _vectors(whole.column(stage), stage, info) for stage in info.stages}
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise InputError(
            f"{path} cannot be read as a feature file: {why}. Compute it again: convscope features "
            "PHOTOS --out FILE --overwrite"
        ) from None
    return FeatureTable(paths, sha256, labels, splits, vectors, info)


def _info(path: Path, schema: pa.Schema) -> FeaturesInfo:
    text = (schema.metadata or {}).get(_KEY)
    if text is None:
        raise InputError(
            f"{path} is a Parquet file, but not one that convscope features wrote (its metadata "
            "has no entry 'convscope')."
        )
    try:
        content = json.loads(text)
        number = content.get("format") if isinstance(content, dict) else None
        if number != FORMAT:
            raise InputError(
                f"{path} has the format {number}; this version of convscope reads {FORMAT}. "
                "Compute it again with --overwrite, or read it with the version that wrote it."
            )
        return FeaturesInfo.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"its metadata: {where}: {first['msg']}") from None


def _vectors(column: pa.ChunkedArray, stage: str, info: FeaturesInfo) -> np.ndarray:
    kind, width = pa.list_(_TYPES[info.dtype], info.stages[stage]), info.stages[stage]
    listed = pa.types.is_fixed_size_list(column.type)
    if not listed or column.type.value_type != kind.value_type or column.type.list_size != width:
        raise ValueError(f"column {stage} is {column.type} instead of {kind}")
    if column.null_count:
        raise ValueError(f"column {stage} has rows without numbers")
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    numbers = np.concatenate(parts) if parts else np.zeros(0, info.dtype)
    return numbers.reshape(-1, width)


def require_same(
    info: FeaturesInfo,
    *,
    net: str | None = None,
    weights: str | None = None,
    stages: Sequence[str] | None = None,
    source: str = "The feature file",
) -> None:
    """Refuse features that were computed otherwise than they are needed.

    Parameters
    ----------
    info : FeaturesInfo
        Of the features that were given.
    net, weights : str, optional
        The network's name, and its weight file's SHA-256, as needed; None where any will do.
    stages : sequence of str, optional
        All of them must be in the file.
    source : str
        Where ``info`` comes from, to say.

    Raises
    ------
    InputError
        Says what was given and what is needed.
    """
    if net is not None and info.net != net:
        raise InputError(
            f"{source} holds features of net {info.net}; needed are those of {net}. Compute them "
            f"with: convscope features PHOTOS --net {net} --out FILE"
        )
    if weights is not None and info.weights.sha256 != weights:
        raise InputError(
            f"{source} holds features of {info.net} with weights of SHA-256 "
            f"{info.weights.sha256[:16]} ({info.weights.source}); needed are those with "
            f"{weights[:16]}. Compute them again with --weights FILE."
        )
    lacking = [stage for stage in stages or () if stage not in info.stages]
    if lacking:
        raise InputError(
            f"{source} holds the stages {', '.join(info.stages)}; needed is {lacking[0]}, too. "
            f"Compute it with: convscope features PHOTOS --layer {lacking[0]} --out FILE"
        )
