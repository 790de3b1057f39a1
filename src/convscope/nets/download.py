"""Fetch one file: resumed where it was cut, checked before it takes its name, never by two at once.

Beside the target ``NAME`` lie, while it is not finished, ``NAME.partial`` (what has come),
``NAME.partial.version`` (which version of the file on the server that is a part of), and
``.NAME.lock``, which stays.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from convscope.errors import ConvscopeError, InputError
from convscope.progress import Progress

# Seconds without a byte.
_TIMEOUT = 20.0
_CHUNK = 1 << 18
_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 206, 416


def cache_folder() -> Path:
    """Where published weights are kept: ``CONVSCOPE_CACHE``, else the platform's cache folder."""
    chosen = os.environ.get("CONVSCOPE_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("convscope")


def file_sha256(file: Path) -> str:
    """The file's SHA-256, 64 hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def download(
    url: str, target: Path, sha256_prefix: str, *, progress: Progress | None = None
) -> None:
    """Fetch a file, whole and checked, or leave the target as it is.

    What an earlier, interrupted call has left is gone on from, if the server can and its file has
    not changed since. Where another process is fetching the same file, its end is waited for.

    Parameters
    ----------
    url : str
        ``https://`` or ``http://``; redirections are followed, but never from https to http.
    target : Path
        Written under a temporary name and renamed at the end.
    sha256_prefix : str
        The first digits of the file's SHA-256, or all of them.
    progress : Progress, optional

    Raises
    ------
    InputError
        An address that is neither https nor http.
    ConvscopeError
        The file cannot be fetched, is another one, or cannot be written. The message names the
        address or the folder.
    """
    progress = progress or Progress()
    if urlsplit(url).scheme not in ("https", "http"):
        raise InputError(f"{url} is no address to fetch from. Allowed: https:// and http://.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target, progress):
            # Another process may have been faster.
            if not (target.is_file() and file_sha256(target).startswith(sha256_prefix)):
                _fetch(url, target, sha256_prefix, progress)
    except OSError as error:
        # What the network does wrong has become a ConvscopeError where it happened.
        raise ConvscopeError(
            f"{target} cannot be written ({_reason(error)}). Make room there, or choose another "
            "folder."
        ) from None


@dataclass(frozen=True)
class _Partial:
    """What has come so far."""

    data: Path
    version_file: Path

    @classmethod
    def of(cls, target: Path) -> _Partial:
        data = target.with_name(f"{target.name}.partial")
        return cls(data, data.with_name(f"{data.name}.version"))

    @property
    def size(self) -> int:
        return self.data.stat().st_size if self.data.exists() else 0

    @property
    def version(self) -> str | None:
        return self.version_file.read_text("latin-1") if self.version_file.exists() else None

    def is_the_file(self, sha256_prefix: str) -> bool:
        return self.size > 0 and file_sha256(self.data).startswith(sha256_prefix)

    def start(self, version: str | None) -> None:
        self.remove()
        if version:
            self.version_file.write_text(version, "latin-1")

    def remove(self) -> None:
        self.data.unlink(missing_ok=True)
        self.version_file.unlink(missing_ok=True)


@contextmanager
def _alone(target: Path, progress: Progress) -> Iterator[None]:
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        progress.say(f"another process is fetching {target.name}: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fetch(url: str, target: Path, sha256_prefix: str, progress: Progress) -> None:
    partial = _Partial.of(target)
    # Stopped after the last byte and before the rename: nothing is left to ask for.
    if not partial.is_the_file(sha256_prefix):
        resumed = _receive(url, partial, progress)
        if resumed and not partial.is_the_file(sha256_prefix):
            progress.say(f"what was left of {target.name} is not part of it: starting anew")
            partial.remove()
            _receive(url, partial, progress)
        received = file_sha256(partial.data)
        if not received.startswith(sha256_prefix):
            partial.remove()
            raise ConvscopeError(
                f"{url} gave another file than the expected one: SHA-256 {received}, expected "
                f"{sha256_prefix}{'…' * (len(sha256_prefix) < len(received))}. It was deleted."
            )
    partial.data.replace(target)
    partial.remove()


def _receive(url: str, partial: _Partial, progress: Progress) -> bool:
    """Fetch what is lacking; whether that was less than the whole file."""
    with _open(url, partial) as response:
        first = _first_byte(response)
        total = None if response.length is None else first + response.length
        if first == 0:
            partial.start(_version(response))
        if total is not None:
            _check_space(partial.data, total - first)
        name = partial.data.name.removesuffix(".partial")
        with (
            progress.task(f"fetching {name}", total or 0, "bytes") as advance,
            partial.data.open("ab") as stream,
        ):
            advance(first)
            for chunk in _chunks(response, url, first, total):
                stream.write(chunk)
                advance(len(chunk))
            stream.flush()
            os.fsync(stream.fileno())
    return first > 0


def _chunks(response: HTTPResponse, url: str, first: int, total: int | None) -> Iterator[bytes]:
    done, why = first, "it ended too early"
    try:
        while chunk := response.read1(_CHUNK):
            done += len(chunk)
            yield chunk
    except (OSError, HTTPException) as error:
        why = _reason(error)
    else:
        if total is None or done >= total:
            return
    of = "" if total is None else f" of {total:,}"
    raise ConvscopeError(
        f"The connection to {url} was cut after {done:,}{of} bytes ({why}). They are kept: the "
        "same command goes on from there."
    )


def _open(url: str, partial: _Partial) -> HTTPResponse:
    """Ask for what is lacking, and for all of it where the server cannot give just that."""
    try:
        if partial.size:
            try:
                response = _ask(url, partial.size, partial.version)
            except HTTPError as error:
                if error.code != _RANGE_NOT_SATISFIABLE:
                    raise
                error.close()
            else:
                if _first_byte(response) in (0, partial.size):
                    return response
                response.close()
        return _ask(url, 0, None)
    except HTTPError as error:
        error.close()
        reason = str(error.reason).partition("\n")[0].rstrip(".")
        raise ConvscopeError(f"{url} answered {error.code} ({reason}).") from None
    except (URLError, OSError, HTTPException) as error:
        raise ConvscopeError(f"{url} cannot be reached ({_reason(error)}).") from None


def _ask(url: str, first: int, version: str | None) -> HTTPResponse:
    request = Request(url, headers={"User-Agent": "convscope"})
    if first:
        request.add_header("Range", f"bytes={first}-")
        if version:
            # The rest if the file is still this one, else all of the new one.
            request.add_header("If-Range", version)
    return cast(HTTPResponse, build_opener(_SafeRedirects()).open(request, timeout=_TIMEOUT))


class _SafeRedirects(HTTPRedirectHandler):
    """To https always; to http only from http; to nothing else."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme != "https" and not (scheme == "http" and req.type == "http"):
            raise HTTPError(req.full_url, code, f"sent on to {newurl}, not allowed", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _first_byte(response: HTTPResponse) -> int:
    """Place in the file of the first byte of the answer; -1 where that cannot be told."""
    if response.status != _PARTIAL_CONTENT:
        return 0
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def _version(response: HTTPResponse) -> str | None:
    """What ``If-Range`` may name: a strong ETag, else the date of the last change."""
    tag = response.headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return str(tag)
    return response.headers.get("Last-Modified")


def _check_space(file: Path, needed: int) -> None:
    free = shutil.disk_usage(file.parent).free
    if free < needed:
        raise ConvscopeError(
            f"{file.parent} has {free / 1e6:,.0f} MB free, and {needed / 1e6:,.0f} MB are to come. "
            "Make room there, or choose another folder."
        )


def _reason(error: Exception) -> str:
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        error = error.reason
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or str(error) or type(error).__name__
