"""LeNet-5, AlexNet, VGG, SqueezeNet, MobileNetV2 and the founding nets against their papers."""

from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from convscope.errors import InputError
from convscope.nets.alexnet import AlexNet, AlexNet2012
from convscope.nets.founding import FcNN, SmallCNN
from convscope.nets.lenet import C3_READS, LeNet5, LeNet5Modern, digit_codes, random_codes
from convscope.nets.mobilenet import MobileNetV2
from convscope.nets.squeezenet import SqueezeNet, squeezenet1_0, squeezenet1_1
from convscope.nets.vgg import (
    VGG,
    vgg11,
    vgg11_bn,
    vgg13,
    vgg13_bn,
    vgg16,
    vgg16_bn,
    vgg19,
    vgg19_bn,
)


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """Shapes without memory: enough for counts, sizes and refusals."""
    with torch.device("meta"):
        return build().eval()


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def stage_shapes(net: nn.Module, *shape: int) -> dict[str, tuple[int, ...]]:
    """Shapes without the batch, of all stages, on meta."""
    shapes: dict[str, tuple[int, ...]] = {}
    handles = [
        net.get_submodule(stage.module).register_forward_hook(
            lambda _module, _x, out, name=stage.name: shapes.update({name: tuple(out.shape[1:])})
        )
        for stage in net.stages
    ]
    net(torch.empty(1, *shape, device="meta"))
    for handle in handles:
        handle.remove()
    assert list(shapes) == [stage.name for stage in net.stages]  # in the order of the data
    assert [shapes[stage.name][0] for stage in net.stages] == [s.channels for s in net.stages]
    return shapes


# ----------------------------------------------------------------------------- sizes taken


@pytest.mark.parametrize(
    ("build", "channels", "size"),
    [
        (LeNet5, 1, 32),
        (LeNet5Modern, 1, 32),
        (AlexNet2012, 3, 224),
        (FcNN, 3, 48),
        (SmallCNN, 3, 48),
    ],
)
def test_a_net_of_one_size_takes_no_other(
    build: Callable[[], nn.Module], channels: int, size: int
) -> None:
    net = on_meta(build)
    assert net(torch.empty(2, channels, size, size, device="meta")).dim() == 2
    for wrong in [(size - 1, size - 1), (size + 1, size + 1), (size, size - 1), (size - 1, size)]:
        with pytest.raises(InputError, match=f"takes .n, {channels}, {size}, {size}.*received"):
            net(torch.empty(2, channels, *wrong, device="meta"))
    with pytest.raises(InputError, match=f"received .n, {channels + 1}, "):
        net(torch.empty(2, channels + 1, size, size, device="meta"))


@pytest.mark.parametrize(
    ("build", "least"),
    [
        (AlexNet, 63),
        (vgg11, 32),
        (vgg19_bn, 32),
        (squeezenet1_0, 21),
        (squeezenet1_1, 17),
        (MobileNetV2, 1),
    ],
)
def test_the_smallest_size_is_the_smallest_that_works(
    build: Callable[[], nn.Module], least: int
) -> None:
    net = on_meta(build)
    for size in [(least, least), (least + 50, least), (300, 260)]:
        assert net(torch.empty(1, 3, *size, device="meta")).shape == (1, 1000)
    for size in [(least - 1, least - 1), (least, least - 1), (least - 1, least)]:
        with pytest.raises(InputError, match=f"height and width of {least} or more; received"):
            net(torch.empty(1, 3, *size, device="meta"))
        with pytest.raises((RuntimeError, IndexError)):  # and not out of caution
            net.features(torch.empty(1, 3, *size, device="meta"))
    with pytest.raises(InputError, match=r"received \(n, 1, 300, 300\)"):
        net(torch.empty(1, 1, 300, 300, device="meta"))


