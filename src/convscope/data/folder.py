"""What photos there are: a folder of classes, a folder of splits, or a table, into one list."""

from __future__ import annotations

import csv
import errno
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from convscope.data.images import FORMATS, UNSUPPORTED_SUFFIXES
from convscope.errors import InputError

SPLITS = ("train", "valid", "test")
_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
_COLUMNS = ("path", "label", "split", "group")
_TABLE_SUFFIXES = {".csv", ".tsv", ".parquet", ".pq"}

Layout = Literal["class folders", "split folders", "table"]


@dataclass(frozen=True)
class PhotoTable:
    """Every photo of a data set, in a fixed order; equal-length tuples, one entry per photo.

    Attributes
    ----------
    root : Path
        What ``paths`` are relative to.
    layout : str
        ``class folders``, ``split folders`` or ``table``.
    paths : tuple of str
        Relative, with forward slashes.
    labels : tuple of str
    splits : tuple of str or None
        ``train``, ``valid`` or ``test`` each; None where no split was given at all.
    groups : tuple of str or None
        Photos of one group (one person, one site) must stay on one side of the split.
    ignored : tuple of (str, str, str)
        Files that are not in the list: path, kind (a finding's kind) and reason.
    """

    root: Path
    layout: Layout
    paths: tuple[str, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...] | None
    groups: tuple[str, ...] | None
    ignored: tuple[tuple[str, str, str], ...]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, sorted."""
        return tuple(sorted(set(self.labels)))

    def full_paths(self) -> list[Path]:
        """Where each photo lies."""
        return [self.root / path for path in self.paths]

    def with_splits(self, splits: Sequence[str]) -> PhotoTable:
        """The same photos with this split."""
        return replace(self, splits=tuple(splits))

    def take(self, rows: Iterable[int]) -> PhotoTable:
        """Only these rows, in this order."""
        index = list(rows)
        return replace(
            self,
            paths=tuple(self.paths[i] for i in index),
            labels=tuple(self.labels[i] for i in index),
            splits=None if self.splits is None else tuple(self.splits[i] for i in index),
            groups=None if self.groups is None else tuple(self.groups[i] for i in index),
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """Split -> class -> number of photos; one split ``all`` where there is none."""
        splits = self.splits or ("all",) * len(self)
        tally = Counter(zip(splits, self.labels, strict=True))
        names = [name for name in (*SPLITS, "all") if name in set(splits)]
        return {split: {c: tally[split, c] for c in self.classes} for split in names}


def scan(photos: Path) -> PhotoTable:
    """List the photos of a folder or a table, without opening one of them.

    Parameters
    ----------
    photos : Path
        A folder with one sub-folder per class; a folder with ``train``/``valid``/``test``
        sub-folders (``val``, ``validation`` and ``dev`` too) that each have them; or a CSV or
        Parquet file with the columns ``path,label[,split][,group]``, paths relative to the file.

    Raises
    ------
    InputError
        If nothing can be trained on: no such place, no photos, fewer than two classes, photos of
        a class in no training split, wrong columns.
    """
    try:
        mode = photos.stat().st_mode
    except FileNotFoundError:
        raise InputError(f"{photos} does not exist.") from None
    except OSError as error:
        raise InputError(f"{photos} cannot be read: {error.strerror}.") from None
    if stat.S_ISDIR(mode):
        table = _scan_folder(photos)
    elif stat.S_ISREG(mode) and photos.suffix.lower() in _TABLE_SUFFIXES:
        table = _scan_table(photos)
    else:
        raise InputError(
            f"{photos} is neither a folder of photos nor a table. Give a folder with one "
            "sub-folder per class, or a .csv or .parquet file with columns path,label."
        )
    _require_classes(table, photos)
    return table


def photos_in(folder: Path) -> tuple[list[str], list[tuple[str, str, str]]]:
    """Every photo below a folder, sorted: relative paths, and what was left out and why.

    Hidden files and folders are passed over; links are followed, a link that leads back to a
    folder above it is left out by name, and so is a name that is not UTF-8.
    """
    found: list[str] = []
    ignored: list[tuple[str, str, str]] = []
    for path, kind, reason in _walk(folder, (_identity(folder),)):
        relative = path.relative_to(folder).as_posix()
        if kind:
            shown = os.fsencode(relative).decode("utf-8", "backslashreplace")
            ignored.append((shown, kind, reason))
        else:
            found.append(relative)
    return found, ignored


def _walk(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[Path, str, str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield folder, "unreadable", f"folder cannot be read: {error.strerror}"
        return
    if not entries and len(above) > 1:
        yield folder, "ignored", "an empty folder"
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith((".", "__MACOSX")) or entry.name in {"Thumbs.db", "desktop.ini"}:
            continue
        if not _is_text(entry.name):
            yield path, "unreadable", "its name is not UTF-8; rename it"
            continue
        try:
            is_folder = entry.is_dir()
            # A link to itself is neither a folder nor a file, and says so only when followed.
            entry.stat()
        except OSError as error:
            kind = "link_loop" if error.errno == errno.ELOOP else "unreadable"
            yield path, kind, str(error.strerror)
            continue
        if is_folder:
            identity = _identity(path)
            if identity in above:
                yield path, "link_loop", "a link that leads back to a folder above it"
            else:
                yield from _walk(path, (*above, identity))
        else:
            yield path, *_kind_by_suffix(path)


def _is_text(name: str) -> bool:
    """Whether a file name can be written anywhere: Python keeps odd bytes as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _kind_by_suffix(path: Path) -> tuple[str, str]:
    suffix = path.suffix.lower()
    if suffix in FORMATS:
        return "", ""
    if suffix in UNSUPPORTED_SUFFIXES:
        return "unsupported", f"{suffix} is not read; convert it to JPEG or PNG"
    return "ignored", "not a photo by its suffix"


