"""Kernels of the opening: round messages and folds of an inner product <f, w>, w over K and f over F or K.

``products`` and ``fold`` serve NumPy as they are, for the last entries of a sumcheck, and jax.numpy jitted.
"""

import jax
import numpy as np

from .. import extension as ext
from .. import field
from .jit import jit

HOST = 2**12  # vectors of at most this length are folded on the host


def products(total, f_low, f_high, w_low, w_high):
    """Add the terms of the round polynomial's constant and leading coefficient, position by position, to ``total``."""
    constant = _times(w_low, f_low)
    leading = _times(ext.sub(w_high, w_low), _difference(f_high, f_low))
    return ext.add(total[0], constant), ext.add(total[1], leading)


def fold(low, high, r):
    """low + r (high - low) over K, for arrays over F or K; r is a K pair of shape (1,)."""
    step = _times(r, _difference(high, low))
    return (field.add(low, step[0]), step[1]) if _is_base(low) else ext.add(low, step)


def halving_sum(x):
    """Sum over the last axis, a power of two, of every array of a pytree."""
    return jax.tree.map(_halving_sum, x)


def _halving_sum(x):
    while x.shape[-1] > 1:
        half = x.shape[-1] // 2
        x = field.add(x[..., :half], x[..., half:])
    return x


def scaled_sum(a, b, r):
    """a + r b over K; b over F or K."""
    return ext.add(a, _times(r, b))


def _times(a, b):
    return ext.mul_base(a, b) if _is_base(b) else ext.mul(a, b)


def _difference(a, b):
    return field.sub(a, b) if _is_base(a) else ext.sub(a, b)


def _is_base(x) -> bool:
    return not isinstance(x, tuple)


_jitted = {function: jit(function) for function in (products, fold, halving_sum, scaled_sum)}


def run(function, *arguments):
    """Apply one of the functions above: jitted for long vectors, in NumPy for short ones.

    Recompiles for: shapes, F or K. A sum is a jit of its own, else the compiler repeats the products.
    """
    length = max(leaf.shape[-1] for leaf in jax.tree.leaves(arguments))
    if length > HOST:
        return _jitted[function](*arguments)
    return function(*jax.tree.map(np.asarray, arguments))
