"""Kernels of the opening: inner products and folds of long vectors over K, and rows over F times vectors over K.

Vectors of at most 2^12 entries stay in NumPy. XLA repeats products in every step of a sum, so eight products are added up
with one reduction, and what is left is halved in a jit of its own.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ..algebra import extension as ext
from ..algebra import field
from ..algebra.extension import Ext
from . import products
from .host import LONG, ROWS, dots, multiply, outer_product
from .jit import jit
from .products import GROUP, halving_sum, inner, inner_products, times_vector
from .threads import in_parallel

HOST = 2**12
ADDED = 2**15  # entries of a sum of lanes up to which its many shapes are not compiled for
_PAIRS = 4  # of vectors, multiplied with one reduction


def inner_product(a, b) -> Ext:
    """<a, b> of two K vectors of a power-of-two length. Recompiles for: the length."""
    if a[0].shape[0] <= HOST:
        return ext.dot(_host(a), _host(b))
    c0, c1 = halving_sum(_vector_products(a, b))
    return Ext(int(c0), int(c1))


def round_message(low, high) -> tuple[Ext, Ext]:
    """Constant and leading coefficient of <f, w> in the variable that tells low from high, each a pair (f, w) of K vectors."""
    steps = (scaled_sum(b, a, ext.stack([-1])) for a, b in zip(low, high, strict=True))
    return inner_product(*low), inner_product(*steps)


def fold(low, high, r):
    """low + r (high - low) for K vectors; r: a K pair of shape (1,). Recompiles for: the length."""
    if low[0].shape[0] <= HOST:
        low, high = _host(low), _host(high)
        return ext.add(low, ext.mul(ext.sub(high, low), r))
    return _fold(low, high, r)


def scaled_sum(a, b, r):
    """a + r b for K vectors; r: a K pair of shape (1,). Recompiles for: the length."""
    if a[0].shape[0] <= HOST:
        return ext.add(_host(a), ext.mul(_host(b), r))
    return _scaled_sum(a, b, r)


def lane_products(rows: np.ndarray, lanes: list) -> list:
    """<row, head (x) tail> for every row: K (R,), NumPy, one for each lane.

    rows: F (R, k). Recompiles, above 2^15 entries, for: lengths of head and tail.
    """
    results = [tuple(np.zeros(len(rows), dtype=np.uint64) for _ in range(2)) for _ in lanes]

    starts = range(0, len(rows), ROWS)

    def work(part):
        written = None, None  # a lane, written out once for all rows
        for d, i in (divmod(j, len(starts)) for j in part):
            lane, some = lanes[d], range(starts[i], min(starts[i] + ROWS, len(rows)))
            pieces = [rows[r, lane.start : lane.start + lane.length] for r in some]
            if lane.length > LONG and len(lane.tail[0]) >= GROUP:
                tables = (piece.reshape(-1, len(lane.tail[0])) for piece in pieces)
                products = [ext.dot(lane.head, _host(times_vector(table, lane.tail))) for table in tables]
            else:
                if written[0] != d:
                    written = d, outer_product(lane.head, lane.tail)
                products = dots(written[1], pieces)
            for r, product in zip(some, products, strict=True):
                results[d][0][r], results[d][1][r] = product.c0, product.c1

    in_parallel(work, len(lanes) * len(starts))
    return results


def weighted_rows(weights, rows: np.ndarray):
    """sum of weights[i] * rows[i]: NumPy K (R,) and F (R, k) to K (k,). Recompiles for: k."""
    if rows.shape[1] <= HOST:
        return ext.sum(ext.mul_base(tuple(c[:, None] for c in weights), rows), axis=0)
    padding = (0, -len(rows) % GROUP)
    factors = np.stack([np.pad(c, padding) for c in weights]).reshape(2, -1, GROUP)
    total = (np.zeros(rows.shape[1], np.uint64),) * 2
    for i, group in enumerate(_groups(rows)):
        total = _add_rows(total, group, factors[:, i])
    return total


def sum_of_lanes(lanes: list, factors: list[Ext], length: int):
    """sum of factors[d] * lanes[d], a K vector. Recompiles, above 2^15 entries, for: lengths of head, tail and sum."""
    alike: dict = {}
    for lane, factor in zip(lanes, factors, strict=True):
        head = ext.mul(lane.head, ext.stack([factor]))
        alike.setdefault((lane.start, len(head[0]), len(lane.tail[0])), []).append((head, lane.tail))
    if length > ADDED:
        total = (np.zeros(length, np.uint64),) * 2
        for (start, heads, _), pairs in alike.items():
            if heads == 1:
                for factor, vector in pairs:
                    total = _add_multiple(total, start, factor, vector)
                continue
            whole = len(pairs) // _PAIRS * _PAIRS  # the rest one by one: few kernels
            for some in [pairs[i : i + _PAIRS] for i in range(0, whole, _PAIRS)] + [[pair] for pair in pairs[whole:]]:
                total = _add_at(total, start, _outer_products(some))
        return total
    total = tuple(np.zeros(length, dtype=np.uint64) for _ in range(2))
    for (start, *_), pairs in alike.items():
        for head, tail in pairs:
            part, shape = slice(start, start + len(head[0]) * len(tail[0])), (len(head[0]), len(tail[0]))
            before = tuple(c[part].reshape(shape) for c in total)
            found = multiply(tuple(c[:, None] for c in head), tuple(c[None] for c in tail), before)
            for target, c in zip(total, found, strict=True):
                target[part] = c.reshape(-1)
    return total


def _groups(rows: np.ndarray):
    """Eight rows at a time; the last ones with rows of zeros."""
    for start in range(0, len(rows), GROUP):
        group = rows[start : start + GROUP]
        yield group if len(group) == GROUP else np.pad(group, ((0, GROUP - len(group)), (0, 0)))


def _host(vector):
    return tuple(np.asarray(c) for c in vector)


@jit
def _vector_products(a, b):
    a, b = (tuple(c.reshape(GROUP, -1) for c in x) for x in (a, b))
    return inner_products([(tuple(c[i] for c in a), tuple(c[i] for c in b)) for i in range(GROUP)])


@jit
def _outer_products(pairs):
    """Kept apart from what is done with it, and not flat: XLA would divide to find each entry's place."""
    return inner_products([(tuple(c[:, None] for c in head), tuple(c[None] for c in tail)) for head, tail in pairs])


@jit
def _add_at(total, start, table):
    return _added_at(total, start, tuple(c.reshape(-1) for c in table))


@jit
def _add_multiple(total, start, factor, vector):
    return _added_at(total, start, inner_products([(factor, vector)]))


def _added_at(total, start, vector):
    parts = (field.add(jax.lax.dynamic_slice(c, (start,), x.shape), x) for c, x in zip(total, vector, strict=True))
    return tuple(jax.lax.dynamic_update_slice(c, x, (start,)) for c, x in zip(total, parts, strict=True))


@jit
def _add_rows(total, rows, factors):
    one = jnp.ones(1, jnp.uint64)
    return tuple(inner([(total[c], one), *((rows[i], factors[c, i : i + 1]) for i in range(GROUP))]) for c in range(2))


@jit
def _fold(low, high, r):
    return products.fold(low, high, r)


@jit
def _scaled_sum(a, b, r):
    return products.add(a, inner_products([(b, r)]))
