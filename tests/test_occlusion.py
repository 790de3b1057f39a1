"""Occlusion against brute force, Captum and arithmetic by hand."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import captum.attr as captum
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from by_hand import Weighted
from convscope.errors import InputError
from convscope.explain.fills import blurred
from convscope.explain.occluders import covers
from convscope.explain.occluding import occlusion
from convscope.explain.positions import grid, near, spread
from convscope.explain.result import Explanation
from convscope.progress import Progress


class Net(nn.Module):
    """With a ReLU that is used twice and in place, batch norm and dropout."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.first(x)))
        x = self.relu(self.second(x))
        return self.head(self.drop(x.mean((2, 3))))


def net_of(channels: int = 3) -> Net:
    torch.manual_seed(0)
    net = Net(channels)
    net(torch.randn(16, channels, 12, 12))  # statistics that are not 0 and 1
    return net.eval()


def pictures(n: int = 2, channels: int = 3, height: int = 22, width: int = 17) -> Tensor:
    return torch.randn((n, channels, height, width), generator=torch.Generator().manual_seed(4))


def brute_force(
    net: nn.Module, image: Tensor, target: int, window: tuple[int, ...], stride: tuple[int, ...],
    cover: Tensor, of: str = "logit",
) -> np.ndarray:  # fmt: skip
    """A pass for each position, and the mean over the windows of each pixel."""
    space = image.shape[1:]
    total, count = np.zeros(space), np.zeros(space)

    def score(x: Tensor) -> float:
        with torch.no_grad():
            out = net(x[None].clone())[0].double()
        return float((out if of == "logit" else out.softmax(0))[target])

    firsts = []
    for size, side, step in zip(space, window, stride, strict=True):
        along = list(range(0, size - side + 1, step))
        firsts.append(along if along[-1] == size - side else [*along, size - side])
    for first in np.array(np.meshgrid(*firsts, indexing="ij")).reshape(len(space), -1).T:
        box = tuple(slice(f, f + side) for f, side in zip(first, window, strict=True))
        covered = image.clone()
        covered[(slice(None), *box)] = cover[(slice(None), *box)]
        total[box] += score(image) - score(covered)
        count[box] += 1
    assert (count > 0).all()
    return total / count


@pytest.mark.parametrize("of", ["logit", "probability"])
@pytest.mark.parametrize(("window", "stride"), [(5, 2), ((7, 4), (3, 4)), (6, 6), (17, 1)])
def test_brute_force(of: str, window: object, stride: object) -> None:
    """A stride that does not divide among them."""
    net, images = net_of(), pictures()
    found = occlusion(net, images, [1, 3], of=of, window=window, stride=stride, occluder=0.3)
    sides = (window,) * 2 if isinstance(window, int) else window
    steps = (stride,) * 2 if isinstance(stride, int) else stride
    for place, target in enumerate((1, 3)):
        cover = torch.full_like(images[place], 0.3)
        expected = brute_force(net, images[place], target, sides, steps, cover, of)
        np.testing.assert_allclose(found.map[place], expected, rtol=1e-3, atol=2e-6)
    assert found.signed
    assert (found.map < 0).any()
    assert found.details["computed"] == 1
    assert found.details["drops"].shape[-1] == len(found.details["starts"])


def test_as_many_positions_as_images() -> None:
    """What belongs to positions stays whole when images are taken apart."""
    found = occlusion(net_of(), pictures(4, 3, 16, 16), window=8, stride=8)
    assert found.details["starts"] == ((0, 0), (0, 8), (8, 0), (8, 8))
    one = found[2]
    assert one.details["starts"] == found.details["starts"]
    np.testing.assert_array_equal(one.details["drops"], found.details["drops"][2])


def test_it_says_in_which_precision_it_was_answered() -> None:
    """A dozen positions are too few to try bfloat16 on."""
    found = occlusion(net_of(), pictures(1, 3, 16, 16), window=8, stride=8, precision="fast")
    assert found.parameters["precision"] == "fast"
    assert found.details["precision"] == "exact"


def test_captum_says_the_same() -> None:
    net, images = net_of(), pictures(3, 3, 20, 16)
    found = occlusion(net, images, [0, 1, 2], window=8, stride=4, occluder=0.0)
    theirs = captum.Occlusion(net).attribute(
        images.clone(), (3, 8, 8), (3, 4, 4), 0.0, torch.tensor([0, 1, 2])
    )
    np.testing.assert_allclose(found.map, theirs[:, 0], rtol=1e-3, atol=2e-6)


