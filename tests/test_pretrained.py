"""Networks of the catalogue with real weights in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from convscope import InputError, load_net
from convscope.data.survey import DecodeSpec, survey
from convscope.nets.catalog import NETS, build_net
from convscope.nets.inference import network_logits
from convscope.nets.weights import read_weights
from fits import Heard

# ImageNet's numbers.
ANT, BEE = 310, 309


@pytest.mark.shared
@pytest.mark.parametrize(
    ("net", "file", "least"),
    [
        ("mobilenet_v2", "mobilenet_v2_imagenet_1000.safetensors", 0.88),
        ("squeezenet1_0", "squeezenet1_0_imagenet_1000.pth", 0.80),
    ],
)
def test_ants_and_bees_are_named_among_the_five_likeliest(
    shared: Path, net: str, file: str, least: float
) -> None:
    spec = NETS[net]
    heard = Heard()
    forward = network_logits(
        load_net(net, str(shared / "weights" / file), progress=heard), spec.mean, spec.std
    )
    assert heard.lines == []  # the whole file fits, head included
    hits = []
    for folder, wanted in (("ants", ANT), ("bees", BEE)):
        photos = sorted((shared / "images" / "hymenoptera" / folder).glob("*.jp*g"))
        decode = DecodeSpec(spec.resize, spec.size, fast=False)
        for chunk in survey(photos, decode, workers=0):
            assert all(fact.usable for fact in chunk.facts)
            likeliest = np.argsort(-forward(chunk.pixels), axis=1)[:, :5]
            hits.extend((likeliest == wanted).any(axis=1))
    assert len(hits) == 397
    assert np.mean(hits) >= least


@pytest.mark.shared
def test_the_cifar_resnet_takes_every_key_of_its_file(shared: Path) -> None:
    file = shared / "weights" / "resnet20_cifar10.pth"
    net = load_net("resnet20_cifar", str(file))
    tensors = read_weights(file).tensors
    assert sum(parameter.numel() for parameter in net.parameters()) == 269_722
    state = net.state_dict()
    assert set(tensors) == {key for key in state if not key.endswith("num_batches_tracked")} | {
        key for key in tensors if key.endswith("num_batches_tracked")
    }
    assert all(torch.equal(state[key], value) for key, value in tensors.items())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    net = build_net(NETS["squeezenet1_1"], 7, seed=3)
    save_file(net.state_dict(), tmp_path / "seven.safetensors")
    return tmp_path / "seven.safetensors"


def test_the_file_is_in_the_network_and_the_network_evaluates(file: Path) -> None:
    heard = Heard()
    net = load_net("squeezenet1_1", str(file), num_classes=7, progress=heard)
    assert heard.lines == []
    assert not net.training
    wanted = read_weights(file).tensors
    assert all(torch.equal(value, wanted[key]) for key, value in net.state_dict().items())


def test_another_number_of_classes_is_said_in_one_line_and_the_seed_fills_the_gap(
    file: Path,
) -> None:
    heard = Heard()
    nets: list[nn.Module] = [
        load_net("squeezenet1_1", str(file), num_classes=3, seed=seed, progress=heard)
        for seed in (1, 1, 2)
    ]
    assert len(heard.lines) == 3
    assert "7" in heard.lines[0]
    assert "3" in heard.lines[0]
    first, again, other = (net.state_dict() for net in nets)
    assert all(torch.equal(first[key], again[key]) for key in first)
    differ = {key for key in first if not torch.equal(first[key], other[key])}
    assert differ == {"classifier.1.weight"}


def test_without_anybody_to_tell_it_is_a_warning(file: Path) -> None:
    with pytest.warns(UserWarning, match="7"):
        load_net("squeezenet1_1", str(file), num_classes=3)


def test_without_weights_and_with_other_channels() -> None:
    net = load_net("lenet5", "none", in_channels=1)
    with torch.inference_mode():
        assert net(torch.zeros(1, 1, 32, 32)).shape == (1, 10)


def test_what_does_not_fit(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"seven\.safetensors does not fit resnet18"):
        load_net("resnet18", str(file))
    with pytest.raises(InputError, match="No published weights for lenet5"):
        load_net("lenet5")
    with pytest.raises(InputError, match="Unknown net 'lenet'"):
        load_net("lenet", "none")
    with pytest.raises(InputError, match="no such file"):
        load_net("resnet18", str(tmp_path / "nowhere.pth"))
