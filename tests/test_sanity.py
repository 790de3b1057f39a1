"""Random weights: what must change does, what ignores the network is found out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import Tensor, nn
from torch.nn import functional

from by_hand import explained
from convscope.errors import InputError
from convscope.explain.cam import gradcam
from convscope.explain.gradients import saliency
from convscope.explain.result import Explanation
from convscope.explain.sanity import randomisation


def some(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise with a cross (class 0) or a ring (class 1) somewhere in it."""
    images = 0.5 * torch.randn(count, 1, 16, 16, generator=generator)
    labels = torch.randint(2, (count,), generator=generator)
    ring = torch.ones(5, 5)
    ring[1:4, 1:4] = 0
    cross = torch.eye(5).maximum(torch.eye(5).flip(0))
    for image, label in zip(images, labels, strict=True):
        row, column = torch.randint(11, (2,), generator=generator).tolist()
        image[0, row : row + 5, column : column + 5] += 2 * (ring if label else cross)
    return images, labels


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, Tensor]:
    """A small network that has learnt to tell them, and photos it has not seen."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 12, 5, padding=2), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
            nn.Linear(16, 2),
        )  # fmt: skip
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(120):
        images, labels = some(64, generator)
        optimiser.zero_grad()
        functional.cross_entropy(net(images), labels).backward()
        optimiser.step()
    optimiser.zero_grad()
    images, labels = some(200, generator)
    net.eval()
    assert (net(images).argmax(1) == labels).float().mean() > 0.9
    net.train()
    return net, images[:8]


def edges(model: nn.Module, images: Tensor, target: object) -> Explanation:
    """Shows the image whatever the network."""
    rows = images.diff(dim=2, append=images[:, :, -1:]).abs()
    columns = images.diff(dim=3, append=images[..., -1:]).abs()
    return explained((rows + columns)[:, 0].numpy(), np.zeros(len(images), int))


def by_gradient(model: nn.Module, images: Tensor, target: object) -> Explanation:
    return saliency(model, images, target)  # type: ignore[arg-type]


def test_an_edge_detector_fails_and_gradients_pass(trained: tuple[nn.Module, Tensor]) -> None:
    net, images = trained
    bad = randomisation(edges, net, images, steps=2)
    np.testing.assert_allclose(bad.rank_correlation, 1)
    assert bad.similarity is not None
    np.testing.assert_allclose(bad.similarity, 1)
    assert not bad.depends
    assert bad.line().endswith("it shows the image, not the network")
    for method in (by_gradient, lambda *given: gradcam(*given)):
        good = randomisation(method, net, images, steps=2)
        assert good.depends
        assert good.rank_correlation[-1] < 0.4
        assert good.line().endswith(f"by {good.rank_correlation[-1]:.2f}")
        read = json.loads(json.dumps(good.to_dict()))
        assert read["depends_on_the_network"] is True
        assert read["layers"] == ["4", "0"]


def test_the_network_and_the_caller_are_left_as_they_were(
    trained: tuple[nn.Module, Tensor],
) -> None:
    net, images = trained
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = randomisation(by_gradient, net, images, steps=3)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(module.training for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())
    again = randomisation(by_gradient, net, images, steps=3)
    np.testing.assert_array_equal(again.rank_correlation, first.rank_correlation)
    other = randomisation(by_gradient, net, images, steps=3, seed=1)
    assert not np.array_equal(other.rank_correlation, first.rank_correlation)


class Disordered(nn.Module):
    """Lists its head first, and uses the weights of one layer without calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.attention = nn.MultiheadAttention(4, 1, batch_first=True)
        self.unused = nn.Linear(3, 3)
        self.first = nn.Conv1d(1, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x).transpose(1, 2)
        y = self.attention(y, y, y)[0]
        scores: Tensor = self.head(y.mean(1))
        return scores


def test_the_cascade_goes_by_the_order_of_computing() -> None:
    net = Disordered()
    with torch.no_grad():
        net.attention.in_proj_bias.normal_()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    changed: list[set[str]] = []
    calls: list[object] = []

    def watched(model: nn.Module, images: Tensor, target: object) -> Explanation:
        assert not any(module._forward_hooks for module in model.modules())
        state = model.state_dict()
        changed.append(
            {name.split(".")[0] for name in state if not state[name].equal(before[name])}
        )
        calls.append(target)
        return explained(np.zeros((2, 5)), [1, 0])

    found = randomisation(watched, net, torch.randn(2, 1, 5), [1, 0], steps=9)
    assert found.layers[:3] == ("head", "attention.out_proj", "attention")
    assert set(found.layers) == {
        "head", "attention.out_proj", "attention", "first", "unused"
    }  # fmt: skip
    assert changed[0] == set()
    assert changed[1] == {"head"}
    assert changed[2] == changed[3] == {"head", "attention"}
    assert changed[-1] == {"head", "attention", "first", "unused"}
    assert all(list(np.asarray(target)) == [1, 0] for target in calls)
    assert found.similarity is None
    np.testing.assert_array_equal(found.rank_correlation, 0)  # of maps that are all the same
    assert found.depends


def test_numbers_are_those_of_scipy_and_scikit_image() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(3, 2, 12, 12))
    maps[2] = -maps[0]  # a map that only changes its sign is the same map
    given = iter(maps)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(200, 2))
    found = randomisation(
        lambda *_: explained(next(given), [0, 0]), net, torch.randn(2, 1, 12, 12), steps=2
    )
    assert found.similarity is not None
    a, b, _ = np.abs(maps)
    expected = [spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    assert found.rank_correlation[0] == pytest.approx(np.mean(expected))
    alike = [
        structural_similarity(x / x.max(), y / y.max(), data_range=1.0)
        for x, y in zip(a, b, strict=True)
    ]
    assert found.similarity[0] == pytest.approx(np.mean(alike), abs=1e-5)
    np.testing.assert_allclose([found.rank_correlation[1], found.similarity[1]], 1)


def test_series_and_what_cannot_be_done() -> None:
    series = nn.Sequential(nn.Conv1d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 18, 2))
    found = randomisation(by_gradient, series, torch.randn(2, 1, 20))
    assert found.similarity is None
    with pytest.raises(InputError, match="no weights"):
        randomisation(edges, nn.Flatten(), torch.randn(2, 1, 8, 8))
    with pytest.raises(InputError, match="steps=0"):
        randomisation(by_gradient, series, torch.randn(2, 1, 20), steps=0)
    with pytest.raises(InputError, match="by hand has NaN"):
        randomisation(
            lambda *_: explained(np.full((2, 20), np.nan), [0, 0]), series, torch.randn(2, 1, 20)
        )
