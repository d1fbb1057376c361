"""Equations modulo p that are meant as equations of integers: bounds follow from the relations, and without them lies pass.

Each bound is met twice: the smallest circuit beyond it is refused; and with the bound switched off, a liar proves something
false about that circuit, and a verifier whose bound is switched off accepts it.
"""

import dataclasses
import itertools
from fractions import Fraction

import numpy as np
import pytest
from harness import BITS, SMALL, Liar, prove_small, verify_small
from nodes import equation, evaluated, inferred, node, roundings
from refusals import frozen

import zkjax
import zkjax.circuit.bounds
import zkjax.training.run
from zkjax.algebra import exact, field
from zkjax.algebra.field import P
from zkjax.circuit import coarse
from zkjax.circuit.bounds import reach
from zkjax.circuit.circuit import Circuit
from zkjax.circuit.parts import Input, Loss, Parameter, Update
from zkjax.ops.operation import Leaves
from zkjax.ops.ranges import farthest
from zkjax.proofs import checks

BEYOND = 2**70  # in the place of the limit: no bound at all


# ---- bounds follow from relations -------------------------------------------------------------------------------
@pytest.mark.parametrize("bound", [0, 1, 3])
@pytest.mark.parametrize("bits", [0, 1, 2])
@pytest.mark.parametrize("shift, table_bits", [(0, 9), (2, 9), (2, 1), (3, 2), (3, 1)])
def test_an_equation_holds_exactly_where_its_sides_stay_near(bound, bits, shift, table_bits):
    """Every x and every part in its table, for all moduli: a false decomposition exists for the farthest distance, and beyond it never."""
    circuit = dataclasses.replace(_circuit(rescaled(shift, bits)), table_bits=table_bits)
    found = equation(circuit, 1)
    parts, widths = found.parts, [width for _, width in found.limbs]
    assert [weight for weight, _ in (*found.limbs, found.quotient)] == [2 ** sum(widths[:j]) for j in range(len(parts))]
    assert sum(widths) == shift and max(widths) <= table_bits
    differences = {
        x + found.constant - sum(weight * value for (weight, _), value in zip(parts, values))
        for x in range(-bound, bound + 1)
        for values in itertools.product(*(range(2**width) for _, width in parts))
    }
    largest = found.farthest(bound)
    for modulus in range(1, largest + 4):
        wraps = any(d and d % modulus == 0 for d in differences)
        assert wraps == (modulus <= largest), modulus
    quotients = {
        x: [v for v in itertools.product(*(range(2**w) for _, w in parts)) if balanced(x, found, v)] for x in range(-bound, bound + 1)
    }
    for x, those in quotients.items():  # and over the integers it is the rounded quotient, once, or none in range
        y = int(exact.rescale(np.array([x]), shift)[0])
        assert [v[0] for v in those] == ([y + 2**bits] if -(2**bits) <= y < 2**bits else [])


def balanced(x, found, values):
    return x + found.constant == sum(weight * value for (weight, _), value in zip(found.parts, values))


def test_lookups_and_bounds_speak_of_the_same_equation():
    """The virtual limb that is looked up is what the bound is about, coefficient by coefficient."""
    circuit, _ = frozen()
    found = {x.key: x for lookups in circuit.lookups.values() for x in lookups}
    for i in roundings(circuit):
        virtual = found["remainder", i, 0]
        ((constant, parts),) = virtual.columns
        ranges = {("node", circuit.nodes[i].inputs[0]): (-1000, 1000)}
        ranges |= {key: (0, 2 ** found[key].table.width - 1) for _, key, *_ in parts if key not in ranges}
        sides = [(coefficient, *ranges[key]) for coefficient, key, *_ in parts] + [(-1, 0, 2**virtual.table.width - 1)]
        limbs = sorted((coefficient, 0, 2 ** found[key].table.width - 1) for coefficient, key, *_ in parts if key[0] != "node")
        (whole,) = [equation for equation in circuit.equations[i] if equation[1]]  # the others are limbs alone
        assert whole[0] == constant and whole[1] == [(1, circuit.nodes[i].inputs[0])]
        assert sorted(whole[2]) == sorted([*limbs, sides[-1]])
        bounds = [1000] * len(circuit.nodes)
        assert farthest(constant, sides) == reach(circuit, i, bounds) == equation(circuit, i).farthest(1000)


