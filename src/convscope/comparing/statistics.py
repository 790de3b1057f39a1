"""Intervals and paired tests that count both the choice of test photos and that of seeds.

Everything starts from one table per rung: ``hits``, bool ``(seeds, photos)``, whether the training
with this seed names this test photo rightly. The accuracy of a rung is the mean of its table.

*Interval.* The variance of that mean has two parts: other test photos would give another one, and
so would other seeds. The first is the variance of the photos' means over seeds, the second that
of the seeds' means over photos; what is neither's alone counts in both, so that intervals are wide
rather than narrow. Then the score interval of Wilson (1927) is taken for as many photos as would
give that variance, with the quantile of Student's t at the degrees of freedom of Satterthwaite
(1946). With one seed this is Wilson's interval.

*Test.* Two rungs are held to the same photos. On each photo that one of them gets right more often
than the other, the sign of the difference is a coin toss if the two are equally good. The exact
distribution of the sum under all such tosses gives p; with one seed this is McNemar's exact test.
With several seeds, trainings of one seed share their luck over all photos, of which the coins know
nothing: a t test of the mean difference with both parts of the variance stands beside it, and the
larger p counts.

*Differences.* Their intervals rest on the same two parts of the variance, with two photos added of
which one goes each way (Agresti & Min 2005). They are not corrected for being several.

*Several tests.* Holm's (1979) correction over all that are made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, norm
from scipy.stats import t as student

from convscope.metrics import wilson

_LEVEL = 0.95


@dataclass(frozen=True)
class Spread:
    """The variance of a mean over seeds and photos, in its two parts.

    Attributes
    ----------
    photos : float
        What other test photos would change.
    seeds : float
        What other seeds would change; 0 with one seed, where it is unknown.
    freedom : float
        Degrees of freedom of the two together.
    """

    photos: float
    seeds: float
    freedom: float

    @property
    def total(self) -> float:
        """Both together."""
        return self.photos + self.seeds


def spread(values: np.ndarray) -> Spread:
    """Estimate the variance of the mean of a table.

    Parameters
    ----------
    values : numpy.ndarray
        float ``(seeds, photos)``, at least one of each.
    """
    seeds, photos = values.shape
    by_photo, by_seed = values.mean(axis=0), values.mean(axis=1)
    of_photos = float(by_photo.var()) / photos
    if seeds == 1 or photos == 1:
        return Spread(of_photos, 0.0, math.inf)
    of_seeds = float(by_seed.var(ddof=1)) / seeds
    total = of_photos + of_seeds
    if total <= 0:
        return Spread(0.0, 0.0, math.inf)
    below = of_photos**2 / (photos - 1) + of_seeds**2 / (seeds - 1)
    return Spread(of_photos, of_seeds, total**2 / below if below > 0 else math.inf)


def accuracy_interval(hits: np.ndarray) -> tuple[float, float]:
    """95 % interval of a rung's accuracy, for other test photos and other seeds.

    Parameters
    ----------
    hits : numpy.ndarray
        bool ``(seeds, photos)``.
    """
    seeds, photos = hits.shape
    if seeds == 1:
        found = wilson(int(hits.sum()), photos)
        assert found is not None  # noqa: S101
        return found[0], found[1]
    share, variance = float(hits.mean()), spread(hits.astype(np.float64))
    simple = share * (1 - share)
    # So many independent photos say as much: never more than there are trainings times photos.
    counts = photos if variance.total <= 0 else min(seeds * photos, simple / variance.total)
    z = _quantile(variance.freedom)
    middle = (share + z * z / (2 * counts)) / (1 + z * z / counts)
    half = z / (1 + z * z / counts) * math.sqrt(simple / counts + (z / (2 * counts)) ** 2)
    return max(0.0, middle - half), min(1.0, middle + half)


def difference_interval(upper: np.ndarray, lower: np.ndarray) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies on the same photos.

    Parameters
    ----------
    upper, lower : numpy.ndarray
        bool ``(seeds, photos)`` each; their difference is upper minus lower.
    """
    values = upper.astype(np.float64) - lower.astype(np.float64)
    variance = spread(values)
    by_photo = values.mean(axis=0)
    # As if of two more photos one had gone each way (Agresti & Min 2005): rungs that agree on all
    # of a few photos may still differ on others.
    n, total = len(by_photo) + 2, float(by_photo.sum())
    of_photos = (float(np.square(by_photo).sum()) + 1 - total**2 / n) / n**2
    middle = total / n
    half = _quantile(variance.freedom) * math.sqrt(of_photos + variance.seeds)
    return max(-1.0, middle - half), min(1.0, middle + half)


def paired_test(upper: np.ndarray, lower: np.ndarray) -> float:
    """Two-sided p of "the two are equally good", on the same photos; see the module.

    Parameters
    ----------
    upper, lower : numpy.ndarray
        bool ``(seeds, photos)`` each.
    """
    values = upper.astype(np.int64) - lower.astype(np.int64)
    p = sign_flip_test(values.sum(axis=0))
    variance = spread(values.astype(np.float64))
    if len(values) > 1 and variance.seeds > 0:
        t = abs(float(values.mean())) / math.sqrt(variance.total)
        p = max(p, float(2 * student.sf(t, variance.freedom)))
    return min(1.0, p)


def sign_flip_test(differences: np.ndarray) -> float:
    """Exact two-sided p that whole numbers have random signs, by their sum.

    With differences of -1, 0 and 1 this is McNemar's exact test.

    Parameters
    ----------
    differences : numpy.ndarray
        int ``(photos,)``.

    >>> round(sign_flip_test(np.array([1, 1, 1, 1, 1, 0, -1])), 4)
    0.2188
    """
    sizes = np.abs(differences)
    chances = np.ones(1)
    for size in np.unique(sizes[sizes > 0]):
        times = int((sizes == size).sum())
        # The sum of these alone is size * (2 heads - times).
        part = np.zeros(2 * size * times + 1)
        part[:: 2 * size] = binom.pmf(np.arange(times + 1), times, 0.5)
        chances = np.convolve(chances, part)
    largest = (len(chances) - 1) // 2
    sums = np.abs(np.arange(-largest, largest + 1))
    return min(1.0, float(chances[sums >= abs(int(differences.sum()))].sum()))


def holm(ps: Sequence[float]) -> tuple[float, ...]:
    """Correct p values for being several (Holm 1979), in the order given.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(ps)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        least = max(least, min(1.0, (len(ps) - rank) * ps[place]))
        corrected[place] = least
    return tuple(corrected)


def _quantile(freedom: float) -> float:
    upper = (1 + _LEVEL) / 2
    return float(norm.ppf(upper) if math.isinf(freedom) else student.ppf(upper, freedom))
