"""What a comparison says, in sentences."""

from __future__ import annotations

from itertools import pairwise

from convscope.comparing.ladder import RUNGS
from convscope.comparing.result import Comparison, Step
from convscope.report.words import amount, percent


def milestones(found: Comparison) -> tuple[str, ...]:
    """The rungs that tell the story: of the classifiers on features only the best."""
    best = found.best_heads.get("all")
    return tuple(
        score.rung
        for score in found.ladder
        if RUNGS[score.rung].kind != "features" or score.rung == best
    )


def title(found: Comparison, rung: str) -> str:
    """A rung's name in a sentence, with that of its network."""
    if RUNGS[rung].kind == "finetune":
        return f"{found.net} fine-tuned"
    return RUNGS[rung].title


def story(found: Comparison) -> tuple[str, ...]:
    """One sentence per milestone: how good it is, and whether the step up to it is real."""
    names = milestones(found)
    by_name = {score.rung: score for score in found.ladder}
    test = amount(found.test_photos, "test photo")
    sentences = [
        f"{title(found, names[0])}: {percent(by_name[names[0]].accuracy)} of {test} named rightly."
    ]
    for lower, upper in pairwise(names):
        step = found.step(lower, upper)
        text = f"{title(found, upper)}: {percent(by_name[upper].accuracy)}"
        if step is not None:
            text += f", {_told(step, test)}"
        sentences.append(f"{text}.")
    return tuple(sentences)


def _told(step: Step, test: str) -> str:
    if step.difference == 0:
        return f"no difference on {test}"
    much = f"{points(abs(step.difference))} {'more' if step.difference > 0 else 'less'}"
    if step.shown:
        return f"{much} ({p_value(step.p)})"
    return f"{much}, which is no difference that {test} can show ({p_value(step.p)})"


def p_value(p: float) -> str:
    """Give a p value as a reader wants it.

    >>> p_value(0.03141), p_value(0.00001), p_value(0.96)
    ('p = 0.031', 'p < 0.001', 'p = 0.96')
    """
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def points(share: float, *, signed: bool = False) -> str:
    """Give a difference of shares in percentage points.

    >>> points(0.0213), points(-0.01, signed=True)
    ('2.1 points', '−1.0 points')
    """
    number = f"{100 * abs(share):.1f}"
    sign = "" if not signed or number == "0.0" else "+" if share > 0 else "−"
    return f"{sign}{number} {'point' if number == '1.0' and not signed else 'points'}"


def cautions(found: Comparison) -> tuple[str, ...]:
    """What to keep in mind."""
    said = []
    if len(found.seeds) == 1:
        said.append(
            "Each rung was trained once. Another seed gives other numbers, and neither the "
            "intervals nor the tests know how much: --seeds 3 tells."
        )
    elif len(found.seeds) == 2:
        said.append("Two seeds tell little of how much seeds matter: --seeds 3 tells more.")
    if found.test_photos < _FEW:
        said.append(
            f"{amount(found.test_photos, 'test photo')} are few: only large differences show."
        )
    if found.left_out:
        names = ", ".join(RUNGS[name].title for name, _ in found.left_out)
        said.append(f"Left out: {names} ({found.left_out[0][1].rstrip('.')}).")
    return tuple(said)


# An accuracy of 80 % has an interval of more than 15 points then.
_FEW = 100
