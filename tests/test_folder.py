"""What photos there are: folders of classes and of splits, tables, and ways to get it wrong."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from convscope.data.folder import PhotoTable, photos_in, scan
from convscope.errors import InputError

# ``scan`` opens no photo, so that empty files will do here.


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def table(folder: Path, text: str | bytes, name: str = "photos.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows(found: PhotoTable) -> list[tuple[str, str]]:
    return list(zip(found.paths, found.labels, strict=True))


def refused(photos: Path) -> str:
    with pytest.raises(InputError) as caught:
        scan(photos)
    return str(caught.value)


# --- folders -----------------------------------------------------------------------------------


def test_a_folder_of_classes(tmp_path: Path) -> None:
    found = scan(touch(tmp_path, "dog/b.jpg", "cat/a.PNG", "cat/deep/er/c.webp", "dog/a.JPEG"))
    assert found.layout == "class folders"
    assert rows(found) == [
        ("cat/a.PNG", "cat"),
        ("cat/deep/er/c.webp", "cat"),
        ("dog/a.JPEG", "dog"),
        ("dog/b.jpg", "dog"),
    ]
    assert (found.splits, found.groups, found.ignored) == (None, None, ())
    assert found.classes == ("cat", "dog")
    assert found.counts() == {"all": {"cat": 2, "dog": 2}}
    assert found.full_paths()[0] == tmp_path / "cat" / "a.PNG"


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif"])
def test_every_format_is_found_by_its_suffix(tmp_path: Path, suffix: str) -> None:
    assert len(scan(touch(tmp_path, f"cat/a.{suffix}", f"dog/a.{suffix.upper()}"))) == 2


@pytest.mark.parametrize("valid", ["valid", "val", "validation", "dev", "VAL"])
@pytest.mark.parametrize("train", ["train", "Train", "training"])
def test_a_folder_of_splits(tmp_path: Path, train: str, valid: str) -> None:
    names = [f"{s}/{c}/1.jpg" for s in (train, valid, "test") for c in ("cat", "dog")]
    found = scan(touch(tmp_path, *names, f"{train}/cat/2.jpg"))
    assert found.layout == "split folders"
    assert found.counts() == {
        "train": {"cat": 2, "dog": 1},
        "valid": {"cat": 1, "dog": 1},
        "test": {"cat": 1, "dog": 1},
    }
    assert found.splits is not None
    sides = dict(zip(found.paths, found.splits, strict=True))
    assert sides[f"{valid}/dog/1.jpg"] == "valid"


def test_photos_beside_the_class_folders_do_not_change_the_layout(tmp_path: Path) -> None:
    found = scan(
        touch(
            tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "train/stray.jpg",
            "test/cat/1.jpg", "test/dog/1.jpg", "test/stray.jpg", "top.jpg",
        )
    )  # fmt: skip
    assert found.layout == "split folders"
    assert found.classes == ("cat", "dog")
    assert len(found) == 4
    assert sorted(found.ignored) == [
        ("test/stray.jpg", "ignored", "lies in no class sub-folder of the split folder"),
        ("top.jpg", "ignored", "lies in none of the split folders"),
        ("train/stray.jpg", "ignored", "lies in no class sub-folder of the split folder"),
    ]


def test_folders_beside_the_splits_are_named(tmp_path: Path) -> None:
    names = [f"{s}/{c}/1.jpg" for s in ("train", "test", "extra") for c in ("cat", "dog")]
    found = scan(touch(tmp_path, *names))
    assert len(found) == 4
    assert {path for path, _, _ in found.ignored} == {"extra/cat/1.jpg", "extra/dog/1.jpg"}


def test_classes_may_be_called_as_splits_are(tmp_path: Path) -> None:
    found = scan(touch(tmp_path, "train/1.jpg", "bus/1.jpg", "test/1.jpg"))
    assert found.layout == "class folders"
    assert found.classes == ("bus", "test", "train")


def test_splits_without_class_folders_are_not_taken_for_classes(tmp_path: Path) -> None:
    said = refused(touch(tmp_path, "train/cat1.jpg", "train/dog1.jpg", "test/cat2.jpg"))
    assert "no class sub-folders" in said


def test_splits_without_training_photos(tmp_path: Path) -> None:
    said = refused(touch(tmp_path, "val/cat/1.jpg", "val/dog/1.jpg", "test/cat/1.jpg"))
    assert "No training photo for the classes cat, dog" in said
    said = refused(touch(tmp_path, "train/cat/1.jpg"))
    assert "No training photo for the class dog" in said


def test_a_training_folder_alone_is_a_split(tmp_path: Path) -> None:
    found = scan(touch(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg"))
    assert found.classes == ("cat", "dog")
    assert found.splits == ("train", "train")


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    root = touch(
        tmp_path, "cat/1.jpg", "dog/1.jpg", "dog/phone.HEIC", "dog/raw.cr2", "readme.txt",
        "top.jpg", ".hidden/x.jpg", "cat/.DS_Store", "cat/Thumbs.db", "__MACOSX/cat/1.jpg",
    )  # fmt: skip
    (root / "owl").mkdir()
    found = scan(root)
    assert len(found) == 2
    assert {(path, kind) for path, kind, _ in found.ignored} == {
        ("dog/phone.HEIC", "unsupported"),
        ("dog/raw.cr2", "unsupported"),
        ("readme.txt", "ignored"),
        ("top.jpg", "ignored"),
        ("owl", "ignored"),
    }


def test_names_with_spaces_and_of_any_script(tmp_path: Path) -> None:
    names = ["chat noir/été 1.jpg", "собака/Фото №1.jpg", "猫/写真 🐈.jpg", "a,b;c/x\ty.jpg"]
    assert sorted(scan(touch(tmp_path, *names)).paths) == sorted(names)


def test_a_name_that_is_not_utf8_is_left_out_in_readable_words(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "dog/1.jpg")
    try:
        Path(os.fsdecode(bytes(tmp_path) + b"/cat/caf\xe9.jpg")).touch()
        Path(os.fsdecode(bytes(tmp_path) + b"/ow\xff")).mkdir()
        Path(os.fsdecode(bytes(tmp_path) + b"/ow\xff/1.jpg")).touch()
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    found = scan(tmp_path)
    assert found.paths == ("cat/1.jpg", "dog/1.jpg")
    assert {(path, kind) for path, kind, _ in found.ignored} == {
        ("cat/caf\\xe9.jpg", "unreadable"),
        ("ow\\xff", "unreadable"),
    }
    # Such a path can be printed and stored.
    assert all(path.encode() for path, _, _ in found.ignored)


def test_links(tmp_path: Path) -> None:
    root = touch(tmp_path / "photos", "cat/1.jpg", "dog/1.jpg")
    elsewhere = touch(tmp_path / "elsewhere", "2.jpg")
    (root / "owl").symlink_to(elsewhere)
    (root / "cat" / "up").symlink_to(root)
    (root / "cat" / "here").symlink_to(root / "cat")
    (root / "dog" / "self.jpg").symlink_to(root / "dog" / "self.jpg")
    (root / "dog" / "gone.jpg").symlink_to(root / "nowhere.jpg")
    found = scan(root)
    assert found.paths == ("cat/1.jpg", "dog/1.jpg", "owl/2.jpg")
    assert {(path, kind) for path, kind, _ in found.ignored} == {
        ("cat/up", "link_loop"),
        ("cat/here", "link_loop"),
        ("dog/self.jpg", "link_loop"),
        ("dog/gone.jpg", "unreadable"),
    }


def test_a_pipe_is_listed_without_being_opened(tmp_path: Path) -> None:
    root = touch(tmp_path, "cat/1.jpg", "dog/1.jpg")
    os.mkfifo(root / "dog" / "pipe.jpg")
    assert "dog/pipe.jpg" in scan(root).paths


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    root = touch(tmp_path, "cat/1.jpg", "dog/1.jpg", "owl/1.jpg")
    (root / "owl").chmod(0)
    try:
        found = scan(root)
    finally:
        (root / "owl").chmod(0o755)
    assert found.classes == ("cat", "dog")
    assert [(path, kind) for path, kind, _ in found.ignored] == [("owl", "unreadable")]


def test_unusable_places(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "nowhere")
    assert "holds no photos" in refused(tmp_path)
    assert "neither a folder of photos nor a table" in refused(touch(tmp_path, "a.jpg") / "a.jpg")
    assert "no class sub-folders" in refused(tmp_path)
    assert "one class only, 'cat'" in refused(touch(tmp_path, "cat/1.jpg"))
    assert "cannot be read" in refused(tmp_path / ("x" * 5000))
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    assert "neither" in refused(pipe)


def test_fifty_thousand_photos_are_listed_in_two_seconds(tmp_path: Path) -> None:
    for label in range(10):
        folder = tmp_path / f"class{label}"
        folder.mkdir()
        for i in range(5000):
            os.close(os.open(folder / f"{i:05}.jpg", os.O_CREAT))
    start = time.process_time()
    found, ignored = photos_in(tmp_path)
    assert time.process_time() - start < 2
    assert (len(found), ignored) == (50_000, [])
    assert found == sorted(found)
    shutil.rmtree(tmp_path)


# --- tables ------------------------------------------------------------------------------------


def test_a_table_with_all_columns(tmp_path: Path) -> None:
    file = table(
        tmp_path,
        "group,label,path,camera,split\n"
        "anna,cat,in/1.jpg,x,train\nben,dog,in/2.jpg,,Train\nanna,cat,in/3.jpg,x,dev\n"
        "cleo,dog,in/4.jpg,y,testing\n",
    )
    found = scan(file)
    assert found.layout == "table"
    assert found.root == tmp_path
    assert rows(found) == [
        ("in/1.jpg", "cat"),
        ("in/2.jpg", "dog"),
        ("in/3.jpg", "cat"),
        ("in/4.jpg", "dog"),
    ]
    assert found.splits == ("train", "train", "valid", "test")
    assert found.groups == ("anna", "ben", "anna", "cleo")
    few = found.take([3, 0])
    assert (few.paths, few.labels) == (("in/4.jpg", "in/1.jpg"), ("dog", "cat"))
    assert (few.splits, few.groups) == (("test", "train"), ("cleo", "anna"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_byte_order_marks_and_line_ends(
    tmp_path: Path, delimiter: str, mark: str, end: str
) -> None:
    lines = ["path,label", "a b.jpg,cat", " ü.jpg , dog ", "", '"c,d;e.jpg",dog']
    quoted = [line if '"' in line else line.replace(",", delimiter) for line in lines]
    quoted[-1] = f'"c,d;e.jpg"{delimiter}dog'
    found = scan(table(tmp_path, mark + end.join(quoted) + end))
    assert rows(found) == [("a b.jpg", "cat"), ("ü.jpg", "dog"), ("c,d;e.jpg", "dog")]


def test_absolute_paths(tmp_path: Path) -> None:
    photo = touch(tmp_path / "far away", "1.jpg") / "1.jpg"
    found = scan(table(tmp_path, f"path,label\n{photo},cat\nnear.jpg,dog\n"))
    assert found.full_paths() == [photo, tmp_path / "near.jpg"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column 'path'; its columns are none"),
        ("path,label\n", "a header but no rows"),
        ("file,label\na.jpg,cat\n", "no column 'path'; its columns are file, label"),
        ("path,class\na.jpg,cat\n", "no column 'label'; its columns are path, class"),
        ("path,label,label\na.jpg,cat,dog\n", "the column 'label' twice"),
        ("path,label\na.jpg,cat\n,dog\n", "row 2 below the header has no path"),
        ("path,label\na.jpg,cat\nb.jpg,  \n", "row 2 below the header has no label"),
        ("path,label\na.jpg,cat\nb.jpg\n", "row 2 below the header has no label"),
        ("path,label,group\na.jpg,cat,1\nb.jpg,dog,\n", "row 2 below the header has no group"),
        ("path,label,split\na.jpg,cat,train\nb.jpg,dog,\n", "row 2 below the header has no split"),
        ("path,label\na.jpg,cat\nb,c.jpg,dog\n", "row 2 below the header has 3 cells"),
        (
            "path,label\na.jpg,cat\nb.jpg,dog\na.jpg,dog\n",
            "row 3 below the header names a.jpg, which row 1 has already",
        ),
        (
            "path,label,split\na.jpg,cat,train\nb.jpg,dog,holdout\n",
            "row 2 below the header has the split 'holdout'. Allowed: train, valid, test.",
        ),
        (
            "path,label,split\na.jpg,cat,test\nb.jpg,dog,test\n",
            "No training photo for the classes cat, dog",
        ),
        ("path,label\na.jpg,cat\nb.jpg,cat\n", "one class only, 'cat'"),
        ("path,label\nchät.jpg,cat\n".encode("latin-1"), "is not UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is not UTF-8 text"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str | bytes, said: str) -> None:
    file = table(tmp_path, text)
    assert said in refused(file)
    assert refused(file).startswith(str(file)) or str(file) in refused(file)


def test_a_parquet_table(tmp_path: Path) -> None:
    file = tmp_path / "photos.parquet"
    columns = {
        "label": pa.array([1, 2, 1]),
        "path": pa.array(["a.jpg", "b.jpg", "c.jpg"]).dictionary_encode(),
        "split": ["train", "train", "val"],
        "pixels": [b"\0", b"\1", b"\2"],
    }
    pq.write_table(pa.table(columns), file)
    found = scan(file)
    assert rows(found) == [("a.jpg", "1"), ("b.jpg", "2"), ("c.jpg", "1")]
    assert found.splits == ("train", "train", "valid")
    assert found.groups is None


def test_parquet_tables_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "photos.parquet"
    pq.write_table(pa.table({"path": ["a.jpg", "b.jpg"], "label": ["cat", None]}), file)
    assert "row 2 below the header has no label" in refused(file)
    pq.write_table(pa.table({"path": ["a.jpg"], "kind": ["cat"]}), file)
    assert "no column 'label'; its columns are path, kind" in refused(file)
    file.write_bytes(b"PAR1 or not")
    assert "cannot be read as a table" in refused(file)
