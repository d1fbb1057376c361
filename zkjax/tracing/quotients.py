"""Quotients and roots of tensors: of functions of one tensor a table's, of anything else a division or a root of integers.

Constants and numbers of the step are taken out of both, where they cost nothing. What is added to a divisor, or under a root, so that it
is not 0, is one unit of the circuit's integers at least.
"""

import math
from decimal import localcontext
from fractions import Fraction

from ..algebra import decimals
from ..ops.arithmetic import Sum
from ..ops.products import Dot
from . import functions, variances
from .constants import Known
from .expressions import Above, Combination, Expression, Ratio, SquareRoot, scaling
from .functions import FREE, constant
from .intervals import interval
from .rationals import log2
from .series import Refusal, Series, lifted, values


def quotient(graph, x, y) -> Expression:
    """x / y, of one shape. Where y repeats along an axis, or x is constant, it is x times 1 / y, with a division for each y alone."""
    y = graph.tensor(y)
    inverse = scaling(x)[1]
    if (
        isinstance(inverse, Expression)
        and inverse.does(Ratio)
        and inverse.inputs[1] is graph.roots.get(y)
        and constant(inverse.inputs[0]) == 1
    ):
        return _cubed(graph, x, inverse)
    if not isinstance(x, Known) or x.scalar is not None and not x.moving:
        found = functions.fused(graph, "div", x, y)
        if found is not None:
            return graph.tag(found, x.tagged or y.tagged)
    if isinstance(x, Known) or y.does(*FREE) or interval(graph, y)[0] < 0:
        return graph.product(x if isinstance(x, Known) else graph.tensor(x), _reciprocal(graph, y))
    return _divided(graph, graph.tensor(x), y)


def _cubed(graph, x: Expression, inverse: Expression) -> Expression:
    """x / y of a multiple x of 1 / sqrt(y), as in the derivative of that: a product, so that y need not be narrow for a division."""
    result = graph.product(x, graph.product(inverse, inverse))
    graph.cubes[scaling(result)[1]] = (inverse,) * 3
    return result


def _reciprocal(graph, y: Expression) -> Expression:
    """1 / y. Of what may be negative it is a table's; of anything else a division, in which y has all its bits."""
    if y.does(*FREE):
        return graph.moved(y, _reciprocal(graph, y.inputs[0]))
    one = Known.uniform(Fraction(1), y.shape)
    if interval(graph, y)[0] >= 0:
        return _divided(graph, graph.tensor(one), y)
    found = functions.function(graph, "div", one, y)
    if found is None:
        raise Refusal("division by a tensor that a schedule multiplies, and that may be negative", "divide by its absolute value")
    return found


def _divided(graph, x: Expression, y: Expression) -> Expression:
    """x / y with a division for each entry; y is not negative."""
    rest, least = _parted(graph, y)
    if interval(graph, rest)[0] < 0:
        rest, least = y, Fraction(0)
    (a, x), (c, rest) = scaling(x), scaling(rest)
    if any(v <= 0 for v in values(c)):
        raise Refusal("division by a tensor times a number of the step that is not above 0")
    least = lifted(lambda v: least / v)(c) if least else least
    return graph.linear([(lifted(lambda p, q: p / q)(a, c), graph.node(Ratio(least), (x, rest), x.shape))])


def guarded(graph, mask: Expression, x):
    """x, which counts only where the mask is 0.

    Where the mask is 1 for C > d, d >= 0, it need not divide by d where d is small: it divides by d + C mask.
    """
    if not isinstance(x, Expression) or not mask.does(Above) or not mask.inputs[0].does(Combination):
        return x
    rest, c = _parted(graph, mask.inputs[0])
    k, d = scaling(rest)
    if not c or isinstance(k, Series) or k >= 0 or interval(graph, d)[0] < 0:
        return x
    limit = c / -k
    safe = graph.linear([(1, d), (limit, mask)])
    graph.intervals[safe] = float(limit), math.inf
    return _replaced(graph, x, d, safe)


def _replaced(graph, x: Expression, divisor: Expression, other: Expression) -> Expression:
    """x with another divisor in its quotients, as far as products, sums and moves lead to them."""
    if x.does(Ratio):
        same = x.inputs[1] is divisor and x.operation == Ratio()
        return graph.node(x.operation, (x.inputs[0], other), x.shape, x.tagged) if same else x
    if x.does(*FREE):
        below = _replaced(graph, x.inputs[0], divisor, other)
        return x if below is x.inputs[0] else graph.moved(x, below)
    if x.does(Combination) or x.does(Dot) and not x.operation.contract[0]:
        below = [_replaced(graph, y, divisor, other) for y in x.inputs]
        if any(a is not b for a, b in zip(below, x.inputs, strict=True)):
            return graph.node(x.operation, tuple(below), x.shape, x.tagged)
    return x


def root(graph, x) -> Expression:
    """sqrt(x): of a function of a simpler tensor a table's, else the integer root."""
    x = graph.tensor(x)
    if x.does(*FREE):
        return graph.moved(x, root(graph, x.inputs[0]))
    rest, least = _parted(graph, x)
    if (known := variances.whole(graph, rest)) is not rest:
        return root(graph, graph.linear([(1, known), (least, Known.uniform(Fraction(1), x.shape))], x.tagged))
    c, y = scaling(rest)
    if least and not isinstance(c, Series) and c < 0:  # a constant less a tensor, which has no part that is not below 0
        c, y, rest, least = Fraction(1), x, x, Fraction(0)
    if y.does(Sum) and (squared := variances.squared(y.inputs[0])) is not None:
        variances.normalised(graph, squared)
    found = functions.unary(graph, rest)
    simpler = found.base is not None and found.base not in (rest, y) and set(found.base.inputs) != set(rest.inputs)
    if found.applied or simpler and not isinstance(c, Series):
        return graph.tag(functions.function(graph, "sqrt", x), x.tagged)
    if not isinstance(c, Series):
        graph.roots[x] = graph.node(SquareRoot(least), (rest,), x.shape, x.tagged)
        return graph.roots[x]
    if any(v <= 0 for v in c.values):
        raise Refusal("the root of a tensor times a number of the step that is not above 0")
    powers = tuple(Fraction(4) ** (log2(v) // 2) for v in c.values)  # exact, and what is left is below 4
    left = tuple(v / p for v, p in zip(c.values, powers, strict=True))
    paced = y if set(powers) == {1} else graph.linear([(Series(powers), y)])
    result = graph.node(SquareRoot(least / max(left)), (paced,), x.shape, x.tagged)
    return graph.linear([(Series(tuple(map(square_root, left))), result)])


def square_root(x: Fraction) -> Fraction:
    """Of a rational: exact of a square of short numbers, else with 36 digits."""
    n, d = math.isqrt(x.numerator), math.isqrt(x.denominator)
    if n * n == x.numerator and d * d == x.denominator:
        return Fraction(n, d)
    with localcontext(decimals.DIGITS):
        return Fraction(decimals.decimal(x).sqrt())


def _parted(graph, x: Expression) -> tuple[Expression, Fraction]:
    """A tensor as the sum of one and a constant above 0, or 0."""
    if not x.does(Combination) or len(x.inputs) < 2:
        return x, Fraction(0)
    terms = list(zip(x.operation.coefficients, x.inputs, strict=True))
    constants = [(c, value) for c, y in terms if not isinstance(c, Series) and (value := constant(y)) is not None]
    total = sum((c * value for c, value in constants), Fraction(0))
    if total <= 0:
        return x, Fraction(0)
    return graph.linear([(c, y) for c, y in terms if isinstance(c, Series) or constant(y) is None], x.tagged), total
