"""A circuit with draws, made by hand: masks from keys of every kind, and random words, in products and alone."""

from fractions import Fraction

import numpy as np
from nodes import node

from zkjax.circuit.circuit import Circuit
from zkjax.circuit.parts import Input, Loss, Parameter, Update

BATCH = 2
BASE = (0x2545F491, 0x4F6CDD1D)


def drawing(words=BASE, path=(7, -1), threshold=5 << 20, max_steps=None, modulus=None) -> Circuit:
    """A step masks what it makes of x, and adds random words to w.

    draw 4: 1 with probability 5/8, of the batch and the outputs, by ``words``, ``path`` and ``threshold``; draw 9: 3 bits for each weight.
    modulus: residues instead: 4 the one-hots of one of two outputs, by one word; 9 numbers of two words, below the modulus.
    """
    product = {"contract": ((1,), (0,)), "batch": ((), ())}
    axes = (0, 1)
    mask, added = {"shape": (BATCH, 2), "words": words, "path": path, "shift": 9, "threshold": threshold}, {"shape": (3, 2), "words": BASE}
    added |= {"path": (-1, 1), "shift": 29, "threshold": 0}
    if modulus is not None:
        mask |= {"shape": (BATCH,), "threshold": -1, "modulus": 2, "parts": 1}
        added |= {"shift": 0, "modulus": modulus, "parts": 2}
    mask, added = (node("residue" if modulus else "draw", (), shape, x) for shape, x in (((BATCH, 2), mask), ((3, 2), added)))
    nodes = (
        node("input", (), (BATCH, 3), {"index": 0}),
        node("param", (), (3, 2), {"index": 0}),
        node("dot", (0, 1), (BATCH, 2), product),  # 2: x w
        node("rescale", (2,), (BATCH, 2), {"shift": 6, "bits": 7}),
        mask,
        node("dot", (4, 3), (BATCH, 2), {"contract": ((), ()), "batch": (axes, axes)}),  # 5: the mask on it
        node("dot", (0, 5), (3, 2), {"contract": ((0,), (0,)), "batch": ((), ())}),  # 6: an update
        node("dot", (5, 5), (), {"contract": (axes, axes), "batch": ((), ())}),  # 7
        node("sum", (5,), (), {"axes": axes}),  # 8
        added,
        node("sum", (9,), (), {"axes": axes}),  # 10
    )
    parameters = (Parameter("w", (3, 2), (Update(6, (1,)), Update(9, (2,))), unit=Fraction(1, 256)),)
    losses = (Loss(7, Fraction(1)), Loss(8, Fraction(1), "kept"), Loss(10, Fraction(1), "noise"))
    return Circuit(nodes, (Input("x", (BATCH, 3), 3, 4),), parameters, losses, 9, max_steps=max_steps).check()


def start(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(-60, 61, size=(3, 2)) * 2.0**-6], (rng.integers(-8, 9, size=(6, 3)) * 2.0**-3,)
