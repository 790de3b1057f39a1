"""Stages as vectors, the feature file, and what is computed again: against plain hooks and sums."""

from __future__ import annotations

import copy
import hashlib
import importlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from torch import nn

from convscope.errors import ConvscopeError, InputError, InterruptedRunError
from convscope.nets.catalog import NETS, build_net, net_spec
from convscope.nets.inference import prepare
from convscope.nets.stages import Stage
from convscope.transfer import features as features_module
from convscope.transfer import updating
from convscope.transfer.extractor import FeatureExtractor
from convscope.transfer.features import EXACT, Features, extract_features, make_backbone
from convscope.transfer.staged import StageVectors, default_stage, stage_named
from convscope.transfer.store import FORMAT, read_features, require_same, write_features
from convscope.transfer.updating import Update, update_features
from fits import Command, Heard, assert_refused, interrupting, names, small, weights_file
from learnable import TINTS, convscope, settled_net, tinted, tinted_folder

# One of each family, small enough to run; VGG stands for those with layers behind `features`.
FAMILIES = (
    "fcnn", "small_cnn", "lenet5", "lenet5_modern", "alexnet", "vgg11_bn", "googlenet", "highway",
    "highway_cnn", "resnet18", "resnet20_cifar", "mobilenet_v2", "squeezenet1_1",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small():
        yield


def hooked(net: nn.Module, x: torch.Tensor) -> dict[str, np.ndarray]:
    """What PyTorch says of each stage, averaged by NumPy."""
    found: dict[str, np.ndarray] = {}
    handles = []
    for stage in net.stages:

        def keep(_m: nn.Module, _i: Any, out: torch.Tensor, name: str = stage.name) -> None:
            found[name] = out.detach().numpy().copy()

        handles.append(net.get_submodule(stage.module).register_forward_hook(keep))
    with torch.no_grad():
        net(x)
    for handle in handles:
        handle.remove()
    return {k: v.reshape(*v.shape[:2], -1).mean(axis=2) for k, v in found.items()}


def pixels(name: str, n: int = 2) -> np.ndarray:
    side = NETS[name].size
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


# Stages


@pytest.mark.parametrize("name", FAMILIES)
def test_every_stage_of_every_family_is_what_a_hook_sees(name: str) -> None:
    spec = net_spec(name)
    net = build_net(spec, 5, 0).eval()
    photos = pixels(name)
    x = prepare(torch.from_numpy(photos), spec.mean, spec.std)
    plain = hooked(copy.deepcopy(net), x)
    backwards = [stage.name for stage in net.stages][::-1]
    wanted = np.concatenate([plain[stage] for stage in backwards], axis=1)

    vectors = StageVectors(net, backwards)
    assert vectors.widths == {stage: plain[stage].shape[1] for stage in backwards}
    with torch.no_grad():
        np.testing.assert_allclose(vectors(x).numpy(), wanted, rtol=1e-4, atol=1e-5)
    # The same by the way that is made for speed, for all together and for those it is made for.
    every = make_backbone(net, spec, EXACT, backwards)(photos)
    np.testing.assert_allclose(every, wanted, rtol=1e-3, atol=1e-4)
    inside = [s.name for s in net.stages if s.module.startswith("features.")]
    if inside:
        some = make_backbone(net, spec, EXACT, inside)(photos)
        joined = np.concatenate([plain[stage] for stage in inside], axis=1)
        np.testing.assert_allclose(some, joined, rtol=1e-3, atol=1e-4)
    last = make_backbone(net, spec, EXACT)(photos)
    np.testing.assert_allclose(last, plain[net.stages[-1].name], rtol=1e-3, atol=1e-4)


def test_vgg16_has_the_fully_connected_layers_of_the_book() -> None:
    with torch.device("meta"):
        net = net_spec("vgg16").build(10, 3)
        vectors = StageVectors(net, ["fc1", "fc2"])
        assert vectors(torch.zeros(2, 3, 224, 224)).shape == (2, 8192)
    assert vectors.widths == {"fc1": 4096, "fc2": 4096}
    assert vectors.columns == {"fc1": slice(0, 4096), "fc2": slice(4096, 8192)}


def test_an_operation_in_place_behind_a_stage_does_not_reach_it() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True))
    net.stages = (Stage("before", "0", 4, None), Stage("after", "1", 4, None))
    x = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.5, -4.0]])
    before, after = StageVectors(net, ["before", "after"])(x).split(4, dim=1)
    wanted = x @ net[0].weight.T + net[0].bias
    assert (wanted < 0).any()
    torch.testing.assert_close(before, wanted)
    torch.testing.assert_close(after, wanted.clamp(min=0))


