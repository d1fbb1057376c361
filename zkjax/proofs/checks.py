"""What must hold of a statement before its proof is looked at: it fits the circuit, and its bounds, sizes and commitments fit it.

Nothing that the prover could choose decides how much is read or allocated: sizes are derived, and compared.

PROTOCOL.md, sections 4.3, 9.3.
"""

from ..circuit import ranged
from ..circuit.circuit import Circuit
from ..errors import ConfigurationError, DataError, PrecisionError, VerificationError
from ..ops import forms
from ..ops.ranges import signed_bound
from ..protocol.plan import Batches, Plan, row_count
from ..protocol.schedule import batch_indices, check_schedule
from .links import check_links, check_parts, check_roots
from .statement import Statement

MAX_SAMPLES = 2**22  # read in one chunk: what a statement may ask a verifier to work out


def make_plan(circuit: Circuit, statement: Statement) -> Plan:
    """The plan that a statement fixes, after checking everything in it that needs no proof."""
    check_circuit(circuit, statement)
    check_lengths(circuit, statement)
    check_frozen(circuit, statement)
    for p, (shift, width, bound) in enumerate(zip(statement.shifts, statement.widths, statement.initial_bound, strict=True)):
        if shift and not width and not circuit.parameters[p].frozen:
            raise VerificationError("statement", "only weights that are range-checked here, or frozen, may be shifted")
        if width and bound < signed_bound(abs(width)) << shift:
            raise VerificationError("bounds", "the initial bound is smaller than what the range check shows")
    if statement.given and not circuit.given:
        raise VerificationError("statement", "the circuit gives no states")
    if statement.given and any((p in circuit.given) == bool(width) for p, width in enumerate(statement.widths)):
        raise VerificationError("statement", "where a chain begins, exactly the states that the circuit does not give are range-checked")
    for p in circuit.given if statement.given else ():
        if statement.initial_bound[p] != circuit.given_bound(p, statement.initial_bound):
            raise VerificationError("bounds", f"the bound of {circuit.parameters[p].path} is not that of the state that the circuit gives")
    try:
        bounds = circuit.bounds(statement.initial_bound, statement.steps, statement.first_step, cure=False)
    except PrecisionError as error:
        raise VerificationError("bounds", str(error)) from None
    if bounds.final != statement.final_bound:
        raise VerificationError("bounds", "the final bound is not what the circuit gives for the initial one")
    revealed = () if statement.losses is None else [x for x in statement.losses if x is not None]
    if statement.losses is not None and (
        len(statement.losses) != len(circuit.losses) or not revealed or any(len(x) != statement.steps for x in revealed)
    ):
        raise VerificationError("losses", f"expected {len(circuit.losses)} losses of {statement.steps} steps")
    for loss, integers in zip(circuit.losses, statement.losses or (), strict=False):
        if integers is not None and any(abs(v) > bounds.nodes[loss.node] for v in integers):
            raise VerificationError("losses", f"a loss leaves its bound of {bounds.nodes[loss.node]}")
    check_sizes(circuit, statement)
    batches = Batches(batch_indices(*schedule_of(circuit, statement)), statement.shard_size, statement.samples)
    sizes = circuit, statement.first_step, statement.steps, statement.shifts, statement.widths, batches
    return Plan(*sizes, **statement.sources)


def check_circuit(circuit: Circuit, statement: Statement) -> None:
    """The circuit is well formed, and the one that the statement is about."""
    circuit.check()
    if statement.circuit != circuit.digest():
        raise VerificationError("circuit", f"the proof is about a circuit with digest {statement.circuit.hex()}, not this one")


def check_frozen(circuit: Circuit, statement: Statement) -> None:
    """The parameters that the circuit freezes have a commitment of their own, and no others.

    If it freezes all, they may be a training's, and may stand in two commitments, of which the first is to weights.
    """
    groups = () if statement.frozen is None else tuple(statement.frozen.groups.values())
    listed = tuple(sorted(p for x in groups for p in x.parameters))
    if listed != circuit.frozen or (groups and not listed):
        raise VerificationError("statement", f"the frozen parameters of the circuit are {list(circuit.frozen)}, not those of the statement")
    if groups and groups[0].trained is not None and len(circuit.frozen) < len(circuit.parameters):
        raise VerificationError("statement", "the frozen parameters are those of a training, though the circuit has others beside them")
    if len(groups) > 1 and (groups[0].trained is None or not groups[1].parameters):
        raise VerificationError("statement", "frozen parameters stand beside others, which only a training's do, and never none")
    if any(tuple(sorted(x.parameters)) != x.parameters for x in groups):
        raise VerificationError("statement", "the frozen parameters are not in ascending order")


