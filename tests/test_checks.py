"""The check of a data set: each problem made on purpose, found by name, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import photos
from convscope.data.checks import FEW_PHOTOS, KINDS, Finding, check, find_problems, require_classes
from convscope.data.folder import scan
from convscope.data.survey import Facts
from convscope.errors import InputError
from convscope.progress import Progress
from photos import table

CLEAN = {"cat": FEW_PHOTOS, "dog": FEW_PHOTOS}


def of_kind(findings: tuple[Finding, ...], kind: str) -> dict[str | None, Finding]:
    """Path -> finding."""
    return {finding.path: finding for finding in findings if finding.kind == kind}


def kinds(findings: tuple[Finding, ...]) -> Counter[str]:
    return Counter(finding.kind for finding in findings)


def fact(number: int, **changes: object) -> Facts:
    """A usable photo unlike that of any other number."""
    thumb = np.random.default_rng(number).integers(0, 256, (32, 32), dtype=np.uint8)
    return replace(Facts("", "", "JPEG", 300, 200, f"{number:x}", thumb), **changes)


def test_a_clean_folder_has_no_problems(tmp_path: Path) -> None:
    report = check(photos.photo_folder(tmp_path, CLEAN))
    assert report.findings == ()
    assert report.photos == 2 * FEW_PHOTOS
    assert report.counts == {"all": CLEAN}


def spoil(root: Path) -> None:
    """Every problem that a single file can have, each under a name that says which."""
    cat, dog = root / "cat", root / "dog"
    whole = (cat / "cat_001.jpg").read_bytes()
    (cat / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (cat / "text.jpg").write_text("this is not a photo")
    (cat / "zero.jpg").touch()
    (cat / "bomb.png").write_bytes(photos.bomb_png())
    os.mkfifo(cat / "pipe.jpg")
    (cat / "loop.jpg").symlink_to(cat / "loop.jpg")
    (cat / "up").symlink_to(root)
    (cat / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    (cat / "phone.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    (cat / "notes.txt").write_text("these are cats")
    photos.texture(7001).save(cat / "really png.jpg", "PNG")
    photos.texture(7002, 47, 90).save(cat / "tiny été.png")
    photos.texture(7003, 48, 48).save(cat / "just large enough.png")
    shutil.copy(dog / "dog_003.jpg", dog / "z same bytes.jpg")
    with Image.open(dog / "dog_004.jpg") as image:
        image.resize((80, 60)).save(dog / "z smaller.jpg", quality=60)
    shutil.copy(dog / "dog_005.jpg", cat / "z a dog.jpg")


@pytest.mark.parametrize("workers", [0, 2])
def test_every_problem_of_a_file_is_found_by_name(tmp_path: Path, workers: int) -> None:
    root = photos.photo_folder(tmp_path, CLEAN)
    spoil(root)
    report = check(root, workers=workers)
    found = {
        kind: sorted(str(f.path) for f in report.findings if f.kind == kind)
        for kind in kinds(report.findings)
    }
    assert found == {
        "unreadable": ["cat/pipe.jpg", "cat/text.jpg", "cat/zero.jpg"],
        "truncated": ["cat/cut.jpg"],
        "too_large": ["cat/bomb.png"],
        "unsupported": ["cat/phone.heic", "cat/phone.jpg"],
        "link_loop": ["cat/loop.jpg", "cat/up"],
        "label_conflict": ["cat/z a dog.jpg"],
        "exact_duplicate": ["dog/dog_005.jpg", "dog/z same bytes.jpg"],
        "near_duplicate": ["dog/z smaller.jpg"],
        "wrong_suffix": ["cat/really png.jpg"],
        "tiny": ["cat/tiny été.png"],
        "ignored": ["cat/notes.txt"],
    }
    assert report.photos == 2 * FEW_PHOTOS + 3 + 2 + 1
    assert report.counts == {"all": {"cat": FEW_PHOTOS + 4, "dog": FEW_PHOTOS + 2}}

    said = {str(f.path): f for f in report.findings}
    assert "text" in said["cat/text.jpg"].detail
    assert "0 bytes" in said["cat/zero.jpg"].detail
    assert "not a regular file" in said["cat/pipe.jpg"].detail
    assert "900,000,000 pixels" in said["cat/bomb.png"].detail
    assert "named .jpg, content is PNG" in said["cat/really png.jpg"].detail
    assert "47x90" in said["cat/tiny été.png"].detail
    assert said["dog/z smaller.jpg"].other == ("dog/dog_004.jpg",)
    assert said["dog/z same bytes.jpg"].other == ("dog/dog_003.jpg",)
    assert said["cat/cut.jpg"].label == "cat"
    conflict = of_kind(report.findings, "label_conflict")["cat/z a dog.jpg"]
    assert conflict.detail == "labelled cat and dog"
    assert conflict.other == ("dog/dog_005.jpg",)


def test_findings_are_listed_worst_first_and_as_json(tmp_path: Path) -> None:
    root = photos.photo_folder(tmp_path, CLEAN)
    spoil(root)
    report = check(root)
    order = [list(KINDS).index(f.kind) for f in report.findings]
    assert order == sorted(order)
    assert [f.severity for f in report.findings] == [KINDS[f.kind][0] for f in report.findings]
    ranks = ["error", "warning", "note"]
    severities = [ranks.index(f.severity) for f in report.findings]
    assert severities == sorted(severities)
    read = json.loads(json.dumps(report.to_dict()))
    assert set(read) == {"photos", "counts", "findings"}
    assert read["photos"] == report.photos
    assert read["counts"] == report.counts
    for row, finding in zip(read["findings"], report.findings, strict=True):
        assert row == {
            "kind": finding.kind, "severity": finding.severity, "path": finding.path,
            "class": finding.label, "split": finding.split, "detail": finding.detail,
            "other": list(finding.other),
        }  # fmt: skip


def test_checking_changes_nothing(photo_folder: Path) -> None:
    def state() -> dict[str, tuple[int, bytes]]:
        return {
            str(path): (path.stat().st_mtime_ns, path.read_bytes())
            for path in photo_folder.rglob("*.*")
        }

    before = state()
    check(photo_folder)
    assert state() == before
    assert len(before) == 18


def test_the_same_photo_on_two_sides_is_a_leak(tmp_path: Path) -> None:
    photos.photo_folder(tmp_path / "train", CLEAN, seed=1)
    photos.photo_folder(tmp_path / "test", {"cat": 5, "dog": 5}, seed=2)
    shutil.copy(tmp_path / "train/cat/cat_007.jpg", tmp_path / "test/cat/again.jpg")
    with Image.open(tmp_path / "train/dog/dog_002.jpg") as image:
        image.save(tmp_path / "test/dog/saved again.jpg", quality=40)
    shutil.copy(tmp_path / "train/dog/dog_009.jpg", tmp_path / "train/dog/same side.jpg")
    findings = check(tmp_path).findings
    leaks = of_kind(findings, "split_leak")
    # Named by the first of the sorted paths: that in the test folder.
    assert {path: leak.other for path, leak in leaks.items()} == {
        "test/cat/again.jpg": ("train/cat/cat_007.jpg",),
        "test/dog/saved again.jpg": ("train/dog/dog_002.jpg",),
    }
    assert all(leak.detail == "in test and train" for leak in leaks.values())
    assert kinds(findings) == {"split_leak": 2, "exact_duplicate": 2, "near_duplicate": 1}


def test_a_photo_that_is_not_there_is_one_finding(tmp_path: Path) -> None:
    photos.photo_folder(tmp_path, CLEAN)
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.jpg"))
    lines = [f"{name},{name.split('/')[0]}" for name in names]
    lines[3:3] = ["cat/lost.jpg,cat", "/no/such/place.jpg,dog"]
    (tmp_path / "photos.csv").write_text("\n".join(["path,label", *lines]))
    report = check(tmp_path / "photos.csv")
    assert kinds(report.findings) == {"unreadable": 2}
    assert of_kind(report.findings, "unreadable").keys() == {"cat/lost.jpg", "/no/such/place.jpg"}
    assert all("No such file" in f.detail for f in report.findings)
    assert report.photos == 2 * FEW_PHOTOS


def test_a_group_on_two_sides_is_a_leak() -> None:
    splits = ["train", "train", "test", "train", "test"] * 20
    groups = ["anna", "ben", "ben", "cleo", "dora"] * 20
    found = find_problems(table(["a", "b"] * 50, splits, groups), [fact(i) for i in range(100)])
    assert kinds(found) == {"group_leak": 1}
    assert found[0].detail == "group ben is in test and train"
    assert find_problems(table(["a", "b"] * 50, None, groups), [fact(i) for i in range(100)]) == ()


def test_imbalance_counts_what_is_trained_on() -> None:
    # By hand: 61 to 20 is more than 3 times, 60 to 20 is not.
    for count, truth in ((61, 1), (60, 0)):
        labels = ["a"] * count + ["b"] * 20
        facts = [fact(i) for i in range(len(labels))]
        found = find_problems(table(labels), facts)
        assert kinds(found)["imbalance"] == truth
        # The same with 50 test photos of b, which balance nothing.
        more = table(labels + ["b"] * 50, ["train"] * len(labels) + ["test"] * 50)
        found = find_problems(more, facts + [fact(1000 + i) for i in range(50)])
        assert kinds(found)["imbalance"] == truth
    detail = find_problems(table(["a"] * 62 + ["b"] * 20), [fact(i) for i in range(82)])[0].detail
    assert "a has 62 photos, b 20: 3.1 times" in detail


def test_few_photos_counts_the_usable_ones() -> None:
    broken = fact(0, error_kind="truncated", error="cut off before its end")
    labels = ["a"] * FEW_PHOTOS + ["b"] * FEW_PHOTOS
    facts = [fact(i) for i in range(2 * FEW_PHOTOS)]
    assert find_problems(table(labels), facts) == ()
    facts[-1] = broken
    found = find_problems(table(labels), facts)
    assert kinds(found) == {"truncated": 1, "few_photos": 1}
    few = of_kind(found, "few_photos")[None]
    assert (few.label, few.detail) == ("b", f"class b: {FEW_PHOTOS - 1} usable photos")


def test_a_class_without_one_usable_photo() -> None:
    labels = ["a"] * FEW_PHOTOS + ["b"] * 3
    broken = fact(0, error_kind="unreadable", error="broken", sha256="", width=0, height=0)
    facts = [fact(i) for i in range(FEW_PHOTOS)] + [broken] * 3
    found = find_problems(table(labels), facts)
    assert kinds(found) == {"unreadable": 3, "few_photos": 1}
    assert of_kind(found, "few_photos")[None].detail == "class b: 0 usable photos"
    # And none at all.
    assert kinds(find_problems(table(["a", "b"]), [broken] * 2)) == {
        "unreadable": 2,
        "few_photos": 2,
    }


def test_each_copy_is_named_with_its_original() -> None:
    # 0 and 1 look alike; 2 has the bytes of 1; 3 those of 0.
    look = fact(1).thumb
    labels = ["a"] * FEW_PHOTOS + ["b"] * FEW_PHOTOS
    facts = [fact(i) for i in range(2 * FEW_PHOTOS)]
    for row, content in enumerate(("x", "y", "y", "x")):
        facts[row] = fact(row, thumb=look, sha256=content)
    found = find_problems(table(labels), facts)
    assert kinds(found) == {"near_duplicate": 1, "exact_duplicate": 2}
    assert {f.path: f.other for f in found} == {
        "1.jpg": ("0.jpg",),
        "2.jpg": ("1.jpg",),
        "3.jpg": ("0.jpg",),
    }


@pytest.mark.parametrize(
    ("name", "content", "wrong"),
    [
        ("a.jpg", "MPO", False),
        ("a.JPEG", "JPEG", False),
        ("a.tif", "TIFF", False),
        ("a.bmp", "DIB", False),
        ("a.png", "JPEG", True),
        ("a.gif", "WEBP", True),
        ("no suffix", "JPEG", False),
        ("a.photo", "PNG", False),
    ],
)
def test_the_suffix_is_compared_with_the_content(name: str, content: str, wrong: bool) -> None:
    labels = ["a"] * FEW_PHOTOS + ["b"] * FEW_PHOTOS
    listed = table(labels)
    listed = replace(listed, paths=(name, *listed.paths[1:]))
    facts = [fact(i) for i in range(len(labels))]
    facts[0] = replace(facts[0], format=content)
    assert kinds(find_problems(listed, facts)) == ({"wrong_suffix": 1} if wrong else {})


def test_classes_need_two_usable_photos() -> None:
    listed = table(list("aabbcc"))
    facts = [fact(i) for i in range(6)]
    require_classes(listed, facts)
    for row in (1, 4, 5):
        facts[row] = replace(facts[row], error_kind="unreadable", error="no picture")
    with pytest.raises(InputError, match=r"in: a \(1, 1 to train on\), c \(0, 0 to") as caught:
        require_classes(listed, facts)
    assert all(f"{listed.paths[row]} (no picture)" in str(caught.value) for row in (1, 4, 5))


def test_classes_need_a_usable_training_photo_where_the_split_is_given() -> None:
    listed = table(list("aaabbb"), splits=["train", "valid", "test"] * 2)
    facts = [fact(i) for i in range(6)]
    require_classes(listed, facts)
    facts[3] = replace(facts[3], error_kind="truncated", error="cut off")
    with pytest.raises(InputError, match=r"in: b \(2, 0 to train on\)"):
        require_classes(listed, facts)


class Watch(Progress):
    """Adds up what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.total, self.done = 0, 0

    @contextmanager
    def task(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        self.total = total

        def add(more: int) -> None:
            self.done += more

        yield add


def test_progress_counts_every_photo(photo_folder: Path) -> None:
    watch = Watch()
    check(photo_folder, progress=watch)
    assert (watch.total, watch.done) == (18, 18)


def test_what_cannot_be_scanned_is_an_error_and_no_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        check(tmp_path / "nowhere")


@pytest.mark.shared
def test_real_photos_have_the_one_problem_they_have(shared: Path) -> None:
    # Looked at by eye: the same pair of shorts, once among the shorts and once among the skirts.
    report = check(shared / "images" / "clothing")
    listed = scan(shared / "images" / "clothing")
    assert report.photos == len(listed) == 2752
    assert report.counts == listed.counts()
    assert len(report.counts["train"]) == 10
    assert kinds(report.findings) == {"near_duplicate": 1, "label_conflict": 1}
    pair = of_kind(report.findings, "near_duplicate")
    assert {path: finding.other for path, finding in pair.items()} == {
        "train/skirt/637a56e4-7fa6-4f75-8859-0f8902461554.jpg": (
            "train/shorts/6075b4a5-5b1a-4ce0-aea0-9dbfbca7c35c.jpg",
        )
    }
