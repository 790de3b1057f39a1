"""What a user has: sets of photos, tables, runs and forecasts, each in a folder of its own."""

from __future__ import annotations

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
        return Path(item.place) if item.place else self.folder(item) / "content"

    def add(
        self, kind: Kind, name: str, *, source: str | None = None, place: Path | None = None
    ) -> Item:
        """Make a new one."""
        created = datetime.now(UTC).isoformat(timespec="seconds")
        item = Item(
            id=new_id(), kind=kind, name=name[:200] or kind, created=created, source=source,
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

    def remove(self, item: Item) -> None:
        """Delete it with everything in it; a run that was given on the command line stays."""
        folder = self.folder(item)
        # First its name: a removal that is cut short leaves nothing that looks whole.
        (folder / _FILE).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    def bytes(self) -> int:
        """What all of it takes on the disk."""
        return sum(file.stat().st_size for file in self.root.rglob("*") if file.is_file())