OPERATIONS = {
    "linear": ({"coefficients": (3, -2)}, [(2,), (2,)]),
    "sum": ({"axes": (0,)}, [(3, 2)]),
    "scale": ({"axes": (0,)}, [(2,), (2,)]),
    "gate": ({}, [(2,), (2,)]),
    "dot": ({"contract": ((0,), (0,)), "batch": ((), ())}, [(3,), (3,)]),
    "concatenate": ({"axis": 0}, [(1,), (2,)]),
    "pad": ({"low": (1,), "high": (0,), "interior": (1,)}, [(2,)]),
    "slice": ({"start": (1,), "limit": (2,), "stride": (1,)}, [(2,)]),
    "reverse": ({"axes": (0,)}, [(2,)]),
    "broadcast": ({"shape": (2, 2), "axes": (1,)}, [(2,)]),
}


@pytest.mark.parametrize("op", OPERATIONS)
def test_bounds_of_operations_are_reached(op):
    """The largest result over all extreme arguments is the bound: neither too small nor too large."""
    attributes, shapes = OPERATIONS[op]
    bounds = (1, 7) if op == "gate" else (5, 7)
    largest = 0
    for corner in itertools.product((-1, 1), repeat=sum(int(np.prod(s)) for s in shapes)):
        signs, arrays = list(corner), []
        for shape, bound in zip(shapes, bounds):
            count = int(np.prod(shape))
            arrays.append(np.array(signs[:count], dtype=np.int64).reshape(shape) * bound)
            signs = signs[count:]
        one = node(op, (), inferred(op, shapes, attributes), attributes)
        values = evaluated(one, shapes, arrays, (exact.WHOLE, exact.WHOLE))
        largest = max(largest, int(np.abs(values).max()))
    assert one.operation.bound(list(bounds[: len(shapes)]), shapes, Leaves((), ())) == largest


def test_all_bounds_together_on_a_run():
    """No node of a run leaves its bound, inside a chunk or at its end."""
    circuit, run = trained(_circuit(rescaled(3, 4), updates=(Update(1, (5,)),)), x=1, start=100, steps=3)
    bounds = circuit.bounds(run.initial_bound, run.steps)
    assert bounds.final[0] == run.initial_bound[0] + 3 * 5 * 16 and bounds.inside[0] == run.initial_bound[0] + 2 * 5 * 16
    assert abs(int(run.final[0][0])) <= bounds.final[0]


# ---- circuits of one number -------------------------------------------------------------------------------------
def rescaled(shift, bits):
    return [node("rescale", (0,), (1,), {"shift": shift, "bits": bits})]


def _circuit(nodes, *, updates=(), bits=1, table_bits=9) -> Circuit:
    """One input of one number, one parameter of one number; the loss is the last node."""
    nodes = [node("input", (), (1,), {"index": 0}), *nodes]
    total = node("sum", (len(nodes) - 1,), (), {"axes": (0,)})
    inputs, parameters = (Input("x", (1,), 0, bits),), (Parameter("w", (1,), updates),)
    return Circuit((*nodes, total), inputs, parameters, (Loss(len(nodes), Fraction(1)),), table_bits).check()


def trained(circuit, x=1, start=0, steps=1):
    """(circuit, honest run) on a dataset of the number x."""
    run = zkjax.train(circuit, [np.array([float(start)])], (np.array([float(x)]),), steps=steps)
    run.chain.geometry = SMALL
    return circuit, run


def without_bounds(monkeypatch):
    monkeypatch.setattr(zkjax.circuit.bounds, "LIMIT", BEYOND)


