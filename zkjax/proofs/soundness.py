"""The ledger: every source of soundness error of one proof by name, and their sum.

Each term bounds, from a proven theorem, the probability that a false statement passes one step of the interactive
argument. The union bound adds them; made non-interactive by a random oracle, each attempt of a prover at a challenge costs
one hash (BCS16). Regime: unique decoding at every level, no conjectures, no grinding.

The terms of the argument are noted by the code that runs it (``Hidden.account``), those of the opening by the geometry, so
a changed degree, size or query count moves the ledger.

PROTOCOL.md, section 19.
"""

from dataclasses import dataclass
from math import log2

from ..algebra.extension import DEGREE
from ..algebra.field import P
from ..commitment.geometry import Geometry
from ..display import Sheet, Shown, Table
from ..errors import ConfigurationError

TARGET = 100.0
LOG_FIELD = DEGREE * log2(P)


@dataclass(frozen=True)
class Security(Shown):
    """Named terms, each with its bits: an error of at most 2^-bits. ``bits``: of their sum."""

    terms: tuple[tuple[str, float], ...]

    @property
    def bits(self) -> float:
        return -log2(sum(2.0**-bits for _, bits in self.terms))

    def __repr__(self) -> str:
        return f"Security({self.bits:.2f} bits)"

    def sheet(self) -> Sheet:
        """All terms, the weakest first."""
        rows = tuple((name, f"{bits:.2f} bits") for name, bits in sorted(self.terms, key=lambda t: t[1]))
        total = ("sum of all errors", f"{self.bits:.2f} bits")
        return Sheet("Security, proven: unique decoding, no conjectures, no grinding", (Table((*rows, total), left=(0,)),))

    def require(self, target: float) -> "Security":
        """Raise ConfigurationError, naming the weakest terms, where the sum is below ``target`` bits."""
        if not self.bits >= target:  # also where target is no number
            weakest = ", ".join(f"{name} {bits:.1f}" for name, bits in sorted(self.terms, key=lambda t: t[1])[:3])
            raise ConfigurationError(
                f"{self.bits:.2f} bits of security, below the target of {target:g}; weakest terms: {weakest}. Use fewer steps in a chunk"
            )
        return self


def security(errors: dict[str, int], geometry: Geometry, row_variables: int) -> Security:
    """The ledger of one proof. errors: numerators over |K| by name; row_variables: log2 of the opened stack's height."""
    terms = [(name, LOG_FIELD - log2(numerator)) for name, numerator in errors.items() if numerator]
    return Security(tuple(terms + [(term.name, term.bits) for term in geometry.error_terms(row_variables)]))
