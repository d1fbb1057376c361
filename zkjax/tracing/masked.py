"""Scores that a mask takes away: minus infinity in their place, or a number as low as -10,000, which programs write for it.

The circuit has ``-LOWEST`` there: it is no maximum, and ``exp`` makes it 0. Where every score of a row is taken away, minus infinity leaves
no number, but the same low number everywhere leaves equal scores: then a row of equal shares, as in JAX.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from . import choices, functions, keys
from .constants import Known, map_known
from .expressions import Expression, Mask, added, along_maximum, scaling
from .intervals import interval
from .series import Refusal, Series

LOWEST = 32  # minus which stands for minus infinity beside tensors that cannot become as low
LOW = -10_000  # a constant that is no higher stands for minus infinity
INFINITY = "choose a large negative number in the place of minus infinity"
# Operations whose first operand may be masked, beside those that move the entries of one.
READERS = ("reduce_max", "argmax", "sub", "exp", "gather", "is_finite", "convert_element_type")


@dataclass(frozen=True, eq=False)
class Masked:
    """Of a tensor with scores that a mask takes away: ones where it has a number, else zeros; a tensor that has these numbers, and any
    others beside them; and the tensor as the program writes it (None: with minus infinity)."""

    ones: Expression | Known
    kept: Callable[[], Expression]
    written: Callable[[], Expression] | None


def is_low(x) -> bool:
    """Whether it is a constant that stands for minus infinity."""
    return isinstance(x, Known) and not isinstance(x.scalar, Series | None) and x.scalar <= LOW


def readable(graph, name: str, values, is_move: bool) -> list:
    """The operands of an operation: masked ones as the program writes them where the operation is no reader of masked ones."""
    found = list(values)
    for i, x in enumerate(values):
        if x not in graph.masked or (is_move and len(values) == 1) or _reads(graph, name, values, i):
            continue
        if graph.masked[x].written is None:
            raise Refusal("minus infinity in what is no maximum, difference or exp", INFINITY)
        found[i] = as_written(graph, x)
    return found


def _reads(graph, name: str, values, i: int) -> bool:
    """Whether an operation may read a masked operand. Rules of products and choices look at it themselves."""
    if name == "max":  # of minus infinity
        return is_low(values[1 - i])
    if name == "sub" and values[1] in graph.masked:  # of two low numbers the difference need not be low
        return False
    if name == "eq":  # whether it is its own maximum
        return graph.largest_of.get(graph.expand(values[1 - i], values[i].shape)) is values[i]
    if name == "div":
        return i == 0 and (isinstance(values[1], Known) or interval(graph, values[1])[0] > 0)
    return name in ("mul", "add") or name == "select_n" and i > 0 or name in READERS and i == 0


def spared(graph, which, k: int, x) -> bool:
    """Whether case k of a choice by constants, which is x, is chosen nowhere where a mask takes x away."""
    ones = graph.masked[x].ones if x in graph.masked else None
    return isinstance(which, Known) and isinstance(ones, Known) and not ((which.full() == k) & (ones.full() == 0)).any()


def take_away(graph, condition, x, low) -> Expression:
    """x where the condition holds, else ``low``, which is as good as minus infinity."""
    condition = condition if isinstance(condition, Mask) else condition.compacted()
    mask = isinstance(condition, Mask)
    ones = graph.tensor(condition) if mask else map_known(lambda c: Fraction(int(c)), condition.shape, condition)
    if x in graph.masked:
        ones = _both(graph, ones, graph.masked[x].ones)

    def written():
        return graph.tensor(choices.select(graph, condition, Known.uniform(low, x.shape), as_written(graph, x)))

    infinite = low == -math.inf or x in graph.masked and graph.masked[x].written is None
    where = condition if mask and x not in graph.masked else None
    return _lowest(graph, ones, lambda: as_kept(graph, x), None if infinite else written, where)


def _lowest(graph, ones, kept, written, condition: Mask | None = None) -> Expression:
    """What is kept, and ``-LOWEST`` where there are no ones, or where this condition does not hold, which is the same."""
    number = kept()
    other = Mask(ones) if isinstance(ones, Expression) else map_known(bool, ones.shape, ones)
    low = Known.uniform(Fraction(-LOWEST), number.shape)
    return _record(graph, choices.select(graph, condition or other, low, number), ones, kept, written)


def _both(graph, ones, others):
    """Where both are ones. Of tensors it is a sign: a product would have to be rounded to be a mask, with a range of its own."""
    if isinstance(ones, Known) or isinstance(others, Known):
        return graph.product(ones, others)
    return graph.above(graph.linear([(1, ones), (1, others), (-1, Known.uniform(Fraction(1), ones.shape))]))


def as_kept(graph, x):
    """A tensor with its numbers where no mask takes them away."""
    return graph.masked[x].kept() if x in graph.masked else x


def as_written(graph, x):
    """A tensor as the program writes it."""
    return graph.masked[x].written() if x in graph.masked else x


def _record(graph, result, ones, kept, written):
    if isinstance(result, Expression) and not (isinstance(ones, Known) and ones.scalar == 1):
        graph.masked[result] = Masked(ones, kept, written)
    return result


def _carried(graph, x, result, again, ones=None, own=False):
    """A result that is masked as x is, or where ``ones`` says; again: makes the same of x as it is kept or written. own: the
    ones are where the result has its own numbers."""
    if x not in graph.masked:
        return result
    before = graph.masked[x]
    kept = (lambda: result) if own else lambda: graph.tensor(again(before.kept()))
    written = None if before.written is None else lambda: graph.tensor(again(before.written()))
    return _record(graph, result, before.ones if ones is None else ones, kept, written)


def moved(graph, x, result, move):
    """What moving entries makes of a masked tensor."""
    return _carried(graph, x, result, move, move(graph.masked[x].ones))


# ---- sums ------------------------------------------------------------------------------------------------------------


def lowered(graph, x, y) -> Expression | None:
    """x + y where y is 0 or so low that it masks x; None of any other y."""
    if isinstance(y, Known):
        numbers = y.values.reshape(-1)
        if y.moving or not all(v < math.inf for v in numbers) or len({v > LOW for v in numbers}) == 1:
            return None
        rest = map_known(lambda v: Fraction(v) if v > LOW else Fraction(0), y.shape, y)
        kept = map_known(lambda v: v > LOW, y.shape, y)
        return take_away(graph, kept, graph.tensor(graph.linear([(1, x), (1, rest)])), min(numbers))
    mask, low = _zeros_or_low(y) if isinstance(y, Expression) else (None, None)
    return None if mask is None else take_away(graph, mask, x, low)


def total(graph, x, y):
    """x + y, of masked ones or any others."""
    for a, b in ((x, y), (y, x)):
        if not isinstance(a, Known) and (found := lowered(graph, a, b)) is not None:
            return found
    x, y = (z.finite() if isinstance(z, Known) else z for z in (x, y))
    return _plus(graph, x, y) if x in graph.masked or y in graph.masked else keys.summed(graph, (1, 1), (x, y))


def _plus(graph, x, y) -> Expression:
    """x + y where one of them is masked, or both: as low as either."""
    found = [graph.masked[z] for z in (x, y) if z in graph.masked]
    ones = found[0].ones if len(found) == 1 else _both(graph, *(z.ones for z in found))

    def both(of):
        return graph.tensor(graph.linear([(1, of(graph, z)) for z in (x, y)]))

    infinite = any(z.written is None for z in found)
    return _lowest(graph, ones, partial(both, as_kept), None if infinite else partial(both, as_written))


def _zeros_or_low(y: Expression) -> tuple[Mask | None, Fraction]:
    """c z, or c (1 - z), for zeros and ones z and a low c: where it is 0, and c."""
    c, base = scaling(y)
    if not isinstance(c, Series) and c <= LOW and functions.is_one_or_nothing(base):
        return Mask(base, positive=False), c
    pairs = [*added(y).items()]
    for (one, a), (z, b) in (pairs, pairs[::-1]) if len(pairs) == 2 else ():
        value = functions.constant(one)
        if value is not None and not isinstance(a, Series) and a * value == -b <= LOW and functions.is_one_or_nothing(z):
            return Mask(z), -b
    return None, Fraction(0)


def less(graph, x, y, result):
    """x - y, of a masked x or any other. If y is x's maximum, a row whose scores are all taken away has equal scores."""
    found, ones = graph.masked.get(x), None
    if found is not None and found.written is not None and graph.largest_of.get(y) is x:
        ones = _or_all(graph, found.ones, along_maximum(x, y))
    return _carried(graph, x, result, lambda x: graph.linear([(1, x), (-1, graph.tensor(y))]), ones, ones is not None)


