"""What else lies in a Run folder, for the report: each section as it was kept, cut to its room."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convscope.report.pages import (
    AUDIT,
    COMPARE,
    EXPLAIN,
    FORECAST,
    KEPT,
    NEURONS,
    Kind,
    read_page,
)
from convscope.run import Predictions

# Characters that a section may take, so that the page stays under 15 MB with photos in it.
_ROOM = {"compare": 400_000, "explain": 2_600_000, "neurons": 2_600_000, "audit": 1_400_000,
         "forecast": 800_000}  # fmt: skip


@dataclass(frozen=True)
class Section:
    """One thing that a report can show.

    Attributes
    ----------
    kind : Kind
    anchor : str
        Of the page.
    title : str
        Of the list of sections.
    lacks : str
        What is not known while it has not been made.
    option : str
        Of ``convscope report``, that makes it or takes it in.
    """

    kind: Kind
    anchor: str
    title: str
    lacks: str
    option: str

    @property
    def folder(self) -> str:
        """Its place in the Run folder."""
        return self.kind.name


SECTIONS = (
    Section(COMPARE, "ladder", "Ways of training", "whether another way of training is better",
            " --compare LADDER"),
    Section(EXPLAIN, "explanations", "What it looks at", "what its answers rest on", ""),
    Section(NEURONS, "neurons", "Neurons", "which patches excite its neurons", ""),
    Section(AUDIT, "audit", "Shortcuts", "whether it goes by shortcuts", ""),
    Section(FORECAST, "forecast", "Forecast", "a forecast beside it", " --forecast FORECAST_RUN"),
)  # fmt: skip


@dataclass(frozen=True)
class Sections:
    """What a Run folder holds beside what ``fit`` wrote.

    Attributes
    ----------
    shown : dict of str to dict
        Kind -> what its section shows.
    missing : tuple of Section
        Not made yet.
    cut : dict of str to int
        Kind -> how many photos, channels or pictures were left out for want of room.
    characters : int
        What all of them take.
    """

    shown: dict[str, dict[str, Any]]
    missing: tuple[Section, ...]
    cut: dict[str, int]
    characters: int


def read_sections(run: Path, predictions: Predictions) -> Sections:
    """Read every section that lies in a Run folder.

    Parameters
    ----------
    run : Path
    predictions : Predictions
        They know what the explained photos really are.

    Raises
    ------
    InputError
        A section is damaged or from another version; the message names its folder.
    """
    shown, cut, missing, characters = {}, {}, [], 0
    for section in SECTIONS:
        name = section.kind.name
        if not (run / section.folder / KEPT).is_file():
            missing.append(section)
            continue
        content = read_page(run / section.folder, section.kind)
        if section.kind is EXPLAIN:
            _label(content, predictions)
        shown[name], cut[name] = fit_in(name, content, _ROOM[name])
        characters += _size(shown[name])
    return Sections(shown, tuple(missing), cut, characters)


def fit_in(name: str, content: dict[str, Any], room: int) -> tuple[dict[str, Any], int]:
    """Leave out the last pieces of a section until it takes no more than its room.

    Parameters
    ----------
    name : str
        Of the kind.
    content : dict
    room : int
        Characters.

    Returns
    -------
    dict
    int
        How many pieces were left out.
    """
    smaller = _SMALLER.get(name)
    left_out = 0
    while smaller is not None and _size(content) > room:
        less = smaller(content)
        if less is None:
            break
        content = less
        left_out += 1
    return content, left_out


def _size(content: Mapping[str, Any]) -> int:
    return len(json.dumps(content, ensure_ascii=False))


def _label(content: dict[str, Any], predictions: Predictions) -> None:
    """Say of each explained photo what it really is, where the run knows it."""
    labels = dict(zip(predictions.paths, predictions.labels, strict=True))
    for card in content["cards"]:
        parts = Path(card["path"]).parts
        # The longest end of the path that is one of the run's.
        ends = ("/".join(parts[first:]) for first in range(len(parts)))
        card["label"] = next((labels[end] for end in ends if end in labels), None)


def _fewer_photos(content: dict[str, Any]) -> dict[str, Any] | None:
    if len(content["cards"]) <= 1:
        return None
    return {**content, "cards": content["cards"][:-1], "data": content["data"][:-1]}


def _fewer_channels(content: dict[str, Any]) -> dict[str, Any] | None:
    """The last channels of the layer that shows most; photos that only they needed go, too."""
    layers = content["data"]["layers"]
    most = max(range(len(layers)), key=lambda number: len(layers[number]["channels"]))
    if len(layers[most]["channels"]) <= 1:
        return None
    # Several at once: each try is measured.
    less = max(1, len(layers[most]["channels"]) // 8)
    kept = [one["channels"][: -less if n == most else None] for n, one in enumerate(layers)]
    needed = sorted({hit["photo"] for one in kept for channel in one for hit in channel["hits"]})
    places = {old: new for new, old in enumerate(needed)}
    shorter = []
    for number, (one, channels) in enumerate(zip(layers, kept, strict=True)):
        shares = np.frombuffer(base64.b64decode(one["shares"]), np.uint8)
        shares = shares.reshape(-1, len(one["channels"]))[needed, : len(channels)]
        moved = [
            {**channel, "hits": [{**hit, "photo": places[hit["photo"]]} for hit in channel["hits"]]}
            for channel in channels
        ]
        shorter.append({
            **one, "channels": moved, "hidden": one["hidden"] + less * (number == most),
            "shares": base64.b64encode(np.ascontiguousarray(shares).tobytes()).decode("ascii"),
        })  # fmt: skip
    photos = [content["data"]["photos"][old] for old in needed]
    named = [
        [name, said, one["hidden"], silent]
        for (name, said, _, silent), one in zip(content["layers"], shorter, strict=True)
    ]
    data = {**content["data"], "layers": shorter, "photos": photos}
    return {**content, "data": data, "layers": named}


def _fewer_sheets(content: dict[str, Any]) -> dict[str, Any] | None:
    """The picture of the last finding that has one, weak ones first."""
    for group in ("weak", "patterns", "strong"):
        cards = content[group]
        with_one = [number for number, card in enumerate(cards) if card["sheet"]]
        if with_one:
            cards = [
                {**card, "sheet": None} if number == with_one[-1] else card
                for number, card in enumerate(cards)
            ]
            return {**content, group: cards}
    return None


_SMALLER: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
    "explain": _fewer_photos,
    "neurons": _fewer_channels,
    "audit": _fewer_sheets,
}
