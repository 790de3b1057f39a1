"""MixUp and CutMix against their papers' formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from convscope.data.augment import Augmentation
from convscope.train.mixing import Mixed, mix

MIXUP, CUTMIX = Augmentation(mixup=0.4), Augmentation(cutmix=1.0)


def batch(n: int = 6) -> torch.Tensor:
    return torch.arange(n, dtype=torch.float32)[:, None, None, None].expand(n, 3, 20, 30)


def mixed(policy: Augmentation, number: int = 0, seed: int = 0, epoch: int = 0) -> Mixed:
    found = mix(batch(), policy, seed=seed, epoch=epoch, batch=number)
    assert found is not None
    return found


def test_nothing_is_mixed_unless_asked() -> None:
    assert mix(batch(), None, seed=0, epoch=0, batch=0) is None
    assert mix(batch(), Augmentation(), seed=0, epoch=0, batch=0) is None


@pytest.mark.parametrize("number", range(5))
def test_mixup_is_the_weighted_mean(number: int) -> None:
    found = mixed(MIXUP, number)
    assert sorted(found.partners.tolist()) == list(range(6))
    wanted = found.share * batch() + (1 - found.share) * batch()[found.partners]
    torch.testing.assert_close(found.photos, wanted)


@pytest.mark.parametrize("number", range(20))
def test_cutmix_is_a_rectangle_and_its_share_is_what_is_kept(number: int) -> None:
    found = mixed(CUTMIX, number)
    for place, partner in enumerate(found.partners.tolist()):
        photo = found.photos[place, 0]
        if partner == place:
            assert (photo == place).all()
            continue
        other = photo == partner
        assert ((photo == place) | other).all()
        assert other.float().mean() == pytest.approx(1 - found.share, abs=1e-6)
        rows, columns = (np.flatnonzero(other.any(axis).numpy()) for axis in (1, 0))
        assert other.sum() == len(rows) * len(columns)  # whole, no holes
    assert (batch() == torch.arange(6.0)[:, None, None, None]).all()


def test_shares_are_drawn_from_beta() -> None:
    shares = np.array([mixed(MIXUP, number).share for number in range(2000)])
    # Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1)).
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * 1.8), abs=0.01)


def test_what_is_drawn_depends_on_seed_epoch_and_batch() -> None:
    first = mixed(MIXUP, 1, 2, 3)
    again = mixed(MIXUP, 1, 2, 3)
    assert torch.equal(first.photos, again.photos)
    for other in (mixed(MIXUP, 0, 2, 3), mixed(MIXUP, 1, 0, 3), mixed(MIXUP, 1, 2, 0)):
        assert other.share != first.share


def test_the_loss_is_that_of_both_labels() -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    found = mixed(MIXUP)
    soft = found.share * functional.one_hot(labels, 4)
    soft = soft + (1 - found.share) * functional.one_hot(labels[found.partners], 4)
    wanted = functional.cross_entropy(logits, soft.float())
    torch.testing.assert_close(
        found.loss(lambda given: functional.cross_entropy(logits, given), labels), wanted
    )
