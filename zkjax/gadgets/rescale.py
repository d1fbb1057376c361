"""Rescaling y = (x + 2^(s-1)) >> s with -2^b <= y < 2^b, and the sign of y: zkReLU's auxiliary tensors.

    x + 2^(s-1) + 2^(s+b)  =  r_0 + 2^(o_1) r_1 + ... + 2^s q,      q = y + 2^b in [0, 2^(b+1)),  r = sum 2^(o_k) r_k in [0, 2^s)

Committed: the quotient q and the upper remainder limbs r_1, r_2, ...; the lowest limb r_0 is *virtual*, the linear form
that the equation leaves. Each is looked up in a range table of its width; q is looked up together with its sign where a
ReLU reads one. Both sides of the equation stay below p (``Circuit.bounds``), so it holds over the integers, and the
decomposition of an integer is unique: the verifier knows that y is the rounded x.

A liar could try: another quotient balanced by remainder limbs (a limb leaves its range), x shifted by p (the bounds
exclude it), a virtual quotient (then claims on activations would turn into claims on products; so the quotient is
committed), a mask that is not the sign (no row of the sign table).

s = 0 asks that x itself fits: the quotient is x + 2^b and the virtual limb must be 0.

PROTOCOL.md, section 10.1.
"""

from dataclasses import dataclass

import numpy as np

from ..circuit import Circuit, signed_bound
from .table import Table


@dataclass(frozen=True)
class Lookup:
    """The statement "each entry of this tensor is in this table".

    key: names the lookup. shape: of the tensor, step axis included. columns: for each column of the table, an affine form
    (constant, ((coefficient, tensor key), ...)); keys are committed tensors, ("input", k) or ("node", i).
    """

    key: tuple
    table: Table
    shape: tuple[int, ...]
    columns: tuple


def quotient_table(circuit: Circuit, i: int) -> Table:
    """The table in which the quotient of rescale i is looked up."""
    return Table("sign" if circuit.signed(i) else "range", circuit.nodes[i]["bits"] + 1)


def advice_shapes(circuit: Circuit, steps: int) -> dict:
    """Committed cells of all rescales and signs: tensor key to shape, step axis first."""
    shapes = {}
    for i in circuit.of("rescale"):
        shape = (steps, *circuit.nodes[i].shape)
        shapes["quotient", i] = shape
        for j in range(1, len(circuit.limbs(circuit.nodes[i]["shift"]))):
            shapes["limb", i, j] = shape
    for i in circuit.of("sign"):
        shapes["sign", i] = (steps, *circuit.nodes[i].shape)
    return shapes


def lookups(circuit: Circuit, steps: int) -> list[Lookup]:
    """The lookups that make every rescale and every sign true."""
    result = []
    for i in circuit.of("rescale"):
        node, equation = circuit.nodes[i], circuit.decomposition(i)
        shape, sign = (steps, *node.shape), circuit.sign_of(i)
        quotient = (0, ((1, ("quotient", i)),))
        columns = (quotient,) if sign is None else (quotient, (0, ((1, ("sign", sign)),)))
        result.append(Lookup(("quotient", i), quotient_table(circuit, i), shape, columns))
        lowest = [(1, ("node", node.inputs[0])), (-equation.quotient[0], ("quotient", i))]
        for j, (weight, width) in enumerate(equation.limbs[1:], start=1):
            result.append(Lookup(("limb", i, j), Table("range", width), shape, ((0, ((1, ("limb", i, j)),)),)))
            lowest.append((-weight, ("limb", i, j)))
        width = equation.limbs[0][1]
        result.append(Lookup(("limb", i, 0), Table("range", width), shape, ((equation.constant, tuple(lowest)),)))
    return result


def advice(circuit: Circuit, i: int, narrow: np.ndarray, remainder: np.ndarray) -> dict:
    """The prover's tensors of rescale i: ("quotient", i) and ("limb", i, j) for all j >= 0, from y and r (int64)."""
    node = circuit.nodes[i]
    tensors = {("quotient", i): narrow + signed_bound(node["bits"] + 1)}
    offset = 0
    for j, width in enumerate(circuit.limbs(node["shift"])):
        tensors["limb", i, j] = (remainder >> offset) & ((1 << width) - 1)
        offset += width
    return tensors
