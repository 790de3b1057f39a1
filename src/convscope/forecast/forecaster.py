"""``Forecaster``: fit, predict and predict_interval, in sktime's vocabulary."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from convscope.data.series import Series
from convscope.data.timeline import Step
from convscope.errors import InputError
from convscope.forecast.calendar import calendar_columns, with_calendar
from convscope.forecast.explaining import OverTime, explain_forecast
from convscope.forecast.given import Given, as_frame, as_given, horizon_of
from convscope.forecast.learning import learn
from convscope.forecast.live import Live
from convscope.forecast.options import ForecastOptions, forecast_options
from convscope.forecast.preparing import known_ahead, purposes_of, shape_of
from convscope.forecast.rolling import Forecast, next_steps
from convscope.progress import Progress

Horizon = int | Sequence[int] | np.ndarray


class Forecaster(BaseEstimator):  # type: ignore[misc]
    """Causal, dilated convolutions that forecast one series or several.

    The same as ``convscope forecast``, but that no rows are kept back for a test.

    Parameters
    ----------
    look_back : int or str, optional
        Steps, or a time span such as ``2 weeks``; default two seasons or two horizons.
    body : str
        ``residual`` or ``plain``.
    filters, kernel_size : int
    dropout : float
    normalise : str
        ``last``, ``window``, ``revin`` or ``none``.
    shortcut : bool
        A linear map beside the convolutions.
    output : str
        ``point``, ``quantiles`` or ``gaussian``.
    levels : tuple of float
        Of quantiles.
    calendar : bool
        Where y has time stamps: hour of the day, day of the week and of the year.
    season : int, optional
    epochs, batch_size, patience : int
    learning_rate, weight_decay : float
    valid : float
        Share of the rows, the newest, that tells when to stop and how wide intervals are.
    random_state : int
    verbose : bool
        Show progress on stderr.

    Attributes
    ----------
    model_ : Model
    look_back_ : int
        Steps before the newest that a forecast reads.
    cutoff_ : numpy.datetime64 or int
        The newest step that is known.

    Examples
    --------
    >>> y = np.sin(np.arange(200) / 5)
    >>> forecaster = Forecaster(look_back=32, epochs=2).fit(y, fh=[1, 2, 3])
    >>> forecaster.predict().shape
    (3,)
    >>> forecaster.predict_interval(coverage=0.8).shape
    (3, 2)
    """

    def __init__(
        self,
        look_back: int | str | None = None,
        *,
        body: str = "residual",
        filters: int = 32,
        kernel_size: int = 3,
        dropout: float = 0.2,
        normalise: str = "last",
        shortcut: bool = True,
        output: str = "point",
        levels: tuple[float, ...] = (0.1, 0.5, 0.9),
        calendar: bool = True,
        season: int | None = None,
        epochs: int = 30,
        batch_size: int = 64,
        patience: int = 5,
        learning_rate: float = 5e-4,
        weight_decay: float = 0.02,
        valid: float = 0.1,
        random_state: int = 0,
        verbose: bool = False,
    ) -> None:
        self.look_back = look_back
        self.body = body
        self.filters = filters
        self.kernel_size = kernel_size
        self.dropout = dropout
        self.normalise = normalise
        self.shortcut = shortcut
        self.output = output
        self.levels = levels
        self.calendar = calendar
        self.season = season
        self.epochs = epochs
        self.batch_size = batch_size
        self.patience = patience
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.valid = valid
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, y: Any, X: Any = None, fh: Horizon = 1, *, past: Any = None) -> Self:
        """Learn from one series or several.

        Parameters
        ----------
        y : array, pandas.Series or pandas.DataFrame
            ``(n,)``, or ``(n, series)``; NaN where nothing was measured. A pandas index of dates
            gives the time stamps; else rows are steps.
        X : array or pandas.DataFrame, optional
            ``(n, columns)``: what is known ahead, of all series the same.
        fh : int or sequence of int
            Steps ahead, from 1; the largest is what the network says at once.
        past : array or pandas.DataFrame, optional
            ``(n, columns)``: what is known up to now.

        Raises
        ------
        InputError
            What is given cannot be used, or is too short.
        """
        given = as_given(y, X, past)
        self.fh_ = horizon_of(fh)
        options = self._options(int(self.fh_.max()))
        series = self._with_calendar(given.series, given.step)
        purposes = purposes_of(series, options.horizon, options.valid, 0.0)
        shape = shape_of(options, given.step, series, purposes.train)
        with tempfile.TemporaryDirectory(prefix="convscope-") as work:
            self.model_, self.trained_ = learn(
                series, purposes.train, purposes.valid, shape, options,
                work=Path(work) / "work", epochs_file=Path(work) / "epochs.csv",
                progress=self._progress(),
            )  # fmt: skip
        self.look_back_ = shape.look_back
        self._given = given
        return self

    @property
    def cutoff_(self) -> Any:
        """The newest step that is known."""
        return self._fitted().series[0].stamps[-1]

    def update(self, y: Any, X: Any = None, *, past: Any = None) -> Self:
        """Take what was measured since; forecasts start from its end. Nothing is learned anew.

        Rows with time stamps take their place: those that are known already are replaced, and steps
        that nobody gave count as not measured. Rows without follow those that are known.

        Parameters
        ----------
        y, X, past
            As for :meth:`fit`.

        Raises
        ------
        InputError
            Another number of series or columns, or stamps that lie between the steps.
        """
        before = self._fitted()
        given = as_given(y, X, past, step=before.step)
        if len(given.series) != len(before.series):
            raise InputError(
                f"{len(given.series)} series were given; this forecaster knows "
                f"{len(before.series)}."
            )
        self._given = before.with_rows(given)
        return self

    def predict(self, fh: Horizon | None = None, X: Any = None) -> Any:
        """Forecast.

        Parameters
        ----------
        fh : int or sequence of int, optional
            Steps ahead; default those of :meth:`fit`. Beyond the largest of those, forecasts stand
            on forecasts.
        X : array or pandas.DataFrame, optional
            ``(steps, columns)``: what is known ahead; as many rows as the largest step.

        Returns
        -------
        numpy.ndarray or pandas object
            As y was: ``(len(fh),)`` or ``(len(fh), series)``.
        """
        self._fitted()
        wanted = self.fh_ if fh is None else horizon_of(fh)
        found = self._forecast(int(wanted.max()), X, ())
        values = np.stack([one.values[wanted - 1] for one in found], 1)
        return as_frame(self._given, values, found[0].stamps[wanted - 1])

    def predict_interval(
        self,
        fh: Horizon | None = None,
        X: Any = None,
        coverage: float | Sequence[float] = 0.9,
    ) -> Any:
        """Forecast intervals; see :mod:`convscope.forecast.conformal`.

        Parameters
        ----------
        fh, X
            As for :meth:`predict`.
        coverage : float or sequence of float
            Shares of what comes that intervals are to hold.

        Returns
        -------
        numpy.ndarray or pandas.DataFrame
            Of an array ``(len(fh), 2)``, or ``(len(fh), series, 2)``, lower and upper; with several
            coverages ``(..., coverages, 2)``. Of pandas a frame with columns (series, coverage,
            ``lower`` or ``upper``).
        """
        self._fitted()
        wanted = self.fh_ if fh is None else horizon_of(fh)
        many = not isinstance(coverage, float | int)
        levels = tuple(coverage) if isinstance(coverage, Sequence | np.ndarray) else (coverage,)
        found = self._forecast(int(wanted.max()), X, levels)
        bounds = np.stack([
            np.stack([np.stack(one.bounds[level], 1)[wanted - 1] for level in levels], 1)
            for one in found
        ], 1)  # (fh, series, coverages, 2)  # fmt: skip
        if self._given.pandas is not None:
            return self._given.interval_frame(bounds, levels, found[0].stamps[wanted - 1])
        bounds = bounds if many else bounds[:, :, 0]
        return bounds[:, 0] if self._given.single else bounds

    def explain(self, fh: Horizon | None = None, X: Any = None, *, series: int = 0) -> OverTime:
        """Which past steps made the forecast of one series.

        Parameters
        ----------
        fh : int or sequence of int, optional
            Steps ahead, within what the network says at once; default those of :meth:`fit`.
        X : array or pandas.DataFrame, optional
            As for :meth:`predict`, of all steps that the network says at once.
        series : int
            Its number.

        Returns
        -------
        OverTime
            Saliency and occlusion, ``(len(fh), look_back_ + 1)`` each, the newest step last.
        """
        self._fitted()
        wanted = self.fh_ if fh is None else horizon_of(fh)
        every, known = self._inputs(self.model_.horizon, X)
        if not 0 <= series < len(every):
            raise InputError(f"series={series}: there are {len(every)}, counted from 0.")
        context = self.model_.context(every[series : series + 1])[0]
        ahead = self.model_.ahead(known[series][None])[0]
        return explain_forecast(self.model_, context, ahead, tuple(map(int, wanted)))

    def live(self) -> Live:
        """Forecasts after each new step, for the price of one step.

        Raises
        ------
        InputError
            The network was not made for it; with the reason.
        """
        self._fitted()
        return Live(self.model_)

    def _forecast(self, steps: int, X: Any, coverages: tuple[float, ...]) -> list[Forecast]:
        series, known = self._inputs(steps, X)
        return next_steps(
            self.model_, series, self._given.step, steps, known=known, coverages=coverages,
            seed=self.random_state,
        )  # fmt: skip

    def _inputs(self, steps: int, X: Any) -> tuple[tuple[Series, ...], list[np.ndarray]]:
        """The series with the calendar, and of each what is known ahead."""
        given = self._fitted()
        columns = given.series[0].known.shape[1]
        ahead = given.ahead(X, steps)
        if columns and ahead is None:
            raise InputError(
                f"X: this forecaster was given {columns} columns that are known ahead."
            )
        series = self._with_calendar(given.series, given.step)
        calendar = self.calendar and given.step.unit != "row"
        known = []
        for one in series:
            table = known_ahead(one, given.step, steps, one.known.shape[1], calendar=calendar)
            if ahead is not None:
                table[:, :columns] = ahead
            known.append(table)
        return series, known

    def _with_calendar(self, series: tuple[Series, ...], step: Step) -> tuple[Series, ...]:
        if not (self.calendar and calendar_columns(step)):
            return series
        return tuple(with_calendar(one, step) for one in series)

    def _options(self, horizon: int) -> ForecastOptions:
        names = (
            "look_back", "body", "filters", "kernel_size", "dropout", "normalise", "shortcut",
            "output", "levels", "calendar", "season", "epochs", "batch_size", "patience",
            "learning_rate", "weight_decay", "valid",
        )  # fmt: skip
        asked = {name: getattr(self, name) for name in names}
        return forecast_options({**asked, "horizon": horizon, "seed": self.random_state})

    def _fitted(self) -> Given:
        if not hasattr(self, "model_"):
            raise NotFittedError("This Forecaster is not fitted yet: call fit(y, fh=...) first.")
        return self._given

    def _progress(self) -> Progress:
        if not self.verbose:
            return Progress()
        from rich.console import Console

        return Progress(Console(stderr=True))
