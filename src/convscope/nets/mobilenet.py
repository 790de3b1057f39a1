"""MobileNetV2: inverted residuals with linear bottlenecks (Sandler et al. 2018, arXiv 1801.04381).

Module and key names are torchvision's, so that its weight files load as they are.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from convscope.nets.stages import Stage, check_input

# Table 2 of the paper: expansion t, output channels c, repeats n, stride s of the first repeat.
_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
FEATURES = 1280


class ConvBNReLU6(nn.Sequential):
    """Convolution with "same" padding, batch norm, ReLU6."""

    def __init__(
        self, channels: int, out_channels: int, kernel_size: int, stride: int, groups: int
    ) -> None:
        super().__init__(
            nn.Conv2d(
                channels,
                out_channels,
                kernel_size,
                stride,
                padding=kernel_size // 2,
                groups=groups,
                bias=False,
            ),
            nn.BatchNorm2d(out_channels),
            nn.ReLU6(inplace=True),
        )


class InvertedResidual(nn.Module):
    """Expand by 1 × 1, filter each channel by 3 × 3, project by 1 × 1 without non-linearity.

    The input is added where it has the shape of the output.
    """

    def __init__(self, channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        expand = [ConvBNReLU6(channels, hidden, 1, 1, 1)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *expand,
            ConvBNReLU6(hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.use_res_connect = stride == 1 and channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, h, w)`` to ``(n, out_channels, h / stride, w / stride)``."""
        out: Tensor = self.conv(x)
        return x + out if self.use_res_connect else out


class MobileNetV2(nn.Module):
    """Width 1.0, for 224 × 224 RGB: 3,504,872 parameters at 1000 classes.

    Takes any height and width. The paper does not say how the weights start; as in torchvision,
    convolutions are normal with variance 2 / fan-out, the classifier with standard deviation 0.01.

    Parameters
    ----------
    num_classes : int
    in_channels : int
    dropout : float
        Before the classifier, 0..1.
    """

    head: ClassVar[tuple[str, ...]] = ("classifier.1",)

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.2) -> None:
        super().__init__()
        self.in_channels = in_channels
        layers: list[nn.Module] = [ConvBNReLU6(in_channels, 32, 3, 2, 1)]
        stages = [Stage("conv1", "features.0", 32, 2)]
        channels = 32
        total_stride = 2
        for row, (expansion, out_channels, repeats, stride) in enumerate(_BLOCKS, 1):
            for repeat in range(repeats):
                layers.append(
                    InvertedResidual(
                        channels, out_channels, stride if repeat == 0 else 1, expansion
                    )
                )
                channels = out_channels
            total_stride *= stride
            module = f"features.{len(layers) - 1}"
            stages.append(Stage(f"bottleneck{row}", module, channels, total_stride))
        stages.append(Stage("conv2", f"features.{len(layers)}", FEATURES, total_stride))
        layers.append(ConvBNReLU6(channels, FEATURES, 1, 1, 1))
        self.features = nn.Sequential(*layers)
        self.stages = tuple(stages)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(FEATURES, num_classes))
        self._initialise()

    def forward(self, photos: Tensor) -> Tensor:
        """Photos ``(n, in_channels, h, w)`` to logits ``(n, num_classes)``."""
        check_input(photos, "MobileNetV2", channels=self.in_channels, at_least=1)
        logits: Tensor = self.classifier(self.features(photos).mean((2, 3)))
        return logits

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)
