"""The folder of a comparison: whole or not there at all; what an interrupted one has done is kept.

A finished folder holds

- ``compare.html``: the page;
- ``compare.json``: :class:`~convscope.comparing.result.Comparison`;
- ``predictions.parquet``: what every training said of every test photo;
- ``split.csv``: the photos with their split, as any command takes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convscope.unfinished import UnfinishedFolder

RESULT = "compare.json"


class ComparisonFolder(UnfinishedFolder):
    """A comparison in the making.

    Parameters
    ----------
    out, asked, overwrite, resume
        See :class:`~convscope.unfinished.UnfinishedFolder`, of errors, too.
    """

    def __init__(
        self, out: Path, asked: dict[str, Any], *, overwrite: bool = False, resume: bool = False
    ) -> None:
        super().__init__(
            out, asked, work="comparison", result="comparison", marks=RESULT, overwrite=overwrite,
            resume=resume,
        )  # fmt: skip
