"""A lesson as a page: one HTML file that needs nothing else, and an index of all of them."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from convscope.files import write_bytes
from convscope.lessons.catalog import LESSONS, load
from convscope.lessons.lesson import Lesson
from convscope.report.rendering import environment, hashed, style


def render(lesson: Lesson, *, siblings: bool = False) -> str:
    """Give the page's HTML.

    Parameters
    ----------
    lesson : Lesson
        Its body and its script are ``pages/NAME.html`` and ``pages/NAME.js``.
    siblings : bool
        Link to the pages of the other lessons, beside this one.
    """
    # One script: what all lessons share, then the lesson's own.
    script, script_hash = hashed(f"{_text('shared.js')}\n{_text(f'{lesson.name}.js')}")
    data = json.dumps(lesson.data, separators=(",", ":"), allow_nan=False)
    names = list(LESSONS)
    at = names.index(lesson.name)
    return environment("convscope.lessons", "pages").get_template("page.html").render(
        lesson=lesson,
        body=f"{lesson.name}.html",
        style=style() + Markup(_text("lesson.css")),
        script=script,
        script_hash=script_hash,
        # Nothing that could end the element it stands in.
        data=Markup(data.replace("<", "\\u003c")),
        place=(at + 1, len(names)),
        before=names[at - 1] if siblings and at else None,
        after=names[at + 1] if siblings and at + 1 < len(names) else None,
        siblings=siblings,
    )  # fmt: skip


def write_page(lesson: Lesson, out: Path) -> Path:
    """Write one lesson's page; whole, or not at all."""
    write_bytes(out, render(lesson).encode("utf-8"))
    return out


def write_all(folder: Path) -> Path:
    """Write every lesson's page, and ``index.html``, whose path is given back."""
    lessons = [load(name) for name in LESSONS]
    for lesson in lessons:
        page = render(lesson, siblings=True)
        write_bytes(folder / f"{lesson.name}.html", page.encode("utf-8"))
    index = environment("convscope.lessons", "pages").get_template("index.html").render(
        lessons=lessons, style=style() + Markup(_text("lesson.css"))
    )  # fmt: skip
    write_bytes(folder / "index.html", index.encode("utf-8"))
    return folder / "index.html"


def _text(name: str) -> str:
    return files("convscope.lessons").joinpath("pages", name).read_text(encoding="utf-8")
