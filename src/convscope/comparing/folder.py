"""The folder of a comparison: whole or not there at all; what an interrupted one has done is kept.

A finished folder holds

- ``compare.html``: the page;
- ``compare.json``: :class:`~convscope.comparing.result.Comparison`;
- ``predictions.parquet``: what every training said of every test photo;
- ``split.csv``: the photos with their split, as any command takes them.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from convscope.errors import ConvscopeError, InputError
from convscope.files import write_json

RESULT = "compare.json"
_ASKED = "asked.json"


class ComparisonFolder:
    """A comparison in the making, in ``OUT.partial``; held against others while it is open.

    Parameters
    ----------
    out : Path
        Where the finished one will lie.
    asked : dict
        What was asked, JSON values: only the same can be resumed.
    overwrite : bool
        Replace a finished comparison (once the new one is complete) or an interrupted one.
    resume : bool
        Go on with an interrupted one; from the start if there is none.

    Raises
    ------
    InputError
        ``out`` exists, or an interrupted comparison lies there and nothing says what to do.
    ConvscopeError
        The folder cannot be written.
    """

    def __init__(
        self, out: Path, asked: dict[str, Any], *, overwrite: bool = False, resume: bool = False
    ) -> None:
        if out.name in ("", ".."):
            raise InputError(f"--out {out} is no name for a folder. Give one, such as --out cmp.")
        self.out = out
        self.path = out.with_name(out.name + ".partial")
        self.work = self.path / "work"
        self._lock = FileLock(self.work / "lock")
        self._overwrite = overwrite
        _require_free(out, overwrite)
        try:
            self.resumed = self._open(asked, overwrite, resume)
        except OSError as error:
            raise ConvscopeError(
                f"{self.path} cannot be written: {error.strerror}. Choose another --out."
            ) from None

    def __enter__(self) -> ComparisonFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        where: TracebackType | None,
    ) -> None:  # fmt: skip
        self._lock.release()

    def _open(self, asked: dict[str, Any], overwrite: bool, resume: bool) -> bool:
        if self.path.exists():
            if not (resume or overwrite):
                raise InputError(
                    f"{self.path} is there: a comparison was interrupted, or is going on at this "
                    "moment. Add --resume to go on with it, or --overwrite to start afresh."
                )
            if self.work.exists():
                self._take()
            if resume:
                self._require_same(asked)
                return True
            self._lock.release()
            shutil.rmtree(self.path)
        self.work.mkdir(parents=True)
        self._take()
        write_json(self.work / _ASKED, asked)
        return False

    def _take(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"Another comparison is writing {self.path} at this moment. Wait for it, or "
                "choose another --out."
            ) from None

    def _require_same(self, asked: dict[str, Any]) -> None:
        now = json.loads(json.dumps(asked))
        try:
            before = json.loads((self.work / _ASKED).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = None
        if not isinstance(before, dict):
            self._lock.release()
            raise InputError(
                f"{self.path} is no interrupted comparison. Remove it, or choose another --out."
            )
        other = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        if not other:
            return
        self._lock.release()
        if other == ["photos_state"]:
            raise InputError(
                f"The photos have changed since the comparison at {self.path} was interrupted. "
                "Add --overwrite without --resume to start afresh."
            )
        changes = ", ".join(f"{n} was {before.get(n)!r}" for n in other if n != "photos_state")
        raise InputError(
            f"The interrupted comparison at {self.path} was asked for something else: {changes}. "
            "Ask for the same, or add --overwrite without --resume to start afresh."
        )

    def finish(self) -> None:
        """Drop the working files and give the folder its name."""
        self._lock.release()
        shutil.rmtree(self.work)
        # What a process that was killed was writing just then.
        for unfinished in self.path.glob(".*"):
            unfinished.unlink()
        old = self.out.with_name(f".{self.out.name}.old-{os.getpid()}")
        replaces = self._overwrite and self.out.exists()
        if replaces:
            self.out.rename(old)
        try:
            self.path.rename(self.out)
        except BaseException:
            if replaces:
                old.rename(self.out)
            raise
        shutil.rmtree(old, ignore_errors=True)

    def discard(self) -> None:
        """Remove everything that was written."""
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def _require_free(out: Path, overwrite: bool) -> None:
    if not (out.exists() or out.is_symlink()):
        return
    ours = not out.is_symlink() and out.is_dir() and (
        (out / RESULT).is_file() or not any(out.iterdir())
    )  # fmt: skip
    if not overwrite:
        hint = ", or add --overwrite" if ours else ""
        raise InputError(f"{out} exists already. Choose another --out{hint}.")
    if not ours:
        raise InputError(
            f"{out} exists and is no comparison of convscope: it is not overwritten. Choose "
            "another --out."
        )
