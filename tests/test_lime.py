"""LIME against the lime package, and where the truth is known."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lime.lime_base import LimeBase
from lime.lime_image import LimeImageExplainer
from scipy.stats import linregress
from sklearn.metrics import pairwise_distances
from torch import Tensor, nn

from convscope.errors import InputError
from convscope.explain.fills import blurred
from convscope.explain.forward import fast_forward
from convscope.explain.perturbing import lime
from convscope.explain.segments import SEGMENTATIONS, given_segments, superpixels
from convscope.explain.surrogate import chance, closeness, fit_surrogate, rank_correlation
from convscope.nets.catalog import build_net, net_spec


def random_images(n: int = 2, channels: int = 3, height: int = 24, width: int = 20) -> Tensor:
    return torch.randn((n, channels, height, width), generator=torch.Generator().manual_seed(3))


def grid(height: int = 24, width: int = 20, rows: int = 4, columns: int = 3) -> np.ndarray:
    down, across = np.arange(height) * rows // height, np.arange(width) * columns // width
    return down[:, None] * columns + across


class Pieces(nn.Module):
    """Score 0 is a known sum over super-pixels of their share that is shown; score 1 is 0."""

    def __init__(self, labels: np.ndarray, weights: np.ndarray, image: Tensor) -> None:
        super().__init__()
        self.labels = torch.from_numpy(labels).flatten()
        self.weights = torch.from_numpy(weights).float()
        self.image = image

    def forward(self, x: Tensor) -> Tensor:
        same = (x == self.image).all(1).flatten(1).float()
        counts = torch.bincount(self.labels).float()
        shown = torch.zeros(len(x), len(counts)).index_add_(1, self.labels, same) / counts
        score = shown @ self.weights
        return torch.stack([score, torch.zeros_like(score)], 1)


def known(seed: int = 0) -> tuple[Pieces, Tensor, np.ndarray, np.ndarray]:
    labels, image = grid(), random_images(1)[0]
    weights = np.random.default_rng(seed).normal(size=12)
    return Pieces(labels, weights, image), image, labels, weights


# The surrogate


@pytest.mark.parametrize("chosen", ["none", "lasso_path"])
def test_weights_are_those_of_the_lime_package(chosen: str) -> None:
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 2, (300, 15)).astype(float)
    masks[0] = 1
    scores = masks @ rng.normal(size=15) + 0.3 * masks[:, 0] * masks[:, 1] + rng.normal(size=300)
    distances = pairwise_distances(masks, masks[:1], metric="cosine").ravel()
    theirs = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)))
    intercept, weights, r2, whole = theirs.explain_instance_with_data(
        masks, scores[:, None], distances, 0, 6, feature_selection=chosen
    )
    near = closeness(masks, 0.25)
    np.testing.assert_allclose(near, np.sqrt(np.exp(-(distances**2) / 0.25**2)), atol=1e-12)
    kind = "ridge" if chosen == "none" else "lasso"
    ours = fit_surrogate(kind, masks, scores, near, 6, 0)
    wanted = np.zeros(15)
    for place, weight in weights:
        wanted[place] = weight
    assert (wanted != 0).sum() == (15 if chosen == "none" else 6)
    np.testing.assert_allclose(ours.weights, wanted, atol=1e-9)
    np.testing.assert_allclose([ours.intercept, ours.r2, ours.whole], [intercept, r2, whole[0]])


def test_a_sample_that_shows_nothing_is_the_farthest() -> None:
    masks = np.array([[1.0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
    # The cosine of one of four to all is 1/2.
    expected = np.sqrt(np.exp(-(np.array([0, 0.5, 1.0]) ** 2) / 0.5**2))
    np.testing.assert_allclose(closeness(masks, 0.5), expected)


def test_lasso_of_a_score_that_never_changes() -> None:
    masks = np.random.default_rng(0).integers(0, 2, (50, 4)).astype(float)
    fit = fit_surrogate("lasso", masks, np.full(50, 0.3), np.ones(50), 3, 0)
    np.testing.assert_allclose([*fit.weights, fit.intercept, fit.whole], [0, 0, 0, 0, 0.3, 0.3])


def test_a_forest_sees_what_a_line_cannot() -> None:
    """A score that two pieces make only together."""
    masks = np.random.default_rng(0).integers(0, 2, (800, 6)).astype(float)
    scores, near = masks[:, 0] * masks[:, 1], np.ones(800)
    forest = fit_surrogate("forest", masks, scores, near, 6, 0)
    ridge = fit_surrogate("ridge", masks, scores, near, 6, 0)
    assert forest.r2 > 0.95 > ridge.r2 + 0.2
    assert forest.whole > 0.95 > 0.8 > ridge.whole
    # With the other piece shown half of the time, each is worth about a half.
    np.testing.assert_allclose(forest.weights[:2], 0.5, atol=0.06)
    np.testing.assert_allclose(forest.weights[2:], 0, atol=0.03)


def test_rank_correlation() -> None:
    assert rank_correlation(np.array([1.0, 5, 2]), np.array([10.0, 30, 20])) == pytest.approx(1)
    assert rank_correlation(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1)
    assert rank_correlation(np.ones(3), np.arange(3.0)) == 0


def test_chance_is_the_f_test() -> None:
    """Of one piece it is the test of a slope."""
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 2, (40, 1)).astype(float)
    scores = 0.7 * masks[:, 0] + rng.normal(size=40)
    line = linregress(masks[:, 0], scores)
    assert chance(line.rvalue**2, np.ones(40), 1) == pytest.approx(line.pvalue, rel=1e-6)
    # As many as half of the samples, where the others count for nothing.
    half = np.repeat([1.0, 1e-9], 40)
    assert chance(line.rvalue**2, half, 1) == pytest.approx(line.pvalue, rel=1e-3)
    assert chance(0.9, np.ones(5), 5) == 1
    assert chance(0.0, np.ones(50), 5) == 1
    assert chance(1.0, np.ones(50), 5) < 1e-30


# The method


class Drawn(np.random.RandomState):
    """Gives the lime package the on and off that we use."""

    def __init__(self, masks: np.ndarray) -> None:
        super().__init__(0)
        self.masks = masks

    def randint(self, *_: object, **__: object) -> np.ndarray:
        return self.masks.astype(int).ravel()


@pytest.mark.parametrize("fill", ["mean", 0.25])
def test_from_image_to_weights_it_is_the_lime_package(fill: str | float) -> None:
    net = build_net(net_spec("resnet18"), 5, 0).eval()
    image = random_images(1, 3, 48, 64)[0]
    labels = grid(48, 64)

    def classify(pixels: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return net(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()).softmax(1).numpy()

    masks = np.random.default_rng(4).integers(0, 2, (60, 12), np.uint8)
    theirs = LimeImageExplainer(random_state=Drawn(masks)).explain_instance(
        image.permute(1, 2, 0).numpy(), classify, labels=(2,), top_labels=None, num_samples=60,
        hide_color=None if fill == "mean" else fill, segmentation_fn=lambda _: labels,
        random_seed=0,
    )  # fmt: skip
    wanted = np.zeros(12)
    for place, weight in theirs.local_exp[2]:
        wanted[place] = weight
    ours = lime(net, image, 2, segments=labels, samples=60, fill=fill, seed=4, stop_early=False)
    largest = np.abs(wanted).max()
    assert largest > 0
    np.testing.assert_allclose(ours.details["weights"], wanted, atol=1e-3 * largest)
    np.testing.assert_allclose(ours.details["r2"], theirs.score, atol=1e-3)
    np.testing.assert_allclose(ours.details["whole"], theirs.local_pred[0], rtol=1e-4)


@pytest.mark.parametrize("surrogate", ["ridge", "lasso", "forest"])
def test_known_weights_are_found(surrogate: str) -> None:
    net, image, labels, weights = known()
    found = lime(
        net, image, 0, of="logit", segments=labels, surrogate=surrogate, features=12, fill=9.0,
        samples=600, stop_early=False,
    )  # fmt: skip
    assert found.map.shape == (24, 20)
    loose = 0.35 if surrogate == "forest" else 0.06
    np.testing.assert_allclose(found.details["weights"], weights, atol=loose)
    np.testing.assert_allclose(found.map, found.details["weights"][labels], rtol=1e-6)
    if surrogate != "forest":
        assert found.details["r2"] > 0.99
        np.testing.assert_allclose(found.details["whole"], found.score, atol=0.1)
    assert found.details["stability"] > 0.95
    assert found.forwards == 601
    assert found.signed


def test_it_stops_when_it_is_stable_and_not_before() -> None:
    net, image, labels, weights = known()
    found = lime(net, image, 0, of="logit", segments=labels, fill=9.0)
    assert found.details["samples"] <= 400
    np.testing.assert_allclose(found.details["weights"], weights, atol=0.1)

    class Noise(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            drawn = torch.frac(torch.sin(x.flatten(1).sum(1) * 1e4) * 1e4)
            return torch.stack([drawn, -drawn], 1)

    noisy = lime(Noise(), image, 0, of="logit", segments=labels, samples=700)
    assert noisy.details["samples"] == 700
    assert abs(float(noisy.details["r2"])) < 0.2


class Fickle(nn.Module):
    """Another number each time."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.drawn = torch.Generator().manual_seed(seed)

    def forward(self, x: Tensor) -> Tensor:
        score = torch.randn(len(x), generator=self.drawn)
        return torch.stack([score, -score], 1)


