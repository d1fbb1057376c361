"""The tree of fractions under a lookup argument: its layers, built from the leaves up and handed out from the root down.

Half of all work is at the leaves, where almost all numerators are 1. There the sum of two fractions is, with u = q0 + 1/lambda and
w = q1 + 1/lambda,

    p0 q1 + q0 (p1 + lambda q1)  =  lambda u w - 1/lambda + (p0 - 1) q1 + (p1 - 1) q0:

a product of two tables instead of two products of four, and a rest at the few leaves with another numerator.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ..algebra import extension as ext
from ..algebra import field, poly
from ..algebra.extension import ONE, Ext
from ..algebra.poly import eq_vector
from .jit import jit
from .products import add, inner_products
from .sumcheck import ALWAYS, INFINITY, Rounds, accumulate, cross, fold_pair, lane_sums, product
from .threads import in_parallel
from .tiles import LOG_TAIL, TAIL, Tiles, constant_pair, cut, joined, tile_size, zero_pair


@jit
def _parents(left, right):
    """The nodes above a tile of left and a tile of right children: p0/q0 + p1/q1 each."""
    (p0, q0), (p1, q1) = left, right
    return inner_products([(p0, q1), (p1, q0)]), inner_products([(q0, q1)])


@jit
def _leaf_parents(q0, q1):
    """The same where all numerators are 1."""
    return add(q0, q1), inner_products([(q0, q1)])


@jit
def _with_excess(p, left, right):
    """Numerators of parents, where the children's numerators are 1 plus an excess: (excess, denominators) each."""
    (d0, q0), (d1, q1) = left, right
    return add(p, inner_products([(d0, q1), (d1, q0)]))


@jit
def _top(p, q, distances):
    """All layers above 2^12 nodes or fewer, in one loop of fixed shape: (p, q), K pairs of uint64[13, 2^12].

    distances: half the number of nodes of each layer, from below. Entries beyond a layer's nodes are garbage.
    """

    def level(nodes, distance):
        def right(table):
            return tuple(jax.lax.dynamic_slice_in_dim(jnp.pad(c, (0, TAIL)), distance, TAIL) for c in table)

        p, q = nodes
        return (inner_products([(p, right(q)), (right(p), q)]), inner_products([(q, right(q))])), nodes

    return jax.lax.scan(level, (p, q), distances)


class Tree:
    """Layers of sums of fractions over 2^num_vars leaves; children are the halves of an array.

    leaves: (excess, q), numerators less 1 (F) and denominators (K), arrays or ``Tiles``. A tile of excesses that is None is zero; one of
    denominators that is None is padding, and its leaves are 1/1. Of two children's tiles the left one is there where the right one
    is, and of the last two tiles both.
    root: (P, Q) as Ext. rounds(...) may be called once for each layer, from the root down; a layer is freed then.
    """

    def __init__(self, num_vars: int, leaves):
        excess, q = leaves
        del leaves
        excess = excess if isinstance(excess, Tiles) else Tiles([(excess,)])
        self._layers = []  # [p, q] of 2^(m+1) nodes each, from below, in tiles of the size that sumchecks over 2^m entries use
        self._leaves = None  # [excess, q] instead of the layer of the leaves, if they are many
        if num_vars > LOG_TAIL:
            self._leaves = [_sized(excess, num_vars - 1, (0,)), _sized(q, num_vars - 1, (1, 0))]
            nodes = self._above_leaves(*self._leaves)
        else:
            nodes = [(field.add(np.asarray(excess[0][0]), np.ones(1, np.uint64)),), q]
        del excess, q
        for m in range(num_vars - 2, LOG_TAIL - 1, -1):
            nodes = [cut(table, tile_size(m)) for table in nodes]
            self._layers.append(nodes)
            nodes = self._above(*nodes, len(self._layers))
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
    def _above(p: Tiles, q: Tiles, height: int) -> list[Tiles]:
        size = len(p[0][0])
        padding = [constant_pair(Ext(x), size) for x in (1 << height, 1)]

        def parents(i: int, j: int):
            return _parents((p[i], q[i]), padding if p[j] is None else (p[j], q[j]))

        return _pairwise(parents, q)

    @staticmethod
    def _above_leaves(excess: Tiles, q: Tiles) -> list[Tiles]:
        size = len(q[0][0])

        def parents(i: int, j: int):
            right = q[j] or constant_pair(ONE, size)
            p, product_ = _leaf_parents(q[i], right)
            if excess[i] or excess[j]:
                p = _with_excess(p, (_full(excess[i], size), q[i]), (_full(excess[j], size), right))
            return p, product_

        return _pairwise(parents, q)

    def rounds(self, point: list[Ext], scale: Ext):
        """The sumcheck of the next layer: tables p0, q1, q0, p1 + scale q1, weighted by eq(point)."""
        if not self._layers:
            leaves, self._leaves = self._leaves, None
            return LeafRounds(point, scale, *leaves)
        p, q = self._layers.pop()
        half, total = len(p) // 2, Ext(1 << len(self._layers) + 1)  # of the leaves below a node
        tables = tuple(Tiles(part) for part in (p[:half], q[half:], q[:half], p[half:]))
        missing = [total, ONE, ONE, total], total + total + scale
        return Rounds(cross, (0, INFINITY), len(point), tables, point, scale=scale, missing=missing)


