"""Progress and messages for whoever watches: on stderr, or nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text


class _RateColumn(ProgressColumn):
    """Things per second, in the task's own unit."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        unit = task.fields.get("unit", "")
        return Text("" if speed is None else f"{speed:,.0f} {unit}/s", style="progress.data.speed")


class Progress:
    """What the work says while it goes on.

    Parameters
    ----------
    console : rich.console.Console, optional
        Where to write; None for silence.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console

    def say(self, text: str) -> None:
        """One line."""
        if self.console is not None:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def task(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """A bar with rate and time left, for as long as the context is open.

        Yields a function that takes how many more are done.
        """
        with self.bar(what, total, unit) as update:
            yield lambda more: update(more, None)

    @contextmanager
    def bar(self, what: str, total: int, unit: str) -> Iterator[Callable[[int, str | None], None]]:
        """As :meth:`task`; the function also takes a new description (None keeps the old)."""
        if self.console is None:
            yield lambda more, text: None
            return
        columns = (
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=16),
            TaskProgressColumn(),
            _RateColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        with RichProgress(*columns, console=self.console) as shown:
            task = shown.add_task(what, total=total, unit=unit)

            def update(more: int, text: str | None) -> None:
                shown.update(task, advance=more)
                if text is not None:
                    shown.update(task, description=text)

            yield update
