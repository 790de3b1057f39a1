"""Which way for this much data: the book's table of data size and similarity, measured.

| | similar to what the network was trained on | very different |
|---|---|---|
| little data | features of the top, a classifier on them | features of several stages, likewise |
| much data | a few stages are trained further | many stages are trained further |

Little is counted: training photos per class. Similar is measured: a linear classifier on the
features of each of several stages, by depth. Where the top serves these photos best, the network
knows such photos; where an earlier stage beats it, what the top has learnt is about other things
(Yosinski et al. 2014, arXiv 1411.1792).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from convscope.nets.stages import Stage
from convscope.transfer.heads import HEADS, FittedHead

# Training photos per class (the median class) from which on training further pays: with 50 it
# brings 2.5 points on ten classes of clothes, with 25 half a point at most (docs/transfer.md).
MUCH = 40
# Of the held-out photos; with fewer errors there is nothing left that training could show.
LEAST_ERRORS = 0.04
# An earlier stage must beat the top by so many standard errors: one-sided, 5 %.
_STANDARD_ERRORS = 1.645
# Stages nearer to the pixels than this see edges and colours, and no one classifies by those.
_LEAST_STRIDE = 8
# Shares of a network's stages that "a few" and "many" are.
_FEW, _MANY = 0.45, 0.8


@dataclass(frozen=True)
class StageScore:
    """How far a linear classifier gets on the features of one stage.

    Attributes
    ----------
    stage : str
    width : int
        Numbers per photo.
    log_loss, accuracy : float
        On held-out photos, calibrated.
    behind_top, error : float
        Log loss more than on the last stage's features, per photo, and the standard error of it;
        negative where this stage is better.
    """

    stage: str
    width: int
    log_loss: float
    accuracy: float
    behind_top: float
    error: float


@dataclass(frozen=True)
class Evidence:
    """What was measured before anything was decided.

    Attributes
    ----------
    photos_per_class : int
        Training photos of the median class.
    held_out : int
        Photos that ``scores`` were measured on.
    scores : tuple of StageScore
        In the order of the data; the last is the top. None where no photo could be held out.
    """

    photos_per_class: int
    held_out: int
    scores: tuple[StageScore, ...]


@dataclass(frozen=True)
class TransferPlan:
    """What will be done and why.

    Attributes
    ----------
    stages : tuple of str
        Whose features the classifier gets.
    heads : tuple of str
        Classifiers to choose from, see :data:`~convscope.transfer.heads.HEADS`.
    trained_stages : tuple of str
        The last stages that are trained further; none without fine-tuning.
    reasons : tuple of str
        A sentence for each decision.
    evidence : Evidence
    """

    stages: tuple[str, ...]
    heads: tuple[str, ...]
    trained_stages: tuple[str, ...]
    reasons: tuple[str, ...]
    evidence: Evidence

    def to_dict(self) -> dict[str, Any]:
        """As it stands in ``run.json``."""
        return asdict(self)


@dataclass(frozen=True)
class Overrules:
    """What the user has decided; None leaves it to the evidence.

    Attributes
    ----------
    stages, heads : tuple of str or None
    finetune : bool or None
    trained_stages : int or None
        How many of the last stages.
    """

    stages: tuple[str, ...] | None = None
    heads: tuple[str, ...] | None = None
    finetune: bool | None = None
    trained_stages: int | None = None


def probe_stages(stages: Sequence[Stage]) -> tuple[str, ...]:
    """The stages that evidence is taken from: the last of each resolution, and the top.

    Parameters
    ----------
    stages : sequence of Stage
        Of a network, in the order of the data.
    """
    kept: dict[int | None, Stage] = {}
    for stage in stages:
        if stage.stride is None or stage.stride >= _LEAST_STRIDE:
            kept[stage.stride] = stage
    chosen = list(kept.values()) or [stages[-1]]
    # A map that is only averaged into the top's vector says the same.
    if len(chosen) > 1 and chosen[-1].stride is None:
        chosen = [s for s in chosen[:-1] if s.channels != chosen[-1].channels] + chosen[-1:]
    return tuple(stage.name for stage in chosen)


def measure(heads: Mapping[str, FittedHead], widths: Mapping[str, int], labels: np.ndarray
) -> Evidence:  # fmt: skip
    """Compare stages by linear classifiers that were all held to the same photos.

    Parameters
    ----------
    heads : mapping
        Stage -> its fitted classifier, in the order of the data.
    widths : mapping
        Stage -> numbers per photo.
    labels : numpy.ndarray
        int ``(n,)``: classes of the training photos.
    """
    losses = {stage: head.losses for stage, head in heads.items()}
    top = losses[list(heads)[-1]]
    counts = np.unique(labels, return_counts=True)[1]
    photos_per_class = int(np.median(counts))
    if not len(top):
        return Evidence(photos_per_class, 0, ())
    scores = []
    for stage, head in heads.items():
        behind = losses[stage] - top
        right = head.held_out_logits.argmax(axis=1) == head.held_out_labels
        scores.append(
            StageScore(
                stage, widths[stage], float(losses[stage].mean()), float(right.mean()),
                float(behind.mean()), float(behind.std() / np.sqrt(len(behind))),
            )
        )  # fmt: skip
    return Evidence(photos_per_class, len(top), tuple(scores))


def decide(
    evidence: Evidence, stages: Sequence[Stage], overrules: Overrules | None = None
) -> TransferPlan:
    """Read the table.

    Parameters
    ----------
    evidence : Evidence
    stages : sequence of Stage
        Of the network.
    overrules : Overrules, optional

    Raises
    ------
    ValueError
        If more stages shall be trained than there are.
    """
    asked = overrules or Overrules()
    reasons: list[str] = []
    different = False
    if evidence.scores:
        rival = min(evidence.scores, key=lambda score: score.log_loss)
        different = -rival.behind_top > _STANDARD_ERRORS * rival.error
    much = evidence.photos_per_class >= MUCH
    reasons.append(
        f"{evidence.photos_per_class:,} training photos per class are "
        f"{'enough to train stages of the network further' if much else 'little data'} "
        f"(the line is drawn at {MUCH})."
    )
    reasons.append(_similarity(evidence, different))
    chosen, words = _stages(asked, evidence, stages, different, much)
    reasons.append(words)
    heads = asked.heads or HEADS
    if asked.heads:
        reasons.append(f"The classifier was asked for: {', '.join(asked.heads)}.")
    trained, words = _trained(asked, evidence, stages, different, much)
    reasons.append(words)
    return TransferPlan(chosen, tuple(heads), trained, tuple(reasons), evidence)


def _similarity(evidence: Evidence, different: bool) -> str:
    if not evidence.scores:
        return (
            "How similar the photos are to what the network was trained on could not be measured: "
            "there are too few to hold any out."
        )
    top = evidence.scores[-1]
    rival = min(evidence.scores, key=lambda score: score.log_loss)
    if len(evidence.scores) == 1:
        return f"The network has one stage to take features from, {top.stage}."
    if different:
        return (
            f"The photos are very different from what the network was trained on: its stage "
            f"{rival.stage} serves them better than its top (log loss {rival.log_loss:.3f} "
            f"against {top.log_loss:.3f} on {evidence.held_out:,} held-out photos)."
        )
    first = evidence.scores[0]
    return (
        f"The photos are similar to what the network was trained on: no stage serves them better "
        f"than its top (log loss {first.log_loss:.3f} at {first.stage}, {top.log_loss:.3f} at "
        f"{top.stage}, on {evidence.held_out:,} held-out photos)."
    )


def _stages(
    asked: Overrules, evidence: Evidence, stages: Sequence[Stage], different: bool, much: bool
) -> tuple[tuple[str, ...], str]:
    if asked.stages is not None:
        return asked.stages, f"Features of {', '.join(asked.stages)}, as was asked for."
    top = stages[-1].name
    if not different:
        return (top,), f"So the classifier gets the features of the top, {top}."
    every = tuple(score.stage for score in evidence.scores)
    words = f"So the classifier gets the features of several stages: {', '.join(every)}."
    if not much:
        words += (
            " Little data, and very different: this is the hard corner, where neither features "
            "nor training go far. More photos would help most."
        )
    return every, words


def _trained(
    asked: Overrules, evidence: Evidence, stages: Sequence[Stage], different: bool, much: bool
) -> tuple[tuple[str, ...], str]:
    errors = 1 - max((score.accuracy for score in evidence.scores), default=0.0)
    if asked.finetune is False:
        return (), "No stage is trained further, as was asked for."
    if asked.finetune is None and asked.trained_stages is None:
        if not much:
            return (), "With little data no stage is trained further: it would learn by heart."
        if errors < LEAST_ERRORS:
            return (), (
                f"No stage is trained further: only {errors:.1%} of the held-out photos are still "
                f"named wrongly, and a gain on so few could not be told from chance."
            )
    count = asked.trained_stages
    if count is None:
        count = max(1, round((_MANY if different else _FEW) * len(stages)))
        said = "many stages" if different else "a few stages"
        why = f"So {said} are trained further, the last {count} of {len(stages)}"
    else:
        why = f"The last {count} of {len(stages)} stages are trained further, as was asked for"
    if not 0 < count <= len(stages):
        raise ValueError(f"{count} stages cannot be trained: there are {len(stages)}")
    names = tuple(stage.name for stage in stages[-count:])
    return names, f"{why} ({names[0]} to {names[-1]}), the earlier ones more slowly."
