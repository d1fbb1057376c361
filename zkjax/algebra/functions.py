"""Functions of one number, as programs, and their entries in tables: the same integers on every machine.

A program is a list of instructions; each is a name and the places of earlier instructions that it reads, the first is ``("x",)``, and
``("number", n, d)`` is n / d. Its value at a rational x is what *decimal arithmetic of 36 digits* makes of it, which is specified to the
last digit (IEEE 854: + - * / and square roots are correctly rounded, and so are ``decimal``'s exp and ln). A table holds the nearest
integers to 2^scale times that, halves upwards.

Most entries are settled without decimals: floating-point *intervals* that contain the value say which integer is nearest, unless they
contain the middle between two. Their bounds are wider by 2^-44 than what arithmetic yields, far more than any library of mathematics errs.
They are no wider after sums and products of *short* numbers, which floating point and decimals hold alike: these are often a middle.
And what follows from 0 / 0, which a program writes where it is to have no value, is no number for certain, nor is a logarithm below 0.

PROTOCOL.md, section 10.6.
"""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from . import decimals
from .decimals import DIGITS, INFINITY, NAN, decimal

MAX_INSTRUCTIONS = 256
LARGEST = 2**30  # absolute value of an entry; where a function has more, or no value, its table has no row
_WIDER, _LEAST = 2.0**-44, 2.0**-100
_SHORT = 26  # bits before and after the point of a short number: 53 bits and 36 digits hold a sum of two

Program = tuple[tuple, ...]
IDENTITY: Program = (("x",),)


def _largest(x: Decimal, y: Decimal) -> Decimal:
    return NAN if x.is_nan() or y.is_nan() else max(x, y)


def _least(x: Decimal, y: Decimal) -> Decimal:
    return NAN if x.is_nan() or y.is_nan() else min(x, y)


def _sign(x: Decimal) -> Decimal:
    return x if x.is_nan() else Decimal((x > 0) - (x < 0))


def _whole(rounding: str) -> Callable[[Decimal], Decimal]:
    return lambda x: x.to_integral_value(rounding=rounding)


# ---- intervals -------------------------------------------------------------------------------------------------------
# A pair of float64 arrays (low, high) of NumPy or jax.numpy; a bound that is not a number says nothing.


class _Floats(NamedTuple):
    """xp: the library of the arrays. wider: by what share bounds are wider than what it yields, for what rounding may have lost.

    table: of one, in NumPy: bounds that are infinite somewhere on the way say nothing, for what lies between them may be no number; and
    what follows from short numbers alone is told where it is exact.
    """

    xp: Any
    wider: float
    table: bool = False

    def bounds(self, low, high, exact=False):
        """exact: where nothing was rounded."""
        if not self.wider:
            return low, high
        wide = low - abs(low) * self.wider - _LEAST, high + abs(high) * self.wider + _LEAST
        return wide if exact is False else (np.where(exact, low, wide[0]), np.where(exact, high, wide[1]))


def _short(x):
    """Where an interval is one short number: a multiple of 2^-26, and at most 2^26."""
    units = np.ldexp(x[0], _SHORT)
    return (x[0] == x[1]) & (abs(x[0]) <= 2.0**_SHORT) & (np.floor(units) == units)


def _increasing(name: str, exactly: bool = False, within: tuple[float, float] = (-math.inf, math.inf)):
    """within: what the function's values never leave."""

    def interval(f, x):
        xp = f.xp
        function = getattr(xp, name) if hasattr(xp, name) else _others(xp)[name]
        bounds = function(x[0]), function(x[1])
        if exactly:
            return bounds
        low, high = f.bounds(*bounds)
        return xp.maximum(low, within[0]), xp.minimum(high, within[1])

    return interval


def _others(xp) -> dict[str, Callable]:
    """Functions that NumPy does not have."""
    if xp is np:
        return {"erf": np.vectorize(math.erf, otypes=[np.float64]), "logistic": lambda x: 1 / (1 + np.exp(-x))}
    from jax.scipy.special import erf, expit

    return {"erf": erf, "logistic": expit}


def _sum(f, x, y):
    return f.bounds(x[0] + y[0], x[1] + y[1], f.table and _short(x) & _short(y))


def _corners(f, operation, x, y):
    """Of what is monotone in each of two arguments: the extremes at the corners."""
    found = [operation(a, b) for a in x for b in y]
    return reduce(f.xp.minimum, found), reduce(f.xp.maximum, found)


