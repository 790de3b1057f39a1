"""The templates of all pages, and the style that they share."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup


def template(name: str) -> Template:
    """A template of this folder; what is put into it is escaped unless it is marked as safe."""
    environment = Environment(
        loader=PackageLoader("convscope.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def text(name: str) -> str:
    """A file of this folder."""
    return files("convscope.report").joinpath(name).read_text(encoding="utf-8")


def style() -> Markup:
    """``report.css``."""
    return Markup(text("report.css"))
