"""Gradient methods against Captum, autograd and arithmetic by hand."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import captum.attr as captum
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.errors import InputError
from convscope.explain.cam import gradcam
from convscope.explain.gradients import integrated_gradients, saliency, smoothgrad
from convscope.nets.catalog import build_net, net_spec
from convscope.transfer.heads.choosing import fit_head


class Small(nn.Module):
    """Two convolutions with a ReLU that is used twice, and two classes more than one expects."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 8, 3, stride=2)
        self.relu = nn.ReLU()
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.second(self.relu(self.first(x))))
        return self.head(x.mean((2, 3)))


def small(channels: int = 3) -> Small:
    torch.manual_seed(0)
    return Small(channels).eval()


def images(n: int = 2, channels: int = 3, height: int = 11, width: int = 9) -> Tensor:
    return torch.randn((n, channels, height, width), generator=torch.Generator().manual_seed(1))


class Quadratic(nn.Module):
    """Score 0 is the sum of squares, score 1 three times the sum."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return torch.stack([flat.square().sum(1), 3 * flat.sum(1)], 1)


def test_saliency_by_hand() -> None:
    x = torch.tensor([[[1.0, -2.0]], [[-3.0, 0.5]]])  # two channels, one row of two pixels
    found = saliency(Quadratic(), x, target=0)
    np.testing.assert_array_equal(found.map, [[6.0, 4.0]])  # 2|x|, the larger channel
    assert found.score == 1 + 4 + 9 + 0.25
    np.testing.assert_array_equal(saliency(Quadratic(), x, target=1).map, [[3.0, 3.0]])


@pytest.mark.parametrize("of", ["logit", "probability"])
def test_saliency_is_captums(of: str) -> None:
    net, x = small(), images(5)
    found = saliency(net, x, of=of, batch_size=2)
    scores = net if of == "logit" else nn.Sequential(net, nn.Softmax(1))
    wanted = torch.from_numpy(found.target)
    theirs = captum.Saliency(scores).attribute(x.clone().requires_grad_(), wanted, abs=True).amax(1)
    np.testing.assert_allclose(found.map, theirs.detach(), rtol=1e-5, atol=1e-8)
    np.testing.assert_array_equal(found.target, net(x).argmax(1))
    assert not found.signed
    assert found.forwards == 5 * (1 + 1 + 2)


def test_several_targets_are_each_its_own() -> None:
    net, x = small(), images(2)
    both = saliency(net, x, [[0, 1], [2, 3]])
    assert both.map.shape == (2, 2, 11, 9)
    for place in range(2):
        alone = saliency(net, x, [place, 2 + place])
        np.testing.assert_allclose(both.map[:, place], alone.map, rtol=1e-6)
        np.testing.assert_allclose(both.score[:, place], alone.score, rtol=1e-6)


def test_smoothgrad_without_noise_is_saliency_and_with_it_the_mean() -> None:
    net, x = small(), images(1)
    plain = saliency(net, x, 1).map
    np.testing.assert_allclose(smoothgrad(net, x, 1, noise=0.0, samples=3).map, plain, rtol=1e-5)
    found = smoothgrad(net, x, 1, noise=0.2, samples=5, batch_size=2, seed=7)
    generator = torch.Generator().manual_seed(7)
    spread = 0.2 * (x.max() - x.min())
    total = torch.zeros_like(x)
    for _ in range(5):
        noisy = x + spread * torch.randn(x.shape[1:], generator=generator)
        noisy.requires_grad_()
        total += torch.autograd.grad(net(noisy)[0, 1], noisy)[0]
    np.testing.assert_allclose(found.map, (total / 5).abs().amax(1), rtol=1e-4, atol=1e-7)
    assert not np.allclose(found.map, plain, rtol=1e-2)
    again = smoothgrad(net, x, 1, noise=0.2, samples=5, batch_size=5, seed=7).map
    np.testing.assert_allclose(again, found.map, rtol=1e-4, atol=1e-7)
    other = smoothgrad(net, x, 1, noise=0.2, samples=5, seed=8).map
    assert not np.allclose(other, found.map, rtol=1e-2)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_smoothgrad_is_captums_with_the_same_noise(
    noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, x = small(), images(1)
    found = smoothgrad(net, x, 2, of="probability", noise=noise, samples=4, seed=5)
    drawn = torch.Generator().manual_seed(5)
    spread = noise * float(x.max() - x.min())

    def normal(mean: float, deviation: Tensor) -> Tensor:
        assert mean == 0
        assert (deviation == torch.tensor(spread)).all()
        rows = [torch.randn(x.shape[1:], generator=drawn) for _ in deviation]
        return spread * torch.stack(rows)

    monkeypatch.setattr(torch, "normal", normal)
    theirs = captum.NoiseTunnel(captum.Saliency(nn.Sequential(net, nn.Softmax(1)))).attribute(
        x, nt_type="smoothgrad", nt_samples=4, stdevs=spread, target=2, abs=False
    )
    np.testing.assert_allclose(found.map, theirs.abs().amax(1), rtol=1e-4, atol=1e-8)


def test_the_noise_is_the_same_whatever_type_the_caller_computes_in() -> None:
    net, x = small(), images(1)
    wanted = smoothgrad(net, x, 1, samples=3).map
    torch.set_default_dtype(torch.float64)
    try:
        np.testing.assert_array_equal(smoothgrad(net, x, 1, samples=3).map, wanted)
    finally:
        torch.set_default_dtype(torch.float32)
    double = smoothgrad(net.double(), x, 1, samples=3).map
    np.testing.assert_allclose(double, wanted, rtol=1e-4, atol=1e-7)


class Most(nn.Module):
    """Notes the largest batch."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.most: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.most.append(len(x))
        answer: Tensor = self.net(x)
        return answer


