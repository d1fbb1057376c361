"""What verifying a statement takes, before it is done, from circuit and statement alone.

The argument runs on the lengths of its vectors (``vectors.py``), and so does what the opening evaluates of its weights: the
same code as later, hence the same counts, without the products. The schedule and the opened columns are charged by the
formulas that stand beside them (``schedule_work``, ``opening_work``). What a proof does not have to agree with is not read:
numbers of rows, for example, are derived.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ..algebra.extension import ONE
from ..algebra.poly import num_bits
from ..algebra.vectors import Vectors
from ..circuit.circuit import Circuit
from ..circuit.recurrence import CACHED, group
from ..commitment.commit import members, stack
from ..commitment.dataset import shard_count
from ..commitment.opening import opening_work
from ..ops.ranges import limbs
from ..ops.tables import charge
from ..protocol.argument import argument
from ..protocol.claims import weight_evaluation
from ..protocol.hidden import Hidden
from ..protocol.plan import Batches, Plan, opening_terms, row_count
from ..protocol.schedule import schedule_work
from ..work import CALL, ENTRY, HASH, OBJECT, ONE_BY_ONE, SCALAR, TERM, Meter
from .links import links_in_stack
from .statement import Statement


@dataclass(frozen=True, eq=False)
class Claimed(Batches):
    """Batches that nobody has worked out: of the shards that a statement opens one of each size stands for all."""

    shards: tuple[int, ...] = ()
    opened: int = 0


def estimate(circuit: Circuit, statement: Statement, meter: Meter) -> None:
    """Charge what verifying this statement takes. Its geometry and the sizes of its schedule have been checked.

    Raises: VerificationError - more than the meter's limits; UnsupportedOperationError - a circuit that no verifier takes on.
    """
    meter.next_proof()
    _charge_circuit(circuit, statement.steps, statement.widths, meter)
    batch, samples, shard_size = circuit.batch_size, statement.samples, statement.shard_size
    schedule_work(samples, shard_size, batch, statement.first_step, statement.steps, meter)

    last = shard_count(samples, shard_size) - 1
    numbers = Counter(last if shard.number == last else 0 for shard in statement.shards)  # all but the last one are alike
    unread = np.broadcast_to(np.int64(0), (statement.steps, batch))
    opened = sum(count * min(shard_size, samples - number * shard_size) for number, count in numbers.items())
    batches = Claimed(unread, shard_size, samples, tuple(numbers), opened)
    shifts = (0,) * len(circuit.parameters)
    plan = Plan(circuit, statement.first_step, statement.steps, shifts, statement.widths, batches, **statement.sources)

    geometry, vectors = statement.geometry, Vectors(meter, lengths_only=True)
    own = statement.named()  # each shard by the one of its size
    alike = {f"shard {c.number}": f"shard {last if c.number == last else 0}" for c in statement.shards}
    named = {name: [(part, row_count(x, geometry.row)) for part, x in plan.layouts.get(alike.get(name, name), {}).items()] for name in own}
    links = links_in_stack([(link.source, link.to.opened().names) for link in statement.links], named, geometry.log_row)
    hidden = Hidden(vectors=vectors, links=links)
    told = () if statement.losses is None else statement.losses
    revealed = tuple(None if i < len(told) and told[i] is None else () for i in range(len(circuit.losses)))
    argument(hidden, plan, None if statement.losses is None else revealed)
    weights, terms, _ = hidden.finish()

    counts = {f"shard {number}": count for number, count in numbers.items()}
    layouts = [(plan.read(name, part), counts.get(name, 1)) for name, parts in plan.layouts.items() for part in parts]
    layouts.append((plan.trace_layout(hidden.counts()), 1))
    rows = [pair.rows for pair in links.pairs]
    for layout, count in layouts:
        meter.charge("blocks of tensors", 4 * TERM * count * (1 + len(layout.pieces)), OBJECT * count * len(layout.pieces))
        rows += [row_count(layout, geometry.row)] * count
    _, row_variables = stack(rows)
    by_key = opening_terms(plan, weights, terms, vectors)
    point = [ONE] * (row_variables + geometry.log_row)
    for layout, count in layouts:
        part = Meter()
        weight_evaluation(layout.weights(point[: max(layout.num_vars, geometry.log_row)], Vectors(part, True)), by_key, Vectors(part, True))
        meter.repeat(part, count)
    within = {place: (ONE, [ONE] * num_bits(pair.rows)) for pair in links.pairs for place in (pair.source, pair.to)}
    hidden.linked.evaluate(within, point[row_variables:], vectors)
    depth = num_bits(last + 1)
    meter.charge("paths to the dataset", (2 * HASH * depth + CALL + SCALAR * row_variables) * len(statement.shards))
    budgets = [min(max(1, part.budget), geometry.max_budget) for part in members(statement.opened())]
    opening_work(geometry, rows, max(budgets), meter)


def argument_work(circuit: Circuit, steps: int) -> Meter:
    """What the argument of so many steps takes a verifier, their data and the opening of commitments not counted."""
    meter = Meter()
    count = len(circuit.parameters)
    widths = (circuit.table_bits,) * count
    _charge_circuit(circuit, steps, widths, meter)
    plan = Plan(circuit, 0, steps, (0,) * count, widths, None)
    argument(Hidden(vectors=Vectors(meter, lengths_only=True)), plan)
    return meter


def charge_file(circuit: Circuit, meter: Meter) -> None:
    """Charge what a circuit's digest and its tables of functions take, once for all proofs. FormatError for a table without a row."""
    for table in {x.table for found in circuit.lookups.values() for x in found if x.table.functions}:
        charge(table, meter)
    rates = sum(len(values) for parameter in circuit.parameters for values in parameter.tables())
    meter.charge("the circuit's file", HASH * _tensors(circuit) + ONE_BY_ONE * (_entries(circuit) + rates))


