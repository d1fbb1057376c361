"""Which tensors have to be narrow: the operands of products, which are rescaled where they are not so already.

A demand belongs to the tensor, so that every reader of a tensor reads the same narrow value.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from ..ops.arithmetic import Scale, Sum
from ..ops.draw import Draw
from ..ops.leaves import InputArray, Param
from ..ops.moves import MOVES, Reshape, Reverse, Transpose
from ..ops.products import Dot, Gate
from .expressions import (
    COMMITTED,
    Above,
    Applied,
    Combination,
    Expression,
    Maximum,
    Numbers,
    Picked,
    Ratio,
    SquareRoot,
    are_weights,
    biases,
    masked,
    other_factor,
    scaling,
)
from .functions import is_one_or_nothing
from .intervals import interval
from .motions import summed_states
from .rationals import odd
from .series import Series
from .step import Program


@dataclass(frozen=True)
class Demands:
    """narrow: expressions that some product reads. quotients: those that everybody reads rounded, for a sign, gate or maximum; gated: of
    these the ones that a gate reads. sites: those of which there are functions, one-hots or maxima. rectified: those of which only the sign
    is read, and what is above 0; no gradients: the sign of amsgrad's difference of two second moments switches
    nothing, and half a unit where that is tiny would be many times the moments themselves.
    """

    narrow: frozenset
    quotients: frozenset
    gated: frozenset
    sites: frozenset
    rectified: frozenset
    needed: tuple
    losses: tuple  # (output, coefficient, scalar leaf expression, gradient whose quadratic form stands for it or None)


def demands(program: Program, trained, weights: frozenset[str]) -> Demands:
    """The least set of rescaled tensors with which every product reads narrow operands.

    weights: paths of states that are rounded for products; the others are read as they are.
    """
    narrow, quotients, gated, sites, seen = set(), set(), set(), set(), set()

    def demand(x):
        if x.does(*MOVES):
            for y in x.inputs:
                demand(y)
        elif (other := _chosen(scaling(x)[1])) is not None:  # as narrow as that
            demand(other)
        elif x.does(Param):
            if program.states[x.operation.index].leaf.path in weights:
                narrow.add(x)
        elif not x.does(InputArray, Numbers, Gate, Draw, *COMMITTED):
            narrow.add(x)

    def visit(x):
        stack = [x]
        while stack:
            x = stack.pop()
            if x in seen:
                continue
            seen.add(x)
            if x.does(Dot) and masked(x) is None:
                for y in x.inputs:
                    demand(y)
                if are_weights(x.inputs[0]) and are_weights(x.inputs[1]):
                    quotients.add(x.inputs[1])
            elif x.does(Combination):  # what is added to products of rounded weights
                for y in biases(x):
                    demand(y)
            elif x.does(Ratio, SquareRoot):  # read what they read with all its bits, but for a divisor without a bound
                if x.does(Ratio) and interval(program.graph, x.inputs[1])[1] == math.inf and _follows_parameters(x.inputs[1]):
                    demand(x.inputs[1])
                if x.does(Ratio) and x.tagged and x.inputs[1].does(SquareRoot) and not summed_states(x.inputs[0]):
                    demand(x.inputs[0])  # a gradient over a root: its bits would be the divisor's
            elif x.does(Applied, Picked):
                sites.add(x.inputs[0])
            elif x.does(Gate, Above):
                quotients.add(x.inputs[-1])
                if x.does(Gate):
                    gated.add(x.inputs[-1])
            elif x.does(*COMMITTED):  # a maximum of multiples, which others read less that: all of what is multiplied
                quotients.add(scaling(x.inputs[0])[1])
                sites.add(scaling(x.inputs[0])[1])
            stack.extend(x.inputs)

    for x in trained:
        visit(x)
        if x.is_scaling and x.inputs[0] in program.graph.variances:
            narrow.add(x)
    losses = []
    scalings = {}  # residual r to its narrow gradient c * r
    for x in sorted(narrow, key=lambda x: x.index):
        c, base = scaling(x)
        if base is not x and x.tagged and not base.tagged:
            scalings.setdefault(base, x)
    for name, output in program.outputs.items():
        for c, leaf in _loss_leaves(program.graph, output):
            residual = _squared(leaf)
            if residual is not None and residual not in narrow and residual in scalings:
                losses.append((name, c, leaf, scalings[residual]))
            else:
                losses.append((name, c, leaf, None))
                visit(leaf)
    needed = tuple(sorted(seen, key=lambda x: x.index))
    signed = {x.inputs[0] for x in needed if x.does(Above) and not x.inputs[0].tagged}
    read = {y for x in needed for y in x.inputs if not (x.does(Above) or _rectifies(x))}.union(trained, (leaf for _, _, leaf, _ in losses))
    return Demands(*map(frozenset, (narrow, quotients, gated, sites, signed - read)), needed, tuple(losses))


def _rectifies(x: Expression) -> bool:
    """Whether x is what is above 0 of some tensor, and 0 elsewhere."""
    return x.does(Gate) and x.inputs[0].does(Above) and x.inputs[0].inputs[0] is x.inputs[1]


def _chosen(x: Expression) -> Expression | None:
    """The tensor of which x has some entries, and 0 in the place of the others; None of anything else."""
    if x.does(Scale):
        return x.inputs[0] if set(x.inputs[1].operation.values) <= {0, 1} else None
    return masked(x) or other_factor(x, is_one_or_nothing)


def _follows_parameters(x: Expression) -> bool:
    """Whether no lookup is between a tensor and some parameter, so that nothing bounds it before there is a proof."""
    stack, seen = [x], set()
    while stack:
        x = stack.pop()
        if x.does(Param):
            return True
        if x not in seen and not x.does(*COMMITTED):
            seen.add(x)
            stack.extend(x.inputs)
    return False


def _loss_leaves(graph, loss) -> list:
    """The loss as a sum of (rational, expression whose entries are summed)."""
    leaves: dict = {}

    def total(c, x):
        if x.does(Combination):
            for k, y in zip(x.operation.coefficients, x.inputs, strict=True):
                total(c * k, y)
        elif x.does(Sum, Reshape, Transpose, Reverse):
            total(c, x.inputs[0])
        else:
            leaves[x] = leaves.get(x, 0) + c

    total(Fraction(1), graph.tensor(loss))
    return [(c, x) for x, c in leaves.items() if c]


def _squared(x):
    """r if the entries of x sum up to <r, r>, else None."""
    if not x.does(Dot) or x.inputs[0] is not x.inputs[1]:
        return None
    (cx, cy), (bx, by) = x.operation.contract, x.operation.batch
    return x.inputs[0] if (cx, bx) == (cy, by) and len(cx) + len(bx) == len(x.inputs[0].shape) else None


def absorbed(found: Demands) -> dict[Expression, Fraction]:
    """Of tensors that are rounded, masked, and then multiplied by a constant, as in dropout: its odd part, which their unit takes over.

    1 where the rounding comes after the constant, as in dropout's gradient. Of tensors whose multiples have a maximum, the constant.
    """
    result, rounded = {}, found.narrow | found.quotients
    peaked = {scaling(x.inputs[0])[1] for x in found.needed if x.does(Maximum)}
    for x in found.needed:
        c, y = scaling(x)
        if y in peaked and not isinstance(c, Series) and abs(c) > 1:
            result[y] = abs(c)
            continue
        base = masked(y) if y is not x and not isinstance(c, Series) else None
        if base is not None and x in rounded:
            result[x] = Fraction(1)
            continue
        while base is not None and base not in rounded:
            base = base.inputs[1] if base.does(Gate) else masked(base)
        if base is not None:
            result.setdefault(base, abs(odd(c)))
    return result
