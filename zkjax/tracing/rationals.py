"""Rational numbers as integers times powers of two: units of formats, constants, learning rates."""

import math
from fractions import Fraction
from functools import lru_cache

from ..errors import PrecisionError
from .series import Series

RATE_BITS = 3  # of a learning rate that stays one


def valuation(factor: Fraction) -> int:
    """The s with factor = 2^-s * odd / odd."""
    return (factor.denominator & -factor.denominator).bit_length() - (factor.numerator & -factor.numerator).bit_length()


def log2(value: Fraction) -> int:
    """The e with 2^e <= value < 2^(e+1), value > 0."""
    e = value.numerator.bit_length() - value.denominator.bit_length()
    return e if value >= Fraction(2) ** e else e - 1


def odd(value: Fraction) -> Fraction:
    """What is left of a value without its powers of two."""
    return value * Fraction(2) ** valuation(value)


def dyadic(value: Fraction, bits: int) -> tuple[int, int]:
    """(n, s), n odd, with value = n * 2^-s, exactly if n has at most ``bits`` bits, else rounded to that many."""
    s, rest = valuation(value), odd(value)
    if rest.denominator == 1 and abs(rest.numerator).bit_length() <= bits:
        return rest.numerator, s
    k = bits - 1 - log2(abs(rest))
    n = math.floor(rest * Fraction(2) ** k + Fraction(1, 2))
    zeros = (n & -n).bit_length() - 1
    return n >> zeros, s + k - zeros


def common(rationals) -> Fraction:
    """The greatest rational of which all are integer multiples; 1 for zeros only."""
    denominator = math.lcm(*(r.denominator for r in rationals))
    return Fraction(math.gcd(*(int(r * denominator) for r in rationals)) or denominator, denominator)


@lru_cache(maxsize=64)
def rounded_rates(rates: tuple[Fraction, ...], tolerance: Fraction) -> tuple[tuple[int, ...], int]:
    """Integers n and the least b >= 0 with n_t * 2^-b within ``tolerance`` of every rate. Short dyadic rates stay exact.

    In a table, a rate below a sixteenth of the largest may be off by ``tolerance`` of that sixteenth: a cosine's last
    steps would otherwise cost bits that every step pays for.
    """
    if all(r.denominator & (r.denominator - 1) == 0 and abs(r.numerator).bit_length() <= 8 for r in rates):
        b = max(r.denominator.bit_length() - 1 for r in rates)
        return tuple(int(r * 2**b) for r in rates), b
    floor = max(abs(r) for r in rates) / 16
    for b in range(62):
        n = tuple(math.floor(r * 2**b + Fraction(1, 2)) for r in rates)
        if all(abs(Fraction(v, 2**b) - r) <= tolerance * max(abs(r), floor) for v, r in zip(n, rates, strict=True)):
            return n, b
    raise PrecisionError(f"the learning rate {float(rates[0])} cannot be written as n * 2^-b; raise Precision.rate_tolerance")


def gradient_unit(rates) -> Fraction:
    """u in [1, 2) with which the largest of all rates, times u, is a power of two; 1 where all rates are short binary fractions.

    Gradients are integers times u * 2^-scale, and the rest of the rate is in the constant of the rescale that makes them:
    written as n * 2^-b instead, the bits of n would be bits of every parameter, and chains would be shorter for it. A few
    bits are worth it, for they spare that rescale.
    """
    if all(odd(r).denominator == 1 and abs(odd(r).numerator).bit_length() <= RATE_BITS for table in rates for r in table if r):
        return Fraction(1)
    largest = max((abs(r) for table in rates for r in table), default=Fraction(0))
    if not largest:
        return Fraction(1)
    u = 1 / largest
    return u * Fraction(2) ** -log2(u)


@lru_cache(maxsize=256)
def paced(c: Series, tolerance: Fraction) -> tuple[tuple[int, ...], Fraction]:
    """Numbers of the step as integers, and what an integer 1 of them is worth. Cached: schedules are long."""
    s = -log2(max(map(abs, c.values)))
    numbers, b = rounded_rates(tuple(v * Fraction(2) ** s for v in c.values), tolerance)
    return numbers, Fraction(2) ** -(b + s)