def test_gradients_flow_and_the_network_keeps_its_names() -> None:
    net = settled_net(3, side=64)
    vectors = StageVectors(net, ["bottleneck3", "conv2"])
    vectors(torch.randn(2, 3, 64, 64)).square().sum().backward()
    grads = {name: p.grad is not None for name, p in vectors.named_parameters()}
    assert all(grads[name] for name in grads if ".features." in name)
    assert not any(grads[name] for name in grads if ".classifier." in name)
    assert set(vectors.state_dict()) == {f"net.{name}" for name in net.state_dict()}


def test_threads_do_not_mix_and_nothing_is_held() -> None:
    net = settled_net(3, side=64)
    vectors = StageVectors(net, ["bottleneck2", "conv2"]).eval()
    inputs = [torch.randn(2, 3, 64, 64) for _ in range(8)]
    with torch.no_grad():
        wanted = [vectors(x) for x in inputs]
        got: dict[int, torch.Tensor] = {}

        def work(i: int) -> None:
            with torch.no_grad():
                for _ in range(3):
                    got[i] = vectors(inputs[i])

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for i, tensor in enumerate(wanted):
            torch.testing.assert_close(got[i], tensor)
        net(inputs[0])  # by itself: nobody is listening
        copied = copy.deepcopy(vectors)
        torch.testing.assert_close(copied(inputs[1]), wanted[1])
    assert all(not tap.found for tap in (*vectors._taps, *copied._taps))


def test_an_unknown_stage_is_answered_with_the_nearest() -> None:
    net = build_net(net_spec("mobilenet_v2"), 3, 0)
    assert default_stage(net).name == "conv2"
    assert stage_named(net, "bottleneck3").channels == 32
    with pytest.raises(InputError, match=r"'bottleneck33'. Did you mean 'bottleneck3'.*conv2"):
        StageVectors(net, ["bottleneck33"])
    with pytest.raises(InputError, match="asked for twice"):
        StageVectors(net, ["conv2", "conv2"])
    with pytest.raises(InputError, match="Linear names no stages"):
        StageVectors(nn.Linear(2, 2), ["conv2"])


def test_features_of_several_stages(tmp_path: Path) -> None:
    files = sorted(tinted_folder(tmp_path, 4).rglob("*.png"))
    spec, net = net_spec("mobilenet_v2"), settled_net(3, side=64)
    stages = ("bottleneck4", "conv2")
    got = extract_features(files, net, spec, stages=stages, mode="exact")
    assert got.vectors.shape == (12, 64 + 1280)
    for stage in stages:
        alone = extract_features(files, net, spec, stages=[stage], mode="exact")
        np.testing.assert_allclose(got.of(stage), alone.vectors, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="Unknown stage of these features 'conv1'"):
        got.of("conv1")


def test_every_stage_asked_for_must_stay_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(tinted_folder(tmp_path, 6).rglob("*.png"))
    spec, net = net_spec("mobilenet_v2"), settled_net(3, side=64)
    monkeypatch.setattr(features_module, "bfloat16_is_fast", lambda: True)
    monkeypatch.setattr(features_module, "CALIBRATION_COSINE", 0.0)
    stages = ["bottleneck5", "conv2"]
    exact = extract_features(files, net, spec, stages=stages, mode="exact")
    got = extract_features(files, net, spec, stages=stages, mode="fast")
    assert (got.precision.dtype, got.precision.float32_stages) == ("bfloat16", 0)
    least = [features_module.cosines(exact.of(s), got.of(s)).min() for s in stages]
    assert got.precision.cosine == pytest.approx(min(least), abs=2e-3)


# The file


