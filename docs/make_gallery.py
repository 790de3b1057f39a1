"""docs/gallery.md: every script of examples/, its picture, what it prints, and its source.

    python docs/make_gallery.py                      write it; run examples that were never run
    python docs/make_gallery.py --run highway_depth  run these again as well
    python docs/make_gallery.py --check              write nothing; exit code 1 if out of date

Title and text are those of the script's docstring. What it printed and drew is kept in
``docs/gallery/NAME.txt`` and ``NAME.png``; some of them take ten minutes.
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
_HEAD = """# Gallery

Scripts of the folder `examples/`, each with what it printed and drew. Run one yourself with
`python examples/NAME.py` (`pip install -e '.[examples]'` first); `--quick` does a little of it.
Times depend on the machine.
"""


def examples() -> list[Path]:
    """The scripts, by name."""
    return sorted((ROOT / "examples").glob("*.py"))


def draws(example: Path) -> bool:
    """Whether it writes a picture."""
    return '"--out"' in example.read_text("utf-8")


def section(example: Path) -> str:
    """Title, text, picture, output and source of one."""
    source = example.read_text("utf-8")
    first, *others = (ast.get_docstring(ast.parse(source)) or example.stem).split("\n\n")
    title = f"{example.stem.replace('_', ' ').capitalize()} {{ #{example.stem.replace('_', '-')} }}"
    parts = [f"## {title}", " ".join(first.split())]
    # A command line, indented in the docstring, stays as it is.
    parts += [text.rstrip() if text.startswith("    ") else text.strip() for text in others]
    if draws(example):
        parts.append(f"![What {example.name} draws](gallery/{example.stem}.png)")
    said = (KEPT / f"{example.stem}.txt").read_text("utf-8").rstrip()
    parts.append(f"```console\n$ python examples/{example.name}\n{said}\n```")
    inside = "\n".join(f"    {line}".rstrip() for line in source.rstrip().splitlines())
    parts.append(f'??? example "examples/{example.name}"\n    ```python\n{inside}\n    ```')
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
            (KEPT / f"{example.stem}.png").write_bytes(smaller(picture))
    (KEPT / f"{example.stem}.txt").write_text(ended.stdout, encoding="utf-8")


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
        if not asked.check and (
            example.stem in asked.run or not (KEPT / f"{example.stem}.txt").exists()
        ):
            run(example)
    if page() == PAGE.read_text("utf-8"):
        return
    if asked.check:
        sys.exit("docs/gallery.md is out of date: python docs/make_gallery.py")
    PAGE.write_text(page(), encoding="utf-8")
    print("written: docs/gallery.md")


if __name__ == "__main__":
    main()
