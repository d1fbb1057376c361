"""Arithmetic of K: arrays against Ext, Ext against polynomials modulo phi^2 - 7."""

import itertools

import numpy as np
import pytest
from field_values import EXTENSION_EDGES, extension_elements
from hypothesis import given

from zkjax.algebra import extension as ext
from zkjax.algebra import field
from zkjax.algebra.extension import NON_RESIDUE, ONE, PHI, ZERO, Ext
from zkjax.algebra.field import P

LEFT, RIGHT = zip(*itertools.product(EXTENSION_EDGES, EXTENSION_EDGES), strict=True)


def array(xp, values):
    return tuple(xp.asarray(c) for c in ext.stack(values))


def test_seven_is_no_square():
    assert pow(NON_RESIDUE, (P - 1) // 2, P) == P - 1
    assert PHI * PHI == NON_RESIDUE


@pytest.mark.parametrize(
    "operation, twin",
    [(ext.add, Ext.__add__), (ext.sub, Ext.__sub__), (ext.mul, Ext.__mul__)],
    ids=["add", "sub", "mul"],
)
def test_binary_operations_on_edges(xp, operation, twin):
    assert ext.unstack(operation(array(xp, LEFT), array(xp, RIGHT))) == [twin(a, b) for a, b in zip(LEFT, RIGHT, strict=True)]


def test_few_entries_are_multiplied_as_many_are():
    """Short arrays take another path than the long ones of the test above."""
    assert len(LEFT) > field.FEW >= len(EXTENSION_EDGES)
    for a in EXTENSION_EDGES:
        product = ext.mul(array(np, [a]), array(np, EXTENSION_EDGES))
        assert all(c.dtype == np.uint64 for c in product) and ext.unstack(product) == [a * b for b in EXTENSION_EDGES]


def test_other_array_operations(xp):
    a = array(xp, EXTENSION_EDGES)
    assert ext.unstack(ext.neg(a)) == [-x for x in EXTENSION_EDGES]
    assert ext.unstack(ext.inverse(a)) == [x.inverse() if x else ZERO for x in EXTENSION_EDGES]
    assert ext.unstack(ext.mul_base(a, a[1])) == [x * x.c1 for x in EXTENSION_EDGES]
    assert ext.unstack(ext.from_base(a[0])) == [Ext(x.c0) for x in EXTENSION_EDGES]
    assert ext.unstack(ext.sum(a)) == [sum(EXTENSION_EDGES, ZERO)]


@given(extension_elements, extension_elements, extension_elements)
def test_field_laws(a, b, c):
    assert (a * b).c0 == (a.c0 * b.c0 + 7 * a.c1 * b.c1) % P
    assert (a * b).c1 == (a.c0 * b.c1 + a.c1 * b.c0) % P
    assert a * (b + c) == a * b + a * c
    assert a - b == -(b - a)
    if a:
        assert a * a.inverse() == ONE
    assert a**5 == a * a * a * a * a
    assert a ** (P * P) == a


def test_operators_with_integers():
    a = Ext(5, 6)
    assert a + 1 == 1 + a == Ext(6, 6)
    assert a - 1 == Ext(4, 6)
    assert 1 - a == Ext(-4, -6)
    assert a * 2 == 2 * a == Ext(10, 12)
    assert Ext(3) == 3 and hash(Ext(3)) == hash(Ext(3 + P))
    assert a != "a" and not ZERO
    assert repr(Ext(-1)) == f"Ext({P - 1}, 0)"
    with pytest.raises(ZeroDivisionError):
        ZERO.inverse()
    for operation in (lambda: a + "x", lambda: a - "x", lambda: a * "x"):
        with pytest.raises(TypeError):
            operation()


def test_host_helpers():
    assert ext.powers(PHI, 4) == [ONE, PHI, Ext(7), Ext(0, 7)]
    assert ext.powers(PHI, 0) == []
    assert ext.unstack(ext.stack([3, PHI])) == [Ext(3), PHI]
    assert all(c.dtype == np.uint64 for c in ext.stack([-1, 2**64]))
    assert ext.dot(ext.stack(LEFT), ext.stack(RIGHT)) == sum((a * b for a, b in zip(LEFT, RIGHT, strict=True)), ZERO)
