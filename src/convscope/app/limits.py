"""How much one user may send and keep."""

from __future__ import annotations

from dataclasses import dataclass

from convscope.data.images import MAX_PIXELS

_MEGA, _GIGA = 2**20, 2**30


@dataclass(frozen=True)
class Limits:
    """Bounds on what comes in; beyond one of them the page says which.

    Attributes
    ----------
    photo_bytes, zip_bytes, table_bytes : int
        Of one file.
    unpacked_bytes : int
        Of everything in a zip, counted while it is unpacked, whatever its directory says.
    files : int
        Of one set of photos.
    pixels : int
        Of one photo, by its header: width times height.
    user_bytes : int
        Of everything that a user has.
    waiting : int
        Jobs of one user that wait for their turn.
    """

    photo_bytes: int = 64 * _MEGA
    zip_bytes: int = 4 * _GIGA
    unpacked_bytes: int = 8 * _GIGA
    table_bytes: int = 512 * _MEGA
    files: int = 50_000
    pixels: int = MAX_PIXELS
    user_bytes: int = 32 * _GIGA
    waiting: int = 20


def amount(size: int) -> str:
    """Bytes in words: ``64 MB``.

    >>> amount(64 * 2**20), amount(3 * 2**30 // 2), amount(900)
    ('64 MB', '1.5 GB', '900 bytes')
    """
    for unit, word in ((_GIGA, "GB"), (_MEGA, "MB")):
        if size >= unit:
            return f"{size / unit:.3g} {word}"
    return f"{size} bytes"
