"""Dot and gate: products of two tensors, on which the walk of a claim stops.

Integers    dot: ``lax.dot_general``; all axes in ``batch`` gives x * y. gate: m * y of a sign and a rescale, one of y.
Bounds      the product of both, times the entries that are summed.
Claims      ``protocol.contraction`` and ``protocol.gate`` reduce them to claims on the operands; products are never committed.
Liars       another product, in any entry and step: ``protocol.contraction``, ``protocol.gate``.

PROTOCOL.md, section 5.2.
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..algebra import exact
from ..errors import FormatError
from .operation import Operation, check_reads, require
from .rescale import Rescale, Sign


@dataclass(frozen=True)
class Dot(Operation):
    """contract, batch: axes of both operands, as ``lax.dot_general`` has them."""

    name: ClassVar[str] = "dot"
    adds: ClassVar[bool] = True
    arity: ClassVar[int | None] = 2
    ends: ClassVar[str | None] = "dot"
    as_stored: ClassVar[bool] = True
    contract: tuple[tuple[int, ...], tuple[int, ...]]
    batch: tuple[tuple[int, ...], tuple[int, ...]]

    def infer_shape(self, x, leaves):
        x, y = x
        (cx, cy), (bx, by) = self.contract, self.batch
        require(len(cx) == len(cy) and len(bx) == len(by), "axes")
        for axes, shape in ((cx + bx, x), (cy + by, y)):
            require(len(set(axes)) == len(axes) and all(0 <= d < len(shape) for d in axes), "axes")
        require(all(x[i] == y[j] for i, j in zip(cx + bx, cy + by, strict=True)), "axis lengths differ")
        free_x = tuple(n for d, n in enumerate(x) if d not in cx + bx)
        free_y = tuple(n for d, n in enumerate(y) if d not in cy + by)
        return tuple(x[d] for d in bx) + free_x + free_y

    def summed(self, shapes):
        return math.prod(shapes[0][d] for d in self.contract[0])

    def bound(self, x, shapes, leaves):
        return None if None in x else x[0] * x[1] * self.summed(shapes)

    def worth(self, x, scale, below):
        return x[0] * x[1]

    def pull(self, i, node, term, walk):
        return [term._replace(key=("dot", i))]

    def evaluate(self, x, node, shapes, limbs):
        if limbs is None:
            return exact.dot(x[0], x[1], self.contract, self.batch)
        left = exact.integers(x[0]) if exact.is_float(x[1]) else x[0]
        return exact.dot(left, x[1], self.contract, self.batch, limbs)

    def over_steps(self, x, node, shapes, limbs):
        contract, batch = (tuple(tuple(d + 1 for d in side) for side in axes) for axes in (self.contract, self.batch))
        return replace(self, contract=contract, batch=tuple((0, *side) for side in batch)).evaluate(x, node, shapes, limbs)

    def places(self, i, node, prover):
        (x, y), axes = (prover.places(j) for j in node.inputs), tuple(range(len(self.batch[0])))
        if self.contract[0] or self.batch != (axes, axes) or x is None or y is None or not x.ndim == y.ndim == len(axes) + 1:
            return None
        count = math.prod(prover.shape(node.inputs[1])[len(axes) :])
        return np.where((x < 0) | (y < 0), -1, x * count + y)

    def fold(self, i, node, groups, kept, prover):
        folded = None if self.batch[0] else prover.fold_product(node, groups, kept)
        return super().fold(i, node, groups, kept, prover) if folded is None else folded


@dataclass(frozen=True)
class Gate(Operation):
    """m * y of a sign and a rescaled value: an activation, or a masked gradient."""

    name: ClassVar[str] = "gate"
    arity: ClassVar[int | None] = 2
    ends: ClassVar[str | None] = "gate"
    rebuilt: ClassVar[bool] = True

    def infer_shape(self, x, leaves):
        require(x[0] == x[1], "shapes differ")
        return x[0]

    def check(self, i, circuit):
        check_reads(i, circuit, Sign, Rescale)

    def bound(self, x, shapes, leaves):
        return x[0] * x[1]

    def worth(self, x, scale, below):
        return x[1]

    def pull(self, i, node, term, walk):
        return [term._replace(key=("gate", i))]

    def evaluate(self, x, node, shapes, limbs):
        return x[0] * x[1]


def entrywise(shape: tuple[int, ...]) -> Dot:
    """The product of two tensors of one shape, entry by entry."""
    axes = tuple(range(len(shape)))
    return Dot(((), ()), (axes, axes))


def check_product_next(i: int, circuit, factors: tuple[int, int], name: str) -> None:
    """FormatError where the next operation is not the product of these two, entry by entry; name: what it is to operation i."""
    after = circuit.nodes[i + 1] if i + 1 < len(circuit.nodes) else None
    if after is None or after.operation != entrywise(circuit.nodes[i].shape) or after.inputs != factors:
        raise FormatError(f"{circuit.describe(i)}: the next operation is not its {name}")
