"""Maxima of groups: ``scatter-max`` at constant indices, as ``jax.ops.segment_max`` writes it.

The members of each group are put side by side, with minus infinity beside those of a smaller one, and the largest is a maximum along an
axis. Where JAX splits a gradient among equal members, the first one has it.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from . import indexing, masked, maxima
from .constants import Known
from .expressions import Expression, Mask
from .scatters import read, targets
from .series import Refusal


@dataclass(frozen=True, eq=False)
class Group:
    """Members, the place among all entries of the maxima that each belongs to, and where the first largest ones are."""

    members: Expression
    places: np.ndarray
    first: Mask | Known


def scatter_max(graph, eqn, x, indices, updates):
    """Of an array of minus infinity: the largest of what comes to each place."""
    if not isinstance(indices, Known):
        raise Refusal("a maximum at indices that depend on data", "capture the indices as a constant")
    if not masked.is_low(x):
        raise Refusal("a maximum with what stands at an index", "choose with jnp.maximum")
    updates, places = graph.tensor(updates), targets(eqn, indices)
    wide = _width(places, x.shape)
    beside = _side_by_side(places.reshape(-1, wide)[:, 0] // wide, math.prod(x.shape) // wide)
    there, shape = beside.any(axis=2, keepdims=True), (*beside.shape[:2], wide)
    one = graph.tensor(_numbers(beside))
    apart = graph.dot(one, graph.reshape(updates, (beside.shape[2], wide)), ((2,), (0,)), ((), ()), shape)
    if not there.all():
        apart = masked.take_away(graph, Known.spread(np.broadcast_to(there.astype(object), shape), shape), apart, -math.inf)
    result, first = graph.reshape(maxima.largest(graph, apart, (1,)), x.shape), Known.uniform(True, updates.shape)
    if shape[1] > 1:
        found = graph.dot(one, maxima.first_of(graph, apart, (1,)), ((0, 1), (0, 1)), ((), ()), (beside.shape[2], wide))
        first = Mask(graph.reshape(found, updates.shape))
        graph.groups["first", first.expression] = places
    some = np.isin(np.arange(math.prod(x.shape)), places).reshape(x.shape)
    if not some.all():
        result = masked.take_away(graph, Known.spread(some.astype(object), x.shape), result, x.scalar)
    graph.groups["largest", result] = Group(updates, places, first)
    return result


def _width(places: np.ndarray, shape) -> int:
    """How many entries, one after another, have the same group next to each other: whole rows, if rows are updated."""
    for width in (math.prod(shape[d:]) for d in range(len(shape))):
        if places.size % width == 0:
            rows = places.reshape(-1, width)
            if (rows == rows[:, :1] + np.arange(width)).all() and (rows[:, 0] % width == 0).all():
                return width
    return 1


def _side_by_side(groups: np.ndarray, count: int) -> np.ndarray:
    """Which member stands at which place of which group: ones of shape (count, most, members)."""
    place = [int((groups[:i] == group).sum()) for i, group in enumerate(groups)]
    found = np.zeros((count, max(place) + 1, len(groups)), dtype=int)
    found[groups, place, np.arange(len(groups))] = 1
    return found


def _numbers(ones: np.ndarray) -> Known:
    return Known.spread(np.frompyfunc(Fraction, 1, 1)(ones.astype(object)), ones.shape)


def gather(graph, eqn, x, indices):
    """``indexing.gather``. Of scores that constants mask, constant indices read what the program has there; of maxima of groups it is known
    whose they are."""
    group, ones = graph.groups.get(("largest", x)), graph.masked[x].ones if x in graph.masked else None
    places = read(eqn, indices) if isinstance(indices, Known) and (group is not None or isinstance(ones, Known)) else None
    if places is not None and isinstance(ones, Known) and not ones.full().reshape(-1)[places].all():
        (x,) = masked.readable(graph, "", [x], False)
    result = indexing.gather(graph, eqn, x, indices)
    if group is not None and np.array_equal(places, group.places):
        graph.groups["read", result] = group
    return result


def first_place(graph, x, y) -> Mask | Known | None:
    """x == y of members and the maxima of their groups: the first places that have them; None of anything else."""
    for members, largest in ((x, y), (y, x)):
        group = graph.groups.get(("read", largest))
        if group is not None and group.members is members:
            return group.first
    return None


def counted(graph, eqn, x, indices, updates) -> Known | None:
    """The sum of the first places of each group: 1 where it has members; None of anything else."""
    places = graph.groups.get(("first", updates)) if isinstance(indices, Known) and isinstance(x, Known) and x.scalar == 0 else None
    if places is None or not np.array_equal(places, targets(eqn, indices)):
        return None
    some = np.isin(np.arange(math.prod(x.shape)), places).reshape(x.shape)
    return Known(_numbers(some.astype(int)).values, x.shape, x.tagged or updates.tagged)
