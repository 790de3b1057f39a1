"""What a user has: sets of photos, tables, runs and forecasts, each in a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from convscope.app.names import is_id, new_id
from convscope.app.users import User
from convscope.errors import InputError
from convscope.files import write_bytes

Kind = Literal["photos", "table", "run", "forecast"]
_FILE = "item.json"


class Item(BaseModel):
    """One thing that a user has; ``item.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    kind: Kind
    name: str
    created: str
    source: str | None = None
    """The item that it was made from."""
    place: str | None = None
    """Of a run that lies elsewhere: it was given on the command line."""


class Items:
    """A user's items.

    Parameters
    ----------
    user : User
    """

    def __init__(self, user: User) -> None:
        self.root = user.folder / "items"

    def folder(self, item: Item) -> Path:
        """Where everything about it lies."""
        return self.root / item.id

    def content(self, item: Item) -> Path:
        """The photos, the table's folder, or the Run folder itself; it may not be there yet."""
        # Under a name of its own: commands and reports speak of it.
        return Path(item.place) if item.place else self.folder(item) / _plain(item.name, item.kind)

    def add(
        self,
        kind: Kind,
        name: str,
        *,
        source: str | None = None,
        place: Path | None = None,
        key: str | None = None,
    ) -> Item:
        """Make a new one; under an id of its own, unless one is given."""
        created = datetime.now(UTC).isoformat(timespec="seconds")
        item = Item(
            id=key or new_id(), kind=kind, name=name[:200] or kind, created=created, source=source,
            place=None if place is None else str(place),
        )  # fmt: skip
        write_bytes(self.folder(item) / _FILE, item.model_dump_json().encode())
        return item

    def all(self) -> list[Item]:
        """The newest first."""
        found = []
        if self.root.is_dir():
            for folder in self.root.iterdir():
                try:
                    found.append(self.get(folder.name))
                except InputError:  # half removed, or not ours
                    continue
        return sorted(found, key=lambda item: (item.created, item.id), reverse=True)

    def get(self, name: str, kind: Kind | None = None) -> Item:
        """The one of this id.

        Raises
        ------
        InputError
            The user has none, or it is of another kind.
        """
        try:
            if not is_id(name):
                raise ValueError
            item = Item.model_validate_json((self.root / name / _FILE).read_bytes())
        except (OSError, ValueError, ValidationError):
            raise InputError("There is no such thing here (any more).") from None
        if kind is not None and item.kind != kind:
            raise InputError(f"{item.name} is a {item.kind}, no {kind}.")
        return item

    def has(self, name: str) -> bool:
        """Whether there is one of this id."""
        return is_id(name) and (self.root / name / _FILE).is_file()

    def clear(self, name: str) -> None:
        """Delete what a job has put into the place of an item that was removed."""
        if is_id(name) and not self.has(name):
            shutil.rmtree(self.root / name, ignore_errors=True)

    def with_names(self, text: str) -> str:
        """A message in which items go by their names, not by where they lie."""

        def named(found: re.Match[str]) -> str:
            try:
                return self.get(found[1]).name
            except InputError:
                return found[0]

        where = re.escape(str(self.root))
        return re.sub(rf"{where}/([0-9a-f]{{24}})(?:/[\w-]+(\.partial)?)?", named, text)

    def remove(self, item: Item) -> None:
        """Delete it with everything in it; a run that was given on the command line stays."""
        folder = self.folder(item)
        # First its name: a removal that is cut short leaves nothing that looks whole.
        (folder / _FILE).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    def bytes(self) -> int:
        """What everything that the user has takes on the disk, jobs included."""
        return sum(
            (Path(folder) / name).lstat().st_size
            for folder, _, names in os.walk(self.root.parent)
            for name in names
            if (Path(folder) / name).exists()
        )


def _plain(name: str, kind: str) -> str:
    """A folder's name: letters, digits and -.

    >>> _plain("Demo: five clay creatures, cnn", "run")
    'demo-five-clay-creatures-cnn'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48] or kind