def _scan_folder(root: Path) -> PhotoTable:
    found, ignored = photos_in(root)
    if not found:
        raise InputError(
            f"{root} holds no photos ({', '.join(sorted(FORMATS))}). "
            "Give a folder with one sub-folder per class."
        )
    by_split = _has_split_folders(found)
    depth = 2 if by_split else 1
    paths, labels, splits = [], [], []
    for path in found:
        parts = path.split("/")
        if by_split and parts[0].lower() not in _SPLIT_NAMES:
            ignored.append((path, "ignored", "lies in none of the split folders"))
            continue
        if len(parts) <= depth:
            where = "split folder" if by_split else "folder"
            ignored.append((path, "ignored", f"lies in no class sub-folder of the {where}"))
            continue
        paths.append(path)
        labels.append(parts[depth - 1])
        if by_split:
            splits.append(_SPLIT_NAMES[parts[0].lower()])
    return PhotoTable(
        root=root,
        layout="split folders" if by_split else "class folders",
        paths=tuple(paths),
        labels=tuple(labels),
        splits=tuple(splits) if by_split else None,
        groups=None,
        ignored=tuple(ignored),
    )


def _has_split_folders(found: Sequence[str]) -> bool:
    """Whether the top level is train/valid/test and not classes, one of which is called so."""
    tops = {path.split("/", 1)[0] for path in found if "/" in path}
    splits = {_SPLIT_NAMES[top.lower()] for top in tops if top.lower() in _SPLIT_NAMES}
    # A photo or two beside the class folders does not make a class of the folder "train".
    has_classes = any(
        path.count("/") > 1
        for path in found
        if _SPLIT_NAMES.get(path.split("/", 1)[0].lower()) == "train"
    )
    if all(top.lower() in _SPLIT_NAMES for top in tops):
        return len(splits) > 1 or has_classes
    return has_classes and len(splits) > 1


def _scan_table(file: Path) -> PhotoTable:
    columns = _read_columns(file)
    for name, values in columns.items():
        for row, value in enumerate(values, start=1):
            if not value:
                raise InputError(
                    f"{file}: row {row} below the header has no {name}. Fill it in, or drop the "
                    "row."
                )
    splits: list[str] | None = None
    if "split" in columns:
        splits = []
        for row, value in enumerate(columns["split"], start=1):
            if value.lower() not in _SPLIT_NAMES:
                raise InputError(
                    f"{file}: row {row} below the header has the split '{value}'. "
                    f"Allowed: {', '.join(SPLITS)}."
                )
            splits.append(_SPLIT_NAMES[value.lower()])
    first_rows: dict[str, int] = {}
    for row, path in enumerate(columns["path"], start=1):
        if path in first_rows:
            raise InputError(
                f"{file}: row {row} below the header names {path}, which row {first_rows[path]} "
                "has already. Drop one of the two."
            )
        first_rows[path] = row
    return PhotoTable(
        root=file.parent,
        layout="table",
        paths=tuple(columns["path"]),
        labels=tuple(columns["label"]),
        splits=None if splits is None else tuple(splits),
        groups=tuple(columns["group"]) if "group" in columns else None,
        ignored=(),
    )


