"""Sums of integers with coefficients -1, 0 and 1, as two products of float64 matrices, each of them exact."""

_LOW = 32  # bits of the lower halves: 2^12 of them add up to less than 2^53


def sums(cells, factors):
    """cells @ factors.T: int64 (blocks, forms) from int64 (blocks, n), n at most 2^20, and float64 (forms, n); the sums below 2^63.

    NumPy or jax.numpy.
    """
    low, high = cells & (2**_LOW - 1), cells >> _LOW
    upper, lower = ((half.astype(float) @ factors.T).astype(int) for half in (high, low))
    return (upper << _LOW) + lower
