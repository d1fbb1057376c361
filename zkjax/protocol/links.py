"""Links: two matrices of one opening are equal, cell by cell, shown at one random point.

    sum over row < R, column < k of eq(r_high)[row] eq(r_low)[column] (to - from)[row, column] = 0

with (r_high, r_low) the last bits(R) + log k elements of a point r that is drawn once for all links of a proof, after all roots.
Each link is a constraint of its own, and one lane of weights on each of its two matrices. The factors end at row R: there is nothing
behind it to be compared.

PROTOCOL.md, sections 14.1, 14.2.
"""

from dataclasses import dataclass
from typing import NamedTuple

from ..algebra import extension as ext
from ..algebra.extension import ONE, ZERO, Ext, powers
from ..algebra.poly import num_bits
from ..algebra.vectors import Vectors
from ..work import SCALAR


class Pair(NamedTuple):
    """Two matrices of ``rows`` rows, by their places in the stack."""

    source: int
    to: int
    rows: int


@dataclass(frozen=True)
class Links:
    """What is shown equal, with rows of 2^log_row cells."""

    pairs: tuple[Pair, ...] = ()
    log_row: int = 0

    @property
    def variables(self) -> int:
        """Elements of the point; 0 without links."""
        return max((num_bits(pair.rows) + self.log_row for pair in self.pairs), default=0)


NO_LINKS = Links()


@dataclass(frozen=True)
class LinkClaims:
    """The weights of the links' constraints on their matrices, once the point and each constraint's scalar are drawn."""

    links: Links
    point: list[Ext]
    scalars: list[Ext]

    def high(self, pair: Pair) -> list[Ext]:
        """The part of the point that numbers a link's rows."""
        end = len(self.point) - self.links.log_row
        return self.point[end - num_bits(pair.rows) : end]

    @property
    def low(self) -> list[Ext]:
        """The part that numbers columns."""
        return self.point[len(self.point) - self.links.log_row :]

    def evaluate(self, places: list[tuple[Ext, list[Ext]]], column_point: list[Ext], vectors: Vectors) -> Ext:
        """The multilinear extension of all these weights.

        places: for each matrix of the stack the weight of its rows' range, and the row variables within it.
        """
        if not self.links.pairs:
            return ZERO
        vectors.meter.charge("links", 4 * SCALAR * self.links.log_row)
        columns = ONE
        for x, y in zip(self.low, column_point, strict=True):
            columns = columns * (x * y + (1 - x) * (1 - y))
        total = ZERO
        for pair, scalar in zip(self.links.pairs, self.scalars, strict=True):
            factors = vectors.eq(self.high(pair), pair.rows)
            for place, sign in ((pair.source, -scalar), (pair.to, scalar)):
                prefix, inner = places[place]
                rows = vectors.eq(inner, pair.rows)
                met = vectors.number(pair.rows, lambda rows=rows, factors=factors: ext.dot(factors, rows))
                total = total + sign * prefix * columns * met
        return total


def draw_alone(transcript, links: Links) -> LinkClaims:
    """The claims of a proof that has no other constraints. transcript: None for what is about lengths only."""
    if transcript is None:
        return LinkClaims(links, [ONE] * links.variables, [ONE] * len(links.pairs))
    point = transcript.challenges("links", links.variables)
    return LinkClaims(links, point, powers(transcript.challenge("constraints"), len(links.pairs)))
