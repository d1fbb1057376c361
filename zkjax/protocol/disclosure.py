"""A claim that cells of committed matrices are public: both sides of this are the same at a random point.

    sum over shown cells of eq(high)[row] eq(low)[column] cell[row, column] = the same sum of the public numbers

Rows are those of the stack of all matrices of which something is shown, and (high, low) as many elements as number its cells, drawn
after the roots and the public cells. All cells of a matrix may be shown, as of published weights: then the claim is a link whose other
end everybody knows. Or some of them, as of some samples of a shard: no other cell has a weight.

What is public of a matrix is an array of its size: (R, k) uint64 below p, with HIDDEN in the place of every cell that is not shown.

PROTOCOL.md, section 14.3.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..algebra import extension as ext
from ..algebra.extension import ZERO, Ext
from ..algebra.poly import eq_vector
from ..algebra.vectors import total
from .transcript import base_bytes

HIDDEN = np.uint64(2**64 - 1)  # no element of F

Placed = Sequence[tuple[int, np.ndarray]]  # what is public of each matrix, and the row of the stack at which it begins


def digest_of_cells(matrices: Sequence[np.ndarray]) -> bytes:
    """SHA-256 of what is public of some matrices: of which cells they are, and of the numbers in them."""
    state = hashlib.sha256()
    for cells in matrices:
        state.update(base_bytes(cells))
    return state.digest()


@dataclass(frozen=True)
class Point:
    """Of the stack of matrices that are opened beside the trace. high, low: its row and column variables."""

    high: list[Ext]
    low: list[Ext]

    @staticmethod
    def draw(transcript, row_variables: int, log_row: int) -> "Point":
        drawn = transcript.challenges("disclosure", row_variables + log_row)
        return Point(drawn[:row_variables], drawn[row_variables:])

    def value(self, placed: Placed) -> Ext:
        """The public side."""
        return _sum(placed, eq_vector(self.high), eq_vector(self.low), ext.mul_base)

    def weight(self, row_point: list[Ext], column_point: list[Ext], placed: Placed) -> Ext:
        """The extension of the claim's weights on the stack with the trace, whose one row comes last: others stand where they did."""
        rows, columns = (eq_vector(self.high), eq_vector(row_point, 1 << len(self.high))), (eq_vector(self.low), eq_vector(column_point))
        return _sum(placed, ext.mul(*rows), ext.mul(*columns), lambda weights, _: weights)


def _sum(placed: Placed, rows, columns, of: Callable) -> Ext:
    """Over all shown cells, the sum of their row's and column's weights, times ``of``: K weights and F cells to K."""
    found, factors = ZERO, ext.unstack(rows)
    for offset, cells in placed:
        for factor, row in zip(factors[offset:], cells, strict=False):
            shown = row != HIDDEN
            found = found + factor * total(of(tuple(c[shown] for c in columns), row[shown]))
    return found
