"""What the page shows of a run, a forecast or a table, as JSON values."""

from __future__ import annotations

import json
from collections.abc import Set
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from convscope.app.items import Item, Items
from convscope.app.names import is_id
from convscope.app.receiving import UNFINISHED
from convscope.data.columns import numbers_of, read_table, stamps_of
from convscope.data.dataset import LEFT_OUT
from convscope.data.folder import scan
from convscope.errors import InputError
from convscope.report.curves import read_epochs
from convscope.run import Predictions, Run

PAGES = {
    "report": "report.html", "neurons": "neurons/neurons.html", "audit": "audit/audit.html",
}  # fmt: skip
# Rows of a list at a time, of a table's beginning, of a series' end, and photos of a class.
_ROWS, _FIRST, _LAST, _SAMPLES = 60, 5, 400, 6
# Files that a list of findings names.
_FINDINGS = 300


def item_view(items: Items, item: Item) -> dict[str, Any]:
    """An item in a list."""
    content = items.content(item)
    ready = content.exists() and not (items.folder(item) / UNFINISHED).exists()
    if item.kind in ("run", "forecast"):
        ready = (content / "run.json").exists()
    return {
        "id": item.id, "kind": item.kind, "name": item.name, "created": item.created,
        "source": item.source, "given": item.place is not None, "ready": ready,
        "unfinished": (items.folder(item) / UNFINISHED).exists(),
    }  # fmt: skip


