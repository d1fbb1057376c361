"""Functions entry by entry: the rules of what is computed from one tensor, and of the larger and the smaller one of two.

Of one tensor everything is a program and a column of a table (``functions``). Of two, what is larger follows from the sign of their
difference.
"""

from fractions import Fraction
from functools import reduce

from ..algebra import functions as programs
from . import choices, functions, keys, masked, quotients, special, variances
from .constants import Known, map_known
from .elementary import elementary
from .expressions import Drawn, Expression, Mask, Ratio, scaling
from .folding import kind
from .intervals import EVERYTHING, interval
from .series import Refusal, Series

LN2 = Fraction(6243314768165359, 2**53)


def negated(x):
    """Of a boolean the opposite."""
    return Mask(x.expression, not x.positive) if isinstance(x, Mask) else map_known(lambda v: not v, x.shape, x)


def power(graph, x, exponent: int):
    """x to a whole power."""
    x = graph.tensor(x)
    if exponent < 0:
        return power(graph, quotients.quotient(graph, Known.uniform(Fraction(1), x.shape), x), -exponent)
    return reduce(graph.product, [x] * exponent) if exponent else Known.uniform(Fraction(1), x.shape)


def _real_power(graph, eqn, x, y):
    if not isinstance(y, Known) or y.scalar is None or isinstance(y.scalar, Series):
        return _power_of(graph, *(graph.expand(v, eqn.outvars[0].aval.shape) for v in (x, y)))
    if Fraction(y.scalar).denominator == 1 and abs(y.scalar) <= 16:
        return power(graph, x, int(y.scalar))
    if Fraction(y.scalar).denominator == 2 and abs(y.scalar) <= 4:
        rooted = power(graph, quotients.root(graph, x), int(2 * abs(y.scalar)))
        return rooted if y.scalar > 0 else quotients.quotient(graph, Known.uniform(Fraction(1), x.shape), rooted)
    return _of_one(graph, "exp", graph.linear([(y.scalar, _of_one(graph, "log", x))]))


def _power_of(graph, x, y):
    """x to a power that is a tensor, or not the same everywhere: exp of a multiple of its logarithm. x is above 0."""
    if isinstance(x, Drawn) or isinstance(y, Drawn) or interval(graph, x)[0] < 0 or isinstance(x, Known) and interval(graph, x)[0] == 0:
        raise Refusal(
            "a power of what may be below 0 with an exponent that depends on data or parameters", "write it as jnp.exp(y * jnp.log(x))"
        )
    logarithm = map_known(lambda v: elementary("log", v), x.shape, x) if isinstance(x, Known) else _of_one(graph, "log", x)
    exponent = graph.product(logarithm, y if isinstance(y, Known) else graph.tensor(y))
    return Known.uniform(Fraction(1), x.shape) if isinstance(exponent, Known) else _of_one(graph, "exp", exponent)


def _of_one(graph, name: str, x):
    """A function of one tensor, entry by entry."""
    x = keys.read(graph, x) if isinstance(x, Drawn) else x
    found = functions.function(graph, name, x if isinstance(x, Known) else graph.tensor(x))
    if found is None:
        raise Refusal("a function of a tensor that a schedule multiplies", "multiply by the schedule outside of the function")
    return graph.tag(found, x.tagged)


def _table(name: str):
    """A rule for a function of one tensor."""
    return lambda graph, eqn, x: _of_one(graph, name, x)


def _exp(graph, eqn, x):
    return masked.exp(graph, x) if x in graph.masked else _of_one(graph, "exp", x)


def _absolute(graph, eqn, x):
    low, high = interval(graph, x)
    return graph.tensor(x) if low >= 0 else graph.linear([(-1, graph.tensor(x))]) if high <= 0 else _of_one(graph, "abs", x)


def _sign(graph, eqn, x):
    low, high = interval(graph, x)
    return Known.uniform(Fraction((low > 0) - (high < 0)), x.shape, x.tagged) if low > 0 or high < 0 else _of_one(graph, "sign", x)


def _composed(make):
    """A rule for a function that is composed of others; make: from ``of(name, *operands)`` and x."""

    def rule(graph, eqn, x):
        found = functions.unary(graph, keys.read(graph, x) if isinstance(x, Drawn) else graph.tensor(x))
        program = make(programs.joined, found.program, lambda v: programs.number(Fraction(v)))
        return graph.tag(functions.applied(graph, program, found.base), x.tagged)

    return rule


