"""GoogLeNet (Szegedy et al. 2014, arXiv 1409.4842): the paper's network, and torchvision's.

:class:`GoogLeNet2014` is table 1 of the paper. The table's parameter counts do not all follow from
the table's own columns. Printed, and counted from the columns as weights / weights and biases, in
thousands of 1024:

===== ======= ================ ===============================================================
row   printed counted
===== ======= ================ ===============================================================
conv1     2.7      9.2 /   9.2 2.7 is 7 + 7 weights for each pair of channels, not 7 × 7; the
                               table's operations (34M) are those of 2.7 too
conv2     112    112.0 / 112.2 agrees
3a        159    159.5 / 159.9 agrees, cut off
3b        380    379.0 / 379.6 agrees, rounded with biases
4a        364    366.8 / 367.4 0.8 % more than printed
4b        437    438.0 / 438.6 0.2 % more
4c        463    497.5 / 498.1 7.5 % more
4d        580    590.5 / 591.2 1.8 % more
4e        840    847.0 / 848.0 0.8 % more
5a       1072   1018.0 / 1019  5.0 % less
5b       1388   1409.0 / 1410  1.5 % more
fc       1000   1000.0 / 1001  agrees
===== ======= ================ ===============================================================

The columns are what this network, BVLC's replication and torchvision's are built from.

:class:`GoogLeNet` is torchvision's: batch norm for local response normalisation and biases, 3 × 3
where the paper has 5 × 5, 2 × 2 for the last max pool, other dropout. Its module and key names are
torchvision's, so that its weight files load as they are. It has no ``transform_input``: those
weights take channels normalised by mean 0.5 and standard deviation 0.5.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from convscope.nets.inception import ConvReLU, Inception
from convscope.nets.stages import Stage, check_input


class GoogLeNetOutput(NamedTuple):
    """What a network with auxiliary heads gives in training; each ``(n, num_classes)``.

    Attributes
    ----------
    logits : Tensor
    aux2 : Tensor
        Of the head on 4d. The paper adds the loss of either head times 0.3.
    aux1 : Tensor
        Of the head on 4a.
    """

    logits: Tensor
    aux2: Tensor
    aux1: Tensor


class AuxHead(nn.Module):
    """Auxiliary classifier: pool to 4 × 4, 1 × 1 convolution to 128, 1024 units, logits.

    Parameters
    ----------
    in_channels : int
    num_classes : int
    pool : nn.Module
        ``(n, in_channels, h, w)`` to ``(n, in_channels, 4, 4)``.
    batch_norm : bool
        See :class:`~convscope.nets.inception.ConvReLU`.
    """

    def __init__(
        self, in_channels: int, num_classes: int, pool: nn.Module, *, batch_norm: bool
    ) -> None:
        super().__init__()
        self.pool = pool
        self.conv = ConvReLU(in_channels, 128, 1, batch_norm=batch_norm)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in_channels, h, w)`` to logits ``(n, num_classes)``."""
        x = self.flatten(self.conv(self.pool(x)))
        logits: Tensor = self.fc2(self.dropout(self.relu(self.fc1(x))))
        return logits


