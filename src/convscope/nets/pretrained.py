"""A network of the catalogue with weights in it, from Python."""

from __future__ import annotations

import warnings

from torch import nn

from convscope.nets.catalog import RGB, build_net, net_spec
from convscope.nets.weights import find_weights, load_weights, read_weights
from convscope.progress import Progress


def load_net(
    name: str,
    weights: str = "published",
    *,
    num_classes: int | None = None,
    in_channels: int = RGB,
    seed: int = 0,
    progress: Progress | None = None,
) -> nn.Module:
    """Build a network of the catalogue and put weights into it.

    Parameters
    ----------
    name : str
        One that ``convscope nets`` lists.
    weights : str
        ``published``: the file that torchvision publishes, fetched once and checked. ``none``:
        initial weights. Or a ``.safetensors`` or ``.pth`` file with torchvision's or timm's names.
    num_classes : int, optional
        Default as many as its paper has. With another number than the file's, the last layer
        starts anew, and one line says so.
    in_channels : int
    seed : int
        For the initial weights of what the file does not give.
    progress : Progress, optional
        Told what the file did not give; without it, that is a Python warning.

    Returns
    -------
    nn.Module
        In evaluation mode; ``(n, in_channels, h, w)`` to logits ``(n, num_classes)``. Mean and
        deviation that it expects stand in ``convscope.nets.catalog.NETS[name]``.

    Raises
    ------
    InputError
        If there is no such network, or the file does not fit it.
    ConvscopeError
        If published weights cannot be fetched.
    """
    say = progress.say if progress is not None else _warn
    spec = net_spec(name)
    file = find_weights(weights, spec, progress=progress or Progress())
    classes = spec.classes if num_classes is None else num_classes
    net = build_net(spec, classes, seed, in_channels=in_channels)
    if file is not None:
        for note in load_weights(net, read_weights(file), net_name=name).notes:
            say(note)
    return net.eval()


def _warn(note: str) -> None:
    warnings.warn(note, stacklevel=3)
