"""``fit`` from end to end: what it writes against scikit-learn, and who has a say in it."""

from __future__ import annotations

import csv
import errno
import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
)

from convscope import fitting
from convscope.data.augment import POLICIES
from convscope.errors import ConvscopeError, InputError, InterruptedRunError
from convscope.fitting import fit, make_plan
from convscope.nets import weights as weights_module
from convscope.options import FitOptions, fit_options
from convscope.predicting import predict
from convscope.progress import Progress
from convscope.run import Run
from convscope.train.callbacks import History
from convscope.transfer import features as features_module
from convscope.transfer import shards
from convscope.writing import RunWriter
from fits import (
    STRATEGIES,
    Heard,
    assert_same_run,
    epochs,
    fitted,
    interrupting,
    names,
    options,
    photos,
    small,
    weights_file,
)
from learnable import TINTS, tinted, tinted_folder

CLASSES = tuple(TINTS)


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with small():
        yield


def in_split(run: Run, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels as numbers, and probabilities, as they lie in the file."""
    table = pq.read_table(run.path / "predictions.parquet").to_pydict()
    rows = [i for i, name in enumerate(table["split"]) if name == split]
    shares = np.stack([np.array(table[f"p_{c}"])[rows] for c in CLASSES], axis=1)
    return np.array([CLASSES.index(table["label"][i]) for i in rows]), shares


def photo_table(file: Path, rename: Mapping[str, Callable[[str], str]]) -> Path:
    """The photos as a CSV; the labels of some splits changed."""
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "split"])
        for path in sorted(photos().rglob("*.png")):
            split, label = path.parts[-3:-1]
            writer.writerow([path, rename.get(split, str)(label), split])
    return file


# What is written


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run_holds_what_the_contract_names(strategy: str) -> None:
    run = fitted(strategy)
    assert names(run.path) == [
        "log", "metrics.json", "model.safetensors", "predictions.parquet", "report.html",
        "run.json",
    ]  # fmt: skip
    trained = [] if strategy == "features" else ["epochs.csv", "augmented.jpg"]
    assert names(run.path / "log") == sorted(["check.json", *trained])
    assert not run.path.with_name(f"{strategy}.partial").exists()
    page = run.report_path.read_text(encoding="utf-8")
    assert "<html" in page
    assert strategy in page


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_predictions_are_of_every_photo(strategy: str) -> None:
    written = fitted(strategy).predictions()
    there = sorted(p.relative_to(photos()).as_posix() for p in photos().rglob("*.png"))
    assert sorted(written.paths) == there
    for path, split, label in zip(written.paths, written.splits, written.labels, strict=True):
        assert path.split("/")[:2] == [split, label]
    assert written.classes == CLASSES
    np.testing.assert_allclose(written.probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_metrics_are_those_of_the_predictions(strategy: str) -> None:
    run = fitted(strategy)
    metrics = run.metrics()
    assert list(metrics) == [
        "strategy", "net", "seconds", "splits", "majority_baseline", "left_out",
    ]  # fmt: skip
    assert metrics["strategy"] == strategy
    assert metrics["seconds"] > 0
    assert metrics["left_out"] == []
    assert list(metrics["splits"]) == ["test", "valid", "train"]
    for split, said in metrics["splits"].items():
        labels, shares = in_split(run, split)
        named = shares.argmax(axis=1)
        assert said["n"] == len(labels)
        accuracy = accuracy_score(labels, named)
        assert said["accuracy"] == pytest.approx(accuracy)
        low, high = said["accuracy_95"]
        assert 0 <= low <= accuracy <= high <= 1
        assert said["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, named))
        assert said["macro_f1"] == pytest.approx(f1_score(labels, named, average="macro"))
        exact = shares.astype(np.float64) / shares.sum(axis=1, keepdims=True)
        assert said["log_loss"] == pytest.approx(log_loss(labels, exact), rel=1e-4)
        assert 0 <= said["ece"] <= 1
        assert said["confusion"] == confusion_matrix(labels, named).tolist()
        precision, recall, _, n = precision_recall_fscore_support(
            labels, named, zero_division=np.nan
        )
        for i, name in enumerate(CLASSES):
            row = said["per_class"][name]
            assert row["n"] == n[i]
            wanted = [None if np.isnan(x[i]) else pytest.approx(x[i]) for x in (precision, recall)]
            assert [row["precision"], row["recall"]] == wanted
    # 6, 3 and 2 photos of each of three classes: naming one of them always is right once in three.
    assert metrics["majority_baseline"] == {"class": "brick", "accuracy": pytest.approx(1 / 3)}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_run_json_says_what_was_done(strategy: str) -> None:
    run = fitted(strategy)
    info = run.info()
    assert info.strategy == strategy
    assert info.net == {"fcnn": "fcnn", "cnn": "small_cnn"}.get(strategy, "mobilenet_v2")
    assert info.classes == CLASSES
    assert info.seed == 0
    assert info.model_sha256 == hashlib.sha256(run.model_path.read_bytes()).hexdigest()
    assert info.photos.layout == "split folders"
    assert info.photos.split == "as given"
    assert info.photos.counts == {
        "train": dict.fromkeys(CLASSES, 6),
        "valid": dict.fromkeys(CLASSES, 3),
        "test": dict.fromkeys(CLASSES, 2),
    }
    assert info.versions["torch"] == torch.__version__
    assert info.asked["strategy"] == strategy
    if strategy == "features":
        assert (info.input.size, info.input.resize) == (64, 72)
        assert info.precision.mode == "exact"
        assert info.weights is not None
        digest = hashlib.sha256(weights_file().read_bytes()).hexdigest()
        assert (info.weights.source, info.weights.sha256) == ("backbone.safetensors", digest)
        assert info.augment is None
    else:
        assert (info.input.size, info.input.resize) == (48, 48)
        assert info.weights is None
        assert info.augment == POLICIES["standard"].model_dump()
        assert info.training["epochs"] == len(epochs(run)) == 4


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_predict_says_what_the_run_says(strategy: str) -> None:
    run = fitted(strategy)
    written = run.predictions()
    rows = list(predict(run, [photos() / path for path in written.paths], workers=0))
    got = np.array([[row.probabilities[c] for c in CLASSES] for row in rows])
    # With so few photos a head is chosen by folds and then learns the validation photos, too: of
    # them the file has what was said by heads that had not seen them.
    same = np.array([strategy != "features" or split != "valid" for split in written.splits])
    np.testing.assert_allclose(got[same], written.probabilities[same], atol=1e-4)
    predicted = np.array(written.predicted)
    assert (np.array([row.label for row in rows])[same] == predicted[same]).all()


@pytest.mark.parametrize("strategy", ["fcnn", "cnn"])
def test_the_model_is_that_of_the_best_epoch(strategy: str) -> None:
    """The loss of the validation photos, from the file of predictions, is the least of all."""
    run = fitted(strategy)
    labels, shares = in_split(run, "valid")
    raw = shares.astype(np.float64) ** run.info().temperature  # before the temperature
    of_label = (raw / raw.sum(axis=1, keepdims=True))[np.arange(len(labels)), labels]
    losses = [float(row["valid_loss"]) for row in epochs(run)]
    assert -np.log(of_label).mean() == pytest.approx(min(losses), rel=1e-4)
    assert run.info().training["best_epoch"] == int(np.argmin(losses)) + 1


# Who has a say in it


@pytest.fixture(scope="module", params=["cnn", "features"])
def relabelled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Run]:
    """The same photos, with the labels of one split or another turned round."""
    folder = tmp_path_factory.mktemp("relabelled")
    turned = dict(zip(CLASSES, (*CLASSES[1:], CLASSES[0]), strict=True)).__getitem__
    runs = {}
    for split in ("none", "test", "valid"):
        table = photo_table(folder / f"{split}.csv", {split: turned})
        runs[split] = fit(table, folder / split, options(request.param), workers=0)
    return runs


def test_labels_of_test_photos_move_nothing_but_their_own_figures(
    relabelled: dict[str, Run],
) -> None:
    plain, turned = relabelled["none"], relabelled["test"]
    assert plain.model_path.read_bytes() == turned.model_path.read_bytes()
    assert plain.info().temperature == turned.info().temperature
    np.testing.assert_array_equal(
        plain.predictions().probabilities, turned.predictions().probabilities
    )
    for split in ("train", "valid"):
        assert plain.metrics()["splits"][split] == turned.metrics()["splits"][split]
    assert plain.metrics()["splits"]["test"] != turned.metrics()["splits"]["test"]


def test_labels_of_validation_photos_do_move_the_temperature(
    relabelled: dict[str, Run],
) -> None:
    plain, turned = relabelled["none"].info(), relabelled["valid"].info()
    assert turned.temperature > 1.1 * plain.temperature


def test_the_same_seed_gives_the_same_file_and_another_another(tmp_path: Path) -> None:
    runs = [
        fit(photos(), tmp_path / str(i), options("cnn", epochs=2, seed=seed), workers=workers)
        for i, (seed, workers) in enumerate([(1, 0), (1, 2), (2, 0)])
    ]
    assert_same_run(runs[0], runs[1])
    assert runs[0].info().model_sha256 != runs[2].info().model_sha256


def test_the_callers_state_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(3)
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()
    for strategy in ("cnn", "features"):
        fit(photos(), tmp_path / strategy, options(strategy), workers=0)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.get_num_threads() == 1
    assert names(tmp_path) == ["cnn", "features"]
    assert capfd.readouterr() == ("", "")


def test_a_small_network_learns(tmp_path: Path) -> None:
    folder = tinted_folder(tmp_path / "photos", {"train": 24, "valid": 6, "test": 6})
    run = fit(folder, tmp_path / "run", options("cnn", epochs=12), workers=0)
    test = run.metrics()["splits"]["test"]
    assert test["accuracy"] >= 0.9
    assert test["accuracy"] > 2 * run.metrics()["majority_baseline"]["accuracy"]


# Which photos


@pytest.mark.parametrize("strategy", ["cnn", "features"])
def test_photos_without_a_split_get_one_that_keeps_copies_together(
    strategy: str, tmp_path: Path
) -> None:
    folder = tinted_folder(tmp_path / "photos", 10)
    copies: dict[str, str] = {}
    for original in sorted(folder.rglob("*.png")):
        copy = original.with_name(f"{original.stem} copy.jpg")
        Image.open(original).resize((90, 90)).save(copy, quality=85)
        copies[copy.relative_to(folder).as_posix()] = original.relative_to(folder).as_posix()
    run = fit(folder, tmp_path / "run", options(strategy), workers=0)
    written = run.predictions()
    split = dict(zip(written.paths, written.splits, strict=True))
    assert len(split) == 60
    assert all(split[copy] == split[original] for copy, original in copies.items())
    for label in TINTS:
        count = Counter(split[path] for path in split if path.startswith(label))
        # 70/15/15 of 20, give or take one pair.
        assert count["train"] == pytest.approx(14, abs=2)
        assert count["valid"] == pytest.approx(3, abs=1)
        assert count["test"] == pytest.approx(3, abs=1)
    assert run.info().photos.split.startswith("70/15/15 by convscope, by class, seed 0: ")
    found = Counter(finding["kind"] for finding in run.findings())
    assert found["near_duplicate"] == 30
    assert found["split_leak"] == 0


def spoil(folder: Path) -> dict[str, str]:
    """One photo of each split made useless; path -> what is said of it."""
    (folder / "train" / "leaf" / "leaf03.png").write_text("this is no photo")
    whole = (folder / "valid" / "sky" / "sky02.png").read_bytes()
    (folder / "valid" / "sky" / "sky02.png").write_bytes(whole[: len(whole) // 2])
    (folder / "test" / "brick" / "brick01.png").write_bytes(b"")
    return {
        "test/brick/brick01.png": "empty file",
        "train/leaf/leaf03.png": "not a picture",
        "valid/sky/sky02.png": "cut off",
    }


@pytest.mark.parametrize("strategy", ["cnn", "features"])
def test_unreadable_photos_are_left_out_and_named(strategy: str, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos(), folder)
    spoilt = spoil(folder)
    heard = Heard()
    run = fit(folder, tmp_path / "run", options(strategy), workers=0, progress=heard)
    left_out = run.metrics()["left_out"]
    assert {row["path"] for row in left_out} == set(spoilt)
    for row in left_out:
        assert spoilt[row["path"]] in row["reason"]
        assert f"left out: {row['path']}: {row['reason']}" in heard.lines
    assert set(run.predictions().paths).isdisjoint(spoilt)
    assert len(run.predictions().paths) == 30
    assert run.info().photos.counts["train"] == {"brick": 6, "leaf": 5, "sky": 6}
    assert [run.metrics()["splits"][name]["n"] for name in ("train", "valid", "test")] == [17, 8, 5]


@pytest.mark.parametrize("strategy", ["cnn", "features"])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_split_with_no_usable_photo_is_made_anew(
    split: str, strategy: str, tmp_path: Path
) -> None:
    """What the figures of a split are measured on was not trained on."""
    folder = tmp_path / "photos"
    shutil.copytree(photos(), folder)
    for path in (folder / split).rglob("*.png"):
        path.write_text("this is no photo")
    run = fit(folder, tmp_path / "run", options(strategy), workers=0)
    count = Counter(run.predictions().splits)
    assert count["train"] + count[split] == 18
    assert count[split] == 3
    assert f"no {split} photos there" in run.info().photos.split
    if strategy == "cnn":
        labels, shares = in_split(run, "valid")
        raw = shares.astype(np.float64) ** run.info().temperature
        of_label = (raw / raw.sum(axis=1, keepdims=True))[np.arange(len(labels)), labels]
        least = min(float(row["valid_loss"]) for row in epochs(run))
        assert -np.log(of_label).mean() == pytest.approx(least, rel=1e-4)


@pytest.mark.parametrize("strategy", ["cnn", "features"])
@pytest.mark.parametrize("given", [True, False])
def test_a_class_of_one_usable_photo_is_refused(given: bool, strategy: str, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    if given:
        shutil.copytree(photos(), folder)
    else:
        tinted_folder(folder, 6)
    for path in sorted(folder.rglob("leaf*.png"))[1:]:
        path.write_text("this is no photo")
    with pytest.raises(InputError, match=r"Too few usable photos in: leaf \(1, .*leaf01\.png"):
        fit(folder, tmp_path / "run", options(strategy), workers=0)
    assert names(tmp_path) == ["photos"]


@pytest.mark.parametrize("strategy", ["cnn", "features"])
@pytest.mark.parametrize("spoilt", ["train/leaf", "train"])
def test_a_class_with_no_photo_to_train_on_is_refused(
    spoilt: str, strategy: str, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos(), folder)
    for path in (folder / spoilt).rglob("*.png"):
        path.write_text("this is no photo")
    with pytest.raises(InputError, match=r"leaf \(5, 0 to train on\)"):
        fit(folder, tmp_path / "run", options(strategy), workers=0)
    assert names(tmp_path) == ["photos"]


@pytest.mark.parametrize("strategy", ["cnn", "features"])
def test_two_photos_a_class_leave_none_to_validate_on(strategy: str, tmp_path: Path) -> None:
    folder = tinted_folder(tmp_path / "photos", 2)
    run = fit(folder, tmp_path / "run", options(strategy), workers=0)
    assert Counter(run.predictions().splits) == {"train": 3, "test": 3}
    assert list(run.metrics()["splits"]) == ["test", "train"]
    assert run.info().temperature == 1.0


@pytest.mark.parametrize("strategy", ["cnn", "features"])
def test_classes_of_copies_leave_none_to_test_on(strategy: str, tmp_path: Path) -> None:
    for label in TINTS:
        for i in range(3):
            file = tmp_path / "photos" / label / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            tinted(label, len(label)).save(file)
    run = fit(tmp_path / "photos", tmp_path / "run", options(strategy), workers=0)
    assert list(run.metrics()["splits"]) == ["train"]
    assert run.metrics()["majority_baseline"]["accuracy"] is None


@pytest.mark.parametrize("strategy", ["cnn", "features"])
def test_two_classes_with_names_of_any_script(strategy: str, tmp_path: Path) -> None:
    folder = tinted_folder(tmp_path / "mes photos", {"train": 4, "valid": 2, "test": 2})
    for path in list(folder.glob("*/leaf")):
        shutil.rmtree(path)
    for split in ("train", "valid", "test"):
        (folder / split / "brick").rename(folder / split / "brique rouge – 煉瓦")
        for path in (folder / split / "sky").iterdir():
            path.rename(path.with_name(f"été {path.name}"))
    run = fit(folder, tmp_path / "run", options(strategy), workers=0)
    assert run.info().classes == ("brique rouge – 煉瓦", "sky")
    assert "test/sky/été sky00.png" in run.predictions().paths
    rows = list(predict(run, [folder / "test"], workers=0))
    written = run.predictions()
    of_test = [i for i, split in enumerate(written.splits) if split == "test"]
    got = [[row.probabilities[c] for c in written.classes] for row in rows]
    np.testing.assert_allclose(got, written.probabilities[of_test], atol=1e-4)


# What is asked for


def test_faults_in_the_options_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        fit_options({"strategy": "cnn", "epochs": 0, "seed": -1, "precision": "fats"})
    said = str(caught.value)
    assert "epochs: input should be greater than or equal to 1. Received: 0." in said
    assert "seed: " in said
    assert "precision: input should be 'fast' or 'exact'. Received: 'fats'." in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"strategy": "feature"}, "Unknown strategy 'feature'. Did you mean 'features'?"),
        ({"strategy": ["cnn"]}, "Unknown strategy"),
        ({"speed": 3}, "speed: extra inputs are not permitted"),
        ({"seed": 2**31}, "seed: input should be less than 2147483648"),
    ],
)
def test_options_that_do_not_exist(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        fit_options(asked)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"strategy": "cnn", "net": "smal_cnn"}, "Unknown net 'smal_cnn'. Did you mean 'small_cnn"),
        ({"strategy": "cnn", "augment": "standart"}, "Did you mean 'standard'?"),
        ({"strategy": "cnn", "net": "fcnn"}, "does not go with net fcnn. Use: small_cnn"),
        ({"strategy": "cnn", "net": "highway"}, "does not go with net highway. Use: small_cnn"),
        ({"strategy": "cnn", "net": "tcn"}, "Net tcn takes time series, no photos."),
        ({"net": "tcn_plain"}, "Net tcn_plain takes time series, no photos."),
        ({"strategy": "finetune", "net": "highway_cnn"}, "highway_cnn has no features to transfer"),
        ({"strategy": "features", "train_stages": 2}, "--train-stages has no meaning"),
        ({"strategy": "features", "learning_rate": 0.1}, "--learning-rate has no meaning"),
        ({"strategy": "cnn", "learning_rate": "find"}, "--learning-rate has no meaning here"),
        ({"strategy": "cnn", "head": "forest"}, "--head has no meaning here"),
        ({"weights": "none", "layers": ("conv2",)}, "--layer has no meaning here"),
        ({"strategy": "fcnn", "net": "small_cnn"}, "does not go with net small_cnn. Use: fcnn"),
        ({"strategy": "cnn", "weights": "{file}"}, "trains from scratch: leave out --weights"),
        ({"strategy": "cnn", "weights": "nowhere.pth"}, "no such file"),
        ({"strategy": "features", "net": "small_cnn"}, "has no features to transfer"),
        ({"strategy": "features", "weights": "none"}, "needs pre-trained weights"),
        ({"strategy": "features", "epochs": 5}, "--epochs has no meaning"),
        ({"strategy": "features", "augment": "standard"}, "--augment standard has no effect"),
        ({"strategy": "auto", "weights": "nowhere.pth"}, "no such file"),
        ({"strategy": "auto", "net": "alexnte"}, "Unknown net 'alexnte'. Did you mean 'alexnet'"),
    ],
)
def test_options_that_do_not_go_together(
    asked: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched(*_: object) -> None:
        raise AssertionError("what cannot be done was found out after fetching weights")

    monkeypatch.setattr(weights_module, "_fetch", fetched)
    monkeypatch.setenv("CONVSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    if asked.get("weights") == "{file}":
        asked = {**asked, "weights": str(weights_file())}
    with pytest.raises(InputError, match=re.escape(said)):
        fit(photos(), tmp_path / "run", FitOptions(**asked))
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("asked", "strategy", "net"),
    [
        ({}, "auto", "mobilenet_v2"),
        ({"net": "small_cnn"}, "cnn", "small_cnn"),
        ({"net": "fcnn"}, "fcnn", "fcnn"),
        ({"weights": "none"}, "cnn", "small_cnn"),
        ({"weights": "none", "net": "mobilenet_v2"}, "cnn", "mobilenet_v2"),
    ],
)
def test_auto_chooses(asked: dict[str, Any], strategy: str, net: str) -> None:
    wanted = asked or {"weights": str(weights_file())}
    plan = make_plan(FitOptions(**wanted), Progress())
    assert (plan.strategy, plan.spec.name) == (strategy, net)
    assert plan.reason


def test_auto_with_few_photos_goes_for_features(tmp_path: Path) -> None:
    heard = Heard()
    asked = FitOptions(weights=str(weights_file()), precision="exact", epochs=3, head="logistic")
    with small():
        run = fit(photos(), tmp_path / "run", asked, workers=0, progress=heard)
    info = run.info()
    assert info.strategy == run.metrics()["strategy"] == "features"
    assert "at hand" in info.reason
    assert any(line.startswith("--epochs has no effect") for line in heard.lines)
    assert info.plan is not None
    assert info.plan["evidence"]["photos_per_class"] == 6
    assert info.plan["trained_stages"] == []
    assert all(reason in heard.lines for reason in info.plan["reasons"])


def assert_same_run_but_options(a: Run, b: Run) -> None:
    assert a.info().model_sha256 == b.info().model_sha256
    assert a.info().asked != b.info().asked


def test_auto_without_a_network_connection_trains_from_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConvscopeError("the address could not be reached (Network is unreachable).")

    monkeypatch.setattr(weights_module, "download", offline)
    monkeypatch.setenv("CONVSCOPE_CACHE", str(tmp_path / "cache"))
    heard = Heard()
    run = fit(photos(), tmp_path / "run", FitOptions(epochs=2), workers=0, progress=heard)
    assert (run.info().strategy, run.info().net) == ("cnn", "small_cnn")
    assert run.info().reason == (
        "no pre-trained weights (the published weights of mobilenet_v2 could not be fetched)"
    )
    assert any("Network is unreachable" in line for line in heard.lines)
    with pytest.raises(ConvscopeError, match="Network is unreachable"):
        fit(photos(), tmp_path / "other", FitOptions(strategy="features"))
    assert not (tmp_path / "other.partial").exists()


def test_weights_that_do_not_fit_leave_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    asked = FitOptions(strategy="features", weights=str(tmp_path / "broken.safetensors"))
    with pytest.raises(InputError, match=r"broken\.safetensors cannot be read as weights"):
        fit(photos(), tmp_path / "run", asked)
    assert names(tmp_path) == ["broken.safetensors"]


# Interrupted and resumed

STEPS: dict[str, tuple[Any, str, int]] = {
    "while an epoch is trained": (History, "on_train_epoch_end", 3),
    "after training": (fitting, "fit_temperature", 1),
    "before the model is written": (RunWriter, "write_model", 1),
    "before the predictions are written": (RunWriter, "write_predictions", 1),
    "before the report is written": (fitting, "build_report", 1),
    "before the run has its name": (RunWriter, "finish", 1),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_resumed_fit_equals_an_unbroken_one(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name, call = STEPS[step]
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupting(owner, name, call))
        with pytest.raises(InterruptedRunError, match=r"run\.partial.*--resume"):
            fit(photos(), out, options("cnn"), workers=0)
    assert names(tmp_path) == ["run.partial"]
    with pytest.raises(InputError, match="--resume to go on with it"):
        fit(photos(), out, options("cnn"), workers=0)
    run = fit(photos(), out, options("cnn"), workers=0, resume=True)
    assert names(tmp_path) == ["run"]
    assert names(out) == names(fitted("cnn").path)
    assert_same_run(run, fitted("cnn"))


def test_resuming_trains_no_epoch_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        broken = interrupting(History, "on_train_epoch_start", 3)
        patch.setattr(History, "on_train_epoch_start", broken)
        with pytest.raises(InterruptedRunError):
            fit(photos(), tmp_path / "run", options("cnn"), workers=0)
    begun: list[int] = []
    real = History.on_train_epoch_start

    def count(self: History, trainer: Any, module: Any) -> None:
        begun.append(trainer.current_epoch)
        real(self, trainer, module)

    monkeypatch.setattr(History, "on_train_epoch_start", count)
    fit(photos(), tmp_path / "run", options("cnn"), workers=0, resume=True)
    assert begun == [2, 3]


@pytest.mark.parametrize("other_weights", [False, True])
def test_extracting_features_goes_on_where_it_was_stopped(
    other_weights: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD", 8)
    weights = Path(shutil.copy(weights_file(), tmp_path / "w.safetensors"))
    asked = options("features", weights=str(weights))
    with monkeypatch.context() as patch:
        # After the third of five chunks: what is done by then is kept on the way out.
        patch.setattr(shards.Shards, "keep", interrupting(shards.Shards, "keep", 3))
        with pytest.raises(InterruptedRunError, match="--resume"):
            fit(photos(), tmp_path / "run", asked, workers=0)
    if other_weights:
        tensors = load_file(weights)
        tensors["features.0.0.weight"] *= -1
        save_file(tensors, weights)
    pushed: list[int] = []
    real = features_module.push

    def spy(paths: list[Path], *rest: Any, **more: Any) -> Any:
        pushed.append(len(paths))
        return real(paths, *rest, **more)

    monkeypatch.setattr(features_module, "push", spy)
    run = fit(photos(), tmp_path / "run", asked, workers=0, resume=True)
    assert pushed == [33 if other_weights else 33 - 24]
    if other_weights:  # not a mixture of the old and the new
        whole = fit(photos(), tmp_path / "whole", asked, workers=0)
    else:
        whole = fitted("features")
    np.testing.assert_allclose(
        run.predictions().probabilities, whole.predictions().probabilities, atol=1e-4
    )


@pytest.fixture
def broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Photos, and where the run was to be that was stopped in its third epoch."""
    folder = tmp_path / "photos"
    shutil.copytree(photos(), folder)
    with monkeypatch.context() as patch:
        broken = interrupting(History, "on_train_epoch_start", 3)
        patch.setattr(History, "on_train_epoch_start", broken)
        with pytest.raises(InterruptedRunError):
            fit(folder, tmp_path / "run", options("cnn"), workers=0)
    return folder, tmp_path / "run"


def test_resuming_something_else_is_refused(broken_off: tuple[Path, Path]) -> None:
    folder, out = broken_off
    for change, said in (({"epochs": 5}, "epochs was 4"), ({"seed": 1}, "seed was 0")):
        with pytest.raises(InputError, match=said):
            fit(folder, out, options("cnn", **change), resume=True)
    extra = folder / "train" / "sky" / "one more.png"
    tinted("sky", 999).save(extra)
    with pytest.raises(InputError, match="The photos have changed"):
        fit(folder, out, options("cnn"), resume=True)
    extra.unlink()
    fit(folder, out, options("cnn"), workers=0, resume=True)


def test_a_changed_photo_is_a_change_of_the_photos(broken_off: tuple[Path, Path]) -> None:
    folder, out = broken_off
    tinted("sky", 999).save(folder / "test" / "sky" / "sky00.png")
    with pytest.raises(InputError, match="The photos have changed"):
        fit(folder, out, options("cnn"), resume=True)
    run = fit(folder, out, options("cnn"), workers=0, overwrite=True)
    assert len(epochs(run)) == 4


def test_an_error_of_the_input_does_not_throw_away_earlier_work(
    broken_off: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = broken_off

    def refuse(*_: object) -> None:
        raise InputError("something is wrong now")

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "_fit", refuse)
        with pytest.raises(InputError, match="wrong now"):
            fit(folder, out, options("cnn"), resume=True)
    assert (out.with_name("run.partial") / "work" / "last.ckpt").exists()


def test_resume_with_nothing_to_resume_starts_and_says_so(tmp_path: Path) -> None:
    heard = Heard()
    run = fit(photos(), tmp_path / "run", options("cnn"), workers=0, resume=True, progress=heard)
    assert "nothing to resume: starting from the beginning" in heard.lines
    assert_same_run(run, fitted("cnn"))


def test_overwriting_keeps_the_old_run_until_the_new_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    shutil.copytree(fitted("cnn").path, out)
    before = Run(out).info().model_sha256
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "build_report", interrupting(fitting, "build_report"))
        with pytest.raises(InterruptedRunError):
            fit(photos(), out, options("cnn", seed=5), workers=0, overwrite=True)
    assert Run(out).info().model_sha256 == before
    fit(photos(), out, options("cnn", seed=5), workers=0, overwrite=True, resume=True)
    assert Run(out).info().model_sha256 != before
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize(
    ("file", "strategy"),
    [
        ("best.ckpt", "cnn"),
        ("epochs.csv", "cnn"),
        ("model.safetensors", "cnn"),
        ("report.html", "cnn"),
        ("predictions.parquet", "features"),
    ],
)
def test_a_full_disk_is_told_and_what_is_done_is_kept(
    file: str, strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name == file:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(ConvscopeError, match="No space left on device") as caught:
            fit(photos(), tmp_path / "run", options(strategy), workers=0)
    assert not isinstance(caught.value, InputError)
    assert f"kept in {tmp_path / 'run.partial'}" in str(caught.value)
    assert "the same command and --resume" in str(caught.value)
    assert names(tmp_path) == ["run.partial"]
    run = fit(photos(), tmp_path / "run", options(strategy), workers=0, resume=True)
    assert names(tmp_path) == ["run"]
    assert names(run.path) == names(fitted(strategy).path)
    assert_same_run(run, fitted(strategy))
