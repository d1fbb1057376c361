"""Sizes of a chunk: what its proof commits and looks up, from the circuit and from public numbers alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..ops.ranges import limbs
from ..ops.tables import Table


@dataclass(frozen=True)
class Counts:
    """Sizes of a chunk: committed advice cells, lookups, entries of all lookup tables, parameters (committed per chunk end)."""

    cells: int
    lookups: int
    table_entries: int
    parameters: int

    @property
    def cost(self) -> int:
        """What the choice of a table width minimises; a cell costs about what two lookups or two entries of a table do."""
        return 2 * self.cells + self.lookups + self.table_entries


def of_chunk(circuit, steps: int, widths: Sequence[int] | None) -> Counts:
    """As ``Circuit.counts``."""
    widths = (0,) * len(circuit.parameters) if widths is None else widths
    cells = sum(math.prod(shape) for found in circuit.advice.values() for shape in found.values())
    found = [x for lookups in circuit.lookups.values() for x in lookups]
    lookups = sum(math.prod(x.shape) for x in (*found, *circuit.inputs))
    tables = {x.table for x in found} | {Table("range", x.bits + 1) for x in circuit.inputs}
    tables |= {Table("range", width) for s in circuit.recurrent for width in circuit.rounding_widths(s)}
    tables |= {Table("range", narrow) for width in widths if width for _, narrow in limbs(width, circuit.table_bits)}
    ends, (between, upper, looked_up) = -(-steps // circuit.period), circuit.rounding()
    checked_cells, checked = range_check(circuit, widths)
    return Counts(
        cells=steps * cells + (ends - 1) * between + ends * upper + checked_cells,
        lookups=steps * lookups + ends * looked_up + checked,
        table_entries=sum(2**table.width for table in tables),
        parameters=sum(math.prod(p.shape) for p in circuit.parameters),
    )


def range_check(circuit, widths: Sequence[int]) -> tuple[int, int]:
    """As ``Circuit.range_check``."""
    sizes = [(math.prod(p.shape), len(limbs(w, circuit.table_bits))) for p, w in zip(circuit.parameters, widths, strict=True) if w]
    return sum(n * (count - 1) for n, count in sizes), sum(n * count for n, count in sizes)
