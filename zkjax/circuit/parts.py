"""What a circuit holds beside its nodes: arrays of a batch, parameters with their updates, summands of the loss.

PROTOCOL.md, section 5.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from ..errors import RunError

PARAMETERS, OTHER = "parameters", "other"  # parts of a commitment to weights: what is trained, and what a step keeps besides
CELLS = "cells"  # the one part of any other commitment


@dataclass(frozen=True)
class Input:
    """One array of the batch: name, shape (batch axis first), scale, and integers in [-2^bits, 2^bits)."""

    name: str
    shape: tuple[int, ...]
    scale: int
    bits: int


@dataclass(frozen=True)
class Update:
    """``W[t+1] = W[t] - rates[t] * node``: one use of a parameter. One rate means a constant one."""

    node: int
    rates: tuple[int, ...]

    def rate(self, step: int) -> int:
        return self.rates[0] if len(self.rates) == 1 else self.rates[step]


@dataclass(frozen=True)
class Recurrence:
    """How a step moves a state that it multiplies: s' = sum of carry * states + sum of feed * nodes, in units of s.

    carry: (state, coefficients), rounded states only. feeds: (node, coefficients). A coefficient is an integer n for n * 2^-64;
    one means a constant one, else there is one for each step. bits: of the state, -2^bits <= h < 2^bits, wherever it is rounded.
    inner: bits after h's unit that it has within a period. end: bits of a period's sum that rounding drops. See ``recurrence``.
    """

    carry: tuple[tuple[int, tuple[int, ...]], ...]
    feeds: tuple[tuple[int, tuple[int, ...]], ...]
    bits: int
    inner: int
    end: int


@dataclass(frozen=True)
class Given:
    """What a state is at the beginning of a chain: integer + 2^shift * the parameter ``copied`` (None: the integer alone)."""

    integer: int = 0
    copied: int | None = None
    shift: int = 0


@dataclass(frozen=True)
class Parameter:
    """A state that goes from step to step: a parameter, or what an optimizer keeps.

    path: in the user's pytree. updates: uses that are subtracted from it, exactly (none: frozen); or recurrence: what a step makes
    of it, rounded once in a period. given: at the beginning of a chain it is not committed but this; None for parameters.
    unit: the value of an integer 1, with a recurrence where it is rounded; for people.
    """

    path: str
    shape: tuple[int, ...]
    updates: tuple[Update, ...] = ()
    recurrence: Recurrence | None = None
    given: Given | None = None
    unit: Fraction = Fraction(1)

    @property
    def frozen(self) -> bool:
        """Whether no step changes it, though it is no state that the circuit gives."""
        return not self.updates and self.recurrence is None and self.given is None

    def tables(self) -> list[tuple[int, ...]]:
        """All its rates and coefficients."""
        found = self.recurrence
        return [u.rates for u in self.updates] + ([c for _, c in (*found.carry, *found.feeds)] if found else [])


@dataclass(frozen=True)
class Public:
    """An array of the state that follows from the step alone: a counter, a rate. Of no use to a verifier, but for the end of a run.

    kind: "b", "i" or "f", of booleans, integers, real numbers. values: its entries before the first step, row-major, and so on for as many
    steps as were traced. change: of integers of which nothing else is said, what a step adds. settled: the last values stay.
    """

    path: str
    shape: tuple[int, ...]
    kind: str
    values: tuple[Fraction, ...]
    change: int = 0
    settled: bool = True

    def at(self, step: int) -> tuple[Fraction, ...]:
        """Its entries before a step; RunError beyond the steps that were traced."""
        size = math.prod(self.shape)
        last = len(self.values) // size - 1
        if step > last and not self.settled:
            raise RunError(f"{self.path} was traced for {last} steps, and is not known after {step}; trace with more steps")
        row = self.values[min(step, last) * size :][:size]
        return tuple(v + step * self.change for v in row)


@dataclass(frozen=True)
class Loss:
    """A summand of the loss, or of another output of the step: ``factor`` times the integer of a scalar node."""

    node: int
    factor: Fraction
    output: str = "loss"
