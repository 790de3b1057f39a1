"""Decoding: every format and mode against pixels known beforehand; bad files by name."""

from __future__ import annotations

import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

import photos
from convscope.data.images import (
    MAX_PIXELS,
    crop_box,
    decode_photo,
    open_photo,
    read_bytes,
    square,
    thumbnail,
)
from convscope.errors import PhotoError


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(content: bytes) -> np.ndarray:
    photo = decode_photo(content)
    assert photo.image.mode == "RGB"
    return np.asarray(photo.image).astype(int)


def refused(content: bytes) -> PhotoError:
    with pytest.raises(PhotoError) as caught:
        decode_photo(content)
    return caught.value


# --- formats -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("DIB", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 8),
        ("GIF", {}, 0),
        ("JPEG", {"quality": 95, "subsampling": 0}, 4),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 4),
    ],
)
def test_every_format_gives_the_pixels_that_were_saved(
    kind: str, options: dict[str, object], tolerance: int
) -> None:
    truth = photos.quadrants()
    photo = decode_photo(encode(Image.fromarray(truth), kind, **options))
    assert (photo.format, photo.width, photo.height) == (kind, 48, 32)
    off = np.abs(np.asarray(photo.image).astype(int) - truth)
    # A lossy format smears the four edges; the middles of the quadrants are what was painted.
    middles = off[4:12, 4:20], off[4:12, 28:44], off[20:28, 4:20], off[20:28, 28:44]
    assert max(part.max() for part in middles) <= tolerance
    if tolerance == 0:
        assert off.max() == 0


def test_a_phone_photo_with_a_second_picture_in_it_gives_the_first() -> None:
    first, second = Image.new("RGB", (32, 24), photos.RED), Image.new("RGB", (32, 24), photos.BLUE)
    content = encode(first, "MPO", save_all=True, append_images=[second])
    photo = decode_photo(content)
    assert photo.format == "MPO"
    assert np.abs(np.asarray(photo.image).astype(int) - photos.RED).max() <= 4


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_several_frames_the_first_counts(kind: str) -> None:
    first, second = Image.new("RGB", (32, 24), photos.RED), Image.new("RGB", (32, 24), photos.BLUE)
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(first, kind, save_all=True, append_images=[second], **options)
    with Image.open(io.BytesIO(content)) as image:
        assert image.n_frames == 2
    assert (pixels(content) == photos.RED).all()


# --- orientation -------------------------------------------------------------------------------


def stored_as(orientation: int, upright: np.ndarray) -> np.ndarray:
    """What a camera writes so that this orientation makes it upright, from the EXIF standard.

    The standard says which side of the scene the stored row 0 and column 0 show.
    """
    height, width = upright.shape[:2]
    turned = orientation >= 5
    rows, columns = (width, height) if turned else (height, width)
    stored = np.empty((rows, columns, 3), np.uint8)
    for r in range(rows):
        for c in range(columns):
            y, x = {
                1: (r, c),  # row 0 top, column 0 left
                2: (r, width - 1 - c),  # top, right
                3: (height - 1 - r, width - 1 - c),  # bottom, right
                4: (height - 1 - r, c),  # bottom, left
                5: (c, r),  # left, top
                6: (c, width - 1 - r),  # right, top
                7: (height - 1 - c, width - 1 - r),  # right, bottom
                8: (height - 1 - c, r),  # left, bottom
            }[orientation]
            stored[r, c] = upright[y, x]
    return stored


def with_orientation(picture: np.ndarray, orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}.get(
        kind, {"quality": 95, "subsampling": 0}
    )
    return encode(Image.fromarray(picture), kind, exif=exif, **options)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(orientation: int, kind: str) -> None:
    upright = photos.quadrants(48, 32)
    photo = decode_photo(with_orientation(stored_as(orientation, upright), orientation, kind))
    assert (photo.width, photo.height) == (48, 32) == photo.image.size
    off = np.abs(np.asarray(photo.image).astype(int) - upright)[4:28:8, 4:44:8]
    assert off.max() <= (4 if kind == "JPEG" else 0)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_scaled_decoding_keeps_the_upright_full_size(orientation: int) -> None:
    # 1001 x 1004 at an eighth is 126 x 126, from which the turn cannot be seen any more.
    stored = np.asarray(photos.texture(1, 1001, 1004))
    content = with_orientation(stored, orientation, "JPEG")
    photo = decode_photo(content, at_least=100)
    assert (photo.width, photo.height) == ((1001, 1004) if orientation == 1 else (1004, 1001))
    assert 100 <= min(photo.image.size) < 300


