"""Learn from some rows of some series: a trained network with its scaling and its intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from convscope.data.series import Series
from convscope.errors import InputError
from convscope.forecast.baselines import LinearForecaster
from convscope.forecast.conformal import calibrate
from convscope.forecast.model import Model, build_net
from convscope.forecast.network import ForecastNet
from convscope.forecast.options import ForecastOptions
from convscope.forecast.preparing import Shape, require_variation
from convscope.forecast.training import forecasts_of, train_forecast
from convscope.forecast.windows import Scaling, Windows, fit_scaling
from convscope.progress import Progress
from convscope.train.loop import Trained
from convscope.train.step import TrainPlan

# A linear map of a longer window is trained, not solved for.
_MOST_LINEAR = 1024
_RIDGE = 1e-2


def learn(
    series: Sequence[Series],
    train: Sequence[slice],
    valid: Sequence[slice],
    shape: Shape,
    options: ForecastOptions,
    *,
    work: Path,
    epochs_file: Path,
    resume: bool = False,
    progress: Progress | None = None,
) -> tuple[Model, Trained]:
    """Train a network on some rows; others tell when to stop and how wide intervals are.

    No other row is looked at: what comes later may be anything.

    Parameters
    ----------
    series : sequence of Series
    train, valid : sequence of slice
        Rows of each series.
    shape : Shape
    options : ForecastOptions
    work : Path
        For checkpoints.
    epochs_file : Path
        The learning curves, CSV.
    resume : bool
    progress : Progress, optional

    Raises
    ------
    InputError
        There is nothing to learn from, or nothing to learn.
    """
    require_variation(series, train)
    # Cut off, so that a slip of an index could not reach what lies behind.
    known = [_until(one, part.stop) for one, part in zip(series, valid, strict=True)]
    scaling = fit_scaling(known, train)
    windows = [
        Windows(known, scaling, shape.look_back, options.horizon, rows) for rows in (train, valid)
    ]
    net = build_net(
        options, len(scaling.past), len(scaling.known), shape.look_back, shape.dilations
    )
    _start_linear(net, known, train, scaling)
    plan = TrainPlan(
        epochs=options.epochs, batch_size=options.batch_size, learning_rate=options.learning_rate,
        weight_decay=options.weight_decay, patience=options.patience,
    )  # fmt: skip
    trained = train_forecast(
        net, windows[0], windows[1], plan, seed=options.seed, work=work, epochs_file=epochs_file,
        resume=resume, progress=progress,
    )  # fmt: skip
    raw = forecasts_of(net, windows[1])
    truths = np.concatenate([
        windows[1].batch(np.arange(first, min(first + 4096, len(windows[1])))).truth.numpy()
        for first in range(0, len(windows[1]), 4096)
    ])  # fmt: skip
    names = tuple(one.name for one in series)
    return Model(net, scaling, names, calibrate(net.outputs, raw, truths)), trained


def _start_linear(
    net: ForecastNet, series: Sequence[Series], train: Sequence[slice], scaling: Scaling
) -> None:
    """Solve for the linear map beside the convolutions, instead of training it from nothing."""
    length = net.look_back + 1
    if net.direct is None or net.normalise != "last" or length > _MOST_LINEAR:
        return
    rows = [
        (one.target[part] - mean) / spread
        for one, part, (mean, spread) in zip(series, train, scaling.target, strict=True)
    ]
    try:
        found = LinearForecaster(length, net.horizon, ridge=_RIDGE).fit(rows)
    except InputError:  # no window without a gap: it is trained from nothing
        return
    net.start_linear(*(torch.from_numpy(values).float() for values in (found.weight, found.bias)))


def _until(one: Series, stop: int) -> Series:
    return Series(one.name, one.stamps[:stop], one.target[:stop], one.past[:stop], one.known[:stop])
