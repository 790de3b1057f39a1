"""Training against arithmetic by hand, and against itself when it is interrupted."""

from __future__ import annotations

import csv
import errno
import logging
import math
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from convscope.data.augment import POLICIES, augment
from convscope.files import write_bytes
from convscope.nets.inference import prepare
from convscope.train import checkpoints, loop
from convscope.train.batches import EpochSampler, PhotoBatches, epoch_order
from convscope.train.callbacks import COLUMNS, History
from convscope.train.loop import TrainData, Trained, class_weights, quiet, train_network
from convscope.train.step import PhotoClassifier, TrainPlan
from fits import TIMES, interrupting, small

MEAN = STD = (0.5, 0.5, 0.5)
SIDE = 8


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with small():
        yield


@dataclass
class Decoded:
    """Pixels that are there already: what a table of photos looks like to training."""

    array: np.ndarray
    usable: np.ndarray
    asked: list[int] = field(default_factory=list)

    def wait(self, rows: np.ndarray) -> None:
        self.asked.extend(rows.tolist())


class Tiny(nn.Module):
    """With all that makes resuming hard: batch norm's statistics, dropout, a convolution."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(
                nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3)
            )
            self.head = nn.Linear(6 * (SIDE - 2) ** 2, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.body(x))
        return logits


class Blind(nn.Module):
    """Says the same of every photo."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bias.expand(len(x), -1)


