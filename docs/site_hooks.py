"""What the site needs beyond MkDocs: ``*`` in the navigation, and files from outside ``docs``.

The pages link to other files of the repository as they lie there, so that they can be read without
a site too. Those of them that are pages of the site get their address here.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
# File of the repository -> page of the site.
OUTSIDE = {
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
}
_EXAMPLE = re.compile(r"examples/(\w+)\.py")
_LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")
_FENCED = re.compile(r"(^(`{3,}).*?^\2$)", re.MULTILINE | re.DOTALL)
_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):<code>(~?)([\w.]+)</code>")
_MADE = re.compile(r"^<!-- .*? -->\n", re.MULTILINE)


def expanded(nav: Any, docs: Path) -> Any:
    """The navigation, with every ``folder/*.md`` written out."""
    if isinstance(nav, list):
        return [expanded(one, docs) for one in nav]
    if isinstance(nav, dict):
        return {name: expanded(one, docs) for name, one in nav.items()}
    if "*" not in nav:
        return nav
    index = ("README.md", "index.md")
    found = sorted(docs.glob(nav), key=lambda page: (page.name not in index, page.name))
    return [page.relative_to(docs).as_posix() for page in found]


def address(link: str, page: str) -> str | None:
    """The page of the site that a link of a page leads to, if its file lies outside ``docs``."""
    home = posixpath.dirname(page)
    file = posixpath.normpath(posixpath.join("docs", home, link))
    found = OUTSIDE.get(file)
    if (example := _EXAMPLE.fullmatch(file)) is not None:
        found = f"gallery.md#{example[1].replace('_', '-')}"
    return None if found is None else posixpath.relpath(found, home or ".")


def relinked(text: str, page: str) -> str:
    """A page's text with its links as the site needs them, and without the marks of made parts."""

    def link(found: re.Match[str]) -> str:
        new = address(found[1], page)
        return found[0] if new is None else f"]({new}{'' if '#' in new else found[2] or ''})"

    parts = _FENCED.split(text)
    # split() gives text, fenced block, its fence, text, ...
    for k in range(0, len(parts), 3):
        parts[k] = _LINK.sub(link, _MADE.sub("\n", parts[k]))
    del parts[2::3]
    return "".join(parts)


def referred(html: str) -> str:
    """Sphinx's roles in docstrings as links, where what they name is on a page of the API."""

    def link(found: re.Match[str]) -> str:
        shown = found[2].rpartition(".")[2] if found[1] else found[2].lstrip(".")
        return f'<autoref identifier="{found[2]}" optional><code>{shown}</code></autoref>'

    return _ROLE.sub(link, html)


def on_config(config: Any) -> Any:
    """Called by MkDocs."""
    config.nav = expanded(config.nav, Path(config.docs_dir))
    return config


def on_files(files: Any, config: Any) -> Any:
    """Called by MkDocs."""
    for file, page in OUTSIDE.items():
        text = (ROOT / file).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Called by MkDocs."""
    del config, files
    return relinked(markdown, page.file.src_uri)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Called by MkDocs."""
    del page, config, files
    return referred(html)
