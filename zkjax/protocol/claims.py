"""Claims <tensor, w> = v with separable weights, and their walk through linear operations, as cotangents walk in autodiff.

A *term* gives one tensor of the circuit (or one committed tensor) a weight that is a product of vectors: one for the step
axis and one for each *group* of axes. Groups have one axis, until a reshape mixes axes or a constant couples them; then
the vector runs over the group's axes jointly, row-major. <L x, w> = <x, L^T w> moves a term down through a linear
operation with no message, in time proportional to the vectors' lengths.

PROTOCOL.md, section 12.
"""

import heapq
import math
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np

from ..algebra import extension as ext
from ..algebra.extension import ONE, ZERO, Ext
from ..algebra.vectors import Vector, Vectors
from ..circuit.circuit import MAX_JOINT_AXIS, Circuit
from ..errors import UnsupportedOperationError
from ..work import CALL, OBJECT, PASSING, PRODUCT, TERM

MAX_WORK = 2**26  # vector entries that one walk may pass; a circuit that needs more is refused
TERM_WORK = 1024  # entries that a term counts for besides its own
_BLOCK = 2**18  # entries of inner products that are computed at once


class Term(NamedTuple):
    """scalar * <tensor, step (x) vectors>: one summand of a functional.

    key: ("node", i), what ``pull`` makes of it, or a committed tensor. step: over steps, None for a tensor without a step axis.
    groups: a partition of the other axes, each ascending. vectors: one per group, row-major.
    """

    key: tuple
    scalar: Ext
    step: Vector | None
    groups: tuple[tuple[int, ...], ...]
    vectors: tuple[Vector, ...]

    def same_axes(self) -> tuple:
        """Equal for terms whose vectors, but for that over steps, are the same objects: they are one term."""
        return self.key, self.groups, self.vectors

    def total(self, vectors: Vectors) -> Ext:
        """<ones, weight>."""
        result = self.scalar if self.step is None else self.scalar * vectors.total(self.step)
        for vector in self.vectors:
            result = result * vectors.total(vector)
        return result


@dataclass(frozen=True, eq=False)
class Claim:
    """``sum of terms + constant = value``, value a form of ``hidden``."""

    terms: tuple[Term, ...]
    constant: Ext
    value: object

    def has(self, *kinds: str) -> bool:
        return any(term.key[0] in kinds for term in self.terms)


def separable(key: tuple, scalar: Ext, vectors, has_step: bool) -> Term:
    """A term from one vector per axis, the step axis (if any) first."""
    step, rest = (vectors[0], vectors[1:]) if has_step else (None, vectors)
    return Term(key, scalar, step, tuple((d,) for d in range(len(rest))), tuple(rest))


def merge_terms(terms, vectors: Vectors) -> list[Term]:
    """One term for those with the same tensor and the same vectors along its axes: the sum of their scalars times their steps."""
    merged: dict = {}
    for term in terms:
        merged.setdefault(term.same_axes(), []).append(term)
    return [same[0] if len(same) == 1 else _sum(same, vectors) for same in merged.values()]


def _sum(terms: list[Term], vectors: Vectors) -> Term:
    scalars: dict = {}
    for term in terms:
        scalars[term.step] = scalars.get(term.step, ZERO) + term.scalar
    (first, scalar), *others = scalars.items()
    if not others:
        return terms[0]._replace(scalar=scalar)

    def added():
        steps = tuple(np.stack([step[c] for step in scalars], axis=1) for c in range(2))
        return ext.sum(ext.mul(steps, ext.stack(list(scalars.values()))), axis=1)

    return terms[0]._replace(scalar=ONE, step=vectors.make(len(first[0]), added, len(scalars) * len(first[0])))


def merge_claims(claims: list[Claim], challenge: Ext, vectors: Vectors) -> Claim:
    """The claims combined by powers of a challenge; it is drawn after all their values are fixed."""
    terms, constant, value, weight = [], ZERO, None, ONE
    for claim in claims:
        terms += [term._replace(scalar=term.scalar * weight) for term in claim.terms]
        constant = constant + claim.constant * weight
        value = claim.value * weight if value is None else value + claim.value * weight
        weight = weight * challenge
    return Claim(tuple(merge_terms(terms, vectors)), constant, value)


def pull(circuit: Circuit, terms, vectors: Vectors | None = None) -> tuple[list[Term], Ext]:
    """Move terms on nodes down to where linearity ends. Returns (terms, constant) with the same sum.

    The terms returned are on virtual ("dot", i), ("gate", i) and ("param", index), on ("input", k), and on the committed
    ("quotient", i) and ("sign", i). Raises UnsupportedOperationError where joined axes exceed 2^20 entries.
    """
    return Walk(circuit, vectors or Vectors()).run(terms)


