"""Highway networks (Srivastava, Greff & Schmidhuber 2015, arXiv 1505.00387).

A highway layer learns how much of its input to transform and how much to carry on unchanged:
``y = H(x) * T(x) + x * (1 - T(x))``, H an affine map and an activation, T an affine map and a
sigmoid. At a negative gate bias the untrained network mostly carries, so that signal and gradient
pass through many layers.

The paper draws all weights as He et al. 2015, and starts the gates' biases negative (-1 to -10,
searched; -2 for the MNIST networks that it looks into).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal

from torch import Tensor, nn

from convscope.errors import InputError, unknown_name
from convscope.nets.stages import Stage, check_input

Activation = Literal["relu", "tanh"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


def _activation(name: str) -> nn.Module:
    if name not in _ACTIVATIONS:
        raise unknown_name("activation", name, _ACTIVATIONS)
    return _ACTIVATIONS[name]()


def _initialise(layer: nn.Linear | nn.Conv2d, bias: float = 0.0) -> None:
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.constant_(layer.bias, bias)


class _Highway(nn.Module):
    """The gating, whatever the affine maps are."""

    def __init__(
        self,
        transform: nn.Linear | nn.Conv2d,
        gate: nn.Linear | nn.Conv2d,
        gate_bias: float,
        activation: Activation,
    ) -> None:
        super().__init__()
        self.transform = transform
        self.activation = _activation(activation)
        self.gate = gate
        self.sigmoid = nn.Sigmoid()
        _initialise(self.transform)
        _initialise(self.gate, gate_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Equation 3 of the paper; the output has the shape of the input."""
        h: Tensor = self.activation(self.transform(x))
        t: Tensor = self.sigmoid(self.gate(x))
        return h * t + x * (1 - t)


class HighwayLayer(_Highway):
    """Fully connected highway layer, ``(n, size)`` to ``(n, size)``.

    Parameters
    ----------
    size : int
    gate_bias : float
        Of the untrained gate; at -2 it lets 12 % of H through.
    activation : {"relu", "tanh"}
        Of H.
    """

    def __init__(
        self, size: int, gate_bias: float = -2.0, *, activation: Activation = "relu"
    ) -> None:
        super().__init__(nn.Linear(size, size), nn.Linear(size, size), gate_bias, activation)


class HighwayConv2d(_Highway):
    """Convolutional highway layer, ``(n, channels, h, w)`` to the same; zero padding.

    Parameters
    ----------
    channels : int
    kernel_size : int
        Odd, of H and of T.
    gate_bias : float
    activation : {"relu", "tanh"}
        Of H.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        gate_bias: float = -2.0,
        *,
        activation: Activation = "relu",
    ) -> None:
        if kernel_size % 2 == 0:
            raise InputError(
                f"kernel_size of HighwayConv2d is odd, so that output and input are of one size; "
                f"received {kernel_size}."
            )
        transform, gate = (
            nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2) for _ in range(2)
        )
        super().__init__(transform, gate, gate_bias, activation)


class PlainLayer(nn.Sequential):
    """Affine map and activation: what a highway layer is without its gate."""

    def __init__(self, transform: nn.Linear | nn.Conv2d, activation: Activation = "relu") -> None:
        super().__init__(transform, _activation(activation))
        _initialise(transform)


class HighwayMLP(nn.Module):
    """Fully connected: a plain layer to the width, ``depth - 1`` highway layers, the classifier.

    Section 3.1 of the paper, which has depths of 10, 20, 50 and 100 and a width of 50 on MNIST.
    Its plain networks are 71 wide, to have as many parameters as the gated ones.

    Parameters
    ----------
    num_classes : int
    in_channels : int
    depth : int
        Layers before the classifier, 1 or more.
    width : int
    image_size : int
        Height and width of the input; there is no other.
    gate_bias : float
        The untrained layers after the first carry (1 - sigmoid(gate_bias)) ** (depth - 1) of
        their input to the end: 41 % over 50 layers at -4, but 0.2 % at -2.
    activation : {"relu", "tanh"}
    plain : bool
        The same depth and width without gates, to compare with.

    Attributes
    ----------
    stages : tuple of Stage
        ``layer1`` (the plain one) to ``layer<depth>``.
    """

    head: ClassVar[tuple[str, ...]] = ("classifier",)

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        *,
        depth: int = 50,
        width: int = 50,
        image_size: int = 28,
        gate_bias: float = -4.0,
        activation: Activation = "relu",
        plain: bool = False,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise InputError(f"depth of HighwayMLP is 1 or more; received {depth}.")
        self.in_channels, self.image_size = in_channels, image_size
        self.flatten = nn.Flatten()
        pixels = in_channels * image_size**2
        self.layers = nn.Sequential(PlainLayer(nn.Linear(pixels, width), activation))
        for _ in range(depth - 1):
            self.layers.append(
                PlainLayer(nn.Linear(width, width), activation)
                if plain
                else HighwayLayer(width, gate_bias, activation=activation)
            )
        self.classifier = nn.Linear(width, num_classes)
        _initialise(self.classifier)
        self.stages = tuple(
            Stage(f"layer{number + 1}", f"layers.{number}", width, None) for number in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(n, in_channels, image_size, image_size)`` to logits ``(n, num_classes)``."""
        check_input(x, "HighwayMLP", channels=self.in_channels, exactly=self.image_size)
        logits: Tensor = self.classifier(self.layers(self.flatten(x)))
        return logits


