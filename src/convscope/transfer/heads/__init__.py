"""Heads: small classifiers on features, each a module whose weights are plain arrays.

>>> import numpy as np
>>> from convscope.transfer.heads import best_head, fit_heads
>>> rng = np.random.default_rng(0)
>>> labels = np.arange(60) % 3
>>> features = np.eye(3, dtype=np.float32)[labels] + rng.normal(0, 0.3, (60, 3))
>>> none = np.zeros(0, int)
>>> heads = fit_heads(("logistic", "neighbours"), features, labels, features[:0], none, 3, seed=0)
>>> best_head(heads).chosen_on
'5-fold cross-validation of 60 training photos'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convscope.transfer.heads.choosing import FittedHead, best_head, fit_head, fit_heads
    from convscope.transfer.heads.modules import HEADS, build_head

__all__ = ["HEADS", "FittedHead", "best_head", "build_head", "fit_head", "fit_heads"]

# Name -> module: imported when first used. To use a head, scikit-learn need not be loaded.
_HOMES = {
    "FittedHead": "choosing",
    "HEADS": "modules",
    "best_head": "choosing",
    "build_head": "modules",
    "fit_head": "choosing",
    "fit_heads": "choosing",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
