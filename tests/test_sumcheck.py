"""Sumchecks: completeness at every length class, and lying provers."""

import random

import jax.numpy as jnp
import numpy as np
import pytest
from field_values import arrays_over_k

from zkjax.algebra import extension as ext
from zkjax.algebra import poly
from zkjax.algebra.extension import ZERO, Ext
from zkjax.errors import UnsatisfiedWitnessError, VerificationError, ZkjaxError
from zkjax.protocol.sumcheck import gated_sumcheck, product_sumcheck

pytestmark = pytest.mark.usefixtures("x64")

LENGTHS = [0, 1, 2, 5, 10, 11, 12]  # above 2^10 entries rounds have jits of their own


def over_k(draw, num_vars):
    return tuple(map(jnp.asarray, ext.stack(arrays_over_k(draw, 1 << num_vars))))


def on_host(table):
    return tuple(np.asarray(c) for c in table) if isinstance(table, tuple) else ext.from_base(np.asarray(table))


def sum_of(*factors):
    product = on_host(factors[0])
    for factor in factors[1:]:
        product = ext.mul(product, on_host(factor))
    return Ext(*(int(c) for c in ext.sum(product)))


def products(num_vars, claim, public):
    """The product sumcheck, closed with what the tables really are (the test's verifier knows them)."""

    def protocol(hidden, tables):
        point, left, right = product_sumcheck(hidden, "product", hidden.public(claim), num_vars, tables)
        for name, form, table in zip(("left", "right"), (left, right), public, strict=True):
            hidden.require_zero(name, form - poly.evaluate(on_host(table), point))
        return point

    return protocol


@pytest.mark.parametrize("num_vars", LENGTHS)
def test_product(roles, num_vars):
    draw = random.Random(num_vars)
    tables = over_k(draw, num_vars), over_k(draw, num_vars)
    protocol = products(num_vars, sum_of(*tables), tables)
    point, verified = roles.accepts(protocol, tables)
    assert point == verified and len(point) == num_vars
    assert roles.counts.pads == 2 * num_vars and roles.counts.triples == 1


def gates(num_vars, claim, public):
    def protocol(hidden, tables):
        point, last, ends = gated_sumcheck(hidden, "gated", hidden.public(claim), num_vars, tables)
        gate, weights, values = public
        total = ZERO
        for w, v in zip(weights, values, strict=True):
            total = total + poly.evaluate(on_host(w), point) * poly.evaluate(on_host(v), point)
        at_point = poly.evaluate(on_host(gate), point), total
        hidden.require_zero("last claim", last - at_point[0] * at_point[1])
        assert ends == (None if tables is None else at_point)
        return point

    return protocol


def gated_tables(num_vars, count):
    draw = random.Random(num_vars)
    gate, *values = (over_k(draw, num_vars)[0] for _ in range(count + 1))
    weights = [over_k(draw, num_vars) for _ in range(count)]
    claim = sum((sum_of(gate, w, v) for w, v in zip(weights, values, strict=True)), ZERO)
    return (gate, weights, values), claim


@pytest.mark.parametrize("num_vars, count", [(n, 2) for n in LENGTHS] + [(3, 1), (3, 5)])
def test_gated(roles, num_vars, count):
    tables, claim = gated_tables(num_vars, count)
    protocol = gates(num_vars, claim, tables)
    point, verified = roles.accepts(protocol, tables)
    assert point == verified and len(point) == num_vars
    assert roles.counts.pads == 3 * num_vars and roles.counts.triples == 0


def test_false_claims(roles):
    draw = random.Random(1)
    tables = over_k(draw, 3), over_k(draw, 3)
    protocol = products(3, sum_of(*tables) + 1, tables)
    with pytest.raises(UnsatisfiedWitnessError, match="product"):
        roles.prove(protocol, tables)
    _, body = roles.prove(protocol, tables, check=False)
    with pytest.raises(VerificationError):
        roles.verify(protocol, body)
    tables, claim = gated_tables(3, 2)
    protocol = gates(3, claim - 1, tables)
    _, body = roles.prove(protocol, tables, check=False)
    with pytest.raises(VerificationError):
        roles.verify(protocol, body)


def test_other_tables_with_the_right_sum(roles):
    """A prover may sum other tables to the claim; their values at the point then contradict the real ones."""
    draw = random.Random(2)
    real = over_k(draw, 4), over_k(draw, 4)
    swapped = tuple(tuple(c[::-1] for c in table) for table in real)
    assert sum_of(*swapped) == sum_of(*real)
    protocol = products(4, sum_of(*real), real)
    _, body = roles.prove(protocol, swapped, check=False)
    with pytest.raises(VerificationError):
        roles.verify(protocol, body)


@pytest.mark.parametrize("kind", ["product", "gated"])
def test_every_changed_element_is_rejected(roles, kind):
    if kind == "product":
        draw = random.Random(3)
        tables = over_k(draw, 3), over_k(draw, 3)
        protocol = products(3, sum_of(*tables), tables)
    else:
        tables, claim = gated_tables(3, 2)
        protocol = gates(3, claim, tables)
    _, body = roles.prove(protocol, tables)
    roles.rejects_every_change(protocol, body)
    for changed in (body[:-1], body + b"\0", b"\xff" * len(body), draw_bytes(len(body)), bytes(len(body))):
        with pytest.raises(ZkjaxError):
            roles.verify(protocol, changed)


def draw_bytes(size):
    return random.Random(4).randbytes(size)


def test_errors_are_accounted_for(roles):
    tables, claim = gated_tables(2, 1)
    roles.accepts(gates(2, claim, tables), tables)
    assert roles.verifier.errors["gated: rounds"] == 6
    draw = random.Random(5)
    tables = over_k(draw, 3), over_k(draw, 3)
    roles.accepts(products(3, sum_of(*tables), tables), tables)
    assert roles.verifier.errors["product: rounds"] == 6
