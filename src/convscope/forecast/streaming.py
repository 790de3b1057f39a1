"""A causal network one time step at a time: a step costs its layers, not its window.

A new time step changes only the newest column of every layer. What a convolution still has to know
of the past, ``(kernel_size - 1) * dilation`` steps, it keeps (Paine et al. 2016, arXiv 1611.09482).
The steps of one remainder modulo the dilation lie side by side, so that what a convolution reads is
one row and its answer one product. The arithmetic is NumPy's: on a few dozen channels, calling an
operation costs more than its sums, and NumPy's calls are cheaper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor, nn

from convscope.errors import InputError
from convscope.files import write_bytes
from convscope.nets.tcn import TCN, CausalConv1d, PlainTCN, TemporalBlock, look_back


class _Conv:
    """One causal convolution, perhaps with ReLU behind it."""

    def __init__(self, conv: nn.Conv1d, *, relu: bool) -> None:
        self.kernel_size, self.dilation = int(conv.kernel_size[0]), int(conv.dilation[0])
        self.channels, self.outputs = conv.in_channels, conv.out_channels
        self.relu = relu
        weight = conv.weight.detach().float().cpu().numpy().transpose(2, 1, 0)
        bias = np.zeros(self.outputs, np.float32)
        if conv.bias is not None:
            bias = conv.bias.detach().float().cpu().numpy()
        # A row holds k steps and a one for the bias. The newest step lies at a place that moves on,
        # so there are the weights for each place.
        self.weights = [
            np.ascontiguousarray(
                np.concatenate(
                    [np.roll(weight, place + 1, 0).reshape(-1, self.outputs), bias[None]]
                )
            )
            for place in range(self.kernel_size)
        ]

    def empty(self, n: int) -> np.ndarray:
        """What is known before the first step: float32 ``(dilation, n, k * channels + 1)``."""
        rows = np.zeros((self.dilation, n, self.kernel_size * self.channels + 1), np.float32)
        rows[..., -1] = 1
        return rows

    def put(self, rows: np.ndarray, x: np.ndarray, time: int) -> None:
        """Keep the input of a time step, ``(n, channels)``."""
        turn, slot = divmod(time, self.dilation)
        first = turn % self.kernel_size * self.channels
        rows[slot, :, first : first + self.channels] = x

    def step(self, rows: np.ndarray, x: np.ndarray, time: int, out: np.ndarray) -> np.ndarray:
        """Input of a time step to output, ``(n, outputs)``, which lies in ``out``."""
        turn, slot = divmod(time, self.dilation)
        place = turn % self.kernel_size
        row = rows[slot]
        first = place * self.channels
        row[:, first : first + self.channels] = x
        np.matmul(row, self.weights[place], out=out)
        if self.relu:
            np.maximum(out, 0, out=out)
        return out


@dataclass(eq=False)
class StreamState:
    """All that a stream knows of the past.

    It is handed on: :meth:`Stream.step` writes into it. To go on from one state in two ways, take a
    :meth:`copy`.

    Attributes
    ----------
    time : int
        Steps seen.
    rows : list of numpy.ndarray
        Of each convolution, float32 ``(dilation, n, kernel_size * channels + 1)``.
    scratch : list of numpy.ndarray
        Room for the answers of one step; holds nothing between steps.
    """

    time: int
    rows: list[np.ndarray]
    scratch: list[np.ndarray]

    @property
    def batch(self) -> int:
        """Series that go through at once."""
        return int(self.rows[0].shape[1])

    def copy(self) -> StreamState:
        """Another one, independent of this."""
        return StreamState(
            self.time, [one.copy() for one in self.rows], [one.copy() for one in self.scratch]
        )

    def save(self, path: Path | str) -> None:
        """Write it as safetensors; the file appears whole or not at all."""
        tensors = {f"rows.{number}": one for number, one in enumerate(self.rows)}
        write_bytes(Path(path), save({"time": np.array([self.time], np.int64), **tensors}))


class Stream:
    """A causal network that takes one time step after the other.

    Parameters
    ----------
    net : PlainTCN or TCN
        Its weights are copied; dropout does nothing.

    Attributes
    ----------
    look_back : int
        Steps before the newest that an answer depends on.

    Raises
    ------
    InputError
        The network is no stack of causal convolutions.

    Examples
    --------
    ::

        stream = Stream(net)
        state = stream.start(history)        # (n, channels, length)
        y, state = stream.step(x, state)     # (n, channels) -> (n, num_outputs)
    """

    def __init__(self, net: PlainTCN | TCN) -> None:
        if not isinstance(net, PlainTCN | TCN):
            raise InputError(
                f"{type(net).__name__} cannot be streamed: only PlainTCN and TCN are known to be "
                "stacks of causal convolutions."
            )
        self.net = net
        self.channels = net.in_channels
        self.look_back = look_back(net)
        self.convs: list[_Conv] = []
        # Which module each of them was, in the same order.
        self._modules: list[CausalConv1d | nn.Conv1d] = []
        # Each stage: its convolutions, and what stands on its shortcut (None: the input itself).
        self._stages: list[tuple[tuple[int, ...], bool, int | None]] = []
        for module in net.layers if isinstance(net, PlainTCN) else net.blocks:
            if isinstance(module, CausalConv1d):
                self._stages.append(((self._add(module, relu=True),), False, None))
            elif isinstance(module, TemporalBlock):
                both = tuple(self._add(c, relu=True) for c in (module.conv1, module.conv2))
                short = module.shortcut
                beside = self._add(short, relu=False) if isinstance(short, nn.Conv1d) else None
                self._stages.append((both, True, beside))
        self._weight = np.ascontiguousarray(net.linear.weight.detach().float().cpu().numpy().T)
        self._bias = net.linear.bias.detach().float().cpu().numpy().copy()

    def _add(self, module: CausalConv1d | nn.Conv1d, *, relu: bool) -> int:
        conv = module.conv if isinstance(module, CausalConv1d) else module
        self.convs.append(_Conv(conv, relu=relu))
        self._modules.append(module)
        return len(self.convs) - 1

    def start(self, history: Tensor | np.ndarray | None = None, *, batch: int = 1) -> StreamState:
        """The state after some history, of which no more than :attr:`look_back` steps matter.

        Parameters
        ----------
        history : Tensor or array, optional
            ``(n, channels, length)``, the newest step last; None: nothing has been seen.
        batch : int
            Series that will go through at once; with a history, n.

        Raises
        ------
        InputError
            The history has another shape.
        """
        if history is None:
            if batch < 1:
                raise InputError(f"batch={batch}: a stream carries 1 series or more.")
            return self._fresh(batch)
        given = np.asarray(history, np.float32)
        if given.ndim != 3 or given.shape[1] != self.channels or len(given) < 1:
            raise InputError(
                f"A history of shape {given.shape}: this network takes "
                f"(n, {self.channels}, length)."
            )
        state = self._fresh(len(given))
        length = given.shape[2]
        used = given[:, :, max(0, length - self.look_back - 1) :]
        if used.shape[2]:
            for conv, rows, seen in zip(self.convs, state.rows, self._inputs(used), strict=True):
                known = min((conv.kernel_size - 1) * conv.dilation + 1, seen.shape[2])
                for back in range(known, 0, -1):
                    conv.put(rows, seen[:, :, seen.shape[2] - back], length - back)
        state.time = length
        return state

    def step(self, x: Tensor | np.ndarray, state: StreamState) -> tuple[np.ndarray, StreamState]:
        """One time step.

        Parameters
        ----------
        x : Tensor or array
            ``(n, channels)``.
        state : StreamState
            Is written into, and given back.

        Returns
        -------
        numpy.ndarray
            float32 ``(n, num_outputs)``: what the network says at this step.
        StreamState

        Raises
        ------
        InputError
            The step has another shape than the state.
        """
        h = np.asarray(x, np.float32)
        if h.shape != (state.batch, self.channels):
            raise InputError(
                f"A step of shape {h.shape}: this state takes ({state.batch}, {self.channels})."
            )
        time, rows, scratch, convs = state.time, state.rows, state.scratch, self.convs
        for chain, residual, beside in self._stages:
            before = h
            for number in chain:
                h = convs[number].step(rows[number], h, time, scratch[number])
            if residual:
                if beside is not None:
                    before = convs[beside].step(rows[beside], before, time, scratch[beside])
                np.add(h, before, out=h)
                np.maximum(h, 0, out=h)
        state.time = time + 1
        return h @ self._weight + self._bias, state

    def run(
        self, series: Tensor | np.ndarray, state: StreamState
    ) -> tuple[np.ndarray, StreamState]:
        """Several time steps: ``(n, channels, length)`` to ``(n, num_outputs, length)``."""
        given = np.asarray(series, np.float32)
        answers = np.zeros((len(given), len(self._bias), given.shape[2]), np.float32)
        for place in range(given.shape[2]):
            answers[:, :, place], state = self.step(given[:, :, place], state)
        return answers, state

    def load_state(self, path: Path | str) -> StreamState:
        """Read what :meth:`StreamState.save` wrote.

        Raises
        ------
        InputError
            It cannot be read, or is a state of another network.
        """
        try:
            tensors = load(Path(path).read_bytes())
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}.") from None
        except SafetensorError as error:
            raise InputError(f"{path} is no state of a stream: {error}") from None
        names = [f"rows.{number}" for number in range(len(self.convs))]
        if set(tensors) != {"time", *names} or tensors["rows.0"].ndim != 3:
            raise InputError(f"{path} is a state of another network.")
        state = self._fresh(int(tensors["rows.0"].shape[1]))
        for name, rows in zip(names, state.rows, strict=True):
            if tensors[name].shape != rows.shape:
                raise InputError(f"{path} is a state of another network: {name} differs in shape.")
            rows[:] = tensors[name]
        state.time = int(tensors["time"][0])
        return state

    def _fresh(self, n: int) -> StreamState:
        return StreamState(
            0,
            [conv.empty(n) for conv in self.convs],
            [np.zeros((n, conv.outputs), np.float32) for conv in self.convs],
        )

    def _inputs(self, series: np.ndarray) -> list[np.ndarray]:
        """What each convolution reads when the network sees a series: ``(n, channels, length)``."""
        seen: dict[nn.Module, np.ndarray] = {}

        def note(module: nn.Module, given: Sequence[Tensor]) -> None:
            seen[module] = given[0].float().cpu().numpy()

        handles = [module.register_forward_pre_hook(note) for module in self._modules]
        training = self.net.training
        try:
            with torch.inference_mode():
                weight = self.net.linear.weight
                self.net.eval()(torch.from_numpy(series).to(weight.device, weight.dtype))
        finally:
            self.net.train(training)
            for handle in handles:
                handle.remove()
        return [seen[module] for module in self._modules]
