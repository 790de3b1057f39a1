"""The lessons' arithmetic against numbers worked out by hand, and in the terminal."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from convscope.errors import InputError
from convscope.lessons.catalog import LESSONS, load
from convscope.lessons.convolution import FILTER, IMAGE, convolve, example
from convscope.lessons.lesson import number
from convscope.lessons.terminal import tell


def printed(name: str) -> str:
    text = io.StringIO()
    tell(load(name), Console(file=text, width=120))
    return text.getvalue()


@pytest.mark.parametrize("name", LESSONS)
def test_every_lesson_has_steps_and_data_that_json_can_hold(name: str) -> None:
    lesson = load(name)
    assert lesson.name == name
    assert lesson.steps
    assert json.loads(json.dumps(lesson.data, allow_nan=False)) == lesson.data
    text = printed(name)
    for step in lesson.steps:
        assert step.title in text


def test_an_unknown_lesson_is_one_line_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="Did you mean 'convolution'"):
        load("convoluton")


def test_the_reader_can_stop() -> None:
    text = io.StringIO()
    answers = iter([True, False])
    tell(load("convolution"), Console(file=text), lambda: next(answers))
    assert "2 of 19" in text.getvalue()
    assert "3 of 19" not in text.getvalue()


def test_numbers_are_written_as_one_would() -> None:
    assert [number(x) for x in (-105.5, 32.0, 1 / 3, -1e-9, 100.0)] == [
        "-105.5", "32", "0.3333", "0", "100",
    ]  # fmt: skip


# The first example of the course


def test_the_slides_numbers_row_by_row() -> None:
    data = load("convolution").data
    hand = [
        [32.5, -105.5, -44, -60.5],
        [-105.5, 104, 224, 213.5],
        [185.5, 217.5, 38.5, 52.5],
        [54, 31, -18, 37.5],
    ]
    for found, expected in zip(data["result"], hand, strict=True):
        assert found == pytest.approx(expected)
    for found, expected in zip(data["relu"], hand, strict=True):
        assert found == pytest.approx([max(0, x) for x in expected])
    for found, expected in zip(data["pooled"], [[104, 224], [217.5, 52.5]], strict=True):
        assert found == pytest.approx(expected)


def test_the_sum_is_written_out() -> None:
    text = printed("convolution")
    assert "255·(-0.7) + 220·0.2 + 150·0.1" in text
    assert "= 32.5" in text
    assert "transpose" in text


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(2, 1, 1), (1, 2, 2), (3, 0, 2)])
def test_stride_padding_and_dilation_are_a_layers(stride: int, padding: int, dilation: int) -> None:
    layer = nn.Conv2d(1, 1, 3, stride, padding, dilation, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(FILTER, dtype=torch.float64)[None, None])
        expected = layer(torch.tensor(IMAGE, dtype=torch.float64)[None, None])[0, 0]
    assert torch.allclose(convolve(IMAGE, FILTER, stride, padding, dilation), expected)
    lesson = example(IMAGE, FILTER, stride, padding, dilation)
    assert lesson.steps[0].text.endswith(f"= {number(float(expected[0, 0]))}")


def test_a_filter_that_does_not_fit_is_one_clear_error() -> None:
    with pytest.raises(InputError, match="spans 7 x 7 pixels does not fit"):
        convolve(IMAGE, FILTER, dilation=3)


# The command


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "convscope", "lesson", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def test_the_command_lists_tells_and_gives_json() -> None:
    listed = command()
    assert listed.returncode == 0
    assert all(name in listed.stdout for name in LESSONS)
    told = command("convolution")
    assert "19 of 19" in told.stdout
    assert json.loads(command("convolution", "--json").stdout)["pool"] == 2
    wrong = command("nonsense")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "Unknown lesson" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_pages_are_files_or_a_folder(tmp_path: Path) -> None:
    ended = command("convolution", "--page", tmp_path / "one.html")
    assert (tmp_path / "one.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "one.html" in ended.stdout
    assert command("convolution", "--page", tmp_path).returncode == 2
    assert command("--page", tmp_path / "one.html").returncode == 2
