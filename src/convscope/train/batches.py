"""Batches of photos that are already decoded, or are being decoded."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from convscope.data.augment import Augmentation, augment
from convscope.data.pixels import Pixels

# What the order of photos is drawn from, apart from what augmentation draws.
_ORDER = 0x0BDE8

Batch = tuple[Tensor, Tensor]
EpochRows = tuple[int, np.ndarray]


def epoch_order(rows: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The rows in the order of this epoch; the same for the same seed."""
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(rows)


def seed_batch(seed: int, epoch: int, batch: int) -> None:
    """PyTorch draws the same, dropout for one, in this batch of this epoch, whatever was before."""
    drawn = np.random.SeedSequence([seed, epoch, batch])
    torch.manual_seed(int(drawn.generate_state(1, np.uint64)[0]))


class EpochSampler(Sampler[EpochRows]):
    """The rows of each batch of an epoch.

    Batches differ in size by at most one photo: no tiny last one, on which batch norm would fail.

    Parameters
    ----------
    rows : numpy.ndarray
        int ``(n,)``.
    batch_size : int
        The largest batch.
    seed : int or None
        None keeps the order as it is.
    """

    def __init__(self, rows: np.ndarray, batch_size: int, seed: int | None) -> None:
        self.rows = rows
        self.batches = max(1, -(-len(rows) // batch_size))
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[EpochRows]:
        rows = self.rows if self.seed is None else epoch_order(self.rows, self.seed, self.epoch)
        for part in np.array_split(rows, self.batches):
            yield self.epoch, part


class Ahead(DataLoader[Batch]):
    """Makes the next batch ready, in a thread, while the network trains on this one."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        batches = super().__iter__()
        pool = ThreadPoolExecutor(1, thread_name_prefix="batch")
        coming = pool.submit(next, batches)
        for left in reversed(range(len(self))):
            batch = coming.result()
            if left:
                coming = pool.submit(next, batches)
            else:
                # Not behind the loop: whoever counts the batches never asks for one more, and the
                # rest would run whenever this generator is thrown away. Ctrl-C would be lost there.
                pool.shutdown()
            yield batch


class PhotoBatches(Dataset[Batch]):
    """Epoch and rows to photos and labels; photos that cannot be decoded are left out.

    Parameters
    ----------
    pixels : Pixels
        Asked for rows that are not decoded yet, it waits for them.
    labels : numpy.ndarray
        int64 ``(n,)``, of all photos.
    policy : Augmentation or None
    seed : int
    """

    def __init__(
        self, pixels: Pixels, labels: np.ndarray, policy: Augmentation | None, seed: int
    ) -> None:
        self.pixels = pixels
        self.labels = labels
        self.policy = policy
        self.seed = seed

    def __getitem__(self, item: EpochRows) -> Batch:
        epoch, rows = item
        self.pixels.wait(rows)
        rows = rows[self.pixels.usable[rows]]
        photos = self.pixels.array[rows]
        if self.policy is not None:
            photos = augment(photos, self.policy, rows=rows, epoch=epoch, seed=self.seed)
        return torch.from_numpy(np.ascontiguousarray(photos)), torch.from_numpy(self.labels[rows])
