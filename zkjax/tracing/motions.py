"""Motions: what a step makes of each state, as a sum of rational coefficient * state or tensor, and which states stay exact.

A state whose own coefficient is 1 in every step, and that nothing in its update follows from, needs no rounding: it is an integer to
which integers are added. All others are multiplied, and rounded once in a period (``circuit.recurrence``).
"""

import operator
from dataclasses import dataclass
from fractions import Fraction

from ..circuit.wellformed import MAX_FEEDS
from ..errors import UnsupportedOperationError
from ..ops.leaves import Param
from ..ops.products import Dot, Gate
from . import variances
from .constants import Known
from .expressions import COMMITTED, Combination, Expression, SquareRoot, are_weights, scaling
from .intervals import interval
from .series import Series, lifted, values
from .step import Program


@dataclass(frozen=True, eq=False)
class Row:
    """What a step makes of a state: the sum of carry[state] * state and feeds[tensor] * tensor, coefficients rational or ``Series``."""

    carry: dict[int, Fraction | Series]
    feeds: dict[Expression, Fraction | Series]

    def frozen(self, p: int) -> bool:
        """Whether state p, whose row this is, stays as it is."""
        return self.carry == {p: 1} and not self.feeds

    def without(self, factor, other: "Row") -> "Row":
        """This row less factor times another."""
        carry, feeds = dict(self.carry), dict(self.feeds)
        for mine, theirs in ((carry, other.carry), (feeds, other.feeds)):
            for key, c in theirs.items():
                mine[key] = mine.get(key, Fraction(0)) - factor * c
        return Row(*({key: c for key, c in found.items() if nonzero(c)} for found in (carry, feeds)))


def nonzero(x) -> bool:
    """Whether a number is not 0, in some step."""
    return any(v != 0 for v in values(x))


def rows_of(program: Program) -> tuple[Row, ...]:
    """Those of all states; UnsupportedOperationError where a number of the step stands elsewhere than before gradients and states."""
    factors = {scaling(y)[1] for x in program.graph.expressions if x.does(Gate, Dot) for y in x.inputs}
    moments = {p for p, state in enumerate(program.states) if state.start is not None}
    result = tuple(_row(program.graph, state.following, factors, moments | {p}) for p, state in enumerate(program.states))
    for state, row in zip(program.states, result, strict=True):
        for t, v in (x for c in (*row.carry.values(), *row.feeds.values()) for x in enumerate(values(c))):
            if isinstance(v, float):
                told = f"what a step makes of {state.leaf.path}: in step {t}, the constant {v} is not finite"
                raise UnsupportedOperationError(f"{told}; leave it out, or choose a large number for it ({program.place})")
    for name, x in program.outputs.items():
        if isinstance(x, Known) and x.moving:
            raise UnsupportedOperationError(f"output {name!r} is a number of the step alone ({program.place}), which a proof need not tell")
    return result


def _row(graph, x, factors, apart: set[int]) -> Row:
    """A sum of tensors that some product reads feeds it as one: a moment and its square read the same rounded gradient, and decay in it.

    apart: the states that are no part of such a sum.
    """
    row = Row({}, {})
    stack = [(Fraction(1), x)]
    while stack:
        c, x = stack.pop()
        if isinstance(x, Known):
            if x.scalar is None:
                _add(row.feeds, graph.tensor(x), c)
            elif nonzero(x.scalar):  # a number of every step times ones
                _add(row.feeds, graph.tensor(Known.uniform(Fraction(1), x.shape, x.tagged)), c * x.scalar)
        elif x in graph.variances:
            _add(row.feeds, variances.copied(graph, x), c)
        elif x.does(Combination) and (x not in factors or apart & summed_states(x)):
            stack += [(c * k, y) for k, y in zip(reversed(x.operation.coefficients), reversed(x.inputs), strict=True)]
        elif x.does(Param):
            _add(row.carry, x.operation.index, c)
        else:
            _add(row.feeds, x, c)
    carry, feeds = ({key: c for key, c in found.items() if nonzero(c)} for found in (row.carry, row.feeds))
    return Row(carry, feeds if len(feeds) <= MAX_FEEDS else _joined(graph, feeds))


