"""The documentation site: made pages are up to date, links lead somewhere, snippets run."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import convscope
from convscope import explain, geometry

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
CONCEPTS = sorted((DOCS / "concepts").glob("*.md"))
LARGEST_PICTURE = 200_000
FENCED = re.compile(r"^ *(```+).*?^ *\1", re.MULTILINE | re.DOTALL)


def script(name: str) -> ModuleType:
    """One of the scripts of docs/; they are no package."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def make_commands() -> ModuleType:
    return script("make_commands")


@pytest.fixture(scope="module")
def make_errors() -> ModuleType:
    return script("make_errors")


@pytest.fixture(scope="module")
def make_gallery() -> ModuleType:
    return script("make_gallery")


@pytest.fixture(scope="module")
def site_hooks() -> ModuleType:
    return script("site_hooks")


# Commands


def test_every_command_has_a_page_and_its_options_are_those_of_today(
    make_commands: ModuleType,
) -> None:
    stale = [page.name for page in make_commands.differing()]
    assert not stale, "run: python docs/make_commands.py --tables"


def test_every_page_of_a_command_shows_its_output_and_an_error(make_commands: ModuleType) -> None:
    for name in make_commands.commands():
        text = (DOCS / "commands" / make_commands.file_name(name)).read_text("utf-8")
        assert text.startswith(f"# {name}\n")
        assert f"<!-- options {name} -->" in text
        for mark in re.findall(r"<!-- (?:run|json|options).*? -->\n(.*)", text):
            assert mark.startswith(("```", "|", "<div")), f"{name}: run docs/make_commands.py"


def test_a_table_that_is_out_of_date_is_found(make_commands: ModuleType) -> None:
    kept = "<!-- run convscope nets -->\nb\n<!-- end -->"
    old = f"a\n<!-- options nets -->\n| old |\n<!-- end -->\n{kept}"
    new = make_commands.remade(old, tables=True)
    assert "old" not in new and "| `--seed SEED` |" in new and "| `--json` |" in new
    assert new.endswith(kept)
    assert make_commands.remade(new, tables=True) == new
    table = make_commands.options("fit")
    assert "| `PHOTOS` |" in table and "| needed |" in table
    assert "| `--layer LAYER ...` |" in table and "| `auto` |" in table
    assert "| `--trust / --no-trust` |" in make_commands.options("explain")


def shown_commands() -> list[tuple[str, str]]:
    found = []
    for page in sorted((DOCS / "commands").glob("*.md")):
        text = page.read_text("utf-8")
        found += [(page.stem, line) for line in re.findall(r"<!-- run (convscope .*) -->", text)]
    return found


@pytest.mark.parametrize(("page", "line"), shown_commands())
def test_every_command_shown_is_understood(page: str, line: str, make_commands: ModuleType) -> None:
    words = shlex.split(line)[1:]
    name = " ".join(words[:2]) if words[0] == "forecast" else words[0]
    command = make_commands.commands()[name]
    with command.make_context(name, words[len(name.split()) :]):
        pass


# Errors


def test_the_index_of_errors_is_up_to_date(make_errors: ModuleType) -> None:
    assert (DOCS / "errors.md").read_text("utf-8") == make_errors.page(), (
        "run: python docs/make_errors.py"
    )


def test_every_error_has_its_group(make_errors: ModuleType) -> None:
    last = make_errors.GROUPS[-1]
    lost = {m.module for m in make_errors.messages() if make_errors.group_of(m.module) is last}
    assert not lost, "name these modules in GROUPS of docs/make_errors.py"


def test_what_the_index_finds(make_errors: ModuleType) -> None:
    """Known messages, of each way in which one can be written."""
    code = {message.text: message.code for message in make_errors.messages()}
    assert code["<photos> does not exist."] == 2
    assert code["Stopped."] == 1
    assert code["not a regular file"] == 2
    assert any(text.startswith("This network gives no gradient") for text in code)
    assert any(text.startswith("Layer <layer> gives no map of more") for text in code)
    classes = make_errors.error_classes(make_errors.trees())
    assert classes["InputError"] == classes["PhotoError"] == 2
    assert classes["ConvscopeError"] == classes["InterruptedRunError"] == 1


def test_no_error_is_passed_over(make_errors: ModuleType) -> None:
    """Counted another way: the word itself, not the call."""
    modules = make_errors.trees()
    classes = make_errors.error_classes(modules)
    raised = found = 0
    for module, tree in modules.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                name = ast.unparse(node.exc.func)
                if name in classes and node.exc.args:
                    raised += 1
                    told = list(make_errors.said(node.exc, module, tree, classes))
                    found += bool(told) or module in make_errors.PASSED_ON
    assert raised == found > 200


# Gallery


def test_the_gallery_is_up_to_date(make_gallery: ModuleType) -> None:
    assert (DOCS / "gallery.md").read_text("utf-8") == make_gallery.page(), (
        "run: python docs/make_gallery.py"
    )


