"""docs/gallery.md: every script of examples/, its picture, what it prints, and its source.

    python docs/make_gallery.py                      write it; run examples that were never run
    python docs/make_gallery.py --run highway_depth  run these again as well
    python docs/make_gallery.py --check              write nothing; exit code 1 if out of date

Title and text are those of the script's docstring. What it printed and drew is kept in
``docs/gallery/NAME.txt`` and ``NAME.png`` (or in ``SHOWN``); some of them take ten minutes.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "gallery.md"
KEPT = ROOT / "docs" / "gallery"
LARGEST = 200_000
SHOWN = {
    "forecast_modulation": "images/modulation.png",
    "highway_depth": "nets/images/highway_depth.png",
}
_HEAD = """# Gallery

Scripts of the folder `examples/`, each with what it printed or drew. Run one yourself with
`python examples/NAME.py` (`pip install -e '.[examples]'` first); `--quick` does a little of it.
Times depend on the machine.
"""


def examples() -> list[Path]:
    """The scripts, by name."""
    return sorted((ROOT / "examples").glob("*.py"))


def draws(example: Path) -> bool:
    """Whether it writes a picture."""
    return '"--out"' in example.read_text("utf-8")


def picture_of(example: Path) -> Path:
    """Where the picture lies: with the page that shows it too, if there is one."""
    return PAGE.parent / SHOWN.get(example.stem, f"gallery/{example.stem}.png")


def kept(example: Path) -> bool:
    """Whether there is something of it to show."""
    return (KEPT / f"{example.stem}.txt").exists() or (
        draws(example) and picture_of(example).exists()
    )


def section(example: Path) -> str:
    """Title, text, picture, output and source of one."""
    source = example.read_text("utf-8")
    first, *others = (ast.get_docstring(ast.parse(source)) or example.stem).split("\n\n")
    title = example.stem.replace("_", " ").capitalize()
    parts = [f"## {title}", " ".join(first.split())]
    # A command line, indented in the docstring, stays as it is.
    parts += [text.rstrip() if text.startswith("    ") else text.strip() for text in others]
    if draws(example):
        link = picture_of(example).relative_to(PAGE.parent).as_posix()
        parts.append(f"![What {example.name} draws]({link})")
    if (said := KEPT / f"{example.stem}.txt").exists():
        parts.append(f"```console\n{said.read_text('utf-8').rstrip()}\n```")
    shown = f"<details markdown>\n<summary>examples/{example.name}</summary>"
    parts += [shown, f"```python\n{source.rstrip()}\n```", "</details>"]
    return "\n\n".join(parts) + "\n"


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *map(section, examples())])


def run(example: Path) -> None:
    """Run it, and keep what it prints and draws."""
    KEPT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        print(f"running {example.name}", file=sys.stderr)
        ended = subprocess.run(
            [sys.executable, str(example)], cwd=work, check=True, capture_output=True, text=True
        )
        if draws(example):
            (picture,) = Path(work).glob("*.png")
            picture_of(example).write_bytes(smaller(picture))
    said = f"$ python examples/{example.name}\n{ended.stdout}"
    (KEPT / f"{example.stem}.txt").write_text(said, encoding="utf-8")


def smaller(picture: Path) -> bytes:
    """A picture's bytes, with 256 colours where it would be too large otherwise."""
    content = picture.read_bytes()
    if len(content) > LARGEST:
        from PIL import Image

        with Image.open(picture) as image:
            image.convert("RGB").quantize(256).save(picture, optimize=True)
        content = picture.read_bytes()
    return content


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    for example in examples():
        if not asked.check and (example.stem in asked.run or not kept(example)):
            run(example)
    if page() == PAGE.read_text("utf-8"):
        return
    if asked.check:
        sys.exit("docs/gallery.md is out of date: python docs/make_gallery.py")
    PAGE.write_text(page(), encoding="utf-8")
    print("written: docs/gallery.md")


if __name__ == "__main__":
    main()
