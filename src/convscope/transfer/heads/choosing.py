"""Fit heads, each with the settings that suit it, and choose among them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from convscope.calibration import fit_temperature, log_losses
from convscope.errors import InputError, unknown_name
from convscope.progress import Progress
from convscope.transfer.heads import forest, linear, neighbours, network, svm
from convscope.transfer.heads.checking import (
    check_classes,
    checked_features,
    checked_groups,
    checked_labels,
)
from convscope.transfer.heads.modules import HEADS, build_head
from convscope.transfer.heads.parts import Part, Path, Plan, Settings, Trained, plan_parts

_ROWS = 1024
# Settings in order of one strength: this many after the best, all worse, end the search.
_WORSE = 3


@dataclass(frozen=True)
class _Kind:
    """How one kind of head is fitted."""

    path: Path
    grid: tuple[Settings, ...]
    default: Settings  # where no photo can be held out to choose by
    # Judged by its own probabilities, not those after temperature scaling, as in fit_linear_head;
    # its settings are strengths of one penalty, so a search that gets worse and worse can end.
    likelihood: bool = False


_KINDS = {
    "logistic": _Kind(linear.logistic_path, linear.GRID, linear.DEFAULT, likelihood=True),
    "linear_svm": _Kind(svm.linear_path, svm.LINEAR_GRID, svm.LINEAR_DEFAULT),
    "rbf_svm": _Kind(svm.rbf_path, svm.RBF_GRID, svm.RBF_DEFAULT),
    "fcnn": _Kind(network.network_path, network.GRID, network.DEFAULT),
    "neighbours": _Kind(neighbours.neighbours_path, neighbours.GRID, neighbours.DEFAULT),
    "forest": _Kind(forest.forest_path, forest.GRID, forest.DEFAULT),
}


@dataclass(frozen=True)
class FittedHead:
    """A head, and what its choice rests on.

    Attributes
    ----------
    kind : str
        One of ``HEADS``.
    module : nn.Module
        float32 features ``(n, f)`` -> logits ``(n, classes)``; its state dict is all of it.
    config : dict
        What :func:`build_head` needs to make an empty module of the same shapes; JSON.
    settings : dict
        The chosen settings; JSON.
    candidates : tuple of dict
        Each that was tried: ``settings``, and ``log_loss`` (what the choice went by: after
        temperature scaling, except for logistic) and ``accuracy`` on the held-out photos.
    held_out_logits : numpy.ndarray
        float32 ``(m, classes)`` of the photos that the choice was made on, each from a head that
        was not trained on it. Validation photos; with cross-validation, out of fold.
    held_out_labels : numpy.ndarray
        int ``(m,)``.
    held_out_rows : numpy.ndarray
        int ``(m,)``: which photos these are, counted over training and then validation photos.
    chosen_on : str
        In words: "120 validation photos", "5-fold cross-validation of 300 training photos".
    seconds : float
        What heads share counts for the one that needed it first.
    """

    kind: str
    module: nn.Module
    config: dict[str, Any]
    settings: dict[str, Any]
    candidates: tuple[dict[str, Any], ...]
    held_out_logits: np.ndarray
    held_out_labels: np.ndarray
    held_out_rows: np.ndarray
    chosen_on: str
    seconds: float

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Features ``(n, f)`` to float32 logits ``(n, classes)``.

        Raises
        ------
        InputError
            Features of another width, or with NaN or infinity.
        """
        x = torch.from_numpy(checked_features(features, "these photos", self.config["features"]))
        with torch.inference_mode():
            return np.concatenate([self.module(some).numpy() for some in torch.split(x, _ROWS)])

    @cached_property
    def temperature(self) -> float:
        """What logits are divided by for the least log loss on the held-out photos."""
        return fit_temperature(self.held_out_logits, self.held_out_labels)

    @cached_property
    def losses(self) -> np.ndarray:
        """Log loss of each held-out photo after temperature scaling, float64 ``(m,)``."""
        return log_losses(self.held_out_logits, self.held_out_labels, self.temperature)

    @property
    def log_loss(self) -> float | None:
        """Mean on the held-out photos, after temperature scaling; None without any."""
        return float(self.losses.mean()) if len(self.losses) else None

    @property
    def accuracy(self) -> float | None:
        """Share of the held-out photos that are named rightly; None without any."""
        return _accuracy(self.held_out_logits, self.held_out_labels)