def test_captum_where_the_stride_does_not_divide() -> None:
    """It cuts the last window at the end, ours ends with the image: the others say the same."""
    net, images = net_of(), pictures(2, 3, 22, 17)
    other = torch.rand(3, 22, 17, generator=torch.Generator().manual_seed(1))
    found = occlusion(net, images, [0, 3], window=(8, 7), stride=(5, 4), occluder=other)
    theirs = captum.Occlusion(net).attribute(
        images.clone(), (3, 8, 7), (3, 5, 4), other[None], torch.tensor([0, 3]),
        perturbations_per_eval=5,
    )  # fmt: skip
    assert grid((22, 17), (8, 7), (5, 4)).along[0].tolist() == [0, 5, 10, 14]
    assert grid((22, 17), (8, 7), (5, 4)).along[1].tolist() == [0, 4, 8, 10]
    np.testing.assert_allclose(found.map[:, :14, :10], theirs[:, 0, :14, :10], rtol=1e-3, atol=2e-6)
    assert np.abs(found.map[:, 18:] - theirs[:, 0, 18:].numpy()).max() > 1e-4


def weighted(weights: Tensor) -> nn.Module:
    """A weighted sum; of a series, behind a layer that says it is one."""
    if weights.ndim == 3:
        return Weighted(weights)
    same = nn.Conv1d(len(weights), len(weights), 1, bias=False)
    same.weight.data = torch.eye(len(weights))[..., None]
    return nn.Sequential(same, Weighted(weights))


@pytest.mark.parametrize("space", [(13, 9), (31,)])
def test_of_a_weighted_sum_every_drop_is_known(space: tuple[int, ...]) -> None:
    """w·(x - what is put over it), with signs, of both targets."""
    drawn = torch.Generator().manual_seed(2)
    weights, images = (torch.randn((2, 3, *space), generator=drawn) for _ in range(2))
    window = (4, 3)[: len(space)]
    found = occlusion(weighted(weights[0]), images, [[0, 1], [1, 0]], window=window, stride=2)
    cover = images.flatten(2).mean(2).reshape(2, 3, *[1] * len(space))
    terms = (weights[0] * (images - cover)).sum(1).double().numpy()
    for place, signs in enumerate(((1, -1), (-1, 1))):
        for number, start in enumerate(found.details["starts"]):
            box = tuple(slice(s, s + side) for s, side in zip(start, window, strict=True))
            np.testing.assert_allclose(
                found.details["drops"][place, :, number],
                np.array(signs) * terms[place][box].sum(), rtol=1e-3, atol=2e-5,
            )  # fmt: skip


def test_by_hand() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    net[1].weight.data = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]])
    image = torch.tensor([[[1.0, 1.0, 2.0, 2.0]]])
    found = occlusion(net, image, 0, window=(1, 2), stride=1, occluder=0.0)
    # Windows at 0, 1, 2: 1 + 2, 2 + 6, 6 + 8; the score is 17.
    np.testing.assert_allclose(found.details["drops"], [3, 8, 14])
    np.testing.assert_allclose(found.map, [[3, 5.5, 11, 14]])
    assert found.score == 17


@pytest.mark.parametrize("occluder", ["mean", "blur", "noise", 0.7])
def test_what_is_put_over(occluder: str | float) -> None:
    net, images = net_of(), pictures(2)
    cover = covers(images, occluder, 5)
    if occluder == "mean":
        np.testing.assert_allclose(cover[1, 2], np.full((22, 17), images[1, 2].mean()), rtol=1e-5)
    if occluder == "blur":
        np.testing.assert_allclose(cover, blurred(images), rtol=1e-5, atol=1e-6)
    if occluder == "noise":
        np.testing.assert_allclose(cover.mean((2, 3)), images.mean((2, 3)), atol=0.2)
        assert not torch.equal(cover, covers(images, occluder, 6))
    found = occlusion(net, images, 2, window=6, stride=4, occluder=occluder, seed=5)
    for place in range(2):
        expected = brute_force(net, images[place], 2, (6, 6), (4, 4), cover[place])
        np.testing.assert_allclose(found.map[place], expected, rtol=1e-3, atol=3e-6)


