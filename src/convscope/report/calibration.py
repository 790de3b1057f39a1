"""Whether the stated probabilities can be believed: the reliability diagram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convscope.report.words import amount, percent
from convscope.run import Predictions

N_BINS = 10
WIDTH, HEIGHT = 400.0, 330.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 388.0, 40.0, 286.0


@dataclass(frozen=True)
class Bin:
    """Photos whose stated probability lies in ``(low, high]``.

    ``confidence`` and ``accuracy`` are means over the ``n`` photos, None where there are none.
    """

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Bar:
    """One bin on the page, in drawing units."""

    left: float
    width: float
    middle: float
    top: float
    height: float
    dot: float
    n: int
    tip: str


@dataclass(frozen=True)
class Reliability:
    """The reliability diagram of one split, ready to be written as SVG."""

    bars: tuple[Bar, ...]
    ticks_x: tuple[tuple[float, str], ...]
    ticks_y: tuple[tuple[float, str], ...]
    description: str
    rows: tuple[tuple[str, str, str, str], ...]
    width: float = WIDTH
    height: float = HEIGHT
    left: float = _LEFT
    right: float = _RIGHT
    top: float = _TOP
    bottom: float = _BOTTOM


def reliability_bins(predictions: Predictions, split: str, n_bins: int = N_BINS) -> tuple[Bin, ...]:
    """Group the photos of a split by the probability of the predicted class.

    Parameters
    ----------
    predictions : Predictions
    split : str
    n_bins : int
        Bins of equal width over (0, 1], each closed at its upper end.

    Returns
    -------
    tuple of Bin
        Always ``n_bins`` of them; empty where the split has no photo.
    """
    rows = np.array([name == split for name in predictions.splits], dtype=bool)
    if not rows.any():
        return ()
    # float32 writes 0.3 as 0.30000001: rounded, so that it falls on its bin's edge.
    stated = predictions.probabilities[rows].max(axis=1).astype(np.float64).round(6)
    names = np.array(predictions.classes, dtype=object)
    said = names[predictions.probabilities[rows].argmax(axis=1)]
    right = said == np.array(predictions.labels, dtype=object)[rows]
    place = np.clip(np.ceil(stated * n_bins - 1e-9).astype(int) - 1, 0, n_bins - 1)
    bins = []
    for i in range(n_bins):
        inside = place == i
        n = int(inside.sum())
        bins.append(
            Bin(
                low=i / n_bins,
                high=(i + 1) / n_bins,
                n=n,
                confidence=float(stated[inside].mean()) if n else None,
                accuracy=float(right[inside].mean()) if n else None,
            )
        )
    return tuple(bins)


def reliability(bins: tuple[Bin, ...]) -> Reliability | None:
    """Lay the bins out; None where there are none."""
    if not bins:
        return None
    step = (_RIGHT - _LEFT) / len(bins)

    def place_y(share: float) -> float:
        return round(_BOTTOM - share * (_BOTTOM - _TOP), 2)

    bars = []
    rows = []
    for i, group in enumerate(bins):
        if group.accuracy is None or group.confidence is None:
            continue
        span = f"{100 * group.low:.0f}–{100 * group.high:.0f} %"
        top = place_y(group.accuracy)
        bars.append(
            Bar(
                left=round(_LEFT + i * step + 2, 2),
                width=round(step - 4, 2),
                middle=round(_LEFT + (i + 0.5) * step, 2),
                top=top,
                height=round(_BOTTOM - top, 2),
                dot=place_y(group.confidence),
                n=group.n,
                tip=f"said {percent(group.confidence)} on average, right in "
                f"{percent(group.accuracy)} ({amount(group.n, 'photo')})",
            )
        )
        rows.append((span, f"{group.n:,}", percent(group.confidence), percent(group.accuracy)))
    marks = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    return Reliability(
        bars=tuple(bars),
        ticks_x=tuple((round(_LEFT + m * (_RIGHT - _LEFT), 2), f"{100 * m:.0f}") for m in marks),
        ticks_y=tuple((place_y(m), f"{100 * m:.0f} %") for m in marks),
        description="Share named correctly by stated probability: "
        + "; ".join(f"{span}: {right} of {n}" for span, n, _, right in rows)
        + ".",
        rows=tuple(rows),
    )