@pytest.mark.parametrize("value", [0, 9, 255])
def test_an_orientation_that_does_not_exist_changes_nothing(value: int) -> None:
    upright = photos.quadrants()
    assert (pixels(with_orientation(upright, value, "PNG")) == upright).all()


def test_exif_that_is_rubbish_does_not_cost_the_photo() -> None:
    content = encode(Image.new("RGB", (40, 30), photos.RED), "JPEG", exif=b"Exif\0\0II*\0\xff\xff")
    assert decode_photo(content).image.size == (40, 30)


# --- modes -------------------------------------------------------------------------------------


def test_grey_becomes_three_equal_channels() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    got = pixels(encode(Image.fromarray(grey), "PNG"))
    assert (got == grey[..., None]).all()


def test_black_and_white_of_one_bit() -> None:
    bits = np.indices((10, 12)).sum(axis=0) % 2 == 1
    got = pixels(encode(Image.fromarray(bits), "PNG"))
    assert (got == bits[..., None] * 255).all()


def test_transparency_is_laid_over_white() -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[0] = (200, 100, 0, 255)  # opaque: itself
    rgba[1] = (200, 100, 0, 0)  # invisible: white
    rgba[2] = (200, 100, 0, 51)  # one fifth of it, four fifths of white
    rgba[3] = (0, 0, 0, 102)  # two fifths of black, three fifths of white
    got = pixels(encode(Image.fromarray(rgba), "PNG"))[:, 0]
    truth = np.array([(200, 100, 0), (255, 255, 255), (244, 224, 204), (153, 153, 153)])
    assert np.abs(got - truth).max() <= 1


def test_transparent_grey_and_palette_are_laid_over_white() -> None:
    grey = np.full((8, 8, 2), (80, 0), np.uint8)
    grey[4:, :, 1] = 255
    truth = np.full((8, 8, 3), 255)
    truth[4:] = 80
    assert (pixels(encode(Image.fromarray(grey, "LA"), "PNG")) == truth).all()

    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.paste(1, (0, 0, 8, 4))
    for kind in ("PNG", "GIF"):
        got = pixels(encode(palette, kind, transparency=0))
        assert (got[:4] == (200, 100, 50)).all()
        assert (got[4:] == 255).all()


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_inks_become_the_colours_they_print(kind: str) -> None:
    # No ink is white; magenta and yellow print red; black is black.
    cmyk = np.zeros((16, 48, 4), np.uint8)
    cmyk[:, 16:32] = (0, 255, 255, 0)
    cmyk[:, 32:] = (0, 0, 0, 255)
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    got = pixels(encode(Image.fromarray(cmyk, "CMYK"), kind, **options))
    for x, truth in ((8, (255, 255, 255)), (24, (255, 0, 0)), (40, (0, 0, 0))):
        assert np.abs(got[8, x] - truth).max() <= 6


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_by_its_own_range(kind: str) -> None:
    # 1000 .. 1000 + 255 * 8: by hand, each step of 8 is one grey level.
    values = (1000 + 8 * np.arange(256)).astype(np.uint16).reshape(16, 16)
    got = pixels(encode(Image.fromarray(values), kind))
    assert (got == np.arange(256).reshape(16, 16, 1)).all()


def test_sixteen_bit_grey_of_one_value_is_mid_grey() -> None:
    assert (pixels(encode(Image.fromarray(np.full((8, 8), 40_000, np.uint16)), "PNG")) == 128).all()


def test_float_pictures_are_scaled_past_what_is_not_a_number() -> None:
    values = np.array([[100.0, 200.0, 355.0], [np.nan, np.inf, -np.inf]], np.float32)
    got = pixels(encode(Image.fromarray(values), "TIFF"))[..., 0]
    assert got.tolist() == [[0, 100, 255], [0, 255, 0]]


def test_thirty_two_bit_integers_are_scaled() -> None:
    values = np.array([[-1_000_000, 0, 1_550_000]], np.int32)
    assert pixels(encode(Image.fromarray(values), "TIFF"))[..., 0].tolist() == [[0, 100, 255]]


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bit_colour_is_scaled_by_its_own_range(suffix: str) -> None:
    # 12-bit values in a 16-bit file: 1000 .. 3550, so (value - 1000) / 10 each.
    rgb = np.array([[[1000, 2000, 3550], [3000, 1500, 1010]]], np.uint16)
    _, content = cv2.imencode(suffix, np.ascontiguousarray(rgb[..., ::-1]))
    assert pixels(content.tobytes()).tolist() == [[[0, 100, 255], [200, 50, 1]]]


