"""Weights: fetched from a server on this machine, read, and fitted to networks made for that."""

import hashlib
import io
import json
import re
import socket
import struct
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.error import HTTPError
from urllib.request import Request

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from safetensors.torch import save_file
from torch import nn

from convscope.errors import ConvscopeError, InputError
from convscope.nets import download as download_module
from convscope.nets.catalog import NetSpec, net_spec
from convscope.nets.download import download
from convscope.nets.founding import SmallCNN
from convscope.nets.mobilenet import MobileNetV2
from convscope.nets.published import KEY_NAMES, PUBLISHED, PublishedWeights
from convscope.nets.weights import (
    Loaded,
    Weights,
    cache_folder,
    find_weights,
    load_body,
    load_weights,
    read_weights,
)
from convscope.progress import Progress

CONTENT = np.random.default_rng(0).bytes(700_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Site(ThreadingHTTPServer):
    """One file, ``/w.pth``, given whole and by ranges as RFC 9110 says, unless a test says else."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.ranges = True
        self.version = {"ETag": '"one"'}
        self.length_known = True
        # A range that begins so many bytes late.
        self.late = 0
        # The next answer stops after so many bytes: the connection is closed, or reset.
        self.stop_after: int | None = None
        self.reset = False
        # Half of the file is sent before this is set.
        self.gate = threading.Event()
        self.gate.set()
        self.asked: list[dict[str, str]] = []
        self.first_asked = threading.Event()

    def address(self, path: str = "w.pth") -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Those who hang up in the middle are what the tests are about."""


class Handler(BaseHTTPRequestHandler):
    server: Site

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        site = self.server
        site.asked.append(dict(self.headers.items()))
        site.first_asked.set()
        moved = {"/moved": "/w.pth", "/round": "/round", "/local": "file:///etc/hostname"}
        if self.path in moved:
            self.send_response(302)
            self.send_header("Location", moved[self.path])
            self.end_headers()
            return
        if self.path != "/w.pth":
            self.send_error(404)
            return
        first = self._first_byte()
        first += site.late if first else 0
        if first > 0 and first >= len(site.content):
            self.send_response(416)
            self.end_headers()
            return
        body = site.content[first:]
        self.send_response(206 if first else 200)
        if first:
            end = len(site.content)
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{end}")
        if site.length_known:
            self.send_header("Content-Length", str(len(body)))
        for name, value in site.version.items():
            self.send_header(name, value)
        self.end_headers()
        stop, site.stop_after = site.stop_after, None
        body = body[:stop]
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        site.gate.wait(30)
        self.wfile.write(body[len(body) // 2 :])
        if stop is not None and site.reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

    def _first_byte(self) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (None, *self.server.version.values())
        return int(asked[1]) if asked and same and self.server.ranges else 0


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    # Not poll_interval's half a second at the end of each test.
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.gate.set()
    server.shutdown()
    server.server_close()
    thread.join()


class Heard(Progress):
    """Keeps what is said, and what was counted of which total."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.counted = 0
        self.total = -1

    def say(self, text: str) -> None:
        self.lines.append(text)

    @contextmanager
    def task(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        self.counted, self.total = 0, total
        yield self.advance

    def advance(self, more: int) -> None:
        self.counted += more


class StoppedByTheUser(Heard):
    def advance(self, more: int) -> None:
        super().advance(more)
        if self.counted > 300_000:
            raise KeyboardInterrupt


def left(folder: Path) -> list[str]:
    """File names, without the lock, which stays."""
    return sorted(file.name for file in folder.iterdir() if not file.name.endswith(".lock"))


def put_half(folder: Path, *, version: str | None = '"one"', size: int = 300_000) -> None:
    """As an interrupted download leaves it."""
    (folder / "w.pth.partial").write_bytes(CONTENT[:size])
    if version:
        (folder / "w.pth.partial.version").write_text(version)


# --- fetching -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["w.pth", "moved"])
def test_a_file_is_fetched_whole_and_counted(site: Site, tmp_path: Path, path: str) -> None:
    heard = Heard()
    download(site.address(path), tmp_path / "new" / "w.pth", SHA256[:8], progress=heard)
    assert (tmp_path / "new" / "w.pth").read_bytes() == CONTENT
    assert left(tmp_path / "new") == ["w.pth"]
    assert heard.counted == heard.total == len(CONTENT)
    assert "Range" not in site.asked[0]


def test_without_a_length_a_file_is_fetched_too(site: Site, tmp_path: Path) -> None:
    site.length_known = False
    download(site.address(), tmp_path / "w.pth", SHA256)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


def test_the_bar_shows_bytes(site: Site, tmp_path: Path) -> None:
    page = io.StringIO()
    shown = Progress(Console(file=page, width=100, force_terminal=True))
    download(site.address(), tmp_path / "w.pth", SHA256, progress=shown)
    assert "fetching w.pth" in page.getvalue()
    assert "100%" in page.getvalue()
    assert "bytes/s" in page.getvalue()


def test_another_file_than_the_expected_one_is_refused_and_deleted(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / "w.pth").write_bytes(b"what was there")
    with pytest.raises(ConvscopeError) as caught:
        download(site.address(), tmp_path / "w.pth", "0123abcd")
    assert site.address() in str(caught.value)
    assert SHA256 in str(caught.value)
    assert "0123abcd" in str(caught.value)
    assert left(tmp_path) == ["w.pth"]
    assert (tmp_path / "w.pth").read_bytes() == b"what was there"
    assert len(site.asked) == 1


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("path", ["w.pth", "moved"])
def test_a_cut_connection_is_gone_on_from(
    site: Site, tmp_path: Path, reset: bool, path: str
) -> None:
    site.stop_after, site.reset = 400_000, reset
    with pytest.raises(ConvscopeError, match="the same command goes on from there") as caught:
        download(site.address(path), tmp_path / "w.pth", SHA256)
    assert "of 700,000 bytes" in str(caught.value)
    assert left(tmp_path) == ["w.pth.partial", "w.pth.partial.version"]
    kept = (tmp_path / "w.pth.partial").read_bytes()
    assert kept == CONTENT[: len(kept)]
    assert 0 < len(kept) <= 400_000
    if not reset:  # a reset may throw away what had arrived but was not read
        assert len(kept) == 400_000

    heard = Heard()
    download(site.address(path), tmp_path / "w.pth", SHA256, progress=heard)
    assert site.asked[-1]["Range"] == f"bytes={len(kept)}-"
    assert site.asked[-1]["If-Range"] == '"one"'
    assert (tmp_path / "w.pth").read_bytes() == CONTENT
    assert left(tmp_path) == ["w.pth"]
    assert heard.counted == heard.total == len(CONTENT)


def test_ctrl_c_leaves_what_came_for_the_next_time(site: Site, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        download(site.address(), tmp_path / "w.pth", SHA256, progress=StoppedByTheUser())
    kept = (tmp_path / "w.pth.partial").read_bytes()
    assert len(kept) > 300_000
    assert kept == CONTENT[: len(kept)]
    download(site.address(), tmp_path / "w.pth", SHA256)
    assert [asked.get("Range") for asked in site.asked] == [None, f"bytes={len(kept)}-"]
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


def test_a_server_without_ranges_gives_all_of_it_again(site: Site, tmp_path: Path) -> None:
    site.ranges = False
    put_half(tmp_path)
    download(site.address(), tmp_path / "w.pth", SHA256)
    assert site.asked[0]["Range"] == "bytes=300000-"
    assert len(site.asked) == 1
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_fetched_anew(site: Site, tmp_path: Path) -> None:
    """What is here is of version one; were the rest put behind it, neither file would come out."""
    site.content = bytes(reversed(CONTENT))
    site.version = {"ETag": '"two"'}
    put_half(tmp_path)
    download(site.address(), tmp_path / "w.pth", hashlib.sha256(site.content).hexdigest())
    assert len(site.asked) == 1
    assert (tmp_path / "w.pth").read_bytes() == site.content


def test_another_range_than_the_asked_one_is_not_taken(site: Site, tmp_path: Path) -> None:
    site.late = 10
    put_half(tmp_path)
    heard = Heard()
    download(site.address(), tmp_path / "w.pth", SHA256, progress=heard)
    assert ["Range" in asked for asked in site.asked] == [True, False]
    assert heard.lines == []  # seen at once, not by the hash at the end
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [300_000, 700_000, 800_000])
def test_a_rest_of_something_else_is_thrown_away(site: Site, tmp_path: Path, size: int) -> None:
    """Shorter: ends in the wrong hash. As long as the file or longer: the server answers 416."""
    site.version = {}
    (tmp_path / "w.pth.partial").write_bytes(bytes(size))
    download(site.address(), tmp_path / "w.pth", SHA256)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT
    assert ["Range" in asked for asked in site.asked] == [True, False]
    assert left(tmp_path) == ["w.pth"]


def test_only_what_may_be_named_in_if_range_is(site: Site, tmp_path: Path) -> None:
    """A weak ETag may not be (RFC 9110, 13.1.5); the date of the last change may."""
    site.version = {"ETag": 'W/"one"', "Last-Modified": "Sat, 01 Jan 2022 00:00:00 GMT"}
    site.stop_after = 100_000
    with pytest.raises(ConvscopeError):
        download(site.address(), tmp_path / "w.pth", SHA256)
    download(site.address(), tmp_path / "w.pth", SHA256)
    assert site.asked[1]["If-Range"] == "Sat, 01 Jan 2022 00:00:00 GMT"
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


def test_a_file_stopped_before_its_renaming_is_not_fetched_again(
    site: Site, tmp_path: Path
) -> None:
    put_half(tmp_path, size=len(CONTENT))
    download(site.address(), tmp_path / "w.pth", SHA256)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT
    assert left(tmp_path) == ["w.pth"]
    assert site.asked == []


def test_a_silent_server_is_given_up(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_module, "_TIMEOUT", 0.2)
    site.gate.clear()
    with pytest.raises(ConvscopeError, match=r"cut after 350,000 of 700,000 bytes \(timed out\)"):
        download(site.address(), tmp_path / "w.pth", SHA256)
    assert (tmp_path / "w.pth.partial").stat().st_size == 350_000


@pytest.mark.parametrize(
    ("path", "said"),
    [("gone.pth", r"404 \(Not Found\)"), ("round", "302"), ("local", "302 .*file:///etc/hostname")],
)
def test_a_server_that_has_no_file_is_named(
    site: Site, tmp_path: Path, path: str, said: str
) -> None:
    with pytest.raises(ConvscopeError, match=said) as caught:
        download(site.address(path), tmp_path / "w.pth", SHA256)
    assert site.address(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("start", "target", "followed"),
    [
        ("http://a/w", "https://b/w", True),
        ("https://a/w", "https://b/w", True),
        ("http://a/w", "http://b/w", True),
        ("https://a/w", "http://b/w", False),
        ("http://a/w", "ftp://b/w", False),
    ],
)
def test_no_redirection_leaves_https(start: str, target: str, followed: bool) -> None:
    handler, request = download_module._SafeRedirects(), Request(start)
    if followed:
        sent = handler.redirect_request(request, io.BytesIO(), 302, "", HTTPMessage(), target)
        assert sent is not None
        assert sent.full_url == target
        return
    with pytest.raises(HTTPError, match=f"sent on to {target}") as caught:
        handler.redirect_request(request, io.BytesIO(), 302, "", HTTPMessage(), target)
    caught.value.close()


def refused_address() -> str:
    """Where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/w.pth"


def test_no_connection_is_said_with_the_address(tmp_path: Path) -> None:
    address = refused_address()
    put_half(tmp_path)
    with pytest.raises(ConvscopeError, match="cannot be reached") as caught:
        download(address, tmp_path / "w.pth", SHA256)
    assert address in str(caught.value)
    assert "refused" in str(caught.value)
    assert left(tmp_path) == ["w.pth.partial", "w.pth.partial.version"]


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://host/w.pth", "w.pth"])
def test_only_web_addresses_are_fetched(tmp_path: Path, address: str) -> None:
    with pytest.raises(InputError, match="Allowed: https:// and http://"):
        download(address, tmp_path / "w.pth", SHA256)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConvscopeError, match="cannot be written") as caught:
        download(site.address(), tmp_path / "file" / "w.pth", SHA256)
    assert str(tmp_path / "file") in str(caught.value)
    assert site.asked == []
    (tmp_path / "w.pth.partial").mkdir()
    with pytest.raises(ConvscopeError, match="cannot be written"):
        download(site.address(), tmp_path / "w.pth", SHA256)


def test_a_disk_without_room_is_found_out_before(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = download_module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        download_module.shutil, "disk_usage", lambda _: usage._replace(free=399_999)
    )
    with pytest.raises(ConvscopeError, match="MB free"):
        download(site.address(), tmp_path / "w.pth", SHA256)
    put_half(tmp_path)
    with pytest.raises(ConvscopeError, match="MB free"):
        download(site.address(), tmp_path / "w.pth", SHA256)
    put_half(tmp_path, size=300_001)
    download(site.address(), tmp_path / "w.pth", SHA256)


def test_two_processes_fetch_one_file_once(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "w.pth"
    site.gate.clear()
    code = (
        "import sys; from pathlib import Path; from convscope.nets.download import download; "
        "download(sys.argv[1], Path(sys.argv[2]), sys.argv[3])"
    )

    class OpensTheGate(Heard):
        def say(self, text: str) -> None:
            super().say(text)
            site.gate.set()

    heard = OpensTheGate()
    with subprocess.Popen([sys.executable, "-c", code, site.address(), str(target), SHA256]) as one:
        assert site.first_asked.wait(60)
        download(site.address(), target, SHA256, progress=heard)
        assert target.read_bytes() == CONTENT
    assert one.returncode == 0
    assert heard.lines == ["another process is fetching w.pth: waiting for it"]
    assert len(site.asked) == 1


def test_many_threads_fetch_one_file_once(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "w.pth"
    threads = [
        threading.Thread(target=download, args=(site.address(), target, SHA256)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == CONTENT
    assert len(site.asked) == 1


# --- choosing -------------------------------------------------------------------------------------


def spec_at(address: str) -> NetSpec:
    published = PublishedWeights(address, SHA256[:8], "CC0", top1=50.0)
    return replace(net_spec("mobilenet_v2"), published=published)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONVSCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_folder_is_the_platforms_or_the_chosen_one(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_folder() == cache
    monkeypatch.setenv("CONVSCOPE_CACHE", "~/weights")
    assert cache_folder() == Path.home() / "weights"
    monkeypatch.delenv("CONVSCOPE_CACHE")
    assert cache_folder().name == "convscope"


def test_weights_are_found_by_choice(cache: Path, tmp_path: Path) -> None:
    spec = net_spec("mobilenet_v2")
    assert find_weights("none", spec) is None
    with pytest.raises(InputError, match=r"nowhere\.pth: no such file"):
        find_weights(str(tmp_path / "nowhere.pth"), spec)
    with pytest.raises(InputError, match="not there yet"):
        find_weights("builtin", spec)
    with pytest.raises(InputError, match="No published weights for small_cnn"):
        find_weights("published", net_spec("small_cnn"))
    file = tmp_path / "mine.pth"
    file.touch()
    assert find_weights(str(file), spec) == file
    assert not cache.exists()


def test_published_weights_are_fetched_once(site: Site, cache: Path) -> None:
    heard = Heard()
    spec = spec_at(site.address())
    for _ in range(2):
        assert find_weights("published", spec, progress=heard) == cache / "w.pth"
    assert (cache / "w.pth").read_bytes() == CONTENT
    assert len(site.asked) == 1
    assert heard.lines == [f"fetching {site.address()} (CC0)"]


def test_a_damaged_file_in_the_cache_is_fetched_again(site: Site, cache: Path) -> None:
    cache.mkdir()
    (cache / "w.pth").write_bytes(CONTENT[:-1] + b"?")
    heard = Heard()
    file = find_weights("published", spec_at(site.address()), progress=heard)
    assert file is not None
    assert file.read_bytes() == CONTENT
    assert "w.pth is damaged" in heard.lines[0]


def test_published_weights_that_cannot_be_fetched_say_what_to_do(cache: Path) -> None:
    address = refused_address()
    with pytest.raises(ConvscopeError, match="cannot be reached") as caught:
        find_weights("published", spec_at(address))
    for said in (address, str(cache), "w.pth", "--weights FILE", "--weights none", "mobilenet_v2"):
        assert said in str(caught.value)
    assert "damaged" not in str(caught.value)
    assert left(cache) == []
    (cache / "w.pth").write_bytes(b"damaged")
    with pytest.raises(ConvscopeError, match=r"w\.pth is damaged"):
        find_weights("published", spec_at(address))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_are_named_by_their_hash(name: str) -> None:
    """The name ends with the first eight digits."""
    published = PUBLISHED[name]
    assert published.url.startswith("https://download.pytorch.org/models/")
    assert re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{64}", published.sha256_prefix)
    assert published.file_name.endswith(f"-{published.sha256_prefix[:8]}.pth")
    assert published.file_name.startswith(name)
    assert 50 < published.top1 < 80


def test_googlenets_input_is_torchvisions() -> None:
    """There: ImageNet's mean and deviation, then ``x * (s / 0.5) + (m - 0.5) / 0.5``."""
    own, usual = PUBLISHED["googlenet"], PUBLISHED["resnet18"]
    pixel = np.array([0.1, 0.5, 0.9])
    mean, std = np.array(usual.mean), np.array(usual.std)
    theirs = (pixel - mean) / std * (std / 0.5) + (mean - 0.5) / 0.5
    np.testing.assert_allclose((pixel - np.array(own.mean)) / np.array(own.std), theirs)


# --- reading --------------------------------------------------------------------------------------


def weight_file(folder: Path, net: nn.Module, name: str = "w.safetensors") -> Path:
    file = folder / name
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, file)
    return file


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_pth_files_are_read_without_running_code(
    tmp_path: Path, wrapped: bool, zipped: bool
) -> None:
    """Older published files are not zip archives."""
    net, file = SmallCNN(2), tmp_path / "w.pth"
    state = OrderedDict((f"module.{k}", v) for k, v in net.state_dict().items())
    content = {"state_dict": state, "epoch": 3} if wrapped else state
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    weights = read_weights(file)
    assert set(weights.tensors) == set(net.state_dict())
    torch.testing.assert_close(weights.tensors["classifier.weight"], net.classifier.weight.data)
    assert weights.source == "w.pth"
    assert weights.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code from a weight file was run",)


def test_pth_file_with_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a": _Bomb()}, tmp_path / "bad.pth")
    with pytest.raises(InputError, match=r"bad\.pth cannot be read as weights"):
        read_weights(tmp_path / "bad.pth")
    assert capsys.readouterr().out == ""


def test_broken_weights_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"broken\.safetensors cannot be read"):
        read_weights(broken)
    header = json.dumps({"x": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode()
    broken.write_bytes(struct.pack("<Q", len(header)) + header + b"short")
    with pytest.raises(InputError, match=r"broken\.safetensors cannot be read"):
        read_weights(broken)
    torch.save([torch.ones(2)], tmp_path / "list.pth")
    with pytest.raises(InputError, match="no plain table of tensors"):
        read_weights(tmp_path / "list.pth")


@given(content=st.binary(max_size=80), suffix=st.sampled_from([".pth", ".safetensors"]))
def test_any_bytes_are_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    """A photo named as weights, a file cut short: the reader of .pth stumbles in many ways."""
    file = tmp_path_factory.getbasetemp() / f"any{suffix}"
    file.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as weights") as caught:
        read_weights(file)
    assert "\n" not in str(caught.value)


# --- fitting to a network -------------------------------------------------------------------------


class Plain(nn.Module):
    """A convolution, a batch norm, a last layer."""

    head: ClassVar[tuple[str, ...]] = ("fc",)

    def __init__(self, num_classes: int, in_channels: int = 3, width: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, num_classes)


class WithAuxiliaries(Plain):
    """As GoogLeNet: two more heads, or none."""

    head: ClassVar[tuple[str, ...]] = ("fc", "aux1.fc2", "aux2.fc2")

    def __init__(self, num_classes: int, *, auxiliaries: bool) -> None:
        super().__init__(num_classes)
        for name in ("aux1", "aux2") if auxiliaries else ():
            layers = OrderedDict(fc1=nn.Linear(4, 5), fc2=nn.Linear(5, num_classes))
            self.add_module(name, nn.Sequential(layers))


def of(net: nn.Module, source: str = "w.pth", **changed: torch.Tensor | None) -> Weights:
    """A network's weights as a file; some changed or, with None, left out (``_`` for a dot)."""
    tensors = {k: v.clone() for k, v in net.state_dict().items()}
    for name, value in changed.items():
        tensors.pop(name.replace("_", ".", 1), None)
        if value is not None:
            tensors[name.replace("_", ".", 1)] = value
    return Weights(source, "0" * 64, tensors)


def state(net: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in net.state_dict().items()}


def assert_equal_under(prefix: str, a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    names = [name for name in a if name.startswith(prefix)]
    assert names
    assert all(torch.equal(a[name], b[name]) for name in names), prefix


def test_a_file_for_the_same_classes_fits_whole() -> None:
    source, net = Plain(7), Plain(7)
    source.bn.running_mean += 3
    assert load_weights(net, of(source)) == Loaded("kept", ())
    assert_equal_under("", state(net), state(source))


def test_a_head_for_other_classes_starts_anew() -> None:
    source, net = Plain(1000), Plain(3)
    before = state(net)
    loaded = load_weights(net, of(source))
    assert loaded.head == "replaced"
    assert loaded.notes == (
        "the file names 1000 classes, this network 3: its last layer starts anew",
    )
    assert_equal_under("conv", state(net), state(source))
    assert_equal_under("bn", state(net), state(source))
    assert_equal_under("fc", state(net), before)


def test_a_missing_head_starts_anew() -> None:
    source, net = Plain(3), Plain(3)
    before = state(net)
    loaded = load_weights(net, of(source, fc_weight=None, fc_bias=None))
    assert loaded.head == "missing"
    assert loaded.notes == ("the file has no last layer: this network's starts anew",)
    assert_equal_under("conv", state(net), state(source))
    assert_equal_under("fc", state(net), before)


def test_older_files_have_no_count_of_batches() -> None:
    net = Plain(3)
    net.bn.num_batches_tracked += 5
    older = of(Plain(3))
    tensors = {k: v for k, v in older.tensors.items() if not k.endswith("num_batches_tracked")}
    assert load_weights(net, replace(older, tensors=tensors)).head == "kept"
    assert net.bn.num_batches_tracked == 5


def test_auxiliary_heads_may_be_missing_on_either_side() -> None:
    whole, without = WithAuxiliaries(6, auxiliaries=True), WithAuxiliaries(6, auxiliaries=False)
    loaded = load_weights(without, of(whole))
    assert loaded.head == "kept"
    assert loaded.notes == ("the auxiliary heads in the file are left out: this network has none",)
    assert_equal_under("", state(without), state(whole))

    net = WithAuxiliaries(6, auxiliaries=True)
    before = state(net)
    loaded = load_weights(net, of(without))
    assert loaded.head == "kept"
    assert loaded.notes == ("the file has no auxiliary heads: this network's start anew",)
    assert_equal_under("fc", state(net), state(without))
    assert_equal_under("aux", state(net), before)


def test_auxiliary_heads_on_both_sides_are_loaded_up_to_their_last_layers() -> None:
    whole, net = WithAuxiliaries(6, auxiliaries=True), WithAuxiliaries(2, auxiliaries=True)
    before = state(net)
    loaded = load_weights(net, of(whole))
    assert (loaded.head, len(loaded.notes)) == ("replaced", 1)
    assert "6 classes, this network 2" in loaded.notes[0]
    assert_equal_under("aux2.fc1", state(net), state(whole))
    assert_equal_under("aux2.fc2", state(net), before)
    assert load_weights(WithAuxiliaries(6, auxiliaries=True), of(whole)) == Loaded("kept", ())
    # Of two auxiliary heads one alone is a broken file.
    one = {k: v for k, v in whole.state_dict().items() if not k.startswith("aux2")}
    with pytest.raises(InputError, match=r"lacks aux2\.fc1\.weight and 1 more"):
        load_weights(net, Weights("w.pth", "", one))


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (of(Plain(3), conv_weight=None), "it lacks conv.weight."),
        (of(Plain(3), bn_weight=None, bn_bias=None), "it lacks bn.weight and 1 more."),
        (of(Plain(3), bn_scale=torch.ones(4)), "it has unknown bn.scale."),
        (of(Plain(3, width=5)), "it has another shape of conv.weight and 4 more."),
        (of(Plain(9, in_channels=1)), "its first convolution takes 1 channels, the network's 3."),
        (of(Plain(3), conv_weight=torch.ones(4, 3, 5, 5)), "it has another shape of conv.weight."),
        (of(Plain(3), conv_weight=torch.ones(4, 1, 5, 5)), "it has another shape of conv.weight."),
        (
            of(Plain(3), conv_weight=torch.ones(4, 3, 3, 3, dtype=torch.int8)),
            "conv.weight holds int8 instead of floating-point numbers.",
        ),
        (of(Plain(3), fc_weight=torch.ones(3, 4).int()), "fc.weight holds int32 instead"),
        (of(Plain(3), fc_weight=torch.ones(3, 8)), "it has another shape of fc.weight."),
        (of(Plain(3), fc_bias=None), "it lacks fc.bias."),
        (of(Plain(3), fc_scale=torch.ones(3)), "it has unknown fc.scale."),
        (of(SmallCNN(3)), "it lacks conv.weight and 4 more."),
    ],
)
def test_a_misfit_is_named_and_the_network_left_as_it_was(file: Weights, said: str) -> None:
    net = Plain(3)
    before = state(net)
    with pytest.raises(InputError, match=re.escape(f"w.pth does not fit plain: {said}")):
        load_weights(net, file, net_name="plain")
    assert_equal_under("", state(net), before)


def test_half_precision_is_widened() -> None:
    source, net = Plain(3).half(), Plain(3)
    load_weights(net, of(source))
    assert net.conv.weight.dtype == torch.float32
    assert torch.equal(net.conv.weight, source.conv.weight.float())


def test_the_body_alone_never_touches_the_head(tmp_path: Path) -> None:
    torch.manual_seed(1)
    for classes in (1000, 3):
        source, net = MobileNetV2(classes), MobileNetV2(3)
        before = state(net)
        load_body(net, read_weights(weight_file(tmp_path, source)))
        assert_equal_under("features", state(net), state(source))
        assert_equal_under("classifier", state(net), before)
    with pytest.raises(InputError, match=r"w\.safetensors does not fit the network: it lacks"):
        load_body(MobileNetV2(3), read_weights(weight_file(tmp_path, SmallCNN(3))))
    other = MobileNetV2(3)
    other.features[0][0] = nn.Conv2d(3, 32, 5, bias=False)
    with pytest.raises(InputError, match=r"another shape of features\.0\.0\.weight"):
        load_body(MobileNetV2(3), read_weights(weight_file(tmp_path, other)))


# --- timm's names ---------------------------------------------------------------------------------


def timm_mobilenet_names() -> list[str]:
    """In the order of the data, as ours; put together from timm's description of the network."""
    stages = ("ir_r2", "ir_r3", "ir_r4", "ir_r3", "ir_r3", "ir_r1")
    modules = ["conv_stem", "bn1"]
    modules += [f"blocks.0.0.{name}" for name in ("conv_dw", "bn1", "conv_pw", "bn2")]
    for stage, described in enumerate(stages, 1):
        for block in range(int(described[-1])):
            inside = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
            modules += [f"blocks.{stage}.{block}.{name}" for name in inside]
    names = []
    for module in [*modules, "conv_head", "bn2", "classifier"]:
        last = module.rsplit(".", 1)[-1]
        kinds = ("weight", "bias") if last == "classifier" else ("weight",)
        norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        names += [f"{module}.{kind}" for kind in (norm if last.startswith("bn") else kinds)]
    return names


def test_timms_mobilenet_fits() -> None:
    source, net = MobileNetV2(1000), MobileNetV2(3)
    for number, tensor in enumerate(source.state_dict().values()):
        tensor.fill_(number)  # no two tensors are alike
    names = timm_mobilenet_names()
    assert len(names) == 314  # as counted in timm 1.0.31
    values = source.state_dict().values()
    file = Weights("w.pth", "", dict(zip(names, values, strict=True)))
    assert load_weights(net, file).head == "replaced"
    assert_equal_under("features", state(net), state(source))
    same = MobileNetV2(1000)
    assert load_weights(same, file).head == "kept"
    assert_equal_under("", state(same), state(source))


class OurVGG(nn.Module):
    """torchvision's layout, small."""

    head: ClassVar[tuple[str, ...]] = ("classifier.6",)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.classifier = nn.Sequential(
            nn.Linear(5 * 7 * 7, 8), nn.ReLU(), nn.Identity(),
            nn.Linear(8, 8), nn.ReLU(), nn.Identity(),
            nn.Linear(8, 4),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(x).flatten(1))
        return logits


class TimmsVGG(nn.Module):
    """timm's: the hidden layers are convolutions over all 7 x 7 units, the last is pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        hidden = OrderedDict(fc1=nn.Conv2d(5, 8, 7), act1=nn.ReLU())
        hidden |= OrderedDict(fc2=nn.Conv2d(8, 8, 1), act2=nn.ReLU())
        self.pre_logits = nn.Sequential(hidden)
        self.head = nn.Sequential(OrderedDict(fc=nn.Linear(8, 4)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.pre_logits(self.features(x)).mean((2, 3)))
        return logits


def test_timms_vgg_is_the_same_function() -> None:
    theirs, ours = TimmsVGG().eval(), OurVGG().eval()
    assert load_weights(ours, of(theirs)) == Loaded("kept", ())
    photos = torch.randn(3, 3, 14, 14)
    torch.testing.assert_close(ours(photos), theirs(photos))


def test_key_names_lead_to_different_places() -> None:
    for names in KEY_NAMES:
        assert len(set(names.modules.values())) == len(names.modules)
        assert names.mark.rpartition(".")[0] in names.modules
        assert set(names.flattened) <= set(names.modules.values())


# --- files beside the checkout --------------------------------------------------------------------


@pytest.mark.shared
def test_published_weights_fit_as_a_whole(shared: Path) -> None:
    """The key names are torchvision's."""
    weights = read_weights(shared / "weights/mobilenet_v2_imagenet_1000.safetensors")
    assert load_weights(MobileNetV2(1000), weights) == Loaded("kept", ())
    body = read_weights(shared / "weights/mobilenet_v2_imagenet.safetensors")
    assert load_weights(MobileNetV2(10), body).head == "missing"


@pytest.mark.shared
@pytest.mark.parametrize("name", ["squeezenet1_0_imagenet_1000.pth", "resnet20_cifar10.pth"])
def test_real_pth_files_are_read(shared: Path, name: str) -> None:
    weights = read_weights(shared / "weights" / name)
    assert not any(key.startswith("module.") for key in weights.tensors)
    assert sum(value.numel() for value in weights.tensors.values()) > 250_000