def test_every_example_has_its_output_or_its_picture(make_gallery: ModuleType) -> None:
    for example in make_gallery.examples():
        assert make_gallery.kept(example), f"run: docs/make_gallery.py --run {example.stem}"
        if make_gallery.draws(example):
            assert make_gallery.picture_of(example).stat().st_size < LARGEST_PICTURE


# Concepts


@pytest.mark.parametrize("page", CONCEPTS, ids=lambda page: page.stem)
def test_every_snippet_of_a_concept_runs(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One after the other: a later one may use what an earlier one made."""
    names: dict[str, Any] = {}
    snippets = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert snippets
    for code in snippets:
        exec(compile(code, page.name, "exec"), names)
        printed = capsys.readouterr().out.splitlines()
        promised = re.findall(r"print\(.*\)  # (.*)$", code, re.MULTILINE)
        assert printed == promised


# API


def test_every_public_name_is_in_the_api() -> None:
    text = "\n".join(page.read_text("utf-8") for page in (DOCS / "api").glob("*.md"))
    shown = set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))
    wanted = {f"convscope.{name}" for name in convscope.__all__}
    wanted |= {f"convscope.explain.{name}" for name in explain.__all__}
    wanted |= {f"convscope.geometry.{name}" for name in geometry.__all__}
    assert wanted <= shown


# Links and navigation


def links(page: Path) -> Iterator[str]:
    text = FENCED.sub("", page.read_text("utf-8"))
    yield from re.findall(r"\]\(([^)\s]+)\)", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_everything_linked_is_there(page: Path) -> None:
    """As the files lie on disk; that of the site is checked when it is built."""
    for link in links(page):
        if not link.startswith(("https://", "#")):
            assert (page.parent / link.partition("#")[0]).is_file(), link


def test_every_page_is_in_the_navigation(site_hooks: ModuleType) -> None:
    class Loader(yaml.SafeLoader):
        """MkDocs' own tags are passed over."""

    Loader.add_multi_constructor("", lambda *_: None)
    config = yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), Loader)

    def leaves(nav: Any) -> Iterator[str]:
        for one in nav if isinstance(nav, list) else nav.values():
            yield from [one] if isinstance(one, str) else leaves(one)

    listed = list(leaves(site_hooks.expanded(config["nav"], DOCS)))
    assert len(set(listed)) == len(listed)
    on_disk = {page.relative_to(DOCS).as_posix() for page in PAGES}
    assert set(listed) == on_disk | set(site_hooks.OUTSIDE.values())


def test_the_readme_leads_to_every_page_at_the_top() -> None:
    """From the README, or from the index that it names."""
    known = {
        (source.parent / link.partition("#")[0]).resolve()
        for source in (ROOT / "README.md", DOCS / "index.md", DOCS / "explain.md")
        for link in links(source)
        if not link.startswith("https://")
    }
    assert not {page for page in DOCS.glob("*.md") if page.resolve() not in known}


def test_links_out_of_docs_lead_to_pages_of_the_site(site_hooks: ModuleType) -> None:
    text = (
        "[a](../benchmarks/README.md#forecasts) [b](../examples/copy_memory.py) [c](heads.md#x)\n"
        "```text\n[d](../benchmarks/README.md)\n```\n<!-- run x -->\nend"
    )
    assert site_hooks.relinked(text, "forecast.md") == (
        "[a](benchmarks.md#forecasts) [b](gallery.md#copy-memory) [c](heads.md#x)\n"
        "```text\n[d](../benchmarks/README.md)\n```\n\nend"
    )
    assert site_hooks.address("../../CHANGELOG.md", "nets/vgg.md") == "../changes.md"
    assert site_hooks.address("fitting.md", "forecast.md") is None


def test_docstrings_as_the_api_shows_them(site_hooks: ModuleType) -> None:
    site_griffe = script("site_griffe")
    text = "One.\n\n>>> 1 + 1\n2\n\nParameters\n---\na, b\n    Both.\nc : int\n    C.\n"
    assert site_griffe.one_by_one(site_griffe.fenced(text)) == (
        "One.\n\n```pycon\n>>> 1 + 1\n2\n```\n\nParameters\n---\n"
        "a\n    Both.\nb\n    Both.\nc : int\n    C.\n"
    )
    assert site_hooks.referred("As :func:<code>~a.b.ask</code>.") == (
        'As <autoref identifier="a.b.ask" optional><code>ask</code></autoref>.'
    )


def test_the_site_loads_nothing_from_elsewhere() -> None:
    config = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert "font: false" in config
    assert not re.search(r"https?://", config)
    for page in PAGES:
        text = page.read_text("utf-8")
        assert not re.search(r"!\[[^\]]*\]\(https?:", text), page
        text = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
        assert not re.search(r"<(?:script|img|link|iframe)\b", text), page
