"""The page of a comparison: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from convscope.comparing.ladder import RUNGS
from convscope.comparing.result import Comparison, Score
from convscope.comparing.story import cautions, milestones, p_value, points, story, title
from convscope.data.folder import SPLITS
from convscope.report import words
from convscope.report.chart import Chart, Series, Tick, line_chart
from convscope.report.pages import COMPARE, json_values, render_page

# CSS classes of the lines.
_STYLES = {"fcnn": "pixels", "cnn": "plain-cnn", "cnn+standard": "cnn", "finetune": "tuned"}
_SPLIT_WORDS = {"train": "training", "valid": "validation", "test": "test"}
# Closer labels under the axis would touch, in drawing units.
_APART = 34


def page_content(found: Comparison) -> dict[str, Any]:
    """Compute everything the page shows; JSON values.

    Parameters
    ----------
    found : Comparison
    """
    names = milestones(found)
    by_name = {score.rung: score for score in found.ladder}
    counts = {name: sum(found.counts[name].values()) for name in SPLITS}
    shown: dict[str, Any] = json_values({
        "found": {**found.to_dict(), "sizes": found.sizes},
        "first": by_name[names[0]],
        "last": by_name[names[-1]],
        "first_title": title(found, names[0]),
        "last_title": title(found, names[-1]),
        "told": story(found),
        "cautions": cautions(found),
        "rows": [_row(found, score) for score in found.ladder],
        "extra": _extra(found),
        "chart": learning_chart(found),
        "curve": [
            (score.title, [found.score(score.rung, size) for size in found.sizes])
            for score in found.ladder
        ],
        "best_titles": {size: RUNGS[name].title for size, name in found.best_heads.items()},
        "about": [(score.title, RUNGS[score.rung].about) for score in found.ladder],
        "settings": [
            (score.title, [_settings(one) for one in score.settings])
            for score in found.ladder
            if any(score.settings)
        ],
        "counts": counts,
        "split_words": _SPLIT_WORDS,
        "transfers": found.net is not None,
    })  # fmt: skip
    return shown


def render(found: Comparison) -> str:
    """Give the page's HTML.

    Parameters
    ----------
    found : Comparison
    """
    return render_page(COMPARE, page_content(found))


def _row(found: Comparison, score: Score) -> dict[str, Any]:
    step = found.step_to(score.rung)
    return {
        "score": score,
        "title": score.title,
        "best": score.rung == found.best_heads.get("all"),
        "step": None if step is None else points(step.difference, signed=True),
        "step_95": None if step is None else _range(step.difference_95),
        "p": None if step is None else p_value(step.p).removeprefix("p = ").removeprefix("p "),
        "shown": step is not None and step.shown,
    }


def _range(interval: tuple[float, float]) -> str:
    low, high = (points(end, signed=True).split()[0] for end in interval)
    return f"{low} to {high}"


def _extra(found: Comparison) -> str:
    """The step that no two neighbours make: from networks from scratch to the best classifier."""
    names = [score.rung for score in found.ladder]
    pairs = set(pairwise(names))
    for step in found.steps:
        if (step.lower, step.upper) not in pairs:
            return (
                f"From {RUNGS[step.lower].title} straight to {RUNGS[step.upper].title}: "
                f"{points(step.difference, signed=True)} "
                f"({_range(step.difference_95)}), {p_value(step.p)}."
            )
    return ""


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_value(v)}" for key, v in settings.items()) or "–"


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " and ".join(map(_value, value))
    return words.short(value) if isinstance(value, float) else str(value)


def learning_chart(found: Comparison) -> Chart | None:
    """Accuracy against training photos per class, one line per milestone; None for one size.

    Parameters
    ----------
    found : Comparison
    """
    if len(found.sizes) < 2:
        return None
    names = milestones(found)
    everything = found.ladder[0].photos / len(found.classes)
    numbers = [float(size) for size in found.sizes[:-1]]
    # Where classes are of very different sizes, the mean may lie below the largest size asked.
    numbers.append(max(everything, numbers[-1] * 1.05))
    lines = []
    for name in names:
        heads = RUNGS[name].kind == "features"
        rungs = [found.best_heads[size] if heads else name for size in found.sizes]
        lines.append(
            Series(
                "features + best classifier" if heads else title(found, name),
                "heads" if heads else _STYLES[name],
                tuple(
                    found.score(rung, size).accuracy
                    for rung, size in zip(rungs, found.sizes, strict=True)
                ),
            )
        )
    chart = line_chart(
        "Test photos named rightly",
        f"training photos per class (all: {words.short(round(everything))} on average)",
        numbers,
        lines,
        x_word="training photos per class:",
        log_x=True,
        as_percent=True,
    )
    if chart is None:
        return None
    end = chart.hits[-1].middle
    ticks = [tick for tick in chart.x_ticks if tick.at < end - _APART]
    return replace(chart, x_ticks=(*ticks, Tick(end, "all")))