class HighwayCNN(nn.Module):
    """Convolutional highway network for small images, in the manner of the paper's for CIFAR.

    Each stage is a plain 3 × 3 convolution that changes the number of channels, then highway
    convolutions; 2 × 2 max pooling between stages. The paper's networks take the widths and the
    fully connected end of the FitNets (Romero et al. 2014), which it does not list; here the maps
    of the last stage are averaged before the classifier, and sizes other than 32 × 32 are taken.
    With 6 layers in each of 3 stages and the classifier it is 19 layers deep, as two of theirs.

    Parameters
    ----------
    num_classes : int
    in_channels : int
    widths : sequence of int
        Channels of each stage.
    layers_per_stage : int
        Convolutions in a stage, the plain one included.
    gate_bias : float
    activation : {"relu", "tanh"}
    plain : bool
        The same network without gates, to compare with.

    Attributes
    ----------
    stages : tuple of Stage
        ``stage1``, ``stage2``, ... before their pooling, and ``pooled``.
    """

    head: ClassVar[tuple[str, ...]] = ("classifier",)

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        *,
        widths: Sequence[int] = (16, 32, 64),
        layers_per_stage: int = 6,
        gate_bias: float = -2.0,
        activation: Activation = "relu",
        plain: bool = False,
    ) -> None:
        super().__init__()
        if not widths or layers_per_stage < 1:
            raise InputError(
                "HighwayCNN needs one width or more, and layers_per_stage of 1 or more; "
                f"received {tuple(widths)} and {layers_per_stage}."
            )
        self.in_channels = in_channels
        self.features = nn.Sequential()
        stages = []
        for number, (before, after) in enumerate(pairwise([in_channels, *widths])):
            stage = nn.Sequential(PlainLayer(nn.Conv2d(before, after, 3, padding=1), activation))
            for _ in range(layers_per_stage - 1):
                stage.append(
                    PlainLayer(nn.Conv2d(after, after, 3, padding=1), activation)
                    if plain
                    else HighwayConv2d(after, 3, gate_bias, activation=activation)
                )
            name = f"stage{number + 1}"
            self.features.add_module(name, stage)
            if number + 1 < len(widths):
                self.features.add_module(f"pool{number + 1}", nn.MaxPool2d(2))
            stages.append(Stage(name, f"features.{name}", after, 2**number))
        self.smallest = 2 ** (len(widths) - 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(widths[-1], num_classes)
        _initialise(self.classifier)
        self.stages = (*stages, Stage("pooled", "flatten", widths[-1], None))

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(n, in_channels, h, w)``, 4 × 4 or larger, to logits ``(n, num_classes)``."""
        check_input(x, "HighwayCNN", channels=self.in_channels, at_least=self.smallest)
        logits: Tensor = self.classifier(self.flatten(self.avgpool(self.features(x))))
        return logits
