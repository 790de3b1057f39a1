"""A photo as the network sees it, and as people do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from convscope.data.images import crop_box, open_photo
from convscope.data.survey import DecodeSpec, decode_chunk
from convscope.errors import PhotoError
from convscope.explaining.result import Photo
from convscope.nets.inference import prepare
from convscope.run import RunInfo

# The longer side of the photos that are drawn, pixels: at least and at most.
_LEAST, _DRAWN = 320, 900


def read_photo(path: Path, info: RunInfo) -> tuple[Photo, Tensor]:
    """The photo to draw on, and the network's input made as the run makes it.

    Returns
    -------
    Photo
        Without probabilities and maps.
    Tensor
        float32 ``(1, 3, size, size)``, normalised.

    Raises
    ------
    PhotoError
        The file is no usable photo.
    """
    spec = DecodeSpec(info.input.resize, info.input.size, fast=info.precision.mode == "fast")
    facts, pixels = decode_chunk([str(path)], spec)
    if not facts[0].usable:
        raise PhotoError(facts[0].error_kind, facts[0].error)
    x = prepare(torch.from_numpy(pixels), info.input.mean, info.input.std)
    image = open_photo(path, at_least=_DRAWN)
    longer = max(image.size)
    wanted = min(max(longer, _LEAST), _DRAWN)
    if wanted != longer:
        sides = [max(1, round(side * wanted / longer)) for side in image.size]
        image = image.resize((sides[0], sides[1]), Image.Resampling.LANCZOS)
    width, height = image.size
    share = width / facts[0].width, height / facts[0].height
    left, top, right, bottom = crop_box(
        facts[0].width, facts[0].height, info.input.resize, info.input.size
    )
    box = left * share[0], top * share[1], right * share[0], bottom * share[1]
    nothing = np.zeros(len(info.classes))
    return Photo(str(path), np.asarray(image.convert("RGB")), box, nothing, 0), x.contiguous()