def test_an_image_as_occluder() -> None:
    net, images, other = net_of(), pictures(2), torch.rand(3, 22, 17)
    found = occlusion(net, images, 2, window=6, stride=4, occluder=other)
    expected = brute_force(net, images[1], 2, (6, 6), (4, 4), other)
    np.testing.assert_allclose(found.map[1], expected, rtol=1e-3, atol=3e-6)
    assert found.parameters["occluder"] == "given"
    with pytest.raises(InputError, match="An occluder of shape"):
        occlusion(net, images, occluder=torch.rand(3, 5, 5))
    with pytest.raises(InputError, match="An occluder of shape"):
        occlusion(net, images, occluder=torch.rand(17))
    with pytest.raises(InputError, match="The occluder has NaN"):
        occlusion(net, images, occluder=float("nan"))
    with pytest.raises(InputError, match="Did you mean 'noise'"):
        occlusion(net, images, occluder="nois")


@pytest.mark.parametrize("wrong", [None, True, object(), ["a"], 10**400])
def test_what_is_no_occluder(wrong: object) -> None:
    with pytest.raises(InputError, match=r"[Gg]ive a name"):
        covers(pictures(), wrong, 0)  # type: ignore[arg-type]


def test_a_colour_and_one_image_for_each() -> None:
    images = pictures(2)
    colour = torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    np.testing.assert_array_equal(
        covers(images, colour, 0)[1, 2], np.full((22, 17), np.float32(0.3))
    )
    each = torch.rand(2, 3, 22, 17, requires_grad=True)
    found = covers(images, each, 0)
    assert torch.equal(found, each)
    assert not found.requires_grad


def test_superpixels() -> None:
    net, images = net_of(), pictures(2)
    down, across = np.mgrid[:22, :17]
    labels = ((down - 9) ** 2 + (across - 8) ** 2 < 30).astype(int) + 2 * (across > 12)
    found = occlusion(net, images, [[0, 1], [2, 3]], segments=labels, occluder=0.2)
    for place, targets in enumerate(((0, 1), (2, 3))):
        for column, target in enumerate(targets):
            for number in np.unique(labels):
                covered = images[place].clone()
                covered[:, torch.from_numpy(labels == number)] = 0.2
                with torch.no_grad():
                    before, after = net(torch.stack([images[place], covered]))[:, target].tolist()
                np.testing.assert_allclose(
                    found.map[place, column][labels == number], before - after, rtol=1e-3, atol=2e-6
                )
    with pytest.raises(InputError, match="leave out window"):
        occlusion(net, images, segments=labels, window=3)


def test_superpixels_of_each_image_its_own() -> None:
    """Some have more of them than others; a series likewise."""
    weights, series = torch.arange(1.0, 13)[None], torch.ones(2, 1, 12)
    labels = np.array([[0] * 5 + [1] * 7, [2] * 2 + [0] * 3 + [1] * 3 + [3] * 4])
    found = occlusion(weighted(weights), series, 0, segments=labels, occluder=0.0)
    np.testing.assert_allclose(found.details["drops"][0], [15, 63, np.nan, np.nan])
    np.testing.assert_allclose(found.details["drops"][1], [12, 21, 3, 42])
    np.testing.assert_allclose(found.map[0], [15] * 5 + [63] * 7)
    np.testing.assert_allclose(found.map[1], [3] * 2 + [12] * 3 + [21] * 3 + [42] * 4)


def test_several_targets_come_from_the_same_pass() -> None:
    net, images = net_of(), pictures(2)
    both = occlusion(net, images, [[0, 1], [3, 2]], window=6)
    one = occlusion(net, images, [1, 2], window=6)
    np.testing.assert_allclose(both.map[:, 1], one.map, rtol=1e-5, atol=1e-7)
    assert both.forwards == one.forwards
    single = occlusion(net, images[1], [3, 2], window=6)
    np.testing.assert_allclose(single.map, both.map[1], rtol=1e-4, atol=1e-6)
    assert single.map.shape == (2, 22, 17)


@pytest.mark.parametrize("channels", [1, 6])
def test_grey_and_six_channels(channels: int) -> None:
    net, image = net_of(channels), pictures(1, channels)
    found = occlusion(net, image, 0, window=6, stride=4, occluder=0.0)
    expected = brute_force(net, image[0], 0, (6, 6), (4, 4), torch.zeros_like(image[0]))
    np.testing.assert_allclose(found.map[0], expected, rtol=1e-3, atol=3e-6)


