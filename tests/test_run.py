"""The Run folder: written whole or not at all, read with checks."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from convscope import unfinished
from convscope.errors import ConvscopeError, InputError
from convscope.run import Predictions, Run
from convscope.writing import RunWriter

ASKED: dict[str, Any] = {"strategy": "cnn", "epochs": 3, "photos_state": "abc"}

INFO: dict[str, Any] = {
    "format": 1,
    "created": "2026-01-02T03:04:05+00:00",
    "asked": {},
    "strategy": "cnn",
    "reason": "cnn was asked for",
    "net": "small_cnn",
    "classes": ["cat", "dog"],
    "input": {"size": 48, "resize": 48, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    "precision": {"mode": "fast", "dtype": "float32", "float32_stages": 0, "cosine": None},
    "weights": None,
    "augment": None,
    "training": {},
    "temperature": 1.5,
    "photos": {"root": "photos", "layout": "class folders", "split": "as given", "counts": {}},
    "versions": {},
    "seed": 0,
    "model_sha256": "00",
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def old_run(folder: Path) -> Path:
    """A run that lies there already."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    (folder / "old.txt").write_text("old")
    return folder


# Where a run may be made


def test_a_run_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "my run"
    writer = RunWriter(out, ASKED)
    writer.write_json("metrics.json", {"a": 1})
    writer.write_json("log/check.json", {})
    (writer.work / "last.ckpt").write_text("x")
    assert names(out.parent) == ["my run.partial"]
    assert writer.run.metrics() == {"a": 1}
    run = writer.finish()
    assert run.path == out
    assert names(out.parent) == ["my run"]
    assert names(out) == ["log", "metrics.json"]


def test_an_existing_run_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    out = old_run(tmp_path / "run")
    with pytest.raises(InputError, match=r"exists already.*--overwrite"):
        RunWriter(out, ASKED)
    assert names(tmp_path) == ["run"]
    assert names(out) == ["old.txt", "run.json"]


def test_overwriting_replaces_the_old_run_at_the_very_end(tmp_path: Path) -> None:
    out = old_run(tmp_path / "run")
    writer = RunWriter(out, ASKED, overwrite=True)
    writer.write_json("metrics.json", {})
    assert names(out) == ["old.txt", "run.json"]
    writer.finish()
    assert names(tmp_path) == ["run"]
    assert names(out) == ["metrics.json"]


def test_an_old_run_is_put_back_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = old_run(tmp_path / "run")
    writer = RunWriter(out, ASKED, overwrite=True)
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self == writer.folder:
            raise OSError(errno.EIO, "no luck")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OSError, match="no luck"):
        writer.finish()
    assert names(tmp_path) == ["run", "run.partial"]
    assert names(out) == ["old.txt", "run.json"]


def test_a_run_that_has_come_to_lie_there_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", ASKED)
    old_run(tmp_path / "run")
    with pytest.raises(OSError, match="not empty"):
        writer.finish()
    assert names(tmp_path / "run") == ["old.txt", "run.json"]


def make_photos(out: Path) -> None:
    out.mkdir()
    (out / "holiday.jpg").write_text("dear")


def make_file(out: Path) -> None:
    out.write_text("a letter")


def make_link_to_a_run(out: Path) -> None:
    out.symlink_to(old_run(out.parent / "elsewhere"))


def make_dead_link(out: Path) -> None:
    out.symlink_to(out.parent / "nowhere")


@pytest.mark.parametrize("make", [make_photos, make_file, make_link_to_a_run, make_dead_link])
def test_what_is_no_run_is_never_overwritten(make: Callable[[Path], None], tmp_path: Path) -> None:
    out = tmp_path / "run"
    make(out)
    before = names(tmp_path)
    with pytest.raises(InputError, match="exists already"):
        RunWriter(out, ASKED)
    with pytest.raises(InputError, match="is no run of convscope: it is not overwritten"):
        RunWriter(out, ASKED, overwrite=True)
    assert names(tmp_path) == before