def _product(f, x, y):
    low, high = _corners(f, lambda a, b: a * b, x, y)
    if not f.table:
        return f.bounds(low, high)
    a, b, c = (np.ldexp(bound, _SHORT).astype(np.int64) for bound in (x[0], y[0], low))
    exact = a * b == c << _SHORT  # modulo 2^64: what rounding took off a short product is less
    return f.bounds(low, high, exact & _short(x) & _short(y) & _short((low, high)))


def _quotient(f, x, y):
    zero = (y[0] <= 0) & (y[1] >= 0) & (f.wider > 0)
    low, high = f.bounds(*_corners(f, lambda a, b: a / b, x, y))
    return f.xp.where(zero, -np.inf, low), f.xp.where(zero, np.inf, high)


def _absolute(f, x):
    low = f.xp.where((x[0] <= 0) & (x[1] >= 0), 0.0, f.xp.minimum(abs(x[0]), abs(x[1])))
    return low, f.xp.maximum(abs(x[0]), abs(x[1]))


def _wave(name: str):
    def interval(f, x):
        middle, reach = (x[0] + x[1]) / 2, (x[1] - x[0]) / 2 + (abs(x[0]) + 1) * f.wider
        value = getattr(f.xp, name)(f.xp.where(abs(middle) < 1e30, middle, np.nan))  # of far more there is none
        return f.xp.maximum(value - reach, -1.0), f.xp.minimum(value + reach, 1.0)

    return interval


def _compared(strict: bool, swapped: bool):
    """[x > y], or [x >= y]: certain where the intervals are apart."""

    def interval(f, x, y):
        x, y = (y, x) if swapped else (x, y)
        sure = x[0] > y[1] if strict else x[0] >= y[1]
        never = x[1] <= y[0] if strict else x[1] < y[0]
        return f.xp.where(sure, 1.0, 0.0), f.xp.where(never, 0.0, 1.0)

    return interval


def _pairwise(name: str):
    return lambda f, x, y: (getattr(f.xp, name)(x[0], y[0]), getattr(f.xp, name)(x[1], y[1]))


def _equal(f, x, y):
    apart = (x[1] < y[0]) | (y[1] < x[0])
    same = (x[0] == x[1]) & (y[0] == y[1]) & (x[0] == y[0])
    return f.xp.where(same, 1.0, 0.0), f.xp.where(apart, 0.0, 1.0)


def _not(f, x):
    exact = [(bound == 0) | (bound == 1) for bound in x]
    low, high = f.bounds(1.0 - x[1], 1.0 - x[0])
    return f.xp.where(exact[1], 1.0 - x[1], low), f.xp.where(exact[0], 1.0 - x[0], high)


def _chosen(f, which, no, yes):
    """no where ``which`` is 0, else yes; both where that is not certain."""
    sure, never = (which[0] > 0) | (which[1] < 0), (which[0] == 0) & (which[1] == 0)
    low = f.xp.where(sure, yes[0], f.xp.where(never, no[0], f.xp.minimum(no[0], yes[0])))
    high = f.xp.where(sure, yes[1], f.xp.where(never, no[1], f.xp.maximum(no[1], yes[1])))
    return low, high


class Function(NamedTuple):
    """Of so many arguments, on decimals and on intervals, ``(a _Floats, *pairs)``."""

    arity: int
    decimal: Callable
    interval: Callable


def _boolean(x: bool) -> Decimal:
    return Decimal(int(x))


