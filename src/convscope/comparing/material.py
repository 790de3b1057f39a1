"""What all rungs of a comparison share: the photos, one split of them, and their features."""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from convscope.comparing.cells import Material, write_split
from convscope.comparing.ladder import RUNGS, CompareOptions, Rung
from convscope.data.dataset import make_dataset
from convscope.data.folder import SPLITS, PhotoTable
from convscope.data.survey import DecodeSpec, Facts, survey
from convscope.errors import ConvscopeError, InputError
from convscope.files import write_bytes, write_json
from convscope.nets.catalog import NETS, photo_net_spec
from convscope.nets.weights import find_weights
from convscope.progress import Progress


@dataclass(frozen=True)
class Possible:
    """The rungs that can be compared here.

    Attributes
    ----------
    rungs : tuple of Rung
    left_out : tuple of (str, str)
        The others, and why.
    weights_file : Path or None
    """

    rungs: tuple[Rung, ...]
    left_out: tuple[tuple[str, str], ...]
    weights_file: Path | None


def possible_rungs(options: CompareOptions, progress: Progress) -> Possible:
    """Choose the rungs; those that need weights are left out where there are none.

    Raises
    ------
    InputError
        If the network or the weights file is none, or no two rungs are left.
    ConvscopeError
        If weights cannot be had for a rung that was asked for by name.
    """
    wanted = [RUNGS[name] for name in options.rungs or RUNGS]
    file, lacking = None, ""
    if any(rung.kind != "scratch" for rung in wanted):
        spec = photo_net_spec(options.net)
        if spec.published is None and options.weights in ("published", "none"):
            known = ", ".join(name for name, net in NETS.items() if net.published)
            raise InputError(
                f"Net {spec.name} has no published weights to transfer. Allowed: {known}; or name "
                "a file with --weights."
            )
        try:
            file = find_weights(options.weights, spec, progress=progress)
            lacking = "--weights none" if file is None else ""
        except InputError:
            raise
        except ConvscopeError as error:
            if options.rungs is not None:
                raise
            lacking = f"the published weights of {spec.name} are not at hand: {error}"
    left_out = {}
    for rung in wanted:
        if rung.kind != "scratch" and file is None:
            left_out[rung.name] = lacking
    for why in dict.fromkeys(left_out.values()):
        names = ", ".join(name for name, reason in left_out.items() if reason == why)
        progress.say(f"left out: {names}: {why}")
    rungs = tuple(rung for rung in wanted if rung.name not in left_out)
    if len(rungs) < 2:
        why = f" ({lacking})" if lacking else ""
        raise InputError(
            f"A comparison needs two rungs or more; here {len(rungs)} can be had{why}. Allowed "
            f"with --rungs: {', '.join(RUNGS)}; --weights names a file of pre-trained weights."
        )
    return Possible(rungs, tuple(left_out.items()), file)


def make_material(
    table: PhotoTable,
    possible: Possible,
    options: CompareOptions,
    folder: Path,
    *,
    workers: int | None,
    progress: Progress,
) -> tuple[Material, str]:
    """Read every photo once, split them, and compute features where a rung needs them.

    Parameters
    ----------
    table : PhotoTable
        All files.
    possible : Possible
    options : CompareOptions
    folder : Path
        The comparison's: gets ``split.csv``; ``folder/work`` keeps the rest for resuming.
    workers : int or None
        Decoding processes.
    progress : Progress

    Returns
    -------
    Material
    str
        Who made the split, in words.

    Raises
    ------
    InputError
        If there are too few photos for all three splits.
    """
    work = folder / "work"
    kept = _read_kept(work)
    vectors, seconds = None, 0.0
    if kept is None:
        if any(rung.kind == "features" for rung in possible.rungs):
            from convscope.transfer.classifier import push_photos

            assert possible.weights_file is not None  # noqa: S101
            started = time.perf_counter()
            pushed = push_photos(
                table, photo_net_spec(options.net), possible.weights_file, mode="fast",
                seed=options.seed, work=work, workers=workers, progress=progress,
            )  # fmt: skip
            seconds = time.perf_counter() - started
            dataset, vectors = pushed.dataset, pushed.features.vectors[pushed.dataset.rows]
        else:
            facts = _survey(table, workers, progress)
            dataset = make_dataset(table, facts, options.seed, progress)
        split, split_by = dataset.table, dataset.split_by
        for name, use in (("test", "measure on"), ("valid", "stop training by")):
            if name not in (split.splits or ()):
                raise InputError(
                    f"These photos are too few for a comparison: none is left to {use} ({name}). "
                    "Give more photos of each class."
                )
        _keep(work, dataset.rows, split, split_by, vectors, seconds)
    else:
        rows, splits, split_by, vectors, seconds = kept
        split = table.take(rows.tolist()).with_splits(splits)
    write_split(folder / "split.csv", split)
    return (
        Material(
            table=split,
            vectors=vectors,
            extraction_seconds=seconds,
            net=options.net,
            weights_file=possible.weights_file,
            epochs=options.epochs,
        ),
        split_by,
    )


def with_plain_labels(table: PhotoTable) -> PhotoTable:
    """Labels without the white space around them, as they are read from a CSV."""
    return replace(table, labels=tuple(label.strip() for label in table.labels))


def _survey(table: PhotoTable, workers: int | None, progress: Progress) -> tuple[Facts, ...]:
    facts: list[Facts] = []
    with progress.task("reading photos", len(table), "photos") as advance:
        for chunk in survey(table.full_paths(), DecodeSpec(32, 32), workers=workers):
            facts.extend(chunk.facts)
            advance(len(chunk.facts))
    return tuple(facts)


_Kept = tuple[np.ndarray, list[str], str, np.ndarray | None, float]


def _keep(
    work: Path,
    rows: np.ndarray,
    table: PhotoTable,
    split_by: str,
    vectors: np.ndarray | None,
    seconds: float,
) -> None:
    buffer = io.BytesIO()
    splits = np.array([SPLITS.index(name) for name in table.splits or ()])
    if vectors is None:
        np.savez(buffer, rows=rows, splits=splits)
    else:
        np.savez(buffer, rows=rows, splits=splits, vectors=vectors)
    write_bytes(work / "material.npz", buffer.getvalue())
    # Last: where this one is, both are.
    write_json(work / "material.json", {"split_by": split_by, "seconds": seconds})


def _read_kept(work: Path) -> _Kept | None:
    try:
        facts: dict[str, Any] = json.loads((work / "material.json").read_text(encoding="utf-8"))
        with np.load(work / "material.npz", allow_pickle=False) as arrays:
            return (
                arrays["rows"],
                [SPLITS[number] for number in arrays["splits"]],
                facts["split_by"],
                arrays["vectors"] if "vectors" in arrays.files else None,
                facts["seconds"],
            )
    except (OSError, ValueError, KeyError):
        return None
