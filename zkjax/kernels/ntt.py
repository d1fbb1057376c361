"""Jitted encoding: Reed-Solomon codewords of few long rows, in four steps.

A row of n = n1 * n2 coefficients is a matrix (n1, n2). Transforms of its columns, a twiddle, a transposition and
transforms of the columns again give all values in natural order, and every pass runs along long contiguous lines. Two
rows at a time (the two components of one row over K) keep a pass within the cache. One compilation per pass and length.

Source: Bailey, FFTs in external or hierarchical memory (four-step form); radix-4 Stockham passes, whose inner root of
order 4 is 2^48, a shift.
"""

from functools import lru_cache, partial

import jax.numpy as jnp
import numpy as np

from ..algebra import field
from ..algebra.ntt import root_powers
from .jit import jit
from .products import halving_sum
from .settings import fixed

_PIECE = 16  # entries that a transposition moves together
_16, _48 = np.uint64(16), np.uint64(48)


def encode(rows, log_n: int):
    """Coefficients (r, m <= n) uint64 to values (r, n) at all n-th roots of unity, natural order.

    Recompiles for: r, m, n.
    """
    log_1, log_2 = _split(log_n)
    x = _transform(_pad(rows, n=1 << log_n), log_1, 1 << log_2)
    return _transform(_turn(x, _turn_table(log_n)), log_2, 1 << log_1)


def evaluate(groups, log_n: int, indices) -> np.ndarray:
    """The codewords of several groups of rows, at these q indices only: (all rows, q).

    The first half of ``encode``, then one inner product for each point. Recompiles for: r, m, n, q rounded up to 64.
    """
    log_1, log_2 = _split(log_n)
    count = len(indices)
    indices = np.pad(np.asarray(indices, dtype=np.int64), (0, -count % 64))
    exponents = indices[:, None] * np.arange(1 << log_2) & ((1 << log_n) - 1)
    powers, residues = jnp.asarray(root_powers(log_n)[exponents]), indices & ((1 << log_1) - 1)
    values = []
    for rows in groups:
        x = _transform(_pad(rows, n=1 << log_n), log_1, 1 << log_2)
        (sums,) = halving_sum((_picked(x, powers, residues),))
        values.append(np.asarray(sums)[:, :count])
    return np.concatenate(values)


def _split(log_n: int) -> tuple[int, int]:
    return log_n - log_n // 2, log_n // 2


def _transform(x, log_length: int, stride: int):
    """Transforms of length 2^log_length along the axis of that stride, for x of shape (r, n)."""
    while log_length > 1:
        x = _radix_4(x, _twiddles(log_length), stride=stride)
        log_length, stride = log_length - 2, 4 * stride
    return _radix_2(x) if log_length else x


@partial(jit, static_argnames="n")
def _pad(rows, n: int):
    return jnp.pad(rows, ((0, 0), (0, n - rows.shape[1])))


@partial(jit, static_argnames="stride")
def _radix_4(x, twiddles, stride: int):
    """One pass; twiddles: (3, m, 1), powers 1 to 3 of the root. Each output takes one product, so fusion repeats none."""
    rows = x.shape[0]
    x = x.reshape(rows, 4, twiddles.shape[1], stride)
    a, b, c, d = x[:, 0], x[:, 1], x[:, 2], x[:, 3]
    even, odd = field.add(a, c), field.sub(a, c)
    even_2, odd_2 = field.add(b, d), _times_2_48(field.sub(b, d))
    outputs = [field.add(even, even_2), field.add(odd, odd_2), field.sub(even, even_2), field.sub(odd, odd_2)]
    if twiddles.shape[1] > 1:  # else they are 1
        outputs[1:] = [field.mul(y, twiddle) for y, twiddle in zip(outputs[1:], twiddles, strict=True)]
    return jnp.stack(outputs, axis=2).reshape(rows, -1)


@jit
def _radix_2(x):
    """The last pass of an odd number of bits; its twiddle is 1."""
    half = x.shape[1] // 2
    return jnp.concatenate([field.add(x[:, :half], x[:, half:]), field.sub(x[:, :half], x[:, half:])], axis=1)


def _turn(x, table):
    """(r, n1, n2) times the twiddles, transposed to (r, n2, n1): first in pieces of cache lines, then within them. table: (n2, n1)."""
    return _turn_within(_turn_pieces(x, lines=table.shape[1]), table)


@partial(jit, static_argnames="lines")
def _turn_pieces(x, lines: int):
    piece = min(_PIECE, x.shape[1] // lines)
    return jnp.swapaxes(x.reshape(x.shape[0], lines, -1, piece), 1, 2)


@jit
def _turn_within(x, table):
    turned = jnp.swapaxes(x, 2, 3).reshape(-1, *table.shape)
    return field.mul(turned, table).reshape(x.shape[0], -1)


@jit
def _picked(x, powers, residues):
    return field.mul(x.reshape(x.shape[0], -1, powers.shape[1])[:, residues], powers)


def _times_2_48(x):
    return field.reduce_wide(x >> _16, x << _48)


@lru_cache(maxsize=64)
def _twiddles(log_length: int):
    roots, quarter = root_powers(log_length), 1 << log_length - 2
    return _constant(np.stack([roots[np.arange(quarter) * r] for r in (1, 2, 3)])[:, :, None])


@lru_cache(maxsize=4)
def _turn_table(log_n: int):
    log_1, log_2 = _split(log_n)
    exponents = np.arange(1 << log_2)[:, None] * np.arange(1 << log_1)[None, :]
    return _constant(root_powers(log_n)[exponents])


def _constant(table):
    """On the device once; a cached array must not depend on the scope that happened to ask first."""
    with fixed():
        return jnp.asarray(table)
