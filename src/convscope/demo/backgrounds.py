"""What lies underneath: grass, sand, wood, water, pebbles, leaves, brick, cloth; and snow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from convscope.demo.clutter import leaf
from convscope.demo.paint import linear, mix, noise, shade, step
from convscope.demo.relief import Pose, Relief

Ground = Callable[[np.random.Generator, int], Relief]


def grass(rng: np.random.Generator, side: int) -> Relief:
    """Blades in layers, the lower ones in the dark."""
    hue = mix(linear((96, 146, 46)), linear((150, 150, 66)), float(rng.uniform(0, 0.7)))
    dry = linear((186, 176, 100))
    patches = np.clip(0.5 + 0.5 * noise(rng, side, 12, octaves=2), 0, 1)
    canvas = np.zeros((side, side, 4), np.uint8)
    canvas[..., :3] = np.sqrt(mix(hue * 0.1, hue * 0.34, patches)) * 255
    wind = rng.uniform(0, 2 * np.pi)
    t = np.linspace(0, 1, 4)[:, None]
    layers, blades = 6, 96
    for layer in range(layers):
        share = layer / (layers - 1)
        root = rng.uniform(-0.1, 1.1, (blades, 1, 2))
        turn = (wind + rng.normal(0, 0.45, blades))[:, None, None]
        turn = turn + rng.normal(0, 0.3, blades)[:, None, None] * t
        length = rng.uniform(0.1, 0.24, blades)[:, None, None]
        lines = root + length * t * np.concatenate([np.cos(turn), np.sin(turn)], axis=2)
        pixels = np.rint(lines * side * 16).astype(np.int32)
        thick = max(1, round(side * (0.017 - 0.007 * share)))
        for third in range(3):
            tone = hue * (0.32 + 0.75 * share) * rng.uniform(0.75, 1.25)
            tone = mix(tone, dry * (0.3 + 0.7 * share), float(rng.uniform(0, 0.3)))
            ink = (*(float(v) for v in np.sqrt(np.clip(tone, 0, 1)) * 255), 60 + 150 * share)
            cv2.polylines(canvas, list(pixels[third::3]), False, ink, thick, cv2.LINE_AA, 4)
    colour = (canvas[..., :3].astype(np.float32) / 255) ** 2
    return Relief.ground(colour, canvas[..., 3] * np.float32(side * 0.022 / 255))


def sand(rng: np.random.Generator, side: int) -> Relief:
    """Wind ripples and grains."""
    base = mix(linear((214, 184, 136)), linear((190, 150, 104)), float(rng.random()))
    hills = noise(rng, side, 3, octaves=3)
    x, y = _grid(side, rng.uniform(0, np.pi))
    often = rng.uniform(40, 70)
    ripple = np.sin(often * y + 2.2 * hills + 1.5 * np.sin(3 * x)) * rng.uniform(0.3, 1)
    grain = rng.random((side, side), dtype=np.float32)
    colour = shade(base, 0.94 + 0.08 * hills + 0.06 * ripple)
    colour = mix(colour, base * 0.45, 0.7 * step(grain, 0.93, 0.03))
    colour = mix(colour, base * 1.25, 0.7 * step(-grain, -0.06, 0.03))
    height = side * (0.006 * ripple + 0.012 * hills) + 0.9 * (grain - 0.5)
    return Relief.ground(colour, height)


def wood(rng: np.random.Generator, side: int) -> Relief:
    """Planks with grain and knots."""
    planks = rng.uniform(2.6, 4.6)
    x, y = _unit_grid(side)
    across = (y * planks) % 1
    number = (y * planks).astype(int)
    count = int(number.max()) + 1
    warp = noise(rng, side, 7, octaves=2, stretch=5) + np.take(
        rng.uniform(-9, 9, count).astype(np.float32), number
    )
    knots = np.zeros((side, side), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        kx, ky = rng.uniform(0, 1, 2)
        knots += np.exp(-(((x - kx) / 0.1) ** 2 + ((y - ky) / 0.045) ** 2)).astype(np.float32)
    rings = np.sin(11 * warp + 38 * y + 16 * knots).astype(np.float32)
    fibre = noise(rng, side, 90, stretch=14)
    tint = mix(linear((178, 126, 78)), linear((150, 132, 112)), float(rng.random()))
    tint = mix(tint, linear((96, 62, 40)), float(rng.uniform(0, 0.6)))
    tones = np.take(rng.uniform(0.8, 1.15, count).astype(np.float32), number)
    colour = shade(tint, tones * (1 + 0.16 * rings + 0.1 * fibre))
    colour = mix(colour, tint * 0.22, np.clip(knots - 0.55, 0, 1) * 1.6)
    gap = np.minimum(across, 1 - across) / planks
    seam = step(-gap, -0.006, 0.004)
    colour = mix(colour, tint * 0.08, seam)
    height = side * (0.004 * rings - 0.02 * seam) + 0.5 * fibre
    relief = Relief.ground(np.clip(colour, 0, 1), height.astype(np.float32), 0.08)
    return _turned(relief, int(rng.integers(2)))


def water(rng: np.random.Generator, side: int) -> Relief:
    """Shallow, clear water: ripples, and a net of light on the bottom."""
    deep = mix(linear((22, 92, 112)), linear((40, 116, 104)), float(rng.random()))
    clear = mix(linear((120, 198, 196)), linear((150, 200, 176)), float(rng.random()))
    bed = noise(rng, side, 4, octaves=3)
    warp = noise(rng, side, 5, octaves=2)
    first, second = noise(rng, side, 7), noise(rng, side, 9)
    net = np.exp(-7 * np.abs(first + 0.4 * warp)) + 0.7 * np.exp(-8 * np.abs(second - 0.4 * warp))
    colour = mix(deep, clear, np.clip(0.42 + 0.28 * bed, 0, 1))
    colour = colour + shade(linear((220, 250, 236)), 0.42 * net * np.sqrt(net))
    height = side * 0.012 * (first + 0.6 * second + 0.5 * warp)
    return Relief.ground(np.clip(colour, 0, 1), height, 0.55)


def pebbles(rng: np.random.Generator, side: int) -> Relief:
    """Rounded stones, closely packed."""
    across = int(rng.integers(9, 14))
    base = [(168, 160, 150), (120, 118, 120), (196, 182, 160), (140, 116, 98), (92, 96, 106)]
    return _cobbles(rng, side, across, base, linear((46, 40, 36)), 0.5)


def leaves(rng: np.random.Generator, side: int) -> Relief:
    """A carpet of fallen leaves."""
    soil = mix(
        linear((50, 38, 28)),
        linear((86, 64, 44)),
        np.clip(noise(rng, side, 14, octaves=3) * 0.5 + 0.5, 0, 1),
    )
    relief = Relief.ground(soil, noise(rng, side, 20) * np.float32(side * 0.004))
    count = 30
    for k in range(count):
        # Spread evenly: the golden ratio never comes back to where it was.
        x, y = (
            (k * 0.7549 + rng.uniform(0, 0.25)) % 1.05,
            (k * 0.5698 + rng.uniform(0, 0.25)) % 1.05,
        )
        unit = rng.uniform(0.12, 0.17) * side
        pose = Pose.at(x * side, y * side, unit, turn=rng.uniform(0, 2 * np.pi))
        leaf(relief, pose, rng, 0.1 * k / count)
    return relief


def brick(rng: np.random.Generator, side: int) -> Relief:
    """A wall in running bond."""
    rows = rng.uniform(5, 8)
    x, y = _unit_grid(side)
    row = np.floor(y * rows)
    u = x * rows / 2.3 + 0.5 * (row % 2) + rng.uniform(0, 1)
    column = np.floor(u)
    dx, dy = (u - column) * 2.3, y * rows - row
    rough = noise(rng, side, 40, octaves=2)
    rim = np.minimum(np.minimum(dx, 2.3 - dx), np.minimum(dy, 1 - dy)) + 0.02 * rough
    tones = rng.random((int(row.max()) + 2, int(column.max()) + 2), np.float32)
    tone = tones[row.astype(int), column.astype(int)]
    clay = mix(linear((168, 86, 62)), linear((188, 128, 92)), float(rng.random()))
    colour = shade(mix(clay * 0.7, clay * 1.15, tone), 1 + 0.22 * rough)
    mortar = shade(linear((176, 168, 156)), 0.85 + 0.15 * rough)
    inside = step(rim, 0.1, 0.035)
    height = side * (0.018 * step(rim, 0.11, 0.07) + 0.003 * rough)
    return Relief.ground(np.clip(mix(mortar, colour, inside), 0, 1), height)


def cloth(rng: np.random.Generator, side: int) -> Relief:
    """Checked cotton with soft folds."""
    dyes = [
        linear(c)
        for c in ((176, 62, 58), (66, 92, 150), (74, 124, 92), (206, 168, 96), (120, 92, 130))
    ]
    dye = dyes[int(rng.integers(len(dyes)))]
    pale = mix(linear((234, 226, 210)), dye, float(rng.uniform(0, 0.25)))
    x, y = _grid(side, rng.uniform(0, np.pi))
    folds = noise(rng, side, 2.6, octaves=2)
    x, y = x + 0.02 * folds, y - 0.02 * folds
    checks = rng.uniform(14, 30)
    wide = rng.uniform(-0.3, 0.4)
    warp, weft = (step(np.sin(checks * v), wide, 0.15) for v in (x, y))
    colour = mix(pale, dye, 0.5 * (warp + weft))
    thread = np.sin(300 * x) * np.sin(300 * y)
    colour = shade(colour, 1 + 0.08 * thread)
    height = side * 0.045 * folds + 0.35 * thread
    return Relief.ground(np.clip(colour, 0, 1), height.astype(np.float32))


def snow(rng: np.random.Generator, side: int) -> Relief:
    """Soft drifts with a little glitter."""
    drifts = noise(rng, side, 3, octaves=4)
    grain = rng.random((side, side), dtype=np.float32)
    colour = mix(
        linear((226, 234, 246)), linear((250, 250, 252)), np.clip(0.5 + 0.5 * drifts, 0, 1)
    )
    colour = mix(colour, linear((255, 255, 255)), step(grain, 0.985, 0.01))
    height = side * 0.03 * drifts + 0.5 * (grain - 0.5)
    return Relief.ground(colour, height, 0.05)


GROUNDS: dict[str, Ground] = {
    "brick": brick,
    "cloth": cloth,
    "grass": grass,
    "leaves": leaves,
    "pebbles": pebbles,
    "sand": sand,
    "snow": snow,
    "water": water,
    "wood": wood,
}


def _cobbles(
    rng: np.random.Generator,
    side: int,
    across: int,
    colours: Sequence[Sequence[float]],
    gap: np.ndarray,
    round_: float,
) -> Relief:
    """Cells around jittered points, each domed and with a colour of its own."""
    cell = side / across
    lattice = np.stack(np.meshgrid(np.arange(across + 2), np.arange(across + 2)), -1) - 0.5
    points = (lattice + rng.uniform(-0.42, 0.42, lattice.shape)).reshape(-1, 2) * cell
    pad = int(cell)
    wide = side + 2 * pad
    seeds = np.full((wide, wide), 255, np.uint8)
    spots = np.clip(np.rint(points).astype(int) + pad, 0, wide - 1)
    seeds[spots[:, 1], spots[:, 0]] = 0
    _, labels = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    same = (labels[1:, 1:] == labels[:-1, 1:]) & (labels[1:, 1:] == labels[1:, :-1])
    # Wide gaps, then blurred and cut again: that wears off the corners.
    distance = cv2.distanceTransform(same.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    worn = cv2.GaussianBlur((distance > 0.07 * cell).astype(np.float32), (0, 0), 0.13 * cell)
    stones = (worn > 0.56).astype(np.uint8)
    distance = cv2.distanceTransform(stones, cv2.DIST_L2, cv2.DIST_MASK_5)
    window = slice(pad, pad + side)
    distance, labels = distance[window, window], labels[window, window]
    t = np.minimum(distance / (round_ * cell), 1)
    dome = cv2.GaussianBlur(np.sqrt(t * (2 - t)), (0, 0), 0.05 * cell)
    table = np.stack([linear(colours[i]) for i in rng.integers(0, len(colours), len(points) + 2)])
    table *= rng.uniform(0.7, 1.2, (len(table), 1)).astype(np.float32)
    fleck = noise(rng, side, 60, octaves=2)
    colour = shade(table[np.minimum(labels, len(table) - 1)], 1 + 0.14 * fleck)
    colour = mix(gap, colour, step(dome, 0.25, 0.2))
    return Relief.ground(np.clip(colour, 0, 1), cell * 0.3 * dome - 0.2 * cell, 0.15)


def _unit_grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """X and y from 0 to 1, float32 ``(side, side)``."""
    line = (np.arange(side, dtype=np.float32) + 0.5) / side
    return np.broadcast_to(line, (side, side)), np.broadcast_to(line[:, None], (side, side))


def _grid(side: int, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """The same, turned by ``turn`` radians."""
    x, y = _unit_grid(side)
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    return c * x + s * y, c * y - s * x


def _turned(relief: Relief, quarters: int) -> Relief:
    for name in ("colour", "height", "gloss", "cover"):
        plane = np.ascontiguousarray(np.rot90(getattr(relief, name), quarters))
        setattr(relief, name, plane)
    return relief