class Computing:
    """``update_features`` on a folder, and how many photos it decoded for the network."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.photos, self.out = root / "photos", root / "features.parquet"
        self.decoded: list[int] = []
        self.heard = Heard()
        real = features_module.push

        def spy(paths: list[Path], *rest: Any, **options: Any) -> Any:
            self.decoded.append(len(paths))
            return real(paths, *rest, **options)

        monkeypatch.setattr(features_module, "push", spy)

    def __call__(self, **changes: Any) -> Update:
        options = {"weights": str(weights_file()), "mode": "exact", "workers": 0, **changes}
        self.decoded.clear()
        self.heard = Heard()
        return update_features(self.photos, self.out, progress=self.heard, **options)


@pytest.fixture
def computing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Computing:
    tinted_folder(tmp_path / "photos", {"train": 4, "valid": 2})
    return Computing(tmp_path, monkeypatch)


def plain(computing: Computing) -> Features:
    """All photos of the folder, computed afresh."""
    net = settled_net(3, side=64)
    files = sorted(p for p in computing.photos.rglob("*.png"))
    return extract_features(files, net, net_spec("mobilenet_v2"), mode="exact", workers=0)


def assert_right(computing: Computing) -> None:
    """The file holds what computing everything afresh gives, and knows each photo's content."""
    table, fresh = read_features(computing.out), plain(computing)
    assert [computing.photos / p for p in table.paths] == sorted(computing.photos.rglob("*.png"))
    for path, sha256 in zip(table.paths, table.sha256, strict=True):
        content = (computing.photos / path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == sha256
    for path, label, split in zip(table.paths, table.labels, table.splits, strict=True):
        assert path.split("/")[:2] == [split, label]
    np.testing.assert_allclose(table.of(), fresh.vectors, rtol=2e-3, atol=2e-3)
    assert not computing.out.with_name("features.parquet.partial").exists()


def test_first_time_everything_then_nothing(computing: Computing) -> None:
    first = computing()
    assert (first.total, first.computed, first.kept) == (18, 18, 0)
    assert_right(computing)
    before = computing.out.stat()
    again = computing()
    assert (again.total, again.computed, again.kept) == (18, 0, 18)
    assert (again.changed, again.removed, again.unusable) == (0, 0, ())
    assert computing.decoded == []
    after = computing.out.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_only_what_is_new_or_changed_is_computed(computing: Computing) -> None:
    computing()
    train = computing.photos / "train"
    tinted("sky", 77).save(train / "sky" / "new.png")
    changed = train / "leaf" / "leaf00.png"
    status = changed.stat()
    content = bytearray(changed.read_bytes())
    other = train / "brick" / "brick00.png"
    # Another photo under an old name, with the size and the date of the old one.
    tinted("leaf", 78).save(changed)
    new = changed.read_bytes()
    changed.write_bytes(new + b"\0" * max(0, len(content) - len(new)))
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    (train / "leaf" / "leaf01.png").unlink()
    other.rename(train / "brick" / "renamed.png")
    shutil.move(train / "sky" / "sky00.png", computing.photos / "valid" / "sky" / "moved.png")
    update = computing()
    assert computing.decoded == [2]
    assert (update.total, update.computed, update.kept) == (18, 2, 16)
    assert (update.changed, update.removed) == (1, 1)
    assert_right(computing)


def test_labels_and_splits_are_refreshed_without_computing(computing: Computing) -> None:
    computing()
    shutil.move(computing.photos / "valid", computing.photos / "test")
    update = computing()
    assert (update.computed, update.removed, computing.decoded) == (0, 0, [])
    assert_right(computing)
    rows = [f"{p},x{i % 2}" for i, p in enumerate(read_features(computing.out).paths)]
    (computing.photos / "list.csv").write_text("\n".join(["path,label", *rows]))
    root, computing.photos = computing.photos, computing.photos / "list.csv"
    update = computing()
    assert (update.computed, computing.decoded) == (0, [])
    table = read_features(computing.out)
    assert set(table.labels) == {"x0", "x1"}
    assert set(table.splits) == {None}
    assert root.is_dir()


def test_kept_vectors_stay_as_they_are_to_the_bit(computing: Computing) -> None:
    computing()
    before = read_features(computing.out)
    tinted("sky", 77).save(computing.photos / "train" / "sky" / "aa.png")
    computing()
    after = read_features(computing.out)
    rows = [after.paths.index(path) for path in before.paths]
    np.testing.assert_array_equal(after.vectors["conv2"][rows], before.vectors["conv2"])
    assert before.vectors["conv2"].dtype == np.float16
    computing(dtype="float32", overwrite=True)
    exact = read_features(computing.out)
    assert exact.vectors["conv2"].dtype == np.float32
    np.testing.assert_allclose(exact.of(), after.of(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"net": "squeezenet1_1"}, "its net: mobilenet_v2; asked: squeezenet1_1"),
        ({"stages": ["bottleneck4", "conv2"]}, "its stages: conv2; asked: bottleneck4, conv2"),
        ({"dtype": "float32"}, "its dtype: float16; asked: float32"),
        ({"mode": "fast"}, "its precision: exact; asked: fast"),
    ],
)
def test_nothing_else_is_mixed_in(computing: Computing, change: dict[str, Any], said: str) -> None:
    computing()
    before = computing.out.read_bytes()
    tinted("sky", 77).save(computing.photos / "train" / "sky" / "new.png")
    with pytest.raises(InputError, match=said) as refused:
        computing(**change)
    assert "--overwrite" in str(refused.value)
    assert computing.out.read_bytes() == before
    assert computing.decoded == []


