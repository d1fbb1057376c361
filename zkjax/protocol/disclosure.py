"""A claim that a committed matrix is a public one: both have the same multilinear extension at a random point.

    sum over row < R, column < k of eq(high)[row] eq(low)[column] cell[row, column] = the same of the public matrix

(high, low) are bits(R) + log k elements, drawn after the root and the public matrix. It is a link whose other end everybody knows.

PROTOCOL.md, section 14.3.
"""

from dataclasses import dataclass

import numpy as np

from ..algebra import extension as ext
from ..algebra.extension import ONE, ZERO, Ext
from ..algebra.poly import eq_vector, num_bits
from ..algebra.vectors import Vectors


@dataclass(frozen=True)
class Point:
    """Of a matrix of ``rows`` rows, as of the first one in the stack. high, low: its row and column variables."""

    rows: int
    high: list[Ext]
    low: list[Ext]

    @staticmethod
    def draw(transcript, rows: int, log_row: int) -> "Point":
        """transcript: None for what is about lengths only."""
        count = num_bits(rows) + log_row
        drawn = [ONE] * count if transcript is None else transcript.challenges("disclosure", count)
        return Point(rows, drawn[: count - log_row], drawn[count - log_row :])

    def value(self, matrix: np.ndarray) -> Ext:
        """The public matrix's extension there. matrix: (R, k) uint64 below p."""
        low, total = eq_vector(self.low), ZERO
        for factor, row in zip(ext.unstack(eq_vector(self.high, self.rows)), matrix, strict=True):
            total = total + factor * ext.unstack(tuple(c[None] for c in ext.sum(ext.mul_base(low, row), axis=0)))[0]
        return total

    def weight(self, place: tuple[Ext, list[Ext]], column_point: list[Ext], vectors: Vectors) -> Ext:
        """The extension of the claim's weights on the stack. place: the weight of the matrix's range of rows, and variables within it."""
        prefix, inner = place
        columns = ONE
        for x, y in zip(self.low, column_point, strict=True):
            columns = columns * (x * y + (1 - x) * (1 - y))
        mine, theirs = vectors.eq(self.high, self.rows), vectors.eq(inner, self.rows)
        return prefix * columns * vectors.number(self.rows, lambda: ext.dot(mine, theirs))
