"""Parts of arrays that are read at a place, or replaced there: slices that start at an index, scatters.

What is replaced is the array where nothing lands, and what lands elsewhere. What lands on what else has no order in JAX, and is refused.
"""

import math
from fractions import Fraction

import numpy as np

from . import masked
from .constants import Known, map_known
from .indexing import one_hot, padded, scatter_add, sliced, within
from .series import Refusal

ORDER = "update each entry once, or choose with jnp.where"


def _number(graph, x):
    """A boolean as 0 or 1."""
    return map_known(lambda v: Fraction(v) if isinstance(v, bool) else v, x.shape, x) if isinstance(x, Known) else graph.tensor(x)


def _nothing(shape) -> Known:
    return Known.uniform(Fraction(0), shape)


# ---- scatters --------------------------------------------------------------------------------------------------------


def _hits(graph, eqn, shape, indices, landing):
    """How many entries land on each: none or one."""
    if isinstance(indices, Known) and not indices.moving:
        from jax import lax

        p, zeros, ones = eqn.params, np.zeros(shape, np.int32), np.ones(landing, np.int32)
        places = np.array(indices.full(), np.int32)
        found = np.asarray(lax.scatter_add(zeros, places, ones, p["dimension_numbers"], mode=p["mode"]))
        if found.max(initial=0) > 1:
            raise Refusal("an update of one entry by several", ORDER)
        return Known.spread(np.frompyfunc(Fraction, 1, 1)(found.astype(object)), shape).compacted()
    if not eqn.params["unique_indices"] and math.prod(indices.shape[:-1]) > 1:
        raise Refusal("an update at several indices that depend on data, and may be equal", ORDER)
    return scatter_add(graph, eqn, _nothing(shape), indices, Known.uniform(Fraction(1), landing))


def scatter(graph, eqn, x, indices, updates):
    """The array, and what replaces some of its entries."""
    x, updates = (_number(graph, z) for z in (x, updates))
    hits = _hits(graph, eqn, x.shape, indices, updates.shape)
    if isinstance(hits, Known) and hits.scalar == 0:  # beyond the array
        return x
    if masked.is_low(updates) and not isinstance(x, Known):
        return masked.take_away(graph, graph.mask(_rest(graph, hits)), x, updates.scalar)
    x, updates = (z.finite() if isinstance(z, Known) else z for z in (x, updates))
    return _replaced(graph, x, hits, scatter_add(graph, eqn, _nothing(x.shape), indices, updates))


def scatter_mul(graph, eqn, x, indices, updates):
    """The array, some of whose entries are multiplied."""
    hits = _hits(graph, eqn, x.shape, indices, updates.shape)
    landed = scatter_add(graph, eqn, _nothing(x.shape), indices, updates)
    return graph.product(x, graph.linear([(1, _rest(graph, hits)), (1, landed)]))


def _rest(graph, hits):
    return graph.linear([(1, Known.uniform(Fraction(1), hits.shape)), (-1, hits)])


def _replaced(graph, x, hits, landed):
    return graph.linear([(1, graph.product(_rest(graph, hits), x)), (1, landed)])


# ---- slices that start at an index -----------------------------------------------------------------------------------


def dynamic_slice(graph, eqn, x, *starts):
    """A part of an array, which is within it wherever it would start."""
    for axis, (start, length) in enumerate(zip(starts, eqn.params["slice_sizes"], strict=True)):
        x = _cut(graph, x, axis, start, length)
    return x


def dynamic_update_slice(graph, eqn, x, part, *starts):
    """The array with another part."""
    x, landed, hits = _number(graph, x), _number(graph, part), Known.uniform(Fraction(1), part.shape)
    for axis, (start, length) in enumerate(zip(starts, x.shape, strict=True)):
        landed, hits = (_put(graph, z, axis, start, length) for z in (landed, hits))
    return landed if isinstance(x, Known) and x.scalar == 0 else _replaced(graph, x, hits, landed)


def _start(graph, start, places: int):
    """One of so many places: a number, or its one-hot."""
    if isinstance(start, Known) and not start.moving:
        return min(max(int(start.scalar), 0), places - 1)
    found = None if isinstance(start, Known) or places == 1 else one_hot(graph, start, places, within(places, "CLIP"))
    if found is None and places > 1:
        raise Refusal("a slice that starts at an index that follows from several tensors, or from the step", "index with jnp.take")
    return found if places > 1 else 0


def _cut(graph, x, axis: int, start, length: int):
    """So many entries along an axis, from an index on: for each of them the product with the one-hot."""
    places = x.shape[axis] - length + 1
    start = _start(graph, start, places)
    if isinstance(start, int):
        return sliced(graph, x, axis, start, length)
    parts, shape = [], (*x.shape[:axis], *x.shape[axis + 1 :])
    for k in range(length):
        part = graph.dot(start, graph.tensor(sliced(graph, x, axis, k, places)), ((0,), (axis,)), ((), ()), shape)
        parts.append(graph.reshape(part, (*shape[:axis], 1, *shape[axis:])))
    return graph.concatenate(parts, axis)


def _put(graph, part, axis: int, start, length: int):
    """The opposite: zeros, and these entries from an index on."""
    count = part.shape[axis]
    places = length - count + 1
    start = _start(graph, start, places)
    if isinstance(start, int):
        return padded(graph, part, axis, start, length - start - count)
    shape = (*part.shape[:axis], places, *part.shape[axis + 1 :])
    here = graph.broadcast(start, shape, (axis,))
    spread = (graph.broadcast(sliced(graph, part, axis, k, 1), shape, range(len(shape))) for k in range(count))
    landed = [padded(graph, graph.product(here, x), axis, k, count - 1 - k) for k, x in enumerate(spread)]
    return graph.linear([(1, x) for x in landed])


RULES = {"scatter": scatter, "scatter-mul": scatter_mul}