@pytest.mark.parametrize("new_photo", [False, True])
def test_other_weights_are_not_mixed_in(
    computing: Computing, tmp_path: Path, new_photo: bool
) -> None:
    computing()
    tensors = load_file(weights_file())
    tensors["features.0.0.weight"] += 0.01
    other = tmp_path / weights_file().name
    save_file(tensors, other)
    if new_photo:
        tinted("sky", 77).save(computing.photos / "train" / "sky" / "new.png")
    with pytest.raises(InputError, match="its weights' SHA-256: "):
        computing(weights=str(other))
    assert computing(weights=str(other), overwrite=True).kept == 0


def test_other_preprocessing_is_not_mixed_in(
    computing: Computing, monkeypatch: pytest.MonkeyPatch
) -> None:
    computing()
    monkeypatch.setitem(NETS, "mobilenet_v2", replace(NETS["mobilenet_v2"], resize=80))
    with pytest.raises(InputError, match=r"its preprocessing: .*resize=72.*asked: .*resize=80"):
        computing()


def test_several_stages_lie_in_columns_of_their_names(computing: Computing) -> None:
    computing(stages=["conv2", "bottleneck4"])
    table = read_features(computing.out)
    assert {s: v.shape for s, v in table.vectors.items()} == {
        "conv2": (18, 1280), "bottleneck4": (18, 64),
    }  # fmt: skip
    np.testing.assert_array_equal(table.of(["bottleneck4"])[:, 0], table.of()[:, 1280])
    with pytest.raises(InputError, match="Did you mean 'conv2'"):
        table.of(["conv22"])
    assert computing(stages=["conv2", "bottleneck4"]).computed == 0


# What goes wrong


def test_an_unreadable_photo_is_left_out_and_not_tried_again(computing: Computing) -> None:
    bad = computing.photos / "train" / "sky" / "sky00.png"
    bad.write_bytes(b"no photo")
    update = computing()
    assert (update.total, update.computed) == (17, 17)
    assert [path for path, _ in update.unusable] == ["train/sky/sky00.png"]
    said = [line for line in computing.heard.lines if "sky00" in line]
    assert len(said) == 1
    again = computing()
    assert (again.total, again.unusable, computing.decoded) == (17, update.unusable, [])
    tinted("sky", 79).save(bad)
    assert (computing().computed, computing.decoded) == (1, [1])
    assert_right(computing)