def made(
    train: int = 40, valid: int = 20, *, noise: float = 70, seed: int = 0, **changes: Any
) -> TrainData:
    """Photos whose class shows in their colour, through noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(train + valid) % 3
    colours = np.array([(160, 110, 110), (110, 160, 110), (110, 110, 160)])[labels]
    array = colours[:, None, None] + rng.normal(0, noise, (len(labels), SIDE, SIDE, 3))
    pixels = Decoded(np.clip(array, 0, 255).astype(np.uint8), np.ones(len(labels), bool))
    rows = np.arange(len(labels))
    data = TrainData(
        pixels=pixels,  # type: ignore[arg-type]
        labels=labels.astype(np.int64),
        train=rows[:train],
        valid=rows[train:],
        num_classes=3,
        mean=MEAN,
        std=STD,
        policy=POLICIES["standard"],
    )
    return replace(data, **changes)


PLAN = TrainPlan(epochs=5, batch_size=16, learning_rate=0.01)


@dataclass
class Trial:
    """One training in a folder of its own."""

    folder: Path
    data: TrainData = field(default_factory=made)
    plan: TrainPlan = PLAN
    seed: int = 7
    build: Callable[[int], nn.Module] = Tiny
    net: Any = None

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def epochs_file(self) -> Path:
        return self.folder / "log" / "epochs.csv"

    def train(self, *, resume: bool = False) -> Trained:
        self.work.mkdir(parents=True, exist_ok=True)
        # As in a new process: the weights that training starts from, not those it stopped at.
        self.net = self.build(self.data.num_classes)
        with quiet():
            return train_network(
                self.net, self.data, self.plan, seed=self.seed, work=self.work,
                epochs_file=self.epochs_file, resume=resume,
            )  # fmt: skip

    def rows(self) -> list[dict[str, str]]:
        with self.epochs_file.open(newline="") as stream:
            return list(csv.DictReader(stream))

    def column(self, name: str) -> list[float]:
        return [float(row[name]) for row in self.rows()]

    def outcome(self) -> tuple[list[dict[str, str]], dict[str, torch.Tensor]]:
        """Everything that must not depend on interruptions."""
        rows = [{k: v for k, v in row.items() if k not in TIMES} for row in self.rows()]
        return rows, self.net.state_dict()


def assert_same_outcome(a: Trial, b: Trial) -> None:
    (rows_a, state_a), (rows_b, state_b) = a.outcome(), b.outcome()
    assert rows_a == rows_b
    assert all(torch.equal(state_a[name], state_b[name]) for name in state_a)


# Weights, rates, batches


def test_class_weights_by_hand() -> None:
    got = class_weights(np.array([0, 0, 0, 1, 2, 2]), 3)
    # 6 photos, 3 classes: a class of 3 weighs 6 / (3 x 3) each, one of 1 weighs 6 / 3.
    torch.testing.assert_close(got, torch.tensor([2 / 3, 2.0, 1.0]))
    assert float(got[[0, 0, 0, 1, 2, 2]].mean()) == pytest.approx(1)


def test_a_class_without_training_photos_has_a_finite_weight() -> None:
    assert torch.isfinite(class_weights(np.array([0, 0]), 2)).all()


def test_learning_rate_by_hand() -> None:
    plan = TrainPlan(epochs=11, learning_rate=3.0)
    rates = [plan.learning_rate_at(epoch) for epoch in range(11)]
    assert rates[:2] == pytest.approx([1.0, 2.0])
    # Half a cosine over 10 steps: at the fifth it is half-way between 3 and 0.03.
    assert rates[5] == pytest.approx(1.515)
    assert rates[8] == pytest.approx(0.03 + 2.97 * (1 + math.cos(0.8 * math.pi)) / 2)
    assert rates[10] == pytest.approx(0.03)
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert max(rates) <= 3.0


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_learning_rate_of_a_short_training_is_sane(epochs: int) -> None:
    rates = [TrainPlan(epochs=epochs).learning_rate_at(epoch) for epoch in range(epochs)]
    assert all(1e-5 <= rate <= 1e-3 for rate in rates)
    assert max(rates) > 5e-4


@given(
    n=st.integers(1, 300), size=st.integers(1, 64), seed=st.integers(0, 9), epoch=st.integers(0, 9)
)
def test_every_row_comes_once_an_epoch_in_even_batches(
    n: int, size: int, seed: int, epoch: int
) -> None:
    rows = np.arange(n) * 3 + 1
    sampler = EpochSampler(rows, size, seed)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler) == math.ceil(n / size)
    assert {number for number, _ in batches} == {epoch}
    sizes = [len(part) for _, part in batches]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= size
    assert sorted(np.concatenate([part for _, part in batches])) == rows.tolist()


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    rows = np.arange(50)

    def order(seed: int | None, epoch: int) -> list[int]:
        sampler = EpochSampler(rows, 16, seed)
        sampler.set_epoch(epoch)
        list(sampler)  # a first round changes nothing
        whole: list[int] = np.concatenate([part for _, part in sampler]).tolist()
        return whole

    assert order(3, 4) == order(3, 4) == epoch_order(rows, 3, 4).tolist()
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4
    assert order(None, 1) == rows.tolist()


def test_batches_leave_out_what_cannot_be_decoded() -> None:
    data = made(train=6, valid=0)
    pixels = data.pixels
    pixels.usable[[1, 4]] = False
    photos, labels = PhotoBatches(pixels, data.labels, None, 0)[0, np.array([4, 0, 5, 1])]
    assert labels.tolist() == data.labels[[0, 5]].tolist()
    np.testing.assert_array_equal(photos.numpy(), pixels.array[[0, 5]])
    assert pixels.asked == [4, 0, 5, 1]  # type: ignore[attr-defined]


def test_batches_are_augmented_by_row_and_epoch() -> None:
    data = made(train=6, valid=0)
    batches = PhotoBatches(data.pixels, data.labels, data.policy, 5)
    first, again, later = (
        batches[epoch, np.array(rows)][0].numpy()
        for epoch, rows in ((0, [2, 3]), (0, [3]), (1, [3]))
    )
    np.testing.assert_array_equal(first[1], again[0])
    assert (again != later).any()
    assert data.policy is not None
    by_hand = augment(data.pixels.array[[3]], data.policy, rows=np.array([3]), epoch=1, seed=5)
    np.testing.assert_array_equal(later, by_hand)


# A training step


def test_the_training_loss_is_weighted_and_the_validation_loss_is_not() -> None:
    data = made()
    net = Tiny().eval()
    weights = torch.tensor([0.5, 1.0, 4.0])
    step = PhotoClassifier(net, PLAN, MEAN, STD, weights, seed=0)
    logged: dict[str, torch.Tensor] = {}
    step.log_dict = lambda values, **_: logged.update(values)  # type: ignore[method-assign]
    photos, labels = torch.from_numpy(data.pixels.array[:9]), torch.from_numpy(data.labels[:9])
    loss = step.training_step((photos, labels), 0)
    step.validation_step((photos, labels), 0)
    logits = net(prepare(photos, MEAN, STD))
    each = -torch.log_softmax(logits, 1)[torch.arange(9), labels]
    of_photo = weights[labels]
    torch.testing.assert_close(loss, (each * of_photo).sum() / of_photo.sum())
    torch.testing.assert_close(logged["train_loss"], loss)
    torch.testing.assert_close(logged["valid_loss"], each.mean())
    right = (logits.argmax(1) == labels).float().mean()
    torch.testing.assert_close(logged["valid_accuracy"], right)


class Assisted(nn.Module):
    """As GoogLeNet: two auxiliary heads beside the logits, in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))

    def forward(self, x: torch.Tensor) -> Any:
        found = tuple(head(x.mean((2, 3))) for head in self.heads)
        return found if self.training else found[0]


