"""Contractions: dot_general, matrix products and elementwise products, of all nodes and steps in one sumcheck of degree 2.

A term on Z = dot(x, y) has one vector for each group of Z's axes. Fold the free axes of both operands by theirs first; the
sumcheck then runs over (step, batch axes, contracted axes) only:

    <Z, w> = sum over (t, b, k) of left[t,b,k] * right[t,b,k]
    left [t,b,k] = sum over free axes of x  x[t,b,k,.] * vectors
    right[t,b,k] = scalar * step[t] * (vectors of batch axes)[b] * sum over free axes of y  y[t,b,k,.] * vectors

Terms on a dot whose left tables are the same share a block, whose right table is the sum of theirs: all terms on an elementwise
product do. All blocks stand in one layout. At the end one claim on all left operands, one on all right operands, and their product
(Thaler, "Time-optimal interactive proofs", 2013, for the matrix product; the batching over layers and steps is FAC4DNN's, arXiv
2307.16273).

A reshape after the product may have joined free axes of both operands into one group. The axes of one operand are then
*lifted* into the sumcheck: its table keeps them, and the other operand's vector depends on them.

A liar who has another product, in any node and step, has a wrong sum, and must guess a round's challenge: 2 rounds / |K|.

PROTOCOL.md, section 13.5.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from ..algebra import extension as ext
from ..algebra.extension import ZERO, Ext
from ..algebra.layout import Layout
from ..algebra.vectors import Vector, Vectors
from ..circuit.circuit import Circuit
from ..work import TERM
from .claims import Claim, Term, pull
from .hidden import Hidden
from .sumcheck import product_sumcheck


@dataclass(frozen=True)
class Operand:
    """What the sumcheck sees of one operand; equal if that is the same.

    kept: its axes that stay; positions: where they stand in the block's shape. groups: (own axes ascending, positions of
    lifted axes of the other operand, NumPy K vector over the lifted and then the own axes, row-major); own axes outside
    ``kept`` are summed.
    """

    node: int
    groups: tuple
    kept: tuple[int, ...]
    positions: tuple[int, ...]


@dataclass(frozen=True)
class Right:
    """A summand of a block's right table: scalar * step (x) operand."""

    operand: Operand
    scalar: Ext
    step: Vector


@dataclass(frozen=True, eq=False)
class Block:
    """Terms on a dot: <left, sum of rights> over ``shape`` = (steps, batch, contracted, lifted axes)."""

    shape: tuple[int, ...]
    left: Operand
    rights: tuple[Right, ...]


def blocks_of(vectors: Vectors, circuit: Circuit, terms: list[Term]) -> list[Block]:
    """The terms on dots, those with the same left table in one block at the place of the first."""
    found: dict = {}
    for term in terms:
        shape, left, right = _split(vectors, circuit, term)
        name = term.key, shape, left, right.kept, right.positions
        found.setdefault(name, []).append(Right(right, term.scalar, term.step))
    return [Block(shape, left, tuple(rights)) for (_, shape, left, *_), rights in found.items()]


def _split(vectors: Vectors, circuit: Circuit, term: Term) -> tuple[tuple[int, ...], Operand, Operand]:
    """A term on a dot as the shape of its block and the two operands."""
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
    left, right = (Operand(node.inputs[s], tuple(groups[s]), tuple(kept[s]), tuple(positions[s])) for s in range(2))
    return tuple(shape), left, right


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
    blocks = blocks_of(hidden.vectors, circuit, dots)
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
    on_left = [_operand_term(circuit, blocks[w.key].left, w, products) for w in weights]
    on_right = [_right_term(circuit, summand, w, products) for w in weights for summand in blocks[w.key].rights]
    for terms, form in ((on_left, left), (on_right, right)):
        terms, constant = pull(circuit, terms, hidden.vectors)
        reduced.append(Claim(tuple(terms), constant, form))
    return reduced


def _right_term(circuit: Circuit, summand: Right, weight, products) -> Term:
    """A summand of the right table at the sumcheck's point."""
    term = _operand_term(circuit, summand.operand, weight, products)
    return term._replace(scalar=term.scalar * summand.scalar, step=products.along(summand.step, [-1], 0, term.step))


def _operand_term(circuit: Circuit, operand: Operand, weight, products) -> Term:
    """An operand's table at the sumcheck's point, as a term on its node."""
    dims = circuit.nodes[operand.node].shape
    at = {d: weight.vectors[position] for d, position in zip(operand.kept, operand.positions, strict=True)}
    groups, vectors = [], []
    for axes, outer, vector in operand.groups:
        for position in outer:
            vector = products.contracted(vector, weight.vectors[position])
        for d in axes:
            if d in at:
                vector = products.along(vector, [dims[a] for a in axes], axes.index(d), at.pop(d))
        groups.append(axes)
        vectors.append(vector)
    rest = tuple((d,) for d in at)
    return Term(("node", operand.node), weight.scalar, weight.vectors[0], tuple(groups) + rest, tuple(vectors) + tuple(at.values()))


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

    def contracted(self, vector, factor):
        """Sum over the first axis, as long as ``factor``, of ``vector`` times it."""
        length = len(factor[0])

        def multiply():
            product = ext.mul(tuple(c.reshape(length, -1) for c in vector), tuple(c.reshape(-1, 1) for c in factor))
            return ext.sum(product, axis=0)

        return self._once(("contracted", length, vector, factor), len(vector[0]) // length, multiply, len(vector[0]))

    def _once(self, arguments, length, function, entries=0):
        if arguments not in self.memo:
            self.memo[arguments] = self.vectors.make(length, function, entries)
        return self.memo[arguments]