class LeafRounds(Rounds):
    """The sumcheck of the leaves' layer, as ``Rounds`` of p0, q1, q0, p1 + scale q1: the product u w, and the rest where it is.

    point, scale: as for ``Tree.rounds``. excess, q: the leaves, in tiles.
    """

    def __init__(self, point: list[Ext], scale: Ext, excess: Tiles, q: Tiles):
        self._lambda, self._inverse = scale, scale.inverse()
        half, size = len(q) // 2, q[0][0].shape[0]
        pairs = enumerate(zip(excess[:half], excess[half:], strict=True))
        self._excess: dict = {i: tuple(_full(d, size) for d in pair) for i, pair in pairs if any(d is not None for d in pair)}
        missing = [ONE, ONE], (1 + self._inverse) * (1 + self._inverse)
        tables = Tiles(q[:half]), Tiles(q[half:])
        super().__init__(product, (0, INFINITY), len(point), tables, point, shift=self._inverse, missing=missing)
        if self._in_tail:
            self._short_excess = tuple(map(joined, self._excess_of(0, size)))

    def message(self) -> list[Ext]:
        """At 0 and infinity. The eq factors of a round add up to 1, hence the constant."""
        r = self._challenge
        at_0, leading = super().message()
        rest = self._short_rest(r) if self._in_tail else self._rest(r)
        return [at_0 * self._lambda - self._inverse + rest[0], leading * self._lambda + rest[1]]

    def fold(self, r: Ext) -> None:
        """Bind the round's variable to ``r``."""
        in_tail, size = self._in_tail, self._size
        super().fold(r)
        if in_tail:
            return
        if self._in_tail:
            self._fold_excess(1, r)
            self._short_excess = tuple(map(joined, self._excess_of(0, TAIL)))
        elif self._size != size:
            cuts = {i: [cut(d, self._size) for d in pair] for i, pair in self._excess.items()}
            self._excess = {i * len(a) + j: pair for i, (a, b) in cuts.items() for j, pair in enumerate(zip(a, b, strict=True))}

    def values(self) -> list:
        """After the last fold: p0, q1, q0 and p1 + scale q1 at the point."""
        u, w = super().values()
        (d0, d1), r = self._short_excess, self._challenge
        if r is not None:
            d0, d1 = (poly.fold(d, ext.stack([r])) for d in (d0, d1))
        q0, q1 = u - self._inverse, w - self._inverse
        return [ext.unstack(d0)[0] + 1, q1, q0, ext.unstack(d1)[0] + 1 + self._lambda * q1]

    def _excess_of(self, i: int, size: int):
        return self._excess.get(i, (zero_pair(size),) * 2)

    def _fold_excess(self, count: int, r: Ext) -> None:
        """From 2 * count tiles to count."""
        pairs = {i % count: tuple(self._excess_of(i % count + j, self._size) for j in (0, count)) for i in self._excess}
        self._excess = {i: fold_pair(*pair, np.stack(ext.stack([r])), None) for i, pair in pairs.items()}

    def _rest(self, r: Ext | None) -> list[Ext]:
        """The rest's part of a message, from the tiles that the message has left."""
        if r is not None:
            self._fold_excess(len(self._tiles), r)
        pairs, totals = len(self._tiles) // 2, [zero_pair(self._size)] * 2
        weights = np.stack(self._row_weights)
        shift = np.stack(ext.stack([self._inverse])) if self._shift is None else None
        for i in sorted({i % pairs for i in self._excess}):
            sides = [(self._tile(j), self._excess_of(j, self._size)) for j in (i, i + pairs)]
            totals = _rest_part(*sides, shift, [weights[:, i : i + 1]], totals, ALWAYS)
        return [Ext(*row) for row in np.asarray(lane_sums(totals, self._lane_weights, ALWAYS)).tolist()]

    def _short_rest(self, r: Ext | None) -> list[Ext]:
        if r is not None:
            self._short_excess = tuple(poly.fold(d, ext.stack([r])) for d in self._short_excess)
        tables = np.asarray(self._tables)
        tables = tables[..., :: tables.shape[-1] >> self._num_vars]
        u, w = (ext.sub(tuple(table), ext.stack([self._inverse])) for table in tables.swapaxes(0, 1))
        (d0, d1), half = self._short_excess, len(u[0]) // 2
        low, high = ([tuple(c[part] for c in x) for x in (d0, w, u, d1)] for part in (slice(half), slice(half, None)))
        step = [ext.sub(b, a) for a, b in zip(low, high, strict=True)]
        weights = eq_vector(self._point_of_others())
        return [ext.dot(weights, ext.add(ext.mul(a, b), ext.mul(c, d))) for a, b, c, d in (low, step)]

    def _point_of_others(self) -> list[Ext]:
        """The elements of the point after the round's own."""
        return self._eq_point[len(self._eq_point) - self._num_vars + 1 :]


