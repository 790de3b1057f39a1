"""AlexNet: the two-GPU network of 2012, and the one-tower form that mostly bears the name today.

"ImageNet Classification with Deep Convolutional Neural Networks" (Krizhevsky, Sutskever, Hinton
2012), section 3 and figure 2; "One weird trick for parallelizing convolutional neural networks"
(Krizhevsky 2014, arXiv 1404.5997).
"""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from convscope.nets.stages import Stage, check_input

INPUT_SIZE = 224
_BIASES_OF_1 = frozenset({"conv2", "conv4", "conv5", "fc6", "fc7"})


def _response_norm() -> nn.LocalResponseNorm:
    # The paper has k = 2, n = 5, alpha = 1e-4, beta = 0.75, and alpha times the *sum* over n
    # kernels. PyTorch takes their mean, hence 5 times the alpha.
    return nn.LocalResponseNorm(size=5, alpha=5e-4, beta=0.75, k=2.0)


class Join(nn.Module):
    """What both towers gave, side by side on one device: here the two GPUs communicate."""

    def forward(self, first: Tensor, second: Tensor, device: torch.device | None) -> Tensor:
        """Twice ``(n, c, ...)`` to ``(n, 2c, ...)`` on ``device``; None: all is on one already."""
        if device is not None:
            first, second = first.to(device), second.to(device)
        return torch.cat((first, second), 1)


class Tower(nn.Module):
    """The half that one GPU held; :class:`AlexNet2012` runs its seven layers beside the other's.

    Parameters
    ----------
    in_channels : int
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.spread = False
        # The paper says 224 x 224, but its 55 x 55 units are (227 - 11) / 4 + 1. The padding of 2
        # is what gives 55 units of 224 pixels.
        self.conv1 = nn.Conv2d(in_channels, 48, 11, stride=4, padding=2)
        self.relu1 = nn.ReLU(inplace=True)
        # Over the tower's own 48 kernels: the GPUs communicate in "certain layers" only (section
        # 3.2), and this is none of them.
        self.norm1 = _response_norm()
        self.pool1 = nn.MaxPool2d(3, stride=2)  # overlapping: windows of 3, 2 apart
        self.conv2 = nn.Conv2d(48, 128, 5, padding=2)
        self.relu2 = nn.ReLU(inplace=True)
        self.norm2 = _response_norm()
        self.pool2 = nn.MaxPool2d(3, stride=2)

        self.join2 = Join()
        self.conv3 = nn.Conv2d(2 * 128, 192, 3, padding=1)
        self.relu3 = nn.ReLU(inplace=True)
        self.conv4 = nn.Conv2d(192, 192, 3, padding=1)
        self.relu4 = nn.ReLU(inplace=True)
        self.conv5 = nn.Conv2d(192, 128, 3, padding=1)
        self.relu5 = nn.ReLU(inplace=True)
        self.pool5 = nn.MaxPool2d(3, stride=2)

        self.join5 = Join()
        self.fc6 = nn.Linear(2 * 128 * 6 * 6, 2048)
        self.relu6 = nn.ReLU(inplace=True)
        self.dropout6 = nn.Dropout(0.5)

        self.join6 = Join()
        self.fc7 = nn.Linear(2 * 2048, 2048)
        self.relu7 = nn.ReLU(inplace=True)
        self.dropout7 = nn.Dropout(0.5)

    def layer1(self, x: Tensor) -> Tensor:
        """``(n, in_channels, 224, 224)`` to ``(n, 48, 27, 27)``."""
        device = self._device()
        x = x if device is None else x.to(device)
        out: Tensor = self.pool1(self.norm1(self.relu1(self.conv1(x))))
        return out

    def layer2(self, own: Tensor) -> Tensor:
        """``(n, 48, 27, 27)`` to ``(n, 128, 13, 13)``."""
        out: Tensor = self.pool2(self.norm2(self.relu2(self.conv2(own))))
        return out

    def layer3(self, first: Tensor, second: Tensor) -> Tensor:
        """Both towers' ``(n, 128, 13, 13)`` to ``(n, 192, 13, 13)``."""
        out: Tensor = self.relu3(self.conv3(self.join2(first, second, self._device())))
        return out

    def layer4(self, own: Tensor) -> Tensor:
        """``(n, 192, 13, 13)`` to the same shape."""
        out: Tensor = self.relu4(self.conv4(own))
        return out

    def layer5(self, own: Tensor) -> Tensor:
        """``(n, 192, 13, 13)`` to ``(n, 128, 6, 6)``."""
        out: Tensor = self.pool5(self.relu5(self.conv5(own)))
        return out

    def layer6(self, first: Tensor, second: Tensor) -> Tensor:
        """Both towers' ``(n, 128, 6, 6)`` to ``(n, 2048)``."""
        both = self.join5(first, second, self._device()).flatten(1)
        out: Tensor = self.dropout6(self.relu6(self.fc6(both)))
        return out

    def layer7(self, first: Tensor, second: Tensor) -> Tensor:
        """Both towers' ``(n, 2048)`` to ``(n, 2048)``."""
        both = self.join6(first, second, self._device())
        out: Tensor = self.dropout7(self.relu7(self.fc7(both)))
        return out

    def _device(self) -> torch.device | None:
        # Where the weights are now: the network may have been moved since it was built.
        return self.conv1.weight.device if self.spread else None


