"""Square roots, rounded down.

    s = floor(sqrt(x)):      r = x - s^2,      0 <= r < 2^c,      0 <= 2 s - r < 2^c

Committed: s, and upper limbs of both forms. They give s^2 <= x < (s + 1)^2, and an x below 0 has no root. Nothing looks s up: twice s is
the sum of the two forms, so s is an integer below 2^c, or half an odd one modulo p. In the second case 4 x - (2 s)^2 - 4 r is odd plus a
multiple of 4 and below p in absolute value (``Root.reach``), so it is not 0. The square is the operation after this one.

A liar with another root has a form below 0.

PROTOCOL.md, sections 5.2, 10.8.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .committed import Formed
from .operation import LIMIT, require
from .products import check_product_next

MAX_ROOT = 30  # bits of the forms, with which no root of x + p or of x - p passes


@dataclass(frozen=True)
class Root(Formed):
    """floor(sqrt(x)); twice the root is below 2^size."""

    name: ClassVar[str] = "root"
    ends: ClassVar[str | None] = "root"
    size: int

    def infer_shape(self, x, leaves):
        require(isinstance(self.size, int) and 2 <= self.size <= MAX_ROOT, "size")
        return x[0]

    def check(self, i, circuit):
        check_product_next(i, circuit, (i, i), "square")

    def bound(self, x, shapes, leaves):
        proven = (1 << self.size) - 1
        return proven if x[0] is None else min(proven, math.isqrt(x[0]))

    def worth(self, x, scale, below):
        return math.sqrt(x[0])

    def pull(self, i, node, term, walk):
        return [term._replace(key=("root", i))]

    def forms(self, i, node):
        x, s, square = ("node", node.inputs[0]), ("root", i), ("node", i + 1)
        return [("remainder", 0, [(1, x), (-1, square)], self.size), ("excess", 0, [(2, s), (-1, x), (1, square)], self.size)]

    def committed_bounds(self, i, circuit):
        return {("root", i): 1 << self.size}

    def anchored(self, i):
        return (("root", i),)

    def reach(self, x):
        return 4 * x[0] + (1 << (2 * self.size + 2)) + (1 << (self.size + 2))  # of 4 x - n^2 - 4 r, n = 2 s below 2^(size + 1)

    def evaluate(self, x, node, shapes, limbs):
        xp = x[0].__array_namespace__()
        if x[0].dtype.kind == "f":
            return xp.sqrt(x[0])
        fits = (x[0] >= 0) & (x[0] < 1 << (2 * self.size - 2))
        inside = xp.where(fits, x[0], 0)
        root = xp.sqrt(inside.astype(np.float64)).astype(np.int64)  # off by one at the most
        root = root - (root * root > inside).astype(np.int64)
        root = root + ((root + 1) * (root + 1) <= inside).astype(np.int64)
        return xp.where(fits, root, LIMIT // 2)

    def limits(self):
        return 0, 1 << (self.size - 1)

    def outside(self, value, scale):
        return "is the root of a number below 0, or too large a one"

    def keep(self, x, y, leaves):
        kind, remainder = "uint32", x[0] - y * y
        return {"value": (y, "int32"), "remainder": (remainder, kind), "excess": (2 * y - remainder, kind)}


def size(bound: int) -> int:
    """``size`` for the roots of numbers up to a bound."""
    return max(2, math.isqrt(bound).bit_length() + 1)
