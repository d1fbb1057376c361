"""Replace commitments of a run in a proof of its own: open them and fresh ones, and nothing else. See ``protocol/links.py``."""

import secrets
from collections.abc import Sequence

import numpy as np

from ..algebra.extension import ZERO
from ..commitment.commit import Committed, Mask, commit, stack
from ..commitment.keys import Chain
from ..commitment.opening import open_claim
from ..commitment.slots import NOTHING
from ..errors import ConfigurationError, RunError, UnsatisfiedWitnessError
from ..proofs.alone import Dataset, LinkStatement, errors_alone
from ..proofs.links import Link
from ..proofs.proof import Proof
from ..proofs.soundness import TARGET, Security, security
from ..protocol.links import draw_alone
from ..protocol.transcript import Writer
from ..verifier import start_transcript, verify_alone
from .commitments import Commitments, slots_of
from .lanes import link_lanes
from .prove import coarse_integers, fix_geometry, make_plan


def link(
    run,
    names: Sequence[str] | None = None,
    *,
    again: bool = False,
    keep: bool = False,
    minimum_bits: float = TARGET,
    verify: bool = True,
) -> Proof:
    """Replace commitments of a run by fresh ones, in a small proof that both hold the same values. Returns a Proof.

    run:          a Run; it is not changed. What it shares with the runs of its chain is: their next proofs open the fresh commitments.
    names:        of what is replaced: "initial", "final", "frozen", "shard N" for shards that the run reads; default: all of them.
    again:        make a proof once more that an earlier call with these names returned, and that was lost: chains need it.
    keep:         leave a copy of the proof beside each saved run of the chain, before it counts: ``publish`` finds it there, whatever
                  becomes of this process.
    minimum_bits: refuse to make a proof with less proven security.
    verify:       verify the finished proof, from its bytes alone, before it is returned.

    ``prove`` replaces commitments by itself, where their openings are nearly used up. This does so at any time: before many proofs are
    made at once, or before a commitment is to be opened for something else. Whoever verifies the chain is given this proof with the
    others, at any place. It takes one opening of each commitment and of what replaces it.
    Raises: RunError - no run, or one that was altered; ConfigurationError - other names, too little security, or nothing that could be
            made again; BudgetError - a commitment has no opening left; UnsatisfiedWitnessError - a bug of the prover.
    """
    from ..kernels.threads import scope

    if not isinstance(getattr(run, "chain", None), Chain):
        raise RunError(f"run is a {type(run).__name__}; give a zkjax.Run")
    run.check()
    with run.chain.openings.replacing():
        with scope():
            proof, choice, chunk = _link(run, names, again, minimum_bits)
        if verify:
            check_alone(proof, minimum_bits)
        if keep:
            run.chain.openings.keep(bytes(proof))
        run.chain.openings.finish(choice, chunk)
    return proof


def check_alone(proof: Proof, minimum_bits: float) -> None:
    """UnsatisfiedWitnessError where a finished proof of links does not verify, from its bytes alone."""
    try:
        verify_alone(Proof.parse(bytes(proof)), minimum_bits)
    except Exception as error:
        told = f"the finished proof does not verify ({type(error).__name__}); it was thrown away. Please report it"
        raise UnsatisfiedWitnessError(told) from None


def shown_equal(statement: LinkStatement, committed: Sequence[Committed], ledger: Security) -> Proof:
    """The proof that each fresh commitment holds what is opened of the one that it replaces. committed: the statement's, in its order."""
    geometry, parts = statement.geometry, [member.part for x in committed for member in x.members]
    mask = Mask.of(geometry, [*(part.rows for part in parts), 1], [*(part.budget for part in parts), 1])
    zeros, seed = np.zeros((1, geometry.row), dtype=np.uint64), secrets.token_bytes(32)
    trace = commit(zeros, kind="trace", number=0, budget=1, geometry=geometry, seed=seed, mask=mask)
    stream = Writer(start_transcript(statement))
    stream.raw("trace root", 32, trace.commitment.root)
    linked = draw_alone(stream.transcript, statement.in_stack())
    open_claim(stream, geometry, [*committed, trace], [link_lanes(linked, place) for place in range(len(parts) + 1)], ZERO)
    return Proof(statement, bytes(stream), ledger)


def _link(run, names, again: bool, minimum_bits: float):
    chain, plan = run.chain, make_plan(run)
    fix_geometry(run)
    geometry, known = chain.geometry, {name: slot for name, slot in slots_of(run, plan).items() if not slot.kept}
    wanted = known if names is None else names
    if not isinstance(wanted, (tuple, list, dict)) or not wanted or not all(isinstance(x, str) and x in known for x in wanted):
        raise ConfigurationError(f"names is {names!r:.80}; give some of {', '.join(known)}")
    slots = tuple(slot for name, slot in known.items() if name in wanted)
    chunk = f"links of {', '.join(slot.name(0) for slot in slots)}"

    choice = chain.openings.choose(slots, chunk, True, again)
    if again and any(chain.openings.replaced.get(slot.group, NOTHING).now == choice.base(slot.group) for slot in slots):
        raise ConfigurationError(f"no link of {', '.join(wanted)} can be made again: none was finished, or no opening is left for it")
    while True:
        found = Commitments(run, plan, geometry, coarse_integers(run, plan), choice)
        ledger = security(errors_alone(found.links), geometry, stack([*found.row_counts, 1])[1]).require(minimum_bits)
        replaced = [found.opened(name) for name in found.slots]
        taken = chain.openings.take(slots, chunk, choice, True, again)
        if taken == choice:
            break
        choice = taken  # another proof of the chain came in between

    fresh = [found.replacement(name) for name in found.slots]
    dataset = None
    if any(slot.kind == "shard" for slot in slots):
        root, siblings, after = found.dataset(tuple(Link(name, x.commitment) for name, x in zip(found.slots, fresh, strict=True)))
        dataset = Dataset(root, after, run.data.samples, plan.batches.shard_size, siblings)
    statement = LinkStatement(geometry, tuple(x.commitment for x in replaced), tuple(x.commitment for x in fresh), dataset)
    return shown_equal(statement, [*replaced, *fresh], ledger), choice, chunk
