"""Arithmetic of F against Python integers, on NumPy and jax.numpy."""

import itertools
import math

import numpy as np
import pytest
from field_values import EDGES, UINT64_EDGES, elements
from hypothesis import given
from hypothesis import strategies as st

from zkjax.algebra import field
from zkjax.algebra.field import GENERATOR, TWO_ADICITY, P

LEFT, RIGHT = zip(*itertools.product(EDGES, EDGES), strict=True)


def array(xp, values):
    return xp.asarray(np.array(values, dtype=np.uint64))


@pytest.mark.parametrize(
    "operation, twin",
    [(field.add, lambda a, b: a + b), (field.sub, lambda a, b: a - b), (field.mul, lambda a, b: a * b)],
    ids=["add", "sub", "mul"],
)
def test_binary_operations_on_edges(xp, operation, twin):
    result = operation(array(xp, LEFT), array(xp, RIGHT))
    assert result.dtype == np.uint64
    assert result.tolist() == [twin(a, b) % P for a, b in zip(LEFT, RIGHT, strict=True)]


def test_few_entries_are_multiplied_as_many_are():
    """Short arrays take another path than the long ones of the test above."""
    assert len(LEFT) > field.FEW >= len(EDGES)
    for a in EDGES:
        product = field.mul(array(np, [a]), array(np, EDGES))
        assert product.dtype == np.uint64 and product.tolist() == [a * b % P for b in EDGES]
    assert field.mul(array(np, EDGES), field.EPSILON).tolist() == [a * int(field.EPSILON) % P for a in EDGES]
    assert field.mul(array(np, []), array(np, [])).shape == field.mul(array(np, []), array(np, [1])).shape == (0,)


def test_neg_inverse_power_on_edges(xp):
    a = array(xp, EDGES)
    assert field.neg(a).tolist() == [-x % P for x in EDGES]
    assert field.inverse(a).tolist() == [pow(x, P - 2, P) for x in EDGES]
    for exponent in (0, 1, 2, 3, 10, P - 1):
        assert field.power(a, exponent).tolist() == [pow(x, exponent, P) for x in EDGES]


def test_reduce_wide_takes_any_two_words(xp):
    high, low = zip(*itertools.product(UINT64_EDGES, UINT64_EDGES), strict=True)
    result = field.reduce_wide(array(xp, high), array(xp, low))
    assert result.tolist() == [(h * 2**64 + x) % P for h, x in zip(high, low, strict=True)]


@given(st.lists(st.tuples(elements, elements, elements), min_size=1, max_size=50))
def test_ring_laws(triples):
    a, b, c = (np.array(column, dtype=np.uint64) for column in zip(*triples, strict=True))
    assert np.array_equal(field.mul(a, field.add(b, c)), field.add(field.mul(a, b), field.mul(a, c)))
    assert np.array_equal(field.mul(field.mul(a, b), c), field.mul(a, field.mul(b, c)))
    assert np.array_equal(field.sub(field.add(a, b), b), a)
    assert not field.add(a, field.neg(a)).any()
    assert np.array_equal(field.mul(a, field.inverse(a)), (a != 0).astype(np.uint64))


@pytest.mark.parametrize("shape", [(3000,), (7, 500), (3,), (2, 5), (0, 3)])
def test_sum(xp, shape):
    values = np.random.default_rng(0).integers(P - 3, P, size=shape, dtype=np.uint64)
    for axis in (None, *range(len(shape)), -1):
        expected, found = values.astype(object).sum(axis=axis) % P, field.sum(xp.asarray(values), axis)
        assert found.dtype == np.uint64 and found.shape == np.shape(expected)
        assert np.array_equal(np.asarray(found).astype(object), expected)


def test_conversions():
    signed = np.array([0, 1, -1, 2**62, -(2**62), 2**63 - 1, -(2**63 - 1)], dtype=np.int64)
    assert field.from_int(signed).tolist() == [int(x) % P for x in signed]
    assert field.from_int(np.array([-5, 5], dtype=np.int32)).tolist() == [P - 5, 5]
    assert field.from_int(np.array([0, 255], dtype=np.uint8)).tolist() == [0, 255]
    assert field.from_python([-1, P, 2**100]).tolist() == [P - 1, 0, 2**100 % P]


def test_roots_of_unity():
    for log_order in range(TWO_ADICITY + 1):
        root = field.root_of_unity(log_order)
        assert pow(root, 1 << log_order, P) == 1
        assert log_order == 0 or pow(root, 1 << (log_order - 1), P) == P - 1
        assert log_order == 0 or root**2 % P == field.root_of_unity(log_order - 1)
    for log_order in (-1, TWO_ADICITY + 1):
        with pytest.raises(ValueError, match="no root of unity"):
            field.root_of_unity(log_order)


def test_constants():
    assert all(pow(GENERATOR, (P - 1) // q, P) != 1 for q in (2, 3, 5, 17, 257, 65537))
    assert math.prod((2, 3, 5, 17, 257, 65537)) * 2**31 == P - 1
