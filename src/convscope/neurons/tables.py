"""The result as Parquet: patches, channels and each photo's strongest activation."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from convscope.neurons.asked import Photos
from convscope.neurons.parts import Parts
from convscope.neurons.result import NeuronsFound


def write_patches(target: Path, found: NeuronsFound) -> None:
    """A row for each patch.

    ``layer, channel, rank, value, path, label``, the unit's ``row`` and ``column``, ``left, top,
    right, bottom`` on the photo in pixels, and ``beyond``, the share of the receptive field in the
    padding.
    """
    rows = [
        {
            "layer": one.layer.name, "channel": channel, "rank": rank, "value": seen.hit.value,
            "path": found.paths[seen.hit.image], "label": found.labels[seen.hit.image],
            "row": seen.hit.unit[0], "column": seen.hit.unit[1],
            "left": seen.box[0], "top": seen.box[1], "right": seen.box[2], "bottom": seen.box[3],
            "beyond": seen.hit.beyond,
        }
        for one in found.layers
        for channel, hits in enumerate(one.seen)
        for rank, seen in enumerate(hits, start=1)
    ]  # fmt: skip
    schema = pa.schema(
        [("layer", pa.string()), ("channel", pa.int32()), ("rank", pa.int32()),
         ("value", pa.float32()), ("path", pa.string()), ("label", pa.string()),
         ("row", pa.int32()), ("column", pa.int32())]
        + [(name, pa.float32()) for name in ("left", "top", "right", "bottom", "beyond")]
    )  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema), target, compression="zstd")


def write_channels(target: Path, found: NeuronsFound) -> None:
    """A row for each channel.

    ``layer, channel, mean, most, sparsity, class`` that it answers to most, ``auroc`` of that, and
    ``auroc:CLASS`` of each class.
    """
    tables = []
    for one in found.layers:
        measures, best = one.measures, one.measures.best()
        count = one.layer.channels
        columns = {
            "layer": pa.array([one.layer.name] * count),
            "channel": pa.array(range(count), pa.int32()),
            "mean": pa.array(measures.mean),
            "most": pa.array(measures.most),
            "sparsity": pa.array(measures.sparsity),
            "class": pa.array([found.classes[b] if b >= 0 else None for b in best], pa.string()),
            "auroc": pa.array(
                [float(measures.auroc[c, b]) if b >= 0 else None for c, b in enumerate(best)],
                pa.float32(),
            ),
        }
        for number, name in enumerate(found.classes):
            columns[f"auroc:{name}"] = pa.array(measures.auroc[:, number])
        tables.append(pa.table(columns))
    pq.write_table(pa.concat_tables(tables), target, compression="zstd")


def write_activations(target: Path, given: Photos, parts: Parts) -> None:
    """A row for each usable photo.

    ``path, sha256, label``, and of each layer its channels' strongest activations, ``LAYER``, and
    where that unit lies on the flattened grid, ``LAYER:unit``.
    """
    types = [(name, pa.string()) for name in ("path", "sha256", "label")]
    for layer in parts.layers:
        types.append((layer.name, pa.list_(pa.float32(), layer.channels)))
        types.append((f"{layer.name}:unit", pa.list_(pa.int32(), layer.channels)))
    schema = pa.schema(types)
    layers = [parts.peaks(number) for number in range(len(parts.layers))]
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for first, facts in parts.facts():
            columns: list[pa.Array] = []
            good = None
            for each in layers:
                _, good, peaks = next(each)
                for values in (peaks.values, peaks.units):
                    flat = pa.array(values[good, :, 0].reshape(-1))
                    columns.append(pa.FixedSizeListArray.from_arrays(flat, values.shape[1]))
            rows = [] if good is None else good.nonzero()[0].tolist()
            texts = [
                [given.names[first + row] for row in rows],
                [facts["sha256"][row] for row in rows],
                [given.labels[first + row] for row in rows],
            ]
            arrays = [pa.array(one, pa.string()) for one in texts] + columns
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
