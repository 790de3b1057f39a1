"""Small fits that several test files look at, and the command line in this process."""

from __future__ import annotations

import atexit
import csv
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from convscope.cli import main
from convscope.fitting import fit
from convscope.nets.catalog import NETS
from convscope.options import FitOptions
from convscope.progress import Progress
from convscope.run import Run
from learnable import TINTS, settled_net, tinted_folder

STOPS = (signal.SIGINT, signal.SIGTERM)
STRATEGIES = ("fcnn", "cnn", "features")


@cache
def folder() -> Path:
    """One for this process, removed at its end."""
    made = Path(tempfile.mkdtemp(prefix="convscope-tests-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@cache
def weights_file() -> Path:
    """A MobileNetV2 that was not trained, with activations as if it had been."""
    file = folder() / "backbone.safetensors"
    with small():
        tensors = settled_net(len(TINTS), side=64).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    return file


@contextmanager
def one_thread() -> Iterator[None]:
    """On several cores networks this small only wait for themselves; on a busy machine, long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def small() -> Iterator[None]:
    """One thread, and a MobileNetV2 that takes photos of 64 x 64: a twelfth of the work."""
    less = replace(NETS["mobilenet_v2"], input=(3, 64, 64), resize=72)
    with one_thread(), patch.dict(NETS, mobilenet_v2=less):
        yield


@cache
def photos() -> Path:
    """Split folders, 33 photos: who trains, who validates and who tests is given."""
    return tinted_folder(folder() / "photos", {"train": 6, "valid": 3, "test": 2})


def options(strategy: str, **changes: Any) -> FitOptions:
    """The least work that this strategy can be asked for."""
    asked: dict[str, Any] = {"strategy": strategy}
    if strategy == "features":
        asked |= {"weights": str(weights_file()), "precision": "exact"}
    else:
        asked |= {"epochs": 4}
    return FitOptions(**asked | changes)


@cache
def fitted(strategy: str) -> Run:
    """A finished run on :func:`photos`; to look at, not to change."""
    with small():
        return fit(photos(), folder() / strategy, options(strategy), workers=0)


class Heard(Progress):
    """What a fit says, kept."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


TIMES = ("seconds", "wait_share")


def epochs(run: Run) -> list[dict[str, str]]:
    """The learning curves without the columns that no two trainings share."""
    with run.epochs_path.open(newline="") as stream:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(stream)]


def assert_same_run(a: Run, b: Run) -> None:
    """Same weights, same curves, same figures; only times may differ."""
    assert a.info().model_sha256 == b.info().model_sha256
    assert a.model_path.read_bytes() == b.model_path.read_bytes()
    assert a.info().temperature == b.info().temperature
    if a.epochs_path.exists() or b.epochs_path.exists():
        assert epochs(a) == epochs(b)
    of_a, of_b = a.predictions(), b.predictions()
    assert (of_a.paths, of_a.splits) == (of_b.paths, of_b.splits)
    np.testing.assert_array_equal(of_a.probabilities, of_b.probabilities)
    assert {**a.metrics(), "seconds": 0} == {**b.metrics(), "seconds": 0}


def interrupting(owner: Any, name: str, call: int = 1) -> Callable[..., Any]:
    """The function or method, with Ctrl-C at its n-th call, before it does anything."""
    real = getattr(owner, name)
    calls = 0

    def method(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return real(*args, **options)

    return method


def names(where: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in where.iterdir())


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


class Command:
    """The command line, in this process; PyTorch is imported once for all tests."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str | Path) -> Ended:
        self.capsys.readouterr()
        handlers = {number: signal.getsignal(number) for number in STOPS}
        try:
            with pytest.raises(SystemExit) as ended:
                main([str(argument) for argument in arguments])
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        captured = self.capsys.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else int(code is not None), *captured)


def assert_refused(ended: Ended, code: int, *said: str) -> None:
    """One clear line on stderr that says this, and nothing else."""
    lines = [line for line in ended.err.splitlines() if line.startswith("convscope: ")]
    assert len(lines) == 1, ended.err
    assert all(text in lines[0] for text in said), lines[0]
    assert ended.code == code
    assert ended.out == ""
    assert_no_traceback(ended)


def assert_no_traceback(ended: Ended) -> None:
    """No word of a fault, and no call stack."""
    for word in ("Traceback", "fault in convscope", "Error:", "Warning:"):
        assert word not in ended.err, ended.err
