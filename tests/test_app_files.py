"""What comes in from outside: names, zips, sizes."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import photos
from convscope.app.limits import Limits
from convscope.app.names import inner_path, is_id, new_id
from convscope.app.users import Users
from convscope.app.zips import unpack
from convscope.errors import InputError
from serving import served


@pytest.mark.parametrize(
    "text",
    ["../x.jpg", "a/../../x.jpg", "/etc/passwd", "C:/x.jpg", "c:\\x.jpg", "..\\x.jpg",
     "a/\x00.jpg", "a/\n.jpg", "", "/", "a" * 300 + ".jpg", "a/" * 20 + "x.jpg"],
)  # fmt: skip
def test_names_that_lead_out_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        inner_path(text)


@given(st.text(max_size=60))
def test_no_name_ever_leads_out_of_its_folder(text: str) -> None:
    try:
        path = inner_path(text)
    except InputError:
        return
    if path is not None:
        root = Path("root").resolve()
        assert (root / path).resolve().is_relative_to(root)
        assert not any(part.startswith(".") for part in path.parts)


def test_hidden_files_and_litter_are_passed_over() -> None:
    for text in (".hidden/a.jpg", "a/.DS_Store", "__MACOSX/a.jpg", "a/Thumbs.db"):
        assert inner_path(text) is None
    assert str(inner_path("cats/<img src=x onerror=alert(1)>.jpg")).startswith("cats/<img")


def test_ids_cannot_be_paths() -> None:
    assert is_id(new_id())
    assert new_id() != new_id()
    for text in ("..", "a/b", "A" * 24, "0" * 23, "0" * 24 + "\n"):
        assert not is_id(text)


# Zips


def packed(folder: Path, content: io.BytesIO) -> Path:
    file = folder / "sent.zip"
    file.write_bytes(content.getvalue())
    return file


def zipped(entries: dict[str, bytes], **more: int) -> io.BytesIO:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = more.get("mode", 0) << 16
            archive.writestr(info, data)
    content.seek(0)
    return content


def test_a_zip_comes_out_as_it_went_in(tmp_path: Path) -> None:
    entries = {"photos/cat/1.jpg": b"one", "photos/dog/2.jpg": b"two", "__MACOSX/._1.jpg": b"x"}
    assert unpack(packed(tmp_path, zipped(entries)), tmp_path / "out", Limits()) == 2
    found = {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in tmp_path.rglob("*.jpg")}
    assert found == {"photos/cat/1.jpg": b"one", "photos/dog/2.jpg": b"two"}


@pytest.mark.parametrize("name", ["../out.jpg", "a/../../out.jpg", "/out.jpg"])
def test_entries_cannot_leave_their_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with pytest.raises(InputError, match="leads out of its folder"):
        unpack(packed(tmp_path, zipped({name: b"x"})), folder, Limits())
    assert list(tmp_path.rglob("out.jpg")) == []


def test_links_in_a_zip_are_not_made(tmp_path: Path) -> None:
    link = zipped({"a/link.jpg": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777)
    with pytest.raises(InputError, match="holds no files"):
        unpack(packed(tmp_path, link), tmp_path / "out", Limits())
    assert list(tmp_path.rglob("link.jpg")) == []


def test_a_bomb_is_stopped_while_it_unpacks(tmp_path: Path) -> None:
    bomb = zipped({"a/bomb.jpg": b"\0" * 40_000_000})
    assert len(bomb.getvalue()) < 60_000
    limits = Limits(unpacked_bytes=5_000_000)
    with pytest.raises(InputError, match=r"more than 4\.77 MB unpacked"):
        unpack(packed(tmp_path, bomb), tmp_path / "out", limits)
    assert sum(p.stat().st_size for p in tmp_path.rglob("*.jpg")) <= 5_000_000


def test_a_zip_that_lies_about_its_sizes_is_stopped_too(tmp_path: Path) -> None:
    content = zipped({"a/bomb.jpg": b"\0" * 40_000_000}).getvalue()
    # Both headers say 1 byte.
    lying = content.replace((40_000_000).to_bytes(4, "little"), (1).to_bytes(4, "little"))
    assert lying != content
    with pytest.raises(InputError):
        unpack(
            packed(tmp_path, io.BytesIO(lying)), tmp_path / "out", Limits(unpacked_bytes=5_000_000)
        )
    assert sum(p.stat().st_size for p in tmp_path.rglob("*.jpg")) <= 5_000_000


def test_too_many_files_encryption_twins_and_no_zip(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="more than 2 files"):
        unpack(
            packed(tmp_path, zipped({f"a/{i}.jpg": b"x" for i in range(3)})),
            tmp_path / "a",
            Limits(files=2),
        )
    with pytest.raises(InputError, match="no zip that can be unpacked"):
        unpack(packed(tmp_path, io.BytesIO(b"no zip at all")), tmp_path / "b", Limits())
    content = bytearray(zipped({"a/1.jpg": b"x"}).getvalue())
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):
        at = content.index(mark) + (6 if mark.endswith(b"\x04") else 8)
        content[at] |= 1
    with pytest.raises(InputError, match="encrypted"):
        unpack(packed(tmp_path, io.BytesIO(bytes(content))), tmp_path / "c", Limits())
    with pytest.warns(UserWarning, match="Duplicate name"):
        twins = io.BytesIO()
        with zipfile.ZipFile(twins, "w") as archive:
            archive.writestr("a/1.jpg", b"x")
            archive.writestr("a/1.jpg", b"y")
    twins.seek(0)
    with pytest.raises(InputError, match="twice"):
        unpack(packed(tmp_path, twins), tmp_path / "d", Limits())


# Over HTTP

LIMITS = Limits(photo_bytes=20_000, zip_bytes=60_000, unpacked_bytes=200_000, files=3,
                pixels=10_000, table_bytes=1_000, waiting=1)  # fmt: skip


def test_what_is_too_large_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    small = photos.save_texture(tmp_path / "a.png", 1, width=40, height=40).read_bytes()
    wide = photos.save_texture(tmp_path / "b.png", 1, width=200, height=60).read_bytes()
    with served(tmp_path / "home", limits=LIMITS) as app, app.user() as me:
        made = me.post("/api/photos", json={"name": "x"}).json()["id"]
        where = f"/api/photos/{made}/files"
        answer = me.put(where, params={"path": "a/big.jpg"}, content=b"\0" * 20_001)
        assert answer.status_code == 413
        assert "big.jpg is larger than" in answer.json()["error"]
        answer = me.put(where, params={"path": "a/wide.png"}, content=wide)
        assert answer.status_code == 413
        assert "more than 10,000 pixels" in answer.json()["error"]
        for i in range(3):
            answer = me.put(where, params={"path": f"a/{i}.png"}, content=small)
            assert answer.json() == {"kept": True}
        answer = me.put(where, params={"path": "a/3.png"}, content=small)
        assert (answer.status_code, "at most 3" in answer.text) == (413, True)
        assert me.put(where, params={"path": "a/note.txt"}, content=b"x").json() == {"kept": False}
        assert me.put(where, params={"path": "../a.png"}, content=small).status_code == 400
        zip_ = me.put(f"/api/photos/{made}/zip", content=b"\0" * 60_001)
        assert zip_.status_code == 413
        table = me.post("/api/tables", params={"name": "t.csv"}, content=b"a\n" + b"1\n" * 600)
        assert table.status_code == 413
        kept = sorted(p.name for p in (tmp_path / "home").rglob("*") if p.is_file())
        assert kept == ["0.png", "1.png", "2.png", "item.json", "unfinished"]


def test_a_bad_zip_over_http_leaves_nothing(tmp_path: Path) -> None:
    with served(tmp_path / "home") as app, app.user() as me:
        made = me.post("/api/photos", json={"name": "x"}).json()["id"]
        evil = zipped({"../../evil.jpg": b"x"}).getvalue()
        assert me.put(f"/api/photos/{made}/zip", content=evil).status_code == 200
        answer = me.post(f"/api/photos/{made}/finish")
        assert (answer.status_code, "leads out" in answer.text) == (400, True)
        assert me.get("/api/state").json()["items"] == []
        assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


# Who may


def test_nobody_without_the_key_and_nobody_elses_files(tmp_path: Path) -> None:
    import httpx

    with served(tmp_path / "home") as app, app.user() as me, app.user() as other:
        with httpx.Client(base_url=app.home) as stranger:
            assert stranger.get("/").status_code == 403
            assert stranger.get("/?key=wrong").status_code == 403
            assert stranger.get("/api/state").status_code == 403
            assert stranger.get("/static/main.js").status_code == 403
            stranger.cookies.set("convscope", "guessed")
            assert stranger.get("/api/state").status_code == 403
        made = me.post("/api/photos", json={"name": "mine"}).json()["id"]
        photo = photos.save_texture(tmp_path / "a.png", 1).read_bytes()
        me.put(f"/api/photos/{made}/files", params={"path": "a/a.png"}, content=photo)
        thumb = f"/api/photos/{made}/thumb?path=a/a.png"
        assert me.get(thumb).headers["content-type"] == "image/jpeg"
        for client in (other,):
            assert client.get(f"/api/items/{made}").status_code == 400
            assert client.get(thumb).status_code == 400
            assert client.delete(f"/api/items/{made}").status_code == 400
            assert client.get("/api/state").json()["items"] == []
        assert me.get(f"/api/photos/{made}/thumb?path=../item.json").status_code == 400
        assert me.get("/api/items/..%2f..%2fx").status_code in (400, 404)
        assert me.get(f"/api/items/{made}").status_code == 200


def test_other_sites_and_other_hosts_are_refused(tmp_path: Path) -> None:
    with served(tmp_path / "home") as app, app.user() as me:
        body = {"name": "x"}
        for headers in (
            {"origin": "http://evil.example"}, {"origin": "null"},
            {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"},
        ):  # fmt: skip
            assert me.post("/api/photos", json=body, headers=headers).status_code == 403
        assert me.post("/api/photos", json=body, headers={"origin": app.home}).status_code == 200
        rebound = {"host": "evil.example"}
        assert me.get("/api/state", headers=rebound).status_code == 421
        answer = me.get("/")
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert [one.has_nonstandard_attr("HttpOnly") for one in me.cookies.jar] == [True]


def test_a_cookie_is_known_after_a_restart_and_its_folder_does_not_tell_it(tmp_path: Path) -> None:
    users = Users(tmp_path)
    cookie, user = users.come_in()
    again = Users(tmp_path)
    assert again.known(cookie) == user
    assert again.known("other") is None
    assert again.known(None) is None
    assert cookie not in str(user.folder)
    assert not again.is_key(users.key)
