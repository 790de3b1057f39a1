"""Whole passes, many inputs at a time: what is always right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from convscope.incremental.changes import Changes, check

# Inputs at a time, at most and where nothing limits memory.
_MOST_AT_ONCE = 32


class PlainEngine:
    """The network itself, on whole inputs in batches.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.
    images : Tensor
        ``(n, channels, *space)``.
    why : str
        Why nothing is read from a cached pass.
    at_once : int
        Inputs that go through at a time.

    Attributes
    ----------
    outputs : Tensor
        ``(n, classes)`` of the unchanged images.
    precision : str
        Always ``exact``.
    """

    precision: Literal["exact"] = "exact"

    def __init__(
        self, model: nn.Module, images: Tensor, why: str, at_once: int = _MOST_AT_ONCE
    ) -> None:
        self.model, self.images, self.why = model, images, why
        self.at_once = max(1, min(at_once, _MOST_AT_ONCE))
        with torch.inference_mode():
            parts = torch.split(images, self.at_once)
            self.outputs = torch.cat([model(part.clone()) for part in parts]).clone()

    def ceiling(self, size: Sequence[int]) -> float:
        """How many times fewer multiply-adds a changed part needs; not known here."""
        return 1.0

    def share(self, size: Sequence[int]) -> float:
        """The share of a whole pass that one position costs."""
        return 1.0

    def answers(self, changes: Changes) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows, int64 ``(b,)``, and outputs ``(b, classes)``, each row once."""
        check(changes, len(self.images), self.images.shape[2:])
        for rows in torch.split(torch.arange(len(changes)), self.at_once):
            with torch.inference_mode():
                batch = self.images[changes.image[rows].to(self.images.device)]
                content = changes.content(rows).to(batch)
                for place, start in enumerate(changes.start[rows].tolist()):
                    ends = zip(start, changes.size, strict=True)
                    box = tuple(slice(first, first + size) for first, size in ends)
                    batch[place][(slice(None), *box)] = content[place]
                outputs = self.model(batch)
            yield rows, outputs.clone()