@pytest.mark.parametrize(
    ("method", "settings", "largest", "passes"),
    [
        (saliency, {}, 3, 5), (gradcam, {}, 3, 5),
        (smoothgrad, {"samples": 7}, 3, 5 * 7), (integrated_gradients, {"steps": 7}, 3, 5 * 8),
    ],
)  # fmt: skip
def test_no_more_at_a_time_than_asked_for(
    method: Any, settings: dict[str, Any], largest: int, passes: int
) -> None:
    net = Most(small())
    found = method(net, images(5), [[0, 1]] * 5, batch_size=3, **settings)
    # The first look is without gradients, of all images.
    assert net.most[0] == 5
    assert max(net.most[1:]) == largest
    assert sum(net.most[1:]) == passes
    # A gradient for each of two targets counts for two passes.
    backwards = 5 * settings.get("samples", settings.get("steps", 1)) * 2
    assert found.forwards == 5 + passes + 2 * backwards


def test_the_noise_of_an_image_does_not_depend_on_the_others() -> None:
    net, x = small(), images(3)
    together = smoothgrad(net, x, 0, samples=4).map
    alone = smoothgrad(net, x[2], 0, samples=4).map
    np.testing.assert_allclose(together[2], alone, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("of", ["logit", "probability"])
def test_integrated_gradients_are_captums(of: str) -> None:
    net, x = small(), images(3)
    begin = torch.full_like(x, 0.1)
    found = integrated_gradients(net, x, 2, of=of, steps=20, baseline=0.1, batch_size=7)
    scores = net if of == "logit" else nn.Sequential(net, nn.Softmax(1))
    theirs = captum.IntegratedGradients(scores).attribute(
        x.clone().requires_grad_(), begin, 2, n_steps=20, method="gausslegendre"
    )
    np.testing.assert_allclose(found.map, theirs.sum(1).detach(), rtol=1e-4, atol=1e-6)
    assert found.signed
    gain = found.score - found.details["baseline_score"]
    np.testing.assert_allclose(found.map.sum((1, 2)), gain + found.details["delta"], rtol=1e-4)


def test_integrated_gradients_of_squares_by_hand() -> None:
    x = torch.tensor([[[1.0, -2.0]], [[-3.0, 0.5]]])
    found = integrated_gradients(Quadratic(), x, 0, steps=2)
    # From 0 to x the square of each value is what it brings; two points are exact for a parabola.
    np.testing.assert_allclose(found.map, [[10.0, 4.25]], rtol=1e-6)
    assert abs(float(found.details["delta"])) < 1e-5
    given = integrated_gradients(Quadratic(), x, 0, steps=2, baseline=x)
    np.testing.assert_array_equal(given.map, 0)
    with pytest.raises(InputError, match="baseline of shape"):
        integrated_gradients(Quadratic(), x, 0, baseline=torch.zeros(5))
    with pytest.raises(InputError, match="baseline has NaN"):
        integrated_gradients(Quadratic(), x, 0, baseline=float("nan"))
    with pytest.raises(InputError, match=r"A baseline must be a tensor, .*'black'"):
        integrated_gradients(Quadratic(), x, 0, baseline="black")  # type: ignore[arg-type]


def test_integrated_gradients_from_a_colour() -> None:
    x = torch.tensor([[[1.0, -2.0]], [[-3.0, 0.5]]])
    # x² - b² of each value, the second channel from -1.
    for colour in (torch.tensor([0.0, -1.0])[:, None, None], np.array([[[0.0]], [[-1.0]]])[::1]):
        found = integrated_gradients(Quadratic(), x, 0, steps=2, baseline=colour)
        np.testing.assert_allclose(found.map, [[1 + 8.0, 4 - 0.75]], rtol=1e-6)
        assert found.details["baseline_score"] == 2
    with torch.inference_mode():
        found = integrated_gradients(Quadratic(), x * 1, 0, steps=2, baseline=x * 0)
    np.testing.assert_allclose(found.map, [[10.0, 4.25]], rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sums_over_many_steps_are_precise_in_half_precision(dtype: torch.dtype) -> None:
    # Of a linear network each gradient is exact; 400 of them added up in 8 or 11 bits were not.
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False)).to(dtype)
    net[1].weight.data = torch.tensor([[1.5, -2.0], [0.0, 1.0]], dtype=dtype)
    x = torch.tensor([[[1.0, -3.0]]])
    found = integrated_gradients(net, x, 0, steps=400)
    np.testing.assert_allclose(found.map, [[1.5, 6.0]], rtol=1e-5)
    assert abs(float(found.details["delta"])) < 1e-4
    smooth = smoothgrad(net, x, 0, samples=400)
    np.testing.assert_allclose(smooth.map, [[1.5, 2.0]], rtol=1e-5)


