"""From a Run folder and photos to the patches that excite its neurons."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from convscope.data.images import crop_box
from convscope.data.survey import DecodeSpec, Facts
from convscope.errors import InputError
from convscope.explain.asking import left_as_found
from convscope.explain.exciting import Hit, hits_of, strongest_of
from convscope.explain.strongest import Strongest
from convscope.explain.tapping import Layer, Tapped
from convscope.files import write_json
from convscope.nets.inference import prepare
from convscope.neurons.asked import NeuronsOptions, Photos, find_photos
from convscope.neurons.measures import Measures, in_blocks, measure
from convscope.neurons.page import write_neurons
from convscope.neurons.parts import PART, Parts, structure
from convscope.neurons.result import LayerFound, NeuronsFound, PhotoBox, Seen
from convscope.neurons.tables import write_activations, write_channels, write_patches
from convscope.predicting import load_classifier
from convscope.progress import Progress
from convscope.run import Run, RunInfo
from convscope.transfer.push import push
from convscope.unfinished import UnfinishedFolder

RESULT = "neurons.json"


def neurons(
    run: Run | Path | str,
    photos: Path | str,
    out: Path | str,
    options: NeuronsOptions,
    *,
    overwrite: bool = False,
    resume: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> NeuronsFound:
    """Find, for every channel of some layers, the patches of photos that excite it most.

    One pass over the photos; memory does not grow with their number but for a few numbers of each.

    Parameters
    ----------
    run : Run or path
    photos : path
        A data set with classes, see :func:`~convscope.data.folder.scan`, or a folder of photos.
    out : path
        The folder to make: ``neurons.json``, ``patches.parquet``, ``channels.parquet``,
        ``activations.parquet`` and ``neurons.html``.
    options : NeuronsOptions
    overwrite : bool
        Replace earlier results at ``out``.
    resume : bool
        Go on with what was interrupted.
    workers : int, optional
        Decoding processes, default one per core.
    progress : Progress, optional

    Returns
    -------
    NeuronsFound

    Raises
    ------
    InputError
        The run, the photos, a layer or ``out`` cannot be used.
    ConvscopeError
        The work failed; what is done so far is kept for ``resume``.
    """
    progress, out = progress or Progress(), Path(out)
    run = run if isinstance(run, Run) else Run(Path(run))
    info = run.info()
    given = find_photos(Path(photos))
    model = load_classifier(run, info)
    asked = {
        **options.to_dict(), "photos": str(photos), "photos_state": given.state,
        "run": info.model_sha256,
    }  # fmt: skip
    with left_as_found(model):
        tapped = Tapped(model, (3, info.input.size, info.input.size), options.layers)
        folder = UnfinishedFolder(
            out, asked, work="search for neurons", result="neurons", marks=RESULT,
            overwrite=overwrite, resume=resume,
        )  # fmt: skip
        if resume and not folder.resumed:
            progress.say("nothing to resume: starting from the beginning")
        with folder.kept():
            parts = Parts(folder.work / "parts", tapped.layers, options.per_photo)
            _pass(tapped, given, parts, info, workers, progress)
            found = _find(tapped, given, parts, info, options)
            write_patches(folder.folder / "patches.parquet", found)
            write_channels(folder.folder / "channels.parquet", found)
            write_activations(folder.folder / "activations.parquet", given, parts)
            write_neurons(folder.folder / "neurons.html", tapped, model, given, found, parts, info,
                          options, progress)  # fmt: skip
            write_json(folder.folder / RESULT, found.to_dict())
            folder.complete()
    return found


def _pass(
    tapped: Tapped,
    given: Photos,
    parts: Parts,
    info: RunInfo,
    workers: int | None,
    progress: Progress,
) -> None:
    """Every photo once through the network; part after part goes to disk."""
    shape = structure(tapped.layers, parts.per_photo)
    first = parts.done()
    decode = DecodeSpec(info.input.resize, info.input.size, fast=info.precision.mode == "fast")
    held: list[np.ndarray] = []
    facts: list[Facts] = []

    def keep() -> None:
        nonlocal first
        parts.write(first, facts, np.concatenate(held))
        first += len(facts)
        held.clear()
        facts.clear()

    function = _peaks_of(tapped, info, parts.per_photo, shape)
    with (
        progress.task("activations", len(given.files), "photos") as advance,
        closing(push(given.files[first:], decode, function, workers=workers)) as results,
    ):
        advance(first)
        for chunk, found in results:
            _require_numbers(found, chunk.facts, tapped.layers, given, first + len(facts))
            held.append(found)
            facts.extend(chunk.facts)
            advance(len(chunk.facts))
            if len(facts) >= PART:
                keep()
        if facts:
            keep()


def _peaks_of(
    tapped: Tapped, info: RunInfo, per_photo: int, shape: np.dtype
) -> Callable[[np.ndarray], np.ndarray]:
    def function(pixels: np.ndarray) -> np.ndarray:
        found = np.zeros(len(pixels), shape)
        with torch.no_grad():
            x = prepare(torch.from_numpy(pixels), info.input.mean, info.input.std)
            for number, (values, units) in enumerate(strongest_of(tapped, x, per_photo)):
                found[f"values{number}"], found[f"units{number}"] = values, units
        return found

    return function


def _require_numbers(
    found: np.ndarray, facts: tuple[Facts, ...], layers: tuple[Layer, ...], given: Photos,
    first: int,
) -> None:  # fmt: skip
    for number, layer in enumerate(layers):
        for row in np.flatnonzero(np.isnan(found[f"values{number}"]).any((1, 2))):
            if facts[row].usable:
                raise InputError(
                    f"{given.names[first + int(row)]} gives NaN in layer {layer.name}: this "
                    "network is broken. Fit again."
                )


def _find(
    tapped: Tapped, given: Photos, parts: Parts, info: RunInfo, options: NeuronsOptions
) -> NeuronsFound:
    sizes = np.zeros((len(given.files), 2), np.int64)
    failed = list(given.ignored)
    for first, columns in parts.facts():
        for row, error in enumerate(columns["error"]):
            sizes[first + row] = columns["width"][row], columns["height"][row]
            if error:
                failed.append((given.names[first + row], str(error)))
    usable = np.flatnonzero(sizes.min(1) > 0)
    if not len(usable):
        raise InputError(f"No photo can be used: {failed[0][0]}: {failed[0][1]}.")
    numbers = {name: number for number, name in enumerate(given.classes)}
    labels = np.array([numbers.get(given.labels[row] or "", -1) for row in usable])
    boxes = _PhotoBoxes(sizes, info)
    layers = []
    for number, layer in enumerate(tapped.layers):
        best, lowest = Strongest(layer.channels, options.top), np.inf
        for first, good, peaks in parts.peaks(number):
            rows = np.flatnonzero(good)
            if len(rows):
                best.update(peaks.values[rows], peaks.units[rows], first + rows)
                lowest = min(lowest, float(peaks.values[rows, :, 0].min()))
        measures = _measures(parts, number, layer, usable, labels, len(given.classes))
        seen = tuple(
            tuple(Seen(hit, boxes.of(hit)) for hit in hits_of(tapped, layer, best, lowest, channel))
            for channel in range(layer.channels)
        )
        layers.append(LayerFound(layer, measures, seen))
    return NeuronsFound(
        given.names, given.labels, given.classes, sizes, tuple(layers), tuple(failed)
    )


def _measures(
    parts: Parts, number: int, layer: Layer, usable: np.ndarray, labels: np.ndarray, classes: int
) -> Measures:
    def columns() -> Iterator[tuple[slice, np.ndarray]]:
        for some in in_blocks(len(usable), layer.channels):
            values = [peaks.values[good, some, 0] for _, good, peaks in parts.peaks(number)]
            yield some, np.concatenate(values)

    return measure(columns(), layer.channels, labels, classes)


class _PhotoBoxes:
    """From the network's input back onto the photos."""

    def __init__(self, sizes: np.ndarray, info: RunInfo) -> None:
        self.sizes, self.input = sizes, info.input

    def of(self, hit: Hit) -> PhotoBox:
        """What a neuron saw, in the photo's own pixels."""
        width, height = map(int, self.sizes[hit.image])
        left, top, right, bottom = crop_box(width, height, self.input.resize, self.input.size)
        rows, columns = hit.box
        x, y = (right - left) / self.input.size, (bottom - top) / self.input.size
        return (
            left + columns.start * x, top + rows.start * y,
            left + columns.stop * x, top + rows.stop * y,
        )  # fmt: skip
