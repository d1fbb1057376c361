"""States that are rounded in periods: what they commit and look up, and the coefficients of a chunk that claims on them pass.

A state before each step ("param"), after it ("next"), and the sums that are rounded at the periods' ends ("inner", and the last one
"last") are linear in the rounded states and in what feeds them: ``circuit.recurrence`` has the coefficients. A claim with weights on
these rows becomes claims with the transposed coefficients times the weights.

PROTOCOL.md, sections 10.3, 13.4.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..algebra import extension as ext
from ..algebra import field
from ..algebra.extension import ONE, ZERO, Ext
from ..algebra.vectors import Vectors
from ..circuit import recurrence
from ..ops import ranges
from ..ops.ranges import Lookup, signed_bound
from ..work import ONE_BY_ONE

ROWS = {"param": 0, "next": 1, "inner": 2, "last": 2}  # kinds of rows, in the order of ``recurrence.Rows``


@dataclass(frozen=True, eq=False)
class Motion:
    """The coefficients of one state in a chunk of T steps and K periods, in F.

    spans: (first, number) of the steps of every period, from the chunk's first. states: r to, for each kind of ``recurrence.Rows``
    and each period, (rows,); feeds: (q, number) likewise (rows, steps of the period). There are as many rows as steps, or one at the end.
    """

    spans: tuple[tuple[int, int], ...]
    states: dict[int, tuple[list[np.ndarray], ...]]
    feeds: dict[tuple[int, int], tuple[list[np.ndarray], ...]]

    @staticmethod
    def of(circuit, s: int, first_step: int, steps: int) -> "Motion":
        """That of state s in the chunk."""
        periods = recurrence.periods(first_step, steps, circuit.period)
        found = [recurrence.rows(circuit, s, *period) for period in periods]
        states, feeds = {}, {}
        for r in found[0].states:
            before, after, end = zip(*(one.states[r] for one in found), strict=True)
            states[r] = [*map(_array, before)], [*map(_array, after)], [_array((x,)) for x in end]
        for name in found[0].feeds:
            before, after, end = zip(*(one.feeds[name] for one in found), strict=True)
            feeds[name] = [*map(_array, before)], [*map(_array, after)], [_array((x,)) for x in end]
        return Motion(tuple((start - first_step, length) for start, length in periods), states, feeds)

    def weights(self, vectors: Vectors, kind: str, step):
        """The transposed map: weights of the states at the chunk's beginning (in K), at later periods' (K - 1,), and of feeds (T,).

        step: weights of the rows, a K vector over T steps ("param", "next"), over all periods but the last ("inner"), or None ("last").
        """
        count, (start, length) = len(self.spans), self.spans[-1]
        first, later, fed = {}, {}, {}
        for r, columns in self.states.items():

            def at_starts(blocks=columns[ROWS[kind]]):
                sums = [ext.sum(ext.mul_base(w, block), axis=0) for w, block in zip(self._of_periods(kind, step), blocks, strict=True)]
                return tuple(np.array([x[c] for x in sums], dtype=np.uint64) for c in range(2))

            sums = vectors.make(count, at_starts, ONE_BY_ONE * (start + length))
            first[r] = vectors.number(1, lambda sums=sums: Ext(int(sums[0][0]), int(sums[1][0])))
            later[r] = vectors.make(count - 1, lambda sums=sums: tuple(c[1:] for c in sums)) if count > 1 else None
        for name, matrices in self.feeds.items():

            def of_steps(blocks=matrices[ROWS[kind]]):
                weighted = zip(self._of_periods(kind, step), blocks, strict=True)
                parts = [ext.sum(ext.mul_base(tuple(c[:, None] for c in w), block), axis=0) for w, block in weighted]
                return tuple(np.concatenate([part[c] for part in parts]) for c in range(2))

            fed[name] = vectors.make(start + length, of_steps, ONE_BY_ONE * (start + length) * max(n for _, n in self.spans))
        return first, later, fed

    def _of_periods(self, kind: str, step) -> list:
        """The weights of each period's rows."""
        if kind in ("param", "next"):
            return [tuple(c[a : a + n] for c in step) for a, n in self.spans]
        others = range(len(self.spans) - 1)
        if kind == "last":
            return [*(ext.stack([ZERO]) for _ in others), ext.stack([ONE])]
        return [*(tuple(c[k : k + 1] for c in step) for k in others), ext.stack([ZERO])]


def _array(rows) -> np.ndarray:
    """Integers, or rows of them, in F."""
    return np.stack([_array(row) for row in rows]) if isinstance(rows[0], tuple) else field.from_python(rows)


def rounded(circuit, s: int, kind: str) -> Iterator[tuple]:
    """The forms of a state's rounding, (key, constant, parts, width): the remainder, and the state's own range.

    kind: "hat" for the states between periods, "final" for the last one.
    """
    found = circuit.parameters[s].recurrence
    inner = "inner" if kind == "hat" else "last"
    half = 1 << found.end >> 1
    yield (f"{kind} remainder", s), half, [(1, (inner, s)), (-(1 << found.end), (kind, s))], found.end
    yield (f"{kind} range", s), signed_bound(found.bits + 1), [(1, (kind, s))], found.bits + 1


def advice(circuit, first_step: int, steps: int) -> dict:
    """Shapes of what is committed of rounded states besides the last ones: those between periods, and limbs."""
    found: dict = {}
    for s, kind, shape in _roundings(circuit, first_step, steps):
        if kind == "hat":
            found["hat", s] = shape
        for name, _, _, width in rounded(circuit, s, kind):
            found |= ranges.cells(name, width, shape, circuit.table_bits)
    return found


def lookups(circuit, first_step: int, steps: int) -> list[Lookup]:
    """The lookups that make rounded states true."""
    found = []
    for s, kind, shape in _roundings(circuit, first_step, steps):
        for name, constant, parts, width in rounded(circuit, s, kind):
            found += ranges.lookups(name, constant, parts, width, shape, circuit.table_bits, stepped=kind == "hat")
    return found


def _roundings(circuit, first_step: int, steps: int):
    """(state, kind, shape) of every tensor of rounded states."""
    count = len(recurrence.periods(first_step, steps, circuit.period)) if circuit.recurrent else 0
    for s in circuit.recurrent:
        shape = circuit.parameters[s].shape
        if count > 1:
            yield s, "hat", (count - 1, *shape)
        yield s, "final", shape
