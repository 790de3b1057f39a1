"""One ladder on the same photos: every rung sees the same, and the tests mean what they say."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest

from convscope import ConvscopeError, InputError
from convscope.comparing import cells, material, page, running
from convscope.comparing.cells import Cell, CellResult, Material, nested_sample
from convscope.comparing.folder import ComparisonFolder
from convscope.comparing.ladder import RUNGS, CompareOptions, read_rungs, read_sizes, useful_sizes
from convscope.comparing.material import possible_rungs
from convscope.comparing.result import Comparison, best_heads, ladder_order, ladder_steps, scores
from convscope.comparing.running import compare, time_left
from convscope.comparing.statistics import (
    accuracy_interval,
    difference_interval,
    holm,
    paired_test,
    sign_flip_test,
    spread,
)
from convscope.comparing.story import p_value, points, story
from convscope.data.folder import scan
from convscope.errors import InterruptedRunError
from convscope.metrics import wilson
from convscope.progress import Progress
from fits import Command, Heard, assert_refused, folder, interrupting, names, small, weights_file
from fits import photos as split_photos
from learnable import TINTS, tinted_folder

# Statistics


def test_with_one_seed_the_test_is_that_of_mcnemar() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = rng.random((2, 1, 40)) < 0.6
        only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
        wanted = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
        assert paired_test(a, b) == pytest.approx(wanted)
        assert paired_test(b, a) == pytest.approx(wanted)
    # By hand: 5 against 1 of 6 coins, two-sided (1 + 6) * 2 / 64.
    assert sign_flip_test(np.array([1] * 5 + [-1] + [0] * 30)) == pytest.approx(14 / 64)
    assert sign_flip_test(np.zeros(9, int)) == 1


def test_signs_are_tossed_exactly() -> None:
    differences = np.array([3, -1, 2, 2, 0, -1, 3])
    flips = np.array(np.meshgrid(*[[-1, 1]] * 7)).reshape(7, -1).T
    wanted = (np.abs(flips @ differences) >= abs(differences.sum())).mean()
    assert sign_flip_test(differences) == pytest.approx(wanted)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.5, 0.9]) == pytest.approx((1.0, 1.0))
    assert holm([]) == ()


def test_with_one_seed_the_interval_is_that_of_wilson() -> None:
    hits = np.arange(50)[None] < 41
    assert accuracy_interval(hits) == pytest.approx(wilson(41, 50))
    # Seeds that agree on everything say no more than one does, and know no less.
    low, high = accuracy_interval(np.repeat(hits, 3, axis=0))
    assert (low, high) == pytest.approx(wilson(41, 50), abs=0.01)
    low, high = accuracy_interval(np.ones((3, 20), bool))
    assert 0.8 < low < 0.9 and high == 1


def test_the_spread_by_hand() -> None:
    values = np.array([[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    found = spread(values)
    assert found.photos == pytest.approx(0.0625 / 4)  # means 1, .5, 1, .5: variance 1/16
    assert found.seeds == pytest.approx(0.125 / 2)  # means .5 and 1: variance 1/8
    assert found.total == pytest.approx(0.078125)


def drawn(
    rng: np.random.Generator, photos: np.ndarray, seeds: int, effect: float, level: float = 1.5
) -> np.ndarray:
    """Trainings of one way: photos differ in how hard they are, seeds in their luck."""
    z = level + photos + rng.normal(0, effect, seeds)[:, None]
    return rng.random(z.shape) < 1 / (1 + np.exp(-z))


@pytest.mark.parametrize(("seeds", "effect"), [(1, 0.0), (2, 0.0), (3, 0.0), (3, 0.2), (5, 0.2)])
def test_equal_rungs_are_seldom_told_apart(seeds: int, effect: float) -> None:
    rng = np.random.default_rng(seeds)
    times, rejected, covered = 400, 0, 0
    for _ in range(times):
        hard = rng.normal(0, 1.5, 150)
        a, b = drawn(rng, hard, seeds, effect), drawn(rng, hard, seeds, effect)
        rejected += paired_test(a, b) < 0.05
        low, high = difference_interval(a, b)
        covered += low <= 0 <= high
    assert rejected / times <= 0.05 + 0.02
    assert covered / times >= 0.95 - 0.03


@pytest.mark.parametrize(("seeds", "effect"), [(1, 0.0), (3, 0.0), (3, 0.2), (5, 0.4)])
def test_intervals_hold_the_accuracy(seeds: int, effect: float) -> None:
    rng = np.random.default_rng(seeds)
    z = 1.5 + rng.normal(0, 1.5, 10**6) + rng.normal(0, effect, 10**6)
    true, times, held = float((1 / (1 + np.exp(-z))).mean()), 400, 0
    for _ in range(times):
        low, high = accuracy_interval(drawn(rng, rng.normal(0, 1.5, 150), seeds, effect))
        held += low <= true <= high
    assert held / times >= 0.95 - 0.03


def test_a_difference_that_is_there_is_found() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 1.5, 372)
    a, b = drawn(rng, hard, 3, 0.1, 2.5), drawn(rng, hard, 3, 0.1, 0.5)
    assert paired_test(a, b) < 0.001
    low, _ = difference_interval(a, b)
    assert low > 0.1


# Rungs, sizes and order


def test_what_can_be_asked() -> None:
    assert read_rungs(None) is None
    assert read_rungs("finetune,fcnn") == ("fcnn", "finetune")
    assert read_rungs("features") == tuple(n for n in RUNGS if n.startswith("features+"))
    with pytest.raises(InputError, match="Did you mean 'cnn'"):
        read_rungs("cn")
    assert read_sizes(" 50, 10,all") == (10, 50)
    for wrong in ("0", "-3", "ten", "2.5"):
        with pytest.raises(InputError, match="--sizes"):
            read_sizes(wrong)
    assert useful_sizes((2, 6, 9), (6, 4)) == (2,)
    assert CompareOptions(seeds=2, seed=5).all_seeds == (5, 6)
    for wrong in ({"seeds": 0}, {"epochs": 0}, {"rungs": ()}, {"rungs": ("x",)}):
        with pytest.raises(InputError):
            CompareOptions(**wrong)


def test_smaller_samples_lie_in_larger_ones() -> None:
    labels = np.repeat([0, 1, 2], [40, 12, 3])
    rows = np.arange(2, 55)
    before: set[int] = set()
    for size in (1, 5, 10, 30):
        found = nested_sample(labels, rows, size, seed=4)
        assert before <= set(found.tolist()) <= set(rows.tolist())
        counts = Counter(labels[found].tolist())
        assert counts == {0: min(size, 38), 1: min(size, 12), 2: min(size, 3)}
        before = set(found.tolist())
    first, second = (nested_sample(labels, rows, 5, seed=seed) for seed in (4, 5))
    assert set(first) != set(second)


def fake(probabilities: np.ndarray, loss: float | None = None, photos: int = 60) -> CellResult:
    return CellResult(probabilities, 1.0, photos, loss, {})


def made_up(shares: dict[str, float], losses: dict[str, float], seeds: int = 1) -> Comparison:
    """A comparison of rungs with these accuracies on 200 test photos."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    results = {}
    for size in (10, None):
        for name, share in shares.items():
            for seed in range(seeds):
                right = rng.random(200) < share * (1 if size is None else 0.8)
                shown = np.eye(2, dtype=np.float32)[np.where(right, labels, 1 - labels)]
                cell = Cell(RUNGS[name], size, seed)
                results[cell] = fake(shown, losses.get(name), 400 if size is None else 20)
    found, hits = scores(results, labels)
    order, best = ladder_order([RUNGS[name] for name in shares], found), best_heads(found)
    return Comparison(
        created="2025-05-03T14:05:00+00:00", photos="photos", classes=("a", "b"),
        counts={s: {"a": n, "b": n} for s, n in (("train", 200), ("valid", 50), ("test", 100))},
        split="as given", seeds=tuple(range(seeds)), net="mobilenet_v2", weights="w.safetensors",
        majority={"class": "a", "accuracy": 0.5}, ladder=tuple(found[r, "all"] for r in order),
        steps=ladder_steps(order, best.get("all"), hits), curve=tuple(found.values()),
        best_heads=best, left_out=(), seconds=1.0,
    )  # fmt: skip


