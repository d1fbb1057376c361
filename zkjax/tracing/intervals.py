"""Intervals: between which numbers the entries of a tensor are, whatever data and parameters are.

What JAX writes for numbers that cannot occur (infinities, signs of what is positive) folds away with them, and a table need not hold them.
"""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from ..algebra import functions
from ..ops.arithmetic import Scale, Sum
from ..ops.draw import Draw
from ..ops.functions import MAX_SIZE
from ..ops.leaves import InputArray, Param
from ..ops.moves import MOVES, Broadcast, Pad
from ..ops.operation import Leaves
from ..ops.products import Dot, Gate
from ..ops.window import Window
from .constants import Known
from .expressions import (
    Above,
    Applied,
    Combination,
    Drawn,
    Expression,
    FirstPlace,
    Mask,
    Maximum,
    Numbers,
    Picked,
    Ratio,
    SquareRoot,
    scaling,
)
from .series import Refusal, Series, values

EVERYTHING = (-math.inf, math.inf)


def interval(graph, x) -> tuple[float, float]:
    """(low, high); infinite where nothing is known."""
    if isinstance(x, Known):
        numbers = [float(v) for entry in x.values.reshape(-1) for v in values(entry)]
        return (min(numbers), max(numbers)) if all(v == v for v in numbers) else EVERYTHING
    if isinstance(x, Mask):
        return 0.0, 1.0
    if isinstance(x, Drawn):
        low, high = graph.range(x)
        return float(low), float(high)
    if x not in graph.intervals:
        graph.intervals[x] = _interval(graph, x)
    return graph.intervals[x]


def _interval(graph, x: Expression) -> tuple[float, float]:
    below = [interval(graph, y) for y in x.inputs]
    if x.does(Above, Picked, FirstPlace):
        return 0.0, 1.0
    if x.does(Numbers):
        return float(min(x.operation.values)), float(max(x.operation.values))
    if x.does(Draw):
        return 0.0, float(x.operation.bound([], [], None))
    if x.does(Applied):
        found = functions.interval(x.operation.program, *(np.array([bound]) for bound in below[0]))
        return tuple(float(bound[0]) if bound[0] == bound[0] else EVERYTHING[k] for k, bound in enumerate(found))
    if x.does(Combination):
        return _of_sum(graph, x, below)
    if x.does(Ratio):
        (low, high), (least, _) = below
        return (0.0, high / least if least > 0 else math.inf) if low >= 0 and least >= 0 else EVERYTHING
    if x.does(Dot, Gate, Scale):
        terms = x.operation.summed([y.shape for y in x.inputs]) if x.does(Dot) else 1
        products = [0.0 if a == 0 or b == 0 else a * b for a in below[0] for b in below[1]]
        square = x.does(Dot) and x.inputs[0] is x.inputs[1] and len(set(x.operation.contract)) == len(set(x.operation.batch)) == 1
        return terms * (max(0.0, min(products)) if square else min(products)), terms * max(products)
    if x.does(Sum):
        terms, (low, high) = math.prod(x.inputs[0].shape[d] for d in x.operation.axes), below[0]
        top = _at_maximum(graph, x.inputs[0], x.operation.axes) if low >= 0 else None
        return terms * low if top is None else max(terms * low, top), terms * high
    if x.does(Maximum):
        return below[0]
    if x.does(SquareRoot):
        return tuple(math.sqrt(max(0.0, bound + float(x.operation.least))) for bound in below[0])
    if x.does(Param):
        return graph.assumed.get(x.operation.index, EVERYTHING)
    if x.does(*MOVES):
        low, high = min(a for a, _ in below), max(b for _, b in below)
        return (min(low, 0.0), max(high, 0.0)) if x.does(Pad, Window) else (low, high)
    return EVERYTHING


def _at_maximum(graph, x: Expression, axes: tuple[int, ...]) -> float | None:
    """The function of x at 0, where x is one of what entries are less than their maximum along the axes: some entry is 0 there."""
    base = graph.peaks[x] if x in graph.peaks else x.inputs[0] if x.does(Applied) else None
    if base is None or not base.does(Combination) or interval(graph, base)[1] != 0:
        return None
    _, largest = _below_largest(graph, base)
    if largest is None or not largest.does(Broadcast) or {*largest.operation.axes, *axes} != {*range(len(x.shape))}:
        return None
    return 1.0 if x in graph.peaks else float(functions.interval(x.operation.program, np.zeros(1), np.zeros(1))[0][0])


