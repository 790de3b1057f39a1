"""Docstrings as the pages of the API show them; mkdocstrings calls it.

Several parameters that share a description (``model, images``) become several entries, so that each
has its own type; an example without a heading is shown as code.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_SHARED = re.compile(
    r"^(\w+(?:, \w+)+)( : [^\n]*)?\n((?: {4}[^\n]*(?:\n|$)|\n(?= {4}))+)", re.MULTILINE
)
_EXAMPLE = re.compile(r"(?:(?<=\n\n)|\A)(>>> (?:.+\n?)+)")
_HEADING = re.compile(r"^Examples?\n-+$", re.MULTILINE)


def one_by_one(text: str) -> str:
    """A docstring with an entry for each name."""

    def split(found: re.Match[str]) -> str:
        names, kind, description = found[1].split(", "), found[2] or "", found[3]
        return "".join(f"{name}{kind}\n{description.rstrip()}\n" for name in names)

    return _SHARED.sub(split, text)


def fenced(text: str) -> str:
    """A docstring whose examples are code, also where they stand in the text."""
    if _HEADING.search(text):
        return text
    return _EXAMPLE.sub(lambda found: f"```pycon\n{found[1].rstrip()}\n```\n", text)


class Spelled(Extension):
    """Called by Griffe for every object."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Change the docstring as it is shown, not the source."""
        del kwargs
        if obj.docstring is not None:
            obj.docstring.value = fenced(one_by_one(obj.docstring.value))