def test_an_empty_folder_may_be_overwritten(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    RunWriter(tmp_path / "run", ASKED, overwrite=True).finish()
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize("out", ["", ".", "..", "/", "a/.."])
def test_a_run_needs_a_name(out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no name for a folder"):
        RunWriter(Path(out), ASKED, overwrite=True)


def unwritable_places(folder: Path) -> list[Path]:
    (folder / "file").write_text("x")
    places = [folder / "file" / "run", folder / ("long" * 100), Path("/proc/convscope-run")]
    if os.getuid() != 0:  # root writes everywhere
        (folder / "locked").mkdir(mode=0o500)
        places.append(folder / "locked" / "run")
    return places


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    for out in unwritable_places(tmp_path):
        with pytest.raises(ConvscopeError, match=r"cannot be written: .*Choose another --out"):
            RunWriter(out, ASKED)
    assert set(names(tmp_path)) <= {"file", "locked"}


def test_a_disk_that_is_full_from_the_start_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(target: Path, content: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(unfinished, "write_json", full)
    with pytest.raises(ConvscopeError, match="No space left"):
        RunWriter(tmp_path / "run", ASKED)
    assert names(tmp_path) == []


# Interrupted and resumed


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    """Where a fit was to write that was interrupted."""
    writer = RunWriter(tmp_path / "run", ASKED)
    (writer.work / "last.ckpt").write_text("state")
    return tmp_path / "run"


def test_an_interrupted_fit_is_neither_resumed_nor_dropped_unasked(interrupted: Path) -> None:
    with pytest.raises(InputError, match="--resume to go on with it, or --overwrite"):
        RunWriter(interrupted, ASKED)
    assert (interrupted.with_name("run.partial") / "work" / "last.ckpt").exists()


def test_resuming_finds_what_was_done(interrupted: Path) -> None:
    writer = RunWriter(interrupted, ASKED, resume=True)
    assert writer.resumed
    assert (writer.work / "last.ckpt").read_text() == "state"


def test_overwriting_starts_afresh(interrupted: Path) -> None:
    writer = RunWriter(interrupted, ASKED, overwrite=True)
    assert not writer.resumed
    assert names(writer.work) == ["asked.json", "lock"]


def test_with_nothing_to_resume_it_starts_from_the_beginning(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", ASKED, resume=True)
    assert not writer.resumed
    writer.finish()
    with pytest.raises(InputError, match="exists already"):
        RunWriter(tmp_path / "run", ASKED, resume=True)


def test_resuming_asks_for_the_same_as_before(interrupted: Path) -> None:
    with pytest.raises(InputError, match=r"something else: epochs was 3, strategy was 'cnn'\."):
        RunWriter(interrupted, {**ASKED, "epochs": 9, "strategy": "fcnn"}, resume=True)
    with pytest.raises(InputError, match="something else: extra was None"):
        RunWriter(interrupted, {**ASKED, "extra": 1}, resume=True)
    with pytest.raises(InputError, match="The photos have changed"):
        RunWriter(interrupted, {**ASKED, "photos_state": "other"}, resume=True)
    assert RunWriter(interrupted, ASKED, resume=True).resumed


def test_what_json_does_not_tell_apart_is_the_same(tmp_path: Path) -> None:
    RunWriter(tmp_path / "run", {"range": (1, 2)})
    assert RunWriter(tmp_path / "run", {"range": (1, 2)}, resume=True).resumed


def test_a_folder_that_is_no_interrupted_fit_is_not_resumed(tmp_path: Path) -> None:
    other = tmp_path / "run.partial"
    other.mkdir()
    for _ in range(2):
        with pytest.raises(InputError, match="is no interrupted fit"):
            RunWriter(tmp_path / "run", ASKED, resume=True)
        (other / "work").mkdir(exist_ok=True)
        (other / "work" / "asked.json").write_text("{half")


def test_what_a_killed_process_was_writing_is_not_in_the_run(interrupted: Path) -> None:
    writer = RunWriter(interrupted, ASKED, resume=True)
    writer.write_json("log/check.json", {})
    (writer.folder / ".model.safetensors.4711").write_bytes(b"half")
    (writer.folder / "log" / ".epochs.csv.4711").write_bytes(b"half")
    writer.finish()
    assert sorted(path.name for path in interrupted.rglob("*")) == ["check.json", "log"]


def test_discarding_leaves_nothing(interrupted: Path) -> None:
    RunWriter(interrupted, ASKED, resume=True).discard()
    assert names(interrupted.parent) == []


# What is in it


def test_the_model_file_holds_every_tensor_and_its_hash_is_told(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    net[0].weight.data = net[0].weight.data.contiguous(memory_format=torch.channels_last)
    writer = RunWriter(tmp_path / "run", ASKED)
    sha256 = writer.write_model(net)
    file = writer.run.model_path
    assert hashlib.sha256(file.read_bytes()).hexdigest() == sha256
    tensors = load_file(file)
    assert set(tensors) == set(net.state_dict())
    assert all(torch.equal(tensors[name], value) for name, value in net.state_dict().items())


ODD = b"caf\xe9".decode("utf-8", "surrogateescape")  # a name in Latin-1, as Linux allows


def predictions(classes: tuple[str, ...] = ("cat", "sea lion")) -> Predictions:
    return Predictions(
        paths=("cat/1.jpg", "sea lion/été 花.jpg", f"cat/{ODD}.jpg"),
        splits=("train", "valid", "test"),
        labels=("cat", "sea lion", "cat"),
        classes=classes,
        probabilities=np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], np.float32),
    )


def test_predictions_as_they_lie_on_disk(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", ASKED)
    writer.write_predictions(predictions())
    table = pq.read_table(writer.folder / "predictions.parquet").to_pydict()
    assert list(table) == ["path", "split", "label", "predicted", "p_cat", "p_sea lion"]
    assert table["path"] == ["cat/1.jpg", "sea lion/été 花.jpg", "cat/caf\\udce9.jpg"]
    assert table["predicted"] == ["cat", "sea lion", "sea lion"]
    assert table["p_sea lion"] == pytest.approx([0.1, 0.8, 0.6])


def test_predictions_are_read_as_they_were_written(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", ASKED)
    written = predictions()
    writer.write_predictions(written)
    read = writer.run.predictions()
    assert read.paths[:2] == written.paths[:2]
    assert (read.splits, read.labels, read.classes) == (
        written.splits, written.labels, written.classes,
    )  # fmt: skip
    assert read.predicted == written.predicted
    np.testing.assert_array_equal(read.probabilities, written.probabilities)


def test_nothing_that_is_no_number_gets_into_json(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", ASKED)
    writer.write_json("metrics.json", {"accuracy": 0.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        writer.write_json("metrics.json", {"accuracy": float("nan")})
    assert writer.run.metrics() == {"accuracy": 0.5}
    writer.write_json("metrics.json", {"path": ODD})
    assert writer.run.metrics() == {"path": ODD}


# Reading what others may have changed


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "run" / "log").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text(json.dumps(INFO))
    return Run(tmp_path / "run")


def test_run_json_is_read(run: Run) -> None:
    info = run.info()
    assert info.classes == ("cat", "dog")
    assert info.input.mean == (0.5, 0.5, 0.5)
    assert info.temperature == 1.5
    assert run.model_path.name == "model.safetensors"
    assert run.report_path.name == "report.html"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"temperature": -1}, "temperature: .*greater than 0"),
        ({"classes": ["cat"]}, "classes: .*at least 2"),
        ({"format": 2}, "format: .*should be 1"),
        ({"strategy": "guess"}, "strategy: "),
        ({"from the future": 1}, "from the future: Extra"),
        ({"input": {"size": 48}}, r"input\.resize: Field required"),
    ],
)
def test_a_run_of_another_version_is_refused_by_field(
    change: dict[str, Any], said: str, run: Run
) -> None:
    (run.path / "run.json").write_text(json.dumps({**INFO, **change}))
    with pytest.raises(InputError, match=f"not a run of this version of convscope: {said}"):
        run.info()


@pytest.mark.parametrize("content", [b"", b"{half", b"[]", b"\xff\xfe\x00"])
def test_a_broken_run_json_is_an_error_of_one_line(content: bytes, run: Run) -> None:
    (run.path / "run.json").write_bytes(content)
    with pytest.raises(InputError, match=r"run\.json") as caught:
        run.info()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{half", b"[1]", b"\xff\xfe\x00"])
def test_broken_metrics_and_findings_are_named(content: bytes, run: Run) -> None:
    (run.path / "metrics.json").write_bytes(content)
    (run.path / "log" / "check.json").write_bytes(content)
    with pytest.raises(InputError, match=r"metrics\.json"):
        run.metrics()
    with pytest.raises(InputError, match=r"check\.json"):
        run.findings()
    (run.path / "log" / "check.json").write_text('{"photos": 3}')
    with pytest.raises(InputError, match="no list 'findings'"):
        run.findings()


def test_a_folder_that_is_no_run_says_how_to_make_one(tmp_path: Path) -> None:
    for run in (Run(tmp_path), Run(tmp_path / "nowhere")):
        for read in (run.info, run.metrics, run.findings):
            with pytest.raises(InputError, match=r"is not a finished run.*convscope fit PHOTOS"):
                read()
        with pytest.raises(InputError, match=r"predictions\.parquet cannot be read"):
            run.predictions()


@pytest.mark.parametrize("lacking", ["path", "split", "label", "p_cat"])
def test_predictions_of_other_columns_are_refused(lacking: str, run: Run) -> None:
    columns = {name: ["x"] for name in ("path", "split", "label")} | {"p_cat": [1.0]}
    del columns[lacking]
    pq.write_table(pa.table(columns), run.path / "predictions.parquet")
    with pytest.raises(InputError, match="has no column"):
        run.predictions()


def test_a_broken_predictions_file_is_named(run: Run) -> None:
    (run.path / "predictions.parquet").write_bytes(b"PAR1 half")
    with pytest.raises(InputError, match=r"predictions\.parquet cannot be read"):
        run.predictions()


@pytest.mark.parametrize("options", [{"resume": True}, {"overwrite": True}])
def test_two_fits_never_write_the_same_run(tmp_path: Path, options: dict[str, bool]) -> None:
    first = RunWriter(tmp_path / "run", ASKED)
    with pytest.raises(InputError, match="Another fit is writing"):
        RunWriter(tmp_path / "run", ASKED, **options)
    first.close()
    second = RunWriter(tmp_path / "run", ASKED, **options)
    assert second.resumed == ("resume" in options)
    second.discard()
    assert names(tmp_path) == []
