"""One job at a time, each in a process of its own, that outlives tabs and can be stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from convscope.app.items import Items
from convscope.app.jobs import RESUMABLE, Job, Jobs, now
from convscope.app.users import User, Users
from convscope.errors import InputError
from convscope.progress import PROGRESS_FILE

# Seconds that a job has to tidy up before it is killed.
_GRACE = 20.0
# Characters of what a failed job said.
_SAID = 2000


class Queue:
    """Runs the jobs of all users, in the order in which they were asked for.

    Parameters
    ----------
    users : Users
    after : callable
        Told each job that is done, and whose it was.
    """

    def __init__(self, users: Users, after: Callable[[User, Job], None] = lambda *_: None) -> None:
        self._users = users
        self._after = after
        self._waiting: list[tuple[User, Job]] = []
        self._running: tuple[Job, subprocess.Popen[bytes]] | None = None
        self._cancelled: set[str] = set()
        # Re-entrant: what comes after a job is asked for while it ends.
        self._changed = threading.Condition(threading.RLock())
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)

    def open(self) -> None:
        """Take up what waits since the last time, and start."""
        found = []
        for user in self._users.everybody():
            jobs = Jobs(user)
            for job in jobs.all():
                if job.status == "running":  # the machine or the program went down
                    _stop_left_over(job)
                    _end(jobs, job, "stopped")
                elif job.status == "waiting":
                    found.append((user, job))
        self._waiting = sorted(found, key=lambda entry: entry[1].created)
        self._thread.start()

    def close(self) -> None:
        """Stop the running job; it can be gone on with."""
        with self._changed:
            self._closing.set()
            if self._running is not None:
                _stop(self._running[1])
            self._changed.notify_all()
        self._thread.join(2 * _GRACE)

    def add(self, user: User, job: Job) -> None:
        """Put a job at the end."""
        with self._changed:
            self._waiting.append((user, job))
            self._changed.notify_all()

    def ahead(self, job: Job) -> int:
        """Jobs that come first, the running one included."""
        with self._changed:
            ids = [waiting.id for _, waiting in self._waiting]
            running = self._running is not None
        return ids.index(job.id) + running if job.id in ids else 0

    def cancel(self, user: User, job: Job) -> None:
        """Stop a job, or take it out of the queue; nothing happens if it has ended."""
        with self._changed:
            for entry in self._waiting:
                if entry[1].id == job.id:
                    self._waiting.remove(entry)
                    _end(Jobs(user), job, "cancelled")
                    return
            if self._running is not None and self._running[0].id == job.id:
                self._cancelled.add(job.id)
                _stop(self._running[1])

    def resume(self, user: User, name: str) -> Job:
        """Go on with a job that was cancelled or stopped, or try a failed one again.

        Raises
        ------
        InputError
            It is done, or goes on already; or what it worked on was removed.
        """
        jobs = Jobs(user)
        with self._changed:  # two at once must not both find it stopped
            job = jobs.get(name)
            if job.status not in RESUMABLE:
                raise InputError(f"This job is {job.status}: there is nothing to go on with.")
            for item in (job.about, job.makes):
                if item is not None:
                    Items(user).get(item)
            changes = {
                "status": "waiting", "resume": True, "ended": None, "error": None, "created": now()
            }  # fmt: skip
            again = job.model_copy(update=changes)
            jobs.write(again)
            self.add(user, again)
        return again

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing.is_set())
                if self._closing.is_set():
                    break
                user, job = self._waiting.pop(0)
            try:
                self._run(user, job)
            except Exception as error:  # the queue must go on for everybody else
                _end(Jobs(user), job, "failed", f"It cannot be run: {error}")
            finally:
                with self._changed:
                    self._running = None

    def _run(self, user: User, job: Job) -> None:
        jobs = Jobs(user)
        with self._changed:
            process = _start(jobs.folder(job), job)
            self._running = job, process
            started = psutil.Process(process.pid).create_time()
            job = job.model_copy(
                update={
                    "status": "running", "started": now(), "process": (process.pid, started)
                }
            )  # fmt: skip
            _keep(jobs, job)
        code = process.wait()
        with self._changed:
            cancelled = job.id in self._cancelled
            self._cancelled.discard(job.id)
            closing = self._closing.is_set()
        items = Items(user)
        for item in (job.about, job.makes):
            if item is not None and not items.has(item):
                # It was removed while this went on; nothing may come of it.
                items.clear(item)
                jobs.remove(job)
                return
        if code == 0:
            if job.output is not None:
                (jobs.folder(job) / "stdout").replace(job.output)
            _end(jobs, job, "done")
            self._after(user, job)
        elif cancelled or closing:
            _end(jobs, job, "cancelled" if cancelled else "stopped")
        else:
            _end(jobs, job, "failed", _said(jobs.folder(job) / "stderr", code, items))


def _start(folder: Path, job: Job) -> subprocess.Popen[bytes]:
    words = list(job.words)
    if job.resume and job.asked.kind in ("fit", "forecast", "neurons"):
        words = [word for word in words if word != "--overwrite"]
        words.insert(2 if job.asked.kind == "forecast" else 1, "--resume")
    (folder / "progress.json").unlink(missing_ok=True)
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "convscope", *words],
            stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            # Ctrl-C in the terminal is for the server; it stops its jobs itself.
            start_new_session=True,
            env={**os.environ, PROGRESS_FILE: str(folder / "progress.json")},
        )  # fmt: skip


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end; it is killed with all that it started if it does not."""
    process.terminate()

    def kill() -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(_GRACE, kill)
    timer.daemon = True
    timer.start()


def _stop_left_over(job: Job) -> None:
    """End the process of a job that outlived the program which started it."""
    if job.process is None:
        return
    number, started = job.process
    try:
        process = psutil.Process(number)
        if abs(process.create_time() - started) > 1:  # another one has its number by now
            return
        process.terminate()
        process.wait(_GRACE)
    except psutil.TimeoutExpired:
        process.kill()
    except psutil.Error:
        return


def _keep(jobs: Jobs, job: Job) -> None:
    """Write its state; a full disk must not stop the queue."""
    with suppress(OSError):
        jobs.write(job)


def _end(jobs: Jobs, job: Job, status: str, error: str | None = None) -> None:
    changes = {"status": status, "ended": now(), "error": error, "process": None}
    _keep(jobs, job.model_copy(update=changes))


def _said(stderr: Path, code: int, items: Items) -> str:
    """The one line that a failed command ends with; items by their names."""
    try:
        text = stderr.read_text(encoding="utf-8", errors="replace")[-_SAID:].strip()
    except OSError:
        text = ""
    lines = [line for line in text.splitlines() if line.startswith("convscope: ")]
    if lines:
        return items.with_names(lines[-1].removeprefix("convscope: "))
    if code < 0:
        return "The system ended it, perhaps for want of memory."
    return text.splitlines()[-1] if text else f"It ended with code {code}."
