"""What a circuit holds beside its nodes: arrays of a batch, parameters with their updates, summands of the loss.

PROTOCOL.md, section 5.
"""

from dataclasses import dataclass
from fractions import Fraction


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
class Parameter:
    """A parameter: path in the user's pytree, shape, and the uses that its update sums over (none: frozen)."""

    path: str
    shape: tuple[int, ...]
    updates: tuple[Update, ...] = ()


@dataclass(frozen=True)
class Loss:
    """A summand of the loss: ``factor`` times the integer of a scalar node."""

    node: int
    factor: Fraction
