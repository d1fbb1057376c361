"""Where a chain begins: first parameters as coarse integers, 2^s * v with public s, whose ranges the first proof shows.

What it shows is all that bounds follow from. As many bits as float32 has take a lookup or two for each parameter, once in a chain.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from ..algebra import exact
from ..ops.ranges import limbs
from . import ranged
from .parts import PARAMETERS

FLOAT_BITS = 25  # of a signed integer that has all bits of a float32's mantissa
BELOW_ONE = 1.0 - 2.0**-24  # the largest float32 below 1
LARGEST = 2**61  # of an integer that a training begins with, in absolute value
STEPS = 4  # whose lookups showing the ranges of so fine integers may take at most


def most_bits(circuit) -> tuple[int, ...]:
    """Of each parameter's coarse integers at most: FLOAT_BITS where that takes two lookups each and few in all; else, and of frozen ones,
    those of the largest table."""
    few, most = circuit.table_bits, max(FLOAT_BITS, circuit.table_bits)
    fine = {p for p, x in enumerate(circuit.parameters) if p not in circuit.given and not x.frozen}
    lookups = len(limbs(most, few))
    shown = sum(math.prod(circuit.parameters[p].shape) for p in fine) * lookups
    cheap = lookups <= 2 and shown <= STEPS * circuit.counts(1).lookups
    return tuple(most if cheap and p in fine else few for p in range(len(circuit.parameters)))


def expected_widths(circuit) -> tuple[int, ...]:
    """Of the coarse integers, if parameters are below 1 in absolute value; 0 for states that the circuit gives."""
    return forms(circuit, {p: BELOW_ONE for p in range(len(circuit.parameters)) if p not in circuit.given})[1]


def below_one(circuit) -> tuple[int, ...]:
    """Bounds of states that are below 1 in absolute value."""
    return tuple(max(1, int(1 / circuit.unit(p))) for p in range(len(circuit.parameters)))


def first(circuit, steps: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Widths of what the first proof of a chain, of so many steps, shows of states below 1, and the bounds that follow, about."""
    shifts, limbs = forms(circuit, {p: BELOW_ONE for p in range(len(circuit.parameters)) if p not in circuit.given})
    wider = ranged.wider(circuit, limbs, ranged.largest_norm(limbs))
    bound = shown(circuit, shifts, wider)
    return (wider, bound) if min(wider) < 0 and ranged.hold(circuit, bound, steps, 0) else (limbs, below_one(circuit))


def renewal(circuit, steps: int, first_step: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Likewise of a later chunk, which renews the bounds of its first weights."""
    limbs, own, bound = circuit.renewing_widths, circuit.held[PARAMETERS], below_one(circuit)
    whole = [max(1, circuit.scale(p)[1] + 1) if p in own else width for p, width in enumerate(limbs)]
    wider = ranged.wider(circuit, limbs, ranged.largest_norm(whole))
    looser = tuple(max(a, b) for a, b in zip(ranged.bounds(wider), bound, strict=True))
    return (wider, looser) if min(wider) < 0 and ranged.hold(circuit, looser, steps, first_step) else (limbs, bound)


def form(largest: float, scale: int, narrow: int, wide: int) -> tuple[int, int]:
    """The least s for which values up to ``largest`` become 2^s * v at a scale, v a signed integer of at most ``wide`` bits; and the
    number of bits, at least ``narrow``."""
    s = 0
    while (bits := math.floor(math.ldexp(largest, scale - s) + 0.5).bit_length() + 1) > wide:
        s += 1
    return s, max(bits, narrow)


def forms(circuit, largest: Mapping[int, float]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shifts and widths of the coarse integers, from the largest absolute value of each parameter, by number; 0 for states that the
    circuit gives."""
    found, wide = {}, most_bits(circuit)
    for p, size in largest.items():
        odd, scale = circuit.scale(p)
        found[p] = form(size / odd, scale, circuit.table_bits, wide[p])
    shifts, widths = zip(*(found.get(p, (0, 0)) for p in range(len(circuit.parameters))), strict=True)
    return shifts, widths


def integers(circuit, values: Mapping[int, np.ndarray]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[np.ndarray, ...]]:
    """Shifts and widths as ``forms`` has them, and the integers of all states, int64.

    values: float64 arrays of the states that are committed, by number.
    """
    shifts, widths = forms(circuit, {p: float(np.abs(x).max()) for p, x in values.items()})
    found: dict = {}
    for p, x in values.items():
        odd, scale = circuit.scale(p)
        found[p] = exact.nearest(x / odd, scale - shifts[p]).astype(np.int64) << shifts[p]
    return shifts, widths, with_given(circuit, found)


def as_they_are(circuit, found: Mapping[int, tuple[int, np.ndarray]]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[np.ndarray, ...]]:
    """The same of integers of which no bit is dropped, (s, v) by number, v int64: ranges that hold v, in as many limbs as that takes."""
    shifts, widths = [0] * len(circuit.parameters), [0] * len(circuit.parameters)
    for p, (s, x) in found.items():
        low, high = int(x.min()), int(x.max())
        shifts[p], widths[p] = s, max(circuit.table_bits, 1 + max(high, -low - 1).bit_length())
    return tuple(shifts), tuple(widths), with_given(circuit, {p: x << s for p, (s, x) in found.items()})


def finer(circuit, p: int, unit: Fraction, integers: np.ndarray) -> int | None:
    """The s for which integers of this unit are, times 2^s, those of parameter p; None where there is none, or they exceed 61 bits."""
    ratio, largest = unit / circuit.unit(p), max(abs(int(integers.min())), abs(int(integers.max())))
    shift = ratio.numerator.bit_length() - 1
    fits = 0 <= shift < LARGEST.bit_length() and ratio == 1 << shift and largest << shift < LARGEST
    return shift if fits else None


def with_given(circuit, found: Mapping[int, np.ndarray]) -> tuple[np.ndarray, ...]:
    """The integers of all states where a chain begins, from those that are committed, by number."""
    found = dict(found)
    for p in circuit.given:
        given, shape = circuit.parameters[p].given, circuit.parameters[p].shape
        copied = 0 if given.copied is None else found[given.copied] << given.shift
        found[p] = np.full(shape, given.integer, dtype=np.int64) + copied
    return tuple(found[p] for p in range(len(found)))


def shown(circuit, shifts: Sequence[int], wide: Sequence[int]) -> tuple[int, ...]:
    """The bound of each state that the first proof shows."""
    found = [bound << s for s, bound in zip(shifts, ranged.bounds(wide), strict=True)]
    return tuple(circuit.given_bound(p, found) if p in circuit.given else bound for p, bound in enumerate(found))
