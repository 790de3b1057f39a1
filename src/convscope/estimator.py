"""``ImageClassifier``: fit, predict, score and save, in scikit-learn's manner."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError

from convscope.errors import InputError
from convscope.fitting import fit
from convscope.options import fit_options
from convscope.predicting import predict
from convscope.progress import Progress
from convscope.run import Run

Photos = Path | str | Sequence[Path | str]


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Train a classifier from some hundred photos; the same as ``convscope fit``.

    Parameters
    ----------
    strategy : str
        ``auto``, ``fcnn``, ``cnn``, ``features`` or ``finetune``.
    net : str, optional
        A name that ``convscope nets`` lists; default by strategy.
    weights : str
        ``published``, ``none``, or a file.
    head : str, optional
        A classifier on features, ``best`` for the best of all.
    layers : sequence of str, optional
        Stages whose features the classifier gets.
    train_stages : int, optional
        How many of the last stages are trained further.
    learning_rate : float or str, optional
        Peak for the stages that are trained further; ``find`` measures it first.
    augment : str, optional
        A name of :data:`~convscope.data.augment.POLICIES`.
    epochs : int, optional
        At most.
    precision : str
        ``fast`` or ``exact``.
    random_state : int
        Every random choice comes from it.
    workers : int, optional
        Decoding processes, default one per core.
    verbose : bool
        Show progress on stderr.

    Attributes
    ----------
    classes_ : numpy.ndarray
        str ``(classes,)``, sorted.
    run_ : Run
        What was fitted, with its metrics and report; in a temporary folder until it is saved.

    Examples
    --------
    >>> classifier = ImageClassifier(strategy="features", net="mobilenet_v2")
    >>> classifier.fit("photos").predict(["new.jpg"])  # doctest: +SKIP
    >>> classifier.save("my-run")  # doctest: +SKIP
    """

    def __init__(
        self,
        strategy: str = "auto",
        net: str | None = None,
        *,
        weights: str = "published",
        head: str | None = None,
        layers: Sequence[str] | None = None,
        train_stages: int | None = None,
        learning_rate: float | str | None = None,
        augment: str | None = None,
        epochs: int | None = None,
        precision: str = "fast",
        random_state: int = 0,
        workers: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.strategy = strategy
        self.net = net
        self.weights = weights
        self.head = head
        self.layers = layers
        self.train_stages = train_stages
        self.learning_rate = learning_rate
        self.augment = augment
        self.epochs = epochs
        self.precision = precision
        self.random_state = random_state
        self.workers = workers
        self.verbose = verbose

    def fit(self, X: Photos, y: Sequence[str] | None = None) -> Self:
        """Train.

        Parameters
        ----------
        X : path, or sequence of path
            A folder or table of photos, see :func:`~convscope.data.folder.scan`; or, with ``y``,
            photo files.
        y : sequence of str, optional
            A label for each file of ``X``.

        Raises
        ------
        InputError
            If the photos or the parameters cannot be used.
        """
        options = fit_options(
            {
                "strategy": self.strategy,
                "net": self.net,
                "weights": str(self.weights),
                "head": self.head,
                "layers": None if self.layers is None else tuple(self.layers),
                "train_stages": self.train_stages,
                "learning_rate": self.learning_rate,
                "augment": self.augment,
                "epochs": self.epochs,
                "precision": self.precision,
                "seed": self.random_state,
            }
        )
        if y is None and not isinstance(X, (str, Path)):
            raise InputError("ImageClassifier.fit got photo files without labels: give y, too.")
        folder = Path(tempfile.mkdtemp(prefix="convscope-"))
        try:
            photos = X if isinstance(X, (str, Path)) and y is None else _table(X, y, folder)
            run = fit(
                photos, folder / "run", options, workers=self.workers, progress=self._progress()
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._take(run)
        # It lives as long as what was fitted does; save() makes a copy that stays.
        weakref.finalize(self.run_, shutil.rmtree, folder, ignore_errors=True)
        return self

    def predict_proba(self, X: Photos) -> np.ndarray:
        """Calibrated probabilities, float32 ``(n, classes)``, in the order of ``classes_``.

        Raises
        ------
        NotFittedError
        InputError
            If a photo cannot be read.
        """
        run = self._fitted()
        rows = []
        for row in predict(run, X, workers=self.workers, progress=self._progress()):
            if row.error is not None:
                raise InputError(f"{row.path}: {row.error}")
            rows.append([row.probabilities[name] for name in self.classes_])
        return np.array(rows, np.float32).reshape(-1, len(self.classes_))

    def predict(self, X: Photos) -> np.ndarray:
        """The most probable class of each photo, str ``(n,)``."""
        shares = self.predict_proba(X)
        return np.asarray(self.classes_[shares.argmax(axis=1)])

    def score(self, X: Photos, y: Sequence[str], sample_weight: Any = None) -> float:
        """Share of photos that are named rightly."""
        return float(super().score(X, y, sample_weight))

    def save(self, path: Path | str) -> Run:
        """Copy the Run folder to a place of its own; it must not exist yet."""
        target = Path(path)
        if target.exists():
            raise InputError(f"{target} exists already. Choose another place to save to.")
        unfinished = target.with_name(f".{target.name}.partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(self._fitted().path, unfinished)
        unfinished.rename(target)
        return Run(target)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """A fitted classifier from a Run folder, of ``save`` or of ``convscope fit``."""
        run = Run(Path(path))
        asked = run.info().asked
        names = cls._get_param_names()
        known = {name: asked[name] for name in names if name in asked}
        loaded = cls(**known, random_state=run.info().seed)
        loaded._take(run)
        return loaded

    def _take(self, run: Run) -> None:
        self.run_ = run
        self.classes_ = np.array(run.info().classes)

    def _fitted(self) -> Run:
        if not hasattr(self, "run_"):
            raise NotFittedError(
                "This ImageClassifier instance is not fitted yet. Call 'fit' with photos, or "
                "ImageClassifier.load with a Run folder."
            )
        return self.run_

    def _progress(self) -> Progress:
        if not self.verbose:
            return Progress()
        from rich.console import Console

        return Progress(Console(stderr=True))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "run_")


def _table(paths: Photos, labels: Sequence[str] | None, folder: Path) -> Path:
    """Files and labels as a table that ``scan`` reads."""
    if isinstance(paths, (str, Path)) or labels is None:
        raise InputError(
            f"ImageClassifier.fit got the single path {paths} and labels: give the labels' files "
            "as a sequence, or leave out y."
        )
    if len(paths) != len(labels):
        raise InputError(
            f"ImageClassifier.fit got {len(paths):,} photos and {len(labels):,} labels."
        )
    file = folder / "photos.parquet"
    where = [str(Path(path).resolve()) for path in paths]
    pq.write_table(pa.table({"path": where, "label": [str(label) for label in labels]}), file)
    return file
