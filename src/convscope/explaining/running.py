"""From a Run folder and photos to a folder of maps."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from convscope.errors import InputError, PhotoError, unknown_name
from convscope.explain.faithfulness import Curve, deletion, insertion, together
from convscope.explain.localisation import locate
from convscope.explain.result import Explanation
from convscope.explain.sanity import Randomisation, randomisation
from convscope.explaining.asked import METHODS, UNITS, Calibrated, ExplainOptions
from convscope.explaining.masks import mask_of
from convscope.explaining.page import page_content
from convscope.explaining.reading import read_photo
from convscope.explaining.result import Explained, Found, Photo
from convscope.files import write_bytes, write_json
from convscope.pictures import heat
from convscope.predicting import listed, load_classifier
from convscope.progress import Progress
from convscope.report.pages import EXPLAIN, write_page
from convscope.run import Run, RunInfo
from convscope.unfinished import whole_folder

RESULT = "explanations.json"
# Classes whose share is followed while a part is covered.
_FOLLOWED = 3
# Photos that the network is made random for.
_SANE = 4


def explain(
    run: Run | Path | str,
    photos: Path | str | Sequence[Path | str],
    out: Path | str,
    options: ExplainOptions | None = None,
    *,
    masks: Path | str | None = None,
    overwrite: bool = False,
    each: Callable[[str], None] = lambda line: None,
    progress: Progress | None = None,
) -> Found:
    """Explain what a run's network says of photos; write pictures, a page and all numbers.

    Parameters
    ----------
    run : Run or path
    photos : path or sequence of path
        Files, and folders that are searched for photos.
    out : path
        The folder to make; it appears whole or not at all.
    options : ExplainOptions, optional
    masks : path, optional
        A folder that holds, under the name of each photo but ending in ``.png``, where the object
        is (white).
    overwrite : bool
        Replace earlier explanations at ``out``.
    each : callable
        Told each finished map in a line.
    progress : Progress, optional

    Returns
    -------
    Found

    Raises
    ------
    InputError
        The run, an option or ``out`` cannot be used, no photo can be read, or the method needs a
        gradient that the network does not have.
    """
    asked, progress = options or ExplainOptions(), progress or Progress()
    run = run if isinstance(run, Run) else Run(Path(run))
    info = run.info()
    if asked.target is not None and asked.target not in info.classes:
        raise unknown_name("class of this run", asked.target, info.classes)
    wanted = listed([photos] if isinstance(photos, (str, Path)) else photos)
    with whole_folder(Path(out), result="explanation", marks=RESULT, overwrite=overwrite) as folder:
        net = Calibrated(load_classifier(run, info), info.temperature).eval()
        done: list[Photo] = []
        failed: list[tuple[str, str]] = []
        inputs: list[Tensor] = []
        for path, error in wanted:
            try:
                if error is not None:
                    raise PhotoError("unsupported", error)
                photo, x = read_photo(path, info)
            except PhotoError as fault:
                failed.append((str(path), fault.reason))
                progress.say(f"left out: {path}: {fault.reason}")
                continue
            mask = None
            if masks is not None:
                mask = mask_of(Path(masks), path, photos, info.input.resize, info.input.size)
            done.append(_explained(net, photo, x, mask, info, asked, each, progress))
            if len(inputs) < _SANE:
                inputs.append(x)
        if not done:
            raise InputError(f"No photo could be explained: {failed[0][0]}: {failed[0][1]}")
        _tell_together(done, each)
        sanity = _sanity(net, inputs, info, asked, each, progress) if asked.sanity else {}
        found = Found(tuple(info.classes), tuple(done), tuple(failed), sanity, asked.seed)
        _write(folder, found)
    return found


def _explained(
    net: nn.Module,
    photo: Photo,
    x: Tensor,
    mask: np.ndarray | None,
    info: RunInfo,
    asked: ExplainOptions,
    each: Callable[[str], None],
    progress: Progress,
) -> Photo:
    with torch.inference_mode():
        shares = net(x.clone())[0].double().softmax(0).numpy()
    target = int(shares.argmax()) if asked.target is None else info.classes.index(asked.target)
    others = [int(k) for k in np.argsort(-shares) if k != target][: _FOLLOWED - 1]
    maps = []
    for name in asked.methods:
        followed = None
        if name == "occlusion":
            several = np.array([target, *others])
            followed = METHODS[name](net, x[0], several, asked, progress)
            one = followed[0]
        else:
            one = METHODS[name](net, x[0], np.array(target), asked, progress)
        curves = _curves(net, x[0], one, asked, progress)
        found = Explained(one, followed, curves, None if mask is None else locate(one, mask))
        words = found.words()
        each(
            f"{photo.path}  {name}  {info.classes[target]} {shares[target]:.2f}"
            + (f"  {words}" if words else "")
        )
        maps.append(found)
    return Photo(photo.path, photo.pixels, photo.box, shares, target, tuple(maps))


def _curves(
    net: nn.Module, x: Tensor, one: Explanation, asked: ExplainOptions, progress: Progress
) -> tuple[Curve, ...]:
    if not asked.trust:
        return ()
    found = [deletion(net, x, one, seed=asked.seed, progress=progress)]
    if asked.insertion:
        found.append(insertion(net, x, one, seed=asked.seed, progress=progress))
    return tuple(found)


def _tell_together(photos: Sequence[Photo], each: Callable[[str], None]) -> None:
    """What the curves of all photos say of a method; one photo says little."""
    if len(photos) < 2:
        return
    for number, of_method in enumerate(photos[0].maps):
        for kind, _ in enumerate(of_method.curves):
            both = together([photo.maps[number].curves[kind] for photo in photos])
            each(f"{of_method.explanation.method}  {both}, p {both.p_together:.2f} together")


def _sanity(
    net: nn.Module,
    inputs: list[Tensor],
    info: RunInfo,
    asked: ExplainOptions,
    each: Callable[[str], None],
    progress: Progress,
) -> dict[str, Randomisation]:
    found = {}
    target = None if asked.target is None else info.classes.index(asked.target)
    for name in asked.methods:
        method = METHODS[name]

        def one(model: nn.Module, images: Tensor, target: Any, method: Any = method) -> Explanation:
            given: Explanation = method(model, images, target, asked, Progress())
            return given

        found[name] = randomisation(one, net, torch.cat(inputs), target, seed=asked.seed)
        each(f"{name}: {found[name].line()}")
    return found


def _write(folder: Path, found: Found) -> None:
    tiles: list[tuple[np.ndarray, str]] = []
    arrays: dict[str, np.ndarray] = {}
    for number, photo in enumerate(found.photos, start=1):
        stem = f"{number:03d}-{_plain(Path(photo.path).stem)}"
        said = f"{found.classes[photo.target]} {photo.probabilities[photo.target]:.2f}"
        for one in photo.maps:
            name = one.explanation.method
            arrays[f"{stem}-{name}"] = one.explanation.map
            picture = heat.figure(
                photo.pixels, one.explanation.map, photo.box, signed=one.explanation.signed,
                unit=UNITS[name], lines=[f"{Path(photo.path).name}: {said}, {name}", one.words()],
            )  # fmt: skip
            write_bytes(folder / f"{stem}-{name}.png", png(picture))
            over = heat.overlay(
                photo.pixels, one.explanation.map, photo.box, one.explanation.signed
            )
            tiles.append((over, f"{said}, {name}"))
    if len(tiles) > 1:
        per_photo = len(found.photos[0].maps)
        columns = per_photo if per_photo > 1 else 4
        write_bytes(folder / "sheet.png", png(heat.sheet(tiles, columns=columns)))
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    write_bytes(folder / "maps.npz", packed.getvalue())
    write_json(folder / RESULT, found.to_dict())
    write_page(folder / "explain.html", EXPLAIN, page_content(found))


def _plain(name: str) -> str:
    """A name that any file system takes."""
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    return kept.encode("utf-8", "replace")[:80].decode("utf-8", "ignore") or "photo"


def png(picture: np.ndarray) -> bytes:
    """uint8 ``(height, width, 3)`` as a file."""
    _, content = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return content.tobytes()
