"""``predict`` on what people name: files, folders, and things that are no photos."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from convscope.data.survey import Chunk, survey
from convscope.errors import InputError
from convscope.nets.catalog import build_net, net_spec
from convscope.predicting import Prediction, predict
from convscope.run import Run
from convscope.tables import print_csv
from convscope.transfer import push as push_module
from fits import Command, assert_no_traceback, assert_refused, fitted, photos, small
from learnable import TINTS, tinted


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with small():
        yield


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "200")
    return Command(capsys)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder of six photos and of what lies between photos."""
    folder = tmp_path / "new photos"
    (folder / "holiday" / "été").mkdir(parents=True)
    for i, label in enumerate([*TINTS, *TINTS]):
        where = folder / ("holiday/été" if i > 2 else "") / f"{i} {label}.png"
        tinted(label, 700 + i).save(where)
    (folder / "1 broken.jpg").write_text("this is no photo")
    (folder / "holiday" / "notes.txt").write_text("no photo, and nobody says it is one")
    (folder / "holiday" / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "holiday" / "round").symlink_to(folder)
    (folder / ".hidden.png").write_bytes(b"")
    return folder


GOOD = [
    "0 brick.png", "1 leaf.png", "2 sky.png",
    "holiday/été/3 brick.png", "holiday/été/4 leaf.png", "holiday/été/5 sky.png",
]  # fmt: skip
BAD = {
    "1 broken.jpg": "not a picture",
    "holiday/phone.heic": "convert it to JPEG or PNG",
    "holiday/round": "leads back to a folder above it",
}


def test_a_folder_is_searched_and_nothing_is_passed_over_in_silence(mixed: Path) -> None:
    rows = list(predict(fitted("features"), [mixed], workers=0))
    assert [row.path for row in rows] == [str(mixed / name) for name in sorted([*GOOD, *BAD])]
    for row in rows:
        name = row.path.removeprefix(f"{mixed}/")
        if name in BAD:
            assert row.error is not None
            assert BAD[name] in row.error
            assert (row.label, row.probability, row.probabilities) == (None, None, {})
        else:
            assert row.error is None
            assert set(row.probabilities) == set(TINTS)
            assert row.label == max(row.probabilities, key=row.probabilities.__getitem__)
            assert row.probability == max(row.probabilities.values())
            assert sum(row.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_photos_come_in_the_order_in_which_they_were_named(mixed: Path) -> None:
    asked = [mixed / GOOD[2], mixed / "holiday" / "été", mixed / GOOD[0], mixed / GOOD[2]]
    rows = [row.path for row in predict(fitted("cnn"), asked, workers=0)]
    assert rows[0] == rows[-1] == str(asked[0])
    assert rows[-2] == str(asked[2])
    assert rows[1:4] == [str(mixed / name) for name in GOOD[3:]]
    assert len(rows) == 6


@pytest.mark.parametrize("strategy", ["cnn", "features"])
def test_probabilities_are_the_networks_over_the_temperature(strategy: str) -> None:
    """By hand: Pillow, the tensors of the file, a softmax."""
    run = fitted(strategy)
    info = run.info()
    files = sorted((photos() / "test").rglob("*.png"))
    spec = net_spec(info.net)
    net = build_net(spec, 3, seed=0).eval()
    net.load_state_dict(load_file(run.model_path))
    size, resize = info.input.size, info.input.resize
    first = (resize - size) // 2
    squares = []
    for file in files:
        image = Image.open(file).convert("RGB").resize((resize, resize), Image.Resampling.BILINEAR)
        squares.append(np.asarray(image)[first : first + size, first : first + size])
    x = np.stack(squares).astype(np.float32) / 255
    x = (x - np.array(info.input.mean)) / np.array(info.input.std)
    with torch.inference_mode():
        logits = net(torch.from_numpy(x).float().permute(0, 3, 1, 2)) / info.temperature
    got = [list(row.probabilities.values()) for row in predict(run, files, workers=0)]
    np.testing.assert_allclose(got, logits.softmax(1).numpy(), atol=1e-4)


def test_worker_processes_and_batches_make_no_difference() -> None:
    files = sorted(photos().rglob("*.png"))
    alone = list(predict(fitted("features"), files, workers=0))
    helped = list(predict(fitted("features"), files, workers=2))
    single = [row for file in files[:3] for row in predict(fitted("features"), [file])]
    assert [row.path for row in helped] == [str(file) for file in files]
    for a, b in [*zip(alone, helped, strict=True), *zip(alone[:3], single, strict=True)]:
        for label, share in a.probabilities.items():
            assert b.probabilities[label] == pytest.approx(share, abs=1e-5)


def test_nothing_is_decoded_for_a_caller_that_has_seen_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed: list[bool] = []

    def watched(*args: Any, **options: Any) -> Iterator[Chunk]:
        try:
            yield from survey(*args, **options)
        finally:
            closed.append(True)

    monkeypatch.setattr(push_module, "survey", watched)
    rows = predict(fitted("cnn"), [photos()], workers=0)
    next(rows)
    assert closed == []
    rows.close()  # type: ignore[attr-defined]
    assert closed == [True]
    assert torch.get_num_threads() == 1


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="holds no photos"):
        list(predict(fitted("cnn"), [tmp_path]))


