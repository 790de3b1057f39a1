"""What can be asked of ``neurons``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convscope.data.folder import files_state, photos_in, scan
from convscope.errors import InputError
from convscope.explain.gradients import require_count
from convscope.predicting import listed


@dataclass(frozen=True)
class NeuronsOptions:
    """What is asked.

    Attributes
    ----------
    layers : tuple of str
        As ``convscope describe RUN`` names them.
    top : int
        Patches of each channel.
    per_photo : int
        How many of them may come from one photo.
    channels : int
        Of each layer, how many the page shows; the files have all.
    """

    layers: tuple[str, ...]
    top: int = 9
    per_photo: int = 1
    channels: int = 48

    def __post_init__(self) -> None:
        if not self.layers:
            raise InputError("Name a layer with --layer; convscope describe RUN lists them.")
        for name in ("top", "per_photo", "channels"):
            require_count(getattr(self, name), name, 1)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Photos:
    """The photos to look at.

    Attributes
    ----------
    files : tuple of Path
    names : tuple of str
        As they are spoken of.
    labels : tuple of (str or None)
    ignored : tuple of (str, str)
        Files that are no photos, and why.
    state : str
        Changes when they do.
    """

    files: tuple[Path, ...]
    names: tuple[str, ...]
    labels: tuple[str | None, ...]
    ignored: tuple[tuple[str, str], ...]
    state: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the labels, sorted."""
        return tuple(sorted({label for label in self.labels if label is not None}))


def find_photos(photos: Path) -> Photos:
    """Photos of a data set with their classes, or else all photos of a folder without.

    Raises
    ------
    InputError
        There are none.
    """
    try:
        table = scan(photos)
    except InputError:
        if not photos.is_dir() or not photos_in(photos)[0]:
            raise
    else:
        ignored = tuple((path, reason) for path, _, reason in table.ignored)
        return Photos(
            tuple(table.full_paths()), table.paths, table.labels, ignored, files_state(table)
        )
    wanted = listed([photos])
    files = tuple(path for path, error in wanted if error is None)
    names = tuple(path.relative_to(photos).as_posix() for path in files)
    status = [file.stat() for file in files]
    state = repr([(n, s.st_size, s.st_mtime_ns) for n, s in zip(names, status, strict=True)])
    ignored = tuple((str(path), error) for path, error in wanted if error is not None)
    return Photos(files, names, (None,) * len(files), ignored, state)
