"""Numbers, dates and amounts as a reader wants them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

MISSING = "–"
_NO_BREAK = "\u00a0"
# Not strftime's: the page must not depend on the reader's locale.
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July",
    "August", "September", "October", "November", "December",
)  # fmt: skip


def percent(share: float | None, digits: int = 1) -> str:
    """Give a share as percent, a dash where there is none; number and sign stay on one line.

    >>> percent(0.8252).replace(_NO_BREAK, " ")
    '82.5 %'
    """
    return MISSING if share is None else f"{100 * share:.{digits}f}{_NO_BREAK}%"


def percent_range(interval: tuple[float, float] | None, digits: int = 1) -> str:
    """Give an interval of shares as ``78.3–86.1 %``, a dash where there is none."""
    if interval is None:
        return MISSING
    low, high = interval
    return f"{100 * low:.{digits}f}–{100 * high:.{digits}f}{_NO_BREAK}%"


def number(value: float | None, digits: int = 3) -> str:
    """Give a plain number with fixed digits, a dash where there is none."""
    return MISSING if value is None else f"{value:.{digits}f}"


def short(value: float) -> str:
    """Give a number with as few digits as tell it apart: axis labels, learning rates.

    >>> short(0.30000000000000004), short(1e-05), short(1200.0)
    ('0.3', '1e-5', '1200')
    """
    text = f"{value:.4g}"
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    return f"{mantissa}e{int(exponent)}"


def amount(n: int, singular: str, plural: str | None = None) -> str:
    """Give a count with its noun.

    >>> amount(1, "photo"), amount(7500, "photo"), amount(0, "class", "classes")
    ('1 photo', '7,500 photos', '0 classes')
    """
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def listing(names: Sequence[str]) -> str:
    """Join names as prose.

    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def duration(seconds: float) -> str:
    """Give a duration in the two units that matter.

    >>> duration(8.21), duration(75), duration(7384)
    ('8.2 s', '1 min 15 s', '2 h 3 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def date(iso: str) -> str:
    """Give an ISO 8601 moment as ``3 May 2025, 14:05 UTC``; other text comes back unchanged."""
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC)
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment:%Y, %H:%M} UTC"


def finite(value: object) -> float | None:
    """Give a JSON number as float; None for null, NaN, infinity and what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def augmentation(settings: Mapping[str, object]) -> str:
    """What is done to training photos, from the settings of a policy; what is not is not listed."""
    changes = [_change(key, value) for key, value in settings.items()]
    return ", ".join(change for change in changes if change) or "none"


def _change(name: str, value: object) -> str:
    words = name.replace("_", " ")
    if value is True:
        return words
    amount_ = finite(value)
    if not value or (amount_ is None and name != "crop"):
        return f"filled by {value}" if name == "fill" and value != "reflect" else ""
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return f"{words} to {percent(value[0], 0)} to {percent(value[1], 0)} of the area"
    if amount_ is None:
        return ""
    if name in ("rotation", "shear", "hue"):
        return f"{words} up to {short(amount_)}°"
    if name in ("mixup", "cutmix"):
        return f"{words} with alpha {short(amount_)}"
    if name in ("grey", "erase"):
        return f"{words} {percent(amount_, 0)} of photos"
    return f"{words} up to {percent(amount_, 0)}"
