"""Files written whole or not at all: a temporary name beside the target, then a rename."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_bytes(target: Path, content: bytes) -> None:
    """Write a file; on any failure the target is as it was."""
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_json(target: Path, content: Any) -> None:
    """Write JSON, indented, UTF-8; NaN and infinity are refused (ValueError)."""
    # A file name that is no valid text is written with its bytes escaped.
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(target, text.encode("utf-8", errors="backslashreplace"))
