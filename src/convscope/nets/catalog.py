"""The catalogue: name -> how to build the network, what it takes in, where its weights are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn

from convscope.errors import InputError, unknown_name
from convscope.nets.alexnet import AlexNet, AlexNet2012
from convscope.nets.founding import FcNN, SmallCNN
from convscope.nets.googlenet import GoogLeNet, GoogLeNet2014
from convscope.nets.highway import HighwayCNN, HighwayMLP
from convscope.nets.lenet import LeNet5, LeNet5Modern
from convscope.nets.mobilenet import FEATURES, MobileNetV2
from convscope.nets.published import IMAGENET_MEAN, IMAGENET_STD, PUBLISHED, PublishedWeights
from convscope.nets.resnet import (
    resnet18,
    resnet20_cifar,
    resnet32_cifar,
    resnet34,
    resnet44_cifar,
    resnet50,
    resnet56_cifar,
    resnet101,
    resnet110_cifar,
    resnet152,
)
from convscope.nets.squeezenet import squeezenet1_0, squeezenet1_1
from convscope.nets.tcn import TCN, PlainTCN
from convscope.nets.vgg import (
    vgg11,
    vgg11_bn,
    vgg13,
    vgg13_bn,
    vgg16,
    vgg16_bn,
    vgg19,
    vgg19_bn,
)

RGB = 3
_HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class NetSpec:
    """One entry of the catalogue.

    Attributes
    ----------
    name : str
    build : callable
        Number of classes (or of outputs), channels of the input -> network; logits out.
    input : tuple of int
        Channels, then height and width in pixels, or length in time steps, as its paper has them.
    classes : int
        As its paper has them.
    parameters : int
        Trainable ones, for that input and those classes.
    about : str
        What it is, and the paper.
    kind : str
        ``convolutional`` and ``fully connected`` take images, ``series`` a time series.
    resize : int
        Length of a photo's shorter side before the crop to the input's size. Pixels.
    mean, std : tuple of float
        Per channel, on the 0..1 scale.
    features : int or None
        Length of the pooled feature vector; None where features cannot be extracted yet.
    published : PublishedWeights or None
    """

    name: str
    build: Callable[[int, int], nn.Module]
    input: tuple[int, ...]
    classes: int
    parameters: int
    about: str
    kind: Literal["convolutional", "fully connected", "series"] = "convolutional"
    resize: int = 0
    mean: tuple[float, float, float] = _HALF
    std: tuple[float, float, float] = _HALF
    features: int | None = None
    published: PublishedWeights | None = None

    @property
    def size(self) -> int:
        """Height and width of the input; length of a series."""
        return self.input[-1]

    def to_dict(self) -> dict[str, Any]:
        """As ``convscope nets --json`` prints it."""
        return {
            "name": self.name,
            "about": self.about,
            "kind": self.kind,
            "input": list(self.input),
            "classes": self.classes,
            "parameters": self.parameters,
            "published": None if self.published is None else asdict(self.published),
        }


def _small(
    name: str, build: Callable[[int, int], nn.Module], shape: tuple[int, ...], classes: int,
    parameters: int, about: str,
    kind: Literal["convolutional", "fully connected", "series"] = "convolutional",
) -> NetSpec:  # fmt: skip
    """A network for small images, trained from scratch."""
    return NetSpec(name, build, shape, classes, parameters, about, kind, resize=shape[-1])


def _imagenet(
    name: str, build: Callable[[int, int], nn.Module], parameters: int, about: str,
    features: int | None = None,
) -> NetSpec:  # fmt: skip
    """A network for ImageNet's photos: 256 pixels on the shorter side, the middle 224 × 224."""
    weights = PUBLISHED.get(name)
    return NetSpec(
        name, build, (RGB, 224, 224), 1000, parameters, about,
        resize=256 if weights is None else weights.resize,
        mean=IMAGENET_MEAN if weights is None else weights.mean,
        std=IMAGENET_STD if weights is None else weights.std,
        features=features,
        published=weights,
    )  # fmt: skip


_HE = "He et al. 2015"
_VGG = "Simonyan & Zisserman 2014"

