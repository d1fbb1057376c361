"""Digits: the one-hot of a number below many, as the product of those of its two digits.

A number below V is B h + l with l < B, where B is about the root of V. The one-hot of V places is the outer product of the one-hots of h
and l, which nobody commits to: B + V / B cells of an entry, and not V.
"""

import math
from fractions import Fraction

from ..algebra import functions
from ..algebra.functions import Program
from ..ops.functions import MAX_SIZE

MOST = MAX_SIZE**2  # places of a one-hot by digits


def lengths(size: int) -> tuple[int, int]:
    """How many values the digits of the numbers below ``size`` have, the upper one's first."""
    base = math.isqrt(size - 1) + 1
    return -(-size // base), base


def digits(program: Program, size: int) -> tuple[Program, Program]:
    """Programs of the digits of a program's integers below ``size``, the upper one first.

    What is below 0 has the upper digit -1. What is beyond has the digits of ``size``, which is no place. What is no number has none.
    """

    def of(name: str, x: Program, y: Program | Fraction | int) -> Program:
        return functions.joined(name, x, y if isinstance(y, tuple) else functions.number(Fraction(y)))

    _, base = lengths(size)
    within = of("min", of("max", program, -1), size)
    upper = functions.joined("floor", of("div", of("add", within, Fraction(1, 2)), base))  # a half: far from what rounding could change
    return upper, of("sub", within, of("mul", upper, base))
