"""The patches that excite a channel most: a known detector, numpy, the network itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope import explain
from convscope.errors import InputError
from convscope.explain.asking import left_as_found
from convscope.explain.exciting import pixels_that_mattered
from convscope.explain.strongest import Strongest
from convscope.explain.tapping import Tapped, peaks
from convscope.nets.catalog import photo_net_spec

# A curved stroke, as the founding slides draw it, and one that bends elsewhere.
CURVE = [
    [0, 0, 0, 0, 0, 0, 30],
    [0, 0, 0, 0, 50, 50, 50],
    [0, 0, 0, 20, 50, 0, 0],
    [0, 0, 0, 50, 50, 0, 0],
    [0, 0, 0, 50, 50, 0, 0],
    [0, 0, 0, 50, 50, 0, 0],
    [0, 0, 0, 50, 50, 0, 0],
]
UNLIKE = [
    [0, 0, 0, 0, 0, 0, 0],
    [0, 40, 0, 0, 0, 0, 0],
    [40, 0, 40, 0, 0, 0, 0],
    [40, 20, 0, 0, 0, 0, 0],
    [0, 50, 0, 0, 0, 0, 0],
    [0, 0, 50, 0, 0, 0, 0],
    [25, 25, 0, 50, 0, 0, 0],
]
# 30 at these columns (counted from 1) of rows 1 to 6.
COLUMNS = [6, 5, 4, 4, 4, 4]


def detector() -> nn.Sequential:
    """The 7x7 curve detector: one convolution without padding, then ReLU."""
    net = nn.Sequential(nn.Conv2d(1, 1, 7), nn.ReLU(inplace=True))
    nn.init.zeros_(net[0].bias)
    nn.init.zeros_(net[0].weight)
    for row, column in enumerate(COLUMNS):
        net[0].weight.data[0, 0, row, column - 1] = 30
    return net


def test_the_curve_detector_answers_as_on_the_slides() -> None:
    net = detector()
    patches = torch.tensor([CURVE, UNLIKE], dtype=torch.float)[:, None]
    assert net(patches).flatten().tolist() == [6600, 0]


def test_a_known_detector_finds_exactly_the_planted_patches() -> None:
    """Five curves among hundreds of strokes that are none, two of them in one image.

    The detector answers a curve most from one row below, where six of its seven pixels are 50.
    """
    drawn = np.random.default_rng(0)
    images = torch.zeros(12, 1, 64, 64)
    for image in images:
        for row in range(0, 56, 8):
            for column in range(0, 56, 8):
                stroke = torch.tensor(UNLIKE, dtype=torch.float).rot90(int(drawn.integers(4)))
                image[0, row : row + 7, column : column + 7] = stroke
    planted = [(1, 8, 16), (4, 40, 0), (4, 0, 48), (7, 24, 24), (11, 48, 48)]
    for image, row, column in planted:
        images[image, 0, row : row + 7, column : column + 7] = torch.tensor(CURVE)
    found = explain.neurons(detector(), images, "1", top=5, per_image=2)["1"]
    assert found.field == (7, 7)
    (hits,) = found.hits
    seen = {(hit.image, hit.box[0].start - 1, hit.box[1].start) for hit in hits}
    assert seen == set(planted)
    assert all(hit.value == 6 * 50 * 30 and hit.beyond == 0 for hit in hits)
    assert all(span.size == 7 for hit in hits for span in hit.box)
    once = explain.neurons(detector(), images, "1", top=5)["1"].hits[0]
    assert len({hit.image for hit in once}) == 5
    assert [hit.value for hit in once[:4]] == [9000] * 4
    assert once[4].value < 6600


def stack(padding: int) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=padding), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, stride=2, padding=padding), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Flatten(), nn.LazyLinear(4),
    )  # fmt: skip


def pictures(n: int = 10, side: int = 40) -> Tensor:
    return torch.randn(n, 3, side, side + 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("layer", ["0", "1", "3", "5"])
def test_the_patch_alone_gives_the_activation(layer: str, padding: int) -> None:
    net, images = stack(padding), pictures()
    net(images)
    found = explain.neurons(net, images, layer, top=4, per_image=2)[layer]
    assert any(found.hits)
    with left_as_found(net), torch.no_grad():
        tapped = Tapped(net, images.shape[1:], [layer])
        for channel, hits in enumerate(found.hits):
            for hit in hits:
                assert padding or hit.beyond == 0
                alone = tapped.alone(tapped.layers[0], images[hit.image], hit.unit)
                assert alone is not None
                assert float(alone[channel]) == pytest.approx(hit.value, abs=1e-4)


def test_how_much_lies_in_the_padding_is_said() -> None:
    net, images = stack(1), pictures()
    net(images)
    images[:, :, :2, :2] *= 9  # so that corners are among the hits
    found = explain.neurons(net, images, "0", top=10)["0"]
    corner = [hit for hits in found.hits for hit in hits if hit.unit == (0, 0)]
    assert corner
    assert all(hit.beyond == pytest.approx(5 / 9) for hit in corner)
    assert all(span.stop == 2 for hit in corner for span in hit.box)


@pytest.mark.parametrize("layer", ["layer1.0.conv2", "layer2", "layer3.0.relu", "fc"])
def test_nothing_outside_of_the_box_matters(layer: str) -> None:
    """Of a network with padding, shortcuts and in-place ReLU that is used twice."""
    torch.manual_seed(0)
    net = photo_net_spec("resnet18").build(10).eval()
    images = torch.randn(3, 3, 96, 96)
    found = explain.neurons(net, images, layer, top=2)[layer]
    with left_as_found(net):
        tapped = Tapped(net, images.shape[1:], [layer])
        for channel in range(0, len(found.hits), 7):
            for hit in found.hits[channel]:
                other = torch.randn_like(images[:1])
                box = (0, slice(None), *(slice(one.start, one.stop) for one in hit.box))
                other[box] = images[hit.image][box[1:]]
                maps = tapped(other)[0].detach()
                again = float(maps[(0, channel, *hit.unit)])
                assert again == pytest.approx(hit.value, rel=1e-4, abs=1e-5)
                slope = pixels_that_mattered(
                    tapped, tapped.layers[0], images[hit.image][None], [channel], [hit.unit]
                )[0]
                inside = np.zeros(slope.shape, bool)
                inside[box[2:]] = True
                assert not slope[~inside].any()
                assert slope[inside].any()


def test_against_numpy() -> None:
    """All channels of a layer in the middle, whose ReLU then writes into what it gave."""
    net, images = stack(1), pictures(37)
    net(images)
    found = explain.neurons(net, (images[k : k + 5] for k in range(0, 37, 5)), "0", top=6)["0"]
    with torch.no_grad():
        maps = net.eval()[0](images).numpy()
    for channel, hits in enumerate(found.hits):
        best = maps[:, channel].reshape(37, -1)
        order = np.argsort(-best.max(1), kind="stable")[:6]
        assert [hit.image for hit in hits] == order.tolist()
        np.testing.assert_allclose([hit.value for hit in hits], best.max(1)[order], rtol=1e-5)
        places = [np.unravel_index(best[image].argmax(), maps.shape[2:]) for image in order]
        assert [hit.unit for hit in hits] == [tuple(map(int, place)) for place in places]


def test_pixels_matter_beyond_the_ends_of_an_activation() -> None:
    """A unit that ReLU6 has stopped at 6 has no gradient; what goes into it has."""
    net, images = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU6()), pictures(2)
    net[0].bias.data += 100
    with left_as_found(net):
        tapped = Tapped(net, images.shape[1:], ["1"])
        assert float(tapped(images)[0].min()) == 6
        slope = pixels_that_mattered(tapped, tapped.layers[0], images, [0, 1], [(4, 5), (7, 0)])
        expected = net[0].weight.detach().abs().amax(1)
    np.testing.assert_allclose(slope[0][4:7, 5:8], expected[0], rtol=1e-5)
    np.testing.assert_allclose(slope[1][7:10, 0:3], expected[1], rtol=1e-5)


def test_a_channel_that_is_never_excited_has_no_patches() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    net[0].bias.data = torch.tensor([5.0, -1e3])
    hits = explain.neurons(net, torch.rand(4, 1, 9, 9), "1", top=3)["1"].hits
    assert [len(one) for one in hits] == [3, 0]


def test_time_series() -> None:
    net = nn.Sequential(nn.Conv1d(2, 3, 3, dilation=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    series = torch.randn(5, 2, 30)
    net(series)
    found = explain.neurons(net, series, "1", top=2)["1"]
    assert found.field == (5,)
    assert all(hit.box[0].size == 5 for hits in found.hits for hit in hits)


@pytest.mark.parametrize("grid", [(9,), (7, 5)])
def test_peaks_are_not_near_a_stronger_one(grid: tuple[int, ...]) -> None:
    """As a loop that strikes out what is near finds them."""
    maps = torch.randn(3, 4, *grid)
    reach = (2, 3)[: len(grid)]
    values, units = peaks(maps, 3, reach)
    for image in range(3):
        for channel in range(4):
            left = maps[image, channel].numpy().copy()
            for k in range(3):
                at = np.unravel_index(left.argmax(), grid)
                assert values[image, channel, k] == left[at]
                assert units[image, channel, k] == np.ravel_multi_index(at, grid)
                near = np.ones(grid, bool)
                for axis, (place, far) in enumerate(zip(at, reach, strict=True)):
                    along = np.abs(np.arange(grid[axis]) - place) < far
                    near &= along.reshape([-1 if a == axis else 1 for a in range(len(grid))])
                left[near] = -np.inf


def test_the_strongest_of_many_need_no_room() -> None:
    drawn = np.random.default_rng(0)
    values = drawn.integers(0, 50, (200, 6, 2)).astype(np.float32)  # many ties
    values[..., 1] = np.minimum(values[..., 0], values[..., 1])
    units = drawn.integers(0, 100, values.shape)
    best = Strongest(6, 7)
    for first in range(0, 200, 16):
        rows = np.arange(first, min(first + 16, 200))
        best.update(values[rows], units[rows], rows)
    for channel in range(6):
        flat = values[:, channel].ravel()
        order = np.argsort(-flat, kind="stable")[:7]
        np.testing.assert_array_equal(best.values[channel], flat[order])
        np.testing.assert_array_equal(best.images[channel], order // 2)
        np.testing.assert_array_equal(best.units[channel], units[:, channel].ravel()[order])


def test_the_network_is_left_as_it_was() -> None:
    net, images = stack(1), pictures(4)
    net(images)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    explain.neurons(net, images, ["0", "5"])
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layers": "convolution"}, "convolution"),
        ({"layers": []}, "at least one layer"),
        ({"top": 0}, "top"),
        ({"per_image": 0}, "per_image"),
        ({"images": torch.zeros(0, 3, 40, 46)}, "no images"),
        ({"images": torch.zeros(5, 40)}, "expected"),
        ({"images": torch.zeros(2, 4, 40, 46)}, "cannot take"),
        ({"images": torch.full((2, 3, 40, 46), torch.nan)}, "NaN"),
    ],
)
def test_what_cannot_be_used_is_named(change: dict[str, object], words: str) -> None:
    net = stack(1)
    net(pictures())
    asked = {"images": pictures(2), "layers": "0", **change}
    with pytest.raises(InputError, match=words):
        explain.neurons(net, asked.pop("images"), asked.pop("layers"), **asked)  # type: ignore[arg-type]
