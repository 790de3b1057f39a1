"""SqueezeNet (Iandola et al. 2016, arXiv 1602.07360): AlexNet's accuracy, 50 times smaller.

Module and key names are torchvision's, so that its weight files load as they are.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from convscope.nets.stages import Stage, check_input

# Table 1 of the paper, and version 1.1 as the authors published it beside (2.4 times less work):
# convolution 1 as (channels, kernel size); the Fire modules as (squeeze, expand), where half of
# expand is 1 x 1 and half 3 x 3; "pool" is 3 x 3, 2 apart.
_CONV1 = {"1.0": (96, 7), "1.1": (64, 3)}
_FIRES: dict[str, tuple[tuple[int, int] | Literal["pool"], ...]] = {
    "1.0": (
        "pool",
        (16, 128),
        (16, 128),
        (32, 256),
        "pool",
        (32, 256),
        (48, 384),
        (48, 384),
        (64, 512),
        "pool",
        (64, 512),
    ),
    "1.1": (
        "pool",
        (16, 128),
        (16, 128),
        "pool",
        (32, 256),
        (32, 256),
        "pool",
        (48, 384),
        (48, 384),
        (64, 512),
        (64, 512),
    ),
}
# Convolution 1 without padding must leave 8 x 8 units for three poolings to halve.
_SMALLEST = {"1.0": 21, "1.1": 17}


class Fire(nn.Module):
    """Squeeze by 1 × 1 to few channels; expand them by 1 × 1 and by 3 × 3, side by side.

    Parameters
    ----------
    channels : int
        Of the input.
    squeeze, expand : int
        Channels in between, and of the output; half of the latter come from each kernel size.
    """

    def __init__(self, channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze, expand // 2, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze, expand // 2, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, h, w)`` to ``(n, expand, h, w)``."""
        few = self.squeeze_activation(self.squeeze(x))
        return torch.cat(
            (
                self.expand1x1_activation(self.expand1x1(few)),
                self.expand3x3_activation(self.expand3x3(few)),
            ),
            1,
        )


class SqueezeNet(nn.Module):
    """Convolution, eight Fire modules, and a 1 × 1 convolution to classes that is averaged.

    The paper leaves the initialisation to the authors' published Caffe files: Caffe's "xavier",
    uniform within ±√(3 / fan-in), the last convolution normal with standard deviation 0.01;
    biases 0. As in these files the last convolution has a ReLU, so that no logit is negative.

    Parameters
    ----------
    num_classes : int
    in_channels : int
    version : {"1.0", "1.1"}
    dropout : float
        Before the last convolution, 0..1.
    """

    head: ClassVar[tuple[str, ...]] = ("classifier.1",)

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        version: Literal["1.0", "1.1"] = "1.0",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.smallest = _SMALLEST[version]
        channels, kernel_size = _CONV1[version]
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, channels, kernel_size, stride=2),
            nn.ReLU(inplace=True),
        ]
        stages = [Stage("conv1", "features.1", channels, 2)]
        stride = 2
        for layer in _FIRES[version]:
            if layer == "pool":
                layers.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
                stride *= 2
                continue
            squeeze, expand = layer
            # The paper counts on from convolution 1: the first Fire module is fire2.
            stages.append(
                Stage(f"fire{len(stages) + 1}", f"features.{len(layers)}", expand, stride)
            )
            layers.append(Fire(channels, squeeze, expand))
            channels = expand
        self.features = nn.Sequential(*layers)
        last = nn.Conv2d(channels, num_classes, 1)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), last, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1)
        )
        self.stages = tuple(stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                bound = math.sqrt(3 / module.weight[0].numel())
                nn.init.uniform_(module.weight, -bound, bound)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(last.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Photos ``(n, in_channels, h, w)`` to logits ``(n, num_classes)``.

        Height and width of 21 or more (17 for version 1.1).
        """
        check_input(x, "SqueezeNet", channels=self.in_channels, at_least=self.smallest)
        logits: Tensor = self.classifier(self.features(x)).flatten(1)
        return logits


def squeezenet1_0(num_classes: int = 1000, in_channels: int = 3) -> SqueezeNet:
    """Build the network of the paper's table 1: 1,248,424 parameters at 1000 classes."""
    return SqueezeNet(num_classes, in_channels, version="1.0")


def squeezenet1_1(num_classes: int = 1000, in_channels: int = 3) -> SqueezeNet:
    """Build version 1.1: 1,235,496 parameters at 1000 classes."""
    return SqueezeNet(num_classes, in_channels, version="1.1")
