"""Choices: one of several tensors by a public number, or by a condition on data, entry by entry.

A choice by a condition is a product with its mask, in the form that takes the fewest gates.
"""

from fractions import Fraction
from functools import reduce

from ..ops.moves import Broadcast
from . import functions, ignored, keys, quotients
from .constants import Keys, Known, map_known
from .expressions import Expression, Mask, added, scaling
from .intervals import interval
from .series import Refusal, Series


def choose(graph, which, cases, tagged: bool):
    """The case that a public number says, in every step."""
    if all(isinstance(x, Keys) for x in cases):
        (chosen,) = keys.moved(lambda *halves: choose(graph, which, list(halves), tagged), cases)
        return chosen
    if not isinstance(which, Series):
        return graph.tag(cases[min(max(int(which), 0), len(cases) - 1)], tagged)
    if all(isinstance(x, Known) for x in cases):
        number = Known.uniform(which, cases[0].shape, tagged)
        return map_known(lambda n, *entries: entries[min(max(int(n), 0), len(entries) - 1)], cases[0].shape, number, *cases)
    if any(isinstance(x, Mask) for x in cases):
        raise Refusal("a choice by the step between conditions on data; choose between numbers")
    chosen = [min(max(int(n), 0), len(cases) - 1) for n in which.values]
    cases = [x if isinstance(x, Known) else graph.tensor(x) for x in cases]
    shares = (Series(tuple(Fraction(int(n == i)) for n in chosen)) for i in range(len(cases)))
    return graph.linear([_in_steps(share, x) for share, x in zip(shares, cases, strict=True)], tagged)


def _in_steps(share: Series, x) -> tuple[Series, Known | Expression]:
    """A tensor in the steps where its share is 1, as (coefficient, tensor): what multiplies it need not be finite in the others."""
    c, base = scaling(x) if isinstance(x, Expression) else (Fraction(1), x)
    if not isinstance(c, Series):
        return share, x
    return Series(tuple(v if s else Fraction(0) for s, v in zip(share.values, c.values, strict=True))), base


def select(graph, condition, no, yes):
    """``yes`` where the condition holds, else ``no``."""
    if isinstance(no, Mask) or isinstance(yes, Mask):
        raise Refusal("a choice between two conditions; choose between numbers")
    no, yes = (x if isinstance(x, Known) else graph.tensor(x) for x in (no, yes))
    if isinstance(condition, Known):
        condition = condition.compacted()
        if condition.scalar is not None:
            return choose(graph, condition.scalar, [no, yes], condition.tagged)
        ones = map_known(lambda c: Fraction(int(c)), condition.shape, condition)
        zeros = map_known(lambda c: 1 - c, condition.shape, ones)
        return graph.linear([(1, graph.product(ones, yes)), (1, graph.product(zeros, no))])
    if not condition.positive:
        no, yes = yes, no
    mask = condition.expression
    no = quotients.guarded(graph, mask, ignored.left_out(graph, Mask(mask, False), no))
    yes = ignored.left_out(graph, Mask(mask), yes)
    if (found := _of_factors(graph, mask, no, yes)) is not None:
        return found
    (c, x), (d, y) = scaling(no), scaling(yes)
    if x is y and not isinstance(x, Known):  # c x + mask (d - c) x: one gate where the user wrote two branches
        return graph.linear([(c, x), (d - c, graph.product(mask, x))], no.tagged or yes.tagged)
    terms = [added(z) if isinstance(z, Expression) else {} for z in (no, yes)]
    both = [(c, z) for z, c in terms[0].items() if terms[1].get(z) == c]
    if both:  # what both cases hold, as a state that is updated or not, needs no choice
        rest = (graph.linear([(c, z) for z, c in t.items() if (c, z) not in both] or [(0, both[0][1])]) for t in terms)
        return graph.linear([*both, (1, select(graph, Mask(mask), *rest))], no.tagged or yes.tagged)
    return graph.linear([(1, no), (-1, graph.product(mask, no)), (1, graph.product(mask, yes))])


def only_where(graph, condition, x):
    """x where a condition holds; elsewhere no number, and a circuit without a witness, for it divides by 0 there."""
    zero, x = Known.uniform(Fraction(0), x.shape), x.finite() if isinstance(x, Known) else graph.tensor(x)
    divided = functions.function(graph, "div", zero, condition if condition.shape == x.shape else graph.broadcast(condition, x.shape, ()))
    if divided is None:
        raise Refusal("what is no number where a schedule or random words say so", "choose a number")
    result = graph.linear([(1, x), (1, divided)], x.tagged)
    graph.intervals[result] = interval(graph, x)
    return result


def among(graph, shares, cases):
    """The case whose share is 1, of shares that are 0 or 1, entry by entry."""
    cases = (x.finite() if isinstance(x, Known) else graph.tensor(x) for x in cases)
    return graph.linear([(1, graph.product(share, x)) for share, x in zip(shares, cases, strict=True)])


def _of_factors(graph, mask: Expression, no, yes) -> Expression | None:
    """Where both cases are one tensor times a factor that repeats as the mask does: the tensor times the factor that is chosen.

    So gradients that are clipped by their norm are one product, with one number.
    """
    if not mask.does(Broadcast) or not isinstance(no, Expression) or not isinstance(yes, Expression):
        return None
    (c, x), (d, y) = scaling(no), scaling(yes)
    if isinstance(c, Series) or isinstance(d, Series) or x is y:
        return None
    parts = [functions.factors(z) for z in (x, y)]
    common = next((z for z in parts[0] if z in parts[1] and not _repeats(z, mask)), None)
    if common is None:
        return None
    small, chosen = mask.inputs[0], []
    for share, factors in zip((c, d), parts, strict=True):
        rest = list(factors)
        rest.remove(common)
        if not all(_repeats(z, mask) for z in rest):
            return None
        one = Known.uniform(Fraction(share), small.shape)
        chosen.append(reduce(graph.product, [z.inputs[0] for z in rest], one))
    factor = graph.tensor(select(graph, Mask(small), *chosen))
    return graph.product(common, graph.moved(mask, factor))


def _repeats(x: Expression, mask: Expression) -> bool:
    """Whether a tensor is broadcast as the mask is."""
    return x.does(Broadcast) and x.operation == mask.operation and x.inputs[0].shape == mask.inputs[0].shape