def test_series() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv1d(2, 5, 3, padding=2, dilation=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1),
        nn.Flatten(), nn.Linear(5, 3),
    )  # fmt: skip
    series = torch.randn(2, 2, 40)
    found = occlusion(net, series, 1, window=7, stride=3, occluder=0.0)
    expected = brute_force(net, series[1], 1, (7,), (3,), torch.zeros(2, 40))
    np.testing.assert_allclose(found.map[1], expected, rtol=1e-3, atol=1e-6)


def test_refining_looks_closer_where_it_matters_and_says_the_same_there() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(576, 2)
    )
    net[4].weight.data *= 0.02
    net[4].weight.data[0].reshape(4, 12, 12)[:, 8:, 8:] += 1.0  # it looks at a corner
    image = torch.rand(1, 1, 48, 48)
    full = occlusion(net, image, 0, window=8, stride=2)
    seen: list[Explanation] = []
    found = occlusion(net, image, 0, window=8, stride=2, refine=True, each=seen.append)
    assert len(seen) == 3
    shares = [look.details["computed"] for look in seen]
    assert shares[0] < 0.1 < shares[2] < 0.6
    assert shares == sorted(shares)
    np.testing.assert_array_equal(seen[-1].map, found.map)
    known = ~np.isnan(found.details["drops"])
    np.testing.assert_allclose(
        found.details["drops"][known], full.details["drops"][known], rtol=1e-4, atol=1e-6
    )
    top = np.unravel_index(full.map[0].argmax(), (48, 48))
    assert abs(found.map[0][top] - full.map[0][top]) < 0.02 * full.map.max()
    assert np.corrcoef(found.map.ravel(), full.map.ravel())[0, 1] > 0.98
    assert found.forwards < 0.6 * full.forwards
    assert np.isfinite(seen[0].map).all()


def test_refining_a_series_of_several() -> None:
    weights = torch.zeros(1, 120)
    weights[0, 70:90] = torch.linspace(1, 3, 20)
    series = torch.ones(2, 1, 120) * torch.tensor([1.0, 2.0])[:, None, None]
    full = occlusion(weighted(weights), series, 0, window=12, stride=3, occluder=0.0)
    found = occlusion(weighted(weights), series, 0, window=12, stride=3, occluder=0.0, refine=True)
    np.testing.assert_allclose(found.map[1], 2 * found.map[0], rtol=1e-5)
    np.testing.assert_allclose(found.map[:, 75:85], full.map[:, 75:85], rtol=1e-5)
    assert found.details["computed"] < 0.7


