"""Elementary functions of rationals, the same digits on every machine: no floating point, no library of mathematics.

Each function takes a rational and is computed to more than 30 significant decimal digits by ``decimal`` (whose ``exp``, ``ln``
and ``sqrt`` are correctly rounded) or by a series; ``simplest`` then gives the simplest rational that float32 cannot tell
from the result, so that cos(pi) is -1 and sqrt(0.25) is 1/2. Results beyond all floating-point formats are infinite or 0.
"""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import partial

from ..algebra import decimals, functions
from . import special

SHORT_BITS = 12  # a dyadic rational whose numerator has no more bits stays as it is
SINGLE_BITS = 24  # significant bits of a float32
LONGEST_BITS = 512  # of a numerator or denominator, before it is rounded
INFINITY, NAN = float("inf"), float("nan")


def simplest(value: Fraction) -> Fraction:
    """The simplest rational within half a unit of float32's last place of ``value``: 1/10 for the float 0.1.

    Integers that float32 holds, and short dyadic values, stay as they are.
    """
    n, d = abs(value.numerator), value.denominator
    bits = (n // (n & -n or 1)).bit_length() if d == 1 else n.bit_length()
    if d & (d - 1) == 0 and bits <= (SINGLE_BITS if d == 1 else SHORT_BITS):
        return value
    exponent = n.bit_length() - d.bit_length()
    if n < d << exponent if exponent >= 0 else n << -exponent < d:
        exponent -= 1  # 2^exponent <= |value| < 2^(exponent + 1)
    half = Fraction(2) ** (exponent - SINGLE_BITS)
    simple = between(abs(value) - half, abs(value) + half)
    return simple if value > 0 else -simple


def between(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of least denominator in [low, high], 0 < low < high: where their continued fractions part."""
    a, b, c, d = low.numerator, low.denominator, high.numerator, high.denominator
    before, last = (0, 1), (1, 0)  # convergents, as (numerator, denominator)
    while True:
        floor, rest = divmod(a, b)
        term = floor if rest == 0 else floor + 1
        if term * d <= c:
            return Fraction(term * last[0] + before[0], term * last[1] + before[1])
        before, last = last, (floor * last[0] + before[0], floor * last[1] + before[1])
        a, b, c, d = d, c - floor * d, b, rest


def shortened(value: Fraction) -> Fraction:
    """``value``, rounded to 256 significant bits where it has grown beyond all use."""
    n, d = value.numerator, value.denominator
    if n.bit_length() <= LONGEST_BITS and d.bit_length() <= LONGEST_BITS:
        return value
    shift = LONGEST_BITS // 2 - (n.bit_length() - d.bit_length())
    return Fraction((n << shift) // d if shift >= 0 else n // (d << -shift)) / Fraction(2) ** shift


COMPOSED = {
    name: make(functions.joined, functions.IDENTITY, lambda v: functions.number(Fraction(v)))
    for name, make in {"erf_inv": special.inverse_error, **special.ANGLES}.items()
}


FAR = 30  # from here on Stirling's series has more than 30 digits after so many terms


def log_gamma(x: Decimal) -> Decimal:
    """log |gamma(x)|: from 30 on Stirling's series, below by gamma(x + 1) = x gamma(x), below 1/2 by reflection."""
    if x == x.to_integral_value() and x < FAR:
        return decimals.log(Decimal(math.factorial(int(x) - 1))) if x > 0 else decimals.INFINITY
    if x < Decimal("0.5"):
        return decimals.log(decimals.PI / abs(decimals.sin(decimals.PI * x))) - log_gamma(1 - x)
    product = Decimal(1)
    while x < FAR:
        product, x = product * x, x + 1
    series = sum(decimals.decimal(b / (2 * k * (2 * k - 1))) / x ** (2 * k - 1) for k, b in enumerate(special.BERNOULLI, 1))
    return (x - Decimal("0.5")) * x.ln() - x + (2 * decimals.PI).ln() / 2 + series - product.ln()


def digamma(x: Decimal) -> Decimal:
    """The derivative of log gamma, as ``log_gamma``."""
    if x <= 0 and x == x.to_integral_value():
        return decimals.NAN
    if x < Decimal("0.5"):
        return digamma(1 - x) - decimals.PI * decimals.cos(decimals.PI * x) / decimals.sin(decimals.PI * x)
    below = Decimal(0)
    while x < FAR:
        below, x = below + 1 / x, x + 1
    return x.ln() - 1 / (2 * x) - sum(decimals.decimal(b / (2 * k)) / x ** (2 * k) for k, b in enumerate(special.BERNOULLI, 1)) - below


FUNCTIONS: dict[str, Callable] = {
    **{name: functions.FUNCTIONS[name].decimal for name in ("exp", "expm1", "log", "log1p", "sqrt", "cbrt", "logistic", "tanh")},
    **{name: functions.FUNCTIONS[name].decimal for name in ("cos", "sin", "erf")},
    "exp2": lambda x: decimals.exp(x * Decimal(2).ln()),
    "rsqrt": lambda x: 1 / x.sqrt(),
    **{name: partial(lambda program, x: functions.value(program, Fraction(x)), program) for name, program in COMPOSED.items()},
    "lgamma": log_gamma,
    "digamma": digamma,
    "tan": lambda x: decimals.cos(x - decimals.PI / 2) / decimals.cos(x),
}
AT_INFINITY = {  # at minus and at plus infinity
    **dict.fromkeys(("exp", "exp2"), (Fraction(0), INFINITY)),
    "expm1": (Fraction(-1), INFINITY),
    **dict.fromkeys(("log", "log1p", "sqrt"), (NAN, INFINITY)),
    "rsqrt": (NAN, Fraction(0)),
    "lgamma": (INFINITY, INFINITY),
    "digamma": (NAN, INFINITY),
    "cbrt": (-INFINITY, INFINITY),
    "atan": (-special.PI / 2, special.PI / 2),
    "logistic": (Fraction(0), Fraction(1)),
    **dict.fromkeys(("tanh", "erf"), (Fraction(-1), Fraction(1))),
}


def elementary(name: str, x):
    """A function of ``FUNCTIONS`` at a rational (or infinite, or not a number): the simplest rational, or a float that is not finite."""
    if isinstance(x, float):
        return NAN if math.isnan(x) else AT_INFINITY.get(name, (NAN, NAN))[x > 0]
    with localcontext(decimals.DIGITS):
        return _result(FUNCTIONS[name](decimals.decimal(x)))


def power(x, y):
    """x to the power y as ``jax.lax.pow``; exact for whole y."""
    if y == 0 or x == 1:
        return Fraction(1)
    if isinstance(x, float) or isinstance(y, float):
        return _infinite_power(x, y)
    if y.denominator == 1 and abs(y) <= 2**16:
        return shortened(x ** int(y)) if x or y > 0 else INFINITY
    if x < 0:
        return NAN
    if x == 0:
        return Fraction(0) if y > 0 else INFINITY
    with localcontext(decimals.DIGITS):
        return _result(decimals.exp(decimals.decimal(y) * decimals.log(decimals.decimal(x))))


def _infinite_power(x, y):
    if x != x or y != y or x < 0:  # a negative base here is infinite, or has an infinite exponent
        return NAN
    grows = (y > 0) == (x > 1) if x != 1 else False
    return INFINITY if grows else Fraction(0)


def _result(value: Decimal):
    return simplest(Fraction(value)) if value.is_finite() else float(value)
