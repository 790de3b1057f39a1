"""``convscope fit --strategy features`` as a whole command, against the plain way.

The peer extracts in the plain loop (see ``extraction.py``), standardises, and fits scikit-learn's
logistic regression with its default strength; only its two steps are timed, ours is the whole
command from start to report.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common import material, parser, row, say
from convscope.data.folder import scan
from convscope.nets.catalog import build_net, net_spec
from convscope.nets.weights import load_body, read_weights
from extraction import plain


def ours(photos: Path, weights: Path, precision: str) -> tuple[float, dict[str, object], str]:
    """Seconds, metrics of the test split, and what the run says of its precision."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [
            sys.executable, "-m", "convscope", "fit", str(photos), "--out", str(out),
            "--strategy", "features", "--net", "mobilenet_v2", "--weights", str(weights),
            "--precision", precision,
        ]  # fmt: skip
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
        info = json.loads((out / "run.json").read_text(encoding="utf-8"))
    return seconds, metrics["splits"]["test"], info["precision"]


def theirs(photos: Path, weights: Path) -> tuple[float, float]:
    """Seconds and test accuracy of the plain way."""
    table = scan(photos)
    spec = net_spec("mobilenet_v2")
    net = build_net(spec, 10, seed=0).eval()
    load_body(net, read_weights(weights))
    started = time.perf_counter()
    features = plain(table.full_paths(), net, spec)
    labels, splits = np.array(table.labels), np.array(table.splits)
    train, test = splits == "train", splits == "test"
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(features[train], labels[train])
    accuracy = float(model.score(features[test], labels[test]))
    return time.perf_counter() - started, accuracy


def main() -> None:
    options = parser(__doc__).parse_args()
    with material(options) as (photos, weights, real):
        peer_seconds, peer_accuracy = theirs(photos, weights)
        say(f"plain way: {peer_seconds:.1f} s, accuracy {peer_accuracy:.4f}")
        for precision in ("fast",) if options.quick else ("fast", "exact"):
            seconds, test, chosen = ours(photos, weights, precision)
            accuracy = float(test["accuracy"])  # type: ignore[arg-type]
            say(f"{precision}: {seconds:.1f} s, accuracy {accuracy:.4f}")
            row(
                f"fit --strategy features --precision {precision}, whole command",
                "plain loop and scikit-learn, without start-up and report",
                peer_seconds / seconds, None, seconds, peer_seconds, "s",
                goal_seconds=75, precision=chosen,
            )  # fmt: skip
            if real:
                row(
                    f"test accuracy, features, {precision}",
                    "plain loop and scikit-learn with C=1",
                    accuracy / peer_accuracy, None, accuracy, peer_accuracy, "accuracy",
                    goal_accuracy=0.87, n=test["n"], interval=test["accuracy_95"],
                )  # fmt: skip


if __name__ == "__main__":
    main()
