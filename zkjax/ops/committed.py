"""Operations whose value is committed and proven by forms that lie in ranges.

PROTOCOL.md, section 10.1.
"""

from dataclasses import dataclass
from typing import ClassVar

from ..errors import FormatError
from . import ranges
from .operation import Operation
from .ranges import integer_type, signed_bound


class Formed(Operation):
    """The value less its least one, ``limits()[0]``, is committed in the tensor (``ends``, i).

    An operation names its forms; their limbs, cells, lookups and the prover's tensors follow. The same relations give the
    bounds that ``Circuit.bounds`` demands, so that they hold over the integers.
    """

    rounds: ClassVar[bool] = True

    def forms(self, i: int, node) -> list[tuple]:
        """(name, constant, parts, width) of every form that lies in [0, 2^width); parts: (coefficient, tensor key), .."""
        raise NotImplementedError

    def advice(self, i, circuit):
        node = circuit.nodes[i]
        found = {(self.ends, i): node.shape}
        for name, _, _, width in self.forms(i, node):
            found |= ranges.cells((name, i), width, node.shape, circuit.table_bits)
        return found

    def lookups(self, i, circuit):
        node, found = circuit.nodes[i], []
        for name, constant, parts, width in self.forms(i, node):
            found += ranges.lookups((name, i), constant, parts, width, node.shape, circuit.table_bits)
        return found

    def witness(self, i, kept, circuit):
        least, _ = self.limits()
        found = {(self.ends, i): kept["value"] + -least}
        for name, _, _, width in self.forms(i, circuit.nodes[i]):
            found |= ranges.cut((name, i), kept[name], width, circuit.table_bits)
        return found


@dataclass(frozen=True)
class Committed(Formed):
    """The value y, -2^bits <= y < 2^bits, is committed as q = y + 2^bits, in the tensor ("quotient", i)."""

    ends: ClassVar[str | None] = "quotient"
    bits: int

    def check(self, i, circuit):
        if self.bits + 1 > circuit.table_bits:
            raise FormatError(f"{circuit.describe(i)}: {self.bits + 1} bits do not fit a table of {circuit.table_bits}")

    def bound(self, x, shapes, leaves):
        return signed_bound(self.bits + 1)

    def table_width(self):
        return self.bits + 1

    def limits(self):
        return -signed_bound(self.bits + 1), signed_bound(self.bits + 1)

    def pull(self, i, node, term, walk):
        walk.add(-(term.total(walk.vectors) * signed_bound(self.bits + 1)))
        return [term._replace(key=("quotient", i))]

    def keep(self, x, y, leaves):
        return {"value": (y, integer_type(self.bits))}
