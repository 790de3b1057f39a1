"""The adding problem: remember two marked numbers among six hundred, and say their sum.

After Bai, Kolter & Koltun 2018 (arXiv 1803.01271), section 4 and table 1: T = 600, a TCN of some
70,000 parameters reaches a loss of 5.8e-5; always saying 1 has 0.1767. Two rows come in: numbers
from 0 to 1, and two marks, one in each half. Only the newest output is asked for, so only what that
one reads is computed (convscope.forecast.newest): the same numbers for a fraction of the work.

    python examples/adding_problem.py [--seed 0] [--steps 6000] [--quick]

About ten minutes on two cores; --quick does 30 steps of a short sequence.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor
from torch.nn import functional

from convscope.forecast.depth import dilations_for
from convscope.forecast.newest import Newest
from convscope.nets.tcn import TCN

WIDTH, KERNEL = 24, 8
BATCH, RATE = 64, 2e-3


def draw(n: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sequences ``(n, 2, length)`` and sums ``(n,)``."""
    numbers = torch.rand((n, length), generator=generator)
    marks = torch.zeros(n, length)
    half = length // 2
    first = torch.randint(half, (n,), generator=generator)
    second = half + torch.randint(length - half, (n,), generator=generator)
    rows = torch.arange(n)
    marks[rows, first] = 1
    marks[rows, second] = 1
    return torch.stack([numbers, marks], 1), (numbers * marks).sum(1)


def main() -> None:
    """Train, and say the loss on sequences that were never seen."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    length, steps = (60, 30) if options.quick else (600, options.steps)
    torch.manual_seed(options.seed)
    # Doubling to the end, beyond what is needed: each place is reached in more than one way.
    dilations = tuple(2**k for k in range(len(dilations_for(length - 1, KERNEL, convs=2))))
    net = TCN(
        1, 2, channels=[WIDTH] * len(dilations), kernel_size=KERNEL, dilations=dilations, dropout=0
    )
    newest = Newest(net)
    weights = sum(parameter.numel() for parameter in net.parameters())
    print(f"{weights:,} parameters, dilations {dilations}, look-back {net.look_back}")
    generator = torch.Generator().manual_seed(options.seed)
    x, truth = draw(1000, length, torch.Generator().manual_seed(options.seed + 1))
    optimiser = torch.optim.Adam(net.parameters(), RATE)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, RATE / 100)
    began = time.perf_counter()
    for step in range(1, steps + 1):
        some, sums = draw(BATCH, length, generator)
        loss = functional.mse_loss(net.linear(newest(some))[:, 0], sums)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        rate.step()
        if step % max(1, steps // 20) == 0:
            net.eval()
            with torch.inference_mode():
                found = functional.mse_loss(net.linear(newest(x))[:, 0], truth)
            net.train()
            print(
                f"step {step:5}: loss {found:.2e}, {time.perf_counter() - began:.0f} s", flush=True
            )


if __name__ == "__main__":
    main()
