"""What rounding does to tensors: the share of values that become 0, the relative error, the room in their formats, and what they cost.

Measured on the trainer's own data, so it follows from secrets: it is shown, and never written to a circuit file.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from ..display import Sheet, Shown, Table

LOST, FAR = 0.5, 0.25  # share of values that became 0, and relative error of a tensor, beyond which people are told
NAMED = 5  # of these, in one warning
APART = 0.01  # distance of an update that is not rounded, besides that of its learning rate


@dataclass(frozen=True)
class Rounding:
    """One tensor. lost: share of its nonzero values that became 0. error: Euclidean distance over the tensor's norm.

    largest: the largest absolute value. bound: that of its format, 0 for a parameter, which has none. cost: cells and lookups of a step.
    """

    name: str
    lost: float
    error: float
    largest: float = 0.0
    bound: float = 0.0
    cost: int = 0

    @staticmethod
    def of(name: str, exact, rounded) -> "Rounding":
        """exact, rounded: arrays of one shape, in one unit."""
        exact, rounded = np.asarray(exact, dtype=np.float64), np.asarray(rounded, dtype=np.float64)
        lost = np.count_nonzero((exact != 0) & (rounded == 0)) / max(1, np.count_nonzero(exact))
        return Rounding(name, lost, distance(rounded, exact))

    @staticmethod
    def summed(name: str, nonzero: float, lost: float, apart: float, size: float) -> "Rounding":
        """From counts of values and of lost ones, and sums of squares of errors and values."""
        return Rounding(name, lost / max(1.0, nonzero), ratio(apart, size) ** 0.5)

    def within(self, largest: float, bound: float = 0.0, cost: int = 0) -> "Rounding":
        """This one, with the room in its format and what it costs."""
        return replace(self, largest=largest, bound=bound, cost=cost)

    def of_node(self, circuit, i: int, largest: float) -> "Rounding":
        """This one, of the node that rounds it; largest: as an integer."""
        node = circuit.nodes[i]
        cells, lookups = (n * math.prod(node.shape) for n in circuit.cost(i))
        return self.within(
            math.ldexp(largest, -node.scale), math.ldexp(max(map(abs, node.operation.limits())), -node.scale), cells + lookups
        )

    def of_input(self, x, largest: float) -> "Rounding":
        """This one, of an array of the batch, an ``Input``; largest: as an integer."""
        return self.within(math.ldexp(largest, -x.scale), math.ldexp(1.0, x.bits - x.scale), math.prod(x.shape))

    @property
    def margin(self) -> str:
        """How many bits the largest value leaves of the format's range, for people."""
        return f"{math.log2(self.bound / self.largest):.1f} bits" if self.bound and self.largest else "all" if self.bound else ""

    @property
    def grave(self) -> bool:
        """Whether people should be told."""
        return self.lost > LOST or self.error > FAR

    def __str__(self) -> str:
        room = f"; the largest is {self.largest:.3g} in a range of {self.bound:.3g}, margin {self.margin}" if self.bound else ""
        return f"{self.name}: {100 * self.lost:.3g} % of the nonzero values became 0, relative error {self.error:.1e}{room}"


class Roundings(Shown, tuple[Rounding, ...]):
    """Those of some tensors, which people are shown as a table: private, as the tensors are."""

    __slots__ = ()

    def __repr__(self) -> str:  # never a value
        return f"Roundings({len(self)} tensors)"

    def sheet(self) -> Sheet:
        return Sheet("What rounding did: private, for it follows from data and weights", (self.table(),))

    def table(self) -> Table:
        rows = tuple(
            (
                x.name,
                f"{x.largest:.3g}",
                f"{x.bound:.3g}" if x.bound else "",
                x.margin,
                f"{100 * x.lost:.3g} %",
                f"{x.error:.1e}",
                f"{x.cost:,}",
            )
            for x in self
        )
        heading = ("rounded tensor", "largest", "range", "margin", "became 0", "relative error", "cells and lookups a step")
        return Table(rows, heading, left=(0,), title="what rounding does")


def lossy(roundings) -> list[str]:
    """What people should be told of these: one text, or none; the first NAMED of them by name."""
    grave = [str(x) for x in roundings if x.grave]
    more = [f"{len(grave) - NAMED} tensors more"] if len(grave) > NAMED else []
    return [f"rounding loses much of {'; of '.join(grave[:NAMED] + more)}"] if grave else []


def distance(x, y) -> float:
    """||x - y|| / ||y||; 0 where both are 0."""
    return ratio(np.linalg.norm(x - y), np.linalg.norm(y))


def ratio(x, y) -> float:
    """x / y; 0 where both are 0. The lines that run follow no secret."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.nan_to_num(np.float64(x) / np.float64(y), nan=0.0, posinf=np.inf))


@dataclass(frozen=True)
class Comparison:
    """A circuit's first step on the given batch beside the user's own. Distances are relative to the user's.

    loss:      the user's, the circuit's without rounding, and in integers; None where no loss is an output.
    updates:   for each parameter its path, and the distance of the circuit's update without rounding and in integers.
    roundings: of parameters, inputs and rescaled tensors.
    first, off: the distance of what a step on the batch, and of what two of them add to all that is committed where a chain begins, but
               for what floating point alone moves.
    """

    loss: tuple[float, float, float] | None
    updates: tuple[tuple[str, float, float], ...]
    roundings: tuple[Rounding, ...]
    first: float = 0.0
    off: float = 0.0

    def parts(self) -> tuple:
        """Paragraphs and tables for people."""
        loss = "" if self.loss is None else ": loss {:.6g} by your own code, {:.6g} by the circuit without rounding, {:.6g} in integers"
        updates = tuple((path, f"{a:.1e}", f"{b:.1e}") for path, a, b in self.updates)
        return (
            "the first step on the given batch (private, and not in the circuit's file)" + loss.format(*self.loss or ()),
            Table(updates, ("update of", "off without rounding", "in integers"), left=(0,), title="updates beside your own step's"),
            Roundings(self.roundings).table(),
        )

    def warnings(self, rate_tolerance: float, chosen: bool = False) -> list[str]:
        """What people should be told; learning rates may be off by this much. chosen: whether the formats are the user's own."""
        found = lossy(self.roundings)
        if min(self.first, self.off) > FAR and not chosen:  # of a training that diverges, the second says little
            path, _, most = max(self.updates, key=lambda x: x[2])
            found.append(
                f"in integers, the first step is off by {100 * self.first:.3g} % of its update (that of {path} by {100 * most:.3g} %): "
                "formats are too coarse; circuit.comparison says which lose most, and zkjax.calibrate proposes others"
            )
        found += [
            f"the circuit's update of parameter {path} is off by {100 * off:.3g} % even without rounding: it may not be your training step"
            for path, off, _ in self.updates
            if off > rate_tolerance + APART
        ]
        return found
