"""``predict``: a Run folder and photos to labels and probabilities."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load

from convscope.calibration import probabilities
from convscope.data.dataset import LEFT_OUT
from convscope.data.folder import photos_in
from convscope.data.survey import DecodeSpec
from convscope.errors import InputError
from convscope.nets.catalog import RGB, NetSpec, photo_net_spec
from convscope.nets.inference import last_linear, network_logits
from convscope.progress import Progress
from convscope.run import Run, RunInfo
from convscope.transfer.assembled import StagedClassifier, own_head_stage, rebuild
from convscope.transfer.features import make_backbone
from convscope.transfer.push import push


@dataclass(frozen=True)
class Prediction:
    """What is said of one file.

    Attributes
    ----------
    path : str
    label : str or None
        None for a file that could not be used.
    probabilities : dict
        Class -> probability; empty for a file that could not be used.
    error : str or None
        Why not.
    """

    path: str
    label: str | None
    probabilities: dict[str, float]
    error: str | None = None

    @property
    def probability(self) -> float | None:
        """Of the label."""
        return None if self.label is None else self.probabilities[self.label]

    def to_dict(self) -> dict[str, Any]:
        """As ``convscope predict --json`` prints it."""
        if self.error is not None:
            return {"path": self.path, "error": self.error}
        return {
            "path": self.path,
            "label": self.label,
            "probability": self.probability,
            "probabilities": self.probabilities,
        }


def predict(
    run: Run | Path | str,
    photos: Path | str | Sequence[Path | str],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Prediction]:
    """Name photos with a trained classifier.

    Parameters
    ----------
    run : Run or path
    photos : path or sequence of path
        Files, and folders that are searched for photos. A file that cannot be used gives a
        prediction with an error, and the others go on.
    workers : int, optional
        Decoding processes, default one per core.
    progress : Progress, optional

    Yields
    ------
    Prediction
        In the order of ``photos``; within a folder, by name.

    Raises
    ------
    InputError
        If the run cannot be read, or a folder holds no photos.
    """
    run = run if isinstance(run, Run) else Run(Path(run))
    info = run.info()
    forward = classifier(run, info)
    wanted = listed([photos] if isinstance(photos, (str, Path)) else photos)
    files = [path for path, error in wanted if error is None]
    with (
        (progress or Progress()).task("predicting", len(files), "photos") as advance,
        closing(_named(files, info, forward, workers, advance)) as named,
    ):
        for path, error in wanted:
            yield next(named) if error is None else Prediction(str(path), None, {}, error)


def _named(
    files: Sequence[Path],
    info: RunInfo,
    forward: Callable[[np.ndarray], np.ndarray],
    workers: int | None,
    advance: Callable[[int], None],
) -> Generator[Prediction, None, None]:
    decode = DecodeSpec(info.input.resize, info.input.size, fast=info.precision.mode == "fast")
    with closing(push(files, decode, forward, workers=workers)) as results:
        for chunk, logits in results:
            shares = probabilities(logits, info.temperature)
            for row, fact, share in zip(chunk.rows, chunk.facts, shares, strict=True):
                path = str(files[row])
                if fact.usable:
                    by_class = dict(zip(info.classes, map(float, share), strict=True))
                    yield Prediction(path, info.classes[int(share.argmax())], by_class)
                else:
                    yield Prediction(path, None, {}, fact.error)
            advance(len(chunk.rows))


def classifier(run: Run, info: RunInfo) -> Callable[[np.ndarray], np.ndarray]:
    """The network of a run as a function: uint8 ``(n, size, size, 3)`` to logits.

    Raises
    ------
    InputError
        If ``model.safetensors`` is missing, broken or not the one that the run was tested with.
    """
    net = load_classifier(run, info)
    mean, std = info.input.mean, info.input.std
    if info.strategy != "features":
        return network_logits(net, mean, std)
    return _head_on_backbone(net, photo_net_spec(info.net), info)


def load_classifier(run: Run, info: RunInfo) -> torch.nn.Module:
    """The network of a run with its classifier, in evaluation mode.

    Returns
    -------
    nn.Module
        ``(n, 3, size, size)``, normalised, to logits ``(n, classes)``.

    Raises
    ------
    InputError
        If ``model.safetensors`` is missing, broken or not the one that the run was tested with.
    """
    spec = photo_net_spec(info.net)
    net = rebuild(spec.build(len(info.classes), RGB), info.head)
    try:
        content = run.model_path.read_bytes()
        if hashlib.sha256(content).hexdigest() != info.model_sha256:
            raise InputError(
                f"{run.model_path} is not the model that this run was tested with (its SHA-256 "
                "differs from run.json). Fit again."
            )
        net.load_state_dict(load(content))
    except OSError as error:
        raise InputError(f"{run.model_path} cannot be read: {error.strerror}.") from None
    except (SafetensorError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"{run.model_path} does not fit net {info.net}: {first}") from None
    return net.eval()


def _head_on_backbone(
    net: torch.nn.Module, spec: NetSpec, info: RunInfo
) -> Callable[[np.ndarray], np.ndarray]:
    """As the run was fitted: features in its precision, then the head."""
    if isinstance(net, StagedClassifier):
        head, body, stages = net.head, net.vectors.net, info.head.stages if info.head else ()
    else:
        head, body, stages = last_linear(net), net, own_head_stage(net)
    backbone = make_backbone(body, spec, info.precision, stages)

    def forward(photos: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = head(torch.from_numpy(backbone(photos))).float().numpy()
            return logits

    return forward


def listed(photos: Sequence[Path | str]) -> list[tuple[Path, str | None]]:
    """Each photo with None, or with why it cannot be used: nothing is passed over in silence.

    Parameters
    ----------
    photos : sequence of path
        Files, and folders that are searched for photos.

    Raises
    ------
    InputError
        A folder holds no photos.
    """
    wanted: list[tuple[Path, str | None]] = []
    for photo in map(Path, photos):
        if not photo.is_dir():
            wanted.append((photo, None))
            continue
        found, ignored = photos_in(photo)
        entries: list[tuple[str, str | None]] = [(name, None) for name in found]
        entries += [(name, reason) for name, kind, reason in ignored if kind in LEFT_OUT]
        if not entries:
            raise InputError(f"{photo} holds no photos.")
        wanted.extend((photo / name, reason) for name, reason in sorted(entries))
    return wanted
