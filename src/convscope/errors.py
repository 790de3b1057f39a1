"""The errors that a user can cause: few classes under one base, each a single clear line.

Every message says what is wrong, the value received, what is allowed and the nearest fix.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

# More are cut short in a message.
_MOST_NAMES = 40


class ConvscopeError(Exception):
    """The work failed for a reason that the user can be told in one line.

    ``exit_code`` is what the command line ends with: 1, the work failed.
    """

    exit_code = 1


class InputError(ConvscopeError):
    """Wrong usage or unusable input: exit code 2."""

    exit_code = 2


class PhotoError(InputError):
    """One file is not a usable photo.

    Parameters
    ----------
    kind : str
        ``unreadable``, ``truncated``, ``unsupported`` or ``too_large``.
    reason : str
        What is wrong with the file, in plain words and without its path.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class InterruptedRunError(ConvscopeError):
    """The user stopped the work; what is done so far is kept for ``--resume``."""


def unknown_name(what: str, got: str, allowed: Iterable[str]) -> InputError:
    """The error for a name outside a closed set, with the nearest allowed name.

    >>> print(unknown_name("strategy", "feature", ["cnn", "features"]))
    Unknown strategy 'feature'. Did you mean 'features'? Allowed: cnn, features.
    """
    names = list(allowed)
    near = get_close_matches(got, names, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    shown = names if len(names) <= _MOST_NAMES else [*names[:_MOST_NAMES], f"... ({len(names)})"]
    return InputError(f"Unknown {what} '{got}'.{hint} Allowed: {', '.join(shown)}.")
