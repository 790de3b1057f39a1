"""Fine-tuning: the cut, the rates by hand, what must not change, and resuming."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.data.augment import POLICIES
from convscope.data.folder import scan
from convscope.errors import ConvscopeError, InputError
from convscope.finetune import maps as maps_module
from convscope.finetune.classifier import fit_finetuned
from convscope.finetune.cutting import HEAD, Cut, cut_net, split_net
from convscope.finetune.finding import find_learning_rate, suggest
from convscope.finetune.loop import MapData, evaluate, finetune, map_logits
from convscope.finetune.maps import FrozenPart, as_input, keep_maps
from convscope.finetune.plan import FinetunePlan
from convscope.finetune.starting import head_vectors, set_head, start_head
from convscope.finetune.step import (
    StageTrainer,
    WeightAverage,
    calibrated_log_loss,
    parameter_groups,
)
from convscope.fitted import Fitted
from convscope.nets.catalog import NETS, NetSpec, build_net
from convscope.progress import Progress
from convscope.report import curves as page
from convscope.train import loop as train_loop
from convscope.train.checkpoints import Checkpoints
from convscope.transfer.heads.linear import fit_linear_head
from fits import TIMES, Heard, folder, interrupting, photos, small, weights_file

LAST_TWO = ("bottleneck7", "conv2")


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with small():
        yield


# The cut

PLAIN = ("mobilenet_v2", "squeezenet1_0", "resnet18", "resnet20_cifar", "small_cnn", "fcnn",
         "lenet5_modern", "highway_cnn")  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_both_parts_together_are_the_network(name: str) -> None:
    spec = NETS[name]
    net = build_net(spec, 5, seed=0).eval()
    x = torch.randn(2, 3, *spec.input[1:], generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole = net(x)
    owned = dict(net.named_parameters())
    for count in (0, 1, len(net.stages) // 2, len(net.stages)):
        trained = [stage.name for stage in net.stages[len(net.stages) - count :]]
        cut = cut_net(net, trained)
        with torch.inference_mode():
            torch.testing.assert_close(cut.trained(cut.frozen(x.clone())), whole)
        assert tuple(cut.groups) == (*trained, HEAD)
        # Every parameter behind the cut stands in one group, and is the network's own.
        grouped = [parameter for names in cut.groups.values() for parameter in names]
        own = dict(cut.trained.named_parameters())
        assert sorted(grouped) == sorted(own)
        assert all(own[parameter] is owned[parameter] for parameter in grouped)


@pytest.mark.parametrize("name", ["vgg11", "alexnet", "googlenet", "resnet50"])
def test_larger_networks_are_cut_without_being_run(name: str) -> None:
    with torch.device("meta"):
        net = NETS[name].build(5, 3)
    first = net.stages[-2].name
    frozen, trained = split_net(net, first)
    names = {parameter for parameter, _ in net.named_parameters()}
    parts = [{parameter for parameter, _ in part.named_parameters()} for part in (frozen, trained)]
    assert parts[0] | parts[1] == names
    assert not parts[0] & parts[1]


def test_a_cut_through_two_towers_is_refused() -> None:
    with torch.device("meta"):
        net = NETS["alexnet_2012"].build(5, 3)
    with pytest.raises(InputError, match="more than one tensor passes on"):
        split_net(net, "fc7")


@pytest.mark.parametrize(
    ("trained", "said"),
    [
        (("botleneck7", "conv2"), "Did you mean 'bottleneck7'"),
        (("bottleneck6",), "must be the last ones.*these are: bottleneck6, bottleneck7, conv2"),
        (("conv2", "bottleneck7"), "in their order"),
        (("bottleneck6", "conv2"), "must be the last ones"),
    ],
)
def test_stages_that_cannot_be_trained(trained: tuple[str, ...], said: str) -> None:
    net = build_net(NETS["mobilenet_v2"], 3, seed=0)
    with pytest.raises(InputError, match=said):
        cut_net(net, trained)


def test_a_network_without_stages() -> None:
    with pytest.raises(InputError, match="names no stages"):
        split_net(nn.Linear(2, 2), None)


# The plan


def test_warm_up_and_cosine_by_hand() -> None:
    plan = FinetunePlan((), epochs=6, warm_up=1)
    got = [plan.rise_and_fall(epoch) for epoch in range(6)]
    cosine = [0.01 + 0.99 * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(5)]
    np.testing.assert_allclose(got, [0.5, *cosine])
    assert got[1] == 1.0
    np.testing.assert_allclose(got[-1], 0.01)
    assert FinetunePlan((), epochs=1).rise_and_fall(0) == 1.0


def test_earlier_stages_are_slower() -> None:
    plan = FinetunePlan(("a", "b", "c"), learning_rate=8e-3, stage_factor=0.25)
    np.testing.assert_allclose(list(plan.stage_rates().values()), [5e-4, 2e-3, 8e-3])
    assert list(plan.stage_rates()) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"draws": 0}, "draws 0: it must be 1 or more"),
        ({"epochs": 0}, "epochs 0"),
        ({"learning_rate": 0.0}, "learning_rate 0.0: it must be above 0"),
        ({"learning_rate": math.nan}, "learning_rate nan"),
        ({"stage_factor": 1.5}, "stage_factor 1.5: it must be above 0 and at most 1"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"label_smoothing": 1.0}, "label_smoothing 1.0"),
        ({"ema": 1.0}, "ema 1.0: it must be None, or"),
        ({"warm_up": -1}, "warm_up -1"),
        ({"epochs": 3, "head_epochs": 3}, "would train no stage"),
    ],
)
def test_numbers_out_of_bounds(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        FinetunePlan(("conv2",), **changes)


def test_groups_have_their_rates_and_decay() -> None:
    cut = cut_net(build_net(NETS["mobilenet_v2"], 3, seed=0), LAST_TWO)
    plan = FinetunePlan(LAST_TWO, learning_rate=1e-2, stage_factor=0.1, weight_decay=0.3)
    groups = parameter_groups(cut.trained, cut.groups, plan)
    found = [(g["stage"], round(g["lr"], 9), g["weight_decay"]) for g in groups]
    assert found == [
        ("head", 1e-2, 0.3), ("head", 1e-2, 0.0),
        ("conv2", 1e-2, 0.3), ("conv2", 1e-2, 0.0),
        ("bottleneck7", 1e-3, 0.3), ("bottleneck7", 1e-3, 0.0),
    ]  # fmt: skip
    listed = [id(p) for group in groups for p in group["params"]]
    assert sorted(listed) == sorted(id(p) for p in cut.trained.parameters())


# Training on a toy: two groups of random maps


class Toy(nn.Module):
    """Three stages with batch norm, and a head with dropout."""

    head = ("fc",)

    def __init__(self) -> None:
        super().__init__()
        from convscope.nets.stages import Stage

        def block(channels: int, out: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()
            )

        self.one, self.two, self.three = block(3, 4), block(4, 6), block(6, 8)
        self.drop, self.fc = nn.Dropout(0.1), nn.Linear(8, 2)
        self.stages = tuple(
            Stage(name, name, width, 1) for name, width in (("one", 4), ("two", 6), ("three", 8))
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.drop(self.three(self.two(self.one(x))).mean((2, 3))))
        return logits


def toy(trained: tuple[str, ...] = ("two", "three")) -> tuple[Toy, Cut, MapData]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = Toy()
    cut = cut_net(net, trained)
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2

    def some(labels: np.ndarray) -> np.ndarray:
        pixels = rng.normal(0, 1, (len(labels), 6, 6, 3)) + labels[:, None, None, None] * [1, 0, -1]
        with torch.inference_mode():
            x = cut.frozen(torch.from_numpy(pixels).float().permute(0, 3, 1, 2))
            return x.permute(0, 2, 3, 1).contiguous().numpy().astype(np.float16)

    return net, cut, MapData(tuple(some(labels) for _ in range(3)), labels, some(labels), labels, 2)


PLAN = FinetunePlan(
    ("two", "three"), epochs=5, batch_size=8, learning_rate=1e-2, patience=5, ema=0.9
)


def tune(
    where: Path, plan: FinetunePlan = PLAN, *, resume: bool = False, seed: int = 0
) -> tuple[Toy, Any]:
    net, cut, data = toy(plan.trained_stages)
    done = finetune(
        cut, data, plan, seed=seed, work=where, epochs_file=where / "epochs.csv", resume=resume
    )
    return net, done


def curves(where: Path) -> list[dict[str, str]]:
    with (where / "epochs.csv").open(newline="") as stream:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(stream)]


def assert_same(a: nn.Module, b: nn.Module) -> None:
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


@cache
def unbroken() -> tuple[Path, Toy, Any]:
    where = folder() / "finetune-toy"
    return where, *tune(where)


def test_what_is_frozen_stays_bit_for_bit() -> None:
    before, (_, after, done) = toy()[0], unbroken()
    assert done.best_epoch > 0
    of_norms = ("running_mean", "running_var", "num_batches_tracked")
    for (name, x), y in zip(before.state_dict().items(), after.state_dict().values(), strict=True):
        frozen = name.startswith("one.") or name.endswith(of_norms)
        assert torch.equal(x, y) == frozen, name


def test_it_learns_and_says_so() -> None:
    where, net, done = unbroken()
    assert done.after.log_loss < done.before.log_loss
    rows = curves(where)
    losses = [float(row["valid_loss"]) for row in rows]
    assert done.epochs == len(rows) == 5
    assert done.best_epoch == int(np.argmin(losses)) + 1
    np.testing.assert_allclose(done.after.log_loss, min(losses), rtol=1e-4)
    rates = [float(row["learning_rate"]) for row in rows]
    np.testing.assert_allclose(rates, [1e-2 * PLAN.rise_and_fall(e) for e in range(5)])
    assert not net.training


def test_same_seed_same_weights(tmp_path: Path) -> None:
    assert_same(unbroken()[1], tune(tmp_path / "a")[0])
    other = tune(tmp_path / "b", seed=1)[0]
    assert not torch.equal(unbroken()[1].fc.weight, other.fc.weight)


@pytest.mark.parametrize("call", [1, 3])
def test_resumed_equals_unbroken(
    call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            Checkpoints, "on_train_epoch_end", interrupting(Checkpoints, "on_train_epoch_end", call)
        )
        tune(tmp_path)
    net, done = tune(tmp_path, resume=True)
    where, whole, of_whole = unbroken()
    assert done == of_whole
    assert_same(net, whole)
    assert curves(tmp_path) == curves(where)
    # And once more, when all is done: nothing is trained.
    monkeypatch.setattr(train_loop.pl.Trainer, "fit", None)
    again, done = tune(tmp_path, resume=True)
    assert done == of_whole
    assert_same(again, whole)


def test_never_worse_than_its_start(tmp_path: Path) -> None:
    plan = replace(PLAN, learning_rate=1e3, ema=None, epochs=2)
    net, done = tune(tmp_path, plan)
    assert done.best_epoch == 0
    assert_same(net, toy()[0])


def test_the_head_has_its_epochs_first(tmp_path: Path) -> None:
    plan = replace(PLAN, epochs=3, head_epochs=2, ema=None)
    tune(tmp_path, replace(plan, epochs=3))
    kept = torch.load(tmp_path / "best.ckpt", weights_only=True)["state_dict"]
    _, done = tune(tmp_path / "head", replace(plan, trained_stages=(), head_epochs=0))
    assert done.epochs == 3
    only = torch.load(tmp_path / "head" / "best.ckpt", weights_only=True)["state_dict"]
    assert {name for name in only if name.startswith("net.")} == {"net.fc.weight", "net.fc.bias"}
    assert "net.two.0.weight" in kept


def test_stages_wait_for_the_head() -> None:
    _, cut, _ = toy()
    step = StageTrainer(cut, replace(PLAN, head_epochs=1), torch.ones(2), 0)
    trains = {}
    for epoch in (0, 1):

        class Going:
            optimizers = (step.configure_optimizers(),)
            current_epoch = epoch

        step._trainer = Going()  # type: ignore[assignment]
        step.on_train_epoch_start()
        trains[epoch] = {
            n.split(".")[0] for n, p in cut.trained.named_parameters() if p.requires_grad
        }
    assert trains == {0: {"fc"}, 1: {"two", "three", "fc"}}


def test_batch_norms_stay_in_evaluation_mode() -> None:
    _, cut, _ = toy()
    step = StageTrainer(cut, PLAN, torch.ones(2), 0).train()
    modes = {type(m): m.training for m in step.net.modules()}
    assert not modes[nn.BatchNorm2d]
    assert modes[nn.Dropout]


def test_weight_average_by_hand() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    average = WeightAverage(net, 0.15)
    expected = 0.0
    for step, value in enumerate((1.0, 3.0, -2.0)):
        nn.init.constant_(net.weight, value)
        average.update(net)
        decay = min(0.15, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        np.testing.assert_allclose(float(average.weights()["weight"]), expected, rtol=1e-6)
    assert (1 + 1) / (10 + 1) > 0.15 > (1 + 0) / (10 + 0)
    assert set(average.state_dict()) == {"steps", "w0"}


@pytest.mark.parametrize("policy", ["mixup", "cutmix"])
def test_mixing_works_on_maps(policy: str, tmp_path: Path) -> None:
    _, cut, data = toy()
    done = finetune(
        cut, data, replace(PLAN, epochs=1), policy=POLICIES[policy], seed=0, work=tmp_path,
        epochs_file=tmp_path / "epochs.csv",
    )  # fmt: skip
    assert done.epochs == 1


def test_cutmix_needs_maps_and_a_plan_its_cut(tmp_path: Path) -> None:
    _, cut, data = toy()
    vectors = replace(data, draws=(data.draws[0].reshape(40, -1),))
    where: Any = {"seed": 0, "work": tmp_path, "epochs_file": tmp_path / "epochs.csv"}
    with pytest.raises(InputError, match="CutMix needs maps"):
        finetune(cut, vectors, PLAN, policy=POLICIES["cutmix"], **where)
    with pytest.raises(InputError, match="cut for training two, three, head; the plan trains"):
        finetune(cut, data, replace(PLAN, trained_stages=("three",)), **where)
    assert list(tmp_path.iterdir()) == []


# The rate finder


def test_the_finder_leaves_all_as_it_was_and_finds_a_sane_rate() -> None:
    net, cut, data = toy()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    found = find_learning_rate(cut, data, PLAN, seed=0, steps=80, high=1e3)
    assert torch.equal(torch.rand(1), expected)
    assert_same(net, toy()[0])
    assert not any(module.training for module in cut.trained.modules())
    assert all(p.grad is None for p in cut.trained.parameters())
    assert 1e-2 < found.suggestion < 10.0
    assert len(found.rates) == len(found.losses) < 80
    assert min(found.losses) < 0.9 * found.losses[0]
    assert found == find_learning_rate(cut, data, PLAN, seed=0, steps=80, high=1e3)
    drawing = ElementTree.fromstring(found.to_svg())
    assert drawing.tag.endswith("svg")
    assert f"suggested {found.suggestion:.1g}" in found.to_svg()
    assert found.to_dict()["suggestion"] == found.suggestion


def test_the_rate_of_least_loss_but_for_the_first_steps() -> None:
    rates = np.geomspace(1e-4, 1, 41)
    losses = 1 + np.abs(np.arange(41) - 25.0)
    losses[3] = 0.5  # an average of four batches
    assert suggest(rates, losses.tolist()) == rates[25]
    assert suggest([1e-3, 1e-2], [1.0, 2.0]) == 1e-2  # it broke down at once


def test_a_range_that_is_none() -> None:
    _, cut, data = toy()
    for wrong in ({"low": 0.0}, {"low": 1.0, "high": 0.1}, {"steps": 2}):
        with pytest.raises(InputError, match="A rate test from"):
            find_learning_rate(cut, data, PLAN, seed=0, **wrong)


# Maps in files


def test_maps_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = build_net(NETS["mobilenet_v2"], 3, seed=0)
    cut = cut_net(net, LAST_TWO)
    spec = NETS["mobilenet_v2"]
    part = FrozenPart(cut.frozen, spec.mean, spec.std)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8)
    asked: list[int] = []

    def some(rows: np.ndarray) -> np.ndarray:
        asked.extend(rows.tolist())
        return pixels[rows]

    rows = np.arange(19, 0, -1)
    kept = keep_maps(part, some, rows, tmp_path / "maps")
    assert sorted(set(asked)) == list(range(1, 20))
    assert (kept.dtype, kept.shape) == (np.float16, (19, 2, 2, 160))
    direct = cut.frozen(maps_module.prepare(torch.from_numpy(pixels[rows]), spec.mean, spec.std))
    torch.testing.assert_close(as_input(kept), direct, rtol=2e-3, atol=2e-3)
    asked.clear()
    again = keep_maps(part, some, rows, tmp_path / "maps")
    assert len(asked) <= 1
    np.testing.assert_array_equal(kept, again)
    # An interrupted file is not there.
    monkeypatch.setattr(maps_module, "over_rows", lambda f, rows: iter([f(rows[:8]), 1 / 0]))
    with pytest.raises(ZeroDivisionError):
        keep_maps(part, some, rows, tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["maps"]


def test_no_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(maps_module.os, "posix_fallocate", full)
    part = FrozenPart(nn.Identity(), (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(ConvscopeError, match="No room for what the frozen stages make"):
        keep_maps(part, lambda rows: np.zeros((len(rows), 4, 4, 3), np.uint8), np.arange(3),
                  tmp_path / "maps")  # fmt: skip
    assert list(tmp_path.iterdir()) == []


# The head


@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_1"])
def test_the_starting_head_is_logistic_regression(name: str) -> None:
    spec = replace(NETS[name], input=(3, 64, 64))
    cut = cut_net(build_net(spec, 3, seed=0), ())
    rng = np.random.default_rng(0)
    width = cut.trained.get_submodule(cut.head).weight.shape[1]
    labels = np.arange(30) % 3
    maps = (rng.normal(0, 1, (30, 2, 2, width)) + labels[:, None, None, None]).astype(np.float16)
    rows = np.arange(20), np.arange(20, 30)
    head = start_head(cut, maps, labels, rows, 3)
    vectors = head_vectors(cut, maps)
    np.testing.assert_allclose(vectors, maps.astype(np.float32).mean((1, 2)), atol=1e-4)
    alone = fit_linear_head(vectors[:20], labels[:20], vectors[20:], labels[20:], 3)
    got, expected = map_logits(cut.trained, maps[:20]), alone.logits(vectors[:20])
    # The same probabilities: SqueezeNet's logits are all raised alike.
    np.testing.assert_allclose(
        got - got.mean(1, keepdims=True), expected - expected.mean(1, keepdims=True), atol=2e-3
    )
    assert head.C == alone.C
    assert evaluate(cut, maps[:0], labels[:0]).log_loss is None


def test_a_last_layer_of_another_kind() -> None:
    _, cut, data = toy()
    cut.trained.set_submodule("fc", nn.Bilinear(8, 8, 2))
    head = fit_linear_head(np.eye(8, dtype=np.float32), np.arange(8) % 2, np.zeros((0, 8)),
                           np.zeros(0, int), 2)  # fmt: skip
    with pytest.raises(InputError, match="no linear one with a bias"):
        set_head(cut, head, data.valid)


# The whole strategy


def fit_whole(where: Path, *, resume: bool = False, said: Progress | None = None,
              find_rate: bool = False, **changes: Any) -> Fitted:  # fmt: skip
    spec: NetSpec = NETS["mobilenet_v2"]
    plan = FinetunePlan(LAST_TWO, draws=2, epochs=3, batch_size=8)
    where.mkdir(parents=True, exist_ok=True)
    return fit_finetuned(
        scan(photos()), spec, weights_file(), replace(plan, **changes), POLICIES["standard"],
        mode="exact", seed=0, work=where, epochs_file=where / "epochs.csv", resume=resume,
        workers=0, progress=said or Progress(), find_rate=find_rate,
    )  # fmt: skip


@cache
def whole() -> tuple[Path, Fitted, list[str]]:
    where, said = folder() / "finetune-whole", Heard()
    return where, fit_whole(where, said=said), said.lines


def test_the_rate_is_found_before_training(tmp_path: Path) -> None:
    said = Heard()
    training = fit_whole(tmp_path, said=said, find_rate=True, epochs=1, patience=1).training
    found = training["rate_search"]
    assert training["learning_rate"] == found["suggestion"] in found["rates"]
    assert training["learning_rates"]["head"] == found["suggestion"]
    assert any(f"learning rate {found['suggestion']:.2g}, found" in line for line in said.lines)
    assert whole()[1].training["rate_search"] is None
    # The page draws it, and nothing where a file was changed by hand.
    epoch = page.Epoch(1, 1.0, 0.5, 1.0, 0.5, 0.1)
    charts = page.curves([epoch], training).charts
    assert [chart.title for chart in charts][-1].startswith("Training loss while the learning rate")
    ticks = [tick.label for tick in charts[-1].x_ticks]
    assert ticks[:3] == ["1e-6", "1e-5", "0.0001"]
    assert len(page.curves([epoch], {"rate_search": {**found, "rates": [0.0]}}).charts) == 2
    assert len(page.curves([epoch], {"rate_search": None}).charts) == 2


def test_the_whole_strategy() -> None:
    where, fitted, said = whole()
    training = fitted.training
    assert fitted.strategy == "finetune"
    assert fitted.logits.shape == (33, 3)
    assert training["trained_stages"] == list(LAST_TWO)
    assert training["frozen_up_to"] == "bottleneck6"
    assert set(training["learning_rates"]) == {*LAST_TWO, "head"}
    assert training["epochs"] <= training["max_epochs"] == 3
    assert len([line for line in said if "head" in line]) == 1
    assert fitted.sheet is not None
    assert fitted.weights is not None
    # Every figure is told of, and what was kept is the better one.
    losses = [training[f"valid_log_loss_{what}"] for what in ("head_alone", "finetuned")]
    assert (training["best_epoch"] > 0) == (losses[1] < losses[0])
    valid = fitted.dataset.places("valid")
    loss = calibrated_log_loss(fitted.logits[valid], fitted.dataset.labels[valid])
    np.testing.assert_allclose(loss, min(losses), rtol=1e-4)
    assert (where / "epochs.csv").exists()


def test_the_frozen_stages_are_those_of_the_weights() -> None:
    from safetensors.torch import load_file

    given, net = load_file(weights_file()), whole()[1].net
    for name, value in net.state_dict().items():
        place = int(name.split(".")[1]) if name.startswith("features.") else 99
        is_statistic = name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        if place <= 16 or is_statistic:
            assert torch.equal(value, given[name]), name


def test_an_interrupted_fit_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            Checkpoints, "on_train_epoch_end", interrupting(Checkpoints, "on_train_epoch_end", 2)
        )
        fit_whole(tmp_path)
    fitted = fit_whole(tmp_path, resume=True)
    assert_same(fitted.net, whole()[1].net)
    np.testing.assert_array_equal(fitted.logits, whole()[1].logits)
    assert fitted.training == whole()[1].training


def test_head_alone_and_unknown_stages(tmp_path: Path) -> None:
    fitted = fit_whole(tmp_path / "head", trained_stages=(), epochs=1)
    assert fitted.training["trained_stages"] == []
    with pytest.raises(InputError, match="Did you mean 'conv2'"):
        fit_whole(tmp_path / "wrong", trained_stages=("conv3",))
