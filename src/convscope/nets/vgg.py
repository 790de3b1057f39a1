"""VGG: "Very Deep Convolutional Networks" (Simonyan & Zisserman 2014, arXiv 1409.1556).

Module and key names are torchvision's, so that its weight files load as they are.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from convscope.nets.stages import Stage, check_input

# Table 1 of the paper: configurations by their letter, with the number of 3 x 3 convolutions before
# each of the five poolings. C, whose added layers are 1 x 1 convolutions, is not here.
A = (1, 1, 2, 2, 2)
B = (2, 2, 2, 2, 2)
D = (2, 2, 3, 3, 3)
E = (2, 2, 4, 4, 4)
_WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """Blocks of 3 × 3 convolutions and 2 × 2 max pooling, then 4096-4096-``num_classes``.

    For 224 × 224; other sizes from 32 × 32 are averaged, or repeated, to the 7 × 7 units that the
    classifier reads. Stages are the blocks after their pooling, and the hidden units after ReLU.

    The authors trained configuration A from weights of variance 0.01 and the deeper ones from A's,
    and found after submission that the initialisation of Glorot & Bengio (2010) needs no such
    steps (section 3.1): weights are uniform within ±√(6 / (fan-in + fan-out)), biases 0.

    Parameters
    ----------
    num_classes : int
    in_channels : int
    convolutions : tuple of int
        Before each of the five poolings; 16 layers by default.
    batch_norm : bool
        After every convolution, which is not in the paper.
    dropout : float
        After each of the two hidden fully connected layers, 0..1.
    """

    head: ClassVar[tuple[str, ...]] = ("classifier.6",)

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        convolutions: tuple[int, int, int, int, int] = D,
        batch_norm: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        layers: list[nn.Module] = []
        stages = []
        channels = in_channels
        for block, (width, repeats) in enumerate(zip(_WIDTHS, convolutions, strict=True), 1):
            for _ in range(repeats):
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU(inplace=True))
                channels = width
            layers.append(nn.MaxPool2d(2))
            stages.append(Stage(f"pool{block}", f"features.{len(layers) - 1}", width, 2**block))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(channels * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        self.stages = (
            *stages,
            Stage("fc1", "classifier.1", 4096, None),
            Stage("fc2", "classifier.4", 4096, None),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Photos ``(n, in_channels, h, w)``, 32 pixels or more, to logits ``(n, num_classes)``."""
        check_input(x, "VGG", channels=self.in_channels, at_least=32)
        logits: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return logits


def vgg11(num_classes: int = 1000, in_channels: int = 3) -> VGG:
    """Build configuration A, 8 convolutions: 132,863,336 parameters at 1000 classes."""
    return VGG(num_classes, in_channels, convolutions=A)


def vgg13(num_classes: int = 1000, in_channels: int = 3) -> VGG:
    """Build configuration B, 10 convolutions: 133,047,848 parameters at 1000 classes."""
    return VGG(num_classes, in_channels, convolutions=B)


def vgg16(num_classes: int = 1000, in_channels: int = 3) -> VGG:
    """Build configuration D, 13 convolutions: 138,357,544 parameters at 1000 classes."""
    return VGG(num_classes, in_channels, convolutions=D)


def vgg19(num_classes: int = 1000, in_channels: int = 3) -> VGG:
    """Build configuration E, 16 convolutions: 143,667,240 parameters at 1000 classes."""
    return VGG(num_classes, in_channels, convolutions=E)


def vgg11_bn(num_classes: int = 1000, in_channels: int = 3) -> VGG:
    """Build configuration A with batch norm: 132,868,840 parameters at 1000 classes."""
    return VGG(num_classes, in_channels, convolutions=A, batch_norm=True)


def vgg13_bn(num_classes: int = 1000, in_channels: int = 3) -> VGG:
    """Build configuration B with batch norm: 133,053,736 parameters at 1000 classes."""
    return VGG(num_classes, in_channels, convolutions=B, batch_norm=True)


def vgg16_bn(num_classes: int = 1000, in_channels: int = 3) -> VGG:
    """Build configuration D with batch norm: 138,365,992 parameters at 1000 classes."""
    return VGG(num_classes, in_channels, convolutions=D, batch_norm=True)


def vgg19_bn(num_classes: int = 1000, in_channels: int = 3) -> VGG:
    """Build configuration E with batch norm: 143,678,248 parameters at 1000 classes."""
    return VGG(num_classes, in_channels, convolutions=E, batch_norm=True)
