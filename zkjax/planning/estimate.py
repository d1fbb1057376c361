"""Estimate what training and proving take before any work: time, memory, proof bytes, and a verifier's time.

Sizes follow from the circuit and from public numbers: a chunk's statement is written with empty digests, its argument runs on lengths
alone, and the verifier's own estimate counts its work. A machine's constants turn them into seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from os import PathLike

from ..algebra.poly import num_bits
from ..circuit import coarse
from ..circuit.circuit import Circuit
from ..commitment.commit import Commitment
from ..commitment.commit import Part as CommittedPart
from ..commitment.dataset import shard_count
from ..commitment.geometry import COLUMN_CELLS, MASK_ROWS, Geometry, check_preferred
from ..commitment.keys import BUDGETS
from ..commitment.merkle import missing
from ..display import Sheet, Shown, Table
from ..errors import ConfigurationError
from ..progress import size
from ..proofs.header import HEADER
from ..proofs.statement import MAX_STEPS, Frozen, Statement
from ..protocol.plan import Batches, Plan, row_count
from ..protocol.schedule import batch_indices
from ..prover.prove import choose_geometry, memory_estimate
from ..tracing.arguments import whole
from ..training.steps import UNCOMPILED, step_work
from ..training.train import chunk_ends
from ..verifier import dry_run, estimate_work
from .machine import Machine, Sizes

ZEROS = bytes(32)  # in place of digests
MOVED = 18  # units of a step's work for each entry of a state that is multiplied: its sums of long integers, and their rounding
TRACED = 30  # bytes that each parameter takes besides: the user's own, the circuit's first step, the steps of training


@dataclass(frozen=True)
class Part:
    """Chunks of a chain that are alike.

    count: how many; steps: of each. first: whether it is the chain's first one, whose proof range-checks the coarse weights; renews:
    whether it is one that range-checks exact weights, as bounds would not hold without. cells, lookups: that a proof commits and makes.
    sizes: all that follows from these.
    """

    count: int
    steps: int
    first: bool
    renews: bool
    cells: int
    lookups: int
    sizes: Sizes


@dataclass(frozen=True)
class Estimate(Shown):
    """What a chain of proofs will take, about: within a factor of 1.5 on the machine whose constants were measured.

    steps, proofs:      of the whole chain.
    training_seconds, proving_seconds: all of them, when everything is compiled, one proof after another.
    compiling_seconds:  what the first proof of a process takes longer, where no compiled code was kept.
    verifying_seconds:  of ``zkjax.verify`` of all proofs.
    memory_bytes:       of the process that trains and proves, at its peak.
    verifier_bytes:     of a verifier, likewise.
    proof_bytes:        of all proof files; largest_proof: bytes of the largest one.
    parts:              of which chunks the chain consists. machine: the constants.
    """

    steps: int
    proofs: int
    training_seconds: float
    proving_seconds: float
    compiling_seconds: float
    verifying_seconds: float
    memory_bytes: int
    verifier_bytes: int
    proof_bytes: int
    largest_proof: int
    parts: tuple[Part, ...]
    machine: Machine

    @property
    def seconds(self) -> float:
        """From the first step to the last proof, in a fresh process."""
        return self.training_seconds + self.proving_seconds + self.compiling_seconds

    def sheet(self) -> Sheet:
        """The sums, then the chunks."""
        each = f", {span(self.proving_seconds / self.steps)} a step"
        rows = (
            ("exact training", span(self.training_seconds)),
            ("proving", span(self.proving_seconds) + each),
            ("compiling, in a first proof", span(self.compiling_seconds)),
            ("memory at its peak", size(self.memory_bytes)),
            ("proof files", f"{size(self.proof_bytes)}, the largest {size(self.largest_proof)}"),
            ("verifying all of them", f"{span(self.verifying_seconds)}, {size(self.verifier_bytes)} of memory"),
        )
        heading = ("chunks", "steps", "range check", "cells", "lookups", "proving", "proof", "verifying")
        parts = tuple(
            (
                f"{x.count:,}",
                str(x.steps),
                "first weights" if x.first else "renews bounds" if x.renews else "no",
                f"{x.cells:,}",
                f"{x.lookups:,}",
                span(self.machine.proving_seconds(x.sizes)),
                size(x.sizes.proof_bytes),
                span(self.machine.verifying_seconds(x.sizes)),
            )
            for x in self.parts
        )
        built_in = "constants of another machine, which come with zkjax; `python -m zkjax measure` finds out this one's in some minutes"
        return Sheet(
            f"Estimate of {self.steps:,} steps in {self.proofs:,} proof{'s' * (self.proofs > 1)}",
            (
                Table(rows, left=(0, 1)),
                Table(parts, heading, title="chunks; time, bytes and counts of each"),
                f"measured on {self.machine.name}" if self.machine.name else built_in,
            ),
        )


def estimate(
    circuit: Circuit,
    steps: int,
    *,
    chunk: int | None = None,
    samples: int | None = None,
    shard_size: int | None = None,
    prefer: str = "time",
    machine: str | PathLike[str] | None = None,
) -> Estimate:
    """What training and proving ``steps`` steps will take, from public sizes alone: nothing is trained or proven.

    Weights are taken to be below 1 in absolute value: how often bounds are renewed follows from the range check of larger ones.

    circuit:    from ``trace``; shapes suffice for it.
    chunk:      steps of a proof at most, as for ``chunks``; default: all in one, as ``train`` does.
    samples:    of the data; default: as many as the steps read, each once.
    shard_size, prefer: as for ``train`` and ``chunks``.
    machine:    a file of constants that ``python -m zkjax measure --out FILE`` wrote; default: those that ``measure`` left in the user's
                cache directory, or else built-in ones.
    Raises: DataError - no integers, or too few samples for a batch; ConfigurationError - too many steps for a proof, no circuit;
            PrecisionError - more steps than a schedule has; FormatError - not a file of constants.
    """
    if not isinstance(circuit, Circuit):
        raise ConfigurationError(f"circuit is a {type(circuit).__name__}; give the zkjax.Circuit of zkjax.trace")
    check_preferred(prefer)
    steps = whole("steps", steps)
    ends = chunk_ends(circuit, 0, steps, steps if chunk is None else whole("chunk", chunk))
    samples = steps * circuit.batch_size if samples is None else whole("samples", samples)
    shard_size = samples if shard_size is None else min(whole("shard_size", shard_size), samples)
    speed = Machine.load(machine)
    if circuit.max_steps is not None and steps > circuit.max_steps:
        circuit.bounds(coarse.below_one(circuit), steps)  # says so
    if max(b - a for a, b in zip((0, *ends), ends, strict=False)) > MAX_STEPS:
        raise ConfigurationError(f"a proof holds at most {MAX_STEPS} steps; give chunk=")
    parts = tuple(_parts(circuit, ends, samples, shard_size, prefer))

    def total(value) -> float:
        return sum(x.count * value(x.sizes) for x in parts)

    # a shard's commitment is replaced by every proof that takes the last but one of its openings, and by none of the first
    shards = shard_count(samples, shard_size)
    replaced = max(0.0, total(lambda x: x.shards) / shards - 1) // (BUDGETS["shard"] - 2) * shards

    return Estimate(
        steps=steps,
        proofs=len(ends),
        training_seconds=total(speed.training_seconds),
        proving_seconds=total(speed.proving_seconds),
        compiling_seconds=max(speed.compiling_seconds(x.sizes) for x in parts),
        verifying_seconds=total(speed.verifying_seconds),
        memory_bytes=speed.memory + max(x.sizes.memory for x in parts),
        verifier_bytes=max(x.sizes.verifying_memory for x in parts),
        proof_bytes=sum(x.count * x.sizes.proof_bytes for x in parts) + round(replaced * parts[-1].sizes.link_bytes),
        largest_proof=max(x.sizes.proof_bytes for x in parts),
        parts=parts,
        machine=speed,
    )


def _parts(circuit: Circuit, ends: list[int], samples: int, shard_size: int, prefer: str) -> Iterator[Part]:
    """The chunks of a chain by kind, in the order in which they first occur; the first one chooses the geometry of all."""
    kinds: dict[tuple[int, bool, bool], list[int]] = {}
    renewing = renewals(circuit, ends)
    for start, end in zip((0, *ends), ends, strict=False):
        kinds.setdefault((end - start, start == 0, start in renewing), []).append(start)
    geometry = None
    for (steps, first, renews), starts in kinds.items():
        plan = chunk_plan(circuit, starts[0], steps, samples, shard_size, renews)
        if geometry is None:
            geometry = choose_geometry(plan, plan.trace_layout(dry_run(plan, None).counts()), prefer)
        counts = circuit.counts(steps, plan.widths)
        yield Part(len(starts), steps, first, renews, counts.cells, counts.lookups, sizes_of(plan, geometry))


def renewals(circuit: Circuit, ends: list[int]) -> set[int]:
    """The first steps of the chunks that renew their bounds, of a chain whose chunks end after these steps."""
    since, found = 0, set()
    last = circuit.longest_chain(coarse.first(circuit, ends[0])[1], since).steps
    for start, end in zip(ends, ends[1:], strict=False):
        if last is not None and end - since > last:
            since = start
            found.add(start)
            last = circuit.longest_chain(coarse.renewal(circuit, end - start, start)[1], since).steps
    return found


def chunk_plan(circuit: Circuit, first_step: int, steps: int, samples: int, shard_size: int, renews: bool = False) -> Plan:
    """The plan of a chunk, which begins a chain if its first step is step 0. Schedules of all seeds read alike."""
    indices = batch_indices(0, samples, shard_size, circuit.batch_size, first_step, steps)
    none = (0,) * len(circuit.parameters)
    later = coarse.renewal(circuit, steps, first_step)[0] if renews else none
    widths, given = (later, False) if first_step else (coarse.first(circuit, steps)[0], bool(circuit.given))
    return Plan(circuit, first_step, steps, none, widths, Batches(indices, shard_size, samples), given=given)


def sizes_of(plan: Plan, geometry: Geometry) -> Sizes:
    """All that decides what a chunk and its proof take."""
    circuit, shards, samples, shard_size = plan.circuit, plan.batches.shards, plan.batches.samples, plan.batches.shard_size
    dry = dry_run(plan, None)
    counts, argument_work = dry.counts(), dry.vectors.meter.work
    rows = {name: {part: row_count(x, geometry.row) for part, x in parts.items()} for name, parts in plan.layouts.items()}
    data = [sum(x.values()) for name, x in rows.items() if name.startswith("shard")]
    trace = row_count(plan.trace_layout(counts), geometry.row)
    total = shard_count(samples, shard_size)
    siblings = sum(map(len, missing(list(shards), num_bits(total))))
    shown = tuple(2 ** max(0, circuit.scale(p)[1]) for p in range(len(circuit.parameters)))  # a bound's digits hardly count
    named = {name: _commitment(*plan.kind(name), parts) for name, parts in rows.items()}
    statement = Statement(
        circuit=circuit.digest(),
        geometry=geometry,
        dataset=ZEROS,
        dataset_after=ZEROS,
        samples=samples,
        shard_size=shard_size,
        shards=tuple(named[f"shard {n}"] for n in shards),
        siblings=(ZEROS,) * siblings,
        seed=0,
        first_step=plan.first_step,
        steps=plan.steps,
        initial=named["initial"],
        final=named["final"],
        frozen=Frozen(named["frozen"], circuit.frozen) if circuit.frozen else None,
        shifts=plan.shifts,
        widths=plan.widths,
        given=plan.given,
        initial_bound=shown,
        final_bound=shown,
    )
    verifying = estimate_work(circuit, [statement], None, None)
    first = plan.first_step == 0  # the dataset's root needs all shards once; opened are those that are read, which one shard is for ever
    made = [sum(rows["final"].values()), trace + MASK_ROWS, *(data if total > 1 or first else [])]
    if first:
        made += [*(sum(rows[name].values()) for name in ("initial", "frozen") if name in rows), *[max(data)] * (total - len(data))]
    opened = [*(count for parts in rows.values() for count in parts.values()), trace]
    second = sum(len(parts) - 1 for parts in rows.values())
    messages = 16 * (counts.pads + 2 * counts.triples + 2)
    work = plan.steps * step_work(circuit)
    return Sizes(
        step_work=work + plan.steps * MOVED * sum(prod(circuit.parameters[s].shape) for s in circuit.recurrent),
        compiled=work > UNCOMPILED,
        argument_work=argument_work,
        verifying_work=verifying.work,
        log_lookups=plan.sites.layout.num_vars,
        leaves=plan.sites.layout.size,
        codes=geometry.code * sum(rows + COLUMN_CELLS for rows in made),
        memory=memory_estimate(circuit, plan.steps, plan.widths) + TRACED * sum(prod(p.shape) for p in circuit.parameters),
        verifying_memory=verifying.memory,
        proof_bytes=HEADER + len(statement.canonical()) + len(ZEROS) + messages + geometry.opening_bytes(opened, second),
        shards=len(shards),
        link_bytes=geometry.opening_bytes([*opened, data[0]]) - geometry.opening_bytes(opened),
    )


def _commitment(kind: str, number: int, rows: dict[str, int]) -> Commitment:
    """Of these parts; only its sizes matter."""
    return Commitment(kind, number, tuple(CommittedPart(name, count, BUDGETS[kind]) for name, count in rows.items()), ZEROS)


def span(seconds: float) -> str:
    """A time for people."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
