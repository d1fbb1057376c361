"""A chunk that opens commitments in every way: parameters beside a part that stays closed, frozen ones, links part by part."""

from dataclasses import replace

import moving

import zkjax
from zkjax.commitment.commit import commit
from zkjax.commitment.geometry import Geometry
from zkjax.prover.commitments import rows_of, slots_of
from zkjax.prover.prove import coarse_integers, make_plan


def beside(run) -> None:
    """The commitment to the first weights holds other states too, as one to the last weights of another chain would: they stay closed."""
    plan, geometry = make_plan(run), run.chain.geometry
    slot, coarse = slots_of(run, plan)["initial"], coarse_integers(run, plan)
    layouts = replace(plan, given=False).layouts["initial"].values()
    rows = [rows_of(layout, {("initial", p): x for p, x in enumerate(coarse)}, geometry.row) for layout in layouts]
    whole = commit(rows, kind="weights", number=run.first_step, budget=slot.budget, geometry=geometry, seed=run.keys[0].seed)
    run.chain.keep(slot.name(0), lambda: whole.only(*slot.parts))


def wear(run, *names) -> None:
    """Openings of these commitments are used up but for the two that are left for a proof that replaces them."""
    slots = slots_of(run, make_plan(run))
    run.chain.openings.spent |= {unit: slots[name].budget - 2 for name in names for unit in slots[name].units(0)}


def holding():
    """(circuit, run) of a chain's first chunk: given, with a part that stays closed; a proof replaces its frozen and its last weights."""
    circuit = moving.moving(frozen=True)
    run = zkjax.train(circuit, *moving.start(frozen=True), steps=5)
    run.chain.geometry = Geometry(9, 2, 4, level_bits=8)
    beside(run)
    wear(run, "frozen", "final")
    return circuit, run
