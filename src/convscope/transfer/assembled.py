"""A network and a classifier on its features, put together into one module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from convscope.nets.inference import last_linear
from convscope.nets.stages import Stage
from convscope.run import HeadInfo
from convscope.transfer.heads import FittedHead, build_head
from convscope.transfer.staged import StageVectors


class StagedClassifier(nn.Module):
    """Photos to logits: features of some stages, joined, and a classifier on them.

    Parameters
    ----------
    vectors : StageVectors
    head : nn.Module
        ``(n, features)`` to logits ``(n, classes)``.
    """

    def __init__(self, vectors: StageVectors, head: nn.Module) -> None:
        super().__init__()
        self.vectors = vectors
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, h, w)`` to logits ``(n, classes)``."""
        logits: Tensor = self.head(self.vectors(x))
        return logits


def assemble(
    net: nn.Module, stages: Sequence[str], head: FittedHead
) -> tuple[nn.Module, HeadInfo | None]:
    """Put a fitted classifier on a network.

    A linear classifier on the top's features becomes the network's own last layer; every other is
    kept beside it.

    Parameters
    ----------
    net : nn.Module
        With ``stages``; may be changed.
    stages : sequence of str
        Whose features the classifier was fitted on, in this order.
    head : FittedHead

    Returns
    -------
    nn.Module
    HeadInfo or None
        None where the classifier is the network's last layer.
    """
    if isinstance(head.module, nn.Linear) and tuple(stages) == own_head_stage(net):
        last = last_linear(net)
        with torch.no_grad():
            last.weight.copy_(head.module.weight)
            last.bias.copy_(head.module.bias)
        return net, None
    info = HeadInfo(kind=head.kind, stages=tuple(stages), config=head.config)
    return StagedClassifier(StageVectors(net, stages), head.module).eval(), info


def rebuild(net: nn.Module, info: HeadInfo | None) -> nn.Module:
    """The same module without its weights: for ``load_state_dict``."""
    if info is None:
        return net
    return StagedClassifier(StageVectors(net, info.stages), build_head(info.kind, info.config))


def own_head_stage(net: nn.Module) -> tuple[str, ...]:
    """The stage whose features, averaged, the network's own last linear layer takes.

    None of them where the network ends otherwise (SqueezeNet, with a convolution).
    """
    stages: tuple[Stage, ...] = getattr(net, "stages", ())
    heads: tuple[str, ...] = getattr(net, "head", ())
    if len(heads) != 1 or not stages:
        return ()
    last = net.get_submodule(heads[0])
    fits = isinstance(last, nn.Linear) and last.in_features == stages[-1].channels
    return (stages[-1].name,) if fits else ()