SHARES = {
    "fcnn": 0.6, "cnn": 0.62, "cnn+standard": 0.65, "features+logistic": 0.9,
    "features+forest": 0.95, "features+neighbours": 0.85, "finetune": 0.9,
}  # fmt: skip
LOSSES = {"features+logistic": 0.2, "features+forest": 0.3, "features+neighbours": 0.4}


def test_the_best_classifier_is_not_chosen_by_test_photos() -> None:
    found = made_up(SHARES, LOSSES)
    assert [score.rung for score in found.ladder] == [
        "fcnn", "cnn", "cnn+standard", "features+neighbours", "features+forest",
        "features+logistic", "finetune",
    ]  # fmt: skip
    assert found.best_heads == {"10": "features+logistic", "all": "features+logistic"}
    pairs = [(step.lower, step.upper) for step in found.steps]
    assert pairs[:-1] == list(pairwise(score.rung for score in found.ladder))
    assert pairs[-1] == ("cnn+standard", "features+logistic")
    assert [step.p for step in found.steps] == pytest.approx(
        holm([step.p_alone for step in found.steps])
    )


def test_the_story_says_what_chance_could_do() -> None:
    found = made_up(SHARES, LOSSES)
    told = story(found)
    assert len(told) == 5
    assert told[0].startswith("fcnn: ") and "200 test photos" in told[0]
    assert "which is no difference that 200 test photos can show (p = " in told[1]
    assert "more (p < 0.001)" in told[3]
    assert told[4].startswith("mobilenet_v2 fine-tuned: ")
    assert (p_value(0.03141), p_value(0.04), p_value(0.6)) == ("p = 0.031", "p = 0.040", "p = 0.60")
    assert points(-0.0213, signed=True) == "−2.1 points"


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_page_needs_nothing_else_and_escapes_names(seeds: int) -> None:
    found = replace(made_up(SHARES, LOSSES, seeds), classes=("<b>", "b"))
    text = page.render(found)
    assert "default-src 'none'" in text and "script-src 'sha256-" in text
    assert text.count("<script") == 1  # the one that the policy names by its hash
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "&lt;b&gt;" in text and "<b>" not in text
    assert text.count("<polyline") == 2 * 5  # each milestone, and its key
    assert all(score.title in text for score in found.ladder)
    assert ("Each rung was trained once" in text) == (seeds == 1)
    assert ("McNemar" in text) == (seeds == 1)
    alone = page.render(made_up({"fcnn": 0.5, "cnn": 0.7}, {}))
    assert "held-out" not in alone


