"""One photo file to one RGB array, whatever wrote the file.

Every file is opened under the same rules: only the formats of :data:`FORMATS`, EXIF orientation
applied, transparency over white, more than 8 bits a channel scaled by the photo's own range, first
frame only, nothing beyond :data:`MAX_PIXELS`. What cannot be used raises
:class:`~convscope.errors.PhotoError` with the reason in plain words.
"""

from __future__ import annotations

import io
import re
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from convscope.errors import PhotoError

# Suffix -> the formats (Pillow's names) that belong to it. MPO is what phones that keep a second,
# small picture in the same file write under .jpg.
FORMATS: dict[str, tuple[str, ...]] = {
    ".jpg": ("JPEG", "MPO"),
    ".jpeg": ("JPEG", "MPO"),
    ".jpe": ("JPEG", "MPO"),
    ".jfif": ("JPEG", "MPO"),
    ".png": ("PNG",),
    ".webp": ("WEBP",),
    ".bmp": ("BMP", "DIB"),
    ".dib": ("BMP", "DIB"),
    ".tif": ("TIFF",),
    ".tiff": ("TIFF",),
    ".gif": ("GIF",),
}
# Photos that people do have and that we do not read: named, never skipped in silence.
UNSUPPORTED_SUFFIXES = frozenset(
    {".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".ico"}
    | {".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"}
)
# Width × height, read from the header before any pixel: 178,956,970 as in Pillow, where RGB takes
# half a gigabyte.
MAX_PIXELS = 178_956_970
MAX_BYTES = 1 << 30
# Longer side over shorter, above which a photo is never resized as a whole.
_STRIP = 8

# MPO has no opener of its own: a JPEG becomes one when it is opened.
_OPENERS = sorted({name for names in FORMATS.values() for name in names} - {"MPO"})
_HIGH_DEPTH_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})

# EXIF orientation -> what turns the stored picture upright; 1 and everything unknown: nothing.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_SIDES = frozenset({5, 6, 7, 8})

# The first brand of an ISO media file -> what the photo is.
_UNSUPPORTED_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
}


@dataclass(frozen=True)
class Photo:
    """A decoded photo.

    Attributes
    ----------
    image : PIL.Image.Image
        Mode RGB, upright; smaller than the file says where a scaled decoding was allowed.
    format : str
        What the content is (Pillow's name), whatever the suffix says.
    width, height : int
        Full size in pixels, upright.
    """

    image: Image.Image
    format: str
    width: int
    height: int


def open_photo(path: Path, *, at_least: int | None = None) -> Image.Image:
    """Read a photo as an upright RGB image.

    Parameters
    ----------
    path : Path
    at_least : int, optional
        The caller needs a shorter side of this many pixels only: a JPEG may then be decoded at
        1/2, 1/4 or 1/8 of its size, which is several times faster. None decodes in full.

    Raises
    ------
    PhotoError
        If the file is not a usable photo.
    """
    return decode_photo(read_bytes(path), at_least=at_least).image


def read_bytes(path: Path) -> bytes:
    """The file's content; :class:`PhotoError` if it cannot be read or cannot be a photo."""
    try:
        status = path.stat()
        # Opening a pipe or a device would wait for ever.
        if not stat.S_ISREG(status.st_mode):
            raise PhotoError("unreadable", "not a regular file")
        if status.st_size == 0:
            raise PhotoError("unreadable", "empty file (0 bytes)")
        if status.st_size > MAX_BYTES:
            raise PhotoError(
                "too_large", f"{status.st_size:,} bytes; at most {MAX_BYTES:,} are read"
            )
        return path.read_bytes()
    except OSError as error:
        raise PhotoError("unreadable", f"cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a zero byte in the path of a table
        raise PhotoError("unreadable", f"cannot be read: {error}") from None


def decode_photo(content: bytes, *, at_least: int | None = None) -> Photo:
    """Decode the content of a photo file; see :func:`open_photo`."""
    with warnings.catch_warnings():
        # Pillow warns of odd EXIF and of sizes near its own limit; we judge by the result.
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(content), formats=_OPENERS) as image:
                return _load(image, content, at_least)
        except PhotoError:
            raise
        except Image.DecompressionBombError as error:
            pixels = re.search(r"\d+", str(error))
            text = f"{int(pixels[0]):,}" if pixels else f"more than {MAX_PIXELS:,}"
            raise PhotoError("too_large", _too_large_text(text)) from None
        except MemoryError:
            raise PhotoError("too_large", "not enough memory to decode it") from None
        except Exception as error:  # a decoder given broken bytes raises almost anything
            raise _broken(content, error) from None


