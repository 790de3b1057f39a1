"""Pre-trained weights: found, verified, read without running anything, fitted to a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from convscope.errors import ConvscopeError, InputError
from convscope.nets.catalog import NetSpec
from convscope.nets.download import cache_folder, download, file_sha256
from convscope.nets.published import KEY_NAMES, PublishedWeights
from convscope.progress import Progress

_ALLOWED = "published, none, or a file (.safetensors or .pth)"
# GoogLeNet's, which are there for training alone.
_AUXILIARY = ("aux1.", "aux2.")

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Weights:
    """A weight file, read.

    Attributes
    ----------
    source : str
        The file's name.
    sha256 : str
        Of the file.
    tensors : mapping of str to Tensor
    """

    source: str
    sha256: str
    tensors: Tensors


@dataclass(frozen=True)
class Loaded:
    """What became of a weight file in a network.

    Attributes
    ----------
    head : str
        ``kept``: the file's head is in the network. ``replaced``: the file's is for another number
        of classes, ``missing``: the file has none; the network's starts anew.
    notes : tuple of str
        What the user should be told, a line each.
    """

    head: Literal["kept", "replaced", "missing"]
    notes: tuple[str, ...]


def find_weights(wanted: str, spec: NetSpec, *, progress: Progress | None = None) -> Path | None:
    """The file behind ``--weights``; published weights are fetched once into the cache folder.

    A file in the cache folder is held against its hash each time; a damaged one is fetched again.

    Parameters
    ----------
    wanted : str
        ``published``, ``none`` or a file.
    spec : NetSpec
    progress : Progress, optional

    Returns
    -------
    Path or None
        None for ``none``.

    Raises
    ------
    InputError
        No such file, no such choice, no published weights for this network.
    ConvscopeError
        Published weights that cannot be fetched.
    """
    if wanted == "none":
        return None
    if wanted == "builtin":
        raise InputError(f"--weights builtin is not there yet. Allowed: {_ALLOWED}.")
    if wanted != "published":
        file = Path(wanted)
        if not file.is_file():
            raise InputError(f"--weights {wanted}: no such file. Allowed: {_ALLOWED}.")
        return file
    if spec.published is None:
        raise InputError(f"No published weights for {spec.name}. Use --weights none or a file.")
    file = cache_folder() / spec.published.file_name
    damage = _damage(file, spec.published) if file.is_file() else None
    if damage or not file.is_file():
        _fetch(spec.name, spec.published, file, progress or Progress(), damage)
    return file


def _damage(file: Path, published: PublishedWeights) -> str | None:
    try:
        sha256 = file_sha256(file)
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror or error}).") from None
    if sha256.startswith(published.sha256_prefix):
        return None
    return f"{file} is damaged (SHA-256 {sha256}, expected {published.sha256_prefix})"


def _fetch(
    net: str, published: PublishedWeights, file: Path, progress: Progress, damage: str | None
) -> None:
    if damage:
        progress.say(f"{damage}: fetching it again")
    progress.say(f"fetching {published.url} ({published.licence})")
    try:
        download(published.url, file, published.sha256_prefix, progress=progress)
    except ConvscopeError as error:
        raise ConvscopeError(
            f"The published weights of {net} could not be fetched: {error} Fetch that "
            f"file elsewhere and put it into {file.parent} as {file.name}, name it with "
            "--weights FILE, or go without: --weights none, and for fit --strategy cnn."
            + (f" {damage}." if damage else "")
        ) from None


def read_weights(file: Path) -> Weights:
    """Read a ``.safetensors`` or ``.pth`` file; no code in it can run.

    A ``.pth`` may hold the tensors directly or under ``state_dict``; a ``module.`` in front of
    every name (left by data-parallel training) is dropped.

    Raises
    ------
    InputError
        If the file is neither, or broken.
    """
    try:
        if file.suffix == ".safetensors":
            content: object = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
        sha256 = file_sha256(file)
    except (OSError, SafetensorError, RuntimeError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(_unreadable(file, why)) from None
    except Exception:  # over bytes that are no weights the reader of .pth stumbles in many ways
        raise InputError(
            _unreadable(file, "it is no weight file, or holds more than tensors; nothing in it ran")
        ) from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"{file} holds no plain table of tensors.")
    tensors = {str(name).removeprefix("module."): value for name, value in content.items()}
    return Weights(file.name, sha256, tensors)


def _unreadable(file: Path, why: str) -> str:
    return (
        f"{file} cannot be read as weights: {why}. Expected .safetensors, or a .pth that holds "
        "tensors only."
    )


def load_weights(net: nn.Module, weights: Weights, *, net_name: str = "the network") -> Loaded:
    """Put the weights of a file into a network of the catalogue.

    Names must be the network's own, which are torchvision's, or timm's for VGG and MobileNetV2. Of
    the file may be missing, or be for another number of classes: the head (``net.head``), which
    then keeps its initial weights. GoogLeNet's auxiliary heads may be missing on either side, and
    so may batch norm's counts of batches seen, which older files lack and evaluation never reads.

    Parameters
    ----------
    net : Module
        With the class attribute ``head``, see :class:`~convscope.nets.stages.Staged`.
    weights : Weights
    net_name : str
        The name to say.

    Raises
    ------
    InputError
        If anything else does not fit; the network is as it was.
    """
    return _load(net, weights, net_name, with_head=True)


def load_body(net: nn.Module, weights: Weights) -> None:
    """Put the weights of everything but the head into a network, as :func:`load_weights` does.

    Raises
    ------
    InputError
        If names or shapes do not fit.
    """
    _load(net, weights, "the network", with_head=False)


def _load(net: nn.Module, weights: Weights, net_name: str, *, with_head: bool) -> Loaded:
    misfit = f"{weights.source} does not fit {net_name}:"
    wanted, given, notes = _without_lone_auxiliaries(net.state_dict(), _in_our_names(weights))
    of_head = tuple(f"{path}." for path in cast("tuple[str, ...]", net.head))
    head_wanted, wanted = _split(wanted, of_head)
    head_given, given = _split(given, of_head)
    if not with_head:
        head_given = {}

    _check_names(misfit, wanted, given)
    _check_first_convolution(misfit, net, wanted, given)
    _check_shapes(misfit, wanted, given)
    _check_numbers(misfit, wanted, given)
    loaded = _judge_head(misfit, head_wanted, head_given, notes)
    if loaded.head == "kept":
        given |= head_given
    net.load_state_dict({**net.state_dict(), **given})
    return loaded


def _in_our_names(weights: Weights) -> dict[str, Tensor]:
    names = next((names for names in KEY_NAMES if names.mark in weights.tensors), None)
    if names is None:
        return dict(weights.tensors)
    renamed = {}
    for key, value in weights.tensors.items():
        module, _, kind = key.rpartition(".")
        module = names.modules.get(module, module)
        flat = module in names.flattened and kind == "weight" and value.dim() > 2
        renamed[f"{module}.{kind}"] = value.flatten(1) if flat else value
    return renamed


def _without_lone_auxiliaries(
    wanted: Tensors, given: Tensors
) -> tuple[Tensors, Tensors, tuple[str, ...]]:
    aux_wanted, rest_wanted = _split(wanted, _AUXILIARY)
    aux_given, rest_given = _split(given, _AUXILIARY)
    if aux_given and not aux_wanted:
        note = "the auxiliary heads in the file are left out: this network has none"
        return wanted, rest_given, (note,)
    if aux_wanted and not aux_given:
        note = "the file has no auxiliary heads: this network's start anew"
        return rest_wanted, given, (note,)
    return wanted, given, ()


def _split(tensors: Tensors, prefixes: tuple[str, ...]) -> tuple[dict[str, Tensor], ...]:
    """Those under the prefixes, and the others."""
    inside = {key: value for key, value in tensors.items() if key.startswith(prefixes)}
    return inside, {key: value for key, value in tensors.items() if key not in inside}


def _judge_head(misfit: str, wanted: Tensors, given: Tensors, notes: tuple[str, ...]) -> Loaded:
    if not given:
        note = "the file has no last layer: this network's starts anew"
        return Loaded("missing", (*notes, note))
    _check_names(misfit, wanted, given)
    _check_numbers(misfit, wanted, given)
    other = [key for key in wanted if given[key].shape != wanted[key].shape]
    if not other:
        return Loaded("kept", notes)
    # Only the number of classes may differ, not what the layer takes in.
    _refuse(
        misfit,
        "has another shape of",
        [key for key in other if given[key].shape[1:] != wanted[key].shape[1:]],
    )
    there, here = given[other[0]].shape[0], wanted[other[0]].shape[0]
    note = f"the file names {there} classes, this network {here}: its last layer starts anew"
    return Loaded("replaced", (*notes, note))


def _check_names(misfit: str, wanted: Tensors, given: Tensors) -> None:
    missing = [k for k in wanted if k not in given and not k.endswith("num_batches_tracked")]
    _refuse(misfit, "lacks", missing)
    _refuse(misfit, "has unknown", [k for k in given if k not in wanted])


def _check_first_convolution(misfit: str, net: nn.Module, wanted: Tensors, given: Tensors) -> None:
    kinds = (nn.Conv1d, nn.Conv2d)
    first = next((n for n, module in net.named_modules() if isinstance(module, kinds)), None)
    here, there = wanted.get(f"{first}.weight"), given.get(f"{first}.weight")
    if here is None or there is None or here.dim() != there.dim():
        return
    if here.shape[1] != there.shape[1] and here.shape[2:] == there.shape[2:]:
        raise InputError(
            f"{misfit} its first convolution takes {there.shape[1]} channels, the network's "
            f"{here.shape[1]}. Build the network for {there.shape[1]} channels, or go without: "
            "--weights none."
        )


def _check_shapes(misfit: str, wanted: Tensors, given: Tensors) -> None:
    other = [key for key in given if given[key].shape != wanted[key].shape]
    _refuse(misfit, "has another shape of", other)


def _check_numbers(misfit: str, wanted: Tensors, given: Tensors) -> None:
    for key, value in given.items():
        if wanted[key].is_floating_point() and not value.is_floating_point():
            kind = str(value.dtype).removeprefix("torch.")
            raise InputError(
                f"{misfit} {key} holds {kind} instead of floating-point numbers. "
                "Quantised weights are not read."
            )


def _refuse(misfit: str, what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise InputError(f"{misfit} it {what} {names[0]}{more}.")
