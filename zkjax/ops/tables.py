"""Lookup tables: what a value may be.

    range      rows 0 .. 2^w - 1
    sign       (q, 1[q > 2^(w-1)]): one lookup proves the quotient's range, that the sign is a bit, and that it is right, zero included
    function   (q, c_1(q), c_2(q), ..): columns that programs define (``algebra.functions``), each for the integers low + q
    first      (v, 0) for v < 2^w - 1, and (0, 1): what is below a maximum, and the maximum itself

A column of a function is shifted so that no entry is negative. Where a function has no value, the table has no row: in its place a row
that it has stands twice. A *one-hot* of size K is K columns, of which the one whose number is the program's value is 1.

Rows are indexed by two axes, row = high * 2^low_bits + low. An eq vector over a table is a product of two short ones, so that
the verifier's work for columns with structure is the square root of the table's size; others are products of a matrix.

A liar who looks up a value outside its table must balance a fraction that no table entry has (see ``lookup``). Tables
have independent tags: a value cannot be found in another table's range.

PROTOCOL.md, sections 10.2, 10.6.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..algebra import extension as ext
from ..algebra import field, functions
from ..algebra.extension import Ext
from ..algebra.vectors import Vectors, total
from ..errors import FormatError
from ..work import PASSING, SCALAR, Meter

KINDS = ("range", "sign", "function", "first")
DECIMALS = 2**11  # work of an instruction on decimals
FLOATS = 4  # of one on floating-point numbers
_LIMB = 22  # bits of a part of a field element: products with entries of a column, summed over a row, are exact in float64


class Column(NamedTuple):
    """A function's: the integers nearest to 2^scale * program(unit * v), v = low, low + 1, ..; unit is n / d.

    size: K, for the K columns of a one-hot, 1 where the program's value is their number; 0 for a function.
    """

    program: functions.Program
    low: int
    unit: tuple[int, int]
    scale: int
    size: int = 0


@dataclass(frozen=True, order=True)
class Table:
    """A public table. width: log2 of its number of rows; functions: the columns after the first, of a table of functions."""

    kind: str
    width: int
    functions: tuple[Column, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS or (self.kind == "function") != bool(self.functions):
            raise ValueError(f"there is no table of kind {self.kind!r}")

    @property
    def key(self) -> tuple:
        """The committed multiplicities of its rows."""
        return "multiplicity", self.kind, self.width, *self.functions

    @property
    def shape(self) -> tuple[int, int]:
        low = self.width // 2
        return 1 << (self.width - low), 1 << low

    @property
    def width_of_rows(self) -> int:
        """How many columns it has."""
        return {"range": 1, "sign": 2, "first": 2}.get(self.kind) or 1 + sum(column.size or 1 for column in self.functions)

    def rows(self, columns: list[np.ndarray]) -> np.ndarray:
        """Of looked-up values, one array per column, the row; beyond the table's, or below 0, where there is none."""
        if self.kind == "first":
            return np.where(
                columns[1] == 1, (1 << self.width) - 1 + columns[0], np.where(columns[0] == (1 << self.width) - 1, -1, columns[0])
            )
        return columns[0]

    def columns(self) -> list[np.ndarray]:
        """The entries of every row, one array of ``shape`` per column."""
        rows = np.arange(1 << self.width, dtype=np.int64)
        if self.kind == "first":
            rows[-1] = 0
            found = [rows, (np.arange(1 << self.width) == (1 << self.width) - 1).astype(np.int64)]
        elif self.kind == "function":
            found = list(filled(self))
        else:
            found = [rows] if self.kind == "range" else [rows, (rows > 1 << (self.width - 1)).astype(np.int64)]
        return [column.reshape(self.shape) for column in found]

    def column_values(self, high, low, vectors: Vectors | None = None) -> list[Ext]:
        """<column, high (x) low> for every column; high, low: NumPy K vectors of the lengths in ``shape``."""
        vectors = vectors or Vectors()
        rows, steps = self.shape
        if self.kind == "function":
            return [
                _inner(column, high, low, vectors) for column in ([None] * self.width_of_rows if vectors.lengths_only else self.columns())
            ]

        def counted(vector, length: int) -> Ext:
            return vectors.number(length, lambda: total(ext.mul_base(vector, np.arange(length, dtype=np.uint64))))

        def after(vector, length: int, i: int) -> Ext:
            return vectors.number(length, lambda: total(tuple(c[i + 1 :] for c in vector)))

        def entry(vector, i: int) -> Ext:
            return vectors.number(1, lambda: Ext(int(vector[0][i]), int(vector[1][i])))

        total_low = vectors.total(low)
        identity = counted(high, rows) * total_low * steps + vectors.total(high) * counted(low, steps)
        if self.kind == "range":
            return [identity]
        if self.kind == "first":
            last = entry(high, rows - 1) * entry(low, steps - 1)
            return [identity - last * ((1 << self.width) - 1), last]
        middle = 1 << (self.width - 1)
        top, rest = divmod(middle, steps)  # rows after the middle one: the rest of its line, then all later lines
        return [identity, after(high, rows, top) * total_low + entry(high, top) * after(low, steps, rest)]


