"""Maxima along the last axis, and where they are: the first place that has it.

    m - x_i - sum over j > i of o_j  =  v_i,       (v_i, o_i) a row of {(v, 0)} and (0, 1),       sum over i of o_i  =  1

Committed: m less the least x, and the one-hot o. Integers: o are bits by the table, and one of them is 1 by the sum. Where o_i = 1 there
is nothing below: m = x_i. Before it v_i >= 0 says x_i < m, strictly, for the 1 comes later; after it x_i <= m. So m is the maximum, o
its first place, and no other m and o are accepted.

A liar with a maximum that no entry has finds no place for the 1; with the second of two equal ones, a v below 0.

PROTOCOL.md, sections 5.2, 10.7.
"""

from dataclasses import dataclass
from typing import ClassVar

from ..errors import FormatError
from .functions import Spanned
from .operation import LIMIT, Operation, require
from .ranges import Lookup, Part, integer_type
from .tables import Table


@dataclass(frozen=True)
class Largest(Spanned):
    """The largest entry along the last axis of a rescale or range, which has these ``low`` and ``width``."""

    name: ClassVar[str] = "largest"
    ends: ClassVar[str | None] = "largest"
    low: int
    width: int

    def infer_shape(self, x, leaves):
        require(len(x[0]) >= 1, "no axis")
        self.check_span()
        return x[0][:-1]

    def check(self, i, circuit):
        self.check_site(i, circuit)

    def bound(self, x, shapes, leaves):
        return max(abs(self.low), abs(self.low + (1 << self.width) - 1))

    def pull(self, i, node, term, walk):
        walk.add(term.total(walk.vectors) * self.low)
        return [term._replace(key=("largest", i))]

    def advice(self, i, circuit):
        node = circuit.nodes[i]
        return {("largest", i): node.shape, ("first", i): circuit.nodes[node.inputs[0]].shape}

    def committed_bounds(self, i, circuit):
        (shape,) = circuit.shapes(i)  # m = v + x + later ones, each in its table
        return {("largest", i): (2 << self.width) + shape[-1], ("first", i): 1}

    def lookups(self, i, circuit):
        node, (shape,) = circuit.nodes[i], circuit.shapes(i)
        form = Part(1, ("largest", i), "repeated"), Part(-1, ("node", node.inputs[0])), Part(-1, ("first", i), "later")
        below = Lookup(("below", i), Table("first", self.width), shape, ((self.low, form), (0, (Part(1, ("first", i)),))))
        one = (-1, (Part(1, ("first", i), "summed", shape[-1]),))
        return [below, Lookup(("places", i), Table("range", 0), node.shape, (one,))]

    def evaluate(self, x, node, shapes, limbs):
        largest = x[0].max(axis=-1)
        if x[0].dtype.kind == "f":
            return largest
        far = largest - x[0].min(axis=-1) > (1 << self.width) - 2  # the last row of the table is another one
        return x[0].__array_namespace__().where(far, LIMIT // 2, largest)

    def limits(self):
        return self.low, self.low + (1 << self.width)

    def table_width(self):
        return self.width

    def outside(self, value, scale):
        return "is the maximum of entries that are too far apart"

    def keep(self, x, y, leaves):
        if not x[0].shape:  # only the types are asked for
            first = below = y
        else:
            first = places(x[0], y)
            below = y[..., None] - x[0] - (first.sum(axis=-1, keepdims=True) - first.cumsum(axis=-1))
        kind = integer_type(self.bound([], [], leaves).bit_length() + 1)
        return {"value": (y, kind), "first": (first, "int8"), "below": (below, integer_type(self.width + 1))}

    def witness(self, i, kept, circuit):
        return {
            ("largest", i): kept["value"] - self.low,
            ("first", i): kept["first"],
            ("below", i): kept["below"],
            ("places", i): kept["first"].sum(axis=-1) - 1,
        }


@dataclass(frozen=True)
class First(Operation):
    """1 at the first place of a maximum, else 0: of a ``Largest``, and what it is the largest entry of."""

    name: ClassVar[str] = "first"
    arity: ClassVar[int | None] = 2
    ends: ClassVar[str | None] = "first"

    def infer_shape(self, x, leaves):
        require(x[0] == x[1][:-1], "shapes differ")
        return x[1]

    def check(self, i, circuit):
        node = circuit.nodes[i]
        largest = circuit.nodes[node.inputs[0]]
        if not isinstance(largest.operation, Largest) or largest.inputs != node.inputs[1:]:
            raise FormatError(f"{circuit.describe(i)} reads no maximum of its second operand")

    def bound(self, x, shapes, leaves):
        return 1

    def worth(self, x, scale, below):
        return 1.0

    def pull(self, i, node, term, walk):
        return [term._replace(key=("first", node.inputs[0]))]

    def evaluate(self, x, node, shapes, limbs):
        return places(x[1], x[0])

    def keep(self, x, y, leaves):
        return {"value": (y, "int8")}


def places(x, largest):
    """1 where an entry is the first along the last axis that is the largest."""
    found = (x == largest[..., None]).astype(x.dtype)
    return ((found.cumsum(axis=-1) == 1) & (found == 1)).astype(x.dtype)
