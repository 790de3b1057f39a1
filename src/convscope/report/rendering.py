"""The templates of all pages, the style that they share, and how a script gets its data."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from convscope.report import words


def template(name: str) -> Template:
    """A template of this folder; see :func:`environment`."""
    found = environment("convscope.report", ".")
    found.globals["words"] = words
    return found.get_template(name)


def environment(package: str, folder: str) -> Environment:
    """Templates of a folder; what is put into them is escaped unless it is marked as safe.

    Parameters
    ----------
    package, folder : str
        Where they lie.
    """
    return Environment(
        loader=PackageLoader(package, folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def text(name: str) -> str:
    """A file of this folder."""
    return files("convscope.report").joinpath(name).read_text(encoding="utf-8")


def style() -> Markup:
    """``report.css``, and ``parts.css`` for what several pages show."""
    return Markup(text("report.css") + text("parts.css"))


def script_of(names: tuple[str, ...]) -> tuple[Markup, str]:
    """Scripts of this folder as one, and what lets exactly this one run on a page.

    Parameters
    ----------
    names : tuple of str
        None give no script.

    Returns
    -------
    Markup
    str
        For the page's content security policy.
    """
    return hashed("".join(text(name) for name in names))


def hashed(script: str) -> tuple[Markup, str]:
    """A script, and what lets exactly this one run on a page; see :func:`script_of`."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return Markup(script), f"sha256-{digest}"
