"""Linear, sum, scale: exact sums of public multiples.

Claims      <L x, w> = <x, L^T w>: a term becomes terms further down, with no message, no cell and no lookup.
Liars       nothing to lie about.

PROTOCOL.md, sections 5.2, 12.2.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..algebra import extension as ext
from ..algebra import field
from ..errors import FormatError
from .leaves import Const
from .moves import aligned
from .operation import LIMIT, Operation, require


@dataclass(frozen=True)
class Linear(Operation):
    """The sum of coefficient * x over its inputs, all of one shape."""

    name: ClassVar[str] = "linear"
    adds: ClassVar[bool] = True
    arity: ClassVar[int | None] = None
    coefficients: tuple[int, ...]

    def infer_shape(self, x, leaves):
        require(len(self.coefficients) == len(x) and all(s == x[0] for s in x), "shapes or coefficients differ")
        require(all(isinstance(c, int) and abs(c) < LIMIT for c in self.coefficients), "coefficients must be integers")
        return x[0]

    def bound(self, x, shapes, leaves):
        return None if None in x else sum(abs(c) * b for c, b in zip(self.coefficients, x, strict=True))

    def passes(self, i, node, walk):
        return max(1, len(self._summands(i, node, walk)))

    def worth(self, x, scale, below):
        found = [unit / abs(c) for unit, c in zip(x, self.coefficients, strict=True) if c]
        return min(found, key=lambda unit: abs(math.log2(unit) + scale), default=2.0**-scale)  # a sum may have factors besides units

    def pull(self, i, node, term, walk):
        return [term._replace(key=("node", j), scalar=term.scalar * c) for j, c in self._summands(i, node, walk).items()]

    def _summands(self, i, node, walk) -> dict[int, int]:
        """The inputs, each once, with the sum of its coefficients."""

        def add_up():
            found: dict[int, int] = {}
            for j, c in zip(node.inputs, self.coefficients, strict=True):
                found[j] = found.get(j, 0) + c
            return found

        return walk.once(("summands", i), add_up)

    def evaluate(self, x, node, shapes, limbs):
        total = None
        for c, term in zip(self.coefficients, x, strict=True):
            term = term if c == 1 else -term if c == -1 else term * c
            total = term if total is None else total + term
        return total

    def fold(self, i, node, groups, kept, prover):
        total = None
        for c, j in zip(self.coefficients, node.inputs, strict=True):
            part = ext.mul_base(prover.fold(j, groups, kept), field.from_python([c]))
            total = part if total is None else ext.add(total, part)
        return total


@dataclass(frozen=True)
class Sum(Operation):
    """Sums over axes, which disappear. <sum x, w> = <x, w (x) ones over these axes>."""

    name: ClassVar[str] = "sum"
    adds: ClassVar[bool] = True
    axes: tuple[int, ...]

    def infer_shape(self, x, leaves):
        require(len(set(self.axes)) == len(self.axes) and all(0 <= d < len(x[0]) for d in self.axes), "axes")
        return tuple(x[0][d] for d in self._stays(x[0]))

    def bound(self, x, shapes, leaves):
        return None if x[0] is None else x[0] * math.prod(shapes[0][d] for d in self.axes)

    def pull(self, i, node, term, walk):
        below = walk.shape(node.inputs[0])
        term = walk.relabel(term, node.inputs[0], node.shape, dict(enumerate(self._stays(below))))
        groups = term.groups + tuple((d,) for d in self.axes)
        return [term._replace(groups=groups, vectors=term.vectors + tuple(walk.vectors.ones(below[d]) for d in self.axes))]

    def evaluate(self, x, node, shapes, limbs):
        return x[0].sum(axis=self.axes)

    def fold(self, i, node, groups, kept, prover):
        below = prover.shape(node.inputs[0])
        stays = self._stays(below)
        summed = [((d,), (np.ones(below[d], np.uint64), np.zeros(below[d], np.uint64))) for d in self.axes]
        moved = [(tuple(stays[d] for d in axes), vector) for axes, vector in groups]
        return prover.fold(node.inputs[0], moved + summed, tuple(stays[d] for d in kept))

    def _stays(self, shape) -> list[int]:
        return [d for d in range(len(shape)) if d not in self.axes]


@dataclass(frozen=True)
class Scale(Operation):
    """x times a constant, whose axis i is aligned with axis axes[i] of x."""

    name: ClassVar[str] = "scale"
    arity: ClassVar[int | None] = 2
    axes: tuple[int, ...]

    def infer_shape(self, x, leaves):
        axes = self.axes
        require(len(axes) == len(x[1]) and len(set(axes)) == len(axes), "axes")
        require(all(0 <= d < len(x[0]) and x[0][d] == n for d, n in zip(axes, x[1], strict=True)), "axis lengths differ")
        return x[0]

    def check(self, i, circuit):
        if not isinstance(circuit.nodes[circuit.nodes[i].inputs[1]].operation, Const):
            raise FormatError(f"{circuit.describe(i)}: the second operand is not a constant")

    def bound(self, x, shapes, leaves):
        return None if None in x else x[0] * x[1]

    def below(self, inputs):
        return inputs[:1]

    def worth(self, x, scale, below):
        return x[0] * x[1]

    def pull(self, i, node, term, walk):
        constant = walk.circuit.nodes[node.inputs[1]]
        axes = [d for d, n in zip(self.axes, constant.shape, strict=True) if n > 1]
        if not axes:
            return [term._replace(key=("node", node.inputs[0]), scalar=term.scalar * constant.operation.values[0])]
        term = walk.join(term, axes, node.shape, i)

        def multiply(vector, group):
            values = field.from_python(constant.operation.values).reshape(constant.shape)
            placed = np.ones(tuple(node.shape[d] for d in group), dtype=np.uint64) * _spread(values, self.axes, group)
            return ext.mul_base(vector, placed.reshape(-1))

        vectors = [
            walk.derive(("scale", i, group), v, len(v[0]), lambda v: multiply(v, group)) if set(group) & set(axes) else v  # noqa: B023
            for group, v in zip(term.groups, term.vectors, strict=True)
        ]
        return [term._replace(key=("node", node.inputs[0]), vectors=tuple(vectors))]

    def evaluate(self, x, node, shapes, limbs):
        return x[0] * aligned(x[1], self.axes, x[0].ndim)


def _spread(values, axes, group):
    """A constant's values as an array over a group's axes, with length one where the constant does not reach."""
    order = sorted(range(len(axes)), key=lambda j: axes[j])
    lengths = {axes[j]: values.shape[j] for j in order}
    return values.transpose(order).reshape(tuple(lengths.get(d, 1) for d in group))
