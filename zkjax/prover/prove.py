"""Prove a run: commit, argue, open. The order of messages is in ``argument.py`` and ``commitment/opening.py``."""

import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import numpy as np

from ..algebra import extension as ext
from ..algebra.hashing import field_stream
from ..algebra.layout import Layout
from ..algebra.poly import num_bits
from ..circuit.circuit import Circuit
from ..commitment.commit import Commitment, Committed, Mask, commit, stack
from ..commitment.geometry import Geometry
from ..commitment.keys import MAX_BUDGET, Chain
from ..commitment.opening import open_claim
from ..commitment.slots import Choice
from ..errors import ConfigurationError, RunError, UnsatisfiedWitnessError
from ..memory import available_memory
from ..progress import Phases, size
from ..proofs.checks import MAX_SAMPLES
from ..proofs.links import Link
from ..proofs.proof import Proof
from ..proofs.soundness import TARGET, Security, security
from ..proofs.statement import MAX_STEPS, Frozen, Statement
from ..protocol.argument import argument
from ..protocol.forms import Forms
from ..protocol.hidden import Hidden, make_masks
from ..protocol.links import NO_LINKS, Links
from ..protocol.plan import FROZEN, Batches, Plan, opening_terms, row_count
from ..protocol.transcript import Writer
from ..verifier import dry_run, start_transcript, verify_one
from .commitments import Commitments, rows_of, slots_of
from .lanes import link_lanes, row_lanes
from .rehearsal import rehearse


def prove(
    circuit: Circuit,
    run,
    *,
    reveal: tuple[str, ...] = (),
    progress: Callable[[str, int, int], object] | str | None = "auto",
    minimum_bits: float = TARGET,
    reuse_memory: bool = True,
    verify: bool = True,
    check: bool = True,
) -> Proof:
    """Prove that ``run`` is an honest execution of the circuit. Returns a Proof; the run is not changed.

    circuit:      that the run was trained in.
    run:          a Run, of ``train`` or ``chunks``, or loaded.
    reveal:       names of outputs, such as ("loss",), that become public, and proven, for every step: ``circuit.outputs`` has them.
    progress:     "auto" shows a bar on a terminal, None nothing; or a function (phase, number, of how many).
    minimum_bits: refuse to make a proof with less proven security. Errors of a chain's proofs add up.
    reuse_memory: let this process keep freed memory for its next arrays instead of returning it to the system (glibc only,
                  from now on): about twice as fast for large circuits.
    verify:       verify the finished proof, from its bytes alone, before it is returned: a proof that a fault has spoilt, of the
                  machine or of this package, is seen by nobody. False saves what ``zkjax.verify`` takes.
    check:        False lets a test play a lying prover: the witness is not checked before it is used, nor the proof afterwards.

    Each call draws its randomness anew and uses up one opening of the weights' and the dataset's commitments; those with two left or
    fewer it replaces by fresh ones, which the chain's next proofs open. Everything is compiled before: an interrupted call uses up
    nothing until its progress says "commitments".
    Raises: RunError - the run belongs to another circuit, was altered, or copied by a fork, or JAX cannot run in a forked process;
            BudgetError - a commitment has no opening left, and no finished proof replaces it; ConfigurationError - too little
            security, too little memory for this many steps, or too many of them;
            UnsupportedOperationError - too many blocks for a verifier; UnsatisfiedWitnessError - a bug of the prover.
    """
    from ..kernels.memory import keep_freed_memory, uncollected
    from ..kernels.threads import scope

    if not isinstance(circuit, Circuit) or not isinstance(getattr(run, "chain", None), Chain):
        raise RunError(f"circuit is a {type(circuit).__name__} and run a {type(run).__name__}; give a zkjax.Circuit and a zkjax.Run of it")
    if circuit.digest() != run.circuit.digest():
        raise RunError("the run belongs to another circuit; prove it with run.circuit")
    run.check()
    unknown = [name for name in reveal if name not in circuit.outputs]
    if isinstance(reveal, str) or unknown:
        raise ConfigurationError(f"reveal is {reveal!r}; it is a tuple of names from {circuit.outputs}")
    if reuse_memory:
        keep_freed_memory()
    verify = verify and check
    with Phases(progress, 7 + verify) as phases:
        with ExitStack() as alone:
            with scope(), uncollected():
                proof, choice = _prove(circuit, run, reveal, phases, minimum_bits, check, alone)
            if verify:
                phases.next("verification")
                problem = _problem(circuit, proof, minimum_bits)
                if problem is not None:
                    del proof
                    raise UnsatisfiedWitnessError(
                        f"the finished proof does not verify ({problem}); it was thrown away, and the openings that it used stay used. The "
                        "machine made an error, or zkjax has a bug: please report it, with the versions of jax, jaxlib and numpy"
                    )
                phases.note(f"the proof's {size(proof.nbytes)} were verified in {phases.seconds:.1f} s (verify=False leaves that out)")
            run.chain.openings.finish(choice, run.keys[1].name)
        phases.next("done")
        return proof


