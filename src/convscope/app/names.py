"""Names that come from outside: of files in a folder or a zip that somebody sends."""

from __future__ import annotations

import secrets
from pathlib import PurePosixPath

from convscope.errors import InputError

_MOST_PARTS, _MOST_BYTES = 8, 200
# What file managers leave behind.
_LITTER = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})


def new_id() -> str:
    """A name that cannot be guessed; letters, digits, nothing else."""
    return secrets.token_hex(12)


def is_id(text: str) -> bool:
    """Whether this could be a name of :func:`new_id`, and so no path to anywhere.

    >>> is_id(new_id()), is_id("../../etc/passwd"), is_id("")
    (True, False, False)
    """
    return len(text) == 24 and all(c in "0123456789abcdef" for c in text)


def plain_text(text: str) -> str:
    """The text, if it can be part of a command and of a JSON file.

    Raises
    ------
    ValueError
        It holds control characters, or halves of characters.
    """
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in text):
        raise ValueError("it holds control characters")
    return text


def inner_path(text: str) -> PurePosixPath | None:
    r"""A relative path that stays inside its folder; None for hidden files and litter.

    >>> inner_path("cats\\1.jpg"), inner_path("__MACOSX/cats/._1.jpg")
    (PurePosixPath('cats/1.jpg'), None)

    Raises
    ------
    InputError
        The path leads out of its folder, or no file system would take it.
    """
    path = text.replace("\\", "/")
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or (parts and parts[0].endswith(":")):
        raise InputError(f"{text!r} leads out of its folder. Send plain folders of photos.")
    try:
        plain_text(path)
    except ValueError:
        raise InputError(f"{text!r} holds control characters. Rename the file.") from None
    kept = [part for part in parts if part not in ("", ".")]
    if not kept:
        raise InputError("A file has no name.")
    if len(kept) > _MOST_PARTS:
        raise InputError(f"{text!r} lies {len(kept)} folders deep; {_MOST_PARTS} are allowed.")
    if any(len(part.encode("utf-8", "surrogatepass")) > _MOST_BYTES for part in kept):
        raise InputError(f"{text[:60]!r}... is too long for a file name.")
    if any(part in _LITTER or part.startswith(".") for part in kept):
        return None
    return PurePosixPath(*kept)
