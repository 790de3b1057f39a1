"""Jobs: what was asked, how far it is, how it ended; on disk, so that a restart loses nothing."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from convscope.app.asking import Asked
from convscope.app.names import is_id, new_id
from convscope.app.users import User
from convscope.errors import InputError
from convscope.files import write_bytes

Status = Literal["waiting", "running", "done", "failed", "cancelled", "stopped"]
# Those that can be gone on with: what was done so far is kept.
RESUMABLE = ("cancelled", "stopped", "failed")
_FILE = "job.json"


class Job(BaseModel):
    """One piece of work; ``job.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    title: str
    asked: Asked
    words: tuple[str, ...]
    """The command, without ``convscope``."""
    about: str
    """The item on whose page it is shown."""
    makes: str | None = None
    """The item that it fills."""
    output: str | None = None
    """The file that gets what it prints, once it is done."""
    status: Status = "waiting"
    created: str
    started: str | None = None
    ended: str | None = None
    error: str | None = None
    resume: bool = False
    process: tuple[int, float] | None = None
    """Of the running one: its number, and when it was started, by which it is known again."""


class Jobs:
    """A user's jobs.

    Parameters
    ----------
    user : User
    """

    def __init__(self, user: User) -> None:
        self.root = user.folder / "jobs"

    def folder(self, job: Job) -> Path:
        """Where its progress and its output lie."""
        return self.root / job.id

    def add(
        self,
        asked: Asked,
        title: str,
        words: list[str],
        *,
        about: str,
        makes: str | None = None,
        output: Path | None = None,
    ) -> Job:
        """A new one, waiting."""
        job = Job(
            id=new_id(), title=title, asked=asked, words=tuple(words), about=about, makes=makes,
            output=None if output is None else str(output), created=now(),
        )  # fmt: skip
        self.write(job)
        return job

    def write(self, job: Job) -> None:
        """Keep its state."""
        write_bytes(self.folder(job) / _FILE, job.model_dump_json().encode())

    def get(self, name: str) -> Job:
        """The one of this id.

        Raises
        ------
        InputError
            The user has none.
        """
        try:
            if not is_id(name):
                raise ValueError
            return Job.model_validate_json((self.root / name / _FILE).read_bytes())
        except (OSError, ValueError, ValidationError):
            raise InputError("There is no such job here (any more).") from None

    def all(self) -> list[Job]:
        """The newest first."""
        found = []
        if self.root.is_dir():
            for folder in self.root.iterdir():
                try:
                    found.append(self.get(folder.name))
                except InputError:
                    continue
        return sorted(found, key=lambda job: (job.created, job.id), reverse=True)

    def remove(self, job: Job) -> None:
        """Forget it."""
        (self.folder(job) / _FILE).unlink(missing_ok=True)
        shutil.rmtree(self.folder(job), ignore_errors=True)

    def progress(self, job: Job) -> dict[str, Any]:
        """What it has said last; see :class:`~convscope.progress.ProgressFile`."""
        try:
            found = json.loads((self.folder(job) / "progress.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {"bars": [], "lines": []}
        return found if isinstance(found, dict) else {"bars": [], "lines": []}


def now() -> str:
    """UTC; to the microsecond, which is the order of the queue."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
