"""The catalogue: name -> how to build the network, what it takes in, where its weights are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from convscope.errors import unknown_name
from convscope.nets.founding import FcNN, SmallCNN
from convscope.nets.mobilenet import FEATURES, MobileNetV2

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class PublishedWeights:
    """A file that others publish; downloaded once, checked, kept in the cache folder.

    Attributes
    ----------
    url : str
    sha256_prefix : str
        The first hexadecimal digits of the file's SHA-256.
    licence : str
    """

    url: str
    sha256_prefix: str
    licence: str

    @property
    def file_name(self) -> str:
        """The name in the cache folder."""
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class NetSpec:
    """One entry of the catalogue.

    Attributes
    ----------
    name : str
    build : callable
        Number of classes -> network; logits out.
    size, resize : int
        Input height and width; length of the photo's shorter side before the crop. Pixels.
    mean, std : tuple of float
        Per channel, on the 0..1 scale.
    features : int or None
        Length of the pooled feature vector; None where the network is not for transfer.
    published : PublishedWeights or None
    about : str
    """

    name: str
    build: Callable[[int], nn.Module]
    size: int
    resize: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    features: int | None
    published: PublishedWeights | None
    about: str


_HALF = (0.5, 0.5, 0.5)

NETS: dict[str, NetSpec] = {
    "fcnn": NetSpec(
        name="fcnn",
        build=FcNN,
        size=48,
        resize=48,
        mean=_HALF,
        std=_HALF,
        features=None,
        published=None,
        about="fully connected 400-500-200, the founding exercise",
    ),
    "small_cnn": NetSpec(
        name="small_cnn",
        build=SmallCNN,
        size=48,
        resize=48,
        mean=_HALF,
        std=_HALF,
        features=None,
        published=None,
        about="15-15-pool2-30-30-pool4-300, the founding exercise",
    ),
    "mobilenet_v2": NetSpec(
        name="mobilenet_v2",
        build=MobileNetV2,
        size=224,
        resize=256,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        features=FEATURES,
        published=PublishedWeights(
            url="https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
            sha256_prefix="b0353104",
            licence="BSD-3-Clause, trained on ImageNet",
        ),
        about="inverted residuals, Sandler et al. 2018",
    ),
}


def net_spec(name: str) -> NetSpec:
    """Look a network up; :class:`InputError` with the nearest name where there is none."""
    if name not in NETS:
        raise unknown_name("net", name, NETS)
    return NETS[name]


def build_net(spec: NetSpec, num_classes: int, seed: int) -> nn.Module:
    """Build a network whose initial weights depend on the seed alone."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return spec.build(num_classes)
