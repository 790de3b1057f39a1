"""What holds for the whole package: who imports whom, what is public, what never runs."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import convscope
from fits import fitted, folder, photos, weights_file
from learnable import convscope as command

SOURCE = Path(convscope.__file__).parent

# Every module, and each may import only what stands above it. A new one finds its place here.
ORDER = (
    "errors", "files", "progress", "options", "metrics", "calibration", "run",
    # what an output sees
    "geometry.axes", "geometry.calls", "geometry.windows", "geometry.shapes", "geometry.rules",
    "geometry.costs", "geometry.fields", "geometry.graph", "geometry.reading", "geometry.tracing",
    "geometry",
    # networks
    "nets", "nets.stages", "nets.inception", "nets.founding", "nets.lenet", "nets.alexnet",
    "nets.vgg", "nets.googlenet", "nets.highway", "nets.resnet", "nets.mobilenet",
    "nets.squeezenet", "nets.tcn", "nets.published", "nets.catalog", "nets.inference",
    "nets.download", "nets.weights", "nets.pretrained", "describing",
    # photos
    "data", "data.images", "data.survey", "data.folder", "data.duplicates", "data.checks",
    "data.split", "data.dataset", "data.pixels", "data.draws", "data.affine", "data.colour",
    "data.trivial", "data.augment", "data.samples", "lanes",
    "data.timeline", "data.columns", "data.series", "data.series_rows",
    # the strategies
    "fitted",
    "train", "train.batches", "train.callbacks", "train.checkpoints", "train.mixing",
    "train.step", "train.loop", "train.classifier",
    "transfer", "transfer.staged", "transfer.tapped", "transfer.push",
    "transfer.shards",
    "transfer.features", "transfer.store", "transfer.rows", "transfer.partial",
    "transfer.updating", "transfer.extractor",
    "transfer.heads.modules", "transfer.heads.parts", "transfer.heads.linear",
    "transfer.heads.svm", "transfer.heads.network", "transfer.heads.neighbours",
    "transfer.heads.forest", "transfer.heads.checking", "transfer.heads.choosing",
    "transfer.heads",
    "transfer.assembled", "transfer.strategy", "transfer.classifier",
    # what comes of it
    "unfinished", "writing",
    "report.words", "report.rendering", "report.pages", "report.scores", "report.chart",
    "report.curves", "report.calibration",
    "report.headline", "report.confusion", "report.contents", "report.gallery", "report.photos",
    "report.problems", "report.sections", "report.build", "report",
    "finetune", "finetune.plan", "finetune.cutting", "finetune.maps", "finetune.starting",
    "finetune.step", "finetune.loop", "finetune.finding", "finetune.classifier",
    "planning", "transferring", "fitting", "predicting", "estimator", "augmenting",
    # what a network looks at
    "incremental.changes", "incremental.operations", "incremental.localising",
    "incremental.aliases", "incremental.folding", "incremental.plain", "incremental.reduced",
    "incremental.lowering", "incremental.regions", "incremental.grouping", "incremental.layout",
    "incremental.rows", "incremental.engine", "incremental.calibrating",
    "incremental.remembering", "incremental",
    "explain.result", "explain.asking", "explain.fills", "explain.forward",
    "explain.gradients", "explain.cam", "explain.segments", "explain.surrogate",
    "explain.perturbing", "explain.occluders", "explain.positions", "explain.occluding",
    "explain.faithfulness", "explain.localisation", "explain.agreeing", "explain.sanity",
    "explain.strongest", "explain.tapping", "explain.exciting", "explain",
    # several ways on the same photos
    "comparing", "comparing.ladder", "comparing.statistics", "comparing.cells",
    "comparing.folder", "comparing.material", "comparing.result", "comparing.story",
    "comparing.page", "comparing.running", "comparing.table",
    # what stands on all of it
    "demo.paint", "demo.relief", "demo.clutter", "demo.creatures", "demo.backgrounds",
    "demo.scene", "demo.photos", "demo",
    "pictures", "pictures.svg", "pictures.layers", "pictures.rows", "pictures.photo",
    "pictures.stack", "field_picture", "pictures.heat",
    "neurons", "neurons.asked", "neurons.parts", "neurons.measures", "neurons.result",
    "neurons.tables", "neurons.drawing", "neurons.page", "neurons.running",
    "explaining", "explaining.asked", "explaining.result", "explaining.values",
    "explaining.page", "explaining.masks", "explaining.reading", "explaining.running",
    "audit", "audit.association", "audit.looks", "audit.overlay", "audit.markers",
    "audit.regions", "audit.changing", "audit.judging", "audit.finding", "audit.material",
    "audit.proving", "audit.pieces", "audit.clustering", "audit.patterns",
    "audit.remedy", "audit.result", "audit.page", "audit.running",
    "forecast", "forecast.depth", "forecast.measures", "forecast.baselines",
    "forecast.calendar", "forecast.windows", "forecast.losses", "forecast.newest",
    "forecast.network", "forecast.training", "forecast.streaming", "forecast.options",
    "forecast.preparing", "forecast.conformal", "forecast.model", "forecast.live",
    "forecast.rolling",
    "forecast.judging", "forecast.learning", "forecast.backtest", "forecast.run",
    "forecast.explaining", "forecast.page", "forecast.fitting", "forecast.predicting",
    "forecast.given", "forecast.forecaster",
    "reporting", "demo.story",
    # what teaches
    "lessons", "lessons.lesson", "lessons.convolution",
    "lessons.pattern", "lessons.receptive_fields", "lessons.inception", "lessons.causal",
    "lessons.dense", "lessons.residual", "lessons.photo_model", "lessons.photo",
    "lessons.shuffle", "lessons.catalog", "lessons.terminal", "lessons.page",
    # the page
    "app", "app.limits", "app.names", "app.zips", "app.users", "app.items", "app.asking",
    "app.jobs", "app.queue", "app.receiving", "app.looks", "app.views", "app.ordering",
    "app.guard", "app.serving", "app.starting",
    "tables", "cli.shared", "cli.photos", "cli.comparing", "cli.explaining", "cli.neurons",
    "cli.auditing", "cli.forecasting", "cli.reporting", "cli.lessons", "cli.serving",
    "cli.networks", "cli.features",
    "cli.running", "cli", "__main__",
)  # fmt: skip

# Two ways to the same end, which know nothing of each other.
APART = (("train", "transfer"), ("nets", "data"), ("report", "data.folder"))

# What a photo's worker process, a report or `--help` should not have to wait for.
TORCH = (
    "lanes", "geometry", "describing", "nets", "train", "transfer", "finetune", "fitted", "writing",
    "predicting", "transferring", "incremental", "explain", "explaining",
    "neurons", "audit", "forecast", "reporting", "lessons", "app.looks",
)  # fmt: skip
LIGHTNING = ("train", "finetune", "forecast")


def modules() -> dict[str, Path]:
    """Module, without the package's own name -> file; the package itself is ''."""
    found = {}
    for file in sorted(SOURCE.rglob("*.py")):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = modules()
