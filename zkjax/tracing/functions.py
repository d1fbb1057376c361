"""Functions of one tensor: which expressions are, entry by entry, functions of a single tensor, and what they become: one table each.

An activation, its derivative, a sigmoid loss are written as ten or twenty operations. All of them follow, entry by entry, from one
tensor, the *base*, so all of them together are one program (``algebra.functions``), one column of a table. What multiplies another
tensor stays a product: a gradient times a derivative is one product with one column.
"""

from fractions import Fraction
from functools import partial, reduce
from typing import NamedTuple

from ..algebra import functions
from ..algebra.functions import Program
from ..ops.moves import MOVES, Broadcast, Reshape, Reverse, Transpose
from ..ops.products import Dot, Gate
from .constants import Known
from .expressions import Above, Applied, Combination, Drawn, Expression, FirstPlace, Mask, Maximum, Numbers, Picked, Ratio, scaling
from .series import Series

LONGEST = 96  # instructions of a program that grows by fusion: beyond, its parts become tables of their own
COMPARISONS = ("gt", "ge", "lt", "le", "eq", "ne", "and", "or", "not")
FREE = (Reshape, Transpose, Broadcast, Reverse)  # moves that commute with functions and lose no entry


class Unary(NamedTuple):
    """program(base), entry by entry. base None: a number. applied: whether a function that needs a table is in it."""

    base: Expression | None
    program: Program
    applied: bool


def unary(graph, x) -> Unary:
    """What x is as a function of one tensor: of itself, if of nothing simpler."""
    if isinstance(x, Known):
        return Unary(None, functions.number(short(x.scalar)), False)
    if isinstance(x, Mask):
        found = unary(graph, x.expression)
        return found if x.positive else found._replace(program=functions.joined("not", found.program))
    if x not in graph.unary:
        graph.unary[x] = _unary(graph, x) or Unary(x, functions.IDENTITY, False)
    return graph.unary[x]


def _unary(graph, x: Expression) -> Unary | None:
    if x.does(Applied):
        return Unary(x.inputs[0], x.operation.program, True)
    if x.does(Numbers):
        return Unary(None, functions.number(short(x.operation.values[0])), False) if len(x.operation.values) == 1 else None
    if x.does(*FREE):
        below = unary(graph, x.inputs[0])
        if below.base is None:
            return below
        return Unary(graph.node(x.operation, (below.base,), x.shape), below.program, True) if below.applied else None
    if x.does(Combination):
        if any(isinstance(c, Series) for c in x.operation.coefficients):
            return None
        parts = [_times(unary(graph, y), c) for c, y in zip(x.operation.coefficients, x.inputs, strict=True)]
        return _together("add", parts) or _multiple(graph, x)
    if x.does(Above):
        return _together("gt", [unary(graph, x.inputs[0]), Unary(None, functions.number(Fraction(0)), False)])
    if x.does(Gate) or _is_product(x):
        return _together("mul", [unary(graph, y) for y in x.inputs])
    return None


def constant(x: Expression) -> Fraction | None:
    """The number that all entries of a tensor are, or None."""
    while x.does(*FREE):
        x = x.inputs[0]
    return Fraction(x.operation.values[0]) if x.does(Numbers) and len(set(x.operation.values)) == 1 else None


def is_one_or_nothing(x: Expression) -> bool:
    """Whether all entries are 0 or 1: those of one-hots and signs, moved, and 1 less them."""
    if x.does(Above, Picked, FirstPlace) or x.does(Applied) and x.operation.program[-1][0] in COMPARISONS:
        return True
    if x.does(*MOVES):
        return all(is_one_or_nothing(y) for y in x.inputs)
    if not x.does(Combination) or len(x.inputs) != 2:
        return False
    terms = [(c, y, constant(y)) for c, y in zip(x.operation.coefficients, x.inputs, strict=True)]
    return any(n == 1 == c and d == -1 and is_one_or_nothing(z) for (c, _, n), (d, z, _) in (terms, terms[::-1]))


def _multiple(graph, x: Expression) -> Unary | None:
    """A sum of several tensors as a multiple of one whose first coefficient is 1: x - y and y - x follow from the same."""
    first = min(range(len(x.inputs)), key=lambda k: x.inputs[k].index)
    c = x.operation.coefficients[first]
    if c == 1:
        return None
    base = graph.linear([(k / c, y) for k, y in zip(x.operation.coefficients, x.inputs, strict=True)], x.tagged)
    return Unary(base, functions.joined("mul", functions.number(short(c)), functions.IDENTITY), False)


def short(value) -> Fraction:
    """A constant with numerator and denominator below 2^62."""
    value = Fraction(value)
    if max(abs(value.numerator), value.denominator) < 2**62:
        return value
    return value.limit_denominator(2**40) if abs(value) < 2**20 else Fraction(round(value))


def _times(x: Unary, c: Fraction) -> Unary:
    return x if c == 1 else x._replace(program=functions.joined("mul", functions.number(short(c)), x.program))


def _together(name: str, parts: list[Unary]) -> Unary | None:
    """A function of two, or the sum of several, functions of one tensor; None where they are of several tensors."""
    bases = {x.base for x in parts} - {None}
    if len(bases) > 1:
        return None
    programs = [x.program for x in parts]
    program = functions.joined(name, *programs) if name != "add" else reduce(partial(functions.joined, "add"), programs)
    if len(program) > LONGEST:
        return None
    return Unary(bases.pop() if bases else None, program, any(x.applied for x in parts))


