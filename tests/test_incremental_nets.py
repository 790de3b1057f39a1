"""Every network of the catalogue that takes maps: changed inputs are answered for exactly."""

from __future__ import annotations

import copy

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from convscope.explain.asking import left_as_found
from convscope.incremental import Changes, remember, remembering
from convscope.incremental.calibrating import CalibratedEngine
from convscope.incremental.engine import IncrementalEngine
from convscope.nets.catalog import build_net, net_spec
from test_incremental import (
    CLOSE,
    collected,
    everywhere,
    noise,
    plain_answers,
)


def lively(name: str, images: Tensor) -> nn.Module:
    """A network through which a change of the input is felt: all layers give numbers about 1.

    With initial weights many networks answer 0 to everything, and nothing would be tested.
    """
    net = build_net(net_spec(name), 10, 0, in_channels=images.shape[1])

    def even_out(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if layer.bias is not None:
            output = output - layer.bias.view(-1, *[1] * (output.ndim - 2))
            layer.bias.zero_()
        spread = output.std() + 1e-12
        layer.weight.div_(spread)
        return output / spread

    handles = []
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
        if isinstance(module, nn.Conv2d | nn.Linear):
            handles.append(module.register_forward_hook(even_out))
    with torch.no_grad():
        net.train()(images)
    for handle in handles:
        handle.remove()
    return net.eval()


# Name, side of the input, side of the boxes, what share of a pass they cost at most.
CASES = [
    ("small_cnn", 48, 6, 0.5),
    ("lenet5", 32, 4, 0.9),
    ("alexnet_2012", 224, 16, 0.5),
    ("alexnet", 96, 12, 0.9),
    ("vgg11", 64, 6, 0.9),
    ("vgg16_bn", 96, 6, 0.9),
    ("googlenet_2014", 96, 8, 0.9),
    ("googlenet", 96, 8, 0.9),
    ("highway_cnn", 32, 4, 1),
    ("resnet18", 96, 8, 0.9),
    ("resnet50", 96, 6, 0.9),
    ("resnet20_cifar", 64, 4, 0.9),
    ("mobilenet_v2", 96, 8, 0.9),
    ("squeezenet1_0", 64, 6, 0.9),
    ("squeezenet1_1", 64, 6, 0.9),
]


@pytest.mark.parametrize(("name", "side", "box", "share"), CASES)
def test_exact(name: str, side: int, box: int, share: float) -> None:
    spec = net_spec(name)
    images = noise(2, spec.input[0], side, side)
    net = lively(name, noise(12, *images.shape[1:]))
    changes = everywhere(images, (box, box), step=3, most=4)
    with left_as_found(net):
        wanted = plain_answers(net, images, changes)
        engine = remember(net, images)
        found = collected(engine, changes)
    assert isinstance(engine, IncrementalEngine), engine.why
    assert engine.share((box, box)) <= share
    scale = float(wanted.abs().max())
    double = Changes(
        changes.image, changes.start, changes.size, lambda rows: changes.content(rows).double()
    )
    truth = plain_answers(copy.deepcopy(net).double(), images.double(), double)
    # As close to what float64 says as float32 comes in plain passes, which is 4e-5 in the deepest.
    rounding = float((wanted - truth).abs().max())
    assert float((found - truth).abs().max()) <= CLOSE * scale + 2 * rounding
    assert rounding < 1e-4 * scale
    assert (wanted - engine.outputs[changes.image]).abs().max() > 100 * CLOSE * scale


@pytest.mark.parametrize("name", ["tcn", "tcn_plain"])
def test_exact_for_the_last_steps_of_a_series(name: str) -> None:
    net = build_net(net_spec(name), 3, 0, in_channels=1).eval()
    images = noise(3, 1, 64)
    changes = everywhere(images, (2,))
    with left_as_found(net):
        wanted = plain_answers(net, images, changes)
        found = collected(remember(net, images), changes)
    torch.testing.assert_close(found, wanted, atol=CLOSE * float(wanted.abs().max()), rtol=0)


# With random weights some networks magnify rounding: there float32 is to be taken.
@pytest.mark.parametrize(
    ("name", "least"), [("resnet18", 0.98), ("googlenet", 0.7), ("alexnet_2012", 0.7)]
)
def test_bfloat16_keeps_the_order_of_scores(
    name: str, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is faster here: products in bfloat16, forced."""
    monkeypatch.setattr(remembering, "_has_bfloat16", lambda: True)
    monkeypatch.setattr(remembering, "_is_much_faster", lambda *given: True)
    side = 224 if name == "alexnet_2012" else 96
    images = noise(2, 3, side, side)
    net = lively(name, noise(12, *images.shape[1:]))
    changes = everywhere(images, (side // 4, side // 4), step=side // 6, most=60)
    with left_as_found(net):
        exact = collected(remember(net, images), changes)
        engine = remember(net, images, "fast")
        assert isinstance(engine, CalibratedEngine)
        fast = collected(engine.fast, changes)
        chosen = collected(engine, changes)
    assert fast.dtype == torch.float32
    assert not torch.equal(fast, exact)
    for image in range(2):
        of_it = changes.image == image
        target = int(engine.outputs[image].argmax())
        assert spearmanr(exact[of_it, target], fast[of_it, target]).statistic >= least
        assert spearmanr(exact[of_it, target], chosen[of_it, target]).statistic >= 0.98


def test_rounding_larger_than_what_changes_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes that hardly change anything: bfloat16 would give noise, so float32 answers."""
    monkeypatch.setattr(remembering, "_has_bfloat16", lambda: True)
    monkeypatch.setattr(remembering, "_is_much_faster", lambda *given: True)
    images = noise(1, 3, 96, 96)
    net = lively("resnet18", noise(12, 3, 96, 96))
    changes = everywhere(images, (4, 4), step=4, most=40)
    faint = Changes(
        changes.image, changes.start, changes.size,
        lambda rows: torch.stack(
            [
                images[0, :, y : y + 4, x : x + 4] + 1e-4 * content
                for (y, x), content in zip(
                    changes.start[rows].tolist(), changes.content(rows), strict=True
                )
            ]
        ),
    )  # fmt: skip
    with left_as_found(net):
        engine = remember(net, images, "fast")
        exact = collected(remember(net, images), faint)
        found = collected(engine, faint)
    assert isinstance(engine, CalibratedEngine)
    assert engine.noise is not None
    assert engine.noise > 0.1
    assert torch.equal(found, exact)