TREES = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in MODULES.items()}


def imports(name: str) -> Iterator[str]:
    """Everything that a module imports anywhere, inside functions too."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative imports say less than absolute ones"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole.removeprefix("convscope.") in MODULES else node.module


def own(name: str) -> set[str]:
    """Of our own modules; the package's lazy names count for the module that has them."""
    found = {imported.removeprefix("convscope.") for imported in imports(name)
             if imported.startswith("convscope.")}  # fmt: skip
    assert found <= set(MODULES), f"{name} imports {found - set(MODULES)}"
    return found


def is_in(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def test_every_module_has_its_place() -> None:
    assert len(set(ORDER)) == len(ORDER)
    assert set(MODULES) - {""} == set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_a_module_imports_only_what_stands_above_it(name: str) -> None:
    above = set(ORDER[: ORDER.index(name)])
    assert own(name) <= above, f"{name} must not import {own(name) - above}"


@pytest.mark.parametrize(("one", "other"), APART)
def test_rooms_that_know_nothing_of_each_other(one: str, other: str) -> None:
    for a, b in ((one, other), (other, one)):
        for name in (name for name in ORDER if is_in(name, (a,))):
            assert not {imported for imported in own(name) if is_in(imported, (b,))}, name


@pytest.mark.parametrize("name", ORDER)
def test_heavy_packages_stay_where_they_are_needed(name: str) -> None:
    tops = {imported.split(".")[0] for imported in imports(name)}
    assert "torch" not in tops or is_in(name, TORCH)
    assert not tops & {"lightning", "torchmetrics"} or is_in(name, LIGHTNING)
    assert not tops & {"torchvision", "pandas", "matplotlib", "tensorflow"}


# What is public


def test_the_public_names() -> None:
    """Written out, so that growth is a decision."""
    assert convscope.__all__ == [
        "ConvscopeError",
        "FeatureExtractor",
        "FitOptions",
        "Forecaster",
        "ImageClassifier",
        "InputError",
        "Progress",
        "Run",
        "build_report",
        "check",
        "describe",
        "explain",
        "fit",
        "load_net",
        "predict",
    ]
    assert dir(convscope) == sorted([*convscope.__all__, "__version__"])
    for name in convscope.__all__:
        assert getattr(convscope, name).__name__.removeprefix("convscope.") == name
    with pytest.raises(AttributeError, match="has no attribute 'predcit'"):
        _ = convscope.predcit


@pytest.mark.parametrize(
    "name", ["Progress", "Run", "build_report", "check", "describe", "fit", "load_net", "predict"]
)
def test_public_functions_name_every_argument(name: str) -> None:
    """No ``*args`` and no ``**kwargs`` in what users call."""
    kinds = {p.kind for p in inspect.signature(getattr(convscope, name)).parameters.values()}
    assert not kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def public(node: ast.AST, above: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Public classes, functions and methods; nothing inside a function is public."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if child.name.startswith("_"):
                continue
            yield f"{above}{child.name}", child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{child.name}.")


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_says_what_it_is(name: str) -> None:
    assert ast.get_docstring(TREES[name]), f"module {name} has no docstring"
    for what, node in public(TREES[name]):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            assert ast.get_docstring(node), f"{name}.{what} has no docstring"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_does_one_thing(name: str) -> None:
    lines = len(MODULES[name].read_text(encoding="utf-8").splitlines())
    assert lines <= 400, f"{name} has {lines} lines: it is doing two things"


# What never runs


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def options(node: ast.Call) -> dict[str | None, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}


@pytest.mark.parametrize("name", MODULES)
def test_no_file_is_read_in_a_way_that_could_run_it(name: str) -> None:
    for node in ast.walk(TREES[name]):
        if not isinstance(node, ast.Call):
            continue
        what, said = called(node), options(node)
        if what == "torch.load" or "ckpt_path" in said:
            assert said.get("weights_only") == "True", f"{name}:{node.lineno}"
        if what == "np.load":
            assert said.get("allow_pickle") == "False", f"{name}:{node.lineno}"
        assert what not in {
            "pickle.load", "pickle.loads", "joblib.load", "eval", "exec", "os.system",
            "yaml.load", "torch.hub.load",
        }, f"{name}:{node.lineno} calls {what}"  # fmt: skip
        assert "shell" not in said, f"{name}:{node.lineno}"


def test_the_checks_above_find_what_they_look_for() -> None:
    calls = [node for tree in TREES.values() for node in ast.walk(tree)
             if isinstance(node, ast.Call)]  # fmt: skip
    assert {"torch.load", "np.load"} <= {called(node) for node in calls}
    assert any("ckpt_path" in options(node) for node in calls)


def test_no_machine_is_named() -> None:
    """Paths of one machine have no place in what others read."""
    named = re.compile(r"(?<![\w.])/(home|root|work|tmp|opt)/[\w-]+")
    for file in [*MODULES.values(), *(SOURCE.parents[1] / "docs").rglob("*.md")]:
        assert not named.findall(file.read_text(encoding="utf-8")), file


# What is imported when

SPY = """
import atexit
def tell():
    tops = {name.split(".")[0] for name in sys.modules}
    print("modules:", *sorted(tops & {%s}), file=sys.stderr)
atexit.register(tell)
"""
HEAVY = ("PIL", "cv2", "lightning", "loky", "numpy", "pyarrow", "scipy", "sklearn", "torch")


def loaded_by(*arguments: str | Path) -> set[str]:
    """Heavy packages that a command has imported when it ends."""
    ended = command(*arguments, prefix=SPY % ", ".join(map(repr, HEAVY)))
    assert ended.returncode == 0, ended.stderr
    line = next(x for x in ended.stderr.splitlines() if x.startswith("modules:"))
    return set(line.split()[1:])


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, convscope, convscope.cli\nprint(*{{*sys.modules}} & {{*{HEAVY}}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("arguments", [("--help",), ("fit", "--help"), ("--version",)])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert loaded_by(*arguments) == set()


def test_checking_photos_needs_no_network() -> None:
    assert loaded_by("check", photos(), "--workers", "0") <= {
        "PIL", "cv2", "loky", "numpy", "pyarrow", "scipy",
    }  # fmt: skip


def test_lightning_is_for_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = folder() / "imports"
    how = ("--strategy", "features", "--weights", weights_file(), "--workers", "0")
    assert "lightning" not in loaded_by("fit", photos(), "--out", out, *how)
    assert "lightning" not in loaded_by("predict", fitted("cnn").path, photos() / "test")
