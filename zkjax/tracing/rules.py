"""Rules: what JAX's operations on data and parameters mean, each a function from an equation and its operands to an expression.

What is exact: floating-point arithmetic taken as that of real numbers, arithmetic on integers that cannot leave their dtype,
comparisons and choices on the circuit's integers, all movements of entries. What is refused: whatever rounds, truncates or
may wrap around while it depends on data or parameters, and every operation that is not known here.
"""

import math
from fractions import Fraction

from . import (
    choices,
    entrywise,
    functions,
    groups,
    ignored,
    indexing,
    keys,
    masked,
    matrices,
    maxima,
    quotients,
    reductions,
    updates,
    variances,
    windows,
)
from .constants import Known, map_known
from .expressions import Drawn, Expression, Mask
from .folding import kind
from .intervals import interval
from .series import Refusal, values

FLOAT_FIRST = "convert to floating point first, x.astype(jnp.float32)"
INDEX = "labels that are used as an index: use jax.nn.one_hot(labels, classes) and a product instead"


# ---- arithmetic ------------------------------------------------------------------------------------------------------


def _elementwise(function):
    """A rule for a binary primitive on operands that broadcast."""

    def rule(graph, eqn, x, y):
        shape = eqn.outvars[0].aval.shape
        return function(graph, graph.expand(x, shape), graph.expand(y, shape))

    return rule


def _sum_of(*coefficients):
    """A rule for c1 * x1 + c2 * x2 + ..."""
    return lambda graph, *terms: keys.summed(graph, coefficients, terms)


def _product(graph, x, y):
    for a, b in ((x, y), (y, x)):
        if a in graph.peaks and graph.masked[graph.peaks[a]].ones is b:  # which is 0 wherever the mask is
            return a
        if a in graph.masked:
            found = masked.times(graph, a, b)
            return _product(graph, masked.as_written(graph, x), masked.as_written(graph, y)) if found is None else found
    x, y = ignored.multiplied(graph, x, y), ignored.multiplied(graph, y, x)
    words = keys.multiplied(graph, x, y)
    return words if words is not None else graph.product(*(x if isinstance(x, Known) else graph.tensor(x) for x in (x, y)))


def _div(graph, eqn, x, y):
    if kind(eqn.outvars[0].aval.dtype) != "f":
        return entrywise.whole_quotient(graph, eqn, x, y)
    shape = eqn.outvars[0].aval.shape
    if not isinstance(y, Known):
        x, y = graph.expand(x, shape), graph.expand(y, shape)
        if isinstance(y, Drawn):  # whose bits are more than a divisor needs
            return _product(graph, x, functions.function(graph, "div", Known.uniform(Fraction(1), shape), keys.read(graph, y)))
        return masked.divided(graph, x, quotients.quotient(graph, x, y), lambda x: quotients.quotient(graph, x, y))
    if any(v == 0 for entry in y.values.reshape(-1) for v in values(entry)):
        raise Refusal("division by zero")
    return _product(graph, graph.expand(x, shape), graph.expand(map_known(lambda v: 1 / v, y.shape, y), shape))


# ---- booleans and comparisons ----------------------------------------------------------------------------------------


def number(graph, x):
    """A boolean as 0 or 1: a tensor, or a constant of rationals."""
    return map_known(lambda v: Fraction(int(v)), x.shape, x) if isinstance(x, Known) else graph.tensor(x)


def _logic(both: int):
    """x + y - both * x * y of zeros and ones (or: 1, exclusive or: 2)."""

    def rule(graph, eqn, x, y):
        if both == 1 and (words := keys.filled(graph, x, y)) is not None:
            return words
        _only_booleans(eqn, x, y)
        x, y = (number(graph, graph.expand(v, eqn.outvars[0].aval.shape)) for v in (x, y))
        return graph.linear([(1, x), (1, y), (-both, graph.product(x, y))])

    return rule


def _and(graph, eqn, x, y):
    _only_booleans(eqn, x, y)
    return graph.product(*(number(graph, graph.expand(v, eqn.outvars[0].aval.shape)) for v in (x, y)))


def _not(graph, eqn, x):
    _only_booleans(eqn, x)
    return entrywise.negated(x)


def _only_booleans(eqn, *values):
    if kind(eqn.outvars[0].aval.dtype) != "b":
        if any(isinstance(x, Drawn) for x in values):
            raise Refusal("an operation on the bits of random words", keys.CURE)
        raise Refusal("an operation on the bits of integers that depend on data", "give its result in the data")


