"""Files that come in: written as they arrive, never more than allowed, whole or not at all."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

from PIL import Image

from convscope.app.items import Item, Items
from convscope.app.limits import Limits, amount
from convscope.app.names import inner_path
from convscope.app.zips import unpack
from convscope.data.images import FORMATS, UNSUPPORTED_SUFFIXES
from convscope.errors import InputError

# In an item's folder for as long as its photos are still coming in.
UNFINISHED = "unfinished"
_PHOTOS = frozenset(FORMATS) | UNSUPPORTED_SUFFIXES


class TooMuchError(InputError):
    """More than is allowed: HTTP 413."""


class Receiver:
    """Takes in what users send.

    Parameters
    ----------
    limits : Limits
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        # Item -> files and bytes so far.
        self._sizes: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def begin(self, items: Items, name: str) -> Item:
        """A set of photos, still empty.

        Raises
        ------
        TooMuchError
            The user has no room left.
        """
        self._require_room(items)
        item = items.add("photos", name)
        items.content(item).mkdir()
        (items.folder(item) / UNFINISHED).touch()
        return item

    async def photo(
        self, items: Items, item: Item, path: str, stream: AsyncIterator[bytes]
    ) -> bool:
        """One photo of a set; whether it was kept: what is no photo is not.

        Raises
        ------
        InputError
            A name that leads elsewhere, the set is closed, or too much.
        """
        self._require_open(items, item)
        inner = inner_path(path)
        if inner is None or inner.suffix.lower() not in _PHOTOS:
            return False
        content = items.content(item)
        with self._lock:
            files, size = self._sizes.get(item.id) or _measure(content)
            if files >= self.limits.files:
                raise TooMuchError(f"A set has at most {self.limits.files:,} photos.")
            self._sizes[item.id] = files + 1, size
        room = min(self.limits.photo_bytes, self.limits.unpacked_bytes - size)
        try:
            written = await self.file(content / inner, stream, room, inner.name)
            self.require_pixels(content / inner, inner.name)
        except BaseException:
            self._count(item, -1, 0)
            raise
        self._count(item, 0, written)
        return True

    async def zip(self, items: Items, item: Item, stream: AsyncIterator[bytes]) -> Path:
        """A zip, still packed."""
        self._require_open(items, item)
        archive = items.folder(item) / "photos.zip"
        await self.file(archive, stream, self.limits.zip_bytes, "The zip")
        return archive

    def open_zip(self, items: Items, item: Item, archive: Path) -> int:
        """Unpack it; how many files there are. A zip that cannot be used leaves nothing.

        Raises
        ------
        InputError
            See :func:`~convscope.app.zips.unpack`.
        """
        try:
            return unpack(archive, items.content(item), self.limits)
        except InputError:
            items.remove(item)
            raise
        finally:
            archive.unlink(missing_ok=True)

    def finish(self, items: Items, item: Item) -> None:
        """All of it is there: the folder that holds the classes becomes the set itself.

        Raises
        ------
        InputError
            Nothing came.
        """
        self._require_open(items, item)
        content = items.content(item)
        while True:
            inside = [path for path in content.iterdir() if not path.name.startswith(".")]
            if len(inside) != 1 or not inside[0].is_dir():
                break
            if not any(path.is_dir() for path in inside[0].iterdir()):
                break
            # One folder around everything, as zips have it.
            moved = content.with_name("moved")
            inside[0].rename(moved)
            content.rmdir()
            moved.rename(content)
        if not any(content.iterdir()):
            items.remove(item)
            raise InputError("No photos came. Choose a folder with one sub-folder for each class.")
        (items.folder(item) / UNFINISHED).unlink()
        self._sizes.pop(item.id, None)

    async def file(self, target: Path, stream: AsyncIterator[bytes], most: int, name: str) -> int:
        """One file; how many bytes it has.

        Raises
        ------
        TooMuchError
            It has more than ``most`` bytes; nothing of it stays.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name[:100]}.{os.urandom(4).hex()}")
        size = 0
        try:
            with unfinished.open("wb") as sink:
                async for chunk in stream:
                    size += len(chunk)
                    if size > most:
                        raise TooMuchError(f"{name} is larger than {amount(max(0, most))}.")
                    sink.write(chunk)
            unfinished.replace(target)
        except OSError as error:
            raise InputError(f"{name} cannot be stored: {error.strerror}.") from None
        finally:
            unfinished.unlink(missing_ok=True)
        return size

    def require_pixels(self, file: Path, name: str) -> None:
        """By its header alone; a file that is no photo is for the check to tell.

        Raises
        ------
        TooMuchError
            Too many; the file is deleted.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(file) as image:
                    pixels = image.width * image.height
        except Exception:  # Pillow raises all sorts of things for files that are none
            return
        if pixels > self.limits.pixels:
            file.unlink()
            raise TooMuchError(f"{name} has {pixels:,} pixels; {self.limits.pixels:,} are allowed.")

    def _require_room(self, items: Items) -> None:
        if items.root.is_dir() and items.bytes() > self.limits.user_bytes:
            raise TooMuchError(
                f"You have more than {amount(self.limits.user_bytes)} here. Remove something first."
            )

    def _require_open(self, items: Items, item: Item) -> None:
        if not (items.folder(item) / UNFINISHED).exists():
            raise InputError(f"{item.name} is complete. Send a new set instead.")

    def _count(self, item: Item, files: int, size: int) -> None:
        with self._lock:
            before = self._sizes.get(item.id, (0, 0))
            self._sizes[item.id] = before[0] + files, before[1] + size


def _measure(folder: Path) -> tuple[int, int]:
    """Files and bytes, after a restart."""
    sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
    return len(sizes), sum(sizes)
