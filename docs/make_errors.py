"""docs/errors.md: every message that a user can meet, read from the sources.

    python docs/make_errors.py            write it
    python docs/make_errors.py --check    write nothing: exit code 1 if it is out of date

How it is made: the sources are parsed, never imported. A message is the text of every call of
``ConvscopeError`` or a class below it, and of ``unknown_name`` and the command line's ``_fail``;
what is put into it at run time stands there as ``<name>``. Where the text is a constant or comes
from a function of the same module, that is looked up. Messages are grouped by the module they come
from,
under ``GROUPS``, which says what each group is about and what to do. A module that no group names
lands in the last one, so nothing is left out; a message whose text cannot be found is an error.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "convscope"
PAGE = ROOT / "docs" / "errors.md"
# Shorter strings in a helper are parts of messages ("up to", ", ").
_LEAST = 12

_HEAD = """# Errors

Every error is one line on standard error: what is wrong, what was given, what is allowed, the
nearest fix. Nothing half-written is left behind, and no traceback is shown.

| exit code | what happened | in Python |
|--:|---|---|
| 0 | done | |
| 1 | the work failed: a full disk, a lost connection, Ctrl-C | `ConvscopeError` |
| 2 | wrong usage or unusable input | `InputError`, which is a `ConvscopeError` |

Below stand all messages, by what they are about, each with the exit code of the command line.
`<...>` is what is put in: your file, your value. Search this page for a few words of yours. The
list is read from the sources (`python docs/make_errors.py`), and a test holds it against them.

*A name outside a fixed set* is always answered in the same way, with the nearest name and all
that are allowed:

    Unknown strategy 'feature'. Did you mean 'features'? Allowed: cnn, features.

