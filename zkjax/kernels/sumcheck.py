"""The prover's work in a sumcheck: messages and folds of tables, on the device.

``Rounds`` holds the tables of one sumcheck and is the same for every relation. Three habits of XLA on a CPU shape it:
sums fused with the products they add up run ten times slower, so they are jits of their own; the components of a pair
are computed separately, so weights are applied after the products have been stored; and each shape costs a compilation,
so the last 2^10 entries run in one jitted step of fixed shape that shifts by a traced distance.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .. import extension as ext
from .. import field
from ..extension import Ext
from .products import add, difference, fold, halves, inner_products

INFINITY = None  # as a point: the leading coefficient
LOG_TAIL = 10
TAIL = 1 << LOG_TAIL  # entries; shorter tables run in the step of fixed shape, sums end in this many lanes


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


def identity(*tables):
    """The tables are what was given."""
    return tables


# ---- one round --------------------------------------------------------------------------------------------------
def _is_table(node) -> bool:
    return isinstance(node, tuple) and not isinstance(node[0], (tuple, list))


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


@partial(jax.jit, static_argnames=("view", "relation", "points"))
def _evaluate(given, *, view, relation, points):
    tables = view(*given)
    return _at_points(relation, points, _map(lambda t: halves(t)[0], tables), _map(lambda t: halves(t)[1], tables))


@jax.jit
def _weigh(value, weights):
    """Multiply row i of a K array, in rows of 2^10 entries, by the K weight i."""
    return inner_products([(tuple(c.reshape(-1, TAIL) for c in value), tuple(c[:, None] for c in weights))])


@jax.jit
def _sum(value, weights):
    """Sum of a K array, its 2^10 lanes weighted if weights are given: uint64[2]."""
    lanes = []
    for c in value:
        c = c.reshape(-1)
        while c.shape[0] > TAIL:
            c = field.add(c[: c.shape[0] // 2], c[c.shape[0] // 2 :])
        lanes.append(c)
    return field.sum(jnp.stack(lanes if weights is None else inner_products([(tuple(lanes), weights)])), axis=-1)


@partial(jax.jit, static_argnames=("view",))
def _fold(given, r, *, view):
    return _map(lambda table: fold(*halves(table), r), view(*given))


def _stored(condition, function, *arguments):
    """function(*arguments), or zeros where the condition is false.

    XLA does not fuse across a branch whose condition it does not know. With a condition that always holds this is a
    barrier: the results are stored, and not computed again for each of their uses.
    """
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(function, *arguments))
    return jax.lax.cond(condition, function, lambda *_: zeros, *arguments)


@partial(jax.jit, static_argnames=("structure", "relation", "points"))
def _step(tables, weights, scalars, *, structure, relation, points):
    """One round in fixed shape: fold by the last challenge, then the message.

    tables: uint64[2, k, 2^10], weights: uint64[2, 2^10], the eq table of the tables' variables, or None. A table of 2^v
    entries stands with stride 2^(10-v) between zeros, so that its halves are always the array's halves.
    scalars: uint64[4], the challenge r, 1 to fold by it (0 before the first round), and 1.
    """
    half = TAIL // 2

    def spread(low):
        return jnp.stack([jnp.stack([c, jnp.zeros_like(c)], axis=-1).reshape(*c.shape[:-1], TAIL) for c in low])

    def folded(tables):
        return spread(fold(tuple(tables[..., :half]), tuple(tables[..., half:]), (scalars[0:1], scalars[1:2])))

    def evaluated(tables):
        low, high = (structure.unflatten(zip(*part)) for part in (tables[..., :half], tables[..., half:]))
        return jnp.stack([jnp.stack(value) for value in _at_points(relation, points, low, high)])

    tables = jax.lax.cond(scalars[2] == 1, folded, lambda tables: tables, tables)
    values = _stored(scalars[3] == 1, evaluated, tables)
    if weights is not None:
        weights = add(tuple(weights[:, :half]), tuple(weights[:, half:]))  # sums over the bit that is now the round's own
        values = jnp.stack(inner_products([((values[:, 0], values[:, 1]), weights)]), axis=1)
        weights = spread(weights)
    return tables, weights, field.sum(values, axis=-1)


def _spread(table):
    """A short table as ``_step`` wants it: uint64[2, 2^10] in NumPy."""
    result = np.zeros((2, TAIL), dtype=np.uint64)
    for target, source in zip(result, table):
        target[:: TAIL // len(source)] = np.asarray(source)
    return result


@jax.jit
def _eq_tail(point):
    """eq table of ten variables, uint64[2, 2^10], from point: uint64[2, 2, 5], the components of two times five variables."""

    def bind(v, table):
        r = tuple(jax.lax.dynamic_slice_in_dim(point, v, 1, axis=-1))
        one = (jnp.ones_like(r[0]), jnp.zeros_like(r[0]))
        bit = (jnp.arange(32) >> (4 - v)) & 1
        return inner_products([(table, tuple(jnp.where(bit == 1, a, b) for a, b in zip(r, difference(one, r))))])

    ones = jnp.ones((2, 32), jnp.uint64)
    table = jax.lax.fori_loop(0, 5, bind, (ones, jnp.zeros_like(ones)))
    outer = inner_products([(tuple(c[0, :, None] for c in table), tuple(c[1, None] for c in table))])
    return jnp.stack(outer).reshape(2, TAIL)


def eq_tables(point: list[Ext]):
    """NumPy eq tables of the last ten variables and of those before (None if there are none)."""
    last, before = point[-LOG_TAIL:], point[:-LOG_TAIL]
    padded = np.stack(ext.stack([Ext(0)] * (LOG_TAIL - len(last)) + last)).reshape(2, 2, 5)
    table = tuple(np.asarray(_eq_tail(padded))[:, : 1 << len(last)])
    if not before:
        return table, None
    low, high = eq_tables(before)
    if high is None:
        return table, low
    return table, tuple(c.reshape(-1) for c in ext.mul(tuple(c[:, None] for c in high), tuple(c[None] for c in low)))


class Rounds:
    """Prover's tables of one sumcheck, sum over x of [eq(eq_point, x)] relation(tables(x)), variable 0 bound first.

    relation: static function of tables. points: where a message evaluates the round's polynomial (without the eq factor
    of the variables bound so far and of the current one). given, view: ``view(*given)`` are the tables of length
    2^num_vars, applied inside the first round's jits so that slices cost no copy. Tables are freed as they are folded.
    Recompiles for: relation, view, points, which tables are over F, and each length above 2^10.
    """

    def __init__(self, relation, points, num_vars: int, given, eq_point: list[Ext] | None = None, view=identity):
        self._relation, self._points, self._num_vars, self._view = relation, points, num_vars, view
        self._tables = given
        self._weights, self._row_weights = (None, None) if eq_point is None else eq_tables(eq_point)
        self._challenge = None  # in the tail: the one that tables are still to be folded by
        self._in_tail = False
        self._enter_tail()

    def _enter_tail(self):
        """Short tables move to the host, until the first step of fixed shape."""
        if self._num_vars <= LOG_TAIL:
            tables, self._structure = jax.tree.flatten(self._view(*self._tables), is_leaf=_is_table)
            self._tables = np.stack([_spread(table) for table in tables], axis=1)
            self._weights = self._weights and _spread(self._weights)
            self._in_tail = True

    def message(self) -> list[Ext]:
        """The next round's polynomial at the points."""
        if self._in_tail:
            r = self._challenge
            scalars = np.array([0, 0, 0, 1] if r is None else [r.c0, r.c1, 1, 1], dtype=np.uint64)
            self._tables, self._weights, sums = _step(
                self._tables,
                self._weights,
                scalars,
                structure=self._structure,
                relation=self._relation,
                points=self._points,
            )
        else:
            values = _evaluate(self._tables, view=self._view, relation=self._relation, points=self._points)
            if self._row_weights is not None:
                self._row_weights = ext.add(*halves(self._row_weights))  # sums over the bit that is now the round's own
                values = [_weigh(value, self._row_weights) for value in values]
            sums = jax.device_get([_sum(value, self._weights) for value in values])
        return [Ext(*row) for row in np.asarray(sums).tolist()]

    def fold(self, r: Ext) -> None:
        """Bind the round's variable to ``r``."""
        self._num_vars -= 1
        if self._in_tail:
            self._challenge = r
            return
        r = ext.stack([r])
        if self._view is identity:  # one by one: all tables of all sumchecks share one compilation
            self._tables = _map(lambda table: _fold((table,), r, view=identity)[0], self._tables)
        else:
            self._tables, self._view = _fold(self._tables, r, view=self._view), identity
        self._enter_tail()

    def values(self) -> list:
        """After the last fold: the tables' values at the point, as Ext."""
        tables = np.asarray(self._tables)
        low, high = ([Ext(*c) for c in tables[..., i].T.tolist()] for i in (0, TAIL // 2))
        r = self._challenge
        return low if r is None else [a + (b - a) * r for a, b in zip(low, high)]