def _of_sum(graph, x: Expression, below) -> tuple[float, float]:
    c, largest = _below_largest(graph, x)
    if largest is not None:
        return (-math.inf, 0.0) if c > 0 else (0.0, math.inf)
    pairs = []
    for c, bounds in zip(x.operation.coefficients, below, strict=True):
        found = [float(v) * bound for v in values(c) if v for bound in bounds]
        pairs.append((min(found, default=0.0), max(found, default=0.0)))
    return sum(a for a, _ in pairs), sum(b for _, b in pairs)


def _below_largest(graph, x: Expression) -> tuple[Any, Expression | None]:
    """c and the repeated maximum of y where x is c times what the entries of y are less than it. y may be a multiple of what x reads."""
    if len(x.inputs) == 2 and not any(isinstance(c, Series) for c in x.operation.coefficients):
        pairs = [*zip(x.operation.coefficients, x.inputs, strict=True)]
        for (a, y), (b, largest) in (pairs, pairs[::-1]):
            group = graph.groups.get(("read", largest))
            c, base = scaling(graph.largest_of.get(largest) if group is None else group.members)
            if base is y and not isinstance(c, Series) and a + b * c == 0:
                return -b, largest
    return Fraction(0), None


def whole(graph, x: Expression) -> tuple[int, int]:
    """Of a tensor of integers, whatever its inputs are."""
    if x.does(Above, Picked, FirstPlace):
        return 0, 1
    if x.does(Draw):
        return 0, x.operation.bound([], [], None)
    if x.does(Numbers):
        return min(x.operation.values), max(x.operation.values)
    if x.does(Applied) and not are_integers(graph, x.inputs[0]):
        if math.inf in map(abs, interval(graph, x)):
            raise Refusal("integers of which it is not known between which numbers they are", "choose them by jnp.clip")
        return tuple(math.floor(bound + 0.5) for bound in interval(graph, x))
    ranges = [graph.range(y) for y in x.inputs]
    if x.does(Applied):
        low, high = ranges[0]
        if high - low < MAX_SIZE:
            found = [functions.value(x.operation.program, Fraction(v)) for v in range(low, high + 1)]
            return math.floor(min(found)), math.ceil(max(found))
        found = functions.interval(x.operation.program, *(np.array([bound]) for bound in ranges[0]))
        return tuple(math.floor(float(bound[0]) + 0.5) for bound in found)  # whole, but for the rounding of float64
    if x.does(Combination):
        ends = [sorted((c * low, c * high)) for c, (low, high) in zip(x.operation.coefficients, ranges, strict=True)]
        return sum(low for low, _ in ends), sum(high for _, high in ends)
    if x.does(Dot, Scale, Gate):
        products = [a * b for a in ranges[0] for b in ranges[1]]
        terms = x.operation.summed([y.shape for y in x.inputs]) if x.does(Dot) else 1
        return terms * min(products), terms * max(products)
    if x.does(Sum):
        terms = math.prod(x.inputs[0].shape[d] for d in x.operation.axes)
        return terms * ranges[0][0], terms * ranges[0][1]
    if x.does(*MOVES):
        low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
        return (min(low, 0), max(high, 0)) if x.does(Pad, Window) else (low, high)
    largest = x.operation.bound([max(map(abs, r)) for r in ranges], [y.shape for y in x.inputs], Leaves((), ()))
    return -largest, largest


def are_integers(graph, x: Expression) -> bool:
    """Whether a tensor is made of integers, by sums and products of them; what a search makes integers of need not be."""
    stack, seen = [x], set()
    while stack:
        x = stack.pop()
        if x in graph.ranges or x in seen or x.does(Above, Picked, FirstPlace):
            continue
        if x.does(InputArray, Param, Applied, Ratio, SquareRoot):
            return False
        numbers = x.operation.coefficients if x.does(Combination) else x.operation.values if x.does(Numbers) else ()
        if any(Fraction(v).denominator != 1 for c in numbers for v in values(c)):
            return False
        seen.add(x)
        stack += x.inputs
    return True
