"""Delayed reduction against Python integers."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from field_values import EXTENSION_EDGES, UINT64_EDGES

from zkjax.algebra import extension as ext
from zkjax.algebra.field import P
from zkjax.kernels import host
from zkjax.kernels.products import add, fold, halves, inner, inner_products

pytestmark = pytest.mark.usefixtures("x64")


def array(values):
    return jnp.asarray(np.array(values, dtype=np.uint64))


@pytest.mark.parametrize("terms", [1, 2, 5])
def test_inner_on_edges(terms):
    left, right = np.array(list(itertools.product(UINT64_EDGES, UINT64_EDGES)), dtype=np.uint64).T
    pairs = [(np.roll(left, i), np.roll(right, 7 * i)) for i in range(terms)]
    expected = [sum(int(a[i]) * int(b[i]) for a, b in pairs) % P for i in range(len(left))]
    assert inner([(array(a), array(b)) for a, b in pairs]).tolist() == expected


def test_inner_carries_through_many_products():
    top = array([2**64 - 1])
    with jax.disable_jit():  # hundreds of products in one kernel would compile for minutes
        assert inner([(top, top)] * 300).tolist() == [300 * (2**64 - 1) ** 2 % P]
        assert inner([(top, top)] * 20, [(top, top)] * 300).tolist() == [(20 + 7 * 300) * (2**64 - 1) ** 2 % P]


@pytest.mark.parametrize("terms", [1, 3])
def test_products_times_the_non_residue(terms):
    left, right = np.array(list(itertools.product(UINT64_EDGES, UINT64_EDGES)), dtype=np.uint64).T
    pairs = [(np.roll(left, i), np.roll(right, 7 * i)) for i in range(terms)]
    single, multiplied = pairs[:1], pairs
    expected = [
        (sum(int(a[i]) * int(b[i]) for a, b in single) + 7 * sum(int(a[i]) * int(b[i]) for a, b in multiplied)) % P
        for i in range(len(left))
    ]
    assert inner(*([(array(a), array(b)) for a, b in x] for x in (single, multiplied))).tolist() == expected


def over(field_degree, elements):
    return tuple(map(jnp.asarray, ext.stack(elements)))[:field_degree]


@pytest.mark.parametrize("degrees", list(itertools.product((1, 2), repeat=4)))
def test_inner_products_over_both_fields(degrees):
    left, right = zip(*itertools.product(EXTENSION_EDGES, EXTENSION_EDGES), strict=True)
    columns = [left, right, left[::-1], np.roll(right, 5).tolist()]
    columns = [[ext.lift(x) if d == 2 else ext.lift(x.c0) for x in c] for c, d in zip(columns, degrees, strict=True)]
    a, b, c, d = (over(degree, column) for degree, column in zip(degrees, columns, strict=True))
    expected = [w * x + y * z for w, x, y, z in zip(*columns, strict=True)]
    result = inner_products([(a, b), (c, d)])
    assert len(result) == max(degrees)
    assert ext.unstack((*result, result[0] * 0)[:2]) == expected


@pytest.mark.parametrize("degree", [1, 2])
def test_fold_and_add(degree):
    table, r = EXTENSION_EDGES[: len(EXTENSION_EDGES) // 2 * 2], EXTENSION_EDGES[-1]
    table = table if degree == 2 else [ext.lift(x.c0) for x in table]
    half = len(table) // 2
    low, high = halves(over(degree, table))
    assert ext.unstack(fold(low, high, over(2, [r]))) == [a + (b - a) * r for a, b in zip(table[:half], table[half:], strict=True)]
    k = over(2, [r] * half)
    for total in (add(low, k), add(k, low)):
        assert ext.unstack(total) == [a + r for a in table[:half]]


# ---- tables of NumPy --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(3,), (2**11 - 1,), (2**11,), (2**12 + 1,), (2**14 + 1,), (3, 2**14), (2**15 + 2**14 + 3,)])
@pytest.mark.parametrize("degrees", [(2, 2), (2, 1), (1, 2)])
def test_tables_of_numpy(shape, degrees):
    """In NumPy below 2^11 entries, in pieces of two lengths above."""
    rng = np.random.default_rng(sum(shape))
    a, b, total = (tuple(rng.integers(0, P, shape, dtype=np.uint64) for _ in range(degree)) for degree in (*degrees, 2))
    wide = [x if len(x) == 2 else (x[0], np.zeros(shape, np.uint64)) for x in (a, b)]
    expected = ext.mul(*wide)
    for found, wanted in ((host.multiply(a, b), expected), (host.multiply(a, b, total), ext.add(expected, total))):
        assert all(np.array_equal(x, y) for x, y in zip(found, wanted, strict=True))


def test_tables_of_numpy_are_broadcast():
    rng = np.random.default_rng(0)
    a, b = (tuple(rng.integers(0, P, shape, dtype=np.uint64) for _ in range(2)) for shape in ((70, 1), (1, 90)))
    assert all(np.array_equal(x, y) for x, y in zip(host.multiply(a, b), ext.mul(a, b), strict=True))


@pytest.mark.parametrize("length", [3, 2**11 - 1, 2**11, 2**14 + 1, 2**15 + 2**14 + 3])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_rows_of_numpy_times_a_vector(length, count):
    rng = np.random.default_rng(length)
    vector, rows = (rng.integers(0, P, (n, length), dtype=np.uint64) for n in (2, count))
    expected = [ext.dot(tuple(vector), (row, np.zeros_like(row))) for row in rows]
    assert host.dots(tuple(vector), list(rows)) == expected