@pytest.mark.parametrize("when", ["before hashing", "before decoding"])
def test_a_photo_that_goes_away_meanwhile_is_left_out(
    computing: Computing, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    owner, name = (updating, "scan") if when == "before hashing" else (features_module, "push")
    real = getattr(owner, name)

    def remove_first(*given: Any, **options: Any) -> Any:
        found = real(*given, **options) if name == "scan" else None
        (computing.photos / "train" / "leaf" / "leaf00.png").unlink(missing_ok=True)
        return real(*given, **options) if found is None else found

    monkeypatch.setattr(owner, name, remove_first)
    update = computing()
    assert (update.total, len(update.unusable)) == (17, 1)
    assert "No such file" in update.unusable[0][1]
    assert_right(computing)


def test_no_readable_photo_at_all_leaves_nothing_behind(computing: Computing) -> None:
    for file in computing.photos.rglob("*.png"):
        file.write_bytes(b"no photo")
    with pytest.raises(InputError, match=r"None of the 18 photos .* can be read"):
        computing()
    assert names(computing.out.parent) == ["photos"]


@pytest.mark.parametrize("kind", ["Ctrl-C", "kill"])
def test_what_was_done_before_an_interruption_is_not_done_again(
    computing: Computing, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("convscope.transfer.shards.SHARD", 8)
    real = features_module.Backbone.__call__
    with monkeypatch.context() as patch:
        broken = interrupting(features_module.Backbone, "__call__", 3)
        patch.setattr(features_module.Backbone, "__call__", broken)
        if kind == "kill":  # nothing is tidied up
            patch.setattr(features_module, "KeyboardInterrupt", SystemError, raising=False)
            with pytest.raises((KeyboardInterrupt, InterruptedRunError)):
                computing()
        else:
            with pytest.raises(InterruptedRunError, match="go on with the same command"):
                computing()
    assert real is features_module.Backbone.__call__
    assert not computing.out.exists()
    # Photos come and go before the second try; of 16 that were done 15 are still there.
    tinted("sky", 77).save(computing.photos / "train" / "brick" / "aa.png")
    (computing.photos / "train" / "brick" / "brick01.png").unlink()
    update = computing()
    assert computing.decoded == [3]
    assert (update.total, update.computed, update.kept) == (18, 3, 15)
    assert_right(computing)


def test_an_interrupted_update_keeps_the_earlier_file(
    computing: Computing, monkeypatch: pytest.MonkeyPatch
) -> None:
    computing()
    before = computing.out.read_bytes()
    tinted_folder(computing.photos / "test", 4, start=500)
    with monkeypatch.context() as patch:
        broken = interrupting(features_module.Backbone, "__call__", 2)
        patch.setattr(features_module.Backbone, "__call__", broken)
        with pytest.raises(InterruptedRunError):
            computing()
    assert computing.out.read_bytes() == before
    update = computing()
    assert (update.total, update.computed, computing.decoded) == (30, 4, [4])
    assert_right(computing)


def damaged(file: Path, how: str) -> str:
    """Damage a feature file; what will be said of it."""
    content = file.read_bytes()
    if how == "cut":
        file.write_bytes(content[: len(content) // 2])
        return "cannot be read as a feature file"
    if how == "a bit":
        place = len(content) // 2
        changed = bytes([content[place] ^ 1])
        file.write_bytes(content[:place] + changed + content[place + 1 :])
        return "cannot be read as a feature file"
    table = pq.read_table(file)
    metadata = dict(table.schema.metadata)
    if how == "not ours":
        pq.write_table(table.replace_schema_metadata({}), file)
        return "not one that convscope features wrote"
    if how == "format":
        text = metadata[b"convscope"].replace(b'"format":1', b'"format":2')
        pq.write_table(table.replace_schema_metadata({b"convscope": text}), file)
        return f"has the format 2; this version of convscope reads {FORMAT}"
    if how == "metadata":
        pq.write_table(table.replace_schema_metadata({b"convscope": b"{"}), file)
        return "cannot be read as a feature file"
    if how == "column":
        pq.write_table(table.drop_columns(["conv2"]), file)
        return "cannot be read as a feature file: .*conv2"
    assert how == "type"
    column = pa.array([1.0] * len(table))
    place = table.column_names.index("conv2")
    pq.write_table(table.set_column(place, "conv2", column), file)
    return "cannot be read as a feature file"


HOWS = ("cut", "a bit", "not ours", "format", "metadata", "column", "type")


@pytest.mark.parametrize("how", HOWS)
def test_a_damaged_file_is_refused_in_one_line(computing: Computing, how: str) -> None:
    computing()
    said = damaged(computing.out, how)
    before = computing.out.read_bytes()
    for call in (lambda: read_features(computing.out), computing):
        with pytest.raises(InputError, match=said) as refused:
            call()
        assert "\n" not in str(refused.value)
    assert computing.out.read_bytes() == before
    assert computing(overwrite=True).computed == 18
    assert_right(computing)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file. Make one with: convscope features"):
        read_features(tmp_path / "none.parquet")


def test_a_number_that_float16_cannot_hold_is_refused(computing: Computing) -> None:
    computing(dtype="float32")
    table = read_features(computing.out)
    table.vectors["conv2"].setflags(write=True)
    table.vectors["conv2"][3, 5] = 70_000
    half = table.info.model_copy(update={"dtype": "float16"})
    before = computing.out.read_bytes()
    with pytest.raises(ConvscopeError, match=r"float16 cannot hold. Use --dtype float32"):
        write_features(computing.out, replace(table, info=half))
    assert computing.out.read_bytes() == before


def test_features_of_another_kind_are_refused(computing: Computing) -> None:
    computing()
    info = read_features(computing.out).info
    require_same(info, net="mobilenet_v2", weights=info.weights.sha256, stages=["conv2"])
    with pytest.raises(InputError, match=r"f.parquet holds features of net mobilenet_v2; .*vgg16"):
        require_same(info, net="vgg16", source="f.parquet")
    with pytest.raises(InputError, match=rf"{info.weights.sha256[:16]}.*needed.*{'a' * 16}"):
        require_same(info, weights="a" * 64)
    with pytest.raises(InputError, match="holds the stages conv2; needed is bottleneck4"):
        require_same(info, stages=["bottleneck4"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stages": ["conv3"]}, "Did you mean 'conv2'"),
        ({"net": "mobilnet_v2"}, "Did you mean 'mobilenet_v2'"),
        ({"net": "tcn"}, "takes time series"),
        ({"weights": "none"}, "need pre-trained weights"),
        ({"weights": "nowhere.pth"}, "no such file"),
        ({"dtype": "float61"}, "Did you mean 'float16'"),
        ({"mode": "fats"}, "Did you mean 'fast'"),
        ({"stages": []}, "one stage or more"),
    ],
)
def test_options_that_cannot_be(computing: Computing, change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        computing(**change)
    assert names(computing.out.parent) == ["photos"]


# Other programs


def test_pyarrow_alone_reads_all_of_it(computing: Computing) -> None:
    computing()
    table = pq.read_table(computing.out)
    assert table.schema.field("conv2").type == pa.list_(pa.float16(), 1280)
    assert table.column_names == ["path", "sha256", "label", "split", "conv2"]
    assert b'"net":"mobilenet_v2"' in table.schema.metadata[b"convscope"]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("program", ["pandas", "polars", "duckdb"])
def test_other_programs_open_it(computing: Computing, program: str, dtype: str) -> None:
    reader = pytest.importorskip(program)
    computing(dtype=dtype)
    ours = read_features(computing.out)
    if program == "pandas":
        frame = reader.read_parquet(computing.out)
        labels, vectors = list(frame["label"]), np.stack(frame["conv2"])
    elif program == "polars":
        frame = reader.read_parquet(computing.out)
        labels, vectors = frame["label"].to_list(), frame["conv2"].to_numpy()
    else:
        rows = reader.sql(f"SELECT label, conv2 FROM '{computing.out}'").fetchall()
        labels, vectors = [row[0] for row in rows], np.array([row[1] for row in rows])
    assert labels == list(ours.labels)
    np.testing.assert_array_equal(vectors.astype(np.float32), ours.of())


# The command


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def test_the_command(computing: Computing, command: Command) -> None:
    how = ("--weights", weights_file(), "--precision", "exact", "--workers", "0")
    ended = command("features", computing.photos, "--out", computing.out, *how)
    assert ended.code == 0
    assert "18 photos, conv2 of mobilenet_v2; 18 computed, 0 kept" in ended.out
    ended = command("features", computing.photos, "--out", computing.out, *how, "--json")
    said = json.loads(ended.out)
    assert (said["total"], said["computed"], said["kept"]) == (18, 0, 18)
    assert said["stages"] == {"conv2": 1280}
    more = ("--layer", "conv2", "--layer", "bottleneck4")
    ended = command("features", computing.photos, "--out", computing.out, *how, *more)
    assert_refused(ended, 2, "its stages: conv2; asked: conv2, bottleneck4")


def test_an_unchanged_folder_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch takes longer to import than reading all photos."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    photos = tinted_folder(tmp_path / "photos", 2)
    arguments = ("features", photos, "--out", tmp_path / "f.parquet", "--weights", weights_file())
    first = convscope(*arguments, "--workers", "0")
    assert first.returncode == 0, first.stderr
    spy = "import atexit; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))"
    again = convscope(*arguments, prefix=spy)
    assert again.returncode == 0, again.stderr
    assert "0 computed, 6 kept" in again.stdout
    assert again.stderr.splitlines()[-1] == "False"


# scikit-learn


@pytest.fixture
def labelled(tmp_path: Path) -> tuple[list[str], list[str]]:
    files = sorted(str(path) for path in tinted_folder(tmp_path / "photos", 8).rglob("*.png"))
    return files, [Path(file).parent.name for file in files]


def extractor(**changes: Any) -> FeatureExtractor:
    options = {"weights": str(weights_file()), "precision": "exact", "workers": 0}
    return FeatureExtractor(**options | changes)


def test_the_extractor_gives_what_extraction_gives(labelled: tuple[list[str], list[str]]) -> None:
    files = labelled[0]
    fitted = extractor(stages=["bottleneck4", "conv2"]).fit(files)
    assert (fitted.n_features_out_, fitted.stages_) == (1344, ("bottleneck4", "conv2"))
    got = fitted.transform(files[:5])
    wanted = extract_features(
        [Path(file) for file in files[:5]], settled_net(3, side=64), net_spec("mobilenet_v2"),
        stages=["bottleneck4", "conv2"], mode="exact", workers=0,
    )  # fmt: skip
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted.vectors, atol=1e-5)
    # A column of a table of names is as good as a list of paths.
    np.testing.assert_array_equal(fitted.transform(np.array(files[:5], object)[:, None]), got)
    names_out = fitted.get_feature_names_out()
    assert (len(names_out), names_out[0], names_out[-1]) == (1344, "bottleneck4_0", "conv2_1279")


def test_it_works_in_a_pipeline_and_a_grid_search(labelled: tuple[list[str], list[str]]) -> None:
    files, labels = labelled
    steps = [("features", extractor()), ("scale", StandardScaler()),
             ("head", LogisticRegression(max_iter=300))]  # fmt: skip
    grid = {"features__stages": [None, ["bottleneck2"]], "head__C": [0.01]}
    search = GridSearchCV(Pipeline(steps), grid, cv=2).fit(files, labels)
    assert search.best_score_ > 0.9
    assert search.predict(files[:3]).tolist() == labels[:3]
    assert len(search.cv_results_["params"]) == 2
    assert set(labels) == set(TINTS)


def test_cloning_and_what_is_said_when_it_is_not_fitted(
    labelled: tuple[list[str], list[str]],
) -> None:
    copied = clone(extractor(stages=("conv2",)))
    assert copied.get_params() == extractor(stages=("conv2",)).get_params()
    with pytest.raises(NotFittedError):
        copied.transform(labelled[0])
    with pytest.raises(NotFittedError):
        copied.get_feature_names_out()


def test_what_the_extractor_refuses(labelled: tuple[list[str], list[str]], tmp_path: Path) -> None:
    files = labelled[0]
    fitted = extractor().fit(files)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no photo")
    with pytest.raises(InputError, match=r"bad\.png: .* \(1 more cannot"):
        fitted.transform([files[0], bad, tmp_path / "gone.png"])
    for given, said in (
        (files[0], "A list of photo files is needed; received str"),
        ([], "received none"),
        ([[1.0, 2.0]], "received list"),
        (np.zeros((3, 4)), "Photos are given by their paths; received ndarray"),
    ):
        with pytest.raises(InputError, match=said):
            fitted.transform(given)
    with pytest.raises(InputError, match="Did you mean 'exact'"):
        extractor(precision="exakt").fit(files)
    with pytest.raises(InputError, match="Did you mean 'conv2'"):
        extractor(stages=["conv22"]).fit(files)


CHECKS = (
    "check_no_attributes_set_in_init", "check_parameters_default_constructible",
    "check_get_params_invariance", "check_set_params", "check_estimator_repr",
    "check_estimator_cloneable", "check_estimator_tags_renamed", "check_valid_tag_types",
    "check_do_not_raise_errors_in_init_or_set_param", "check_mixin_order",
)  # fmt: skip


@pytest.mark.parametrize("check", CHECKS)
def test_scikit_learns_conventions_that_are_not_about_numbers(check: str) -> None:
    found = getattr(estimator_checks, check, None)
    if found is None:
        pytest.skip(f"this scikit-learn has no {check}")
    found("FeatureExtractor", FeatureExtractor())


def test_scikit_learn_knows_that_it_takes_no_numbers() -> None:
    tags = importlib.import_module("sklearn.utils").get_tags(FeatureExtractor())
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array