def test_time_left_waits_for_what_it_does_not_know() -> None:
    table = scan(split_photos())
    shared = Material(table, None, 0.0, "mobilenet_v2", None, None)
    cell = {size: Cell(RUNGS["cnn"], size, 0) for size in (2, 4, None)}
    assert time_left([cell[4]], {}, shared) is None
    # 15 held out; 6 trained on took 21 s, 12 take 27 s.
    assert time_left([cell[4]], {cell[2]: (6, 21.0)}, shared) == pytest.approx(27.0)


def test_each_rung_is_asked_for_as_it_is_called() -> None:
    shared = Material(scan(split_photos()), None, 0.0, "resnet18", Path("w.pth"), 7)

    def asked(name: str) -> dict[str, object]:
        return cells._options(Cell(RUNGS[name], None, 3), shared).model_dump(exclude_defaults=True)

    assert asked("fcnn") == {"strategy": "fcnn", "augment": "none", "epochs": 7, "seed": 3}
    assert asked("cnn") == {"strategy": "cnn", "augment": "none", "epochs": 7, "seed": 3}
    assert asked("cnn+standard") == {**asked("cnn"), "augment": "standard"}
    assert asked("finetune") == {
        "strategy": "finetune", "net": "resnet18", "weights": "w.pth", "head": "logistic",
        "seed": 3,
    }  # fmt: skip


# The whole


RUNG_NAMES = "fcnn,cnn,features+logistic,features+neighbours"


@pytest.fixture(scope="module")
def finished() -> tuple[Path, Comparison, list[str]]:
    out, heard = folder() / "compared", Heard()
    options = CompareOptions(
        rungs=read_rungs(RUNG_NAMES), sizes=(2, 50), seeds=2, epochs=2, weights=str(weights_file())
    )
    with small():
        found = compare(split_photos(), out, options, workers=0, progress=heard)
    return out, found, heard.lines


def test_what_a_comparison_leaves(finished: tuple[Path, Comparison, list[str]]) -> None:
    out, found, _ = finished
    assert names(out) == [
        "compare.html",
        "compare.json",
        "page.json",
        "predictions.parquet",
        "split.csv",
    ]
    assert not out.with_name("compared.partial").exists()
    assert found.sizes == ("2", "all")
    content = json.loads((out / "compare.json").read_text(encoding="utf-8"))
    assert content == json.loads(json.dumps(found.to_dict()))
    assert content["test_photos"] == 6
    assert [row["photos"] for row in content["curve"] if row["size"] == "2"] == [6] * 4
    assert [row["photos"] for row in content["ladder"]] == [18] * 4


