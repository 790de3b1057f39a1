"""Unpacking a zip that somebody sent: inside its folder, and never more than allowed."""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from pathlib import Path

from convscope.app.limits import Limits, amount
from convscope.app.names import inner_path
from convscope.errors import InputError

_CHUNK = 1 << 20
# A directory of more bytes than this for each file allowed is not even read: it would take many
# times as much memory.
_ENTRY = 400
_END, _END64, _LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"


def unpack(archive: Path, folder: Path, limits: Limits) -> int:
    """Unpack into ``folder``; how many files there are.

    Every entry's name is checked, links and devices are passed over, and bytes are counted as they
    come out, because a zip may say less than it holds.

    Raises
    ------
    InputError
        No zip, encrypted, an entry that leads out of the folder, or more than is allowed; what was
        unpacked by then is still there, and for the caller to remove.
    """
    if _directory_bytes(archive) > _ENTRY * limits.files:
        raise InputError(f"The zip has too many entries; {limits.files:,} files are allowed.")
    try:
        with zipfile.ZipFile(archive) as opened:
            return _unpack(opened, folder, limits)
    except (
        zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, ValueError,
    ) as error:  # fmt: skip
        raise InputError(f"The file is no zip that can be unpacked: {error}.") from None


def _directory_bytes(archive: Path) -> int:
    """How long the directory says it is, by the record at the end (APPNOTE 4.3.14 and 4.3.16)."""
    with archive.open("rb") as stream:
        size = stream.seek(0, 2)
        start = max(0, size - 22 - 65_535 - 20)
        stream.seek(start)
        tail = stream.read()
        at = tail.rfind(_END)
        if at < 0 or len(tail) < at + 22:
            return 0  # no zip, which is said later
        length = int.from_bytes(tail[at + 12 : at + 16], "little")
        if length < 0xFFFFFFFF and tail[at - 20 : at - 16] != _LOCATOR:
            return length
        stream.seek(int.from_bytes(tail[max(0, at - 12) : at - 4], "little"))
        record = stream.read(56)
        return int.from_bytes(record[40:48], "little") if record.startswith(_END64) else length


def _unpack(opened: zipfile.ZipFile, folder: Path, limits: Limits) -> int:
    entries = opened.infolist()
    files, room = 0, limits.unpacked_bytes
    for entry in entries:
        path = inner_path(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if entry.is_dir() or path is None or kind not in (0, stat.S_IFREG):
            continue
        if entry.flag_bits & 1:
            raise InputError("The zip is encrypted. Send it without a password.")
        files += 1
        if files > limits.files:
            raise InputError(f"The zip has more than {limits.files:,} files.")
        target = folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(entry) as source, target.open("xb") as sink:
                while chunk := source.read(_CHUNK):
                    room -= len(chunk)
                    if room < 0:
                        raise InputError(
                            f"The zip holds more than {amount(limits.unpacked_bytes)} unpacked."
                        )
                    sink.write(chunk)
        except FileExistsError:
            raise InputError(f"The zip has {entry.filename!r} twice.") from None
        except OSError as error:
            raise InputError(
                f"{entry.filename!r} cannot be unpacked: {error.strerror or error}."
            ) from None
    if not files:
        raise InputError("The zip holds no files.")
    return files
