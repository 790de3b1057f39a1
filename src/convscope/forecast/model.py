"""What was learned: the network, its scaling, how wide its intervals are; saved, read, asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor

from convscope.data.series import Series
from convscope.errors import InputError
from convscope.files import write_bytes
from convscope.forecast.conformal import Conformal
from convscope.forecast.losses import Outputs
from convscope.forecast.network import ForecastNet
from convscope.forecast.options import ForecastOptions
from convscope.forecast.windows import Scaling, scaled_columns

# Windows that go through the network at once.
_AT_ONCE = 512


def build_net(
    options: ForecastOptions, past: int, known: int, look_back: int, dilations: Sequence[int]
) -> ForecastNet:
    """The network that was asked for, untrained; its weights come from the seed.

    Parameters
    ----------
    options : ForecastOptions
    past, known : int
        Columns.
    look_back : int
    dilations : sequence of int
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        return ForecastNet(
            2 + past + known, options.horizon, dilations, known=known,
            outputs=outputs_of(options), body=options.body, filters=options.filters,
            kernel_size=options.kernel_size, dropout=options.dropout,
            normalise=options.normalise, look_back=look_back, shortcut=options.shortcut,
        )  # fmt: skip


def outputs_of(options: ForecastOptions) -> Outputs:
    """What the network says of each step."""
    return Outputs(options.output, options.levels)


@dataclass(frozen=True, eq=False)
class Model:
    """A trained forecaster.

    Attributes
    ----------
    net : ForecastNet
    scaling : Scaling
    names : tuple of str
        Of the series that it learned from, as ``scaling.target`` has them.
    conformal : Conformal
    """

    net: ForecastNet
    scaling: Scaling
    names: tuple[str, ...]
    conformal: Conformal

    @property
    def look_back(self) -> int:
        """Steps before the newest that a forecast reads."""
        return self.net.look_back

    @property
    def horizon(self) -> int:
        """Steps that are said at once."""
        return self.net.horizon

    def moments(self, series: Series) -> np.ndarray:
        """Mean and spread of a series: as learned, or, of one that is new, its own."""
        if series.name in self.names:
            return np.asarray(self.scaling.target[self.names.index(series.name)])
        known = series.target[series.measured]
        spread = float(known.std()) if len(known) else 1.0
        return np.array([known.mean() if len(known) else 0.0, spread if spread > 0 else 1.0])

    def context(self, series: Sequence[Series]) -> Tensor:
        """The newest windows: float32 ``(series, channels, look_back + 1)``, scaled."""
        length = self.look_back + 1
        found = np.zeros((len(series), self.net.channels, length), np.float32)
        for number, one in enumerate(series):
            newest = slice(max(0, len(one) - length), len(one))
            columns = scaled_columns(
                one.target[newest], one.past[newest], one.known[newest], self.scaling,
                self.moments(one),
            )  # fmt: skip
            found[number, :, length - len(columns) :] = columns.T
        return torch.from_numpy(found)

    def ahead(self, known: np.ndarray) -> Tensor:
        """What is known ahead, ``(series, steps, columns)``, to ``(series, columns, steps)``."""
        moved = (known - self.scaling.known[:, 0]) / self.scaling.known[:, 1]
        moved = np.where(np.isfinite(moved), moved, 0.0)
        return torch.from_numpy(moved.transpose(0, 2, 1).astype(np.float32).copy())

    def raw(self, context: Tensor, ahead: Tensor) -> np.ndarray:
        """What the network gives: float32 ``(n, count, horizon)``, scaled."""
        found = []
        with torch.inference_mode():
            for first in range(0, len(context), _AT_ONCE):
                rows = slice(first, first + _AT_ONCE)
                found.append(self.net(context[rows], ahead[rows]).float().numpy())
        return np.concatenate(found)

    def save(self, path: Path) -> bytes:
        """Write all of it but the names as safetensors; gives the content."""
        tensors = {f"net.{k}": v.numpy() for k, v in self.net.state_dict().items()}
        tensors |= {
            "scaling.target": self.scaling.target, "scaling.past": self.scaling.past,
            "scaling.known": self.scaling.known,
        }  # fmt: skip
        tensors |= {f"conformal.{k}": v for k, v in self.conformal.tensors().items()}
        content = save({k: np.ascontiguousarray(v) for k, v in tensors.items()})
        write_bytes(path, content)
        return content


def read_model(path: Path, net: ForecastNet, names: tuple[str, ...]) -> Model:
    """Read what :meth:`Model.save` wrote, into a network of the same shape.

    Raises
    ------
    InputError
        It cannot be read, or does not fit.
    """
    try:
        tensors = load(path.read_bytes())
        state = {
            name.removeprefix("net."): torch.from_numpy(values)
            for name, values in tensors.items()
            if name.startswith("net.")
        }
        net.load_state_dict(state)
        scaling = Scaling(*(tensors[f"scaling.{part}"] for part in ("target", "past", "known")))
        kept = {part: tensors[f"conformal.{part}"] for part in ("errors", "scores")}
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (SafetensorError, RuntimeError, KeyError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"{path} is not what convscope writes: {first}") from None
    return Model(net.eval(), scaling, names, Conformal.from_tensors(net.outputs, kept))