def _load(image: Image.Image, content: bytes, at_least: int | None) -> Photo:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise PhotoError("too_large", _too_large_text(f"{width}x{height} = {width * height:,}"))
    if at_least is not None and min(width, height) > at_least:
        scale = at_least / min(width, height)
        # JPEG only; Pillow ignores it elsewhere. It never goes below what is asked for.
        image.draft(None, (round(width * scale), round(height * scale)))
    image_format = image.format or "unknown"
    deep = _is_deep_colour(image)
    # Pillow turns a TIFF upright while loading; OpenCV never turns.
    turned = deep and image.format == "TIFF"
    stored = _orientation(image) if turned else 1
    image.load()
    orientation = stored if turned else _orientation(image)
    if orientation in _SWAPS_SIDES:
        width, height = height, width
    rgb = _deep_to_rgb(content) if deep else _to_rgb(image)
    upright = rgb.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else rgb
    return Photo(upright, image_format, width, height)


def _is_deep_colour(image: Image.Image) -> bool:
    """Whether it has 16 bits a channel, of which Pillow would keep the upper 8."""
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else ()
    return image.mode not in _HIGH_DEPTH_MODES and any(";16" in str(tile[3]) for tile in tiles)


def _deep_to_rgb(content: bytes) -> Image.Image:
    import cv2  # for the rare file that needs it: the decoding processes start faster without

    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 3 or values.dtype != np.uint16:
        raise PhotoError("unreadable", "16-bit colour that cannot be decoded")
    rgb = _stretch(values[..., 2::-1])
    if values.shape[2] == 4:
        alpha = values[..., 3:] / 65535.0
        rgb = np.round(rgb * alpha + 255.0 * (1 - alpha)).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(rgb))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation that is still to be applied."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # EXIF that cannot be parsed says nothing about orientation
        return 1
    return value if isinstance(value, int) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _HIGH_DEPTH_MODES:
        return Image.fromarray(_stretch(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _stretch(values: np.ndarray) -> np.ndarray:
    """More than 8 bits to 8, by the photo's own darkest and brightest value.

    A 12-bit scan in a 16-bit file would be black by the type's range and white when clipped.
    """
    numbers = values.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if high == low:
        return np.full(numbers.shape, 128, np.uint8)
    numbers = np.nan_to_num(numbers, nan=low, posinf=high, neginf=low)
    return np.round((numbers - low) * (255.0 / (high - low))).astype(np.uint8)


def _too_large_text(pixels: str) -> str:
    return f"{pixels} pixels; at most {MAX_PIXELS:,} are decoded (a decompression bomb?)"


def _broken(content: bytes, error: Exception) -> PhotoError:
    if content[4:8] == b"ftyp" and content[8:12] in _UNSUPPORTED_BRANDS:
        name = _UNSUPPORTED_BRANDS[content[8:12]]
        return PhotoError("unsupported", f"{name} is not read; convert it to JPEG or PNG")
    if _says_truncated(error) or _ends_early(content):
        return PhotoError("truncated", "cut off before its end")
    if isinstance(error, UnidentifiedImageError):
        return PhotoError("unreadable", f"not a picture: {_looks_like(content)}")
    return PhotoError("unreadable", f"broken content: {error}")


def _says_truncated(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, EOFError) or any(
        word in text for word in ("truncated", "premature end", "unexpected end", "not enough data")
    )


def _ends_early(content: bytes) -> bool:
    """Whether a file that cannot be decoded is shorter than its own header says."""
    if content.startswith(b"RIFF"):
        return int.from_bytes(content[4:8], "little") + 8 > len(content)
    if content.startswith((b"II*\0", b"MM\0*")):
        order: Literal["little", "big"] = "little" if content.startswith(b"II") else "big"
        return int.from_bytes(content[4:8], order) >= len(content)
    return content.startswith(b"\x89PNG\r\n\x1a\n") and b"IEND" not in content[-64:]


def _looks_like(content: bytes) -> str:
    head = content[:512]
    if head.lstrip()[:1] == b"<":
        return "it looks like a web page or XML"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return "it looks like text"
    return "no known picture format"


def crop_box(width: int, height: int, resize: int, size: int) -> tuple[float, float, float, float]:
    """The part of a photo that evaluation sees, in the photo's own pixels.

    Same as resizing the shorter side to ``resize`` and cropping the centre ``size`` × ``size``,
    with torchvision's rounding, but without ever making the resized photo (which for a strip of
    10 × 10,000 would be enormous).

    Parameters
    ----------
    width, height : int
        Of the photo, pixels.
    resize : int
        Wanted length of the shorter side.
    size : int
        Side of the square cropped from the resized photo; at most ``resize``.

    Returns
    -------
    tuple of float
        Left, top, right, bottom.
    """
    new_width, new_height = resized_size(width, height, resize)
    left, top = round((new_width - size) / 2), round((new_height - size) / 2)
    x, y = width / new_width, height / new_height
    return left * x, top * y, min((left + size) * x, width), min((top + size) * y, height)


def square(photo: Photo, resize: int, size: int, *, fast: bool = False) -> np.ndarray:
    """The network's view of a photo: shorter side to ``resize``, centre crop, bilinear.

    Parameters
    ----------
    photo : Photo
    resize, size : int
        See :func:`crop_box`.
    fast : bool
        Shrink very large photos in two steps (box filter first).

    Returns
    -------
    numpy.ndarray
        uint8 ``(size, size, 3)``, RGB.
    """
    image = photo.image
    box = crop_box(photo.width, photo.height, resize, size)
    whole = (image.width, image.height) == (photo.width, photo.height)
    if not fast and whole and max(image.size) <= _STRIP * min(image.size):
        # Grey level for grey level what torchvision gives; half a millisecond slower.
        return _resize_then_crop(image, resize, size)
    # A scaled decoding rounds its size up, so each axis has its own factor.
    x, y = image.width / photo.width, image.height / photo.height
    scaled = (box[0] * x, box[1] * y, min(box[2] * x, image.width), min(box[3] * y, image.height))
    small = image.resize(
        (size, size), Image.Resampling.BILINEAR, box=scaled, reducing_gap=2.0 if fast else None
    )
    return np.asarray(small)


def _resize_then_crop(image: Image.Image, resize: int, size: int) -> np.ndarray:
    width, height = resized_size(image.width, image.height, resize)
    left, top = round((width - size) / 2), round((height - size) / 2)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized.crop((left, top, left + size, top + size)))


def resized_size(width: int, height: int, resize: int) -> tuple[int, int]:
    """Width and height with the shorter side ``resize``, rounded as torchvision does."""
    if width <= height:
        return resize, int(resize * height / width)
    return int(resize * width / height), resize


THUMB = 32


def thumbnail(image: Image.Image) -> np.ndarray:
    """The whole photo as uint8 ``(32, 32)`` grey, proportions ignored: for finding duplicates."""
    # Not the box filter: it takes whole pixels, other ones in a copy of another size.
    small = image.resize((THUMB, THUMB), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small.convert("L"))
