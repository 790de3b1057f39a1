"""The made parts of docs/commands: what a command prints, and the table of its options.

In a page, what stands between one of these marks and ``<!-- end -->`` is made:

    <!-- run convscope check photos -->       what the command prints, on both streams
    <!-- run 2 convscope check nowhere -->    the same, of a command that must end with exit code 2
    <!-- json convscope check photos -->      its --json, long lists cut short
    <!-- json shortcuts/audit.json -->        a file that a command on this page has written
    <!-- options check -->                    the options, as Typer has them
    <!-- commands -->                         all commands, as Typer has them

    python docs/make_commands.py                 run everything, write what it gives
    python docs/make_commands.py --only check    of these pages alone (and what they need)
    python docs/make_commands.py --tables        run nothing; options and list of commands

Commands run in an empty folder, on 500 photos that convscope draws and a series that is computed.
A command without a page gets one. Times and what depends on the machine differ from run to run, so
only the tables can be out of date; a test holds them against Typer.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import typing
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import typer.main

from convscope.cli import app

FOLDER = Path(__file__).resolve().parent / "commands"
SOURCE = FOLDER.parents[1] / "src"
WEIGHTS = Path(__file__).resolve().parents[2] / "shared/weights"
WEIGHTS_FILE = "mobilenet_v2_imagenet_1000.safetensors"
WIDTH = 80
# What later pages need is made by earlier ones.
FIRST = ("check", "fit", "predict", "forecast-fit")
_MADE = re.compile(r"<!-- (run|json|options|commands)( [^>]+)? -->\n.*?<!-- end -->", re.DOTALL)
# A bar that is left standing when the work is done.
_BAR = re.compile(r"━+ +\d+%|^training, epoch \d+:|\d% +-:--:--")
_LONGEST_LIST = 2
_LONGEST_OUTPUT = 60
_LONGEST_JSON = 48


# What Typer says


def commands() -> dict[str, Any]:
    """Name, with that of its group -> Typer's command."""

    def walk(group: Any, above: str) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            if getattr(command, "hidden", False):
                continue
            if getattr(command, "commands", None):
                yield from walk(command, f"{above}{name} ")
            else:
                yield f"{above}{name}", command

    return dict(walk(typer.main.get_command(app), ""))


def options(name: str) -> str:
    """The table of a command's options."""
    command = commands()[name]
    hints = typing.get_type_hints(command.callback, include_extras=True)
    rows = ['<div class="options" markdown>\n', "| | | default |", "|---|---|---|"]
    for parameter in command.params:
        if "--help" in parameter.opts:
            continue
        rows.append(f"| `{_name(parameter)}` | {_help(parameter, hints)} | {_default(parameter)} |")
    return "\n".join([*rows, "\n</div>"])


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        many = " ..." if parameter.nargs == -1 else ""
        return (parameter.metavar or parameter.name).upper() + many
    if parameter.is_flag:
        return " / ".join([*parameter.opts, *parameter.secondary_opts])
    value = parameter.metavar or parameter.opts[0].lstrip("-").upper()
    many = " ..." if parameter.multiple else ""
    return f"{parameter.opts[0]} {value}{many}"


def _help(parameter: Any, hints: dict[str, Any]) -> str:
    text = " ".join((parameter.help or "").split())
    kind, *notes = typing.get_args(hints[parameter.name]) or (hints[parameter.name],)
    if typing.get_origin(kind) is typing.Literal:
        text += f" One of: {', '.join(map(str, typing.get_args(kind)))}."
    for note in notes:
        least, most = getattr(note, "min", None), getattr(note, "max", None)
        if most is not None:
            text += f" {least} to {most}."
        elif least is not None:
            text += f" {least} or more."
    for sign in ("|", "<", "[", "*", "_"):
        text = text.replace(sign, f"\\{sign}")
    return text


def _default(parameter: Any) -> str:
    if parameter.required:
        return "needed"
    value = parameter.default
    if value is None or value is False or value == ():
        return ""
    if value is True:
        return f"`{parameter.opts[0]}`"
    return f"`{value}`"


