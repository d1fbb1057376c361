"""The prover's work at the sites of a circuit: folds of integer tensors, weights, and leaves of the lookup tree.

Sums of small integers times elements of K run as float64 GEMMs: the elements are cut into limbs of 16 bits, wide integers
into limbs as well, so that every partial sum stays below 2^53 and is exact; the modular work is left for the results.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .. import extension as ext
from .. import field
from .products import inner_products

LIMB = 16  # bits of a limb of a field element


@partial(jax.jit, static_argnames="bits")
def fold(x, vector, *, bits):
    """sum over f of x[..., r, f] * vector[..., f]: int64 (..., R, f) with |x| <= 2^bits, K (..., f) ▸ K (..., R).

    Leading axes of x and vector broadcast as in a matrix product. Recompiles for: shapes, bits.
    """
    length = x.shape[-1]
    width = 53 - LIMB - (length - 1).bit_length() - 1
    limbs = [(c >> np.uint64(LIMB * j)) & np.uint64(2**LIMB - 1) for c in vector for j in range(4)]
    matrix = jnp.stack(limbs, axis=-1).astype(jnp.float64)  # (..., f, 8)
    total = None
    for i in range(max(1, -(-(bits + 1) // width))):
        last = (i + 1) * width >= bits + 1
        part = x >> (i * width) if last else (x >> (i * width)) & (2**width - 1)
        product = field.from_int((part.astype(jnp.float64) @ matrix).astype(jnp.int64))
        for j in range(4):
            shift = np.uint64(pow(2, LIMB * j + width * i, field.P))
            term = tuple(field.mul(product[..., 4 * c + j], shift) for c in range(2))
            total = term if total is None else ext.add(total, term)
    return total


@jax.jit
def combine(x, vector):
    """sum over f of x[..., f] * vector[..., f] for two K arrays of equal shape, at least one axis before the last."""
    return ext.sum(ext.mul(x, vector), axis=-1)


@jax.jit
def outer_sum(terms):
    """sum over terms of the product of their K arrays, which broadcast against each other."""
    total = None
    for factors in terms:
        product = factors[0]
        for factor in factors[1:]:
            product = inner_products([(product, factor)])
        total = product if total is None else ext.add(total, product)
    return total


@jax.jit
def denominators(columns, offset, factors):
    """offset - sum of factors[j] * columns[j]: small non-negative integers (any shape), K scalars as pairs of shape (1,)."""
    first = columns[0].astype(jnp.uint64)
    c0 = field.sub(jnp.broadcast_to(offset[0].reshape((1,) * first.ndim), first.shape), first)
    c1 = jnp.broadcast_to(offset[1].reshape((1,) * first.ndim), first.shape)
    for factor, column in zip(factors[1:], columns[1:], strict=False):
        column = column.astype(jnp.uint64)
        product = tuple(field.mul(f.reshape((1,) * column.ndim), column) for f in factor)
        c0, c1 = field.sub(c0, product[0]), field.sub(c1, product[1])
    return c0, c1
