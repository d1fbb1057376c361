"""The tree of fractions under a lookup argument: its layers, built from the leaves up and handed out from the root down."""

import jax
import jax.numpy as jnp
import numpy as np

from .. import extension as ext
from ..extension import Ext
from .jit import jit
from .products import inner_products
from .sumcheck import INFINITY, Rounds, cross
from .tiles import LOG_TAIL, TAIL, Tiles, cut, in_parallel, joined, tile_size


@jit
def _parents(left, right):
    """The nodes above a tile of left and a tile of right children: p0/q0 + p1/q1 each."""
    (p0, q0), (p1, q1) = left, right
    return inner_products([(p0, q1), (p1, q0)]), inner_products([(q0, q1)])


@jit
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
    """Layers of sums of fractions over 2^num_vars leaves (p: table over F, q: over K); children are the halves of an array.

    root: (P, Q) as Ext. rounds(...) may be called once for each layer, from the root down; a layer is freed then.
    """

    def __init__(self, num_vars: int, leaves):
        nodes = [leaves[0] if isinstance(leaves[0], Tiles) else (leaves[0],), leaves[1]]
        del leaves
        self._layers = []  # [p, q] of 2^(m+1) nodes each, from below, in tiles of the size that sumchecks over 2^m entries use
        for m in range(num_vars - 1, LOG_TAIL - 1, -1):
            nodes = [cut(table, tile_size(m)) for table in nodes]
            self._layers.append(nodes)
            nodes = self._above(*nodes)
        small = min(num_vars, LOG_TAIL)
        p, q = (joined(table) for table in nodes)
        p = p if len(p) == 2 else ext.from_base(*p)
        p, q = (tuple(np.pad(c, (0, TAIL - len(c))) for c in table) for table in (p, q))
        distances = np.array([1 << (small - 1 - i) if i < small else TAIL for i in range(LOG_TAIL + 1)], dtype=np.int32)
        _, (p, q) = _top(p, q, distances)
        p, q = (tuple(np.asarray(c) for c in table) for table in (p, q))
        for i in range(small):
            size = 1 << (small - i)
            self._layers.append([cut(tuple(c[i, :size] for c in table), size // 2) for table in (p, q)])
        self.root = tuple(Ext(*(int(c[small, 0]) for c in table)) for table in (p, q))

    @staticmethod
    def _above(p: Tiles, q: Tiles) -> list[Tiles]:
        half = len(p) // 2
        parents = [None] * half

        def work(part):
            for i in part:
                parents[i] = _parents((p[i], q[i]), (p[i + half], q[i + half]))

        in_parallel(work, half)
        return [Tiles(column) for column in zip(*parents, strict=True)]

    def rounds(self, point: list[Ext], scale: Ext) -> Rounds:
        """The sumcheck of the next layer: tables p0, q1, q0, p1 + scale q1, weighted by eq(point)."""
        p, q = self._layers.pop()
        half = len(p) // 2
        tables = tuple(Tiles(part) for part in (p[:half], q[half:], q[:half], p[half:]))
        return Rounds(cross, (0, INFINITY), len(point), tables, point, scale)
