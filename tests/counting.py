"""Units of openings, taken as proofs take them: for tests of the counters. No JAX."""

from zkjax.commitment.openings import Openings
from zkjax.commitment.slots import Choice, Slot


def slots(**budgets: int) -> tuple[Slot, ...]:
    """Matrices by name, and how often each of their commitments may be opened."""
    return tuple(Slot(name, 0, "shard", budget, ("cells",), f"the matrix {name}", "make another one") for name, budget in budgets.items())


def take(openings: Openings, **budgets: int) -> Choice:
    """What a proof that opens these matrices does before it is made; BudgetError where it cannot be."""
    wanted = slots(**budgets)
    choice = openings.choose(wanted, "a chunk")
    while (again := openings.take(wanted, "a chunk", choice)) != choice:
        choice = again
    return choice


def taken(spent: dict[str, int]) -> dict[str, int]:
    """How often the first commitment to each matrix was opened, by the matrix' name."""
    return {name.split()[0]: count for name, count in spent.items() if name.split()[1] == "0"}
