"""The prover's first sumcheck of an opening, <F, W> over the rows of the stack, for weights that are sums of few vectors.

A claim on a tensor that spans many rows gives all of them the same weights up to a factor. So W is kept as *lanes*: a vector
on a range of columns, and a factor for each row. A lane d contributes sum_i c_d[i] <F_i, l_d>, a sumcheck of two short
tables over rows: the long vectors are multiplied once for each row and lane, and not once more in every round.

Row variables are bound from the lowest up, so that the rows of a *block*, an aligned range of one commitment's, meet first.
Once they are bound its rows are folded in one pass, and the rest of the rounds works on single rows of blocks. A block is
made of rows whose lanes are few; a tensor's lanes are of no use for another one's rows.
"""

from typing import NamedTuple

import numpy as np

from ..algebra import extension as ext
from ..algebra.extension import ZERO, Ext
from ..algebra.poly import eq_vector, num_bits

_JOIN = 16  # what joining two rows over K costs, in products of a row over F and a lane


class Lane(NamedTuple):
    """Weights factors[i] * (head (x) tail) on the columns from ``start`` on.

    factors: K (R,), NumPy; head, tail: K vectors whose lengths are powers of two. The product is never written out.
    """

    factors: tuple
    start: int
    head: tuple
    tail: tuple

    @property
    def length(self) -> int:
        return len(self.head[0]) * len(self.tail[0])

    @property
    def used(self) -> np.ndarray:
        """Whether a row has a factor other than 0."""
        return (self.factors[0] | self.factors[1]) != 0

    def on(self, rows: slice) -> "Lane":
        return self._replace(factors=tuple(c[rows] for c in self.factors))


def single_row_lane(row: int, count: int, vector) -> Lane:
    """Weights of one row of ``count``."""
    return Lane(ext.from_base(np.eye(1, count, row, dtype=np.uint64)[0]), 0, ext.stack([1]), vector)


def one_lane_a_row(weights) -> list[Lane]:
    """K (R, k) as lanes."""
    count = len(weights[0])
    return [single_row_lane(i, count, tuple(c[i] for c in weights)) for i in range(count)]


class RowRounds:
    """Messages and folds of the sumcheck.

    matrices: for each commitment (offset in the stack, rows (R, k) over F, lanes).
    """

    def __init__(self, matrices: list):
        self._bound = 0
        self._blocks = [_Block(*block) for matrix in matrices for block in _cut(*matrix)]
        self._single: dict = {}  # position among the rows that are left: (f, w), K vectors of whole rows
        self._settle()

    def message(self):
        """Constant and leading coefficient of the round polynomial, as a NumPy K array of two."""
        from ..kernels.opening import inner_product, round_message

        constant = leading = ZERO
        for block in self._blocks:
            low, high = block.halves()
            constant += ext.dot(*low)
            leading += ext.dot(*(ext.sub(b, a) for a, b in zip(low, high, strict=True)))
        for low, high in self._pairs().values():
            if low and high:
                at_0, step = round_message(low, high)
            else:
                step = inner_product(*(low or high))
                at_0 = step if low else ZERO
            constant, leading = constant + at_0, leading + step
        return ext.stack([constant, leading])

    def fold(self, r: Ext) -> None:
        """Bind the lowest row variable."""
        from ..kernels.opening import fold

        factor = ext.stack([r])
        for block in self._blocks:
            block.fold(r)
        pairs, self._single = self._pairs(), {}
        for position, (low, high) in pairs.items():
            low, high = low or _zeros(high), high or _zeros(low)
            self._single[position] = tuple(fold(a, b, factor) for a, b in zip(low, high, strict=True))
        self._bound += 1
        self._settle()

    def vectors(self):
        """Folded rows and weights, K vectors, once no row variable is left."""
        return self._single[0]

    def _settle(self):
        """Blocks with a single row left join the single rows."""
        for block in [b for b in self._blocks if not b.variables]:
            self._blocks.remove(block)
            self._single[block.offset >> self._bound] = block.vectors()

    def _pairs(self) -> dict:
        """Single rows that the round's variable tells apart, [even, odd] or None, by the position of their fold."""
        pairs: dict = {}
        for position, pair in self._single.items():
            pairs.setdefault(position >> 1, [None, None])[position & 1] = pair
        return pairs


def _cut(offset: int, rows: np.ndarray, lanes: list[Lane]) -> list[tuple]:
    """A commitment's rows as blocks (offset in the stack, rows, lanes), so that the prover has least to do.

    A block costs a product for each of its rows and lanes, two blocks cost the rounds that join what is left of them.
    """
    used = np.array([lane.used for lane in lanes]).reshape(len(lanes), len(rows))
    _, parts = _cheapest(used, 0, 1 << num_bits(len(rows)))
    blocks = []
    for part in parts:
        own = [lane.on(part) for lane, x in zip(lanes, used, strict=True) if x[part].any()]
        blocks.append((offset + part.start, rows[part], own))
    return blocks


def _cheapest(used: np.ndarray, start: int, size: int) -> tuple[int, list[slice]]:
    """What ``size`` rows from ``start`` on cost, and as which blocks. used: bool (lanes, rows)."""
    present = slice(start, min(start + size, used.shape[1]))
    whole = (present.stop - start) * int(used[:, present].any(axis=1).sum()), [present]
    if size == 1:
        return whole
    low = _cheapest(used, start, size // 2)
    if start + size // 2 >= used.shape[1]:
        return low
    high = _cheapest(used, start + size // 2, size // 2)
    return min(whole, (low[0] + high[0] + _JOIN, low[1] + high[1]), key=lambda option: option[0])


class _Block:
    """A block's rows while some of its own variables are unbound: for each lane factors and products over rows."""

    def __init__(self, offset: int, rows: np.ndarray, lanes: list[Lane]):
        from ..kernels.opening import lane_products

        self.offset, self._rows, self._lanes = offset, rows, lanes
        self.variables = num_bits(len(rows))
        self._point: list[Ext] = []
        products = lane_products(rows, lanes)
        self._factors, self._products = (self._table(column) for column in ([lane.factors for lane in lanes], products))

    def _table(self, columns):
        """K (lanes, 2^variables); no lanes give one of zeros."""
        padding = (0, (1 << self.variables) - len(self._rows))
        zeros = (np.zeros(len(self._rows), dtype=np.uint64),) * 2
        return tuple(np.stack([np.pad(c[i], padding) for c in columns or [zeros]]) for i in range(2))

    def halves(self):
        """(factors, products) of even rows, and of odd ones."""
        return tuple(tuple(tuple(c[:, bit::2] for c in x) for x in (self._factors, self._products)) for bit in (0, 1))

    def fold(self, r: Ext):
        low, high = self.halves()
        factor = ext.stack([r])
        folded = (ext.add(a, ext.mul(ext.sub(b, a), factor)) for a, b in zip(low, high, strict=True))
        self._factors, self._products = folded
        self._point.insert(0, r)
        self.variables -= 1

    def vectors(self):
        """The folded rows and their weights."""
        from ..kernels.opening import sum_of_lanes, weighted_rows

        factors = [Ext(c0, c1) for c0, c1 in zip(*(c[:, 0].tolist() for c in self._factors))]
        rows = weighted_rows(eq_vector(self._point, len(self._rows)), self._rows)
        return rows, sum_of_lanes(self._lanes, factors[: len(self._lanes)], self._rows.shape[1])


def _zeros(pair):
    return tuple(tuple(c & np.uint64(0) for c in x) for x in pair)
