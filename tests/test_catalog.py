"""What every network of the catalogue must do, asked of each in turn."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from convscope.describing import describe
from convscope.errors import InputError
from convscope.geometry import trace
from convscope.nets.catalog import NETS, NetSpec, build_net
from convscope.nets.published import PUBLISHED
from numeric_fields import seen_inputs

# Those whose fully connected layers fix the size of the input.
EXACT = {"fcnn", "small_cnn", "lenet5", "lenet5_modern", "alexnet_2012", "highway"}
# Large ones are tried on smaller images, where they are the same code.
SMALL = 64
LARGER = {"googlenet_2014": 80}  # what its auxiliary heads need, in training
CLASSES = 5


def small_shape(spec: NetSpec) -> tuple[int, ...]:
    if spec.name in EXACT or spec.kind == "series":
        return spec.input
    side = LARGER.get(spec.name, SMALL)
    return (spec.input[0], side, side)


@lru_cache(maxsize=1)
def untrained(name: str) -> nn.Module:
    """In evaluation mode; logits are compared relative to the largest, which may be any size."""
    spec = NETS[name]
    return build_net(spec, CLASSES, seed=1, in_channels=spec.input[0]).eval()


def inputs(spec: NetSpec, n: int, seed: int = 0) -> Tensor:
    return torch.randn((n, *small_shape(spec)), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=NETS, scope="module")  # all tests of one network, then the next
def spec(request: pytest.FixtureRequest) -> Iterator[NetSpec]:
    yield NETS[request.param]


def test_the_catalogue_says_the_truth(spec: NetSpec) -> None:
    with torch.device("meta"):
        net = spec.build(spec.classes, spec.input[0])
    trainable = sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert trainable == spec.parameters
    assert spec.name in NETS
    assert len(spec.input) == (2 if spec.kind == "series" else 3)
    assert len(spec.about) <= 40  # one line of the table on 80 columns
    if spec.published is not None:
        assert spec.published is PUBLISHED[spec.name]
        assert (spec.mean, spec.std) == (spec.published.mean, spec.published.std)
        assert (spec.size, spec.resize) == (spec.published.size, spec.published.resize)


def test_all_published_weights_have_their_network() -> None:
    assert {name for name, spec in NETS.items() if spec.published} == set(PUBLISHED)


def test_forward_gives_finite_logits_and_one_is_as_many(spec: NetSpec) -> None:
    net = untrained(spec.name)
    x = inputs(spec, 3)
    with torch.inference_mode():
        logits = net(x)
        alone = torch.cat([net(x[i : i + 1]) for i in range(3)])
    assert logits.shape == (3, CLASSES)
    assert logits.isfinite().all()
    assert logits.std(0).max() > 1e-5 * logits.abs().max(), "the input makes no difference"
    assert (alone - logits).abs().max() <= 1e-4 * logits.abs().max()


def test_backward_reaches_every_parameter(spec: NetSpec) -> None:
    net = build_net(spec, CLASSES, seed=1, in_channels=spec.input[0]).train()
    for module in net.modules():
        if isinstance(module, nn.Dropout | nn.Dropout1d | nn.Dropout2d):
            module.p = 0.0
    torch.manual_seed(0)
    output = net(inputs(spec, 4))
    every = output if isinstance(output, tuple) else (output,)
    sum((one * torch.randn(one.shape)).sum() for one in every).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, f"{name} takes no part"
        assert parameter.grad.isfinite().all(), name


def test_the_state_goes_out_and_in(spec: NetSpec) -> None:
    net = untrained(spec.name)
    other = build_net(spec, CLASSES, seed=2, in_channels=spec.input[0]).eval()
    x = inputs(spec, 2)
    with torch.inference_mode():
        assert not torch.equal(other(x), net(x))
        other.load_state_dict(net.state_dict())
        assert torch.equal(other(x), net(x))


def test_it_can_be_traced_and_the_trace_is_the_same_function(spec: NetSpec) -> None:
    net = untrained(spec.name)
    traced = fx.symbolic_trace(net)
    x = inputs(spec, 2)
    with torch.inference_mode():
        torch.testing.assert_close(traced(x), net(x))


def test_describe_knows_every_layer(spec: NetSpec) -> None:
    found = describe(spec.name)
    assert found.input == spec.input
    named = sum(layer.parameters for layer in found.layers)
    assert found.parameters == spec.parameters >= named
    assert (found.parameters == named) == (not found.unused)
    assert found.untraced is None
    assert all(
        layer.receptive_field is not None for layer in found.layers if layer.kind != "parameter"
    )
    assert found.layers[-1].output == (spec.classes,)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_onnx_gives_the_same(spec: NetSpec, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    net = untrained(spec.name)
    x = inputs(spec, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own making
        torch.onnx.export(net, (x,), dynamo=True, verbose=False).save(tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "net.onnx", providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.inference_mode():
        wanted = net(x).numpy()
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


# Three times hundreds of MB otherwise; vgg11 stands for its family.
LIGHT = [n for n, spec in NETS.items() if spec.parameters < 50_000_000 or n in ("vgg11", "alexnet")]


@pytest.mark.parametrize("name", LIGHT)
def test_the_seed_decides_the_weights_alone(name: str) -> None:
    spec = NETS[name]
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, again, other = (
        build_net(spec, 3, seed, in_channels=spec.input[0]).state_dict() for seed in (1, 1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_other_channels_and_classes(spec: NetSpec, channels: int) -> None:
    with torch.device("meta"):
        net = spec.build(channels + 1, channels).eval()
        x = torch.zeros((2, channels, *small_shape(spec)[1:]))
        assert net(x).shape == (2, channels + 1)
        with pytest.raises(InputError, match=r"takes \(n, \d+, .* received \(n, \d+, "):
            net(torch.zeros((2, channels + 1, *small_shape(spec)[1:])))


def test_a_batch_without_its_dimension_is_refused(spec: NetSpec) -> None:
    with torch.device("meta"):
        net = spec.build(2, spec.input[0]).eval()
        with pytest.raises(InputError, match="received"):
            net(torch.zeros(spec.input))


def test_another_size_works_or_is_refused_in_one_line(spec: NetSpec) -> None:
    with torch.device("meta"):
        net = spec.build(4, spec.input[0]).eval()
        other = torch.zeros((1, spec.input[0], *(size + 6 for size in small_shape(spec)[1:])))
        if spec.name in EXACT:
            with pytest.raises(InputError, match=f"{spec.size}"):
                net(other)
        else:
            assert net(other).shape == (1, 4)


def test_stages_are_what_they_say(spec: NetSpec) -> None:
    with torch.device("meta"):
        net = spec.build(2, spec.input[0]).eval()
    assert len({stage.name for stage in net.stages}) == len(net.stages) > 0
    outputs: dict[str, Tensor] = {}
    for stage in net.stages:
        net.get_submodule(stage.module).register_forward_hook(
            lambda _m, _x, out, name=stage.name: outputs.__setitem__(name, out)
        )
    net(torch.zeros((1, *spec.input), device="meta"))
    graph = trace(net, spec.input)
    for stage in net.stages:
        out = outputs[stage.name]
        assert out.shape[1] == stage.channels, stage
        fields = graph.field(graph.layer(stage.module))
        assert fields is not None
        spatial = out.dim() > 2 and max(out.shape[2:]) > 1
        assert (stage.stride is not None) == spatial, stage
        if stage.stride is not None:
            assert {field.jump for field in fields} == {stage.stride}, stage


def test_the_head_is_what_depends_on_the_classes(spec: NetSpec) -> None:
    with torch.device("meta"):
        few, many = (spec.build(n, spec.input[0]) for n in (2, 3))
    differ = {
        name.rpartition(".")[0]
        for name, tensor in few.state_dict().items()
        if tensor.shape != many.state_dict()[name].shape
    }
    assert differ == set(few.head)


def test_every_unit_that_is_asked_sees_exactly_what_autograd_says(spec: NetSpec) -> None:
    """The proof on the real networks at their real size: corners, borders and the middle."""
    with torch.device("meta"):
        graph = trace(spec.build(2, spec.input[0]), spec.input)
    net = spec.build(2, spec.input[0])
    for stage in net.stages:
        node = graph.layer(stage.module)
        assert node.grid is not None
        units = sorted(
            {
                tuple(place(size) for size in node.grid)
                for place in (lambda n: 0, lambda n: n // 2, lambda n: 2 * n // 3, lambda n: n - 1)
            }
        )
        masks = seen_inputs(net, spec.input, stage.module, units)
        for unit, mask in zip(units, masks, strict=True):
            np.testing.assert_array_equal(
                graph.receptive_mask(node, unit), mask, err_msg=f"{stage.name} {unit}"
            )
