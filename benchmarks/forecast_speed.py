"""Streaming, training and predicting with causal convolutions, beside pytorch-tcn and darts.

The peers are optional: ``pip install pytorch-tcn darts``. A row whose peer is missing is left out.
"""

from __future__ import annotations

import importlib
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import parser, row, say
from convscope.data.series import ROWS, Series
from convscope.forecast.learning import learn
from convscope.forecast.model import Model
from convscope.forecast.options import ForecastOptions
from convscope.forecast.preparing import Shape
from convscope.forecast.rolling import next_steps
from convscope.forecast.streaming import Stream
from convscope.nets.tcn import TCN

CHANNELS, KERNEL, BLOCKS = 32, 3, 9
# Of the peer's one buffered step, and of our own window.
WINDOW_GOAL, STEP_GOAL = 20.0, 5.0
TRAINING_GOAL, PREDICTING_GOAL = 1.5, 3.0


def seconds(work: Callable[[], object], times: int, rounds: int = 5) -> float:
    """Of one call, the best of some rounds."""
    work()
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(times):
            work()
        found.append((time.perf_counter() - began) / times)
    return min(found)


def streaming_rows(quick: bool) -> None:
    """One autoregressive step of 9 residual blocks, kernel 3, 32 channels, look-back 1,024."""
    # Dilations that end at 1,024 and more: 2 * 2 * (1 + ... + 128) and the ninth block.
    dilations = (1, 2, 4, 8, 16, 32, 64, 64, 65)
    net = TCN(1, 1, channels=[CHANNELS] * BLOCKS, kernel_size=KERNEL, dilations=dilations).eval()
    times = 50 if quick else 400
    x = np.random.default_rng(0).normal(size=(64, 1, net.look_back + 1)).astype(np.float32)
    window = torch.from_numpy(x)
    with torch.inference_mode():
        again = seconds(lambda: net(window[:1]), max(5, times // 20))
    for batch in (1, 64):
        stream = Stream(net)
        state = stream.start(x[:batch])
        step = seconds(lambda s=stream, b=batch, st=state: s.step(x[:b, :, 0], st), times)  # type: ignore[misc]
        say(f"a step of {batch}: {1e3 * step:.3f} ms; the window again {1e3 * again:.2f} ms")
        if batch == 1:
            row(
                f"one step, look-back {net.look_back}, batch 1", "the window again, PyTorch",
                again / step, WINDOW_GOAL, 1e3 * step, 1e3 * again, "ms",
            )  # fmt: skip
            ours = step
    theirs = _buffered_step(times)
    if theirs is not None:
        row(
            "one step, 9 blocks, batch 1", "pytorch-tcn's buffered step", theirs / ours, STEP_GOAL,
            1e3 * ours, 1e3 * theirs, "ms",
        )  # fmt: skip
    count = 20_000 if quick else 1_000_000
    stream, state = Stream(net), Stream(net).start(batch=1)
    before = _resident()
    one = x[:1, :, 0]
    began = time.perf_counter()
    for _ in range(count):
        _, state = stream.step(one, state)
    grown = _resident() - before
    say(f"{count:,} steps: {time.perf_counter() - began:.0f} s, memory grew by {grown:.1f} MiB")
    row(f"memory grown over {count:,} steps", "5 MiB", 5 / max(grown, 0.1), 1.0, grown, 5.0, "MiB")


def _buffered_step(times: int) -> float | None:
    try:
        peer: Any = importlib.import_module("pytorch_tcn")
    except ImportError:
        say("pytorch-tcn is not installed: its row is left out")
        return None
    net = peer.TCN(
        num_inputs=1, num_channels=[CHANNELS] * BLOCKS, kernel_size=KERNEL, causal=True,
        dilations=[2**k for k in range(BLOCKS)], dropout=0.0, use_norm="weight_norm",
    ).eval()  # fmt: skip
    x = torch.randn(1, 1, 1)
    with torch.inference_mode():
        net.reset_buffers()
        return seconds(lambda: net(x, inference=True), times)


def _resident() -> float:
    """MiB of this process."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(one for one in text.splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def waves(count: int, length: int) -> np.ndarray:
    """float32 ``(series, length)``."""
    drawn = np.random.default_rng(0)
    t = drawn.uniform(0, 400, size=(count, 1)) + np.arange(length)
    clean = np.sin(2 * np.pi * t / 16) * (1 + 0.5 * np.sin(2 * np.pi * t / 64))
    return (clean + 0.1 * drawn.normal(size=clean.shape)).astype(np.float32)


def peer_rows(quick: bool) -> None:
    """Training and predicting with the layers of darts' TCNModel."""
    try:
        darts: Any = importlib.import_module("darts")
        models: Any = importlib.import_module("darts.models")
    except ImportError:
        say("darts is not installed: its rows are left out")
        return
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    chunk, horizon, filters, batch = 125, 10, 32, 64
    epochs = 1 if quick else 3
    series = waves(100, 400)
    given = [darts.TimeSeries.from_values(one) for one in series]
    peer = models.TCNModel(
        input_chunk_length=chunk, output_chunk_length=horizon, kernel_size=3, num_filters=filters,
        num_layers=5, dilation_base=2, weight_norm=True, dropout=0.0, batch_size=batch,
        n_epochs=epochs, random_state=0,
        pl_trainer_kwargs={"accelerator": "cpu", "enable_progress_bar": False, "logger": False,
                           "enable_checkpointing": False, "enable_model_summary": False},
    )  # fmt: skip
    began = time.perf_counter()
    peer.fit(given)
    # darts' training windows: every place of every series.
    windows = 100 * (400 - chunk - horizon + 1) * epochs
    theirs = windows / (time.perf_counter() - began)
    model, ours = _learned(series, chunk, horizon, filters, batch, epochs)
    say(f"training: {ours:,.0f} windows/s, darts {theirs:,.0f}")
    row(
        "training, 5 blocks of 32 channels, batch 64", "darts TCNModel", ours / theirs,
        TRAINING_GOAL, ours, theirs, "windows/s", chunk=chunk, horizon=horizon,
    )  # fmt: skip
    count = 100 if quick else 1000
    long = waves(count, 200)
    peers = [darts.TimeSeries.from_values(one) for one in long]
    began = time.perf_counter()
    peer.predict(1000, series=peers, verbose=False, show_warnings=False)
    theirs = time.perf_counter() - began
    none = np.zeros((200, 0))
    ahead = [Series(f"n{k}", np.arange(200), one, none, none) for k, one in enumerate(long)]
    began = time.perf_counter()
    found = next_steps(model, ahead, ROWS, 1000, coverages=())
    ours = time.perf_counter() - began
    if len(found) != count or len(found[0].values) != 1000:
        raise SystemExit("not all steps were forecast")
    row(
        f"1,000 steps of {count:,} series", "darts TCNModel", theirs / ours, PREDICTING_GOAL, ours,
        theirs, "s",
    )  # fmt: skip


def _learned(
    series: np.ndarray, chunk: int, horizon: int, filters: int, batch: int, epochs: int
) -> tuple[Model, float]:
    """The same layers, trained on the same windows; and windows a second."""
    options = ForecastOptions(
        horizon=horizon, filters=filters, dropout=0.0, normalise="none", shortcut=False,
        batch_size=batch, epochs=epochs, patience=epochs, calendar=False,
    )  # fmt: skip
    length = series.shape[1]
    none = np.zeros((length, 0))
    given = [
        Series(f"s{k}", np.arange(length), one.astype(float), none, none)
        for k, one in enumerate(series)
    ]
    # The last windows are validated on as well: they count for nobody.
    train = [slice(0, length)] * len(given)
    valid = [slice(length - horizon, length)] * len(given)
    shape = Shape(chunk - 1, (1, 2, 4, 8, 16), 1)
    with tempfile.TemporaryDirectory() as work:
        began = time.perf_counter()
        model, _ = learn(
            given, train, valid, shape, options, work=Path(work) / "work",
            epochs_file=Path(work) / "epochs.csv",
        )  # fmt: skip
        took = time.perf_counter() - began
    windows = len(given) * (length - chunk - horizon + 1) * epochs
    return model, windows / took


def main() -> None:
    """All rows."""
    made = parser(__doc__)
    made.add_argument("--threads", type=int, help="of PyTorch")
    options = made.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    streaming_rows(options.quick)
    peer_rows(options.quick)


if __name__ == "__main__":
    main()
