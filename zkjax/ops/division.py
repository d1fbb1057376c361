"""Division, rounded to the nearest integer, halves upwards.

    q = floor((2 x + d) / 2 d):      r = 2 x + d - 2 d q,      0 <= r < 2^c,      0 <= 2 d - 1 - r < 2^c,      q in its range

Committed: q, and upper limbs of both forms. They give 0 <= r < 2 d, so d is at least 1: a divisor that is not positive has no quotient,
and each other one has one. The product d q is the operation after this one.

A liar with another quotient has a remainder below 0 or above 2 d.

PROTOCOL.md, sections 5.2, 10.8.
"""

from dataclasses import dataclass
from typing import ClassVar

from .committed import Committed
from .operation import LIMIT, require
from .products import check_product_next
from .ranges import Lookup, Part
from .tables import Table


@dataclass(frozen=True)
class Divide(Committed):
    """x / d, both of one shape; 2 d is at most 2^divisor."""

    name: ClassVar[str] = "divide"
    arity: ClassVar[int | None] = 2
    divisor: int

    def infer_shape(self, x, leaves):
        require(x[0] == x[1], "shapes differ")
        require(isinstance(self.divisor, int) and 1 <= self.divisor <= 62, "divisor")
        require(isinstance(self.bits, int) and 0 <= self.bits <= 40, "bits")
        return x[0]

    def check(self, i, circuit):
        super().check(i, circuit)
        check_product_next(i, circuit, (circuit.nodes[i].inputs[1], i), "product with the divisor")

    def worth(self, x, scale, below):
        return x[0] / x[1]

    def forms(self, i, node):
        x, d = (("node", j) for j in node.inputs)
        product = ("node", i + 1)
        return [
            ("remainder", 0, [(2, x), (1, d), (-2, product)], self.divisor),
            ("excess", -1, [(1, d), (-2, x), (2, product)], self.divisor),
        ]

    def lookups(self, i, circuit):
        column = (0, (Part(1, ("quotient", i)),))
        own = Lookup(("quotient", i), Table("range", self.bits + 1), circuit.nodes[i].shape, (column,))
        return [own, *super().lookups(i, circuit)]

    def evaluate(self, x, node, shapes, limbs):
        x, d = x
        if limbs is None and x.dtype.kind == "f":
            return x / d
        where = x.__array_namespace__().where
        fits = (d > 0) & (d <= 1 << (self.divisor - 1))
        return where(fits, (2 * x + d) // (2 * where(fits, d, 1)), LIMIT // 2)

    def outside(self, value, scale):
        return "divides by a number that is not positive, or has too large a quotient"

    def keep(self, x, y, leaves):
        x, d = x
        remainder = 2 * x + d - 2 * d * y
        kind = "uint32" if self.divisor <= 32 else "int64"
        return super().keep(x, y, leaves) | {"remainder": (remainder, kind), "excess": (2 * d - 1 - remainder, kind)}


def width(bound: int) -> int:
    """``divisor`` for divisors up to a bound."""
    return (2 * bound - 1).bit_length()
