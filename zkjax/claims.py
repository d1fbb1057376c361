"""Claims <tensor, w> = v with separable weights, and their walk through linear operations, as cotangents walk in autodiff.

A *term* gives one tensor of the circuit (or one committed tensor) a weight that is a product of vectors: one for the step
axis and one for each *group* of axes. Groups have one axis, until a reshape mixes axes or a constant couples them; then
the vector runs over the group's axes jointly, row-major. <L x, w> = <x, L^T w> moves a term down through a linear
operation with no message, in time proportional to the vectors' lengths.

PROTOCOL.md, section 12.
"""

import heapq
import math
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from . import extension as ext
from . import field
from .circuit import LINEAR_OPS, MAX_JOINT_AXIS, Circuit, signed_bound
from .errors import UnsupportedOperationError
from .extension import ONE, ZERO, Ext
from .vectors import Vector, Vectors, total
from .work import CALL, OBJECT, ONE_BY_ONE, PASSING, PRODUCT, TERM

MAX_WORK = 2**26  # vector entries that one walk may pass; a circuit that needs more is refused
TERM_WORK = 1024  # entries that a term counts for besides its own
_BLOCK = 2**18  # entries of inner products that are computed at once


@dataclass(frozen=True, eq=False)
class Term:
    """scalar * <tensor, step (x) vectors>: one summand of a functional.

    key: ("node", i), what ``pull`` makes of it, or a committed tensor. step: over steps, None for a tensor without a step axis.
    groups: a partition of the other axes, each ascending. vectors: one per group, row-major.
    """

    key: tuple
    scalar: Ext
    step: Vector | None
    groups: tuple[tuple[int, ...], ...]
    vectors: tuple[Vector, ...]

    def same_weights(self) -> tuple:
        """Equal for terms whose vectors are the same objects: their scalars may be added."""
        return self.key, self.step, self.groups, self.vectors

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


def merge_terms(terms) -> list[Term]:
    """Add the scalars of terms with the same tensor and vectors."""
    merged: dict = {}
    for term in terms:
        name = term.same_weights()
        merged[name] = term if name not in merged else replace(term, scalar=merged[name].scalar + term.scalar)
    return list(merged.values())


def merge_claims(claims: list[Claim], challenge: Ext) -> Claim:
    """The claims combined by powers of a challenge; it is drawn after all their values are fixed."""
    terms, constant, value, weight = [], ZERO, None, ONE
    for claim in claims:
        terms += [replace(term, scalar=term.scalar * weight) for term in claim.terms]
        constant = constant + claim.constant * weight
        value = claim.value * weight if value is None else value + claim.value * weight
        weight = weight * challenge
    return Claim(tuple(merge_terms(terms)), constant, value)


def pull(circuit: Circuit, terms, vectors: Vectors | None = None) -> tuple[list[Term], Ext]:
    """Move terms on nodes down to where linearity ends. Returns (terms, constant) with the same sum.

    The terms returned are on virtual ("dot", i), ("gate", i) and ("param", index), on ("input", k), and on the committed
    ("quotient", i) and ("sign", i). Raises UnsupportedOperationError where joined axes exceed 2^20 entries.
    """
    return _Walk(circuit, vectors or Vectors()).run(terms)


