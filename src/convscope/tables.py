"""What the commands print: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from convscope.data.checks import KINDS, CheckReport
from convscope.run import Run

if TYPE_CHECKING:  # they need PyTorch, and `convscope check` does not
    from convscope.describing import Description, Layer
    from convscope.nets.catalog import NetSpec
    from convscope.predicting import Prediction

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def print_json(content: Any, stream: TextIO) -> None:
    """One JSON document; text that is not valid UTF-8 (old file names) is escaped."""
    unicode = (stream.encoding or "utf-8").lower().startswith("utf")
    text = json.dumps(content, indent=2, ensure_ascii=not unicode, allow_nan=False)
    stream.write(text.encode("utf-8", errors="backslashreplace").decode("utf-8") + "\n")


def print_check(report: CheckReport, console: Console) -> None:
    """Photos per class and split, then every problem by kind."""
    console.print(_counts(report))
    for kind in KINDS:
        rows = [finding for finding in report.findings if finding.kind == kind]
        if not rows:
            continue
        severity, meaning = KINDS[kind]
        heading = Text(f"\n{kind.replace('_', ' ')} ({len(rows)})", style=_STYLES[severity])
        console.print(heading.append(f"  {meaning}", style="default"))
        for finding in rows:
            where = f"{finding.path}: " if finding.path else ""
            others = f" [{', '.join(finding.other)}]" if len(finding.other) > 1 else ""
            console.print(_plain(f"  {where}{finding.detail}{others}"), soft_wrap=True)
    severities: Counter[str] = Counter(finding.severity for finding in report.findings)
    said = [_amount(severities[name], name) for name in _STYLES if severities[name]]
    console.print(f"\n{report.photos:,} usable photos; {', '.join(said) or 'no problems found'}.")


def _counts(report: CheckReport) -> Table:
    table = Table(title="usable photos")
    table.add_column("class")
    for split in report.counts:
        table.add_column(split, justify="right")
    classes = next(iter(report.counts.values()), {})
    for label in classes:
        row = [f"{report.counts[split][label]:,}" for split in report.counts]
        table.add_row(_plain(label), *row)
    return table


def print_forecast(metrics: Mapping[str, Any], console: Console) -> None:
    """Network and baselines, the best first, how well intervals held, and the verdict."""
    table = Table(
        title=f"{metrics['horizon']} steps ahead, look-back {metrics['look_back']}, "
        f"{metrics['windows']:,} windows"
    )
    for name in ("", "MAE", "RMSE", "MASE", "sMAPE %", "MAE in spreads"):
        table.add_column(name, justify="right" if name else "left")
    methods = {"network": metrics["model"], **metrics["baselines"]}
    for name, scores in sorted(methods.items(), key=lambda item: item[1]["mae_scaled"]):
        values = [scores[key] for key in ("mae", "rmse", "mase", "smape", "mae_scaled")]
        table.add_row(
            name.replace("_", " "), *("-" if value is None else f"{value:.4g}" for value in values)
        )
    console.print(table)
    console.print(
        _plain(
            f"intervals: {100 * metrics['coverage_80']:.0f} % of what came lay in the 80 % "
            f"interval, {100 * metrics['coverage_95']:.0f} % in the 95 % interval"
        )
    )
    console.print(_plain(metrics["verdict"]["text"]), soft_wrap=True)


def print_scores(run: Run, console: Console) -> None:
    """The figures of a run that matter most, and where its page is."""
    metrics = run.metrics()
    table = Table(title=f"{metrics['strategy']}, {metrics['net']}, {metrics['seconds']:.0f} s")
    for name in ("split", "photos", "accuracy", "95 % interval", "log loss", "ece"):
        table.add_column(name, justify="left" if name == "split" else "right")
    for name, split in metrics["splits"].items():
        low, high = split["accuracy_95"]
        table.add_row(
            name, f"{split['n']:,}", f"{split['accuracy']:.3f}", f"{low:.3f}-{high:.3f}",
            f"{split['log_loss']:.3f}", f"{split['ece']:.3f}",
        )  # fmt: skip
    console.print(table)
    baseline = metrics["majority_baseline"]
    if baseline["accuracy"] is not None:
        console.print(
            _plain(
                f"Always naming '{baseline['class']}' would reach {baseline['accuracy']:.3f} "
                "on the test photos."
            )
        )
    console.print(_plain(f"report: {run.report_path}"), soft_wrap=True)


def print_plan(plan: Mapping[str, Any], console: Console) -> None:
    """What a fit would do and why, see :func:`~convscope.fitting.plan_only`."""
    evidence = plan.get("evidence")
    if evidence is not None:
        table = Table(title=f"a linear classifier on each stage of {plan['net']}")
        for name in ("stage", "numbers", "log loss", "accuracy"):
            table.add_column(name, justify="left" if name == "stage" else "right")
        for score in evidence["scores"]:
            table.add_row(
                score["stage"], f"{score['width']:,}", f"{score['log_loss']:.3f}",
                f"{score['accuracy']:.3f}",
            )  # fmt: skip
        console.print(table)
    console.print(_plain(f"{plan['strategy']}, {plan['net']}"))
    for reason in plan["reasons"]:
        console.print(_plain(f"- {reason}"))


def print_predictions(rows: Iterable[Prediction], console: Console) -> None:
    """Path, label, probability, and the second choice."""
    table = Table()
    table.add_column("photo", overflow="fold")
    table.add_column("label", overflow="fold")
    table.add_column("probability", justify="right")
    table.add_column("next", overflow="fold")
    for row in rows:
        if row.label is None:
            table.add_row(_plain(row.path), Text("-"), "", _plain(row.error or ""))
            continue
        ranked = sorted(row.probabilities.items(), key=lambda item: -item[1])
        second = f"{ranked[1][0]} {ranked[1][1]:.3f}"
        table.add_row(_plain(row.path), _plain(row.label), f"{row.probability:.3f}", _plain(second))
    console.print(table)


def print_csv(rows: Iterable[Prediction], classes: Sequence[str], stream: IO[str]) -> None:
    """One line per photo: path, label, probability, error, then one column per class."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["path", "label", "probability", "error", *(f"p_{c}" for c in classes)])
    for row in rows:
        shares = [row.probabilities.get(name, "") for name in classes]
        path = row.path.encode("utf-8", errors="backslashreplace").decode("utf-8")
        writer.writerow([path, row.label or "", row.probability or "", row.error or "", *shares])