class Walk:
    """One walk. Derived vectors are memoised, so that equal weights stay the same objects and can be merged."""

    def __init__(self, circuit: Circuit, vectors: Vectors):
        self.circuit, self.vectors = circuit, vectors
        self.memo: dict = {}
        self.finished: list[Term] = []
        self.constant = ZERO
        self.pending: dict[int, list[Term]] = {}
        self.heap: list[int] = []
        self.work, self.node = 0, 0

    def run(self, terms):
        for term in terms:
            self.put(term)
        while self.heap:
            i = -heapq.heappop(self.heap)
            node, self.node = self.circuit.nodes[i], i
            arrived = merge_terms(self.pending.pop(i), self.vectors)
            self.work += sum(TERM_WORK + sum(len(v[0]) for v in term.vectors) for term in arrived)
            if self.work > MAX_WORK:
                raise UnsupportedOperationError(f"{self.at}: a claim that reaches it has split into too many terms")
            passed = len(arrived) * max(1, node.operation.passes(i, node, self))
            self.vectors.meter.charge("terms that pass operations", TERM * passed, OBJECT * passed)
            for term in arrived:
                for below in node.operation.pull(i, node, term, self):
                    self.put(below)
        return merge_terms(self.finished, self.vectors), self.constant

    def add(self, constant: Ext) -> None:
        """What a term amounts to besides terms further down."""
        self.constant = self.constant + constant

    def put(self, term: Term):
        if term.key[0] != "node":
            self.finished.append(term)
            return
        i = term.key[1]
        if i not in self.pending:
            self.pending[i] = []
            heapq.heappush(self.heap, -i)
        self.pending[i].append(term)

    @property
    def at(self) -> str:
        """The operation that claims pass, for people."""
        return self.circuit.describe(self.node)

    def shape(self, i: int) -> tuple[int, ...]:
        return self.circuit.nodes[i].shape

    def once(self, name: tuple, function):
        """``function()``, worked out once in a walk."""
        if name not in self.memo:
            self.memo[name] = function()
        return self.memo[name]

    def derive(self, name: tuple, vector, length: int, function):
        """``function(vector)``, of this length."""
        key = (*name, vector)
        if key not in self.memo:
            self.memo[key] = self.vectors.make(length, lambda: function(vector), len(vector[0]), what=self.at)
        return self.memo[key]

    # ---- groups -----------------------------------------------------------------------------------------------
    def relabel(self, term: Term, below: int, shape, axis_map: dict) -> Term:
        """Rename axes; a group whose axes change their order has its vector transposed. shape: before the renaming."""
        groups, vectors = [], []
        for group, vector in zip(term.groups, term.vectors, strict=True):
            renamed = [axis_map[d] for d in group]
            order = tuple(sorted(range(len(group)), key=lambda j: renamed[j]))  # noqa: B023
            if order != tuple(range(len(group))):
                dims = tuple(shape[d] for d in group)
                vector = self.derive(
                    ("transpose", dims, order),
                    vector,
                    len(vector[0]),
                    lambda v: _each(v, lambda c: c.reshape(dims).transpose(order).reshape(-1)),  # noqa: B023
                )
            groups.append(tuple(sorted(renamed)))
            vectors.append(vector)
        return term._replace(key=("node", below), groups=tuple(groups), vectors=tuple(vectors))

    def join(self, term: Term, axes, shape, i: int) -> Term:
        """Join all groups that meet ``axes`` into one."""
        meeting = [g for g, group in enumerate(term.groups) if set(group) & set(axes)]
        if len(meeting) < 2:
            return term
        joined = [d for g in meeting for d in term.groups[g]]
        dims = tuple(shape[d] for d in joined)
        if math.prod(dims) > MAX_JOINT_AXIS:
            raise UnsupportedOperationError(
                f"{self.circuit.describe(i)} joins axes of {math.prod(dims)} entries, more than {MAX_JOINT_AXIS}; "
                "avoid reshapes (or constants) that mix large axes"
            )
        order = tuple(sorted(range(len(joined)), key=lambda j: joined[j]))
        name = ("join", dims, order, *(term.vectors[g] for g in meeting[1:]))

        def outer(first):
            vector = first
            for g in meeting[1:]:
                vector = kronecker(vector, term.vectors[g])
            return _each(vector, lambda c: c.reshape(dims).transpose(order).reshape(-1))

        vector = self.derive(name, term.vectors[meeting[0]], math.prod(dims), outer)
        groups = [g for j, g in enumerate(term.groups) if j not in meeting] + [tuple(sorted(joined))]
        vectors = [v for j, v in enumerate(term.vectors) if j not in meeting] + [vector]
        return term._replace(groups=tuple(groups), vectors=tuple(vectors))

    def apart(self, term: Term, axes: tuple[int, int], i: int) -> list[Term]:
        """A term whose group is these two axes as terms with a group for each axis: one for each entry of the shorter."""
        if axes not in term.groups:
            return [term]
        lengths, at = tuple(self.shape(i)[d] for d in axes), term.groups.index(axes)
        short = min(range(2), key=lambda side: lengths[side])
        terms = []
        for j in range(lengths[short]):

            def row(v, j=j):
                return _each(v, lambda c: c.reshape(lengths)[j] if short == 0 else c.reshape(lengths)[:, j])

            vector = self.derive(("apart", lengths, j), term.vectors[at], lengths[1 - short], row)
            unit = self.vectors.unit(lengths[short], j)
            pair = (unit, vector) if short == 0 else (vector, unit)
            groups = (*term.groups[:at], (axes[0],), (axes[1],), *term.groups[at + 1 :])
            terms.append(term._replace(groups=groups, vectors=(*term.vectors[:at], *pair, *term.vectors[at + 1 :])))
        return terms

    def along(self, term: Term, name: tuple, shape, below_shape, axes, function) -> Term:
        """Apply ``function(component as an array over the group's axes, position of each axis in it)`` to the groups that meet axes.

        shape: above the operation, below_shape: below it.
        """
        vectors = []
        for group, vector in zip(term.groups, term.vectors, strict=True):
            if set(group) & set(axes):
                dims, length = tuple(shape[d] for d in group), math.prod(below_shape[d] for d in group)

                def apply(v, dims=dims, group=group):
                    return _each(v, lambda c: function(c.reshape(dims), group).reshape(-1))

                vector = self.derive((*name, group), vector, length, apply)
            vectors.append(vector)
        return term._replace(vectors=tuple(vectors))

    def drop_empty(self, term: Term) -> Term:
        """Groups without axes (their axes had length one) become part of the scalar."""
        scalar, groups, vectors = term.scalar, [], []
        for group, vector in zip(term.groups, term.vectors, strict=True):
            if group:
                groups.append(group)
                vectors.append(vector)
            else:
                scalar = scalar * self.vectors.total(vector)
        return term._replace(scalar=scalar, groups=tuple(groups), vectors=tuple(vectors))