def _problem(circuit: Circuit, proof: Proof, minimum_bits: float) -> str | None:
    """What an auditor would find wrong with the proof's bytes. As a text: an error would keep them, in the frames of its traceback."""
    try:
        verify_one(circuit, Proof.parse(bytes(proof)), minimum_bits)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def memory_estimate(circuit: Circuit, steps: int, widths: tuple[int, ...] | None) -> int:
    """About the bytes that a proof of this many steps takes at its peak, beyond what JAX itself takes. widths: as of ``Circuit.counts``."""
    counts = circuit.counts(steps, widths)
    leaves = 1 << num_bits(counts.lookups + counts.table_entries)
    return 64 * leaves + 28 * counts.cells + 20 * counts.parameters


def check_memory(circuit: Circuit, steps: int, widths: tuple[int, ...] | None) -> int:
    """The estimate; ConfigurationError, naming the largest chunk that fits, where the memory does not suffice."""
    needed, available = memory_estimate(circuit, steps, widths), available_memory()
    if needed > available:
        fits = 0
        while memory_estimate(circuit, fits + 1, widths) <= available:
            fits += 1
        cure = f"prove chunks of at most {fits} steps (zkjax.chunks)" if fits else "use a smaller batch or a machine with more memory"
        raise ConfigurationError(
            f"proving {steps} steps takes about {size(needed)} of memory, of which {size(available)} are available; {cure}"
        )
    return needed


