"""The Goldilocks field F, p = 2^64 - 2^32 + 1, on arrays of NumPy and of jax.numpy alike.

Elements are canonical ``uint64`` values in [0, p). Arrays must have at least one axis: NumPy warns about
wrap-around on scalars, and scalars on the host are plain Python integers.
2^64 = 2^32 - 1 and 2^96 = -1 modulo p make every reduction a few shifts and additions.

PROTOCOL.md, section 2.
"""

import numpy as np

P = 2**64 - 2**32 + 1
GENERATOR = 7  # of the multiplicative group
TWO_ADICITY = 32

_P = np.uint64(P)
EPSILON = np.uint64(2**32 - 1)  # 2^64 mod p
_LOW = np.uint64(2**32 - 1)
_32 = np.uint64(32)
FEW = 32  # entries up to which Python's integers take less time than NumPy's thirty passes over 32-bit halves


def are_few(*arrays) -> bool:
    """Whether these are short arrays of NumPy, to be computed as objects: Python integers."""
    return all(isinstance(a, (np.ndarray, np.generic)) and a.size <= FEW for a in arrays)


def _select(condition, yes, no):
    if isinstance(condition, np.ndarray):
        return np.where(condition, yes, no)
    import jax.numpy as jnp

    return jnp.where(condition, yes, no)


def add(a, b):
    """a + b."""
    s = a + b
    return _select((s < a) | (s >= _P), s + EPSILON, s)


def sub(a, b):
    """a - b."""
    d = a - b
    return _select(a < b, d - EPSILON, d)


def neg(a):
    """-a."""
    return _select(a == 0, a, _P - a)


def mul(a, b):
    """a * b: schoolbook product of 32-bit halves, then reduction."""
    if are_few(a, b):
        return (a.astype(object) * b.astype(object) % P).astype(np.uint64)
    a0, a1, b0, b1 = a & _LOW, a >> _32, b & _LOW, b >> _32
    low = a0 * b0
    mid = a0 * b1 + (low >> _32)
    mid2 = a1 * b0 + (mid & _LOW)
    high = a1 * b1 + (mid >> _32) + (mid2 >> _32)
    return reduce_wide(high, (mid2 << _32) | (low & _LOW))


def reduce_wide(high, low):
    """(high * 2^64 + low) mod p for any two uint64 arrays."""
    top, bottom = high >> _32, high & _LOW
    t = low - top
    t = _select(low < top, t - EPSILON, t)
    u = (bottom << _32) - bottom
    r = t + u
    r = _select(r < t, r + EPSILON, r)
    return _select(r >= _P, r - _P, r)


def sum(a, axis=None):
    """Sum along ``axis``; at most 2^32 terms."""
    if are_few(a):
        return np.asarray(a.astype(object).sum(axis=axis) % P, dtype=np.uint64)
    low = (a & _LOW).sum(axis=axis, dtype=np.uint64, keepdims=True)
    high = (a >> _32).sum(axis=axis, dtype=np.uint64, keepdims=True)
    total = join(low, high)
    return total.reshape(()) if axis is None else total.squeeze(axis)


def join(low, high):
    """(low + 2^32 * high) mod p for any two uint64 arrays."""
    return add(reduce_wide(high >> _32, high << _32), _select(low >= _P, low - _P, low))


def from_int(x):
    """Signed integers (|x| < 2^63) to field elements; any number of axes."""
    if x.ndim == 0:
        return from_int(x.reshape(1)).reshape(())
    u = x.astype(np.uint64)
    return _select(x < 0, u - EPSILON, u) if np.dtype(x.dtype).kind == "i" else u


def from_python(values) -> np.ndarray:
    """Python integers of any size to a NumPy array of field elements (flat)."""
    return np.array([int(v) % P for v in values], dtype=np.uint64)


def power(a, exponent: int):
    """a ** exponent, exponent a public Python integer >= 0."""
    result = None
    while True:
        if exponent & 1:
            result = a if result is None else mul(result, a)
        exponent >>= 1
        if not exponent:
            break
        a = mul(a, a)
    return (a & np.uint64(0)) + np.uint64(1) if result is None else result


def inverse(a):
    """1 / a; the inverse of 0 is 0."""
    return power(a, P - 2)


def root_of_unity(log_order: int) -> int:
    """A primitive 2^log_order-th root of unity; the roots of different orders are powers of one another."""
    if not 0 <= log_order <= TWO_ADICITY:
        raise ValueError(f"no root of unity of order 2^{log_order} in the Goldilocks field")
    return pow(GENERATOR, (P - 1) >> log_order, P)