def all_commands() -> str:
    """The table of all commands."""
    rows = ["| | |", "|---|---|"]
    for name, command in commands().items():
        rows.append(f"| [`{name}`]({file_name(name)}) | {command.help.splitlines()[0]} |")
    return "\n".join(rows)


def file_name(name: str) -> str:
    """Of a command's page."""
    return f"{name.replace(' ', '-')}.md"


def new_page(name: str) -> str:
    """The page of a command that has none: what Typer knows of it."""
    command = commands()[name]
    example = (command.epilog or "").removeprefix("Example: ")
    shown = f"    {example}\n\n" if example else ""
    table = f"<!-- options {name} -->\n<!-- end -->"
    return f"# {name}\n\n{command.help}\n\n{shown}## Options\n\n{table}\n"


# What runs


def set_up(weights: Path) -> None:
    """Photos, photos with faults, photos with a shortcut, and a series, in the present folder."""
    from convscope.demo.photos import Shortcut, write_photos

    write_photos(Path("photos"), seed=0)
    shutil.copytree("photos", "messy")
    shutil.rmtree("messy/.masks", ignore_errors=True)
    label, other = sorted(one.name for one in Path("messy/train").iterdir())[:2]
    photo, *_ = sorted(Path("messy/train", label).iterdir())
    shutil.copy(photo, Path("messy/test", label, "holiday.jpg"))
    shutil.copy(photo, Path("messy/train", other, "again.jpg"))
    Path("messy/train", label, "cut.jpg").write_bytes(photo.read_bytes()[:3000])
    Path("messy/train", label, "empty.jpg").touch()
    Path("new").mkdir()
    for one in sorted(Path("photos/test").iterdir()):
        shutil.copy(sorted(one.iterdir())[0], Path("new", f"{one.name}.jpg"))
    write_photos(Path("snowy"), seed=0, shortcut=Shortcut("bird", splits=("train", "valid")))
    Path("power.csv").write_text(series(), encoding="utf-8")
    if weights.is_file():
        shutil.copy(weights, "mobilenet_v2.safetensors")


def series() -> str:
    """Sixty days of an hourly load: a level, a day, a week, and noise."""
    import numpy as np

    noise = np.random.default_rng(0).normal(0, 2, 60 * 24)
    rows = ["date,load"]
    for hour, more in enumerate(noise):
        day = 20 * math.sin(2 * math.pi * (hour - 8) / 24)
        week = 10 if hour // 24 % 7 < 5 else 0
        stamp = datetime(2024, 1, 1) + timedelta(hours=hour)
        rows.append(f"{stamp:%Y-%m-%d %H:%M},{100 + day + week + more:.1f}")
    return "\n".join(rows) + "\n"


def run(line: str, *, both: bool = True) -> tuple[int, str]:
    """Exit code and output of a command."""
    start = "import sys; sys.argv[0] = 'convscope'; from convscope.cli import main; main()"
    print(f"  {line}", file=sys.stderr)
    plain = {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "dumb", "PYTHONPATH": str(SOURCE)}
    ended = subprocess.run(
        [sys.executable, "-c", start, *shlex.split(line)[1:]],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT if both else subprocess.DEVNULL,
        text=True, check=False, env=os.environ | plain,
    )  # fmt: skip
    lines = (line.rstrip() for line in ended.stdout.rstrip().splitlines())
    return ended.returncode, "\n".join(line for line in lines if not _BAR.search(line))


def printed(said: str) -> str:
    """A command and what it prints, as a terminal shows it."""
    first, _, rest = said.partition(" ")
    expected, line = (int(first), rest) if first.isdecimal() else (0, said)
    code, output = run(line)
    if code != expected:
        sys.exit(f"{line}: exit code {code}, expected {expected}\n{output}")
    lines = output.splitlines()
    if len(lines) > _LONGEST_OUTPUT:
        lines[_LONGEST_OUTPUT:] = [f"... ({len(lines) - _LONGEST_OUTPUT} more lines)"]
    ending = ["$ echo $?", str(code)] if code else []
    return "\n".join(["```console", f"$ {line}", *lines, *ending, "```"])