class _Walk:
    """One walk. Derived vectors are memoised, so that equal weights stay the same objects and can be merged."""

    def __init__(self, circuit: Circuit, vectors: Vectors):
        self.circuit, self.vectors = circuit, vectors
        self.memo: dict = {}
        self.sums: dict[int, dict[int, int]] = {}
        self.pending: dict[int, dict] = {}
        self.heap: list[int] = []
        self.work, self.at = 0, ""

    def run(self, terms):
        finished, constant = [], ZERO
        for term in terms:
            if term.key[0] == "node":
                self.put(term)
            else:
                finished.append(term)
        while self.heap:
            i = -heapq.heappop(self.heap)
            node, self.at = self.circuit.nodes[i], self.circuit.describe(i)
            arrived = list(self.pending.pop(i).values())
            passed = len(arrived) * max(1, len(self.summands(i) if node.op == "linear" else node.inputs))
            self.vectors.meter.charge("terms that pass operations", TERM * passed, OBJECT * passed)
            for term in arrived:
                if node.op in LINEAR_OPS:
                    for below in getattr(self, node.op)(node, term, i):
                        self.put(below)
                elif node.op == "rescale":
                    finished.append(replace(term, key=("quotient", i)))
                    constant = constant - term.total(self.vectors) * signed_bound(node["bits"] + 1)
                elif node.op == "sign":
                    finished.append(replace(term, key=("sign", i)))
                elif node.op == "input":
                    finished.append(replace(term, key=("input", node["index"])))
                elif node.op == "const":
                    constant = constant + self.constant(node, term, i)
                else:
                    finished.append(replace(term, key=("param", node["index"]) if node.op == "param" else (node.op, i)))
        return merge_terms(finished), constant

    def put(self, term: Term):
        i = term.key[1]
        if i not in self.pending:
            self.pending[i] = {}
            heapq.heappush(self.heap, -i)
        name, waiting = term.same_weights(), self.pending[i]
        if name in waiting:
            waiting[name] = replace(term, scalar=waiting[name].scalar + term.scalar)
            return
        waiting[name] = term
        self.work += TERM_WORK + sum(len(v[0]) for v in term.vectors)
        if self.work > MAX_WORK:
            raise UnsupportedOperationError(f"{self.circuit.describe(i)}: a claim that reaches it has split into too many terms")

    def shape(self, i: int) -> tuple[int, ...]:
        return self.circuit.nodes[i].shape

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
        return replace(term, key=("node", below), groups=tuple(groups), vectors=tuple(vectors))

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
        return replace(term, groups=tuple(groups), vectors=tuple(vectors))

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
        return replace(term, vectors=tuple(vectors))

    # ---- one method per linear operation ------------------------------------------------------------------------
    def linear(self, node, term, i):
        return [replace(term, key=("node", j), scalar=term.scalar * c) for j, c in self.summands(i).items()]

    def summands(self, i: int) -> dict[int, int]:
        """The inputs of a linear operation, each once, with the sum of its coefficients."""
        if i not in self.sums:
            node, self.sums[i] = self.circuit.nodes[i], {}
            for j, c in zip(node.inputs, node["coefficients"], strict=True):
                self.sums[i][j] = self.sums[i].get(j, 0) + c
        return self.sums[i]

    def transpose(self, node, term, i):
        return [self.relabel(term, node.inputs[0], node.shape, dict(enumerate(node["permutation"])))]

    def reshape(self, node, term, i):
        below = self.shape(node.inputs[0])
        blocks = _factor_blocks(below, node.shape)
        for _, outs in blocks:
            term = self.join(term, outs, node.shape, i)
        groups = [tuple(d for ins, outs in blocks if set(outs) & set(group) for d in ins) for group in term.groups]
        fresh = [d for ins, outs in blocks if not outs for d in ins]  # axes of length one that the reshape removed
        groups += [(d,) for d in fresh]
        vectors = term.vectors + tuple(self.vectors.ones(1) for _ in fresh)
        return [self._drop_empty(replace(term, key=("node", node.inputs[0]), groups=tuple(groups), vectors=vectors))]

    def _drop_empty(self, term: Term) -> Term:
        """Groups without axes (their axes had length one) become part of the scalar."""
        scalar, groups, vectors = term.scalar, [], []
        for group, vector in zip(term.groups, term.vectors, strict=True):
            if group:
                groups.append(group)
                vectors.append(vector)
            else:
                scalar = scalar * self.vectors.total(vector)
        return replace(term, scalar=scalar, groups=tuple(groups), vectors=tuple(vectors))

    def broadcast(self, node, term, i):
        kept = {d: j for j, d in enumerate(node["axes"])}
        groups, vectors = [], []
        for group, vector in zip(term.groups, term.vectors, strict=True):
            lost = tuple(j for j, d in enumerate(group) if d not in kept)
            if lost:
                dims = tuple(node.shape[d] for d in group)
                length = math.prod(n for j, n in enumerate(dims) if j not in lost)
                vector = self.derive(("sum", dims, lost), vector, length, lambda v: _sum_axes(v, dims, lost))  # noqa: B023
            groups.append(tuple(d for d in group if d in kept))
            vectors.append(vector)
        term = self._drop_empty(replace(term, groups=tuple(groups), vectors=tuple(vectors)))
        return [self.relabel(term, node.inputs[0], node.shape, kept)]

    def sum(self, node, term, i):
        below = self.shape(node.inputs[0])
        kept = [d for d in range(len(below)) if d not in node["axes"]]
        term = self.relabel(term, node.inputs[0], node.shape, dict(enumerate(kept)))
        groups = term.groups + tuple((d,) for d in node["axes"])
        return [replace(term, groups=groups, vectors=term.vectors + tuple(self.vectors.ones(below[d]) for d in node["axes"]))]

    def slice(self, node, term, i):
        below, below_shape = node.inputs[0], self.shape(node.inputs[0])
        axes = [d for d in range(len(below_shape)) if below_shape[d] != node.shape[d]]

        def place(c, group):
            result = np.zeros(tuple(below_shape[d] for d in group), dtype=np.uint64)
            result[tuple(slice(node["start"][d], node["limit"][d], node["stride"][d]) for d in group)] = c
            return result

        return [replace(self.along(term, ("slice", i), node.shape, below_shape, axes, place), key=("node", below))]

    def pad(self, node, term, i):
        below, below_shape = node.inputs[0], self.shape(node.inputs[0])
        axes = [d for d in range(len(below_shape)) if below_shape[d] != node.shape[d]]

        def take(c, group):
            step = [node["interior"][d] + 1 for d in group]
            low = [node["low"][d] for d in group]
            return c[tuple(slice(a, a + (below_shape[d] - 1) * s + 1, s) for d, a, s in zip(group, low, step, strict=True))]

        return [replace(self.along(term, ("pad", i), node.shape, below_shape, axes, take), key=("node", below))]

    def concatenate(self, node, term, i):
        axis, start, result = node["axis"], 0, []
        for below in node.inputs:
            stop = start + self.shape(below)[axis]

            def take(c, group, start=start, stop=stop):
                return c[tuple(slice(start, stop) if d == axis else slice(None) for d in group)]

            part = self.along(term, ("part", i, start), node.shape, self.shape(below), (axis,), take)
            result.append(replace(part, key=("node", below)))
            start = stop
        return result

    def reverse(self, node, term, i):
        def flip(c, group):
            return np.flip(c, tuple(j for j, d in enumerate(group) if d in node["axes"]))

        return [replace(self.along(term, ("reverse", i), node.shape, node.shape, node["axes"], flip), key=("node", node.inputs[0]))]

    def scale(self, node, term, i):
        constant = self.circuit.nodes[node.inputs[1]]
        axes = [d for d, n in zip(node["axes"], constant.shape, strict=True) if n > 1]
        if not axes:
            return [replace(term, key=("node", node.inputs[0]), scalar=term.scalar * constant["values"][0])]
        term = self.join(term, axes, node.shape, i)

        def multiply(vector, group):
            values = field.from_python(constant["values"]).reshape(constant.shape)
            dims = tuple(node.shape[d] for d in group)
            placed = np.ones(dims, dtype=np.uint64) * _placed(values, node["axes"], group)
            return ext.mul_base(vector, placed.reshape(-1))

        vectors = [
            self.derive(("scale", i, group), v, len(v[0]), lambda v: multiply(v, group)) if set(group) & set(axes) else v  # noqa: B023
            for group, v in zip(term.groups, term.vectors, strict=True)
        ]
        return [replace(term, key=("node", node.inputs[0]), vectors=tuple(vectors))]

    def constant(self, node, term, i) -> Ext:
        term = self.join(term, range(len(node.shape)), node.shape, i)
        value = term.scalar * self.vectors.total(term.step)
        if not term.vectors:
            return value * node["values"][0]
        (joined,) = term.vectors
        work = ONE_BY_ONE * len(joined[0])
        return value * self.vectors.number(work, lambda: total(ext.mul_base(joined, field.from_python(node["values"]))))