FUNCTIONS: dict[str, Function] = {
    "add": Function(2, lambda x, y: x + y, _sum),
    "sub": Function(2, lambda x, y: x - y, lambda f, x, y: _sum(f, x, (-y[1], -y[0]))),
    "mul": Function(2, lambda x, y: x * y, _product),
    "div": Function(2, lambda x, y: x / y, _quotient),
    "max": Function(2, _largest, _pairwise("maximum")),
    "min": Function(2, _least, _pairwise("minimum")),
    "neg": Function(1, lambda x: -x, lambda f, x: (-x[1], -x[0])),
    "abs": Function(1, abs, _absolute),
    "sign": Function(1, _sign, _increasing("sign", exactly=True)),
    "floor": Function(1, _whole("ROUND_FLOOR"), _increasing("floor", exactly=True)),
    "ceil": Function(1, _whole("ROUND_CEILING"), _increasing("ceil", exactly=True)),
    "round": Function(1, _whole("ROUND_HALF_EVEN"), _increasing("round", exactly=True)),
    "exp": Function(1, decimals.exp, _increasing("exp", within=(0.0, math.inf))),
    "expm1": Function(1, lambda x: decimals.exp(x) - 1, _increasing("expm1")),
    "log": Function(1, decimals.log, _increasing("log")),
    "log1p": Function(1, lambda x: decimals.log(1 + x), _increasing("log1p")),
    "sqrt": Function(1, lambda x: x.sqrt(), _increasing("sqrt", within=(0.0, math.inf))),
    "cbrt": Function(1, decimals.cbrt, _increasing("cbrt")),
    "logistic": Function(1, decimals.logistic, _increasing("logistic", within=(0.0, 1.0))),
    "tanh": Function(1, decimals.tanh, _increasing("tanh", within=(-1.0, 1.0))),
    "erf": Function(1, decimals.erf, _increasing("erf", within=(-1.0, 1.0))),
    "cos": Function(1, decimals.cos, _wave("cos")),
    "sin": Function(1, decimals.sin, _wave("sin")),
    "gt": Function(2, lambda x, y: _boolean(x > y), _compared(True, False)),
    "ge": Function(2, lambda x, y: _boolean(x >= y), _compared(False, False)),
    "lt": Function(2, lambda x, y: _boolean(x < y), _compared(True, True)),
    "le": Function(2, lambda x, y: _boolean(x <= y), _compared(False, True)),
    "eq": Function(2, lambda x, y: _boolean(x == y), _equal),
    "ne": Function(2, lambda x, y: _boolean(x != y), lambda f, x, y: _not(f, _equal(f, x, y))),
    "and": Function(2, min, _pairwise("minimum")),
    "or": Function(2, max, _pairwise("maximum")),
    "not": Function(1, lambda x: 1 - x, _not),
    "select": Function(3, lambda which, no, yes: yes if which else no, _chosen),
}

LEAST = {"log": 0.0, "log1p": -1.0, "sqrt": 0.0}  # no number, where they read less
CARRIED = (*LEAST, "add", "sub", "mul", "div", "max", "min", "neg", "abs", "floor", "ceil", "round")  # no number, where they read none


# ---- programs --------------------------------------------------------------------------------------------------------


def check(program) -> None:
    """ValueError where this is no program."""
    if not isinstance(program, tuple) or not 1 <= len(program) <= MAX_INSTRUCTIONS or program[0] != ("x",):
        raise ValueError("a program is a list of instructions, of which the first is x")
    for place, instruction in enumerate(program[1:], start=1):
        if not isinstance(instruction, tuple) or not instruction:
            raise ValueError("an instruction is a name and what it reads")
        name, *reads = instruction
        if not all(type(j) is int for j in reads):
            raise ValueError("an instruction reads earlier ones")
        if name == "number":
            if len(reads) != 2 or reads[1] < 1 or math.gcd(*reads) != 1:
                raise ValueError("a number is a reduced fraction")
        elif name not in FUNCTIONS or len(reads) != FUNCTIONS[name].arity or not all(0 <= j < place for j in reads):
            raise ValueError(f"instruction {name!s:.20} reads {reads!s:.60}")


def value(program: Program, x: Fraction) -> Decimal:
    """At a rational, with 36 digits; infinite or NaN where there is none. Only what the result needs is worked out."""
    with localcontext(DIGITS):
        found: dict[int, Decimal] = {}
        stack = [len(program) - 1]
        while stack:
            place = stack[-1]
            name, *reads = program[place]
            if name == "x":
                found[place] = decimal(x)
            elif name == "number":
                found[place] = decimal(Fraction(*reads))
            else:
                if name == "select" and reads[0] in found:
                    reads = [reads[0], reads[2 if found[reads[0]] else 1]]
                elif name == "select":
                    reads = reads[:1]
                missing = [j for j in reads if j not in found]
                if missing or name == "select" and len(reads) == 1:
                    stack += missing
                    continue
                found[place] = found[reads[1]] if name == "select" else FUNCTIONS[name].decimal(*(found[j] for j in reads))
            stack.pop()
        return found[len(program) - 1]


def interval(program: Program, low, high):
    """Bounds of the value for all x between the bounds: a pair of float64 arrays of the library that the given ones are of."""
    return _evaluated(program, _Floats(low.__array_namespace__(), _WIDER), low, high)[-1]


def floats(program: Program, x):
    """At float64 numbers, an array of NumPy or of jax.numpy."""
    return _evaluated(program, _Floats(x.__array_namespace__(), 0.0), x, x)[-1][0]


