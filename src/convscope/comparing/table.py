"""What ``convscope compare`` prints for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from convscope.comparing.result import Comparison
from convscope.comparing.story import cautions, points, story
from convscope.report.words import duration


def print_comparison(found: Comparison, console: Console) -> None:
    """The ladder, the learning curve, and what they say."""
    seeds = f"{len(found.seeds)} seed{'' if len(found.seeds) == 1 else 's'}"
    ladder = Table(title=f"{found.test_photos:,} test photos, {seeds}", title_justify="left")
    ladder.add_column("rung", overflow="fold")
    for name in ("accuracy", "95 % interval", "points up", "p (Holm)", "training"):
        ladder.add_column(name, justify="right", no_wrap=True)
    for score in found.ladder:
        low, high = score.accuracy_95
        step = found.step_to(score.rung)
        ladder.add_row(
            Text(score.title),
            f"{score.accuracy:.3f}",
            f"{low:.3f}-{high:.3f}",
            "" if step is None else points(step.difference, signed=True).split()[0],
            "" if step is None else _p(step.p),
            duration(score.seconds),
        )
    console.print(ladder)
    if len(found.sizes) > 1:
        curve = Table(title="accuracy by training photos per class", title_justify="left")
        curve.add_column("rung", overflow="fold")
        for size in found.sizes:
            curve.add_column(size, justify="right", no_wrap=True)
        for score in found.ladder:
            cells = [f"{found.score(score.rung, size).accuracy:.3f}" for size in found.sizes]
            curve.add_row(Text(score.title), *cells)
        console.print(curve)
    for sentence in (*story(found), *cautions(found)):
        console.print(Text(sentence), soft_wrap=True)


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