*An option that does not exist*, a missing argument or a number outside its range is told by the
command line itself, in a box, with exit code 2; `convscope COMMAND --help` lists what there is.
"""


@dataclass(frozen=True)
class Group:
    """Messages of one kind: where they come from, what they mean, what to do."""

    title: str
    text: str
    modules: tuple[str, ...]


GROUPS = (
    Group(
        "Any command",
        "Stopped with Ctrl-C, out of memory, a place that cannot be written, or a fault of "
        "convscope's own. After Ctrl-C the work so far is kept where the message says so: go on"
        " with `--resume`. Of a fault, `CONVSCOPE_DEBUG=1` shows the traceback; please report "
        "it.",
        ("cli", "errors"),
    ),
    Group(
        "The place for results (`--out`)",
        "Nothing that exists is replaced unless you say so, and nothing that convscope did not "
        "write is ever replaced. Choose another place, or add `--overwrite`; after an "
        "interruption, `--resume`.",
        ("unfinished", "writing", "files"),
    ),
    Group(
        "Folders and tables of photos",
        "The folder or table does not have a layout that is understood: see [photos and "
        "tables](photos.md). The message names the first row or folder that is wrong.",
        ("data.folder", "data.checks", "data.survey", "data.pixels", "data.dataset", "data.split"),
    ),
    Group(
        "Single photos",
        "Such a file is left out and named; the work goes on with the others. `convscope check`"
        " lists all of them. Convert or replace the file, or delete it.",
        ("data.images",),
    ),
    Group(
        "Options of `fit`",
        "Two options contradict each other, or one has no effect with the strategy: convscope "
        "refuses rather than to ignore it. Leave one of them out. See [fitting](fitting.md).",
        ("options", "planning", "transferring", "fitting", "train"),
    ),
    Group(
        "Weights of pre-trained networks",
        "The weights cannot be fetched, read, or do not fit the network. They are fetched once,"
        " checked by their SHA-256, and kept; without a connection put the file into the folder"
        " that the message names, or go without.",
        ("nets.weights", "nets.download", "nets.pretrained", "nets.published"),
    ),
    Group(
        "Networks",
        "An argument of a network has no meaning, or the input is too small for it. See "
        "[networks](nets/README.md).",
        ("nets",),
    ),
    Group(
        "Describing networks, receptive fields",
        "The network cannot be had, cannot take this input, or what its units see is not known."
        " What is not known is never guessed. See [what an output sees](concepts/geometry.md).",
        ("describing", "geometry", "field_picture", "pictures"),
    ),
    Group(
        "Run folders, predicting",
        "The folder is not a finished run, is damaged, or comes from another version. Fit "
        "again, or read it with the version that wrote it. See [the Run folder](run-folder.md).",
        ("run", "predicting", "report", "fitted"),
    ),
    Group(
        "Features and heads",
        "The feature file is another one than needed, or features and labels do not belong "
        "together. See [features](features.md) and [heads](heads.md).",
        ("transfer",),
    ),
    Group(
        "Fine-tuning",
        "The network cannot be cut where asked, or the plan contradicts itself. See "
        "[fine-tuning](finetuning.md).",
        ("finetune",),
    ),
    Group(
        "Comparing",
        "A rung or a size does not exist, too few rungs can be had, or the photos are too few to "
        "train, validate and test on. See [comparing](compare.md).",
        ("comparing",),
    ),
    Group(
        "Augmentation",
        "A policy does not exist, or a mask is missing or has not the size of its photo. See "
        "[augmentation](augmentation.md).",
        ("augmenting", "data.augment", "data.affine", "data.colour", "data.trivial"),
    ),
    Group(
        "Explaining, from the command line",
        "The run, the photo, the masks or a name do not fit. See [explaining](explain.md).",
        ("explaining",),
    ),
    Group(
        "`convscope.explain`",
        "Shapes, targets or the network do not fit what the method needs; the message says what"
        " is expected. NaN and infinity are refused: nothing can be said of them. See "
        "[explaining](explain.md).",
        ("explain", "incremental"),
    ),
    Group(
        "Neurons",
        "No layer was named, no photo could be used, or the network gives what is no number. See "
        "[neurons](neurons.md).",
        ("neurons",),
    ),
    Group(
        "Shortcuts",
        "The photos are not those of the run, or too few to search. See [shortcuts](audit.md).",
        ("audit",),
    ),
    Group(
        "Tables of time series",
        "A row, a column or a time stamp is not what it should be; the message names the row as"
        " a spreadsheet counts it. See [forecasting](forecast.md#the-table).",
        ("data.columns", "data.series", "data.series_rows", "data.timeline"),
    ),
    Group(
        "Forecasting",
        "The series is too short for what is asked, options contradict each other, or what is "
        "known ahead is missing. See [forecasting](forecast.md).",
        ("forecast",),
    ),
    Group(
        "The report",
        "The run, the comparison or the forecast that it is to take in does not fit. See "
        "[the report](report.md).",
        ("reporting",),
    ),
    Group(
        "The app",
        "What was sent is larger than allowed, or names something outside its folder; a thing or "
        "a job is gone; or the address cannot be listened on. See [the app](app.md#limits).",
        ("app",),
    ),
    Group(
        "Lessons",
        "There is no lesson of that name, or a filter does not fit into its image. See "
        "[lessons](lessons.md).",
        ("lessons",),
    ),
    Group(
        "The demo",
        "Its folders are there already, cannot be written, or a number is out of range. See "
        "[demo](commands/demo.md).",
        ("demo",),
    ),
    Group(
        "In scikit-learn's manner",
        "Photos and labels do not belong together, or a photo cannot be read. See "
        "[from Python](python.md).",
        ("estimator",),
    ),
    Group("Anything else", "", ("",)),
)


@dataclass(frozen=True)
class Message:
    """One message: its module, its text, the command line's exit code."""

    module: str
    text: str
    code: int


def trees() -> dict[str, ast.Module]:
    """Module, without the package's name -> what it holds."""
    found = {}
    for file in sorted(SOURCE.rglob("*.py")):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(file.read_text(encoding="utf-8"))
    return found


def error_classes(modules: dict[str, ast.Module]) -> dict[str, int]:
    """``ConvscopeError`` and every class below it, by name -> exit code."""
    found = {"ConvscopeError": 1}
    classes = [
        node for tree in modules.values() for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]  # fmt: skip
    for _ in classes:
        for node in classes:
            for base in node.bases:
                if isinstance(base, ast.Name) and base.id in found and node.name not in found:
                    found[node.name] = 2 if node.name == "InputError" else found[base.id]
    return found