def _prove(
    circuit: Circuit, run, reveal: tuple[str, ...], phases: Phases, minimum_bits: float, check: bool, alone: ExitStack
) -> tuple[Proof, Choice]:
    chain: Chain = run.chain
    if run.steps > MAX_STEPS or run.steps * circuit.batch_size > MAX_SAMPLES:
        raise ConfigurationError(
            f"{run.steps} steps of {circuit.batch_size} samples; a proof holds at most {MAX_STEPS} steps and {MAX_SAMPLES} samples, so "
            "train in shorter chunks (zkjax.chunks)"
        )
    phases.next("witness")
    plan = make_plan(run)
    slots, chunk = tuple(slots_of(run, plan).values()), run.keys[1].name
    choice = chain.openings.choose(slots, chunk)  # before anything is worked out for nothing
    memory = check_memory(circuit, run.steps, run.widths)
    revealed = revealed_losses(run, reveal)

    def dry(links: Links) -> Hidden:
        """What the argument uses, and all errors of it."""
        hidden = dry_run(plan, revealed, links)
        hidden.account_finish()
        return hidden

    without_links = dry(NO_LINKS)
    counts = without_links.counts()
    trace_layout = plan.trace_layout(counts)
    geometry = chain.fix_geometry(lambda prefer: choose_geometry(plan, trace_layout, prefer))
    from ..kernels.threads import in_background
    from .witness import Witness  # jitted kernels, in the prover's role only

    computed = run.witness()
    coarse = coarse_integers(run, plan)
    bounds = circuit.bounds(run.initial_bound, run.steps, run.first_step)
    witness = Witness(plan, computed, coarse, run.final, bounds, check)
    row = geometry.row

    def prepared(choice: Choice) -> tuple[Commitments, list[int], Security]:
        """The commitments that are opened, all row counts of the stack, and the ledger."""
        found = Commitments(run, plan, geometry, coarse, choice, trained_weights(run, choice))
        row_counts = [*found.row_counts, row_count(trace_layout, row)]
        errors = (dry(found.links) if found.links.pairs else without_links).errors
        return found, row_counts, security(errors, geometry, stack(row_counts)[1]).require(minimum_bits)

    found, row_counts, ledger = prepared(choice)
    phases.note(
        f"{run.steps} steps: {trace_layout.size:,} cells, 2^{plan.sites.layout.num_vars} lookups, about {size(memory)} of memory, "
        f"a proof of about {size(geometry.opening_bytes(row_counts, found.second))}, {ledger.bits:.1f} bits"
    )
    phases.next("compiling")
    with in_background(lambda: rehearse(plan, row)) as (rehearsal,):  # beside what needs no fresh randomness
        for name in found.slots:
            if name != "final":
                found.opened(name)
        found.dataset()
        rehearsal.result()

    phases.next("commitments")
    if choice.links:
        alone.enter_context(chain.openings.replacing())
    # one unit of each commitment is used up before anything random is drawn; a crash wastes it
    while (again := chain.openings.take(slots, chunk, choice)) != choice:  # another proof of the chain came in between
        choice = again
        if choice.links:
            alone.enter_context(chain.openings.replacing())
        found, row_counts, ledger = prepared(choice)
    seed, mask_seed = secrets.token_bytes(32), secrets.token_bytes(32)
    masks = make_masks(counts, _random_elements(mask_seed))

    def commit_trace() -> Committed:
        tensors = witness.tensors | {("mask", name): np.stack(ext.stack(v), axis=1) for name, v in masks.items()}
        mask = Mask.of(geometry, row_counts, [*found.budgets, 1])
        return commit(rows_of(trace_layout, tensors, row), kind="trace", number=0, budget=1, geometry=geometry, seed=seed, mask=mask)

    def others() -> tuple[list[Committed], list[Committed]]:
        return [found.opened(name) for name in found.slots], [found.replacement(name) for name in found.fresh]

    trace = None
    if plan.formed:  # limbs of random forms stand in the trace, and which forms follows from the statement
        named, fresh = others()
    else:
        with in_background(commit_trace) as (encoded,):  # one commitment is encoded while others are hashed
            named, fresh = others()
            trace = encoded.result()
    statement = make_statement(found, named, fresh, bounds.final, revealed)
    chain.forget(found.slots["final"].name(choice.generation(found.slots["final"])))
    stream = Writer(start_transcript(statement))
    drawn = Forms.draw(stream.transcript) if plan.formed else None
    if drawn is not None:
        witness.show_forms(drawn)
        trace = commit_trace()
    phases.next("argument")
    stream.raw("trace root", 32, trace.commitment.root)
    hidden = Hidden(stream, masks, check, links=found.links)
    argument(hidden, plan, revealed, witness, drawn)
    if hidden.counts() != counts:
        raise ConfigurationError("the argument used other pads than its dry run")  # a bug, never the user's fault
    weights, terms, value = hidden.finish()

    phases.next("weights of the opening")
    by_key = opening_terms(plan, weights, terms)
    committed, layouts = [*named, *fresh, trace], [*found.layouts, *[Layout({})] * len(found.links.pairs), trace_layout]
    lanes = [
        row_lanes(layout, by_key, count, row) + link_lanes(hidden.linked, place)
        for place, (layout, count) in enumerate(zip(layouts, row_counts, strict=True))
    ]
    phases.next("opening")
    open_claim(stream, geometry, committed, lanes, value)
    return Proof(statement, bytes(stream), ledger), choice


def revealed_losses(run, reveal: tuple[str, ...]) -> tuple[tuple[int, ...] | None, ...] | None:
    """Of each summand of an output that is revealed the integers of all steps; None for others."""
    summands = zip(run.circuit.losses, zip(*run.loss_integers, strict=True), strict=True)
    return tuple(integers if loss.output in reveal else None for loss, integers in summands) if reveal else None


