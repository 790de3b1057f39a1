"""Intervals from how far off forecasts were on rows that were not learned from.

Split conformal prediction (Vovk et al. 2005; Lei et al. 2018), for quantiles as in Romano et al.
2019: for each step ahead, an interval is as wide as it had to be to hold the asked share of the
truths of the validation windows. Neighbouring windows resemble one another and series change, so
the promise is an approximate one: the coverage on the test rows says how well it was kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from convscope.errors import InputError
from convscope.forecast.losses import Outputs

# Windows whose errors are kept.
_MOST = 2000


@dataclass(frozen=True, eq=False)
class Conformal:
    """Errors of validation windows, on the network's scale.

    Attributes
    ----------
    outputs : Outputs
    errors : numpy.ndarray
        float32 ``(n, horizon)``: truth less forecast; NaN where nothing was measured.
    scores : numpy.ndarray
        float32 ``(pairs, n, horizon)``: how far a truth lay outside what the network itself said;
        of each pair of quantiles, or, of ``gaussian``, the error in standard deviations.
    """

    outputs: Outputs
    errors: np.ndarray
    scores: np.ndarray

    def bounds(self, raw: np.ndarray, coverage: float) -> tuple[np.ndarray, np.ndarray]:
        """The interval of each step.

        Parameters
        ----------
        raw : numpy.ndarray
            ``(n, count, horizon)``: what the network gives.
        coverage : float
            The share of truths that it is to hold, 0 to 1.

        Returns
        -------
        tuple of numpy.ndarray
            Lower and upper bound, ``(n, horizon)`` each.

        Raises
        ------
        InputError
            A coverage that is none.
        """
        if not 0 < coverage < 1:
            raise InputError(f"coverage={coverage}: a share between 0 and 1, such as 0.8.")
        tensor = torch.from_numpy(raw)
        middle = self.outputs.middle(tensor).numpy()
        if self.outputs.kind == "gaussian":
            spread = (self.outputs.quantile(tensor, _ONE_SIGMA) - tensor[:, 0]).numpy()
            wide = _quantiles(np.abs(self.scores[0]), coverage) * spread
            return middle - wide, middle + wide
        for number, (low, high) in enumerate(pairs_of(self.outputs)):
            if abs((high - low) - coverage) < 1e-6:
                by = _quantiles(self.scores[number], coverage)
                said = (self.outputs.quantile(tensor, level).numpy() for level in (low, high))
                below, above = said
                return np.minimum(below - by, middle), np.maximum(above + by, middle)
        wide = _quantiles(np.abs(self.errors), coverage)
        return middle - wide, middle + wide

    def tensors(self) -> dict[str, np.ndarray]:
        """What has to be kept of it, by name."""
        return {"errors": self.errors, "scores": self.scores}

    @staticmethod
    def from_tensors(outputs: Outputs, tensors: Mapping[str, np.ndarray]) -> Conformal:
        """What :meth:`tensors` gave."""
        return Conformal(outputs, tensors["errors"], tensors["scores"])


_ONE_SIGMA = 0.8413447460685429


def pairs_of(outputs: Outputs) -> list[tuple[float, float]]:
    """Quantiles that lie symmetrically around the median."""
    if outputs.kind != "quantiles":
        return []
    return [
        (low, high)
        for low in outputs.levels
        for high in outputs.levels
        if low < 0.5 and abs(low + high - 1) < 1e-9
    ]


def calibrate(outputs: Outputs, raw: np.ndarray, truths: np.ndarray) -> Conformal:
    """Learn from validation windows.

    Parameters
    ----------
    outputs : Outputs
    raw : numpy.ndarray
        ``(n, count, horizon)``.
    truths : numpy.ndarray
        ``(n, horizon)``, NaN where nothing was measured; on the same scale.
    """
    chosen = np.unique(np.linspace(0, len(raw) - 1, min(len(raw), _MOST)).astype(int))
    raw, truths = raw[chosen], truths[chosen]
    tensor = torch.from_numpy(raw)
    errors = truths - outputs.middle(tensor).numpy()
    scores = [
        np.maximum(
            outputs.quantile(tensor, low).numpy() - truths,
            truths - outputs.quantile(tensor, high).numpy(),
        )
        for low, high in pairs_of(outputs)
    ]
    if outputs.kind == "gaussian":
        spread = (outputs.quantile(tensor, _ONE_SIGMA) - tensor[:, 0]).numpy()
        scores = [errors / spread]
    kept = np.stack(scores) if scores else np.zeros((0, *errors.shape))
    return Conformal(outputs, errors.astype(np.float32), kept.astype(np.float32))


def _quantiles(scores: np.ndarray, coverage: float) -> np.ndarray:
    """Of each step, the score that the share does not exceed, one more truth being to come.

    Where the windows are too few to say it of a step, the scores of all steps say it together, in
    units of what each step usually has; a step that was never measured takes the largest.
    """
    known = np.isfinite(scores)
    counts = known.sum(0)
    if not counts.any():
        raise InputError("Nothing was measured in the validation rows: no interval can be given.")
    usual = np.sqrt(np.nansum(scores**2, 0) / np.maximum(counts, 1))
    usual = np.where((counts > 0) & (usual > 0), usual, max(usual.max(), 1e-12))
    pooled = _ranked((scores / usual)[known], coverage)
    found = np.zeros(scores.shape[1])
    for step in range(scores.shape[1]):
        own = scores[known[:, step], step]
        enough = np.ceil((len(own) + 1) * coverage) <= len(own)
        found[step] = _ranked(own, coverage) if enough else pooled * usual[step]
    return np.where(counts > 0, found, found.max())


def _ranked(scores: np.ndarray, coverage: float) -> float:
    rank = int(np.ceil((len(scores) + 1) * coverage))
    return float(np.sort(scores)[min(rank, len(scores)) - 1])