def check_lengths(circuit: Circuit, statement: Statement) -> None:
    """What the statement says of parameters it says of each of them."""
    count = len(circuit.parameters)
    if {len(x) for x in (statement.shifts, statement.widths, statement.initial_bound, statement.final_bound)} != {count}:
        raise VerificationError("statement", f"shifts, widths and bounds are needed for {count} parameters")


def check_sizes(circuit: Circuit, statement: Statement) -> None:
    """The schedule exists and reads enough shards, and the geometry has its queries: before either is worked out."""
    check_lengths(circuit, statement)
    end = statement.first_step + statement.steps
    if circuit.max_steps is not None and end > circuit.max_steps:
        raise VerificationError("bounds", f"step {end - 1} lies beyond the {circuit.max_steps} steps that the circuit was traced for")
    read = statement.steps * circuit.batch_size
    if read > MAX_SAMPLES:
        raise VerificationError("schedule", f"{statement.steps} steps of {circuit.batch_size} samples are more than {MAX_SAMPLES} samples")
    if len(statement.shards) < min(read, statement.samples) // (4 * statement.shard_size):
        raise VerificationError("shards", f"{len(statement.shards)} shards opened, which cannot be all that {read} samples are read from")
    try:
        check_schedule(*schedule_of(circuit, statement))
    except DataError as error:
        raise VerificationError("schedule", str(error)) from None
    try:
        statement.geometry.check()
    except ConfigurationError as error:
        raise VerificationError("geometry", str(error)) from None
    check_forms(circuit, statement)


def check_forms(circuit: Circuit, statement: Statement) -> None:
    """Random forms are of whole blocks, for which rows have room."""
    if not ranged.well_formed(circuit, statement.widths):
        raise VerificationError("statement", "random forms show one range of all that share blocks of a commitment, and of no others")
    if min(statement.widths) < 0 and statement.frozen is not None and statement.frozen.trained is not None:
        raise VerificationError("statement", "random forms show no ranges of weights whose training has shown them")
    if min(statement.widths) < 0 and statement.geometry.row < forms.BLOCK:
        raise VerificationError("geometry", f"rows of {statement.geometry.row} cells are too short for random forms of {forms.BLOCK}")


def schedule_of(circuit: Circuit, statement: Statement) -> tuple[int, ...]:
    """The arguments of ``batch_indices``."""
    s = statement
    return s.seed, s.samples, s.shard_size, circuit.batch_size, s.first_step, s.steps


def check_commitments(plan: Plan, statement: Statement) -> None:
    """The commitments of the statement are of the plan's sizes and of this geometry, and shards belong to the dataset, before and after."""
    geometry, named = statement.geometry, statement.named()
    if len(statement.shards) != len(plan.batches.shards):
        raise VerificationError("shards", f"{len(statement.shards)} shards opened, the schedule reads {len(plan.batches.shards)}")
    for name, (commitment, parts) in zip(plan.layouts, named.values(), strict=True):
        kind, number = plan.kind(name)
        called, layouts = f"commitment to {kind} {number}", plan.layouts[name]
        if (commitment.kind, commitment.number, commitment.masked) != (kind, number, False):
            raise VerificationError(called, f"it is of {commitment.kind} {commitment.number}")
        if [part.name for part in parts] != list(layouts):
            raise VerificationError(called, f"it holds {', '.join(part.name for part in commitment.parts)}, expected {', '.join(layouts)}")
        for part, layout in zip(parts, layouts.values(), strict=True):
            if part.rows != row_count(layout, geometry.row):
                raise VerificationError(called, f"{part.rows} rows, expected {row_count(layout, geometry.row)}")
        check_parts(commitment, geometry, called)
    check_links(statement.links, named, geometry)
    fresh = {link.source: link.to for link in statement.links}
    after = tuple(fresh.get(f"shard {c.number}", c) for c in statement.shards)
    roots = statement.dataset, statement.dataset_after
    check_roots(statement.shards, after, roots, statement.siblings, statement.samples, statement.shard_size, geometry)
