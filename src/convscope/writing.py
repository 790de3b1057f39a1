"""Write a Run folder: everything into ``RUN.partial``, renamed when it is complete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from safetensors.torch import save
from torch import nn

from convscope.data.samples import jpeg
from convscope.errors import ConvscopeError, InputError
from convscope.files import write_bytes, write_json
from convscope.run import Predictions, Run, RunInfo

_ASKED = "asked.json"


class RunWriter:
    """A Run folder in the making.

    Parameters
    ----------
    out : Path
        Where the finished run will lie.
    asked : dict
        What was asked, JSON values: a run can only be resumed with the same.
    overwrite : bool
        Replace a run that lies at ``out`` (once the new one is complete), and drop what an
        interrupted fit has left there.
    resume : bool
        Go on with what an interrupted fit has left; from the start if there is nothing.

    Raises
    ------
    InputError
        ``out`` exists, or an interrupted fit lies there: without ``resume``, or one that was asked
        for something else.
    ConvscopeError
        The folder cannot be written to.
    """

    def __init__(
        self, out: Path, asked: dict[str, Any], *, overwrite: bool = False, resume: bool = False
    ) -> None:
        if out.name in ("", ".."):
            raise InputError(
                f"--out {out} is no name for a folder. Give one, such as --out my-run."
            )
        self.out = out
        self.folder = out.with_name(out.name + ".partial")
        self.work = self.folder / "work"
        self.overwrite = overwrite
        self._lock = FileLock(self.work / "lock")
        try:
            _require_free(out, overwrite)
            self.resumed = self._open(asked, overwrite, resume)
        except OSError as error:
            raise ConvscopeError(
                f"{self.folder} cannot be written: {error.strerror}. Choose another --out."
            ) from None

    def _take(self) -> None:
        """Hold the folder against other fits, as long as this one lasts."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"Another fit is writing {self.folder} at this moment. Wait for it, or choose "
                "another --out."
            ) from None

    def close(self) -> None:
        """Let other fits have the folder."""
        self._lock.release()

    def _open(self, asked: dict[str, Any], overwrite: bool, resume: bool) -> bool:
        """Make the partial folder; whether it holds earlier work."""
        if self.folder.exists():
            if self.work.exists() and (resume or overwrite):
                self._take()
            if resume:
                self._require_same(asked)
                return True
            if not overwrite:
                raise InputError(
                    f"{self.folder} is there: a fit was interrupted, or is going on at this "
                    "moment. Add --resume to go on with it, or --overwrite to start afresh."
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

    def _require_same(self, asked: dict[str, Any]) -> None:
        try:
            before = json.loads((self.work / _ASKED).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise InputError(
                f"{self.folder} is no interrupted fit. Remove it, or choose another --out."
            ) from None
        # As JSON would give it back: a tuple becomes a list.
        now = json.loads(json.dumps(asked))
        other = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        if other:
            if other == ["photos_state"]:
                raise InputError(
                    f"The photos have changed since the fit at {self.folder} was interrupted. "
                    "Add --overwrite without --resume to start afresh."
                )
            changes = ", ".join(
                f"{name} was {before.get(name)!r}" for name in other if name != "photos_state"
            )
            raise InputError(
                f"The interrupted fit at {self.folder} was asked for something else: {changes}. "
                "Ask for the same, or add --overwrite without --resume to start afresh."
            )

    @property
    def run(self) -> Run:
        """The unfinished folder, as a run to read from."""
        return Run(self.folder)

    def write_json(self, name: str, content: Any) -> None:
        """Write one JSON file of the run."""
        write_json(self.folder / name, content)

    def write_sheet(self, sheet: np.ndarray) -> None:
        """Write ``log/augmented.jpg``, uint8 ``(h, w, 3)``."""
        write_bytes(self.run.sheet_path, jpeg(sheet))

    def write_model(self, net: nn.Module) -> str:
        """Write ``model.safetensors``; gives its SHA-256."""
        tensors = {name: tensor.cpu().contiguous() for name, tensor in net.state_dict().items()}
        content = save(tensors)
        write_bytes(self.run.model_path, content)
        return hashlib.sha256(content).hexdigest()

    def write_info(self, info: RunInfo) -> None:
        """Write ``run.json``."""
        write_json(self.folder / "run.json", info.model_dump(mode="json"))

    def write_predictions(self, predictions: Predictions) -> None:
        """Write ``predictions.parquet``."""
        columns: dict[str, Any] = {
            "path": [_text(path) for path in predictions.paths],
            "split": predictions.splits,
            "label": [_text(label) for label in predictions.labels],
            "predicted": [_text(label) for label in predictions.predicted],
        }
        for i, name in enumerate(predictions.classes):
            columns[f"p_{_text(name)}"] = predictions.probabilities[:, i]
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), buffer)
        write_bytes(self.folder / "predictions.parquet", buffer.getvalue().to_pybytes())

    def finish(self) -> Run:
        """Give the folder its name and drop the working files."""
        self.close()
        # What a process that was killed was writing just then.
        for unfinished in [*self.folder.glob(".*"), *self.folder.glob("log/.*")]:
            unfinished.unlink()
        old = self.out.with_name(f".{self.out.name}.old-{os.getpid()}")
        replaces = self.overwrite and self.out.exists()
        if replaces:
            self.out.rename(old)
        try:
            self.folder.rename(self.out)
        except BaseException:
            if replaces:
                old.rename(self.out)
            raise
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(self.out / self.work.name, ignore_errors=True)
        return Run(self.out)

    def discard(self) -> None:
        """Remove everything that was written."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _require_free(out: Path, overwrite: bool) -> None:
    if not (out.exists() or out.is_symlink()):
        return
    if not overwrite:
        hint = ", or add --overwrite" if _is_run(out) else ""
        raise InputError(f"{out} exists already. Choose another --out{hint}.")
    if not _is_run(out):
        raise InputError(
            f"{out} exists and is no run of convscope: it is not overwritten. Choose another --out."
        )


def _is_run(folder: Path) -> bool:
    if folder.is_symlink() or not folder.is_dir():
        return False
    return (folder / "run.json").is_file() or not any(folder.iterdir())


def _text(name: str) -> str:
    """A file name that is no valid text, with its bytes escaped."""
    return name.encode("utf-8", errors="backslashreplace").decode("utf-8")