def _evaluated(program: Program, f: _Floats, low, high) -> list:
    """Bounds of what every instruction makes."""
    found: list = []
    with np.errstate(all="ignore"):
        for name, *reads in program:
            if name == "x":
                found.append((low, high))
            elif name == "number":
                number = f.xp.asarray(reads[0] / reads[1], dtype=np.float64)
                found.append((number, number) if Fraction(reads[0] / reads[1]) == Fraction(*reads) else f.bounds(number, number))
            else:
                found.append(FUNCTIONS[name].interval(f, *(found[j] for j in reads)))
                if f.table:  # what may be infinite may be no number, and of that no bound says anything
                    finite = f.xp.isfinite(found[-1][0]) & f.xp.isfinite(found[-1][1])
                    found[-1] = tuple(f.xp.where(finite, bound, np.nan) for bound in found[-1])
    return [tuple(f.xp.broadcast_to(bound, low.shape) for bound in bounds) for bounds in found]


def _nowhere(program: Program, bounds: list) -> np.ndarray:
    """Where a value is no number for certain: 0 / 0, a logarithm below 0, and what is made of that. bounds: of every instruction."""
    found: list[np.ndarray] = []
    for name, *reads in program:
        none = np.zeros(bounds[0][0].shape, dtype=bool)
        if name == "select":
            low, high = bounds[reads[0]]
            none = (low == 0) & (high == 0) & found[reads[1]] | ((low > 0) | (high < 0)) & found[reads[2]]
        elif name in CARRIED:
            none = reduce(np.logical_or, (found[j] for j in reads))
            if name == "div":
                none = none | np.logical_and.reduce([bound == 0 for j in reads for bound in bounds[j]])
            elif name in LEAST:
                none = none | (bounds[reads[0]][1] < LEAST[name])
        found.append(none)
    return found[-1]


def entries(program: Program, low: int, count: int, unit: Fraction, scale: int) -> np.ndarray:
    """The nearest integers to 2^scale times the values at unit * (low, low + 1, ..), int64 (count,); ``LARGEST`` where there is none."""
    result, open_ones = settled(program, low, count, unit, scale)
    for i in open_ones:
        result[i] = _entry(program, unit * (low + int(i)), scale)
    return result


def settled(program: Program, low: int, count: int, unit: Fraction, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Those of ``entries`` that floating point says, and the places of the others, which take decimals."""
    numbers = np.arange(low, low + count).astype(np.float64)
    exact = Fraction(float(unit)) == unit and unit.numerator.bit_length() + max(abs(low), abs(low + count)).bit_length() <= 53
    x, f = numbers * float(unit), _Floats(np, _WIDER, table=True)
    bounds = _evaluated(program, f, *((x, x) if exact else f.bounds(x, x)))
    below, above = bounds[-1]
    with np.errstate(all="ignore"):
        scaled = [np.ldexp(bound, scale) for bound in (below, above)]
        first, last = (np.floor(x) + (x - np.floor(x) >= 0.5) for x in scaled)  # x + 0.5 would be rounded
        same = (first == last) & (np.abs(first) < LARGEST) & (np.abs(scaled[0]) < LARGEST)
        beyond = (first >= LARGEST) | (last <= -LARGEST)
    return np.where(same, first, LARGEST).astype(np.int64), np.flatnonzero(~(same | beyond | _nowhere(program, bounds)))


def _entry(program: Program, x: Fraction, scale: int) -> int:
    with localcontext(DIGITS):
        found = value(program, x)
        if not found.is_finite():
            return LARGEST
        found = found * Decimal(2) ** scale + Decimal("0.5")
        found = found.to_integral_value(rounding="ROUND_FLOOR") if abs(found) < 2 * LARGEST else INFINITY
        return int(found) if abs(found) < LARGEST else LARGEST


# ---- making them -----------------------------------------------------------------------------------------------------


def number(x: Fraction) -> Program:
    """A constant."""
    return ("x",), ("number", x.numerator, x.denominator)


def joined(name: str, *programs: Program) -> Program:
    """A function of what programs with the same x make; instructions that they share stand once."""
    places: dict[tuple, int] = {("x",): 0}

    def add(instruction: tuple) -> int:
        return places.setdefault(instruction, len(places))

    ends = []
    for program in programs:
        moved: list[int] = []
        for operation, *reads in program:
            moved.append(add((operation, *reads) if operation in ("x", "number") else (operation, *(moved[j] for j in reads))))
        ends.append(moved[-1])
    last = add((name, *ends))  # which may have been there before
    return tuple(places)[: last + 1]


def after(program: Program, first: Program) -> Program:
    """The program applied to what the first one makes."""
    found, moved = list(first), []
    for name, *reads in program:
        if name == "x":
            moved.append(len(first) - 1)
            continue
        found.append((name, *reads) if name == "number" else (name, *(moved[j] for j in reads)))
        moved.append(len(found) - 1)
    return tuple(found) if moved[-1] == len(found) - 1 else first
