"""Ranges: a form lies in [0, 2^width) if its limbs lie in their tables. Bounds of integers, and of sums of them.

A form, constant + sum of coefficient * tensor, is cut into as few limbs as fit the largest table. The upper limbs are
committed; the lowest one is *virtual*: what the others leave of the form. So each takes a lookup, and all but the lowest a cell.

A table costs a cell and a leaf for each of its rows. One that few entries are looked up in is left out: v is in [0, 2^w) exactly if v
and v + 2^W - 2^w are both in [0, 2^W), so its entries are looked up twice in the next wider table.

PROTOCOL.md, sections 10.1, 10.3.
"""

from collections import Counter
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple

import numpy as np

from .tables import Table

_ROW = 3  # what a row of a table costs, in leaves: a leaf, and a committed cell, which costs about as much as two


class Part(NamedTuple):
    """coefficient * tensor, in a column. key: a committed tensor, ("input", k) or ("node", i).

    along: "" where the tensor has the lookup's shape. "repeated": it lacks the last axis. "later": of the entries that come later along the
    last axis, the sum. "summed": it has an axis more, of ``size`` entries, which are added up. "columns": it has an axis more, whose
    entries are ``size`` columns, one after another.
    """

    coefficient: int
    key: tuple
    along: str = ""
    size: int = 1

    def most(self, shape: tuple[int, ...]) -> int:
        """How many entries of the tensor one of a lookup of this shape adds up, at most."""
        return shape[-1] if self.along == "later" else self.size if self.along == "summed" else 1


@dataclass(frozen=True)
class Lookup:
    """The statement "each entry of this tensor is in this table".

    key: names the lookup. shape: of the tensor. columns: for each column of the table, or for several that one tensor holds, an affine form
    (constant, parts). All but the first are committed tensors as they are. stepped: the first axis, which an operation's shapes leave
    out, runs over steps or periods. again: where it is not 0, the statement is that each entry, and the entry plus this, is in the table.
    """

    key: tuple
    table: Table
    shape: tuple[int, ...]
    columns: tuple[tuple[int, tuple[Part, ...]], ...]
    stepped: bool = True
    again: int = 0

    def __post_init__(self) -> None:
        parts = tuple((constant, tuple(Part(*part) for part in parts)) for constant, parts in self.columns)
        object.__setattr__(self, "columns", parts)

    @property
    def leaves(self) -> tuple[int, ...]:
        """The shape of what is looked up: where it is looked up twice, an axis of two comes first."""
        return (2, *self.shape) if self.again else self.shape

    @property
    def width(self) -> int:
        """Bits of the range that is shown."""
        return ((1 << self.table.width) - self.again).bit_length() - 1


def tables_kept(entries: dict[int, int]) -> dict[int, int]:
    """For each width of a range the width of its table. entries: how many are looked up, by the width of their range."""
    found: dict[int, int] = {}
    kept = None
    for width in sorted(entries, reverse=True):
        kept = width if kept is None or entries[width] >= _ROW << width else kept
        found[width] = kept
    return found


def in_few_tables(lookups: list[Lookup]) -> list[Lookup]:
    """The same statements, in the ranges' tables that are kept."""
    entries: Counter = Counter()
    for x in lookups:
        if x.table.kind == "range":
            entries[x.width] += prod(x.shape)
    kept = tables_kept(entries)

    def moved(x: Lookup) -> Lookup:
        if x.table.kind != "range":
            return x
        return replace(x, table=Table("range", kept[x.width]), again=(1 << kept[x.width]) - (1 << x.width))

    return [moved(x) for x in lookups]


def signed_bound(width: int) -> int:
    """The bound of signed integers that fit a range table of this width, and what is added to them when they are looked up."""
    return 1 << (width - 1)


def farthest(constant: int, parts) -> int:
    """The largest absolute value of constant + sum of coefficient * v, where low <= v <= high; parts: (coefficient, low, high).

    Where it is below p, an equation "form = 0" that holds modulo p holds over the integers, and only there.
    """
    ends = [sorted((coefficient * low, coefficient * high)) for coefficient, low, high in parts]
    return max(abs(constant + sum(low for low, _ in ends)), abs(constant + sum(high for _, high in ends)))


def residues_differ(bound: int) -> int:
    """How far apart two integers within a bound can be: below p, equal residues are equal integers."""
    return farthest(0, ((1, -bound, bound), (-1, -bound, bound)))


def integer_type(bits: int):
    """The smallest of the types int16, int32 and int64 that holds integers in [-2^bits, 2^bits)."""
    return np.int16 if bits <= 15 else np.int32 if bits <= 31 else np.int64


def limbs(width: int, table_bits: int) -> list[tuple[int, int]]:
    """(weight, width) of each limb, lowest first: as few as fit the largest table, as even as can be."""
    count = max(1, -(-width // table_bits))
    narrow, extra = divmod(width, count)
    found, weight = [], 1
    for j in range(count):
        found.append((weight, narrow + (j < extra)))
        weight <<= found[-1][1]
    return found


def cells(name: tuple, width: int, shape: tuple[int, ...], table_bits: int) -> dict:
    """The committed limbs' shapes by key: (*name, 1), (*name, 2), .."""
    return {(*name, j): shape for j in range(1, len(limbs(width, table_bits)))}


def lookups(name: tuple, constant: int, parts, width: int, shape: tuple[int, ...], table_bits: int, stepped: bool = True) -> list[Lookup]:
    """What shows that constant + sum of coefficient * tensor is in [0, 2^width): the committed limbs', then the virtual one's."""
    (_, lowest), *upper = limbs(width, table_bits)
    found, form = [], [Part(*part) for part in parts]
    for j, (weight, narrow) in enumerate(upper, start=1):
        found.append(Lookup((*name, j), Table("range", narrow), shape, ((0, (Part(1, (*name, j)),)),), stepped))
        form.append(Part(-weight, (*name, j)))
    return [*found, Lookup((*name, 0), Table("range", lowest), shape, ((constant, tuple(form)),), stepped)]


def cut(name: tuple, values: np.ndarray, width: int, table_bits: int) -> dict:
    """The prover's limbs of a form's integers by key, the virtual one too."""
    found, offset = {}, 0
    for j, (_, narrow) in enumerate(limbs(width, table_bits)):
        found[*name, j] = (values >> offset) & ((1 << narrow) - 1)
        offset += narrow
    return found
