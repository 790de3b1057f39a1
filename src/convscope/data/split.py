"""Who is trained on, who is validated on, who is tested on: stratified, copies kept together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from convscope.data.duplicates import join
from convscope.data.folder import SPLITS, PhotoTable

SHARES = {"train": 0.70, "valid": 0.15, "test": 0.15}


def split_photos(table: PhotoTable, units: np.ndarray, seed: int) -> tuple[PhotoTable, str]:
    """Give every photo a split.

    A split that was given is kept. Where the user gave none, photos go 70/15/15; where only one of
    validation and test is missing, it is taken from the training photos. Either way by class, and
    photos that look the same or belong to the same group never part.

    Parameters
    ----------
    table : PhotoTable
        Usable photos only.
    units : numpy.ndarray
        int ``(n,)``, see :func:`inseparable`.
    seed : int

    Returns
    -------
    PhotoTable
        With ``splits``.
    str
        Who made the split, in words.
    """
    if table.splits is None:
        splits = assign(table.labels, units, dict(SHARES), seed)
        sizes = Counter(splits)
        counts = ", ".join(f"{sizes[name]} {name}" for name in SPLITS)
        words = f"70/15/15 by convscope, by class, seed {seed}: {counts}"
        return table.with_splits(splits), words
    missing = [name for name in SPLITS if name not in table.splits]
    if not missing:
        return table, "as given"
    rows = [i for i, name in enumerate(table.splits) if name == "train"]
    shares = {"train": 1.0 - sum(SHARES[name] for name in missing)}
    shares |= {name: SHARES[name] for name in missing}
    # Photos that also stand outside the training photos stay where they were put.
    parts = assign([table.labels[i] for i in rows], units[rows], shares, seed)
    splits = list(table.splits)
    for row, part in zip(rows, parts, strict=True):
        splits[row] = part
    words = " and ".join(missing)
    return table.with_splits(splits), (
        f"as given; no {words} photos there, so convscope took "
        f"{'some' if len(missing) > 1 else '15 %'} of the training photos, seed {seed}"
    )


def inseparable(table: PhotoTable, near: np.ndarray) -> np.ndarray:
    """Number photos so that those which must not part share a number.

    Parameters
    ----------
    table : PhotoTable
        Its groups are kept together.
    near : numpy.ndarray
        int ``(n,)``; equal for photos that look the same, see
        :func:`~convscope.data.duplicates.same_photo_groups`.

    Returns
    -------
    numpy.ndarray
        int ``(n,)``.
    """
    if table.groups is None:
        return near
    rows = np.arange(len(table))
    _, first_same = np.unique(near, return_index=True)
    names, first_group = np.unique(np.asarray(table.groups, dtype=str), return_index=True)
    by_name = dict(zip(names.tolist(), first_group.tolist(), strict=True))
    _, near_rank = np.unique(near, return_inverse=True)
    to_same = np.stack([rows, first_same[near_rank]], axis=1)
    to_group = np.stack([rows, [by_name[name] for name in table.groups]], axis=1)
    return join(len(table), np.concatenate([to_same, to_group]))


def assign(
    labels: Sequence[str], units: np.ndarray, shares: dict[str, float], seed: int
) -> list[str]:
    """Split photos by class in these shares; photos of one unit together.

    Every class gets at least one unit of each split where it has enough: training first, then
    test, then validation. No class is left without a training photo.

    Parameters
    ----------
    labels : sequence of str
        ``(n,)``.
    units : numpy.ndarray
        int ``(n,)``.
    shares : dict
        Split -> share, with ``train``; summing to 1.
    seed : int

    Returns
    -------
    list of str
        ``(n,)``.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for row, unit in enumerate(units.tolist()):
        members[unit].append(row)
    by_class: dict[str, list[list[int]]] = defaultdict(list)
    for rows in members.values():
        # A unit with photos of several classes (a copy under two labels) counts for its commonest.
        commonest = min(
            Counter(labels[row] for row in rows).items(), key=lambda item: (-item[1], item[0])
        )[0]
        by_class[commonest].append(rows)
    # A class whose photos all belong to units of other classes: its smallest unit is trained on.
    to_train = set()
    for label in set(labels) - set(by_class):
        mine = (rows for rows in members.values() if any(labels[row] == label for row in rows))
        to_train.add(min(mine, key=len)[0])
    rng = np.random.default_rng([seed, 0x5B117])
    splits = [""] * len(labels)
    held_out: list[str] = [name for name in ("test", "valid") if name in shares]
    for label in sorted(by_class):
        class_units = [by_class[label][i] for i in rng.permutation(len(by_class[label]))]
        total = sum(len(rows) for rows in class_units)
        room: dict[str, int] = {
            name: max(1, round(shares[name] * total)) if len(class_units) > place else 0
            for place, name in enumerate(held_out, start=1)
        }
        room["train"] = total - sum(room.values())
        # Large units first: they fit only where there is most room. The sort keeps the shuffle.
        class_units.sort(key=lambda rows: (rows[0] not in to_train, -len(rows)))
        empty = ["train", *held_out]
        for place, rows in enumerate(class_units):
            left = len(class_units) - place
            wanted = [name for name in empty if room[name] > 0 or name == "train"]
            # As many units left as empty splits: each of them gets one.
            choices = wanted if left <= len(wanted) else list(room)
            best = "train" if rows[0] in to_train else max(choices, key=room.__getitem__)
            for row in rows:
                splits[row] = best
            room[best] -= len(rows)
            if best in empty:
                empty.remove(best)
    return splits
