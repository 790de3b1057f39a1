"""What every method of explanation promises, whatever it does inside."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope import InputError, explain
from convscope.explain import Explanation

Method = Callable[..., Explanation]
METHODS: dict[str, tuple[Method, dict[str, Any]]] = {
    "saliency": (explain.saliency, {}),
    "smoothgrad": (explain.smoothgrad, {"samples": 3}),
    "integrated_gradients": (explain.integrated_gradients, {"steps": 4}),
    "gradcam": (explain.gradcam, {}),
    "occlusion": (explain.occlusion, {"window": 5, "stride": 4}),
    "lime": (explain.lime, {"samples": 40, "count": 8}),
}
CASES = pytest.mark.parametrize("name", METHODS)


class Net(nn.Module):
    """A ReLU used twice and in place, first of all on the input; batch norm; dropout."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.first = nn.Conv2d(channels, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 5, 3, stride=2)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.first(self.relu(x))))
        return self.head(self.drop(self.relu(self.second(x)).mean((2, 3))))


def net_of(channels: int = 3) -> Net:
    torch.manual_seed(1)
    net = Net(channels)
    net(torch.randn(16, channels, 12, 12))
    return net.eval()


def images(n: int = 3, channels: int = 3, height: int = 18, width: int = 13) -> Tensor:
    return torch.randn((n, channels, height, width), generator=torch.Generator().manual_seed(2))


def run(name: str, net: nn.Module, x: Tensor, target: Any = None, **more: Any) -> Explanation:
    method, settings = METHODS[name]
    return method(net, x, target, **settings, **more)


def test_every_public_method_is_held_to_this() -> None:
    said = {
        "agreement", "deletion", "insertion", "locate", "neurons", "randomisation", "superpixels",
    }  # fmt: skip
    functions = {name for name in explain.__all__ if name[0].islower()}
    assert functions - said == set(METHODS)


@CASES
def test_shapes(name: str) -> None:
    net, x = net_of(), images()
    for given, target, lead in (
        (x[0], 2, ()), (x, 1, (3,)), (x, [0, 1, 2], (3,)), (x, [[0, 1], [2, 3], [1, 0]], (3, 2)),
        (x[0], [0, 3], (2,)), (x, None, (3,)), (x[:1], None, (1,)), (x[0], None, ()),
    ):  # fmt: skip
        found = run(name, net, given, target)
        assert found.target.shape == found.score.shape == lead
        assert found.map.shape == (*lead, 18, 13)
        assert found.map.dtype == np.float32
        assert np.isfinite(found.map).all()
        assert found.method == name
        assert found.seconds > 0
        assert found.forwards >= 2
        assert found.signed or (found.map >= 0).all()


@CASES
def test_one_is_as_one_of_many(name: str) -> None:
    net, x = net_of(), images()
    many = run(name, net, x, [[0, 1], [2, 3], [1, 0]])
    for place in range(3):
        alone = run(name, net, x[place], many.target[place])
        np.testing.assert_allclose(many.map[place], alone.map, rtol=2e-3, atol=2e-6)
        taken = many[place]
        np.testing.assert_array_equal(taken.map, many.map[place])
        assert len(taken) == 2
        assert taken[1].map.shape == (18, 13)
    assert len(many) == 3
    with pytest.raises(IndexError, match="There are 3"):
        many[3]
    with pytest.raises(TypeError, match="no length"):
        len(many[0][0])


@CASES
def test_the_seed_decides_and_nothing_else(name: str) -> None:
    net, x = net_of(), images()
    first = run(name, net, x, 1)
    torch.manual_seed(99)
    np.random.default_rng(3).random()
    np.testing.assert_array_equal(run(name, net, x, 1).map, first.map)


