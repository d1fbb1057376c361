"""Membership: every looked-up value is a row of its table; all lookups of all layers and steps in one tree of fractions.

    sum over lookups of 1 / (alpha - v - beta' v' - beta tag)  -  sum over rows of multiplicity / (alpha - row - ..) = 0

(LogUp, ePrint 2022/1530, as a GKR tree, ePrint 2023/1284.) alpha, beta, beta' come after the commitment to everything that
is looked up and to the multiplicities. The tree ends at a point of its leaves, where the numerators are an affine form of
the multiplicities, and the denominators one of what was looked up: committed limbs, quotients and signs, batches of the
dataset, and, through the virtual limbs, the inputs of all rescales.

The leaves are the layout's entries in blocks, block by block in bit-reversed order: the tree adds neighbouring blocks first, so
that padding meets padding in all layers and costs the prover nothing, and so do tables, the only leaves whose numerators are not 1.

Padding leaves are 1/1; their number is public and is the sum. A liar with a value outside its table, a wrong multiplicity, or a
pair that is no row has a sum of fractions that is not zero as a rational function: error (leaves - 1)/|K|.

PROTOCOL.md, section 13.1.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from ..algebra import extension as ext
from ..algebra import field
from ..algebra.extension import ONE, ZERO, Ext, powers
from ..algebra.layout import Layout
from ..algebra.vectors import Vectors
from ..circuit.circuit import Circuit
from ..ops.ranges import Lookup, Part, in_few_tables
from ..ops.tables import Table
from ..work import TERM
from .claims import Claim, Term, merge_terms, pull, separable
from .hidden import Hidden
from .lookup import fractional_sum

LOG_BLOCK = 15  # of leaves whose order is the layout's


@dataclass(frozen=True, eq=False)
class Sites:
    """Everything that is looked up, and where its leaves are. layout keys: ("lookup", index) and ("table", index)."""

    lookups: tuple[Lookup, ...]
    tables: tuple[Table, ...]
    layout: Layout

    @staticmethod
    def of(lookups: list[Lookup]) -> "Sites":
        lookups = in_few_tables(lookups)
        tables = tuple(sorted({x.table for x in lookups}))
        shapes = {("lookup", i): x.leaves for i, x in enumerate(lookups)} | {("table", i): t.shape for i, t in enumerate(tables)}
        return Sites(tuple(lookups), tables, Layout(shapes))

    @property
    def degree(self) -> int:
        """Of the product of all denominators, in the challenges: columns are combined with powers of one."""
        leaves = [(x.leaves, x.table) for x in self.lookups] + [(t.shape, t) for t in self.tables]
        return sum(prod(shape) * max(1, table.width_of_rows - 1) for shape, table in leaves)

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
    most = max((table.width_of_rows for table in sites.tables), default=1)
    randomness = Randomness(alpha, tag, tuple(powers(pair, most)))
    padding = (1 << sites.layout.num_vars) - sum(prod(shape) for shape in sites.layout.shapes.values())
    # the leaves are handed over, so that they are freed as soon as they are used up
    leaves = prover.leaves(sites, randomness) if hidden.proving else None
    point, p, q = fractional_sum(hidden, sites.layout.num_vars, padding, leaves, degree=sites.degree)
    vectors = hidden.vectors
    terms, multiplicities, in_tables, valid, constant = [], [], ZERO, ZERO, ZERO
    for w in sites.layout.weights(in_layout(point), vectors):
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
        if lookup.again:
            (twice, *along), one = w.vectors, w.scalar
            second = vectors.number(2, lambda twice=twice: ext.unstack(twice)[1])
            w = w._replace(scalar=one * vectors.total(twice), vectors=tuple(along))
            constant = constant - separable(w.key, one * second, w.vectors, False).total(vectors) * lookup.again
        weight = separable(w.key, w.scalar, w.vectors, False).total(vectors)
        vectors.meter.charge("lookups", TERM * sum(1 + len(parts) for _, parts in lookup.columns))
        valid = valid + weight
        constant = constant + randomness.offset(sites.tag(lookup.table)) * weight
        place = 0
        for offset, parts in lookup.columns:
            factor = randomness.columns[place]
            constant = constant - factor * offset * weight
            for part in parts:
                if part.along == "columns":
                    factors = randomness.columns[place : place + part.size]
                    terms.append(_in_columns(part, w, factors, lookup.stepped, vectors))
                    place += part.size - 1
                else:
                    terms.append(_term(part, w, -factor * part.coefficient, lookup.stepped, vectors))
            place += 1
    hidden.require_zero("lookup multiplicities", p - (ONE - in_tables) - hidden.functional(multiplicities))
    terms, below = pull(circuit, merge_terms(terms, vectors), vectors)
    return Claim(tuple(terms), constant + ONE - valid + below, q)


def in_layout(point: list[Ext]) -> list[Ext]:
    """A point of the tree's leaves as one of the layout: the bits that number a block, lowest first there, highest first here."""
    blocks = max(0, len(point) - LOG_BLOCK)
    return point[:blocks][::-1] + point[blocks:]


def _term(part: Part, w, factor: Ext, stepped: bool, vectors: Vectors) -> Term:
    """factor * <part, weight of the lookup>, as a term on the part's tensor."""
    along, scalar = w.vectors, factor * w.scalar
    if part.along == "repeated":
        along, scalar = along[:-1], scalar * vectors.total(along[-1])
    elif part.along == "later":
        along = (*along[:-1], vectors.make(len(along[-1][0]), lambda: _before(w.vectors[-1])))
    elif part.along == "summed":
        along = (*along, vectors.ones(part.size))
    return separable(part.key, scalar, along, stepped)


def _in_columns(part: Part, w, factors: tuple[Ext, ...], stepped: bool, vectors: Vectors) -> Term:
    """The same of a tensor that holds several columns, each with its factor."""
    along = vectors.make(part.size, lambda: ext.stack(factors))
    return separable(part.key, -w.scalar, (*w.vectors, along), stepped)


def _before(vector):
    """For each place the sum of the entries before it: what a sum over later places makes of weights."""
    sums = []
    for c in vector:
        halves = (np.cumsum(half) - half for half in (c & field.EPSILON, c >> np.uint64(32)))
        sums.append(field.join(*halves))
    return tuple(sums)
