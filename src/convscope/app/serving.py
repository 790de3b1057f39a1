"""The application: its addresses, each a few lines."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.staticfiles import StaticFiles

from convscope.app import views
from convscope.app.asking import Asked, Check, Demo, Name
from convscope.app.guard import FRAMED, Guard
from convscope.app.items import Item, Items
from convscope.app.jobs import Job, Jobs
from convscope.app.limits import Limits
from convscope.app.looks import Looks
from convscope.app.names import inner_path, new_id
from convscope.app.ordering import order
from convscope.app.queue import Queue
from convscope.app.receiving import Receiver, TooMuchError
from convscope.app.users import User, Users
from convscope.data.images import FORMATS
from convscope.errors import ConvscopeError, InputError
from convscope.files import write_json
from convscope.report.photos import small_jpeg
from convscope.run import Run

_THUMB = 192
# Photos that are decoded at a time: a large one takes half a gigabyte.
_DECODING = threading.Semaphore(2)


def _user(request: Request) -> User:
    user: User = request.scope["user"]
    return user


Me = Annotated[User, Depends(_user)]


class Set(BaseModel):
    """Of photos, to be filled."""

    model_config = ConfigDict(extra="forbid")
    name: Name


class Wanted(BaseModel):
    """A look at one photo of a run: a row of its predictions, or one that the user has sent."""

    model_config = ConfigDict(extra="forbid")
    row: int | None = None
    own: str | None = None
    method: str | None = None
    target: str | None = None


def create_app(
    users: Users, *, given: Path | None = None, limits: Limits | None = None, loopback: bool = True
) -> FastAPI:
    """The page and all that it asks for.

    Parameters
    ----------
    users : Users
    given : Path, optional
        A Run folder, of a classifier or a forecast, that everybody sees.
    limits : Limits, optional
    loopback : bool
        See :class:`~convscope.app.guard.Guard`.
    """
    limits = limits or Limits()
    looks, receiver = Looks(), Receiver(limits)

    def after(user: User, job: Job) -> None:
        if isinstance(job.asked, Demo) and not closing.is_set():
            order(user, Check(kind="check", item=job.about), queue, limits)

    closing = threading.Event()
    queue = Queue(users, after)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        queue.open()
        looks.open()
        yield
        closing.set()
        looks.close()
        queue.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, users=users, loopback=loopback)
    _errors(app)
    _pages(app)
    _state(app, queue, limits, given)
    _receiving(app, receiver, queue, limits)
    _runs(app, receiver, looks)
    return app


def _errors(app: FastAPI) -> None:
    async def said(_request: Request, error: Exception) -> Response:
        status = 413 if isinstance(error, TooMuchError) else 400
        return JSONResponse({"error": str(error)}, status)

    async def failed(_request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 500)

    async def invalid(_request: Request, error: Exception) -> Response:
        faults = error.errors() if isinstance(error, RequestValidationError) else []
        text = "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in faults)
        return JSONResponse({"error": f"This cannot be asked for: {text}."}, 400)

    async def left(_request: Request, _error: Exception) -> Response:
        return Response(status_code=499)  # nobody is there to read it

    async def fault(_request: Request, error: Exception) -> Response:
        text = f"{type(error).__name__} (a fault in convscope: please report it)"
        return JSONResponse({"error": text}, 500)

    async def http(_request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = error.detail if isinstance(error, HTTPException) else ""
        told = {404: "There is no such page.", 405: "This cannot be done here."}
        text = detail if detail != HTTPStatus(status).phrase else told.get(status, detail)
        return JSONResponse({"error": text}, status)

    app.add_exception_handler(InputError, said)
    app.add_exception_handler(ConvscopeError, failed)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(ClientDisconnect, left)
    app.add_exception_handler(Exception, fault)


def _pages(app: FastAPI) -> None:
    folder = files("convscope.app").joinpath("pages")
    index = folder.joinpath("index.html").read_text(encoding="utf-8")
    shared = {
        name: files("convscope.report").joinpath(name).read_text(encoding="utf-8")
        for name in ("report.css", "heat.js")
    }

    @app.get("/")
    def page() -> Response:
        return HTMLResponse(index)

    @app.get("/static/report.css")
    def shared_style() -> Response:
        return Response(shared["report.css"], media_type="text/css")

    @app.get("/static/heat.js")
    def shared_script() -> Response:
        return Response(shared["heat.js"], media_type="text/javascript")

    app.mount("/static", StaticFiles(directory=str(folder)), name="static")


def _state(app: FastAPI, queue: Queue, limits: Limits, given: Path | None) -> None:
    @app.get("/api/state")
    def state(me: Me) -> dict[str, Any]:
        items, jobs = Items(me), Jobs(me)
        found = items.all()
        if given is not None and not any(item.place == str(given) for item in found):
            found = [_take(items, given), *found]
        there = {item.id for item in found}
        return {
            "items": [views.item_view(items, item) for item in found],
            "jobs": [_job_view(jobs, job, queue) for job in jobs.all() if job.about in there],
        }

    @app.post("/api/jobs")
    def ask(me: Me, asked: Asked) -> dict[str, Any]:
        return _job_view(Jobs(me), order(me, asked, queue, limits), queue)

    @app.post("/api/jobs/{name}/cancel")
    def cancel(me: Me, name: str) -> dict[str, Any]:
        queue.cancel(me, Jobs(me).get(name))
        return {}

    @app.post("/api/jobs/{name}/resume")
    def resume(me: Me, name: str) -> dict[str, Any]:
        return _job_view(Jobs(me), queue.resume(me, name), queue)

    @app.get("/api/items/{name}")
    def show(me: Me, name: str, steps: int | None = None) -> dict[str, Any]:
        items = Items(me)
        item = items.get(name)
        view = views.item_view(items, item)
        if not view["ready"]:
            return view
        if item.kind == "photos":
            return views.photos_view(items, item)
        if item.kind == "table":
            return views.table_view(items, item)
        if item.kind == "forecast":
            return views.forecast_view(items, item, steps)
        return views.run_view(items, item)

    @app.delete("/api/items/{name}")
    def remove(me: Me, name: str) -> dict[str, Any]:
        items, jobs = Items(me), Jobs(me)
        item = items.get(name)
        if given is not None and item.place == str(given):
            raise InputError("This run was named on the command line: it is shown as long.")
        items.remove(item)
        for job in jobs.all():
            if item.id in (job.about, job.makes):
                queue.cancel(me, job)
                if jobs.get(job.id).status != "running":
                    jobs.remove(job)
        return {}

    @app.get("/api/items/{name}/epochs")
    def epochs(me: Me, name: str) -> list[dict[str, float | None]]:
        items = Items(me)
        return views.epochs_view(items.content(items.get(name)))


def _receiving(app: FastAPI, receiver: Receiver, queue: Queue, limits: Limits) -> None:
    @app.post("/api/photos")
    def begin(me: Me, name: Set) -> dict[str, Any]:
        return {"id": receiver.begin(Items(me), name.name).id}

    @app.put("/api/photos/{name}/files")
    async def photo(me: Me, name: str, path: str, request: Request) -> dict[str, Any]:
        items = Items(me)
        item = items.get(name, "photos")
        return {"kept": await receiver.photo(items, item, path, request.stream())}

    @app.put("/api/photos/{name}/zip")
    async def packed(me: Me, name: str, request: Request) -> dict[str, Any]:
        items = Items(me)
        await receiver.zip(items, items.get(name, "photos"), request.stream())
        return {}

    @app.post("/api/photos/{name}/finish")
    def finish(me: Me, name: str) -> dict[str, Any]:
        items = Items(me)
        item = items.get(name, "photos")
        archive = items.folder(item) / "photos.zip"
        if archive.exists():
            receiver.open_zip(items, item, archive)
        receiver.finish(items, item)
        order(me, Check(kind="check", item=item.id), queue, limits)
        return {}

    @app.get("/api/photos/{name}/thumb")
    def thumb(me: Me, name: str, path: str) -> Response:
        items = Items(me)
        inner = inner_path(path)
        if inner is None:
            raise InputError("There is no such photo.")
        return _jpeg(items.content(items.get(name, "photos")) / inner, _THUMB)

    @app.post("/api/tables")
    async def table(me: Me, name: Name, request: Request) -> dict[str, Any]:
        items = Items(me)
        await run_in_threadpool(receiver.measure, items)
        suffix = ".parquet" if name.lower().endswith((".parquet", ".pq")) else ".csv"
        item = items.add("table", name)
        file = items.content(item) / f"table{suffix}"
        try:
            await receiver.file(items, file, request.stream(), limits.table_bytes, name)
            await run_in_threadpool(views.table_view, items, item)
        except BaseException as error:
            items.remove(item)
            if isinstance(error, InputError):  # under the name that the user knows
                raise type(error)(str(error).replace(str(file), name)) from None
            raise
        return {"id": item.id}


def _runs(app: FastAPI, receiver: Receiver, looks: Looks) -> None:
    @app.get("/api/runs/{name}/rows")
    def rows(
        me: Me, name: str, split: str | None = None, label: str | None = None,
        predicted: str | None = None, wrong: bool = False, page: int = 0,
    ) -> dict[str, Any]:  # fmt: skip
        run = _run(me, name)
        return views.rows_view(
            run, split=split, label=label, predicted=predicted, wrong=wrong, page=max(0, page)
        )

    @app.get("/api/runs/{name}/layers")
    def layers(me: Me, name: str) -> list[dict[str, Any]]:
        return views.layers_view(_run(me, name))

    @app.get("/api/runs/{name}/photos/{row}")
    def photo(me: Me, name: str, row: int) -> Response:
        return _jpeg(views.photo_of(_run(me, name), row), _THUMB)

    @app.put("/api/runs/{name}/own")
    async def show(me: Me, name: str, file: Name, request: Request) -> dict[str, Any]:
        items = Items(me)
        await run_in_threadpool(receiver.measure, items)
        item = items.get(name, "run")
        suffix = Path(file).suffix.lower()
        if suffix not in FORMATS:
            raise InputError(f"{file} is no photo that can be read. Send {', '.join(FORMATS)}.")
        key = new_id()
        target = items.folder(item) / "own" / f"{key}{suffix}"
        most = receiver.limits.photo_bytes
        await receiver.file(items, target, request.stream(), most, file)
        await run_in_threadpool(receiver.require_pixels, target, file)
        write_json(target.with_suffix(".json"), file[:200])
        return {"id": key}

    @app.get("/api/runs/{name}/own/{photo}")
    def own(me: Me, name: str, photo: str) -> Response:
        items = Items(me)
        return _jpeg(views.own_photo(items, items.get(name, "run"), photo), _THUMB)

    @app.post("/api/runs/{name}/looks")
    def look(me: Me, name: str, wanted: Wanted) -> dict[str, Any]:
        items, run = Items(me), _run(me, name)
        label = None
        if wanted.own is not None:
            item = items.get(name, "run")
            file = views.own_photo(items, item, wanted.own)
            called = {one["id"]: one["name"] for one in views.own_view(items, item)}[wanted.own]
        elif wanted.row is not None:
            file = views.photo_of(run, wanted.row)
            called, label = file.name, views.predictions(run).labels[wanted.row]
        else:
            raise InputError("Say which photo: a row, or one of your own.")
        return {"id": looks.begin(
            me, run, file, name=called, label=label, method=wanted.method, target=wanted.target
        ).id}  # fmt: skip

    @app.get("/api/looks/{name}")
    def seen(me: Me, name: str) -> dict[str, Any]:
        return looks.get(me, name).state

    @app.delete("/api/looks/{name}")
    def leave(me: Me, name: str) -> dict[str, Any]:
        looks.get(me, name).cancelled = True
        return {}

    @app.get("/api/looks/{name}/photo")
    def picture(me: Me, name: str) -> Response:
        return Response(looks.get(me, name).picture, media_type="image/jpeg")

    @app.get("/api/runs/{name}/pages/{page}")
    def framed(me: Me, name: str, page: str) -> Response:
        items = Items(me)
        item = items.get(name)
        try:
            content = views.page_of(items, item, page).read_bytes()
        except OSError:
            raise InputError("This page has not been made yet.") from None
        return HTMLResponse(content, headers={"content-security-policy": FRAMED})


def _run(me: User, name: str) -> Run:
    items = Items(me)
    return Run(items.content(items.get(name, "run")))


def _take(items: Items, given: Path) -> Item:
    """The run of the command line, as one of this user's items."""
    # The same id whenever it is asked for: two requests at once must not make two of it.
    key = hashlib.sha256(str(given).encode()).hexdigest()[:24]
    return items.add(views.kind_of(given), given.name, place=given, key=key)


def _jpeg(file: Path, side: int) -> Response:
    with _DECODING:
        content = small_jpeg(file, side)
    if content is None:
        raise HTTPException(404, "This photo is gone, or cannot be read.")
    # A photo does not change under its address.
    headers = {"cache-control": "private, max-age=3600"}
    return Response(content, media_type="image/jpeg", headers=headers)


def _job_view(jobs: Jobs, job: Job, queue: Queue) -> dict[str, Any]:
    return {
        "id": job.id, "title": job.title, "kind": job.asked.kind, "status": job.status,
        "about": job.about, "makes": job.makes, "created": job.created, "started": job.started,
        "ended": job.ended, "error": job.error, "ahead": queue.ahead(job),
        **(jobs.progress(job) if job.status != "waiting" else {"bars": [], "lines": []}),
    }  # fmt: skip
