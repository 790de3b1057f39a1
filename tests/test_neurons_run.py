"""``neurons``: from a Run folder and photos to patches, tables and a page."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from scipy.stats import mannwhitneyu

from convscope.data.survey import DecodeSpec, decode_chunk
from convscope.errors import InputError
from convscope.nets.inference import prepare
from convscope.neurons import running
from convscope.neurons.asked import NeuronsOptions
from convscope.neurons.measures import auroc, in_blocks, sparseness
from convscope.neurons.parts import Parts
from convscope.neurons.running import RESULT, neurons
from convscope.predicting import load_classifier
from fits import Command, assert_refused, fitted, names, photos, small


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with small():
        yield


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "200")
    return Command(capsys)


@pytest.fixture
def layer() -> str:
    """Some ReLU of the small run's network."""
    model = load_classifier(fitted("cnn"), fitted("cnn").info())
    return next(name for name, one in model.named_modules() if isinstance(one, torch.nn.ReLU))


def page_content(page: Path) -> dict[str, object]:
    text = page.read_text(encoding="utf-8")
    found = re.search(
        r'<script type="application/json" id="neurons-data">(.*?)</script>', text, re.S
    )
    assert found is not None
    content: dict[str, object] = json.loads(found[1])
    return content


def test_the_tables_are_what_the_network_gives(tmp_path: Path, layer: str) -> None:
    """Every number again, from photos pushed through the network one by one."""
    run = fitted("cnn")
    options = NeuronsOptions((layer,), top=4, channels=3)
    found = neurons(run, photos(), tmp_path / "seen", options)
    assert names(tmp_path) == ["seen"]
    assert names(tmp_path / "seen") == [
        "activations.parquet", "channels.parquet", "neurons.html", RESULT, "page.json",
        "patches.parquet",
    ]  # fmt: skip
    info = run.info()
    activations = pq.read_table(tmp_path / "seen" / "activations.parquet").to_pydict()
    files = [photos() / path for path in activations["path"]]
    spec = DecodeSpec(info.input.resize, info.input.size, fast=info.precision.mode == "fast")
    _, pixels = decode_chunk([str(file) for file in files], spec)
    model = load_classifier(run, info)
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(
        lambda _module, _given, output: kept.append(output.detach().clone())
    )
    with torch.no_grad():
        model(prepare(torch.from_numpy(pixels), info.input.mean, info.input.std))
    handle.remove()
    maps = kept[0].numpy()
    best = maps.reshape(*maps.shape[:2], -1)
    np.testing.assert_allclose(activations[layer], best.max(2), rtol=1e-4, atol=1e-5)
    patches = pq.read_table(tmp_path / "seen" / "patches.parquet").to_pylist()
    for channel in range(maps.shape[1]):
        own = [row for row in patches if row["channel"] == channel]
        order = np.argsort(-best[:, channel].max(1), kind="stable")[:4].tolist()
        expected = [best[k, channel].max() for k in order if best[k, channel].max() > 0]
        np.testing.assert_allclose([row["value"] for row in own], expected, rtol=1e-4, atol=1e-5)
        assert [row["rank"] for row in own] == list(range(1, len(own) + 1))
    labels = np.array([found.classes.index(label) for label in activations["label"]])
    channels = pq.read_table(tmp_path / "seen" / "channels.parquet").to_pylist()
    for row in channels:
        values = np.array(activations[layer])[:, row["channel"]]
        for number, name in enumerate(found.classes):
            mine, others = values[labels == number], values[labels != number]
            chance = mannwhitneyu(mine, others).statistic / (len(mine) * len(others))
            assert row[f"auroc:{name}"] == pytest.approx(chance, abs=1e-5)
        assert row["auroc"] == max(row[f"auroc:{name}"] for name in found.classes)
    read = json.loads((tmp_path / "seen" / RESULT).read_text(encoding="utf-8"))
    assert read == json.loads(json.dumps(found.to_dict()))
    assert read["photos"] == len(files)