@CASES
def test_everything_is_left_as_found(name: str) -> None:
    net, x = net_of(), images()
    net.train()
    net.drop.eval()
    net.first.weight.requires_grad_(False)
    net.head.weight.grad = torch.full_like(net.head.weight, 7.0)
    calls: list[int] = []
    handle = net.second.register_forward_hook(lambda *_: calls.append(1))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    versions = [buffer.clone() for buffer in net.buffers()]
    given = x.clone()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    hooked = run(name, net, given, 1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(given, x)
    assert given.grad is None
    assert not given.requires_grad
    assert net.training
    assert net.norm.training
    assert not net.drop.training
    assert not net.first.weight.requires_grad
    assert net.head.weight.requires_grad
    assert (net.head.weight.grad == 7).all()
    assert net.first.weight.grad is None
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(versions, net.buffers(), strict=True))
    assert list(net.second._forward_hooks) == [handle.id]
    assert not any(m._forward_hooks for m in net.modules() if m is not net.second)
    assert not any(m._forward_pre_hooks for m in net.modules())
    # A network in training is explained as in evaluation, where dropout and batches play no part.
    handle.remove()
    net.eval()
    np.testing.assert_allclose(run(name, net, x, 1).map, hooked.map, rtol=2e-3, atol=2e-6)
    assert calls


@CASES
def test_the_answer_is_the_networks(name: str) -> None:
    net, x = net_of(), images()
    with torch.no_grad():
        outputs = net(x.clone())
    found = run(name, net, x)
    np.testing.assert_array_equal(found.target, outputs.argmax(1))
    for of, scores in (("logit", outputs), ("probability", outputs.softmax(1))):
        asked = run(name, net, x, 2, of=of)
        assert asked.of == of
        np.testing.assert_allclose(asked.score, scores[:, 2], rtol=1e-5)
    with pytest.raises(InputError, match="'logit' or of the 'probability'"):
        run(name, net, x, of="odds")


@CASES
@pytest.mark.parametrize("channels", [1, 6])
def test_grey_and_six_channels(name: str, channels: int) -> None:
    found = run(name, net_of(channels), images(1, channels), 0)
    assert found.map.shape == (1, 18, 13)
    assert np.abs(found.details.get("raw", found.map)).max() > 0