def _comparison(name: str, swap: bool, negate: bool):
    """x > y of the circuit's integers: where x - y, rounded to the format if it is wide, is above 0."""

    def rule(graph, eqn, x, y):
        x, y = (number(graph, v) if kind(eqn.invars[0].aval.dtype) == "b" else v for v in (x, y))
        pair = [graph.expand(v, eqn.outvars[0].aval.shape) for v in ((y, x) if swap else (x, y))]
        known = _certain(graph, *pair)
        if known is not None:
            return Known.uniform(known != negate, eqn.outvars[0].aval.shape, x.tagged or y.tagged)
        found = functions.fused(graph, name, *(graph.expand(v, eqn.outvars[0].aval.shape) for v in (x, y)))
        if found is not None:
            return Mask(found)
        result = graph.greater(*((y, x) if swap else (x, y)), eqn.outvars[0].aval.shape)
        return entrywise.negated(result) if negate else result

    return rule


def _certain(graph, x, y) -> bool | None:
    """Whether x > y, where that is the same for all data and parameters."""
    (low, high), (least, most) = interval(graph, x), interval(graph, y)
    return True if low > most else False if high <= least else None


def _equality(graph, eqn, x, y):
    """x == y: of what cannot be, of a tensor and its maximum, of an index; else no ``_unequal``."""
    shape = eqn.outvars[0].aval.shape
    x, y = (variances.whole(graph, graph.expand(z, shape)) for z in (x, y))
    (low, high), (least, most) = interval(graph, x), interval(graph, y)
    if x is y and isinstance(x, Expression) and kind(eqn.invars[0].aval.dtype) == "f":  # of a number only what is none differs from itself
        return Known.uniform(True, shape)
    if variances.is_zero(graph, x, y):
        return Known.uniform(False, shape)
    if low > most or high < least or math.inf in (low, least) or -math.inf in (high, most):
        return Known.uniform(False, shape)
    if isinstance(x, Expression) and isinstance(y, Known) and y.scalar == 0 and functions.is_one_or_nothing(x):
        return Mask(x, positive=False)
    found = maxima.first_place(graph, x, y) or groups.first_place(graph, x, y) or entrywise.is_extreme(graph, x, y)
    if found is None and kind(eqn.invars[0].aval.dtype) == "i":
        found = indexing.equal_index(graph, x, y)
    if found is None and kind(eqn.invars[0].aval.dtype) == "f":
        equal = None if isinstance(x, Drawn) or isinstance(y, Drawn) else functions.function(graph, "eq", x, y)
        found = None if equal is None else Mask(equal)
    return entrywise.negated(graph.mask(_unequal(graph, eqn, x, y))) if found is None else found


def _unequal(graph, eqn, x, y):
    """Of integers and booleans, which have no rounding: 1 where x > y or y > x."""
    shape = eqn.outvars[0].aval.shape
    if kind(eqn.invars[0].aval.dtype) == "f":
        found = functions.function(graph, "ne", *(graph.expand(v, shape) for v in (x, y))) if not isinstance(x, Drawn) else None
        if found is not None:
            return found
        raise Refusal("whether rounded values are equal depends on the rounding", "compare with >, or give a boolean array in the data")
    x, y = (number(graph, v) if kind(eqn.invars[0].aval.dtype) == "b" else v for v in (x, y))
    above, below = graph.greater(x, y, shape), graph.greater(y, x, shape)
    if kind(eqn.invars[0].aval.dtype) == "i":
        (low, high), (least, most) = graph.range(x), graph.range(y)
        above = Known.uniform(False, shape) if high <= least else above  # an unsigned number is never below 0
        below = Known.uniform(False, shape) if most <= low else below
    return graph.linear([(1, number(graph, above)), (1, number(graph, below))])


def _select(graph, eqn, which, *cases):
    boolean = kind(eqn.outvars[0].aval.dtype) == "b"
    which = which.compacted() if isinstance(which, Known) else which
    if isinstance(which, Known) and which.scalar is not None:
        return choices.choose(graph, which.scalar, cases, which.tagged)
    if kind(eqn.invars[0].aval.dtype) != "b" and (len(cases) != 2 or graph.range(which) != (0, 1)):
        cases = masked.readable(graph, "", cases, False)
        return choices.among(graph, indexing.shares(graph, which, len(cases)), [number(graph, x) if boolean else x for x in cases])
    for nothing, x, negated in ((cases[0], cases[-1], False), (cases[-1], cases[0], True)):
        condition = entrywise.negated(graph.mask(which)) if negated else graph.mask(which)
        if not boolean and masked.is_low(nothing) and not isinstance(x, Known):
            condition = condition if condition.shape == x.shape else graph.broadcast(condition, x.shape, ())
            return masked.take_away(graph, condition, graph.tensor(x), nothing.scalar)
        if isinstance(nothing, Known) and nothing.scalar != nothing.scalar and isinstance(which, Expression | Mask):
            return choices.only_where(graph, condition, x)
    cases = [x if masked.spared(graph, which, k, x) else masked.readable(graph, "", [x], False)[0] for k, x in enumerate(cases)]
    no, yes = (number(graph, x) if boolean else x.finite() if isinstance(x, Known) else graph.tensor(x) for x in cases)
    which = graph.mask(which)  # a condition that jax.vmap made of many, each 0 or 1
    if isinstance(which, Mask) and which.shape == no.shape:
        found = functions.fused(graph, "select", which, no, yes)
        if found is not None:
            return graph.tag(found, which.tagged or no.tagged or yes.tagged)
    return choices.select(graph, which if which.shape == no.shape else graph.broadcast(which, no.shape, ()), no, yes)


