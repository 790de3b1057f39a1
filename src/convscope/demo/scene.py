"""One drawn photo: a clay creature on some ground, among clutter, under one light."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from convscope.demo.backgrounds import GROUNDS
from convscope.demo.clutter import LIGHT_PIECES, PIECES
from convscope.demo.creatures import SCULPTORS, Clays
from convscope.demo.paint import CLAYS, linear, shade
from convscope.demo.relief import Light, Pose, Relief
from convscope.errors import InputError, unknown_name

CLASSES: tuple[str, ...] = tuple(SCULPTORS)
BACKGROUNDS: tuple[str, ...] = tuple(GROUNDS)
# Never behind anything unless asked for by name: what a shortcut is planted with.
RESERVED = "snow"
SMALLEST, LARGEST = 32, 1024
# Share of the creature that clutter may hide.
MOST_HIDDEN = 0.25

# Everything is drawn larger and averaged down: smooth edges.
_FINER = 1.5
# How far creatures lean from upright; a beetle, seen from above, may point anywhere.
_LEAN = {"beetle": np.pi, "bird": 0.25, "fish": 0.35, "mushroom": 0.3, "snail": 0.25}
_SCALE = (0.4, 0.6, 0.62)


@dataclass(frozen=True)
class Scene:
    """A drawn photo and the truth about it.

    Attributes
    ----------
    image : numpy.ndarray
        uint8 ``(size, size, 3)``, RGB.
    mask : numpy.ndarray
        bool ``(size, size)``: the pixels where the creature is seen.
    label : str
        One of :data:`CLASSES`.
    background : str
        One of :data:`BACKGROUNDS`.
    """

    image: np.ndarray
    mask: np.ndarray
    label: str
    background: str


def render_scene(
    label: str,
    *,
    seed: int,
    index: int,
    size: int = 128,
    background: str | None = None,
    with_creature: bool = True,
) -> Scene:
    """Draw photo number ``index`` of a class.

    The same arguments give the same pixels, whatever else was drawn before.

    Parameters
    ----------
    label : str
        One of :data:`CLASSES`.
    seed, index : int
        Both from 0; every pair is another photo.
    size : int, default 128
        Side in pixels, 32..1024.
    background : str, optional
        One of :data:`BACKGROUNDS`; drawn at random, never snow, where it is not given. The
        creature, clutter, light and camera stay the same whatever the background, but for the
        creature's colours, which keep clear of the ground's.
    with_creature : bool, default True
        False draws the very same photo with the creature taken away; its mask is all False.

    Raises
    ------
    InputError
        If an argument is not one of those.
    """
    require_drawable(seed=seed, size=size, label=label, index=index, background=background)

    def draws(stage: str) -> np.random.Generator:
        return draws_for(label, seed, index, stage)

    name = background or ordinary_background(label, seed=seed, index=index)
    side = round(size * _FINER)
    relief = GROUNDS[name](draws(name), side)
    pose = _pose(draws("pose"), label, side)
    _scatter(relief, draws("clutter"))
    creature = Relief(side)
    SCULPTORS[label](creature, pose, draws("creature"), _clays(draws("clays"), relief))
    _knead(creature, draws("clay"))
    front = _front(draws("front"), creature, pose)
    if with_creature:
        relief.put(creature)
    relief.put(front)
    image = _photograph(draws("camera"), relief.lit(_light(draws("light"))), size)
    visible = creature.cover * (1 - front.cover)
    mask = cv2.resize(visible, (size, size), interpolation=cv2.INTER_AREA) > 0.5
    return Scene(image, mask & with_creature, label, name)


def ordinary_background(label: str, *, seed: int, index: int, without: str = RESERVED) -> str:
    """The background that a photo has where none is asked for; neither snow nor ``without``."""
    names = [name for name in BACKGROUNDS if name not in (RESERVED, without)]
    return names[int(draws_for(label, seed, index, "background").integers(len(names)))]


def draws_for(label: str, seed: int, index: int, stage: str) -> np.random.Generator:
    """Random numbers for one stage of one photo: what one stage uses up changes no other."""
    return np.random.default_rng(
        [seed, index, zlib.crc32(label.encode()), zlib.crc32(stage.encode())]
    )


def require_drawable(
    *, seed: int, size: int, label: str | None = None, index: int = 0, background: str | None = None
) -> None:
    """Raise :class:`~convscope.errors.InputError` for what :func:`render_scene` cannot draw."""
    if label is not None and label not in CLASSES:
        raise unknown_name("class", label, CLASSES)
    if background is not None and background not in BACKGROUNDS:
        raise unknown_name("background", background, BACKGROUNDS)
    if not SMALLEST <= size <= LARGEST:
        raise InputError(f"The size is {size} pixels. Allowed: {SMALLEST}..{LARGEST}.")
    for what, number in (("seed", seed), ("index", index)):
        if number < 0:
            raise InputError(f"The {what} is {number}. Allowed: 0 and above.")


def _pose(rng: np.random.Generator, label: str, side: int) -> Pose:
    scale = rng.triangular(*_SCALE)
    # Photographers put what they mean near the middle.
    x, y = (0.5 + (0.44 - 0.5 * scale) * rng.triangular(-1, 0, 1, 2)) * side
    turn = rng.uniform(-1, 1) * _LEAN[label]
    pose = Pose.at(x, y, 0.5 * scale * side, turn=turn, flip=bool(rng.random() < 0.5))
    # Nobody holds the camera quite straight, and no two animals are built alike.
    squeeze = np.diag([1.0, rng.uniform(0.88, 1.08), 1.0])
    squeeze[0, 1] = rng.uniform(-0.1, 0.1)
    return Pose(pose.matrix @ squeeze, pose.unit)


def _clays(rng: np.random.Generator, ground: Relief) -> Clays:
    """Three colours: the first apart from the ground's, the second apart from the first."""
    tones = {name: np.sqrt(linear(colour)) for name, colour in CLAYS.items()}
    behind = np.sqrt(ground.colour[::8, ::8].mean(axis=(0, 1)))
    order = [str(name) for name in rng.permutation(list(CLAYS))]
    main = next(n for n in order if np.linalg.norm(tones[n] - behind) > 0.33)
    order.remove(main)
    second = next(n for n in order if np.linalg.norm(tones[n] - tones[main]) > 0.4)
    order.remove(second)
    accent = next(n for n in order if np.linalg.norm(tones[n] - behind) > 0.25)
    first, other, third = (
        linear(CLAYS[n]) * rng.uniform(0.85, 1.1, 3).astype(np.float32)
        for n in (main, second, accent)
    )
    return Clays(np.minimum(first, 1), np.minimum(other, 1), np.minimum(third, 1))


