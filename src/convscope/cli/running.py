"""Run a command: one line for every error, and one Ctrl-C for every stop."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Sequence

from rich.console import Console

from convscope.cli.shared import app
from convscope.errors import ConvscopeError

# Typer's own exit code for Ctrl-C; ours are 0, 1 and 2.
_TYPER_STOPPED = 130

_STOPS = (signal.SIGINT, signal.SIGTERM)


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; every error is one line on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal cannot show must not stop the command.
        sys.stdout.reconfigure(errors="backslashreplace")
    _stop_once()
    try:
        app(args=argv)
    except SystemExit as ended:
        if ended.code == _TYPER_STOPPED:
            _fail("Stopped.", 1)
        raise
    except ConvscopeError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("Stopped.", 1)
    except OSError as error:
        _fail(f"{error.filename or 'The output'} cannot be written: {error.strerror}.", 1)
    except MemoryError:
        _fail("Not enough memory. Close other programs, or use fewer --workers.", 1)
    except Exception as error:
        if os.environ.get("CONVSCOPE_DEBUG"):
            raise
        _fail(
            f"{type(error).__name__}: {error} (this is a fault in convscope: please report it; "
            "CONVSCOPE_DEBUG=1 shows where it happened)",
            1,
        )


def _stop_once() -> None:
    """Ctrl-C and ``kill`` stop the work; a second one does not stop the tidying up after that."""
    stopped: list[int] = []

    def stop(number: int, _frame: object) -> None:
        _ignore_stops()  # in programs that are started while tidying up too
        if not stopped:
            stopped.append(number)
            raise KeyboardInterrupt

    for number in _STOPS:
        # Not where somebody else has a say in it, nohup for example.
        if _in_charge() and signal.getsignal(number) in (
            signal.default_int_handler,
            signal.SIG_DFL,
        ):
            signal.signal(number, stop)


def _ignore_stops() -> None:
    if _in_charge():
        for number in _STOPS:
            signal.signal(number, signal.SIG_IGN)


def _in_charge() -> bool:
    return threading.current_thread() is threading.main_thread()


def _fail(text: str, code: int) -> None:
    _ignore_stops()  # there is nothing left to stop
    Console(stderr=True).print(
        f"convscope: {' '.join(text.split())}",
        markup=False,
        highlight=False,
        soft_wrap=True,
        style="red",
    )
    sys.exit(code)
