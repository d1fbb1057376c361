"""Ranges, and functions of what lies in one: activations, exponentials, derivatives, one-hots.

    range      x itself, where low <= x < low + 2^width
    function   the integer nearest to 2^scale * f(unit * x), f a program (``algebra.functions``), of a rescale or range
    onehot     [f(unit * x) = k] for k = 0 .. size - 1, on a further axis

All that is read off one rescale or range *rides* on its lookup: a row of the table has the integer and, in further columns, what each
function makes of it. So a value, a derivative and an indicator cost a cell each, and no lookup.

A liar with the value of another row, or an integer without a row, has no row of the table (``protocol.lookup``); with another program,
another circuit.

PROTOCOL.md, sections 5.2, 10.6.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from ..algebra import functions
from ..errors import FormatError
from . import tables
from .operation import LIMIT, Operation, require
from .ranges import Lookup, Part, integer_type
from .tables import Column, Table

MAX_WIDTH = 20  # bits of a range
MAX_SIZE = 2**10  # of a one-hot


class Spanned(Operation):
    """Of the integers low <= v < low + 2^width; both are attributes."""

    low: int
    width: int

    def check_span(self) -> None:
        """ValueError for attributes out of range."""
        require(isinstance(self.width, int) and 1 <= self.width <= MAX_WIDTH, "width")
        require(isinstance(self.low, int) and abs(self.low) < LIMIT // 2, "low")

    def check_site(self, i: int, circuit) -> None:
        """FormatError where what it reads is no rescale or range with the same integers."""
        below = circuit.nodes[i].inputs[0]
        site = circuit.nodes[below].operation
        if not isinstance(site, Site) or site.span() != (self.low, self.width):
            raise FormatError(f"{circuit.describe(i)} reads {circuit.describe(below)}, which is no range of its own")


class Site(Operation):
    """What others may ride on: its lookup's first column is its integer less ``low``, in [0, 2^width).

    low, width: attributes, or what follows from them.
    """

    def span(self) -> tuple[int, int]:
        """(low, width)."""
        raise NotImplementedError

    def row(self, i: int, node) -> tuple[tuple, tuple]:
        """The key of its lookup, and the first column."""
        raise NotImplementedError

    def lookups(self, i, circuit):
        node, riders = circuit.nodes[i], circuit.riders(i)
        (low, width), (key, first) = self.span(), self.row(i, node)
        found = [(j, circuit.nodes[j].operation) for j in riders]
        if not found:
            table = Table("range", width)
        elif len(found) == 1 and found[0][1].name == "sign" and low == -(1 << (width - 1)):
            table = Table("sign", width)
        else:
            table = Table("function", width, tuple(rider.column(low) for _, rider in found))
        return [Lookup(key, table, node.shape, (first, *((0, (rider.part(j),)) for j, rider in found)))]


@dataclass(frozen=True)
class Range(Spanned, Site):
    """x, in [low, low + 2^width)."""

    name: ClassVar[str] = "range"
    low: int
    width: int

    def infer_shape(self, x, leaves):
        self.check_span()
        return x[0]

    def check(self, i, circuit):
        if self.width > circuit.table_bits:
            raise FormatError(f"{circuit.describe(i)}: {self.width} bits do not fit a table of {circuit.table_bits}")

    def bound(self, x, shapes, leaves):
        return max(abs(self.low), abs(self.low + (1 << self.width) - 1))

    def describe(self):
        return f"range {self.low} .. {self.low + (1 << self.width) - 1}"

    def span(self):
        return self.low, self.width

    def row(self, i, node):
        return ("range", i), (-self.low, (Part(1, ("node", node.inputs[0])),))

    def pull(self, i, node, term, walk):
        return [term._replace(key=("node", node.inputs[0]))]

    def evaluate(self, x, node, shapes, limbs):
        return x[0]

    def limits(self):
        return self.low, self.low + (1 << self.width)

    def table_width(self):
        return self.width

    def keep(self, x, y, leaves):
        return {"value": (y, integer_type(self.bound(x, [], leaves).bit_length()))}

    def witness(self, i, kept, circuit):
        return {("range", i): kept["value"] - self.low}

    def fold(self, i, node, groups, kept, prover):
        return prover.fold(node.inputs[0], groups, kept)


@dataclass(frozen=True)
class _Riding(Spanned):
    """Of a program applied to the integers of a rescale or range, which have these ``low`` and ``width``; unit: n / d."""

    rides: ClassVar[bool] = True
    program: functions.Program
    unit: tuple[int, int]
    low: int
    width: int

    def _check_attributes(self) -> None:
        functions.check(self.program)
        self.check_span()
        require(len(self.unit) == 2 and all(type(n) is int for n in self.unit) and self.unit[1] > 0 and self.unit[0] != 0, "unit")

    def check(self, i, circuit):
        self.check_site(i, circuit)
        if circuit.first_rider(i) != i:
            raise FormatError(f"{circuit.describe(i)}: a second one of one tensor")

    def pull(self, i, node, term, walk):
        return [term._replace(key=(self.name, i))]

    def advice(self, i, circuit):
        return {(self.name, i): circuit.nodes[i].shape}

    def keep(self, x, y, leaves):
        return {"value": (y, integer_type(max(map(abs, self.limits())).bit_length()))}


@dataclass(frozen=True)
class TableFunction(_Riding):
    """The integer nearest to 2^scale * program(unit * x), halves upwards. Committed less its least value, if that is negative."""

    name: ClassVar[str] = "function"
    ends: ClassVar[str | None] = "function"
    rounds: ClassVar[bool] = True
    scale: int

    def infer_shape(self, x, leaves):
        self._check_attributes()
        require(isinstance(self.scale, int) and -62 <= self.scale <= 62, "scale")
        return x[0]

    def column(self, low: int) -> Column:
        """Of the site's table."""
        return Column(self.program, low, self.unit, self.scale)

    def part(self, i: int) -> Part:
        """What its tensor is in the lookup."""
        return Part(1, ("function", i))

    def _least(self) -> int:
        return min(0, tables.limits(self.column(self.low), self.width)[0])

    def bound(self, x, shapes, leaves):
        return max(map(abs, tables.limits(self.column(self.low), self.width)))

    def describe(self):
        return f"function {text(self.program)}"

    def worth(self, x, scale, below):
        return 2.0**-self.scale

    def pull(self, i, node, term, walk):
        walk.add(term.total(walk.vectors) * self._least())
        return super().pull(i, node, term, walk)

    def evaluate(self, x, node, shapes, limbs):
        if limbs is None and x[0].dtype.kind == "f":
            return functions.floats(self.program, x[0] * float(Fraction(*self.unit))) * 2.0**self.scale
        entries = x[0].__array_namespace__().asarray(tables.values(self.column(self.low), self.width))
        return entries[(x[0] - self.low).clip(0, (1 << self.width) - 1)]

    def limits(self):
        low, high = tables.limits(self.column(self.low), self.width)
        return low, high + 1

    def outside(self, value, scale):
        return "is a function at a number where it has no value, or too large a one"

    def witness(self, i, kept, circuit):
        return {("function", i): kept["value"] - self._least()}


