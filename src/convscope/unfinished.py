"""A folder of results in the making: whole or not there at all, kept for resuming."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from convscope.errors import ConvscopeError, InputError, InterruptedRunError
from convscope.files import write_json

_ASKED = "asked.json"


class UnfinishedFolder:
    """Everything goes into ``OUT.partial``, which gets its name when it is complete.

    Held against others as long as it is open.

    Parameters
    ----------
    out : Path
        Where the finished folder will lie.
    asked : dict
        What was asked, JSON values: only the same can be resumed.
    work : str
        What makes it, a noun: "fit".
    result : str
        What it is when it is finished, a noun: "run".
    marks : str
        The file by which a finished one is known: nothing else is ever overwritten.
    overwrite : bool
        Replace what lies at ``out`` (once the new one is complete), and drop what was interrupted
        there.
    resume : bool
        Go on with what was interrupted; from the start if there is nothing.

    Attributes
    ----------
    out, folder : Path
        Where it will lie, and where it lies until then.
    work : Path
        For what only resuming needs; gone when it is finished.
    resumed : bool
        Whether there is earlier work.

    Raises
    ------
    InputError
        ``out`` exists, or something interrupted lies there: without ``resume``, or asked for
        something else.
    ConvscopeError
        The folder cannot be written to.
    """

    def __init__(
        self,
        out: Path,
        asked: dict[str, Any],
        *,
        work: str,
        result: str,
        marks: str,
        overwrite: bool,
        resume: bool,
    ) -> None:
        require_place(out, result, marks, overwrite=overwrite)
        self.out = out
        self.folder = out.with_name(out.name + ".partial")
        self.work = self.folder / "work"
        self.overwrite = overwrite
        self._name = work
        self._lock = FileLock(self.work / "lock")
        try:
            self.resumed = self._open(asked, resume)
        except OSError as error:
            raise ConvscopeError(
                f"{self.folder} cannot be written: {error.strerror}. Choose another --out."
            ) from None

    def _open(self, asked: dict[str, Any], resume: bool) -> bool:
        """Make the partial folder; whether it holds earlier work."""
        if self.folder.exists():
            if self.work.exists() and (resume or self.overwrite):
                self._take()
            if resume:
                self._require_same(asked)
                return True
            if not self.overwrite:
                raise InputError(
                    f"{self.folder} is there: a {self._name} was interrupted, or is going on at "
                    "this moment. Add --resume to go on with it, or --overwrite to start afresh."
                )
            self.close()
            shutil.rmtree(self.folder)
        self.work.mkdir(parents=True)
        self._take()
        try:
            write_json(self.work / _ASKED, asked)
        except BaseException:
            self.discard()
            raise
        return False

    def _take(self) -> None:
        """Hold the folder against others, as long as this one lasts."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"Another {self._name} is writing {self.folder} at this moment. Wait for it, or "
                "choose another --out."
            ) from None

    def _require_same(self, asked: dict[str, Any]) -> None:
        try:
            before = json.loads((self.work / _ASKED).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = None
        if not isinstance(before, dict):
            self.close()
            raise InputError(
                f"{self.folder} is no interrupted {self._name}. Remove it, or choose another --out."
            )
        # As JSON would give it back: a tuple becomes a list.
        now = json.loads(json.dumps(asked))
        other = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        if not other:
            return
        self.close()
        if other == ["photos_state"]:
            raise InputError(
                f"The photos have changed since the {self._name} at {self.folder} was interrupted. "
                "Add --overwrite without --resume to start afresh."
            )
        changes = ", ".join(
            f"{name} was {before.get(name)!r}" for name in other if name != "photos_state"
        )
        raise InputError(
            f"The interrupted {self._name} at {self.folder} was asked for something else: "
            f"{changes}. Ask for the same, or add --overwrite without --resume to start afresh."
        )

    @contextmanager
    def kept(self) -> Iterator[None]:
        """What fails in here says what is kept, and how to go on with it.

        Raises
        ------
        InputError
            As it was raised; nothing is left behind, but for what an earlier try has done: that is
            not thrown away for what is wrong now.
        ConvscopeError
            Everything else that fails, Ctrl-C too.
        """
        kept = f"What is done is kept in {self.folder}"
        again = "go on with the same command and --resume."
        try:
            yield
        except (KeyboardInterrupt, InterruptedRunError):
            raise InterruptedRunError(f"Stopped. {kept}: {again}") from None
        except InputError:
            if not self.resumed:
                self.discard()
            raise
        except ConvscopeError as error:
            raise ConvscopeError(f"{error} {kept}: {again}") from error
        except OSError as error:
            where = f" {error.filename}" if error.filename else ""
            raise ConvscopeError(
                f"Writing{where} failed: {error.strerror or error}. {kept}: make room, then {again}"
            ) from error
        finally:
            self.close()

    def close(self) -> None:
        """Let others have the folder."""
        self._lock.release()

    def complete(self) -> None:
        """Give the folder its name and drop the working files."""
        self.close()
        # What a process that was killed was writing just then.
        for unfinished in [*self.folder.glob(".*"), *self.folder.glob("log/.*")]:
            unfinished.unlink()
        _put(self.folder, self.out, overwrite=self.overwrite)
        shutil.rmtree(self.out / self.work.name, ignore_errors=True)

    def discard(self) -> None:
        """Remove everything that was written."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def whole_folder(out: Path, *, result: str, marks: str, overwrite: bool) -> Iterator[Path]:
    """A folder that appears whole when the context ends well, and not at all otherwise.

    Parameters
    ----------
    out : Path
    result : str
        What it holds, a noun: "explanation".
    marks : str
        The file by which a finished one is known: nothing else is ever overwritten.
    overwrite : bool

    Yields
    ------
    Path
        To write into.

    Raises
    ------
    InputError
        ``out`` exists.
    ConvscopeError
        It cannot be written.
    """
    _require_name(out, result)
    folder = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        _require_free(out, result, marks, overwrite=overwrite)
        folder.mkdir(parents=True)
        yield folder
        _put(folder, out, overwrite=overwrite)
    except OSError as error:
        raise ConvscopeError(
            f"{error.filename or out} cannot be written: {error.strerror or error}. Make room, or "
            "choose another --out."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require_name(out: Path, result: str) -> None:
    if out.name in ("", ".."):
        raise InputError(
            f"--out {out} is no name for a folder. Give one, such as --out my-{result}."
        )


def require_place(out: Path, result: str, marks: str, *, overwrite: bool) -> None:
    """Make sure that something can be made at ``out``, before hours of work.

    Parameters
    ----------
    out, result, marks, overwrite
        See :class:`UnfinishedFolder`.

    Raises
    ------
    InputError
        It is no name for a folder, or what lies there must not be replaced.
    ConvscopeError
        Nothing can be written there.
    """
    _require_name(out, result)
    try:
        _require_free(out, result, marks, overwrite=overwrite)
    except OSError as error:
        raise ConvscopeError(
            f"{out} cannot be written: {error.strerror}. Choose another --out."
        ) from None


def _require_free(out: Path, result: str, marks: str, *, overwrite: bool) -> None:
    if not (out.exists() or out.is_symlink()):
        return
    ours = (
        not out.is_symlink()
        and out.is_dir()
        and ((out / marks).is_file() or not any(out.iterdir()))
    )
    if not overwrite:
        hint = ", or add --overwrite" if ours else ""
        raise InputError(f"{out} exists already. Choose another --out{hint}.")
    if not ours:
        raise InputError(
            f"{out} exists and is no {result} of convscope: it is not overwritten. "
            "Choose another --out."
        )


def _put(folder: Path, out: Path, *, overwrite: bool) -> None:
    """Give a folder its name; what was there goes once the new one is in its place."""
    old = out.with_name(f".{out.name}.old-{os.getpid()}")
    replaces = overwrite and out.exists()
    if replaces:
        out.rename(old)
    try:
        folder.rename(out)
    except BaseException:
        if replaces:
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