def presented(monkeypatch, run, values=None, forms=None, **changes):
    """The run with another witness, and other claims about it."""
    honest = run.witness()
    witness = zkjax.training.run.Witness(honest.values | (values or {}), honest.forms | (forms or {}))
    monkeypatch.setattr(zkjax.training.run.Run, "witness", lambda self: witness)
    return dataclasses.replace(run, kept=None, **changes)


def accepted_without_the_bound(monkeypatch, circuit, proof, undo):
    """The statement, which a verifier without this bound believes; and which every other one refuses for its bounds."""
    believed = verify_small(circuit, proof)
    undo()
    with pytest.raises(zkjax.VerificationError) as caught:
        verify_small(circuit, proof)
    assert caught.value.check == "bounds"
    return believed


# ---- a rescale --------------------------------------------------------------------------------------------------
SHIFT = 61  # 2^61 times a quotient of four bits reaches around p


def wrapped(x, shift):
    """Quotient and remainder of x - p instead of x: the same residue, another integer."""
    quotient = (x - P + 2 ** (shift - 1)) >> shift
    return quotient, x - P + 2 ** (shift - 1) - (quotient << shift)


def test_the_smallest_rescale_that_could_wrap_is_refused():
    fits = {bits: farthest_rescale(bits) < P for bits in range(6)}
    assert fits == {0: True, 1: True, 2: True, 3: False, 4: False, 5: False}
    for bits in range(6):
        circuit = _circuit(rescaled(SHIFT, bits))
        if farthest_rescale(bits) < 2**63:
            assert circuit.bounds((0,), 1).nodes[1] == 2**bits
        else:
            with pytest.raises(zkjax.PrecisionError, match="operation 1 rescale"):
                circuit.bounds((0,), 1)
    assert farthest_rescale(1) < 2**63 <= farthest_rescale(2)


def farthest_rescale(bits):
    return equation(_circuit(rescaled(SHIFT, bits)), 1).farthest(2)


@pytest.mark.parametrize("bits, possible", [(2, False), (3, True)])
def test_a_wrapped_rescale_breaks_no_constraint(monkeypatch, bits, possible):
    """The liar's quotient is one of x - p; beyond the bound it fits its table."""
    without_bounds(monkeypatch)
    _, run = trained(_circuit(rescaled(SHIFT, bits)))
    quotient, remainder = wrapped(1, SHIFT)
    assert quotient == -8 and 0 <= remainder < 2**SHIFT and run.loss_integers == ((0,),)
    liar = Liar(run, ((quotient,),))
    assert Liar(run, ((0,),)).broken() == set()
    liar.values[1][...], liar.forms["remainder", 1][...] = quotient, remainder
    assert (liar.broken() == set()) == possible


def test_a_wrapped_rescale_is_believed_without_the_bound(monkeypatch):
    """The loss is 0, and is proven to be -8."""
    with pytest.raises(zkjax.PrecisionError):
        trained(_circuit(rescaled(SHIFT, 3)))
    with monkeypatch.context() as patched:
        without_bounds(patched)
        circuit, run = trained(_circuit(rescaled(SHIFT, 3)))
        quotient, remainder = wrapped(1, SHIFT)
        lie = presented(
            patched, run, {1: np.full((1, 1), quotient)}, {("remainder", 1): np.full((1, 1), remainder)}, loss_integers=((quotient,),)
        )
        proof = prove_small(circuit, lie, reveal=("loss",), check=False)
        believed = accepted_without_the_bound(patched, circuit, proof, patched.undo)
    assert believed.losses == ((-8,),) and run.loss_integers == ((0,),)


# ---- a revealed loss --------------------------------------------------------------------------------------------
def loss_of(value):
    """A circuit whose only loss is this integer, where x is -1."""
    return _circuit([node("linear", (0,), (1,), {"coefficients": (-value,)})], bits=0)