@dataclass(frozen=True)
class OneHot(_Riding):
    """[program(unit * x) = k] for k = 0 .. size - 1, along a further, last axis."""

    name: ClassVar[str] = "onehot"
    ends: ClassVar[str | None] = "onehot"
    size: int

    def infer_shape(self, x, leaves):
        self._check_attributes()
        require(isinstance(self.size, int) and 1 <= self.size <= MAX_SIZE, "size")
        return (*x[0], self.size)

    def column(self, low: int) -> Column:
        """Of the site's table."""
        return Column(self.program, low, self.unit, 0, self.size)

    def part(self, i: int) -> Part:
        """What its tensor is in the lookup."""
        return Part(1, ("onehot", i), "columns", self.size)

    def bound(self, x, shapes, leaves):
        return 1

    def worth(self, x, scale, below):
        return 1.0

    def describe(self):
        return f"one-hot of {text(self.program)}"

    def evaluate(self, x, node, shapes, limbs):
        xp = x[0].__array_namespace__()
        if limbs is None and x[0].dtype.kind == "f":
            numbers = functions.floats(self.program, x[0] * float(Fraction(*self.unit)))
        else:
            numbers = xp.asarray(tables.values(self.column(self.low), self.width))[(x[0] - self.low).clip(0, (1 << self.width) - 1)]
        found = (numbers[..., None] == xp.arange(self.size)).astype(x[0].dtype)
        return xp.where(numbers[..., None] == functions.LARGEST, functions.LARGEST, found)

    def places(self, i, node, prover):
        value = prover.values(i)
        if value.min() < 0 or value.sum(axis=-1).max() > 1:  # a liar's
            return None
        return np.where(value.any(axis=-1), value.argmax(axis=-1), -1)

    def limits(self):
        return 0, 2

    def outside(self, value, scale):
        return "picks an entry that is not there"

    def witness(self, i, kept, circuit):
        return {("onehot", i): kept["value"]}


def text(program: functions.Program) -> str:
    """A program for people, in a line; sub-expressions that are used twice have names."""
    uses = [0] * len(program)
    for name, *reads in program:
        for j in reads if name != "number" else ():
            uses[j] += 1
    words: list[str] = []
    named: list[str] = []
    for place, (name, *reads) in enumerate(program):
        if name == "x":
            words.append("x")
        elif name == "number":
            words.append(f"{reads[0] / reads[1]:.6g}")
        else:
            one = f"{name}({', '.join(words[j] for j in reads)})"
            if uses[place] > 1:
                named.append(f"{'abcdefghijklmnopqrstuvwyz'[len(named) % 25]} = {one}")
                one = named[-1][0]
            words.append(one)
    return "; ".join([words[-1], *named])
