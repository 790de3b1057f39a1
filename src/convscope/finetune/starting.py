"""The head first, the body frozen: logistic regression gives the last layer its first weights.

That is what training the head alone to its end comes to, and takes seconds.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, fx, nn

from convscope.errors import InputError
from convscope.finetune.cutting import Cut
from convscope.finetune.maps import as_input, fused, over_rows
from convscope.transfer.heads.linear import LinearHead, fit_linear_head
from convscope.transfer.staged import as_vectors


def head_vectors(cut: Cut, maps: np.ndarray) -> np.ndarray:
    """What the last layer takes, averaged over places, float32 ``(n, features)``.

    Parameters
    ----------
    cut : Cut
    maps : numpy.ndarray
        float16 ``(n, ...)``, n at least 1.
    """
    body = fused(_as_far_as_head(cut))

    def forward(rows: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            vectors: np.ndarray = as_vectors(body(as_input(maps[rows]))).numpy()
            return vectors

    return np.concatenate(list(over_rows(forward, np.arange(len(maps)))))


def start_head(
    cut: Cut, maps: np.ndarray, labels: np.ndarray, places: tuple[np.ndarray, np.ndarray],
    num_classes: int,
) -> LinearHead:  # fmt: skip
    """Fit logistic regression on what the last layer takes, and put it into the network.

    Parameters
    ----------
    cut : Cut
    maps : numpy.ndarray
        float16 ``(n, ...)``: of all photos, not augmented.
    labels : numpy.ndarray
        int64 ``(n,)``.
    places : tuple of numpy.ndarray
        Rows to fit on, and rows to choose the strength of the penalty by (may be none).
    num_classes : int
    """
    train, valid = places
    rows = np.concatenate([train, valid])
    vectors = head_vectors(cut, maps[rows])
    on, by = vectors[: len(train)], vectors[len(train) :]
    head = fit_linear_head(on, labels[train], by, labels[valid], num_classes)
    set_head(cut, head, maps[train])
    return head


def set_head(cut: Cut, head: LinearHead, maps: np.ndarray) -> None:
    """Make a linear classifier the network's last layer.

    Where the last layer is a 1 × 1 convolution with a ReLU behind it (SqueezeNet), all its biases
    are raised by the same number, which changes no probability, until no output is negative.

    Parameters
    ----------
    cut : Cut
    head : LinearHead
    maps : numpy.ndarray
        float16 ``(n, ...)``, of training photos.

    Raises
    ------
    InputError
        If the last layer is of another kind.
    """
    last = cut.trained.get_submodule(cut.head)
    fits = isinstance(last, nn.Linear | nn.Conv2d) and last.weight[0, 0].numel() == 1
    own_weight, own_bias = last.weight, last.bias
    if not (fits and isinstance(own_weight, Tensor) and isinstance(own_bias, Tensor)):
        raise InputError(
            f"The last layer {cut.head} is no linear one with a bias, so fine-tuning cannot start "
            "from a linear classifier. Choose another network."
        )
    weight, bias = torch.from_numpy(head.weight), torch.from_numpy(head.bias)
    with torch.no_grad():
        own_weight.copy_(weight.reshape(own_weight.shape))
        own_bias.copy_(bias)
        if isinstance(last, nn.Conv2d):
            own_bias.copy_(bias + max(0.0, 1.0 - _least_output(cut, last, maps)))


def _least_output(cut: Cut, last: nn.Conv2d, maps: np.ndarray) -> float:
    body = fused(_as_far_as_head(cut))

    def forward(rows: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            output: Tensor = last(body(as_input(maps[rows])))
            return output.amin().reshape(1).numpy()

    return float(min(part.min() for part in over_rows(forward, np.arange(len(maps)))))


def _as_far_as_head(cut: Cut) -> nn.Module:
    """The trained part without its last layer and what comes behind."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    trained = cut.trained
    if not isinstance(trained, fx.GraphModule):
        raise TypeError("the trained part of a cut is a traced module")
    for node in trained.graph.nodes:
        if node.op == "call_module" and node.target == cut.head:
            graph.output(copies[node.all_input_nodes[0]])
            break
        copies[node] = graph.node_copy(node, lambda n: copies[n])
    graph.lint()
    return fx.GraphModule(trained, graph, "Body").eval()
