"""Who is who: a key to come in, and a cookie for each browser, whose files nobody else reaches."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class User:
    """One browser's owner, and the folder of everything that is theirs."""

    folder: Path


class Users:
    """Everybody who has come in with the key.

    Parameters
    ----------
    home : Path
        Where their folders are made.
    key : str, optional
        What the address that ``convscope app`` prints ends with; default a new one.
    """

    def __init__(self, home: Path, key: str | None = None) -> None:
        self.home = home
        # Browsers keep one cookie of a name for all ports of a host.
        place = hashlib.sha256(str(home.resolve()).encode()).hexdigest()
        self.cookie = f"convscope-{place[:12]}"
        self.key = key or secrets.token_urlsafe(24)

    def known(self, cookie: str | None) -> User | None:
        """The user of a cookie that was given out; also before a restart."""
        if not cookie:
            return None
        folder = self._folder(cookie)
        return User(folder) if folder.is_dir() else None

    def is_key(self, given: str) -> bool:
        """Whether somebody has the address."""
        return secrets.compare_digest(given.encode(), self.key.encode())

    def come_in(self) -> tuple[str, User]:
        """A new cookie, and its user."""
        cookie = secrets.token_urlsafe(32)
        folder = self._folder(cookie)
        folder.mkdir(parents=True, mode=0o700)
        return cookie, User(folder)

    def everybody(self) -> list[User]:
        """All of them, for the queue after a restart."""
        if not self.home.is_dir():
            return []
        return [User(folder) for folder in sorted(self.home.iterdir()) if folder.is_dir()]

    def _folder(self, cookie: str) -> Path:
        # The folder's name does not give the cookie away.
        return self.home / hashlib.sha256(cookie.encode()).hexdigest()[:40]
