"""Rescaling y = (x + 2^(s-1)) >> s with -2^b <= y < 2^b, or y = ceil(x / 2^s), and the sign of y: zkReLU's auxiliary tensors.

    x + 2^(s-1) + 2^(s+b)  =  r_0 + 2^(o_1) r_1 + ... + 2^s q,      q = y + 2^b in [0, 2^(b+1)),  r = sum 2^(o_k) r_k in [0, 2^s)

Committed: the quotient q and the upper remainder limbs r_1, r_2, ...; the lowest limb r_0 is *virtual*, the linear form
that the equation leaves. Each is looked up in a range table of its width; q is looked up together with its sign where a
ReLU reads one. Both sides of the equation stay below p (``Circuit.bounds``), so it holds over the integers, and the
decomposition of an integer is unique: the verifier knows that y is the rounded x.

A liar could try: another quotient balanced by remainder limbs (a limb leaves its range), x shifted by p (the bounds
exclude it), a virtual quotient (then claims on activations would turn into claims on products; so the quotient is
committed), a mask that is not the sign (no row of the sign table).

A ceiling, y = (x + 2^s - 1) >> s, has 2^s - 1 in the place of 2^(s-1). Its y is above 0 exactly if x is, so rounding
switches no ReLU off; y - 1/2 is as near to x as the nearest integer is.

s = 0 asks that x itself fits: the quotient is x + 2^b and the virtual limb must be 0.

PROTOCOL.md, sections 5.2, 10.1.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from ..algebra import exact, functions
from ..errors import FormatError
from .committed import Committed
from .functions import Site
from .operation import Operation, require
from .ranges import Part, signed_bound
from .tables import Column

ABOVE = functions.joined("gt", functions.IDENTITY, functions.number(Fraction(0)))
REMAINDER = "remainder"  # the form's name: of its limbs' keys, and of what a training step keeps


@dataclass(frozen=True)
class Rescale(Site, Committed):
    """x / 2^shift, rounded to the nearest integer, halves upwards."""

    name: ClassVar[str] = "rescale"
    shift: int

    @property
    def added(self) -> int:
        """What is added before the bits below the shift are dropped: half a unit, to round to the nearest."""
        return exact.half(self.shift)

    def infer_shape(self, x, leaves):
        require(isinstance(self.shift, int) and 0 <= self.shift <= 62, "shift")
        require(isinstance(self.bits, int) and 0 <= self.bits <= 40, "bits")
        return x[0]

    def describe(self):
        return f"rescale {self.shift}"

    def worth(self, x, scale, below):
        return x[0] * 2.0**self.shift

    def forms(self, i, node):
        weight = 1 << self.shift
        constant = self.added + weight * signed_bound(self.bits + 1)
        return [(REMAINDER, constant, [(1, ("node", node.inputs[0])), (-weight, ("quotient", i))], self.shift)]

    def span(self):
        return -signed_bound(self.bits + 1), self.bits + 1

    def row(self, i, node):
        return ("quotient", i), (0, (Part(1, ("quotient", i)),))

    def lookups(self, i, circuit):
        return [*Site.lookups(self, i, circuit), *Committed.lookups(self, i, circuit)]

    def evaluate(self, x, node, shapes, limbs):
        return exact.rescale(x[0], self.shift, self.added)

    def keep(self, x, y, leaves):
        kind = np.uint32 if self.shift <= 32 else np.int64
        return super().keep(x, y, leaves) | {REMAINDER: (exact.remainder(x[0], y, self.shift, self.added), kind)}


@dataclass(frozen=True)
class Ceiling(Rescale):
    """x / 2^shift, rounded up: above 0 exactly if x is."""

    name: ClassVar[str] = "ceiling"

    @property
    def added(self) -> int:
        return (1 << self.shift) - 1

    def describe(self):
        return f"ceiling {self.shift}"

    def evaluate(self, x, node, shapes, limbs):
        y = super().evaluate(x, node, shapes, limbs)
        return y + 0.5 * (y > 0) if self.shift and exact.is_float(y) else y  # of what is above 0 the mean of all that are rounded so

    def judged(self, y):
        return y * (y > 0)


@dataclass(frozen=True)
class Sign(Operation):
    """1 where the y of a rescale or range is above 0, else 0: a *rider*, a further column of its lookup."""

    name: ClassVar[str] = "sign"
    ends: ClassVar[str | None] = "sign"
    rides: ClassVar[bool] = True

    def infer_shape(self, x, leaves):
        return x[0]

    def check(self, i, circuit):
        below = circuit.nodes[i].inputs[0]
        if not isinstance(circuit.nodes[below].operation, Site):
            raise FormatError(f"{circuit.describe(i)} reads {circuit.nodes[below].op}, expected a rescale or range")
        if circuit.first_rider(i) != i:
            raise FormatError(f"{circuit.describe(i)}: a second sign of one quotient")

    def column(self, low: int) -> Column:
        """Of the site's table, where others ride too."""
        return Column(ABOVE, low, (1, 1), 0)

    def part(self, i: int) -> Part:
        """What its tensor is in the lookup."""
        return Part(1, ("sign", i))

    def bound(self, x, shapes, leaves):
        return 1

    def worth(self, x, scale, below):
        return 1.0

    def pull(self, i, node, term, walk):
        return [term._replace(key=("sign", i))]

    def advice(self, i, circuit):
        return {("sign", i): circuit.nodes[i].shape}

    def evaluate(self, x, node, shapes, limbs):
        return (x[0] > 0).astype(x[0].dtype)

    def keep(self, x, y, leaves):
        return {"value": (y, np.int8)}

    def witness(self, i, kept, circuit):
        return {("sign", i): kept["value"]}
