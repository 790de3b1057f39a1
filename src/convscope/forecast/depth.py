"""How deep and how dilated a causal stack has to be to look back so many steps."""

from __future__ import annotations

from convscope.errors import InputError


def dilations_for(look_back: int, kernel_size: int, *, convs: int = 1) -> tuple[int, ...]:
    """The fewest levels that look back so far: dilations double, the last is as large as need be.

    Integers only. Each level adds ``convs * (kernel_size - 1) * dilation`` steps. Doubling leaves
    no hole: every step within the look-back is read. The last is a multiple of a quarter of the one
    before, so that the places that a forecast needs stay far apart; see
    :mod:`convscope.forecast.newest`.

    Parameters
    ----------
    look_back : int
        Steps before the newest that are to be read, 1 or more.
    kernel_size : int
        2 or more.
    convs : int
        Convolutions of a level: 1 of a plain stack, 2 of a residual block.

    Returns
    -------
    tuple of int
        One for each level, such as 1, 2, 4, 5; together they look back ``look_back`` steps or a few
        more.

    Raises
    ------
    InputError
        No stack does that.
    """
    if kernel_size < 2:
        raise InputError(
            f"kernel_size={kernel_size} reads the present only, however deep the network is. "
            "Choose 2 or more."
        )
    if look_back < 1 or convs < 1:
        raise InputError(f"look_back={look_back}: a look-back is 1 step or more.")
    each = convs * (kernel_size - 1)
    found: list[int] = []
    reached = 0
    while reached < look_back:
        unit = max(1, 2 ** len(found) // 8)
        needed = -(-(look_back - reached) // (each * unit)) * unit
        dilation = min(2 ** len(found), needed)
        found.append(dilation)
        reached += each * dilation
    return tuple(found)


def check_look_back(look_back: int, length: int, horizon: int) -> None:
    """Whether a series is long enough.

    Parameters
    ----------
    look_back : int
    length : int
        Steps to learn from.
    horizon : int
        Steps to forecast, 1 or more.

    Raises
    ------
    InputError
        It is not; with the longest look-back that is possible.
    """
    if horizon < 1:
        raise InputError(f"horizon={horizon}: a forecast is 1 step ahead or more.")
    longest = length - horizon - 1
    if longest < 1:
        raise InputError(
            f"{length} steps to learn from are too few for a horizon of {horizon}: at least "
            f"{horizon + 2} are needed."
        )
    if look_back > longest:
        raise InputError(
            f"look_back={look_back} is longer than the series: of {length} steps to learn from, "
            f"{horizon} ahead, the longest possible is {longest}."
        )
