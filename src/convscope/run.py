"""The Run folder: what is in it, written whole or not at all, read with checks.

A finished folder holds

- ``model.safetensors``: the weights of the whole network, head included;
- ``run.json``: :class:`RunInfo`;
- ``metrics.json``: how good it is, with intervals and n;
- ``predictions.parquet``: path, split, label, predicted, one probability per class;
- ``log/``: ``epochs.csv`` (learning curves, where a network was trained), ``augmented.jpg`` (what
  training saw of some photos, where they were changed) and ``check.json`` (what is wrong with the
  photos);
- ``report.html``: the page that shows all of it.

While the work goes on, everything lies in ``RUN.partial`` beside it; the last step renames it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from convscope.errors import InputError

FORMAT: Literal[1] = 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSpec(_Strict):
    """How a photo becomes the network's input: shorter side to ``resize``, centre ``size``."""

    size: int = Field(ge=1, description="height and width of the network's input, pixels")
    resize: int = Field(ge=1, description="length of the photo's shorter side before the crop")
    mean: tuple[float, float, float] = Field(description="per channel, on the 0..1 scale")
    std: tuple[float, float, float] = Field(description="per channel, on the 0..1 scale")


class PrecisionInfo(_Strict):
    """How numbers were computed and photos decoded."""

    mode: Literal["exact", "fast"]
    dtype: Literal["float32", "bfloat16"]
    float32_stages: int = Field(
        ge=0, description="leading stages in float32 where the others are in bfloat16"
    )
    cosine: float | None = Field(description="smallest cosine to exact features that was measured")


class WeightsInfo(_Strict):
    """Where the pre-trained weights came from."""

    source: str = Field(description="the file's name, or the address")
    sha256: str


class HeadInfo(_Strict):
    """A classifier on features that is no layer of the network's own."""

    kind: str
    stages: tuple[str, ...] = Field(min_length=1, description="whose features it gets, joined")
    config: dict[str, Any] = Field(description="shapes of its arrays in model.safetensors")


class PhotosInfo(_Strict):
    """What the classifier was trained and tested on."""

    root: str
    layout: Literal["class folders", "split folders", "table"]
    split: str = Field(description="who made the split, in words")
    counts: dict[str, dict[str, int]] = Field(description="split -> class -> readable photos")


class RunInfo(_Strict):
    """Everything about one run that is not a measurement; ``run.json``."""

    format: Literal[1] = FORMAT
    created: str = Field(description="UTC, ISO 8601")
    asked: dict[str, Any] = Field(description="the options of the fit, as given")
    strategy: Literal["fcnn", "cnn", "features", "finetune"]
    reason: str = Field(description="why this strategy, in a sentence")
    net: str
    classes: tuple[str, ...] = Field(min_length=2)
    input: InputSpec
    precision: PrecisionInfo
    weights: WeightsInfo | None
    augment: dict[str, Any] | None = Field(description="the augmentation policy, None without")
    training: dict[str, Any] = Field(description="what training chose: epochs, learning rate, C")
    temperature: float = Field(gt=0, description="logits are divided by it; set on validation")
    head: HeadInfo | None = Field(
        None, description="None where the network's last layer is the classifier"
    )
    plan: dict[str, Any] | None = Field(
        None, description="what was measured and decided, with reasons"
    )
    photos: PhotosInfo
    versions: dict[str, str]
    seed: int
    model_sha256: str


@dataclass(frozen=True)
class Predictions:
    """One row per photo of every split, in the order of the table.

    Attributes
    ----------
    paths : tuple of str
        Relative to the folder of photos.
    splits : tuple of str
        ``train``, ``valid`` or ``test``.
    labels : tuple of str
    classes : tuple of str
        The columns of ``probabilities``.
    probabilities : numpy.ndarray
        float32 ``(n, classes)``; rows sum to 1.
    """

    paths: tuple[str, ...]
    splits: tuple[str, ...]
    labels: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: np.ndarray

    @property
    def predicted(self) -> tuple[str, ...]:
        """The most probable class of each photo."""
        return tuple(self.classes[i] for i in self.probabilities.argmax(axis=1))


@dataclass(frozen=True)
class Run:
    """A Run folder on disk."""

    path: Path

    @property
    def model_path(self) -> Path:
        """``model.safetensors``."""
        return self.path / "model.safetensors"

    @property
    def report_path(self) -> Path:
        """``report.html``."""
        return self.path / "report.html"

    @property
    def epochs_path(self) -> Path:
        """``log/epochs.csv``; absent where no network was trained."""
        return self.path / "log" / "epochs.csv"

    @property
    def sheet_path(self) -> Path:
        """``log/augmented.jpg``: what training saw of some photos; absent without augmentation."""
        return self.path / "log" / "augmented.jpg"

    def info(self) -> RunInfo:
        """Read and validate ``run.json``."""
        text = self._read("run.json")
        try:
            return RunInfo.model_validate_json(text)
        except ValidationError as error:
            if '"kind": "forecast"' in text:
                raise InputError(
                    f"{self.path} holds a forecaster, no classifier of photos: use convscope "
                    "forecast predict. Its network is drawn in look-back.svg."
                ) from None
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "run.json"
            raise InputError(
                f"{self.path / 'run.json'} is not a run of this version of convscope: "
                f"{where}: {first['msg']}. Fit again, or read it with the version that wrote it."
            ) from None

    def metrics(self) -> dict[str, Any]:
        """Read ``metrics.json``."""
        return self._read_json("metrics.json")

    def findings(self) -> list[dict[str, Any]]:
        """Read the problems found in the photos, ``log/check.json``."""
        found = self._read_json("log/check.json").get("findings")
        if not isinstance(found, list):
            raise InputError(f"{self.path / 'log' / 'check.json'} holds no list 'findings'.")
        return found

    def predictions(self) -> Predictions:
        """Read ``predictions.parquet``."""
        path = self.path / "predictions.parquet"
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path} cannot be read: {error}") from None
        classes = tuple(name[2:] for name in table.column_names if name.startswith("p_"))
        lacking = {"path", "split", "label"} - set(table.column_names)
        if lacking or not classes:
            raise InputError(
                f"{path} has no column '{min(lacking, default='p_CLASS')}': it is not what "
                "convscope writes."
            )
        columns = [table.column(f"p_{name}").to_numpy() for name in classes]
        return Predictions(
            paths=tuple(table.column("path").to_pylist()),
            splits=tuple(table.column("split").to_pylist()),
            labels=tuple(table.column("label").to_pylist()),
            classes=classes,
            probabilities=np.stack(columns, axis=1),
        )

    def _read(self, name: str) -> str:
        path = self.path / name
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"{self.path} is not a finished run: {name} cannot be read ({error.strerror}). "
                "Make one with: convscope fit PHOTOS --out RUN"
            ) from None
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8 text: {error}") from None

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads(self._read(name))
        except json.JSONDecodeError as error:
            raise InputError(f"{self.path / name} is not valid JSON: {error}") from None
        if not isinstance(content, dict):
            raise InputError(f"{self.path / name} is not what convscope writes: no JSON object.")
        return content
