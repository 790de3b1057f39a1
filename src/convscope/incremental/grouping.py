"""Boxes that are best answered for together: what they change is about equally large everywhere.

Every map has patches of one size within a group. How many units of a layer a box can reach depends
on where it lies between the steps of strided layers, and on how near it lies to an end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from convscope.incremental.lowering import Program
from convscope.incremental.regions import reaches

# Positions that a group should have, and groups along one axis.
_ENOUGH = 24
_MOST_GROUPS = 8


def grouped(
    program: Program,
    starts: Sequence[np.ndarray],
    counts: Sequence[np.ndarray],
    size: Sequence[int],
) -> list[np.ndarray]:
    """Which starts of boxes go together, along each axis.

    Parameters
    ----------
    program : Program
    starts : sequence of numpy.ndarray
        Per axis, sorted and without repetition.
    counts : sequence of numpy.ndarray
        Per axis, how many boxes have each of them.
    size : sequence of int
        Of the boxes.

    Returns
    -------
    list of numpy.ndarray
        Per axis, int64 ``(starts,)``: the number of the group.
    """
    total = int(counts[0].sum())
    most = max(1, min(_MOST_GROUPS, round((total / _ENOUGH) ** (1 / len(starts)))))
    reached = reaches(program, starts, size)
    steps = [step for step in program.steps if step.macs and step.node in reached]
    if most == 1 or not steps:
        return [np.zeros(len(one), np.int64) for one in starts]
    found = []
    for axis, of_axis in enumerate(counts):
        sizes = np.stack([reached[step.node][axis].sizes for step in steps], 1)
        weights = np.array(
            [
                step.macs
                / math.prod(step.shape[1:])
                * math.prod(r.mean for a, r in enumerate(reached[step.node]) if a != axis)
                for step in steps
            ]
        )
        found.append(merged(sizes, of_axis, weights, most))
    return found


def merged(sizes: np.ndarray, counts: np.ndarray, weights: np.ndarray, most: int) -> np.ndarray:
    """Put together what costs least to put together, until few enough groups are left.

    Parameters
    ----------
    sizes : numpy.ndarray
        ``(starts, layers)``: what each needs; a group needs the most of each layer.
    counts : numpy.ndarray
        ``(starts,)``: how often each is computed.
    weights : numpy.ndarray
        ``(layers,)``: cost of one unit.
    most : int
        Groups.

    Returns
    -------
    numpy.ndarray
        int64 ``(starts,)``.
    """
    needs, label = np.unique(sizes, axis=0, return_inverse=True)
    label = label.reshape(-1).astype(np.int64)
    times = np.bincount(label, weights=counts).astype(float)
    needs = needs.astype(float)
    alive = np.ones(len(needs), bool)
    costs = np.stack([_costs(needs, times, weights, place) for place in range(len(needs))])
    while alive.sum() > most:
        masked = np.where(alive[:, None] & alive[None], costs, np.inf)
        np.fill_diagonal(masked, np.inf)
        into, other = np.unravel_index(int(masked.argmin()), masked.shape)
        needs[into] = np.maximum(needs[into], needs[other])
        times[into] += times[other]
        alive[other] = False
        label[label == other] = into
        costs[into] = costs[:, into] = _costs(needs, times, weights, int(into))
    return np.unique(label, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _costs(needs: np.ndarray, times: np.ndarray, weights: np.ndarray, place: int) -> np.ndarray:
    """What it costs more to put one group together with each other."""
    alone = times * (needs @ weights)
    both = (times + times[place]) * (np.maximum(needs, needs[place]) @ weights)
    return np.asarray(both - alone - alone[place])
