"""The copy memory task: ten digits, a thousand steps of nothing, and then say them again.

After Bai, Kolter & Koltun 2018 (arXiv 1803.01271), section 4 and table 1: T = 1,000, where a TCN of
some 16,000 parameters reaches a loss of 3.5e-5, and recurrent networks stay at 0.02: whoever
remembers nothing guesses among eight digits in ten of 1,020 steps, 10 ln 8 / 1,020 = 0.0204.
The dilations are those of the paper (kernel 8, eight blocks, look-back 3,570); Adam instead of
RMSprop.

    python examples/copy_memory.py [--seed 0] [--steps 4500] [--quick]

About ten minutes on one core; --quick does ten steps of a short sequence.
"""

from __future__ import annotations

import argparse
import math
import time

import torch
from torch import Tensor
from torch.nn import functional

from convscope.nets.tcn import TCN

DIGITS, SYMBOLS, STARTS = 10, 10, 9
WIDTH, KERNEL, BLOCKS, BATCH, RATE = 10, 8, 8, 32, 2e-3


def draw(n: int, silence: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sequences ``(n, 1, silence + 20)``, and what is to be said at each step."""
    digits = torch.randint(1, 9, (n, DIGITS), generator=generator)
    x = torch.zeros(n, silence + 2 * DIGITS)
    x[:, :DIGITS] = digits.float()
    x[:, -DIGITS - 1 :] = STARTS
    said = torch.zeros(n, x.shape[1], dtype=torch.long)
    said[:, -DIGITS:] = digits
    return x[:, None], said


def every_step(net: TCN, x: Tensor) -> Tensor:
    """What the network says at each step, not the newest alone: ``(n, steps, symbols)``."""
    found: Tensor = net.linear(net.blocks(x).transpose(1, 2))
    return found


def loss_of(net: TCN, x: Tensor, said: Tensor) -> Tensor:
    """Cross-entropy, mean over all steps."""
    return functional.cross_entropy(every_step(net, x).reshape(-1, SYMBOLS), said.reshape(-1))


def main() -> None:
    """Train, and say the loss on sequences that were never seen."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    silence, steps = (30, 10) if options.quick else (1000, options.steps)
    torch.manual_seed(options.seed)
    net = TCN(
        SYMBOLS, 1, channels=[WIDTH] * BLOCKS, kernel_size=KERNEL,
        dilations=[2**k for k in range(BLOCKS)], dropout=0.05,
    )  # fmt: skip
    weights = sum(parameter.numel() for parameter in net.parameters())
    guess = DIGITS * math.log(8) / (silence + 2 * DIGITS)
    print(f"{weights:,} parameters, look-back {net.look_back}; guessing has a loss of {guess:.2e}")
    generator = torch.Generator().manual_seed(options.seed)
    x, said = draw(200, silence, torch.Generator().manual_seed(options.seed + 1))
    optimiser = torch.optim.Adam(net.parameters(), RATE)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, RATE / 20)
    began = time.perf_counter()
    for step in range(1, steps + 1):
        loss = loss_of(net, *draw(BATCH, silence, generator))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        rate.step()
        if step % max(1, steps // 15) == 0:
            net.eval()
            with torch.inference_mode():
                found = loss_of(net, x, said)
            net.train()
            print(f"step {step:5}: loss {found:.2e}, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
