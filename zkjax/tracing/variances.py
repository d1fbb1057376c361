"""Variances: the mean of squares less the square of the mean, which is never below 0 (Cauchy and Schwarz).

So it is as long as squares are those of what is summed, and the sum that is squared keeps all its bits: with a rounded mean, or squares off
a table, the variance of equal numbers may fall below 0, where there is no root. Normalisations of Flax take the larger one of it and 0,
which is the variance itself.
"""

import math
from fractions import Fraction

from ..ops.arithmetic import Sum
from ..ops.moves import Broadcast
from ..ops.products import Dot
from .expressions import Combination, Expression, scaling, unmoved
from .series import Series


def whole(graph, x):
    """Itself; of a variance one that is known not to be below 0, and whose squares are products."""
    found = _parts(graph, x) if isinstance(x, Expression) and x.does(Combination) and len(x.inputs) == 2 else None
    if found is None:
        return x
    (a, squares), (b, square), mean = found
    c, y = scaling(scaling(mean)[1].inputs[0])
    result = graph.linear([(a * c**2, graph.sum(graph.plain_product(y, y), squares.operation.axes)), (b, square)], x.tagged)
    graph.intervals[result] = 0.0, math.inf
    graph.variances[result] = mean
    graph.means[y] = mean, squares.operation.axes
    normalised(graph, y)
    return result


def centred(graph, x: Expression, y: Expression) -> Expression | None:
    """x times y, where x is a gradient of the variance of y, by what y has above its mean, where the forward pass reads that; else None."""
    if y not in graph.means or not x.tagged or not x.does(Broadcast):
        return None
    mean, axes = graph.means[y]
    (single,), kept = x.inputs, tuple(d for d in range(len(y.shape)) if d not in axes)
    if x.operation.axes != kept or single.shape != mean.shape:
        return None
    known = len(graph.expressions)
    above = graph.linear([(1, y), (-1, graph.broadcast(mean, y.shape, kept))])
    if above.index >= known:
        return None
    return graph.linear([(1, graph.product(x, above)), (1, graph.broadcast(graph.product(single, mean), y.shape, kept))])


def normalised(graph, x: Expression) -> None:
    """Remember that x is divided by the root of a mean of its squares: small rows of it count as much as large ones."""
    graph.normalised.add(unmoved(x))


def copied(graph, x: Expression) -> Expression:
    """What feeds running statistics: a copy that is rounded, for a variance has too many bits for a state."""
    copy = graph.node(Combination((Fraction(1),)), (x,), x.shape)
    graph.normalised.add(copy)
    return copy


def _parts(graph, x: Expression) -> tuple | None:
    """Of a * sum(y^2) + b * (c * sum(y))^2 with a >= -n b c^2 > 0, n the number of terms: (a, sum(y^2)), (b, square), c * sum(y)."""
    for (a, squares), (b, square) in (pairs := list(zip(x.operation.coefficients, x.inputs, strict=True)), pairs[::-1]):
        mean = squared(square)
        c, total = (Fraction(1), square) if mean is None else scaling(mean)
        if not total.does(Sum) or squares.operation != total.operation or any(isinstance(v, Series) for v in (a, b, c)):
            continue
        (y,) = total.inputs
        terms = math.prod(y.shape[d] for d in total.operation.axes)
        # the square of a function is a function
        (m, found), (k, product) = scaling(squares.inputs[0]), scaling(graph.tensor(graph.product(y, y)))
        share = m if squared(found) is y else m / k if product is found else None
        if share is not None and a > 0 > b and a * share >= -b * c**2 * terms:
            return (a * share, squares), (b, square), mean
    return None


def squared(x: Expression) -> Expression | None:
    """y of y times y, entry by entry."""
    return x.inputs[0] if x.does(Dot) and x.inputs[0] is x.inputs[1] and not x.operation.contract[0] else None


def is_zero(graph, x, y) -> bool:
    """Whether it is asked if 0 is a variance, in the order in which the derivative of the larger one of 0 and it asks.

    That is halved where both are equal; but there the variance's own derivative is 0.
    """
    return y in graph.variances and getattr(x, "scalar", None) == 0
