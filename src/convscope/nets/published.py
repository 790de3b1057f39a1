"""Weights that others publish: where they lie, what input they expect, what they call their keys.

Addresses, results on ImageNet's validation set (one centre crop) and preprocessing were read from
torchvision's source (``torchvision/models/*.py``, version 0.29), key names from timm's (version
1.0.31).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class PublishedWeights:
    """A file that others publish; downloaded once, checked, kept in the cache folder.

    Attributes
    ----------
    url : str
    sha256_prefix : str
        The first hexadecimal digits of the file's SHA-256, or all 64. torchvision itself publishes
        the first 8 alone, as a part of each file's name. All 64 stand here where two or more
        public sources that know nothing of each other give the same; a digit taken over wrongly
        would make a good file unusable, so that one source is not enough.
    licence : str
    top1 : float
        Percent of ImageNet's 50,000 validation photos, as published.
    mean, std : tuple of float
        Per channel, on the 0..1 scale.
    size, resize : int
        Input height and width; length of the photo's shorter side before the crop. Pixels.
    """

    url: str
    sha256_prefix: str
    licence: str
    top1: float
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    size: int = 224
    resize: int = 256

    @property
    def file_name(self) -> str:
        """The name in the cache folder."""
        return self.url.rsplit("/", 1)[1]


_TORCHVISION = "https://download.pytorch.org/models/"
_BSD = "BSD-3-Clause, trained on ImageNet"

# Of the ResNets and MobileNetV2 the first of two published files (IMAGENET1K_V1): trained as in the
# papers, and with the plain input of all the others. torchvision's key names are the networks' own.
PUBLISHED: dict[str, PublishedWeights] = {
    "alexnet": PublishedWeights(
        url=_TORCHVISION + "alexnet-owt-7be5be79.pth",
        sha256_prefix="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        licence=_BSD,
        top1=56.522,
    ),
    "vgg11": PublishedWeights(
        url=_TORCHVISION + "vgg11-8a719046.pth",
        sha256_prefix="8a719046",
        licence=_BSD,
        top1=69.020,
    ),
    "vgg11_bn": PublishedWeights(
        url=_TORCHVISION + "vgg11_bn-6002323d.pth",
        sha256_prefix="6002323d",
        licence=_BSD,
        top1=70.370,
    ),
    "vgg13": PublishedWeights(
        url=_TORCHVISION + "vgg13-19584684.pth",
        sha256_prefix="19584684",
        licence=_BSD,
        top1=69.928,
    ),
    "vgg13_bn": PublishedWeights(
        url=_TORCHVISION + "vgg13_bn-abd245e5.pth",
        sha256_prefix="abd245e5",
        licence=_BSD,
        top1=71.586,
    ),
    "vgg16": PublishedWeights(
        url=_TORCHVISION + "vgg16-397923af.pth",
        sha256_prefix="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        licence=_BSD,
        top1=71.592,
    ),
    "vgg16_bn": PublishedWeights(
        url=_TORCHVISION + "vgg16_bn-6c64b313.pth",
        sha256_prefix="6c64b3138f2f4fcb3bcc4cafde11619c4f440eb1631787e93a682fd88305888a",
        licence=_BSD,
        top1=73.360,
    ),
    "vgg19": PublishedWeights(
        url=_TORCHVISION + "vgg19-dcbb9e9d.pth",
        sha256_prefix="dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        licence=_BSD,
        top1=72.376,
    ),
    "vgg19_bn": PublishedWeights(
        url=_TORCHVISION + "vgg19_bn-c79401a0.pth",
        sha256_prefix="c79401a0cf3cb42714e4182f5868c7a6f4f4534f5df9e956e2bb2098de41cbb6",
        licence=_BSD,
        top1=74.218,
    ),
    # Ported from TensorFlow, which scales photos to -1..1: torchvision undoes ImageNet's mean and
    # deviation inside the network (``transform_input``). Mean and deviation 0.5 are the same input.
    "googlenet": PublishedWeights(
        url=_TORCHVISION + "googlenet-1378be20.pth",
        sha256_prefix="1378be20a8e875cf1568b8a71654e704449655e34711a959a38b04fb34905cef",
        licence=_BSD,
        top1=69.778,
        mean=_HALF,
        std=_HALF,
    ),
    "resnet18": PublishedWeights(
        url=_TORCHVISION + "resnet18-f37072fd.pth",
        sha256_prefix="f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
        licence=_BSD,
        top1=69.758,
    ),
    "resnet34": PublishedWeights(
        url=_TORCHVISION + "resnet34-b627a593.pth",
        sha256_prefix="b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f",
        licence=_BSD,
        top1=73.314,
    ),
    "resnet50": PublishedWeights(
        url=_TORCHVISION + "resnet50-0676ba61.pth",
        sha256_prefix="0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        licence=_BSD,
        top1=76.130,
    ),
    "resnet101": PublishedWeights(
        url=_TORCHVISION + "resnet101-63fe2227.pth",
        sha256_prefix="63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a",
        licence=_BSD,
        top1=77.374,
    ),
    "resnet152": PublishedWeights(
        url=_TORCHVISION + "resnet152-394f9c45.pth",
        sha256_prefix="394f9c45966e3651a89bbb78a48410a6755854ce4a5ab64927cf1c7247f85e58",
        licence=_BSD,
        top1=78.312,
    ),
    "mobilenet_v2": PublishedWeights(
        url=_TORCHVISION + "mobilenet_v2-b0353104.pth",
        sha256_prefix="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        licence=_BSD,
        top1=71.878,
    ),
    "squeezenet1_0": PublishedWeights(
        url=_TORCHVISION + "squeezenet1_0-b66bff10.pth",
        sha256_prefix="b66bff10",
        licence=_BSD,
        top1=58.092,
    ),
    "squeezenet1_1": PublishedWeights(
        url=_TORCHVISION + "squeezenet1_1-b8a52dc0.pth",
        sha256_prefix="b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        licence=_BSD,
        top1=58.178,
    ),
}


@dataclass(frozen=True)
class KeyNames:
    """What another library calls the modules of a network; torchvision's names are ours.

    Attributes
    ----------
    mark : str
        A key that its files have and torchvision's have not.
    modules : mapping of str to str
        Module path there -> module path here; those of the same name are not listed.
    flattened : tuple of str
        Modules (paths here) that are convolutions over the whole input there, and linear here: the
        same weights in the same order.
    """

    mark: str
    modules: Mapping[str, str]
    flattened: tuple[str, ...] = ()


TIMM_VGG = KeyNames(
    mark="pre_logits.fc1.weight",
    modules={
        "pre_logits.fc1": "classifier.0",
        "pre_logits.fc2": "classifier.3",
        "head.fc": "classifier.6",
    },
    flattened=("classifier.0", "classifier.3"),
)


def _mobilenet_modules() -> dict[str, str]:
    """Stages and their blocks are numbered there; here all blocks in one row, from 1."""
    modules = {
        "conv_stem": "features.0.0",
        "bn1": "features.0.1",
        # The first block does not expand.
        "blocks.0.0.conv_dw": "features.1.conv.0.0",
        "blocks.0.0.bn1": "features.1.conv.0.1",
        "blocks.0.0.conv_pw": "features.1.conv.1",
        "blocks.0.0.bn2": "features.1.conv.2",
        "conv_head": "features.18.0",
        "bn2": "features.18.1",
        "classifier": "classifier.1",
    }
    repeats = (2, 3, 4, 3, 3, 1)  # of stages 1 to 6, table 2 of the paper
    blocks = ((stage, block) for stage, n in enumerate(repeats, 1) for block in range(n))
    for place, (stage, block) in enumerate(blocks, 2):
        there, here = f"blocks.{stage}.{block}", f"features.{place}.conv"
        modules |= {
            f"{there}.conv_pw": f"{here}.0.0",
            f"{there}.bn1": f"{here}.0.1",
            f"{there}.conv_dw": f"{here}.1.0",
            f"{there}.bn2": f"{here}.1.1",
            f"{there}.conv_pwl": f"{here}.2",
            f"{there}.bn3": f"{here}.3",
        }
    return modules


TIMM_MOBILENET_V2 = KeyNames(mark="conv_stem.weight", modules=_mobilenet_modules())

# timm's ResNets have torchvision's names, and it has no AlexNet, GoogLeNet or SqueezeNet.
KEY_NAMES = (TIMM_VGG, TIMM_MOBILENET_V2)
