"""Transforms against the definition, and the fast kernels against the short form."""

import jax
import numpy as np
import pytest

from zkjax.algebra import field
from zkjax.algebra.field import P, root_of_unity
from zkjax.algebra.ntt import encode, evaluate, inverse_ntt, ntt, root_powers
from zkjax.kernels.threads import scope

EDGE = [0, 1, P - 1, 2**32 - 1, 2**32, 2**63, 2**32 + 1, P - 2**32]


def random_rows(*shape, seed=0):
    values = np.random.default_rng(seed).integers(0, P, shape, dtype=np.uint64)
    flat = values.reshape(-1)
    flat[: len(EDGE)] = EDGE[: len(flat)]
    return values


def naive(column):
    n = len(column)
    w = root_of_unity(n.bit_length() - 1)
    return [sum(int(c) * pow(w, i * j, P) for j, c in enumerate(column)) % P for i in range(n)]


@pytest.mark.parametrize("log_n", range(6))
def test_equals_the_definition(log_n):
    x = random_rows(1 << log_n, 3)
    y = ntt(x)
    assert [naive(column) for column in x.T] == y.T.tolist()
    assert np.array_equal(inverse_ntt(y), x)


def test_numpy_and_jax_agree():
    x = random_rows(64, 2)
    with scope():
        assert np.array_equal(jax.jit(ntt)(x), ntt(x))
        assert np.array_equal(jax.jit(inverse_ntt)(x), inverse_ntt(x))


def test_product_of_polynomials():
    a, b = random_rows(8, 1), random_rows(8, 1, seed=1)
    padded = [ntt(np.concatenate([c, np.zeros_like(c)])) for c in (a, b)]
    product = inverse_ntt(field.mul(*padded)).reshape(-1).tolist()
    expected = [0] * 16
    for i, x in enumerate(a.reshape(-1).tolist()):
        for j, y in enumerate(b.reshape(-1).tolist()):
            expected[i + j] = (expected[i + j] + x * y) % P
    assert product == expected


def test_root_powers():
    w = root_of_unity(5)
    assert root_powers(5).tolist() == [pow(w, i, P) for i in range(32)]
    with pytest.raises(ValueError, match="power of two"):
        ntt(random_rows(6, 1))


@pytest.mark.parametrize("log_n", [1, 2, 5, 8])
def test_kernels(log_n):
    from zkjax.kernels import ntt as kernels

    rows = random_rows(2, (1 << log_n) * 3 // 4)
    expected = encode(rows, log_n)
    indices = [0, 1, (1 << log_n) - 1]
    with scope():
        assert np.array_equal(kernels.encode(rows, log_n), expected)
        assert np.array_equal(kernels.evaluate([rows, rows], log_n, indices), np.tile(expected[:, indices], (2, 1)))
    assert np.array_equal(evaluate([rows, rows], log_n, indices), np.tile(expected[:, indices], (2, 1)))