def _or_all(graph, ones, axes):
    """The same, with ones where all along the axes are zeros."""
    if isinstance(ones, Known):
        full = ones.full()
        return Known.spread(full + (full.max(axis=axes, keepdims=True) == 0).astype(int), ones.shape)
    number, kept = graph.sum(ones, axes), [d for d in range(len(ones.shape)) if d not in axes]
    some = graph.tensor(graph.greater(number, Known.uniform(Fraction(0), number.shape), number.shape))
    return graph.linear([(1, ones), (1, Known.uniform(Fraction(1), ones.shape)), (-1, graph.broadcast(some, ones.shape, kept))])


def divided(graph, x, result, divide):
    """x divided by what is above 0, of a masked x or any other."""
    return _carried(graph, x, result, divide)


def is_finite(graph, x):
    """Everywhere, but where there is minus infinity."""
    if x not in graph.masked or graph.masked[x].written is not None:
        return Known.uniform(True, x.shape)
    return graph.mask(graph.masked[x].ones)


def times(graph, x, y):
    """A masked x times a number above 0; None of other factors, where x is as written."""
    if not isinstance(y, Known) or y.moving or y.scalar is None or y.scalar <= 0:
        if graph.masked[x].written is None:
            raise Refusal("minus infinity times what is no number above 0", INFINITY)
        return None
    return _carried(graph, x, graph.product(x, y), lambda x: graph.product(x, y))


# ---- exp -------------------------------------------------------------------------------------------------------------


def exp(graph, x: Expression) -> Expression:
    """exp of what is masked: 0 there, and else a function of what is 0 there."""
    ones = graph.masked[x].ones
    if isinstance(ones, Known) and ones.scalar == 0:
        return Known.uniform(Fraction(0), x.shape, x.tagged)
    base = graph.tensor(graph.product(ones, x))
    if interval(graph, x)[1] <= 0:
        graph.intervals[base] = -math.inf, 0.0
    found = graph.tensor(graph.product(ones, functions.function(graph, "exp", base)))
    graph.intervals[found] = 0.0, 1.0 if interval(graph, x)[1] <= 0 else math.inf
    graph.peaks[found] = x
    return graph.tag(found, x.tagged)
