"""What cannot be used, through the command line: one clear line, no call stack, nothing half made.

Also what stops work in the middle: a full disk and Ctrl-C, and going on afterwards.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

import learnable
from convscope.run import Run
from fits import (
    Command,
    Ended,
    assert_no_traceback,
    assert_refused,
    assert_same_run,
    fitted,
    names,
    one_thread,
    options,
    photos,
    weights_file,
)
from learnable import TINTS, tinted, tinted_folder
from photos import bomb_png

FAST = ("--strategy", "cnn", "--epochs", "2", "--workers", "0")


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with one_thread(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # in processes of their own too
        yield


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "200")
    return Command(capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos of a few classes, to add bad ones to."""
    return tinted_folder(tmp_path / "photos", 4)


# Nothing to train on


def no_folder(place: Path) -> str:
    return "does not exist"


def empty_folder(place: Path) -> str:
    place.mkdir()
    return "holds no photos (.bmp, "


def empty_class_folders(place: Path) -> str:
    for label in TINTS:
        (place / label).mkdir(parents=True)
    return "holds no photos"


def one_class(place: Path) -> str:
    tinted_folder(place, 3)
    for label in list(TINTS)[1:]:
        shutil.rmtree(place / label)
    return "holds one class only, 'brick'. A classifier needs at least two."


def photos_in_no_class(place: Path) -> str:
    place.mkdir()
    tinted("sky", 1).save(place / "1.png")
    return "no class sub-folders"


def one_photo(place: Path) -> str:
    place.parent.mkdir(exist_ok=True)
    tinted("sky", 1).save(place, format="png")
    return "neither a folder of photos nor a table"


def table_without_labels(place: Path) -> str:
    place = place.with_name(place.name)
    place.write_text("no table")
    return "neither a folder of photos nor a table"


NOTHING = [
    no_folder, empty_folder, empty_class_folders, one_class, photos_in_no_class, one_photo,
    table_without_labels,
]  # fmt: skip


@pytest.mark.parametrize("make", NOTHING)
def test_nothing_to_train_on(make: Callable[[Path], str], command: Command, tmp_path: Path) -> None:
    place = tmp_path / "my photos"
    said = make(place)
    before = names(tmp_path)
    assert_refused(command("fit", place, "--out", tmp_path / "run", *FAST), 2, said, str(place))
    assert_refused(command("check", place), 2, said)
    assert names(tmp_path) == before


# Bad files among good ones


def text(file: Path) -> str:
    file.write_text("<!doctype html>not found")
    return "not a picture: it looks like a web page"


def truncated(file: Path) -> str:
    tinted("sky", 5, side=300).save(file, format="jpeg", quality=95)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    return "cut off before its end"


def nothing(file: Path) -> str:
    file.write_bytes(b"")
    return "empty file (0 bytes)"


def bomb(file: Path) -> str:
    file.write_bytes(bomb_png())
    return "900,000,000 pixels; at most 178,956,970 are decoded (a decompression bomb?)"


def loop(file: Path) -> str:
    file.symlink_to(file)
    return "Too many levels of symbolic links"


def dead_link(file: Path) -> str:
    file.symlink_to(file.with_name("nowhere.jpg"))
    return "No such file or directory"


def pipe(file: Path) -> str:
    os.mkfifo(file)
    return "not a regular file"


def phone_photo(file: Path) -> str:
    file.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    return "HEIC is not read; convert it to JPEG or PNG"


BAD_FILES = [text, truncated, nothing, bomb, loop, dead_link, pipe, phone_photo]