class _GoogLeNet(nn.Module):
    """What both networks have in common: table 1 from top to bottom."""

    head: ClassVar[tuple[str, ...]] = ("fc",)

    def __init__(
        self, num_classes: int, in_channels: int, aux_heads: bool, *, as_in_paper: bool
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        norm = not as_in_paper

        def inception(channels: int, *widths: int) -> Inception:
            return Inception(
                channels, *widths, large_kernel=5 if as_in_paper else 3, batch_norm=norm
            )

        def aux_head(channels: int) -> AuxHead:
            # 5 × 5 / 3 turns the 14 × 14 of a 224 × 224 input into 4 × 4, which the adaptive pool
            # then leaves alone; from other sizes it makes the 4 × 4 that fc1 needs.
            pool: nn.Module = nn.AdaptiveAvgPool2d(4)
            if as_in_paper:
                pool = nn.Sequential(nn.AvgPool2d(5, stride=3), pool)
            return AuxHead(channels, num_classes, pool, batch_norm=norm)

        self.conv1 = ConvReLU(in_channels, 64, 7, stride=2, batch_norm=norm)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = ConvReLU(64, 64, 1, batch_norm=norm)
        self.conv3 = ConvReLU(64, 192, 3, batch_norm=norm)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        # Columns of table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj.
        self.inception3a = inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = nn.MaxPool2d(3 if as_in_paper else 2, stride=2, ceil_mode=True)
        self.inception5a = inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = inception(832, 384, 192, 384, 48, 128, 128)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(0.4 if as_in_paper else 0.2)
        self.fc = nn.Linear(1024, num_classes)
        self.aux1 = aux_head(512) if aux_heads else None
        self.aux2 = aux_head(528) if aux_heads else None
        # Declared for the class, but here a matter of the instance: only what it has can be named.
        heads = ("fc", "aux1.fc2", "aux2.fc2") if aux_heads else ("fc",)
        self.head = heads  # type: ignore[misc]
        self.stages = (
            Stage("conv1", "conv1", 64, 2),
            Stage("conv2", "conv3", 192, 4),
            Stage("inception3a", "inception3a", 256, 8),
            Stage("inception3b", "inception3b", 480, 8),
            Stage("inception4a", "inception4a", 512, 16),
            Stage("inception4b", "inception4b", 512, 16),
            Stage("inception4c", "inception4c", 512, 16),
            Stage("inception4d", "inception4d", 528, 16),
            Stage("inception4e", "inception4e", 832, 16),
            Stage("inception5a", "inception5a", 832, 32),
            Stage("inception5b", "inception5b", 1024, 32),
            Stage("pooled", "flatten", 1024, None),
        )

    def _stem(self, x: Tensor) -> Tensor:
        x = self.maxpool1(self.conv1(x))
        x = self.conv3(self.conv2(x))
        x = self.maxpool2(x)
        return x

    def _from_3a(self, x: Tensor) -> Tensor | GoogLeNetOutput:
        x = self.inception3b(self.inception3a(x))
        map4a = self.inception4a(self.maxpool3(x))
        map4d = self.inception4d(self.inception4c(self.inception4b(map4a)))
        x = self.maxpool4(self.inception4e(map4d))
        x = self.inception5b(self.inception5a(x))
        logits: Tensor = self.fc(self.dropout(self.flatten(self.avgpool(x))))
        if self.training and self.aux1 is not None and self.aux2 is not None:
            return GoogLeNetOutput(logits, self.aux2(map4d), self.aux1(map4a))
        return logits


class GoogLeNet2014(_GoogLeNet):
    """The network of the paper, for 224 × 224 RGB; 6,998,552 parameters without auxiliary heads.

    The 7 × 7 average pool is global here, the same at 224 × 224, so that other sizes can be taken:
    31 × 31 or larger, but 79 × 79 in training with auxiliary heads, whose 5 × 5 / 3 average pool
    is followed by an adaptive one to 4 × 4 at sizes other than 224.

    The paper does not say how the weights start. Here as in BVLC's replication, which its authors
    helped with: uniform with variance 1 / fan-in (Caffe's "xavier"), biases 0.2, and 0 in front of
    a softmax. The constants of the local response normalisation, which it does not give either, are
    that replication's: over 5 channels, alpha 0.0001, beta 0.75.

    Parameters
    ----------
    num_classes : int
    in_channels : int
    aux_heads : bool
        Two classifiers more on 4a and 4d. In training the forward pass then gives a
        :class:`GoogLeNetOutput`, in evaluation the logits alone.

    Attributes
    ----------
    stages : tuple of Stage
        ``conv1``, ``conv2``, ``inception3a`` ... ``inception5b``, ``pooled``.
    """

    head: ClassVar[tuple[str, ...]] = ("fc", "aux1.fc2", "aux2.fc2")

    def __init__(
        self, num_classes: int = 1000, in_channels: int = 3, *, aux_heads: bool = True
    ) -> None:
        super().__init__(num_classes, in_channels, aux_heads, as_in_paper=True)
        self.norm1 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        self.norm2 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="linear")
                if module.bias is not None:
                    nn.init.constant_(module.bias, 0.0 if name in self.head else 0.2)

    def forward(self, x: Tensor) -> Tensor | GoogLeNetOutput:
        """Images ``(n, in_channels, h, w)`` to logits ``(n, num_classes)``.

        In training, with auxiliary heads, to a :class:`GoogLeNetOutput`.
        """
        with_heads = self.training and self.aux1 is not None
        smallest = 79 if with_heads else 31
        check_input(x, "GoogLeNet2014", channels=self.in_channels, at_least=smallest)
        return self._from_3a(self._stem(x))

    def _stem(self, x: Tensor) -> Tensor:
        x = self.norm1(self.maxpool1(self.conv1(x)))
        x = self.norm2(self.conv3(self.conv2(x)))
        x = self.maxpool2(x)
        return x


class GoogLeNet(_GoogLeNet):
    """torchvision's form, with batch norm; 6,624,904 parameters, 13,004,888 with auxiliary heads.

    For 224 × 224 RGB normalised to mean 0.5, standard deviation 0.5; takes 15 × 15 or larger. Its
    5 × 5 branches are 3 × 3: a slip that the published weights were trained with. Convolutions and
    linear layers start from a normal distribution with standard deviation 0.01, cut off at two of
    them, as in torchvision and before that in TensorFlow's Slim.

    Parameters
    ----------
    num_classes : int
    in_channels : int
    aux_heads : bool
        See :class:`GoogLeNet2014`; their pool is adaptive, to 4 × 4, at every size.

    Attributes
    ----------
    stages : tuple of Stage
        As :class:`GoogLeNet2014`; the paper's conv2 is the module ``conv3`` here and there.
    """

    head: ClassVar[tuple[str, ...]] = ("fc",)

    def __init__(
        self, num_classes: int = 1000, in_channels: int = 3, *, aux_heads: bool = False
    ) -> None:
        super().__init__(num_classes, in_channels, aux_heads, as_in_paper=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.01, a=-0.02, b=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor | GoogLeNetOutput:
        """Images ``(n, in_channels, h, w)`` to logits ``(n, num_classes)``.

        In training, with auxiliary heads, to a :class:`GoogLeNetOutput`.
        """
        check_input(x, "GoogLeNet", channels=self.in_channels, at_least=15)
        return self._from_3a(self._stem(x))
