"""What rounding does to tensors: the share of values that become 0, and the relative error; NumPy and the standard library only.

Measured on the trainer's own data, so it follows from secrets: it is shown, and never written to a circuit file.
"""

from dataclasses import dataclass

import numpy as np

from .display import Table

LOST, FAR = 0.5, 0.25  # share of values that became 0, and relative error of a tensor, beyond which people are told
APART = 0.01  # distance of an update that is not rounded, besides that of its learning rate


@dataclass(frozen=True)
class Rounding:
    """One tensor. lost: share of its nonzero values that became 0. error: Euclidean distance over the tensor's norm."""

    name: str
    lost: float
    error: float

    @staticmethod
    def of(name: str, exact, rounded) -> "Rounding":
        """exact, rounded: arrays of one shape, in one unit."""
        exact, rounded = np.asarray(exact, dtype=np.float64), np.asarray(rounded, dtype=np.float64)
        nonzero = np.count_nonzero(exact)
        lost = np.count_nonzero((exact != 0) & (rounded == 0)) / nonzero if nonzero else 0.0
        return Rounding(name, lost, distance(rounded, exact))

    @staticmethod
    def summed(name: str, nonzero: float, lost: float, apart: float, size: float) -> "Rounding":
        """From counts of values and of lost ones, and sums of squares of errors and values."""
        return Rounding(name, lost / nonzero if nonzero else 0.0, (apart / size) ** 0.5 if size else 0.0)

    @property
    def grave(self) -> bool:
        """Whether people should be told."""
        return self.lost > LOST or self.error > FAR

    def __str__(self) -> str:
        return f"{self.name}: {100 * self.lost:.3g} % of the nonzero values became 0, relative error {self.error:.1e}"


def lossy(roundings) -> list[str]:
    """What people should be told of these: one text, or none."""
    grave = [str(x) for x in roundings if x.grave]
    return [f"rounding loses much of {'; of '.join(grave)}"] if grave else []


def distance(x, y) -> float:
    """||x - y|| / ||y||; 0 where both are 0."""
    apart, size = float(np.linalg.norm(x - y)), float(np.linalg.norm(y))
    return apart / size if size else float("inf") if apart else 0.0


@dataclass(frozen=True)
class Comparison:
    """A circuit's first step on the given batch beside the user's own. Distances are relative to the user's.

    loss:      the user's, the circuit's without rounding, and in integers.
    updates:   for each parameter its path, and the distance of the circuit's update without rounding and in integers.
    roundings: of parameters, inputs and rescaled tensors.
    """

    loss: tuple[float, float, float]
    updates: tuple[tuple[str, float, float], ...]
    roundings: tuple[Rounding, ...]

    def parts(self) -> tuple:
        """Paragraphs and tables for people."""
        own, floating, integers = self.loss
        updates = tuple((path, f"{a:.1e}", f"{b:.1e}") for path, a, b in self.updates)
        roundings = tuple((x.name, f"{100 * x.lost:.3g} %", f"{x.error:.1e}") for x in self.roundings)
        return (
            "the first step on the given batch (private, and not in the circuit's file): "
            f"loss {own:.6g} by your own code, {floating:.6g} by the circuit without rounding, {integers:.6g} in integers",
            Table(updates, ("update of", "off without rounding", "in integers"), left=(0,), title="updates beside your own step's"),
            Table(roundings, ("rounded tensor", "became 0", "relative error"), left=(0,), title="what rounding does"),
        )

    def warnings(self, rate_tolerance: float) -> list[str]:
        """What people should be told; learning rates may be off by this much."""
        found = lossy(self.roundings)
        found += [
            f"the circuit's update of parameter {path} is off by {100 * off:.3g} % even without rounding: it may not be your training step"
            for path, off, _ in self.updates
            if off > rate_tolerance + APART
        ]
        return found
