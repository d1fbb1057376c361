"""The tree of fractions under a lookup argument: its layers, built from the leaves up and handed out from the root down."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .. import extension as ext
from ..extension import Ext
from .products import add, halves, inner_products
from .sumcheck import INFINITY, LOG_TAIL, TAIL, Rounds, cross, identity

# A layer is (p0, p1, q0, q1): numerators and denominators of its nodes' left and right children, 2^m tables each.


def leaf_halves(p, q):
    """The leaves as a layer; numerators are over F."""
    return *halves((p,)), *halves(q)


def _leaf_tables(p, q, s):
    p0, _, q0, q1 = leaf_halves(p, q)
    return p0, q1, q0, s


@partial(jax.jit, static_argnames=("view",))
def _parents(given, *, view):
    """The nodes above a layer, p0/q0 + p1/q1 each, as a layer."""
    p0, p1, q0, q1 = view(*given)
    return *halves(inner_products([(p0, q1), (p1, q0)])), *halves(inner_products([(q0, q1)]))


@partial(jax.jit, static_argnames=("view",))
def _combine(given, scale, *, view):
    """p1 + scale q1."""
    _, p1, _, q1 = view(*given)
    return add(p1, inner_products([(q1, scale)]))


@jax.jit
def _top(p, q, distances):
    """All layers above 2^10 nodes or fewer, in one loop of fixed shape: (p, q), K pairs of uint64[10, 2^10].

    distances: half the number of nodes of each layer, from below. Entries beyond a layer's nodes are garbage.
    """

    def level(nodes, distance):
        def right(table):
            return tuple(jax.lax.dynamic_slice_in_dim(jnp.pad(c, (0, TAIL)), distance, TAIL) for c in table)

        p, q = nodes
        return (inner_products([(p, right(q)), (right(p), q)]), inner_products([(q, right(q))])), nodes

    return jax.lax.scan(level, (p, q), distances)


class Tree:
    """Layers of sums of fractions over 2^num_vars leaves (p: F array, q: K pair); children are the halves of an array.

    root: (P, Q) as Ext. rounds(...) may be called once for each layer, from the root down; a layer is freed then.
    """

    def __init__(self, num_vars: int, leaves):
        given, view = leaves, leaf_halves
        self._layers = []  # (given, view), from below
        for _ in range(num_vars - LOG_TAIL):
            self._layers.append((given, view))
            given, view = _parents(given, view=view), identity
        small = min(num_vars, LOG_TAIL)
        if view is identity:
            p, q = (tuple(np.concatenate(c) for c in zip(given[i], given[i + 1])) for i in (0, 2))
        else:
            p, q = ext.from_base(np.asarray(given[0])), given[1]
        p, q = (tuple(np.pad(np.asarray(c), (0, TAIL - len(c))) for c in table) for table in (p, q))
        distances = np.array([1 << (small - 1 - i) if i < small else TAIL for i in range(LOG_TAIL + 1)], dtype=np.int32)
        _, (p, q) = _top(p, q, distances)
        p, q = (tuple(np.asarray(c) for c in table) for table in (p, q))
        for i in range(small):
            size = 1 << (small - i)
            self._layers.append(((*halves(tuple(c[i, :size] for c in p)), *halves(tuple(c[i, :size] for c in q))), identity))
        self.root = tuple(Ext(*(int(c[small, 0]) for c in table)) for table in (p, q))

    def rounds(self, point: list[Ext], scale: Ext) -> Rounds:
        """The sumcheck of the next layer: tables p0, q1, q0, p1 + scale q1, weighted by eq(point)."""
        given, view = self._layers.pop()
        num_vars, scale = len(point), ext.stack([scale])
        if num_vars <= LOG_TAIL:
            p0, p1, q0, q1 = (tuple(np.asarray(c) for c in table) for table in view(*given))
            q1_scaled = ext.mul(q1, scale)
            given, view = (p0, q1, q0, ext.add(p1 if len(p1) == 2 else ext.from_base(*p1), q1_scaled)), identity
        elif view is leaf_halves:
            given, view = (*given, _combine(given, scale, view=view)), _leaf_tables
        else:
            p0, _, q0, q1 = given
            given = (p0, q1, q0, _combine(given, scale, view=view))
        return Rounds(cross, (0, INFINITY), num_vars, given, point, view)