@pytest.fixture(scope="module")
def all_bad(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with every kind of bad file, and what is to be said of each."""
    root = tinted_folder(tmp_path_factory.mktemp("bad") / "photos", 4)
    said = {f"sky/{make.__name__}.jpg": make(root / "sky" / f"{make.__name__}.jpg")
            for make in BAD_FILES}  # fmt: skip
    (root / "sky" / "round").symlink_to(root)
    return root, {**said, "sky/round": "a link that leads back to a folder above it"}


@pytest.mark.parametrize("strategy", ["cnn", "features"])
def test_bad_files_are_left_out_by_name_and_the_others_go_on(
    strategy: str, all_bad: tuple[Path, dict[str, str]], command: Command, tmp_path: Path
) -> None:
    root, said = all_bad
    how = FAST if strategy == "cnn" else ("--weights", str(weights_file()), "--workers", "0")
    ended = command("fit", root, "--out", tmp_path / "run", *how, "--json")
    assert ended.code == 0
    left_out = {row["path"]: row["reason"] for row in json.loads(ended.out)["left_out"]}
    assert set(left_out) == set(said)
    for path, reason in left_out.items():
        assert said[path] in reason
        assert f"left out: {path}: {reason}" in ended.err
    assert len(Run(tmp_path / "run").predictions().paths) == 12
    assert_no_traceback(ended)


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_files_stop_no_prediction(
    workers: int, all_bad: tuple[Path, dict[str, str]], command: Command
) -> None:
    root, said = all_bad
    # Thrice the good ones: enough for worker processes.
    asked = [root, *[root / label for label in ("brick", "leaf")] * 3]
    ended = command("predict", fitted("cnn").path, *asked, "--json", "--workers", workers)
    assert ended.code == 1
    rows = json.loads(ended.out)
    errors = {row["path"].removeprefix(f"{root}/"): row["error"] for row in rows if "error" in row}
    assert set(errors) == set(said)
    assert all(said[path] in error for path, error in errors.items())
    assert all(f"not read: {root / path}: " in ended.err for path in said)
    assert len(rows) - len(errors) == 12 + 24
    assert_no_traceback(ended)


def test_check_lists_bad_files(all_bad: tuple[Path, dict[str, str]], command: Command) -> None:
    root, said = all_bad
    ended = command("check", root, "--json", "--workers", 0)
    assert ended.code == 0
    errors = {
        row["path"]: row["detail"]
        for row in json.loads(ended.out)["findings"]
        if row["severity"] == "error"
    }
    assert set(errors) == set(said)
    assert all(said[path] in detail for path, detail in errors.items())


@pytest.mark.parametrize("make", [text, truncated, nothing, bomb])
def test_a_class_of_one_photo_and_a_bad_one_is_refused(
    make: Callable[[Path], str], folder: Path, command: Command, tmp_path: Path
) -> None:
    for path in sorted((folder / "sky").iterdir())[1:]:
        path.unlink()
    said = make(folder / "sky" / "second.jpg")
    ended = command("fit", folder, "--out", tmp_path / "run", *FAST)
    assert_refused(ended, 2, "Too few usable photos", "sky (1,", "sky/second.jpg", said)
    assert names(tmp_path) == ["photos"]


def test_names_with_spaces_and_of_any_script(
    folder: Path, command: Command, tmp_path: Path
) -> None:
    (folder / "sky").rename(folder / "ciel d'été – 空 🌤")
    for path in sorted((folder / "leaf").iterdir()):
        path.rename(path.with_name(f"Blatt  №{path.name[4:]}"))
    folder = folder.rename(folder.with_name("mes photos (été)"))
    out = tmp_path / "résultat n° 1"
    ended = command("fit", folder, "--out", out, *FAST)
    assert ended.code == 0
    assert f"report: {out / 'report.html'}" in ended.out
    assert_no_traceback(ended)
    assert "ciel d'été – 空 🌤" in Run(out).info().classes
    said = command("predict", out, folder / "leaf", "--json")
    assert said.code == 0
    assert "Blatt  №00.png" in said.out


def test_names_that_look_like_markup_or_options(
    folder: Path, command: Command, tmp_path: Path
) -> None:
    (folder / "sky").rename(folder / "[bold]sky[red]")
    (folder / "leaf").rename(folder / "--json")
    ended = command("fit", folder, "--out", tmp_path / "[red]run", *FAST)
    assert ended.code == 0
    assert f"report: {tmp_path / '[red]run' / 'report.html'}" in ended.out
    assert Run(tmp_path / "[red]run").info().classes == ("--json", "[bold]sky[red]", "brick")


# Nowhere to write to


def below_a_file(folder: Path) -> Path:
    (folder / "file").write_text("x")
    return folder / "file" / "run"


def in_proc(folder: Path) -> Path:
    return Path("/proc/run")


def too_long(folder: Path) -> Path:
    return folder / ("long" * 100)


def read_only(folder: Path) -> Path:
    if os.getuid() == 0:
        pytest.skip("root writes everywhere")
    (folder / "locked").mkdir(mode=0o500)
    return folder / "locked" / "run"


@pytest.mark.parametrize("make", [below_a_file, in_proc, too_long, read_only])
def test_a_read_only_output_folder(
    make: Callable[[Path], Path], command: Command, tmp_path: Path
) -> None:
    out = make(tmp_path)
    before = names(tmp_path)
    ended = command("fit", photos(), "--out", out, *FAST)
    assert_refused(ended, 1, str(out), "cannot be written", "Choose another --out")
    assert names(tmp_path) == before


def test_an_existing_run_is_replaced_only_on_request(
    folder: Path, command: Command, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(fitted("cnn").path, tmp_path / "run"))
    before = (out / "run.json").read_bytes()
    assert_refused(command("fit", folder, "--out", out, *FAST), 2, "exists already", "--overwrite")
    assert (out / "run.json").read_bytes() == before
    assert command("fit", folder, "--out", out, *FAST, "--overwrite").code == 0
    assert (out / "run.json").read_bytes() != before
    assert names(tmp_path) == ["photos", "run"]


def test_what_is_no_run_is_not_replaced_on_request(
    folder: Path, command: Command, tmp_path: Path
) -> None:
    ended = command("fit", folder, "--out", folder, *FAST, "--overwrite")
    assert_refused(ended, 2, "is no run of convscope: it is not overwritten")
    assert names(tmp_path) == ["photos"]
    assert len(list(folder.rglob("*.png"))) == 12


# Stopped in the middle

# With the slowness of larger photos and networks, and features kept after every chunk.
SLOWLY = """
import time
from convscope.train import batches
from convscope.transfer import features, shards
shards.SHARD = 8
def slower(function):
    def call(*arguments):
        time.sleep(0.3)
        return function(*arguments)
    return call
batches.PhotoBatches.__getitem__ = slower(batches.PhotoBatches.__getitem__)
features.Backbone.__call__ = slower(features.Backbone.__call__)
"""

HOW = {
    "cnn": ("--strategy", "cnn", "--epochs", "4"),
    "features": ("--strategy", "features", "--weights", "{file}", "--precision", "exact"),
}
# What shows that the work has begun and is worth keeping.
BEGUN = {"cnn": "last.ckpt", "features": "features-*/000000000.npz"}


def arguments(strategy: str, out: Path) -> list[str]:
    how = [word.replace("{file}", str(weights_file())) for word in HOW[strategy]]
    return ["fit", str(photos()), "--out", str(out), *how, "--workers", "2"]


def start(mark: str, strategy: str, out: Path) -> subprocess.Popen[str]:
    """A fit in a process group of its own, as a shell starts it."""
    # Programs in the background of a shell start with Ctrl-C ignored; these tests may be such.
    heed = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"import sys\n{heed}\n{SLOWLY}\nfrom convscope.cli import main\nmain(sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments(strategy, out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "CONVSCOPE_TEST_MARK": mark, "COLUMNS": "200"},
        start_new_session=True,
    )


def marked(mark: str) -> list[str]:
    """Processes that inherited the mark and are still there."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended meanwhile, or is somebody else's
            continue
    return found


def wait_for(what: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def stop(running: subprocess.Popen[str], mark: str, signals: Sequence[int]) -> Ended:
    """Send signals to the whole group, as a terminal does; nothing may be left of it."""
    began = time.monotonic()
    for number in signals:
        os.killpg(running.pid, number)
        time.sleep(0.05)
    said, complaints = running.communicate(timeout=30)
    assert time.monotonic() - began < 8  # as a rule it takes one or two
    assert wait_for(lambda: not marked(mark), 3), marked(mark)
    return Ended(running.returncode, said, complaints)


def stopped_in_the_middle(strategy: str, out: Path, signals: Sequence[int]) -> Ended:
    mark = uuid.uuid4().hex
    running = start(mark, strategy, out)
    try:
        work = out.with_name(f"{out.name}.partial") / "work"
        assert wait_for(lambda: any(work.glob(BEGUN[strategy])), 60), "it has not begun"
        return stop(running, mark, signals)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate()


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="looks for processes in /proc"
)


@needs_proc
@pytest.mark.parametrize("strategy", HOW)
def test_ctrl_c_in_the_middle_and_going_on(strategy: str, command: Command, tmp_path: Path) -> None:
    out = tmp_path / "run"
    ended = stopped_in_the_middle(strategy, out, [signal.SIGINT])
    said = f"convscope: Stopped. What is done is kept in {out}.partial: go on with the same command"
    assert ended.err.splitlines()[-1] == f"{said} and --resume."
    assert (ended.code, ended.out) == (1, "")
    assert_no_traceback(ended)
    assert names(tmp_path) == ["run.partial"]
    assert_refused(command(*arguments(strategy, out)), 2, "--resume to go on with it")
    again = command(*arguments(strategy, out), "--resume")
    assert again.code == 0, again.err
    assert names(tmp_path) == ["run"]
    if strategy == "cnn":
        assert_same_run(Run(out), fitted("cnn"))
    assert len(Run(out).predictions().paths) == 33


@needs_proc
@pytest.mark.parametrize("strategy", HOW)
def test_impatience_and_kill_stop_it_as_cleanly(strategy: str, tmp_path: Path) -> None:
    signals = [signal.SIGTERM, signal.SIGINT, signal.SIGINT, signal.SIGTERM]
    if strategy == "features":  # their worker processes end at once when they are killed too
        signals = [signal.SIGINT] * 4
    ended = stopped_in_the_middle(strategy, tmp_path / "run", signals)
    assert_refused(ended, 1, "Stopped.", "--resume")
    assert names(tmp_path) == ["run.partial"]


def test_a_machine_without_the_tools_of_a_system() -> None:
    """No PATH, as in the smallest containers: worker processes end all the same."""
    code = "import sys; from convscope.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, "check", str(photos()), "--workers", "2", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": "/nowhere"},
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout)["photos"] == 33
    assert_no_traceback(Ended(0, done.stdout, done.stderr))


@pytest.mark.parametrize("strategy", HOW)
def test_a_full_disk_and_going_on(strategy: str, command: Command, tmp_path: Path) -> None:
    """Files of more than a quarter of a megabyte find no room: the weights, either way."""
    out = tmp_path / "run"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, 250_000))"
    done = learnable.convscope(*arguments(strategy, out), prefix=limit)
    ended = Ended(done.returncode, done.stdout, done.stderr)
    assert_refused(ended, 1, "File too large", "make room", "the same command and --resume")
    assert names(tmp_path) == ["run.partial"]
    again = command(*arguments(strategy, out), "--resume")
    assert again.code == 0, again.err
    assert names(tmp_path) == ["run"]
    assert names(out) == names(fitted(strategy).path)
    assert options(strategy).strategy == Run(out).info().strategy