@pytest.mark.parametrize(
    ("build", "size"),
    [
        (LeNet5, 32),
        (LeNet5Modern, 32),
        (AlexNet2012, 224),
        (AlexNet, 64),
        (VGG, 32),
        (SqueezeNet, 32),
        (MobileNetV2, 32),
        (FcNN, 48),
        (SmallCNN, 48),
    ],
)
@pytest.mark.parametrize("in_channels", [1, 3, 7])
def test_other_channels_and_classes_change_the_head_and_the_first_layer_only(
    build: Callable[..., nn.Module], size: int, in_channels: int
) -> None:
    net, other = (on_meta(lambda n=n: build(n, in_channels)) for n in (5, 6))
    assert net(torch.empty(2, in_channels, size, size, device="meta")).shape == (2, 5)
    changed = {
        name.rsplit(".", 1)[0]
        for name, tensor in net.state_dict().items()
        if tensor.shape != other.state_dict()[name].shape
    }
    assert changed == set(build.head)


# ----------------------------------------------------------------------------- LeNet-5


def test_lenet5_has_the_papers_parameters_layer_by_layer() -> None:
    net = LeNet5()
    of_layer = {name: count(net.features.get_submodule(name)) for name in LENET_LAYERS}
    assert list(of_layer.values()) == [156, 12, 1516, 32, 48_120, 10_164]
    assert count(net) == 60_000
    assert count(net.output) == 0


LENET_LAYERS = ("c1", "s2", "c3", "s4", "c5", "f6")


def test_lenet5_has_the_papers_maps_and_connections() -> None:
    net = on_meta(LeNet5)
    shapes = stage_shapes(net, 1, 32, 32)
    assert shapes == {
        "c1": (6, 28, 28),
        "s2": (6, 14, 14),
        "c3": (16, 10, 10),
        "s4": (16, 5, 5),
        "c5": (120,),
        "f6": (84,),
    }
    # A convolution's parameters are used once per position; a sub-sampling unit has four inputs
    # and a bias.
    assert count(net.features.c1) * 28 * 28 == 122_304
    assert shapes["s2"][0] * 14 * 14 * (2 * 2 + 1) == 5_880
    assert count(net.features.c3) * 10 * 10 == 151_600
    assert shapes["s4"][0] * 5 * 5 * (2 * 2 + 1) == 2_000


def test_c3_reads_what_table_i_says() -> None:
    """The table as printed: a row per map of S2, a column per map of C3; seen by the gradient."""
    table = [
        "X...XXX..XXXX.XX",
        "XX...XXX..XXXX.X",
        "XXX...XXX..X.XXX",
        ".XXX..XXXX..X.XX",
        "..XXX..XXXX.XX.X",
        "...XXX..XXXX.XXX",
    ]
    c3 = LeNet5().features.c3
    for column in range(16):
        x = torch.randn(1, 6, 5, 5, requires_grad=True)
        c3(x)[0, column].sum().backward()
        assert x.grad is not None
        read = (x.grad != 0).any(-1).any(-1)[0].tolist()
        assert read == [row[column] == "X" for row in table]
    assert sorted(map(len, C3_READS)) == [3] * 6 + [4] * 9 + [6]


def test_sub_sampling_and_squashing_by_hand() -> None:
    net = LeNet5()
    s2, squash = net.features.s2, net.features.s2_squash
    with torch.no_grad():
        s2.weight.copy_(torch.arange(6.0).view(6, 1, 1))
        s2.bias.fill_(0.5)
    x = torch.zeros(1, 6, 4, 4)
    x[0, :, 0, 2], x[0, :, 1, 3] = 1.0, 2.0  # both in the second window of the first row
    out = s2(x)
    assert out[0, :, 0, 1].tolist() == [0.5, 3.5, 6.5, 9.5, 12.5, 15.5]
    assert out[0, :, 0, 0].tolist() == [0.5] * 6
    # Appendix A: f(1) = 1 and f(-1) = -1, slope at the origin 1.7159 * 2/3.
    a = torch.tensor([1.0, -1.0, 0.0, 100.0], requires_grad=True)
    torch.testing.assert_close(squash(a), torch.tensor([1.0, -1.0, 0.0, 1.7159]), atol=1e-4, rtol=0)
    (slope,) = torch.autograd.grad(squash(a).sum(), a)
    assert slope[2].item() == pytest.approx(1.143933, abs=1e-5)


