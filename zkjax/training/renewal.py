"""Which ranges of a run's first weights its proof shows, so that bounds hold for its steps: where a chain begins, and where they end."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache

import numpy as np

from ..circuit import coarse, ranged
from ..circuit.bounds import Bounds
from ..circuit.circuit import Circuit
from ..errors import PrecisionError
from ..ops.ranges import signed_bound
from ..prover.forms import norms


def bounded(circuit: Circuit, start: dict, steps: int) -> tuple[dict, Bounds]:
    """A start from which bounds hold for the steps, and these: where they would not from the run before, its own proof shows smaller ones.

    Raises PrecisionError where they do not hold even so.
    """
    first = start["first_step"]
    for widths, bound in _checked_once(circuit, start) if start["begins"] else _renewed(circuit, start):
        start = start | {"widths": widths, "initial_bound": bound}
        with suppress(PrecisionError):
            return start, circuit.bounds(bound, steps, first, cure=False)
    return start, circuit.bounds(bound, steps, first)  # which says what to do


def _checked_once(circuit: Circuit, start: dict) -> Iterator[tuple]:
    """What the first proof of a chain may show of its coarse integers: (widths, bounds), the cheapest first."""
    shifts, limbs = start["coarse_shifts"], start["widths"]
    wider = ranged.wider(circuit, limbs, _norms(circuit, [x >> s for s, x in zip(shifts, start["initial"], strict=True)]))
    yield from ((widths, coarse.shown(circuit, shifts, widths)) for widths in dict.fromkeys((wider, limbs)))


def _renewed(circuit: Circuit, start: dict) -> Iterator[tuple]:
    """What a later one may show: nothing, ranges by random forms, or the smallest ranges in limbs of the states that grow.

    A width becomes public: it tells the largest absolute value of a state, or the largest Euclidean norm of some thousands of parameters,
    up to a factor of 2, as the shifts of the first weights do.
    """
    bound = start["initial_bound"]
    yield start["widths"], bound
    limbs, _ = last = renewed(circuit, start["initial"], bound)
    wider = ranged.wider(circuit, limbs, _norms(circuit, start["initial"]))
    if wider != limbs:
        yield wider, _bounds_after(wider, bound)
    yield last


def renewed(circuit: Circuit, initial, bound: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Widths of the smallest ranges of the states that grow, 0 for others, and all bounds once limbs have shown these ranges."""
    widths = [0] * len(bound)
    for p in circuit.growing:
        low, high = (int(x) for x in (initial[p].min(), initial[p].max()))
        width = 1 + max(high, -low - 1).bit_length()
        widths[p] = width if signed_bound(width) < bound[p] else 0
    return tuple(widths), _bounds_after(widths, bound)


def _bounds_after(widths: Sequence[int], bound: tuple[int, ...]) -> tuple[int, ...]:
    """Bounds of all states, once ranges of these widths are shown."""
    return tuple(new or old for new, old in zip(ranged.bounds(widths), bound, strict=True))


def _norms(circuit: Circuit, committed: Sequence[np.ndarray]):
    """What ``ranged.wider`` asks for, of these integers."""
    of = cache(lambda name: norms(circuit, name, committed))
    return lambda name, _, held: max(float(of(name)[x.first : x.end].max()) for x in held)