def print_description(description: Description, console: Console) -> None:
    """The layer table: what every layer gives, what its units see, what it costs."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("layer", overflow="fold", ratio=1, min_width=10)
    table.add_column("kind", overflow="fold", min_width=6)
    for name in ("output", "sees", "jump", "weights", "mult-adds"):
        table.add_column(name, justify="right", no_wrap=True)
    for layer in description.layers:
        table.add_row(
            _plain(layer.name),
            _plain(layer.kind),
            "-" if layer.output is None else _by(layer.output),
            _seen(layer),
            "" if layer.jump is None else _same([j for j in layer.jump if j is not None]),
            f"{layer.parameters:,}" if layer.parameters else "",
            _short(layer.macs) if layer.macs else "",
            style=None if layer.parameters else "dim",
        )
    console.print(_plain(f"{description.net}, input {_by(description.input)}"), style="bold")
    console.print(table)
    said = [f"{description.parameters:,} parameters"]
    if fixed := description.parameters - description.trainable:
        said.append(f"({fixed:,} of them fixed)")
    if description.unused:
        named = sum(layer.parameters for layer in description.layers)
        rest = description.parameters - named
        parts = ", ".join(description.unused)
        said.append(f"({rest:,} of them not used in evaluation: {parts})")
    console.print(
        _plain(
            f"{' '.join(said)}, {_short(description.macs)} multiply-adds and "
            f"{_short(description.bytes)}B of layer outputs for one input"
        )
    )
    if description.untraced is not None:
        console.print(
            _plain(
                "? not known: the network cannot be traced, and the figures are those of the way "
                f"that an input of ones takes. {description.untraced}"
            ),
            soft_wrap=True,
        )
    else:
        for note in dict.fromkeys(layer.note for layer in description.layers if layer.note):
            console.print(_plain(f"? not known from here on: {note}"), soft_wrap=True)


def print_nets(specs: Iterable[NetSpec], console: Console) -> None:
    """The catalogue."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("net", no_wrap=True)
    table.add_column("input", justify="right", no_wrap=True)
    table.add_column("weights", justify="right", no_wrap=True)
    table.add_column("top-1", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for spec in specs:
        known = spec.published
        table.add_row(
            spec.name, _by(spec.input), _short(spec.parameters),
            "" if known is None else f"{known.top1:.1f}", _plain(spec.about),
        )  # fmt: skip
    console.print(table)
    console.print(
        "top-1: percent right on ImageNet, as published; those weights are fetched when asked for."
    )


def _seen(layer: Layer) -> str:
    if layer.receptive_field is None:
        return "?" if layer.note else ""  # a parameter sees nothing
    return _same(layer.receptive_field)


def _by(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


def _same(numbers: Sequence[Any]) -> str:
    """One number for all axes where they agree."""
    return str(numbers[0]) if len(set(numbers)) == 1 else "x".join(map(str, numbers))


def _short(number: int) -> str:
    """Three digits and a prefix: 138M."""
    if number < 1000:
        return f"{number} "
    exponent = min((len(str(number)) - 1) // 3, len(_PREFIXES) - 1)
    value = number / 1000**exponent
    return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f}{_PREFIXES[exponent]}"


_PREFIXES = (" ", "k", "M", "G", "T")


def _amount(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _plain(text: str) -> Text:
    """Text that Rich must not read as markup; bytes that are no text are escaped."""
    return Text(text.encode("utf-8", errors="backslashreplace").decode("utf-8"))
