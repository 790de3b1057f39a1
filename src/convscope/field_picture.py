"""One picture of what the units of a network see, drawn from its geometry, never by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from convscope.data.images import open_photo
from convscope.demo.scene import render_scene
from convscope.describing import describe
from convscope.errors import ConvscopeError, InputError, PhotoError
from convscope.files import write_bytes
from convscope.geometry import NetGraph
from convscope.pictures.photo import draw_photo
from convscope.pictures.stack import draw_stack

# Of the creatures that convscope draws, one with something to see in its middle.
_LABEL, _SEED, _INDEX = "bird", 3, 0
_FINEST = 512
_LARGEST = 1024


def write_field_picture(
    net: str | Path | NetGraph, target: Path, *, photo: Path | None = None, name: str | None = None
) -> None:
    """Draw what the units of a network see, into one SVG file that needs nothing else.

    Parameters
    ----------
    net : str, path or NetGraph
        What :func:`~convscope.describing.describe` takes, or a traced network.
    target : Path
        Ends in ``.svg``; written whole or not at all.
    photo : Path, optional
        Cropped to the input's proportions around its middle. Default one that convscope draws.
    name : str, optional
        What the picture calls the network; default its name, or ``network``.

    Raises
    ------
    InputError
        If there is no such network, the photo cannot be used, or the network's receptive fields
        are not known.
    ConvscopeError
        If the file cannot be written.
    """
    if target.suffix.lower() != ".svg":
        raise InputError(f"The picture is an SVG file; {target} does not end in .svg.")
    if not isinstance(net, NetGraph):
        described = describe(net)
        net, name = described.graph, name or described.net
    drawn = field_picture(net, name=name or "network", photo=photo)
    try:
        write_bytes(target, drawn.encode())
    except OSError as error:
        raise ConvscopeError(
            f"{target} cannot be written ({error.strerror or error}). "
            "Make room, allow writing there, or name another file."
        ) from None


def field_picture(graph: NetGraph, *, name: str, photo: Path | None = None) -> str:
    """The same as text; see :func:`write_field_picture`.

    Returns
    -------
    str
        The content of the SVG file.
    """
    if graph.untraced is not None:
        raise InputError(f"The receptive fields of {name} are not known: {graph.untraced}")
    channels, *sizes = graph.input
    if photo is not None and len(sizes) == 1:
        raise InputError(f"{name} takes a series: there is no place for the photo {photo}.")
    if len(sizes) == 1:
        return draw_stack(graph, name)
    if len(sizes) != 2:
        raise InputError(
            f"{name} takes inputs with {len(sizes)} spatial axes. Pictures are of networks with "
            "one (a series) or two (a photo)."
        )
    if max(sizes) > _LARGEST:
        raise InputError(
            f"The input of {name} has {sizes[1]} × {sizes[0]} pixels. Pictures are of inputs up to "
            f"{_LARGEST}: give a smaller --input."
        )
    height, width = sizes
    return draw_photo(graph, _photo(photo, width, height, grey=channels == 1), name)


def _photo(path: Path | None, width: int, height: int, *, grey: bool) -> np.ndarray:
    """A photo of the input's size: uint8 ``(h, w, 3)``, or ``(h, w)`` where it is grey."""
    if path is None:
        # Drawn at one size and scaled, so that every network is shown the same photo.
        size = max(_FINEST, width, height)
        image = Image.fromarray(render_scene(_LABEL, seed=_SEED, index=_INDEX, size=size).image)
    else:
        try:
            image = open_photo(path, at_least=max(width, height))
        except PhotoError as error:
            raise InputError(f"{path} is no usable photo: {error.reason}.") from None
    fitted = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    return np.asarray(fitted.convert("L") if grey else fitted)