def test_gradcam_is_captums() -> None:
    net, x = small(), images(3)
    found = gradcam(net, x, 1, layer="second", batch_size=2)
    theirs = captum.LayerGradCam(net, net.second).attribute(x.clone().requires_grad_(), 1)
    np.testing.assert_allclose(found.details["raw"], theirs[:, 0].detach(), rtol=1e-4, atol=1e-7)
    large = captum.LayerAttribution.interpolate(theirs.relu(), (11, 9), "bilinear")[:, 0]
    np.testing.assert_allclose(found.map, large.detach(), rtol=1e-4, atol=1e-7)
    assert (found.map >= 0).all()


def test_gradcam_takes_the_last_map() -> None:
    net, x = small(), images(2)
    found = gradcam(net, x, 1)
    assert found.details["layer"] == "relu"  # its second call
    # By hand: the head is linear in the mean of each channel of that map.
    with torch.no_grad():
        maps = net.relu(net.second(net.relu(net.first(x))))
        weights = net.head.weight[1] / maps[0, 0].numel()
        raw = torch.einsum("c,nchw->nhw", weights, maps)
    np.testing.assert_allclose(found.details["raw"], raw, rtol=1e-4, atol=1e-7)
    for name, size, layer in (
        ("resnet18", 64, "layer4"), ("mobilenet_v2", 64, "features"), ("vgg11", 64, "avgpool"),
        ("squeezenet1_0", 64, "classifier.2"), ("googlenet", 64, "inception5b"),
    ):  # fmt: skip
        net_of = build_net(net_spec(name), 3, 0).eval()
        taken = gradcam(net_of, images(1, 3, size, size), 0)
        assert taken.details["layer"] == layer
        assert taken.map.shape == (1, size, size)


def test_gradcam_without_a_map_or_of_an_unknown_layer() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(27, 2))
    with pytest.raises(InputError, match="has no map of more than one place"):
        gradcam(flat, torch.randn(1, 3, 3, 3))
    with pytest.raises(InputError, match="Did you mean 'second'"):
        gradcam(small(), images(), layer="secnd")
    with pytest.raises(InputError, match="Layer head gives no map"):
        gradcam(small(), images(), layer="head")


def test_a_layer_is_shown_as_it_was_before_a_later_one_wrote_into_it() -> None:
    torch.manual_seed(0)
    inside = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 4),
    )  # fmt: skip
    outside = copy.deepcopy(inside)
    outside[1].inplace = False
    x = images(2)
    wanted = gradcam(outside, x, 1, layer="0").details["raw"]
    np.testing.assert_allclose(gradcam(inside, x, 1, layer="0").details["raw"], wanted, rtol=1e-6)
    assert gradcam(inside, x, 1).details["layer"] == "1"
    theirs = captum.LayerGradCam(outside, outside[0]).attribute(x, 1)[:, 0].detach()
    np.testing.assert_allclose(wanted, theirs, rtol=1e-4, atol=1e-7)

    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = inside

        def forward(self, x: Tensor) -> Tensor:
            maps = nn.functional.relu(self.inside[0](x), inplace=True)
            answer: Tensor = self.inside[4](maps.mean((2, 3)))
            return answer

    found = gradcam(Functional(), x, 1)
    assert found.details["layer"] == "inside.0"
    np.testing.assert_allclose(found.details["raw"], wanted, rtol=1e-6)