def _each(vector, function):
    return tuple(np.ascontiguousarray(function(c)) for c in vector)


def kronecker(a, b):
    """The outer product of two NumPy K vectors, flat."""
    product = ext.mul(tuple(c[:, None] for c in a), tuple(c[None, :] for c in b))
    return tuple(c.reshape(-1) for c in product)


def _sum_axes(vector, dims, axes):
    array = tuple(c.reshape(dims) for c in vector)
    for axis in sorted(axes, reverse=True):
        array = ext.sum(array, axis=axis)
    return tuple(np.asarray(c).reshape(-1) for c in array)


def _placed(values, axes, group):
    """A constant's values as an array over a group's axes, with length one where the constant does not reach."""
    order = [j for j in sorted(range(len(axes)), key=lambda j: axes[j])]
    ordered = values.transpose(order)
    lengths = {axes[j]: values.shape[j] for j in order}
    return ordered.reshape(tuple(lengths.get(d, 1) for d in group))


def _factor_blocks(ins: tuple[int, ...], outs: tuple[int, ...]):
    """Cut two shapes of equal size into the finest runs of axes with equal products: ((in axes, out axes), ...)."""
    blocks, a, b = [], 0, 0
    while a < len(ins) or b < len(outs):
        start_a, start_b = a, b
        size_a = size_b = 1
        if a < len(ins):
            size_a, a = ins[a], a + 1
        if b < len(outs):
            size_b, b = outs[b], b + 1
        while size_a != size_b:
            if size_a < size_b:
                size_a, a = size_a * ins[a], a + 1
            else:
                size_b, b = size_b * outs[b], b + 1
        blocks.append((tuple(range(start_a, a)), tuple(range(start_b, b))))
    return blocks


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