def _charge_circuit(circuit: Circuit, steps: int, widths: tuple[int, ...], meter: Meter) -> None:
    """Its check, its bounds, and the list of its lookups."""
    tensors, varied = _tensors(circuit), sum(len(values) > 1 for parameter in circuit.parameters for values in parameter.tables())
    work = 2 * TERM * tensors + ONE_BY_ONE * (2 * _entries(circuit) + 4 * steps * varied)
    meter.charge(f"a circuit of {tensors:,} tensors", work, OBJECT * tensors)
    for s in circuit.recurrent:
        _charge_recurrence(circuit, s, steps, meter)
    checked = sum(2 * len(limbs(abs(width), circuit.table_bits)) - 1 for width in widths if width)  # cells, lookups
    lookups = len(circuit.inputs) + checked + sum(1 + len(found) for found in circuit.lookups.values())
    lookups += sum((2 if steps > circuit.period else 1) * len(circuit.rounding_widths(s)) for s in circuit.recurrent) * 2  # cells, lookups
    meter.charge(f"{lookups:,} kinds of lookups", CALL * lookups, 2 * OBJECT * lookups)


def _charge_recurrence(circuit: Circuit, s: int, steps: int, meter: Meter) -> None:
    """The coefficients of a state: exact products of long integers, for its bounds and for its claims, and what is kept of them.

    Where no coefficient depends on the step, periods of one length have the same ones.
    """
    found = [circuit.parameters[r].recurrence for r in group(circuit, s)]
    carries, feeds = sum(len(x.carry) for x in found), sum(len(x.feeds) for x in found)
    length, count = min(steps, circuit.period), 1 + -(-steps // circuit.period)
    distinct = count if circuit.max_steps is not None else min(count, 3)
    products = (carries + 1) * (len(found) + feeds * length) * length
    meter.charge("coefficients of states", 2 * distinct * (TERM + products * (ONE_BY_ONE + length)))
    kept = 2 * ENTRY * (len(found) + feeds * length) * length
    meter.charge("coefficients of states", ONE_BY_ONE * count * (len(found) + feeds * length) * length, kept * (count + CACHED))


def _tensors(circuit: Circuit) -> int:
    return len(circuit.nodes) + len(circuit.inputs) + sum(1 + len(parameter.tables()) for parameter in circuit.parameters)


def _entries(circuit: Circuit) -> int:
    """Of the lists in its operations."""
    lists = (x for node in circuit.nodes for x in (node.inputs, *node.operation.attributes().values()) if isinstance(x, tuple))
    return sum(map(len, lists))
