"""Maxima and their places: the first one, where JAX splits a gradient among equal entries."""

import math
from fractions import Fraction

import numpy as np

from ..algebra import functions as programs
from .constants import Known
from .expressions import Expression, FirstPlace, Mask, Maximum, along_maximum, scaling
from .functions import applied, outward
from .masked import LOWEST
from .series import Series

# 1 of what is higher than what a mask leaves; without a value else
THERE = programs.joined(
    "select",
    programs.joined("gt", programs.IDENTITY, programs.number(Fraction(1, 2) - LOWEST)),
    programs.joined("div", *[programs.number(Fraction(0))] * 2),
    programs.number(Fraction(1)),
)


def reduce_max(graph, eqn, x):
    """The largest entries over axes."""
    return largest(graph, graph.tensor(x), tuple(sorted(int(d) for d in eqn.params["axes"])))


def reduce_min(graph, eqn, x):
    """The smallest: minus the largest of minus x."""
    opposite = graph.linear([(-1, graph.tensor(x))])
    return graph.linear([(-1, largest(graph, opposite, tuple(sorted(int(d) for d in eqn.params["axes"]))))])


def argmax(graph, eqn, x, sign: int = 1):
    """The place of the first maximum along an axis: an integer, whose one-hot is known."""
    (axis,) = (int(d) for d in eqn.params["axes"])
    _, x = _unscaled(graph, graph.linear([(sign, graph.tensor(x))]))
    rows = in_rows(graph, x, (axis,))
    first = graph.node(FirstPlace(), (rows,), rows.shape)
    places = Known.of(np.arange(rows.shape[-1]), np.dtype(np.int32))
    index = graph.sum(graph.product(graph.expand(places, rows.shape), first), (len(rows.shape) - 1,))
    if isinstance(index, Expression):
        graph.one_hots[index], graph.ranges[index] = first, (0, rows.shape[-1] - 1)
        graph.intervals[index] = 0.0, rows.shape[-1] - 1.0
    return index


def in_rows(graph, x: Expression, axes: tuple[int, ...]) -> Expression:
    """x with these axes as one, the last."""
    others = [d for d in range(len(x.shape)) if d not in axes]
    x = graph.transpose(x, (*others, *axes))
    return graph.reshape(x, (*x.shape[: len(others)], math.prod(x.shape[len(others) :])))


def _unscaled(graph, x: Expression) -> tuple[Fraction, Expression]:
    """(c, y) with x = c y, c > 0: who else reads what x is a multiple of reads the same integers."""
    c, base = scaling(x)
    if x in graph.masked or isinstance(c, Series) or abs(c) == 1:
        return Fraction(1), x
    return abs(c), base if c > 0 else graph.linear([(-1, base)])


def largest(graph, x: Expression, axes: tuple[int, ...]) -> Expression:
    """The largest entries over axes of a tensor."""
    others = [d for d in range(len(x.shape)) if d not in axes]
    c, base = _unscaled(graph, x)
    rows = in_rows(graph, base, axes)
    if rows.shape[-1] == 1:
        return graph.reshape(in_rows(graph, x, axes), rows.shape[:-1])
    result = graph.linear([(c, largest(graph, base, axes))]) if c != 1 else graph.node(Maximum(), (rows,), rows.shape[:-1])
    graph.largest_of[graph.broadcast(result, x.shape, others)] = x
    return result


def first_place(graph, x, y) -> Mask | None:
    """x == y, of a tensor and its maximum, repeated: the first place that has it; None of anything else."""
    for tensor, greatest in ((x, y), (y, x)):
        if not isinstance(greatest, Expression) or not isinstance(tensor, Expression):
            continue
        c, greatest = outward(graph, greatest)  # of a least one, minus the largest of the opposite
        tensor = tensor if c == 1 else graph.linear([(1 / c, tensor)])
        if graph.largest_of.get(greatest) is tensor:
            axes = along_maximum(tensor, greatest)
            return Mask(_guarded(graph, first_of(graph, tensor, axes), tensor, greatest, axes))
    return None


def _guarded(graph, first: Expression, x: Expression, greatest: Expression, axes) -> Expression:
    """The same, without a value where a mask has taken away all entries: the program has a low number there, which the circuit has not."""
    if x not in graph.masked or isinstance(graph.masked[x].ones, Known):
        return first
    found = graph.tensor(graph.product(first, applied(graph, THERE, greatest)))
    graph.one_along[found] = axes
    return found


def first_of(graph, x: Expression, axes: tuple[int, ...]) -> Expression:
    """1 at the first place of the largest entry over axes, else 0."""
    _, x = _unscaled(graph, x)
    rows = in_rows(graph, x, axes)
    first = graph.node(FirstPlace(), (rows,), rows.shape)
    order = (*(d for d in range(len(x.shape)) if d not in axes), *axes)
    apart = graph.reshape(first, [x.shape[d] for d in order])
    place = graph.transpose(apart, tuple(order.index(d) for d in range(len(order))))
    graph.one_along[place] = axes
    return place
