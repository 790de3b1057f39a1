"""The pages on networks: made parts are up to date, commands and snippets work, figures hold."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import typer.main
from PIL import Image

from convscope.cli import app
from convscope.describing import Description, describe
from convscope.nets.catalog import NETS
from convscope.nets.inception import Inception
from convscope.nets.resnet import resnet50, resnet101, resnet152

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted((DOCS / "nets").glob("*.md"))
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
LARGEST = 150_000


@pytest.fixture(scope="module")
def make_nets() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_nets", DOCS / "make_nets.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def described(name: str) -> Description:
    return describe(name)


# What is made


def test_tables_and_pictures_are_up_to_date(make_nets: ModuleType) -> None:
    stale = [file.name for file, _ in make_nets.differing()]
    assert not stale, "run: python docs/make_nets.py"


def test_a_page_that_is_out_of_date_is_found(make_nets: ModuleType) -> None:
    old = "a\n<!-- convscope describe lenet5 --depth 1 -->\nold\n<!-- end -->\nb"
    new = make_nets.remade(old)
    assert new.startswith("a\n<!-- convscope describe lenet5 --depth 1 -->\n```text\nlenet5, input")
    assert new.endswith("\n```\n<!-- end -->\nb") and "old" not in new
    assert make_nets.remade(new) == new
    assert (
        max(map(len, make_nets.printed("convscope describe resnet50 --depth 2").splitlines())) <= 80
    )


def test_every_made_part_has_its_end() -> None:
    for text in TEXTS.values():
        assert len(re.findall(r"<!-- (?:convscope |fields)", text)) == text.count("<!-- end -->")


# What is linked


def links(text: str) -> Iterator[str]:
    yield from re.findall(r"\]\(([^)]+)\)", text)


@pytest.mark.parametrize("name", TEXTS)
def test_everything_linked_is_there(name: str) -> None:
    for link in links(TEXTS[name]):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = DOCS / "nets" / file if file else DOCS / "nets" / name
        assert target.is_file(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {
                re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings
            }


def test_every_picture_is_shown_and_small() -> None:
    shown = {link for text in TEXTS.values() for link in links(text) if link.startswith("images/")}
    files = sorted((DOCS / "nets" / "images").iterdir())
    assert {f"images/{file.name}" for file in files} == shown
    for file in files:
        assert file.stat().st_size < LARGEST, file.name
        if file.suffix == ".png":
            with Image.open(file) as image:
                image.verify()


def test_every_network_and_every_page_is_in_the_index() -> None:
    index = TEXTS["README.md"]
    assert {name for name in TEXTS if name != "README.md"} <= set(links(index))
    assert all(re.search(rf"\b{name}\b", index) for name in NETS)


# What is to be tried


def commands() -> list[str]:
    found = [
        line.strip()
        for text in TEXTS.values()
        for line in re.findall(r"^ {4}convscope .*$", text, re.MULTILINE)
    ]
    assert len(found) > 30
    return sorted(set(found))


def snippets() -> list[str]:
    return [
        code for text in TEXTS.values() for code in re.findall(r"```python\n(.*?)```", text, re.S)
    ]


@pytest.mark.parametrize("line", commands())
def test_every_command_is_understood(line: str) -> None:
    name, *arguments = shlex.split(line, comments=True)[1:]
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    with command.make_context(name, arguments) as context:
        asked = context.params
    net = asked.get("net")
    if net is not None and ":" not in net:
        assert net in NETS
    if net is not None and ":" in net:
        module, _, attribute = net.partition(":")
        (code,) = [code for code in snippets() if code.startswith(f"# {module}.py\n")]
        assert re.search(rf"^{attribute} = ", code, re.MULTILINE)
    if name == "fit" and net is not None:
        kinds = {"cnn": "convolutional", "fcnn": "fully connected"}
        assert NETS[net].kind == kinds[asked["strategy"]]


@pytest.mark.parametrize("code", snippets())
def test_every_snippet_runs(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that name a file are put there, and described by the commands that name it."""
    found = re.match(r"# (\w+)\.py\n", code)
    exec(compile(code, "snippet", "exec"), {})
    printed = capsys.readouterr().out
    for promised in re.findall(r"print\(.*\)  # (.*)$", code, re.MULTILINE):
        assert promised in printed.splitlines()
    if found is None:
        return
    (tmp_path / f"{found[1]}.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    described = 0
    for line in commands():
        asked = re.search(rf"describe ({found[1]}:\w+)(?: .*--input (\S+))?", line)
        if asked is not None:
            shape = None if asked[2] is None else [int(size) for size in asked[2].split("x")]
            assert describe(asked[1], shape).untraced is None
            described += 1
    sys.modules.pop(found[1], None)
    assert described


def test_what_the_snippets_show(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for code in snippets():
        if (found := re.match(r"# (\w+)\.py\n", code)) is not None:
            (tmp_path / f"{found[1]}.py").write_text(code, encoding="utf-8")
    one, three = (describe(f"stacks:{name}", (1, 32, 32)) for name in ("one", "three"))
    assert (one.parameters, three.parameters) == (49, 27)
    assert one.layers[-1].receptive_field == three.layers[-1].receptive_field == (7, 7)
    for module in ("stacks", "pools", "paper", "week", "holes"):
        sys.modules.pop(module, None)


# What is claimed


def sees(name: str, layer: str) -> int:
    found = [row for row in described(name).layers if row.name.startswith(layer)]
    field = found[-1].receptive_field
    assert field is not None
    return field[0]


def test_figures_of_the_prose() -> None:
    """Those that no table of convscope's shows."""
    shown = ("alexnet_2012", "vgg16", "squeezenet1_0", "squeezenet1_1", "mobilenet_v2", "resnet50",
             "small_cnn")  # fmt: skip
    macs = {name: described(name).macs for name in shown}
    many = {name: described(name).parameters for name in shown}
    alexnet, vgg16 = described("alexnet_2012"), described("vgg16")
    linear = [layer for layer in alexnet.layers if layer.kind == "Linear"]
    assert round(100 * sum(x.parameters for x in linear) / alexnet.parameters) == 96
    assert round(100 * sum(x.macs for x in linear) / alexnet.macs) == 8
    linear = [layer for layer in vgg16.layers if layer.kind == "Linear"]
    assert round(100 * sum(x.parameters for x in linear) / vgg16.parameters) == 89
    assert round(100 * linear[0].parameters / vgg16.parameters) == 74
    assert round(many["alexnet_2012"] / 6_998_552, 1) == 8.7
    assert round(many["alexnet_2012"] / many["squeezenet1_0"], 1) == 48.8
    assert round(4 * many["squeezenet1_0"] / 2**20, 1) == 4.8
    assert int(10 * macs["squeezenet1_0"] / macs["squeezenet1_1"]) == 23
    assert int(many["vgg16"] / many["mobilenet_v2"]) == 39
    assert int(macs["vgg16"] / macs["mobilenet_v2"]) == 51
    assert round(macs["resnet50"] / macs["mobilenet_v2"]) == 14
    assert round(100 * 1_281_000 / many["mobilenet_v2"]) == 37
    assert round(100 * 324_300 / many["small_cnn"]) == 95
    assert [sees(name, "features") for name in ("vgg11", "vgg13", "vgg16", "vgg19")] == [
        150, 156, 212, 268,
    ]  # fmt: skip


def test_the_strides_of_bottlenecks() -> None:
    """As the paper's table 1 counts them, in billions: 3.8, 7.6 and 11.3."""
    for build, field, work, usual in (
        (resnet50, 483, 3.86, 427),
        (resnet101, 1027, 7.57, 971),
        (resnet152, 1507, 11.28, 1451),
    ):
        paper = describe(build(stride_in="1x1"))
        last = [layer for layer in paper.layers if layer.name.startswith("layer4")][-1]
        assert last.receptive_field == (field, field)
        assert round(paper.macs / 1e9, 2) == work
        assert sees(build.__name__, "layer4") == usual


def test_the_saving_of_1x1_convolutions() -> None:
    branch = Inception(192, 64, 96, 128, 16, 32, 32).branch3
    weights = sum(p.numel() for name, p in branch.named_parameters() if name.endswith("weight"))
    assert weights == 192 * 16 + 5 * 5 * 16 * 32 == 15_872


@pytest.mark.parametrize(("bias", "share"), [(-1, 2e-7), (-2, 0.002), (-4, 0.41)])
def test_what_untrained_gates_carry(bias: float, share: float) -> None:
    carried = 1 - 1 / (1 + 2.718281828**-bias)
    assert carried**49 == pytest.approx(share, rel=0.09)
