"""Sizes of a chunk: what its proof commits and looks up, from the circuit and from public numbers alone."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..ops.ranges import limbs, tables_kept


@dataclass(frozen=True)
class Counts:
    """Sizes of a chunk: committed advice cells, lookups, entries of all lookup tables, parameters (committed per chunk end).

    Of the table entries each is a leaf beside the lookups, and has a multiplicity, which is committed beside the cells.
    """

    cells: int
    lookups: int
    table_entries: int
    parameters: int

    @property
    def cost(self) -> int:
        """What the choice of a table width minimises; a cell costs about what two lookups do, and a table's entry both."""
        return 2 * self.cells + self.lookups + 3 * self.table_entries


def of_chunk(circuit, steps: int, widths: Sequence[int] | None) -> Counts:
    """As ``Circuit.counts``."""
    widths = (0,) * len(circuit.parameters) if widths is None else widths
    cells = sum(math.prod(shape) for found in circuit.advice.values() for shape in found.values())
    found = [x for lookups in circuit.lookups.values() for x in lookups]
    entries: Counter = Counter()  # by the widths of the ranges
    for x in (x for x in found if x.table.kind == "range"):
        entries[x.width] += steps * math.prod(x.shape)
    for x in circuit.inputs:
        entries[x.bits + 1] += steps * math.prod(x.shape)
    ends, (between, upper, _) = -(-steps // circuit.period), circuit.rounding()
    for s in circuit.recurrent:
        for width in circuit.rounding_widths(s):
            entries[width] += ends * math.prod(circuit.parameters[s].shape)
    for p, width in zip(circuit.parameters, widths, strict=True):
        for _, narrow in limbs(width, circuit.table_bits) if width else ():
            entries[narrow] += math.prod(p.shape)
    kept = tables_kept(entries)
    others = [x for x in found if x.table.kind != "range"]
    return Counts(
        cells=steps * cells + (ends - 1) * between + ends * upper + range_check(circuit, widths)[0],
        lookups=steps * sum(math.prod(x.shape) for x in others) + sum(n * (1 + (kept[w] != w)) for w, n in entries.items()),
        table_entries=sum(2**width for width in set(kept.values())) + sum(2**table.width for table in {x.table for x in others}),
        parameters=sum(math.prod(p.shape) for p in circuit.parameters),
    )


def range_check(circuit, widths: Sequence[int]) -> tuple[int, int]:
    """As ``Circuit.range_check``."""
    sizes = [(math.prod(p.shape), len(limbs(w, circuit.table_bits))) for p, w in zip(circuit.parameters, widths, strict=True) if w]
    return sum(n * (count - 1) for n, count in sizes), sum(n * count for n, count in sizes)
