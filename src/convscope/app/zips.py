"""Unpacking a zip that somebody sent: inside its folder, and never more than allowed."""

from __future__ import annotations

import stat
import zipfile
import zlib
from pathlib import Path

from convscope.app.limits import Limits, amount
from convscope.app.names import inner_path
from convscope.errors import InputError

_CHUNK = 1 << 20
# A directory with more entries than this many times the files allowed is not even read.
_ENTRIES = 4


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
    try:
        with zipfile.ZipFile(archive) as opened:
            return _unpack(opened, folder, limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise InputError(f"The file is no zip that can be unpacked: {error}.") from None


def _unpack(opened: zipfile.ZipFile, folder: Path, limits: Limits) -> int:
    entries = opened.infolist()
    if len(entries) > _ENTRIES * limits.files:
        raise InputError(f"The zip has {len(entries):,} entries; {limits.files:,} are allowed.")
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
            raise InputError(f"{entry.filename!r} cannot be unpacked: {error.strerror}.") from None
    if not files:
        raise InputError("The zip holds no files.")
    return files