@jit
def _rest_part(low, high, shift, weights, totals, always):
    """totals + weight * (d0 q1 + d1 q0) at 0 and infinity. low, high: ((u, w), (d0, d1)); shift: what u and w have more than q."""

    def tables(side):
        (u, w), (d0, d1) = side
        if shift is not None:
            u, w = (tuple(field.sub(c, s) for c, s in zip(x, (shift[0], shift[1]), strict=True)) for x in (u, w))
        return d0, w, u, d1

    return accumulate([tables(low)], [tables(high)], weights, totals, always, cross, (0, INFINITY))


def _sized(table, num_vars: int, fill: tuple[int, ...]) -> Tiles:
    """Tiles for sumchecks over 2^num_vars entries, from an array or from blocks, of which some are None."""
    size = tile_size(num_vars)
    length = len(next(x for x in table if x is not None)[0]) if isinstance(table, Tiles) else size
    if size <= length:
        return cut(table, size)
    blocks = [x or tuple(np.full(length, c, np.uint64) for c in fill) for x in table]
    return Tiles(joined(Tiles(blocks[i : i + size // length])) for i in range(0, len(blocks), size // length))


def _pairwise(parents, children: Tiles) -> list[Tiles]:
    """Tiles of numerators and denominators, each ``parents(i, j)`` of the children's tiles i and j, where these are not padding."""
    half = len(children) // 2
    found, there = [(None, None)] * half, [i for i in range(half) if children[i] is not None]

    def work(part):
        for k in part:
            found[there[k]] = parents(there[k], there[k] + half)

    in_parallel(work, len(there))
    return [Tiles(column) for column in zip(*found, strict=True)]


def _full(excess, size: int):
    """A tile of excesses over K."""
    return zero_pair(size) if excess is None else (excess[0], zero_pair(size)[0])
