"""A forecaster that takes one measurement after the other, in the series' own unit."""

from __future__ import annotations

import numpy as np
import torch

from convscope.errors import InputError
from convscope.forecast.model import Model
from convscope.forecast.streaming import Stream, StreamState
from convscope.forecast.windows import scaled_columns


def why_not(model: Model) -> str | None:
    """Why a forecaster cannot take one step after the other, in words; None if it can."""
    net = model.net
    if net.normalise != "none":
        return (
            f"normalise={net.normalise} takes something else off each window, so that every "
            "layer changes with each step"
        )
    if net.direct is not None:
        return "the linear map beside the convolutions reads the whole window"
    if net.known:
        return "columns that are known ahead go into each forecast"
    if net.look_back != net.body.look_back:
        return "it was given less of the past than its convolutions read"
    return None


class Live:
    """Forecasts after each new step, for the price of one step.

    Parameters
    ----------
    model : Model
        Made with ``normalise="none"``, ``shortcut=False`` and ``calendar=False``, without known
        columns.

    Raises
    ------
    InputError
        The model cannot be streamed, with the reason.

    Examples
    --------
    ::

        live = Live(model)
        state = live.start(history)      # (n, length), or (n, length, 1 + past)
        y, state = live.step(x, state)   # (n,) or (n, 1 + past) -> (n, horizon)
    """

    def __init__(self, model: Model) -> None:
        reason = why_not(model)
        if reason is not None:
            raise InputError(f"This forecaster cannot be streamed: {reason}.")
        self.model = model
        self.stream = Stream(model.net.body)

    def start(self, history: np.ndarray, moments: np.ndarray | None = None) -> StreamState:
        """The state after some history.

        Parameters
        ----------
        history : numpy.ndarray
            ``(n, length)``, or with past columns ``(n, length, 1 + past)``; NaN where nothing was
            measured; n as many as series were learned from, in their order.
        moments : numpy.ndarray, optional
            ``(n, 2)``: mean and spread of each series; default those that were learned.
        """
        self.moments = self.model.scaling.target if moments is None else moments
        given = np.asarray(history, float)
        given = given[:, :, None] if given.ndim == 2 else given
        return self.stream.start(np.stack([
            self._scaled(rows, each) for rows, each in zip(given, self.moments, strict=True)
        ]))  # fmt: skip

    def step(self, x: np.ndarray, state: StreamState) -> tuple[np.ndarray, StreamState]:
        """The next measurements, ``(n,)`` or ``(n, 1 + past)``, to forecasts ``(n, horizon)``."""
        given = np.asarray(x, float)
        given = given[:, None] if given.ndim == 1 else given
        columns = np.stack([
            self._scaled(row[None], each)[:, 0]
            for row, each in zip(given, self.moments, strict=True)
        ])  # fmt: skip
        raw, state = self.stream.step(columns, state)
        net = self.model.net
        said = net.outputs.middle(
            torch.from_numpy(raw.reshape(len(raw), net.outputs.count, net.horizon))
        )
        return said.numpy() * self.moments[:, 1:] + self.moments[:, :1], state

    def _scaled(self, rows: np.ndarray, moments: np.ndarray) -> np.ndarray:
        """``(length, 1 + past)`` to float32 ``(channels, length)``."""
        past, none = rows[:, 1:], np.zeros((len(rows), 0))
        if past.shape[1] != len(self.model.scaling.past):
            raise InputError(
                f"{past.shape[1]} past columns were given; this forecaster takes "
                f"{len(self.model.scaling.past)}."
            )
        found = scaled_columns(rows[:, 0], past, none, self.model.scaling, moments)
        return found.T.astype(np.float32)
