"""The app without a browser: jobs, looks, what it shows, restarts."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

import fits
from convscope import explain
from convscope.app.jobs import Jobs
from convscope.explaining.asked import Calibrated
from convscope.explaining.reading import read_photo
from convscope.predicting import load_classifier
from convscope.run import Run
from learnable import tinted_folder
from serving import Served, ended, looked, sent, served


@pytest.fixture(scope="module")
def run() -> Run:
    return fits.fitted("cnn")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("app") / "home", given=run.path) as found:
        yield found


@pytest.fixture
def me(app: Served) -> Iterator[httpx.Client]:
    with app.user() as client:
        yield client


def given(me: httpx.Client) -> str:
    found: str = me.get("/api/state").json()["items"][0]["id"]
    return found


# From photos to a run


def test_photos_are_checked_trained_on_and_looked_at(me: httpx.Client, tmp_path: Path) -> None:
    folder = tinted_folder(tmp_path / "tints", 12)
    made = sent(me, folder, "tints")
    state = me.get("/api/state").json()
    check = next(job for job in state["jobs"] if job["about"] == made)
    assert ended(me, check["id"])["status"] == "done"
    shown = me.get(f"/api/items/{made}").json()
    # The folder around everything is gone: classes are found.
    assert set(shown["check"]["counts"]["all"]) == {"brick", "leaf", "sky"}
    assert shown["check"]["photos"] == 36
    assert len(shown["samples"]["leaf"]) == 6

    asked = {"kind": "fit", "item": made, "strategy": "cnn", "epochs": 3}
    job = me.post("/api/jobs", json=asked).json()
    done = ended(me, job["id"])
    assert (done["status"], done["error"]) == ("done", None)
    assert done["lines"]
    name = job["makes"]
    found = me.get(f"/api/items/{name}").json()
    assert found["ready"]
    assert found["strategy"] == "cnn"
    assert found["classes"] == ["brick", "leaf", "sky"]
    epochs = me.get(f"/api/items/{name}/epochs").json()
    assert [one["epoch"] for one in epochs] == [1, 2, 3]
    rows = me.get(f"/api/runs/{name}/rows").json()
    assert rows["total"] == 36
    assert me.get(f"/api/runs/{name}/photos/0").headers["content-type"] == "image/jpeg"
    report = me.get(f"/api/runs/{name}/pages/report")
    assert report.status_code == 200
    assert "sandbox allow-scripts" in report.headers["content-security-policy"]


def test_the_figures_are_the_runs(me: httpx.Client, run: Run) -> None:
    found = me.get(f"/api/items/{given(me)}").json()
    metrics = run.metrics()
    assert found["given"]
    assert found["splits"]["test"]["accuracy"] == metrics["splits"]["test"]["accuracy"]
    assert found["splits"]["test"]["accuracy_95"] == metrics["splits"]["test"]["accuracy_95"]
    assert found["majority_baseline"] == metrics["majority_baseline"]
    rows = run.predictions()
    said = np.array(rows.predicted)
    wrong = [row for row in range(len(said)) if said[row] != rows.labels[row]]
    shown = me.get(f"/api/runs/{given(me)}/rows", params={"wrong": True}).json()
    assert shown["total"] == len(wrong)
    test = me.get(f"/api/runs/{given(me)}/rows", params={"split": "test", "label": "sky"}).json()
    assert test["total"] == 2
    for one in test["rows"]:
        assert one["probability"] == pytest.approx(rows.probabilities[one["row"]].max(), abs=1e-6)


# Looks


@pytest.mark.parametrize("method", ["saliency", "gradcam", "occlusion", "lime"])
def test_a_look_is_what_the_library_finds(method: str, me: httpx.Client, run: Run) -> None:
    found = looked(me, given(me), row=0, method=method)
    assert found["status"] == "done", found
    assert found["trust"].startswith("deletion ")
    assert sum(share for _, share in found["classes"]) == pytest.approx(1, abs=1e-4)
    info = run.info()
    net = Calibrated(load_classifier(run, info), info.temperature).eval()
    photo, x = read_photo(Path(info.photos.root) / run.predictions().paths[0], info)
    target = info.classes.index(found["target"])
    if method == "saliency":
        truth = explain.saliency(net, x[0], target)
    elif method == "gradcam":
        truth = explain.gradcam(net, x[0], target)
    elif method == "lime":
        truth = explain.lime(net, x[0], target, of="probability")
    else:
        # The finer look is where covering changes any of the classes that are followed.
        others = [info.classes.index(name) for name, _ in found["classes"][:3]]
        several = np.array([target, *(k for k in others if k != target)])
        truth = explain.occlusion(net, x[0], several, of="probability", refine=True)[0]
    values = np.frombuffer(base64.b64decode(found["map"]["values"]), np.int8)
    shown = values.reshape(found["map"]["shape"]) / 127 * found["map"]["scale"]
    if shown.shape == truth.map.shape:
        clipped = np.clip(truth.map, -found["map"]["scale"], found["map"]["scale"])
        assert np.abs(shown - clipped).max() <= found["map"]["scale"] / 127 + 1e-6
    else:
        assert np.isfinite(shown).all()
    picture = me.get(f"/api/looks/{found['id']}/photo")
    assert picture.content.startswith(b"\xff\xd8")
    assert found["photo"]["width"] == photo.pixels.shape[1]


def test_another_class_own_photos_and_faults(me: httpx.Client, run: Run, tmp_path: Path) -> None:
    name = given(me)
    file = Path(run.info().photos.root) / run.predictions().paths[0]
    answer = me.put(f"/api/runs/{name}/own", params={"file": "<b>.png"}, content=file.read_bytes())
    own = answer.json()["id"]
    found = looked(me, name, own=own, method="saliency", target="sky")
    assert (found["target"], found["name"]) == ("sky", "<b>.png")
    assert me.get(f"/api/items/{name}").json()["own"] == [{"id": own, "name": "<b>.png"}]
    answer = me.put(f"/api/runs/{name}/own", params={"file": "x.txt"}, content=b"x")
    assert (answer.status_code, "no photo that can be read" in answer.text) == (400, True)
    broken = me.put(f"/api/runs/{name}/own", params={"file": "x.png"}, content=b"nonsense").json()
    found = looked(me, name, own=broken["id"])
    assert found["status"] == "failed"
    assert found["error"]
    for wanted, text in (
        ({"row": 10**6}, "is not among them"), ({}, "Say which photo"),
        ({"row": 0, "method": "salienccy"}, "Did you mean 'saliency'"),
        ({"row": 0, "target": "moon"}, "Unknown class of this run"), ({"own": "../x"}, "not here"),
    ):  # fmt: skip
        answer = me.post(f"/api/runs/{name}/looks", json=wanted)
        assert (answer.status_code, text in answer.json()["error"]) == (400, True), answer.text


def test_a_new_look_ends_the_one_before_and_others_cannot_see_it(
    app: Served, me: httpx.Client
) -> None:
    name = given(me)
    first = me.post(f"/api/runs/{name}/looks", json={"row": 0, "method": "lime"}).json()["id"]
    second = looked(me, name, row=1, method="saliency")
    assert second["status"] == "done"
    assert me.get(f"/api/looks/{first}").json()["status"] in ("cancelled", "done")
    with app.user() as other:
        assert other.get(f"/api/looks/{second['id']}").status_code == 400
        assert other.get(f"/api/looks/{second['id']}/photo").status_code == 400


# Neurons and forecasts


def test_neurons_of_a_run(me: httpx.Client) -> None:
    name = given(me)
    layers = me.get(f"/api/runs/{name}/layers").json()
    assert layers
    answer = me.get(f"/api/runs/{name}/pages/neurons")
    assert (answer.status_code, "not been made yet" in answer.text) == (400, True)
    asked = {"kind": "neurons", "item": name, "layer": layers[-1]["name"]}
    job = me.post("/api/jobs", json=asked).json()
    done = ended(me, job["id"])
    assert done["status"] == "done", done["error"]
    assert "neurons" in me.get(f"/api/items/{name}").json()["pages"]
    assert me.get(f"/api/runs/{name}/pages/neurons").status_code == 200


def test_a_table_and_its_forecast(me: httpx.Client, tmp_path: Path) -> None:
    rows = ["date,load,note"] + [
        f"2024-01-{1 + i // 24:02} {i % 24:02}:00,{np.sin(i / 24 * 6.283):.4f},x"
        for i in range(600)
    ]
    answer = me.post("/api/tables", params={"name": "a.csv"}, content="\n".join(rows))
    assert answer.status_code == 200, answer.text
    name = answer.json()["id"]
    shown = me.get(f"/api/items/{name}").json()
    kinds = {one["name"]: (one["number"], one["time"]) for one in shown["columns"]}
    assert kinds == {"date": (False, True), "load": (True, False), "note": (False, False)}
    assert shown["first"][0] == ["2024-01-01 00:00", "0.0000", "x"]
    asked = {"kind": "forecast", "item": name, "target": ["load"], "time": "date", "horizon": 12,
             "epochs": 2}  # fmt: skip
    job = me.post("/api/jobs", json=asked).json()
    done = ended(me, job["id"])
    assert done["status"] == "done", done["error"]
    found = me.get(f"/api/items/{job['makes']}", params={"steps": 30}).json()
    assert len(found["series"][0]["next"]) == 30
    first = found["series"][0]["next"][0]
    assert first["low_95"] <= first["low_80"] <= first["forecast"] <= first["high_80"]
    assert found["series"][0]["past"][-1]["time"] == "2024-01-25 23:00:00"
    assert me.get(f"/api/runs/{job['makes']}/pages/report").status_code == 200
    wrong = me.post("/api/tables", params={"name": "b.csv"}, content=b"")
    assert wrong.status_code == 400
    assert str(tmp_path) not in wrong.text
    assert "home" not in wrong.text


@pytest.mark.parametrize(
    "asked",
    [{"kind": "fit", "item": "x", "strategy": "magic"}, {"kind": "nonsense"}, {},
     {"kind": "fit", "item": "x", "net": "--help"},
     {"kind": "neurons", "item": "x", "layer": "a b"},
     {"kind": "fit", "item": "x", "epochs": 0}, {"kind": "fit", "item": "x", "out": "y"}],
)  # fmt: skip
def test_what_cannot_be_asked_for_is_said(asked: dict[str, object], me: httpx.Client) -> None:
    answer = me.post("/api/jobs", json=asked)
    assert answer.status_code == 400
    assert "cannot be asked for" in answer.json()["error"]


def test_a_failed_job_says_why_in_a_line(me: httpx.Client, tmp_path: Path) -> None:
    folder = tinted_folder(tmp_path / "few", 1)
    made = sent(me, folder, "few")
    job = me.post("/api/jobs", json={"kind": "fit", "item": made, "strategy": "cnn"}).json()
    done = ended(me, job["id"])
    assert done["status"] == "failed"
    assert done["error"]
    assert "Traceback" not in done["error"]
    assert "\n" not in done["error"]


# The queue


def test_cancel_go_on_and_a_restart(tmp_path: Path) -> None:
    home = tmp_path / "home"
    folder = tinted_folder(tmp_path / "tints", 12)
    with served(home, key="k") as app, app.user() as me:
        made = sent(me, folder)
        asked = {"kind": "fit", "item": made, "strategy": "cnn", "epochs": 3000}
        first = me.post("/api/jobs", json=asked).json()
        second = me.post("/api/jobs", json={"kind": "check", "item": made}).json()
        third = me.post("/api/jobs", json=asked | {"epochs": 2}).json()
        assert third["ahead"] >= 1
        _until_training(me, first["id"])
        assert next(one for one in me.get("/api/state").json()["jobs"]
                    if one["id"] == second["id"])["status"] == "waiting"  # fmt: skip
        me.post(f"/api/jobs/{third['id']}/cancel")
        me.post(f"/api/jobs/{first['id']}/cancel")
        assert ended(me, first["id"])["status"] == "cancelled"
        assert ended(me, second["id"])["status"] == "done"
        assert ended(me, third["id"])["status"] == "cancelled"
        assert me.post(f"/api/jobs/{second['id']}/resume").status_code == 400
        before = len(me.get(f"/api/items/{first['makes']}/epochs").json())
        assert before >= 1
        me.post(f"/api/jobs/{first['id']}/resume")
        _until_training(me, first["id"], more_than=before)
        cookies = dict(me.cookies)
    # Closed while it ran: it can be gone on with by the same user, who is still known.
    with served(home, key="k2") as app, httpx.Client(base_url=app.home, cookies=cookies) as me:
        states = {job["id"]: job["status"] for job in me.get("/api/state").json()["jobs"]}
        assert states[first["id"]] == "stopped"
        epochs = me.get(f"/api/items/{first['makes']}/epochs").json()
        assert len(epochs) > before
        assert me.delete(f"/api/items/{first['makes']}").status_code == 200
        names = [item["id"] for item in me.get("/api/state").json()["items"]]
        assert first["makes"] not in names


def _until_training(me: httpx.Client, job: str, more_than: int = 0) -> None:
    since = time.monotonic()
    while time.monotonic() - since < 120:
        found = next(one for one in me.get("/api/state").json()["jobs"] if one["id"] == job)
        assert found["status"] in ("waiting", "running"), found
        epochs = me.get(f"/api/items/{found['makes']}/epochs").json()
        if found["status"] == "running" and len(epochs) > more_than:
            return
        time.sleep(0.2)
    raise AssertionError("it does not train")


def test_a_job_of_a_program_that_was_killed_is_stopped_not_running(tmp_path: Path) -> None:
    with served(tmp_path / "home", key="k") as app, app.user() as me:
        made = sent(me, tinted_folder(tmp_path / "tints", 4))
        job = next(one for one in me.get("/api/state").json()["jobs"] if one["about"] == made)
        ended(me, job["id"])
        cookies = dict(me.cookies)
        user = app.users.known(next(iter(cookies.values())))
    assert user is not None
    jobs = Jobs(user)
    jobs.write(jobs.get(job["id"]).model_copy(update={"status": "running"}))
    with (
        served(tmp_path / "home", key="k") as app,
        httpx.Client(base_url=app.home, cookies=cookies) as me,
    ):
        assert me.get("/api/state").json()["jobs"][0]["status"] == "stopped"


# The command


def test_the_command_prints_its_address_and_ends_at_ctrl_c(tmp_path: Path, run: Run) -> None:
    words = [sys.executable, "-m", "convscope", "app", str(run.path), "--no-browser", "--home",
             str(tmp_path / "home"), "--port", str(_free_port())]  # fmt: skip
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        address = line.split()[-1]
        assert address.startswith("http://127.0.0.1:")
        since = time.monotonic()
        while True:
            try:
                answer = httpx.get(address, timeout=5)
                break
            except httpx.TransportError:
                assert time.monotonic() - since < 60
                time.sleep(0.1)
        assert answer.status_code == 303
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.stderr.close()


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def test_a_run_that_is_none_and_a_port_that_is_taken_are_one_line(tmp_path: Path) -> None:
    import socket

    words = [
        sys.executable,
        "-m",
        "convscope",
        "app",
        "--no-browser",
        "--home",
        str(tmp_path / "h"),
    ]
    ended_ = subprocess.run([*words, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (ended_.returncode, "is not a finished run" in ended_.stderr) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended_ = subprocess.run(
            [*words, "--port", port], capture_output=True, text=True, check=False
        )
    assert ended_.returncode == 2
    assert "Choose another --port" in ended_.stderr
    assert "Traceback" not in ended_.stderr


def test_progress_in_a_file(tmp_path: Path) -> None:
    from convscope.progress import ProgressFile

    told = ProgressFile(tmp_path / "p.json")
    told.say("begun")
    with told.task("working", 4, "photos") as advance:
        advance(1)
        told.say("on")
        found = json.loads((tmp_path / "p.json").read_text())
        assert found["bars"] == [{"what": "working", "done": 1, "total": 4, "unit": "photos"}]
    found = json.loads((tmp_path / "p.json").read_text())
    assert found == {"bars": [], "lines": ["begun", "on"]}


def test_the_app_calls_what_the_commands_call() -> None:
    """Nothing private: no name with an underscore of any other room."""
    import ast

    import convscope.app

    for file in Path(convscope.app.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("convscope."):
                assert not [alias.name for alias in node.names if alias.name.startswith("_")]
