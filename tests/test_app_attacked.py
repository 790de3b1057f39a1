"""What an attack on the app has found, and what must never come back."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import httpx
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import expect

import browser as real
import fits
import photos
from convscope.app import jobs as jobs_module
from convscope.app.jobs import Jobs
from convscope.app.limits import Limits
from convscope.app.zips import unpack
from convscope.errors import InputError
from learnable import tinted_folder
from serving import PATIENCE, Served, ended, sent, served

TABLE = b"date,load\n" + b"".join(b"2024-01-%02d,%d\n" % (1 + i, i) for i in range(28))


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "home") as found:
        yield found


@pytest.fixture
def me(app: Served) -> Iterator[httpx.Client]:
    with app.user() as client:
        yield client


def table(me: httpx.Client, content: bytes = TABLE, name: str = "t.csv") -> httpx.Response:
    return me.post("/api/tables", params={"name": name}, content=content)


def header_only(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and holds nothing."""
    content = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = b""
    for kind, data in ((b"IHDR", content), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        chunks += struct.pack(">I", len(data)) + kind + data
        chunks += struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + chunks


# The queue


def test_no_request_ends_the_queue(me: httpx.Client) -> None:
    item = table(me).json()["id"]
    asked = {"kind": "forecast", "item": item, "time": "date", "horizon": 2, "epochs": 1}
    for name in ("a\0b", "a\nb", "\ud800", "a\x7f"):
        answer = me.post("/api/jobs", content=json.dumps({**asked, "target": [name]}),
                         headers={"content-type": "application/json"})  # fmt: skip
        assert answer.status_code == 400, name
    # Whatever goes wrong at the start of a job is that job's alone.
    with patch("convscope.app.queue._start", side_effect=ValueError("embedded null byte")):
        job = me.post("/api/jobs", json={**asked, "target": ["load"]}).json()
        assert ended(me, job["id"])["error"] == "It cannot be run: embedded null byte"
    job = me.post("/api/jobs", json={**asked, "target": ["load"]}).json()
    assert ended(me, job["id"])["status"] in ("done", "failed")


def test_a_full_disk_does_not_end_the_queue(me: httpx.Client, tmp_path: Path) -> None:
    made = sent(me, tinted_folder(tmp_path / "tints", 2))
    first = me.get("/api/state").json()["jobs"][0]
    assert ended(me, first["id"])["status"] == "done"
    write = jobs_module.write_bytes
    full = threading.Event()

    def writing(target: Path, content: bytes) -> None:
        if full.is_set():
            raise OSError(28, "No space left on device")
        write(target, content)

    with patch.object(jobs_module, "write_bytes", writing):
        me.post("/api/jobs", json={"kind": "check", "item": made})
        full.set()
        time.sleep(6)
        full.clear()
        job = me.post("/api/jobs", json={"kind": "check", "item": made}).json()
        assert ended(me, job["id"])["status"] == "done"


def test_two_apps_do_not_share_a_home(tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "convscope",
        "app",
        "--no-browser",
        "--home",
        str(tmp_path / "h"),
    ]
    first = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    try:
        assert "http://" in first.stderr.readline()
        second = subprocess.run(words, capture_output=True, text=True, check=False)
        assert second.returncode == 2
        assert "Another convscope app uses" in second.stderr
    finally:
        first.kill()
        first.wait()
        first.stderr.close()


def test_a_trainer_that_outlives_a_killed_app_is_stopped_and_gone_on_with(tmp_path: Path) -> None:
    with served(tmp_path / "home", key="k") as app, app.user() as me:
        made = sent(me, tinted_folder(tmp_path / "tints", 4))
        ended(me, me.get("/api/state").json()["jobs"][0]["id"])
        cookies = dict(me.cookies)
        user = app.users.known(next(iter(cookies.values())))
        job = me.post("/api/jobs", json={"kind": "check", "item": made}).json()
        ended(me, job["id"])
    assert user is not None
    # As a killed program leaves it: the process goes on, the file says running.
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        jobs = Jobs(user)
        process = left.pid, psutil.Process(left.pid).create_time()
        running = jobs.get(job["id"]).model_copy(update={"status": "running", "process": process})
        jobs.write(running)
        with (
            served(tmp_path / "home", key="k") as app,
            httpx.Client(base_url=app.home, cookies=cookies, timeout=PATIENCE) as me,
        ):
            left.wait(30)
            assert not psutil.pid_exists(process[0])
            assert me.post(f"/api/jobs/{job['id']}/resume").status_code == 200
            assert ended(me, job["id"])["status"] == "done"
    finally:
        left.kill()
        left.wait()


def test_a_process_that_only_has_the_number_is_left_alone(tmp_path: Path) -> None:
    from convscope.app.queue import _stop_left_over

    with served(tmp_path / "home") as app, app.user() as me:
        made = sent(me, tinted_folder(tmp_path / "tints", 2))
        job = me.get("/api/state").json()["jobs"][0]
        ended(me, job["id"])
        user = app.users.known(next(iter(dict(me.cookies).values())))
        assert user is not None and made
    other = Jobs(user).get(job["id"]).model_copy(update={"process": (os.getpid(), 1.0)})
    _stop_left_over(other)  # we are still here


def test_what_was_removed_is_not_gone_on_with(me: httpx.Client, tmp_path: Path) -> None:
    made = sent(me, tinted_folder(tmp_path / "tints", 12))
    asked = {"kind": "fit", "item": made, "strategy": "cnn", "epochs": 5000}
    job = me.post("/api/jobs", json=asked).json()
    since = time.monotonic()
    while not me.get(f"/api/items/{job['makes']}/epochs").json():
        assert time.monotonic() - since < 120
        time.sleep(0.2)
    assert me.delete(f"/api/items/{job['makes']}").status_code == 200
    assert me.post(f"/api/jobs/{job['id']}/resume").status_code == 400
    while list((tmp_path / "home").rglob(job["makes"])):
        assert time.monotonic() - since < 240, "what the job left behind is still there"
        time.sleep(0.2)
    state = me.get("/api/state").json()
    assert job["makes"] not in {item["id"] for item in state["items"]}
    assert job["id"] not in {one["id"] for one in state["jobs"]}


def test_errors_name_items_not_where_they_lie(me: httpx.Client, tmp_path: Path) -> None:
    made = sent(me, tinted_folder(tmp_path / "tints", 4), "my tints")
    for folder in (tmp_path / "home").rglob("sky"):
        folder.rename(folder.with_name("leaf2"))
    job = me.post("/api/jobs", json={"kind": "fit", "item": made, "strategy": "cnn",
                                     "net": "nonsense"}).json()  # fmt: skip
    done = ended(me, job["id"])
    assert done["status"] == "failed"
    assert str(tmp_path) not in done["error"]


# Who may


def test_the_printed_address_works_from_a_page_of_another_site(app: Served) -> None:
    with real.browser() as opened, real.page(opened, home="http://127.0.0.1") as page:
        page.goto(app.address)
        expect(page.get_by_role("heading", name="Train on your photos")).to_be_visible()
        before = page.context.cookies()
        # Another host: what follows is a request that began elsewhere.
        page.route("http://localhost:9/", lambda route: route.fulfill(
            content_type="text/html", body=f"<a href='{app.address}'>open</a>"))  # fmt: skip
        page.goto("http://localhost:9/")
        page.get_by_text("open").click()
        expect(page.get_by_role("heading", name="Train on your photos")).to_be_visible()
        after = page.context.cookies()
        assert [one["value"] for one in after] == [one["value"] for one in before]


def test_odd_headers_are_refused_not_stumbled_over(app: Served, me: httpx.Client) -> None:
    assert me.get("/api/state", headers={"host": "["}).status_code == 421
    answer = me.post("/api/photos", json={"name": "x"}, headers={"origin": "http://["})
    assert answer.status_code == 403


def test_a_long_question_is_not_read(me: httpx.Client) -> None:
    long = b'{"name": "' + b"x" * 2_000_000 + b'"}'
    assert me.post("/api/photos", content=long).status_code == 413
    assert me.post("/api/photos", content=iter([long])).status_code == 413


def test_a_foreign_run_shows_only_its_photos(tmp_path: Path) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(fits.fitted("cnn").path, run)
    rows = pq.read_table(run / "predictions.parquet")
    secret = photos.save_texture(tmp_path / "secret.png", 1)
    paths = [str(secret), *rows["path"].to_pylist()[1:]]
    rows = rows.set_column(rows.schema.get_field_index("path"), "path", pa.array(paths))
    pq.write_table(rows, run / "predictions.parquet")
    with served(tmp_path / "home", given=run) as app, app.user() as me:
        name = me.get("/api/state").json()["items"][0]["id"]
        assert me.get(f"/api/runs/{name}/photos/0").status_code == 400
        assert me.post(f"/api/runs/{name}/looks", json={"row": 0}).status_code == 400
        assert me.get(f"/api/runs/{name}/photos/1").status_code == 200


def test_a_given_run_stays_and_is_listed_once(tmp_path: Path) -> None:
    run = fits.fitted("cnn").path
    with served(tmp_path / "home", given=run) as app, app.user() as me:
        cookies = dict(me.cookies)

        def ask() -> None:
            httpx.get(f"{app.home}/api/state", cookies=cookies, timeout=PATIENCE)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (item,) = me.get("/api/state").json()["items"]
        assert me.delete(f"/api/items/{item['id']}").status_code == 400
        assert me.get("/api/state").json()["items"] == [item]


# Limits


def test_pixels_are_counted_by_the_header_however_many(me: httpx.Client) -> None:
    made = me.post("/api/photos", json={"name": "x"}).json()["id"]
    for width, height in ((14_000, 14_000), (20_000, 20_000), (60_000, 60_000)):
        answer = me.put(f"/api/photos/{made}/files", params={"path": "a/b.png"},
                        content=header_only(width, height))  # fmt: skip
        assert (answer.status_code, "more than 178,956,970 pixels" in answer.text) == (413, True)
    kept = me.put(f"/api/photos/{made}/files", params={"path": "a/c.png"},
                  content=header_only(1000, 1000))  # fmt: skip
    assert kept.json() == {"kept": True}


def test_a_users_room_holds_for_everything(tmp_path: Path) -> None:
    with served(tmp_path / "home", limits=Limits(user_bytes=5000)) as app, app.user() as me:
        answers = [table(me, TABLE * 4, f"{i}.csv").status_code for i in range(10)]
        assert answers[0] == 200
        assert answers[-1] == 413
        held = sum(file.stat().st_size for file in tmp_path.rglob("table.csv"))
        assert held <= 5000


def test_parallel_uploads_share_the_room(tmp_path: Path) -> None:
    content = photos.save_texture(tmp_path / "a.png", 1, width=32, height=32).read_bytes()
    limits = Limits(unpacked_bytes=2 * len(content))

    with served(tmp_path / "home", limits=limits) as app, app.user() as me:
        made = me.post("/api/photos", json={"name": "x"}).json()["id"]
        codes: list[int] = []

        def slowly() -> Iterator[bytes]:
            for at in range(0, len(content), 500):
                yield content[at : at + 500]
                time.sleep(0.02)

        def put(number: int) -> None:
            with httpx.Client(base_url=app.home, cookies=dict(me.cookies), timeout=60) as one:
                answer = one.put(f"/api/photos/{made}/files", content=slowly(),
                                 params={"path": f"a/{number}.png"})  # fmt: skip
                codes.append(answer.status_code)

        threads = [threading.Thread(target=put, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        held = sum(file.stat().st_size for file in (tmp_path / "home").rglob("*.png"))
        assert held <= limits.unpacked_bytes
        assert 413 in codes
        # What was refused has given its room back.
        assert me.put(f"/api/photos/{made}/files", params={"path": "a/9.png"},
                      content=content[:10]).status_code in (200, 413)  # fmt: skip


def test_a_long_directory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "many.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for i in range(3000):
            archive.writestr(f"a/{i:060}.jpg", b"")
    with (
        patch("convscope.app.zips.zipfile.ZipFile", side_effect=AssertionError("it was read")),
        pytest.raises(InputError, match="too many entries"),
    ):
        unpack(file, tmp_path / "out", Limits(files=100))


# Nothing gives a traceback


def test_damaged_and_odd_things_are_said(me: httpx.Client, tmp_path: Path) -> None:
    bad = me.post("/api/photos", content=b'{"name": "\\ud800"}',
                  headers={"content-type": "application/json"})  # fmt: skip
    assert bad.status_code == 400
    made = me.post("/api/photos", json={"name": "x"}).json()["id"]
    small = photos.save_texture(tmp_path / "a.png", 1).read_bytes()
    where = f"/api/photos/{made}/files"
    assert me.put(where, params={"path": "x/a.png"}, content=small).status_code == 200
    answer = me.put(where, params={"path": "x/a.png/b.png"}, content=small)
    assert (answer.status_code, "cannot be stored" in answer.text) == (400, True)
    assert me.get(f"/api/photos/{made}/thumb?path=x/none.png").json() == {
        "error": "This photo is gone, or cannot be read."
    }
    assert me.get("/api/nothing").json() == {"error": "There is no such page."}
    for content in (b"a,a\n1,2\n", b"a,,\n1,2,3\n"):
        answer = table(me, content)
        assert (answer.status_code, "several columns of the name" in answer.text) == (400, True)
    far = pa.table({"t": pa.array([2**52], pa.timestamp("s")), "d": pa.array([2**30], pa.date32())})
    zoned = pa.table({"t": pa.array([0], pa.timestamp("s", "Foo/Bar")), "v": pa.array([1.0])})
    for one in (far, zoned):
        sink = pa.BufferOutputStream()
        pq.write_table(one, sink)
        answer = table(me, sink.getvalue().to_pybytes(), "t.parquet")
        assert answer.status_code in (200, 400), answer.text


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_a_damaged_zip_of_any_kind_is_said(method: int, me: httpx.Client, tmp_path: Path) -> None:
    file = tmp_path / "z.zip"
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a/1.jpg", bytes(range(256)) * 40)
    content = bytearray(file.read_bytes())
    content[60:90] = b"\xff" * 30
    made = me.post("/api/photos", json={"name": "x"}).json()["id"]
    me.put(f"/api/photos/{made}/zip", content=bytes(content))
    answer = me.post(f"/api/photos/{made}/finish")
    assert answer.status_code == 400
    assert "None" not in answer.text
    assert me.get("/api/state").json()["items"] == []


@pytest.mark.parametrize("text", ["[]", "{", '{"kind": 3}'])
def test_a_damaged_run_is_refused_when_the_app_starts(text: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(text)
    with served(tmp_path / "home", given=tmp_path / "run") as app, app.user() as me:
        # Damaged while the app runs: the page goes on without it.
        assert me.get("/api/state").status_code in (200, 400)
    if text != '{"kind": 3}':
        words = [sys.executable, "-m", "convscope", "app", str(tmp_path / "run"), "--no-browser"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, "is not a finished run" in done.stderr) == (2, True)


def test_an_unnamed_column_can_be_the_time(me: httpx.Client) -> None:
    rows = "".join(f"2024-01-{1 + i:02},{i % 7}\n" for i in range(31))
    rows += "".join(f"2024-02-{1 + i:02},{i % 7}\n" for i in range(29))
    item = table(me, f",load\n{rows}".encode()).json()["id"]
    shown = me.get(f"/api/items/{item}").json()
    assert shown["columns"][0] == {"name": "", "number": False, "time": True}
    job = me.post("/api/jobs", json={"kind": "forecast", "item": item, "target": ["load"],
                                     "time": "", "horizon": 3, "epochs": 1}).json()  # fmt: skip
    done = ended(me, job["id"])
    assert done["status"] == "done", done["error"]
    found = me.get(f"/api/items/{job['makes']}").json()
    assert found["series"][0]["next"][0]["time"] == "2024-03-01"