def test_every_rung_was_held_to_the_same_photos(
    finished: tuple[Path, Comparison, list[str]],
) -> None:
    out, found, _ = finished
    rows = pq.read_table(out / "predictions.parquet").to_pylist()
    by_cell: dict[tuple[str, str, int], list[dict[str, object]]] = {}
    for row in rows:
        by_cell.setdefault((row["rung"], row["size"], row["seed"]), []).append(row)
    assert len(by_cell) == 4 * 2 * 2
    test = [path for path in scan(split_photos()).paths if path.startswith("test/")]
    assert all([row["path"] for row in part] == test for part in by_cell.values())
    for score in found.curve:
        for seed, accuracy in zip(found.seeds, score.accuracies, strict=True):
            part = by_cell[score.rung, score.size, seed]
            assert np.mean([row["label"] == row["predicted"] for row in part]) == accuracy
    with (out / "split.csv").open(newline="", encoding="utf-8") as stream:
        split = list(csv.DictReader(stream))
    assert Counter(row["split"] for row in split) == {"train": 18, "valid": 9, "test": 6}
    again = scan(out / "split.csv")
    assert all(path.is_file() for path in again.full_paths())


def test_features_beat_networks_that_saw_two_epochs(
    finished: tuple[Path, Comparison, list[str]],
) -> None:
    _, found, heard = finished
    assert found.score("features+logistic", "all").accuracy == 1
    assert found.score("features+logistic", "all").held_out_log_loss is not None
    assert found.score("cnn", "all").held_out_log_loss is None
    assert any("seed 1; about" in line for line in heard)
    # The validation photos are too few to choose by, and were not trained on.
    settings = found.score("features+logistic", "all").settings[0]
    assert settings["chosen_on"] == "5-fold cross-validation of 18 training photos"


def test_what_is_done_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: tuple[Path, Comparison, list[str]]
) -> None:
    out = tmp_path / "out"
    options = CompareOptions(rungs=("fcnn", "cnn"), sizes=(2,), seeds=1, epochs=1)
    with small():
        with monkeypatch.context() as patched:
            patched.setattr(running, "run_cell", interrupting(running, "run_cell", 3))
            with pytest.raises(InterruptedRunError, match="--resume"):
                compare(split_photos(), out, options, workers=0)
        assert not out.exists()
        with pytest.raises(InputError, match="interrupted"):
            compare(split_photos(), out, options, workers=0)
        with pytest.raises(InputError, match="seeds was 1"):
            compare(split_photos(), out, replace(options, seeds=2), resume=True, workers=0)
        calls: list[Cell] = []
        real = running.run_cell

        def counted(cell: Cell, *given: object, **named: object) -> CellResult:
            calls.append(cell)
            return real(cell, *given, **named)

        with monkeypatch.context() as patched:
            patched.setattr(running, "run_cell", counted)
            patched.setattr(material, "_survey", None)  # not needed again
            found = compare(split_photos(), out, options, resume=True, workers=0)
        assert [cell.name for cell in calls] == ["fcnn-all-0", "cnn-all-0"]
        # What the command before had done counts.
        assert found.seconds >= sum(s.seconds for s in found.curve) - 0.1
        whole = compare(split_photos(), tmp_path / "whole", options, workers=0)
    assert [s.accuracies for s in found.curve] == [s.accuracies for s in whole.curve]
    parts = [pq.read_table(where / "predictions.parquet") for where in (out, tmp_path / "whole")]
    assert parts[0].equals(parts[1])


def test_a_fit_that_was_stopped_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = CompareOptions(rungs=("fcnn", "cnn"), sizes=(), seeds=1, epochs=1)
    with small():
        with monkeypatch.context() as patched:
            patched.setattr(cells, "_from_run", interrupting(cells, "_from_run"))
            with pytest.raises(InterruptedRunError, match="Stopped"):
                compare(split_photos(), tmp_path / "out", options, workers=0)
        found = compare(split_photos(), tmp_path / "out", options, workers=0, resume=True)
    assert [score.rung for score in found.ladder] == ["fcnn", "cnn"]


def test_photos_without_a_split_get_one(tmp_path: Path) -> None:
    photos = tinted_folder(tmp_path / "photos", 8)
    (photos / "brick" / "bad.jpg").write_bytes(b"no photo")
    options = CompareOptions(rungs=("fcnn", "cnn"), sizes=(1,), seeds=1, epochs=1, seed=3)
    heard = Heard()
    with small():
        found = compare(photos, tmp_path / "out", options, workers=0, progress=heard)
    assert found.split.startswith("70/15/15 by convscope, by class, seed 3")
    assert found.seeds == (3,)
    assert sum(line.startswith("left out: brick/bad.jpg") for line in heard.lines) == 1
    assert "bad.jpg" not in (tmp_path / "out" / "split.csv").read_text(encoding="utf-8")


# What goes wrong


