"""Residual networks (He, Zhang, Ren & Sun 2015, arXiv 1512.03385): for ImageNet and for CIFAR.

:class:`ResNet` has torchvision's module and key names, so that its weight files load as they are.
:class:`CifarResNet` has those of the common published CIFAR weights. Convolutions start as in
He et al. 2015 (normal, variance 2 / fan-out), batch norms from 1 and 0, the classifier from
PyTorch's uniform distribution; the paper says only the first of these.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional

from convscope.errors import InputError, unknown_name
from convscope.nets.stages import Stage, check_input

StrideIn = Literal["3x3", "1x1"]
Shortcut = Literal["identity", "projection"]


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


def _conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


def _projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(_conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


def _initialise(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions; left in figure 5 of the paper.

    Parameters
    ----------
    in_channels : int
    channels : int
        Of both convolutions and of the output.
    stride : int
        Of the first convolution and of the shortcut.
    """

    expansion: ClassVar[int] = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv2 = _conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        same = stride == 1 and in_channels == channels
        self.downsample = None if same else _projection(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in_channels, h, w)`` to ``(n, channels, h / stride, w / stride)``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        total: Tensor = self.relu(out + shortcut)
        return total


class Bottleneck(nn.Module):
    """1 × 1 down, 3 × 3, 1 × 1 up to four times as many channels; right in figure 5.

    Parameters
    ----------
    in_channels : int
    channels : int
        Of the 3 × 3 convolution; the output has 4 times as many.
    stride : int
    stride_in : {"3x3", "1x1"}
        The convolution that has the stride: torchvision's choice, or the paper's.
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, *, stride_in: StrideIn = "3x3"
    ) -> None:
        super().__init__()
        first, second = (1, stride) if stride_in == "3x3" else (stride, 1)
        out_channels = channels * self.expansion
        self.conv1 = _conv1x1(in_channels, channels, first)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv3x3(channels, channels, second)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = _conv1x1(channels, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()
        same = stride == 1 and in_channels == out_channels
        self.downsample = None if same else _projection(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in_channels, h, w)`` to ``(n, 4 channels, h / stride, w / stride)``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        total: Tensor = self.relu(out + shortcut)
        return total


# Table 1 of the paper: blocks in conv2_x to conv5_x, torchvision's layer1 to layer4.
_DEPTHS: dict[int, tuple[bool, tuple[int, int, int, int]]] = {
    18: (False, (2, 2, 2, 2)),
    34: (False, (3, 4, 6, 3)),
    50: (True, (3, 4, 6, 3)),
    101: (True, (3, 4, 23, 3)),
    152: (True, (3, 8, 36, 3)),
}


class ResNet(nn.Module):
    """Residual network for ImageNet, 224 × 224 RGB; takes any size.

    Parameters
    ----------
    num_classes : int
    in_channels : int
    depth : {18, 34, 50, 101, 152}
        The paper's; from 50 on of bottlenecks.
    stride_in : {"3x3", "1x1"}
        Which convolution of a bottleneck halves the size: ``3x3`` as in torchvision ("v1.5"),
        whose weights need it, or ``1x1`` as in the paper. A unit of ``layer4`` of ResNet-50 sees
        427 pixels with the one and 483 with the other. Nothing to networks without bottlenecks.

    Attributes
    ----------
    stages : tuple of Stage
        ``conv1`` (before the max pool), ``layer1`` to ``layer4`` (the paper's conv2_x to
        conv5_x), ``pooled``.
    """

    head: ClassVar[tuple[str, ...]] = ("fc",)
    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        depth: int = 50,
        stride_in: StrideIn = "3x3",
    ) -> None:
        super().__init__()
        if depth not in _DEPTHS:
            raise InputError(
                f"depth of ResNet is {', '.join(map(str, _DEPTHS))}; received {depth}."
            )
        if stride_in not in ("3x3", "1x1"):
            raise unknown_name("stride_in", stride_in, ("3x3", "1x1"))
        bottleneck, blocks = _DEPTHS[depth]
        self.in_channels = in_channels
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        stages = [Stage("conv1", "relu", 64, 2)]
        before = 64
        for number, repeats in enumerate(blocks):
            channels = 64 * 2**number
            layer = nn.Sequential()
            for repeat in range(repeats):
                stride = 2 if number > 0 and repeat == 0 else 1
                block: BasicBlock | Bottleneck
                if bottleneck:
                    block = Bottleneck(before, channels, stride, stride_in=stride_in)
                else:
                    block = BasicBlock(before, channels, stride)
                layer.append(block)
                before = channels * block.expansion
            name = f"layer{number + 1}"
            self.add_module(name, layer)
            stages.append(Stage(name, name, before, 4 * 2**number))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(before, num_classes)
        self.stages = (*stages, Stage("pooled", "flatten", before, None))
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(n, in_channels, h, w)`` to logits ``(n, num_classes)``."""
        check_input(x, "ResNet", channels=self.in_channels, at_least=1)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.flatten(self.avgpool(x)))
        return logits