def charge(table: Table, meter: Meter) -> None:
    """What making a table of functions takes, however hostile, before it is made: decimals for each entry that floats do not settle.

    FormatError where its functions have no row in common.
    """
    rows = 1 << table.width
    for column in table.functions:
        steps = len(column.program)
        meter.charge("tables of functions", FLOATS * rows * steps, 8 * rows * max(1, column.size), PASSING * rows * (1 + steps))
        meter.charge("tables of functions", DECIMALS * steps * len(_settled(column, table.width)[1]))
    filled(table)


def _arguments(column: Column, width: int) -> tuple:
    return column.program, column.low, 1 << width, Fraction(*column.unit), 0 if column.size else column.scale


@lru_cache(maxsize=64)
def _settled(column: Column, width: int) -> tuple[np.ndarray, np.ndarray]:
    return functions.settled(*_arguments(column, width))


@lru_cache(maxsize=64)
def values(column: Column, width: int) -> np.ndarray:
    """The integers of a function, or the numbers of a one-hot, at low, low + 1, ..; ``functions.LARGEST`` where there is none."""
    found = functions.entries(*_arguments(column, width))
    found.setflags(write=False)
    return found


@lru_cache(maxsize=256)
def limits(column: Column, width: int) -> tuple[int, int]:
    """The least and the largest integer of a function; FormatError where it has no value at all."""
    found = values(column, width)
    found = found[found != functions.LARGEST]
    if not found.size:
        raise FormatError("a function has no value in its table")
    return int(found.min()), int(found.max())


@lru_cache(maxsize=64)
def filled(table: Table) -> tuple[np.ndarray, ...]:
    """The columns of a table of functions; rows that it lacks are copies of one that it has."""
    found = [np.arange(1 << table.width, dtype=np.int64)]
    defined = np.ones(1 << table.width, dtype=bool)
    for column in table.functions:
        entries = values(column, table.width)
        defined &= entries != functions.LARGEST
        if column.size:
            found += [(entries == k).astype(np.int64) for k in range(column.size)]
        else:
            found.append(entries - min(0, limits(column, table.width)[0]))
    if not defined.any():
        raise FormatError("the functions of a table have no row in common")
    if not defined.all():
        found = [np.where(defined, column, column[np.argmax(defined)]) for column in found]
    return tuple(found)


def _inner(column, high, low, vectors: Vectors) -> Ext:
    """<column, high (x) low> of integers in [0, 2^31): products of a matrix with parts of field elements, exact in float64."""

    def multiply() -> Ext:
        parts = [(c >> np.uint64(_LIMB * j)) & np.uint64(2**_LIMB - 1) for c in low for j in range(3)]
        parts = np.stack(parts, axis=-1).astype(np.float64)  # (steps, 6)
        rows = [0, 0]
        for i in range(2):  # 16 bits of entries at a time: 16 + 22 + 10 < 53
            products = field.from_int((((column >> (16 * i)) & 0xFFFF).astype(np.float64) @ parts).astype(np.int64))
            for c in range(2):
                for j in range(3):
                    shift = np.uint64(pow(2, _LIMB * j + 16 * i, field.P))
                    rows[c] = field.add(np.asarray(rows[c], np.uint64), field.mul(products[:, 3 * c + j], shift))
        return total(ext.mul(tuple(rows), high))

    length = len(high[0]) * len(low[0])
    return vectors.number(max(1, length // SCALAR), multiply)