class AlexNet2012(nn.Module):
    """AlexNet as published, in two towers: 60,965,224 parameters at 1000 classes, 224 × 224.

    Each tower holds half of the kernels and reads only its own, except that conv3 and the fully
    connected layers read both. The weights start as in the paper's section 5: normal with standard
    deviation 0.01; biases 1 in conv2, conv4, conv5 and the hidden fully connected layers, so that
    their ReLUs start with positive inputs, else 0.

    Parameters
    ----------
    num_classes : int
    in_channels : int
    devices : tuple of two torch.device or str, optional
        Where the two towers are to lie, as on the paper's two GPUs. The last layer is with the
        first tower, and so are the logits; the input may be anywhere. Activations pass from one
        device to the other before conv3, fc6, fc7 and fc8, nowhere else. None leaves all of it on
        one device.
    """

    head: ClassVar[tuple[str, ...]] = ("fc8",)

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        devices: tuple[torch.device | str, torch.device | str] | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.towers = nn.ModuleList(Tower(in_channels) for _ in range(2))
        self.join7 = Join()
        self.fc8 = nn.Linear(2 * 2048, num_classes)
        self.stages = _TWO_TOWER_STAGES
        self._initialise()
        if devices is not None:
            self._spread(*devices)

    def forward(self, x: Tensor) -> Tensor:
        """Photos ``(n, in_channels, 224, 224)`` to logits ``(n, num_classes)``."""
        check_input(x, "AlexNet2012", channels=self.in_channels, exactly=INPUT_SIZE)
        one, two = self._towers()
        first, second = one.layer1(x), two.layer1(x)
        first, second = one.layer2(first), two.layer2(second)
        first, second = one.layer3(first, second), two.layer3(first, second)
        first, second = one.layer4(first), two.layer4(second)
        first, second = one.layer5(first), two.layer5(second)
        first, second = one.layer6(first, second), two.layer6(first, second)
        first, second = one.layer7(first, second), two.layer7(first, second)
        device = self.fc8.weight.device if one.spread else None
        logits: Tensor = self.fc8(self.join7(first, second, device))
        return logits

    def _towers(self) -> tuple[Tower, Tower]:
        return cast("tuple[Tower, Tower]", tuple(self.towers))

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            *_, layer, kind = name.split(".")
            if kind == "weight":
                nn.init.normal_(parameter, std=0.01)
            else:
                nn.init.constant_(parameter, 1.0 if layer in _BIASES_OF_1 else 0.0)

    def _spread(self, first: torch.device | str, second: torch.device | str) -> None:
        # After the initialisation, so that the weights do not depend on the placement.
        for tower, device in zip(self._towers(), (first, second), strict=True):
            tower.to(device)
            tower.spread = True
        self.fc8.to(first)


def _on_each(name: str, module: str, channels: int, stride: int) -> tuple[Stage, Stage]:
    """The same stage of the two towers, which the paper calls GPU 1 and GPU 2 (figure 3)."""
    return (
        Stage(f"{name}_gpu1", f"towers.0.{module}", channels, stride),
        Stage(f"{name}_gpu2", f"towers.1.{module}", channels, stride),
    )


# A layer that is read by its own tower alone has one stage per tower; where the towers' outputs
# are joined, one stage has both halves.
_TWO_TOWER_STAGES = (
    *_on_each("conv1", "relu1", 48, 4),
    *_on_each("conv2", "relu2", 128, 8),
    Stage("pool2", "towers.0.join2", 256, 16),
    *_on_each("conv3", "relu3", 192, 16),
    *_on_each("conv4", "relu4", 192, 16),
    *_on_each("conv5", "relu5", 128, 16),
    Stage("pool5", "towers.0.join5", 256, 32),
    Stage("fc6", "towers.0.join6", 4096, None),
    Stage("fc7", "join7", 4096, None),
)


class AlexNet(nn.Module):
    """The one-tower form of 2014, with torchvision's keys: 61,100,840 parameters at 1000 classes.

    Without response normalisation, with other widths (64, 192, 384, 256, 256), and with dropout
    before the fully connected layers instead of after them. Larger and smaller inputs than
    224 × 224 are averaged to the 6 × 6 units that the classifier reads.

    The paper of 2014 does not say how its weights start. As ReLU layers without normalisation need
    it: normal with variance 2 / fan-in (He et al. 2015, arXiv 1502.01852), biases 0, and standard
    deviation 0.01 in the last layer.

    Parameters
    ----------
    num_classes : int
    in_channels : int
    dropout : float
        Before each of the two hidden fully connected layers, 0..1.
    """

    head: ClassVar[tuple[str, ...]] = ("classifier.6",)

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        last = nn.Linear(4096, num_classes)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            last,
        )
        self.stages = (
            Stage("conv1", "features.1", 64, 4),
            Stage("conv2", "features.4", 192, 8),
            Stage("conv3", "features.7", 384, 16),
            Stage("conv4", "features.9", 256, 16),
            Stage("conv5", "features.11", 256, 16),
            Stage("pool5", "features.12", 256, 32),
            Stage("fc6", "classifier.2", 4096, None),
            Stage("fc7", "classifier.5", 4096, None),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(last.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Photos ``(n, in_channels, h, w)``, 63 pixels or more, to logits ``(n, num_classes)``."""
        check_input(x, "AlexNet", channels=self.in_channels, at_least=63)
        logits: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return logits
