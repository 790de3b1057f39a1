"""``lesson``: the worked examples, step by step."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from convscope.cli.shared import Json, Seed, app
from convscope.errors import InputError


@app.command(epilog="Example: convscope lesson convolution")
def lesson(
    name: Annotated[
        str | None, typer.Argument(help="Which; without, they are listed.", show_default=False)
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            help="Write it as a page instead (FILE.html); without a name all of them, into a "
            "folder.",
            show_default=False,
        ),
    ] = None,
    all_steps: Annotated[
        bool, typer.Option("--all", help="Do not wait between two steps.")
    ] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """The worked examples of convolutional networks, computed and shown step by step."""
    from convscope.lessons.catalog import LESSONS, load
    from convscope.lessons.terminal import list_lessons, tell
    from convscope.tables import print_json

    del seed  # every lesson has its own, so that its page and its terminal say the same
    if page is not None:
        from convscope.lessons.page import write_all, write_page

        if page.is_dir() and name is not None:
            raise InputError(f"--page {page} is a folder. Give a file, such as {page / name}.html.")
        if page.is_file() and name is None:
            raise InputError(
                f"--page {page} is a file. Give a folder for the pages of all lessons."
            )
        written = write_all(page) if name is None else write_page(load(name), page)
        if json:
            print_json({"page": str(written)}, sys.stdout)
        else:
            Console().print(f"page: {written}", markup=False, highlight=False, soft_wrap=True)
    elif name is None:
        if json:
            print_json(
                [{"name": each, "about": about} for each, about in LESSONS.items()], sys.stdout
            )
        else:
            list_lessons(Console())
    elif json:
        print_json(load(name).data, sys.stdout)
    else:
        waiting = sys.stdin.isatty() and sys.stdout.isatty() and not all_steps
        tell(load(name), Console(), _go_on if waiting else None)


def _go_on() -> bool:
    """Whether the reader wants the next step."""
    try:
        return input("Enter: next step, q: stop ").strip().lower() not in ("q", "quit")
    except EOFError:
        return False
