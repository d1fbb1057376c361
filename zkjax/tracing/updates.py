"""Parts of arrays that are read at a place, or replaced there: slices that start at an index, scatters.

What is replaced is the array where nothing lands, and what lands elsewhere. What lands on what else has no order in JAX, and is refused.
"""

import math
import operator
from fractions import Fraction

import numpy as np

from . import masked
from .constants import Known, map_known
from .indexing import one_hot, scattered, within
from .rows import padded, sliced
from .scatters import combined, targets
from .series import Refusal

ORDER = "update each entry once, or choose with jnp.where"


def _number(graph, x):
    """A boolean as 0 or 1."""
    return map_known(lambda v: Fraction(v) if isinstance(v, bool) else v, x.shape, x) if isinstance(x, Known) else graph.tensor(x)


# ---- scatters --------------------------------------------------------------------------------------------------------


def _hits(graph, eqn, shape, indices, updates):
    """How many entries land on each: none or one; constants at constant indices, all of them the same, as one."""
    if isinstance(indices, Known):
        places = targets(eqn, indices, dropping=True).reshape(-1)
        found = np.bincount(places[places >= 0], minlength=math.prod(shape)).astype(object).reshape(shape)
        if found.max(initial=0) > 1 and not (isinstance(updates, Known) and updates.scalar is not None):
            raise Refusal("an update of one entry by several", ORDER)
        return Known.spread(np.frompyfunc(lambda n: Fraction(min(n, 1)), 1, 1)(found), shape).compacted()
    if not eqn.params["unique_indices"] and math.prod(indices.shape[:-1]) > 1:
        raise Refusal("an update at several indices that depend on data, and may be equal", ORDER)
    return scattered(graph, eqn, shape, indices, Known.uniform(Fraction(1), updates.shape))


def _landed(graph, eqn, shape, indices, updates):
    """What stands where updates land."""
    if isinstance(indices, Known) and isinstance(updates, Known):
        zeros = Known.uniform(Fraction(0), shape)
        return Known.spread(combined(lambda old, new: new, eqn, zeros, indices, updates), shape, updates.tagged)
    return scattered(graph, eqn, shape, indices, updates)


def scatter(graph, eqn, x, indices, updates):
    """The array, and what replaces some of its entries."""
    x, updates = (_number(graph, z) for z in (x, updates))
    hits = _hits(graph, eqn, x.shape, indices, updates)
    if isinstance(hits, Known) and hits.scalar == 0:  # beyond the array
        return x
    if masked.is_low(updates) and not isinstance(hits, Known):
        return masked.take_away(graph, graph.mask(_rest(graph, hits)), graph.tensor(x), updates.scalar)
    return masked.total(graph, _kept(graph, x, hits), _landed(graph, eqn, x.shape, indices, updates))


def factors(graph, eqn, x, indices, updates):
    """What multiplies an array of which some entries are multiplied."""
    ones = Known.uniform(Fraction(1), x.shape)
    if isinstance(indices, Known) and isinstance(updates, Known):
        return Known.spread(combined(operator.mul, eqn, ones, indices, updates), x.shape, updates.tagged)
    hits = _hits(graph, eqn, x.shape, indices, updates)
    return graph.linear([(1, _rest(graph, hits)), (1, scattered(graph, eqn, x.shape, indices, updates))])


def _rest(graph, hits):
    return graph.linear([(1, Known.uniform(Fraction(1), hits.shape)), (-1, hits)])


def _kept(graph, x, hits):
    """The array where nothing lands, with zeros elsewhere: what is low elsewhere need not be finite."""
    if isinstance(x, Known) and isinstance(hits, Known):
        return map_known(lambda v, hit: Fraction(0) if hit else v, x.shape, x, hits)
    return graph.product(_rest(graph, hits), x.finite() if isinstance(x, Known) else graph.tensor(x))


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
    return landed if isinstance(x, Known) and x.scalar == 0 else graph.linear([(1, _kept(graph, x, hits)), (1, landed)])


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
