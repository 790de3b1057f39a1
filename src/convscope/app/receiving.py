"""Files that come in: written as they arrive, never more than allowed, whole or not at all."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from PIL import Image
from starlette.concurrency import run_in_threadpool

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
        # Files of each set, and bytes of each set (by its item's id) and of each user (by folder).
        self._files: dict[str, int] = {}
        self._bytes: dict[str, int] = {}
        self._lock = threading.Lock()

    def begin(self, items: Items, name: str) -> Item:
        """A set of photos, still empty.

        Raises
        ------
        TooMuchError
            The user has no room left.
        """
        self.measure(items)
        item = items.add("photos", name)
        items.content(item).mkdir()
        (items.folder(item) / UNFINISHED).touch()
        return item

    def measure(self, items: Items) -> None:
        """See how much the user has.

        Raises
        ------
        TooMuchError
            No room is left.
        """
        size = items.bytes()
        with self._lock:
            self._bytes[str(items.root)] = size
        if size > self.limits.user_bytes:
            raise TooMuchError(
                f"You have more than {amount(self.limits.user_bytes)} here. Remove something first."
            )

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
        if item.id not in self._files:  # after a restart
            found = await run_in_threadpool(_measure, content)
            self._files[item.id], self._bytes[item.id] = found
        self._files[item.id] += 1
        try:
            if self._files[item.id] > self.limits.files:
                raise TooMuchError(f"A set has at most {self.limits.files:,} photos.")
            most = self.limits.photo_bytes
            await self.file(items, content / inner, stream, most, inner.name, item.id)
            await run_in_threadpool(self.require_pixels, content / inner, inner.name)
        except BaseException:
            self._files[item.id] -= 1
            raise
        return True

    async def zip(self, items: Items, item: Item, stream: AsyncIterator[bytes]) -> Path:
        """A zip, still packed."""
        self._require_open(items, item)
        archive = items.folder(item) / "photos.zip"
        await self.file(items, archive, stream, self.limits.zip_bytes, "The zip")
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
        except BaseException:
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
        self._files.pop(item.id, None)
        self._bytes.pop(item.id, None)

    async def file(
        self,
        items: Items,
        target: Path,
        stream: AsyncIterator[bytes],
        most: int,
        name: str,
        part_of: str | None = None,
    ) -> None:
        """One file.

        Parameters
        ----------
        items : Items
            Whose it is.
        target : Path
        stream : async iterator of bytes
        most : int
            Bytes.
        name : str
            As the user knows it.
        part_of : str, optional
            The set that it belongs to.

        Raises
        ------
        TooMuchError
            It has more than ``most`` bytes, or there is no room for it; nothing of it stays.
        """
        unfinished = target.with_name(f".{target.name[:100]}.{os.urandom(4).hex()}")
        size, whole = 0, False
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as sink:
                async for chunk in stream:
                    # Counted before it is kept: others come in at the same time.
                    self._take(items, part_of, len(chunk))
                    size += len(chunk)
                    if size > most:
                        raise TooMuchError(f"{name} is larger than {amount(most)}.")
                    sink.write(chunk)
            unfinished.replace(target)
            whole = True
        except OSError as error:
            raise InputError(f"{name} cannot be stored: {error.strerror or error}.") from None
        finally:
            with suppress(OSError):  # what cannot be there is not there
                unfinished.unlink()
            if not whole:
                self._take(items, part_of, -size)

    def _take(self, items: Items, part_of: str | None, size: int) -> None:
        """Count bytes, or give them back."""
        user = str(items.root)
        with self._lock:
            self._bytes[user] = self._bytes.get(user, 0) + size
            if part_of is not None:
                self._bytes[part_of] = self._bytes.get(part_of, 0) + size
            too_many = self._bytes[user] > self.limits.user_bytes
            set_full = part_of is not None and self._bytes[part_of] > self.limits.unpacked_bytes
        if size > 0 and (too_many or set_full):
            most = self.limits.user_bytes if too_many else self.limits.unpacked_bytes
            whose = "You have" if too_many else "This set has"
            self._take(items, part_of, -size)
            raise TooMuchError(f"{whose} more than {amount(most)}. Remove something first.")

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
        except Image.DecompressionBombError:
            pixels = self.limits.pixels + 1
        except Exception:  # Pillow raises all sorts of things for files that are none
            return
        if pixels > self.limits.pixels:
            file.unlink()
            raise TooMuchError(f"{name} has more than {self.limits.pixels:,} pixels.")

    def _require_open(self, items: Items, item: Item) -> None:
        if not (items.folder(item) / UNFINISHED).exists():
            raise InputError(f"{item.name} is complete. Send a new set instead.")


def _measure(folder: Path) -> tuple[int, int]:
    """Files and bytes, after a restart."""
    sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
    return len(sizes), sum(sizes)