def test_no_photos_are_no_predictions() -> None:
    assert list(predict(fitted("cnn"), [])) == []


# Runs that are none


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A run to spoil."""
    return Path(shutil.copytree(fitted("cnn").path, tmp_path / "run"))


def change_json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def other_model(run: Path) -> None:
    tensors = load_file(run / "model.safetensors")
    tensors["classifier.bias"] += 1
    save_file(tensors, run / "model.safetensors")


def other_network(run: Path) -> None:
    change_json(run / "run.json", net="fcnn")


def unknown_network(run: Path) -> None:
    change_json(run / "run.json", net="small_cn")


def other_classes(run: Path) -> None:
    change_json(run / "run.json", classes=["a", "b", "c", "d"])


def cut_model(run: Path) -> None:
    file = run / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def no_model(run: Path) -> None:
    (run / "model.safetensors").unlink()


def no_json(run: Path) -> None:
    (run / "run.json").unlink()


def broken_json(run: Path) -> None:
    (run / "run.json").write_text('{"format": 1,')


def no_run(run: Path) -> None:
    shutil.rmtree(run)


def photo_for_run(run: Path) -> None:
    shutil.rmtree(run)
    tinted("sky", 1).save(run, format="png")


SPOILT: list[tuple[Callable[[Path], None], str]] = [
    (other_model, "is not the model that this run was tested with"),
    (cut_model, "is not the model that this run was tested with"),
    (no_model, "model.safetensors cannot be read: No such file"),
    (other_network, "does not fit net fcnn"),
    (other_classes, "does not fit net small_cnn"),
    (unknown_network, "Unknown net 'small_cn'. Did you mean 'small_cnn'?"),
    (no_json, "is not a finished run: run.json cannot be read (No such file"),
    (broken_json, "is not a run of this version"),
    (no_run, "is not a finished run"),
    (photo_for_run, "is not a finished run"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILT, ids=[spoil.__name__ for spoil, _ in SPOILT])
def test_what_is_no_run_is_refused_in_a_line(
    spoil: Callable[[Path], None], said: str, copy: Path, command: Command
) -> None:
    spoil(copy)
    assert_refused(command("predict", copy, photos()), 2, said)


# The command


def test_json_is_the_contract(mixed: Path, command: Command) -> None:
    ended = command("predict", fitted("features").path, mixed, "--json", "--workers", 0)
    assert ended.code == 1
    rows = json.loads(ended.out)
    by_name = {row["path"].removeprefix(f"{mixed}/"): row for row in rows}
    assert list(by_name) == sorted([*GOOD, *BAD])
    for name, said in BAD.items():
        assert set(by_name[name]) == {"path", "error"}
        assert said in by_name[name]["error"]
        assert f"not read: {mixed / name}: {by_name[name]['error']}" in ended.err
    for name in GOOD:
        row = by_name[name]
        assert list(row) == ["path", "label", "probability", "probabilities"]
        assert row["probabilities"][row["label"]] == row["probability"]
        assert list(row["probabilities"]) == list(TINTS)
    assert_no_traceback(ended)


def test_with_only_good_photos_it_ends_well(mixed: Path, command: Command) -> None:
    ended = command("predict", fitted("cnn").path, mixed / GOOD[0], mixed / GOOD[1], "--json")
    assert ended.code == 0
    assert [row["path"] for row in json.loads(ended.out)] == [
        str(mixed / GOOD[0]), str(mixed / GOOD[1]),
    ]  # fmt: skip
    assert "not read" not in ended.err


def test_csv_has_a_column_a_class(mixed: Path, command: Command) -> None:
    ended = command("predict", fitted("features").path, mixed, "--format", "csv")
    assert ended.code == 1
    rows = list(csv.DictReader(io.StringIO(ended.out)))
    assert list(rows[0]) == ["path", "label", "probability", "error", *(f"p_{c}" for c in TINTS)]
    assert [row["path"].removeprefix(f"{mixed}/") for row in rows] == sorted([*GOOD, *BAD])
    for row in rows:
        if row["error"]:
            assert [row["label"], row["probability"], row["p_sky"]] == ["", "", ""]
        else:
            assert float(row["probability"]) == max(float(row[f"p_{c}"]) for c in TINTS)


def test_csv_survives_names_with_commas_and_quotes() -> None:
    stream = io.StringIO()
    rows = [
        Prediction('a,"b".png', "x,y", {"x,y": 1.0, "z": 0.0}),
        Prediction("c\nd.png", None, {}, "gone"),
    ]
    print_csv(rows, ["x,y", "z"], stream)
    assert list(csv.reader(io.StringIO(stream.getvalue()))) == [
        ["path", "label", "probability", "error", "p_x,y", "p_z"],
        ['a,"b".png', "x,y", "1.0", "", "1.0", "0.0"],
        ["c\nd.png", "", "", "gone", "", ""],
    ]


def test_the_table_shows_label_and_probability(mixed: Path, command: Command) -> None:
    run = fitted("features")
    ended = command("predict", run.path, mixed)
    assert ended.code == 1
    for row in predict(run, [mixed], workers=0):
        line = next(x for x in ended.out.splitlines() if row.path in x)
        assert (row.error if row.label is None else f"{row.probability:.3f}") in line
        assert row.label is None or row.label in line


def test_a_photo_that_is_not_there_does_not_stop_the_others(mixed: Path, command: Command) -> None:
    asked = [mixed / GOOD[0], mixed / "nowhere.png", mixed / GOOD[1]]
    ended = command("predict", fitted("cnn").path, *asked, "--json")
    assert ended.code == 1
    rows = json.loads(ended.out)
    assert [row["path"] for row in rows] == [str(path) for path in asked]
    assert "No such file" in rows[1]["error"]
    assert rows[2]["label"] in TINTS
    assert_no_traceback(ended)


def test_names_that_are_no_text_and_look_like_markup(tmp_path: Path, command: Command) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9 [red].png")
    try:
        tinted("sky", 5).save(odd)
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    for form in (["--json"], ["--format", "csv"], []):
        ended = command("predict", fitted("cnn").path, odd, *form)
        assert ended.code == 0
        assert "[red].png" in ended.out
        assert_no_traceback(ended)


def test_a_run_is_read_from_any_folder(
    mixed: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mixed)
    ended = command("predict", os.path.relpath(fitted("cnn").path), GOOD[0], "--json")
    assert ended.code == 0
    assert json.loads(ended.out)[0]["path"] == GOOD[0]


def test_run_objects_and_texts_do_as_well() -> None:
    file = sorted(photos().rglob("*.png"))[0]
    run = fitted("cnn")
    given: list[Run | Path | str] = [run, run.path, str(run.path)]
    rows = [next(iter(predict(one, [str(file)]))) for one in given]
    assert rows[0] == rows[1] == rows[2]


def test_one_path_will_do_for_one_photo(tmp_path: Path) -> None:
    file = next(photos().rglob("*.png"))
    (alone,) = predict(fitted("cnn"), str(file))
    (listed,) = predict(fitted("cnn"), [file])
    assert alone == listed
    assert alone.path == str(file)
