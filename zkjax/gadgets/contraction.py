"""Contractions: dot_general, matrix products and elementwise products, of all nodes and steps in one sumcheck of degree 2.

A term on Z = dot(x, y) has one vector for each group of Z's axes. Fold the free axes of both operands by theirs first; the
sumcheck then runs over (step, batch axes, contracted axes) only:

    <Z, w> = sum over (t, b, k) of left[t,b,k] * right[t,b,k]
    left [t,b,k] = sum over free axes of x  x[t,b,k,.] * vectors
    right[t,b,k] = scalar * step[t] * (vectors of batch axes)[b] * sum over free axes of y  y[t,b,k,.] * vectors

One block for each term, all blocks in one layout. At the end one claim on all left operands, one on all right operands,
and their product (Thaler, "Time-optimal interactive proofs", 2013, for the matrix product; the batching over layers and
steps is FAC4DNN's, arXiv 2307.16273).

A liar who has another product, in any node and step, has a wrong sum, and must guess a round's challenge: 2 rounds / |K|.
"""

from dataclasses import dataclass

import numpy as np

from .. import extension as ext
from ..circuit import Circuit
from ..claims import Claim, Term, pull
from ..errors import UnsupportedOperationError
from ..extension import ZERO
from ..hidden import Hidden
from ..layout import Layout
from ..sumcheck import product_sumcheck

VIRTUAL = ("param", "gate")


@dataclass(frozen=True, eq=False)
class Operand:
    """What the sumcheck sees of one operand: its node, the vectors to fold or weigh it by, the axes that stay.

    groups: (axes ascending, NumPy K vector over them, row-major); axes outside ``kept`` are summed.
    """

    node: int
    groups: tuple
    kept: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Block:
    """One term on a dot: <left, right> over ``shape`` = (steps, batch axes, contracted axes), right times scalar and step."""

    shape: tuple[int, ...]
    left: Operand
    right: Operand
    scalar: object
    step: tuple


def block(circuit: Circuit, term: Term) -> Block:
    """Split a term on a dot into its two operands. Raises UnsupportedOperationError for a vector over free axes of both."""
    i = term.key[1]
    node = circuit.nodes[i]
    (contract_x, contract_y), (batch_x, batch_y) = node["contract"], node["batch"]
    x, y = (circuit.nodes[j].shape for j in node.inputs)
    free_x = [d for d in range(len(x)) if d not in contract_x + batch_x]
    free_y = [d for d in range(len(y)) if d not in contract_y + batch_y]
    batches = len(batch_x)
    to_x = list(batch_x) + free_x  # axes of the result, in order: batch, free of x, free of y
    to_y = list(batch_y) + [None] * len(free_x) + free_y
    left, right = [], []
    for group, vector in zip(term.groups, term.vectors, strict=True):
        in_x = any(batches <= d < batches + len(free_x) for d in group)
        in_y = any(d >= batches + len(free_x) for d in group)
        if in_x and in_y:
            raise UnsupportedOperationError(
                f"{circuit.describe(i)}: a reshape after it mixes axes of both operands; keep the batch axis apart from the features"
            )
        axes = to_x if in_x else to_y
        (left if in_x else right).append(_ascending(tuple(axes[d] for d in group), vector, tuple(node.shape[d] for d in group)))
    shape = (len(term.step[0]), *(x[d] for d in batch_x), *(x[d] for d in contract_x))
    return Block(
        shape,
        Operand(node.inputs[0], tuple(left), batch_x + contract_x),
        Operand(node.inputs[1], tuple(right), batch_y + contract_y),
        term.scalar,
        term.step,
    )


def _ascending(axes, vector, dims):
    order = tuple(sorted(range(len(axes)), key=lambda j: axes[j]))
    if order != tuple(range(len(axes))):
        vector = tuple(np.ascontiguousarray(c.reshape(dims).transpose(order)).reshape(-1) for c in vector)
    return tuple(axes[j] for j in order), vector


def contract(hidden: Hidden, label: str, circuit: Circuit, claim: Claim, prover=None) -> list[Claim]:
    """Reduce a claim with terms on dots to claims on the operands.

    Terms of the claim on other virtual tensors become one hidden scalar, received before the first challenge: the first
    claim returned. The others: on all left operands, on all right operands. prover: see ``witness.Witness``.
    """
    virtual = tuple(term for term in claim.terms if term.key[0] in VIRTUAL)
    dots = [term for term in claim.terms if term.key[0] == "dot"]
    committed = [term for term in claim.terms if term.key[0] not in (*VIRTUAL, "dot")]
    blocks = [block(circuit, term) for term in dots]
    layout = Layout({j: b.shape for j, b in enumerate(blocks)})
    scalars, tables = prover.contraction(virtual, blocks, layout) if hidden.proving else (None, None)
    value, reduced = claim.value - claim.constant, []
    if committed:
        value = value - hidden.functional(committed)
    if virtual:
        (linear,) = hidden.receive(f"{label}: linear terms", 1, lambda: [scalars])
        reduced.append(Claim(virtual, ZERO, linear))
        value = value - linear
    if not blocks:
        hidden.require_zero(label, value)
        return reduced
    point, left, right = product_sumcheck(hidden, label, value, layout.num_vars, tables)
    weights, products = layout.weights(point), _Products()
    for side, form in ((0, left), (1, right)):
        terms = [_operand_term(circuit, blocks[w.key], w, side, products) for w in weights]
        terms, constant = pull(circuit, terms)
        reduced.append(Claim(tuple(terms), constant, form))
    return reduced


def _operand_term(circuit: Circuit, b: Block, weight, side: int, products) -> Term:
    """The block's left or right table at the sumcheck's point, as a term on the operand's node."""
    operand = (b.left, b.right)[side]
    dims = circuit.nodes[operand.node].shape
    at = dict(zip(operand.kept, weight.vectors[1:], strict=True))
    groups, vectors = [], []
    for axes, vector in operand.groups:
        for d in axes:
            if d in at:
                vector = products.along(vector, axes, dims, d, at.pop(d))
        groups.append(axes)
        vectors.append(vector)
    step, scalar = weight.vectors[0], weight.scalar
    if side == 1:
        step, scalar = products.along(b.step, (0,), (len(b.step[0]),), 0, step), scalar * b.scalar
    return Term(("node", operand.node), scalar, step, tuple(groups) + tuple((d,) for d in at), tuple(vectors) + tuple(at.values()))


class _Products:
    """Entrywise products of vectors, each computed once so that equal weights stay the same objects."""

    def __init__(self):
        self.memo: dict = {}

    def along(self, vector, axes, dims, axis, factor):
        """``vector`` over ``axes`` times ``factor`` along one of them."""
        name = id(vector), axes, axis, id(factor)
        if name not in self.memo:
            spread = tuple(dims[d] if d == axis else 1 for d in axes) if len(axes) > 1 else (-1,)
            shape = tuple(dims[d] for d in axes) if len(axes) > 1 else (-1,)
            product = ext.mul(tuple(c.reshape(shape) for c in vector), tuple(c.reshape(spread) for c in factor))
            self.memo[name] = tuple(c.reshape(-1) for c in product), vector, factor
        return self.memo[name][0]


