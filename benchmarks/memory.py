"""Peak memory of a whole fit on 50,000 photos, and of neurons on 100,000, with all processes.

The photos are copies (links) of the ones at hand. Memory is the proportional set size of the
command and of everything it starts, read five times a second from ``/proc``; Linux only. There is
no peer: a plain loop that keeps what it decodes would need 7.5 GB for 50,000 photos of 224 x 224.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import material, parser, row, say
from convscope import FitOptions, fit
from convscope.data.folder import scan

GOAL_GIB, NEURONS_GIB = 3.0, 2.0
NEURONS_LAYER = "features.17"
PHOTOS, NEURONS_PHOTOS, QUICK_PHOTOS = 50_000, 100_000, 2_000


def make_copies(photos: Path, folder: Path, count: int) -> None:
    """Class folders with ``count`` links to the photos at hand."""
    table = scan(photos)
    for number in range(count):
        place = number % len(table)
        target = folder / table.labels[place] / f"{number:06d}{Path(table.paths[place]).suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to((table.root / table.paths[place]).resolve())


def peak(command: list[str]) -> tuple[float, float]:
    """GiB at the worst moment, and seconds."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    worst = 0
    while process.poll() is None:
        worst = max(worst, sum(map(proportional_kib, family(process.pid))))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return worst / 2**20, time.perf_counter() - started


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found.extend(parents.get(one, []))
    return found


def proportional_kib(pid: int) -> int:
    """Memory of one process; pages shared by several count in part for each."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def main() -> None:
    options = parser(__doc__).parse_args()
    if not Path("/proc/self/smaps_rollup").exists():
        raise SystemExit("reads /proc/PID/smaps_rollup: Linux only")
    count = QUICK_PHOTOS if options.quick else PHOTOS
    with material(options) as (photos, weights, _), tempfile.TemporaryDirectory() as folder:
        copies = Path(folder) / "photos"
        make_copies(photos, copies, count)
        ways = {
            "cnn": ["--epochs", "1"],
            "features": ["--weights", str(weights)],
        }
        for strategy, more in ways.items():
            out = Path(folder) / strategy
            command = [sys.executable, "-m", "convscope", "fit", str(copies), "--out", str(out)]
            gib, seconds = peak([*command, "--strategy", strategy, *more])
            say(f"{strategy}: {gib:.2f} GiB, {seconds:.0f} s")
            row(
                f"peak memory of fit --strategy {strategy}, {count:,} photos", "the limit of 3 GiB",
                GOAL_GIB / gib, 1.0, gib, GOAL_GIB, "GiB", seconds=round(seconds),
            )  # fmt: skip
        neurons_row(photos, weights, Path(folder), options.quick)


def neurons_row(photos: Path, weights: Path, folder: Path, quick: bool) -> None:
    """The patches that excite a layer of MobileNetV2 most, among very many photos."""
    count = QUICK_PHOTOS if quick else NEURONS_PHOTOS
    copies, run = folder / "many", folder / "run"
    make_copies(photos, copies, count)
    fit(photos, run, FitOptions(strategy="features", head="logistic", weights=str(weights)))
    gib, seconds = peak([
        sys.executable, "-m", "convscope", "neurons", str(run), str(copies),
        "--layer", NEURONS_LAYER, "--out", str(folder / "neurons"),
    ])  # fmt: skip
    say(f"neurons: {gib:.2f} GiB, {seconds:.0f} s")
    row(
        f"peak memory of neurons, {count:,} photos", "the limit of 2 GiB",
        NEURONS_GIB / gib, 1.0, gib, NEURONS_GIB, "GiB", seconds=round(seconds),
    )  # fmt: skip


if __name__ == "__main__":
    main()
