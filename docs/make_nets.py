"""Tables and pictures of docs/nets, made by convscope itself.

In the pages, what stands between ``<!-- convscope ... -->`` and ``<!-- end -->`` is what that
command prints, 80 columns wide; ``<!-- fields -->`` is a table of all networks. Every picture
``images/NAME.svg`` that a page shows, where NAME is a network of the catalogue, is drawn.

    python docs/make_nets.py            write what is out of date
    python docs/make_nets.py --check    only say so: exit code 1 if something is

A picture counts as out of date if anything but its photo differs: another version of the library
that writes JPEGs writes other bytes.
"""

from __future__ import annotations

import argparse
import io
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from rich.console import Console

from convscope.describing import Description, describe
from convscope.field_picture import field_picture
from convscope.nets.catalog import NETS
from convscope.options import input_shape
from convscope.pictures.layers import choose
from convscope.tables import print_description, print_nets

NETS_FOLDER = Path(__file__).resolve().parent / "nets"
WIDTH = 80
_MADE = re.compile(r"<!-- (convscope [^>]+|fields) -->\n.*?<!-- end -->", re.DOTALL)
_PICTURE = re.compile(r"\]\(images/([a-z0-9_]+)\.svg\)")
_PHOTO = re.compile(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+")


def pages() -> list[Path]:
    """The pages, the index first."""
    return sorted(NETS_FOLDER.glob("*.md"), key=lambda page: (page.name != "README.md", page.name))


def remade(text: str) -> str:
    """A page with its made parts as they are today."""

    def make(found: re.Match[str]) -> str:
        command = found[1]
        inside = fields() if command == "fields" else f"```text\n{printed(command)}\n```"
        return f"<!-- {command} -->\n{inside}\n<!-- end -->"

    return _MADE.sub(make, text)


@cache
def described(name: str, shape: tuple[int, ...] | None = None) -> Description:
    """A network of the catalogue; traced once, however often it is asked for."""
    return describe(name, shape)


@cache
def printed(command: str) -> str:
    """What ``convscope describe ...`` or ``convscope nets`` prints."""
    parser = argparse.ArgumentParser(prog="convscope", exit_on_error=False)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("nets")
    describing = commands.add_parser("describe")
    describing.add_argument("net", choices=NETS)
    describing.add_argument("--depth", type=int)
    describing.add_argument("--input", type=input_shape)
    asked = parser.parse_args(shlex.split(command)[1:])
    stream = io.StringIO()
    console = Console(file=stream, width=WIDTH, color_system=None)
    if asked.command == "nets":
        print_nets(NETS.values(), console)
    else:
        found = described(asked.net, asked.input)
        print_description(found if asked.depth is None else found.folded(asked.depth), console)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())


@cache
def fields() -> str:
    """Of every network for photos how far its units see at the last, in Markdown."""
    rows = [
        "| net | input | last layer with a map | sees | jump | multiply-adds |",
        "|---|--:|---|--:|--:|--:|",
    ]
    for name, spec in NETS.items():
        shown = [] if spec.kind == "series" else choose(described(name).graph)
        even = [seen for seen in shown if None not in seen.jump]
        if not shown:
            continue
        last, where, jump = shown[-1], "none: all see the whole image", ""
        if even:
            last, where, jump = even[-1], f"`{even[-1].name}`", str(even[-1].jump[0])
        sees, work = last.size[0], _millions(name)
        rows.append(f"| {name} | {spec.size} | {where} | {sees} | {jump} | {work} |")
    return "\n".join(rows)


def _millions(name: str) -> str:
    """Three digits."""
    millions = described(name).macs / 1e6
    digits = max(0, 3 - len(str(int(millions))))
    return f"{millions:,.{digits}f} M"


def pictures() -> Iterator[tuple[Path, str]]:
    """Every picture that a page shows: its file, and the network's name."""
    shown = {name for page in pages() for name in _PICTURE.findall(page.read_text("utf-8"))}
    for name in sorted(shown & set(NETS)):
        yield NETS_FOLDER / "images" / f"{name}.svg", name


def without_photo(picture: str) -> str:
    """A picture's text but for the bytes of its photo."""
    return _PHOTO.sub("data:", picture)


def differing() -> Iterator[tuple[Path, str]]:
    """Every file that is out of date, and what it should be."""
    for page in pages():
        text = page.read_text("utf-8")
        if (new := remade(text)) != text:
            yield page, new
    for file, name in pictures():
        new = field_picture(described(name).graph, name=name)
        if not file.exists() or without_photo(file.read_text("utf-8")) != without_photo(new):
            yield file, new


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if needed")
    check = parser.parse_args().check
    stale = 0
    for file, new in differing():
        stale += 1
        print(f"{'out of date' if check else 'written'}: {file.relative_to(NETS_FOLDER.parent)}")
        if not check:
            file.parent.mkdir(exist_ok=True)
            file.write_text(new, encoding="utf-8")
    print(f"{stale} of docs/nets {'to be made anew' if check else 'made anew'}")
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
