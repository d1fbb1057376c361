"""Sizes of a chunk: what its proof commits and looks up, from the circuit and from public numbers alone."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..ops.ranges import Lookup, limbs, tables_kept
from . import ranged


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


class Size(NamedTuple):
    """Of a part of a step: committed cells, lookups, and the numbers that these look up, one in each column of their tables."""

    cells: int = 0
    lookups: int = 0
    columns: int = 0

    def __add__(self, other) -> "Size":
        return Size(*map(sum, zip(self, other, strict=True)))


class Sizes(NamedTuple):
    """Of a step, part by part: its nodes, its inputs, whose ranges are looked up, and the rounding of states, where it ends a period."""

    nodes: tuple[Size, ...]
    inputs: tuple[Size, ...]
    states: Size


def of_parts(circuit) -> Sizes:
    """Those of a proof of one step; together ``of_chunk``'s, and the cells in which states are committed where another step follows."""
    entries = _ranges(circuit, 1, (0,) * len(circuit.parameters))
    kept = tables_kept(entries)

    def twice(width: int) -> int:
        return 1 + (kept[width] != width)

    def of_lookup(x: Lookup) -> Size:
        number = math.prod(x.shape) * (twice(x.width) if x.table.kind == "range" else 1)
        return Size(0, number, number * x.table.width_of_rows)

    nodes = []
    for i in range(len(circuit.nodes)):
        cells = sum(math.prod(shape) for shape in circuit.advice.get(i, {}).values())
        nodes.append(sum(map(of_lookup, circuit.lookups.get(i, ())), Size(cells)))
    read = [math.prod(x.shape) * twice(x.bits + 1) for x in circuit.inputs]
    rounded = sum(twice(width) * math.prod(circuit.parameters[s].shape) for s in circuit.recurrent for width in circuit.rounding_widths(s))
    return Sizes(tuple(nodes), tuple(Size(0, n, n) for n in read), Size(sum(circuit.rounding()[:2]), rounded, rounded))


def _ranges(circuit, steps: int, widths: Sequence[int]) -> Counter:
    """How many entries are looked up in ranges, by the width of the range."""
    entries: Counter = Counter()
    for x in (x for lookups in circuit.lookups.values() for x in lookups if x.table.kind == "range"):
        entries[x.width] += steps * math.prod(x.shape)
    for x in circuit.inputs:
        entries[x.bits + 1] += steps * math.prod(x.shape)
    for s in circuit.recurrent:
        for width in circuit.rounding_widths(s):
            entries[width] += -(-steps // circuit.period) * math.prod(circuit.parameters[s].shape)
    for x in ranged.shown(circuit, widths):
        for _, narrow in limbs(x.width, circuit.table_bits):
            entries[narrow] += math.prod(x.shape)
    return entries


def tables(circuit, steps: int) -> frozenset[int]:
    """The widths of ranges that have tables of their own in a proof of so many steps."""
    return frozenset(tables_kept(_ranges(circuit, steps, (0,) * len(circuit.parameters))).values())


def of_chunk(circuit, steps: int, widths: Sequence[int] | None) -> Counts:
    """As ``Circuit.counts``."""
    widths = (0,) * len(circuit.parameters) if widths is None else widths
    cells = sum(math.prod(shape) for found in circuit.advice.values() for shape in found.values())
    entries = _ranges(circuit, steps, widths)
    kept = tables_kept(entries)
    others = [x for lookups in circuit.lookups.values() for x in lookups if x.table.kind != "range"]
    ends, (between, upper, _) = -(-steps // circuit.period), circuit.rounding()
    return Counts(
        cells=steps * cells + (ends - 1) * between + ends * upper + range_check(circuit, widths)[0],
        lookups=steps * sum(math.prod(x.shape) for x in others) + sum(n * (1 + (kept[w] != w)) for w, n in entries.items()),
        table_entries=sum(2**width for width in set(kept.values())) + sum(2**table.width for table in {x.table for x in others}),
        parameters=sum(math.prod(p.shape) for p in circuit.parameters),
    )


def range_check(circuit, widths: Sequence[int]) -> tuple[int, int]:
    """As ``Circuit.range_check``."""
    sizes = [(math.prod(x.shape), len(limbs(x.width, circuit.table_bits))) for x in ranged.shown(circuit, widths)]
    return sum(n * (count - 1) for n, count in sizes), sum(n * count for n, count in sizes)
