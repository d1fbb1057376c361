"""Multilinear polynomials, given by their values on the cube; variable 0 is the top bit of the index.

PROTOCOL.md, section 1.
"""

import numpy as np

from . import extension as ext
from . import field
from .extension import ONE, Ext

SHORT_EQ = 5  # variables up to which an eq table is made entry by entry


def num_bits(length: int) -> int:
    """Variables of the smallest cube with at least ``length`` points."""
    return max(0, length - 1).bit_length()


def eq_vector(point: list[Ext], length: int | None = None):
    """eq(point, x) for x = 0 .. length-1, as a NumPy K array: the first ``length`` entries of the eq table."""
    first = [ONE]
    for r in point[:SHORT_EQ]:
        first = [x for low, high in ((y, y * r) for y in first) for x in (low - high, high)]
    table = ext.stack(first)
    for r in point[SHORT_EQ:]:
        high = ext.mul(table, ext.stack([r]))
        low = ext.sub(table, high)
        table = tuple(np.stack([a, b], axis=-1).reshape(-1) for a, b in zip(low, high, strict=True))
    return table if length is None else (table[0][:length], table[1][:length])


def fold(table, r):
    """Fix variable 0 to ``r``: halves the table. ``r`` is a K pair of arrays that broadcast against the halves."""
    half = table[0].shape[0] // 2
    low, high = tuple(c[:half] for c in table), tuple(c[half:] for c in table)
    return ext.add(low, ext.mul(ext.sub(high, low), r))


def evaluate(table, point: list[Ext]) -> Ext:
    """Value of the multilinear extension of a NumPy K table at ``point``."""
    for r in point:
        table = fold(table, ext.stack([r]))
    return ext.unstack(table)[0]


def interpolate(values: list, r: Ext):
    """Value at ``r`` of the polynomial of degree len(values)-1 with these values at 0, 1, 2, ....

    The values may be elements of K or anything with ``+`` and multiplication by K (hidden scalars).
    """
    total = None
    for i, value in enumerate(values):
        numerator, denominator = ONE, 1
        for j in range(len(values)):
            if j != i:
                numerator = numerator * (r - j)
                denominator *= i - j
        term = value * (numerator * Ext(denominator).inverse())
        total = term if total is None else total + term
    return total


def pow_evaluation(x: np.ndarray, point: list[Ext]):
    """Multilinear extensions of the vectors (1, x, x^2, ...) at one point, for an F array of several x."""
    result = ext.from_base(np.ones_like(x))
    for r in reversed(point):  # the last variable is the lowest bit
        r_, rest = ext.stack([r]), ext.stack([ONE - r])
        result = ext.mul(result, ext.add(ext.mul_base(r_, x), rest))
        x = field.mul(x, x)
    return result
