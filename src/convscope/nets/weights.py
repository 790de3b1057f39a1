"""Pre-trained weights: found, verified, read without running anything, fitted to a network."""

from __future__ import annotations

import hashlib
import os
import pickle
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from convscope.errors import ConvscopeError, InputError
from convscope.nets.catalog import NetSpec, PublishedWeights
from convscope.progress import Progress

HEAD_PREFIX = "classifier."
_ALLOWED = "published, none, or a file (.safetensors or .pth)"
# Seconds without a byte.
_TIMEOUT = 20.0


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
    tensors: Mapping[str, Tensor]


def cache_folder() -> Path:
    """Where published weights are kept: ``CONVSCOPE_CACHE``, else the platform's cache folder."""
    chosen = os.environ.get("CONVSCOPE_CACHE")
    return Path(chosen) if chosen else user_cache_path("convscope")


def find_weights(wanted: str, spec: NetSpec, *, progress: Progress | None = None) -> Path | None:
    """The file behind ``--weights``; published weights are fetched once into the cache folder.

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
    if not file.exists():
        _fetch(spec.name, spec.published, file, progress or Progress())
    return file


def _fetch(net: str, published: PublishedWeights, file: Path, progress: Progress) -> None:
    progress.say(f"fetching {published.url} ({published.licence})")
    waiting = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Writes to a temporary name, checks the hash, then renames.
        torch.hub.download_url_to_file(
            published.url, str(file), hash_prefix=published.sha256_prefix, progress=False
        )
    except (URLError, OSError, RuntimeError) as error:
        reason = getattr(error, "reason", None) or error
        raise ConvscopeError(
            f"The published weights of {net} could not be fetched from {published.url} ({reason}). "
            f"Fetch that file elsewhere and put it at {file}, name it with --weights FILE, or go "
            "without: --strategy cnn."
        ) from None
    finally:
        socket.setdefaulttimeout(waiting)


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
        sha256 = _sha256(file)
    except pickle.UnpicklingError:
        raise InputError(
            f"{file} cannot be read as weights: it is no weight file, or holds more than tensors. "
            "Nothing in it was run. Expected .safetensors, or a .pth that holds tensors only."
        ) from None
    except (OSError, SafetensorError, RuntimeError, EOFError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{file} cannot be read as weights: {first}. "
            "Expected .safetensors, or a .pth that holds tensors only."
        ) from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"{file} holds no plain table of tensors.")
    tensors = {str(name).removeprefix("module."): value for name, value in content.items()}
    return Weights(file.name, sha256, tensors)


def load_body(net: nn.Module, weights: Weights) -> None:
    """Put the weights of everything but the classifier into a network.

    Raises
    ------
    InputError
        If names or shapes do not fit.
    """
    wanted = {k: v for k, v in net.state_dict().items() if not k.startswith(HEAD_PREFIX)}
    given = {k: v for k, v in weights.tensors.items() if not k.startswith(HEAD_PREFIX)}
    # Counts of batches seen; older files lack them and evaluation never reads them.
    missing = [k for k in wanted if k not in given and not k.endswith("num_batches_tracked")]
    extra = [k for k in given if k not in wanted]
    shapes = [k for k in given if k in wanted and given[k].shape != wanted[k].shape]
    for what, names in (
        ("lacks", missing),
        ("has unknown", extra),
        ("has another shape of", shapes),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise InputError(
                f"{weights.source} does not fit the network: it {what} {names[0]}{more}."
            )
    net.load_state_dict({**net.state_dict(), **given})


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
