"""Number-theoretic transform over F along the first axis, natural order on both sides, NumPy and jax.numpy alike.

Output i is the polynomial with these coefficients at w^i, w the root of unity of that order. This short form serves the
verifier and small vectors; ``kernels.ntt`` computes the same values fast.

Source: Stockham's self-sorting form of the decimation in frequency (Van Loan, Computational Frameworks for the FFT, 1.7).

PROTOCOL.md, section 8.1.
"""

from functools import lru_cache

import numpy as np

from . import field
from .field import P, root_of_unity


@lru_cache(maxsize=64)
def root_powers(log_n: int) -> np.ndarray:
    """w^0 .. w^(n-1) for the root of unity w of order n = 2^log_n; read-only."""
    table = np.ones(1, dtype=np.uint64)
    for level in range(1, log_n + 1):  # odd powers of the root of order 2^level lie between those of half the order
        odd = field.mul(table, np.array([root_of_unity(level)], dtype=np.uint64))
        table = np.stack([table, odd], axis=1).reshape(-1)
    table.setflags(write=False)
    return table


def ntt(x):
    """Coefficients to values: (n, columns) uint64, n a power of two."""
    n, columns = x.shape
    if n & (n - 1) or not n:
        raise ValueError(f"length {n} of a transform is not a power of two")
    length, stride = n, 1
    while length > 1:
        half = length // 2
        twiddles = root_powers(length.bit_length() - 1)[:half].reshape(half, 1)
        x = x.reshape(2, half, stride * columns)
        even, odd = field.add(x[0], x[1]), field.mul(field.sub(x[0], x[1]), twiddles)
        x = _stack(even, odd)
        length, stride = half, 2 * stride
    return x.reshape(n, columns)


def inverse_ntt(x):
    """Values to coefficients: the transform at w^-1, divided by n."""
    n = x.shape[0]
    values = ntt(x)
    values = values[-np.arange(n) % n]
    return field.mul(values, np.array([[pow(n, -1, P)]], dtype=np.uint64))


def encode(rows, log_n: int) -> np.ndarray:
    """Reed-Solomon codewords: coefficients (r, m <= n) to values (r, n) at the n-th roots of unity, NumPy."""
    return ntt(np.pad(rows, ((0, 0), (0, (1 << log_n) - rows.shape[1]))).T).T


def evaluate(groups, log_n: int, indices) -> np.ndarray:
    """The codewords of several groups of rows, at these indices only: (all rows, q)."""
    return np.concatenate([encode(rows, log_n)[:, indices] for rows in groups])


def _stack(even, odd):
    if isinstance(even, np.ndarray):
        return np.stack([even, odd], axis=1)
    import jax.numpy as jnp

    return jnp.stack([even, odd], axis=1)