def make_statement(
    found: Commitments, named: Sequence[Committed], fresh: Sequence[Committed], final_bound: tuple[int, ...], revealed
) -> Statement:
    """What a proof claims. named, fresh: the commitments that are opened, and those that replace some of them, in stack order."""
    run, plan = found.run, found.plan
    links = tuple(Link(name, x.commitment) for name, x in zip(found.fresh, fresh, strict=True))
    root, siblings, root_after = found.dataset(links)
    by_name = dict(zip(found.slots, (x.commitment for x in named), strict=True))
    return Statement(
        circuit=run.circuit.digest(),
        geometry=found.geometry,
        dataset=root,
        dataset_after=root_after,
        samples=run.data.samples,
        shard_size=plan.batches.shard_size,
        shards=tuple(x for x in by_name.values() if x.kind == "shard"),
        siblings=siblings,
        seed=run.seed,
        first_step=run.first_step,
        steps=run.steps,
        initial=by_name["initial"],
        final=by_name["final"],
        frozen=_frozen(plan, by_name),
        shifts=plan.shifts,
        widths=plan.widths,
        given=plan.given,
        initial_bound=tuple(run.initial_bound),
        final_bound=final_bound,
        links=links,
        losses=revealed,
    )


def expected_statement(run, choice: Choice, reveal: tuple[str, ...]) -> Statement:
    """What the proof of a run claims that opens this choice: worked out without one, to be compared with what somebody else has proven."""
    from ..kernels.threads import scope

    with scope():
        plan = make_plan(run)
        found = Commitments(run, plan, run.chain.geometry, coarse_integers(run, plan), choice)
        named, fresh = [*map(found.opened, found.slots)], [*map(found.replacement, found.fresh)]
        statement = make_statement(found, named, fresh, tuple(run.final_bound), revealed_losses(run, reveal))
    final = found.slots["final"]
    run.chain.forget(final.name(choice.generation(final)))
    return statement


def make_plan(run) -> Plan:
    """The plan of a run: what ``proofs.checks.make_plan`` derives from its statement."""
    shard_size = run.shard_size or run.data.samples
    batches = Batches(run.indices, shard_size, run.data.samples)
    told = {"given": run.begins and bool(run.circuit.given), "number": run.keys[0].number}
    if run.reads:
        told |= {"trained": tuple(end.step for end in run.reads), "beside": tuple(p for end in run.reads[1:] for p in end.places)}
    return Plan(run.circuit, run.first_step, run.steps, tuple(run.coarse_shifts), tuple(run.widths), batches, **told)


def _frozen(plan: Plan, by_name: dict[str, Commitment]) -> Frozen | None:
    """What the statement says of the parameters that no step changes."""
    if not plan.circuit.frozen:
        return None
    beside = Frozen(by_name["beside"], plan.beside) if plan.beside else None
    return Frozen(by_name["frozen"], tuple(p for p in plan.circuit.frozen if p not in plan.beside), beside)


def trained_weights(run, choice: Choice) -> dict[str, tuple[Commitments, str]]:
    """Of an evaluation or a comparison: the weights of trainings that it reads, in the commitments that its choice opens, by their names in
    it; and what they are called where they were trained."""
    found = {}
    for name, end in zip(FROZEN, run.reads, strict=False):
        plan = make_plan(end.run)
        slot = slots_of(end.run, plan)[end.name]
        own = Choice((slot,), {slot.group: choice.base(slot.group)}, ())
        found[name] = Commitments(end.run, plan, run.chain.geometry, coarse_integers(end.run, plan), own), end.name
    return found


def fix_geometry(run) -> None:
    """Choose the geometry of a run's chain, if that has not been done: one that suits proofs like this run's."""

    def choose(prefer: str) -> Geometry:
        plan = make_plan(run)
        return choose_geometry(plan, plan.trace_layout(dry_run(plan, None).counts()), prefer)

    run.chain.fix_geometry(choose)


def choose_geometry(plan: Plan, trace_layout: Layout, prefer: str = "time") -> Geometry:
    """The cheapest geometry for a chain whose chunks look like this one; prefer: as for ``zkjax.train``."""
    cells = [trace_layout.size, *(layout.size for layout in plan.members)]
    return Geometry.cheapest(cells, max_budget=MAX_BUDGET, prefer=prefer)


def coarse_integers(run, plan: Plan) -> tuple[np.ndarray, ...]:
    """The integers that the commitment to the first weights holds."""
    return tuple(w >> s if s else w for w, s in zip(run.initial, plan.shifts, strict=True))


def _random_elements(seed: bytes):
    """A source of uniform elements of K from a secret seed."""
    used = [0]

    def draw(count: int):
        used[0] += 1
        flat = np.asarray(field_stream(seed, f"masks {used[0]}", 2 * count))
        return ext.unstack((flat[0::2], flat[1::2]))

    return draw