def _read_columns(file: Path) -> dict[str, list[str]]:
    """Known column name -> values as stripped text; an empty text where there is none."""
    try:
        if file.suffix.lower() in {".parquet", ".pq"}:
            return _read_parquet(file)
        return _read_csv(file)
    except UnicodeDecodeError:
        raise InputError(f"{file} is not UTF-8 text. Save it again as CSV UTF-8.") from None
    except (OSError, csv.Error, pa.ArrowException) as error:
        raise InputError(f"{file} cannot be read as a table: {error}") from None


def _read_parquet(file: Path) -> dict[str, list[str]]:
    wanted = _known_columns(file, pq.read_schema(file).names)
    table = pq.read_table(file, columns=wanted)
    return {
        name: ["" if v is None else str(v).strip() for v in table.column(name).to_pylist()]
        for name in wanted
    }


def _read_csv(file: Path) -> dict[str, list[str]]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        head = stream.readline()
        stream.seek(0)
        reader = csv.reader(stream, delimiter=max(",;\t", key=head.count))
        names = [name.strip() for name in next(reader, [])]
        rows = [row for row in reader if row]
    wanted = _known_columns(file, names)
    for number, row in enumerate(rows, start=1):
        if len(row) > len(names):
            raise InputError(
                f"{file}: row {number} below the header has {len(row)} cells, the header "
                f"{len(names)}. Put quotes around a cell that holds the delimiter."
            )
    places = {name: names.index(name) for name in wanted}
    # A row may end early; what is missing is an empty cell.
    return {
        name: [row[place].strip() if place < len(row) else "" for row in rows]
        for name, place in places.items()
    }


def _known_columns(file: Path, names: Sequence[str]) -> list[str]:
    """Those of the columns that mean something here, each of them once."""
    known = [name for name in names if name in _COLUMNS]
    for name in ("path", "label"):
        if name not in known:
            raise InputError(
                f"{file} has no column '{name}'; its columns are {', '.join(names) or 'none'}. "
                "Needed: path,label[,split][,group]."
            )
    twice = [name for name in _COLUMNS if known.count(name) > 1]
    if twice:
        raise InputError(f"{file} has the column '{twice[0]}' twice. Drop or rename one of them.")
    return known


def _require_classes(table: PhotoTable, photos: Path) -> None:
    if not len(table):
        if table.layout == "table":
            raise InputError(f"{photos} has a header but no rows: give one row per photo.")
        raise InputError(
            f"{photos} has photos but no class sub-folders: put each class into a folder of its "
            "own, or give a table with columns path,label."
        )
    if len(table.classes) < 2:
        raise InputError(
            f"{photos} holds one class only, '{table.classes[0]}'. A classifier needs at least two."
        )
    if table.splits is not None:
        rows = zip(table.splits, table.labels, strict=True)
        trained = {label for split, label in rows if split == "train"}
        missing = [label for label in table.classes if label not in trained]
        if missing:
            raise InputError(
                f"No training photo for the class{'es' if len(missing) > 1 else ''} "
                f"{', '.join(missing)} of {photos}: add some, or take these photos out."
            )


def files_state(table: PhotoTable) -> str:
    """A hash of which files there are, how they are labelled, how large and how old they are."""
    digest = hashlib.sha256()
    splits = table.splits or ("",) * len(table)
    for path, label, split in zip(table.paths, table.labels, splits, strict=True):
        try:
            status = (table.root / path).stat()
            size, changed = status.st_size, status.st_mtime_ns
        except OSError:
            size, changed = -1, 0
        digest.update(repr((path, label, split, size, changed)).encode())
    return digest.hexdigest()