def _knead(creature: Relief, rng: np.random.Generator) -> None:
    """Give the clay its grain."""
    frame = creature.frame()
    if frame is not None:
        patch = creature.colour[frame]
        grain = rng.standard_normal(patch.shape[:2], np.float32)
        creature.colour[frame] = shade(patch, 1 + 0.05 * grain)


def _scatter(relief: Relief, rng: np.random.Generator) -> None:
    """Clutter anywhere; what lies under the creature is hidden by it."""
    for _ in range(int(rng.integers(0, 4))):
        x, y = rng.uniform(0.02, 0.98, 2) * relief.side
        place = Pose.at(x, y, rng.uniform(0.05, 0.09) * relief.side, turn=rng.uniform(0, 2 * np.pi))
        PIECES[int(rng.integers(len(PIECES)))](relief, place, rng, 0.1)


def _front(rng: np.random.Generator, creature: Relief, pose: Pose) -> Relief:
    """Clutter in front of the creature's rim, hiding at most :data:`MOST_HIDDEN` of it."""
    front = Relief(creature.side)
    area = float(creature.cover.sum())
    lift = 0.55 * pose.unit
    for _ in range(int(rng.choice((0, 1, 2), p=(0.4, 0.4, 0.2)))):
        # Anywhere around it but over its head, which lies right, or right and up.
        away, far = rng.uniform(0.25, 1.6) * np.pi, rng.uniform(0.5, 0.9)
        centre = pose.pixels(np.array([[far * np.cos(away), far * np.sin(away)]]))[0].tolist()
        unit = rng.uniform(0.05, 0.09) * creature.side
        place = Pose.at(centre[0], centre[1], unit, turn=rng.uniform(0, 2 * np.pi))
        piece = Relief(creature.side)
        LIGHT_PIECES[int(rng.integers(len(LIGHT_PIECES)))](piece, place, rng, 0.5 * lift / unit)
        hidden = creature.cover * np.maximum(front.cover, piece.cover)
        if float(hidden.sum()) <= MOST_HIDDEN * area:
            front.put(piece)
    return front


def _light(rng: np.random.Generator) -> Light:
    warmth = rng.uniform(-1, 1)
    strength = rng.uniform(0.8, 1.25)
    return Light(
        azimuth=rng.uniform(-0.85, -0.15) * np.pi,
        elevation=rng.uniform(0.55, 1.05),
        sun=np.array([0.86 + 0.1 * warmth, 0.8, 0.72 - 0.12 * warmth], np.float32) * strength,
        sky=np.array([0.24, 0.27, 0.32], np.float32) * rng.uniform(0.8, 1.2),
    )


def _photograph(rng: np.random.Generator, light: np.ndarray, size: int) -> np.ndarray:
    """What a camera makes of it: white balance, lens, film and noise; uint8 ``(size, size, 3)``."""
    photo: np.ndarray = cv2.resize(light, (size, size), interpolation=cv2.INTER_AREA)
    photo *= rng.uniform(0.94, 1.06, 3).astype(np.float32) * np.float32(rng.uniform(0.85, 1.15))
    line = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    photo *= (1 - rng.uniform(0.05, 0.16) * (line + line[:, None]))[..., None].astype(np.float32)
    photo = np.sqrt(np.maximum(photo, 0))
    # Bright parts run out softly into white.
    photo = np.where(photo > 0.8, 1 - 0.2 * np.exp((0.8 - photo) / 0.2), photo)
    photo = cv2.GaussianBlur(photo, (0, 0), rng.uniform(0.3, 0.6) * size / 128)
    grain = rng.uniform(1.0, 3.0)
    photo = photo * 255 + grain * rng.standard_normal(photo.shape, np.float32)
    image: np.ndarray = np.clip(np.rint(photo), 0, 255).astype(np.uint8)
    return image