def _by_constant(make):
    """A rule for numbers and a constant; make: from ``of``, x, y and x / y rounded towards 0."""

    def rule(graph, eqn, x, y):
        if isinstance(x, Known) or not isinstance(y, Known) or y.moving or not y.scalar:
            raise Refusal("division that truncates, other than by one constant", "convert to floating point first, x.astype(jnp.float32)")

        def composed(of, x, c):
            steps = of("floor", of("div", of("abs", x), c(abs(y.scalar))))
            return make(of, x, c(y.scalar), of("mul", of("mul", c(1 if y.scalar > 0 else -1), of("sign", x)), steps))

        return _composed(composed)(graph, eqn, graph.expand(x, eqn.outvars[0].aval.shape))

    return rule


_quotient = _by_constant(lambda of, x, y, steps: steps)
_remainder = _by_constant(lambda of, x, y, steps: of("sub", x, of("mul", y, steps)))


def whole_quotient(graph, eqn, x, y):
    """x / y of integers, rounded towards 0, by a constant y."""
    result = _quotient(graph, eqn, x, y)
    return _ranged(graph, result, [int(v / Fraction(y.scalar)) for v in graph.range(x)])


def remainder(graph, eqn, x, y):
    """x less what ``whole_quotient`` times y is: of the sign of x, by a constant y."""
    shape = eqn.outvars[0].aval.shape
    if (words := keys.remainder(graph, graph.expand(x, shape), graph.expand(y, shape))) is not None:
        return words
    result = _remainder(graph, eqn, x, y)
    if kind(eqn.outvars[0].aval.dtype) == "f":
        return result
    (low, high), most = graph.range(x), abs(int(y.scalar)) - 1
    return _ranged(graph, result, [max(min(low, 0), -most), min(max(high, 0), most)])


def _ranged(graph, x, ends):
    """A tensor of integers that are between these."""
    if isinstance(x, Expression):
        graph.ranges[x] = min(ends), max(ends)
    return x


def _polygamma(graph, eqn, order, x):
    if not isinstance(order, Known) or order.scalar not in (0, 1):
        raise Refusal("a derivative of digamma beyond the first")
    return _composed(special.trigamma if order.scalar else special.digamma)(graph, eqn, x)


def _extreme(name: str):
    """A rule for the larger or smaller one of two: a function of one tensor, or of two tensors by their difference's sign."""

    def rule(graph, eqn, x, y):
        drawn = of_words(graph, eqn, x, y) if name == "max" else None
        if drawn is not None:
            return drawn
        shape = eqn.outvars[0].aval.shape
        x, y = (variances.whole(graph, graph.expand(z, shape)) for z in (x, y))
        for a, b in ((x, y), (y, x)):  # one of them always
            (low, high), (least, most) = interval(graph, a), interval(graph, b)
            if low >= most if name == "max" else high <= least:
                return a if isinstance(a, Known) else graph.tensor(a)
        x, y = (z if isinstance(z, Known) else graph.tensor(z) for z in (x, y))
        if name == "min" and _least_divisor(graph, y, x) is not None:
            x, y = y, x
        divided = name == "min" and _least_divisor(graph, x, y) is not None
        found = None if divided else functions.function(graph, name, x, y)
        if found is not None:
            return graph.tag(found, x.tagged or y.tagged)
        above = _exceeds(graph, x, y, shape) if name == "min" else graph.greater(x, y, shape)
        if isinstance(x, Expression) and isinstance(y, Expression) and not divided:  # one rounded difference, which the mask reads too
            more = graph.product(graph.tensor(above), graph.linear([(1, x), (-1, y)]))
            result = graph.linear([(1, y), (1, more)] if name == "max" else [(1, x), (-1, more)])
        else:
            result = choices.select(graph, above, *((y, x) if name == "max" else (x, y)))
        if isinstance(result, Expression) and isinstance(above, Mask):
            graph.extremes[result] = x, y, name
            ends, extreme = zip(interval(graph, x), interval(graph, y), strict=True), max if name == "max" else min
            graph.intervals[result] = tuple(extreme(pair) for pair in ends)
        return result

    return rule


def _least_divisor(graph, x, y) -> tuple | None:
    """Of a constant divided by a tensor, and another constant: the divisor, and at what it is y; None of anything else."""
    if not isinstance(x, Expression) or not isinstance(y, Known) or y.moving or y.scalar is None or y.scalar <= 0:
        return None
    if x.does(*functions.FREE):
        found = _least_divisor(graph, x.inputs[0], Known.uniform(y.scalar, x.inputs[0].shape))
        return None if found is None else (graph.moved(x, found[0]), Known.uniform(found[1].scalar, x.shape))
    c, ratio = scaling(x)
    if not ratio.does(Ratio) or ratio.operation != Ratio() or isinstance(c, Series):
        return None
    dividend = functions.constant(ratio.inputs[0])
    if dividend is None or c * dividend <= 0:
        return None
    return ratio.inputs[1], Known.uniform(c * dividend / y.scalar, x.shape)