def test_sixteen_bit_colour_with_transparency_is_laid_over_white() -> None:
    rgba = np.zeros((1, 3, 4), np.uint16)
    rgba[0] = [(0, 0, 0, 65535), (65535, 0, 0, 65535), (0, 0, 65535, 0)]
    _, content = cv2.imencode(".png", np.ascontiguousarray(rgba[..., [2, 1, 0, 3]]))
    assert pixels(content.tobytes()).tolist() == [[[0, 0, 0], [255, 0, 0], [255, 255, 255]]]


def test_sixteen_bit_colour_is_turned_upright() -> None:
    rgb = np.array([[[0, 0, 0], [65535, 0, 0]]], np.uint16)
    _, content = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    chunk = exif.tobytes().removeprefix(b"Exif\0\0")
    head, tail = content.tobytes().split(b"IDAT", 1)
    with_exif = head[:-4] + photos.png_chunk(b"eXIf", chunk) + head[-4:] + b"IDAT" + tail
    assert pixels(with_exif).tolist() == [[[0, 0, 0]], [[255, 0, 0]]]


# --- what cannot be used -----------------------------------------------------------------------


@pytest.mark.parametrize("allowed_by_pillow", [Image.MAX_IMAGE_PIXELS, None])
def test_a_decompression_bomb_is_refused_from_its_header(
    allowed_by_pillow: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", allowed_by_pillow)

    def load(self: Image.Image) -> None:
        raise AssertionError("a pixel was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    content = photos.bomb_png()
    assert len(content) < 1_000_000
    error = refused(content)
    assert error.kind == "too_large"
    assert "900,000,000" in error.reason
    assert f"{MAX_PIXELS:,}" in error.reason


def test_the_bomb_of_the_test_is_a_valid_picture_when_small() -> None:
    assert (pixels(photos.bomb_png(200)) == 0).all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"this is not a photo\n" * 20, "it looks like text"),
        (b"  <html><body>404</body></html>", "web page"),
        (bytes(range(256)) * 4, "no known picture format"),
    ],
)
def test_what_is_no_picture_is_said_to_be_none(content: bytes, reason: str) -> None:
    error = refused(content)
    assert error.kind == "unreadable"
    assert reason in error.reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_a_file_cut_off_is_called_truncated(kind: str, share: float) -> None:
    content = encode(photos.texture(3, 160, 120), kind)
    assert decode_photo(content).image.size == (160, 120)
    error = refused(content[: int(share * len(content))])
    assert (error.kind, error.reason) == ("truncated", "cut off before its end")