def test_lenet5_is_the_chain_of_its_layers() -> None:
    """One image, by elementary operations on the weights."""
    torch.manual_seed(0)
    net = LeNet5()
    layers = net.features

    def f(a: Tensor) -> Tensor:
        return 1.7159 * (torch.exp(4 / 3 * a) - 1) / (torch.exp(4 / 3 * a) + 1)

    def pooled(x: Tensor, sampling: nn.Module) -> Tensor:
        quarters = [x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]
        return f(sampling.weight * sum(quarters) + sampling.bias)

    x = torch.rand(1, 1, 32, 32)
    s2 = pooled(f(F.conv2d(x, layers.c1.weight, layers.c1.bias)), layers.s2)
    dense = torch.zeros(16, 6, 5, 5)
    for map_, (reads, conv) in enumerate(zip(C3_READS, layers.c3.maps, strict=True)):
        dense[map_, list(reads)] = conv.weight[0].detach()
    bias = torch.cat([conv.bias for conv in layers.c3.maps])
    s4 = pooled(f(F.conv2d(s2, dense, bias)), layers.s4)
    c5 = f(s4.flatten() @ layers.c5.weight.flatten(1).T + layers.c5.bias)
    f6 = f(c5 @ layers.f6.weight.T + layers.f6.bias)
    distance = torch.stack([((f6 - code) ** 2).sum() for code in digit_codes()])
    torch.testing.assert_close(net(x)[0], -distance, rtol=1e-4, atol=1e-3)


def test_digit_codes_are_told_apart_and_answer_for_themselves() -> None:
    codes = digit_codes()
    assert codes.shape == (10, 84)
    assert set(codes.flatten().tolist()) == {-1.0, 1.0}
    differing = [int((codes[a] != codes[b]).sum()) for a, b in combinations(range(10), 2)]
    assert min(differing) >= 10  # 3 and 8 are the nearest: similar shapes, similar codes
    logits = LeNet5().output(codes)
    assert torch.equal(logits.diagonal(), torch.zeros(10))
    # Each pixel that differs is off by 2, whose square is 4.
    assert [int(-logits[a, b]) for a, b in combinations(range(10), 2)] == [4 * n for n in differing]


def test_cross_entropy_of_the_logits_is_the_papers_criterion() -> None:
    """Equation 9 without its constant: y_D + log(sum_i exp(-y_i)), y the squared distances."""
    net = LeNet5()
    f6 = digit_codes()[[3]] + 0.1 * torch.randn(1, 84)
    y = torch.stack([((f6[0] - code) ** 2).sum() for code in digit_codes()])
    wanted = y[8] + torch.log(torch.exp(-y.double()).sum()).float()
    got = F.cross_entropy(net.output(f6), torch.tensor([8]))
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-3)


def test_codes_of_other_classes_are_random_by_their_seed() -> None:
    state = torch.random.get_rng_state()
    codes = random_codes(26, 7)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert codes.shape == (26, 84)
    assert set(codes.flatten().tolist()) == {-1.0, 1.0}
    assert abs(float(codes.mean())) < 4 / (26 * 84) ** 0.5  # four standard errors
    assert torch.equal(LeNet5(26, codes_seed=7).output.codes, codes)
    assert not torch.equal(LeNet5(26, codes_seed=8).output.codes, codes)
    assert torch.equal(LeNet5(10, codes_seed=7).output.codes, digit_codes())


def test_lenet5_weights_start_within_the_papers_bounds() -> None:
    torch.manual_seed(0)
    layers = LeNet5().features
    bounds = {"c1": 2.4 / 25, "s2": 2.4 / 4, "s4": 2.4 / 4, "c5": 2.4 / 400, "f6": 2.4 / 120}
    found = {name: layers.get_submodule(name) for name in bounds}
    found |= {f"c3.{map_}": conv for map_, conv in enumerate(layers.c3.maps)}
    bounds |= {f"c3.{map_}": 2.4 / (25 * len(reads)) for map_, reads in enumerate(C3_READS)}
    for name, module in found.items():
        values = torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
        assert 0.5 * bounds[name] < float(values.abs().max()) <= bounds[name], name
        assert float(values.min()) < 0 < float(values.max())


def test_modern_lenet5_has_the_well_known_number_of_parameters() -> None:
    assert count(LeNet5Modern()) == 61_706
    shapes = stage_shapes(on_meta(LeNet5Modern), 1, 32, 32)
    assert list(shapes.values()) == [
        (6, 28, 28),
        (6, 14, 14),
        (16, 10, 10),
        (16, 5, 5),
        (120,),
        (84,),
    ]