def fit_head(
    kind: str,
    train: np.ndarray,
    train_labels: np.ndarray,
    valid: np.ndarray,
    valid_labels: np.ndarray,
    num_classes: int,
    *,
    seed: int,
    groups: np.ndarray | None = None,
    progress: Progress | None = None,
) -> FittedHead:
    """Fit one head; see :func:`fit_heads`.

    Parameters
    ----------
    kind : str
        One of ``HEADS``.
    train, valid : numpy.ndarray
        float32 ``(n, f)`` and ``(m, f)``; m may be 0.
    train_labels, valid_labels : numpy.ndarray
        int, 0..num_classes - 1.
    num_classes : int
    seed : int
    groups : numpy.ndarray, optional
        ``(n + m,)``.
    progress : Progress, optional

    Raises
    ------
    InputError
        As :func:`fit_heads`.
    """
    return fit_heads(
        (kind,), train, train_labels, valid, valid_labels, num_classes,
        seed=seed, groups=groups, progress=progress,
    )[0]  # fmt: skip


def fit_heads(
    kinds: Sequence[str],
    train: np.ndarray,
    train_labels: np.ndarray,
    valid: np.ndarray,
    valid_labels: np.ndarray,
    num_classes: int,
    *,
    seed: int,
    groups: np.ndarray | None = None,
    progress: Progress | None = None,
) -> tuple[FittedHead, ...]:
    """Fit several kinds of heads on the same features, each with the settings that suit it.

    Of the settings in a kind's list, those with the least log loss on held-out photos are taken:
    after temperature scaling, but for a logistic regression as it is. Held out are the validation
    photos where there are at least 100 of them and 5 for each class on average. Else it is
    five-fold cross-validation over training and validation photos together, stratified by class,
    and the head with the settings found is then fitted on all of them. A class with a single photo
    (or group) is never held out: it is learnt, and nothing says how well.

    Parameters
    ----------
    kinds : sequence of str
        Of ``HEADS``.
    train, valid : numpy.ndarray
        float32 ``(n, f)`` and ``(m, f)``; m may be 0.
    train_labels, valid_labels : numpy.ndarray
        int, 0..num_classes - 1; every class is among the training labels.
    num_classes : int
    seed : int
        For folds, forests and networks.
    groups : numpy.ndarray, optional
        ``(n + m,)``, of training and then validation photos: those of one group (copies of one
        photo, say) stay on one side in cross-validation.
    progress : Progress, optional

    Returns
    -------
    tuple of FittedHead
        In the order of ``kinds``.

    Raises
    ------
    InputError
        A kind is unknown; features have NaN, infinity or differing widths; labels do not fit; a
        class has no training photo; there is one class only.
    """
    for kind in kinds:
        if kind not in HEADS:
            raise unknown_name("head", kind, HEADS)
    progress = progress or Progress()
    num_classes = int(num_classes)  # NumPy's integers do not go into JSON
    train = checked_features(train, "the training photos")
    valid = np.asarray(valid)
    # No validation photos may come in any shape.
    valid = valid.reshape(0, train.shape[1]) if not valid.size else valid
    valid = checked_features(valid, "the validation photos", train.shape[1])
    train_labels = checked_labels(train_labels, len(train), num_classes, "the training photos")
    valid_labels = checked_labels(valid_labels, len(valid), num_classes, "the validation photos")
    check_classes(train_labels, num_classes)
    groups = checked_groups(groups, len(train), len(valid))
    plan = plan_parts(train, train_labels, valid, valid_labels, num_classes, groups, seed)
    return tuple(_fit(kind, plan, seed, progress) for kind in kinds)


