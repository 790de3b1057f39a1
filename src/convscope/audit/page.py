"""The page of an audit: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from convscope.audit.finding import Finding, worst_of
from convscope.audit.judging import Rate, open_whole
from convscope.audit.patterns import Pattern
from convscope.audit.remedy import Remedy
from convscope.audit.result import ALARM, Audit
from convscope.errors import PhotoError
from convscope.pictures.heat import sheet
from convscope.report.pages import json_values

# Photos on a contact sheet, and their longer side, pixels.
_SHOWN, _SIDE = 12, 200
_LINE = (255, 212, 0)


def contact_sheet(finding: Finding, files: dict[str, Path]) -> np.ndarray | None:
    """Photos that carry it, the place framed: uint8 ``(height, width, 3)``; None without any."""
    paths = finding.carriers
    chosen = [paths[k] for k in np.unique(np.linspace(0, len(paths) - 1, _SHOWN).astype(int))]
    tiles = []
    for path in chosen:
        try:
            photo = open_whole(files[path], 2 * _SIDE)
        except PhotoError:
            continue
        tiles.append((_framed(photo, finding), Path(path).name))
    return sheet(tiles, side=_SIDE, columns=4) if tiles else None


def _framed(photo: np.ndarray, finding: Finding) -> np.ndarray:
    if finding.region is None or finding.region.everywhere:
        return photo
    height, width = photo.shape[:2]
    return _outlined(photo, finding.region.on(width, height))


def pattern_sheet(pattern: Pattern) -> np.ndarray:
    """Photos as the network sees them, the piece framed: uint8 ``(height, width, 3)``."""
    tiles = []
    for name, pixels, mask in pattern.examples:
        side = 2 * _SIDE
        large = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_CUBIC)
        wide = cv2.resize(mask.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
        tiles.append((_outlined(large, wide > 0), Path(name).name))
    return sheet(tiles, side=_SIDE, columns=4)


def _outlined(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    height, width = photo.shape[:2]
    lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    out = photo.copy()  # decoded ones cannot be written to
    thick = max(1, round(max(height, width) / 120))
    for colour, size in (((0, 0, 0), 2 * thick), (_LINE, thick)):
        cv2.drawContours(out, lines, -1, colour, size)
    return out


def page_content(
    audit: Audit,
    sheets: dict[int, np.ndarray],
    patterns: Sequence[np.ndarray],
    remedy: Remedy | None,
) -> dict[str, Any]:
    """Give what the page shows, JSON values.

    Parameters
    ----------
    audit : Audit
    sheets : dict of int to numpy.ndarray
        Contact sheets, by the finding's number.
    patterns : sequence of numpy.ndarray
        Contact sheets of the patterns.
    remedy : Remedy or None
    """
    cards = [
        _finding_card(number, one, sheets.get(number)) for number, one in enumerate(audit.findings)
    ]
    pieces = [
        _pattern_card(number, one, picture)
        for number, (one, picture) in enumerate(zip(audit.patterns, patterns, strict=True))
    ]
    cards += [one for one in pieces if one["strength"] == "strong"]
    shown: dict[str, Any] = json_values({
        "strong": [card for card in cards if card["strength"] == "strong"],
        "weak": [card for card in cards if card["strength"] == "weak"],
        "patterns": [one for one in pieces if one["strength"] == "weak"],
        "sampled": audit.sampled,
        "properties": audit.properties,
        "alarm": ALARM,
        "power": sorted(audit.power.items(), key=lambda item: -item[1]),
        "photos": audit.photos,
        "total": audit.total,
        "searched": audit.searched,
        "left_out": audit.left_out,
        "remedy": None if remedy is None else _remedied(remedy),
    })  # fmt: skip
    return shown


def _remedied(remedy: Remedy) -> dict[str, Any]:
    return {
        "covered": remedy.covered,
        "worst": remedy.worst,
        "accuracy": [_rate(one) for one in remedy.accuracy],
        "groups": {name: [_rate(one) for one in pair] for name, pair in remedy.groups.items()},
    }


def _rate(one: Rate | None) -> dict[str, Any] | None:
    return None if one is None else {"share": one.share, "interval": one.interval, "n": one.n}


def _finding_card(number: int, one: Finding, picture: np.ndarray | None) -> dict[str, Any]:
    shown = min(_SHOWN, len(one.carriers))
    return _card(number, one, f"{one.label}: {one.kind}", picture, shown, one.also)


def _pattern_card(number: int, one: Pattern, picture: np.ndarray) -> dict[str, Any]:
    title = f"{one.label}: {'a piece' if one.inside is None else _lying(one.inside)}"
    return _card(number, one, title, picture, len(one.examples), ())


def _card(
    number: int,
    one: Finding | Pattern,
    title: str,
    picture: np.ndarray | None,
    shown: int,
    also: Sequence[str],
) -> dict[str, Any]:
    worst = worst_of(one.groups)
    return {
        "number": number + 1,
        "title": title,
        "strength": one.strength,
        "text": one.text(),
        "advice": one.advice(),
        "given": _rate(one.given),
        "control": _rate(one.control),
        "taken": _rate(one.taken),
        "p_value": one.p_value,
        "groups": [(name, _rate(rate)) for name, rate in one.groups.items() if rate.n],
        "worst": None if worst is None else (worst[0], _rate(worst[1])),
        "also": also,
        "sheet": None if picture is None else _uri(picture),
        "shown": shown,
        "carriers": one.carriers,
        "stray": one.stray,
    }


def _lying(inside: float) -> str:
    return "part of the object" if inside >= 0.5 else "beside the object"


def _uri(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