# ----------------------------------------------------------------------------- AlexNet


@pytest.fixture(scope="module")
def alexnet_2012() -> AlexNet2012:
    torch.manual_seed(0)
    return AlexNet2012().eval()


def test_alexnet_2012_has_the_papers_units_and_parameters() -> None:
    net = on_meta(AlexNet2012)
    assert count(net) == 60_965_224
    # By hand, both towers: kernel x kernel x channels read x kernels + biases.
    of_layer = {
        "conv1": 11 * 11 * 3 * 96 + 96,
        "conv2": 5 * 5 * 48 * 256 + 256,
        "conv3": 3 * 3 * 256 * 384 + 384,
        "conv4": 3 * 3 * 192 * 384 + 384,
        "conv5": 3 * 3 * 192 * 256 + 256,
        "fc6": 6 * 6 * 256 * 4096 + 4096,
        "fc7": 4096 * 4096 + 4096,
    }
    for name, wanted in of_layer.items():
        assert sum(count(tower.get_submodule(name)) for tower in net.towers) == wanted, name
    assert count(net.fc8) == 4096 * 1000 + 1000
    shapes = stage_shapes(net, 3, 224, 224)
    units = {name: torch.Size(shape).numel() for name, shape in shapes.items()}
    # Figure 2: 186,624 – 64,896 – 64,896 – 43,264 – 4096 – 4096. (Its 253,440 for conv1 is not
    # what its own 55 x 55 x 96 makes.)
    assert shapes["conv1_gpu1"] == shapes["conv1_gpu2"] == (48, 55, 55)
    for name, wanted in zip(
        ("conv2", "conv3", "conv4", "conv5"), (186_624, 64_896, 64_896, 43_264), strict=True
    ):
        assert units[f"{name}_gpu1"] + units[f"{name}_gpu2"] == wanted
    assert units["fc6"] == units["fc7"] == 4096
    assert shapes["pool2"] == (256, 13, 13)
    assert shapes["pool5"] == (256, 6, 6)


def test_alexnet_2012_starts_as_the_paper_says(alexnet_2012: AlexNet2012) -> None:
    of_one = ("conv2", "conv4", "conv5", "fc6", "fc7")
    for tower in alexnet_2012.towers:
        for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"):
            layer = tower.get_submodule(name)
            assert float(layer.weight.detach().std()) == pytest.approx(0.01, rel=0.02)
            assert (layer.bias == (1.0 if name in of_one else 0.0)).all()
    assert (alexnet_2012.fc8.bias == 0).all()
    assert float(alexnet_2012.fc8.weight.detach().std()) == pytest.approx(0.01, rel=0.02)
    assert not torch.equal(alexnet_2012.towers[0].conv1.weight, alexnet_2012.towers[1].conv1.weight)


def _paper_response_norm(x: Tensor) -> Tensor:
    """Section 3.3, kernel by kernel."""
    kernels = x.shape[1]
    out = torch.empty_like(x)
    for i in range(kernels):
        adjacent = x[:, max(0, i - 2) : min(kernels - 1, i + 2) + 1]
        out[:, i] = x[:, i] / (2 + 1e-4 * (adjacent**2).sum(1)) ** 0.75
    return out


def test_towers_are_one_network_of_grouped_convolutions(alexnet_2012: AlexNet2012) -> None:
    """Scaled weights, so that the normalisation is far from the identity."""
    one, two = alexnet_2012.towers

    def conv(x: Tensor, name: str, groups: int, **options: int) -> Tensor:
        pair = [tower.get_submodule(name) for tower in (one, two)]
        weight, bias = (torch.cat([getattr(m, kind) for m in pair]) for kind in ("weight", "bias"))
        return F.relu(F.conv2d(x, weight, bias, groups=groups, **options))

    def linear(x: Tensor, name: str) -> Tensor:
        pair = [tower.get_submodule(name) for tower in (one, two)]
        return F.relu(torch.cat([x @ m.weight.T + m.bias for m in pair], 1))

    def normed(x: Tensor) -> Tensor:
        return torch.cat([_paper_response_norm(half) for half in x.chunk(2, 1)], 1)

    torch.manual_seed(1)
    x = 1000 * torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        a = conv(x, "conv1", 1, stride=4, padding=2)
        assert float((normed(a) / a.clamp(min=1e-9)).min()) < 0.3
        b = conv(F.max_pool2d(normed(a), 3, 2), "conv2", 2, padding=2)
        c = conv(F.max_pool2d(normed(b), 3, 2), "conv3", 1, padding=1)
        d = conv(conv(c, "conv4", 2, padding=1), "conv5", 2, padding=1)
        e = linear(linear(F.max_pool2d(d, 3, 2).flatten(1), "fc6"), "fc7")
        wanted = e @ alexnet_2012.fc8.weight.T + alexnet_2012.fc8.bias
        got = alexnet_2012(x)
        assert float(wanted.std()) > 0.01
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4)


