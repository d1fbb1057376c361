"""Whether some or all conditions along axes hold, and products along axes."""

from fractions import Fraction

from . import entrywise
from .constants import Known
from .folding import kind
from .maxima import in_rows
from .rows import sliced
from .series import Refusal


def some(graph, eqn, x):
    """Whether any condition holds: whether their number is above 0."""
    if kind(eqn.outvars[0].aval.dtype) != "b":
        raise Refusal("an operation on the bits of integers that depend on data", "give its result in the data")
    number = graph.sum(graph.tensor(x), eqn.params["axes"])
    return graph.greater(number, Known.uniform(Fraction(0), number.shape), number.shape)


def every(graph, eqn, x):
    """Whether all hold: whether there is none that does not."""
    return entrywise.negated(some(graph, eqn, entrywise.negated(x)))


def reduce_prod(graph, eqn, x):
    """The product along axes, as a tree: first of pairs."""
    x = in_rows(graph, graph.tensor(x), tuple(sorted(int(d) for d in eqn.params["axes"])))
    axis = len(x.shape) - 1
    while (length := x.shape[axis]) > 1:
        half = length // 2
        left, right, rest = (sliced(graph, x, axis, k, n) for k, n in ((0, half), (half, half), (2 * half, length % 2)))
        pairs = graph.product(left, right)
        x = graph.concatenate([pairs, rest], axis) if length % 2 else pairs
    return graph.reshape(x, x.shape[:-1])


RULES = {"reduce_or": some, "reduce_and": every, "reduce_prod": reduce_prod}
