"""Lookup tables: what a value may be.

A range table of width w holds 0 .. 2^w - 1. A sign table of b bits holds the pairs (q, 1[q > 2^b]) for q < 2^(b+1): one
lookup of (quotient, sign) proves the quotient's range, that the sign is a bit, and that it is right, zero included.

Rows are indexed by two axes, row = high * 2^low_bits + low, so that an eq vector over a table is a product of two short
ones and the verifier's work is the square root of the table's size.

A liar who looks up a value outside its table must balance a fraction that no table entry has (see ``lookup``). Tables
have independent tags: a value cannot be found in another table's range.

PROTOCOL.md, section 10.2.
"""

from dataclasses import dataclass

import numpy as np

from ..algebra import extension as ext
from ..algebra.extension import Ext
from ..algebra.vectors import Vectors, total


@dataclass(frozen=True, order=True)
class Table:
    """A public table. kind: "range" or "sign"; width: log2 of its number of rows."""

    kind: str
    width: int

    def __post_init__(self) -> None:
        if self.kind not in ("range", "sign"):
            raise ValueError(f"there is no table of kind {self.kind!r}")

    @property
    def key(self) -> tuple:
        """The committed multiplicities of its rows."""
        return "multiplicity", self.kind, self.width

    @property
    def shape(self) -> tuple[int, int]:
        low = self.width // 2
        return 1 << (self.width - low), 1 << low

    def columns(self) -> list[np.ndarray]:
        """The entries of every row, one array of ``shape`` per column."""
        rows = np.arange(1 << self.width, dtype=np.int64).reshape(self.shape)
        return [rows] if self.kind == "range" else [rows, (rows > 1 << (self.width - 1)).astype(np.int64)]

    def column_values(self, high, low, vectors: Vectors | None = None) -> list[Ext]:
        """<column, high (x) low> for every column; high, low: NumPy K vectors of the lengths in ``shape``."""
        vectors = vectors or Vectors()
        rows, steps = self.shape

        def counted(vector, length: int) -> Ext:
            return vectors.number(length, lambda: total(ext.mul_base(vector, np.arange(length, dtype=np.uint64))))

        def after(vector, length: int, i: int) -> Ext:
            return vectors.number(length, lambda: total(tuple(c[i + 1 :] for c in vector)))

        total_low = vectors.total(low)
        identity = counted(high, rows) * total_low * steps + vectors.total(high) * counted(low, steps)
        if self.kind == "range":
            return [identity]
        middle = 1 << (self.width - 1)
        top, rest = divmod(middle, steps)  # rows after the middle one: the rest of its line, then all later lines
        line = vectors.number(1, lambda: Ext(int(high[0][top]), int(high[1][top])))
        return [identity, after(high, rows, top) * total_low + line * after(low, steps, rest)]