# ---- conversions -----------------------------------------------------------------------------------------------------


def _convert(graph, eqn, x):
    new = eqn.params["new_dtype"]
    before, after = kind(eqn.invars[0].aval.dtype), kind(new)
    if before == "b":
        if after == "b":
            return x
        x = graph.tensor(x)
        graph.ranges[x] = 0, 1
        return x
    if before == "f":
        if after != "f":
            raise Refusal(f"conversion of a tensor to {new.name} rounds or truncates", "keep it floating-point")
        return x
    if after == "b":
        zero = Known.uniform(0, x.shape)
        sides = [graph.greater(*pair, x.shape) for pair, possible in (((x, zero), True), ((zero, x), graph.range(x)[0] < 0)) if possible]
        return graph.linear([(1, number(graph, side)) for side in sides])
    return keys.as_number(graph, x) if after == "f" and isinstance(x, Drawn) else x


NARROW = "use float32 throughout (dtype=jnp.float32, param_dtype=jnp.float32); the circuit's own formats are set by Precision"


def _reduce_precision(graph, eqn, x):
    if eqn.params["exponent_bits"] < 8 or eqn.params["mantissa_bits"] < 23:
        raise Refusal("rounding to fewer bits", NARROW)
    return x


# ---- indices ---------------------------------------------------------------------------------------------------------


def _scatter_add(graph, eqn, x, indices, updates):
    found = groups.counted(graph, eqn, x, indices, updates)
    return masked.total(graph, x, indexing.scattered(graph, eqn, x.shape, indices, updates)) if found is None else found


def _reshape(graph, eqn, x):
    order = eqn.params["dimensions"] if eqn.primitive.name == "reshape" else None  # in which entries are read
    return graph.reshape(x if order is None else graph.transpose(x, order), eqn.outvars[0].aval.shape)


def _reverse(graph, eqn, x):
    return graph.reverse(x, tuple(int(d) for d in eqn.params["dimensions"]))


def _dot_general(graph, eqn, x, y):
    (contract, batch), shape = eqn.params["dimension_numbers"], eqn.outvars[0].aval.shape
    contract, batch = (tuple(tuple(int(d) for d in side) for side in pair) for pair in (contract, batch))
    x, y = (number(graph, v) if kind(a.aval.dtype) == "b" else v for v, a in zip((x, y), eqn.invars, strict=True))
    return graph.dot(x, y, contract, batch, shape)


def _pad(graph, eqn, x, value):
    config = eqn.params["padding_config"]
    if not isinstance(value, Known) or value.moving or value.scalar == 0 or isinstance(x, Known):
        return graph.pad(x, value, config)
    zero = Known.uniform(Fraction(0), ())
    inside = graph.pad(Known.uniform(Fraction(1), x.shape), zero, config)
    rest = map_known(lambda v, c: (1 - v) * c, inside.shape, inside, Known.uniform(value.scalar, inside.shape))
    return graph.linear([(1, graph.pad(x, zero, config)), (1, rest)])


def _stack(graph, eqn, *xs):
    axis = int(eqn.params["axis"])
    shape = eqn.outvars[0].aval.shape
    one = (*shape[:axis], 1, *shape[axis + 1 :])
    return graph.concatenate([graph.reshape(x, one) for x in xs], axis)


def _unstack(graph, eqn, x):
    axis = int(eqn.params["axis"])
    rest = (*x.shape[:axis], *x.shape[axis + 1 :])
    rows = ([(i if d == axis else 0, i + 1 if d == axis else n) for d, n in enumerate(x.shape)] for i in range(x.shape[axis]))
    return [graph.reshape(graph.slice(x, *zip(*row, strict=True), None), rest) for row in rows]


def _tile(graph, eqn, x):
    repeats = eqn.params["reps"]
    copies = [n for pair in zip(repeats, x.shape, strict=True) for n in pair]
    return graph.reshape(graph.broadcast(x, copies, range(1, len(copies), 2)), eqn.outvars[0].aval.shape)


