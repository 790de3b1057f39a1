"""Receptive fields of all layers along one axis, as closed formulas where there is one.

For convolutions and pooling (Araujo, Norris, Sim: Computing Receptive Fields of Convolutional
Neural Networks, Distill 2019) size, jump and start follow from those of the layer before; branches
meet by the hull of what they see. Behind upsampling the units differ in phase, and behind global
operations there is no formula: there the graph is walked back, unit by unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction

from convscope.geometry.axes import AxisMap, Reversed, Span, Table, Window

# Units with different fields are looked at up to this many, spread over all.
_MOST_UNITS = 1024


@dataclass(frozen=True)
class Field:
    """What the units of a layer see along one axis of the input.

    With a jump, unit ``o`` sees inputs ``start + o * jump`` to ``start + o * jump + size - 1``, as
    if the axis had no ends; what of this lies beyond them is padding. Without one (behind global
    operations), ``size`` and ``start`` are clipped to the input.

    Attributes
    ----------
    size : int
        Inputs from the first to the last one that a unit sees; where units differ, the most.
    jump : Fraction or None
        Inputs from one unit to the next; None where they are not evenly spaced.
    start : int
        The first input that unit 0 sees; negative in the padding.
    """

    size: int
    jump: Fraction | None
    start: int


@dataclass(frozen=True)
class Link:
    """A node along one axis.

    Attributes
    ----------
    size : int
        Its units.
    sources : tuple of (int, AxisMap)
        Place of the node that is read, and how.
    """

    size: int
    sources: tuple[tuple[int, AxisMap], ...]


class _Kind(IntEnum):
    """How regular a layer's fields are; a branch that is less regular decides."""

    EVEN = 0  # the closed formula
    PHASES = 1  # upsampled: fields repeat after some units
    UNEVEN = 2
    WHOLE = 3  # all units see the same


@dataclass(frozen=True)
class _State:
    kind: _Kind
    jump: Fraction
    phases: int
    start: Fraction
    size: Fraction


def axis_fields(chain: Sequence[Link]) -> list[Field]:
    """The receptive field of every node along one axis.

    Parameters
    ----------
    chain : sequence of Link
        In the order of computation, the input first.
    """
    states = [_State(_Kind.EVEN, Fraction(1), 1, Fraction(0), Fraction(1))]
    for link in chain[1:]:
        reached = [_through(states[place], through) for place, through in link.sources]
        states.append(_joined(reached) if reached else states[0])
    return [_field(chain, place, state) for place, state in enumerate(states)]


def _through(state: _State, through: AxisMap) -> _State:
    kind = state.kind
    if isinstance(through, Table):
        if through.inner is None:
            return _State(max(kind, _Kind.UNEVEN), state.jump, 1, state.start, state.size)
        through = through.inner
    if isinstance(through, Window):
        reach = through.dilation * (through.kernel_size - 1)
        return _State(
            kind,
            state.jump * through.stride,
            state.phases,
            state.start - through.padding * state.jump,
            state.size + reach * state.jump,
        )
    if isinstance(through, Reversed):
        step = through.window.stride
        plain = max(kind, _Kind.PHASES)
        return _State(plain, state.jump / step, state.phases * step, state.start, state.size)
    return _State(_Kind.WHOLE, state.jump, 1, state.start, state.size)


def _joined(states: Sequence[_State]) -> _State:
    first = states[0]
    kind = max(state.kind for state in states)
    if any(state.jump != first.jump for state in states):
        kind = max(kind, _Kind.UNEVEN)
    start = min(state.start for state in states)
    stop = max(state.start + state.size for state in states)
    phases = math.lcm(*(state.phases for state in states))
    return _State(kind, first.jump, phases, start, stop - start)


def _field(chain: Sequence[Link], place: int, state: _State) -> Field:
    if state.kind is _Kind.EVEN:
        return Field(int(state.size), state.jump, int(state.start))
    if state.kind is _Kind.PHASES:
        seen: list[tuple[int, int]] = []
        for unit in _spread(state.phases):
            span = _seen(chain, place, Span(unit, unit + 1), clip=False)
            if span is not None:  # a transposed convolution can leave units that see nothing
                seen.append((span.size, math.floor(span.start - unit * state.jump)))
        if seen:
            return Field(max(size for size, _ in seen), state.jump, seen[0][1])
    units = _spread(chain[place].size)
    if state.kind is _Kind.WHOLE:
        asked = [Span(0, chain[place].size)]
    else:
        asked = [Span(unit, unit + 1) for unit in units]
    clipped = [_seen(chain, place, span, clip=True) or Span(0, 0) for span in asked]
    return Field(max(span.size for span in clipped), None, clipped[0].start)


def _spread(count: int) -> list[int]:
    """All units, or many from end to end."""
    if count <= _MOST_UNITS:
        return list(range(count))
    return sorted({round(i * (count - 1) / (_MOST_UNITS - 1)) for i in range(_MOST_UNITS)})


def _seen(chain: Sequence[Link], place: int, units: Span, *, clip: bool) -> Span | None:
    """What some units see of the input, walked back through the graph."""
    spans: dict[int, Span] = {place: units}
    for here in range(place, 0, -1):
        span = spans.pop(here, None)
        if span is None:
            continue
        for source, through in chain[here].sources:
            found = through.backward(span) if clip else through.unclipped(span)
            if found is None:
                continue
            before = spans.get(source, found)
            start, stop = min(before.start, found.start), max(before.stop, found.stop)
            spans[source] = Span(start, stop)
    return spans.get(0)
