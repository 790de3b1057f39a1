"""The lessons, in the order of the course."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from convscope.errors import unknown_name
from convscope.lessons.lesson import Lesson

# Name -> what it is about. The module of the same name, with _ for -, has a function ``lesson()``.
LESSONS: dict[str, str] = {
    "convolution": "a filter slides over an image; ReLU; max-pooling",
    "pattern": "one filter looks for one pattern: a curve detector",
    "dense": "a fully connected layer; softmax; cross-entropy; steps against the gradient",
    "receptive-fields": "what a unit sees; one 7 × 7 or three 3 × 3",
    "inception": "1 × 1 convolutions; the Inception module; DepthConcat",
    "residual": "highway and residual layers: the gradient through fifty of them",
    "causal": "convolutions over time; dilation and look-back",
    "photo": "augmentation, saliency, occlusion and LIME on a photo",
    "shuffle": "shuffled pixels: a fully connected network does not mind, a convolutional does",
}


def load(name: str) -> Lesson:
    """Compute a lesson.

    Raises
    ------
    InputError
        There is none of that name.
    """
    if name not in LESSONS:
        raise unknown_name("lesson", name, LESSONS)
    module = import_module(f"convscope.lessons.{name.replace('-', '_')}")
    make: Callable[[], Lesson] = module.lesson
    return make()
