"""Input, parameter, state after the step, constant: what a graph starts from.

Integers    an array of the batch, gathered from the committed dataset; a parameter at the start of the step; public integers.
Bounds      an input's and a parameter's are declared, and range-checked by the plan.
Claims      end on the gathered data, on the parameter, whose steps ``protocol.states`` unrolls, or in a number.
Liars       samples out of range have no row in their table; other weights break the update's constraint (``protocol.states``).

PROTOCOL.md, sections 5.2, 12.2.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..algebra import extension as ext
from ..algebra import field
from ..algebra.vectors import total
from ..errors import FormatError
from ..work import ONE_BY_ONE
from .operation import LIMIT, Operation, dims, require
from .ranges import integer_type, signed_bound

MAX_CONSTANT = 4096  # entries of a captured array


@dataclass(frozen=True)
class InputArray(Operation):
    """One array of the batch."""

    name: ClassVar[str] = "input"
    arity: ClassVar[int | None] = 0
    ends: ClassVar[str | None] = "input"
    checked: ClassVar[int] = 1
    index: int

    def infer_shape(self, x, leaves):
        return tuple(leaves.inputs[_index(self.index, leaves.inputs)].shape)

    def bound(self, x, shapes, leaves):
        return signed_bound(leaves.inputs[self.index].bits + 1)

    def pull(self, i, node, term, walk):
        return [term._replace(key=("input", self.index))]

    def leaf(self, parameters, inputs, keys=None):
        return inputs[self.index]

    def keep(self, x, y, leaves):
        return {"value": (y, integer_type(leaves.inputs[self.index].bits))}


@dataclass(frozen=True)
class Param(Operation):
    """A parameter at the start of the step."""

    name: ClassVar[str] = "param"
    arity: ClassVar[int | None] = 0
    ends: ClassVar[str | None] = "param"
    index: int

    def infer_shape(self, x, leaves):
        return tuple(leaves.parameters[_index(self.index, leaves.parameters)].shape)

    def bound(self, x, shapes, leaves):
        return None if leaves.bounds is None else leaves.bounds[self.index]

    def pull(self, i, node, term, walk):
        return [term._replace(key=("param", self.index))]

    def leaf(self, parameters, inputs, keys=None):
        return parameters[self.index]

    def at_steps(self, i, node, prover):
        return prover.state("param", self.index)

    def fold(self, i, node, groups, kept, prover):
        return prover.fold_state("param", self.index, groups, kept)


@dataclass(frozen=True)
class Next(Operation):
    """A state with a recurrence after the step, before it is rounded. It reads what feeds the state, in the recurrence's order."""

    name: ClassVar[str] = "next"
    arity: ClassVar[int | None] = None
    ends: ClassVar[str | None] = "next"
    moved: ClassVar[bool] = True
    index: int

    def infer_shape(self, x, leaves):
        return tuple(leaves.parameters[_index(self.index, leaves.parameters)].shape)

    def check(self, i, circuit):
        parameter = circuit.parameters[self.index]
        feeds = () if parameter.recurrence is None else tuple(j for j, _ in parameter.recurrence.feeds)
        if circuit.nodes[i].inputs != feeds:
            raise FormatError(f"{circuit.describe(i)} reads {circuit.nodes[i].inputs}; what feeds {parameter.path} is {feeds}")

    def bound(self, x, shapes, leaves):
        return None if leaves.after is None else leaves.after[self.index]

    def pull(self, i, node, term, walk):
        return [term._replace(key=("next", self.index))]

    def evaluate(self, x, node, shapes, limbs):
        base, coefficients = limbs
        return sum((c * y for c, y in zip(coefficients, x, strict=True)), start=base)

    def at_steps(self, i, node, prover):
        return prover.state("next", self.index)

    def fold(self, i, node, groups, kept, prover):
        return prover.fold_state("next", self.index, groups, kept)


@dataclass(frozen=True)
class Const(Operation):
    """Public integers, row-major."""

    name: ClassVar[str] = "const"
    arity: ClassVar[int | None] = 0
    ends: ClassVar[str | None] = ""
    shape: tuple[int, ...]
    values: tuple[int, ...]

    def infer_shape(self, x, leaves):
        shape = dims(self.shape)
        require(len(self.values) == math.prod(shape) <= MAX_CONSTANT, "values and shape differ, or too many values")
        require(all(isinstance(v, int) and abs(v) < LIMIT for v in self.values), "values must be integers")
        return shape

    def bound(self, x, shapes, leaves):
        return max((abs(v) for v in self.values), default=0)

    def pull(self, i, node, term, walk):
        term = walk.join(term, range(len(node.shape)), node.shape, i)
        value = term.scalar * walk.vectors.total(term.step)
        if not term.vectors:
            walk.add(value * self.values[0])
            return []
        (joined,) = term.vectors
        work = ONE_BY_ONE * len(joined[0])
        walk.add(value * walk.vectors.number(work, lambda: total(ext.mul_base(joined, field.from_python(self.values)))))
        return []

    def leaf(self, parameters, inputs, keys=None):
        like = (*inputs, *parameters)[0]
        return like.__array_namespace__().asarray(np.array(self.values, dtype=np.int64).astype(like.dtype).reshape(self.shape))

    def at_steps(self, i, node, prover):
        return np.broadcast_to(np.array(self.values, dtype=np.int64).reshape(node.shape), (prover.steps, *node.shape))


def _index(i, items) -> int:
    require(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < len(items), "index")
    return i
