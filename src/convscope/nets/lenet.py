"""LeNet-5: "Gradient-Based Learning Applied to Document Recognition" (LeCun et al. 1998).

Proceedings of the IEEE 86(11), section II.B and figure 2. Layer names C1, S2, C3, S4, C5, F6 are
the paper's.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.nets.stages import Stage, check_input

INPUT_SIZE = 32

# Table I of the paper: which of the six maps of S2 each map of C3 reads. Incomplete, to keep the
# number of connections down and to make the maps differ by what they see.
C3_READS = (
    (0, 1, 2),
    (1, 2, 3),
    (2, 3, 4),
    (3, 4, 5),
    (0, 4, 5),
    (0, 1, 5),
    (0, 1, 2, 3),
    (1, 2, 3, 4),
    (2, 3, 4, 5),
    (0, 3, 4, 5),
    (0, 1, 4, 5),
    (0, 1, 2, 5),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)

# The digits 0 to 9 on bitmaps of 7 x 12, beside one another. The paper shows such codes for all of
# ASCII (figure 3); these ten are drawn anew in its manner.
_DIGITS = """
..###.. ...##.. .#####. .#####. ....##. ####### ..####. ####### .#####. .#####.
.##.##. ..###.. ##...## ##...## ...###. ####### .##.... ####### ##...## ##...##
##...## .####.. ##...## .....## ..####. ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## .##.##. ##..... ##..... ....##. ##...## ##...##
##...## ...##.. .....## ....##. ##..##. ##..... ######. ....##. .##.##. ##...##
##...## ...##.. ....##. ..###.. ##..##. ######. ##...## ...##.. ..###.. .######
##...## ...##.. ...##.. ....##. ####### .....## ##...## ...##.. .##.##. .....##
##...## ...##.. ..##... .....## ####### .....## ##...## ..##... ##...## .....##
##...## ...##.. .##.... .....## ....##. .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... ##...## ....##. ##...## ##...## .##.... ##...## ##...##
.##.##. .###### ####### ##...## ....##. ##...## ##...## .##.... ##...## ##...##
..###.. .###### ####### .#####. ....##. .#####. .#####. .##.... .#####. .#####.
"""
_CODE_LENGTH = 7 * 12  # hence the 84 units of F6


class ScaledTanh(nn.Module):
    """The paper's squashing function, 1.7159 · tanh(2/3 · a) (appendix A).

    It gives 1 at 1 and -1 at -1, where its curvature is largest.
    """

    def forward(self, a: Tensor) -> Tensor:
        """Any shape to the same shape, within ±1.7159."""
        return 1.7159 * torch.tanh(2 / 3 * a)


class SubSampling(nn.Module):
    """S2 and S4: the sum of 2 × 2 inputs, times a trainable coefficient, plus a trainable bias.

    One coefficient and one bias per map; the squashing comes after.

    Parameters
    ----------
    channels : int
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, h, w)`` to ``(n, channels, h / 2, w / 2)``."""
        return self.weight * (4 * F.avg_pool2d(x, 2)) + self.bias


class SparseConvolution(nn.Module):
    """C3: each output map is a 5 × 5 convolution of its own, over the maps that it reads.

    Parameters
    ----------
    reads : tuple of tuple of int
        For each output map the input maps; only these connections are parameters.
    """

    def __init__(self, reads: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        self.reads = [list(maps) for maps in reads]
        self.maps = nn.ModuleList(nn.Conv2d(len(maps), 1, 5) for maps in reads)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 6, h, w)`` to ``(n, len(reads), h - 4, w - 4)``."""
        return torch.cat(
            [conv(x[:, maps]) for conv, maps in zip(self.maps, self.reads, strict=True)], 1
        )