def machine_readable(line: str) -> str:
    """What ``--json`` gives, or what stands in a file that is named; long lists cut short."""
    file = line.endswith(".json")
    code, output = (0, Path(line).read_text("utf-8")) if file else run(f"{line} --json", both=False)
    if code:
        sys.exit(f"{line} --json: exit code {code}")
    text = json.dumps(shortened(json.loads(output)), indent=2, ensure_ascii=False)
    text = re.sub(r'"…(\d+)"', r"... \1 more", text)
    # Short lists and objects on one line.
    flat = re.compile(r"[\[{]\s+([^\[\]{}]*?)\s+[\]}]")
    for _ in range(2):
        text = flat.sub(_on_one_line, text)
    lines = text.splitlines()
    if len(lines) > _LONGEST_JSON:
        lines[_LONGEST_JSON:] = [f"... {len(lines) - _LONGEST_JSON} more lines"]
    return "\n".join(["```js", *lines, "```"])


def _on_one_line(found: re.Match[str]) -> str:
    whole = " ".join(found[0].split())
    whole = re.sub(r"^([\[{]) | ([\]}])$", r"\1\2", whole)
    return whole if len(whole) <= WIDTH - 10 else found[0]


def shortened(content: Any) -> Any:
    """JSON with the first of every long list, and numbers with four digits."""
    if isinstance(content, float):
        return float(f"{content:.4g}")
    if isinstance(content, list):
        most = _LONGEST_LIST if any(isinstance(x, list | dict) for x in content) else 6
        most = 1 if any(isinstance(x, dict) for x in content) else most
        kept = [shortened(one) for one in content[:most]]
        return kept if len(content) <= most else [*kept, f"…{len(content) - most}"]
    if isinstance(content, dict):
        return {key: shortened(value) for key, value in content.items()}
    return content


def remade(text: str, *, tables: bool) -> str:
    """A page with its made parts as they are today."""
    makers: dict[str, Callable[[str], str]] = {"options": options}
    makers["commands"] = lambda _: all_commands()
    if not tables:
        makers |= {"run": cache(printed), "json": machine_readable}

    def make(found: re.Match[str]) -> str:
        kind, said = found[1], (found[2] or "").strip()
        if kind not in makers:
            return found[0]
        start = found[0].split("\n", 1)[0]
        return f"{start}\n{makers[kind](said)}\n<!-- end -->"

    return _MADE.sub(make, text)


def pages() -> list[Path]:
    """Every page, in the order in which they are made."""
    first = [FOLDER / f"{name}.md" for name in FIRST]
    return first + [page for page in sorted(FOLDER.glob("*.md")) if page not in first]


def differing() -> Iterator[Path]:
    """Every page whose tables are out of date, and every one that is lacking."""
    for name in commands():
        if not (page := FOLDER / file_name(name)).exists():
            yield page
    for page in pages():
        if page.exists() and remade(text := page.read_text("utf-8"), tables=True) != text:
            yield page


def main() -> None:
    """Write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", action="store_true", help="run nothing")
    parser.add_argument("--only", nargs="+", metavar="PAGE", help="these pages, such as fit")
    parser.add_argument("--weights", type=Path, default=WEIGHTS / WEIGHTS_FILE, help="MobileNetV2")
    asked = parser.parse_args()
    for name in commands():
        if not (page := FOLDER / file_name(name)).exists():
            page.write_text(new_page(name), encoding="utf-8")
    with tempfile.TemporaryDirectory() as work:
        if not asked.tables:
            os.chdir(work)
            set_up(asked.weights)
        for page in pages():
            wanted = asked.only is None or page.stem in asked.only
            if not wanted and (asked.tables or page.stem not in FIRST):
                continue
            new = remade(old := page.read_text("utf-8"), tables=asked.tables)
            if wanted and new != old:
                page.write_text(new, encoding="utf-8")
                print(f"written: {page.name}")
        os.chdir(FOLDER)


if __name__ == "__main__":
    main()
