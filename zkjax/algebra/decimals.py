"""Functions of decimals of 36 digits, which are the same on every machine.

The arithmetic is specified to the last digit: + - * / and square roots are correctly rounded, and so are ``decimal``'s exp and ln; cos, sin
and erf are worked out with many more digits and rounded once. Infinities and NaN are numbers here; nothing is raised.

PROTOCOL.md, section 10.6.
"""

from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from fractions import Fraction

DIGITS = Context(prec=36, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
_MANY = Context(prec=120, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])  # for what is then rounded to 36 digits
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798214808651328230665")
INFINITY, NAN, ONE = Decimal("Infinity"), Decimal("NaN"), Decimal(1)
_FAR = 10**4  # exp of more is infinite, of less than its negative is 0
_TURNS = Decimal("6.28318530717958647692528676655900577E36")  # from here on there is no cosine


def decimal(x: Fraction | int) -> Decimal:
    """A rational with 36 digits."""
    return Decimal(x.numerator) / Decimal(x.denominator)


def exp(x: Decimal) -> Decimal:
    """Infinite above 10^4, 0 below its negative."""
    return x.exp() if not abs(x) > _FAR else INFINITY if x > 0 else Decimal(0)


def log(x: Decimal) -> Decimal:
    """NaN below 0."""
    return x.ln()


def _turned(x: Decimal, quarters: int) -> Decimal:
    """cos(x - quarters * pi / 2), correctly rounded: Taylor's series with many more digits, after multiples of pi / 2 are taken off."""
    if not abs(x) < _TURNS:
        return NAN
    with localcontext(_MANY):
        turns = (x / (PI / 2)).to_integral_value()
        x, quarters = x - turns * (PI / 2), (int(turns) - quarters) % 4  # cos(x + quarters * pi / 2)
        square, k = x * x, 1 + quarters % 2
        total = term = x if quarters % 2 else ONE
        while term and term.adjusted() > total.adjusted() - _MANY.prec:
            term = -term * square / (k * (k + 1))
            total, k = total + term, k + 2
    return DIGITS.plus(-total if quarters in (1, 2) else total)


def cos(x: Decimal) -> Decimal:
    """Correctly rounded; NaN for what is too large to know its place in a turn."""
    return _turned(x, 0)


def sin(x: Decimal) -> Decimal:
    """As ``cos``."""
    return _turned(x, 1)


def erf(x: Decimal) -> Decimal:
    """Correctly rounded."""
    if not abs(x) <= 9:  # 1 - erf(9) is below 10^-36
        return x if x.is_nan() else ONE.copy_sign(x)
    with localcontext(_MANY):  # terms are as large as 10^35 before they become small
        total = term = x
        k = 0
        while term and (k < x * x or term.adjusted() > total.adjusted() - _MANY.prec):
            k += 1
            term = -term * x * x / k
            total += term / (2 * k + 1)
        total = 2 * total / PI.sqrt()
    return DIGITS.plus(total)


def cbrt(x: Decimal) -> Decimal:
    """With the sign of x."""
    return Decimal(0) if x == 0 else (abs(x).ln() / 3).exp().copy_sign(x)


def logistic(x: Decimal) -> Decimal:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + exp(-x))


def tanh(x: Decimal) -> Decimal:
    """2 logistic(2 x) - 1."""
    return 2 * logistic(2 * x) - 1
