"""What can be asked of a fit, checked before anything starts."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from convscope.errors import InputError, unknown_name

Strategy = Literal["auto", "fcnn", "cnn", "features", "finetune"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)
# Classifiers on features; best tries them all.
Head = Literal[
    "best", "logistic", "linear_svm", "rbf_svm", "forest", "neighbours", "fcnn"
]  # fmt: skip


class FitOptions(BaseModel):
    """What is asked of a fit; None leaves the choice to convscope.

    >>> FitOptions(strategy="cnn", epochs=20).epochs
    20
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: Strategy = "auto"
    net: str | None = Field(None, description="a name of the catalogue")
    weights: str = Field("published", description="published, none, or a file")
    augment: str | None = Field(None, description="standard or none")
    epochs: int | None = Field(None, ge=1, le=100_000)
    precision: Literal["fast", "exact"] = "fast"
    head: Head | None = Field(None, description="classifier on features; best tries all")
    layers: tuple[str, ...] | None = Field(
        None, description="stages whose features the classifier gets", min_length=1
    )
    train_stages: int | None = Field(
        None, ge=1, description="how many of the last stages are trained further"
    )
    learning_rate: float | Literal["find"] | None = Field(
        None, description="peak, of the stages that are trained further; find measures it"
    )
    seed: int = Field(0, ge=0, lt=2**31)

    @field_validator("learning_rate", mode="before")
    @classmethod
    def _rate(cls, value: Any) -> Any:
        if value is None or value == "find":
            return value
        try:
            rate = float(value)
        except (TypeError, ValueError):
            rate = 0.0
        if not 0 < rate < math.inf:
            raise ValueError("expected 'find', or a number above 0")
        return rate


def fit_options(asked: dict[str, Any]) -> FitOptions:
    """Validate; every fault in one :class:`InputError`.

    >>> fit_options({"strategy": "cnn", "epochs": 0})
    Traceback (most recent call last):
    convscope.errors.InputError: epochs: input should be greater than or equal to 1. Received: 0.
    """
    strategy, head = asked.get("strategy", "auto"), asked.get("head")
    if strategy not in STRATEGIES:
        raise unknown_name("strategy", str(strategy), STRATEGIES)
    if head is not None and head not in get_args(Head):
        raise unknown_name("head", str(head), get_args(Head))
    try:
        return FitOptions(**asked)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc']))}: {_said(fault['msg'])}. "
            f"Received: {fault['input']!r}."
            for fault in error.errors()
        ]
        raise InputError(" ".join(faults)) from None


def _said(message: str) -> str:
    plain = message.removeprefix("Value error, ")
    return plain[0].lower() + plain[1:]


def input_shape(text: str) -> tuple[int, ...]:
    """Read ``3x224x224``: channels, then the spatial sizes.

    >>> input_shape("3x224x224")
    (3, 224, 224)
    >>> input_shape("3x224x")
    Traceback (most recent call last):
    convscope.errors.InputError: --input 3x224x: not a shape. Expected channels, then up to 3 \
sizes, for example 3x224x224, or 1x64 for a series.
    """
    parts = text.lower().replace("×", "x").split("x")
    if not 1 <= len(parts) <= _MOST_SIZES or not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise InputError(
            f"--input {text}: not a shape. Expected channels, then up to 3 sizes, for example "
            "3x224x224, or 1x64 for a series."
        )
    return tuple(int(part) for part in parts)


# Channels, and three axes.
_MOST_SIZES = 4
