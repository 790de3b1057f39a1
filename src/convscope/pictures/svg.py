"""The parts that the pictures are made of: text, numbers, photos, the page around them.

A picture is one SVG file without scripts and without links, so that it can stand in an ``<img>``
anywhere. It brings its own ground, light or dark as the reader's system is.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from PIL import Image

# Narrow, so that letters stay readable where a phone shows the picture 375 pixels wide.
WIDTH = 640
MARGIN = 18
# A photo of fewer pixels than this, on its longer side, is shown as squares; a JPEG of it would be
# more artefact than photo.
SMALL = 64
_SQUARES = 256
_QUALITY = 85

_STYLE = """
svg { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif }
text { font-size: 14px; fill: #1f2328 }
.ground { fill: #fff }
.h { font-size: 20px; font-weight: 700 }
.b { font-weight: 700 }
.s { fill: #59636e }
.n { font-size: 11px; font-weight: 700; fill: #fff }
.axis { stroke: #818b98; fill: none }
.grid { stroke: #818b98; stroke-opacity: .25; fill: none }
.curve { stroke: #59636e; stroke-width: 2; fill: none; stroke-linejoin: round }
.rim { stroke: #fff; stroke-width: 1.5 }
.mark { fill: #c2185b }
.markline { stroke: #c2185b; stroke-width: 1.5; stroke-dasharray: 5 4 }
.pad { fill: #d1d9e0 }
.pad2 { stroke: #b1bac4; stroke-width: 3 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.ground { fill: #0d1117 }
.s { fill: #9198a1 }
.n { fill: #fff }
.curve { stroke: #9198a1 }
.rim { stroke: #0d1117 }
.mark { fill: #ff6f9f }
.markline { stroke: #ff6f9f }
.pad { fill: #2a313c }
.pad2 { stroke: #3d444d }
}
"""


def page(height: float, title: str, description: str, parts: Iterable[str]) -> str:
    """The whole file: the parts on their ground, with a title and a description in words."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {number(height)}" '
        f'width="{WIDTH}" height="{number(height)}" role="img" aria-labelledby="title desc">\n'
        f'<title id="title">{words(title)}</title>\n<desc id="desc">{words(description)}</desc>\n'
        f"<style>{_STYLE}</style>\n"
        f'<rect class="ground" width="{WIDTH}" height="{number(height)}" rx="8"/>\n{body}\n</svg>\n'
    )


def heading(title: str, below: str) -> str:
    """Two lines at the top of the picture; they end at 56."""
    return text(MARGIN, 32, cut(title, 46), "h") + text(MARGIN, 54, below, "s")


def text(x: float, y: float, content: str, style: str = "", anchor: str = "start") -> str:
    """One line of text; ``style`` is a CSS class of the page, or several."""
    style = f' class="{style}"' if style else ""
    anchor = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{number(x)}" y="{number(y)}"{style}{anchor}>{words(content)}</text>'


def chip(x: float, y: float, content: str, colour: str, radius: float = 8.5) -> str:
    """A number on a coloured disc."""
    return (
        f'<circle class="rim" cx="{number(x)}" cy="{number(y)}" r="{number(radius)}" '
        f'fill="{colour}"/>' + text(x, y + 4, content, "n", "middle")
    )


def number(value: float) -> str:
    """As short as a tenth of a drawing unit allows.

    >>> number(3.0), number(2.345), number(-0.01)
    ('3', '2.3', '0')
    """
    rounded = round(value, 1) + 0.0  # no negative zero
    return f"{rounded:g}" if abs(rounded) < 1e5 else str(rounded)


def exact(value: float) -> str:
    """A coordinate in the input's own pixels, where rounding would be a lie."""
    return f"{value:.10g}"


def words(content: str) -> str:
    """Text as XML has it, without the characters that XML cannot hold."""
    fit = content.encode("utf-8", errors="replace").decode("utf-8")
    return escape("".join(c if c.isprintable() else "�" for c in fit))


def quoted(content: str) -> str:
    """The same as the value of an attribute, with its quotes."""
    return quoteattr("".join(c if c.isprintable() else "�" for c in content))


def cut(content: str, most: int) -> str:
    """A name of a bounded length; its end tells more than its beginning.

    >>> cut("backbone.layer4.2.conv3", 15)
    '…layer4.2.conv3'
    """
    return content if len(content) <= most else f"…{content[1 - most :]}"


def data_uri(photo: np.ndarray) -> str:
    """A photo ``(h, w)`` or ``(h, w, 3)``, uint8, as it stands in the file itself."""
    stream = io.BytesIO()
    longer = max(photo.shape[:2])
    if longer < SMALL:
        # Pixels as squares of pixels: not every program that shows SVG could be told not to blur.
        squares = _SQUARES // longer
        Image.fromarray(photo.repeat(squares, 0).repeat(squares, 1)).save(
            stream, "PNG", optimize=True
        )
        kind = "png"
    else:
        Image.fromarray(photo).save(stream, "JPEG", quality=_QUALITY, optimize=True)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
