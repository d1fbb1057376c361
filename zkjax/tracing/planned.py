"""What is rounded, before there is any format: which tensors, which states, and what is added to those that stay exact."""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from .demands import Demands, demands
from .motions import Row, Uses, cycles, exact, uses
from .names import Names
from .series import values
from .step import Program


@dataclass(frozen=True, eq=False)
class Plan:
    """What is rounded: demands, and of each exact state what is added to it."""

    rows: tuple[Row, ...]
    demands: Demands
    uses: dict[int, Uses]
    names: Names


def _whole(c) -> bool:
    """Whether a coefficient is an integer in every step: then an exact state may be added to another of the same scale."""
    return all(Fraction(v).denominator == 1 for v in values(c))


@lru_cache(maxsize=4)
def planned(program: Program, found: tuple[Row, ...], named: frozenset[str], rounded: bool, weights: frozenset[str]) -> Plan:
    """found: the rows of all states. named: paths of states with a format of their own. rounded, weights: as in ``Formats``."""
    needed = demands(program, [x for p, row in enumerate(found) if not row.frozen(p) for x in row.feeds], weights)
    around, through = cycles(found, needed.narrow)
    kept = exact(found, around)
    kept -= {p for p in kept if any(r in kept and r != p and not _whole(c) for r, c in found[p].carry.items())}
    for p in sorted(kept):
        multiplied = program.states[p].leaf.path in named or rounded and set(found[p].carry) - kept
        if not found[p].frozen(p) and multiplied:
            kept -= {p}
    needed = replace(needed, narrow=needed.narrow | through)
    return Plan(found, needed, {p: uses(found, p, kept) for p in sorted(kept)}, Names(program, found, needed))
