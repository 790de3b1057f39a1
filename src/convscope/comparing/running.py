"""``compare``: every rung on the same photos, with every size and seed; then what it says."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from convscope.comparing.cells import (
    Cell,
    CellResult,
    Material,
    keep_result,
    kept_result,
    run_cell,
    size_name,
)
from convscope.comparing.folder import RESULT, ComparisonFolder
from convscope.comparing.ladder import CompareOptions, Rung, useful_sizes
from convscope.comparing.material import (
    Possible,
    make_material,
    possible_rungs,
    with_plain_labels,
)
from convscope.comparing.page import page_content
from convscope.comparing.result import Comparison, best_heads, ladder_order, ladder_steps, scores
from convscope.data.folder import files_state, scan
from convscope.files import write_bytes, write_json
from convscope.metrics import majority_baseline
from convscope.progress import Progress
from convscope.report.pages import COMPARE, write_page
from convscope.report.words import duration


def compare(
    photos: Path | str,
    out: Path | str,
    options: CompareOptions | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare ways of classifying on the same photos, and write a folder that tells of it.

    Parameters
    ----------
    photos : path
        See :func:`~convscope.data.folder.scan`.
    out : path
        The folder to make, see :mod:`convscope.comparing.folder`.
    options : CompareOptions, optional
    overwrite : bool
        Replace a finished or an interrupted comparison.
    resume : bool
        Go on with an interrupted comparison of the same; from the start if there is none.
    workers : int, optional
        Decoding processes, default one per core.
    progress : Progress, optional

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        The photos, the options or ``out`` cannot be used; nothing is left behind.
    ConvscopeError
        The work failed; what is done so far is kept for ``resume``.
    """
    started = time.perf_counter()
    options, progress = options or CompareOptions(), progress or Progress()
    table = with_plain_labels(scan(Path(photos)))
    possible = possible_rungs(options, progress)
    asked: dict[str, Any] = {
        **asdict(options),
        "rungs": [rung.name for rung in possible.rungs],
        "photos": str(photos),
        "photos_state": files_state(table),
    }
    folder = ComparisonFolder(Path(out), asked, overwrite=overwrite, resume=resume)
    if resume and not folder.resumed:
        progress.say("nothing to resume: starting from the beginning")
    with folder.kept():
        material, split_by = make_material(
            table, possible, options, folder.folder, workers=workers, progress=progress
        )
        results, earlier = _run_all(
            possible.rungs, material, options, folder.work, workers, progress
        )
        seconds = time.perf_counter() - started + earlier
        found = _summary(str(photos), possible, material, split_by, options, results, seconds)
        _write(folder.folder, found, material, results)
        folder.complete()
    return found


class _BarsOnly(Progress):
    """Shows how far a training is, and leaves out what it says."""

    def say(self, text: str) -> None:
        """Nothing."""


def _run_all(
    rungs: Sequence[Rung],
    material: Material,
    options: CompareOptions,
    work: Path,
    workers: int | None,
    progress: Progress,
) -> tuple[dict[Cell, CellResult], float]:
    """All trainings, and the seconds of those that an earlier command has done."""
    labels = material.labels[material.places("train")]
    sizes: list[int | None] = [*useful_sizes(options.sizes, np.bincount(labels).tolist()), None]
    # Small ones first: they tell how long the large ones will take.
    cells = [Cell(rung, size, seed)
             for size in sizes for rung in rungs for seed in options.all_seeds]  # fmt: skip
    results: dict[Cell, CellResult] = {}
    spent: dict[Cell, tuple[int, float]] = {}
    earlier = 0.0
    for number, cell in enumerate(cells, start=1):
        done = kept_result(work, cell)
        if done is None:
            photos = len(material.training_rows(cell.size, cell.seed))
            left = time_left(cells[number - 1 :], spent, material)
            progress.say(
                f"{number} of {len(cells)}: {cell.rung.title}, {photos:,} training photos, "
                f"seed {cell.seed}{'' if left is None else f'; about {duration(left)} left'}"
            )
            begun = time.perf_counter()
            done = run_cell(
                cell, material, work, workers=workers, progress=_BarsOnly(progress.console)
            )
            spent[cell] = photos, time.perf_counter() - begun
            keep_result(work, cell, done)
        else:
            spent[cell] = done.photos, done.seconds
            earlier += done.seconds
        results[cell] = done
    return results, earlier


