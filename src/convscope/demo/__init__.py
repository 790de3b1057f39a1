"""Photos that convscope draws itself: clay creatures, and the truth of where they are."""

from convscope.demo.photos import COUNTS, MASKS, Shortcut, write_photos
from convscope.demo.scene import BACKGROUNDS, CLASSES, Scene, render_scene

__all__ = [
    "BACKGROUNDS",
    "CLASSES",
    "COUNTS",
    "MASKS",
    "Scene",
    "Shortcut",
    "render_scene",
    "write_photos",
]
