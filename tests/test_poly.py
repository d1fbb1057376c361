"""Multilinear polynomials against their definitions."""

import itertools
import random

import numpy as np
import pytest
from field_values import EDGES, arrays_over_k, extension_elements
from hypothesis import given
from hypothesis import strategies as st

from zkjax.algebra import extension as ext
from zkjax.algebra import poly
from zkjax.algebra.extension import ONE, ZERO, Ext

points = st.integers(0, 5).flatmap(lambda n: st.lists(extension_elements, min_size=n, max_size=n))


def eq(point, bits):
    """prod over i of (x_i r_i + (1 - x_i)(1 - r_i))."""
    result = ONE
    for r, x in zip(point, bits, strict=True):
        result = result * (r if x else 1 - r)
    return result


def test_num_bits():
    assert [poly.num_bits(n) for n in (0, 1, 2, 3, 4, 5, 8, 9, 2**20, 2**20 + 1)] == [0, 0, 1, 2, 2, 3, 3, 4, 20, 21]


@given(points)
def test_eq_vector(point):
    expected = [eq(point, bits) for bits in itertools.product((0, 1), repeat=len(point))]  # variable 0 is the top bit
    assert ext.unstack(poly.eq_vector(point)) == expected
    length = (len(expected) + 1) // 2
    assert ext.unstack(poly.eq_vector(point, length)) == expected[:length]


@given(points, st.randoms(use_true_random=False))
def test_evaluate_is_the_inner_product_with_eq(point, draw):
    table = arrays_over_k(draw, 1 << len(point))
    assert poly.evaluate(ext.stack(table), point) == ext.dot(ext.stack(table), poly.eq_vector(point))
    corner = draw.randrange(len(table))
    bits = [corner >> (len(point) - 1 - i) & 1 for i in range(len(point))]
    assert poly.evaluate(ext.stack(table), [Ext(b) for b in bits]) == table[corner]


def test_fold_halves_from_the_top(xp):
    table = arrays_over_k(random.Random(1), 8)
    r = Ext(5, 9)
    folded = poly.fold(tuple(xp.asarray(c) for c in ext.stack(table)), tuple(xp.asarray(c) for c in ext.stack([r])))
    assert ext.unstack(folded) == [table[i] * (1 - r) + table[i + 4] * r for i in range(4)]


@given(st.lists(extension_elements, min_size=1, max_size=5), extension_elements)
def test_interpolate(coefficients, r):
    def value(x):
        return sum((c * power for c, power in zip(coefficients, ext.powers(ext.lift(x), len(coefficients)), strict=True)), ZERO)

    assert poly.interpolate([value(i) for i in range(len(coefficients))], r) == value(r)
    assert poly.interpolate([value(i) for i in range(len(coefficients))], Ext(0)) == value(0)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_pow_evaluation(n):
    point = arrays_over_k(random.Random(n), n)
    result = poly.pow_evaluation(np.array(EDGES, dtype=np.uint64), point)
    for x, value in zip(EDGES, ext.unstack(result), strict=True):
        assert value == ext.dot(ext.stack(ext.powers(Ext(x), 1 << n)), poly.eq_vector(point))
