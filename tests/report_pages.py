"""A page as the tests of the report read it: elements, their text, their tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from convscope.report import build_report
from report_runs import Made

_VOID = {"meta", "img", "input", "br", "link"}


@dataclass
class Node:
    """An element: its attributes, and its children in order, text included."""

    tag: str
    attributes: dict[str, str]
    children: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text inside; white space runs as one blank, as a browser shows it."""
        return " ".join(self.raw.split())

    @property
    def raw(self) -> str:
        """All text inside, as written."""
        # Cells stand apart on the page.
        return "".join(
            c if isinstance(c, str) else c.raw + " " * (c.tag in {"td", "th"})
            for c in self.children
        )

    def walk(self) -> Iterator[Node]:
        """Yield the element and all below it."""
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def all(self, tag: str, **attributes: str) -> list[Node]:
        """Elements of this kind; ``class_="a"`` asks for one of the classes, ``""`` for any."""
        return [node for node in self.walk() if node.tag == tag and node._has(attributes)]

    def one(self, tag: str, **attributes: str) -> Node:
        """The only element of this kind."""
        (node,) = self.all(tag, **attributes)
        return node

    def section(self, name: str) -> Node:
        """The section with this heading's id."""
        return self.one("section", aria_labelledby=name)

    def rows(self) -> list[list[str]]:
        """The body of the only table below, as text."""
        body = self.one("tbody")
        return [
            [cell.text for cell in row.children if isinstance(cell, Node)] for row in body.all("tr")
        ]

    def _has(self, wanted: dict[str, str]) -> bool:
        for name, value in wanted.items():
            got = self.attributes.get(name.rstrip("_").replace("_", "-"))
            if got is None or (value and value != got and value not in got.split()):
                return False
        return True


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in _VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Node(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        # The page closes what it opens, in order; anything else is a fault of the page.
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(html: str) -> Node:
    """The page as a tree; fails where a tag is not closed."""
    parser = _Parser()
    parser.feed(html)
    parser.close()
    assert parser.open == [parser.root]
    return parser.root


def build(made: Made) -> Node:
    """Build the page of a run and read it."""
    return parse(build_report(made.run, made.photos).read_text(encoding="utf-8"))


def data_of(page: Node) -> Any:
    """What the page gives its script."""
    return json.loads(page.one("script", id="data").raw)