def test_auxiliary_heads_count_three_tenths_in_training_and_nothing_after_it() -> None:
    net = Assisted()
    step = PhotoClassifier(net, PLAN, MEAN, STD, torch.ones(3), seed=0)
    step._log = lambda *_: None  # type: ignore[method-assign]
    photos = torch.randint(0, 256, (5, SIDE, SIDE, 3), dtype=torch.uint8)
    labels = torch.tensor([0, 1, 2, 1, 0])
    x = prepare(photos, MEAN, STD).mean((2, 3))
    losses = [functional.cross_entropy(head(x), labels) for head in net.heads]
    loss = step.train().training_step((photos, labels), 0)
    assert loss is not None
    torch.testing.assert_close(loss, losses[0] + 0.3 * (losses[1] + losses[2]))
    torch.testing.assert_close(step.eval()(photos), net.heads[0](x))


def test_weight_decay_is_for_matrices_and_kernels() -> None:
    step = PhotoClassifier(Tiny(), PLAN, MEAN, STD, torch.ones(3), seed=0)
    decayed, others = step.configure_optimizers().param_groups
    assert decayed["weight_decay"] == PLAN.weight_decay > 0
    assert others["weight_decay"] == 0
    assert sorted(p.ndim for p in decayed["params"]) == [2, 4]
    assert {p.ndim for p in others["params"]} == {1}
    assert len(decayed["params"]) + len(others["params"]) == len(list(step.net.parameters()))


# Whole trainings


def valid_loss(net: nn.Module, data: TrainData) -> float:
    """Of the photos as they are, with nothing of ours but the normalisation by hand."""
    rows = data.valid[data.pixels.usable[data.valid]]
    x = torch.from_numpy(data.pixels.array[rows]).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        logits = net.eval()((x - 0.5) / 0.5)
        return float(functional.cross_entropy(logits, torch.from_numpy(data.labels[rows])))


def test_the_weights_of_the_best_epoch_are_kept(tmp_path: Path) -> None:
    # Few photos, much noise, a high rate: validation loss goes up and down.
    plan = TrainPlan(epochs=8, batch_size=16, learning_rate=0.1, patience=8)
    trial = Trial(tmp_path, made(24, 30, noise=110), plan)
    trained = trial.train()
    losses = trial.column("valid_loss")
    assert trained.best_epoch == int(np.argmin(losses)) + 1
    assert trained.best_epoch != len(losses), "a test of nothing: the last epoch was the best"
    assert valid_loss(trial.net, trial.data) == pytest.approx(min(losses), rel=1e-5)
    assert not trial.net.training


