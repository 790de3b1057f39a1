"""The rungs: which ways of classifying are compared, and in what order; what can be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from convscope.errors import InputError, unknown_name
from convscope.options import Head

Kind = Literal["scratch", "features", "finetune"]

TRANSFER_NET = "mobilenet_v2"
SIZES: tuple[int, ...] = (10, 25, 50, 100)
_MOST_SEEDS = 100


@dataclass(frozen=True)
class Rung:
    """One way of classifying.

    Attributes
    ----------
    name : str
        As asked for on the command line.
    title : str
        As it stands in tables.
    about : str
        What it is, a sentence.
    kind : str
        ``scratch``, ``features`` or ``finetune``.
    detail : str or None
        The augmentation of a network from scratch, or the classifier on features.
    """

    name: str
    title: str
    about: str
    kind: Kind
    detail: str | None = None


_HEADS = {
    "logistic": ("logistic regression", "Weighs the features and adds them up, for each class."),
    "linear_svm": (
        "linear SVM",
        "A flat boundary with as much room as possible between one class and the others.",
    ),
    "rbf_svm": (
        "RBF SVM",
        "As the linear SVM, but the boundary may bend around photos that are alike.",
    ),
    "forest": ("random forest", "Many decision trees, each grown on other photos, which vote."),
    "neighbours": ("nearest neighbours", "The training photos that are most alike vote."),
    "fcnn": (
        "small network",
        "A fully connected network with one hidden layer, trained on the features.",
    ),
}


def _features(head: str) -> Rung:
    title, about = _HEADS.get(head, (head, "A classifier on the features."))
    return Rung(f"features+{head}", f"features + {title}", about, "features", head)


RUNGS: dict[str, Rung] = {
    rung.name: rung
    for rung in (
        Rung(
            "fcnn",
            "fcnn",
            "A fully connected network, trained from scratch: every pixel has a weight of its own, "
            "and what was learnt in one corner of the photo is unknown in the next.",
            "scratch",
            "none",
        ),
        Rung(
            "cnn",
            "cnn",
            "A small convolutional network, trained from scratch: the same small patterns are "
            "looked for everywhere in the photo.",
            "scratch",
            "none",
        ),
        Rung(
            "cnn+standard",
            "cnn + augmentation",
            "The same convolutional network; training sees every photo turned a little, shifted "
            "and mirrored, anew in each epoch.",
            "scratch",
            "standard",
        ),
        *(_features(head) for head in get_args(Head) if head != "best"),
        Rung(
            "finetune",
            "fine-tuned",
            "The pre-trained network itself is trained further on these photos, its last stages "
            "most.",
            "finetune",
        ),
    )
}


@dataclass(frozen=True)
class CompareOptions:
    """What is asked of a comparison.

    Attributes
    ----------
    rungs : tuple of str or None
        Names of :data:`RUNGS`, in the order of the ladder; None for all that are possible.
    sizes : tuple of int
        Training photos per class, rising; all of them are used in any case.
    seeds : int
        How many times each rung is trained.
    net : str
        The pre-trained network.
    weights : str
        ``published``, ``none`` or a file.
    epochs : int or None
        For networks from scratch, at most; None for the plan's own.
    seed : int
        The first one; it also makes the split where none is given.
    """

    rungs: tuple[str, ...] | None = None
    sizes: tuple[int, ...] = SIZES
    seeds: int = 3
    net: str = TRANSFER_NET
    weights: str = "published"
    epochs: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= _MOST_SEEDS:
            raise InputError(f"--seeds {self.seeds}: allowed are 1 to {_MOST_SEEDS}.")
        if self.epochs is not None and self.epochs < 1:
            raise InputError(f"--epochs {self.epochs}: at least 1 is needed.")
        if self.rungs is not None and not self.rungs:
            raise InputError("--rungs names none. Leave it out to compare all.")
        for name in self.rungs or ():
            if name not in RUNGS:
                raise unknown_name("rung", name, RUNGS)

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds that each rung is trained with."""
        return tuple(range(self.seed, self.seed + self.seeds))


def read_rungs(text: str | None) -> tuple[str, ...] | None:
    """Read ``--rungs``: names with commas; ``features`` stands for all classifiers on features.

    >>> read_rungs("finetune, cnn")
    ('cnn', 'finetune')
    """
    if text is None:
        return None
    asked: set[str] = set()
    for name in (part.strip() for part in text.split(",")):
        if name == "features":
            asked |= {rung.name for rung in RUNGS.values() if rung.kind == "features"}
        elif name in RUNGS:
            asked.add(name)
        elif name:
            raise unknown_name("rung", name, ["features", *RUNGS])
    return tuple(name for name in RUNGS if name in asked)


def read_sizes(text: str) -> tuple[int, ...]:
    """Read ``--sizes``: training photos per class with commas; ``all`` is there in any case.

    >>> read_sizes("50,10,all")
    (10, 50)
    """
    sizes = set()
    for part in (part.strip() for part in text.split(",")):
        if part.isdecimal() and int(part) > 0:
            sizes.add(int(part))
        elif part not in ("all", ""):
            raise InputError(
                f"--sizes {text}: '{part}' is no number of photos. Give whole numbers from 1 "
                "with commas, and all: 10,25,50,100,all."
            )
    return tuple(sorted(sizes))


def useful_sizes(asked: Sequence[int], per_class: Sequence[int]) -> tuple[int, ...]:
    """The sizes that leave out at least one photo of some class.

    Parameters
    ----------
    asked : sequence of int
    per_class : sequence of int
        Training photos of each class.

    >>> useful_sizes((10, 25, 50), (30, 12))
    (10, 25)
    """
    return tuple(size for size in asked if size < max(per_class))
