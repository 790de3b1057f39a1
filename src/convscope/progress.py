"""Progress and messages for whoever watches: on stderr, or nowhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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

from convscope.files import write_json

# Environment variable: a file into which a command writes how far it is.
PROGRESS_FILE = "CONVSCOPE_PROGRESS"
# Seconds between two writings of it, and lines that it keeps.
_PAUSE, _LINES = 0.2, 60


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


class ProgressFile(Progress):
    """How far the work is, as JSON that other programs can read at any moment.

    ``{"bars": [{"what", "done", "total", "unit"}], "lines": [...]}``, the innermost bar last;
    always a whole document.

    Parameters
    ----------
    file : Path
    """

    def __init__(self, file: Path) -> None:
        super().__init__(None)
        self.file = file
        self._bars: list[dict[str, Any]] = []
        self._lines: list[str] = []
        self._written = 0.0
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """One line; written at once."""
        with self._lock:
            self._lines = [*self._lines, text][-_LINES:]
            self._write()

    @contextmanager
    def bar(self, what: str, total: int, unit: str) -> Iterator[Callable[[int, str | None], None]]:
        """As of :class:`Progress`."""
        bar: dict[str, Any] = {"what": what, "done": 0, "total": total, "unit": unit}

        def update(more: int, text: str | None) -> None:
            with self._lock:
                bar["done"] += more
                if text is not None:
                    bar["what"] = text
                if time.monotonic() - self._written > _PAUSE:
                    self._write()

        with self._lock:
            self._bars.append(bar)
            self._write()
        try:
            yield update
        finally:
            with self._lock:
                self._bars.remove(bar)
                self._write()

    def _write(self) -> None:
        write_json(self.file, {"bars": self._bars, "lines": self._lines})
        self._written = time.monotonic()