def test_a_loss_modulo_p_is_believed_without_the_bound(monkeypatch):
    """The loss is 2^63 - 2, and is proven to be that less p: both are within the bound of its node, and one residue."""
    value = 2**63 - 2
    assert loss_of(2**62 - 1).bounds((0,), 1)
    for beyond in (2**62, value):
        with pytest.raises(zkjax.PrecisionError, match="the loss"):
            loss_of(beyond).bounds((0,), 1)
    with monkeypatch.context() as patched:
        patched.setattr(zkjax.circuit.bounds, "residues_differ", lambda bound: 0)  # this bound alone
        circuit, run = trained(loss_of(value), x=-1)
        assert run.loss_integers == ((value,),)
        lie = presented(patched, run, loss_integers=((value - P,),))
        proof = prove_small(circuit, lie, reveal=("loss",), check=False)
        believed = accepted_without_the_bound(patched, circuit, proof, patched.undo)
    assert believed.losses == ((value - P,),)


# ---- last weights -----------------------------------------------------------------------------------------------
def test_weights_modulo_p_are_believed_without_the_bound(monkeypatch):
    """One step leads to w; a commitment to w is one to w - p, which is as small: the liar hands over the latter."""
    rate = 2**63 - 2**30
    circuit = _circuit([], updates=(Update(0, (rate,)),), bits=0)
    with pytest.raises(zkjax.PrecisionError, match="parameter w"):
        circuit.bounds((0,), 1)
    assert _circuit([], updates=(Update(0, (2**62 - 1,)),), bits=0).bounds((0,), 1).final == (2**62 - 1,)
    with monkeypatch.context() as patched:
        patched.setattr(zkjax.circuit.bounds, "residues_differ", lambda bound: 0)
        circuit, run = trained(circuit, x=-1)
        w = int(run.final[0][0])
        assert w == rate and abs(w - P) <= run.final_bound[0]
        lie = presented(patched, run, final=(np.array([w - P]),))
        proof = prove_small(circuit, lie, check=False)
        believed = accepted_without_the_bound(patched, circuit, proof, patched.undo)
    assert believed.final_bound == run.final_bound and field.from_int(lie.final[0]) == field.from_int(run.final[0])


# ---- first weights ----------------------------------------------------------------------------------------------
def test_a_bound_below_the_range_check_is_believed_without_the_comparison(monkeypatch):
    """The range check shows what fits the largest table; who states a smaller bound on larger weights is refused."""
    circuit, run = trained(_circuit(rescaled(3, 4)), start=200)
    (shown,) = coarse.shown(circuit, run.coarse_shifts, run.widths)
    assert run.initial_bound == (shown,) and abs(run.initial[0][0]) == 200
    assert verify_small(circuit, prove_small(circuit, run)).initial_bound == (shown,)
    lie = dataclasses.replace(run, initial_bound=(100,))
    proof = prove_small(circuit, lie)
    with monkeypatch.context() as patched:
        patched.setattr(checks, "signed_bound", lambda width: 0)
        believed = accepted_without_the_bound(patched, circuit, proof, patched.undo)
    assert believed.initial_bound == (100,)
    for less in (0, 1):
        altered = dataclasses.replace(run, initial_bound=(shown - less,))
        altered.chain.openings.spent.clear()
        proof = prove_small(circuit, altered)
        if less:
            with pytest.raises(zkjax.VerificationError, match="range check"):
                zkjax.verify(circuit, proof, minimum_bits=BITS)
        else:
            assert verify_small(circuit, proof)


# ---- 64 bits ----------------------------------------------------------------------------------------------------
def test_integers_beyond_64_bits_are_refused_before_they_wrap(monkeypatch):
    """The trainer computes in int64: from 2^63 on its integers are others, and its proof is of nothing."""
    nodes = [node("linear", (0, 0), (1,), {"coefficients": (-(2**62), -(2**62))}), node("linear", (1,), (1,), {"coefficients": (0,)})]
    circuit = _circuit(nodes, bits=0)
    with pytest.raises(zkjax.PrecisionError, match=r"operation 1 linear .* may reach 2\^63.00"):
        circuit.bounds((0,), 1)
    wrapping = evaluated(circuit.nodes[1], [(1,)] * 2, [np.array([-1])] * 2)
    assert wrapping[0] == -(2**63)  # 2^63 was meant
