"""Membership: every looked-up value is a row of its table; all lookups of all layers and steps in one tree of fractions.

    sum over lookups of 1 / (alpha - v - beta' v' - beta tag)  -  sum over rows of multiplicity / (alpha - row - ..) = 0

(LogUp, ePrint 2022/1530, as a GKR tree, ePrint 2023/1284.) alpha, beta, beta' come after the commitment to everything that
is looked up and to the multiplicities. The tree ends at a point of its leaves, where the numerators are an affine form of
the multiplicities, and the denominators one of what was looked up: committed limbs, quotients and signs, batches of the
dataset, and, through the virtual limbs, the inputs of all rescales.

Padding leaves are 1/1; their number is public and is the sum. A liar with a value outside its table, a wrong multiplicity, or a
pair that is no row has a sum of fractions that is not zero as a rational function: error (leaves - 1)/|K|.

PROTOCOL.md, section 13.1.
"""

from dataclasses import dataclass
from math import prod

from ..algebra.extension import ONE, ZERO, Ext, powers
from ..algebra.layout import Layout
from ..circuit.circuit import Circuit
from ..ops.ranges import Lookup
from ..ops.tables import Table
from ..work import TERM
from .claims import Claim, merge_terms, pull, separable
from .hidden import Hidden
from .lookup import fractional_sum


@dataclass(frozen=True, eq=False)
class Sites:
    """Everything that is looked up, and where its leaves are. layout keys: ("lookup", index) and ("table", index)."""

    lookups: tuple[Lookup, ...]
    tables: tuple[Table, ...]
    layout: Layout

    @staticmethod
    def of(lookups: list[Lookup]) -> "Sites":
        tables = tuple(sorted({x.table for x in lookups}))
        shapes = {("lookup", i): x.shape for i, x in enumerate(lookups)} | {("table", i): t.shape for i, t in enumerate(tables)}
        return Sites(tuple(lookups), tables, Layout(shapes))

    def tag(self, table: Table) -> int:
        """Tables are numbered from 1."""
        return self.tables.index(table) + 1


@dataclass(frozen=True)
class Randomness:
    """The challenges of one tree: denominator = alpha - sum of column * columns[j] - tag * tag number."""

    alpha: Ext
    tag: Ext
    columns: tuple[Ext, ...]

    def offset(self, tag_number: int) -> Ext:
        return self.alpha - self.tag * tag_number


def membership(hidden: Hidden, circuit: Circuit, sites: Sites, prover=None) -> Claim:
    """Reduce all lookups to one claim on what was looked up (and a constraint on the multiplicities)."""
    alpha, tag, pair = hidden.challenges("lookups", 3)
    randomness = Randomness(alpha, tag, tuple(powers(pair, 2)))
    padding = (1 << sites.layout.num_vars) - sum(prod(shape) for shape in sites.layout.shapes.values())
    # the leaves are handed over, so that they are freed as soon as they are used up
    point, p, q = fractional_sum(hidden, sites.layout.num_vars, padding, prover.leaves(sites, randomness) if hidden.proving else None)
    vectors = hidden.vectors
    terms, multiplicities, in_tables, valid, constant = [], [], ZERO, ZERO, ZERO
    for w in sites.layout.weights(point, vectors):
        kind, index = w.key
        if kind == "table":
            table = sites.tables[index]
            multiplicities.append(separable(table.key, -w.scalar, w.vectors, False))
            columns = table.column_values(*w.vectors, vectors)
            weight = separable(w.key, w.scalar, w.vectors, False).total(vectors)
            in_tables, valid = in_tables + weight, valid + weight
            constant = constant + randomness.offset(index + 1) * weight
            for factor, column in zip(randomness.columns, columns, strict=False):
                constant = constant - factor * column * w.scalar
            continue
        lookup = sites.lookups[index]
        weight = separable(w.key, w.scalar, w.vectors, False).total(vectors)
        vectors.meter.charge("lookups", TERM * sum(1 + len(parts) for _, parts in lookup.columns))
        valid = valid + weight
        constant = constant + randomness.offset(sites.tag(lookup.table)) * weight
        for factor, (offset, parts) in zip(randomness.columns, lookup.columns, strict=False):
            constant = constant - factor * offset * weight
            for coefficient, key in parts:
                terms.append(separable(key, -factor * coefficient * w.scalar, w.vectors, lookup.stepped))
    hidden.require_zero("lookup multiplicities", p - (ONE - in_tables) - hidden.functional(multiplicities))
    terms, below = pull(circuit, merge_terms(terms), vectors)
    return Claim(tuple(terms), constant + ONE - valid + below, q)
