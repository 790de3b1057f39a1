"""What is written and shown while a network trains."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np

from convscope.files import write_bytes

COLUMNS = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "valid_loss",
    "valid_accuracy",
    "learning_rate",
    "seconds",
    "wait_share",
)


# A share of an epoch's time that is worth telling.
_LONG_WAIT = 0.05


class History(pl.Callback):
    """One row per epoch, kept in the checkpoint and written as CSV after every epoch.

    Parameters
    ----------
    file : Path
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: list[dict[str, float]] = []
        self._started = 0.0
        # Since when the step waits for its next batch, and how long it has waited in this epoch.
        self._waiting_since = 0.0
        self._waited = 0.0

    @property
    def best_epoch(self) -> int:
        """That of least validation loss, counted from 1; the last if nothing was validated on."""
        losses = [row["valid_loss"] for row in self.rows if "valid_loss" in row]
        if not losses:
            return len(self.rows)
        return int(np.argmin(np.nan_to_num(losses, nan=np.inf, posinf=np.inf))) + 1

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.rows = list(state_dict["rows"])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started = self._waiting_since = time.perf_counter()
        self._waited = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The batch is there."""
        self._waited += time.perf_counter() - self._waiting_since

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """The next one is wanted."""
        self._waiting_since = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch's row."""
        measured = {name: float(value) for name, value in trainer.callback_metrics.items()}
        row = {name: measured[name] for name in COLUMNS if name in measured}
        row["epoch"] = trainer.current_epoch + 1
        row["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        seconds = time.perf_counter() - self._started
        row["seconds"] = round(seconds, 3)
        row["wait_share"] = round(self._waited / seconds, 4)
        self.rows.append(row)
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_bytes(self.file, text.getvalue().encode())


class EpochBar(pl.Callback):
    """Photos trained on, and the last epoch's figures.

    Parameters
    ----------
    update : callable
        Takes how many more photos were trained on, and a new description or None.
    photos : int
        Training photos.
    history : History
    unit : str
        What is trained on.
    """

    def __init__(
        self,
        update: Callable[[int, str | None], None],
        photos: int,
        history: History,
        unit: str = "photos",
    ) -> None:
        self.update = update
        self.photos = photos
        self.history = history
        self.unit = unit

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Epochs of an earlier try count as done."""
        self.update(len(self.history.rows) * self.photos, None)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar."""
        self.update(len(batch[1]), None)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the epoch's figures."""
        row = self.history.rows[-1]
        text = f"training, epoch {row['epoch']}"
        if "valid_accuracy" in row:
            text += f": validation accuracy {row['valid_accuracy']:.3f}"
        elif "valid_loss" in row:
            text += f": validation loss {row['valid_loss']:.4g}"
        if row["wait_share"] > _LONG_WAIT:
            text += f", {row['wait_share']:.0%} waiting for {self.unit}"
        self.update(0, text)
