"""What the whole package promises: the order of its rooms, its public names, what it never does."""

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

ROOT = Path(convscope.__file__).parent

# Room -> what it may use is everything on a line above its own. A new module fails until it has
# its place here.
ORDER = (
    ("errors", "files", "progress"),
    ("run",),
    ("nets",),
    ("data",),
    ("calibration", "metrics", "options"),
    ("fitted",),
    ("train", "transfer"),
    ("report", "writing", "predicting"),
    ("fitting",),
    ("demo",),
    ("tables",),
    ("cli",),
    ("__main__", "__init__"),
)
RANKS = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
PUBLIC = {
    "ConvscopeError", "FitOptions", "InputError", "Progress", "Run", "build_report", "check", "fit",
    "predict",
}  # fmt: skip


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def room_of(file: Path) -> str:
    first = file.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imported(file: Path) -> Iterator[str]:
    """Rooms that a module imports when it is loaded or when it runs; not for type checks alone."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("convscope"):
            parts = (node.module or "").split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("convscope."):
                    yield alias.name.split(".")[1]


def test_every_room_has_its_place() -> None:
    rooms = {room_of(file) for file in modules()}
    assert rooms == set(RANKS)


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_flow_one_way(file: Path) -> None:
    own = room_of(file)
    for room in imported(file):
        if room in RANKS and room != own:
            assert RANKS[room] < RANKS[own], f"{own} uses {room}, which stands behind it"


def test_public_names_are_these() -> None:
    assert set(convscope.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(convscope, name).__doc__
    assert set(dir(convscope)) >= PUBLIC
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        _ = convscope.fitt


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(ROOT)))
def test_modules_stay_small_and_run_no_code_from_files(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"pickle.load", "pickle.loads", "joblib.load", "eval", "exec"}
            if called == "torch.load":
                assert any(
                    word.arg == "weights_only" and ast.unparse(word.value) == "True"
                    for word in node.keywords
                )
            if called in {"np.load", "numpy.load"}:
                assert "allow_pickle=True" not in ast.unparse(node)


@pytest.mark.parametrize("name", ["Progress", "Run", "build_report", "check", "fit", "predict"])
def test_public_functions_name_every_argument(name: str) -> None:
    """No ``*args`` and no ``**kwargs`` in what users call."""
    kinds = {p.kind for p in inspect.signature(getattr(convscope, name)).parameters.values()}
    assert not kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def loaded_by(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after some code."""
    program = f"import sys\n{code}\nprint(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import convscope",
        "import convscope.cli",
        "from convscope.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "from convscope.cli import main\ntry: main(['fit', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_start_up_loads_nothing_heavy(code: str) -> None:
    heavy = {"torch", "lightning", "sklearn", "scipy", "pandas", "matplotlib", "cv2", "pyarrow"}
    assert not loaded_by(code) & heavy


def test_features_do_not_load_the_training_loop() -> None:
    code = "import convscope.fitting, convscope.transfer.classifier, convscope.predicting"
    assert "lightning" not in loaded_by(code)


def test_no_machine_is_named() -> None:
    """Paths of one machine have no place in what others read."""
    named = re.compile(r"(?<![\w.])/(home|root|work|tmp|opt)/[\w-]+")
    for file in [*modules(), *(ROOT.parents[1] / "docs").glob("*.md")]:
        assert not named.findall(file.read_text(encoding="utf-8")), file