def test_dropout_is_after_both_hidden_layers_of_2012(alexnet_2012: AlexNet2012) -> None:
    torch.manual_seed(2)
    at_zero: dict[str, list[float]] = {"fc6": [], "fc7": []}
    handles = [
        alexnet_2012.get_submodule(stage.module).register_forward_hook(
            lambda _module, _x, out, name=stage.name: at_zero[name].append(
                float((out == 0).float().mean())
            )
        )
        for stage in alexnet_2012.stages
        if stage.name in at_zero
    ]
    x = torch.randn(1, 3, 224, 224)
    try:
        with torch.inference_mode():
            alexnet_2012(x)
            alexnet_2012.train()(x)
    finally:
        alexnet_2012.eval()
        for handle in handles:
            handle.remove()
    for kept, dropped in at_zero.values():  # with biases of 1, few units are at 0 of themselves
        assert kept < 0.2
        assert 0.45 < dropped < 0.65


def test_the_towers_lie_where_they_are_told() -> None:
    net = AlexNet2012(2, devices=("cpu", "meta"))
    assert {p.device.type for p in net.towers[0].parameters()} == {"cpu"}
    assert {p.device.type for p in net.towers[1].parameters()} == {"meta"}
    assert net.fc8.weight.device.type == "cpu"


class _Crossings(TorchDispatchMode):
    """What passes from one device to another."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str, tuple[int, ...]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default:
            self.seen.append((str(args[0].device), str(out.device), tuple(out.shape[1:])))
        return out


def test_devices_exchange_only_where_the_papers_gpus_do() -> None:
    """On two pretended GPUs, where mixing tensors of two devices is an error, as on real ones."""
    net = on_meta(lambda: AlexNet2012(devices=("meta", "meta")))
    with FakeTensorMode(allow_non_fake_inputs=True), _Crossings() as crossings:

        def placed(name: str, p: Tensor) -> Tensor:
            device = "cuda:1" if name.startswith("towers.1.") else "cuda:0"
            return torch.empty(p.shape, device=device)

        weights = {name: placed(name, p) for name, p in net.named_parameters()}
        x = torch.empty(4, 3, 224, 224, device="cuda:0")
        logits = torch.func.functional_call(net, weights, (x,))
    assert isinstance(logits, FakeTensor)
    assert str(logits.device) == "cuda:0"
    there, back = ("cuda:0", "cuda:1"), ("cuda:1", "cuda:0")
    assert sorted(crossings.seen) == sorted(
        [
            (*there, (3, 224, 224)),  # the photos
            (*there, (128, 13, 13)),  # before conv3
            (*back, (128, 13, 13)),
            (*there, (128, 6, 6)),  # before fc6
            (*back, (128, 6, 6)),
            (*there, (2048,)),  # before fc7
            (*back, (2048,)),
            (*back, (2048,)),  # before fc8
        ]
    )


@pytest.mark.parametrize("moved", [False, True])
def test_placement_does_not_change_the_function(moved: bool, alexnet_2012: AlexNet2012) -> None:
    second = "cuda" if torch.cuda.is_available() else "cpu"
    net = AlexNet2012(devices=("cpu", second)).eval()
    net.load_state_dict(alexnet_2012.state_dict())
    if moved:  # as a whole: the exchange follows the weights
        net.to("cpu")
    x = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(net(x), alexnet_2012(x), rtol=1e-3, atol=1e-4)


def test_one_tower_alexnet_is_torchvisions() -> None:
    net = on_meta(AlexNet)
    assert count(net) == 61_100_840
    layers = [f"features.{n}" for n in (0, 3, 6, 8, 10)] + [f"classifier.{n}" for n in (1, 4, 6)]
    assert list(net.state_dict()) == [f"{name}.{kind}" for name in layers for kind in KINDS]
    assert stage_shapes(net, 3, 224, 224) == {
        "conv1": (64, 55, 55),
        "conv2": (192, 27, 27),
        "conv3": (384, 13, 13),
        "conv4": (256, 13, 13),
        "conv5": (256, 13, 13),
        "pool5": (256, 6, 6),
        "fc6": (4096,),
        "fc7": (4096,),
    }


KINDS = ("weight", "bias")


# ----------------------------------------------------------------------------- VGG


@pytest.mark.parametrize(
    ("build", "parameters", "millions"),
    [
        (vgg11, 132_863_336, 133),
        (vgg13, 133_047_848, 133),
        (vgg16, 138_357_544, 138),
        (vgg19, 143_667_240, 144),
        (vgg11_bn, 132_868_840, None),
        (vgg13_bn, 133_053_736, None),
        (vgg16_bn, 138_365_992, None),
        (vgg19_bn, 143_678_248, None),
    ],
)
def test_vgg_has_the_parameters_of_table_2(
    build: Callable[[], VGG], parameters: int, millions: int | None
) -> None:
    net = on_meta(build)
    assert count(net) == parameters
    assert millions is None or round(count(net) / 1e6) == millions
    assert stage_shapes(net, 3, 224, 224) == {
        "pool1": (64, 112, 112),
        "pool2": (128, 56, 56),
        "pool3": (256, 28, 28),
        "pool4": (512, 14, 14),
        "pool5": (512, 7, 7),
        "fc1": (4096,),
        "fc2": (4096,),
    }


@pytest.mark.parametrize(
    ("build", "layers"),
    [
        (vgg11, "C.._C.._C.C.._C.C.._C.C.."),
        (vgg16, "C.C.._C.C.._C.C.C.._C.C.C.._C.C.C.."),
        (vgg16_bn, "CB.CB.._CB.CB.._CB.CB.CB.._CB.CB.CB.._CB.CB.CB.."),
    ],
)
def test_vgg_keys_are_torchvisions(build: Callable[[], VGG], layers: str) -> None:
    """A letter per layer of ``features``: convolution, batch norm, others without weights."""
    places = list(enumerate(layers.replace("_", "")))
    wanted = {f"features.{n}.{kind}" for n, letter in places if letter in "CB" for kind in KINDS}
    wanted |= {
        f"features.{n}.{kind}"
        for n, letter in places
        if letter == "B"
        for kind in ("running_mean", "running_var", "num_batches_tracked")
    }
    wanted |= {f"classifier.{n}.{kind}" for n in (0, 3, 6) for kind in KINDS}
    net = on_meta(build)
    assert set(net.state_dict()) == wanted
    assert len(net.features) == len(places)


def test_vgg_starts_by_glorot_and_gives_hidden_units_after_relu() -> None:
    torch.manual_seed(0)
    net = vgg11(2, 1).eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            places = module.weight[0, 0].numel()
            fans = (module.weight.shape[0] + module.weight.shape[1]) * places
            bound = (6 / fans) ** 0.5
            largest = float(module.weight.detach().abs().max())
            assert 0.9 * bound < largest <= bound * (1 + 1e-6)
            assert (module.bias == 0).all()
    seen = []
    for stage in net.stages[-2:]:
        assert isinstance(net.get_submodule(stage.module), nn.ReLU)
        net.get_submodule(stage.module).register_forward_hook(lambda _m, _x, out: seen.append(out))
    with torch.inference_mode():
        net(torch.randn(1, 1, 32, 32))
    for values in seen:
        assert float(values.min()) == 0
        assert 0.1 < float((values > 0).float().mean()) < 0.9


# ----------------------------------------------------------------------------- SqueezeNet


def test_squeezenet_has_the_sizes_and_parameters_of_table_1() -> None:
    net = on_meta(squeezenet1_0)
    of_layer = [count(net.get_submodule(stage.module)) for stage in net.stages[1:]]
    assert count(net.features[0]) == 14_208
    assert of_layer == [11_920, 12_432, 45_344, 49_440, 104_880, 111_024, 188_992, 197_184]
    assert count(net.classifier) == 513_000
    assert count(net) == 1_248_424
    # The table's sizes are those of a 227 x 227 input, which the authors' files have; it says 224.
    assert stage_shapes(net, 3, 227, 227) == {
        "conv1": (96, 111, 111),
        "fire2": (128, 55, 55),
        "fire3": (128, 55, 55),
        "fire4": (256, 55, 55),
        "fire5": (256, 27, 27),
        "fire6": (384, 27, 27),
        "fire7": (384, 27, 27),
        "fire8": (512, 27, 27),
        "fire9": (512, 13, 13),
    }


def test_squeezenet_1_1_pools_earlier() -> None:
    net = on_meta(squeezenet1_1)
    assert count(net) == 1_235_496
    sizes = {name: shape[1] for name, shape in stage_shapes(net, 3, 227, 227).items()}
    fires = {f"fire{n}": size for n, size in enumerate([56] * 2 + [28] * 2 + [14] * 4, 2)}
    assert sizes == {"conv1": 113} | fires


@pytest.mark.parametrize(
    ("build", "fires"),
    [
        (squeezenet1_0, (3, 4, 5, 7, 8, 9, 10, 12)),
        (squeezenet1_1, (3, 4, 6, 7, 9, 10, 11, 12)),
    ],
)
def test_squeezenet_keys_are_torchvisions(
    build: Callable[[], SqueezeNet], fires: tuple[int, ...]
) -> None:
    layers = ["features.0", "classifier.1"]
    layers += [
        f"features.{n}.{part}" for n in fires for part in ("squeeze", "expand1x1", "expand3x3")
    ]
    wanted = {f"{name}.{kind}" for name in layers for kind in KINDS}
    assert set(on_meta(build).state_dict()) == wanted


def test_squeezenet_starts_as_the_authors_files_and_averages_its_logits() -> None:
    torch.manual_seed(0)
    net = squeezenet1_1(200, 1).eval()
    last = net.classifier[1]
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.in_channels * module.kernel_size[0] ** 2
            std = 0.01 if module is last else (1 / fan_in) ** 0.5
            assert float(module.weight.detach().std()) == pytest.approx(std, rel=0.15)
            assert (module.bias == 0).all()
    x = torch.randn(2, 1, 40, 52)
    with torch.inference_mode():
        features = net.features(x)
        by_hand = torch.einsum("nchw,kc->nkhw", features, last.weight[:, :, 0, 0])
        torch.testing.assert_close(net(x), by_hand.clamp(min=0).mean((2, 3)))


# ----------------------------------------------------------------------------- MobileNetV2


def test_mobilenet_stages_are_the_rows_of_table_2() -> None:
    shapes = stage_shapes(on_meta(MobileNetV2), 3, 224, 224)
    assert shapes == {
        "conv1": (32, 112, 112),
        "bottleneck1": (16, 112, 112),
        "bottleneck2": (24, 56, 56),
        "bottleneck3": (32, 28, 28),
        "bottleneck4": (64, 14, 14),
        "bottleneck5": (96, 14, 14),
        "bottleneck6": (160, 7, 7),
        "bottleneck7": (320, 7, 7),
        "conv2": (1280, 7, 7),
    }
    assert [224 // stage.stride for stage in MobileNetV2(2).stages] == [
        shape[1] for shape in shapes.values()
    ]


# ----------------------------------------------------------------------------- founding nets


def test_founding_stages_are_their_layers() -> None:
    assert stage_shapes(on_meta(FcNN), 3, 48, 48) == {"fc1": (400,), "fc2": (500,), "fc3": (200,)}
    assert stage_shapes(on_meta(SmallCNN), 3, 48, 48) == {
        "conv1": (15, 48, 48),
        "conv2": (15, 48, 48),
        "pool2": (15, 24, 24),
        "conv3": (30, 24, 24),
        "conv4": (30, 24, 24),
        "pool4": (30, 6, 6),
        "fc1": (300,),
    }
    assert on_meta(FcNN)(torch.empty(1, 3, 48, 48, device="meta")).shape == (1, 8)
    for net in (FcNN(2), SmallCNN(2)):
        for stage in net.stages:
            kind = nn.MaxPool2d if stage.name.startswith("pool") else nn.ReLU
            assert isinstance(net.get_submodule(stage.module), kind)
