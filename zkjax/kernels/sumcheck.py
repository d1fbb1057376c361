"""The prover's work in a sumcheck: messages and folds of tables, on the device.

``Rounds`` holds the tables of one sumcheck and is the same for every relation. Tables are lists of tiles of fixed length,
for three reasons: every round of every length runs the same few kernels, so little has to be compiled; a fold and the next
message are one pass over memory; and what a kernel touches stays in the cache. The last 2^12 entries run in steps of two
fixed shapes. XLA computes the components of a pair separately, so results are stored before they are weighted.
"""

from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np

from ..algebra import extension as ext
from ..algebra import field
from ..algebra.extension import Ext
from .eq import eq_table
from .jit import jit
from .products import ALWAYS, add, difference, fold, halves, inner_products, stored
from .threads import in_parallel
from .tiles import LOG_SHORT, LOG_TAIL, SHORT, TAIL, Tiles, constant_pair, cut, joined, tile_size, zero_pair

INFINITY = None  # as a point: the leading coefficient
_GROUP = 4  # tiles of one call


# ---- relations: values of tables at a point to values of what is summed -----------------------------------------
def product(left, right):
    """left * right."""
    return inner_products([(left, right)])


def gated(gate, weights, values):
    """gate * sum of weights[k] * values[k]."""
    return inner_products([(gate, inner_products(list(zip(weights, values, strict=True))))])


def cross(p0, q1, q0, s):
    """p0 q1 + q0 s: the sum of two fractions, numerator and denominator combined in s = p1 + lambda q1."""
    return inner_products([(p0, q1), (q0, s)])


# ---- one round --------------------------------------------------------------------------------------------------
def _is_table(node) -> bool:
    return isinstance(node, Tiles) or isinstance(node, tuple) and not isinstance(node[0], (tuple, list))


def _map(function, *trees):
    return jax.tree.map(function, *trees, is_leaf=_is_table)


def _at_points(relation, points, low, high):
    """The relation at variable 0 = each of ``points``, entry by entry. points: 0, 2, 3, ... in order, or INFINITY."""
    step = _map(difference, high, low)
    results, value, at = [], low, 0
    for point in points:
        if point is INFINITY:
            results.append(relation(*step))
            continue
        while at < point:
            value, at = _map(add, value, step), at + 1
        results.append(relation(*value))
    return results


def accumulate(lows, highs, weights, totals, always, relation, points):
    """totals + sum over tiles of weight * the relation at the points, entry by entry.

    lows, highs: the tables of a group of tiles; weights: a K pair for each of them, or None; totals: a K array per point.
    """

    def evaluated(lows, highs):
        return [_at_points(relation, points, low, high) for low, high in zip(lows, highs, strict=True)]

    values = list(zip(*stored(always, evaluated, lows, highs), strict=True))
    if weights is None:
        sums = [reduce(add, column) for column in values]
    else:
        sums = [inner_products([((w[0], w[1]), value) for w, value in zip(weights, column, strict=True)]) for column in values]
    return [add(t, v) for t, v in zip(totals, sums, strict=True)]


@partial(jit, static_argnames=("relation", "points"))
def _first(lows, highs, scale, shift, weights, totals, always, *, relation, points):
    """A first message's part: (last tables plus scale times the second ones, if a scale is given; totals)."""
    combined = None
    if shift is not None:
        lows, highs = _shifted(lows, shift), _shifted(highs, shift)
    if scale is not None:

        def scaled(lows, highs):
            return [[add(t[-1], inner_products([((scale[0], scale[1]), t[1])])) for t in pair] for pair in zip(lows, highs, strict=True)]

        combined = stored(always, scaled, lows, highs)
        lows = [(*low[:-1], last[0]) for low, last in zip(lows, combined, strict=True)]
        highs = [(*high[:-1], last[1]) for high, last in zip(highs, combined, strict=True)]
    return combined, accumulate(lows, highs, weights, totals, always, relation, points)


