"""The first screen: how good, against what, on what, and what that means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from convscope.metrics import wilson
from convscope.report.scores import Scores, SplitScores
from convscope.report.words import (
    amount,
    augmentation,
    date,
    duration,
    percent,
    percent_range,
)
from convscope.run import RunInfo

SPLIT_WORDS = {"test": "test", "valid": "validation", "train": "training"}

_STRATEGIES = {
    "fcnn": "a fully connected network, trained from scratch on the pixels",
    "cnn": "a convolutional network, trained from scratch",
    "features": "a simple classifier on the features of a pre-trained network",
    "finetune": "a pre-trained network whose last stages were trained further",
}
_WIDE = 0.15
_WIDTH_GOAL = 0.10


@dataclass(frozen=True)
class CountRow:
    """Photos of one class: per split in the order of ``Headline.count_splits``, and together."""

    name: str
    counts: tuple[int, ...]
    total: int


@dataclass(frozen=True)
class Headline:
    """What the top of the page says.

    Attributes
    ----------
    split : str or None
        The split of the big figure: ``test``, else the best there is.
    figure, rest : str
        The accuracy, and how its sentence goes on.
    baseline : str or None
        What always naming the commonest class would reach.
    verdict : str
        What the interval means, one sentence.
    caveat : str
        Why the validation figures flatter.
    facts : tuple of (str, str)
        Label and text, in reading order.
    count_splits : tuple of str
    counts : tuple of CountRow
        Per class; the last row is the sum.
    n_photos : int
    """

    split: str | None
    figure: str
    rest: str
    baseline: str | None
    verdict: str
    caveat: str
    facts: tuple[tuple[str, str], ...]
    count_splits: tuple[str, ...]
    counts: tuple[CountRow, ...]
    n_photos: int


def headline(info: RunInfo, scores: Scores) -> Headline:
    """Compute what the top of the page says."""
    # What was learnt by heart is no measure: training photos make no headline.
    split = next((name for name in ("test", "valid") if name in scores.splits), None)
    best = scores.splits[split] if split else None
    count_splits, counts = _counts(info.photos.counts, info.classes)
    baseline = None
    if split == "test" and scores.baseline_class is not None:
        baseline = (
            f"Always answering “{scores.baseline_class}”, the commonest class in training, "
            f"would name {percent(scores.baseline_accuracy)} correctly."
        )
    return Headline(
        split=split,
        figure=percent(best.accuracy if best else None),
        rest=_rest(best),
        baseline=baseline,
        verdict=_verdict(best, scores.baseline_accuracy),
        caveat=_caveat(scores),
        facts=_facts(info, scores),
        count_splits=tuple(SPLIT_WORDS.get(name, name) for name in count_splits),
        counts=counts,
        n_photos=counts[-1].total,
    )


def _rest(best: SplitScores | None) -> str:
    if best is None:
        return "There is no measurement: no split had photos to predict."
    photos = amount(best.n, f"{SPLIT_WORDS[best.split]} photo")
    return f"of {photos} named correctly (95\u00a0% interval {percent_range(best.accuracy_95)})"


def _verdict(best: SplitScores | None, baseline: float | None) -> str:
    if best is None:
        return "Nothing can be said about new photos."
    if best.split != "test":
        return (
            f"There were no test photos; these {SPLIT_WORDS[best.split]} photos helped to make "
            "the classifier, so how well it does on new photos is not known."
        )
    if best.accuracy_95 is None:
        return "Without an interval nothing can be said about how far luck goes."
    low, high = best.accuracy_95
    text = (
        f"On many more photos like these, expect between {100 * low:.0f} and {100 * high:.0f} "
        "in 100 to be named correctly"
    )
    if baseline is not None:
        # Both figures are of a few photos: the baseline has an interval too.
        chance = wilson(round(baseline * best.n), best.n) or [baseline, baseline]
        if low > chance[1]:
            text += ": clearly better than always naming the commonest class"
        elif high < chance[0]:
            text += ": worse than always naming the commonest class"
        else:
            text += ": not surely better than always naming the commonest class"
    if high - low > _WIDE:
        # The width shrinks with the square root of n.
        needed = 10 * round(best.n * ((high - low) / _WIDTH_GOAL) ** 2 / 10)
        text += (
            f"; the range is wide because {amount(best.n, 'test photo')} "
            f"{'is' if best.n == 1 else 'are'} few (about {needed:,} would bring it to "
            f"{100 * _WIDTH_GOAL:.0f} points)"
        )
    return text + "."


def _caveat(scores: Scores) -> str:
    valid = scores.splits.get("valid")
    if valid is None:
        return (
            "There were no validation photos. Judge by the test figures."
            if "test" in scores.splits
            else ""
        )
    return (
        f"Validation figures (here {percent(valid.accuracy)} of {valid.n:,}) are no test: choices "
        "such as when to stop were made on those photos, so they look better than they are. "
        + ("Judge by the test figures." if "test" in scores.splits else "Keep some for a test.")
    )


def _counts(
    counts: Mapping[str, Mapping[str, int]], classes: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[CountRow, ...]]:
    order = [name for name in ("train", "valid", "test") if name in counts]
    order += [name for name in counts if name not in order]
    rows = []
    for label in classes:
        row = tuple(counts[name].get(label, 0) for name in order)
        rows.append(CountRow(label, row, sum(row)))
    sums = tuple(sum(row.counts[i] for row in rows) for i in range(len(order)))
    rows.append(CountRow("all classes", sums, sum(sums)))
    return tuple(order), tuple(rows)


def _facts(info: RunInfo, scores: Scores) -> tuple[tuple[str, str], ...]:
    weights = (
        f"{info.weights.source} (SHA-256 {info.weights.sha256[:12]}…)"
        if info.weights
        else "none: training began from random numbers"
    )
    spec = info.input
    photos = info.photos
    facts = [
        ("Way of training", f"{info.strategy}: {_STRATEGIES[info.strategy]}"),
        ("Why this way", " ".join(info.plan["reasons"]) if info.plan else info.reason),
        ("Network", info.net),
        ("Pre-trained weights", weights),
        (
            "Input",
            f"{spec.size} × {spec.size} pixels, cut from the middle of the photo "
            f"after its shorter side is made {spec.resize}",
        ),
        ("Augmentation", augmentation(info.augment or {})),
        ("Precision", f"{info.precision.mode} ({info.precision.dtype})"),
        ("Seed", str(info.seed)),
        ("Photos", f"{photos.root} ({photos.layout})"),
        ("Split", photos.split),
        ("Made on", date(info.created)),
    ]
    if scores.seconds is not None:
        facts.append(("Took", duration(scores.seconds)))
    facts.append(("Versions", ", ".join(f"{k} {v}" for k, v in info.versions.items())))
    facts.append(("Model file", f"SHA-256 {info.model_sha256[:12]}…"))
    return tuple(facts)