def _each(vector, function):
    return tuple(np.ascontiguousarray(function(c)) for c in vector)


def kronecker(a, b):
    """The outer product of two NumPy K vectors, flat."""
    product = ext.mul(tuple(c[:, None] for c in a), tuple(c[None, :] for c in b))
    return tuple(c.reshape(-1) for c in product)


# ---- the value of a functional's weight at a point ----------------------------------------------------------------


def weight_evaluation(layout_weights, terms_by_key: dict, vectors: Vectors | None = None) -> Ext:
    """sum over pieces and terms of scalar * <term's weight, piece's weight>.

    layout_weights: ``Layout.weights(point)``. terms_by_key: tensor to its terms. The inner products of axis vectors are
    computed once each, those of equal length in one call.
    """
    products, work = InnerProducts(vectors or Vectors()), []
    for weight in layout_weights:
        met = terms_by_key.get(weight.key, ())
        products.vectors.meter.charge("terms of the opening", TERM * len(met), OBJECT * len(met))
        for term in met:
            first = 0 if term.step is None else 1
            names = [] if term.step is None else [products.request(term.step, weight.vectors[0])]
            for group, vector in zip(term.groups, term.vectors, strict=True):
                names.append(products.request(vector, products.joined([weight.vectors[first + d] for d in group])))
            work.append((term.scalar, weight.scalar, names))
    values = products.compute()
    if products.vectors.lengths_only:
        return ONE
    result = ZERO
    for scalar, factor, names in work:
        scalar = scalar * factor
        for name in names:
            scalar = scalar * values[name]
        result = result + scalar
    return result


class InnerProducts:
    """A batch of inner products of vectors, each pair once."""

    def __init__(self, vectors: Vectors):
        self.vectors = vectors
        self.pairs: dict = {}  # as an ordered set
        self.outer: dict = {}

    def joined(self, vectors):
        """The Kronecker product of axis vectors, once for each combination."""
        if len(vectors) == 1:
            return vectors[0]
        name = tuple(vectors)
        if name not in self.outer:
            length = math.prod(len(v[0]) for v in vectors)
            self.outer[name] = self.vectors.make(length, lambda: reduce(kronecker, vectors, ext.stack([ONE])), 2 * length)
        return self.outer[name]

    def request(self, a, b):
        self.pairs[a, b] = None
        return a, b

    def compute(self) -> dict:
        """Every requested inner product, as Ext; none of lengths."""
        by_length: dict = {}
        for pair in self.pairs:
            by_length.setdefault(len(pair[0][0]), []).append(pair)
        entries = sum(length * len(names) for length, names in by_length.items())
        work, longest = CALL * len(by_length) + TERM * len(self.pairs) + PRODUCT * entries, max(by_length, default=0)
        self.vectors.meter.charge("inner products of axes", work, 0, PASSING * max(_BLOCK, longest))
        if self.vectors.lengths_only:
            return {}
        values = {}
        for length, names in by_length.items():
            block = max(1, _BLOCK // length)
            for start in range(0, len(names), block):
                part = names[start : start + block]
                left, right = (tuple(np.stack([pair[side][c] for pair in part]) for c in range(2)) for side in range(2))
                for pair, value in zip(part, ext.unstack(ext.sum(ext.mul(left, right), axis=1)), strict=True):
                    values[pair] = value
        return values
