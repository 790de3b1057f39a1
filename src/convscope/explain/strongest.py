"""The strongest activations of many images, with room for no more than these."""

from __future__ import annotations

import numpy as np


class Strongest:
    """The k highest values of each channel among all that were shown.

    Parameters
    ----------
    channels, k : int

    Attributes
    ----------
    values : numpy.ndarray
        float32 ``(channels, k)``, falling; -inf where fewer have come.
    images, units : numpy.ndarray
        int64 ``(channels, k)``: of which image, and which unit of its map; -1 where none.
    """

    def __init__(self, channels: int, k: int) -> None:
        self.values = np.full((channels, k), -np.inf, np.float32)
        self.images = np.full((channels, k), -1, np.int64)
        self.units = np.full((channels, k), -1, np.int64)

    def update(self, values: np.ndarray, units: np.ndarray, images: np.ndarray) -> None:
        """Some more images, each with its strongest; of equal ones those stay that came first.

        Parameters
        ----------
        values : numpy.ndarray
            float32 ``(n, channels, m)``: -inf counts as nothing.
        units : numpy.ndarray
            int64 ``(n, channels, m)``.
        images : numpy.ndarray
            int64 ``(n,)``.
        """
        n, _, m = values.shape
        # Most images reach into few channels' best: look at those alone.
        lowest = self.values[:, -1]
        reached = np.flatnonzero((values > lowest[None, :, None]).any((0, 2)))
        if not len(reached):
            return
        new = values[:, reached].transpose(1, 0, 2).reshape(len(reached), n * m)
        at = units[:, reached].transpose(1, 0, 2).reshape(len(reached), n * m)
        of = np.broadcast_to(np.repeat(images, m), new.shape)
        all_values = np.concatenate([self.values[reached], new], 1)
        order = np.argsort(-all_values, axis=1, kind="stable")[:, : self.values.shape[1]]
        rows = np.arange(len(reached))[:, None]
        self.values[reached] = all_values[rows, order]
        for mine, more in ((self.images, of), (self.units, at)):
            mine[reached] = np.concatenate([mine[reached], more], 1)[rows, order]
        empty = np.isneginf(self.values)
        self.images[empty] = self.units[empty] = -1
