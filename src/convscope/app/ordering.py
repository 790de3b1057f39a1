"""From what a user asks for to a job: the command, and the item that it will fill."""

from __future__ import annotations

from convscope.app.asking import Asked, Audit, Check, Demo, Fit, Forecast, Neurons, Report
from convscope.app.items import Item, Items
from convscope.app.jobs import Job, Jobs
from convscope.app.limits import Limits
from convscope.app.queue import Queue
from convscope.app.receiving import UNFINISHED, TooMuchError
from convscope.app.users import User
from convscope.app.views import photos_of, table_file
from convscope.errors import InputError
from convscope.run import Run


def order(user: User, asked: Asked, queue: Queue, limits: Limits) -> Job:
    """Put a job into the queue.

    Raises
    ------
    InputError
        What it is to work on is not there.
    TooMuchError
        Too many are waiting.
    """
    items, jobs = Items(user), Jobs(user)
    if sum(job.status == "waiting" for job in jobs.all()) >= limits.waiting:
        raise TooMuchError(f"{limits.waiting} jobs are waiting already. Wait, or cancel some.")
    job = _job(items, jobs, asked)
    queue.add(user, job)
    return job


def _job(items: Items, jobs: Jobs, asked: Asked) -> Job:
    if isinstance(asked, Demo):
        name = "Demo: five clay creatures" + (", one before snow" if asked.shortcut else "")
        item = items.add("photos", name)
        words = asked.command(items.content(item))
        return jobs.add(asked, "Drawing the demo's photos", words, about=item.id, makes=item.id)
    if isinstance(asked, Check):
        item = items.get(asked.item, "photos")
        words = asked.command(items.content(item))
        output = items.folder(item) / "check.json"
        return jobs.add(asked, f"Checking {item.name}", words, about=item.id, output=output)
    if isinstance(asked, Fit):
        item = items.get(asked.item, "photos")
        _require_whole(items, item)
        made = items.add("run", _unlike(items, f"{item.name}, {asked.strategy}"), source=item.id)
        words = asked.command(items.content(item), items.content(made))
        return jobs.add(asked, f"Training on {item.name}", words, about=made.id, makes=made.id)
    if isinstance(asked, Forecast):
        item = items.get(asked.item, "table")
        name = _unlike(items, f"{item.name}: {', '.join(asked.target)}"[:180])
        made = items.add("forecast", name, source=item.id)
        words = asked.command(table_file(items, item), items.content(made))
        return jobs.add(asked, f"Forecasting {item.name}", words, about=made.id, makes=made.id)
    return _on_run(items, jobs, asked)


def _on_run(items: Items, jobs: Jobs, asked: Neurons | Audit | Report) -> Job:
    item = items.get(asked.item, "run")
    run = items.content(item)
    photos = photos_of(Run(run))
    if not photos.exists():
        raise InputError(f"The photos of {item.name} are no longer where they were.")
    if isinstance(asked, Report):
        if item.place is not None:
            raise InputError("This run was given to look at: nothing is written into it.")
        words = asked.command(run, photos)
        return jobs.add(asked, f"The report of {item.name}", words, about=item.id)
    # Beside a run that was only given to look at; else in it, where its report finds them.
    out = (items.folder(item) if item.place else run) / asked.kind
    words = asked.command(run, photos, out)
    what = "The neurons of" if isinstance(asked, Neurons) else "Shortcuts of"
    return jobs.add(asked, f"{what} {item.name}", words, about=item.id)


def _require_whole(items: Items, item: Item) -> None:
    if (items.folder(item) / UNFINISHED).exists() or not items.content(item).exists():
        raise InputError(f"{item.name} is not complete yet.")


def _unlike(items: Items, name: str) -> str:
    """The name, with a number where there is one of it already."""
    names = {item.name for item in items.all()}
    number = next(n for n in range(1, len(names) + 2) if _numbered(name, n) not in names)
    return _numbered(name, number)


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name} ({number})"