def _split(graph, eqn, x):
    axis, parts, position = eqn.params["axis"], [], 0
    for size in eqn.params["sizes"]:
        start, limit = [0] * len(x.shape), list(x.shape)
        start[axis], limit[axis] = position, position + size
        parts.append(graph.slice(x, start, limit, None))
        position += size
    return parts


# Movements of entries, which are exact for numbers of every dtype, constants included.
MOVES = {
    "transpose": lambda graph, eqn, x: graph.transpose(x, eqn.params["permutation"]),
    **dict.fromkeys(("reshape", "squeeze", "expand_dims"), _reshape),
    "broadcast_in_dim": lambda graph, eqn, x: graph.broadcast(x, eqn.params["shape"], eqn.params["broadcast_dimensions"]),
    "slice": lambda graph, eqn, x: graph.slice(x, eqn.params["start_indices"], eqn.params["limit_indices"], eqn.params["strides"]),
    "dynamic_slice": updates.dynamic_slice,
    "dynamic_update_slice": updates.dynamic_update_slice,
    "pad": _pad,
    "concatenate": lambda graph, eqn, *xs: graph.concatenate(xs, int(eqn.params["dimension"])),
    "stack": _stack,
    "unstack": _unstack,
    "split": _split,
    "tile": _tile,
    "rev": _reverse,
    **dict.fromkeys(("copy", "stop_gradient", "sharding_constraint"), lambda graph, eqn, x: x),
    "optimization_barrier": lambda graph, eqn, *xs: list(xs),
}

# What depends on data or parameters.
RULES = MOVES | {
    "add": _elementwise(masked.total),
    "add_any": _elementwise(_sum_of(1, 1)),
    "sub": _elementwise(lambda graph, x, y: masked.less(graph, x, y, _sum_of(1, -1)(graph, x, y))),
    "mul": _elementwise(_product),
    "div": _div,
    "neg": lambda graph, eqn, x: _sum_of(-1)(graph, x),
    "square": lambda graph, eqn, x: entrywise.power(graph, x, 2),
    "rem": entrywise.remainder,
    "integer_pow": lambda graph, eqn, x: entrywise.power(graph, x, eqn.params["y"]),
    "gt": _comparison("gt", swap=False, negate=False),
    "lt": _comparison("lt", swap=True, negate=False),
    "le": _comparison("le", swap=False, negate=True),
    "ge": _comparison("ge", swap=True, negate=True),
    "lt_to": _comparison("lt", swap=True, negate=False),  # total orders: of numbers the same
    "le_to": _comparison("le", swap=False, negate=True),
    "ne": lambda graph, eqn, x, y: entrywise.negated(graph.mask(_equality(graph, eqn, x, y))),
    "eq": _equality,
    "is_finite": lambda graph, eqn, x: masked.is_finite(graph, x),
    **entrywise.RULES,
    "reduce_max": maxima.reduce_max,
    "reduce_min": maxima.reduce_min,
    "argmax": maxima.argmax,
    "argmin": lambda graph, eqn, x: maxima.argmax(graph, eqn, x, -1),
    "scatter-add": _scatter_add,
    "scatter-mul": lambda graph, eqn, x, *where: _product(graph, x, updates.factors(graph, eqn, x, *where)),
    "scatter-max": groups.scatter_max,
    "scatter": updates.scatter,
    "and": _and,
    "or": _logic(1),
    "xor": _logic(2),
    "not": _not,
    "select_n": _select,
    "dot_general": _dot_general,
    "reduce_sum": lambda graph, eqn, x: graph.sum(x, eqn.params["axes"]),
    "convert_element_type": _convert,
    "reduce_precision": _reduce_precision,
    "gather": groups.gather,
    "triangular_solve": matrices.triangular_solve,
    **reductions.RULES,
    **windows.RULES,
    "shift_right_logical": keys.shifted,
    "bitcast_convert_type": keys.as_float,
}

BOOLEAN = (
    *("gt", "lt", "le", "ge", "ne", "eq", "lt_to", "le_to", "is_finite"),
    *("and", "or", "xor", "not", "reduce_and", "reduce_or", "scatter", "select_n", "convert_element_type"),
)  # may result in booleans
KEYS = ("random_bits", "random_wrap", "random_unwrap", "random_seed", "random_split", "random_fold_in", "random_clone", "threefry2x32")

CURES = {
    "while": "write the loop in Python, so that it unrolls",
    "cond": "choose with jnp.where(x > 0, ...), or in Python before tracing",
    "sort": "use maxima, sums and products",
    "io_callback": "a callback leaves the program that is proven; leave it out",
    "pure_callback": "a callback leaves the program that is proven; leave it out",
}
