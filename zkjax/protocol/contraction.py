"""Contractions: dot_general, matrix products and elementwise products, of all nodes and steps in one sumcheck of degree 2.

A term on Z = dot(x, y) has one vector for each group of Z's axes. Fold the free axes of both operands by theirs first; the
sumcheck then runs over (step, batch axes, contracted axes) only:

    <Z, w> = sum over (t, b, k) of left[t,b,k] * right[t,b,k]
    left [t,b,k] = sum over free axes of x  x[t,b,k,.] * vectors
    right[t,b,k] = scalar * step[t] * (vectors of batch axes)[b] * sum over free axes of y  y[t,b,k,.] * vectors

One block for each term, all blocks in one layout. At the end one claim on all left operands, one on all right operands,
and their product (Thaler, "Time-optimal interactive proofs", 2013, for the matrix product; the batching over layers and
steps is FAC4DNN's, arXiv 2307.16273).

A reshape after the product may have joined free axes of both operands into one group. The axes of one operand are then
*lifted* into the sumcheck: its table keeps them, and the other operand's vector depends on them.

A liar who has another product, in any node and step, has a wrong sum, and must guess a round's challenge: 2 rounds / |K|.

PROTOCOL.md, section 13.5.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from ..algebra import extension as ext
from ..algebra.extension import ZERO
from ..algebra.layout import Layout
from ..algebra.vectors import Vectors
from ..circuit.circuit import Circuit
from ..work import TERM
from .claims import Claim, Term, pull
from .hidden import Hidden
from .sumcheck import product_sumcheck


@dataclass(frozen=True, eq=False)
class Operand:
    """What the sumcheck sees of one operand.

    kept: its axes that stay; positions: where they stand in the block's shape. groups: (own axes ascending, positions of
    lifted axes of the other operand, NumPy K vector over the lifted and then the own axes, row-major); own axes outside
    ``kept`` are summed.
    """

    node: int
    groups: tuple
    kept: tuple[int, ...]
    positions: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Block:
    """One term on a dot: <left, right> over ``shape`` = (steps, batch, contracted, lifted axes), right times scalar and step."""

    shape: tuple[int, ...]
    left: Operand
    right: Operand
    scalar: object
    step: tuple


def block(vectors: Vectors, circuit: Circuit, term: Term) -> Block:
    """Split a term on a dot into its two operands."""
    node = circuit.nodes[term.key[1]]
    shapes = [circuit.nodes[j].shape for j in node.inputs]
    batch, contract = node.operation.batch, node.operation.contract
    free = [[d for d in range(len(s)) if d not in c + b] for s, c, b in zip(shapes, contract, batch, strict=True)]
    owners = [(0, d) for d in batch[0]] + [(0, d) for d in free[0]] + [(1, d) for d in free[1]]  # of the result's axes
    batches = len(batch[0])
    kept = [[*b, *c] for b, c in zip(batch, contract, strict=True)]
    shape = [len(term.step[0]), *(shapes[0][d] for d in kept[0])]
    positions = [[*range(1, len(shape))] for _ in range(2)]
    groups: tuple[list, list] = ([], [])
    for group, vector in zip(term.groups, term.vectors, strict=True):
        parts = [[d for d in group if d >= batches and owners[d][0] == side] for side in range(2)]
        side = 0 if parts[0] else 1  # that folds or weighs by the vector
        lifted: list[int] = []
        if parts[0] and parts[1]:
            sizes = [prod(node.shape[d] for d in part) for part in parts]
            side = 1 if sizes[0] <= sizes[1] else 0
            lifted = parts[1 - side]
        own = [d for d in group if d not in lifted]
        axes = {d: batch[side][d] if d < batches else owners[d][1] for d in own}
        order = lifted + sorted(own, key=axes.get)
        outer = tuple(range(len(shape), len(shape) + len(lifted)))
        shape += [node.shape[d] for d in lifted]
        kept[1 - side] += [owners[d][1] for d in lifted]
        positions[1 - side] += outer
        groups[side].append((tuple(sorted(axes.values())), outer, _ordered(vectors, vector, group, order, node.shape)))
    operands = [Operand(node.inputs[s], tuple(groups[s]), tuple(kept[s]), tuple(positions[s])) for s in range(2)]
    return Block(tuple(shape), *operands, term.scalar, term.step)


def _ordered(vectors: Vectors, vector, group, order, shape):
    """A vector over ``group``, row-major, with its axes in another order."""
    if tuple(order) == tuple(group):
        return vector
    dims, permutation = [shape[d] for d in group], [group.index(d) for d in order]
    return vectors.make(
        len(vector[0]), lambda: tuple(np.ascontiguousarray(c.reshape(dims).transpose(permutation)).reshape(-1) for c in vector)
    )


def contract(hidden: Hidden, level: int, circuit: Circuit, claim: Claim, prover=None) -> list[Claim]:
    """Reduce a claim with terms on dots of a level to claims on the operands.

    Its terms on lower levels become one hidden scalar, received before the first challenge: the first claim returned. The
    others: on all left operands, on all right operands. prover: see ``witness.Witness``.
    """
    label = f"level {level}"
    heights = [circuit.levels.of(term.key) for term in claim.terms]
    dots = [term for term, height in zip(claim.terms, heights, strict=True) if height == level]
    virtual = tuple(term for term, height in zip(claim.terms, heights, strict=True) if 0 < height < level)
    committed = [term for term, height in zip(claim.terms, heights, strict=True) if not height]
    hidden.vectors.meter.charge("products of claims", 2 * TERM * len(dots))
    blocks = [block(hidden.vectors, circuit, term) for term in dots]
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
    weights, products = layout.weights(point, hidden.vectors), _Products(hidden.vectors)
    for side, form in ((0, left), (1, right)):
        terms = [_operand_term(circuit, blocks[w.key], w, side, products) for w in weights]
        terms, constant = pull(circuit, terms, hidden.vectors)
        reduced.append(Claim(tuple(terms), constant, form))
    return reduced


def _operand_term(circuit: Circuit, b: Block, weight, side: int, products) -> Term:
    """The block's left or right table at the sumcheck's point, as a term on the operand's node."""
    operand = (b.left, b.right)[side]
    dims = circuit.nodes[operand.node].shape
    at = {d: weight.vectors[position] for d, position in zip(operand.kept, operand.positions, strict=True)}
    groups, vectors = [], []
    for axes, outer, vector in operand.groups:
        for position in outer:
            vector = products.contracted(vector, b.shape[position], weight.vectors[position])
        for d in axes:
            if d in at:
                vector = products.along(vector, [dims[a] for a in axes], axes.index(d), at.pop(d))
        groups.append(axes)
        vectors.append(vector)
    step, scalar = weight.vectors[0], weight.scalar
    if side == 1:
        step, scalar = products.along(b.step, [-1], 0, step), scalar * b.scalar
    return Term(("node", operand.node), scalar, step, tuple(groups) + tuple((d,) for d in at), tuple(vectors) + tuple(at.values()))


class _Products:
    """Products of vectors, each computed once so that equal weights stay the same objects."""

    def __init__(self, vectors: Vectors):
        self.vectors = vectors
        self.memo: dict = {}

    def along(self, vector, dims, position, factor):
        """``vector`` over axes of lengths ``dims``, times ``factor`` along the one at ``position``."""

        def multiply():
            spread = [n if j == position else 1 for j, n in enumerate(dims)]
            product = ext.mul(tuple(c.reshape(dims) for c in vector), tuple(c.reshape(spread) for c in factor))
            return tuple(c.reshape(-1) for c in product)

        return self._once(("along", *dims, position, vector, factor), len(vector[0]), multiply)

    def contracted(self, vector, length, factor):
        """Sum over the first axis, of this length, of ``vector`` times ``factor``."""

        def multiply():
            product = ext.mul(tuple(c.reshape(length, -1) for c in vector), tuple(c.reshape(-1, 1) for c in factor))
            return ext.sum(product, axis=0)

        return self._once(("contracted", length, vector, factor), len(vector[0]) // length, multiply, len(vector[0]))

    def _once(self, arguments, length, function, entries=0):
        if arguments not in self.memo:
            self.memo[arguments] = self.vectors.make(length, function, entries)
        return self.memo[arguments]
