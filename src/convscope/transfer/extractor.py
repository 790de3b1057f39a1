"""``FeatureExtractor``: photos to feature vectors, in scikit-learn's manner."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from convscope.errors import InputError, unknown_name
from convscope.nets.catalog import build_net, photo_net_spec
from convscope.nets.weights import find_weights, load_body, read_weights
from convscope.transfer.features import Mode, choose_precision, extract_features
from convscope.transfer.staged import chosen_stages

Paths = Sequence[Path | str]


class FeatureExtractor(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Push photos through a pre-trained network, and give the vectors of some of its stages.

    Parameters
    ----------
    net : str
        A name that ``convscope nets`` lists.
    stages : sequence of str, optional
        Whose vectors are joined, in this order; default the last.
    weights : str
        ``published``, or a file.
    precision : str
        ``fast``: as fast as the features of the photos given to ``fit`` stay close to exact ones;
        ``exact``: float32 throughout.
    workers : int, optional
        Decoding processes, default one per core.

    Attributes
    ----------
    net_ : nn.Module
        With its weights.
    stages_ : tuple of str
    n_features_out_ : int
    precision_ : PrecisionInfo
        How features are computed, whichever photos come.
    """

    def __init__(
        self,
        net: str = "mobilenet_v2",
        stages: Sequence[str] | None = None,
        weights: str = "published",
        precision: str = "fast",
        workers: int | None = None,
    ) -> None:
        self.net = net
        self.stages = stages
        self.weights = weights
        self.precision = precision
        self.workers = workers

    def fit(self, X: Paths, y: object = None) -> Self:
        """Load the network, and decide from the photos how exactly to compute.

        Parameters
        ----------
        X : sequence of path
            Photo files.
        y : ignored

        Raises
        ------
        InputError
            If the options cannot be used, or ``X`` is no list of paths.
        """
        if self.precision not in get_args(Mode):
            raise unknown_name("precision", str(self.precision), get_args(Mode))
        mode: Mode = "exact" if self.precision == "exact" else "fast"
        paths = _paths(X)
        spec = photo_net_spec(self.net)
        file = find_weights(os.fspath(self.weights), spec)
        if file is None:
            raise InputError("Features need pre-trained weights: published, or a file.")
        net = build_net(spec, spec.classes, 0)
        load_body(net, read_weights(file))
        chosen = chosen_stages(net, self.stages, spec.name)
        names = tuple(stage.name for stage in chosen)
        self.precision_ = choose_precision(paths, net.eval(), spec, mode, names)
        self.net_ = net
        self._widths = {stage.name: stage.channels for stage in chosen}
        self.stages_ = names
        self.n_features_out_ = sum(self._widths.values())
        return self

    def transform(self, X: Paths) -> np.ndarray:
        """Compute features.

        Parameters
        ----------
        X : sequence of path

        Returns
        -------
        numpy.ndarray
            float32 ``(n, n_features_out_)``.

        Raises
        ------
        InputError
            If one of the photos cannot be read: its path and why.
        sklearn.exceptions.NotFittedError
        """
        check_is_fitted(self, "net_")
        paths = _paths(X)
        found = extract_features(
            paths, self.net_, photo_net_spec(self.net), stages=self.stages_,
            precision=self.precision_, workers=self.workers,
        )  # fmt: skip
        bad = [row for row, fact in enumerate(found.facts) if not fact.usable]
        if bad:
            more = f" ({len(bad) - 1} more cannot be read either)" if len(bad) > 1 else ""
            raise InputError(f"{paths[bad[0]]}: {found.facts[bad[0]].error}{more}. Leave it out.")
        return found.vectors

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Stage and channel of each number, such as ``conv2_17``: str ``(n_features_out_,)``."""
        check_is_fitted(self, "net_")
        names = [f"{stage}_{i}" for stage, width in self._widths.items() for i in range(width)]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _paths(X: object) -> list[Path]:
    if isinstance(X, np.ndarray) and X.ndim > 1 and X.size == len(X):
        X = X.ravel()  # a column of a table
    if isinstance(X, (str, bytes, os.PathLike)) or not isinstance(X, Iterable):
        raise InputError(f"A list of photo files is needed; received {type(X).__name__}.")
    paths = []
    for path in X:
        if not isinstance(path, (str, os.PathLike)):
            raise InputError(
                f"Photos are given by their paths; received {type(path).__name__}. Give a list "
                "of photo files."
            )
        paths.append(Path(path))
    if not paths:
        raise InputError("A list of photo files is needed; received none.")
    return paths