class RBFOutput(nn.Module):
    """Euclidean radial basis functions: one unit per class, its code fixed (equation 7).

    Parameters
    ----------
    codes : Tensor
        ``(num_classes, 84)``, +1 or -1; kept with the weights, not trained.
    """

    codes: Tensor

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 84)`` to minus the squared distance from each code, ``(n, num_classes)``."""
        return -(x.unsqueeze(1) - self.codes).square().sum(2)


def digit_codes() -> Tensor:
    """Codes ``(10, 84)``: stylised bitmaps of the digits 0 to 9, +1 for ink and -1 for none."""
    rows = [line.split() for line in _DIGITS.strip().splitlines()]
    bitmaps = ["".join(rows_of_digit) for rows_of_digit in zip(*rows, strict=True)]
    return torch.tensor([[1.0 if pixel == "#" else -1.0 for pixel in map_] for map_ in bitmaps])


def random_codes(num_classes: int, seed: int) -> Tensor:
    """Codes ``(num_classes, 84)`` of +1 and -1 with equal probability, by the seed alone."""
    draw = random.Random(seed)
    return torch.tensor([draw.choices((-1.0, 1.0), k=_CODE_LENGTH) for _ in range(num_classes)])


class LeNet5(nn.Module):
    """LeNet-5 as published, for 32 × 32 grey images: 60,000 trainable parameters at 10 classes.

    The paper's output is the squared distance of F6 to the code of each class, the nearest class
    being the answer. The network returns *minus* that distance, so that its outputs are logits:
    the largest is the answer, and cross-entropy on them is the paper's discriminative criterion
    (equation 9) without its constant for "none of the classes".

    Weights and biases start uniform within ±2.4 / fan-in, as the paper says (appendix A); the
    fan-in of a sub-sampling unit is its four inputs.

    Parameters
    ----------
    num_classes : int
        With 10, the codes are bitmaps of the digits; with any other number they are drawn at
        random, the alternative that the paper names.
    in_channels : int
    codes_seed : int
        Of the random codes.
    """

    head: ClassVar[tuple[str, ...]] = ("output",)

    def __init__(self, num_classes: int = 10, in_channels: int = 1, codes_seed: int = 0) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.features = nn.Sequential(
            OrderedDict(
                c1=nn.Conv2d(in_channels, 6, 5),
                c1_squash=ScaledTanh(),
                s2=SubSampling(6),
                s2_squash=ScaledTanh(),
                c3=SparseConvolution(C3_READS),
                c3_squash=ScaledTanh(),
                s4=SubSampling(16),
                s4_squash=ScaledTanh(),
                c5=nn.Conv2d(16, 120, 5),
                flatten=nn.Flatten(),  # C5 is 120 maps of 1 x 1
                c5_squash=ScaledTanh(),
                f6=nn.Linear(120, _CODE_LENGTH),
                f6_squash=ScaledTanh(),
            )
        )
        self.output = RBFOutput(
            digit_codes() if num_classes == 10 else random_codes(num_classes, codes_seed)
        )
        self.stages = _stages("c1_squash s2_squash c3_squash s4_squash c5_squash f6_squash")
        self._initialise()

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(n, in_channels, 32, 32)`` to logits ``(n, num_classes)``.

        The paper scales pixels so that white is -0.1 and black 1.175.
        """
        check_input(x, "LeNet5", channels=self.in_channels, exactly=INPUT_SIZE)
        logits: Tensor = self.output(self.features(x))
        return logits

    @torch.no_grad()
    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear | SubSampling):
                fan_in = 4 if isinstance(module, SubSampling) else module.weight[0].numel()
                for parameter in module.parameters():
                    parameter.uniform_(-2.4 / fan_in, 2.4 / fan_in)


class LeNet5Modern(nn.Module):
    """LeNet-5 as it is mostly built today: 61,706 parameters at 10 classes, 32 × 32 input.

    What differs from :class:`LeNet5`: C3 reads all of S2, sub-sampling is max pooling, the units
    are ReLUs, and the output is linear. Of no one paper; weights start as He et al. 2015
    (arXiv 1502.01852) derive for ReLU, normal with variance 2 / fan-in, biases at 0.

    Parameters
    ----------
    num_classes : int
    in_channels : int
    """

    head: ClassVar[tuple[str, ...]] = ("output",)

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.features = nn.Sequential(
            OrderedDict(
                c1=nn.Conv2d(in_channels, 6, 5),
                c1_relu=nn.ReLU(inplace=True),
                s2=nn.MaxPool2d(2),
                c3=nn.Conv2d(6, 16, 5),
                c3_relu=nn.ReLU(inplace=True),
                s4=nn.MaxPool2d(2),
                c5=nn.Conv2d(16, 120, 5),
                flatten=nn.Flatten(),
                c5_relu=nn.ReLU(inplace=True),
                f6=nn.Linear(120, _CODE_LENGTH),
                f6_relu=nn.ReLU(inplace=True),
            )
        )
        self.output = nn.Linear(_CODE_LENGTH, num_classes)
        self.stages = _stages("c1_relu s2 c3_relu s4 c5_relu f6_relu")
        self._initialise()

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(n, in_channels, 32, 32)`` to logits ``(n, num_classes)``."""
        check_input(x, "LeNet5Modern", channels=self.in_channels, exactly=INPUT_SIZE)
        logits: Tensor = self.output(self.features(x))
        return logits

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def _stages(modules: str) -> tuple[Stage, ...]:
    """The six stages of both forms, under the paper's names; ``modules`` in their order."""
    names = ("c1", "s2", "c3", "s4", "c5", "f6")
    channels = (6, 6, 16, 16, 120, _CODE_LENGTH)
    strides = (1, 2, 2, 4, None, None)
    return tuple(
        Stage(name, f"features.{module}", width, stride)
        for name, module, width, stride in zip(
            names, modules.split(), channels, strides, strict=True
        )
    )
