"""The two networks of the founding exercise: 8 celebrities, 250 photos each, 48 × 48 pixels."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from convscope.nets.stages import Stage, check_input

INPUT_SIZE = 48


class FcNN(nn.Module):
    """Fully connected 400-500-200: every pixel its own weight, blind to where pixels lie.

    Each hidden layer is linear, batch norm, ReLU, dropout. 3,071,908 parameters at 8 classes by
    Keras' count, which includes the running statistics of the batch norms (2 per unit).

    Parameters
    ----------
    num_classes : int
    in_channels : int
    dropout : float
        Share of activations dropped in training, 0..1.
    """

    head: ClassVar[tuple[str, ...]] = ("classifier",)

    def __init__(self, num_classes: int = 8, in_channels: int = 3, dropout: float = 0.5) -> None:
        super().__init__()
        self.in_channels = in_channels
        widths = [in_channels * INPUT_SIZE * INPUT_SIZE, 400, 500, 200]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths):
            layers += [
                nn.Linear(before, after),
                nn.BatchNorm1d(after),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
            ]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(widths[-1], num_classes)
        # After their ReLU, the third of the four layers of each; the first of all is Flatten.
        self.stages = tuple(
            Stage(f"fc{n}", f"features.{4 * n - 1}", width, None)
            for n, width in enumerate(widths[1:], 1)
        )

    def forward(self, photos: Tensor) -> Tensor:
        """Photos ``(n, in_channels, 48, 48)`` to logits ``(n, num_classes)``."""
        check_input(photos, "FcNN", channels=self.in_channels, exactly=INPUT_SIZE)
        logits: Tensor = self.classifier(self.features(photos))
        return logits


class SmallCNN(nn.Module):
    """Convolutions 15-15-pool2-30-30-pool4, then 300 units: 342,578 parameters at 8 classes.

    3 × 3 convolutions with "same" padding and ReLU; the 300 units with batch norm, ReLU and
    dropout. Counted as Keras does, with the running statistics.

    Parameters
    ----------
    num_classes : int
    in_channels : int
    dropout : float
        Share of the 300 units dropped in training, 0..1.
    """

    head: ClassVar[tuple[str, ...]] = ("classifier",)

    def __init__(self, num_classes: int = 8, in_channels: int = 3, dropout: float = 0.5) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, 15, 3, padding=1),
                relu1=nn.ReLU(inplace=True),
                conv2=nn.Conv2d(15, 15, 3, padding=1),
                relu2=nn.ReLU(inplace=True),
                pool2=nn.MaxPool2d(2),
                conv3=nn.Conv2d(15, 30, 3, padding=1),
                relu3=nn.ReLU(inplace=True),
                conv4=nn.Conv2d(30, 30, 3, padding=1),
                relu4=nn.ReLU(inplace=True),
                pool4=nn.MaxPool2d(4),
            )
        )
        self.hidden = nn.Sequential(
            nn.Flatten(),
            nn.Linear(30 * (INPUT_SIZE // 8) ** 2, 300),
            nn.BatchNorm1d(300),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )
        self.classifier = nn.Linear(300, num_classes)
        self.stages = (
            Stage("conv1", "features.relu1", 15, 1),
            Stage("conv2", "features.relu2", 15, 1),
            Stage("pool2", "features.pool2", 15, 2),
            Stage("conv3", "features.relu3", 30, 2),
            Stage("conv4", "features.relu4", 30, 2),
            Stage("pool4", "features.pool4", 30, 8),
            Stage("fc1", "hidden.3", 300, None),
        )

    def forward(self, photos: Tensor) -> Tensor:
        """Photos ``(n, in_channels, 48, 48)`` to logits ``(n, num_classes)``."""
        check_input(photos, "SmallCNN", channels=self.in_channels, exactly=INPUT_SIZE)
        logits: Tensor = self.classifier(self.hidden(self.features(photos)))
        return logits


def keras_parameter_count(net: nn.Module) -> int:
    """Parameters as Keras counts them: the trained ones and the batch norms' running statistics."""
    trained = sum(parameter.numel() for parameter in net.parameters())
    statistics = sum(
        buffer.numel() for name, buffer in net.named_buffers() if name.split(".")[-1] in _STATISTICS
    )
    return trained + statistics


_STATISTICS = frozenset({"running_mean", "running_var"})
