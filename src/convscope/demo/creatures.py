"""The creatures: each laid on in clay, in coordinates from -1 to 1, its head to the right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from convscope.demo.paint import ellipse, linear, mix, spline, step, stroke
from convscope.demo.relief import Painter, Pose, Relief

_INK = linear((34, 30, 34))
_WHITE = linear((246, 244, 238))


@dataclass(frozen=True)
class Clays:
    """The colours of one creature, linear ``(3,)`` each: most of it, its pattern, small parts."""

    main: np.ndarray
    second: np.ndarray
    accent: np.ndarray


Sculptor = Callable[[Relief, Pose, np.random.Generator, Clays], None]


def beetle(relief: Relief, pose: Pose, rng: np.random.Generator, clays: Clays) -> None:
    """From above: six legs, two feelers, and wing cases that meet in a line."""
    width, length = rng.uniform(0.38, 0.52), rng.uniform(0.56, 0.64)
    dark = mix(clays.accent, _INK, 0.75)
    reach = rng.uniform(0.72, 0.84)
    legs = []
    for x, forward in ((0.44, 0.3), (0.1, 0.02), (-0.25, -0.32)):
        for side in (-1, 1):
            knee = x + forward * rng.uniform(0.45, 0.7), side * reach * 0.82
            foot = x + forward * rng.uniform(1.15, 1.5), side * reach * rng.uniform(1.05, 1.18)
            legs += stroke([(x, side * 0.25), knee, foot], 0.12, 0.06)
    relief.lay(pose, legs, dark, lift=0.03, puff=0.07, gloss=0.3)
    spread = rng.uniform(0.25, 0.45)
    feelers = []
    for side in (-1, 1):
        tip = 1.08, side * (spread + 0.1)
        feelers += stroke([(0.74, side * 0.06), (0.95, side * spread * 0.6), tip], 0.06, 0.04)
        feelers.append(ellipse(*tip, 0.05, 0.05, steps=12))
    relief.lay(pose, feelers, dark, lift=0.05, puff=0.05)
    relief.lay(pose, [ellipse(0.7, 0, 0.17, 0.21)], dark, lift=0.06, puff=0.14, gloss=0.6)
    eyes = [ellipse(0.78, side * 0.15, 0.055, 0.055, steps=16) for side in (-1, 1)]
    relief.lay(pose, eyes, _WHITE, lift=0.14, puff=0.05, gloss=0.6)
    neck = clays.second if rng.random() < 0.5 else mix(clays.main, _INK, 0.45)
    relief.lay(pose, [ellipse(0.44, 0, 0.21, width * 0.86)], neck, lift=0.08, puff=0.2, gloss=0.7)
    marks = _pattern(rng, clays, along=False)

    def cases(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return mix(marks(x, np.abs(y)), _INK, step(-np.abs(y), -0.022, 0.012))

    relief.lay(
        pose,
        [ellipse(-0.2, 0, length, width)],
        cases,
        lift=0.08,
        puff=0.34,
        gloss=rng.uniform(0.5, 1.0),
        carve=lambda x, y: -0.1 * np.exp(-((y / 0.035) ** 2)),
    )


def fish(relief: Relief, pose: Pose, rng: np.random.Generator, clays: Clays) -> None:
    """From the side: forked tail, rayed fins, scales, and an eye that never blinks."""
    high = rng.uniform(0.34, 0.54)
    fork = rng.uniform(0.36, 0.52)
    notch = rng.uniform(-0.86, -0.72)
    fin_colour = clays.accent
    rays = _rays(fin_colour, rng)
    tail = [(-0.5, 0.0), (-0.66, -0.13), (-1.0, -fork), (-0.97, -fork * 0.7), (notch, 0.0)]
    tail += [(x, -y) for x, y in tail[-2:0:-1]]
    relief.lay(pose, [spline(tail)], rays(-0.4, 0.0), lift=0.06, puff=0.05, edge=0.06)
    crest = rng.uniform(0.16, 0.3)
    back = [(0.42, -high * 0.62), (0.18, -high - crest), (-0.2, -high * 0.8 - crest * 0.75)]
    back += [(-0.46, -high * 0.52 - 0.1), (-0.4, -high * 0.3), (0.1, -high * 0.6)]
    belly = [(0.02, high * 0.7), (-0.18, high + crest * 0.55), (-0.4, high * 0.6 + crest * 0.4)]
    belly += [(-0.42, high * 0.35), (-0.1, high * 0.5)]
    relief.lay(pose, [spline(back)], rays(0.1, 0.5), lift=0.06, puff=0.05, edge=0.06)
    relief.lay(pose, [spline(belly)], rays(-0.05, -0.4), lift=0.06, puff=0.05, edge=0.06)
    body = [(0.96, 0.02), (0.8, -high * 0.5), (0.42, -high * 0.93), (0.05, -high)]
    body += [(-0.35, -high * 0.62), (-0.66, -0.13), (-0.68, 0.0), (-0.66, 0.13)]
    body += [(-0.35, high * 0.64), (0.05, high * 1.0), (0.45, high * 0.9), (0.82, high * 0.46)]
    relief.lay(
        pose,
        [spline(body)],
        _pattern(rng, clays, along=True),
        lift=0.08,
        puff=0.3,
        gloss=0.5,
        carve=_scales(0.13),
    )
    gill = stroke([(0.44, -high * 0.55), (0.36, 0.0), (0.44, high * 0.5)], 0.035, 0.035)
    relief.lay(pose, gill, mix(clays.main, _INK, 0.6), lift=0.3, puff=0.01)
    mouth = stroke([(0.93, 0.08), (0.82, 0.13), (0.74, 0.12)], 0.03, 0.04)
    relief.lay(pose, mouth, _INK, lift=0.22, puff=0.01)
    fin = [(0.3, 0.02), (0.05, 0.0), (-0.16, 0.16), (-0.06, 0.24), (0.2, 0.14)]
    relief.lay(pose, [spline(fin)], rays(0.34, 0.06), lift=0.36, puff=0.06, edge=0.06)
    _eye(relief, pose, 0.64, -high * 0.27, rng.uniform(0.11, 0.14), lift=0.3)


def bird(relief: Relief, pose: Pose, rng: np.random.Generator, clays: Clays) -> None:
    """From the side: beak, breast, folded wing, long tail and thin legs."""
    plump = rng.uniform(0.38, 0.5)
    head = rng.uniform(0.27, 0.32)
    bill = mix(clays.accent, linear((240, 170, 50)), 0.5)
    legs = []
    for x in (-0.04, 0.16):
        foot = x + rng.uniform(0.0, 0.08), 0.88
        legs += stroke([(x, 0.4), (x + 0.02, 0.62), foot], 0.06, 0.05)
        for toe in (-0.12, 0.06, 0.17):
            legs += stroke([foot, (foot[0] + toe, 0.93)], 0.05, 0.04)
    relief.lay(pose, legs, mix(bill, _INK, 0.35), lift=0.03, puff=0.05)
    droop = rng.uniform(-0.16, 0.2)
    feathers = []
    for spread in (0.1, 0.0, -0.1):
        tip = -1.0 + abs(spread) * 0.6, 0.22 + droop + spread
        feathers += stroke([(-0.3, 0.12), (-0.65, 0.18 + droop / 2 + spread / 2), tip], 0.22, 0.13)
    dark = mix(clays.main, _INK, 0.5)
    stripes = _rays(dark, rng)
    relief.lay(pose, feathers, stripes(-0.2, 0.1), lift=0.06, puff=0.06, edge=0.05)
    top = 0.46, -0.44
    beak = [np.array([(0.66, -0.56), (0.78, -0.53), (1.02, -0.4), (0.8, -0.34), (0.66, -0.34)])]
    relief.lay(pose, beak, bill, lift=0.1, puff=0.12, gloss=0.4)
    breast = rng.uniform(0.05, 0.25)

    def coat(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        bib = step(x * 0.75 + y * 0.6, breast, 0.05) * step(y - 0.12 * x, -0.42, 0.04)
        return mix(clays.main, clays.second, bib)

    body = [(0.42, -0.2), (0.5, 0.1), (0.3, 0.44), (-0.05, plump + 0.06), (-0.38, 0.32)]
    body += [(-0.6, 0.1), (-0.38, -0.06), (-0.05, -0.26), (0.2, -0.5)]
    relief.lay(
        pose, [spline(body), ellipse(*top, head, head)], coat, lift=0.1, puff=0.32, gloss=0.15
    )
    wing = [(0.22, -0.06), (0.14, 0.18), (-0.14, 0.3), (-0.66, 0.3), (-0.4, 0.08), (-0.1, -0.16)]
    bars = clays.second if rng.random() < 0.5 else mix(clays.main, _INK, 0.65)
    ripple = rng.uniform(16, 21)

    def plumes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        waves: np.ndarray = np.sin(ripple * (y * 1.3 - x * 0.35) + 3 * x)
        return waves

    relief.lay(
        pose,
        [spline(wing)],
        lambda x, y: mix(dark, bars, 0.55 * step(plumes(x, y), 0.3, 0.35)),
        lift=0.34,
        puff=0.1,
        edge=0.1,
        carve=lambda x, y: 0.02 * plumes(x, y),
    )
    _eye(relief, pose, top[0] + head * 0.38, top[1] - head * 0.15, 0.085, lift=0.36)


def mushroom(relief: Relief, pose: Pose, rng: np.random.Generator, clays: Clays) -> None:
    """From the side: a spotted cap over gills and a pale stem, at times with a small one by it."""
    pale = mix(clays.second, linear((236, 224, 200)), 0.55)
    if rng.random() < 0.4:
        side = float(rng.choice((-1, 1)))
        small = pose.inside(side * rng.uniform(0.42, 0.55), 0.52, 0.46, turn=side * 0.25)
        _one_mushroom(relief, small, rng, clays, pale)
    _one_mushroom(relief, pose, rng, clays, pale)


def _one_mushroom(
    relief: Relief, pose: Pose, rng: np.random.Generator, clays: Clays, pale: np.ndarray
) -> None:
    wide, top = rng.uniform(0.68, 0.86), rng.uniform(-0.95, -0.72)
    brim = rng.uniform(-0.12, 0.06)
    neck, foot = rng.uniform(0.13, 0.19), rng.uniform(0.2, 0.29)
    lean = rng.uniform(-0.1, 0.1)
    stem = [
        (-neck, brim - 0.1),
        (-neck - 0.01, 0.4),
        (lean - foot, 0.78),
        (lean - foot * 0.6, 0.94),
    ]
    stem += [(lean + foot * 0.6, 0.94), (lean + foot, 0.78), (neck + 0.01, 0.4), (neck, brim - 0.1)]

    def bark(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return mix(pale, clays.accent, 0.35 * step(y + 0.1 * np.sin(9 * x), 0.62, 0.25))

    relief.lay(pose, [spline(stem)], bark, lift=0.04, puff=0.2)
    under = mix(pale, _INK, 0.35)
    gills = _rays(under, rng, count=34)
    relief.lay(
        pose, [ellipse(0, brim, wide * 0.86, 0.17)], gills(0, brim - 0.5), lift=0.12, puff=0.03
    )
    if rng.random() < 0.5:
        skirt = [(-neck, 0.2), (neck, 0.2), (neck + 0.1, 0.36), (0, 0.42), (-neck - 0.1, 0.36)]
        relief.lay(pose, [spline(skirt)], pale, lift=0.2, puff=0.08, edge=0.08)
    cap = [(-wide, brim), (-wide * 0.92, brim - 0.22), (-wide * 0.55, top * 0.82 + 0.04)]
    cap += [(0, top), (wide * 0.55, top * 0.82 + 0.04), (wide * 0.92, brim - 0.22), (wide, brim)]
    cap += [(wide * 0.55, brim + 0.05), (0, brim + 0.09), (-wide * 0.55, brim + 0.05)]
    relief.lay(
        pose,
        [spline(cap)],
        _spots(rng, clays.main, clays.second)
        if rng.random() < 0.65
        else _pattern(rng, clays, along=True),
        lift=0.14,
        puff=0.36,
        gloss=rng.uniform(0.1, 0.6),
    )


def snail(relief: Relief, pose: Pose, rng: np.random.Generator, clays: Clays) -> None:
    """From the side: a coiled shell on a long foot, and eyes on two stalks."""
    flesh = mix(clays.accent, linear((222, 196, 150)), 0.45)
    neck = rng.uniform(-0.12, 0.08)
    stalks = []
    tips = [(0.98, neck - 0.42 + rng.uniform(-0.06, 0.06)), (0.72, neck - 0.46)]
    for x, tip in zip((0.86, 0.74), tips, strict=True):
        stalks += stroke(
            [(x, neck + 0.05), ((x + tip[0]) / 2 + 0.02, neck - 0.2), tip], 0.09, 0.055
        )
    relief.lay(pose, stalks, flesh, lift=0.06, puff=0.05)
    for x, y in tips:
        relief.lay(
            pose, [ellipse(x, y, 0.075, 0.075, steps=16)], _INK, lift=0.1, puff=0.08, gloss=0.8
        )
    foot = [(-1.0, 0.56), (-0.5, 0.6), (0.1, 0.62), (0.68, 0.6), (0.88, 0.44), (0.98, neck + 0.16)]
    foot += [(0.92, neck), (0.74, neck - 0.02), (0.56, neck + 0.2), (0.36, 0.28), (-0.3, 0.3)]
    foot += [(-0.7, 0.44)]
    relief.lay(
        pose,
        [spline(foot)],
        lambda x, y: mix(flesh, clays.accent, 0.5 * step(y, 0.46, 0.1)),
        lift=0.06,
        puff=0.16,
        gloss=0.4,
        carve=lambda x, y: 0.012 * np.sin(45 * x) * np.sin(38 * y),
    )
    radius = rng.uniform(0.5, 0.6)
    x0, y0 = -0.16 + rng.uniform(-0.05, 0.05), 0.42 - radius
    turns = rng.uniform(0.62, 0.75)
    bands = rng.integers(0, 3)

    def coil(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        dx, dy = x - x0, y - y0
        away = np.maximum(np.sqrt(dx * dx + dy * dy), 1e-3)
        return (np.log(radius / away) / turns + np.arctan2(dy, dx) / (2 * np.pi)) % 1

    def shell(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        turn = coil(x, y)
        colour = mix(clays.main, clays.second, 0.25 * step(turn, 0.5, 0.4))
        if bands == 1:
            colour = mix(clays.main, clays.second, step(-np.abs(turn - 0.5), -0.17, 0.06))
        elif bands == 2:
            ribs = np.sin(14 * np.arctan2(y - y0, x - x0))
            colour = mix(clays.main, clays.second, 0.8 * step(ribs, 0.2, 0.35))
        return mix(colour, _INK, 0.75 * step(-np.minimum(turn, 1 - turn), -0.07, 0.05))

    relief.lay(
        pose,
        [ellipse(x0, y0, radius, radius * 0.97)],
        shell,
        lift=0.12,
        puff=0.34,
        gloss=0.55,
        carve=lambda x, y: 0.1 * np.sqrt(np.maximum(1 - (2 * coil(x, y) - 1) ** 2, 0)),
    )


SCULPTORS: dict[str, Sculptor] = {
    "beetle": beetle,
    "bird": bird,
    "fish": fish,
    "mushroom": mushroom,
    "snail": snail,
}


def _pattern(rng: np.random.Generator, clays: Clays, *, along: bool) -> Painter:
    """Plain, two-toned, striped or spotted; any creature may have any of them."""
    kind = rng.choice(("plain", "two-toned", "stripes", "spots"))
    main, second = clays.main, clays.second
    if kind == "spots":
        return _spots(rng, main, second)
    often, phase, wave = rng.uniform(8, 13), rng.uniform(0, 6), rng.uniform(0, 0.8)
    if kind == "stripes":
        return lambda x, y: mix(
            main, second, step(np.sin(often * x + phase + wave * np.sin(5 * y)), 0.25, 0.25)
        )
    if kind == "two-toned" and along:
        return lambda x, y: mix(main, second, step(y + 0.04 * np.sin(often * x), 0.1, 0.08))
    if kind == "two-toned":
        return lambda x, y: mix(main, second, step(-x, wave * 0.4, 0.06))
    return lambda x, y: mix(main, second, 0.25 * step(y, 0.0, 0.5))


def _spots(rng: np.random.Generator, main: np.ndarray, spot: np.ndarray) -> Painter:
    """Round spots in loose rows."""
    grid, size = rng.uniform(0.26, 0.36), rng.uniform(0.28, 0.36)
    shift = rng.uniform(0, 1, 2)

    def paint(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        row = np.floor(y / grid + shift[1])
        dx = (x / grid + shift[0] + 0.5 * (row % 2)) % 1 - 0.5
        dy = (y / grid + shift[1]) % 1 - 0.5
        return mix(main, spot, step(-np.sqrt(dx * dx + dy * dy), -float(size), 0.05))

    return paint


def _rays(
    colour: np.ndarray, rng: np.random.Generator, count: float = 26
) -> Callable[[float, float], Painter]:
    """Fine rays from a root: fins, feathers, gills."""
    dark, phase = mix(colour, _INK, 0.5), rng.uniform(0, 6)

    def rooted(x0: float, y0: float) -> Painter:
        return lambda x, y: mix(
            colour, dark, step(np.sin(count * np.arctan2(y - y0, x - x0) + phase), 0.3, 0.5)
        )

    return rooted


def _scales(size: float) -> Painter:
    """Heights of overlapping scales."""

    def height(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        row = np.floor(y / size)
        dx = (x / size + 0.5 * (row % 2)) % 1
        dy = y / size - row - 0.5
        arc = (dx + 0.6 * dy * dy * 2) % 1
        return (0.028 * arc).astype(np.float32)

    return height


def _eye(relief: Relief, pose: Pose, x: float, y: float, size: float, *, lift: float) -> None:
    """White, pupil and glint."""
    relief.lay(pose, [ellipse(x, y, size, size, steps=20)], _WHITE, lift=lift, puff=0.06, gloss=0.3)
    pupil = ellipse(x + size * 0.12, y, size * 0.62, size * 0.62, steps=16)
    relief.lay(pose, [pupil], _INK, lift=lift + 0.05, puff=0.03, gloss=0.6)
    glint = ellipse(x + size * 0.3, y - size * 0.3, size * 0.2, size * 0.2, steps=10)
    relief.lay(pose, [glint], _WHITE, lift=lift + 0.08, puff=0.0)