def _exceeds(graph, x, y, shape):
    """x > y. Of a constant divided by a tensor by the divisor: where that is small, no format has room for the quotient."""
    if (found := _least_divisor(graph, x, y)) is not None:
        return graph.greater(found[1], found[0], shape)
    if (found := _least_divisor(graph, y, x)) is not None:
        return graph.greater(*found, shape)
    return graph.greater(x, y, shape)


def is_extreme(graph, x, y) -> Mask | None:
    """Whether x is the one of two tensors that y, the larger or smaller of both, is: also where they are equal; None of anything else."""
    for one, extreme in ((x, y), (y, x)):
        first, second, name = graph.extremes.get(extreme, (None,) * 3) if isinstance(extreme, Expression) else (None,) * 3
        if name and one in (first, second):
            other = second if one is first else first
            above = graph.greater(other, one, one.shape) if name == "max" else _exceeds(graph, one, other, extreme.shape)
            return negated(above)
    return None


def _clamp(graph, eqn, low, x, high):
    return _extreme("min")(graph, eqn, _extreme("max")(graph, eqn, x, low), high)


def maximum(graph, eqn, x, y, inside_custom_jvp):
    """The one rule that asks where it stands: the larger of two tensors inside a custom_jvp, as jax.nn.relu is written.

    There the user's rule gives the derivative, and the gate of its sign is the cheapest form.
    """
    if inside_custom_jvp and of_words(graph, eqn, x, y) is None and all(interval(graph, z) == EVERYTHING or _is_zero(z) for z in (x, y)):
        shape = eqn.outvars[0].aval.shape
        x, y = graph.expand(x, shape), graph.expand(y, shape)
        return choices.select(graph, graph.greater(x, y, shape), y, x)
    return _extreme("max")(graph, eqn, x, y)


def _is_zero(x) -> bool:
    return isinstance(x, Known) and x.scalar == 0


def of_words(graph, eqn, x, y):
    """The larger one of two numbers of which one follows from random words, if it is always the same one; None of anything else."""
    pair = [graph.expand(v, eqn.outvars[0].aval.shape) for v in (x, y)]
    if all(isinstance(v, Drawn) or isinstance(v, Known) and v.scalar is not None and not v.moving for v in pair):
        (low, high), (least, most) = (graph.range(v) for v in pair)
        return pair[0] if low >= most else pair[1] if least >= high else None
    return None


RULES = {
    "max": _extreme("max"),
    "min": _extreme("min"),
    "clamp": _clamp,
    "pow": _real_power,
    "sqrt": lambda graph, eqn, x: quotients.root(graph, x),
    "rsqrt": lambda graph, eqn, x: quotients.quotient(graph, Known.uniform(Fraction(1), x.shape), quotients.root(graph, x)),
    "exp": _exp,
    **{name: _table(name) for name in ("expm1", "log", "log1p", "cbrt", "logistic", "tanh", "erf", "sin", "cos")},
    **{name: _table(name) for name in ("floor", "ceil", "round")},
    "abs": _absolute,
    "sign": _sign,
    "exp2": _composed(lambda of, x, c: of("exp", of("mul", c(LN2), x))),
    "tan": _composed(lambda of, x, c: of("div", of("sin", x), of("cos", x))),
    "erfc": _composed(lambda of, x, c: of("sub", c(1), of("erf", x))),
    "sinh": _composed(lambda of, x, c: of("mul", c("0.5"), of("sub", of("exp", x), of("exp", of("neg", x))))),
    "cosh": _composed(lambda of, x, c: of("mul", c("0.5"), of("add", of("exp", x), of("exp", of("neg", x))))),
    "erf_inv": _composed(special.inverse_error),
    **{name: _composed(make) for name, make in special.FUNCTIONS.items()},
    "polygamma": _polygamma,
    "asinh": _composed(lambda of, x, c: of("log", of("add", x, of("sqrt", of("add", c(1), of("mul", x, x)))))),
    "atanh": _composed(lambda of, x, c: of("mul", c("0.5"), of("log", of("div", of("add", c(1), x), of("sub", c(1), x))))),
}