@partial(jit, static_argnames=("relation", "points"))
def _next(quarters, r, shift, weights, totals, always, *, relation, points):
    """Fold the tables' quarters, of each tile of a group, to halves by r, and the following message's part: (lows, highs, totals)."""
    challenge = r[0], r[1]

    def folded(quarters):
        halves_ = [[_map(lambda x, y: fold(x, y, challenge), low, high) for low, high in ((a, c), (b, d))] for a, b, c, d in quarters]
        return halves_ if shift is None else _shifted(halves_, shift)

    lows, highs = zip(*stored(always, folded, quarters), strict=True)
    return lows, highs, accumulate(lows, highs, weights, totals, always, relation, points)


def _shifted(tables, shift):
    return _map(lambda table: add(table, (shift[0], shift[1])), tables)


@jit
def fold_pair(low, high, r, shift):
    """Tables of one tile from those of two: low + r (high - low), plus the shift if one is given."""
    folded = _map(lambda x, y: fold(x, y, (r[0], r[1])), low, high)
    return folded if shift is None else _shifted(folded, shift)


@jit
def lane_sums(totals, weights, always):
    """Sums of K arrays over their entries, weighted if weights are given: uint64[len(totals), 2]."""
    if weights is not None:
        totals = stored(always, lambda totals: [inner_products([(total, weights)]) for total in totals], totals)

    def lanes(c):
        while c.shape[0] > TAIL:
            c = field.add(c[: c.shape[0] // 2], c[c.shape[0] // 2 :])
        return c

    return field.sum(jnp.stack([jnp.stack([lanes(c) for c in total]) for total in totals]), axis=-1)


@jit
def _added(a, b):
    return [add(x, y) for x, y in zip(a, b, strict=True)]


@partial(jit, static_argnames=("structure", "relation", "points"))
def _step(tables, weights, scalars, *, structure, relation, points):
    """One round in fixed shape: fold by the last challenge, then the message.

    tables: uint64[2, k, n], weights: uint64[2, n], the eq table of the tables' variables, or None. A table of m entries stands
    with stride n / m between zeros, so that its halves are always the array's halves.
    scalars: uint64[4], the challenge r, 1 to fold by it (0 before the first round), and 1.
    """
    width = tables.shape[-1]
    half = width // 2

    def spread(low):
        return jnp.stack([jnp.stack([c, jnp.zeros_like(c)], axis=-1).reshape(*c.shape[:-1], width) for c in low])

    def folded(tables):
        return spread(fold(tuple(tables[..., :half]), tuple(tables[..., half:]), (scalars[0:1], scalars[1:2])))

    def evaluated(tables):
        low, high = (structure.unflatten(zip(*part)) for part in (tables[..., :half], tables[..., half:]))
        return jnp.stack([jnp.stack(value) for value in _at_points(relation, points, low, high)])

    tables = jax.lax.cond(scalars[2] == 1, folded, lambda tables: tables, tables)
    values = stored(scalars[3] == 1, evaluated, tables)
    if weights is not None:
        weights = add(tuple(weights[:, :half]), tuple(weights[:, half:]))  # sums over the bit that is now the round's own
        values = jnp.stack(inner_products([((values[:, 0], values[:, 1]), weights)]), axis=1)
        weights = spread(weights)
    return tables, weights, field.sum(values, axis=-1)


def _groups(part, size: int):
    """Positions of long tiles in fours, the rest alone: short ones are few, and a group would be compiled for them too."""
    whole = len(part) - len(part) % _GROUP if size > TAIL else 0
    yield from (part[i : i + _GROUP] for i in range(0, whole, _GROUP))
    yield from ([i] for i in part[whole:])


def _spread(table, width: int):
    """A short table as ``_step`` wants it: uint64[2, width] in NumPy."""
    result = np.zeros((2, width), dtype=np.uint64)
    for target, source in zip(result, table):
        target[:: width // len(source)] = np.asarray(source)
    return result


class Rounds:
    """Prover's tables of one sumcheck, sum over x of [eq(eq_point, x)] relation(tables(x)), variable 0 bound first.

    relation: static function of tables. points: where a message evaluates the round's polynomial (without the eq factor
    of the variables bound so far and of the current one). tables: tree of tables of 2^num_vars entries, each an array or a
    list of tiles (``tile_size``). scale: if given, the last table stands for itself plus scale times the second one. shift: if
    given, each table stands for itself plus the shift. missing: what tiles that are None hold, (for each table over K an element, the
    relation's value); of two tiles that meet in a round the first one is there where the second one is, and of the last two both.

    Long tables are lists of tiles: a round folds a tile's worth of entries and adds up the next message's part while they
    are in the cache, and every round of every length runs the same few kernels.
    Recompiles for: relation, points, which tables are over F.
    """

    def __init__(self, relation, points, num_vars: int, tables, eq_point: list[Ext] | None = None, *, scale=None, shift=None, missing=None):
        self._relation, self._points, self._num_vars, self._eq_point = relation, points, num_vars, eq_point
        self._scale, self._shift = (None if c is None else np.stack(ext.stack([c])) for c in (scale, shift))
        self._missing = missing
        self._challenge = None  # that tables are still to be folded by
        self._size = tile_size(num_vars)
        self._in_tail = False
        leaves, self._structure = jax.tree.flatten(tables, is_leaf=_is_table)
        if num_vars <= LOG_TAIL:
            self._enter_tail([joined(leaf) for leaf in leaves])
        else:
            self._set_tiles(leaves)

    def _set_tiles(self, tables):
        """Tables in tiles of this size, one tree of tables for each tile."""
        columns = [cut(table, self._size) for table in tables]
        self._tiles = []
        for row in zip(*columns, strict=True):
            whole = [x if y is None else y for x, y in zip(self._fill(), row, strict=True)] if any(row) and None in row else row
            self._tiles.append(self._structure.unflatten(whole) if any(row) else None)
        self._set_weights()

    def _set_weights(self):
        """Eq tables of a tile's own variables, and of those that number the tiles (without the bound ones)."""
        self._lane_weights = self._row_weights = None
        if self._eq_point is not None:
            rest = self._eq_point[len(self._eq_point) - self._num_vars :]
            own = len(rest) - (self._size.bit_length() - 1)
            self._lane_weights, self._row_weights = eq_table(rest[own:]), eq_table(rest[:own])

    def message(self) -> list[Ext]:
        """The next round's polynomial at the points."""
        if self._in_tail:
            return self._tail_message()
        pairs = len(self._tiles) // (2 if self._challenge is None else 4)
        if self._row_weights is not None:
            self._row_weights = ext.add(*halves(self._row_weights))  # sums over the bit that is now the round's own
            stacked = np.stack(self._row_weights)

        def weights(group):
            return None if self._row_weights is None else [stacked[:, i : i + 1] for i in group]

        step = self._first if self._challenge is None else self._next
        there = [i for i in range(pairs) if self._tiles[i] is not None]
        totals = in_parallel(lambda part: step([there[k] for k in part], pairs, weights), len(there))
        while len(totals) > 1:
            totals[:2] = [_added(*totals[:2])]
        sums = [Ext(*row) for row in np.asarray(lane_sums(totals[0], self._lane_weights, ALWAYS)).tolist()]
        if self._missing:
            sums = self._with_missing(sums, there)
        if self._challenge is not None:
            del self._tiles[2 * pairs :]
            self._shift = None
        self._challenge = self._scale = None
        return sums

    def _with_missing(self, sums: list[Ext], there: list[int]) -> list[Ext]:
        """What pairs of tiles that are None add to a message; and what such tiles hold from now on."""
        constants, value = self._missing
        weights = tuple(np.delete(c, there) for c in self._row_weights)
        part = value * Ext(*(int(c) for c in ext.sum(weights))) if len(weights[0]) else Ext(0)
        if self._scale is not None:
            *others, last = constants
            constants = [*others, last + constants[1] * Ext(*self._scale[:, 0].tolist())]
        if self._shift is not None and self._challenge is not None:
            constants = [x + Ext(*self._shift[:, 0].tolist()) for x in constants]
        self._missing = constants, value
        return [x if point is INFINITY else x + part for x, point in zip(sums, self._points, strict=True)]

    def _tile(self, i: int):
        """Tables of a tile, those of a missing one written out."""
        return self._structure.unflatten(self._fill()) if self._tiles[i] is None else self._tiles[i]

    def _fill(self) -> list:
        """The tables of a tile that is missing."""
        return [constant_pair(value, self._size) for value in self._missing[0]]

    def _zeros(self) -> list:
        return [zero_pair(self._size)] * len(self._points)

    def _first(self, part, pairs: int, weights):
        totals = self._zeros()
        for group in _groups(part, self._size):
            lows, highs = ([self._tile(i + j) for i in group] for j in (0, pairs))
            options = {"relation": self._relation, "points": self._points}
            combined, totals = _first(lows, highs, self._scale, self._shift, weights(group), totals, ALWAYS, **options)
            if combined is not None:
                for i, low, high, last in zip(group, lows, highs, combined, strict=True):
                    self._tiles[i], self._tiles[i + pairs] = (*low[:-1], last[0]), (*high[:-1], last[1])
        return totals

    def _next(self, part, pairs: int, weights):
        totals, r = self._zeros(), np.stack(ext.stack([self._challenge]))
        for group in _groups(part, self._size):
            quarters = [tuple(self._tile(i + j * pairs) for j in range(4)) for i in group]
            options = {"relation": self._relation, "points": self._points}
            lows, highs, totals = _next(quarters, r, self._shift, weights(group), totals, ALWAYS, **options)
            for i, low, high in zip(group, lows, highs, strict=True):
                self._tiles[i], self._tiles[i + pairs] = low, high
                self._tiles[i + 2 * pairs] = self._tiles[i + 3 * pairs] = None
        return totals

    def fold(self, r: Ext) -> None:
        """Bind the round's variable to ``r``."""
        self._num_vars -= 1
        self._challenge = r
        if self._in_tail or len(self._tiles) > 2:
            return
        if self._size > TAIL:  # the last two tiles go on as many small ones
            self._size = TAIL
            self._set_tiles([Tiles(column) for column in zip(*map(self._structure.flatten_up_to, self._tiles), strict=True)])
        else:
            last = fold_pair(*self._tiles, np.stack(ext.stack([r])), self._shift)
            self._challenge = self._shift = None
            self._enter_tail([joined(table) for table in self._structure.flatten_up_to(last)])

    def _enter_tail(self, tables):
        """Short tables, as NumPy arrays, until the first step of fixed shape; a last table is combined here."""
        if self._scale is not None:
            second = tables[1] if len(tables[1]) == 2 else ext.from_base(*tables[1])
            last = tables[-1] if len(tables[-1]) == 2 else ext.from_base(*tables[-1])
            tables[-1] = ext.add(last, ext.mul(second, tuple(self._scale)))
            self._scale = None
        if self._shift is not None:
            wide = (table if len(table) == 2 else ext.from_base(*table) for table in tables)
            tables, self._shift = [ext.add(table, tuple(self._shift)) for table in wide], None
        width = SHORT if self._num_vars <= LOG_SHORT else TAIL
        self._tables = np.stack([_spread(table, width) for table in tables], axis=1)
        rest = self._eq_point and self._eq_point[len(self._eq_point) - self._num_vars :]
        self._weights = None if self._eq_point is None else _spread(eq_table(rest), width)
        self._in_tail = True

    def _tail_message(self) -> list[Ext]:
        r = self._challenge
        if self._num_vars < LOG_SHORT and self._tables.shape[-1] > SHORT:
            short = (..., slice(None, None, TAIL // SHORT))
            self._tables = np.asarray(self._tables)[short]
            self._weights = None if self._weights is None else np.asarray(self._weights)[short]
        scalars = np.array([0, 0, 0, 1] if r is None else [r.c0, r.c1, 1, 1], dtype=np.uint64)
        self._tables, self._weights, sums = _step(
            self._tables,
            self._weights,
            scalars,
            structure=self._structure,
            relation=self._relation,
            points=self._points,
        )
        return [Ext(*row) for row in np.asarray(sums).tolist()]

    def values(self) -> list:
        """After the last fold: the tables' values at the point, as Ext."""
        tables = np.asarray(self._tables)
        low, high = ([Ext(*c) for c in tables[..., i].T.tolist()] for i in (0, tables.shape[-1] // 2))
        r = self._challenge
        return low if r is None else [a + (b - a) * r for a, b in zip(low, high)]
