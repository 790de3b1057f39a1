"""What training leaves on disk after every epoch: the best weights, and all it takes to go on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from convscope.files import write_bytes
from convscope.train.callbacks import History

BEST = "best.ckpt"
LAST = "last.ckpt"


class WholeFiles(TorchCheckpointIO):
    """Checkpoints written whole or not at all.

    Lightning's own go through the system's folder for temporary files; where that is another disk,
    the last step is a copy that can break off half-way.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write one file."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_bytes(Path(path), content.getvalue())


class Checkpoints(pl.Callback):
    """Keep the weights of the best epoch and the state of the last; stop when patience ends.

    It has no state of its own: which epoch was the best stands in the history, and the history is
    in the checkpoint.

    Parameters
    ----------
    folder : Path
    history : History
        Its row of an epoch is written before this is called.
    patience : int
        Epochs without a better validation loss before training stops.
    """

    def __init__(self, folder: Path, history: History, patience: int) -> None:
        self.folder = folder
        self.history = history
        self.patience = patience

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A training that was interrupted after its last epoch does not go on."""
        self._stop_if_stale(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what has changed."""
        if self.history.best_epoch == len(self.history.rows):
            trainer.save_checkpoint(self.folder / BEST, weights_only=True)
        trainer.save_checkpoint(self.folder / LAST)
        self._stop_if_stale(trainer)

    def _stop_if_stale(self, trainer: pl.Trainer) -> None:
        if len(self.history.rows) - self.history.best_epoch >= self.patience:
            trainer.should_stop = True
