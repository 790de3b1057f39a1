"""Train an image classifier from a few hundred photos, and see what it looks at.

The command line and these functions do the same things:

>>> from convscope import FitOptions, check, fit, predict
>>> run = fit("photos", "my-run", FitOptions(strategy="cnn", seed=1))  # doctest: +SKIP
>>> [row.label for row in predict(run, ["new.jpg"])]  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convscope import explain
    from convscope.data.checks import check
    from convscope.describing import describe
    from convscope.errors import ConvscopeError, InputError
    from convscope.estimator import ImageClassifier
    from convscope.fitting import fit
    from convscope.forecast.forecaster import Forecaster
    from convscope.nets.pretrained import load_net
    from convscope.options import FitOptions
    from convscope.predicting import predict
    from convscope.progress import Progress
    from convscope.report import build_report
    from convscope.run import Run
    from convscope.transfer.extractor import FeatureExtractor

__version__ = "0.1.0"

__all__ = [
    "ConvscopeError",
    "FeatureExtractor",
    "FitOptions",
    "Forecaster",
    "ImageClassifier",
    "InputError",
    "Progress",
    "Run",
    "build_report",
    "check",
    "describe",
    "explain",
    "fit",
    "load_net",
    "predict",
]

# Name -> module: imported when first used, because PyTorch takes a second to load.
_HOMES = {
    "ConvscopeError": "convscope.errors",
    "FeatureExtractor": "convscope.transfer.extractor",
    "FitOptions": "convscope.options",
    "Forecaster": "convscope.forecast.forecaster",
    "ImageClassifier": "convscope.estimator",
    "InputError": "convscope.errors",
    "Progress": "convscope.progress",
    "Run": "convscope.run",
    "build_report": "convscope.report",
    "check": "convscope.data.checks",
    "describe": "convscope.describing",
    "fit": "convscope.fitting",
    "load_net": "convscope.nets.pretrained",
    "predict": "convscope.predicting",
}
# Rooms of their own.
_ROOMS = ("explain",)


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"convscope.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'convscope' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