def test_a_cut_off_jpeg_is_found_by_a_scaled_decoding_too() -> None:
    content = encode(photos.texture(3, 1600, 1200), "JPEG")
    with pytest.raises(PhotoError) as caught:
        decode_photo(content[: len(content) // 2], at_least=100)
    assert caught.value.kind == "truncated"


def test_a_tiff_whose_directory_is_cut_off_is_truncated() -> None:
    content = encode(photos.texture(3, 160, 120), "TIFF", compression="tiff_lzw")
    assert refused(content[: len(content) // 2]).kind == "truncated"


def test_bytes_spoilt_in_the_middle_are_unreadable() -> None:
    content = bytearray(encode(photos.texture(3), "PNG"))
    content[60:90] = bytes(30)
    error = refused(bytes(content))
    assert error.kind == "unreadable"
    assert "broken content" in error.reason


@pytest.mark.parametrize(
    ("brand", "name"), [(b"heic", "HEIC"), (b"mif1", "HEIC"), (b"avif", "AVIF")]
)
def test_a_format_that_is_not_read_is_named_whatever_the_suffix(brand: bytes, name: str) -> None:
    error = refused(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0" + bytes(200))
    assert error.kind == "unsupported"
    assert name in error.reason


def test_files_that_are_no_files(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    folder = tmp_path / "folder.jpg"
    folder.mkdir()
    loop = tmp_path / "loop.jpg"
    loop.symlink_to(loop)
    said = {
        empty: "0 bytes",
        pipe: "not a regular file",
        folder: "not a regular file",
        loop: "symbolic links",
        tmp_path / "absent.jpg": "No such file",
        tmp_path / "zero\0byte.jpg": "null",
    }
    for path, reason in said.items():
        with pytest.raises(PhotoError, match=reason) as caught:
            read_bytes(path)
        assert caught.value.kind == "unreadable"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = photos.save_texture(tmp_path / "locked.jpg", 1)
    path.chmod(0)
    with pytest.raises(PhotoError, match="Permission denied"):
        read_bytes(path)


def test_a_file_of_too_many_bytes_is_refused_by_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convscope.data.images.MAX_BYTES", 1000)
    path = tmp_path / "large.jpg"
    path.write_bytes(bytes(1001))
    with pytest.raises(PhotoError, match="1,001 bytes; at most 1,000") as caught:
        read_bytes(path)
    assert caught.value.kind == "too_large"


# --- the square that the network sees ----------------------------------------------------------


def plain_recipe(image: Image.Image, resize: int, size: int) -> np.ndarray:
    """As torchvision writes it: Resize(resize), CenterCrop(size), in Pillow's words."""
    width, height = image.size
    if width <= height:
        new = resize, int(resize * height / width)
    else:
        new = int(resize * width / height), resize
    whole = image.resize(new, Image.Resampling.BILINEAR)
    top, left = round((new[1] - size) / 2.0), round((new[0] - size) / 2.0)
    return np.asarray(whole.crop((left, top, left + size, top + size))).astype(int)


@pytest.mark.parametrize(
    ("width", "height"),
    [(400, 300), (300, 400), (256, 256), (257, 256), (100, 75), (1000, 333), (51, 700), (224, 225)],
)
def test_square_is_resize_256_and_crop_224(width: int, height: int, tmp_path: Path) -> None:
    path = photos.save_texture(tmp_path / "photo.png", 5, width=width, height=height, cells=12)
    photo = decode_photo(read_bytes(path))
    got = square(photo, 256, 224)
    truth = plain_recipe(open_photo(path), 256, 224)
    assert got.shape == (224, 224, 3)
    assert got.dtype == np.uint8
    assert np.abs(got.astype(int) - truth).max() <= 1


def test_crop_box_by_hand() -> None:
    # 512 x 256 to a shorter side of 256 stays as it is; the centre 224 is 144..368, 16..240.
    assert crop_box(512, 256, 256, 224) == (144, 16, 368, 240)
    # 1024 x 2048: a quarter of the size, so four photo pixels per network pixel.
    assert crop_box(1024, 2048, 256, 224) == (64, 576, 960, 1472)
    # Nothing is cut from a square where the crop is the whole.
    assert crop_box(300, 300, 32, 32) == (0, 0, 300, 300)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5000), (5000, 1), (2, 3)])
def test_a_strip_gives_a_square_all_the_same(width: int, height: int) -> None:
    photo = decode_photo(encode(Image.new("RGB", (width, height), photos.BLUE), "PNG"))
    assert (square(photo, 256, 224) == photos.BLUE).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_fast_way_differs_little(kind: str) -> None:
    content = encode(photos.texture(11, 1500, 1100, cells=30), kind)
    exact = square(decode_photo(content), 256, 224).astype(int)
    photo = decode_photo(content, at_least=256)
    assert photo.image.width < 1500 or kind == "PNG"
    fast = square(photo, 256, 224, fast=True)
    assert np.abs(fast - exact).mean() < 1
    assert np.abs(fast - exact).max() < 24


def test_a_thumbnail_is_the_whole_photo_in_grey() -> None:
    # A plane: brightness rises by 2 a pixel across and 1 down, in the photo and in the thumbnail.
    y, x = np.indices((64, 96))
    plane = (y + 2 * x // 3).astype(np.uint8)
    got = thumbnail(Image.fromarray(plane).convert("RGB")).astype(float)
    row, column = np.indices((32, 32))
    truth = (2 * row + 0.5) + 2 * (3 * column + 1) / 3
    assert got.shape == (32, 32)
    assert np.abs(got - truth)[1:-1, 1:-1].max() <= 1
    colours = Image.new("RGB", (50, 40), (100, 150, 200))
    # ITU-R 601: 0.299, 0.587, 0.114.
    assert (thumbnail(colours) == 141).all()


@pytest.mark.parametrize("size", [(50, 67), (100, 133), (200, 266), (680, 905)])
def test_a_thumbnail_hardly_depends_on_the_photos_size(size: tuple[int, int]) -> None:
    photo = photos.scene(1, 400, 532)
    off = np.abs(thumbnail(photo.resize(size)).astype(int) - thumbnail(photo))
    assert off.mean() < 3
