"""Shares of a sum, e / sum(e), as a softmax has them, and the gradient of e, which a product with them says in two products.

JAX derives a quotient by both its sides: with r = 1 / sum(e) and the gradient g of the shares p = e r, the gradient of e is
g r - sum(g e r^2), and what e follows from, where e is an exponential, takes that times e. Product by product that would be rounded four
times, r^2 among them, which is very small. It is g p - p sum(g p): the products are exact, and sums are short.
"""

from collections.abc import Callable
from fractions import Fraction

from .expressions import Combination, Expression, Ratio, scaling
from .functions import FREE, constant, factors
from .series import Series


def gradient(graph, x: Expression, e: Expression) -> Expression | None:
    """x times e, entry by entry, where x is the gradient of e of a gradient of its shares; None of anything else."""
    if not x.does(Combination) or len(x.inputs) != 2 or any(isinstance(c, Series) for c in x.operation.coefficients):
        return None
    for (a, direct), (b, through) in (pairs := list(zip(x.operation.coefficients, x.inputs, strict=True)), pairs[::-1]):
        for g, r in _pairs(direct):
            _, inverse, _ = _unmoved(graph, r)
            if inverse.operation != Ratio() or constant(inverse.inputs[0]) != 1:
                continue
            total = inverse.inputs[1]
            c, found, repeated = _unmoved(graph, through)
            same = found.operation == total.operation and total.inputs == (e,) and repeated(inverse) is r
            if same and a == -b * c and _weighs(graph, found.inputs[0], g, e, r, inverse):
                shares = graph.product(e, r)
                weighted = graph.product(g, shares)
                mean = repeated(graph.sum(weighted, total.operation.axes))
                return graph.linear([(a, weighted), (-a, graph.product(mean, shares))], x.tagged)
    return None


def _pairs(x: Expression) -> list[tuple[Expression, Expression]]:
    found = factors(x)
    return [(found[0], found[1]), (found[1], found[0])] if len(found) == 2 else []


def _weighs(graph, x: Expression, g: Expression, e: Expression, r: Expression, inverse: Expression) -> bool:
    """Whether x is g e r^2."""
    rest = factors(x)
    for y in (g, e):
        if y not in rest:
            return False
        rest.remove(y)
    if len(rest) != 1:
        return rest == [r, r]
    c, square, repeated = _unmoved(graph, rest[0])
    inner = factors(square)
    if c != 1 or len(inner) != 2 or inner[0] is not inner[1]:
        return False
    c, found, _ = _unmoved(graph, inner[0])
    return c == 1 and found is inverse and repeated(inner[0]) is r


def _unmoved(graph, x: Expression) -> tuple[Fraction, Expression, Callable[[Expression], Expression]]:
    """x as a multiple of a tensor that is moved, without loss of entries: the coefficient, the tensor, and how it is moved."""
    (c, x), steps = scaling(x), []
    while x.does(*FREE):
        steps.append(x)
        d, x = scaling(x.inputs[0])
        c = c * d

    def repeated(y: Expression) -> Expression:
        for step in reversed(steps):
            y = graph.moved(step, y)
        return y

    return c, x, repeated