class Branches(nn.Module):
    """A sum that no module gives; maps that lead nowhere; a map of one place at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.branch = nn.Conv2d(6, 6, 3, padding=1)
        self.unused = nn.Conv2d(6, 2, 1)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x).relu()
        whole = stem + self.branch(stem)
        self.unused(whole)
        answer: Tensor = self.head(whole.mean((2, 3), keepdim=True)).flatten(1)
        return answer


def test_the_last_map_is_one_that_the_whole_answer_goes_through() -> None:
    torch.manual_seed(0)
    net, x = Branches().eval(), images(2)
    # The branch misses what goes around it; the layer after it has no say.
    assert gradcam(net, x, 1).details["layer"] == "stem"
    assert gradcam(net, x, 1, layer="branch").details["layer"] == "branch"
    with pytest.raises(InputError, match="answer does not depend on layer unused"):
        gradcam(net, x, 1, layer="unused")

    class Two(nn.Module):
        """Nothing of that size is all there is: the last branch, then."""

        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Conv2d(3, 4, 3, stride=2)
            self.fine = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            answer: Tensor = self.fine(x).mean((2, 3)) + self.wide(x).mean((2, 3))
            return answer

    assert gradcam(Two(), x, 1).details["layer"] == "wide"


def test_gradcam_of_a_time_series_is_captums() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv1d(2, 6, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
        nn.Linear(6, 3),
    )  # fmt: skip
    x = torch.randn(2, 2, 31, generator=torch.Generator().manual_seed(0))
    found = gradcam(net, x, 2)
    assert found.details["layer"] == "1"
    theirs = captum.LayerGradCam(net, net[1]).attribute(x, 2).detach()
    np.testing.assert_allclose(found.details["raw"], theirs[:, 0], rtol=1e-4, atol=1e-7)
    large = nn.functional.interpolate(theirs.relu(), 31, mode="linear")[:, 0]
    np.testing.assert_allclose(found.map, large, rtol=1e-4, atol=1e-7)


def test_a_scripted_network_shows_no_layers() -> None:
    net, x = small(), images()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.trace(net, x)
    np.testing.assert_allclose(saliency(scripted, x, 1).map, saliency(net, x, 1).map, rtol=1e-5)
    with pytest.raises(InputError, match="which shows its layers to nobody"):
        gradcam(scripted, x, 1)


def test_a_compiled_network_has_the_layers_it_was_made_of() -> None:
    net, x = small(), images()
    compiled = torch.compile(net, backend="eager")
    for layer in (None, "second"):
        wanted = gradcam(net, x, 1, layer=layer)
        found = gradcam(compiled, x, 1, layer=layer)
        assert found.details["layer"] == wanted.details["layer"]
        np.testing.assert_array_equal(found.map, wanted.map)


class Decides(nn.Module):
    """Compares, as a tree does."""

    def forward(self, x: Tensor) -> Tensor:
        high = (x.flatten(1).mean(1) > 0).float()
        return torch.stack([high, 1 - high], 1)


def test_a_network_without_gradient_says_what_to_use() -> None:
    for method in (saliency, smoothgrad, integrated_gradients):
        with pytest.raises(InputError, match="Use occlusion or lime"):
            method(Decides(), images())


def test_a_forest_on_features_says_what_to_use() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 6)).astype(np.float32)
    labels = (features[:, 0] > 0).astype(int)
    head = fit_head("forest", features, labels, features[:0], labels[:0], 2, seed=0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head.module)
    for method in (saliency, smoothgrad, integrated_gradients, gradcam):
        with pytest.raises(InputError, match="Use occlusion or lime"):
            method(net, images())


class Root(nn.Module):
    """Steepest where it is 0: its slope there is not finite."""

    def forward(self, x: Tensor) -> Tensor:
        total = x.flatten(1).sum(1).abs()
        return torch.stack([total.sqrt(), total], 1)


def test_a_gradient_without_end_is_an_error() -> None:
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(InputError, match="gradient is NaN or infinite"):
        saliency(Root(), x, 0)
    np.testing.assert_allclose(saliency(Root(), x + 1, 0).map, 0.25)


def test_within_the_callers_no_grad_and_inference_mode() -> None:
    net, x = small(), images()
    wanted = saliency(net, x, 0).map
    with torch.no_grad():
        np.testing.assert_array_equal(saliency(net, x, 0).map, wanted)
    with torch.inference_mode():
        inner = images()
        np.testing.assert_array_equal(saliency(net, inner, 0).map, wanted)
        assert gradcam(net, inner, 0).map.any()


def test_counts_that_make_no_sense() -> None:
    for method, wrong in (
        (saliency, {"batch_size": 0}), (smoothgrad, {"samples": 0}), (smoothgrad, {"noise": -1.0}),
        (integrated_gradients, {"steps": 1.5}), (gradcam, {"batch_size": True}),
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"it must be a whole number|it is a share"):
            method(small(), images(), **wrong)
