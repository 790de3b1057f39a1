"""The learning curves of a network, or the selection curve of a simple classifier."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from convscope.report.chart import Chart, Series, line_chart
from convscope.report.words import amount, finite, number, percent, short

_COLUMNS = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "learning_rate")


@dataclass(frozen=True)
class Curves:
    """What the section on training shows.

    Attributes
    ----------
    heading : str
    intro : str
        What the curves say, for somebody who has never seen one.
    charts : tuple of Chart
    columns : tuple of str
        Headings of the table behind the charts.
    rows : tuple of tuple of str
    chosen : int or None
        Index into ``rows``.
    """

    heading: str
    intro: str
    charts: tuple[Chart, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    chosen: int | None = None


@dataclass(frozen=True)
class Epoch:
    """One line of ``epochs.csv``."""

    epoch: int
    train_loss: float | None
    train_accuracy: float | None
    valid_loss: float | None
    valid_accuracy: float | None
    learning_rate: float | None


def read_epochs(path: Path) -> tuple[Epoch, ...]:
    """Read ``epochs.csv``; empty where there is none. A field that is no number is None.

    Columns: ``epoch``, ``train_loss``, ``train_accuracy``, ``valid_loss``, ``valid_accuracy``,
    ``learning_rate``; one that is missing is a curve that is not drawn, further ones are ignored.
    """
    if not path.exists():
        return ()
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    epochs = []
    for i, row in enumerate(rows):
        named = _float(row.get("epoch"))
        epochs.append(
            Epoch(i + 1 if named is None else int(named), *(_float(row.get(k)) for k in _COLUMNS))
        )
    # A second phase of training may count from 1 again; curves need a rising x.
    if all(a.epoch < b.epoch for a, b in pairwise(epochs)):
        return tuple(epochs)
    return tuple(replace(row, epoch=i + 1) for i, row in enumerate(epochs))


def curves(epochs: Sequence[Epoch], training: Mapping[str, Any]) -> Curves:
    """Choose and lay out the curves: epochs where there are some, else the values of C tried.

    Parameters
    ----------
    epochs : sequence of Epoch
        See :func:`read_epochs`; empty where no network was trained.
    training : mapping
        ``RunInfo.training``. Every key may be missing, and further ones are ignored:

        - ``best_epoch`` (int): the epoch that was kept, as counted in ``epochs.csv``; without it,
          the one with the least validation loss;
        - ``head`` (str): what was fitted on the features, as words of a sentence, such as
          ``logistic regression``;
        - ``heads``: where several kinds were fitted, a list of ``{"head", "held_out_log_loss",
          "held_out_accuracy", "settings"}``;
        - ``rate_search``: ``{"rates", "losses", "suggestion"}`` of a learning-rate range test;
        - ``C`` (number): the value that was kept;
        - ``C_tried``: a list of ``{"C", "valid_log_loss", "valid_accuracy"}``, in any order.
    """
    if epochs:
        return _learning(epochs, training)
    heads = [row for row in training.get("heads") or () if isinstance(row, Mapping)]
    if len(heads) > 1:
        return _among_heads(heads, training)
    rows = training.get("C_tried") or ()
    tried = [row for row in rows if isinstance(row, Mapping) and (finite(row.get("C")) or 0) > 0]
    if tried:
        return _selection(tried, training)
    return Curves(
        heading="Training",
        intro="No network was trained step by step in this run, so there is no learning curve.",
    )


def best_epoch(epochs: Sequence[Epoch], training: Mapping[str, Any]) -> int | None:
    """Give the index of the epoch that was kept: as training says, else least validation loss."""
    said = training.get("best_epoch")
    for i, row in enumerate(epochs):
        if said is not None and row.epoch == said:
            return i
    losses = [(row.valid_loss, i) for i, row in enumerate(epochs) if row.valid_loss is not None]
    return min(losses)[1] if losses else None


def _learning(epochs: Sequence[Epoch], training: Mapping[str, Any]) -> Curves:
    x = [float(row.epoch) for row in epochs]
    best = best_epoch(epochs, training)
    charts = (
        line_chart(
            "Loss (lower is better)",
            "epoch",
            x,
            (
                Series("training", "train", tuple(row.train_loss for row in epochs)),
                Series("validation", "valid", tuple(row.valid_loss for row in epochs)),
            ),
            x_word="epoch",
            mark=best,
            mark_label="kept",
        ),
        line_chart(
            "Photos named correctly",
            "epoch",
            x,
            (
                Series("training", "train", tuple(row.train_accuracy for row in epochs)),
                Series("validation", "valid", tuple(row.valid_accuracy for row in epochs)),
            ),
            x_word="epoch",
            as_percent=True,
            mark=best,
            mark_label="kept",
        ),
    )
    kept = "" if best is None else f" The network of epoch {epochs[best].epoch} was kept."
    seen = "once (one epoch)" if len(epochs) == 1 else f"{len(epochs):,} times (epochs)"
    return Curves(
        heading="How training went",
        intro=(
            f"The network saw the training photos {seen}.{kept} "
            "Where the training line goes on improving and the validation line does not, "
            "the network learns the training photos by heart."
        ),
        charts=(
            *(chart for chart in charts if chart is not None),
            *_range_test(training.get("rate_search")),
        ),
        columns=(
            "Epoch",
            "Training loss",
            "Validation loss",
            "Training accuracy",
            "Validation accuracy",
            "Learning rate",
        ),
        rows=tuple(
            (
                str(row.epoch),
                number(row.train_loss),
                number(row.valid_loss),
                percent(row.train_accuracy),
                percent(row.valid_accuracy),
                "–" if row.learning_rate is None else short(row.learning_rate),
            )
            for row in epochs
        ),
        chosen=best,
    )


def _range_test(search: object) -> tuple[Chart, ...]:
    """The plot of the learning-rate finder, where it was asked for."""
    if not isinstance(search, Mapping):
        return ()
    rates = [finite(rate) for rate in search.get("rates") or ()]
    losses = [finite(loss) for loss in search.get("losses") or ()]
    suggested = finite(search.get("suggestion"))
    known = [rate for rate in rates if rate is not None and rate > 0]
    if suggested is None or len(known) != len(rates) or len(losses) != len(rates) or not rates:
        return ()
    # Past twice the least loss the curve says only that it has left the page.
    high = 2 * min((loss for loss in losses if loss is not None), default=0.0)
    chart = line_chart(
        "Training loss while the learning rate rises",
        "learning rate",
        known,
        (Series("loss", "train", tuple(v if v is None or v <= high else None for v in losses)),),
        x_word="rate",
        log_x=True,
        mark=min(range(len(known)), key=lambda i: abs(known[i] - suggested)),
        mark_label=f"taken: {suggested:.2g}",
    )
    return () if chart is None else (chart,)


def _among_heads(heads: Sequence[Mapping[str, Any]], training: Mapping[str, Any]) -> Curves:
    names = [str(row.get("head")) for row in heads]
    kept = str(training.get("head"))
    on = training.get("chosen_on")
    where = f" on {on}" if on else ""
    return Curves(
        heading="How the classifier was chosen",
        intro=(
            "The network's features stayed as they were. "
            f"{amount(len(heads), 'kind')} of classifiers were fitted on them, each with the "
            f"settings that gave the least log loss{where}. Kept was the {kept}: the simplest of "
            "those that chance alone could put first."
        ),
        columns=("Classifier", "Log loss", "Accuracy", "Settings"),
        rows=tuple(
            (
                name[:1].upper() + name[1:],
                number(finite(row.get("held_out_log_loss"))),
                percent(finite(row.get("held_out_accuracy"))),
                ", ".join(f"{k} {v}" for k, v in (row.get("settings") or {}).items()) or "–",
            )
            for name, row in zip(names, heads, strict=True)
        ),
        chosen=names.index(kept) if kept in names else None,
    )


def _selection(tried: Sequence[Mapping[str, Any]], training: Mapping[str, Any]) -> Curves:
    rows = sorted(tried, key=lambda row: float(row["C"]))
    x = [float(row["C"]) for row in rows]
    loss = tuple(finite(row.get("valid_log_loss")) for row in rows)
    accuracy = tuple(finite(row.get("valid_accuracy")) for row in rows)
    kept = finite(training.get("C"))
    best = x.index(kept) if kept in x else None
    charts = (
        line_chart(
            "Log loss on validation photos (lower is better)",
            "C (follows the photos more closely →)",
            x,
            (Series("validation", "valid", loss),),
            x_word="C",
            log_x=True,
            mark=best,
            mark_label="kept",
        ),
        line_chart(
            "Validation photos named correctly",
            "C (follows the photos more closely →)",
            x,
            (Series("validation", "valid", accuracy),),
            x_word="C",
            log_x=True,
            as_percent=True,
            mark=best,
            mark_label="kept",
        ),
    )
    head = str(training.get("head") or "the classifier")
    chosen = "" if best is None else f" C = {short(x[best])} was kept."
    return Curves(
        heading="How the classifier was chosen",
        intro=(
            f"The network's features stayed as they were; {head} on top of them was fitted with "
            f"{amount(len(rows), 'value')} of C, which says how closely it may follow the "
            f"training photos (a large C holds it back less).{chosen}"
        ),
        charts=tuple(chart for chart in charts if chart is not None),
        columns=("C", "Validation log loss", "Validation accuracy"),
        rows=tuple(
            (short(c), number(a), percent(b)) for c, a, b in zip(x, loss, accuracy, strict=True)
        ),
        chosen=best,
    )


def _float(text: str | None) -> float | None:
    try:
        return finite(float(text or ""))
    except ValueError:
        return None