@pytest.mark.parametrize("pieces", [2, 3, 6])
def test_noise_is_never_stable_however_few_the_pieces(pieces: int) -> None:
    """Two lists of two agree on their order by chance, again and again."""
    image, labels = random_images(1)[0], grid(rows=1, columns=pieces)
    used = [
        int(lime(Fickle(seed), image, 0, of="logit", segments=labels).details["samples"])
        for seed in range(8)
    ]
    assert used == [1000] * 8


def test_the_type_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    net = build_net(net_spec("resnet18"), 5, 0).eval()
    image = random_images(1, 3, 64, 64)[0]
    asked = {"samples": 150, "segments": grid(64, 64), "of": "logit"}
    exact = lime(net, image, 1, **asked)
    assert exact.details["computed_in"] == "float32"
    room = sys.modules["convscope.explain.forward"]
    monkeypatch.setattr(room, "has_bfloat16", lambda: True)
    # Which of them wins depends on the machine.
    monkeypatch.setattr(room, "_seconds", lambda forward, _: forward.given.itemsize)
    fast = lime(net, image, 1, precision="fast", **asked)
    assert fast.details["computed_in"] == "bfloat16"
    largest = np.abs(exact.map).max()
    assert 0 < np.abs(fast.map - exact.map).max() < 0.1 * largest
    assert rank_correlation(fast.map.ravel(), exact.map.ravel()) > 0.95
    monkeypatch.setattr(room, "_seconds", lambda *_: 1.0)  # no gain
    same = lime(net, image, 1, precision="fast", **asked)
    np.testing.assert_array_equal(same.map, exact.map)
    monkeypatch.setattr(room, "_seconds", lambda forward, _: forward.given.itemsize)
    monkeypatch.setattr(room, "_CLOSE_FAST", 1e-9)  # too far off
    same = lime(net, image, 1, precision="fast", **asked)
    np.testing.assert_array_equal(same.map, exact.map)


