"""Write a Run folder: everything into ``RUN.partial``, renamed when it is complete."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import save
from torch import nn

from convscope.data.samples import jpeg
from convscope.files import write_bytes, write_json
from convscope.run import Predictions, Run, RunInfo
from convscope.unfinished import UnfinishedFolder


class RunWriter(UnfinishedFolder):
    """A Run folder in the making.

    Parameters
    ----------
    out, asked, overwrite, resume
        See :class:`~convscope.unfinished.UnfinishedFolder`, of errors, too.
    """

    def __init__(
        self, out: Path, asked: dict[str, Any], *, overwrite: bool = False, resume: bool = False
    ) -> None:
        super().__init__(
            out, asked, work="fit", result="run", marks="run.json", overwrite=overwrite,
            resume=resume,
        )  # fmt: skip

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
        self.complete()
        return Run(self.out)


def _text(name: str) -> str:
    """A file name that is no valid text, with its bytes escaped."""
    return name.encode("utf-8", errors="backslashreplace").decode("utf-8")
