"""The K vectors of one argument, made in one place, which counts what each costs and can make their lengths alone.

Everything between the challenges and the opening is products and sums of vectors along axes; how many there are, and how long,
follows from public sizes. So the same code runs in two ways: on vectors, and, as an estimate of its own work, on lengths.
"""

import numpy as np

from ..work import CALL, ENTRY, PASSING, PRODUCT, Meter
from . import extension as ext
from .extension import ONE, Ext
from .poly import SHORT_EQ, eq_vector


class Vector(tuple):
    """A K vector (c0, c1), two NumPy arrays, that is its own name: equal to itself alone.

    Terms whose vectors are the same objects have the same weights, and are merged; whoever keeps the name keeps the vector.
    """

    __slots__ = ()
    __eq__, __ne__, __hash__ = object.__eq__, object.__ne__, object.__hash__


def only_length(length: int) -> Vector:
    """Stands for a K vector of which nothing but its length is known."""
    return Vector((range(length), range(length)))


class Vectors:
    """Makes the vectors of one argument. meter: what they are charged to; lengths_only: their contents are never computed.

    first_step: of the chunk that the argument is about, for numbers that depend on the step.
    """

    def __init__(self, meter: Meter | None = None, lengths_only: bool = False):
        self.meter, self.lengths_only, self.first_step = meter or Meter(), lengths_only, 0
        self._ones: dict[int, Vector] = {}
        self._units: dict[tuple[int, int], Vector] = {}
        self._totals: dict[Vector, Ext] = {}

    def make(self, length: int, function, entries: int = 0, calls: int = 1, what: str = "vectors along axes") -> Vector:
        """``function()``, a K vector of this length, for ``what``; ``entries``: products it takes, where they are more than its length."""
        entries = max(length, entries)
        self.meter.charge(what, CALL * calls + PRODUCT * entries, ENTRY * length, PASSING * entries)
        return only_length(length) if self.lengths_only else Vector(function())

    def number(self, entries: int, function) -> Ext:
        """``function()``, one element from so many entries of vectors."""
        self.meter.charge("sums of vectors", CALL + PRODUCT * entries, 0, PASSING * entries)
        return ONE if self.lengths_only else function()

    def ones(self, length: int) -> Vector:
        """The all-ones vector; the same object throughout an argument, so that equal weights are merged."""
        if length not in self._ones:
            self._ones[length] = self.make(length, lambda: (np.ones(length, dtype=np.uint64), np.zeros(length, dtype=np.uint64)))
        return self._ones[length]

    def unit(self, length: int, place: int) -> Vector:
        """1 at this place, else 0; the same object throughout an argument."""
        if (length, place) not in self._units:
            self._units[length, place] = self.make(length, lambda: ext.from_base(np.eye(1, length, place, dtype=np.uint64)[0]))
        return self._units[length, place]

    def eq(self, point: list[Ext], length: int) -> Vector:
        """The first ``length`` entries of the eq table of a point."""
        return self.make(length, lambda: eq_vector(point, length), 2 << len(point), 1 + max(0, len(point) - SHORT_EQ))

    def total(self, vector: Vector) -> Ext:
        """Its sum, computed once."""
        if vector not in self._totals:
            self._totals[vector] = self.number(len(vector[0]), lambda: total(vector))
        return self._totals[vector]


def total(vector) -> Ext:
    """Sum of a NumPy K vector."""
    c0, c1 = ext.sum(vector)
    return Ext(int(c0), int(c1))
