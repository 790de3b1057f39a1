"""Test accuracy of ``--strategy cnn`` and ``--strategy fcnn`` at 48 x 48, mean over seeds."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from common import material, parser, row, say
from convscope import FitOptions, fit
from convscope.options import Strategy

GOAL = 0.05


def accuracy(photos: Path, strategy: Strategy, augment: str, seed: int, quick: bool) -> float:
    """Of the test photos."""
    options = FitOptions(strategy=strategy, augment=augment, seed=seed, epochs=3 if quick else None)
    with tempfile.TemporaryDirectory() as folder:
        run = fit(photos, Path(folder) / "run", options)
        metrics = run.metrics()
    found = float(metrics["splits"]["test"]["accuracy"])
    say(f"{strategy}, augment {augment}, seed {seed}: {found:.4f}, {metrics['seconds']:.0f} s")
    return found


def main() -> None:
    options = parser(__doc__).parse_args()
    seeds = (0,) if options.quick else (0, 1, 2)
    ways: list[tuple[Strategy, str]] = [("fcnn", "none"), ("cnn", "standard")]
    if not options.quick:
        ways += [("cnn", "none"), ("fcnn", "standard")]
    with material(options) as (photos, _, _real):
        found = {
            way: [accuracy(photos, *way, seed, options.quick) for seed in seeds] for way in ways
        }
    means = {way: statistics.mean(values) for way, values in found.items()}
    fcnn = ways[0]
    for way in ways[1:]:
        row(
            f"test accuracy of {way[0]}, augment {way[1]}, 48x48 from scratch",
            f"{fcnn[0]}, augment {fcnn[1]}",
            means[way] / means[fcnn], None, means[way], means[fcnn], "accuracy",
            difference=round(means[way] - means[fcnn], 4), goal_difference=GOAL,
            seeds=len(seeds), each={" ".join(w): [round(v, 4) for v in found[w]] for w in ways},
        )  # fmt: skip


if __name__ == "__main__":
    main()
