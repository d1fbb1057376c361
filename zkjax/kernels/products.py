"""Sums of products with one reduction: what every round of every sumcheck spends its time on.

A product of two field elements is four products of 32-bit halves. Adding them column by column before reducing halves the
work of a product of two elements of K, and each component of the result is one expression of its own: XLA computes the
components of a pair in separate loops, so whatever they share would be computed twice.

Tables are tuples of uint64 arrays: one array for a table over F, two for one over K.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ..algebra import field
from ..algebra.extension import NON_RESIDUE
from ..algebra.poly import num_bits
from .jit import jit

GROUP = 8  # products of one reduction
ALWAYS = np.bool_(True)  # see stored
_LOW = np.uint64(2**32 - 1)
_32 = np.uint64(32)


@jax.jit  # inside other kernels: traced once for all its uses there
def inner(pairs, multiplied=()):
    """Sum of a*b over ``pairs`` of F arrays plus 7 times that over ``multiplied``, reduced once; up to 2^25 pairs in all."""
    columns = _columns(pairs)
    if multiplied:
        columns = [c + d * np.uint64(NON_RESIDUE) for c, d in zip(columns, _columns(multiplied))]
    c0, c1, c2, c3 = columns
    c1 += c0 >> _32
    c2 += c1 >> _32
    c3 += c2 >> _32
    # c0 + c1 2^32 + c2 2^64 + c3 2^96 with 2^64 = 2^32 - 1 and 2^96 = -1
    low, bottom = (c1 << _32) | (c0 & _LOW), c2 & _LOW
    t = low - c3
    t = jnp.where(low < c3, t - field.EPSILON, t)
    r = t + ((bottom << _32) - bottom)
    r = jnp.where(r < t, r + field.EPSILON, r)
    return jnp.where(r >= np.uint64(field.P), r - np.uint64(field.P), r)


def _columns(pairs):
    """The sum of products as four columns of weight 1, 2^32, 2^64 and 2^96, each below 2^35 times the number of pairs."""
    columns = [np.uint64(0)] * 4
    for a, b in pairs:
        a0, a1, b0, b1 = a & _LOW, a >> _32, b & _LOW, b >> _32
        p00, p01, p10, p11 = a0 * b0, a0 * b1, a1 * b0, a1 * b1
        columns[0] += p00 & _LOW
        columns[1] += (p00 >> _32) + (p01 & _LOW) + (p10 & _LOW)
        columns[2] += (p01 >> _32) + (p10 >> _32) + (p11 & _LOW)
        columns[3] += p11 >> _32
    return columns


@jax.jit
def inner_products(pairs):
    """Sum of a*b over ``pairs`` of tables over F or K; a table over K unless all of them are over F."""
    first, multiplied, second = [], [], []
    for a, b in pairs:
        first.append((a[0], b[0]))
        if len(a) == len(b) == 2:
            multiplied.append((a[1], b[1]))
        second += [(a[0], b1) for b1 in b[1:]] + [(a1, b[0]) for a1 in a[1:]]
    return (inner(first, multiplied), inner(second)) if second else (inner(first, multiplied),)


@jax.jit
def add(a, b):
    """a + b for two tables over F or K."""
    if len(a) < len(b):
        a, b = b, a
    return tuple(field.add(x, y) for x, y in zip(a, b)) + tuple(a[len(b) :])


@jax.jit
def difference(a, b):
    """a - b for two tables over the same field."""
    return tuple(field.sub(x, y) for x, y in zip(a, b, strict=True))


def halves(table):
    """The table at variable 0 = 0 and at variable 0 = 1."""
    half = table[0].shape[0] // 2
    return tuple(c[:half] for c in table), tuple(c[half:] for c in table)


@jax.jit
def fold(low, high, r):
    """low + r (high - low) over K; r: a K pair of arrays of length 1."""
    return add(low, inner_products([(r, difference(high, low))]))


def times_vector(x, vector, *, columns: bool = False):
    """sum over f of x[r, f] * vector[f] for F or int64 (R, f) and K (f,): K (R,). columns: x is (f, R).

    Recompiles for: the shape, columns.
    """
    return halving_sum(_products(x, vector, columns=columns), axis=0 if columns else 1)


@partial(jit, static_argnames="columns")
def _products(x, vector, *, columns):
    """What times_vector adds up, as sums of eight: K (R, terms), or (terms, R)."""
    terms = -(-vector[0].shape[0] // GROUP)
    padding = (0, GROUP * terms - vector[0].shape[0])
    x = jnp.pad(x, (padding, (0, 0)) if columns else ((0, 0), padding))
    x = x if x.dtype == jnp.uint64 else field.from_int(x)
    vector = [jnp.pad(c, padding).reshape(GROUP, terms) for c in vector]
    if columns:
        x = x.reshape(GROUP, terms, -1)
        return tuple(inner([(x[i], c[i][:, None]) for i in range(GROUP)]) for c in vector)
    x = x.reshape(-1, GROUP, terms)
    return tuple(inner([(x[:, i], c[i]) for i in range(GROUP)]) for c in vector)


@partial(jit, static_argnames="axis")
def halving_sum(table, *, axis: int = -1):
    """Sum over an axis of a table over F or K. A kernel of its own: in the products', XLA would repeat them in every step of the sum."""
    length = table[0].shape[axis]
    widths = [(0, 0)] * table[0].ndim
    widths[axis] = 0, (1 << num_bits(length)) - length
    table = tuple(jnp.pad(c, widths) for c in table)
    while table[0].shape[axis] > 1:
        table = add(*zip(*(jnp.split(c, 2, axis) for c in table), strict=True))
    return tuple(jnp.squeeze(c, axis) for c in table)


def stored(condition, function, *arguments):
    """function(*arguments), or zeros where the condition is false.

    XLA does not fuse across a branch whose condition it does not know. With a condition that always holds this is a
    barrier: the results are stored, and not computed again for each of their uses.
    """
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(function, *arguments))
    return jax.lax.cond(condition, function, lambda *_: zeros, *arguments)
