"""The networks against their papers' figures, and their fast forms against themselves."""

import numpy as np
import pytest
import torch
from torch import nn

from convscope.errors import InputError
from convscope.nets.catalog import NETS, build_net, net_spec
from convscope.nets.founding import FcNN, SmallCNN, keras_parameter_count
from convscope.nets.inference import FusedConv2d, fuse, fused_stages, network_logits, prepare
from convscope.nets.mobilenet import MobileNetV2
from learnable import settled_net


def test_founding_networks_have_the_parameters_of_the_exercise() -> None:
    assert keras_parameter_count(FcNN(8)) == 3_071_908
    assert keras_parameter_count(SmallCNN(8)) == 342_578
    # By hand: 6912x400 + 400x500 + 500x200 + 200x8 weights, a bias and four batch norm numbers
    # for each of the 1,100 hidden units, 8 biases.
    by_hand = 6912 * 400 + 400 * 500 + 500 * 200 + 200 * 8 + 1100 * (1 + 4) + 8
    assert keras_parameter_count(FcNN(8)) == by_hand


def test_mobilenet_has_the_published_number_of_parameters() -> None:
    assert sum(p.numel() for p in MobileNetV2(1000).parameters()) == 3_504_872


@pytest.mark.parametrize("name", ["fcnn", "small_cnn", "lenet5", "mobilenet_v2"])
def test_photos_become_one_logit_per_class(name: str) -> None:
    spec = NETS[name]
    net = build_net(spec, 3, seed=0).eval()
    photos = np.random.default_rng(0).integers(0, 256, (2, spec.size, spec.size, 3), np.uint8)
    logits = network_logits(net, spec.mean, spec.std)(photos)
    assert logits.shape == (2, 3)
    assert logits.dtype == np.float32
    one = network_logits(net, spec.mean, spec.std)(photos[:1])
    np.testing.assert_allclose(one, logits[:1], atol=1e-5)


def test_initial_weights_depend_on_the_seed_and_leave_the_callers_random_numbers() -> None:
    spec = net_spec("small_cnn")
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    a, b, c = (build_net(spec, 2, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["classifier.weight"], c["classifier.weight"])


def test_unknown_net_is_told_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'mobilenet_v2'"):
        net_spec("mobilnet_v2")


def test_prepare_is_the_textbook_normalisation() -> None:
    photos = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)
    x = prepare(photos, (0.5, 0.25, 0.1), (0.5, 0.2, 0.3))
    by_hand = [(0 - 0.5) / 0.5, (128 / 255 - 0.25) / 0.2, (1 - 0.1) / 0.3]
    torch.testing.assert_close(x.flatten(), torch.tensor(by_hand))
    assert prepare(
        torch.zeros(2, 8, 8, 3, dtype=torch.uint8), (0.5,) * 3, (0.5,) * 3
    ).is_contiguous(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def trained_like() -> MobileNetV2:
    return settled_net(4, side=64)


class Body(nn.Module):
    """Fused stages one after the other, the first few in float32 and the others in bfloat16."""

    def __init__(self, stages: nn.Sequential, kept: int) -> None:
        super().__init__()
        every = list(stages)
        self.exact = nn.Sequential(*fused_stages(every[:kept]))
        self.fast = nn.Sequential(*fused_stages(every[kept:], torch.bfloat16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.exact(x)
        return self.fast(x.to(torch.bfloat16)).float() if len(self.fast) else x


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_fused_network_is_the_same_function(trained_like: MobileNetV2, batch: int) -> None:
    x = torch.randn(batch, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    state = {name: tensor.clone() for name, tensor in trained_like.state_dict().items()}
    body = Body(trained_like.features, len(trained_like.features))
    with torch.inference_mode():
        # Weights are packed for the first batch's shape: other sizes must do as well.
        body(torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last))
        wanted, got = trained_like.features(x), body(x)
    assert float((got - wanted).norm() / wanted.norm()) < 1e-4
    assert not any(isinstance(module, nn.BatchNorm2d) for module in body.modules())
    assert all(torch.equal(state[k], v) for k, v in trained_like.state_dict().items())


def test_fused_network_is_the_same_function_without_the_fused_kernel(
    trained_like: MobileNetV2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convscope.nets.inference.fused_kernels_work", lambda _dtype: False)
    monkeypatch.setattr(FusedConv2d, "_one_call", None)
    x = torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        wanted = trained_like.features(x)
        got = Body(trained_like.features, len(trained_like.features))(x)
    assert float((got - wanted).norm() / wanted.norm()) < 1e-4


def test_bfloat16_stages_are_close_and_closer_with_more_float32(
    trained_like: MobileNetV2,
) -> None:
    x = torch.randn(4, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        exact = trained_like.features(x)
        distances = []
        for kept in (0, 10, 19):
            got = Body(trained_like.features, kept)(x)
            assert got.dtype == torch.float32
            distances.append(float((got - exact).norm() / exact.norm()))
    assert distances[0] < 0.5
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 1e-4


def test_fuse_leaves_a_shared_convolution_alone() -> None:
    """The output of the convolution is used twice: ReLU must not be folded into it."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.relu = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return self.relu(y) + y

    net = Twice().eval()
    x = torch.randn(1, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        torch.testing.assert_close(fuse(net)(x), net(x), rtol=1e-4, atol=1e-5)
