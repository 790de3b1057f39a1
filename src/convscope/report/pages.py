"""A page of its own for one thing, and the same thing kept so that a report can show it, too.

What such a page shows is *content*: a dict of plain JSON values. The page is made from it, and it
lies beside the page as ``page.json``. A report makes its section from that file, with the same
templates; nothing is computed again, and nothing has to be read back out of HTML.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from convscope.errors import InputError
from convscope.files import write_bytes
from convscope.report.rendering import script_of, style, template

KEPT = "page.json"
_FORMAT = 1


@dataclass(frozen=True)
class Kind:
    """What a page is about.

    Attributes
    ----------
    name : str
        Of its template, and in ``page.json``.
    scripts : tuple of str
        What it needs to answer the pointer and keys.
    """

    name: str
    scripts: tuple[str, ...] = ()


EXPLAIN = Kind("explain", ("heat.js", "explain.js"))
NEURONS = Kind("neurons", ("neurons.js",))
AUDIT = Kind("audit")
COMPARE = Kind("compare", ("charts.js",))
FORECAST = Kind("forecast", ("charts.js",))


def render_page(kind: Kind, content: Mapping[str, Any]) -> str:
    """Give the HTML of a page: one file that needs nothing else.

    Parameters
    ----------
    kind : Kind
    content : mapping
        See :func:`json_values`.
    """
    script, script_hash = script_of(kind.scripts)
    return template(f"{kind.name}.html").render(
        style=style(), script=script, script_hash=script_hash, c=content
    )


def write_page(target: Path, kind: Kind, content: Mapping[str, Any]) -> None:
    """Write a page, and ``page.json`` beside it.

    Parameters
    ----------
    target : Path
    kind : Kind
    content : mapping
    """
    write_bytes(target, render_page(kind, content).encode("utf-8", errors="backslashreplace"))
    kept = {"format": _FORMAT, "kind": kind.name, "sha256": _digest(content), "content": content}
    text = json.dumps(kept, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    write_bytes(target.with_name(KEPT), text.encode("utf-8", errors="backslashreplace"))


def read_page(folder: Path, kind: Kind) -> dict[str, Any]:
    """Read what a page shows from the folder that it lies in.

    Raises
    ------
    InputError
        There is no such page, or it is of another kind or from another version.
    """
    file = folder / KEPT
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror}): {folder} is no finished {kind.name} of "
            "this version of convscope. Make it again."
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is damaged ({error}). Make {folder} again.") from None
    if not isinstance(kept, dict) or kept.get("kind") != kind.name:
        raise InputError(f"{file} is not what convscope {kind.name} writes. Name another folder.")
    content = kept.get("content")
    if kept.get("format") != _FORMAT or not isinstance(content, dict):
        raise InputError(f"{file} is from another version of convscope. Make {folder} again.")
    if kept.get("sha256") != _digest(content):
        raise InputError(f"{file} was changed since it was written. Make {folder} again.")
    return content


def _digest(content: Mapping[str, Any]) -> str:
    """Of what a page shows: templates may rely on what convscope itself has written."""
    text = json.dumps(content, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def json_values(value: Any) -> Any:
    """Give JSON values: fields of data classes by name, tuples as lists, None for NaN.

    >>> json_values({"at": (1.0, float("nan"))})
    {'at': [1.0, None]}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: json_values(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): json_values(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(each) for each in value]
    if isinstance(value, str | bool | int | None):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
