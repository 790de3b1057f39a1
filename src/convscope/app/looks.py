"""What a run says of one photo, and what that rests on: shown while it is still being computed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope import explain
from convscope.app.names import new_id
from convscope.app.users import User
from convscope.data.samples import jpeg
from convscope.errors import ConvscopeError, InputError, unknown_name
from convscope.explain import Explanation
from convscope.explaining.asked import METHODS, Calibrated, ExplainOptions
from convscope.explaining.reading import read_photo
from convscope.explaining.result import Explained
from convscope.explaining.values import map_values
from convscope.predicting import load_classifier
from convscope.progress import Progress
from convscope.run import Run, RunInfo

# Looks that are remembered, and networks that are kept in memory.
_KEPT, _NETS = 60, 2
# Classes that are listed, and those whose share is followed while a part is covered.
_LISTED, _FOLLOWED = 8, 3
_CLOSE = None


class _CancelledError(Exception):
    """Nobody looks any more."""


@dataclass(eq=False)
class Look:
    """One photo under one method, as far as it is computed.

    Attributes
    ----------
    id : str
    owner : User
    run : Run
    file : Path
    name : str
        As the user knows it.
    label : str or None
        What the photo really is, where that is known.
    method : str or None
        None: only what the run says.
    target : str or None
        The class to explain; default what the run says.
    state : dict
        JSON values: ``status`` (waiting, running, done, failed, cancelled), ``version`` (grows
        whenever something changes), ``classes``, ``photo``, ``map``, ``trust``, ``error``.
    picture : bytes
        The photo as a JPEG, once it is read.
    """

    owner: User
    run: Run
    file: Path
    name: str
    label: str | None
    method: str | None
    target: str | None
    id: str = field(default_factory=new_id)
    state: dict[str, Any] = field(default_factory=lambda: {"status": "waiting", "version": 0})
    picture: bytes = b""
    cancelled: bool = False

    def update(self, **changes: Any) -> None:
        """Replace the state as a whole: readers never see half of a change."""
        self.state = {**self.state, **changes, "version": self.state["version"] + 1}

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state["status"] in ("done", "failed", "cancelled")


class Looks:
    """Computes looks one after the other; a user's new one replaces the one before."""

    def __init__(self) -> None:
        self._looks: dict[str, Look] = {}
        self._lock = threading.Lock()
        self._wanted: queue.SimpleQueue[Look | None] = queue.SimpleQueue()
        self._nets: dict[str, tuple[nn.Module, RunInfo]] = {}
        self._thread = threading.Thread(target=self._work, name="looks", daemon=True)

    def open(self) -> None:
        """Start."""
        self._thread.start()

    def close(self) -> None:
        """Give up whatever is being computed."""
        with self._lock:
            for look in self._looks.values():
                look.cancelled = True
        self._wanted.put(_CLOSE)
        self._thread.join(10)

    def begin(
        self,
        user: User,
        run: Run,
        file: Path,
        *,
        name: str,
        label: str | None = None,
        method: str | None = None,
        target: str | None = None,
    ) -> Look:
        """Look at a photo.

        Raises
        ------
        InputError
            There is no such method or class.
        """
        if method is not None and method not in METHODS:
            raise unknown_name("method", method, METHODS)
        if target is not None and target not in (classes := run.info().classes):
            raise unknown_name("class of this run", target, classes)
        look = Look(user, run, file, name, label, method, target)
        with self._lock:
            for other in self._looks.values():
                if other.owner == user and not other.ended:
                    other.cancelled = True
            self._looks[look.id] = look
            for old in list(self._looks)[:-_KEPT]:
                self._looks.pop(old).cancelled = True
        self._wanted.put(look)
        return look

    def get(self, user: User, name: str) -> Look:
        """One of this user's.

        Raises
        ------
        InputError
            There is none, or it was long ago.
        """
        look = self._looks.get(name)
        if look is None or look.owner != user:
            raise InputError("This look is over. Open the photo again.")
        return look

    def _work(self) -> None:
        while (look := self._wanted.get()) is not _CLOSE:
            try:
                if look.cancelled:
                    raise _CancelledError
                look.update(status="running")
                self._look(look)
                look.update(status="done", share=None, doing=None)
            except _CancelledError:
                look.update(status="cancelled")
            except ConvscopeError as error:
                look.update(status="failed", error=str(error))
            except MemoryError:
                look.update(status="failed", error="Not enough memory for this look.")
            except Exception as error:  # the thread must go on for everybody else
                text = f"{type(error).__name__}: {error} (a fault in convscope: please report it)"
                look.update(status="failed", error=text)

    def _net(self, run: Run) -> tuple[nn.Module, RunInfo]:
        info = run.info()
        key = f"{run.path}:{info.model_sha256}"
        if key not in self._nets:
            while len(self._nets) >= _NETS:
                self._nets.pop(next(iter(self._nets)))
            self._nets[key] = Calibrated(load_classifier(run, info), info.temperature).eval(), info
        return self._nets[key]

    def _look(self, look: Look) -> None:
        net, info = self._net(look.run)
        photo, x = read_photo(look.file, info)
        look.picture = jpeg(photo.pixels)
        with torch.inference_mode():
            shares = net(x.clone())[0].double().softmax(0).numpy()
        best = int(shares.argmax())
        target = best if look.target is None else info.classes.index(look.target)
        order = [int(k) for k in np.argsort(-shares)]
        look.update(
            name=look.name,
            is_=look.label,
            says=info.classes[best],
            target=info.classes[target],
            all=info.classes,
            classes=[(info.classes[k], float(shares[k])) for k in order[:_LISTED]],
            photo={"width": photo.pixels.shape[1], "height": photo.pixels.shape[0],
                   "box": [float(side) for side in photo.box]},
        )  # fmt: skip
        if look.method is None:
            return
        progress = _Watched(look)
        others = [k for k in order if k != target][: _FOLLOWED - 1]

        def show(each: Explained) -> None:
            look.update(map=map_values(each, info.classes))

        found = _explained(look.method, net, x[0], target, others, progress, show)
        show(found)
        curve = explain.deletion(net, x[0], found.explanation, progress=progress)
        better = bool(curve.better) if curve.decided else None
        look.update(trust=curve.line(), better=better, seconds=round(found.explanation.seconds, 2))


def _explained(
    method: str,
    net: nn.Module,
    x: Tensor,
    target: int,
    others: list[int],
    progress: Progress,
    show: Callable[[Explained], None],
) -> Explained:
    if method != "occlusion":
        found = METHODS[method](net, x, np.array(target), ExplainOptions((method,)), progress)
        return Explained(found)

    def each(looked: Explanation) -> None:
        show(Explained(looked[0], looked))

    several = explain.occlusion(
        net, x, np.array([target, *others]), of="probability", refine=True, each=each,
        progress=progress,
    )  # fmt: skip
    return Explained(several[0], several)


class _Watched(Progress):
    """Tells a look how far it is, and stops the work when nobody looks any more."""

    def __init__(self, look: Look) -> None:
        super().__init__(None)
        self._look = look

    @contextmanager
    def bar(self, what: str, total: int, unit: str) -> Iterator[Callable[[int, str | None], None]]:
        """As of :class:`~convscope.progress.Progress`."""
        done = 0

        def update(more: int, text: str | None) -> None:
            nonlocal done
            if self._look.cancelled:
                raise _CancelledError
            done += more
            self._look.update(doing=text or what, share=done / max(1, total))

        update(0, None)
        yield update
