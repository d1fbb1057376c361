"""A circuit with every kind of state, made by hand: exact with momentum, decaying, an average, given, committed and frozen ones."""

import secrets
from fractions import Fraction

import numpy as np
from nodes import node

import zkjax
from zkjax.circuit.circuit import Circuit
from zkjax.circuit.parts import Given, Input, Loss, Parameter, Public, Recurrence, Update
from zkjax.commitment.commit import commit, stack
from zkjax.kernels.threads import scope
from zkjax.proofs.alone import LinkStatement, errors_alone
from zkjax.proofs.soundness import security
from zkjax.prover.commitments import Commitments, slots_of
from zkjax.prover.link import shown_equal
from zkjax.prover.prove import coarse_integers, make_plan

BATCH, PERIOD = 2, 3
UNIT = 2**64
ONE = Fraction(1, 256)  # the value of 1 of every state


def fixed(*values) -> tuple[int, ...]:
    return tuple(int(Fraction(v) * UNIT) for v in values)


def moving(period=PERIOD, max_steps=None, decay=(0.98,), rate=(1,), frozen=False) -> Circuit:
    """w learns with momentum m, exactly; v decays and learns, and is rounded; e averages both; all of one shape.

    m' = 0.9 m + u;  w' = w - m' (inner units);  v' = decay v - u / 4;  e' = 0.75 e + 0.125 v + 0.125 w.
    frozen: with a parameter f that no step changes: w' is less x^T (x f) too, and e begins with 5 + 2 f instead of w.
    """
    product = {"contract": ((1,), (0,)), "batch": ((), ())}
    nodes = (
        node("input", (), (BATCH, 3), {"index": 0}),
        node("param", (), (3, 2), {"index": 0}),  # w
        node("param", (), (3, 2), {"index": 2}),  # v
        node("dot", (0, 1), (BATCH, 2), product),  # 3: x w
        node("rescale", (3,), (BATCH, 2), {"shift": 11, "bits": 7}),
        node("dot", (0, 2), (BATCH, 2), product),  # 5: x v, v in inner units
        node("rescale", (5,), (BATCH, 2), {"shift": 11, "bits": 7}),
        node("linear", (4, 6), (BATCH, 2), {"coefficients": (1, 1)}),
        node("dot", (0, 7), (3, 2), {"contract": ((0,), (0,)), "batch": ((), ())}),  # 8: u
        node("next", (8,), (3, 2), {"index": 1}),  # 9: m'
        node("dot", (7, 7), (), {"contract": ((0, 1), (0, 1)), "batch": ((), ())}),  # 10
        node("sum", (4,), (), {"axes": (0, 1)}),  # 11
    )
    if frozen:
        nodes += (
            node("param", (), (3, 2), {"index": 4}),  # 12: f
            node("dot", (0, 12), (BATCH, 2), product),
            node("rescale", (13,), (BATCH, 2), {"shift": 11, "bits": 7}),
            node("dot", (0, 14), (3, 2), {"contract": ((0,), (0,)), "batch": ((), ())}),  # 15
        )
    first, updates = (Given(5, 4, 1), (Update(15, (1,)),)) if frozen else (Given(0, 0, 0), ())
    parameters = (
        Parameter("w", (3, 2), (Update(9, rate), *updates), unit=ONE),
        Parameter("m", (3, 2), (), Recurrence(((1, fixed(0.9)),), ((8, fixed(1)),), 12, 3, 5), Given(), ONE),
        Parameter("v", (3, 2), (), Recurrence(((2, fixed(*decay)),), ((8, fixed(-0.25)),), 12, 3, 10), unit=ONE),
        Parameter("e", (3, 2), (), Recurrence(((3, fixed(0.75)), (2, fixed(0.125))), ((1, fixed(0.125)),), 12, 2, 4), first, ONE),
        *([Parameter("f", (3, 2), unit=ONE)] if frozen else ()),
    )
    inputs = (Input("x", (BATCH, 3), 3, 4),)
    losses, public = (Loss(10, Fraction(1)), Loss(11, Fraction(-1, 2), "size")), (Public("count", (), "i", (Fraction(3),), 1),)
    return Circuit(nodes, inputs, parameters, losses, 9, max_steps=max_steps, period=period, public=public).check()


def start(seed=0, frozen=False):
    """(parameters, data); f has more bits than a table, so its committed integers have a shift."""
    rng = np.random.default_rng(seed)
    learn, data = [rng.integers(-60, 61, size=(3, 2)) * 2.0**-6 for _ in range(2)], (rng.integers(-8, 9, size=(6, 3)) * 2.0**-3,)
    return learn + [rng.integers(-60, 61, size=(3, 2)) * 2.0**-4] * frozen, data


def link_of_parameters(run, geometry, minimum_bits, lie=False) -> zkjax.Proof:
    """A proof of a link alone from a run's last states, of which it opens the parameters, and nothing of what is beside them.

    By hand, as ``zkjax.link`` replaces all parts of a commitment. lie: what it leads to holds the other states.
    """
    plan = make_plan(run)
    slot = slots_of(run, plan)["final"]
    choice = run.chain.openings.choose((slot,), "by hand", replace=True)
    with scope():
        old = Commitments(run, plan, geometry, coarse_integers(run, plan), choice).opened("final").only("parameters")
        part, named = old.members[0].part, {"kind": slot.kind, "number": slot.member, "budget": slot.budget}
        new = commit(old.parts[lie].rows, geometry=geometry, seed=secrets.token_bytes(32), **named)
        statement = LinkStatement(geometry, (old.commitment,), (new.commitment,))
        ledger = security(errors_alone(statement.in_stack()), geometry, stack([part.rows, part.rows, 1])[1]).require(minimum_bits)
        return shown_equal(statement, [old, new], ledger)
