"""A lesson in the terminal: one step after the other."""

from __future__ import annotations

import math
from collections.abc import Callable

from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from convscope.lessons.catalog import LESSONS
from convscope.lessons.lesson import Grid, Lesson, Step, number

# Told by the reader: go on, or stop here.
Asked = Callable[[], bool]


def list_lessons(console: Console) -> None:
    """The names, and what each is about."""
    table = Table(title="lessons", title_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("about")
    for name, about in LESSONS.items():
        table.add_row(name, about)
    console.print(table)
    console.print("convscope lesson NAME steps through one; --page FILE.html writes it as a page.")


def tell(lesson: Lesson, console: Console, go_on: Asked | None = None) -> None:
    """Print the steps.

    Parameters
    ----------
    lesson : Lesson
    console : rich.console.Console
    go_on : callable, optional
        Called between two steps; False ends the lesson. None prints all of it.
    """
    console.print(Text(lesson.title, style="bold"))
    console.print(Text(lesson.summary))
    for index, step in enumerate(lesson.steps):
        if index and go_on is not None and not go_on():
            return
        _print_step(step, index, len(lesson.steps), console)


def _print_step(step: Step, index: int, steps: int, console: Console) -> None:
    heading = Text(f"\n{index + 1} of {steps}  ", style="dim")
    console.print(heading.append(step.title, style="bold not dim"))
    if step.grids:
        console.print(Columns([_table(each) for each in step.grids], padding=(0, 3)))
    console.print(Text(step.text))


def _table(shown: Grid) -> Table:
    table = Table(
        title=shown.caption, title_justify="left", show_header=False, box=None, padding=(0, 1),
        title_style="dim",
    )  # fmt: skip
    for _ in shown.rows[0] if shown.rows else ():
        table.add_column(justify="right", no_wrap=True)
    for r, row in enumerate(shown.rows):
        table.add_row(*(_cell(value, (r, c) in shown.marked) for c, value in enumerate(row)))
    return table


def _cell(value: float, marked: bool) -> Text:
    if math.isnan(value):  # still to come
        return Text("·", style="dim")
    # Brackets, too: colour alone is nothing to some readers, and not in a file.
    return (
        Text(f"[{number(value)}]", style="bold reverse") if marked else Text(f" {number(value)} ")
    )