@CASES
def test_series(name: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv1d(2, 6, 3, padding=2, dilation=2), nn.ReLU(), nn.Conv1d(6, 4, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(4 * 28, 3),
    )  # fmt: skip
    series = torch.randn(2, 2, 30, generator=torch.Generator().manual_seed(0))
    found = run(name, net, series, [0, 2])
    assert found.map.shape == (2, 30)
    assert np.abs(found.map).max() > 0
    alone = run(name, net, series[1], 2)
    assert alone.map.shape == (30,)
    np.testing.assert_allclose(alone.map, found.map[1], rtol=2e-3, atol=2e-6)


@CASES
@pytest.mark.parametrize(
    ("spoil", "target", "said"),
    [
        (lambda x: x, 4, "Target 4: the network has 4 outputs, 0 to 3"),
        (lambda x: x, -1, "Target -1"),
        (lambda x: x, [0, 1], r"Targets of shape \(2\) for 3 image"),
        (lambda x: x, 1.5, "numbers of classes"),
        (lambda x: x, True, "not True or False"),
        (lambda x: x, [], "numbers of classes"),
        (lambda x: x.index_fill(3, torch.tensor(2), float("nan")), 0, "NaN or infinity, first at"),
        (lambda x: x.index_fill(1, torch.tensor(0), float("inf")), 0, "NaN or infinity"),
        (lambda x: (x * 50).to(torch.uint8), 0, "these are uint8"),
        (lambda x: x[:0], 0, "Images of shape"),
        (lambda x: x[0, 0, 0], 0, "Images of shape"),
        (lambda x: x[:, :2], 0, "Net cannot take images of shape"),
    ],
)
def test_bad_input_is_one_clear_error(
    name: str, spoil: Callable[[Tensor], Tensor], target: object, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        run(name, net_of(), spoil(images()), target)


class Odd(nn.Module):
    """Gives something that is no ``(n, classes)``."""

    def __init__(self, give: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.give = give

    def forward(self, x: Tensor) -> Any:
        return self.give(x)


@CASES
def test_outputs_that_are_no_classes(name: str) -> None:
    for give, said in (
        (lambda x: x, "explanations need"),
        (lambda x: (x, x), "gives a tuple"),
        (lambda x: x.mean((1, 2, 3)), "explanations need"),
    ):
        with pytest.raises(InputError, match=said):
            run(name, Odd(give), images())


@CASES
def test_arrays_and_double_precision(name: str) -> None:
    net, x = net_of(), images()
    wanted = run(name, net, x, 1).map
    np.testing.assert_array_equal(run(name, net, x.numpy(), 1).map, wanted)
    double = run(name, net_of().double(), x.double(), 1)
    np.testing.assert_allclose(double.map, wanted, rtol=2e-2, atol=2e-5)


@CASES
def test_a_result_cannot_be_changed(name: str) -> None:
    found = run(name, net_of(), images(1), 0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.score = np.zeros(1)  # type: ignore[misc]


@CASES
def test_within_modes_of_the_caller(name: str) -> None:
    net, x = net_of(), images()
    wanted = run(name, net, x, 1).map
    with torch.no_grad():
        np.testing.assert_array_equal(run(name, net, x, 1).map, wanted)
    with torch.inference_mode():
        np.testing.assert_array_equal(run(name, net, images(), torch.tensor(1)).map, wanted)
        made_here = net_of()
        np.testing.assert_array_equal(run(name, made_here, images(), 1).map, wanted)
    np.testing.assert_array_equal(run(name, made_here, x, 1).map, wanted)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_allclose(run(name, net, x, 1).map, wanted, rtol=1e-5, atol=1e-7)
    assert made_here.first.weight.is_inference()


@CASES
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    net, x = net_of(), images()
    wanted = run(name, net, x, [0, 1, 2])
    found = run(name, net.to(dtype), x, [0, 1, 2])
    assert found.map.dtype == np.float32
    assert found.score.dtype == np.float64
    np.testing.assert_allclose(found.score, wanted.score, atol=0.02)
    for a, b in zip(found.map, wanted.map, strict=True):
        # LIME weighs small differences, of which bfloat16 leaves little.
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > (0.95 if dtype == torch.float16 else 0.7)
    assert all(each.dtype == dtype for each in net.parameters())


class Counting(nn.Module):
    """Its buffers change in every pass: one in place, one by another."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("within", torch.zeros(1))
        self.register_buffer("anew", torch.zeros(1))
        self.within: Tensor
        self.anew: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.within += 1
        self.anew = self.anew + 1
        answer: Tensor = self.net(x)
        return answer


@CASES
def test_buffers_that_every_pass_changes(name: str) -> None:
    net, x = Counting(net_of()), images()
    anew = net.anew
    run(name, net, x, 1)
    assert net.anew is anew
    assert net.anew == net.within == 0


@CASES
def test_left_as_found_after_a_failure(name: str) -> None:
    class Fails(Counting):
        def forward(self, x: Tensor) -> Tensor:
            answer = super().forward(x)
            # The first look goes well.
            return answer if self.within <= 1 else answer.new_zeros(0)[9]

    net = Fails(net_of())
    net.train()
    torch.manual_seed(6)
    wanted = torch.rand(2)
    torch.manual_seed(6)
    with pytest.raises(Exception, match=r"."):
        run(name, net, images(), 1)
    assert torch.equal(torch.rand(2), wanted)
    assert all(module.training for module in net.modules())
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert net.anew == net.within == 0
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


@CASES
def test_details_of_two_images_are_those_of_each(name: str) -> None:
    net, x = net_of(), images(2)
    both = run(name, net, x, [[0, 1, 2], [1, 2, 3]])
    alone = [run(name, net, x[place], both.target[place]) for place in range(2)]
    for place in range(2):
        taken = both[place].details
        assert taken.keys() == alone[place].details.keys()
        for key, value in alone[place].details.items():
            assert np.shape(taken[key]) == np.shape(value), key
            if isinstance(value, np.ndarray):
                np.testing.assert_allclose(taken[key], value, rtol=2e-3, atol=1e-5, err_msg=key)


@CASES
def test_an_image_that_is_all_the_same(name: str) -> None:
    if name == "lime":
        segments = np.arange(18 * 13).reshape(18, 13) // 60
        found = explain.lime(net_of(), torch.ones(3, 18, 13), 0, segments=segments, samples=40)
    else:
        found = run(name, net_of(), torch.ones(3, 18, 13), 0)
    assert np.isfinite(found.map).all()