def test_the_batch_size_and_other_images_have_no_influence() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    images = random_images(3)
    net(images)
    whole = lime(net, images, [0, 1, 2], samples=150, batch_size=32)
    other = lime(net, images, [0, 1, 2], samples=150, batch_size=7)
    np.testing.assert_allclose(other.map, whole.map, rtol=1e-3, atol=1e-6)
    for place in range(3):
        alone = lime(net, images[place], place, samples=150)
        np.testing.assert_allclose(whole[place].map, alone.map, rtol=1e-3, atol=1e-6)
        np.testing.assert_array_equal(whole[place].details["segments"], alone.details["segments"])
        np.testing.assert_allclose(
            whole[place].details["weights"], alone.details["weights"], rtol=1e-3, atol=1e-6
        )
    again = lime(net, images, [0, 1, 2], samples=150)
    np.testing.assert_array_equal(again.map, whole.map)
    changed = lime(net, images, [0, 1, 2], samples=150, seed=1)
    assert not np.allclose(changed.map, whole.map)
    both = lime(net, images[:2], [[0, 1], [1, 2]], samples=150)
    assert both.map.shape == (2, 2, 24, 20)
    np.testing.assert_allclose(both.map[0, 0], whole.map[0], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(both[1].map[0], whole.map[1], rtol=1e-3, atol=1e-6)
    several = lime(net, images[0], [0, 1, 2], samples=150)
    assert several.map.shape == (3, 24, 20)
    assert len(several.details["weights"]) == 3


class Shows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return torch.stack([flat.mean(1), flat.std(1)], 1)


@pytest.mark.parametrize("fill", ["mean", "blur", 0.25, (0.5, -1.0, 2.0)])
def test_what_is_shown(fill: str | float | tuple[float, ...]) -> None:
    net, image, labels = Shows(), random_images(1)[0], grid()
    seen: list[Tensor] = []
    net.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    lime(net, image, 0, segments=labels, fill=fill, samples=40, batch_size=16)
    shown = torch.cat(seen[1:])  # after the first look
    assert max(len(batch) for batch in seen) == 16  # never all at once
    shown = shown[-40:]
    np.testing.assert_array_equal(shown[0], image)
    masks = np.random.default_rng(0).integers(0, 2, (40, 12), np.uint8)
    for sample, mask in zip(shown[1:], masks[1:], strict=True):
        for piece in range(12):
            inside = torch.from_numpy(labels == piece)
            got, own = sample[:, inside], image[:, inside]
            if mask[piece]:
                wanted = own
            elif fill == "mean":
                wanted = own.mean(1, keepdim=True).expand_as(own)
            elif fill == "blur":
                wanted = blurred(image[None])[0][:, inside]
            elif isinstance(fill, tuple):
                wanted = torch.tensor(fill)[:, None].expand_as(own)
            else:
                wanted = torch.full_like(own, float(fill))
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_blur_keeps_what_is_flat_and_takes_away_detail() -> None:
    flat = torch.full((1, 2, 30, 40), 0.7)
    np.testing.assert_allclose(blurred(flat), flat, rtol=1e-5)
    noise = random_images(1, 1, 60, 60)
    assert blurred(noise).std() < 0.3 * noise.std()
    assert blurred(torch.randn(1, 2, 50)).shape == (1, 2, 50)


# Super-pixels


@pytest.mark.parametrize("how", SEGMENTATIONS)
@pytest.mark.parametrize(
    "shape",
    [(3, 60, 80), (1, 40, 40), (6, 33, 50), (3, 20, 20)],
    ids=lambda s: "x".join(map(str, s)),
)
def test_every_segmentation_cuts_every_image(how: str, shape: tuple[int, ...]) -> None:
    channels, height, width = shape
    down = np.linspace(0, 3, height)[:, None] * np.ones(width)
    image = np.stack(
        [np.sin(2 * down + k) + (np.arange(width) > width / 2) for k in range(channels)]
    )
    labels = superpixels(image[None].astype(np.float32), how)[0]
    assert labels.shape == (height, width)
    assert labels.min() == 0
    assert len(np.unique(labels)) == labels.max() + 1 >= 2
    np.testing.assert_array_equal(labels, superpixels(image[None].astype(np.float32), how)[0])


def test_superpixels_follow_an_edge() -> None:
    image = np.zeros((1, 3, 40, 60), np.float32)
    image[..., 23:] = 1
    labels = superpixels(image, "slic", count=12)[0]
    left, right = set(labels[:, :23].ravel().tolist()), set(labels[:, 23:].ravel().tolist())
    assert not left & right


def test_a_series_is_cut_evenly() -> None:
    labels = superpixels(np.zeros((2, 1, 100), np.float32), count=10)
    np.testing.assert_array_equal(labels, np.broadcast_to(np.arange(100) // 10, (2, 100)))
    assert superpixels(np.zeros((1, 1, 7), np.float32)).max() == 6


def test_given_segments() -> None:
    gaps = np.array([[3, 3, 9], [3, 9, 9]])
    np.testing.assert_array_equal(
        given_segments(gaps, (2, 2, 3)), np.broadcast_to([[0, 0, 1], [0, 1, 1]], (2, 2, 3))
    )
    with pytest.raises(InputError, match="Image 0 is one super-pixel only"):
        given_segments(np.zeros((2, 3), int), (1, 2, 3))
    with pytest.raises(InputError, match="Segments of shape"):
        given_segments(gaps, (1, 5, 5))
    with pytest.raises(InputError, match="these are float64"):
        given_segments(gaps / 2, (1, 2, 3))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"surrogate": "rigde"}, "Did you mean 'ridge'"),
        ({"segments": "slick"}, "Did you mean 'slic'"),
        ({"fill": "meen"}, "Did you mean 'mean'"),
        ({"fill": float("nan")}, "fill=nan"),
        ({"fill": (0.0, float("inf"), 0.0)}, "fill="),
        ({"fill": (0.0, 1.0)}, "fill has 2 numbers; a colour is one for each of the 3 channels"),
        ({"precision": "exakt"}, "Did you mean 'exact'"),
        ({"kernel_width": 0.0}, "kernel_width=0.0"),
        ({"samples": 3}, "samples=3"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"features": 0}, "features=0"),
        ({"count": 1}, "count=1"),
    ],
)
def test_options_that_are_none(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        lime(Shows(), random_images(1), 0, **wrong)


# The network re-written


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    tried = SimpleNamespace(count=0)

    def refuse(*_given: object) -> None:
        tried.count += 1
        raise TypeError("cannot be traced")

    monkeypatch.setattr(sys.modules["convscope.explain.forward"], "fuse", refuse)
    yield tried


def test_the_network_is_rewritten_where_that_gives_the_same(refused: SimpleNamespace) -> None:
    net = build_net(net_spec("resnet18"), 3, 0).eval()
    images = random_images(2, 3, 64, 64)
    wanted = net(images)
    plain = fast_forward(net, images, wanted)(images)
    np.testing.assert_allclose(plain, wanted.detach(), rtol=1e-5, atol=1e-6)
    assert refused.count == 1
    next(net.children()).register_forward_hook(lambda *_: None)
    fast_forward(net, images, wanted)
    assert refused.count == 1


def test_a_rewritten_network_that_differs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    net = build_net(net_spec("resnet18"), 3, 0).eval()
    images = random_images(2, 3, 64, 64)
    with torch.no_grad():
        wanted = net(images)
    fast = fast_forward(net, images, wanted)(images)
    np.testing.assert_allclose(fast, wanted, rtol=1e-3, atol=1e-4)
    assert fast is not wanted
    monkeypatch.setattr(
        sys.modules["convscope.explain.forward"], "fuse",
        lambda model: nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 3)),
    )  # fmt: skip
    plain = fast_forward(net, images, wanted)(images)
    np.testing.assert_allclose(plain, wanted, rtol=1e-5, atol=1e-6)
