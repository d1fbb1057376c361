"""Functions that are composed of the instructions of ``algebra.functions``, for all numbers to 15 digits or more.

Each is made by ``of(name, *operands)`` of x and constants ``c(number)``.
"""

import math
from fractions import Fraction
from functools import reduce

PI = Fraction("3.14159265358979323846264338327950288").limit_denominator(2**60)
HALF_LOG = Fraction("0.91893853320467274178032973640561764").limit_denominator(2**60)  # of 2 pi
ARC_TERMS, SHIFT = 12, 8
TERMS = 7  # of Stirling's series

# Of w = -log(1 - x^2), up to 5 and beyond, what x is multiplied by: the polynomials of XLA's erf_inv in float32 (Giles, Approximating the
# erfinv function, GPU Computing Gems 2, 2011), highest power first, of w - 2.5 and of sqrt(w) - 3.
CENTRAL = "2.81022636e-08 3.43273939e-07 -3.5233877e-06 -4.39150654e-06 2.1858087e-4 -1.25372503e-3 -4.17768164e-3 0.246640727 1.50140941"
TAIL = "-2.00214257e-04 1.00950558e-04 1.34934322e-03 -3.67342844e-03 5.73950773e-03 -7.6224613e-03 9.43887047e-03 1.00167406 2.83297682"


def _polynomial(of, c, coefficients, at):
    """Highest power first."""
    first, *rest = map(c, coefficients)
    return reduce(lambda total, a: of("add", of("mul", total, at), a), rest, first)


def inverse_error(of, x, c):
    """JAX's erf_inv."""
    w = of("neg", of("log", of("sub", c(1), of("mul", x, x))))
    central = _polynomial(of, c, CENTRAL.split(), of("sub", w, c("2.5")))
    tail = _polynomial(of, c, TAIL.split(), of("sub", of("sqrt", w), c(3)))
    return of("mul", x, of("select", of("lt", w, c(5)), tail, central))


def _half(of, x, c, sign: int = 1):
    """Of the tangent of an angle that of its half; of a sine, with the other sign, the tangent of the half."""
    root = of("sqrt", of("add" if sign > 0 else "sub", c(1), of("mul", x, x)))
    return of("div", x, of("add", c(1), root))


def arctangent(of, x, c):
    """Eight times that of the tangent of an eighth, below 0.2, by its series."""
    x = _half(of, _half(of, _half(of, x, c), c), c)
    series = [Fraction((-1) ** k, 2 * k + 1) for k in range(ARC_TERMS)]
    return of("mul", c(8), of("mul", x, _polynomial(of, c, series[::-1], of("mul", x, x))))


def arcsine(of, x, c):
    """Beyond -1 and 1 it has no value."""
    return of("mul", c(2), arctangent(of, _half(of, x, c, -1), c))


def arccosine(of, x, c):
    """Twice the angle whose sine is the root of (1 - x) / 2, so that it is 0 at 1."""
    return of("mul", c(2), arcsine(of, of("sqrt", of("mul", c("1/2"), of("sub", c(1), x))), c))


# ---- gamma -----------------------------------------------------------------------------------------------------------


def _bernoulli(count: int) -> list[Fraction]:
    """The numbers B2, B4, .. of Bernoulli."""
    found = [Fraction(1)]
    for n in range(1, 2 * count + 1):
        found.append(-sum(math.comb(n + 1, k) * b for k, b in enumerate(found)) / (n + 1))
    return found[2::2]


BERNOULLI = _bernoulli(16)


def _reflected(above, reflection):
    """A function of all numbers but 0, -1, ..; above: of numbers from 1/2 on; reflection: of that of 1 - x, and sine and cosine of pi x."""

    def function(of, x, c):
        small = of("lt", x, c("1/2"))
        found = above(of, of("select", small, x, of("sub", c(1), x)), c)
        turn = of("mul", c(PI), of("sub", x, of("round", x)))
        return of("select", small, found, reflection(of, found, of("sin", turn), of("cos", turn), c))

    return function


def _stirling(of, x, c, divisors):
    """(z, 1 / z, x, x + 1, .. below z, the sum of B_2k z^(1 - 2k) / divisor) at z = x + ``SHIFT``."""
    below = [of("add", x, c(k)) if k else x for k in range(SHIFT)]
    z = of("add", x, c(SHIFT))
    inverse = of("div", c(1), z)
    terms = [b / divisors(2 * k + 2) for k, b in enumerate(BERNOULLI[:TERMS])]
    return z, inverse, below, of("mul", inverse, _polynomial(of, c, terms[::-1], of("mul", inverse, inverse)))


def _sum(of, terms):
    return reduce(lambda a, b: of("add", a, b), terms)


def _log_gamma(of, x, c):
    z, _, below, rest = _stirling(of, x, c, lambda n: n * (n - 1))
    main = of("sub", of("mul", of("sub", z, c("1/2")), of("log", z)), z)
    return of("sub", _sum(of, [main, c(HALF_LOG), rest]), of("log", reduce(lambda a, b: of("mul", a, b), below)))


def _digamma(of, x, c):
    z, inverse, below, rest = _stirling(of, x, c, lambda n: n)
    lost = [of("mul", inverse, of("add", c("1/2"), rest)), *(of("div", c(1), y) for y in below)]
    return of("sub", of("log", z), _sum(of, lost))


def _trigamma(of, x, c):
    _, inverse, below, rest = _stirling(of, x, c, lambda n: 1)
    main = of("mul", inverse, of("add", c(1), of("mul", inverse, of("add", c("1/2"), rest))))
    return _sum(of, [main, *(of("div", c(1), of("mul", y, y)) for y in below)])


log_gamma = _reflected(_log_gamma, lambda of, y, sine, cosine, c: of("sub", of("log", of("div", c(PI), of("abs", sine))), y))
digamma = _reflected(_digamma, lambda of, y, sine, cosine, c: of("sub", y, of("div", of("mul", c(PI), cosine), sine)))
trigamma = _reflected(_trigamma, lambda of, y, sine, cosine, c: of("sub", of("div", of("mul", c(PI), c(PI)), of("mul", sine, sine)), y))

ANGLES = {"atan": arctangent, "asin": arcsine, "acos": arccosine}
FUNCTIONS = {**ANGLES, "lgamma": log_gamma, "digamma": digamma}
