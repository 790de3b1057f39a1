"""The app in this process, on a port of its own; and users who talk to it without a browser."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from convscope.app.limits import Limits
from convscope.app.serving import create_app
from convscope.app.users import Users

# Jobs start Python, which starts PyTorch, beside other tests.
PATIENCE = 240.0


@dataclass(frozen=True)
class Served:
    """A running app."""

    home: str
    users: Users

    @property
    def address(self) -> str:
        """As it is printed."""
        return f"{self.home}/?key={self.users.key}"

    @contextmanager
    def user(self) -> Iterator[httpx.Client]:
        """Somebody who has come in."""
        with httpx.Client(base_url=self.home, timeout=PATIENCE, follow_redirects=True) as client:
            assert client.get(f"/?key={self.users.key}").status_code == 200
            yield client


@contextmanager
def served(folder: Path, *, given: Path | None = None, limits: Limits | None = None,
           key: str | None = None) -> Iterator[Served]:  # fmt: skip
    """Open for as long as the context is."""
    users = Users(folder, key)
    folder.mkdir(exist_ok=True)
    app = create_app(users, given=given, limits=limits)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        started = time.monotonic()
        while not server.started and time.monotonic() - started < 60:
            time.sleep(0.02)
        assert server.started
        try:
            yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", users)
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


def ended(client: httpx.Client, job: str, patience: float = PATIENCE) -> dict[str, Any]:
    """Wait for a job."""
    since = time.monotonic()
    while time.monotonic() - since < patience:
        found: dict[str, Any] = next(
            one for one in client.get("/api/state").json()["jobs"] if one["id"] == job
        )
        if found["status"] not in ("waiting", "running"):
            return found
        time.sleep(0.2)
    raise AssertionError(f"the job is still {found['status']}: {found['lines']}")


def looked(client: httpx.Client, run: str, **wanted: Any) -> dict[str, Any]:
    """Wait for a look."""
    answer = client.post(f"/api/runs/{run}/looks", json=wanted)
    assert answer.status_code == 200, answer.text
    since = time.monotonic()
    while time.monotonic() - since < PATIENCE:
        found: dict[str, Any] = client.get(f"/api/looks/{answer.json()['id']}").json()
        if found["status"] not in ("waiting", "running"):
            return {**found, "id": answer.json()["id"]}
        time.sleep(0.1)
    raise AssertionError(f"the look is still {found['status']}")


def sent(client: httpx.Client, folder: Path, name: str = "photos") -> str:
    """Send a folder as the page does; the id of the set."""
    made: str = client.post("/api/photos", json={"name": name}).json()["id"]
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        path = f"{name}/{file.relative_to(folder).as_posix()}"
        answer = client.put(f"/api/photos/{made}/files", params={"path": path},
                            content=file.read_bytes())  # fmt: skip
        assert answer.status_code == 200, answer.text
    answer = client.post(f"/api/photos/{made}/finish")
    assert answer.status_code == 200, answer.text
    return made
