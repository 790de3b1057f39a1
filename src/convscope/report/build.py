"""From a Run folder to ``report.html``: read, compute, render, write."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from convscope.errors import ConvscopeError
from convscope.report.calibration import reliability, reliability_bins
from convscope.report.confusion import SHADES, matrix
from convscope.report.contents import read_contents
from convscope.report.curves import curves
from convscope.report.gallery import Gallery, choose_photos
from convscope.report.headline import SPLIT_WORDS, headline
from convscope.report.photos import MAX_CHARACTERS, embed, mixing, sheet_uri
from convscope.report.problems import problems
from convscope.report.rendering import script_of, style, template
from convscope.report.sections import SECTIONS, read_sections
from convscope.run import Run, RunInfo

_SCRIPTS = ("report.js", "charts.js")


def build_report(run: Run, photos_root: Path) -> Path:
    """Write ``report.html`` of a run: one file that needs nothing else, network included.

    Parameters
    ----------
    run : Run
        A folder with ``run.json``, ``metrics.json``, ``predictions.parquet`` and ``log/``.
    photos_root : Path
        The folder that the paths of the predictions are relative to. A photo that is no longer
        there, or unreadable, becomes a grey field with its name.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        A file of the run is missing or not what it should be.
    ConvscopeError
        The page cannot be written.
    """
    page = render(run, photos_root)
    target = run.report_path
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        # A file name that is no valid text must not stop the page.
        unfinished.write_bytes(page.encode("utf-8", errors="replace"))
        unfinished.replace(target)
    except OSError as error:
        raise ConvscopeError(
            f"{target} cannot be written ({error.strerror}). "
            "Make room, or allow writing to that folder, and build the report again."
        ) from None
    finally:
        # Still there only if something went wrong, an interrupt included.
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return target


def render(run: Run, photos_root: Path) -> str:
    """Compute everything the page shows and give its HTML."""
    contents = read_contents(run)
    info, scores, predictions = contents.info, contents.scores, contents.predictions
    gallery = choose_photos(predictions, info.classes)
    large = frozenset(shot.row for shot in gallery.mistakes)
    sections = read_sections(run.path, predictions)
    copies = embed(
        photos_root, ((shot.row, shot.path) for shot in gallery.shots), large,
        MAX_CHARACTERS - sections.characters,
    )  # fmt: skip
    script, script_hash = script_of((*_SCRIPTS, *_own_scripts(sections.shown)))
    return template("template.html").render(
        info=info,
        style=style(),
        script=script,
        script_hash=script_hash,
        top=headline(info, scores),
        problems=problems(contents.findings, scores.left_out),
        curves=curves(contents.epochs, info.training),
        sheet=sheet_uri(run),
        mixing=mixing(info),
        matrices=[
            matrix(scores.splits[name], info.classes)
            for name in ("test", "valid")
            if name in scores.splits
        ],
        shades=_shade_words(),
        mistakes=[(shot, copies.get(shot.row)) for shot in gallery.mistakes],
        n_mistakes=gallery.n_mistakes,
        scores=scores,
        split_words=SPLIT_WORDS,
        diagram=reliability(reliability_bins(predictions, "test")),
        data=_page_data(info, gallery, copies, large),
        sections=SECTIONS,
        taken=sections.shown,
        missing=sections.missing,
        cut=sections.cut,
        run_name=shlex.quote(_run_name(run.path)),
    )


def _own_scripts(shown: Mapping[str, Any]) -> tuple[str, ...]:
    kinds = [section.kind for section in SECTIONS if section.kind.name in shown]
    names = [name for kind in kinds for name in kind.scripts if name not in _SCRIPTS]
    return tuple(dict.fromkeys(names))


def _page_data(
    info: RunInfo,
    gallery: Gallery,
    copies: Mapping[int, str | None],
    large: frozenset[int],
) -> dict[str, Any]:
    """Give what the script needs: a photo that is in the page already is not sent twice."""
    return {
        "classes": list(info.classes),
        "photos": {
            str(shot.row): {
                "path": shot.path,
                "name": shot.name,
                "label": shot.label,
                "predicted": shot.predicted,
                "p": round(shot.p_predicted, 4),
                "pLabel": round(shot.p_label, 4),
                "src": None if shot.row in large else copies[shot.row],
            }
            for shot in gallery.shots
            if shot.row in copies
        },
        "cells": {
            f"{split} {i} {j}": [row for row in rows if row in copies]
            for (split, i, j), rows in gallery.cells.items()
            if split in ("test", "valid")
        },
    }


def _shade_words() -> tuple[str, ...]:
    ends = [f"{100 * end:.0f}" for end in SHADES]
    return tuple(f"{low}–{high} %" for low, high in zip(["0", *ends[:-1]], ends, strict=True))


def _run_name(path: Path) -> str:
    # While a fit goes on, its folder is called RUN.partial.
    return path.resolve().name.removesuffix(".partial")
