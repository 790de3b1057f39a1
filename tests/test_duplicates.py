"""Copies are found however they were changed, and different photos are not taken for copies."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.fft import idctn

import photos
from convscope.data.duplicates import (
    MAX_BITS,
    join,
    near_pairs,
    perceptual_hashes,
    same_photo_groups,
)
from convscope.data.images import decode_photo, thumbnail
from convscope.data.survey import Facts


def facts_of(content: bytes) -> Facts:
    photo = decode_photo(content)
    return Facts("", "", photo.format, photo.width, photo.height,
                 hashlib.sha256(content).hexdigest(), thumbnail(photo.image))  # fmt: skip


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


UNUSABLE = Facts("unreadable", "broken", "", 0, 0, "same bytes", np.zeros((32, 32), np.uint8))

CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "saved again at quality 50": lambda p: encode(p, "JPEG", quality=50),
    "another format": lambda p: encode(p, "WEBP", quality=80),
    "a third of the size": lambda p: encode(p.resize((133, 100)), "JPEG"),
    "very small": lambda p: encode(p.resize((60, 45)), "JPEG"),
    "larger": lambda p: encode(p.resize((680, 510)), "JPEG"),
    "other proportions": lambda p: encode(p.resize((400, 250)), "JPEG"),
    "half a percent cut off each side": lambda p: encode(p.crop((2, 2, 398, 298)), "JPEG"),
    "brighter": lambda p: encode(ImageEnhance.Brightness(p).enhance(1.15), "JPEG"),
    "darker": lambda p: encode(ImageEnhance.Brightness(p).enhance(0.6), "JPEG"),
    "less contrast": lambda p: encode(ImageEnhance.Contrast(p).enhance(0.7), "JPEG"),
    "grey": lambda p: encode(p.convert("L"), "JPEG"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_among_others(change: str) -> None:
    pictures = [photos.scene(i) for i in range(10)]
    contents = [encode(p) for p in pictures] + [CHANGES[change](p) for p in pictures]
    exact, near = same_photo_groups([facts_of(c) for c in contents])
    assert len(set(exact.tolist())) == 20
    assert (near[:10] == near[10:]).all()
    assert len(set(near.tolist())) == 10


def test_two_hundred_different_photos_give_no_pair() -> None:
    thumbs = np.stack([thumbnail(photos.scene(i, 120, 90)) for i in range(200)])
    assert near_pairs(thumbs).tolist() == []


def test_fine_noise_gives_no_pair() -> None:
    thumbs = np.random.default_rng(1).integers(0, 256, (600, 32, 32), dtype=np.uint8)
    assert near_pairs(thumbs).tolist() == []


def test_a_pair_is_found_across_blocks_and_once() -> None:
    # Blocks of 512: second and last of 1100, and two neighbours on an edge of blocks.
    thumbs = np.random.default_rng(2).integers(0, 256, (1100, 32, 32), dtype=np.uint8)
    thumbs[0] = 77  # flat: passed over, and the numbers of the others stay
    thumbs[1099] = thumbs[1]
    thumbs[512] = thumbs[511]
    assert sorted(near_pairs(thumbs).tolist()) == [[1, 1099], [511, 512]]


@pytest.mark.parametrize(
    ("contrast", "correlation", "same"),
    [
        (60, 0.999, True),
        (60, 0.988, False),  # alike, but 7 grey levels apart on average
        (8, 0.995, True),
        (8, 0.97, False),  # 2 grey levels apart, but of another shape
    ],
)
def test_the_same_picture_by_correlation_and_by_difference(
    contrast: float, correlation: float, same: bool
) -> None:
    # Two orthogonal soft patterns of mean 0 and deviation 1, mixed for this correlation.
    rng = np.random.default_rng(8)
    waves = np.zeros((2, 32, 32))
    waves[:, :8, :8] = rng.normal(size=(2, 8, 8))
    waves[:, 0, 0] = 0
    u, v = idctn(waves, axes=(1, 2))
    u /= u.std()
    v -= u * (u * v).mean()
    v /= v.std()
    other = correlation * u + np.sqrt(1 - correlation**2) * v
    thumbs = np.round(128 + contrast * 0.9 * np.stack([u, other])).clip(0, 255).astype(np.uint8)
    # Near enough by their hashes: it is the thumbnails that decide.
    first, second = perceptual_hashes(thumbs)
    assert np.bitwise_count(first ^ second) <= MAX_BITS
    assert len(near_pairs(thumbs)) == same


def test_a_mirrored_or_negative_photo_is_another_photo() -> None:
    picture = np.asarray(photos.texture(4, 64, 48))
    versions = [picture, picture[:, ::-1], 255 - picture]
    thumbs = np.stack([thumbnail(Image.fromarray(np.ascontiguousarray(v))) for v in versions])
    assert near_pairs(thumbs).tolist() == []


def test_flat_photos_are_the_same_by_their_bytes_only() -> None:
    sky = Image.new("RGB", (64, 48), (90, 140, 220))
    paler = Image.new("RGB", (64, 48), (91, 141, 221))
    facts = [facts_of(encode(sky)), facts_of(encode(paler)), facts_of(encode(sky))]
    exact, near = same_photo_groups(facts)
    assert exact[0] == exact[2] != exact[1]
    assert near[0] == near[2] != near[1]


def test_a_thousand_empty_photos_cost_nothing() -> None:
    assert near_pairs(np.zeros((1000, 32, 32), np.uint8)).shape == (0, 2)
    assert near_pairs(np.zeros((0, 32, 32), np.uint8)).shape == (0, 2)


def test_groups_join_what_is_linked_through_a_third() -> None:
    a, b = photos.texture(1, 320, 240), photos.texture(2, 320, 240)
    first = facts_of(encode(a))
    facts = [
        first,
        facts_of(encode(b)),
        UNUSABLE,
        facts_of(encode(a, "JPEG", quality=40)),
        replace(first),
        UNUSABLE,
        facts_of(encode(a.resize((80, 60)))),
    ]
    exact, near = same_photo_groups(facts)
    assert exact[0] == exact[4]
    assert len(set(exact.tolist())) == 6
    assert near[0] == near[3] == near[4] == near[6]
    # Files that cannot be read are nobody's copy, not even of the same bytes.
    assert len(set(near.tolist())) == 4


def test_no_photos_and_none_usable() -> None:
    for facts in ([], [UNUSABLE], [UNUSABLE, UNUSABLE]):
        exact, near = same_photo_groups(facts)
        assert len(set(exact.tolist())) == len(set(near.tolist())) == len(facts)


def test_join_by_hand() -> None:
    got = join(6, np.array([[0, 3], [3, 5], [1, 2]])).tolist()
    assert got[0] == got[3] == got[5]
    assert got[1] == got[2]
    assert len(set(got)) == 3
    assert len(set(join(4, np.empty((0, 2), np.int64)).tolist())) == 4


def test_a_hash_is_the_signs_of_the_lowest_frequencies() -> None:
    # One cosine across, one down, of the DCT's own shape: hand-picked bits.
    x = np.cos(np.pi * (np.arange(32) + 0.5) / 32)
    picture = 128 + 60 * x[None, :] + 30 * np.cos(3 * np.arccos(x))[:, None]
    bits = int(perceptual_hashes(np.round(picture)[None].astype(np.uint8))[0])
    assert bits >> 1 & 1  # row 0, column 1: the cosine across
    assert bits >> 24 & 1  # row 3, column 0: three half-waves down
    inverse = int(perceptual_hashes(np.round(256 - picture)[None].astype(np.uint8))[0])
    assert not inverse >> 1 & 1
    assert not inverse >> 24 & 1
