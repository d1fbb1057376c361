"""Variances: the mean of squares less the square of the mean, which is never below 0 (Cauchy and Schwarz).

So it is as long as the sum that is squared keeps all its bits: with a rounded mean, the variance of equal numbers may fall below 0, where
there is no root. Normalisations of Flax take the larger one of it and 0, which is the variance itself.
"""

import math
from fractions import Fraction

from ..ops.arithmetic import Sum
from ..ops.products import Dot
from .expressions import Combination, Expression, scaling, unmoved
from .series import Series


def note(graph, x) -> None:
    """Remember, if x is a variance, that it is not below 0, and what is squared in it."""
    found = _squared_sum(x) if isinstance(x, Expression) and x.does(Combination) and len(x.inputs) == 2 else None
    if found is not None:
        graph.intervals[x] = 0.0, math.inf
        graph.variances[x] = found
        normalised(graph, scaling(found)[1].inputs[0])


def normalised(graph, x: Expression) -> None:
    """Remember that x is divided by the root of a mean of its squares: small rows of it count as much as large ones."""
    graph.normalised.add(unmoved(x))


def copied(graph, x: Expression) -> Expression:
    """What feeds running statistics: a copy that is rounded, for a variance has too many bits for a state."""
    copy = graph.node(Combination((Fraction(1),)), (x,), x.shape)
    graph.normalised.add(copy)
    return copy


def _squared_sum(x: Expression) -> Expression | None:
    """Of a * sum(y^2) - b * (c * sum(y))^2 with a >= n b c^2, n the number of terms, what is squared: c * sum(y); None of anything else."""
    for (a, squares), (b, square) in (pairs := list(zip(x.operation.coefficients, x.inputs, strict=True)), pairs[::-1]):
        whole = squared(square)
        c, total = (Fraction(1), square) if whole is None else scaling(whole)
        if not total.does(Sum) or squares.operation != total.operation or any(isinstance(v, Series) for v in (a, b, c)):
            continue
        (y,) = total.inputs
        terms = math.prod(y.shape[d] for d in total.operation.axes)
        if squared(squares.inputs[0]) is y and a > 0 > b and a >= -b * c**2 * terms:
            return whole
    return None


def squared(x: Expression) -> Expression | None:
    """y of y times y, entry by entry."""
    return x.inputs[0] if x.does(Dot) and x.inputs[0] is x.inputs[1] and not x.operation.contract[0] else None


def is_zero(graph, x, y) -> bool:
    """Whether it is asked if a variance is 0, as the derivative of the larger one of it and 0 asks: at 0 its own derivative is 0."""
    return x in graph.variances and getattr(y, "scalar", None) == 0
