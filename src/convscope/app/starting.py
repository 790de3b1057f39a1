"""``convscope app``: find a port, print the address, serve until Ctrl-C."""

from __future__ import annotations

import ipaddress
import socket
import webbrowser
from pathlib import Path

import uvicorn
from filelock import FileLock, Timeout
from platformdirs import user_data_path

from convscope.app.serving import create_app
from convscope.app.users import Users
from convscope.app.views import kind_of
from convscope.errors import ConvscopeError, InputError
from convscope.progress import Progress

PORT = 8610
# Tried one after the other where none was asked for.
_MORE_PORTS = 20


def serve(
    run: Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    home: Path | None = None,
    browser: bool = True,
    progress: Progress | None = None,
) -> None:
    """Serve the page until it is stopped.

    Parameters
    ----------
    run : Path, optional
        A Run folder that everybody who has the address sees.
    host : str
        Where to listen; by default nobody but this machine can connect.
    port : int, optional
        Default 8610, or the next that is free.
    home : Path, optional
        Where photos, runs and jobs are kept; default the user's data folder.
    browser : bool
        Open it.
    progress : Progress, optional

    Raises
    ------
    InputError
        ``run`` is no Run folder, or the host or the port cannot be listened on.
    """
    progress = progress or Progress()
    if run is not None:
        kind_of(run)
    home = home or user_data_path("convscope") / "app"
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConvscopeError(
            f"{home} cannot be made: {error.strerror}. Choose another --home."
        ) from None
    lock = FileLock(home / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"Another convscope app uses {home} at this moment. Use that one, or give this one "
            "another --home."
        ) from None
    listening = _listen(host, port)
    users = Users(home)
    loopback = _is_loopback(host)
    app = create_app(
        users, given=None if run is None else run.resolve(), loopback=loopback
    )  # fmt: skip
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}/?key={users.key}"
    progress.say(f"convscope app: {address}")
    if not loopback:
        progress.say(
            "Others can connect: whoever has this address can use this machine. It is not "
            "encrypted; put it behind a server that is."
        )
    progress.say("Ctrl-C ends it; what is running then can be gone on with.")
    if browser:
        webbrowser.open(address)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    )
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:  # how it is meant to end
        pass
    finally:
        listening.close()
        lock.release()


def _listen(host: str, port: int | None) -> socket.socket:
    ports = range(PORT, PORT + _MORE_PORTS) if port is None else [port]
    fault = ""
    for number in ports:
        try:
            family, kind, protocol, _, place = socket.getaddrinfo(
                host, number, type=socket.SOCK_STREAM
            )[0]
            listening = socket.socket(family, kind, protocol)
            try:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind(place)
            except BaseException:
                listening.close()
                raise
            return listening
        except OSError as error:
            fault = error.strerror or str(error)
    where = f"port {ports[0]}" if port is not None else f"ports {PORT} to {PORT + _MORE_PORTS - 1}"
    raise InputError(f"--host {host}, {where}: {fault}. Choose another --port or --host.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