def applied(graph, program: Program, base: Expression) -> Expression:
    """The function of a tensor. Below moves that lose no entry: those of equal tensors are the same then."""
    if base.does(*FREE):
        return graph.moved(base, applied(graph, program, base.inputs[0]))
    c, inner = scaling(base)
    if inner is not base and not isinstance(c, Series):
        program = functions.after(program, functions.joined("mul", functions.number(short(c)), functions.IDENTITY))
        return applied(graph, program, inner)
    return graph.node(Applied(program), (base,), base.shape)


def picked(graph, program: Program, base: Expression, size: int) -> Expression:
    """The one-hot of a function of a tensor, below moves as ``applied``."""
    if base.does(*FREE):
        return graph.moved(base, picked(graph, program, base.inputs[0], size), (size,))
    found = unary(graph, base)  # below moves it may follow from something simpler
    if found.base not in (None, base):
        return picked(graph, functions.after(program, found.program), found.base, size)
    return graph.node(Picked(program, size), (base,), (*base.shape, size))


def _entrywise(operands) -> bool:
    """Whether all are tensors, or numbers that are the same everywhere and in every step."""
    return not any(isinstance(x, Drawn) or isinstance(x, Known) and (x.scalar is None or isinstance(x.scalar, Series)) for x in operands)


def function(graph, name: str, *operands):
    """A function, entry by entry, of tensors and constants of one shape; None where they do not follow from one tensor.

    Of one tensor that follows from nothing simpler, it is a function of that tensor.
    """
    if not _entrywise(operands):
        return None
    found = _together(name, [unary(graph, x) for x in operands])
    if found is None:
        tensors = [x for x in operands if not isinstance(x, Known)]
        if len(set(tensors)) > 1:
            return None
        own = (unary(graph, x) if isinstance(x, Known) else Unary(graph.tensor(x), functions.IDENTITY, False) for x in operands)
        found = _together(name, list(own))
    return None if found is None or found.base is None else applied(graph, found.program, found.base)


def fused(graph, name: str, *operands):
    """The same where a table is needed anyway, for some operand is a function of the tensor that all follow from; else None."""
    if not _entrywise(operands):
        return None
    found = _together(name, [unary(graph, x) for x in operands])
    return applied(graph, found.program, found.base) if found is not None and found.applied and found.base is not None else None


def fused_product(graph, x: Expression, y: Expression) -> Expression | None:
    """x * y, where functions of one tensor are among their factors: together they are one function; None where there are none.

    The square of a function of a gradient stays a product, which is as fine beside 0 as the moment that reads the function itself.
    """
    if x is y and x.tagged and _is_applied(x):
        return None
    found = [(z, unary(graph, z)) for z in (*factors(x), *factors(y))]
    together: dict = {}
    for z, u in found:
        if any(v.applied and v.base is u.base for _, v in found):
            together.setdefault(u.base, []).append((z, u))
    if all(len(members) == 1 and _is_applied(members[0][0]) for members in together.values()):
        return None
    result = [z for z, u in found if u.base not in together]
    for members in together.values():
        whole = reduce(lambda a, b: a and _together("mul", [a, b]), [u for _, u in members])
        result += [z for z, _ in members] if whole is None else [applied(graph, whole.program, whole.base)]
    return graph.tag(reduce(graph.plain_product, result), x.tagged or y.tagged)


def outward(graph, x: Expression) -> tuple[Fraction, Expression]:
    """A multiple of what a lookup proves, moved or not, as (coefficient, tensor): constants cost nothing after a product."""
    if x.does(*FREE):
        c, below = outward(graph, x.inputs[0])
        return (c, x) if c == 1 else (c, graph.moved(x, below))
    c, below = scaling(x)
    inner = below
    while inner.does(*FREE):
        inner = inner.inputs[0]
    return (c, below) if not isinstance(c, Series) and inner.does(Applied, Picked, Maximum, FirstPlace, Ratio) else (Fraction(1), x)


def _is_applied(x: Expression) -> bool:
    """Whether this is a function already, moved or not."""
    return x.does(Applied) or x.does(*FREE) and _is_applied(x.inputs[0])


def fused_sum(graph, terms: dict) -> dict | None:
    """Terms (tensor to coefficient) of which those that are functions of one tensor, times the same others, are one; None: as they are."""
    groups: dict = {}
    for x, c in terms.items():
        if isinstance(c, Series):
            continue
        parts = factors(x)
        found = [(z, unary(graph, z)) for z in parts]
        own = [(z, u) for z, u in found if u.applied]
        if len(own) == 1:
            rest = tuple(sorted((z for z in parts if z is not own[0][0]), key=lambda z: z.index))
            groups.setdefault((rest, own[0][1].base), []).append((x, c, own[0][1].program))
    result, changed = dict(terms), False
    for (rest, base), members in groups.items():
        if len(members) < 2:
            continue
        first = members[0][1]
        whole = _together("add", [_times(Unary(base, program, True), c / first) for _, c, program in members])
        if whole is None:
            continue
        changed, product = True, reduce(graph.plain_product, rest, applied(graph, whole.program, base))
        product = graph.tag(product, any(x.tagged for x, *_ in members))
        for x, *_ in members:
            del result[x]
        result[product] = result.get(product, 0) + first
    return result if changed else None


def _is_product(x: Expression) -> bool:
    """Whether this is a product of two tensors of its shape, entry by entry."""
    return x.does(Dot) and not x.operation.contract[0] and len(x.operation.batch[0]) == len(x.shape)


def factors(x: Expression) -> list[Expression]:
    """A product of tensors, entry by entry, as its factors."""
    if _is_product(x):
        return [z for y in x.inputs for z in factors(y)]
    return [x]
