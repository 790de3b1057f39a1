"""Pixels kept while they are being decoded: in memory and in a file, whole and interrupted."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import photos
from convscope.data.pixels import Pixels
from convscope.data.survey import DecodeSpec, Facts, survey
from convscope.errors import ConvscopeError, InputError

SPEC = DecodeSpec(resize=36, size=32)
COUNT = 60


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Sixty photos; number 5 is empty."""
    root = tmp_path_factory.mktemp("photos")
    made = [photos.save_texture(root / f"{i}.png", i) for i in range(COUNT)]
    made[5].write_bytes(b"")
    return made


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    """Where the cache file goes; afterwards no decoding may go on."""
    yield tmp_path / "pixels.cache"
    assert multiprocessing.active_children() == []
    assert "decode" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("in_file", [False, True])
def test_memory_and_file_hold_what_survey_gives(
    paths: list[Path], cache: Path, in_file: bool, workers: int
) -> None:
    truth = np.concatenate([chunk.pixels for chunk in survey(paths, SPEC, workers=0)])
    order = np.random.default_rng(0).permutation(COUNT).tolist()
    limit = COUNT * 32 * 32 * 3 - in_file
    pixels = Pixels(paths, SPEC, order, cache_file=cache, workers=workers, max_memory=limit)
    facts = pixels.facts()
    assert isinstance(pixels.array, np.memmap) == in_file == cache.exists()
    assert (np.asarray(pixels.array) == truth).all()
    assert [f.usable for f in facts] == [i != 5 for i in range(COUNT)] == pixels.usable.tolist()
    assert facts[0].width == 96
    pixels.close()
    assert not cache.exists()


def test_photos_come_in_the_order_asked_for(paths: list[Path], cache: Path) -> None:
    order = list(range(COUNT))[::-1]
    seen: list[int] = []
    completed: list[int] = []
    second, go_on = threading.Event(), threading.Event()

    def on_chunk(rows: Sequence[int], facts: Sequence[Facts]) -> None:
        assert [f.usable for f in facts] == [row != 5 for row in rows]
        if seen:
            second.set()
            assert go_on.wait(30)
        seen.extend(rows)

    pixels = Pixels(
        paths, SPEC, order, cache_file=cache, workers=0, on_chunk=on_chunk,
        on_complete=lambda facts: completed.append(len(facts)),
    )  # fmt: skip
    # While the second chunk is held back the first can be used, and the last is not there.
    assert second.wait(30)
    pixels.wait(np.array(order[:8]))
    assert pixels.array[order[:8]].any(axis=(1, 2, 3)).all()
    assert not pixels.array[0].any()
    assert completed == []
    go_on.set()
    pixels.wait()
    assert seen == order
    assert completed == [COUNT]
    pixels.close()


def test_what_on_complete_raises_reaches_whoever_waits(paths: list[Path], cache: Path) -> None:
    def judge(facts: Sequence[Facts]) -> None:
        raise InputError("too few photos")

    pixels = Pixels(
        paths, SPEC, range(COUNT), cache_file=cache, workers=0, on_complete=judge, max_memory=0
    )
    with pytest.raises(InputError, match="too few photos"):
        pixels.wait()
    with pytest.raises(InputError, match="too few photos"):
        pixels.facts()
    pixels.close()
    assert not cache.exists()


def test_what_on_chunk_raises_leaves_no_process(paths: list[Path], cache: Path) -> None:
    def fail(rows: Sequence[int], facts: Sequence[Facts]) -> None:
        raise OSError("disk full")

    pixels = Pixels(paths, SPEC, range(COUNT), cache_file=cache, workers=2, on_chunk=fail)
    with pytest.raises(OSError, match="disk full"):
        pixels.wait(np.array([COUNT - 1]))
    # Before any close: the error alone has ended the workers.
    assert multiprocessing.active_children() == []
    pixels.close()


def test_a_killed_worker_is_an_error_and_no_hang(paths: list[Path], cache: Path) -> None:
    started, killed = threading.Event(), threading.Event()

    def hold(rows: Sequence[int], facts: Sequence[Facts]) -> None:
        started.set()
        assert killed.wait(30)

    # Many more photos than chunks can wait for the caller.
    many = paths * 20
    pixels = Pixels(many, SPEC, range(len(many)), cache_file=cache, workers=2, on_chunk=hold)
    assert started.wait(30)
    for child in multiprocessing.active_children():
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    killed.set()
    with pytest.raises(ConvscopeError, match="killed by the system"):
        pixels.wait()
    pixels.close()


def test_close_midway_leaves_no_process_and_no_file(paths: list[Path], cache: Path) -> None:
    started = threading.Event()
    many = paths * 20
    pixels = Pixels(
        many, SPEC, range(len(many)), cache_file=cache, workers=2, max_memory=0,
        on_chunk=lambda rows, facts: started.set(),
    )  # fmt: skip
    assert started.wait(30)
    assert cache.exists()
    assert cache.stat().st_size == len(many) * 32 * 32 * 3
    pixels.close()
    assert not cache.exists()
    assert multiprocessing.active_children() == []
    # Whoever still waits is told, and does not wait for ever.
    for rows in (None, np.array([len(many) - 1])):
        with pytest.raises(ConvscopeError, match="closed before"):
            pixels.wait(rows)
    pixels.close()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no reserving on this system")
def test_a_full_disk_is_told_at_once(
    paths: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(stream: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ConvscopeError, match="No space left on device"):
        Pixels(paths, SPEC, range(COUNT), cache_file=cache, max_memory=0)
    assert not cache.exists()