def resnet18(num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """ResNet-18: 11,689,512 parameters at 1000 classes."""
    return ResNet(num_classes, in_channels, depth=18)


def resnet34(num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """ResNet-34: 21,797,672 parameters at 1000 classes.

    The paper's curves are of parameter-free shortcuts (option A); its table of results and
    torchvision's form, which this is, have projections (option B).
    """
    return ResNet(num_classes, in_channels, depth=34)


def resnet50(
    num_classes: int = 1000, in_channels: int = 3, *, stride_in: StrideIn = "3x3"
) -> ResNet:
    """ResNet-50: 25,557,032 parameters at 1000 classes; ``stride_in`` as for :class:`ResNet`."""
    return ResNet(num_classes, in_channels, depth=50, stride_in=stride_in)


def resnet101(
    num_classes: int = 1000, in_channels: int = 3, *, stride_in: StrideIn = "3x3"
) -> ResNet:
    """ResNet-101: 44,549,160 parameters at 1000 classes; ``stride_in`` as for :class:`ResNet`."""
    return ResNet(num_classes, in_channels, depth=101, stride_in=stride_in)


def resnet152(
    num_classes: int = 1000, in_channels: int = 3, *, stride_in: StrideIn = "3x3"
) -> ResNet:
    """ResNet-152: 60,192,808 parameters at 1000 classes; ``stride_in`` as for :class:`ResNet`."""
    return ResNet(num_classes, in_channels, depth=152, stride_in=stride_in)


class IdentityShortcut(nn.Module):
    """Option A of section 3.3: every other row and column, and zeros for the new channels.

    The paper does not say on which side of the old channels the zeros go; half on each here, as
    the common published CIFAR weights need.

    Parameters
    ----------
    new_channels : int
        How many more the output has.
    """

    def __init__(self, new_channels: int) -> None:
        super().__init__()
        self.before = new_channels // 2
        self.after = new_channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, h, w)`` to ``(n, channels + new_channels, h / 2, w / 2)``."""
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class CifarBlock(nn.Module):
    """Two 3 × 3 convolutions and a shortcut without or with parameters.

    Parameters
    ----------
    in_channels, channels : int
    stride : int
        2 where ``channels`` is more than ``in_channels``, else 1.
    shortcut : {"identity", "projection"}
        Option A or option B, where the shape changes; elsewhere the input itself.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, *, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv2 = _conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module
        if stride == 1:
            self.shortcut = nn.Identity()
        elif shortcut == "identity":
            self.shortcut = IdentityShortcut(channels - in_channels)
        else:
            self.shortcut = _projection(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in_channels, h, w)`` to ``(n, channels, h / stride, w / stride)``."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        total: Tensor = self.relu(out + self.shortcut(x))
        return total


class CifarResNet(nn.Module):
    """Residual network for CIFAR, 32 × 32 RGB (section 4.2 of the paper); takes any size.

    A 3 × 3 convolution, then 3 stages of ``(depth - 2) / 6`` blocks with 16, 32 and 64 channels.

    Parameters
    ----------
    num_classes : int
    in_channels : int
    depth : int
        ``6 n + 2``; the paper's are 20, 32, 44, 56, 110 and 1202.
    shortcut : {"identity", "projection"}
        Where a stage begins: option A, which the paper uses throughout on CIFAR, or option B.

    Attributes
    ----------
    stages : tuple of Stage
        ``conv1``, ``layer1`` to ``layer3``, ``pooled``.
    """

    head: ClassVar[tuple[str, ...]] = ("linear",)
    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        *,
        depth: int = 20,
        shortcut: Shortcut = "identity",
    ) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise InputError(f"depth of CifarResNet is 6 n + 2 (8, 14, 20, ...); received {depth}.")
        if shortcut not in ("identity", "projection"):
            raise unknown_name("shortcut", shortcut, ("identity", "projection"))
        self.in_channels = in_channels
        self.conv1 = _conv3x3(in_channels, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        stages = [Stage("conv1", "relu", 16, 1)]
        before = 16
        for number, channels in enumerate((16, 32, 64)):
            layer = nn.Sequential()
            for _ in range((depth - 2) // 6):
                stride = 1 if channels == before else 2
                layer.append(CifarBlock(before, channels, stride, shortcut=shortcut))
                before = channels
            name = f"layer{number + 1}"
            self.add_module(name, layer)
            stages.append(Stage(name, name, channels, 2**number))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(64, num_classes)
        self.stages = (*stages, Stage("pooled", "flatten", 64, None))
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(n, in_channels, h, w)`` to logits ``(n, num_classes)``."""
        check_input(x, "CifarResNet", channels=self.in_channels, at_least=1)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(self.flatten(self.avgpool(x)))
        return logits


def resnet20_cifar(
    num_classes: int = 10, in_channels: int = 3, *, shortcut: Shortcut = "identity"
) -> CifarResNet:
    """ResNet-20 for CIFAR: 269,722 parameters, with projections 272,474."""
    return CifarResNet(num_classes, in_channels, depth=20, shortcut=shortcut)


def resnet32_cifar(
    num_classes: int = 10, in_channels: int = 3, *, shortcut: Shortcut = "identity"
) -> CifarResNet:
    """ResNet-32 for CIFAR: 464,154 parameters."""
    return CifarResNet(num_classes, in_channels, depth=32, shortcut=shortcut)


def resnet44_cifar(
    num_classes: int = 10, in_channels: int = 3, *, shortcut: Shortcut = "identity"
) -> CifarResNet:
    """ResNet-44 for CIFAR: 658,586 parameters."""
    return CifarResNet(num_classes, in_channels, depth=44, shortcut=shortcut)


def resnet56_cifar(
    num_classes: int = 10, in_channels: int = 3, *, shortcut: Shortcut = "identity"
) -> CifarResNet:
    """ResNet-56 for CIFAR: 853,018 parameters."""
    return CifarResNet(num_classes, in_channels, depth=56, shortcut=shortcut)


def resnet110_cifar(
    num_classes: int = 10, in_channels: int = 3, *, shortcut: Shortcut = "identity"
) -> CifarResNet:
    """ResNet-110 for CIFAR: 1,727,962 parameters."""
    return CifarResNet(num_classes, in_channels, depth=110, shortcut=shortcut)
