"""Which way for this much data: measured on photos, decided by the book, overruled by the user."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from convscope.data.dataset import Dataset
from convscope.data.folder import PhotoTable
from convscope.nets.catalog import NETS, RGB
from convscope.nets.stages import Stage
from convscope.progress import Progress
from convscope.run import PrecisionInfo, WeightsInfo
from convscope.transfer.classifier import Pushed
from convscope.transfer.features import Features
from convscope.transfer.heads import HEADS, FittedHead
from convscope.transfer.strategy import (
    LEAST_ERRORS,
    MUCH,
    Evidence,
    Overrules,
    StageScore,
    decide,
    measure,
    probe_stages,
)

STAGES = tuple(Stage(f"stage{n}", f"features.{n}", 8 * n, 2**n) for n in range(1, 6))


def evidence(photos: int, *, different: bool = False, accuracy: float = 0.8) -> Evidence:
    """The top is best, or beaten by more than chance."""
    behind = -0.2 if different else 0.3
    early = StageScore("stage3", 24, 0.6 + behind, accuracy, behind, 0.03)
    top = StageScore("stage5", 40, 0.6, accuracy, 0.0, 0.0)
    return Evidence(photos, 200, (early, top))


def test_little_and_similar_takes_the_top() -> None:
    plan = decide(evidence(MUCH - 1), STAGES)
    assert plan.stages == ("stage5",)
    assert plan.heads == HEADS
    assert plan.trained_stages == ()
    assert "little data" in plan.reasons[0]
    assert "similar" in plan.reasons[1]


def test_little_and_different_is_the_hard_corner() -> None:
    plan = decide(evidence(20, different=True), STAGES)
    assert plan.stages == ("stage3", "stage5")
    assert plan.trained_stages == ()
    assert any("hard corner" in reason for reason in plan.reasons)


def test_much_data_trains_a_few_stages_or_many() -> None:
    few = decide(evidence(MUCH), STAGES).trained_stages
    many = decide(evidence(MUCH, different=True), STAGES).trained_stages
    assert few == ("stage4", "stage5")
    assert many == ("stage2", "stage3", "stage4", "stage5")


def test_a_lead_within_chance_is_no_lead() -> None:
    early = StageScore("stage3", 24, 0.57, 0.8, -0.03, 0.03)
    top = StageScore("stage5", 40, 0.6, 0.8, 0.0, 0.0)
    assert decide(Evidence(20, 200, (early, top)), STAGES).stages == ("stage5",)


def test_nothing_is_trained_where_a_gain_could_not_be_seen() -> None:
    plan = decide(evidence(500, accuracy=1 - LEAST_ERRORS / 2), STAGES)
    assert plan.trained_stages == ()
    assert "2.0% of the held-out photos" in plan.reasons[-1]


def test_without_anything_held_out_it_stays_simple() -> None:
    plan = decide(Evidence(1, 0, ()), STAGES)
    assert (plan.stages, plan.trained_stages) == (("stage5",), ())
    assert "could not be measured" in plan.reasons[1]


def test_every_part_can_be_overruled() -> None:
    seen = evidence(20)
    plan = decide(seen, STAGES, Overrules(stages=("stage2",), heads=("forest",)))
    assert (plan.stages, plan.heads) == (("stage2",), ("forest",))
    assert decide(seen, STAGES, Overrules(finetune=True)).trained_stages == ("stage4", "stage5")
    assert decide(seen, STAGES, Overrules(trained_stages=1)).trained_stages == ("stage5",)
    assert decide(evidence(900), STAGES, Overrules(finetune=False)).trained_stages == ()
    with pytest.raises(ValueError, match="6 stages cannot be trained"):
        decide(seen, STAGES, Overrules(trained_stages=6))


def test_a_plan_is_json_with_a_sentence_for_each_decision() -> None:
    plan = decide(evidence(300), STAGES).to_dict()
    assert all(reason.endswith(".") and len(reason) > 20 for reason in plan["reasons"])
    assert plan["evidence"]["scores"][0]["stage"] == "stage3"


@pytest.mark.parametrize(
    ("net", "wanted"),
    [
        ("mobilenet_v2", ("bottleneck3", "bottleneck5", "conv2")),
        ("resnet18", ("layer2", "layer3", "pooled")),
        ("vgg16", ("conv3_3", "conv4_3", "conv5_3", "fc2")),
    ],
)
def test_probes_are_the_last_of_each_resolution(net: str, wanted: tuple[str, ...]) -> None:
    import torch

    with torch.device("meta"):
        stages = NETS[net].build(10, RGB).stages
    found = probe_stages(stages)
    assert found[-1] == stages[-1].name
    strides = [stage.stride for stage in stages if stage.name in found and stage.stride]
    assert len(set(strides)) == len(strides)
    if net != "vgg16":
        assert found == wanted


def fake_head(logits: np.ndarray, labels: np.ndarray) -> FittedHead:
    import torch

    return FittedHead(
        "logistic", torch.nn.Linear(1, 3), {}, {}, (), logits, labels, np.arange(len(labels)),
        "made up", 0.0,
    )  # fmt: skip


def test_evidence_by_hand() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    truth = np.eye(3)[labels]
    heads = {
        "early": fake_head(truth + 2 * rng.normal(size=(400, 3)), labels),
        "top": fake_head(truth + 0.5 * rng.normal(size=(400, 3)), labels),
    }
    found = measure(heads, {"early": 24, "top": 64}, np.repeat([0, 1, 2], [10, 20, 40]))
    assert found.photos_per_class == 20
    assert found.held_out == 400
    early, top = found.scores
    assert (early.width, top.width) == (24, 64)
    assert top.behind_top == top.error == 0
    assert early.behind_top == pytest.approx(early.log_loss - top.log_loss)
    assert early.behind_top > 3 * early.error > 0
    right = heads["early"].held_out_logits.argmax(1) == labels
    assert early.accuracy == pytest.approx(right.mean())


def test_copies_of_a_photo_stay_together_in_folds() -> None:
    """The labels are chance, but each photo has a copy: whoever parts them names nearly all."""
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.integers(0, 2, 60), 2)
    vectors = np.repeat(rng.normal(size=(60, 40)), 2, axis=0).astype(np.float32)
    splits = tuple("train" if row < 100 else "valid" for row in range(120))
    table = PhotoTable(
        root=Path(), paths=tuple(map(str, range(120))), labels=tuple("ab"[n] for n in labels),
        splits=splits, groups=None, layout="table", ignored=(),
    )  # fmt: skip
    precision = PrecisionInfo(mode="exact", dtype="float32", float32_stages=0, cosine=None)
    features = Features(vectors, (), precision, {"top": slice(0, 40)})

    def accuracy(units: np.ndarray) -> float:
        data = Dataset(table, np.arange(120), labels, units, "as given", (), ())
        pushed = Pushed(nn.Identity(), features, data, WeightsInfo(source="", sha256=""), 0)
        head = pushed.fit(("neighbours",), ("top",), Progress())[0]
        assert "cross-validation" in head.chosen_on
        return head.accuracy or 0.0

    assert accuracy(np.arange(120)) > 0.8
    assert accuracy(np.arange(120) // 2) < 0.65
