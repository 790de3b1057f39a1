"""``describe`` and ``nets``: the contract of their output, and what they say of bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import convscope
from convscope import InputError, describe
from convscope.describing import Description
from convscope.nets.catalog import NETS
from convscope.options import input_shape
from fits import Command, fitted


class Net(nn.Module):
    """Two convolutions, one of them within a part, and a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, (3, 5))
        self.second = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        z: Tensor = y + self.second(y)
        return z


MINE = """
import torch
from torch import nn

net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())

def make():
    return nn.Sequential(nn.Conv1d(1, 2, 4))

print("mine is imported")

def leaves():
    raise SystemExit(0)

def fails():
    raise ValueError("no such luck")

class Decides(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        y = self.conv(x)
        return y if y.sum() > 0 else -y

number = 3
"""


def test_every_layer_of_a_small_network_by_hand() -> None:
    found = describe(Net(), (3, 16, 16))
    assert [
        (row.name, row.kind, row.output, row.receptive_field, row.jump, row.start, row.parameters)
        for row in found.layers
    ] == [
        ("first", "Conv2d", (4, 14, 12), (3, 5), (1, 1), (0, 0), 4 * 3 * 15 + 4),
        ("second.0", "Conv2d", (4, 14, 12), (5, 7), (1, 1), (-1, -1), 4 * 4 * 9 + 4),
        ("second.1", "ReLU", (4, 14, 12), (5, 7), (1, 1), (-1, -1), 0),
        ("add", "add", (4, 14, 12), (5, 7), (1, 1), (-1, -1), 0),
    ]
    assert [row.macs for row in found.layers] == [4 * 168 * 45, 4 * 168 * 36, 0, 0]
    assert found.macs == 4 * 168 * 81
    assert found.bytes == 4 * 4 * 4 * 168
    assert (found.net, found.input) == ("Net", (3, 16, 16))


def test_the_json_of_the_contract() -> None:
    found = describe(Net(), (3, 16, 16)).to_dict()
    assert {"net", "input", "parameters", "trainable", "macs", "layers"} <= set(found)
    wanted = {"name", "kind", "output", "receptive_field", "jump", "parameters", "macs"}
    assert wanted <= set(found["layers"][0])
    assert found["layers"][1]["receptive_field"] == [5, 7]
    assert found["layers"][1]["jump"] == [1, 1]
    assert json.loads(json.dumps(found)) == found


def test_folding_adds_up_and_ends_where_the_part_ends() -> None:
    whole = describe(Net(), (3, 16, 16))
    folded = whole.folded(1)
    assert [(row.name, row.kind) for row in folded.layers] == [
        ("first", "Conv2d"), ("second", "Sequential"), ("add", "add"),
    ]  # fmt: skip
    assert folded.layers[1].receptive_field == (5, 7)
    assert folded.bytes == whole.bytes
    for name in ("resnet50", "googlenet_2014", "tcn"):
        every = describe(name)
        for depth in (1, 2, 9):
            part = every.folded(depth)
            for count in ("parameters", "macs", "bytes"):
                total = sum(getattr(row, count) for row in every.layers)
                assert sum(getattr(row, count) for row in part.layers) == total
            assert part.layers[-1].output == every.layers[-1].output


def test_a_vector_has_no_neighbour_to_jump_to() -> None:
    last = describe("vgg16").layers[-1]
    assert (last.receptive_field, last.jump) == ((224, 224), (None, None))
    newest = next(row for row in describe("tcn_plain").layers if row.kind == "getitem")
    assert (newest.receptive_field, newest.jump) == ((61,), (None,))


def test_what_is_there_for_training_alone_is_said() -> None:
    found = describe("googlenet_2014")
    assert found.unused == ("aux1", "aux2")
    assert describe("googlenet").unused == ()


def test_other_channels_and_sizes_of_a_catalogue_network() -> None:
    found = describe("resnet18", (1, 500, 333))
    assert found.layers[0].parameters == 64 * 49
    assert found.layers[-1].receptive_field == (500, 333)


def test_a_run_is_described_as_it_was_fitted() -> None:
    run = fitted("cnn")
    found = describe(run)
    assert found.layers[-1].output == (len(run.info().classes),)
    assert found.net.startswith(run.info().net)
    assert describe(str(run.path)).to_dict() == found.to_dict()


