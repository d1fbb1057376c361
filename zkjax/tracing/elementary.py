"""Elementary functions of rationals, the same digits on every machine: no floating point, no library of mathematics.

Each function takes a rational and is computed to more than 30 significant decimal digits by ``decimal`` (whose ``exp``, ``ln``
and ``sqrt`` are correctly rounded) or by a series; ``simplest`` then gives the simplest rational that float32 cannot tell
from the result, so that cos(pi) is -1 and sqrt(0.25) is 1/2. Results beyond all floating-point formats are infinite or 0.
"""

import math
from collections.abc import Callable
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache

SHORT_BITS = 12  # a dyadic rational whose numerator has no more bits stays as it is
SINGLE_BITS = 24  # significant bits of a float32
LONGEST_BITS = 512  # of a numerator or denominator, before it is rounded
LARGEST_EXPONENT = 10**4  # exp of more is infinite, of less than its negative is 0
DIGITS = Context(prec=36, Emax=MAX_EMAX, Emin=MIN_EMIN)
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798")
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


def _decimal(x: Fraction) -> Decimal:
    return Decimal(x.numerator) / Decimal(x.denominator)


def _exp(x: Decimal):
    if abs(x) > LARGEST_EXPONENT:
        return INFINITY if x > 0 else Decimal(0)
    return x.exp()


@lru_cache(maxsize=1024)
def _ln(x: Decimal):
    return x.ln() if x > 0 else -INFINITY if x == 0 else NAN


def _sqrt(x: Decimal):
    return x.sqrt() if x >= 0 else NAN


def _reciprocal(x):
    """Of a result: 0 of an infinity."""
    return Decimal(0) if x == INFINITY else INFINITY if x == 0 else 1 / x


def _cos(x: Decimal) -> Decimal:
    """Taylor's series in integers, after multiples of 2 pi are taken off."""
    unit = 2**100
    x = int(x % (2 * PI) * unit)
    square, total, term, k = x * x >> 100, unit, unit, 1
    while abs(term) > 1:
        term = -(term * square >> 100) // (k * (k + 1))
        total, k = total + term, k + 2
    return Decimal(total) / unit


def _erf(x: Decimal) -> Decimal:
    if abs(x) > 7:  # 1 - erf(7) is below 10^-22
        return Decimal(1).copy_sign(x)
    total = term = x
    for k in range(1, 1000):
        term = -term * x * x / k
        total += term / (2 * k + 1)
        if abs(term) < Decimal("1e-34"):
            break
    return 2 * total / PI.sqrt()


def _logistic(x: Decimal):
    return _reciprocal(1 + _exp(-x)) if -x <= LARGEST_EXPONENT else Decimal(0)


def _tanh(x: Decimal):
    return 2 * _logistic(2 * x) - 1


def _minus_one(x):
    return x if x == INFINITY else x - 1


def _cbrt(x: Decimal):
    return Decimal(0) if x == 0 else (abs(x).ln() / 3).exp().copy_sign(x)


FUNCTIONS: dict[str, Callable] = {
    "exp": _exp,
    "exp2": lambda x: _exp(x * Decimal(2).ln()),
    "expm1": lambda x: _minus_one(_exp(x)),
    "log": _ln,
    "log1p": lambda x: _ln(1 + x),
    "sqrt": _sqrt,
    "rsqrt": lambda x: _reciprocal(_sqrt(x)),
    "cbrt": _cbrt,
    "logistic": _logistic,
    "tanh": _tanh,
    "cos": _cos,
    "sin": lambda x: _cos(x - PI / 2),
    "tan": lambda x: _cos(x - PI / 2) / _cos(x),
    "erf": _erf,
}
AT_INFINITY = {  # at minus and at plus infinity
    **dict.fromkeys(("exp", "exp2"), (Fraction(0), INFINITY)),
    "expm1": (Fraction(-1), INFINITY),
    **dict.fromkeys(("log", "log1p", "sqrt"), (NAN, INFINITY)),
    "rsqrt": (NAN, Fraction(0)),
    "cbrt": (-INFINITY, INFINITY),
    "logistic": (Fraction(0), Fraction(1)),
    **dict.fromkeys(("tanh", "erf"), (Fraction(-1), Fraction(1))),
}


def elementary(name: str, x):
    """A function of ``FUNCTIONS`` at a rational (or infinite, or not a number): the simplest rational, or a float that is not finite."""
    if isinstance(x, float):
        return NAN if math.isnan(x) else AT_INFINITY.get(name, (NAN, NAN))[x > 0]
    with localcontext(DIGITS):
        return _result(FUNCTIONS[name](_decimal(x)))


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
    with localcontext(DIGITS):
        return _result(_exp(_decimal(y) * _ln(_decimal(x))))


def _infinite_power(x, y):
    if x != x or y != y or x < 0:  # a negative base here is infinite, or has an infinite exponent
        return NAN
    grows = (y > 0) == (x > 1) if x != 1 else False
    return INFINITY if grows else Fraction(0)


def _result(value):
    return value if isinstance(value, float) else simplest(Fraction(value))
