"""A circuit with every kind of state, made by hand: exact with momentum, decaying, an average, given and committed ones."""

from fractions import Fraction

import numpy as np
from nodes import node

from zkjax.circuit.circuit import Circuit
from zkjax.circuit.parts import Given, Input, Loss, Parameter, Public, Recurrence, Update

BATCH, PERIOD = 2, 3
UNIT = 2**64
ONE = Fraction(1, 256)  # the value of 1 of every state


def fixed(*values) -> tuple[int, ...]:
    return tuple(int(Fraction(v) * UNIT) for v in values)


def moving(period=PERIOD, max_steps=None, decay=(0.98,), rate=(1,)) -> Circuit:
    """w learns with momentum m, exactly; v decays and learns, and is rounded; e averages both; all of one shape.

    m' = 0.9 m + u;  w' = w - m' (inner units);  v' = decay v - u / 4;  e' = 0.75 e + 0.125 v + 0.125 w.
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
    parameters = (
        Parameter("w", (3, 2), (Update(9, rate),), unit=ONE),
        Parameter("m", (3, 2), (), Recurrence(((1, fixed(0.9)),), ((8, fixed(1)),), 12, 3, 5), Given(), ONE),
        Parameter("v", (3, 2), (), Recurrence(((2, fixed(*decay)),), ((8, fixed(-0.25)),), 12, 3, 10), unit=ONE),
        Parameter("e", (3, 2), (), Recurrence(((3, fixed(0.75)), (2, fixed(0.125))), ((1, fixed(0.125)),), 12, 2, 4), Given(0, 0, 0), ONE),
    )
    inputs = (Input("x", (BATCH, 3), 3, 4),)
    losses, public = (Loss(10, Fraction(1)), Loss(11, Fraction(-1, 2), "size")), (Public("count", (), "i", (Fraction(3),), 1),)
    return Circuit(nodes, inputs, parameters, losses, 9, max_steps=max_steps, period=period, public=public).check()


def start(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(-60, 61, size=(3, 2)) * 2.0**-6 for _ in range(2)], (rng.integers(-8, 9, size=(6, 3)) * 2.0**-3,)