def best_head(heads: Iterable[FittedHead], *, standard_errors: float = 2.0) -> FittedHead:
    """The head with the least log loss on held-out photos, or a simpler one that is about as good.

    About as good: its mean log loss, after temperature scaling, is higher by no more than so many
    standard errors of the difference, photo by photo. The simplest such head is taken, in the order
    logistic, linear_svm, rbf_svm, fcnn, neighbours, forest.

    Parameters
    ----------
    heads : iterable of FittedHead
        Fitted on the same photos.
    standard_errors : float
        More of them ask for more evidence before a less simple head is taken. The default is two:
        the best of six is ahead by one easily, by chance.

    Raises
    ------
    InputError
        No heads, or heads that were judged on different photos.
    """
    found = sorted(heads, key=lambda head: HEADS.index(head.kind))
    if not found:
        raise InputError("There is no head to choose from. Give at least one.")
    if any(not np.array_equal(head.held_out_rows, found[0].held_out_rows) for head in found):
        raise InputError(
            "These heads were judged on different photos and cannot be compared. Fit them together."
        )
    n = len(found[0].losses)
    if not n:
        return found[0]
    best = min(found, key=lambda head: head.losses.mean())
    for head in found:
        more = head.losses - best.losses
        error = more.std(ddof=1) / n**0.5 if n > 1 else 0.0
        if more.mean() <= standard_errors * error:
            return head
    return best


def _fit(kind: str, plan: Plan, seed: int, progress: Progress) -> FittedHead:
    started = time.perf_counter()
    how = _KINDS[kind]
    labels = _in_order(plan, [part.held_labels for part in plan.parts])
    classes = (plan.whole or plan.parts[0]).classes
    logits = np.zeros((0, classes), np.float32)
    settings, trained, best, worse = dict(how.default), None, np.inf, 0
    candidates: list[dict[str, Any]] = []
    with progress.task(kind, len(how.grid), "settings") as advance:
        for tried, heads in _search(how, plan, seed):
            of_these = _in_order(plan, [head.held_logits for head in heads])
            temperature = 1.0 if how.likelihood else fit_temperature(of_these, labels)
            loss = float(log_losses(of_these, labels, temperature).mean())
            accuracy = _accuracy(of_these, labels)
            candidates.append({"settings": tried, "log_loss": loss, "accuracy": accuracy})
            advance(1)
            worse += 1
            if loss < best:
                best, worse, settings, trained = loss, 0, tried, heads
                logits = of_these.astype(np.float32)
            if how.likelihood and worse == _WORSE:
                advance(len(how.grid) - len(candidates))  # nothing is left to do
                break
    if plan.whole is not None or trained is None:
        final = _one(how, plan.whole or plan.parts[0], settings, seed)
    else:
        final = trained[0]
    state = final.state()
    module = build_head(kind, state.config)
    module.load_state_dict({name: torch.from_numpy(a) for name, a in state.arrays.items()})
    return FittedHead(
        kind=kind,
        module=module,
        config=state.config,
        settings={**settings, **final.found},
        candidates=tuple(candidates),
        held_out_logits=logits,
        held_out_labels=labels,
        held_out_rows=_in_order(plan, plan.rows),
        chosen_on=plan.chosen_on,
        seconds=time.perf_counter() - started,
    )


def _search(
    how: _Kind, plan: Plan, seed: int
) -> Iterator[tuple[dict[str, Any], tuple[Trained, ...]]]:
    """Each of the settings with the heads of all parts."""
    if not plan.parts:
        return
    paths = [how.path(part, how.grid, seed) for part in plan.parts]
    for tried, heads in zip(how.grid, zip(*paths, strict=True), strict=True):
        yield dict(tried), heads


def _one(how: _Kind, part: Part, settings: Settings, seed: int) -> Trained:
    return next(iter(how.path(part, [settings], seed)))


def _in_order(plan: Plan, values: Sequence[np.ndarray]) -> np.ndarray:
    """Values of the parts' held-out photos, in the order of the photos."""
    if not plan.parts:
        return np.zeros(0, np.int64)
    order = np.argsort(np.concatenate(plan.rows), kind="stable")
    return np.concatenate(values)[order]


def _accuracy(logits: np.ndarray, labels: np.ndarray) -> float | None:
    return float((logits.argmax(axis=1) == labels).mean()) if len(labels) else None