def test_tables_fit_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_command = Command(capsys)
    monkeypatch.setenv("COLUMNS", "80")
    for arguments in (
        ("nets",), ("describe", "vgg16"), ("describe", "mobilenet_v2"),
        ("describe", "resnet152"), ("describe", "googlenet", "--depth", "1"),
    ):  # fmt: skip
        ended = run_command(*arguments)
        assert ended.code == 0
        assert max(len(line.rstrip()) for line in ended.out.splitlines()) <= 80
        if arguments == ("nets",):
            assert all(name in ended.out for name in NETS)
    out = run_command("describe", "vgg16").out
    row = next(line for line in out.splitlines() if line.startswith("features.28 "))
    assert row.split() == ["features.28", "Conv2d", "512x14x14", "196", "16", "2,359,808", "462M"]
    assert "138,357,544 parameters" in out


def test_json_of_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    run_command = Command(capsys)
    ended = run_command("describe", "tcn_plain", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out) == describe("tcn_plain").to_dict()
    assert [row["name"] for row in json.loads(run_command("nets", "--json").out)] == list(NETS)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    return tmp_path


def outside(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "convscope", "describe", *arguments],
        capture_output=True, text=True, cwd=folder, timeout=120, check=False,
    )  # fmt: skip


def test_a_network_of_my_own(mine: Path) -> None:
    done = outside(mine, "mine:net", "--input", "3x9x9", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["layers"][0]["receptive_field"] == [3, 3]
    done = outside(mine, "mine:make", "--input", "1x9", "--json")
    assert json.loads(done.stdout)["layers"][0]["output"] == [2, 6]


def test_a_network_that_cannot_be_traced_says_where(mine: Path) -> None:
    done = outside(mine, "mine:Decides", "--input", "3x9x9")
    assert done.returncode == 0, done.stderr
    line = 1 + MINE.splitlines().index("        return y if y.sum() > 0 else -y")
    assert f"mine.py, line {line}: return y if y.sum() > 0 else -y" in done.stdout
    assert "Conv2d" in done.stdout
    done = outside(mine, "mine:Decides", "--input", "3x9x9", "--json")
    found = json.loads(done.stdout)
    assert found["untraced"] is not None
    assert found["layers"][0]["receptive_field"] is None
    assert found["layers"][0]["macs"] == 2 * 49 * 27
    assert "an input of ones" in outside(mine, "mine:Decides", "--input", "3x9x9").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mine:fails",), "mine:fails cannot be had: ValueError: no such luck."),
        (("mine:leaves",), "mine:leaves cannot be had: SystemExit: 0."),
        (("mine:make",), "Tried was 3x224x224: say what it takes with --input"),
        (("mine:nothing",), "module 'mine' has no attribute 'nothing'"),
        (("mine:number",), "mine:number is no torch.nn.Module but int."),
        (("nowhere:net",), "No module named 'nowhere'"),
        (("mine:net", "--input", "1x9x9"), "cannot take inputs of shape 1x9x9"),
        (("mine:net", "--input", "3x9x"), "--input 3x9x: not a shape"),
        (("vgg61",), "Unknown net 'vgg61'. Did you mean 'vgg1"),
        (("vgg16", "--input", "3x20x20"), "height and width of 32 or more; received"),
        (("lenet5", "--input", "1x28x28"), "LeNet5 takes (n, 1, 32, 32); received"),
        ((".",), "is not a finished run"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(mine: Path, arguments: tuple[str, ...], message: str) -> None:
    done = outside(mine, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line != "mine is imported"]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("convscope: ")
    assert message in lines[0]


@pytest.mark.parametrize("text", ["", "x", "3x", "0x3", "-1x3", "3x2x2x2x2", "a", "3 x 4", "3.5x2"])
def test_shapes_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="not a shape"):
        input_shape(text)


def test_shapes() -> None:
    assert input_shape("3x224x224") == (3, 224, 224)
    assert input_shape("1×64") == (1, 64)
    assert input_shape("10") == (10,)


def test_describe_is_public_and_gives_a_description() -> None:
    assert convscope.describe is describe
    with torch.device("meta"):
        net = nn.Conv2d(3, 1, 3)
    assert isinstance(describe(net), Description)