def time_left(
    cells: Sequence[Cell], spent: Mapping[Cell, tuple[int, float]], material: Material
) -> float | None:
    """Guess how long the rest takes, seconds; None while a rung has not been timed.

    Parameters
    ----------
    cells : sequence of Cell
        Still to do.
    spent : mapping
        Cell -> training photos and seconds, of those that are done.
    material : Material
    """
    total = 0.0
    for cell in cells:
        photos = len(material.training_rows(cell.size, cell.seed))
        same = [found for other, found in spent.items() if other.rung == cell.rung]
        if not same:
            return None
        nearest = min(same, key=lambda found: abs(found[0] - photos))
        # Reading and measuring on the other photos takes its time however few are trained on.
        others = len(material.table) - len(material.places("train"))
        total += nearest[1] * (photos + others) / (nearest[0] + others)
    return total


def _summary(
    photos: str,
    possible: Possible,
    material: Material,
    split_by: str,
    options: CompareOptions,
    results: Mapping[Cell, CellResult],
    seconds: float,
) -> Comparison:
    """Everything that was measured; the only place that looks at the test photos' labels."""
    test = material.places("test")
    found, hits = scores(results, material.labels[test])
    order, best = ladder_order(possible.rungs, found), best_heads(found)
    table = material.table
    transfers = any(rung.kind != "scratch" for rung in possible.rungs)
    file = possible.weights_file
    return Comparison(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        photos=photos,
        classes=table.classes,
        counts=table.counts(),
        split=split_by,
        seeds=options.all_seeds,
        net=options.net if transfers else None,
        weights=file.name if transfers and file is not None else None,
        majority=majority_baseline(
            [table.labels[row] for row in material.places("train")],
            [table.labels[row] for row in test],
        ),
        ladder=tuple(found[rung, "all"] for rung in order),
        steps=ladder_steps(order, best.get("all"), hits),
        curve=tuple(found.values()),
        best_heads=best,
        left_out=possible.left_out,
        seconds=round(seconds, 1),
    )


def _write(
    folder: Path, found: Comparison, material: Material, results: Mapping[Cell, CellResult]
) -> None:
    table, test = material.table, material.places("test")
    labels = material.labels[test]
    columns: dict[str, list[Any]] = {
        name: [] for name in ("rung", "size", "seed", "path", "label", "predicted", "p_label")
    }
    for cell, result in results.items():
        columns["rung"] += [cell.rung.name] * len(test)
        columns["size"] += [size_name(cell.size)] * len(test)
        columns["seed"] += [cell.seed] * len(test)
        columns["path"] += [_text(table.paths[row]) for row in test]
        columns["label"] += [_text(table.labels[row]) for row in test]
        named = result.probabilities.argmax(axis=1)
        columns["predicted"] += [_text(table.classes[number]) for number in named]
        columns["p_label"] += result.probabilities[np.arange(len(test)), labels].tolist()
    buffer = pa.BufferOutputStream()
    schema = pa.schema([(name, _TYPES.get(name, pa.string())) for name in columns])
    pq.write_table(pa.table(columns, schema=schema), buffer)
    write_bytes(folder / "predictions.parquet", buffer.getvalue().to_pybytes())
    write_page(folder / "compare.html", COMPARE, page_content(found))
    write_json(folder / RESULT, found.to_dict())


_TYPES = {"seed": pa.int64(), "p_label": pa.float32()}


def _text(name: str) -> str:
    """A file name that is no valid text, with its bytes escaped."""
    return name.encode("utf-8", errors="backslashreplace").decode("utf-8")