NETS: dict[str, NetSpec] = {
    spec.name: spec
    for spec in (
        _small("fcnn", FcNN, (3, 48, 48), 8, 3_069_708,
               "400-500-200 units, founding exercise", "fully connected"),
        _small("small_cnn", SmallCNN, (3, 48, 48), 8, 341_978,
               "15-15-pool-30-30-pool-300, likewise"),
        _small("lenet5", LeNet5, (1, 32, 32), 10, 60_000,
               "LeCun et al. 1998"),
        _small("lenet5_modern", LeNet5Modern, (1, 32, 32), 10, 61_706,
               "with ReLU, max-pooling and dense C3"),
        _imagenet("alexnet_2012", AlexNet2012, 60_965_224,
                  "in two groups, Krizhevsky et al. 2012"),
        _imagenet("alexnet", AlexNet, 61_100_840, "in one group, Krizhevsky 2014"),
        _imagenet("vgg11", vgg11, 132_863_336, f"A, {_VGG}"),
        _imagenet("vgg13", vgg13, 133_047_848, f"B, {_VGG}"),
        _imagenet("vgg16", vgg16, 138_357_544, f"D, {_VGG}"),
        _imagenet("vgg19", vgg19, 143_667_240, f"E, {_VGG}"),
        _imagenet("vgg11_bn", vgg11_bn, 132_868_840, "A with batch norm"),
        _imagenet("vgg13_bn", vgg13_bn, 133_053_736, "B with batch norm"),
        _imagenet("vgg16_bn", vgg16_bn, 138_365_992, "D with batch norm"),
        _imagenet("vgg19_bn", vgg19_bn, 143_678_248, "E with batch norm"),
        _imagenet("googlenet_2014", GoogLeNet2014, 13_378_280,
                  "auxiliary heads, Szegedy et al. 2014"),
        _imagenet("googlenet", GoogLeNet, 6_624_904, "with batch norm, as in torchvision"),
        _small("highway", HighwayMLP, (1, 28, 28), 10, 289_660,
               "50 gated layers, Srivastava et al. 2015", "fully connected"),
        _small("highway_cnn", HighwayCNN, (3, 32, 32), 10, 509_194,
               "gated convolutions, likewise"),
        _imagenet("resnet18", resnet18, 11_689_512, _HE),
        _imagenet("resnet34", resnet34, 21_797_672, _HE),
        _imagenet("resnet50", resnet50, 25_557_032, f"{_HE}, stride in the 3x3"),
        _imagenet("resnet101", resnet101, 44_549_160, f"{_HE}, stride in the 3x3"),
        _imagenet("resnet152", resnet152, 60_192_808, f"{_HE}, stride in the 3x3"),
        _small("resnet20_cifar", resnet20_cifar, (3, 32, 32), 10, 269_722,
               f"identity shortcuts, {_HE}"),
        _small("resnet32_cifar", resnet32_cifar, (3, 32, 32), 10, 464_154, "likewise"),
        _small("resnet44_cifar", resnet44_cifar, (3, 32, 32), 10, 658_586, "likewise"),
        _small("resnet56_cifar", resnet56_cifar, (3, 32, 32), 10, 853_018, "likewise"),
        _small("resnet110_cifar", resnet110_cifar, (3, 32, 32), 10, 1_727_962, "likewise"),
        _imagenet("mobilenet_v2", MobileNetV2, 3_504_872,
                  "inverted residuals, Sandler et al. 2018", FEATURES),
        _imagenet("squeezenet1_0", squeezenet1_0, 1_248_424, "fire modules, Iandola et al. 2016"),
        _imagenet("squeezenet1_1", squeezenet1_1, 1_235_496, "less than half the work of 1.0"),
        _small("tcn_plain", PlainTCN, (1, 64), 1, 15_681,
               "4 causal layers, founding exercise", "series"),
        _small("tcn", TCN, (1, 64), 1, 22_209, "residual blocks, Bai et al. 2018", "series"),
    )
}  # fmt: skip


def net_spec(name: str) -> NetSpec:
    """Look a network up; :class:`InputError` with the nearest name where there is none."""
    if name not in NETS:
        raise unknown_name("net", name, NETS)
    return NETS[name]


def photo_net_spec(name: str) -> NetSpec:
    """As :func:`net_spec`; :class:`InputError` for a network that takes no photos."""
    spec = net_spec(name)
    if spec.kind == "series":
        raise InputError(f"Net {name} takes time series, no photos. `convscope nets` lists others.")
    return spec


def build_net(spec: NetSpec, num_classes: int, seed: int, *, in_channels: int = RGB) -> nn.Module:
    """Build a network whose initial weights depend on the seed alone."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return spec.build(num_classes, in_channels)
