"""What a head can be fitted on, checked before anything is computed."""

from __future__ import annotations

import numpy as np

from convscope.errors import InputError


def checked_features(features: np.ndarray, whose: str, width: int | None = None) -> np.ndarray:
    """Features as float32 ``(n, f)``.

    Parameters
    ----------
    features : array_like
    whose : str
        For the error: "the training photos".
    width : int, optional
        How many numbers each photo must have.

    Raises
    ------
    InputError
        Not a table of numbers, of another width, or with NaN or infinity.
    """
    try:
        found = np.ascontiguousarray(features, np.float32)
    except (TypeError, ValueError):
        raise InputError(
            f"The features of {whose} are not a table of numbers. Give one row per photo, all of "
            "one length."
        ) from None
    if found.ndim != 2 or not found.shape[1]:
        raise InputError(
            f"The features of {whose} have the shape {found.shape}. Give one row per photo."
        )
    if width is not None and found.shape[1] != width:
        raise InputError(
            f"The features of {whose} are {found.shape[1]:,} numbers each, and {width:,} are "
            "expected. Use features of the same network and stages throughout."
        )
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        raise InputError(
            f"The features of {whose} have NaN or infinity in {len(bad):,} of {len(found):,} rows, "
            f"first in row {bad[0]} (counted from 0). Leave these photos out, or extract them anew."
        )
    return found


def checked_labels(labels: np.ndarray, n: int, classes: int, whose: str) -> np.ndarray:
    """Labels as int64 ``(n,)``.

    Parameters
    ----------
    labels : array_like
        int, 0..classes - 1.
    n : int
        Number of photos.
    classes : int
    whose : str

    Raises
    ------
    InputError
        Not one class number for each photo.
    """
    found = np.asarray(labels)
    if found.shape != (n,):
        raise InputError(f"There are {n:,} features but labels {found.shape} of {whose}.")
    if n and not np.issubdtype(found.dtype, np.integer):
        raise InputError(
            f"The labels of {whose} are {found.dtype}. Give the number of each photo's class, an "
            "integer."
        )
    outside = found[(found < 0) | (found >= classes)] if n else found
    if len(outside):
        raise InputError(
            f"Among the labels of {whose} is {outside[0]}. Allowed: 0 to {classes - 1}."
        )
    return found.astype(np.int64)


def check_classes(train_labels: np.ndarray, classes: int) -> None:
    """Every class has training photos, and there are two or more.

    Raises
    ------
    InputError
        With the number of a class that has none.
    """
    if classes < 2:
        raise InputError("There is only one class. Give photos of two classes or more.")
    missing = np.flatnonzero(np.bincount(train_labels, minlength=classes) == 0)
    if len(missing):
        which = ", ".join(map(str, missing[:10]))
        raise InputError(
            f"Classes without a training photo, by number: {which}. Give each at least one, or "
            "leave its other photos out."
        )


def checked_groups(groups: np.ndarray | None, n: int, m: int) -> np.ndarray | None:
    """One group per photo, of the training photos and then the validation photos.

    Raises
    ------
    InputError
        If there are more or fewer.
    """
    if groups is None:
        return None
    found = np.asarray(groups)
    if found.shape != (n + m,):
        raise InputError(
            f"There are groups {found.shape} for {n + m:,} photos. Give one for each training "
            "photo, then one for each validation photo."
        )
    return found