def test_the_page_shows_the_users_own_pixels(tmp_path: Path, layer: str) -> None:
    run = fitted("cnn")
    neurons(run, photos(), tmp_path / "seen", NeuronsOptions((layer,), top=4, channels=3))
    content = page_content(tmp_path / "seen" / "neurons.html")
    (shown,) = content["layers"]  # type: ignore[misc]
    assert len(shown["channels"]) == 3
    patches = pq.read_table(tmp_path / "seen" / "patches.parquet").to_pylist()
    for channel in shown["channels"]:
        strip = Image.open(io.BytesIO(base64.b64decode(channel["plain"].partition(",")[2])))
        tiles = np.asarray(strip.convert("RGB")).astype(int)
        own = [row for row in patches if row["channel"] == channel["channel"]]
        for rank, (row, hit) in enumerate(zip(own, channel["hits"], strict=True)):
            assert content["photos"][hit["photo"]]["name"] == row["path"]  # type: ignore[index]
            photo = Image.open(photos() / row["path"]).convert("RGB")
            box = [row[side] for side in ("left", "top", "right", "bottom")]
            np.testing.assert_allclose(
                np.array(hit["box"]) * (photo.size * 2), box, atol=1e-3 * max(photo.size)
            )
            tile = tiles[:, rank * 72 : (rank + 1) * 72]
            middle = photo.crop([round(side) for side in box]).resize((1, 1), Image.Resampling.BOX)
            mean = tile[18:54, 18:54].mean((0, 1))
            assert np.abs(mean - np.array(middle.getpixel((0, 0)))).max() < 60
    text = (tmp_path / "seen" / "neurons.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"https?://(?!www\.w3\.org)", text)


def test_photos_without_classes(tmp_path: Path, layer: str) -> None:
    """A flat folder; a broken file among them is named, the others count."""
    flat = tmp_path / "photos"
    flat.mkdir()
    for number, file in enumerate(sorted((photos() / "test").rglob("*.*"))[:5]):
        shutil.copy(file, flat / f"{number}<b>{file.suffix}")
    (flat / "broken.png").write_bytes(b"no photo")
    found = neurons(fitted("cnn"), flat, tmp_path / "seen", NeuronsOptions((layer,), top=2))
    assert found.classes == ()
    assert [path for path, _ in found.failed] == ["broken.png"]
    channels = pq.read_table(tmp_path / "seen" / "channels.parquet").to_pylist()
    assert {row["class"] for row in channels} == {None}
    text = (tmp_path / "seen" / "neurons.html").read_text(encoding="utf-8")
    assert "<b>" not in text.partition('id="neurons-data"')[2]
    assert "broken.png" in text


def test_an_interrupted_search_goes_on(
    tmp_path: Path, layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = NeuronsOptions((layer,), top=3, channels=2)
    whole = neurons(fitted("cnn"), photos(), tmp_path / "whole", options)
    monkeypatch.setattr(running, "PART", 16)
    written: list[int] = []
    write = Parts.write

    def stops(self: Parts, first: int, facts: object, found: object) -> None:
        write(self, first, facts, found)  # type: ignore[arg-type]
        written.append(first)
        if len(written) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "write", stops)
        with pytest.raises(Exception, match="--resume"):
            neurons(fitted("cnn"), photos(), tmp_path / "seen", options)
    assert names(tmp_path) == ["seen.partial", "whole"]
    with pytest.raises(InputError, match="interrupted"):
        neurons(fitted("cnn"), photos(), tmp_path / "seen", options)
    with pytest.raises(InputError, match="something else"):
        neurons(fitted("cnn"), photos(), tmp_path / "seen",
                NeuronsOptions((layer,), top=2), resume=True)  # fmt: skip
    with monkeypatch.context() as patch:
        later: list[int] = []

        def counts(self: Parts, first: int, facts: object, found: object) -> None:
            later.append(first)
            write(self, first, facts, found)  # type: ignore[arg-type]

        patch.setattr(Parts, "write", counts)
        again = neurons(fitted("cnn"), photos(), tmp_path / "seen", options, resume=True)
    assert later[0] == 32
    assert again.to_dict() == whole.to_dict()
    for name in ("patches.parquet", "channels.parquet", "activations.parquet"):
        tables = [pq.read_table(tmp_path / each / name) for each in ("seen", "whole")]
        assert tables[0].to_pydict() == tables[1].to_pydict()
    assert names(tmp_path) == ["seen", "whole"]


def test_channels_are_measured_some_at_a_time() -> None:
    blocks = list(in_blocks(100_000, 1280))
    assert len(blocks) > 5
    assert [k for block in blocks for k in range(1280)[block]] == list(range(1280))


def test_sparseness_at_its_ends() -> None:
    values = np.zeros((5, 3))
    values[:, 0] = 2  # all alike
    values[1, 1] = 7  # a single one
    np.testing.assert_allclose(sparseness(values), [0, 1, 0])


def test_auroc_of_ties_and_missing_classes() -> None:
    values = np.array([[1.0, 5], [1, 4], [1, 3], [1, 2]])
    found = auroc(values, np.array([0, 0, 1, 1]), 3)
    np.testing.assert_allclose(found[:, :2], [[0.5, 0.5], [1, 0]])
    assert np.isnan(found[:, 2]).all()


def test_the_command(tmp_path: Path, layer: str, command: Command) -> None:
    run = fitted("cnn").path
    ended = command(
        "neurons", run, photos(), "--layer", layer, "--out", tmp_path / "seen", "--json"
    )
    assert ended.code == 0
    assert json.loads(ended.out)["layers"][0]["layer"] == layer
    ended = command("neurons", run, photos(), "--layer", layer, "--out", tmp_path / "seen")
    assert_refused(ended, 2, "exists already", "--overwrite")
    ended = command("neurons", run, photos(), "--layer", "nowhere", "--out", tmp_path / "other")
    assert_refused(ended, 2, "Unknown layer 'nowhere'")
    ended = command("neurons", run, tmp_path / "no", "--layer", layer, "--out", tmp_path / "other")
    assert_refused(ended, 2, "does not exist")
    ended = command("neurons", run, photos(), "--layer", layer, "--top", "0",
                    "--out", tmp_path / "other")  # fmt: skip
    assert_refused(ended, 2, "top")
    assert names(tmp_path) == ["seen"]