def kind_of(run: Path) -> Literal["run", "forecast"]:
    """What a Run folder holds.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        content = json.loads((run / "run.json").read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("no object")
    except (OSError, ValueError):
        raise InputError(
            f"{run} is not a finished run. Make one with: convscope fit PHOTOS --out RUN"
        ) from None
    return "forecast" if content.get("kind") == "forecast" else "run"


def photos_view(items: Items, item: Item) -> dict[str, Any]:
    """A set of photos: what the check has found, and some of them."""
    found = item_view(items, item)
    try:
        report = json.loads((items.folder(item) / "check.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {**found, "check": None, "samples": {}}
    bad = {row["path"] for row in report["findings"] if row["kind"] in LEFT_OUT}
    hidden = max(0, len(report["findings"]) - _FINDINGS)
    report["findings"] = report["findings"][:_FINDINGS]
    return {**found, "check": report, "hidden": hidden, "samples": _samples(items, item, bad)}


def _samples(items: Items, item: Item, bad: Set[str | None]) -> dict[str, list[str]]:
    """Class -> paths of some of its photos."""
    try:
        table = scan(items.content(item))
    except InputError:  # the check says what is wrong
        return {}
    rows: dict[str, list[str]] = {label: [] for label in table.classes}
    for label, path in zip(table.labels, table.paths, strict=True):
        if len(rows[label]) < _SAMPLES and path not in bad:
            rows[label].append(path)
    return rows


def run_view(items: Items, item: Item) -> dict[str, Any]:
    """A classifier: how good it is, and which pages there are."""
    run = Run(items.content(item))
    info, metrics = run.info(), run.metrics()
    if not isinstance(metrics.get("splits"), dict) or "majority_baseline" not in metrics:
        raise InputError(f"{item.name}: metrics.json is not what convscope writes. Fit again.")
    pages = [name for name in PAGES if page_of(items, item, name).exists()]
    return {
        **item_view(items, item), "strategy": info.strategy, "net": info.net,
        "reason": info.reason, "classes": info.classes, "splits": {
            name: {key: split[key] for key in ("n", "accuracy", "accuracy_95")}
            for name, split in metrics["splits"].items()
        },
        "majority_baseline": metrics["majority_baseline"], "pages": pages,
        "whole": all((run.path / part).exists() for part in ("explain", "neurons", "audit")),
        "place": str(run.path), "photos_there": photos_of(run).exists(),
        "own": own_view(items, item),
    }  # fmt: skip


def own_view(items: Items, item: Item) -> list[dict[str, str]]:
    """Photos that the user has shown to a run, the newest first."""
    folder = items.folder(item) / "own"
    files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    return [
        {"id": file.stem, "name": json.loads(file.read_text(encoding="utf-8"))} for file in files
    ]


def own_photo(items: Items, item: Item, name: str) -> Path:
    """Where one of them lies.

    Raises
    ------
    InputError
        There is none of that id.
    """
    files = [file for file in (items.folder(item) / "own").glob(f"{name}.*")
             if file.suffix != ".json"] if is_id(name) else []  # fmt: skip
    if not files:
        raise InputError("This photo is not here (any more).")
    return files[0]


def layers_view(run: Run) -> list[dict[str, Any]]:
    """The layers whose neurons can be looked at, in order: those that give maps of known fields."""
    from convscope.describing import describe

    return [
        {"name": layer.name, "kind": layer.kind, "output": list(layer.output),
         "receptive_field": list(layer.receptive_field)}
        for layer in describe(run.path).layers
        if layer.maps and layer.output is not None and layer.receptive_field is not None
    ]  # fmt: skip


def page_of(items: Items, item: Item, name: str) -> Path:
    """Where one of :data:`PAGES` lies.

    Raises
    ------
    InputError
        There is no such page.
    """
    if name not in PAGES:
        raise InputError(f"There is no page {name!r}.")
    inside = items.content(item) / PAGES[name]
    # What was found out about a run that was only given lies beside it.
    return inside if inside.exists() or not item.place else items.folder(item) / PAGES[name]


@lru_cache(maxsize=4)
def _predictions(path: Path, changed: int) -> Predictions:
    return Run(path).predictions()


def predictions(run: Run) -> Predictions:
    """Read once for all photos of a page."""
    try:
        changed = (run.path / "predictions.parquet").stat().st_mtime_ns
    except OSError:
        changed = 0
    return _predictions(run.path, changed)


def rows_view(
    run: Run, *, split: str | None, label: str | None, predicted: str | None, wrong: bool, page: int
) -> dict[str, Any]:
    """Photos of a run that fit, the surest mistakes first, then the least sure."""
    rows = predictions(run)
    said = rows.predicted
    chosen = [
        row for row in range(len(rows.paths))
        if (split is None or rows.splits[row] == split)
        and (label is None or rows.labels[row] == label)
        and (predicted is None or said[row] == predicted)
        and (not wrong or said[row] != rows.labels[row])
    ]  # fmt: skip
    sure = rows.probabilities.max(axis=1)
    chosen.sort(key=lambda row: (said[row] == rows.labels[row], -sure[row]
                                 if said[row] != rows.labels[row] else sure[row]))  # fmt: skip
    part = chosen[page * _ROWS : (page + 1) * _ROWS]
    return {
        "total": len(chosen), "page": page, "size": _ROWS,
        "rows": [
            {"row": row, "name": Path(rows.paths[row]).name, "path": rows.paths[row],
             "split": rows.splits[row], "label": rows.labels[row], "predicted": said[row],
             "probability": float(sure[row])}
            for row in part
        ],
    }  # fmt: skip


def photos_of(run: Run) -> Path:
    """Where the photos of a run are: as it was fitted, or beside the run."""
    root = Path(run.info().photos.root)
    beside = run.path.parent / root
    return beside if not root.exists() and beside.exists() else root


def photo_of(run: Run, row: int) -> Path:
    """Where a photo of the run's predictions lies.

    Raises
    ------
    InputError
        The run has no such row, or a path that leads out of its photos.
    """
    paths = predictions(run).paths
    if not 0 <= row < len(paths):
        raise InputError(f"This run has {len(paths)} photos; number {row} is not among them.")
    root = photos_of(run)
    file = root / paths[row]
    # A run that somebody else made may name anything; a table of photos lies where its paths say.
    if run.info().photos.layout != "table" and not file.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{file.name} lies outside the photos of this run.")
    if not file.exists():
        raise InputError(f"{file.name} is no longer where it was.")
    return file


def epochs_view(content: Path) -> list[dict[str, float | None]]:
    """The learning curves so far of a fit that goes on, or of a finished one."""
    for folder in (content, content.with_name(content.name + ".partial")):
        file = folder / "log" / "epochs.csv"
        if file.exists():
            return [
                {"epoch": one.epoch, "train_loss": one.train_loss, "valid_loss": one.valid_loss,
                 "train_accuracy": one.train_accuracy, "valid_accuracy": one.valid_accuracy}
                for one in read_epochs(file)
            ]  # fmt: skip
    return []


def table_view(items: Items, item: Item) -> dict[str, Any]:
    """A table: its columns, which of them could be time and targets, and its first rows."""
    table = read_table(table_file(items, item))
    if not table.num_rows:
        raise InputError("The table has no rows.")
    columns = [
        {"name": name, "number": _is(numbers_of, table, name), "time": _is(_stamps, table, name)}
        for name in table.column_names
    ]
    first = [_texts(table.slice(0, _FIRST)[name]) for name in table.column_names]
    return {
        **item_view(items, item), "rows": table.num_rows, "columns": columns,
        "first": [list(row) for row in zip(*first, strict=True)],
    }  # fmt: skip


def table_file(items: Items, item: Item) -> Path:
    """Where the table lies.

    Raises
    ------
    InputError
        It is gone.
    """
    files = sorted(items.content(item).glob("table.*"))
    if not files:
        raise InputError(f"{item.name} is no longer there. Send it again.")
    return files[0]


def _stamps(table: pa.Table, name: str) -> object:
    if pa.types.is_floating(table[name].type) or _is(numbers_of, table, name):
        raise InputError("a number")
    return stamps_of(table, [name])


def _is(read: Any, table: pa.Table, name: str) -> bool:
    try:
        read(table.slice(0, 1000), name)
    except (InputError, ValueError, TypeError, OverflowError, pa.ArrowException):
        return False
    return True


def _texts(column: pa.ChunkedArray) -> list[str]:
    """Values as text; a time stamp beyond Python's years, too."""
    try:
        return ["" if value is None else value for value in column.cast(pa.string()).to_pylist()]
    except pa.ArrowException:  # lists, structures, unknown time zones
        return [f"({column.type})"] * len(column)


def forecast_view(items: Items, item: Item, steps: int | None) -> dict[str, Any]:
    """A forecast: how good it is, the newest rows, and what comes next with its intervals.

    Raises
    ------
    InputError
        The run cannot be read, or the steps cannot be said.
    """
    from convscope.forecast.predicting import predict_forecast
    from convscope.forecast.rolling import time_texts
    from convscope.forecast.run import ForecastRun

    run = ForecastRun(items.content(item))
    info = run.info()
    found = predict_forecast(run, steps=steps)
    past = {
        one.name: [
            {"time": str(stamp), "value": None if value != value else float(value)}
            for stamp, value in zip(
                time_texts(one.stamps[-_LAST:]), one.target[-_LAST:], strict=True
            )
        ]
        for one in run.history(info)
    }
    return {
        **item_view(items, item), "horizon": info.options.horizon, "look_back": info.look_back,
        "metrics": run.metrics(), "pages": ["report"],
        "series": [
            {"name": one.name, "past": past.get(one.name, []), "next": one.rows()}
            for one in found
        ],
    }  # fmt: skip
