"""The command line's contract: what goes where, exit codes, help, and never a call stack."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from convscope import __version__, fitting
from convscope.cli import app
from convscope.data import checks
from convscope.demo import story
from convscope.run import Run
from fits import (
    Command,
    assert_no_traceback,
    assert_refused,
    fitted,
    names,
    photos,
    small,
    weights_file,
)
from learnable import TINTS, convscope, tinted_folder

COMMANDS = (
    "app", "audit", "augment", "check", "compare", "demo", "describe", "explain", "features", "fit",
    "forecast", "lesson", "nets", "neurons", "predict", "report",
)  # fmt: skip
# With a group's own commands in its place.
RUNNABLE = (
    *(name for name in COMMANDS if name != "forecast"),
    "forecast backtest", "forecast fit", "forecast predict",
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with small():
        yield


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "200")
    return Command(capsys)


# Help


def test_these_are_the_commands() -> None:
    group = typer.main.get_command(app)
    assert sorted(group.commands) == list(COMMANDS)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", RUNNABLE)
def test_every_command_has_help_with_an_example_that_is_right(name: str, command: Command) -> None:
    words = name.split()
    ended = command(*words, "--help")
    assert ended.code == 0
    assert ended.err == ""
    assert command(*words, "-h").out == ended.out
    example = re.search(rf"Example: convscope ({name} .*\S)", ended.out)
    assert example is not None
    arguments = shlex.split(example[1])[len(words) :]
    parser = typer.main.get_command(app)
    for word in words:
        parser = parser.commands[word]  # type: ignore[attr-defined]
    parser.make_context(name, arguments)  # it would raise what the user would be told


@pytest.mark.parametrize("name", RUNNABLE)
def test_every_command_takes_json_and_seed(name: str, command: Command) -> None:
    shown = command(*name.split(), "--help").out
    assert "--json" in shown
    assert "--seed" in shown


def test_the_contracts_options_of_fit(command: Command) -> None:
    shown = command("fit", "--help").out
    for option in ("out", "strategy", "net", "weights", "augment", "epochs", "resume", "overwrite"):
        assert f"--{option}" in shown


def test_help_and_version(command: Command) -> None:
    shown = command("--help")
    assert shown.code == 0
    assert all(f" {name} " in shown.out for name in COMMANDS)
    version = command("--version")
    assert (version.code, version.out) == (0, f"convscope {__version__}\n")
    assert command().code == 2


# Wrong usage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fot"], "Did you mean 'fit'"),
        (["fit", "photos", "--out", "run", "--stratgy", "cnn"], "--strategy"),
        (["fit", "photos"], "--out"),
        (["fit", "--out", "run"], "PHOTOS"),
        (["fit", "photos", "--out", "run", "--epochs", "many"], "--epochs"),
        (["fit", "photos", "--out", "run", "--seed", "-1"], "--seed"),
        (["fit", "photos", "--out", "run", "--seed", str(2**31)], "--seed"),
        (["demo", "--seed", str(2**31)], "--seed"),
        (["check", "photos", "--workers", "-1"], "--workers"),
        (["predict", "run"], "PHOTOS"),
        (["predict", "run", "a.jpg", "--format", "xml"], "csv"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str],
    said: str,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = command(*arguments)
    assert ended.code == 2
    assert said.lower() in ended.err.lower()
    assert ended.out == ""
    assert "Traceback" not in ended.err
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--strategy", "feature", "Unknown strategy 'feature'. Did you mean 'features'?"),
        ("--net", "mobilnet", "Unknown net 'mobilnet'. Did you mean 'mobilenet_v2'?"),
        ("--augment", "standrad", "Unknown augmentation 'standrad'. Did you mean 'standard'?"),
        ("--augment", "stronk", "Allowed: none, standard, strong"),
        ("--weights", "nowhere.pth", "no such file"),
        ("--precision", "exakt", "Received: 'exakt'"),
        ("--epochs", "0", "epochs: input should be greater than or equal to 1. Received: 0."),
        ("--out", ".", "is no name for a folder"),
    ],
)
def test_unknown_names_are_told_the_nearest(
    option: str,
    value: str,
    said: str,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--out", "run", "--strategy", "cnn", option, value]
    assert_refused(command("fit", photos(), *arguments), 2, said)
    assert names(tmp_path) == []


# What goes where


def test_fit_shows_figures_and_says_where_the_page_is(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "my run"
    ended = command(
        "fit", photos(), "--out", out, "--strategy", "cnn", "--epochs", 2, "--workers", 0
    )
    assert ended.code == 0
    test = Run(out).metrics()["splits"]["test"]
    row = next(line for line in ended.out.splitlines() if re.search(r"\btest\b.*\d\.\d", line))
    low, high = test["accuracy_95"]
    assert f"{test['accuracy']:.3f}" in row
    assert f"{low:.3f}-{high:.3f}" in row
    assert f"report: {out / 'report.html'}" in ended.out
    assert "Always naming 'brick' would reach 0.333" in ended.out
    # Progress and messages are not results.
    assert "33 photos, 3 classes; cnn was asked for" in ended.err
    assert "training" in ended.err
    assert "training" not in ended.out
    assert_no_traceback(ended)


def test_fit_as_json_is_the_metrics_and_nothing_else(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "run"
    ended = command(
        "fit", photos(), "--out", out, "--weights", weights_file(), "--json", "--workers", 0
    )
    assert ended.code == 0
    said = json.loads(ended.out)
    assert said == {
        "run": str(out), "report": str(out / "report.html"), **Run(out).metrics(),
    }  # fmt: skip
    assert said["strategy"] == "features"
    assert "features of mobilenet_v2" in ended.err
    assert_no_traceback(ended)


def test_check_as_table_and_as_json(command: Command, tmp_path: Path) -> None:
    folder = tinted_folder(tmp_path / "photos", 3)
    (folder / "sky" / "bro[ken].jpg").write_text("no photo")
    table = command("check", folder, "--workers", 0)
    assert table.code == 0
    assert "sky/bro[ken].jpg: not a picture" in table.out
    assert "9 usable photos" in table.out
    said = command("check", folder, "--json", "--workers", 0)
    assert said.code == 0
    report = json.loads(said.out)
    assert report["photos"] == 9
    assert report["counts"] == {"all": dict.fromkeys(TINTS, 3)}
    assert report["findings"][0]["path"] == "sky/bro[ken].jpg"
    assert report["findings"][0]["kind"] == "unreadable"
    assert names(folder) == sorted(TINTS)


def test_demo_hands_its_options_on(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}

    def tell(out: Path, **asked: Any) -> Run:
        told.update(asked, out=out)
        return fitted("cnn")

    monkeypatch.setattr(story, "tell", tell)
    ended = command("demo", "--out", tmp_path / "d", "--seed", 4, "--shortcut", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["report"].endswith("report.html")
    del told["progress"]
    assert told == {"out": tmp_path / "d", "seed": 4, "shortcut": True, "overwrite": False,
                    "quick": False}  # fmt: skip


def test_colours_are_for_terminals_only(command: Command) -> None:
    ended = command("predict", fitted("cnn").path, photos() / "test", "--workers", 0)
    assert "\x1b" not in ended.out + ended.err


# What goes wrong


def broken(error: BaseException) -> Any:
    def function(*_: object, **__: object) -> None:
        raise error

    return function


def test_a_fault_of_ours_is_one_line_that_says_how_to_report_it(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "check", broken(ZeroDivisionError("deep inside")))
    monkeypatch.delenv("CONVSCOPE_DEBUG", raising=False)
    ended = command("check", photos())
    assert ended.code == 1
    assert ended.out == ""
    assert ended.err.count("\n") == 1
    for text in ("ZeroDivisionError: deep inside", "fault in convscope", "CONVSCOPE_DEBUG=1"):
        assert text in ended.err
    monkeypatch.setenv("CONVSCOPE_DEBUG", "1")
    from convscope.cli import main

    with pytest.raises(ZeroDivisionError):
        main(["check", str(photos())])


def test_too_little_memory_is_no_fault(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "check", broken(MemoryError()))
    assert_refused(command("check", photos()), 1, "Not enough memory", "--workers")


def test_ctrl_c_outside_of_a_fit(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "check", broken(KeyboardInterrupt()))
    ended = command("check", photos())
    assert ended.code == 1
    assert ended.out == ""
    assert_no_traceback(ended)


def test_ctrl_c_before_a_fit_has_begun(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "scan", broken(KeyboardInterrupt()))
    ended = command("fit", photos(), "--out", tmp_path / "run")
    assert ended.code == 1
    assert "--resume" not in ended.err
    assert names(tmp_path) == []


def test_a_reader_that_has_seen_enough_is_no_fault() -> None:
    """As in ``convscope check photos | head -1``, with the reader gone before the first word."""
    code = "import sys; from convscope.cli import main; main(sys.argv[1:])"
    for form in (["--json"], []):
        command = [sys.executable, "-c", code, "check", str(photos()), "--workers", "0", *form]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as running:
            assert running.stdout is not None
            assert running.stderr is not None
            running.stdout.close()
            said = running.stderr.read()
        assert "fault" not in said
        assert "Traceback" not in said


def test_a_terminal_without_unicode_gets_what_it_can_show(tmp_path: Path) -> None:
    folder = tinted_folder(tmp_path / "photos", 2)
    (folder / "sky").rename(folder / "ciel été 花")
    code = "import sys; from convscope.cli import main; main(sys.argv[1:])"
    for form in (["--json"], []):
        ended = subprocess.run(
            [sys.executable, "-c", code, "check", str(folder), *form],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert "ciel " in ended.stdout


def test_help_is_there_at_once() -> None:
    took = []
    for _ in range(3):
        started = time.perf_counter()
        ended = convscope("--help")
        took.append(time.perf_counter() - started)
        assert ended.returncode == 0
    # The promise is 0.6 s on a quiet machine.
    assert min(took) < 1.5


def test_the_module_is_the_command() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "convscope", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout == f"convscope {__version__}\n"
