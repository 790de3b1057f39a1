"""What a user can have done, and the command that does it: the same as in a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from convscope.app.names import plain_text
from convscope.options import Head, Strategy

Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(plain_text)]
# A column may have no name: the index that other programs write.
Column = Annotated[str, StringConstraints(max_length=200), AfterValidator(plain_text)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Demo(_Asked):
    """Draw the demo's photos."""

    kind: Literal["demo"]
    shortcut: bool = False
    seed: Seed = 0

    def command(self, out: Path) -> list[str]:
        """Arguments of ``convscope``."""
        words = ["demo", "--photos-only", f"--out={out}", f"--seed={self.seed}"]
        return [*words, "--shortcut"] if self.shortcut else words


class Check(_Asked):
    """Look through photos for problems."""

    kind: Literal["check"]
    item: Name

    def command(self, photos: Path) -> list[str]:
        """Arguments of ``convscope``."""
        return ["check", "--json", "--", str(photos)]


class Fit(_Asked):
    """Train a classifier."""

    kind: Literal["fit"]
    item: Name
    strategy: Strategy = "auto"
    augment: Literal["none", "standard", "strong", "trivial", "mixup", "cutmix"] | None = None
    net: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")] | None = None
    head: Head | None = None
    epochs: Annotated[int, Field(ge=1, le=100_000)] | None = None
    seed: Seed = 0

    def command(self, photos: Path, out: Path) -> list[str]:
        """Arguments of ``convscope``."""
        words = ["fit", f"--out={out}", f"--strategy={self.strategy}", f"--seed={self.seed}"]
        for name in ("augment", "net", "head", "epochs"):
            value = getattr(self, name)
            if value is not None:
                words.append(f"--{name}={value}")
        return [*words, "--json", "--", str(photos)]


class Neurons(_Asked):
    """Find the patches that excite a layer."""

    kind: Literal["neurons"]
    item: Name
    layer: Annotated[str, StringConstraints(pattern=r"^[\w.]{1,100}$")]

    def command(self, run: Path, photos: Path, out: Path) -> list[str]:
        """Arguments of ``convscope``."""
        words = ["neurons", f"--layer={self.layer}", f"--out={out}", "--overwrite", "--json"]
        return [*words, "--", str(run), str(photos)]


class Audit(_Asked):
    """Look for shortcuts over a whole data set."""

    kind: Literal["audit"]
    item: Name
    seed: Seed = 0

    def command(self, run: Path, photos: Path, out: Path) -> list[str]:
        """Arguments of ``convscope``."""
        words = ["audit", f"--out={out}", "--overwrite", f"--seed={self.seed}", "--json"]
        return [*words, "--", str(run), str(photos)]


class Report(_Asked):
    """Add explanations, neurons and shortcuts to a run's report."""

    kind: Literal["report"]
    item: Name
    seed: Seed = 0

    def command(self, run: Path, photos: Path) -> list[str]:
        """Arguments of ``convscope``."""
        return ["report", f"--photos={photos}", f"--seed={self.seed}", "--json", "--", str(run)]


class Forecast(_Asked):
    """Train a forecaster."""

    kind: Literal["forecast"]
    item: Name
    target: Annotated[tuple[Column, ...], Field(min_length=1, max_length=100)]
    time: Column | None = None
    series: Column | None = None
    horizon: Annotated[int, Field(ge=1, le=100_000)] = 24
    look_back: Annotated[str, StringConstraints(pattern=r"^[\w. ]{1,40}$")] | None = None
    gaps: Literal["error", "mask", "interpolate"] = "mask"
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 30
    seed: Seed = 0

    def command(self, table: Path, out: Path) -> list[str]:
        """Arguments of ``convscope``."""
        words = [
            "forecast", "fit", f"--out={out}", f"--horizon={self.horizon}", f"--gaps={self.gaps}",
            f"--epochs={self.epochs}", f"--seed={self.seed}",
            *(f"--target={name}" for name in self.target),
        ]  # fmt: skip
        for option, value in (
            ("time", self.time), ("series", self.series), ("look-back", self.look_back),
        ):  # fmt: skip
            if value is not None:
                words.append(f"--{option}={value}")
        return [*words, "--json", "--", str(table)]


Asked = Annotated[
    Demo | Check | Fit | Neurons | Audit | Report | Forecast, Field(discriminator="kind")
]  # fmt: skip
