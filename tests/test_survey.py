"""Decoding in worker processes: same result, same order, bounded, and no hang when one dies."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import photos
from convscope.data import survey as module
from convscope.data.images import decode_photo, square
from convscope.data.survey import CHUNK, Chunk, DecodeSpec, Facts, survey
from convscope.errors import ConvscopeError

SPEC = DecodeSpec(resize=40, size=32)
COUNT = 5 * CHUNK + 3  # enough for worker processes, and a last chunk that is not full


@pytest.fixture
def mixed(tmp_path: Path) -> list[Path]:
    """Photos of several sizes and formats; number 7 is text and number 20 is not there."""
    suffixes = [".jpg", ".png", ".webp"]
    paths = [
        photos.save_texture(tmp_path / f"{i}{suffixes[i % 3]}", i, width=60 + 3 * i, height=80)
        for i in range(COUNT)
    ]
    paths[7].write_text("not a photo")
    paths[20].unlink()
    return paths


def flat(chunks: Sequence[Chunk]) -> tuple[list[Facts], np.ndarray]:
    return [f for chunk in chunks for f in chunk.facts], np.concatenate([c.pixels for c in chunks])


def test_workers_give_what_one_process_gives(mixed: list[Path]) -> None:
    here = list(survey(mixed, SPEC, workers=0))
    there = list(survey(mixed, SPEC, workers=2))
    assert [chunk.rows for chunk in there] == [chunk.rows for chunk in here]
    assert [i for chunk in there for i in chunk.rows] == list(range(COUNT))
    facts, pixels = flat(there)
    facts_here, pixels_here = flat(here)
    assert (pixels == pixels_here).all()
    for a, b in zip(facts, facts_here, strict=True):
        assert (a.error_kind, a.error, a.format, a.width, a.height, a.sha256) == (
            b.error_kind, b.error, b.format, b.width, b.height, b.sha256,
        )  # fmt: skip
        assert (a.thumb == b.thumb).all()
    assert multiprocessing.active_children() == []


def test_facts_and_pixels_belong_to_the_file(mixed: list[Path]) -> None:
    facts, pixels = flat(list(survey(mixed, SPEC, workers=0)))
    assert len(facts) == COUNT
    for i, (path, fact) in enumerate(zip(mixed, facts, strict=True)):
        if i in (7, 20):
            continue
        content = path.read_bytes()
        assert fact.usable
        assert fact.format == ("JPEG", "PNG", "WEBP")[i % 3]
        assert (fact.width, fact.height) == (60 + 3 * i, 80)
        assert fact.sha256 == hashlib.sha256(content).hexdigest()
        exact = square(decode_photo(content), 40, 32).astype(int)
        # The fast way, which differs more on photos as small as these; another photo by 50.
        assert np.abs(pixels[i] - exact).mean() < 4
    text, absent = facts[7], facts[20]
    assert (text.usable, text.error_kind) == (False, "unreadable")
    assert text.sha256 == hashlib.sha256(b"not a photo").hexdigest()
    assert (absent.usable, absent.error_kind, absent.sha256) == (False, "unreadable", "")
    assert "No such file" in absent.error
    assert not pixels[[7, 20]].any()
    assert pixels[8].any()


@pytest.mark.parametrize("workers", [None, 0, 2])
def test_no_photos_at_all(workers: int | None) -> None:
    assert list(survey([], SPEC, workers=workers)) == []


def test_a_photo_that_memory_has_no_room_for_is_one_finding(
    mixed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.thumbnail

    def thumbnail(image: Image.Image) -> np.ndarray:
        if image.width == 60 + 3 * 4:
            raise MemoryError
        return real(image)

    monkeypatch.setattr(module, "thumbnail", thumbnail)
    facts, pixels = flat(list(survey(mixed[:6], DecodeSpec(40, 32, fast=False), workers=0)))
    assert [f.error_kind for f in facts] == ["", "", "", "", "too_large", ""]
    assert not pixels[4].any()
    assert pixels[5].any()


class _Lazy:
    """Counts what is asked for, and does nothing."""

    def __init__(self) -> None:
        self.submitted = 0

    def submit(self, work: Callable[..., object], *given: object) -> Future[object]:
        self.submitted += 1
        future: Future[object] = Future()
        future.set_result(((), np.empty(0)))
        return future


def test_few_chunks_wait_for_a_slow_caller() -> None:
    executor = _Lazy()
    paths = [Path("x")] * 50_000
    ranges = [range(i, i + CHUNK) for i in range(0, 50_000, CHUNK)]
    chunks = module._ordered(executor, len, paths, ranges, 6)
    for taken in range(1, 101):
        next(chunks)
        assert executor.submitted - taken <= 6
    assert [rows for rows, _ in chunks] == ranges[100:]
    assert executor.submitted == len(ranges)


def test_a_killed_worker_is_an_error_and_no_hang(tmp_path: Path) -> None:
    # Many more than can be decoded ahead of the caller.
    paths = [photos.save_texture(tmp_path / f"{i}.png", i) for i in range(20)] * 50
    chunks = survey(paths, SPEC, workers=2)
    next(chunks)
    victim, *_ = multiprocessing.active_children()
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    with pytest.raises(ConvscopeError, match="killed by the system"):
        list(chunks)
    assert multiprocessing.active_children() == []


def ignores_ctrl_c(process: int) -> bool:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn:"))
    return bool(mask >> (signal.SIGINT - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc on this system")
def test_ctrl_c_reaches_the_parent_alone(tmp_path: Path) -> None:
    if ignores_ctrl_c(os.getpid()):
        pytest.skip("started so that Ctrl-C is ignored by all")
    paths = [photos.save_texture(tmp_path / f"{i}.png", i) for i in range(100)]
    chunks = survey(paths, SPEC, workers=2)
    next(chunks)
    workers = [child.pid for child in multiprocessing.active_children() if child.pid]
    assert len(workers) == 2
    # The second worker may still be starting.
    until = time.monotonic() + 30
    while not all(ignores_ctrl_c(pid) for pid in workers):
        assert time.monotonic() < until, "a worker would die of Ctrl-C"
        time.sleep(0.01)
    for pid in workers:
        os.kill(pid, signal.SIGINT)
    assert sum(len(chunk.rows) for chunk in chunks) == 100 - CHUNK


def test_a_caller_that_stops_early_leaves_no_process(mixed: list[Path]) -> None:
    chunks = survey(mixed, SPEC, workers=2)
    next(chunks)
    assert len(multiprocessing.active_children()) == 2
    chunks.close()
    assert multiprocessing.active_children() == []


def test_a_worker_imports_nothing_heavy() -> None:
    code = (
        "import sys, convscope.data.survey\n"
        "heavy = {'torch', 'cv2', 'scipy', 'sklearn', 'pyarrow', 'pydantic', 'rich'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
