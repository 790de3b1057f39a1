"""Small things that lie about: leaves, stones, twigs, daisies and berries."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from convscope.demo.paint import ellipse, linear, mix, spline, step, stroke
from convscope.demo.relief import Pose, Relief

_LEAF_COLOURS = tuple(
    linear(colour)
    for colour in (
        (96, 132, 48), (70, 112, 52), (150, 150, 58), (196, 150, 52), (190, 98, 40), (140, 62, 38),
        (116, 84, 50),
    )
)  # fmt: skip
_STONE_COLOURS = tuple(
    linear(colour)
    for colour in ((150, 146, 140), (112, 110, 112), (176, 160, 138), (136, 112, 96), (92, 96, 104))
)

Piece = Callable[[Relief, Pose, np.random.Generator, float], None]


def leaf(relief: Relief, pose: Pose, rng: np.random.Generator, lift: float) -> None:
    """A pointed leaf with a midrib and veins, green to autumn brown."""
    wide = rng.uniform(0.34, 0.5)
    bend = rng.uniform(-0.12, 0.12)
    outline = [(-1, 0), (-0.62, -wide * 0.72), (-0.1, -wide), (0.5, -wide * 0.66), (1.0, bend)]
    outline += [(0.5, wide * 0.66), (-0.1, wide), (-0.62, wide * 0.72)]
    colour = _pick(rng, _LEAF_COLOURS)
    other = mix(colour, _pick(rng, _LEAF_COLOURS), 0.45)
    veins = rng.uniform(16, 22)
    bright = colour * 1.7 + 0.03

    def paint(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        blade = mix(colour, other, step(x + np.abs(y), 0.0, 0.9))
        rib = np.maximum(
            step(-np.abs(y - bend * x * x), -0.045, 0.03),
            0.45 * step(np.sin(veins * (x - 1.1 * np.abs(y))), 0.75, 0.25),
        )
        return mix(blade, bright, 0.6 * rib)

    stalk = stroke([(-0.9, 0), (-1.2, 0.05), (-1.45, 0.16)], 0.08, 0.05)
    relief.lay(
        pose,
        [spline(outline), *stalk],
        paint,
        lift=lift,
        puff=0.1,
        gloss=0.15,
        carve=lambda x, y: -0.05 * np.exp(y * y * -200),
    )


def stone(relief: Relief, pose: Pose, rng: np.random.Generator, lift: float) -> None:
    """A rounded stone, speckled."""
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    radii = rng.uniform(0.62, 0.95, 8) * np.where(np.abs(np.sin(angles)) > 0.5, 0.78, 1.0)
    outline = [
        (float(r * np.cos(a)), float(r * np.sin(a))) for r, a in zip(radii, angles, strict=True)
    ]
    colour = _pick(rng, _STONE_COLOURS)
    fx, fy = rng.uniform(7, 17, 2)

    def paint(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        fleck = np.sin(fx * x + 3 * np.sin(fy * y)) * np.sin(fy * y + 4 * np.sin(0.7 * fx * x))
        return mix(colour, colour * 0.55, 0.6 * step(fleck, 0.45, 0.2))

    relief.lay(pose, [spline(outline)], paint, lift=lift, puff=0.5, gloss=0.1)


def twig(relief: Relief, pose: Pose, rng: np.random.Generator, lift: float) -> None:
    """A bent twig with a side shoot or two."""
    bark = mix(linear((104, 76, 52)), linear((142, 124, 104)), float(rng.random()))
    bends = rng.uniform(-0.18, 0.18, 3)
    parts = stroke([(-1.3, bends[0]), (-0.3, bends[1]), (0.4, 0.0), (1.3, bends[2])], 0.15, 0.07)
    for x in rng.uniform(-0.5, 0.7, 2):
        tip = x + rng.uniform(0.25, 0.45), float(rng.choice((-1, 1))) * rng.uniform(0.28, 0.5)
        parts += stroke([(x, 0.0), ((x + tip[0]) / 2, tip[1] * 0.6), tip], 0.08, 0.05)
    relief.lay(
        pose,
        parts,
        lambda x, y: mix(bark, bark * 0.5, step(np.sin(60 * x + 20 * y), 0.3, 0.5)),
        lift=lift + 0.03,
        puff=0.09,
    )


def daisy(relief: Relief, pose: Pose, rng: np.random.Generator, lift: float) -> None:
    """A flower of white or tinted petals."""
    count = int(rng.integers(8, 13))
    tint = _pick(rng, (linear((246, 244, 236)), linear((244, 200, 214)), linear((250, 226, 130))))
    petals = []
    for k in range(count):
        turn = 2 * np.pi * k / count + rng.uniform(-0.1, 0.1)
        middle = 0.58 * np.cos(turn), 0.58 * np.sin(turn)
        petals.append(ellipse(*middle, 0.38, 0.14, turn=turn, steps=20))
    relief.lay(pose, petals, tint, lift=lift + 0.05, puff=0.08)
    heart = linear((232, 170, 40))
    relief.lay(pose, [ellipse(0, 0, 0.27, 0.27)], heart, lift=lift + 0.1, puff=0.16)


def berry(relief: Relief, pose: Pose, rng: np.random.Generator, lift: float) -> None:
    """Two or three shiny berries."""
    colour = _pick(rng, (linear((178, 36, 40)), linear((62, 58, 112)), linear((226, 128, 36))))
    for k in range(int(rng.integers(2, 4))):
        x, y = 0.5 * np.cos(2.1 * k), 0.5 * np.sin(2.1 * k)
        relief.lay(pose, [ellipse(x, y, 0.42, 0.42)], colour, lift=lift, puff=0.5, gloss=0.9)
        pip = ellipse(x + 0.1, y - 0.05, 0.09, 0.09, steps=12)
        relief.lay(pose, [pip], colour * 0.25, lift=lift + 0.44, puff=0.0)


# What may lie on top of a creature, and what may lie about.
LIGHT_PIECES: tuple[Piece, ...] = (leaf, leaf, twig, daisy, berry)
PIECES: tuple[Piece, ...] = (*LIGHT_PIECES, stone, stone, twig)


def _pick(rng: np.random.Generator, colours: tuple[np.ndarray, ...]) -> np.ndarray:
    return colours[int(rng.integers(len(colours)))]