class Bar(Progress):
    """Counts what is announced and what is done."""

    def __init__(self) -> None:
        super().__init__()
        self.announced = self.done = 0

    @contextmanager
    def task(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        self.announced += total

        def advance(more: int) -> None:
            self.done += more

        yield advance


@pytest.mark.parametrize("refine", [False, True])
def test_the_bar_ends_where_it_says(refine: bool) -> None:
    bar = Bar()
    found = occlusion(net_of(), pictures(), window=8, stride=2, refine=refine, progress=bar)
    assert bar.announced == bar.done == (~np.isnan(found.details["drops"])).sum() > 0
    bar = Bar()
    labels = np.arange(22 * 17).reshape(22, 17) // 100
    occlusion(net_of(), pictures(), segments=labels, progress=bar)
    assert bar.announced == bar.done == 8


def test_the_grid_covers_every_pixel() -> None:
    where = grid((22, 17), 7, 5)
    np.testing.assert_array_equal(where.along[0], [0, 5, 10, 15])
    np.testing.assert_array_equal(where.along[1], [0, 5, 10])
    assert where.starts.shape == (12, 2)
    counts = spread(np.ones(12), where, (22, 17))
    np.testing.assert_allclose(counts, 1)
    assert grid((224, 224)).window == (32, 32)
    assert grid((224, 224)).stride == (16, 16)
    assert grid((5,)).window == (1,)
    assert grid((48, 48), 8, 2).coarsest == 4
    assert grid((48, 48), 8, 4).coarsest == 2
    assert grid((48, 48), 8, 8).coarsest == 1


def test_near() -> None:
    where = grid((10, 12), 2, 2)  # 5 x 6 positions
    chosen = np.zeros((5, 6), bool)
    chosen[1, 4] = True
    wide = near(chosen.reshape(-1), where, 2).reshape(5, 6)
    expected = np.zeros((5, 6), bool)
    expected[0:4, 2:6] = True
    np.testing.assert_array_equal(wide, expected)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"window": 30}, "larger than the image of 22 x 17"),
        ({"window": 4, "stride": 5}, "would never be covered"),
        ({"window": 0}, "window=0"),
        ({"window": (3, 3, 3)}, "or 2 of them"),
        ({"window": 2.5}, "window=2.5"),
        ({"stride": True}, "stride=True"),
        ({"target": 4}, "Target 4: the network has 4 outputs, 0 to 3"),
        ({"precision": "quick"}, "Unknown precision"),
        ({"max_memory": 0}, "max_memory=0"),
    ],
)
def test_what_cannot_be_asked(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        occlusion(net_of(), pictures(), **wrong)


def test_a_tiny_budget_changes_nothing() -> None:
    net, images = net_of(), pictures()
    plain = occlusion(net, images, 0, window=6, stride=1)
    tight = occlusion(net, images, 0, window=6, stride=1, max_memory=1)
    np.testing.assert_allclose(tight.map, plain.map, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("occluder", ["mean", "noise"])
def test_a_batch_is_its_images_one_by_one(occluder: str) -> None:
    net, images = net_of(), pictures(3)
    batch = occlusion(net, images, window=6, stride=4, occluder=occluder, seed=3)
    for place in range(3):
        one = occlusion(net, images[place], window=6, stride=4, occluder=occluder, seed=3)
        assert one.target == batch.target[place]
        np.testing.assert_allclose(one.map, batch.map[place], rtol=1e-3, atol=2e-6)
    other = occlusion(net, images, window=6, stride=4, occluder=occluder, seed=4)
    assert np.array_equal(other.map, batch.map) == (occluder == "mean")


def test_a_network_in_training_is_explained_as_it_answers_and_left_as_found() -> None:
    net, images = net_of(), pictures()
    given = images.clone()
    expected = occlusion(net, images, 1, window=6, stride=4, occluder="noise", seed=1)
    net.train()
    net.norm.eval()  # a mixture of both
    net.head.weight.requires_grad_(False)
    net.first.weight.grad = torch.ones_like(net.first.weight)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(77)  # not where the call above would have left it
    dice = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    found = occlusion(net, images, 1, window=6, stride=4, occluder="noise", seed=1)
    np.testing.assert_array_equal(found.map, expected.map)
    assert torch.equal(torch.get_rng_state(), dice[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == dice[1:]
    assert [m.training for m in (net, net.norm, net.drop)] == [True, False, True]
    assert not net.head.weight.requires_grad
    assert net.first.weight.requires_grad
    assert torch.equal(net.first.weight.grad, torch.ones_like(net.first.weight))
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert torch.equal(images, given)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_the_callers_hooks_stay_and_are_obeyed() -> None:
    net, images = net_of(), pictures()
    handle = net.second.register_forward_hook(lambda module, given, out: out * 2)
    found = occlusion(net, images, 1, window=6, stride=4, occluder=0.0)
    assert len(net.second._forward_hooks) == 1
    expected = brute_force(net, images[0], 1, (6, 6), (4, 4), torch.zeros(3, 22, 17))
    np.testing.assert_allclose(found.map[0], expected, rtol=1e-3, atol=2e-6)
    assert "hooks" in found.details["why"]
    handle.remove()
    without = occlusion(net, images, 1, window=6, stride=4, occluder=0.0)
    assert np.abs(without.map - found.map).max() > 1e-3


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_images_with_holes_are_refused(bad: float) -> None:
    images = pictures()
    images[1, 2, 3, 4] = bad
    with pytest.raises(InputError, match=r"NaN or infinity, first at \(1, 2, 3, 4\)"):
        occlusion(net_of(), images)


# Every position's 40,000 outputs together would be 390 MB; what is asked for is one of each.
_MANY_OUTPUTS = """
import resource, sys
import torch
from torch import nn
from convscope.explain import occlusion
torch.set_num_threads(1)
net = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(1352, 16),
    nn.Linear(16, 40000),
)
image = torch.rand(1, 52, 52)
def most():
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)
occlusion(net, image, 7, window=4, stride=4, max_memory=2**24)
before = most()
found = occlusion(net, image, 7, window=4, stride=1, max_memory=2**24)
assert found.details["drops"].shape == (2401,)
print(most() - before)
"""


def test_memory_does_not_grow_with_the_positions() -> None:
    pytest.importorskip("resource")
    ended = subprocess.run(
        [sys.executable, "-c", _MANY_OUTPUTS], capture_output=True, text=True, check=True
    )
    assert float(ended.stdout) < 100
