"""Deletion and insertion: where the truth is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from by_hand import Weighted, explained
from convscope import InputError, load_net
from convscope.data.survey import DecodeSpec, survey
from convscope.explain.faithfulness import Curve, deletion, insertion
from convscope.explain.fills import blurred, filled
from convscope.explain.gradients import saliency
from convscope.nets.catalog import NETS


def test_areas_by_hand() -> None:
    weights = torch.tensor([[[4.0, 3.0], [2.0, 1.0]]])
    net, image = Weighted(weights), torch.ones(1, 2, 2)
    best = explained(weights[0].numpy())
    found = deletion(net, image, best, of="logit", steps=4, fill=0.0, draws=0)
    np.testing.assert_allclose(found.scores, [10, 6, 3, 1, 0])
    np.testing.assert_allclose(found.area, (10 / 2 + 6 + 3 + 1) / 4)
    np.testing.assert_allclose(found.shares, [0, 0.25, 0.5, 0.75, 1])
    worst = deletion(net, image, explained(-weights[0].numpy()), of="logit", steps=4, fill=0.0)
    np.testing.assert_allclose(worst.scores, [10, 9, 7, 4, 0])
    into = insertion(net, image, best, of="logit", steps=4, fill=0.0, draws=0)
    np.testing.assert_allclose(into.scores, [0, 4, 7, 9, 10])
    assert into.line() == str(into) == "insertion 6.25"
    assert found.forwards == 1 + 2 + 3


def field(seed: int = 0) -> tuple[Weighted, Tensor, np.ndarray]:
    """A network that looks at one blob."""
    down, across = np.mgrid[:24, :24]
    blob = np.exp(-((down - 8) ** 2 + (across - 15) ** 2) / 20)
    return Weighted(torch.from_numpy(blob[None]).float() / 10), torch.ones(1, 24, 24), blob


def test_a_right_map_beats_chance_and_a_wrong_one_does_not() -> None:
    net, image, blob = field()
    right = deletion(net, image, explained(blob), fill=0.0)
    assert right.better
    assert right.p_value == pytest.approx(0.05)
    assert right.line() == f"deletion {right.area:.2f} (random {right.random:.2f})"
    wrong = deletion(net, image, explained(np.roll(blob, 11, (0, 1))), fill=0.0)
    assert not wrong.better
    assert wrong.line().endswith(": no better than random")
    assert insertion(net, image, explained(blob), fill=0.0).better
    assert not insertion(net, image, explained(-blob), fill=0.0).better
    read = json.loads(json.dumps(wrong.to_dict()))
    assert read["better_than_random"] is False
    assert read["random"] == pytest.approx(float(wrong.random_areas.mean()))


def test_chance_is_told_from_a_map_about_as_often_as_said() -> None:
    """Smooth maps that know nothing: 5 % of them may pass."""
    net, image, _ = field()
    passed = 0
    for seed in range(60):
        noise = torch.randn(1, 1, 24, 24, generator=torch.Generator().manual_seed(seed))
        smooth = blurred(blurred(noise))[0, 0].numpy()
        passed += bool(deletion(net, image, explained(smooth), fill=0.0, steps=5, seed=seed).better)
    assert passed <= 8  # 3 expected; 9 or more in 0.4 %


def test_images_targets_and_batches_have_no_influence_on_each_other() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 18 * 14, 3))
    images = torch.randn(2, 2, 20, 16)
    maps = np.random.default_rng(0).normal(size=(2, 2, 20, 16))
    targets = [[0, 1], [2, 0]]
    together = deletion(net, images, explained(maps, targets), steps=5, draws=3, batch_size=7)
    assert together.scores.shape == (2, 2, 6)
    assert together.random_areas.shape == (2, 2, 3)
    for row in range(2):
        for column in range(2):
            alone = deletion(
                net, images[row], explained(maps[row, column], targets[row][column]),
                steps=5, draws=3,
            )  # fmt: skip
            np.testing.assert_allclose(together.scores[row, column], alone.scores, rtol=1e-5)
            np.testing.assert_allclose(
                together.random_areas[row, column], alone.random_areas, rtol=1e-5
            )
            assert together.line((row, column)) == alone.line()
    series = nn.Sequential(nn.Conv1d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 28, 2))
    found = insertion(series, torch.randn(2, 1, 30), explained(np.ones((2, 30)), [0, 1]))
    assert found.area.shape == (2,)


def test_no_order_is_better_than_that_of_the_weights() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(20, 30))
    net, image = Weighted(torch.from_numpy(weights[None]).float()), torch.ones(1, 20, 30)
    removed = deletion(net, image, explained(weights), of="logit", fill=0.0, steps=6)
    gone = np.concatenate([[0], np.sort(weights.ravel())[::-1].cumsum()])
    by_numpy = weights.sum() - gone[[0, 100, 200, 300, 400, 500, 600]]
    np.testing.assert_allclose(removed.scores, by_numpy, atol=1e-3)
    np.testing.assert_allclose(
        removed.area, np.trapezoid(by_numpy, np.linspace(0, 1, 7)), atol=1e-3
    )
    brought = insertion(net, image, explained(weights), of="logit", fill=0.0, steps=6)
    assert (removed.random_areas > removed.area).all()
    assert (brought.random_areas < brought.area).all()
    # What is brought in by one order is what the opposite order leaves.
    opposite = deletion(net, image, explained(-weights), of="logit", fill=0.0, steps=6)
    np.testing.assert_allclose(brought.scores, opposite.scores[::-1], atol=1e-3)


def shown(net: nn.Module) -> list[Tensor]:
    """Whatever the network is given from now on."""
    seen: list[Tensor] = []
    net.register_forward_hook(lambda _module, given, _output: seen.append(given[0].clone()))
    return seen


def test_equal_values_go_in_blocks() -> None:
    net, image = Weighted(torch.ones(1, 28, 42)), torch.ones(1, 28, 42)
    seen = shown(net)
    deletion(net, image, explained(np.ones((28, 42))), fill=0.0, steps=7, draws=2)
    images = torch.cat(seen[1:])[2:, 0]
    assert len(images) == 3 * 6
    # 14 x 14 blocks of 2 x 3 pixels, each there or gone, 28 at a time.
    blocks = images.reshape(-1, 14, 2, 14, 3).movedim(2, 3).flatten(3)
    assert torch.equal(blocks.amax(3), blocks.amin(3))
    assert (1 - blocks.amax(3)).sum((1, 2)).tolist() == [28.0 * step for step in range(1, 7)] * 3
    # The values come first: of two super-pixels, all of the higher one goes before the other.
    halves = np.ones((28, 42))
    halves[:, 21:] = 2
    seen.clear()
    deletion(net, image, explained(halves), fill=0.0, steps=4, draws=0)
    images = torch.cat(seen[1:])[2:, 0]
    assert images[0][:, :21].all()
    assert images[1][:, :21].all()
    assert not images[1][:, 21:].any()


def test_images_share_batches_and_no_batch_is_larger_than_said() -> None:
    net = Weighted(torch.rand(1, 6, 6))
    seen = shown(net)
    maps = np.random.default_rng(0).normal(size=(3, 2, 6, 6))
    found = deletion(
        net, torch.rand(3, 1, 6, 6), explained(maps, [[0, 1]] * 3), steps=5, draws=0, batch_size=8
    )
    assert [len(some) for some in seen] == [3, 8, 8, 8, 6]  # 3 x (2 ends + 2 targets x 4 between)
    assert found.forwards == 33


def test_the_caller_finds_all_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 2))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    image = torch.rand(1, 6, 6, requires_grad=True)
    kept = image.detach().clone()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    deletion(net, image, explained(np.ones((6, 6))), steps=3, draws=2)
    assert torch.equal(torch.rand(1), expected)
    assert net.training
    assert net[1].training
    assert image.grad is None
    assert torch.equal(image, kept)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_equal_values_go_in_random_order_and_the_seed_decides() -> None:
    net, image, _ = field()
    flat = explained(np.ones((24, 24)))
    one, other = (deletion(net, image, flat, fill=0.0, seed=seed).scores for seed in (0, 1))
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(one, deletion(net, image, flat, fill=0.0, seed=0).scores)


def test_fills() -> None:
    image = torch.arange(12.0).reshape(2, 2, 3)
    mean = filled(image, "mean")
    np.testing.assert_allclose(mean[0], np.full((2, 3), 2.5))
    np.testing.assert_allclose(mean[1], np.full((2, 3), 8.5))
    np.testing.assert_array_equal(filled(image, 0.5), np.full((2, 2, 3), 0.5))


def test_what_does_not_fit() -> None:
    net, image, blob = field()
    for wrong, said in (
        ({"steps": 1}, "steps=1"), ({"draws": -1}, "draws=-1"), ({"fill": "men"}, "'mean'"),
        ({"fill": float("nan")}, "fill=nan"), ({"batch_size": 0}, "batch_size=0"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            deletion(net, image, explained(blob), **wrong)
    with pytest.raises(InputError, match="Give the images that were explained"):
        deletion(net, image, explained(blob[:20]))
    with pytest.raises(InputError, match="by hand has NaN or infinity"):
        deletion(net, image, explained(np.where(blob > 0.5, np.nan, blob)))


def curve_of(area: list[float] | float, draws: list[list[float]] | list[float]) -> Curve:
    return Curve(
        "deletion", np.zeros(3), np.zeros(3), np.array(area), np.array(draws, float), "logit", 0, 0
    )


def test_too_few_draws_give_no_verdict() -> None:
    curve = curve_of(0.2, [])
    assert curve.line() == "deletion 0.20"
    assert np.isnan(curve.random)
    assert "random" not in curve.to_dict()
    # The best that 18 draws could show happens by chance more often than in one of twenty.
    curve = curve_of(0.2, [0.4] * 18)
    assert curve.line() == "deletion 0.20 (random 0.40)"
    assert not curve.better
    assert curve.to_dict()["better_than_random"] is None
    assert curve_of(0.2, [0.4] * 19).to_dict()["better_than_random"] is True


def test_several_maps_in_one_line() -> None:
    curve = curve_of([0.2, 0.6], [[0.4] * 19, [0.5] * 19])
    assert str(curve) == "deletion 0.40 (random 0.45), mean of 2; better by itself: 1"
    assert curve.p_together == pytest.approx(0.05)
    assert curve.line(1) == "deletion 0.60 (random 0.50): no better than random"
    few = curve_of([0.2, 0.6], [[0.4], [0.5]])
    assert str(few) == "deletion 0.40 (random 0.45), mean of 2"


def test_several_maps_tell_what_one_cannot() -> None:
    # Each is beaten by one draw, the same one: a seed moves all alike.
    curve = curve_of([0.2, 0.2], [[0.1] + [0.9] * 18] * 2)
    np.testing.assert_allclose(curve.p_value, 0.1)
    assert curve.p_together == pytest.approx(0.05)
    assert str(curve).endswith("mean of 2; better by itself: 0")
    bad = curve_of([0.2, 0.2], [[0.1] * 10 + [0.9] * 9] * 2)
    assert bad.p_together == pytest.approx(0.5)  # nine means of 0.1, two of 0.5
    assert str(bad).endswith("mean of 2: no better than random; better by itself: 0")


@pytest.mark.shared
def test_saliency_of_real_photos_beats_itself_elsewhere(shared: Path) -> None:
    spec = NETS["mobilenet_v2"]
    net = load_net("mobilenet_v2", str(shared / "weights/mobilenet_v2_imagenet_1000.safetensors"))
    photos = sorted((shared / "images" / "hymenoptera" / "bees").glob("*.jp*g"))[3:60:28]
    (chunk,) = survey(photos, DecodeSpec(spec.resize, spec.size, fast=False), workers=0)
    pixels = torch.from_numpy(chunk.pixels).movedim(3, 1) / 255
    x = (pixels - torch.tensor(spec.mean)[:, None, None]) / torch.tensor(spec.std)[:, None, None]
    found = deletion(net, x, saliency(net, x), draws=5)
    assert found.area.mean() < 0.7 * found.random.mean()