def _joined(graph, feeds: dict) -> dict:
    """Many feeds, as an unrolled loop makes them of what it reads in each iteration, as sums of those whose coefficients keep one ratio."""
    fixed = {x: c for x, c in feeds.items() if isinstance(c, Fraction)}
    if not fixed:
        return feeds
    first = next(iter(fixed.values()))
    others = {x: c for x, c in feeds.items() if x not in fixed}
    return others | {graph.linear([(c / first, x) for x, c in fixed.items()]): first}


def _add(found: dict, key, c) -> None:
    found[key] = found.get(key, Fraction(0)) + c


def cycles(rows: tuple[Row, ...], narrow: frozenset) -> tuple[frozenset[int], frozenset[Expression]]:
    """The states that follow from themselves through others, and the tensors through which some do without rounding.

    narrow: the tensors that are rounded anyway. A claim on a state may not come back to it, so those tensors are to be rounded too.
    """
    reach = [{x: states_below(x, narrow) for x in row.feeds} for row in rows]
    through = frozenset(x for p, found in enumerate(reach) for x, read in found.items() if any(p in _from(rows, reach, r) for r in read))
    around = set()
    for p, row in enumerate(rows):
        below = set(row.carry) - {p}
        below |= {r for x, read in reach[p].items() if x not in through for r in read}
        if any(p in _from(rows, reach, r) for r in below):
            around.add(p)
    return frozenset(around), through


def _from(rows: tuple[Row, ...], reach: list[dict], p: int) -> set[int]:
    """The states that state p follows from, itself included."""
    found, stack = set(), [p]
    while stack:
        p = stack.pop()
        if p not in found:
            found.add(p)
            stack += [*rows[p].carry, *(r for read in reach[p].values() for r in read)]
    return found


def states_below(x: Expression, narrow: frozenset) -> set[int]:
    """The states that a tensor follows from without rounding in between."""
    found, stack, seen = set(), [x], set()
    while stack:
        x = stack.pop()
        if x in seen or x.does(Gate, *COMMITTED):
            continue
        seen.add(x)
        if x.does(Param):
            found.add(x.operation.index)
        elif x not in narrow or are_weights(x):
            stack += x.inputs
    return found


def rooted(graph, rows: tuple[Row, ...], needed) -> set[int]:
    """The states of which roots are taken: those below a root that nothing feeds that may be negative, as weights are fed."""
    below = {p for x in needed if x.does(SquareRoot) for p in states_below(x.inputs[0], frozenset())}
    return {p for p in below if rows[p].feeds and all(interval(graph, x)[0] >= 0 for x in rows[p].feeds)}


def summed_states(x: Expression) -> set[int]:
    """The states among what a tensor is a sum of."""
    found, stack = set(), [x]
    while stack:
        x = stack.pop()
        if x.does(Param):
            found.add(x.operation.index)
        elif x.does(Combination):
            stack += x.inputs
    return found


def exact(rows: tuple[Row, ...], around: frozenset[int]) -> frozenset[int]:
    """The states that no step multiplies: those that stay, and those to which something is added."""
    return frozenset(p for p, row in enumerate(rows) if row.carry.get(p) == 1 and p not in around)


@dataclass(frozen=True)
class Uses:
    """What is added to an exact state, each with its coefficient: tensors, states before the step, states after it."""

    feeds: dict[Expression, Fraction | Series]
    before: dict[int, Fraction | Series]
    after: dict[int, Fraction | Series]


def uses(rows: tuple[Row, ...], p: int, kept: frozenset[int]) -> Uses:
    """Of the exact state p. kept: the exact states.

    A state that is multiplied is read after the step where that leaves less to be added: of weights with momentum nothing.
    """
    row, after = Row({r: c for r, c in rows[p].carry.items() if r != p}, dict(rows[p].feeds)), {}
    for r in sorted(set(row.carry) - kept):
        own = rows[r].carry.get(r, Fraction(0))
        if r not in row.carry or any(v == 0 for v in values(own)):
            continue
        factor = lifted(operator.truediv)(row.carry[r], own)
        rest = row.without(factor, rows[r])
        if len(rest.carry) + len(rest.feeds) + 1 < len(row.carry) + len(row.feeds):
            row, after[r] = rest, factor
    return Uses(row.feeds, row.carry, after)