def template(node: ast.expr) -> str | None:
    """A text with ``<name>`` for what is put in; None if it is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(
            part.value if isinstance(part, ast.Constant) else f"<{_word(part.value)}>"  # type: ignore[union-attr]
            for part in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = template(node.left), template(node.right)
        if left is None and right is None:
            return None
        return (left or "<...>") + (right or "<...>")
    return None


def _word(node: ast.expr) -> str:
    """A short name for an expression."""
    if isinstance(node, ast.Name):
        return node.id.strip("_").replace("_", " ").lower()
    if isinstance(node, ast.Attribute):
        # The attributes of an error or a type say less than "why".
        return {"strerror": "why", "__name__": "type", "filename": "file"}.get(
            node.attr, node.attr.strip("_").replace("_", " ").lower()
        )
    if "strerror" in ast.unparse(node):
        return "why"
    names = [one for one in ast.walk(node) if isinstance(one, ast.Name)]
    named = [one for one in names if not hasattr(builtins, one.id)]
    return _word(named[0]) if named else "..."


def looked_up(node: ast.expr, tree: ast.Module) -> list[str]:
    """The texts of an argument that is none itself: a constant, or what a helper is made of."""
    if isinstance(node, ast.Name):
        for one in ast.walk(tree):
            if isinstance(one, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == node.id for target in one.targets
            ):
                return [text for text in [template(one.value)] if text]
    if isinstance(node, ast.Call):
        called = node.func
        if isinstance(called, ast.Attribute) and (text := template(called.value)):
            return [text]  # "...".replace(...)
        name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", None)
        for one in ast.walk(tree):
            if isinstance(one, ast.FunctionDef) and one.name == name:
                return list(_texts(one))
    return []


def _texts(function: ast.FunctionDef) -> Iterator[str]:
    """What a function returns or collects that reads like a message."""
    for node in ast.walk(function):
        if isinstance(node, ast.Return | ast.Assign) and node.value is not None:
            text = template(node.value)
            if text is not None and len(text) >= _LEAST:
                yield text


def messages() -> list[Message]:
    """All of them, in the order of modules and lines."""
    modules = trees()
    classes = error_classes(modules)
    found: dict[tuple[str, str], Message] = {}
    for module, tree in modules.items():
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
        for node in sorted(calls, key=lambda call: call.lineno):
            if not isinstance(node.func, ast.Name):
                continue
            for text, code in said(node, module, tree, classes):
                found.setdefault((module, text), Message(module, " ".join(text.split()), code))
    return list(found.values())


# What passes an error on, or collects several, and has no text of its own: module -> what it says.
ELSEWHERE = {
    # One sentence for each value that pydantic refuses.
    "options": "<option>: <what is wrong with it>. Received <value>.",
    "forecast.options": "<option>: <what is wrong with it>. Received <value>.",
}
# Where the text is that of another error, which stands elsewhere on the page.
PASSED_ON = {"explaining.running", "explaining.reading", "app.serving"}


def said(
    node: ast.Call, module: str, tree: ast.Module, classes: dict[str, int]
) -> Iterator[tuple[str, int]]:
    """Texts and exit code of one call, if it is that of an error."""
    name = ast.unparse(node.func)
    if name == "unknown_name":
        what = template(node.args[0]) or f"<{_word(node.args[0])}>"
        yield f"Unknown {what} '<given>'. Did you mean '<nearest>'? Allowed: <names>.", 2
        return
    if name == "_fail" and node.args:
        code = node.args[1] if len(node.args) > 1 else None
        number = code.value if isinstance(code, ast.Constant) else 1
        text = template(node.args[0])
        if text:
            yield text, int(number)  # type: ignore[arg-type]
        return
    if name not in classes or not node.args:
        return
    argument = node.args[-1]
    text = template(argument)
    texts = [text] if text else looked_up(argument, tree)
    if not texts and module in ELSEWHERE:
        texts = [ELSEWHERE[module]]
    if not texts and module not in PASSED_ON:
        sys.exit(f"{module}:{node.lineno}: no text found for {ast.unparse(node)}")
    for one in texts:
        yield one, classes[name]


def group_of(module: str) -> Group:
    """The group that names most of a module's name."""

    def named(prefix: str) -> int:
        fits = module == prefix or module.startswith(f"{prefix}.") or not prefix
        return len(prefix) if fits else -1

    return max(GROUPS, key=lambda group: max(map(named, group.modules)))


def page() -> str:
    """The whole page."""
    every = messages()
    parts = [_HEAD]
    for group in GROUPS:
        lines: dict[str, int] = {}
        for message in every:
            if group_of(message.module) is group:
                lines.setdefault(message.text, message.code)
        if not lines:
            continue
        rows = [f"| `{text.replace('|', '&#124;').replace('`', chr(39))}` | {code} |"
                for text, code in lines.items()]  # fmt: skip
        table = "\n".join(["| message | exit code |", "|---|--:|", *rows])
        parts.append("\n\n".join(x for x in (f"## {group.title}", group.text, table) if x) + "\n")
    return "\n".join(parts)


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    new = page()
    if PAGE.exists() and PAGE.read_text("utf-8") == new:
        return
    if check:
        sys.exit("docs/errors.md is out of date: python docs/make_errors.py")
    PAGE.write_text(new, encoding="utf-8")
    print("written: docs/errors.md")


if __name__ == "__main__":
    main()