def test_what_is_written_of_each_epoch(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trained = trial.train()
    rows = trial.rows()
    assert tuple(rows[0]) == COLUMNS
    assert trial.column("epoch") == [1, 2, 3, 4, 5]
    assert trained.epochs == 5
    wanted = [PLAN.learning_rate_at(epoch) for epoch in range(5)]
    assert trial.column("learning_rate") == pytest.approx(wanted)
    for name in ("train_accuracy", "valid_accuracy"):
        assert all(0 <= value <= 1 for value in trial.column(name))
    assert trial.column("train_loss")[-1] < trial.column("train_loss")[0]


def test_training_stops_when_validation_gets_no_better(tmp_path: Path) -> None:
    # What validation says contradicts the training photos: it only gets worse.
    data = made(30, 15, noise=20)
    data.labels[data.valid] = (data.labels[data.valid] + 1) % 3
    plan = TrainPlan(epochs=40, batch_size=16, learning_rate=0.02, patience=2)
    trial = Trial(tmp_path, data, plan)
    trained = trial.train()
    assert trained.epochs == trained.best_epoch + 2 < 12
    assert len(trial.rows()) == trained.epochs


def test_imbalance_is_weighed_out(tmp_path: Path) -> None:
    """Blind to the photos, the best answer is each class's share; with weights it is one half."""
    data = made(40, 0, num_classes=2)
    data.labels[:] = [1] * 4 + [0] * 36
    plan = TrainPlan(epochs=40, batch_size=40, learning_rate=0.1)
    trial = Trial(tmp_path, data, plan, build=Blind)
    trial.train()
    assert trial.net.bias.softmax(0).tolist() == pytest.approx([0.5, 0.5], abs=0.02)


def test_weights_are_those_of_the_training_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    real = loop.class_weights
    monkeypatch.setattr(
        loop, "class_weights", lambda labels, n: seen.append(labels.tolist()) or real(labels, n)
    )
    data = made(12, 6)
    Trial(tmp_path, data, replace(PLAN, epochs=1)).train()
    assert seen == [data.labels[data.train].tolist()]


def test_without_validation_photos_the_last_weights_are_kept(tmp_path: Path) -> None:
    short, long = (
        Trial(tmp_path / str(epochs), made(30, 0), replace(PLAN, epochs=epochs, patience=1))
        for epochs in (1, 4)
    )
    short.train()
    trained = long.train()
    assert (trained.epochs, trained.best_epoch) == (4, 4)
    assert [row["valid_loss"] for row in long.rows()] == [""] * 4
    assert not torch.equal(short.net.head.weight, long.net.head.weight)
    kept = torch.load(long.work / "last.ckpt", weights_only=True)["state_dict"]["net.head.weight"]
    assert torch.equal(long.net.head.weight, kept)


def test_validation_photos_that_cannot_be_read_are_no_validation_photos(tmp_path: Path) -> None:
    data = made(30, 6)
    data.pixels.usable[data.valid] = False
    trained = Trial(tmp_path, data, replace(PLAN, epochs=2)).train()
    assert trained == Trained(2, 2, "32-true")


def test_batches_of_one_readable_photo_are_passed_over(tmp_path: Path) -> None:
    data = made(9, 6)
    data.pixels.usable[data.train[3:]] = False
    trial = Trial(tmp_path, data, replace(PLAN, epochs=2, batch_size=2))
    trial.train()
    assert np.isfinite(trial.column("valid_loss")).all()


def test_the_same_seed_gives_the_same_and_another_another(tmp_path: Path) -> None:
    a, b, c = (Trial(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    torch.manual_seed(1)
    a.train()
    torch.manual_seed(2)  # the caller's own random numbers have no part in it
    b.train()
    c.train()
    assert_same_outcome(a, b)
    assert not torch.equal(a.net.head.weight, c.net.head.weight)


def test_nothing_is_said_but_through_progress(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    Trial(tmp_path).train()
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_the_current_folder_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Trial(tmp_path / "there").train()
    assert list((tmp_path / "here").iterdir()) == []


# Interrupted


# 40 photos in 3 batches, 20 to validate on in 1; the third epoch is the one that is broken off.
MOMENTS = {
    "before the first epoch": (History, "on_train_epoch_start", 1),
    "between two epochs": (History, "on_train_epoch_start", 3),
    "in the middle of an epoch": (PhotoClassifier, "training_step", 8),
    "in the first batch": (PhotoClassifier, "training_step", 1),
    "in validation": (PhotoClassifier, "validation_step", 3),
    "at the end of an epoch": (History, "on_train_epoch_end", 3),
    "in the last epoch": (PhotoClassifier, "training_step", 15),
}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    trial = Trial(tmp_path_factory.mktemp("unbroken"))
    trial.train()
    return trial


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_resumed_training_equals_an_unbroken_one(
    moment: str, unbroken: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name, call = MOMENTS[moment]
    trial = Trial(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupting(owner, name, call))
        with pytest.raises(KeyboardInterrupt):
            trial.train()
    assert not (trial.work / "trained.json").exists()
    torch.manual_seed(99)
    trained = trial.train(resume=True)
    assert trained.epochs == 5
    assert_same_outcome(trial, unbroken)


def test_interrupted_twice(
    unbroken: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(tmp_path)
    for call in (5, 5):
        with monkeypatch.context() as patch:
            broken = interrupting(PhotoClassifier, "training_step", call)
            patch.setattr(PhotoClassifier, "training_step", broken)
            with pytest.raises(KeyboardInterrupt):
                trial.train(resume=True)
    trial.train(resume=True)
    assert_same_outcome(trial, unbroken)


def test_interrupted_while_a_checkpoint_is_written(
    unbroken: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(tmp_path)
    # Every epoch of this training is better than the one before it: two files an epoch.
    for call in (4, 5):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "write_bytes", half_writing(call))
            with pytest.raises(KeyboardInterrupt):
                trial.train(resume=True)
    trial.train(resume=True)
    assert_same_outcome(trial, unbroken)


def half_writing(call: int) -> Callable[[Path, bytes], None]:
    """``write_bytes`` that is stopped half-way through the n-th file."""
    calls = 0

    def write(target: Path, content: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls < call:
            write_bytes(target, content)
            return
        target.with_name(f".{target.name}.1").write_bytes(content[: len(content) // 2])
        raise KeyboardInterrupt

    return write


def test_interrupted_after_the_last_epoch(
    unbroken: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "write_json", interrupting(loop, "write_json", 1))
        with pytest.raises(KeyboardInterrupt):
            trial.train()
    trial.train(resume=True)
    assert_same_outcome(trial, unbroken)


def test_patience_is_not_renewed_by_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = made(30, 15, noise=20)
    data.labels[data.valid] = (data.labels[data.valid] + 1) % 3
    plan = TrainPlan(epochs=40, batch_size=16, learning_rate=0.02, patience=2)
    unbroken = Trial(tmp_path / "a", data, plan)
    epochs = unbroken.train().epochs
    for moment, call in (("on_train_epoch_start", epochs), ("write_json", 1)):
        trial = Trial(tmp_path / moment, data, plan)
        owner = loop if moment == "write_json" else History
        with monkeypatch.context() as patch:
            patch.setattr(owner, moment, interrupting(owner, moment, call))
            with pytest.raises(KeyboardInterrupt):
                trial.train()
        trial.train(resume=True)
        assert_same_outcome(trial, unbroken)


def test_a_folder_that_was_moved_is_resumed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = TrainPlan(epochs=6, batch_size=16, learning_rate=0.1)
    unbroken = Trial(tmp_path / "unbroken", made(24, 30, noise=110), plan)
    best = unbroken.train().best_epoch
    assert best < 6, "a test of nothing: the last epoch was the best"
    trial = Trial(tmp_path / "here", unbroken.data, plan)
    with monkeypatch.context() as patch:
        patch.setattr(
            History, "on_train_epoch_start", interrupting(History, "on_train_epoch_start", 6)
        )
        with pytest.raises(KeyboardInterrupt):
            trial.train()
    trial.folder = trial.folder.rename(tmp_path / "there")
    assert trial.train(resume=True).best_epoch == best
    assert_same_outcome(trial, unbroken)


def test_a_finished_training_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(tmp_path)
    trained = trial.train()
    outcome = trial.outcome()
    monkeypatch.setattr(loop, "_train", None)
    assert trial.train(resume=True) == trained
    assert outcome[0] == trial.outcome()[0]
    assert all(torch.equal(outcome[1][k], v) for k, v in trial.net.state_dict().items())


# What training changes in the process


@pytest.mark.parametrize("broken_off", [False, True])
def test_the_callers_state_is_left_as_it_was(
    broken_off: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handler(*_: object) -> None:
        """Somebody else's."""

    def state() -> list[object]:
        return [
            torch.random.get_rng_state().tolist(),
            np.random.get_state()[1].tolist(),
            torch.get_num_threads(),
            signal.getsignal(signal.SIGINT),
            signal.getsignal(signal.SIGTERM),
            list(warnings.filters),
            logging.getLogger("lightning.pytorch").level,
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
        ]

    with ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, handler))
        before = state()
        if broken_off:
            broken = interrupting(PhotoClassifier, "training_step", 4)
            monkeypatch.setattr(PhotoClassifier, "training_step", broken)
            stack.enter_context(pytest.raises(KeyboardInterrupt))
        try:
            Trial(tmp_path).train()
        finally:
            assert state() == before


def test_an_error_in_training_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(PhotoClassifier, "training_step", broken)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        Trial(tmp_path).train()
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_full_disk_leaves_the_last_whole_checkpoint(
    unbroken: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(target: Path, content: bytes) -> None:
        if (trial.work / "last.ckpt").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        write_bytes(target, content)

    trial = Trial(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            trial.train()
    trial.train(resume=True)
    assert_same_outcome(trial, unbroken)