def test_without_weights_transfer_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    found = possible_rungs(CompareOptions(weights="none"), heard)
    assert [rung.name for rung in found.rungs] == ["fcnn", "cnn", "cnn+standard"]
    assert len(heard.lines) == 1 and "--weights none" in heard.lines[0]

    def fail(*_given: object, **_named: object) -> None:
        raise ConvscopeError("no network")

    monkeypatch.setattr(material, "find_weights", fail)
    found = possible_rungs(CompareOptions(), heard)
    assert len(found.rungs) == 3 and "no network" in found.left_out[0][1]
    with pytest.raises(ConvscopeError, match="no network"):
        possible_rungs(CompareOptions(rungs=("cnn", "finetune")), heard)
    with pytest.raises(InputError, match="two rungs or more"):
        possible_rungs(CompareOptions(rungs=("cnn",)), Progress())
    with pytest.raises(InputError, match="no published weights"):
        possible_rungs(CompareOptions(net="small_cnn"), heard)


def test_unusable_photos_leave_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command, out = Command(capsys), tmp_path / "out"
    how = ("--out", out, "--rungs", "fcnn,cnn", "--epochs", "1", "--workers", "0")
    few = tinted_folder(tmp_path / "few", 2)
    assert_refused(command("compare", few, *how), 2, "too few for a comparison", "valid")
    lonely = tinted_folder(tmp_path / "lonely", 6)
    for file in sorted((lonely / "sky").iterdir())[1:]:
        file.unlink()
    assert_refused(command("compare", lonely, *how), 2, "Too few usable photos in: sky")
    stranger = tinted_folder(tmp_path / "stranger", {"train": 3, "valid": 2, "test": 2})
    for file in (stranger / "train" / "sky").iterdir():
        file.unlink()
    assert_refused(command("compare", stranger, *how), 2, "No training photo", "sky")
    assert_refused(command("compare", tmp_path / "nowhere", *how), 2, "does not exist")
    assert_refused(command("compare", few, *how, "--sizes", "x"), 2, "--sizes x")
    assert_refused(command("compare", few, "--out", out, "--rungs", "fcn"), 2, "mean 'fcnn'")
    assert_refused(command("compare", few, *how, "--seeds", "0"), 2, "--seeds 0")
    assert names(tmp_path) == ["few", "lonely", "stranger"]
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert_refused(command("compare", few, *how, "--overwrite"), 2, "is not overwritten")
    assert (out / "mine.txt").read_text() == "mine"


def test_a_photo_that_vanishes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = tinted_folder(tmp_path / "photos", {"train": 3, "valid": 2, "test": 2})
    options = CompareOptions(rungs=("fcnn", "cnn"), sizes=(), seeds=1, epochs=1)
    real = running.run_cell

    def later(*given: object, **named: object) -> CellResult:
        (photos / "test" / "sky" / "sky00.png").unlink()
        return real(*given, **named)

    monkeypatch.setattr(running, "run_cell", later)
    with small(), pytest.raises(ConvscopeError, match=r"sky00\.png could be read when"):
        compare(photos, tmp_path / "out", options, workers=0)


def test_two_at_once(tmp_path: Path) -> None:
    first = ComparisonFolder(tmp_path / "out", {"a": 1})
    with pytest.raises(InputError, match="Another comparison"):
        ComparisonFolder(tmp_path / "out", {"a": 1}, resume=True)
    with pytest.raises(InputError, match="was interrupted"):
        ComparisonFolder(tmp_path / "out", {"a": 1})
    first.close()
    assert first.folder.exists()
    again = ComparisonFolder(tmp_path / "out", {"a": 1}, resume=True)
    assert again.resumed
    again.complete()
    assert names(tmp_path / "out") == []


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tinted_folder(tmp_path / "photos", {"train": 3, "valid": 2, "test": 2})
    command, out = Command(capsys), tmp_path / "out"
    how = ("compare", photos, "--out", out, "--rungs", "fcnn,cnn", "--sizes", "1,all",
           "--seeds", "1", "--epochs", "1", "--workers", "0")  # fmt: skip
    with small():
        ended = command(*how)
        assert (
            ended.code == 0 and "cnn" in ended.out and f"page: {out}" in ended.out.replace("\n", "")
        )
        assert "4 of 4: cnn, 9 training photos, seed 0; about" in ended.err
        assert_refused(command(*how), 2, "exists already", "--overwrite")
        ended = command(*how, "--overwrite", "--json")
    content = json.loads(ended.out)
    assert content["page"] == str(out / "compare.html")
    assert content["classes"] == sorted(TINTS)
    assert set(content["ladder"][0]) == {
        "rung", "size", "photos", "accuracies", "accuracy", "accuracy_95", "seconds",
        "held_out_log_loss", "settings",
    }  # fmt: skip
