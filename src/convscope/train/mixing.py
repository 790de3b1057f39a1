"""Two photos in one: MixUp and CutMix, on whole batches in the training step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convscope.data.augment import Augmentation

# What mixing is drawn from, apart from what augmentation and order are drawn from.
_MIX = 0x3A1C


@dataclass(frozen=True)
class Mixed:
    """A batch in which each photo holds a part of another.

    Attributes
    ----------
    photos : Tensor
        ``(n, channels, h, w)``.
    partners : Tensor
        int64 ``(n,)``: which photo of the batch the other part is from.
    share : float
        Of the photo itself, 0 to 1; the partner has the rest.
    """

    photos: Tensor
    partners: Tensor
    share: float

    def loss(self, of: Callable[[Tensor], Tensor], labels: Tensor) -> Tensor:
        """Each label's loss counts by its share.

        Parameters
        ----------
        of : callable
            Labels ``(n,)`` -> loss of the network's output under them.
        labels : Tensor
        """
        return self.share * of(labels) + (1 - self.share) * of(labels[self.partners])


def mix(
    photos: Tensor, policy: Augmentation | None, *, seed: int, epoch: int, batch: int
) -> Mixed | None:
    """Mix each photo of a batch with another one.

    MixUp (Zhang et al. 2018, arXiv 1710.09412) fades one photo into the other; CutMix (Yun et al.
    2019, arXiv 1905.04899) replaces a rectangle. The share is drawn from Beta(alpha, alpha), once
    for the batch; CutMix corrects it to the pixels that are really kept.

    Parameters
    ----------
    photos : Tensor
        Normalised, ``(n, channels, h, w)``; left as they are.
    policy : Augmentation or None
    seed, epoch, batch : int
        What is drawn depends on them alone.

    Returns
    -------
    Mixed or None
        None where the policy mixes nothing.
    """
    if policy is None or not (policy.mixup or policy.cutmix):
        return None
    rng = np.random.default_rng([seed, _MIX, epoch, batch])
    alpha = policy.mixup or policy.cutmix
    share = float(rng.beta(alpha, alpha))
    partners = torch.from_numpy(rng.permutation(len(photos))).to(photos.device)
    others = photos[partners]
    if policy.mixup:
        return Mixed(share * photos + (1 - share) * others, partners, share)
    height, width = photos.shape[2:]
    side = float(np.sqrt(1 - share))
    centre_y, centre_x = rng.random(2) * (height, width)
    top, bottom = _within(centre_y, side * height, height)
    left, right = _within(centre_x, side * width, width)
    mixed = photos.clone()
    mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    kept = 1 - (bottom - top) * (right - left) / (height * width)
    return Mixed(mixed, partners, kept)


def _within(centre: float, length: float, size: int) -> tuple[int, int]:
    ends = np.clip([centre - length / 2, centre + length / 2], 0, size).round().astype(int)
    return int(ends[0]), int(ends[1])
